//! The frame layer: headers at any split point, payloads unmasked in place.

use crate::frame::{
    FIN, FrameHeader, LENGTH, LENGTH_7_MAX, LENGTH_16, LENGTH_64, MASKED, MASKED_HEADER_BYTES_MAX,
    OPCODE, Opcode, RSV1, RSV2_RSV3,
};
use crate::input::{Input, Limits};
use crate::{ProtocolError, mask};

/// Which end of the connection decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Frames come from a client and must be masked.
    Server,
    /// Frames come from a server and must not be masked.
    Client,
}

/// Reads frames: 32 bytes of plain state, resumable at any byte.
///
/// Checks all that RFC 6455 §5 says about a frame and about the order of frames, and the limits,
/// each as soon as the byte that decides it has come, and before any byte of the payload. Once an
/// error was returned the connection is over and the decoder of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoder {
    /// Payload bytes of the current frame still to come.
    left: u64,
    /// Payload bytes declared so far by the fragments of the current message.
    message_bytes: u64,
    /// `header[..filled]` is what has come of the current frame's header; kept whole while its
    /// payload is under way.
    header: [u8; MASKED_HEADER_BYTES_MAX],
    filled: u8,
    flags: u8,
}

const _: () = assert!(size_of::<Decoder>() <= 32);

/// A piece of one frame's payload, unmasked, in the lease. The pieces of a frame come in order and
/// without gap; a frame without payload is one empty piece.
#[derive(Debug, PartialEq, Eq)]
pub struct FramePart<'l> {
    /// The frame's header as sent.
    pub header: FrameHeader,
    /// The opcode of the message that the frame belongs to: of its first fragment.
    pub message: Opcode,
    /// True when the message that the frame belongs to is compressed (RFC 7692).
    pub compressed: bool,
    /// Where in the frame's payload this piece begins.
    pub offset: u64,
    /// The piece.
    pub payload: &'l mut [u8],
}

impl FramePart<'_> {
    /// Bytes of the frame's payload that are still to come.
    pub fn left(&self) -> u64 {
        self.header.len - self.offset - self.payload.len() as u64
    }

    /// True on the last piece of a frame.
    pub fn ends_frame(&self) -> bool {
        self.left() == 0
    }

    /// True on the last piece of the last frame of a message.
    pub fn ends_message(&self) -> bool {
        self.header.fin && self.ends_frame()
    }

    /// True when this piece is a message in full: unfragmented and wholly in the lease.
    pub fn is_whole_message(&self) -> bool {
        self.header.opcode != Opcode::Continuation && self.offset == 0 && self.ends_message()
    }
}

impl Decoder {
    /// A decoder before the first byte, or between two messages: they are the same.
    pub const fn new(role: Role) -> Decoder {
        Decoder {
            left: 0,
            message_bytes: 0,
            header: [0; MASKED_HEADER_BYTES_MAX],
            filled: 0,
            flags: match role {
                Role::Server => 0,
                Role::Client => CLIENT,
            },
        }
    }

