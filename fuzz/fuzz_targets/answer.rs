//! See `roost_hooks::fuzz::answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roost_hooks::fuzz::answer(data));
