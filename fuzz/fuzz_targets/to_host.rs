//! libFuzzer's entry to [`isos_fuzz::to_host`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::to_host(bytes));