    /// The next piece of payload, or `None` when the input is used up. `rsv1_allowed` says whether
    /// permessage-deflate was negotiated.
    #[inline]
    pub fn next<'l>(
        &mut self,
        input: &mut Input<'l>,
        limits: &Limits,
        rsv1_allowed: bool,
    ) -> Result<Option<FramePart<'l>>, ProtocolError> {
        if self.flags & IN_PAYLOAD == 0 && !self.read_header(input, limits, rsv1_allowed)? {
            return Ok(None);
        }
        let header = self.current();
        let take = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        if take == 0 && self.left > 0 {
            return Ok(None);
        }
        let offset = header.len - self.left;
        let payload = input.take(take);
        if self.flags & CLIENT == 0 {
            mask::apply(payload, mask::rotate(self.mask(), (offset % 4) as usize));
        }
        self.left -= take as u64;
        let (message, compressed) = match header.opcode.is_control() {
            true => (header.opcode, false),
            false => self.message(),
        };
        if self.left == 0 {
            self.end_frame(header);
        }
        Ok(Some(FramePart {
            header,
            message,
            compressed,
            offset,
            payload,
        }))
    }

    /// The frame at the front of the input, if it is what nearly all frames are: an unfragmented
    /// message or a ping or pong, without extension, in the input to its last byte, and legal.
    /// Otherwise `None`, with nothing consumed: [`Decoder::next`] then finds out what it is.
    ///
    /// This is [`Decoder::next`] without its state: half the instructions for a short text
    /// (`examples/decode_count.rs`).
    #[inline]
    pub(crate) fn next_whole<'l>(
        &self,
        input: &mut Input<'l>,
        limits: &Limits,
    ) -> Option<(Opcode, &'l mut [u8])> {
        if !self.is_quiet() {
            return None;
        }
        let [first, second, extended @ ..] = input.rest() else {
            return None;
        };
        let opcode = match *first {
            0x81 => Opcode::Text,
            0x82 => Opcode::Binary,
            0x89 => Opcode::Ping,
            0x8A => Opcode::Pong,
            _ => return None,
        };
        let (length_bytes, len) = match second & LENGTH {
            LENGTH_64 => return None,
            LENGTH_16 => {
                let len = usize::from(u16::from_be_bytes(*extended.first_chunk()?));
                if len <= LENGTH_7_MAX || opcode.is_control() {
                    return None;
                }
                (2, len)
            }
            len => (0, usize::from(len)),
        };
        if len > limits.frame_bytes_max || len > limits.message_bytes_max {
            return None;
        }
        let header_len = 2 + length_bytes + self.mask_bytes();
        let masked = second & MASKED != 0;
        if masked != (self.role() == Role::Server) || input.len() < header_len + len {
            return None;
        }
        let (header, payload) = input.take(header_len + len).split_at_mut(header_len);
        if masked {
            mask::apply(payload, *header.last_chunk()?);
        }
        Some((opcode, payload))
    }

    /// True between two messages, when not even a byte of a header has come: a new decoder of the
    /// same role would do as well.
    pub const fn is_quiet(&self) -> bool {
        self.filled == 0 && self.flags & (IN_PAYLOAD | IN_MESSAGE) == 0
    }

    /// The role it was made for.
    pub const fn role(&self) -> Role {
        match self.flags & CLIENT {
            0 => Role::Server,
            _ => Role::Client,
        }
    }

    /// Takes the header's bytes from the input, checking each part as soon as it is there. True
    /// when the header is whole.
    fn read_header(
        &mut self,
        input: &mut Input<'_>,
        limits: &Limits,
        rsv1_allowed: bool,
    ) -> Result<bool, ProtocolError> {
        if self.filled == 0 {
            let Some(byte) = input.take_byte() else {
                return Ok(false);
            };
            self.check_first(byte, rsv1_allowed)?;
            self.header[0] = byte;
            self.filled = 1;
        }
        if self.filled == 1 {
            let Some(byte) = input.take_byte() else {
                return Ok(false);
            };
            self.check_second(byte)?;
            self.header[1] = byte;
            self.filled = 2;
        }
        let have = usize::from(self.filled);
        let whole = 2 + self.length_bytes() + self.mask_bytes();
        let take = input.len().min(whole - have);
        self.header[have..have + take].copy_from_slice(input.take(take));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a header has at most 14 bytes"
        )]
        let taken = take as u8;
        self.filled += taken;
        // The length is judged before the mask is there: a peer that stops after a bad length is
        // told so at once.
        if have + take < 2 + self.length_bytes() {
            return Ok(false);
        }
        let len = self.checked_len(limits)?;
        if have + take < whole {
            return Ok(false);
        }
        self.begin_frame(len);
        Ok(true)
    }

    /// The first byte of a header: FIN, RSV1…3, opcode.
    fn check_first(&self, byte: u8, rsv1_allowed: bool) -> Result<(), ProtocolError> {
        // RFC 6455 §5.2: RSV1, RSV2, RSV3 MUST be 0 unless an extension is negotiated that
        // defines meanings for non-zero values; otherwise fail the connection.
        if byte & RSV2_RSV3 != 0 || (byte & RSV1 != 0 && !rsv1_allowed) {
            return Err(ProtocolError::ReservedBit);
        }
        // RFC 6455 §5.2: if an unknown opcode is received, fail the connection.
        let opcode = Opcode::from_bits(byte & OPCODE).ok_or(ProtocolError::ReservedOpcode)?;
        let in_message = self.flags & IN_MESSAGE != 0;
        match opcode {
            // RFC 6455 §5.5: control frames MUST NOT be fragmented. They may stand between the
            // fragments of a message (§5.4).
            Opcode::Close | Opcode::Ping | Opcode::Pong if byte & FIN == 0 => {
                Err(ProtocolError::ControlFragmented)
            }
            // RFC 6455 §5.4: the fragments of one message MUST NOT be interleaved with those of
            // another, and a continuation continues something.
            Opcode::Text | Opcode::Binary if in_message => Err(ProtocolError::ContinuationExpected),
            Opcode::Continuation if !in_message => Err(ProtocolError::ContinuationUnexpected),
            // RFC 7692 §6.1: RSV1 stands on the first frame of a message, and never on a control
            // frame (§6: an endpoint MUST NOT set it on control frames or later fragments).
            Opcode::Text | Opcode::Binary => Ok(()),
            _ if byte & RSV1 != 0 => Err(ProtocolError::ReservedBit),
            _ => Ok(()),
        }
    }

    /// The second byte of a header: MASK and the short length.
    fn check_second(&self, byte: u8) -> Result<(), ProtocolError> {
        // RFC 6455 §5.1: a server MUST close the connection upon receiving a frame that is not
        // masked; a client MUST close it if it detects a masked frame.
        match (self.role(), byte & MASKED != 0) {
            (Role::Server, false) => return Err(ProtocolError::Unmasked),
            (Role::Client, true) => return Err(ProtocolError::Masked),
            _ => {}
        }
        // RFC 6455 §5.5: control frames carry at most 125 bytes, so never an extended length.
        let control = self.header[0] & OPCODE & 0x8 != 0;
        if control && usize::from(byte & LENGTH) > LENGTH_7_MAX {
            return Err(ProtocolError::ControlTooLong);
        }
        Ok(())
    }

    /// The payload length, checked. The bytes of the length have come.
    fn checked_len(&self, limits: &Limits) -> Result<u64, ProtocolError> {
        let len = self.declared_len();
        // RFC 6455 §5.2: the minimal number of bytes MUST be used to encode the length, and the
        // most significant bit of a 64-bit length MUST be 0.
        match self.header[1] & LENGTH {
            LENGTH_16 if len <= LENGTH_7_MAX as u64 => return Err(ProtocolError::LengthNotMinimal),
            LENGTH_64 if len <= 0xFFFF => return Err(ProtocolError::LengthNotMinimal),
            LENGTH_64 if len >> 63 != 0 => return Err(ProtocolError::LengthOverflow),
            _ => {}
        }
        let control = self.header[0] & OPCODE & 0x8 != 0;
        if control {
            return Ok(len);
        }
        if len > limits.frame_bytes_max as u64 {
            return Err(ProtocolError::FrameTooBig);
        }
        // A subtraction, since the sum of two lengths of the peer's could overflow.
        let room = (limits.message_bytes_max as u64).saturating_sub(self.message_bytes);
        if len > room {
            return Err(ProtocolError::MessageTooBig);
        }
        Ok(len)
    }

    /// The header is whole and checked.
    fn begin_frame(&mut self, len: u64) {
        self.left = len;
        self.flags |= IN_PAYLOAD;
        let first = self.header[0];
        match Opcode::from_bits(first & OPCODE) {
            Some(Opcode::Continuation) => self.message_bytes += len,
            Some(opcode @ (Opcode::Text | Opcode::Binary)) => {
                self.message_bytes = len;
                self.flags &= !(TEXT | COMPRESSED);
                self.flags |= IN_MESSAGE;
                if opcode == Opcode::Text {
                    self.flags |= TEXT;
                }
                if first & RSV1 != 0 {
                    self.flags |= COMPRESSED;
                }
            }
            _ => {}
        }
    }

    /// The last byte of the payload has been given out.
    fn end_frame(&mut self, header: FrameHeader) {
        self.flags &= !IN_PAYLOAD;
        self.filled = 0;
        if header.fin && !header.opcode.is_control() {
            self.flags &= !(IN_MESSAGE | TEXT | COMPRESSED);
            self.message_bytes = 0;
        }
    }

    /// The current frame's header, which is whole.
    fn current(&self) -> FrameHeader {
        FrameHeader {
            opcode: Opcode::from_bits(self.header[0] & OPCODE).expect("checked with the header"),
            fin: self.header[0] & FIN != 0,
            rsv1: self.header[0] & RSV1 != 0,
            len: self.declared_len(),
        }
    }

    /// The payload length, from the bytes of the header that say it.
    fn declared_len(&self) -> u64 {
        let [_, short, extended @ ..] = &self.header;
        let [a, b, c, d, e, f, g, h, ..] = *extended;
        match short & LENGTH {
            LENGTH_16 => u64::from(u16::from_be_bytes([a, b])),
            LENGTH_64 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        }
    }

    /// The frame's mask, which follows the length.
    fn mask(&self) -> [u8; 4] {
        let at = 2 + self.length_bytes();
        self.header[at..at + 4]
            .try_into()
            .expect("four bytes of four")
    }

    /// How many bytes of extended length follow the first two bytes.
    fn length_bytes(&self) -> usize {
        match self.header[1] & LENGTH {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            _ => 0,
        }
    }

    /// How many bytes of mask follow the length.
    fn mask_bytes(&self) -> usize {
        match self.role() {
            Role::Server => 4,
            Role::Client => 0,
        }
    }

    /// Opcode of the message under way, and whether it is compressed.
    fn message(&self) -> (Opcode, bool) {
        let opcode = match self.flags & TEXT {
            0 => Opcode::Binary,
            _ => Opcode::Text,
        };
        (opcode, self.flags & COMPRESSED != 0)
    }
}

/// Frames come from a server.
const CLIENT: u8 = 1 << 0;
/// The header is whole, the payload not yet.
const IN_PAYLOAD: u8 = 1 << 1;
/// A message has begun and its last frame not ended.
const IN_MESSAGE: u8 = 1 << 2;
/// That message is text.
const TEXT: u8 = 1 << 3;
/// That message is compressed.
const COMPRESSED: u8 = 1 << 4;
