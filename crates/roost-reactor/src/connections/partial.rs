//! What a connection has sent that is not whole yet, in each phase of its life.

use roost_dialect::dialect::Terms;
use roost_dialect::{DialectKind, Form};
use roost_hub::Since;
use roost_wire::handshake::HeadScanner;
use roost_wire::http::BodyDecoder;
use roost_wire::{Inbound, Role, hixie};

use super::encoding::Framing;

/// Input of one connection that is not whole.
pub(crate) enum Partial {
    /// A request's head.
    Head(Head),
    /// The same, of draft 76, whose last eight bytes are missing.
    Challenge(Box<Challenge>),
    /// A plain request whose body is not whole.
    Body(Box<Body>),
    /// Requests behind one that is being answered.
    Pipelined(Box<Pipelined>),
    /// A good handshake that waits for its channel's home.
    PendingAccept(Box<PendingAccept>),
    /// A good handshake whose token is being checked, or that waits for the connect hook.
    PendingCheck(Box<PendingCheck>),
    /// A good handshake whose channel the application is asked about.
    PendingJoin(Box<PendingJoin>),
    /// Part of a frame or message.
    Frames(Box<Inbound>),
    /// The same in an early framing.
    EarlyFrames(Box<hixie::Inbound>),
    /// What a paused publisher has sent.
    Unread(Box<Unread>),
}

/// A head that has not come whole.
pub(crate) struct Head {
    pub(crate) scanner: HeadScanner,
    pub(crate) bytes: Vec<u8>,
}

/// A whole head of draft 76 whose eight bytes behind it are not there yet.
pub(crate) struct Challenge {
    pub(crate) bytes: Vec<u8>,
    pub(crate) head_len: usize,
}

/// A plain request whose body is not whole.
pub(crate) struct Body {
    /// The request's head, which is parsed again when the body is whole.
    pub(crate) head: Vec<u8>,
    pub(crate) decoder: BodyDecoder,
    /// What has come of the body, where it is wanted.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// Requests that wait until one before them is answered and the answer has gone.
pub(crate) struct Pipelined {
    pub(crate) bytes: Vec<u8>,
    /// Of which so many have been handled.
    pub(crate) start: usize,
}

/// A good handshake whose 101 waits until the channel's home knows of the subscription, so that
/// nothing published after the browser's `open` event is missed.
pub(crate) struct PendingAccept {
    /// The 101.
    pub(crate) answer: Vec<u8>,
    pub(crate) dialect: DialectKind,
    pub(crate) framing: Framing,
    /// Bytes that came behind the head. The peer may not send before the 101 (RFC 6455 §4.1), but
    /// what came in the same segment is kept.
    pub(crate) rest: Vec<u8>,
}

/// A good handshake whose token is being checked, or about whose client the application is asked. It is
/// kept as it came.
pub(crate) struct PendingCheck {
    /// The head, and what came behind it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) head_len: usize,
    /// Whether the application is asked, for there is no token.
    pub(crate) is_hook: bool,
}

/// A good handshake whose client subscribes to a channel if the application allows it.
pub(crate) struct PendingJoin {
    pub(crate) channel: Box<str>,
    pub(crate) form: Form,
    /// What is wanted of the time before it.
    pub(crate) since: Option<Since>,
    /// The subprotocol that is selected.
    pub(crate) subprotocol: Option<Box<str>>,
    pub(crate) terms: Terms,
    pub(crate) pending: PendingAccept,
}

/// What a paused publisher has sent and its decoder has not seen.
pub(crate) struct Unread {
    pub(crate) decoder: Decoder,
    pub(crate) bytes: Vec<u8>,
    /// Of which so many have been handled.
    pub(crate) start: usize,
}

/// The decoder of a connection's framing, with what it holds.
pub(crate) enum Decoder {
    Frames(Inbound),
    EarlyFrames(hixie::Inbound),
}

impl Partial {
    /// Memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Partial::Head(Head { scanner: _, bytes }) => size_of::<Head>() + bytes.capacity(),
            Partial::Challenge(challenge) => size_of::<Challenge>() + challenge.bytes.capacity(),
            Partial::Body(body) => {
                let bytes = body.bytes.as_ref().map_or(0, Vec::capacity);
                size_of::<Body>() + body.head.capacity() + bytes
            }
            Partial::Pipelined(pipelined) => size_of::<Pipelined>() + pipelined.bytes.capacity(),
            Partial::PendingAccept(pending) => {
                size_of::<PendingAccept>() + pending.answer.capacity() + pending.rest.capacity()
            }
            Partial::PendingCheck(pending) => size_of::<PendingCheck>() + pending.bytes.capacity(),
            Partial::PendingJoin(join) => {
                let pending = join.pending.answer.capacity() + join.pending.rest.capacity();
                let subprotocol = join.subprotocol.as_deref().map_or(0, str::len);
                size_of::<PendingJoin>() + join.channel.len() + subprotocol + pending
            }
            Partial::Frames(inbound) => inbound.pinned_bytes(),
            Partial::EarlyFrames(inbound) => inbound.pinned_bytes(),
            Partial::Unread(unread) => {
                size_of::<Unread>() + unread.bytes.capacity() + unread.decoder.pinned_bytes()
            }
        }
    }

    /// Whether it is a handshake that waits for a token's check or for the application.
    pub(crate) fn is_check(&self) -> bool {
        matches!(self, Partial::PendingCheck(_) | Partial::PendingJoin(_))
    }

    /// Whether it is part of a WebSocket message.
    pub(crate) fn is_message(&self) -> bool {
        matches!(
            self,
            Partial::Frames(_) | Partial::EarlyFrames(_) | Partial::Unread(_)
        )
    }
}

impl Decoder {
    /// That of a connection between two messages.
    pub(crate) fn new(framing: Framing) -> Decoder {
        match framing {
            Framing::Early => Decoder::EarlyFrames(hixie::Inbound::new()),
            // An event stream's client sends none: what it sends is dropped before.
            Framing::Rfc6455
            | Framing::Deflate(_)
            | Framing::EventStream
            | Framing::Emulated
            | Framing::Stamped => Decoder::Frames(Inbound::new(Role::Server)),
        }
    }

    fn pinned_bytes(&self) -> usize {
        match self {
            Decoder::Frames(inbound) => inbound.pinned_bytes(),
            Decoder::EarlyFrames(inbound) => inbound.pinned_bytes(),
        }
    }
}

impl Pipelined {
    /// More, which was on its way when the driver was asked to pause. Returns how many bytes that
    /// copied.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> u64 {
        self.bytes.drain(..std::mem::take(&mut self.start));
        self.bytes.reserve_exact(bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.bytes.len() as u64
    }
}

impl Unread {
    pub(crate) fn new(decoder: Decoder, bytes: &[u8]) -> Unread {
        Unread {
            decoder,
            bytes: bytes.to_vec(),
            start: 0,
        }
    }

    /// Bytes that were on their way when the driver was asked to pause.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.start));
        self.bytes.reserve_exact(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }
}
