//! The message layer: whole messages, borrowed from the lease where they lie in it.

use crate::assembly::Assembly;
use crate::decoder::{Decoder, FramePart, Role};
use crate::deflate::Inflater;
use crate::frame::Opcode;
use crate::input::{Input, Limits};
use crate::{CloseCode, ProtocolError};

/// One whole message, or one control frame. Borrows from the lease or from the [`Inbound`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text, checked to be UTF-8.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// At most 125 bytes.
    Pong(&'a [u8]),
    /// The peer closes. Code and reason are legal; without a body there is no code. Nothing that
    /// comes after it counts (RFC 6455 §5.5.1): decode no further.
    Close(Option<CloseCode>, &'a str),
}

/// Messages of one connection, from bytes in any pieces.
///
/// Make one for each lease, or take the one stored for the connection; hand it the lease until
/// [`Inbound::next`] says `None`; then store it unless [`Inbound::is_quiet`]. A message in one
/// frame that lies wholly in the lease is borrowed from it; others are copied into a buffer that
/// exists until the message has been given out.
#[derive(Debug)]
pub struct Inbound {
    decoder: Decoder,
    /// The message under way, as far as it has come; after it was given out, until the next call.
    message: Assembly,
    /// The control frame under way, which may stand inside a message.
    control: Vec<u8>,
    /// The buffer that the last call lent out.
    lent: Lent,
}

/// Bytes that a stored [`Inbound`] takes whatever it holds: itself, and the smallest allocation
/// of each of its two buffers.
pub const PINNED_BYTES_BASE: usize = size_of::<Inbound>() + 2 * 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lent {
    Nothing,
    Message,
    Control,
}

/// A message or control frame that has come to its end.
struct Whole<'l> {
    opcode: Opcode,
    compressed: bool,
    place: Place<'l>,
}

/// Where its payload is.
enum Place<'l> {
    Lease(&'l [u8]),
    /// In [`Inbound::message`].
    Message,
    /// In [`Inbound::control`].
    Control,
}

impl Inbound {
    /// A connection's beginning, or its state between two messages: they are the same.
    pub const fn new(role: Role) -> Inbound {
        Inbound {
            decoder: Decoder::new(role),
            message: Assembly::new(),
            control: Vec::new(),
            lent: Lent::Nothing,
        }
    }

