//! The form in which a connection's messages are framed: RFC 6455, the same with
//! permessage-deflate, or the early drafts. A dialect never knows.

use roost_dialect::wamp::Wire;
use roost_dialect::{DialectKind, Form, Publication, centrifugo};
use roost_hub::{Encoding, EncodingSet, EventIds, Prefixes, Route};
use roost_wire::deflate::{Agreement, Deflater, Inflater};
use roost_wire::frame::{append_close, append_frame};
use roost_wire::{CloseCode, Frozen, Message, Opcode, hixie};

use super::delta_bases::DeltaBases;
use super::encodings::{DEFLATE, DELTA, EARLY, PLAIN, all_of, form_of, number_of, way_of};
use crate::image::{Delta, Image};

/// How a connection frames its messages. Two bytes of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// RFC 6455 without extensions.
    Rfc6455,
    /// RFC 6455 with permessage-deflate, as agreed.
    Deflate(Agreement),
    /// draft-hixie-75 or -76.
    Early,
    /// None: an event stream, whose dialect writes what goes out.
    EventStream,
    /// The same, of a client whose messages come in requests of their own, as frames without extensions.
    Emulated,
    /// An event stream of several channels, whose ids are written when it is sent (`contexts.rs`).
    Stamped,
}

const _: () = assert!(size_of::<Framing>() <= 2);

/// Whether what a connection sends and gets is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// It is not.
    None,
    /// Each message by itself, in a form that many share.
    Shared,
    /// With a context of the connection's own, in one direction at least.
    Own,
}

impl Framing {
    /// What was agreed.
    pub(crate) fn compression(self) -> Compression {
        match self {
            Framing::Rfc6455
            | Framing::Early
            | Framing::EventStream
            | Framing::Emulated
            | Framing::Stamped => Compression::None,
            Framing::Deflate(agreement)
                if agreement.server_no_context_takeover()
                    && agreement.client_no_context_takeover() =>
            {
                Compression::Shared
            }
            Framing::Deflate(_) => Compression::Own,
        }
    }

    /// Whether it has pings and pongs.
    pub(crate) fn has_ping(self) -> bool {
        self != Framing::Early
    }

    /// Whether its connection goes one way, without messages of the client and without a closing handshake.
    #[inline]
    pub(crate) fn is_event_stream(self) -> bool {
        matches!(
            self,
            Framing::EventStream | Framing::Emulated | Framing::Stamped
        )
    }

    /// Whether what is sent is compressed in a context of the connection's own, on its way to the
    /// driver.
    #[inline]
    pub(crate) fn deflates_late(self) -> bool {
        matches!(self, Framing::Deflate(agreement) if !agreement.server_no_context_takeover())
    }

    /// Whether it goes through anything of the connection's own there (`contexts.rs`).
    #[inline]
    pub(crate) fn is_late(self) -> bool {
        self.deflates_late() || self == Framing::Stamped
    }

    /// How publications in this form are encoded for a connection.
    ///
    /// With a context of its own a connection gets what is not compressed yet. Without, a client
    /// that asked for a small window gets deliveries uncompressed: the shared image refers further
    /// back than it can look (RFC 7692 §7.2.1 lets every message choose).
    pub(crate) fn encoding(self, form: Form) -> Encoding {
        let framing = match self {
            Framing::Deflate(_) if self.deflates_late() => PLAIN,
            Framing::Deflate(agreement) if agreement.server_window_bits() == 15 => DEFLATE,
            Framing::Rfc6455 | Framing::Deflate(_) => PLAIN,
            // As the dialect has encoded it, which has no other form.
            Framing::EventStream | Framing::Emulated | Framing::Stamped => PLAIN,
            Framing::Early => EARLY,
        };
        number_of(form, framing)
    }

    /// Whether what its connection sends can be deltas.
    pub(crate) fn takes_deltas(self) -> bool {
        self != Framing::Early
    }
}

