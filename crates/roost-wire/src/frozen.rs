//! One outgoing message, encoded once and shared by all who receive it.

use std::fmt;
use std::iter::repeat_n;
use std::sync::Arc;

use crate::CloseCode;
use crate::frame::{
    CONTROL_BYTES_MAX, FIN, HEADER_BYTES_MAX, LENGTH, LENGTH_16, LENGTH_64, OPCODE, Opcode, RSV1,
    encode_close_body, encode_header, fragments, header_len,
};

/// The bytes of one message as a server sends it: one frame, or several of a fragmented message,
/// headers included; or in one of the early framings ([`crate::hixie`]), or a piece of an event stream,
/// which has none. Immutable and shared: a clone is one reference count.
///
/// A server's frames carry no mask (RFC 6455 §5.1), so one image fits every receiver.
#[derive(Clone, PartialEq, Eq)]
pub struct Frozen {
    /// Never empty: at least one header.
    bytes: Arc<[u8]>,
}

impl Frozen {
    /// One unfragmented frame. One allocation, one copy of the payload.
    ///
    /// # Panics
    /// When `opcode` is a control opcode and the payload longer than 125 bytes.
    pub fn message(opcode: Opcode, payload: &[u8]) -> Frozen {
        Frozen::from_parts(opcode, &[payload])
    }

    /// One unfragmented frame whose payload is `parts` in a row.
    ///
    /// # Panics
    /// When `opcode` is a control opcode and the payload longer than 125 bytes.
    pub fn from_parts(opcode: Opcode, parts: &[&[u8]]) -> Frozen {
        let len = parts.iter().map(|part| part.len()).sum();
        assert!(
            !opcode.is_control() || len <= CONTROL_BYTES_MAX,
            "a control frame carries at most 125 bytes"
        );
        let mut header = [0; HEADER_BYTES_MAX];
        let header_len = encode_header(opcode, true, false, len, &mut header);
        build(header_len + len, |out| {
            put(out, &header[..header_len]);
            for part in parts {
                put(out, part);
            }
        })
    }

    /// A piece of a stream, as it goes out: lines of an event stream, or of JSON.
    ///
    /// # Panics
    /// When it does not begin with a lower-case letter or a colon, as a field or a comment does, or with the brace of
    /// an object.
    pub fn of_stream(lines: &[u8]) -> Frozen {
        let first = lines.first().copied().unwrap_or_default();
        assert!(
            matches!(first, b':' | b'{') || first.is_ascii_lowercase(),
            "a field's name, a comment or an object"
        );
        build(lines.len(), |out| put(out, lines))
    }

    /// The same of a stream of bytes, which may begin with any. Its opcode and payload say nothing.
    ///
    /// # Panics
    /// When there are none.
    pub fn of_bytes(bytes: &[u8]) -> Frozen {
        assert!(!bytes.is_empty(), "a piece of a stream has bytes");
        build(bytes.len(), |out| put(out, bytes))
    }

    /// A ping or pong (or a close whose body is already made).
    ///
    /// # Panics
    /// When `opcode` is not a control opcode or the payload longer than 125 bytes.
    pub fn control(opcode: Opcode, payload: &[u8]) -> Frozen {
        assert!(opcode.is_control(), "{opcode:?} is not a control opcode");
        Frozen::from_parts(opcode, &[payload])
    }

    /// A close frame. A reason of more than 123 bytes is cut at a character boundary.
    pub fn close(code: CloseCode, reason: &str) -> Frozen {
        let mut body = [0; CONTROL_BYTES_MAX];
        let body_len = encode_close_body(code, reason, &mut body);
        Frozen::from_parts(Opcode::Close, &[&body[..body_len]])
    }

    /// A message in frames of at most `fragment_bytes_max` payload each; one frame if it fits.
    ///
    /// # Panics
    /// When `fragment_bytes_max` is 0 or `opcode` is not text or binary.
    pub fn fragmented(opcode: Opcode, payload: &[u8], fragment_bytes_max: usize) -> Frozen {
        fragmented(opcode, false, payload, fragment_bytes_max)
    }

    /// A message whose payload was compressed by [`crate::deflate::Deflater::deflate`], for those
    /// who agreed to that. In frames of at most `fragment_bytes_max` payload each.
    ///
    /// # Panics
    /// When `fragment_bytes_max` is 0 or `opcode` is not text or binary.
    pub fn compressed(opcode: Opcode, deflated: &[u8], fragment_bytes_max: usize) -> Frozen {
        fragmented(opcode, true, deflated, fragment_bytes_max)
    }

