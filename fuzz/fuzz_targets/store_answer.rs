//! libFuzzer's entry to [`isos_fuzz::store::store_answer`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::store::store_answer(bytes));
