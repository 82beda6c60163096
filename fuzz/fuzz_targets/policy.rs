//! libFuzzer's entry to [`isos_fuzz::policy`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::policy(bytes));