    /// The next message, or `None` when the input is used up. After an error the connection is
    /// over; call no more.
    #[inline]
    pub fn next<'a, 'l: 'a>(
        &'a mut self,
        input: &mut Input<'l>,
        limits: &Limits,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        self.decode(input, limits, None)
    }

    /// As [`Inbound::next`], on a connection that agreed to permessage-deflate. Compressed messages
    /// are inflated once they are whole, and borrowed from the inflater.
    #[inline]
    pub fn next_inflating<'a, 'l: 'a>(
        &'a mut self,
        input: &mut Input<'l>,
        limits: &Limits,
        inflater: &'a mut Inflater,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        self.decode(input, limits, Some(inflater))
    }

    /// The role it was made for.
    pub fn role(&self) -> Role {
        self.decoder.role()
    }

    /// True when nothing of the peer's is retained: dropping this and making a new one for the
    /// next lease is the same. Ask when [`Inbound::next`] has said `None`.
    pub fn is_quiet(&self) -> bool {
        self.decoder.is_quiet() && self.message.capacity() == 0 && self.control.capacity() == 0
    }

    /// Bytes of memory this takes while it is stored: at most [`PINNED_BYTES_BASE`] plus twice the
    /// payload bytes received of what is not yet whole.
    pub fn pinned_bytes(&self) -> usize {
        size_of::<Inbound>() + self.message.capacity() + self.control.capacity()
    }

    /// Work done since it was made, in bytes and frames touched, for tests of linearity. Counted
    /// in debug builds; 0 in others.
    pub fn steps(&self) -> u64 {
        self.message.steps()
    }

    #[inline]
    fn decode<'a, 'l: 'a>(
        &'a mut self,
        input: &mut Input<'l>,
        limits: &Limits,
        inflater: Option<&'a mut Inflater>,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        self.take_back();
        if let Some((opcode, payload)) = self.decoder.next_whole(input, limits) {
            self.message.count(payload.len());
            return Ok(Some(match opcode {
                Opcode::Text | Opcode::Binary => data(opcode, payload)?,
                opcode => control(opcode, payload)?,
            }));
        }
        let Some(whole) = self.advance(input, limits, inflater.is_some())? else {
            return Ok(None);
        };
        let payload: &[u8] = match whole.place {
            Place::Lease(payload) => payload,
            Place::Message => {
                self.message.count(self.message.bytes().len());
                self.lent = Lent::Message;
                self.message.bytes()
            }
            Place::Control => {
                self.lent = Lent::Control;
                &self.control
            }
        };
        if whole.opcode.is_control() {
            return control(whole.opcode, payload).map(Some);
        }
        // RFC 7692 §6.2: a message is compressed when RSV1 stands on its first frame, which
        // without an inflater was refused.
        let payload = match (whole.compressed, inflater) {
            (true, Some(inflater)) => inflater.inflate(payload, limits.message_bytes_max)?,
            _ => payload,
        };
        data(whole.opcode, payload).map(Some)
    }

    /// Decodes until a message is whole.
    fn advance<'l>(
        &mut self,
        input: &mut Input<'l>,
        limits: &Limits,
        rsv1_allowed: bool,
    ) -> Result<Option<Whole<'l>>, ProtocolError> {
        loop {
            let before = input.len();
            let Some(part) = self.decoder.next(input, limits, rsv1_allowed)? else {
                self.message.count(before);
                return Ok(None);
            };
            self.message.count(before - input.len());
            let (opcode, compressed) = (part.message, part.compressed);
            let place = match opcode.is_control() {
                true => self.take_control(part),
                false => self.take_data(part)?,
            };
            if let Some(place) = place {
                return Ok(Some(Whole {
                    opcode,
                    compressed,
                    place,
                }));
            }
        }
    }

    /// A piece of a text or binary message. Says where the message lies if this ends it.
    fn take_data<'l>(&mut self, part: FramePart<'l>) -> Result<Option<Place<'l>>, ProtocolError> {
        if part.is_whole_message() {
            return Ok(Some(Place::Lease(part.payload)));
        }
        let ends_message = part.ends_message();
        if part.header.fin && part.header.opcode != Opcode::Continuation {
            self.message.make_room(part.payload.len(), part.left());
        }
        match part.message {
            Opcode::Text if !part.compressed => {
                self.message.push_text(part.payload)?;
            }
            _ => self.message.push(part.payload),
        }
        Ok(ends_message.then_some(Place::Message))
    }

    /// A piece of a control frame.
    fn take_control<'l>(&mut self, part: FramePart<'l>) -> Option<Place<'l>> {
        if part.is_whole_message() {
            return Some(Place::Lease(part.payload));
        }
        self.control.extend_from_slice(part.payload);
        self.message.count(part.payload.len());
        part.ends_frame().then_some(Place::Control)
    }

    /// Frees what the last call lent out.
    #[inline]
    fn take_back(&mut self) {
        match std::mem::replace(&mut self.lent, Lent::Nothing) {
            Lent::Nothing => {}
            Lent::Message => self.message.clear(),
            Lent::Control => self.control = Vec::new(),
        }
    }
}

/// A whole text or binary message.
#[inline]
pub(crate) fn data(opcode: Opcode, payload: &[u8]) -> Result<Message<'_>, ProtocolError> {
    match opcode {
        Opcode::Text => match simdutf8::basic::from_utf8(payload) {
            Ok(text) => Ok(Message::Text(text)),
            Err(_) => Err(ProtocolError::TextNotUtf8),
        },
        _ => Ok(Message::Binary(payload)),
    }
}

/// A whole control frame.
fn control(opcode: Opcode, payload: &[u8]) -> Result<Message<'_>, ProtocolError> {
    match opcode {
        Opcode::Ping => Ok(Message::Ping(payload)),
        Opcode::Pong => Ok(Message::Pong(payload)),
        _ => close(payload),
    }
}

/// RFC 6455 §5.5.1: a close frame MAY contain a body; if there is one, its first two bytes are the
/// code, and UTF-8 text may follow.
fn close(body: &[u8]) -> Result<Message<'_>, ProtocolError> {
    match body {
        [] => Ok(Message::Close(None, "")),
        [_] => Err(ProtocolError::CloseBodyTooShort),
        [high, low, reason @ ..] => {
            let code = CloseCode::new(u16::from_be_bytes([*high, *low]))
                .ok_or(ProtocolError::CloseCodeInvalid)?;
            let reason = simdutf8::basic::from_utf8(reason)
                .map_err(|_| ProtocolError::CloseReasonNotUtf8)?;
            Ok(Message::Close(Some(code), reason))
        }
    }
}
