//! libFuzzer's entry to [`isos_fuzz::sandbox::pipe_to_child`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::sandbox::pipe_to_child(bytes));
