//! See `roost_wire::fuzz::proxy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_wire::fuzz::proxy(data));
