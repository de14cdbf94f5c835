//! Messages out.

use crate::frozen::{Frozen, build, put};
use crate::hixie::inbound::{BINARY, CLOSE, TEXT, TEXT_END};
use crate::{Message, Opcode};

/// A message in the early framing, `None` for what it has not: pings and pongs. A close loses its
/// code and reason.
pub fn message(message: Message<'_>) -> Option<Frozen> {
    match message {
        Message::Text(text) => Some(build(text.len() + 2, |out| {
            put(out, &[TEXT]);
            put(out, text.as_bytes());
            put(out, &[TEXT_END]);
        })),
        Message::Binary(bytes) => {
            let mut length = [0; LENGTH_BYTES_MAX];
            let length = encode_length(bytes.len(), &mut length);
            Some(build(1 + length.len() + bytes.len(), |out| {
                put(out, &[BINARY]);
                put(out, length);
                put(out, bytes);
            }))
        }
        Message::Close(..) => Some(close()),
        Message::Ping(_) | Message::Pong(_) => None,
    }
}

/// The closing handshake of draft 76, from either side.
pub fn close() -> Frozen {
    build(2, |out| put(out, &[CLOSE, 0x00]))
}

/// Appends a text or binary message in the early framing. Text must be UTF-8, as a message's
/// payload is that was decoded or frozen as text.
///
/// # Panics
/// When `opcode` is neither text nor binary.
pub fn append_message(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    match opcode {
        Opcode::Text => {
            debug_assert!(!payload.contains(&TEXT_END), "0xFF is no part of UTF-8");
            out.reserve(payload.len() + 2);
            out.push(TEXT);
            out.extend_from_slice(payload);
            out.push(TEXT_END);
        }
        Opcode::Binary => {
            let mut length = [0; LENGTH_BYTES_MAX];
            let length = encode_length(payload.len(), &mut length);
            out.reserve(1 + length.len() + payload.len());
            out.push(BINARY);
            out.extend_from_slice(length);
            out.extend_from_slice(payload);
        }
        _ => panic!("the early framings have no {opcode:?}"),
    }
}

/// Seven bits a byte, the most significant first, the top bit set on all but the last.
#[expect(clippy::cast_possible_truncation, reason = "seven bits each")]
fn encode_length(len: usize, out: &mut [u8; LENGTH_BYTES_MAX]) -> &[u8] {
    let mut at = LENGTH_BYTES_MAX - 1;
    out[at] = (len & 0x7F) as u8;
    let mut rest = len >> 7;
    while rest > 0 {
        at -= 1;
        out[at] = 0x80 | (rest & 0x7F) as u8;
        rest >>= 7;
    }
    &out[at..]
}

/// 64 bits, seven a byte.
const LENGTH_BYTES_MAX: usize = 10;
