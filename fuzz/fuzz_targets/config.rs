//! See `roost_config::fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_config::fuzz::config(data));
