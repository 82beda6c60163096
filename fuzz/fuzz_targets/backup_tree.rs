//! libFuzzer's entry to [`isos_fuzz::backup::backup_tree`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::backup::backup_tree(bytes));
