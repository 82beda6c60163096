//! libFuzzer's entry to [`isos_fuzz::storage_grant`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::storage_grant(bytes));
