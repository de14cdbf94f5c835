//! See `roost_tls::fuzz::open`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_tls::fuzz::open(data));
