//! See `roost_dialect::fuzz::wamp_cbor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_dialect::fuzz::wamp_cbor(data));
