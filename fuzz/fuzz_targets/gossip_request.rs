//! libFuzzer's entry to [`isos_fuzz::gossip_request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isos_fuzz::gossip_request(bytes));
