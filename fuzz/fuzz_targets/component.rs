//! libFuzzer's entry to [`isos_fuzz::sandbox::component`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::sandbox::component(bytes));
