//! Compression contexts of single connections: which have one, what they cost, and what goes through
//! them. And where the clients of event streams of several channels stand.
//!
//! Only a connection that agreed to context takeover (RFC 7692 §7.1.1) has any, and its record does
//! not know: they stand in a table of their own, by slot. Their memory is reserved at the
//! handshake, under a limit, and taken when the first message needs it.
//!
//! What such a connection is sent is compressed when it is handed to the driver and not before:
//! what waits in an outbox may still be dropped, and what was compressed must be sent. For the same reason
//! a stream's ids are written then: they say what its client has got.

use std::collections::HashMap;

use roost_dialect::sse::Positions;
use roost_metrics::Counters;
use roost_wire::Opcode;
use roost_wire::deflate::{Agreement, Deflater, Inflater, Takeover};
use roost_wire::frame::{append_message, split_frame};

use crate::settings::Deflate;

/// The contexts of one reactor's connections.
pub(crate) struct Contexts {
    by_slot: HashMap<u32, Own>,
    /// Memory for all of them, in bytes.
    bytes_max: usize,
    /// Reserved of it.
    bytes: usize,
    /// How many that are, each direction of a connection by itself.
    count: usize,
    level: u8,
    /// Shorter messages go past the context.
    threshold_bytes: usize,
    /// Longer messages go out in fragments of this size.
    fragment_bytes_max: usize,
    /// The output of whichever deflater is at work: none keeps one of its own.
    deflated: Vec<u8>,
    /// A message put together from its fragments.
    joined: Vec<u8>,
}

/// What one connection has.
enum Own {
    Deflate(Context),
    /// Where the client of a stream stands in each of its channels.
    Positions(Positions),
}

/// Of a connection that has agreed to context takeover.
struct Context {
    /// Says in which directions.
    agreement: Agreement,
    /// Made for the first message sent.
    deflater: Option<Box<Deflater>>,
    /// Made for the first message received; out while one is borrowed from it.
    inflater: Option<Box<Inflater>>,
}

/// What another process is told of a connection's contexts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ContextState {
    Deflate {
        agreement: Agreement,
        /// What the client's next message may refer to; empty where it refers to nothing.
        window: Vec<u8>,
    },
    Positions(Positions),
}

#[cfg(test)]
impl ContextState {
    /// Of a connection that has sent nothing yet.
    pub(super) fn of(agreement: Agreement) -> ContextState {
        ContextState::Deflate {
            agreement,
            window: Vec::new(),
        }
    }
}

impl Contexts {
    /// `bytes_max` is this reactor's share; with 0 there are none.
    pub(crate) fn new(
        deflate: &Deflate,
        level: u8,
        bytes_max: usize,
        fragment_bytes: usize,
    ) -> Self {
        Contexts {
            by_slot: HashMap::new(),
            bytes_max,
            bytes: 0,
            count: 0,
            level,
            threshold_bytes: deflate.compress_min_bytes,
            fragment_bytes_max: match fragment_bytes {
                0 => usize::MAX,
                bytes => bytes,
            },
            deflated: Vec::new(),
            joined: Vec::new(),
        }
    }

    /// What to negotiate for: whether there is memory is decided by [`Contexts::reserve`].
    pub(crate) fn wanted(&self) -> Takeover {
        let any = self.bytes_max > 0;
        Takeover {
            server: any,
            client: any,
        }
    }

    /// Reserves what an agreement needs for the connection in `slot`, the cheaper direction first,
    /// and gives back what is left of the agreement and how many contexts had no room.
    pub(super) fn reserve(&mut self, slot: u32, wanted: Agreement) -> (Agreement, usize) {
        debug_assert!(
            !self.by_slot.contains_key(&slot),
            "a slot is given away without contexts"
        );
        let mut agreement = wanted;
        let mut bytes = inflater_bytes(wanted);
        let room = self.bytes_max.saturating_sub(self.bytes);
        if bytes > room {
            agreement = agreement.without_client_takeover();
            bytes = 0;
        }
        if bytes + deflater_bytes(wanted) > room {
            agreement = agreement.without_server_takeover();
        } else {
            bytes += deflater_bytes(wanted);
        }
        if bytes > 0 {
            self.bytes += bytes;
            debug_assert!(
                self.bytes <= self.bytes_max,
                "what is agreed keeps to the limit"
            );
            self.count += count(agreement);
            let context = Context {
                agreement,
                deflater: None,
                inflater: None,
            };
            self.by_slot.insert(slot, Own::Deflate(context));
        }
        (agreement, count(wanted) - count(agreement))
    }

    /// The connection in `slot` is a stream of several channels from now on.
    pub(super) fn begin_positions(&mut self, slot: u32) {
        debug_assert!(
            !self.by_slot.contains_key(&slot),
            "a slot is given away without contexts"
        );
        self.by_slot
            .insert(slot, Own::Positions(Positions::default()));
    }

    /// Frees what the connection in `slot` has, if anything.
    pub(super) fn release(&mut self, slot: u32) {
        self.forget(slot);
    }

