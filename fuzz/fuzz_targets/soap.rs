//! See `roost_dialect::soap::fuzz::envelope`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_dialect::soap::fuzz::envelope(data));
