//! Frame headers: opcodes, their encoding, and frames appended to a byte buffer.
//!
//! ```text
//!  0               1               2 …              (RFC 6455 §5.2)
//! +-+-+-+-+-------+-+-------------+---------------+-----------+---------+
//! |F|R|R|R|opcode |M| length      | 16 or 64 bits | mask, if M| payload |
//! |I|S|S|S|  (4)  |A| 0…125, 126, | if 126 or 127 | 4 bytes   |         |
//! |N|1|2|3|       |S| 127         |               |           |         |
//! +-+-+-+-+-------+-+-------------+---------------+-----------+---------+
//! ```

use crate::{CloseCode, mask};

/// What a frame is (RFC 6455 §5.2). Values 3…7 and 11…15 are reserved and never decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message begun before.
    Continuation = 0x0,
    /// UTF-8 text.
    Text = 0x1,
    /// Bytes without further meaning.
    Binary = 0x2,
    /// The close handshake.
    Close = 0x8,
    /// A question for liveness; answered by a pong with the same payload.
    Ping = 0x9,
    /// The answer to a ping, or a heartbeat.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode with this value, `None` when it is reserved.
    pub const fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return None,
        })
    }

    /// Close, ping or pong: never fragmented, at most [`CONTROL_BYTES_MAX`] of payload.
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// What a decoded frame header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The opcode as sent: [`Opcode::Continuation`] for the second and later fragments.
    pub opcode: Opcode,
    /// True on the last fragment, and so on every unfragmented frame.
    pub fin: bool,
    /// True on the first frame of a message compressed by permessage-deflate (RFC 7692 §6).
    pub rsv1: bool,
    /// Payload length in bytes.
    pub len: u64,
}

/// The longest payload of a control frame, in bytes (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// The longest header without a mask, in bytes: what a server sends.
pub const HEADER_BYTES_MAX: usize = 10;

/// The longest header with a mask, in bytes: what a client sends.
pub const MASKED_HEADER_BYTES_MAX: usize = HEADER_BYTES_MAX + 4;

/// Writes the header of an unmasked frame with `len` bytes of payload into `out` and returns the
/// header's length: 2, 4 or 10 bytes.
#[inline]
pub fn encode_header(
    opcode: Opcode,
    fin: bool,
    rsv1: bool,
    len: usize,
    out: &mut [u8; HEADER_BYTES_MAX],
) -> usize {
    out[0] = opcode as u8 | if fin { FIN } else { 0 } | if rsv1 { RSV1 } else { 0 };
    // RFC 6455 §5.2: the minimal number of bytes MUST be used to encode the length.
    if len <= LENGTH_7_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "at most 125")]
        let len = len as u8;
        out[1] = len;
        2
    } else if let Ok(len) = u16::try_from(len) {
        out[1] = LENGTH_16;
        out[2..4].copy_from_slice(&len.to_be_bytes());
        4
    } else {
        out[1] = LENGTH_64;
        out[2..10].copy_from_slice(&(len as u64).to_be_bytes());
        10
    }
}

