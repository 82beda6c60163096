//! libFuzzer's entry to [`isos_fuzz::gossip_answer`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::gossip_answer(bytes));
