//! libFuzzer's entry to [`isos_fuzz::constraint`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::constraint(bytes));
