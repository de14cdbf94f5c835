//! See `roost_tokens::fuzz::token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_tokens::fuzz::token(data));
