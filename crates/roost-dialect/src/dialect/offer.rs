//! A request for a WebSocket, and what becomes of it.

use std::borrow::Cow;

use roost_hub::Since;
use roost_wire::{CloseCode, handshake};

use crate::Form;

/// What a dialect is asked whether it wants a connection.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// The request target's path as sent, without the query.
    pub path: &'a str,
    /// The tokens of Sec-WebSocket-Protocol in the client's order.
    pub subprotocols: &'a [&'a str],
    /// The request's headers.
    pub headers: Headers<'a>,
    /// Longest channel name, in bytes of UTF-8 after percent-decoding.
    pub channel_name_bytes_max: usize,
}

/// The headers of a request, by name in any case.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a>(Option<&'a handshake::Request<'a>>);

impl<'a> Headers<'a> {
    /// Of a request whose headers count for nothing here.
    pub const NONE: Headers<'static> = Headers(None);

    /// Of a request.
    pub fn of(request: &'a handshake::Request<'a>) -> Headers<'a> {
        Headers(Some(request))
    }

    /// What stands behind the `?` of the request's target.
    pub fn query(&self) -> Option<&'a str> {
        self.0?.query()
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0
            .is_some_and(|request| request.values(name).next().is_some())
    }

    /// The first of this name, unless it is not UTF-8.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0?.header(name)
    }
}

impl Offer<'_> {
    /// Whether the client offers this subprotocol. Compared with case, as RFC 6455 §11.5 registers
    /// them.
    pub fn offers(&self, subprotocol: &str) -> bool {
        self.subprotocols.contains(&subprotocol)
    }
}

/// What becomes of a request for a WebSocket. For a plain GET on the path, all but `NotMine` and
/// the refusals mean 426.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accept<'a> {
    /// Another dialect may want it; with none, 404.
    NotMine,
    /// Status 400 and the reason.
    Refused(Cow<'static, str>),
    /// The same with headers, by which a client's program can tell.
    RefusedNaming(&'static str, &'static [(&'static str, &'static str)]),
    /// A connection of this dialect.
    Open {
        /// The subprotocol to select in the answer, if any: one of those offered.
        subprotocol: Option<&'a str>,
        /// A channel to subscribe to, in this form, before the 101 is sent.
        join: Option<(Cow<'a, str>, Form)>,
        /// What else was agreed.
        terms: Terms,
    },
    /// To a plain GET: an event stream, which begins when the home knows of the subscription. A
    /// WebSocket is refused.
    Stream(Join<'a>),
    /// To a plain request: a stream of what the session is told, which begins at once. A WebSocket is refused.
    Emulated(Emulated<'a>),
    /// To a POST: what its body says is for such a session ([`Dialect::emulation`](super::Dialect::emulation)).
    Relay,
    /// The 101, without a subprotocol, and then this close frame: a browser shows the reason of a
    /// close, and none of a failed handshake.
    OpenAndClose(CloseCode, &'static str),
}

/// A session without a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulated<'a> {
    /// What the client says first: `None`, the body of its request, which is a POST; else it is a GET.
    pub message: Option<Cow<'a, str>>,
    /// Of the stream.
    pub content_type: &'static str,
    /// What was agreed.
    pub terms: Terms,
    /// What the client says is bytes, and not text.
    pub is_binary: bool,
    /// The client says nothing more: its session needs no name, and what the stream sends goes through
    /// [`Positions::stamp`](crate::sse::Positions::stamp).
    pub is_one_way: bool,
}

impl Emulated<'_> {
    /// Of the request.
    pub fn method(&self) -> &'static str {
        match self.message {
            None => "POST",
            Some(_) => "GET",
        }
    }
}

/// A subscription that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join<'a> {
    /// The channel.
    pub channel: Cow<'a, str>,
    /// The form in which its publications are wanted.
    pub form: Form,
    /// What is wanted of the time before it.
    pub since: Option<Since>,
}

/// What a dialect and its client have agreed on beside the subprotocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// Told to [`Dialect::open`](super::Dialect::open); means what the dialect says.
    pub number: u8,
    /// A header of the 101.
    pub header: Option<(&'static str, &'static str)>,
}
