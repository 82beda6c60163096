//! libFuzzer's entry to [`isos_fuzz::store::store_text`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::store::store_text(bytes));
