//! libFuzzer's entry to [`isos_fuzz::backup::backup_list`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::backup::backup_list(bytes));