    /// All bytes, ready for the socket.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The shared bytes themselves, for a send by reference.
    pub fn shared(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Length on the wire, in bytes. Never 0.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The message's opcode.
    pub fn opcode(&self) -> Opcode {
        match self.bytes[0] {
            EARLY_TEXT => Opcode::Text,
            EARLY_BINARY => Opcode::Binary,
            EARLY_CLOSE => Opcode::Close,
            first if is_of_stream(first) => Opcode::Text,
            // No frame has another but a piece of a stream of bytes.
            first => Opcode::from_bits(first & OPCODE).unwrap_or(Opcode::Binary),
        }
    }

    /// True when the payload is compressed.
    pub fn is_compressed(&self) -> bool {
        let first = self.bytes[0];
        first & RSV1 != 0 && first != EARLY_CLOSE && !is_of_stream(first)
    }

    /// The payload as it is sent, `None` when it lies in several fragments, or in none: in an event
    /// stream. Of a stream of bytes it says nothing.
    pub fn payload(&self) -> Option<&[u8]> {
        let bytes = &*self.bytes;
        match bytes[0] {
            EARLY_TEXT => bytes.get(1..bytes.len() - 1),
            EARLY_CLOSE => Some(&[][..]),
            EARLY_BINARY => {
                let length = bytes[1..].iter().take_while(|&&byte| byte & 0x80 != 0);
                bytes.get(2 + length.count()..)
            }
            first if first & FIN == 0 => None,
            _ => match bytes.get(1)? & LENGTH {
                LENGTH_16 => bytes.get(4..),
                LENGTH_64 => bytes.get(10..),
                _ => bytes.get(2..),
            },
        }
    }
}

impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frozen({:?}, {} B)", self.opcode(), self.len())
    }
}

/// No frame of ours begins so: they leave RSV2 and RSV3 alone (RFC 6455 §5.2).
fn is_of_stream(first: u8) -> bool {
    first & FIN == 0 && first & 0x30 != 0
}

/// A text or binary message in as many frames as it takes.
fn fragmented(opcode: Opcode, rsv1: bool, payload: &[u8], fragment_bytes_max: usize) -> Frozen {
    assert!(fragment_bytes_max > 0, "a fragment holds at least one byte");
    assert!(
        matches!(opcode, Opcode::Text | Opcode::Binary),
        "only text and binary messages are fragmented"
    );
    // So that a limit out of reach takes no part in sums.
    let fragment_bytes_max = fragment_bytes_max.min(payload.len().max(1));
    let count = payload.len().div_ceil(fragment_bytes_max).max(1);
    let last = count - 1;
    // The last fragment has what the full ones leave.
    let last_len = payload.len() - last * fragment_bytes_max;
    let total = last * (header_len(fragment_bytes_max) + fragment_bytes_max)
        + (header_len(last_len) + last_len);
    build(total, |out| {
        for (header, fragment) in fragments(opcode, rsv1, payload, fragment_bytes_max) {
            put(out, header.as_bytes());
            put(out, fragment);
        }
    })
}

/// Allocates `len` zeroed shared bytes and lets `fill` write them, from the front to the end.
///
/// Of the safe ways, zeroing first costs least from 125 B on: 20 ns there, through a `Vec` 25, by
/// collecting 111 (`examples/freeze_speed.rs`).
pub(crate) fn build(len: usize, fill: impl FnOnce(&mut &mut [u8])) -> Frozen {
    let mut bytes: Arc<[u8]> = repeat_n(0, len).collect();
    let mut out = Arc::get_mut(&mut bytes).expect("just made, so it is not shared");
    fill(&mut out);
    debug_assert!(out.is_empty(), "a frame is as long as was computed");
    Frozen { bytes }
}

/// Copies `bytes` to the front of `out` and moves `out` past them.
pub(crate) fn put(out: &mut &mut [u8], bytes: &[u8]) {
    let (front, rest) = std::mem::take(out).split_at_mut(bytes.len());
    front.copy_from_slice(bytes);
    *out = rest;
}

// What the early framings begin with (crate::hixie). No RFC 6455 message begins so: a continuation
// is no beginning, and 15 is no opcode.
const EARLY_TEXT: u8 = 0x00;
const EARLY_BINARY: u8 = 0x80;
const EARLY_CLOSE: u8 = 0xFF;