/// What frames outgoing messages and unpacks incoming ones: one for all of a reactor's
/// connections.
pub(crate) struct Codec {
    deflate: Option<Deflate>,
    /// Longer messages go out in fragments of this size; `usize::MAX` is never.
    fragment_bytes_max: usize,
    /// Of the channels whose home is here, which are the only ones that are encoded here.
    epoch: u64,
    /// How the names of realms begin, which their sessions are not told.
    realms: Prefixes,
    /// What deltas are against.
    delta_bases: DeltaBases,
}

struct Deflate {
    deflater: Deflater,
    /// For clients that asked for a window smaller than their message. Made when the first does:
    /// hardly any client asks.
    narrow: Option<Box<Deflater>>,
    level: u8,
    /// Taken out while a message is borrowed from it.
    inflater: Option<Box<Inflater>>,
    /// Shorter messages are not worth the work.
    threshold_bytes: usize,
}

impl Deflate {
    /// The payload compressed, if that is worth while; always, with a threshold of 0.
    fn deflate(&mut self, payload: &[u8], window: Window) -> Option<&[u8]> {
        let deflater = match window {
            Window::Full => &mut self.deflater,
            Window::Narrow => self.narrow.get_or_insert_with(|| {
                Box::new(Deflater::with_window(self.level, NARROW_WINDOW_BITS, false))
            }),
        };
        match self.threshold_bytes {
            0 => deflater.deflate_any(payload),
            threshold if payload.len() >= threshold => deflater.deflate(payload),
            _ => None,
        }
    }
}

/// How far back a compressed message may refer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    /// 2^15 bytes.
    Full,
    /// 2^[`NARROW_WINDOW_BITS`] bytes.
    Narrow,
}

