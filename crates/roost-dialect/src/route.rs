//! One port, several dialects: which one a connection speaks, from the opening request alone.
//!
//! The path decides first: `/raw/…` is raw and `/echo` is echo, whatever subprotocols the client
//! offers. On every other path a client that offers `wamp.2.json` speaks WAMP, because WAMP clients
//! are configured with any URL. So no path has two dialects for one and the same request, and what
//! a client speaks does not depend on the order in which it names subprotocols.

use std::borrow::Cow;

use crate::{ChannelNameError, DialectKind, check_channel_name};

/// Which dialects are open, and the limit on names that come in the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSettings {
    /// `/raw/{channel}` exists.
    pub raw: bool,
    /// Subprotocols that are selected there when offered, beside [`RAW`].
    pub raw_subprotocols: Subprotocols,
    /// `/echo` exists.
    pub echo: bool,
    /// `/wamp` exists, and `wamp.2.json` is selected there and on every path without a dialect of
    /// its own.
    pub wamp: bool,
    /// Longest channel name, in bytes of UTF-8 after percent-decoding.
    pub channel_name_bytes_max: usize,
}

/// Which subprotocols are selected for the raw dialect. It looks into no message, so any name that
/// client and application agree on will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subprotocols {
    /// The first that the client offers, unless it is a WAMP one.
    Any,
    /// These.
    Listed(Vec<String>),
}

impl Subprotocols {
    /// The configuration's list: `*` stands for any.
    pub fn from_list(names: impl IntoIterator<Item = String>) -> Subprotocols {
        let names = Vec::from_iter(names);
        match names.iter().any(|name| name == "*") {
            true => Subprotocols::Any,
            false => Subprotocols::Listed(names),
        }
    }

    fn contain(&self, name: &str) -> bool {
        match self {
            Subprotocols::Any => !name.starts_with("wamp."),
            Subprotocols::Listed(names) => names.iter().any(|listed| listed == name),
        }
    }
}

/// Where a WebSocket request leads. The same answer serves a plain GET on the path: `NotFound` is
/// 404, `Refused` 400, and all else a WebSocket path that wants 426.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// Raw dialect: subscribed to `channel`, publishing there.
    Raw {
        /// The channel's name, percent-decoded and checked.
        channel: Cow<'a, str>,
        /// The first subprotocol offered that is served, if any (RFC 6455 §4.2.2: no subprotocol
        /// in common is no reason to refuse).
        protocol: Option<&'a str>,
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

impl<'a> Route<'a> {
    /// The subprotocol to select in the answer, if any.
    pub fn protocol(&self) -> Option<&'a str> {
        match self {
            Route::Wamp => Some(WAMP_2_JSON),
            Route::Raw { protocol, .. } => *protocol,
            Route::Echo | Route::WampWithoutSubprotocol | Route::NotFound | Route::Refused(_) => {
                None
            }
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
    /// A sentence for the body of the 400.
    pub fn reason(self) -> &'static str {
        match self {
            RouteError::Name(error) => error.reason(),
            RouteError::PercentEncoding => {
                "In the channel's name each % must be followed by two hexadecimal digits; % itself is %25."
            }
            RouteError::Utf8 => "The channel's name must be UTF-8 once it is percent-decoded.",
        }
    }
}

/// Finds the route of a request. `path` is the request target's path as sent, without the query;
/// `offered` the tokens of Sec-WebSocket-Protocol in the client's order. Subprotocol names are
/// compared with case, as RFC 6455 §11.5 registers them.
pub fn route<'a>(
    path: &'a str,
    offered: impl IntoIterator<Item = &'a str>,
    settings: &RouteSettings,
) -> Route<'a> {
    let mut offered = offered.into_iter();
    if settings.raw
        && let Some(encoded) = path.strip_prefix("/raw/")
    {
        let served = |name: &&str| *name == RAW || settings.raw_subprotocols.contain(name);
        return match channel_from_path(encoded, settings.channel_name_bytes_max) {
            Ok(channel) => Route::Raw {
                channel,
                protocol: offered.find(served),
            },
            Err(error) => Route::Refused(error),
        };
    }
    match path {
        "/raw" if settings.raw => Route::Refused(RouteError::Name(ChannelNameError::Empty)),
        "/echo" if settings.echo => Route::Echo,
        _ if settings.wamp && offered.any(|name| name == WAMP_2_JSON) => Route::Wamp,
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

/// The subprotocol of the raw dialect: for clients that want one selected.
pub const RAW: &str = "roost.raw";

/// The subprotocol of WAMP.
const WAMP_2_JSON: &str = "wamp.2.json";

/// Close reason for [`Route::WampWithoutSubprotocol`].
pub const WAMP_REQUIRED: &str =
    "This path speaks WAMP: the client must offer the subprotocol wamp.2.json.";
