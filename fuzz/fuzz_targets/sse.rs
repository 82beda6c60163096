//! libFuzzer's entry to [`isos_fuzz::sse`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::sse(bytes));
