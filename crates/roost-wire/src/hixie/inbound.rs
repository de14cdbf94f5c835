//! Messages in.

use crate::assembly::Assembly;
use crate::inbound::data;
use crate::{Input, Limits, Message, Opcode, ProtocolError};

/// Messages of one connection in the early framing, from bytes in any pieces. To be used as
/// [`crate::Inbound`] is: nothing is stored between messages, and the same bounds hold.
///
/// The kinds of frames that the drafts have a server discard (types other than `0x00`, `0x80` and
/// the close) are skipped, whatever their length: skipping pins nothing.
#[derive(Debug)]
pub struct Inbound {
    state: State,
    message: Assembly,
    /// The message was lent out by the last call.
    lent: bool,
}

/// What the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A frame's type.
    Type,
    /// Of a frame that ends with `0xFF`.
    Delimited { skip: bool },
    /// Of the length of a frame of this type.
    Length { frame_type: u8, len: u64 },
    /// Of a frame's body, with so many to come.
    Body { skip: bool, left: u64 },
}

impl Inbound {
    /// A connection's beginning, or its state between two messages.
    pub const fn new() -> Inbound {
        Inbound {
            state: State::Type,
            message: Assembly::new(),
            lent: false,
        }
    }

    /// The next message, or `None` when the input is used up. After an error or a close the
    /// connection is over; call no more.
    pub fn next<'a, 'l: 'a>(
        &'a mut self,
        input: &mut Input<'l>,
        limits: &Limits,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        if std::mem::take(&mut self.lent) {
            self.message.clear();
        }
        let Some(whole) = self.advance(input, limits)? else {
            return Ok(None);
        };
        match whole {
            Whole::Lease(opcode, payload) => data(opcode, payload).map(Some),
            Whole::Message(opcode) => {
                self.message.count(self.message.bytes().len());
                self.lent = true;
                data(opcode, self.message.bytes()).map(Some)
            }
            Whole::Close => Ok(Some(Message::Close(None, ""))),
        }
    }

    /// True when nothing of the peer's is retained. Ask when [`Inbound::next`] has said `None`.
    pub fn is_quiet(&self) -> bool {
        self.state == State::Type && self.message.capacity() == 0
    }

    /// Bytes of memory this takes while it is stored; bounded as
    /// [`crate::Inbound::pinned_bytes`].
    pub fn pinned_bytes(&self) -> usize {
        size_of::<Inbound>() + self.message.capacity()
    }

    /// Work done since it was made; see [`crate::Inbound::steps`].
    pub fn steps(&self) -> u64 {
        self.message.steps()
    }

    /// Decodes until a message is whole.
    fn advance<'l>(
        &mut self,
        input: &mut Input<'l>,
        limits: &Limits,
    ) -> Result<Option<Whole<'l>>, ProtocolError> {
        while !input.is_empty() || matches!(self.state, State::Body { left: 0, .. }) {
            let before = input.len();
            let whole = match self.state {
                State::Type => {
                    self.take_type(input);
                    None
                }
                State::Delimited { skip } => self.take_delimited(input, skip, limits)?,
                State::Length { frame_type, len } => {
                    self.take_length(input, frame_type, len, limits)?
                }
                State::Body { skip, left } => self.take_body(input, skip, left),
            };
            self.message.count(before - input.len());
            if whole.is_some() {
                return Ok(whole);
            }
        }
        Ok(None)
    }

    fn take_type(&mut self, input: &mut Input<'_>) {
        if let Some(frame_type) = input.take_byte() {
            // Draft 76 §5.3: with the top bit set a length follows, else all up to 0xFF.
            self.state = match frame_type {
                TEXT..0x80 => State::Delimited {
                    skip: frame_type != TEXT,
                },
                BINARY..=CLOSE => State::Length { frame_type, len: 0 },
            };
        }
    }

    fn take_delimited<'l>(
        &mut self,
        input: &mut Input<'l>,
        skip: bool,
        limits: &Limits,
    ) -> Result<Option<Whole<'l>>, ProtocolError> {
        let end = input.rest().iter().position(|&byte| byte == TEXT_END);
        let piece = &*input.take(end.unwrap_or(input.len()));
        if end.is_some() {
            input.take(1);
            self.state = State::Type;
        }
        if skip {
            return Ok(None);
        }
        let (bytes_max, error) = tighter(limits);
        let room = bytes_max.saturating_sub(self.message.bytes().len());
        if piece.len() > room {
            // What is within the limit is judged first, as if it had come alone.
            self.message.push_text(&piece[..room])?;
            return Err(error);
        }
        if end.is_some() && self.message.bytes().is_empty() {
            return Ok(Some(Whole::Lease(Opcode::Text, piece)));
        }
        self.message.push_text(piece)?;
        Ok(end.map(|_| Whole::Message(Opcode::Text)))
    }

    /// Draft 76 §5.3: seven bits a byte, the most significant first; the top bit says that another
    /// byte follows.
    fn take_length<'l>(
        &mut self,
        input: &mut Input<'l>,
        frame_type: u8,
        len: u64,
        limits: &Limits,
    ) -> Result<Option<Whole<'l>>, ProtocolError> {
        let Some(byte) = input.take_byte() else {
            return Ok(None);
        };
        // The drafts do not forbid leading zeros, but a length of any number of bytes.
        if len == 0 && byte == 0x80 {
            return Err(ProtocolError::LengthNotMinimal);
        }
        if len > u64::MAX >> 7 {
            return Err(ProtocolError::LengthOverflow);
        }
        let len = len << 7 | u64::from(byte & 0x7F);
        let (bytes_max, error) = tighter(limits);
        if frame_type == BINARY && len > bytes_max as u64 {
            return Err(error);
        }
        self.state = match byte & 0x80 {
            0 => State::Body {
                skip: frame_type != BINARY,
                left: len,
            },
            _ => State::Length { frame_type, len },
        };
        // Draft 76 §5.3: type 0xFF with length 0 is the closing handshake.
        let closes = (frame_type, byte, len) == (CLOSE, 0x00, 0);
        Ok(closes.then_some(Whole::Close))
    }

    fn take_body<'l>(&mut self, input: &mut Input<'l>, skip: bool, left: u64) -> Option<Whole<'l>> {
        let piece =
            &*input.take(usize::try_from(left).map_or(input.len(), |left| left.min(input.len())));
        let left = left - piece.len() as u64;
        self.state = match left {
            0 => State::Type,
            _ => State::Body { skip, left },
        };
        if skip {
            return None;
        }
        if left == 0 && self.message.bytes().is_empty() {
            return Some(Whole::Lease(Opcode::Binary, piece));
        }
        self.message.push(piece);
        (left == 0).then_some(Whole::Message(Opcode::Binary))
    }
}

impl Default for Inbound {
    fn default() -> Inbound {
        Inbound::new()
    }
}

/// A message that has come to its end, and where it lies.
enum Whole<'l> {
    Lease(Opcode, &'l [u8]),
    /// In [`Inbound::message`].
    Message(Opcode),
    Close,
}

/// The limit that a message meets first: here a frame is a message.
fn tighter(limits: &Limits) -> (usize, ProtocolError) {
    match limits.frame_bytes_max < limits.message_bytes_max {
        true => (limits.frame_bytes_max, ProtocolError::FrameTooBig),
        false => (limits.message_bytes_max, ProtocolError::MessageTooBig),
    }
}

pub(super) const TEXT: u8 = 0x00;
pub(super) const TEXT_END: u8 = 0xFF;
pub(super) const BINARY: u8 = 0x80;
pub(super) const CLOSE: u8 = 0xFF;
