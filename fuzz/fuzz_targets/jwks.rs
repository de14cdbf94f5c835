//! See `roost_tokens::fuzz::jwks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_tokens::fuzz::jwks(data));
