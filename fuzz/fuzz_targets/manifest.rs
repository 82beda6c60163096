//! libFuzzer's entry to [`isos_fuzz::store::manifest`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::store::manifest(bytes));
