//! The form in which a connection's messages are framed: RFC 6455, the same with
//! permessage-deflate, or the early drafts. A dialect never knows.

use roost_dialect::{DialectKind, Publication, encoding};
use roost_hub::{Encoding, EventIds};
use roost_wire::deflate::{Agreement, Deflater, Inflater};
use roost_wire::frame::{append_close, append_frame};
use roost_wire::{CloseCode, Frozen, Message, Opcode, hixie};

/// How a connection frames its messages. Two bytes of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// RFC 6455 without extensions.
    Rfc6455,
    /// RFC 6455 with permessage-deflate, as agreed.
    Deflate(Agreement),
    /// draft-hixie-75 or -76.
    Early,
}

const _: () = assert!(size_of::<Framing>() <= 2);

impl Framing {
    /// Whether it has pings and pongs.
    pub(crate) fn has_ping(self) -> bool {
        self != Framing::Early
    }

    /// The form in which deliveries to a connection of this dialect are encoded.
    ///
    /// A client that asked for a small window gets deliveries uncompressed: the shared image
    /// refers further back than it can look (RFC 7692 §7.2.1 lets every message choose).
    pub(crate) fn encoding(self, dialect: DialectKind) -> Encoding {
        let plain = match dialect {
            DialectKind::Raw | DialectKind::Echo => encoding::RAW,
            DialectKind::WampJson => encoding::WAMP_JSON,
        };
        let framing = match self {
            Framing::Deflate(agreement) if agreement.server_window_bits() == 15 => DEFLATE,
            Framing::Rfc6455 | Framing::Deflate(_) => PLAIN,
            Framing::Early => EARLY,
        };
        Encoding(plain.0 + framing * DIALECT_ENCODINGS)
    }
}

/// What frames outgoing messages and unpacks incoming ones: one for all of a reactor's
/// connections.
pub(crate) struct Codec {
    deflate: Option<Deflate>,
    /// Longer messages go out in fragments of this size; `usize::MAX` is never.
    fragment_bytes_max: usize,
}

struct Deflate {
    deflater: Deflater,
    /// Taken out while a message is borrowed from it.
    inflater: Option<Box<Inflater>>,
    /// Shorter messages are not worth the work.
    threshold_bytes: usize,
}

impl Deflate {
    /// The payload compressed, if that is worth while; always, with a threshold of 0.
    fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        match self.threshold_bytes {
            0 => self.deflater.deflate_any(payload),
            threshold if payload.len() >= threshold => self.deflater.deflate(payload),
            _ => None,
        }
    }
}

impl Codec {
    /// `threshold_bytes` is `None` where permessage-deflate is off; its contexts cost memory.
    pub(crate) fn new(threshold_bytes: Option<usize>, level: u8, fragment_bytes: usize) -> Codec {
        let deflate = threshold_bytes.map(|threshold_bytes| Deflate {
            deflater: Deflater::new(level),
            inflater: Some(Box::new(Inflater::new())),
            threshold_bytes,
        });
        let fragment_bytes_max = if fragment_bytes == 0 {
            usize::MAX
        } else {
            fragment_bytes
        };
        Codec {
            deflate,
            fragment_bytes_max,
        }
    }

    /// Whether permessage-deflate may be agreed to.
    pub(crate) fn can_deflate(&self) -> bool {
        self.deflate.is_some()
    }

    /// Lends the inflater out; give it back with [`Codec::return_inflater`].
    pub(crate) fn take_inflater(&mut self) -> Option<Box<Inflater>> {
        self.deflate.as_mut()?.inflater.take()
    }

    pub(crate) fn return_inflater(&mut self, inflater: Box<Inflater>) {
        if let Some(deflate) = &mut self.deflate {
            deflate.inflater = Some(inflater);
        }
    }

    /// Encodes a publication in one of the forms of [`Framing::encoding`].
    pub(crate) fn encode(
        &mut self,
        publication: &Publication,
        encoding: Encoding,
        ids: EventIds,
    ) -> Frozen {
        let plain = Encoding(encoding.0 % DIALECT_ENCODINGS);
        let frame = roost_dialect::encode(publication, plain, ids);
        let Some(payload) = frame.payload() else {
            return frame;
        };
        let framing = encoding.0 / DIALECT_ENCODINGS;
        if framing == PLAIN && payload.len() <= self.fragment_bytes_max {
            return frame; // the usual case: the very image the publisher's reactor made
        }
        self.freeze(framing, frame.opcode(), payload)
    }

    /// Encodes one connection's own message for sending by reference.
    pub(crate) fn freeze_for(&mut self, to: Framing, opcode: Opcode, payload: &[u8]) -> Frozen {
        let framing = match to {
            Framing::Deflate(agreement) if agreement.may_share(payload.len()) => DEFLATE,
            Framing::Rfc6455 | Framing::Deflate(_) => PLAIN,
            Framing::Early => EARLY,
        };
        self.freeze(framing, opcode, payload)
    }

    fn freeze(&mut self, framing: u8, opcode: Opcode, payload: &[u8]) -> Frozen {
        let fragment = self.fragment_bytes_max;
        if framing == EARLY {
            let message = match opcode {
                Opcode::Text => Message::Text(str::from_utf8(payload).unwrap_or_default()),
                _ => Message::Binary(payload),
            };
            return hixie::message(message).expect("text and binary have an early form");
        }
        if framing == DEFLATE
            && let Some(deflate) = &mut self.deflate
            && let Some(deflated) = deflate.deflate(payload)
        {
            return Frozen::compressed(opcode, deflated, fragment);
        }
        Frozen::fragmented(opcode, payload, fragment)
    }

    /// Appends one connection's own text or binary message, unfragmented.
    pub(crate) fn append_message(
        &mut self,
        out: &mut Vec<u8>,
        to: Framing,
        opcode: Opcode,
        payload: &[u8],
    ) {
        match to {
            Framing::Rfc6455 if payload.len() <= self.fragment_bytes_max => {
                append_frame(out, opcode, payload);
            }
            Framing::Early => hixie::append_message(out, opcode, payload),
            Framing::Rfc6455 | Framing::Deflate(_) => {
                out.extend_from_slice(self.freeze_for(to, opcode, payload).as_bytes());
            }
        }
    }
}

/// Appends a close in the connection's framing.
pub(crate) fn append_close_to(out: &mut Vec<u8>, to: Framing, code: CloseCode, reason: &str) {
    match to {
        Framing::Rfc6455 | Framing::Deflate(_) => append_close(out, code, reason),
        // The drafts know no code and no reason.
        Framing::Early => out.extend_from_slice(hixie::close().as_bytes()),
    }
}

/// Encodings of dialects: raw and WAMP JSON.
const DIALECT_ENCODINGS: u8 = 2;
const PLAIN: u8 = 0;
const DEFLATE: u8 = 1;
const EARLY: u8 = 2;

const _: () =
    assert!((EARLY as usize + 1) * DIALECT_ENCODINGS as usize <= roost_hub::ENCODINGS_MAX);
