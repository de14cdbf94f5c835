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

/// A server decodes `stream`: whole, in single bytes and with one cut at each place (in long streams
/// at each place of each header), always to the same.
pub(crate) fn decode(stream: &[u8]) -> Transcript {
    decode_with(stream, Role::Server, &WIDE)
}

pub(crate) fn decode_with(stream: &[u8], role: Role, limits: &Limits) -> Transcript {
    let whole = transcript(stream, [stream.len()], role, limits);
    let single = transcript(stream, std::iter::repeat(1), role, limits);
    assert_eq!(whole, single, "single bytes of {stream:02x?}");
    for cut in cuts(stream) {
        let cut_once = transcript(stream, [cut, stream.len()], role, limits);
        assert_eq!(whole, cut_once, "cut at {cut} of {stream:02x?}");
    }
    whole
}

/// Where to cut a stream: everywhere in a short one; in a longer one near its beginning, and before
/// and behind each byte of each frame's header, as far as these can be read.
pub(crate) fn cuts(stream: &[u8]) -> Vec<usize> {
    if stream.len() < 512 {
        return (1..stream.len()).collect();
    }
    let mut cuts: Vec<usize> = (1..32).collect();
    let mut start = 0;
    while let Some(&[_, second]) = stream.get(start..).and_then(<[u8]>::first_chunk) {
        let extended = &stream[start + 2..];
        let (length_bytes, len) = match second & 0x7f {
            126 => (
                2,
                extended
                    .first_chunk()
                    .map(|&len| u16::from_be_bytes(len).into()),
            ),
            127 => (
                8,
                extended.first_chunk().map(|&len| u64::from_be_bytes(len)),
            ),
            len => (0, Some(u64::from(len))),
        };
        let header_len = 2 + length_bytes + usize::from(second >> 7) * 4;
        cuts.extend(start..=start + header_len);
        let len = len.and_then(|len| usize::try_from(len).ok());
        let Some(next) = len.and_then(|len| (start + header_len).checked_add(len)) else {
            break;
        };
        start = next;
    }
    cuts.retain(|cut| (1..stream.len()).contains(cut));
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}
