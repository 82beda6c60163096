//! libFuzzer's entry to [`isos_fuzz::store::head`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::store::head(bytes));
