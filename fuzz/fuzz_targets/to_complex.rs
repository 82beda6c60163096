//! libFuzzer's entry to [`isos_fuzz::to_complex`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::to_complex(bytes));
