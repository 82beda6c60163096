//! libFuzzer's entry to [`isos_fuzz::route_ask`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::route_ask(bytes));