    fn forget(&mut self, slot: u32) -> Option<Own> {
        let own = self.by_slot.remove(&slot)?;
        if let Own::Deflate(context) = &own {
            self.bytes -= bytes_of(context.agreement);
            self.count -= count(context.agreement);
        }
        if self.by_slot.is_empty() {
            // Frees the memory of many closed connections.
            self.by_slot = HashMap::new();
            self.deflated = Vec::new();
        }
        Some(own)
    }

    /// Takes the contexts of the connection in `slot` apart, if it has any.
    pub(super) fn take_apart(&mut self, slot: u32) -> Option<ContextState> {
        let Context {
            agreement,
            deflater: _, // begun anew: a sender need not refer to what it sent (RFC 7692 §7.2.1)
            inflater,
        } = match self.forget(slot)? {
            Own::Positions(positions) => return Some(ContextState::Positions(positions)),
            Own::Deflate(context) => context,
        };
        let window = inflater.map(|mut inflater| inflater.window());
        Some(ContextState::Deflate {
            agreement,
            window: window.unwrap_or_default(),
        })
    }

    /// Puts them together again for the connection in `slot`. What was agreed is kept also where it is
    /// more than the limit, which is for what is agreed from now on.
    pub(super) fn put_together(&mut self, slot: u32, state: ContextState) {
        let (agreement, window) = match state {
            ContextState::Deflate { agreement, window } => (agreement, window),
            ContextState::Positions(positions) => {
                self.by_slot.insert(slot, Own::Positions(positions));
                return;
            }
        };
        self.bytes += bytes_of(agreement);
        self.count += count(agreement);
        let inflater = (!window.is_empty()).then(|| Box::new(Inflater::from_window(&window)));
        let context = Context {
            agreement,
            deflater: None,
            inflater,
        };
        self.by_slot.insert(slot, Own::Deflate(context));
    }

    /// Lends out the inflater of the connection in `slot`, if it has one; give it back with
    /// [`Contexts::return_inflater`].
    pub(crate) fn take_inflater(&mut self, slot: u32) -> Option<Box<Inflater>> {
        let Own::Deflate(context) = self.by_slot.get_mut(&slot)? else {
            return None;
        };
        if context.agreement.client_no_context_takeover() {
            return None;
        }
        let inflater = context.inflater.take();
        Some(inflater.unwrap_or_else(|| Box::new(Inflater::with_takeover(true))))
    }

    /// Takes the inflater back, unless its connection has ended meanwhile.
    pub(crate) fn return_inflater(&mut self, slot: u32, inflater: Box<Inflater>) {
        if let Some(Own::Deflate(context)) = self.by_slot.get_mut(&slot) {
            context.inflater = Some(inflater);
        }
    }

    /// Appends what the connection in `slot` is sent in place of `image`: whole frames of ours,
    /// uncompressed, or the head of a 101; or what a stream is sent.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, slot: u32, image: &[u8]) {
        let context = match self.by_slot.get_mut(&slot) {
            Some(Own::Positions(positions)) => return positions.stamp(image, out),
            Some(Own::Deflate(context)) if !is_head(image) => context,
            _ => return out.extend_from_slice(image),
        };
        debug_assert!(
            deflater_bytes(context.agreement) > 0,
            "what is made here has been reserved"
        );
        let bits = context.agreement.server_window_bits();
        let deflater = context
            .deflater
            .get_or_insert_with(|| Box::new(Deflater::with_window(self.level, bits, true)));
        deflater.swap_buffer(&mut self.deflated);
        let mut rest = image;
        let mut message: Option<Opcode> = None;
        while let Some((header, payload, behind)) = split_frame(rest) {
            let frame = &rest[..rest.len() - behind.len()];
            rest = behind;
            if header.opcode.is_control() {
                out.extend_from_slice(frame);
                continue;
            }
            debug_assert!(!header.rsv1, "it is not compressed yet");
            let payload = match (message, header.fin) {
                (None, true) => payload,
                _ => {
                    self.joined.extend_from_slice(payload);
                    self.joined.as_slice()
                }
            };
            let opcode = *message.get_or_insert(header.opcode);
            if !header.fin {
                continue;
            }
            // RFC 7692 §6: each message may be compressed or not; RSV1 says which.
            let deflated = match self.threshold_bytes {
                0 => deflater.deflate_any(payload),
                threshold if payload.len() < threshold => None,
                _ => deflater.deflate_within(payload, payload.len() + GROWTH_BYTES_MAX),
            };
            let (rsv1, payload) = match deflated {
                Some(deflated) => (true, deflated),
                None => (false, payload),
            };
            append_message(out, opcode, rsv1, payload, self.fragment_bytes_max);
            message = None;
            self.joined.clear();
            self.joined.shrink_to(KEPT_BYTES_MAX);
        }
        deflater.swap_buffer(&mut self.deflated);
        debug_assert!(
            rest.is_empty() && message.is_none(),
            "an image is whole messages"
        );
    }

    /// Whether no connection has any.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }

    /// Brings their gauges up to date.
    #[inline]
    pub(super) fn publish_gauges(&self, counters: &Counters) {
        counters.deflate_contexts.set(self.count as u64);
        counters.deflate_context_bytes.set(self.bytes as u64);
    }

    /// In debug builds: what is counted is what is there.
    pub(crate) fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let agreements = self.by_slot.values().filter_map(|own| match own {
            Own::Deflate(context) => Some(context.agreement),
            Own::Positions(_) => None,
        });
        let (bytes, count) = agreements.fold((0, 0), |(bytes, sum), agreement| {
            (bytes + bytes_of(agreement), sum + count(agreement))
        });
        assert_eq!((self.bytes, self.count), (bytes, count), "contexts");
    }
}

