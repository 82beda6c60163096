//! libFuzzer's entry to [`isos_fuzz::result_entry`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::result_entry(bytes));
