//! libFuzzer's entry to [`isos_fuzz::request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::request(bytes));
