//! See `roost_dialect::fuzz::wamp_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_dialect::fuzz::wamp_json(data));
