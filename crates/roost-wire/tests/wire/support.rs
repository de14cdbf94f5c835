//! Frames by hand, and decoding with every check on.

use roost_wire::fuzz::{Transcript, transcript};
use roost_wire::{Limits, Role, mask};

/// Limits that no test of something else meets.
pub(crate) const WIDE: Limits = Limits {
    frame_bytes_max: 1 << 30,
    message_bytes_max: 1 << 30,
};

pub(crate) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame with this first byte, its length in the shortest form.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len @ ..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    masked(frame, payload)
}

/// `header`, a mask, and `payload` masked with it.
pub(crate) fn masked(mut header: Vec<u8>, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    mask::apply(&mut payload, MASK);
    header.extend(MASK);
    header.extend(payload);
    header
}

/// A server decodes `stream`: whole, in single bytes and with one cut at each place (in streams of
/// moderate length), always to the same.
pub(crate) fn decode(stream: &[u8]) -> Transcript {
    decode_with(stream, Role::Server, &WIDE)
}

pub(crate) fn decode_with(stream: &[u8], role: Role, limits: &Limits) -> Transcript {
    let whole = transcript(stream, [stream.len()], role, limits);
    let single = transcript(stream, std::iter::repeat(1), role, limits);
    assert_eq!(whole, single, "single bytes of {stream:02x?}");
    let cuts = match stream.len() {
        len @ ..512 => len,
        _ => 32,
    };
    for cut in 1..cuts {
        let cut_once = transcript(stream, [cut, stream.len()], role, limits);
        assert_eq!(whole, cut_once, "cut at {cut} of {stream:02x?}");
    }
    whole
}
