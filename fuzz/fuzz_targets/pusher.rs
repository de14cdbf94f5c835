//! See `roost_dialect::pusher::fuzz::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_dialect::pusher::fuzz::session(data));
