//! See `roost_dialect::fuzz::delta`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_dialect::fuzz::delta(data));
