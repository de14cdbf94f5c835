//! See `roost_dialect::centrifugo::fuzz::protobuf_session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    roost_dialect::centrifugo::fuzz::protobuf_session(data);
});
