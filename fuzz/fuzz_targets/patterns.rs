//! See `roost_hub::fuzz::patterns`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_hub::fuzz::patterns(data));
