//! See `roost_wire::fuzz::forwarded`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_wire::fuzz::forwarded(data));
