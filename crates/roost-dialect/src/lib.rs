//! What a message means: raw, echo and WAMP turned into a [`Command`], and a delivery turned into
//! bytes. Pure: no socket, no clock, no randomness (identifiers are passed in), no channel table.
//!
//! A connection speaks one dialect ([`DialectKind`]), chosen once by [`route`]. Its messages
//! become commands that borrow the message; a publication becomes an owned [`Publication`], which
//! travels to the channel's home reactor and is encoded there once for each [`encoding`] that has
//! a subscriber ([`encode`]).
//!
//! All dialects share one channel space: `docs/raw.md` and `docs/wamp.md` say how a payload reads
//! on the other side.

use std::borrow::Cow;

use roost_hub::ChannelId;
use roost_wire::CloseCode;

mod channel;
#[doc(hidden)]
pub mod fuzz;
mod json;
mod publication;
pub mod raw;
mod route;
pub mod wamp;

pub use channel::{ChannelNameError, check_channel_name};
pub use publication::{PayloadRef, Publication, encode};
pub use route::{
    RAW as RAW_SUBPROTOCOL, Route, RouteError, RouteSettings, Subprotocols, WAMP_REQUIRED, route,
};

/// What a connection speaks. One byte of the connection's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DialectKind {
    /// The payload itself, to and from the one channel the path names. See [`raw`].
    Raw = 0,
    /// The same message back. The reactor answers it without asking this crate.
    Echo = 1,
    /// WAMP v2 broker, one JSON value a text message. See [`wamp`].
    WampJson = 2,
}

/// The forms a delivery is encoded in: one image serves all subscribers of that form.
pub mod encoding {
    use roost_hub::Encoding;

    /// The payload as a message of its own: text as text, binary as binary.
    pub const RAW: Encoding = Encoding(0);
    /// A WAMP EVENT in JSON.
    pub const WAMP_JSON: Encoding = Encoding(1);
}

/// What a message asks for. Borrows the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// Nothing: the message is done with and there is no answer.
    None,
    /// The answer stands in the out buffer.
    Reply,
    /// Publish on a channel.
    Publish {
        /// The channel's name; it has passed [`check_channel_name`].
        channel: Cow<'a, str>,
        /// What to publish.
        payload: PayloadRef<'a>,
        /// Whether the publisher is left out even if it is subscribed.
        exclude_me: bool,
        /// The token to answer with (`on_published` or `on_refused`); `None`: answer nothing,
        /// whatever happens.
        ack: Option<u64>,
    },
    /// Subscribe to a channel.
    Subscribe {
        /// The channel's name; it has passed [`check_channel_name`].
        channel: Cow<'a, str>,
        /// The token to answer with (`on_subscribed` or `on_refused`).
        token: u64,
    },
    /// End a subscription.
    Unsubscribe {
        /// The channel, as `on_subscribed` named it.
        channel: ChannelId,
        /// The token to answer with (`on_unsubscribed` or `on_refused`).
        token: u64,
    },
    /// Send what stands in the out buffer, if anything, then start the closing handshake.
    Close {
        /// Status code to close with.
        code: CloseCode,
        /// UTF-8 reason, at most 123 bytes.
        reason: &'static str,
    },
}
