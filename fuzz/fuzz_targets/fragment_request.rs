//! libFuzzer's entry to [`isos_fuzz::fragment_request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::fragment_request(bytes));
