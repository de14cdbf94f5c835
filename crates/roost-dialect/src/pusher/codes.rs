//! The protocol's codes of errors and closes, with their texts. Clients tell by the code of a close whether
//! to come back: 4000 to 4099 no, 4100 to 4199 after a second, 4200 to 4299 at once.

use roost_wire::CloseCode;

use crate::dialect::Next;

/// What ends a connection: told as an error, and then as the close frame's code and reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: CloseCode,
    pub(super) reason: &'static str,
}

impl Fault {
    pub(super) fn next(self) -> Next {
        let Fault { code, reason } = self;
        Next::Close { code, reason }
    }
}

/// Why a message is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Error {
    /// `None`: none of the protocol's.
    pub(super) code: Option<u16>,
    pub(super) message: &'static str,
}

/// Why a channel is not subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    /// `AuthError`, or what has come to its limit.
    pub(super) kind: &'static str,
    pub(super) message: &'static str,
    pub(super) status: u16,
}

pub(super) const NO_APP: Fault = fault(4001, "application does not exist");
pub(super) const DISABLED: Fault = fault(4003, "application is disabled");
pub(super) const BAD_VERSION: Fault = fault(4006, "the protocol's version is not a number");
pub(super) const UNSUPPORTED: Fault =
    fault(4007, "unsupported protocol version: 5 to 7 are spoken");
pub(super) const NO_VERSION: Fault = fault(4008, "no protocol version: add ?protocol=7");
pub(super) const UNAUTHORIZED: Fault = fault(4009, "connection is unauthorized");
pub(super) const NOT_AUTHORIZED: Fault = fault(
    4009,
    "the client has not signed in or subscribed with a signature in time",
);
pub(super) const DISCONNECTED: Fault = fault(4009, "disconnected by the application");
pub(super) const SLOW: Fault = fault(4100, "slow consumer");
pub(super) const OVER_LIMIT: Fault = fault(4100, "too many messages");
pub(super) const TOO_MANY_ERRORS: Fault = fault(4009, "too many errors");
pub(super) const DRAINING: Fault = fault(4200, "the server is going down: reconnect");
pub(super) const NO_PONG: Fault = fault(4201, "no pong was received in time");

pub(super) const MALFORMED: Error = error(
    None,
    "a message is a JSON object with an event and, but for pings, its data",
);
pub(super) const EXISTING: Error = error(None, "existing subscription to this channel");
pub(super) const UNKNOWN_EVENT: Error = error(
    Some(4301),
    "clients publish events that begin with client- and no others",
);
pub(super) const NO_CLIENT_EVENTS: Error =
    error(Some(4301), "the application does not allow client events");
pub(super) const WRONG_KIND: Error = error(
    Some(4301),
    "clients publish on private and presence channels alone, and not on encrypted ones",
);
pub(super) const NOT_SUBSCRIBED: Error = error(
    Some(4301),
    "a client publishes on channels alone that it is subscribed to",
);
pub(super) const RATE: Error = error(Some(4301), "too many client events in a second");
pub(super) const EVENT_SIZE: Error = error(Some(4301), "the client event's data is too long");
pub(super) const EVENT_NAME: Error = error(
    Some(4301),
    "the client event's name is too long, or has a control character",
);

pub(super) const BAD_NAME: Refused = refused(
    "LimitReached",
    "the channel's name is empty, too long, of another application, or has a control character",
    4009,
);
pub(super) const BAD_SIGNATURE: Refused = refused(
    "AuthError",
    "the connection is unauthorized for this channel",
    401,
);
pub(super) const BAD_MEMBER: Refused = refused(
    "AuthError",
    "channel_data is a JSON object with a user_id of 1 to 128 bytes",
    401,
);
pub(super) const OTHER_USER: Refused = refused(
    "AuthError",
    "this channel is of another user: sign in as it",
    401,
);
pub(super) const MEMBER_SIZE: Refused =
    refused("LimitReached", "the member's user_info is too long", 4301);
pub(super) const TOO_MANY_MEMBERS: Refused = refused(
    "LimitReached",
    "the channel has as many members as it may have",
    4100,
);
pub(super) const TOO_MANY_CHANNELS: Refused = refused(
    "LimitReached",
    "the connection has as many subscriptions as it may have",
    4100,
);
pub(super) const NO_ROOM: Refused =
    refused("LimitReached", "the server has no room for this", 4100);

const fn fault(code: u16, reason: &'static str) -> Fault {
    match CloseCode::new(code) {
        Some(code) => Fault { code, reason },
        None => panic!("a code that may stand in a close frame"),
    }
}

const fn error(code: Option<u16>, message: &'static str) -> Error {
    Error { code, message }
}

const fn refused(kind: &'static str, message: &'static str, status: u16) -> Refused {
    Refused {
        kind,
        message,
        status,
    }
}
