//! See `roost_wire::fuzz::body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_wire::fuzz::body(data));
