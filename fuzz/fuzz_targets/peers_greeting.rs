//! libFuzzer's entry to [`isos_fuzz::peers_greeting`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::peers_greeting(bytes));
