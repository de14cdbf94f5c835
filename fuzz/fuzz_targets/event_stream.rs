//! See `roost_dialect::sse::fuzz::event_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_dialect::sse::fuzz::event_stream(data));