/// Length in bytes of the unmasked header that goes with `len` bytes of payload.
pub const fn header_len(len: usize) -> usize {
    match len {
        0..=LENGTH_7_MAX => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Appends one whole unmasked frame, as a server sends it.
pub fn append_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let mut header = [0; HEADER_BYTES_MAX];
    let header_len = encode_header(opcode, true, false, payload.len(), &mut header);
    out.reserve(header_len + payload.len());
    out.extend_from_slice(&header[..header_len]);
    out.extend_from_slice(payload);
}

/// Appends a text or binary message in frames of at most `fragment_bytes_max` payload each; one
/// frame if it fits. `rsv1` says that the payload is compressed (RFC 7692 §6).
///
/// # Panics
/// When `fragment_bytes_max` is 0.
pub fn append_message(
    out: &mut Vec<u8>,
    opcode: Opcode,
    rsv1: bool,
    payload: &[u8],
    fragment_bytes_max: usize,
) {
    for (header, fragment) in fragments(opcode, rsv1, payload, fragment_bytes_max) {
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(fragment);
    }
}

/// A message cut into frames of at most `fragment_bytes_max` payload each: at least one.
///
/// # Panics
/// When `fragment_bytes_max` is 0.
pub(crate) fn fragments(
    opcode: Opcode,
    rsv1: bool,
    payload: &[u8],
    fragment_bytes_max: usize,
) -> impl Iterator<Item = (Header, &[u8])> {
    assert!(fragment_bytes_max > 0, "a fragment holds at least one byte");
    let mut left = Some(payload);
    let mut begins = true;
    std::iter::from_fn(move || {
        let payload = left?;
        let (fragment, rest) = payload.split_at(payload.len().min(fragment_bytes_max));
        let ends = rest.is_empty();
        left = (!ends).then_some(rest);
        // RFC 6455 §5.4: the opcode stands on the first frame, FIN on the last. RFC 7692 §6.1:
        // RSV1 stands on the first one too.
        let first = std::mem::replace(&mut begins, false);
        let opcode = if first { opcode } else { Opcode::Continuation };
        let mut bytes = [0; HEADER_BYTES_MAX];
        let len = encode_header(opcode, ends, rsv1 && first, fragment.len(), &mut bytes);
        Some((Header { bytes, len }, fragment))
    })
}

/// An encoded header.
pub(crate) struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl Header {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The unmasked frame at the front of `bytes`, its payload and what comes behind it. `None` when
/// no such frame lies there whole: for taking apart what a server has framed itself, not for what
/// a peer has sent.
pub fn split_frame(bytes: &[u8]) -> Option<(FrameHeader, &[u8], &[u8])> {
    let [first, length, rest @ ..] = bytes else {
        return None;
    };
    if first & RSV2_RSV3 != 0 {
        return None;
    }
    let (len, rest) = match *length {
        LENGTH_16 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            (u64::from(u16::from_be_bytes(*len)), rest)
        }
        LENGTH_64 => {
            let (len, rest) = rest.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*len), rest)
        }
        len if len & MASKED != 0 => return None,
        len => (u64::from(len), rest),
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    let header = FrameHeader {
        opcode: Opcode::from_bits(first & OPCODE)?,
        fin: first & FIN != 0,
        rsv1: first & RSV1 != 0,
        len,
    };
    Some((header, payload, rest))
}

/// Appends a whole unmasked close frame. See [`crate::Frozen::close`] for the reason's length.
pub fn append_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let mut body = [0; CONTROL_BYTES_MAX];
    let body_len = encode_close_body(code, reason, &mut body);
    append_frame(out, Opcode::Close, &body[..body_len]);
}

/// Appends one whole frame masked with `mask`, as a client sends it (RFC 6455 §5.3). The mask
/// should be new and unpredictable for each frame.
pub fn append_masked_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    append_masked_fragment(out, opcode, true, payload, mask);
}

/// Appends one frame of a fragmented message (`fin` on its last), masked with `mask`.
pub fn append_masked_fragment(
    out: &mut Vec<u8>,
    opcode: Opcode,
    fin: bool,
    payload: &[u8],
    mask: [u8; 4],
) {
    let mut header = [0; HEADER_BYTES_MAX];
    let header_len = encode_header(opcode, fin, false, payload.len(), &mut header);
    header[1] |= MASKED;
    out.reserve(header_len + mask.len() + payload.len());
    out.extend_from_slice(&header[..header_len]);
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], mask);
}

/// Writes code and reason into `out`, the reason cut at a character boundary so that both fit, and
/// returns the length.
pub(crate) fn encode_close_body(
    code: CloseCode,
    reason: &str,
    out: &mut [u8; CONTROL_BYTES_MAX],
) -> usize {
    let reason_len = prefix_len(reason, CONTROL_BYTES_MAX - 2);
    out[..2].copy_from_slice(&code.get().to_be_bytes());
    out[2..2 + reason_len].copy_from_slice(&reason.as_bytes()[..reason_len]);
    2 + reason_len
}

/// The length of the longest prefix of whole characters within `bytes_max`.
fn prefix_len(text: &str, bytes_max: usize) -> usize {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const RSV2_RSV3: u8 = 0x30;
pub(crate) const OPCODE: u8 = 0x0F;
pub(crate) const MASKED: u8 = 0x80;
pub(crate) const LENGTH: u8 = 0x7F;
pub(crate) const LENGTH_7_MAX: usize = 125;
pub(crate) const LENGTH_16: u8 = 126;
pub(crate) const LENGTH_64: u8 = 127;
