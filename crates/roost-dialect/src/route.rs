//! One port, several dialects: which one a connection speaks, from the opening request alone.
//!
//! The subprotocol decides first, then the path. A client that offers `wamp.2.json` speaks WAMP on
//! whatever path it came by, because WAMP clients are configured with any URL; without it the path
//! alone says what is meant.

use std::borrow::Cow;

use crate::{ChannelNameError, DialectKind, check_channel_name};

/// Which dialects are open, and the limit on names that come in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteSettings {
    /// `/raw/{channel}` exists.
    pub raw: bool,
    /// `/echo` exists.
    pub echo: bool,
    /// `/wamp` exists and `wamp.2.json` is selected when offered.
    pub wamp: bool,
    /// Longest channel name, in bytes of UTF-8 after percent-decoding.
    pub channel_name_bytes_max: usize,
}

/// Where a WebSocket request leads. The same answer serves a plain GET on the path: `NotFound` is
/// 404, `Refused` 400, and all else a WebSocket path that wants 426.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// Raw dialect: subscribed to `channel`, publishing there. No subprotocol is selected,
    /// whatever was offered (RFC 6455 §4.2.2: the header may be left out).
    Raw {
        /// The channel's name, percent-decoded and checked.
        channel: Cow<'a, str>,
    },
    /// Echo dialect. No subprotocol is selected.
    Echo,
    /// WAMP, with the subprotocol [`Route::protocol`] gives.
    Wamp,
    /// `/wamp` without a subprotocol we speak: accept without one, then close with 1002 and
    /// [`WAMP_REQUIRED`], so that a browser sees the reason instead of a failed handshake.
    WampWithoutSubprotocol,
    /// No dialect here: 404 (unless the path is a page of the reactor's own).
    NotFound,
    /// The path names a channel that cannot be: 400 with [`RouteError::reason`].
    Refused(RouteError),
}

impl Route<'_> {
    /// The subprotocol to select in the answer, if any.
    pub fn protocol(&self) -> Option<&'static str> {
        match self {
            Route::Wamp => Some(WAMP_2_JSON),
            Route::Raw { .. }
            | Route::Echo
            | Route::WampWithoutSubprotocol
            | Route::NotFound
            | Route::Refused(_) => None,
        }
    }

    /// The dialect a connection on this route speaks; `None` when there will be no connection or
    /// none that speaks.
    pub fn dialect(&self) -> Option<DialectKind> {
        match self {
            Route::Raw { .. } => Some(DialectKind::Raw),
            Route::Echo => Some(DialectKind::Echo),
            Route::Wamp => Some(DialectKind::WampJson),
            Route::WampWithoutSubprotocol | Route::NotFound | Route::Refused(_) => None,
        }
    }
}

/// Why `/raw/{channel}` was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteError {
    /// The decoded name cannot be a channel's.
    Name(ChannelNameError),
    /// A `%` is not followed by two hexadecimal digits (RFC 3986 §2.1).
    PercentEncoding,
    /// The decoded bytes are not UTF-8.
    Utf8,
}

impl RouteError {
    /// One line for the body of the 400.
    pub fn reason(self) -> &'static str {
        match self {
            RouteError::Name(error) => error.reason(),
            RouteError::PercentEncoding => "channel name has a broken percent-encoding",
            RouteError::Utf8 => "channel name is not UTF-8",
        }
    }
}

/// Finds the route of a request. `path` is the request target's path as sent, without the query;
/// `offered` the tokens of Sec-WebSocket-Protocol in the client's order. Subprotocol names are
/// compared with case, as RFC 6455 §11.5 registers them.
pub fn route<'a, 'p>(
    path: &'a str,
    offered: impl IntoIterator<Item = &'p str>,
    settings: &RouteSettings,
) -> Route<'a> {
    if settings.wamp && offered.into_iter().any(|name| name == WAMP_2_JSON) {
        return Route::Wamp;
    }
    if settings.raw
        && let Some(encoded) = path.strip_prefix("/raw/")
    {
        return match channel_from_path(encoded, settings.channel_name_bytes_max) {
            Ok(channel) => Route::Raw { channel },
            Err(error) => Route::Refused(error),
        };
    }
    match path {
        "/raw" if settings.raw => Route::Refused(RouteError::Name(ChannelNameError::Empty)),
        "/echo" if settings.echo => Route::Echo,
        "/wamp" if settings.wamp => Route::WampWithoutSubprotocol,
        _ => Route::NotFound,
    }
}

/// The channel a path's rest names: all of it, `/` included.
fn channel_from_path(encoded: &str, bytes_max: usize) -> Result<Cow<'_, str>, RouteError> {
    let name = percent_decode(encoded)?;
    check_channel_name(&name, bytes_max).map_err(RouteError::Name)?;
    Ok(name)
}

/// RFC 3986 §2.1. A `+` stands for itself: this is a path, not a form.
fn percent_decode(encoded: &str) -> Result<Cow<'_, str>, RouteError> {
    if !encoded.contains('%') {
        return Ok(Cow::Borrowed(encoded));
    }
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else {
            return Err(RouteError::PercentEncoding);
        };
        let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low)) else {
            return Err(RouteError::PercentEncoding);
        };
        decoded.push(high << 4 | low);
        rest = tail;
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| RouteError::Utf8)
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// The one subprotocol spoken.
const WAMP_2_JSON: &str = "wamp.2.json";

/// Close reason for [`Route::WampWithoutSubprotocol`].
pub const WAMP_REQUIRED: &str = "subprotocol wamp.2.json required";