/// Whether an image is the head of a 101: as a frame, an unfinished close with RSV1, which we never
/// send.
fn is_head(image: &[u8]) -> bool {
    image.starts_with(b"HTTP/")
}

fn inflater_bytes(agreement: Agreement) -> usize {
    match agreement.client_no_context_takeover() {
        true => 0,
        false => Inflater::CONTEXT_BYTES,
    }
}

fn deflater_bytes(agreement: Agreement) -> usize {
    match agreement.server_no_context_takeover() {
        true => 0,
        false => Deflater::context_bytes(agreement.server_window_bits()),
    }
}

fn bytes_of(agreement: Agreement) -> usize {
    inflater_bytes(agreement) + deflater_bytes(agreement)
}

/// How many contexts an agreement needs.
fn count(agreement: Agreement) -> usize {
    usize::from(!agreement.client_no_context_takeover())
        + usize::from(!agreement.server_no_context_takeover())
}

/// A message may become longer by this much, in bytes: less than it would cost to begin the
/// context anew. Beyond it is sent as it is.
const GROWTH_BYTES_MAX: usize = 64;
/// Buffers above this size are freed, in bytes.
pub(super) const KEPT_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
pub(super) mod tests {
    use roost_wire::deflate::negotiate;
    use roost_wire::handshake::{ClientRequest, Request, Upgrade};

    use super::*;

    /// Takeover in both directions.
    pub(in crate::connections) fn agreement() -> Agreement {
        let mut head = Vec::new();
        ClientRequest {
            host: "x",
            target: "/",
            key: "dGhlIHNhbXBsZSBub25jZQ==",
            extensions: Some("permessage-deflate; client_max_window_bits"),
            ..ClientRequest::default()
        }
        .write(&mut head);
        let request = Request::parse(&head, 16).expect("a request");
        let Upgrade::WebSocket(upgrade) = request.upgrade() else {
            panic!("a WebSocket");
        };
        let both = Takeover {
            server: true,
            client: true,
        };
        negotiate(upgrade.extensions(), both).expect("agreed")
    }

    fn contexts(bytes_max: usize) -> Contexts {
        let deflate = Deflate {
            enabled: true,
            compress_min_bytes: 0,
            ..Deflate::default()
        };
        Contexts::new(&deflate, 1, bytes_max, 0)
    }

    fn inflate(contexts: &mut Contexts, slot: u32, compressed: &[u8]) -> Vec<u8> {
        let mut inflater = contexts.take_inflater(slot).expect("it was agreed to");
        let message = inflater.inflate(compressed, 1_000).expect("it is whole");
        let message = message.to_vec();
        contexts.return_inflater(slot, inflater);
        message
    }

    /// The client refers to what it sent before the hand-over; we refer to nothing from before.
    #[test]
    fn contexts_go_on_in_another_process() {
        let text = &"to be or not to be, ".repeat(5).into_bytes()[..];
        let (mut here, mut there) = (contexts(1 << 20), contexts(0));
        let mut client = Deflater::with_window(6, 15, true);
        let mut from_server = Inflater::with_takeover(true);
        let (agreed, refused) = here.reserve(3, agreement());
        assert_eq!((agreed, refused), (agreement(), 0));
        let first = client.deflate(text).expect("shorter").to_vec();
        assert_eq!(inflate(&mut here, 3, &first), text);
        let mut sent = Vec::new();
        let mut image = Vec::new();
        append_message(&mut image, Opcode::Text, false, text, usize::MAX);
        here.append(&mut sent, 3, &image);
        let (_, payload, _) = split_frame(&sent).expect("a frame");
        assert_eq!(from_server.inflate(payload, 1_000), Ok(text));

        let state = here.take_apart(3).expect("it has contexts");
        here.check_invariants();
        assert!(here.is_empty() && here.bytes == 0 && here.take_apart(3).is_none());
        // Also where there is no room for new ones.
        there.put_together(8, state);
        there.check_invariants();
        assert_eq!(there.reserve(9, agreement()).1, 2, "no room for more");

        let second = client.deflate(text).expect("shorter").to_vec();
        assert!(second.len() < 12, "it refers to the one before");
        assert_eq!(inflate(&mut there, 8, &second), text);
        sent.clear();
        there.append(&mut sent, 8, &image);
        let (_, payload, _) = split_frame(&sent).expect("a frame");
        assert!(payload.len() > 12, "it refers to nothing");
        assert_eq!(from_server.inflate(payload, 1_000), Ok(text));
        there.release(8);
        assert!(there.is_empty() && there.bytes == 0);
    }
}