impl Codec {
    /// `threshold_bytes` is `None` where permessage-deflate is off; its contexts cost memory.
    pub(crate) fn new(
        threshold_bytes: Option<usize>,
        level: u8,
        fragment_bytes: usize,
        epoch: u64,
        realms: Prefixes,
    ) -> Codec {
        let deflate = threshold_bytes.map(|threshold_bytes| Deflate {
            deflater: Deflater::new(level),
            narrow: None,
            level,
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
            epoch,
            realms,
            delta_bases: DeltaBases::default(),
        }
    }

    /// Whether permessage-deflate may be agreed to.
    pub(crate) fn can_deflate(&self) -> bool {
        self.deflate.is_some()
    }

    /// Frees the buffers that a long message has left behind; returns the bytes.
    pub(crate) fn shrink(&mut self) -> usize {
        let mut bytes = self.delta_bases.shrink();
        let Some(deflate) = &mut self.deflate else {
            return bytes;
        };
        for deflater in [Some(&mut deflate.deflater), deflate.narrow.as_deref_mut()] {
            let Some(deflater) = deflater else { continue };
            let mut buffer = Vec::new();
            deflater.swap_buffer(&mut buffer);
            if buffer.capacity() > BUFFER_BYTES_KEPT {
                bytes += buffer.capacity();
            } else {
                deflater.swap_buffer(&mut buffer);
            }
        }
        if let Some(inflater) = &mut deflate.inflater
            && inflater.buffer_bytes() > BUFFER_BYTES_KEPT
        {
            bytes += inflater.buffer_bytes();
            inflater.free_buffer();
        }
        bytes
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

    /// The encodings in which subscribers are told of members.
    pub(crate) fn tell_members() -> EncodingSet {
        let forms = [
            Form::CENTRIFUGO,
            Form::CENTRIFUGO_PROTOBUF,
            Form::PUSHER,
            Form::PUSHER_PREFIXED,
        ];
        all_of(|form| {
            let plain = form.without_deltas();
            forms.contains(&plain) || Form::CENTRIFUGO_STREAMS.contains(&plain)
        })
    }

    /// The encodings of WAMP's subscribers.
    pub(crate) fn wamp_encodings() -> EncodingSet {
        let forms = (0..Wire::FORMS.len()).map(|at| Form::of(DialectKind::Wamp, at));
        let forms: Vec<_> = forms.collect();
        all_of(|form| forms.contains(&form))
    }

    /// Whether a publication can be written in one of the forms of [`Framing::encoding`].
    pub(crate) fn carries(publication: &Publication, encoding: Encoding) -> bool {
        roost_dialect::carries(publication, form_of(encoding))
    }

    /// Encodes a publication in one of the forms of [`Framing::encoding`].
    pub(crate) fn encode(
        &mut self,
        publication: &Publication,
        encoding: Encoding,
        ids: EventIds,
        route: Route<'_>,
    ) -> Image {
        let form = form_of(encoding);
        let frame = match route {
            Route::Channel(channel) => {
                roost_dialect::encode_at(publication, form, ids, channel, self.epoch)
            }
            Route::Recovered(_) if roost_dialect::answers_with_recovered(form) => {
                // It becomes a part of a message that is framed later.
                let part = roost_dialect::encode_recovered(publication, form, ids);
                return Image::new(part, publication);
            }
            Route::Retained(channel) => {
                roost_dialect::encode_retained(publication, form, ids, channel, self.epoch)
            }
            Route::Kept(channel) | Route::Recovered(channel) => {
                roost_dialect::encode_kept(publication, form, ids, channel, self.epoch)
            }
            Route::Pattern(channel) => {
                roost_dialect::encode_matched(publication, form, ids, self.realms.strip(channel))
            }
        };
        let way = way_of(encoding);
        if way == PLAIN
            && let Some(payload) = frame.payload()
            && payload.len() <= self.fragment_bytes_max
        {
            // The usual case: the very image the publisher's reactor made.
            return Image::new(frame, publication);
        }
        let whole = self.framed(frame, (form, way));
        match way & DELTA {
            0 => Image::new(whole, publication),
            _ => self.with_delta(whole, publication, (form, way), ids, route),
        }
    }

    /// A frame without extensions, or a piece of a stream, as one of these encodings has it.
    fn framed(&mut self, frame: Frozen, (form, way): (Form, u8)) -> Frozen {
        let Some(payload) = frame.payload() else {
            return frame;
        };
        let framing = way & !DELTA;
        let is_plain = framing == PLAIN && payload.len() <= self.fragment_bytes_max;
        if is_plain || form.is_stream_of_bytes() {
            return frame;
        }
        self.freeze(framing, Window::Full, frame.opcode(), payload)
    }

    /// The image of a publication for subscribers that get deltas.
    #[cold]
    fn with_delta(
        &mut self,
        whole: Frozen,
        publication: &Publication,
        (form, way): (Form, u8),
        ids: EventIds,
        route: Route<'_>,
    ) -> Image {
        let (channel, offset) = match route {
            Route::Channel(channel) => (channel, None),
            Route::Kept(channel) => (channel, Some(ids.offset)),
            Route::Recovered(_) | Route::Retained(_) | Route::Pattern(_) => {
                return Image::new(whole, publication);
            }
        };
        if publication.is_of_members() {
            return Image::new(whole, publication);
        }
        let delta = self.delta_bases.delta(publication, form, ids);
        let delta =
            delta.map(|delta| centrifugo::encode_delta(form, publication, channel, offset, delta));
        let delta = match delta {
            Some(frame) => Delta::Frame(self.framed(frame, (form, way))),
            None => Delta::Whole,
        };
        Image::with_delta(whole, delta, publication)
    }

    /// Encodes one connection's own message for sending by reference.
    pub(crate) fn freeze_for(&mut self, to: Framing, opcode: Opcode, payload: &[u8]) -> Frozen {
        let (framing, window) = match to {
            Framing::Deflate(_) if to.deflates_late() => (PLAIN, Window::Full),
            Framing::Deflate(agreement) if agreement.may_share(payload.len()) => {
                (DEFLATE, Window::Full)
            }
            // RFC 7692 §7.1.2.1: never further back than the client's window; less is fine.
            Framing::Deflate(agreement) if agreement.server_window_bits() >= NARROW_WINDOW_BITS => {
                (DEFLATE, Window::Narrow)
            }
            Framing::EventStream | Framing::Emulated | Framing::Stamped => {
                return match opcode {
                    Opcode::Text => Frozen::of_stream(payload),
                    _ => Frozen::of_bytes(payload),
                };
            }
            Framing::Rfc6455 | Framing::Deflate(_) => (PLAIN, Window::Full),
            Framing::Early => (EARLY, Window::Full),
        };
        self.freeze(framing, window, opcode, payload)
    }

    fn freeze(&mut self, framing: u8, window: Window, opcode: Opcode, payload: &[u8]) -> Frozen {
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
            && let Some(deflated) = deflate.deflate(payload, window)
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
        let plain = to == Framing::Rfc6455 || to.deflates_late();
        match to {
            _ if plain && payload.len() <= self.fragment_bytes_max => {
                append_frame(out, opcode, payload);
            }
            Framing::Early => hixie::append_message(out, opcode, payload),
            Framing::EventStream | Framing::Emulated | Framing::Stamped => {
                out.extend_from_slice(payload);
            }
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
        // It ends, and its dialect has said when to come back, or why it ends.
        Framing::EventStream | Framing::Emulated | Framing::Stamped => {}
    }
}

/// The smallest window that zlib has for raw deflate: it suits clients that asked for this or more.
const NARROW_WINDOW_BITS: u8 = 9;

/// A buffer of this size is not worth making anew.
const BUFFER_BYTES_KEPT: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use roost_wire::deflate::{Takeover, negotiate};
    use roost_wire::handshake::{ClientRequest, Request, Upgrade};

    /// RFC 6455 §5.2 and RFC 7692 §6: FIN, RSV1 for compressed, and the opcode of text.
    const COMPRESSED_TEXT: u8 = 0xC1;
    const PLAIN_TEXT: u8 = 0x81;

    #[test]
    fn a_long_message_leaves_no_buffer_behind() {
        let long: Vec<u8> = (0..1_000_000u32)
            .map(|n| (n.wrapping_mul(n).wrapping_mul(0x9e37_79b9) >> 28) as u8)
            .collect();
        let mut codec = Codec::new(Some(0), 1, 0, 0, Prefixes::default());
        let deflate = codec.deflate.as_mut().expect("it is on");
        let compressed = deflate.deflate(&long, Window::Full);
        let compressed = compressed.expect("four bits of each byte").to_vec();
        assert!(compressed.len() > BUFFER_BYTES_KEPT);
        let inflater = deflate.inflater.as_mut().expect("not lent");
        let inflated = inflater.inflate(&compressed, long.len());
        assert_eq!(inflated.expect("it was compressed here"), long);
        assert!(codec.shrink() >= compressed.len() + long.len());
        assert_eq!(codec.shrink(), 0, "there is no more");
    }

    fn first_byte(offer: &str, payload_bytes: usize) -> u8 {
        let mut head = Vec::new();
        ClientRequest {
            host: "x",
            target: "/",
            key: "dGhlIHNhbXBsZSBub25jZQ==",
            extensions: Some(offer),
            ..ClientRequest::default()
        }
        .write(&mut head);
        let request = Request::parse(&head, 16).expect("a request");
        let Upgrade::WebSocket(early_data) = request.upgrade() else {
            panic!("a WebSocket");
        };
        let agreement = negotiate(early_data.extensions(), Takeover::default()).expect("agreed");
        let mut codec = Codec::new(Some(0), 1, 0, 0, Prefixes::default());
        let payload = vec![b'x'; payload_bytes];
        let frame = codec.freeze_for(Framing::Deflate(agreement), Opcode::Text, &payload);
        frame.as_bytes()[0]
    }

    #[test]
    fn messages_longer_than_the_clients_window_are_compressed_within_it() {
        for bits in 9..=15 {
            let offer = format!("permessage-deflate; server_max_window_bits={bits}");
            assert_eq!(first_byte(&offer, 100_000), COMPRESSED_TEXT, "{bits} bits");
        }
        // zlib has no window of 8 bits.
        let offer = "permessage-deflate; server_max_window_bits=8";
        assert_eq!(first_byte(offer, 256), COMPRESSED_TEXT);
        assert_eq!(first_byte(offer, 257), PLAIN_TEXT);
    }
}
