//! See `roost_tls::fuzz::shake`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_tls::fuzz::shake(data));
