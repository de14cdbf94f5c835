//! See `roost_dialect::centrifugo::fuzz::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_dialect::centrifugo::fuzz::session(data));
