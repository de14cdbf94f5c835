//! The protocol's codes of errors and closes, with their texts. Clients tell by the code whether to come
//! back: 3000 to 3499 yes, 3500 to 3999 no.

use roost_access::Denial;
use roost_wire::CloseCode;

use crate::dialect::{Next, Refusal, TokenRefusal};

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Error {
    pub(super) code: u16,
    pub(super) message: &'static str,
    /// Whether the client tries again by itself.
    pub(super) is_temporary: bool,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Disconnect {
    pub(super) code: CloseCode,
    pub(super) reason: &'static str,
}

impl Disconnect {
    pub(super) fn next(self) -> Next {
        let Disconnect { code, reason } = self;
        Next::Close { code, reason }
    }
}

pub(super) const INTERNAL: Error = temporary(100, "internal server error");
pub(super) const UNAUTHORIZED: Error = error(101, "unauthorized");
pub(super) const PERMISSION_DENIED: Error = error(103, "permission denied");
pub(super) const ALREADY_SUBSCRIBED: Error = error(105, "already subscribed");
pub(super) const LIMIT_EXCEEDED: Error = error(106, "limit exceeded");
pub(super) const BAD_REQUEST: Error = error(107, "bad request");
pub(super) const NOT_AVAILABLE: Error = error(108, "not available");
pub(super) const TOKEN_EXPIRED: Error = error(109, "token expired");
pub(super) const TOO_MANY_REQUESTS: Error = temporary(111, "too many requests");
pub(super) const UNRECOVERABLE: Error = error(112, "unrecoverable position");

/// Of an unsubscribe that the server pushes: below 2500 the client does not subscribe again.
pub(super) const SERVER_UNSUBSCRIBE: (u16, &str) = (2000, "server unsubscribe");
/// The same of one that the client subscribes to again, to recover.
pub(super) const INSUFFICIENT: (u16, &str) = (2500, "insufficient state");
/// The same of one whose token has expired.
pub(super) const SUBSCRIPTION_EXPIRED: (u16, &str) = (2501, "subscription expired");
pub(super) const SHUTDOWN: Disconnect = disconnect(3001, "shutdown");
pub(super) const SERVER_ERROR: Disconnect = disconnect(3004, "internal server error");
pub(super) const EXPIRED: Disconnect = disconnect(3005, "connection expired");
pub(super) const INSUFFICIENT_STATE: Disconnect = disconnect(3010, "insufficient state");
pub(super) const SLOW: Disconnect = disconnect(3008, "slow");
pub(super) const NO_PONG: Disconnect = disconnect(3012, "no pong");
pub(super) const RATE_LIMITED: Disconnect = disconnect(3013, "too many requests");
pub(super) const INVALID_TOKEN: Disconnect = disconnect(3500, "invalid token");
pub(super) const MALFORMED: Disconnect = disconnect(3501, "bad request");
pub(super) const STALE: Disconnect = disconnect(3502, "stale");
pub(super) const CONNECTION_LIMIT: Disconnect = disconnect(3504, "connection limit");
pub(super) const INAPPROPRIATE_PROTOCOL: Disconnect = disconnect(3506, "inappropriate protocol");
pub(super) const TOO_MANY_ERRORS: Disconnect = disconnect(3509, "too many errors");
pub(super) const SEND_NOT_AVAILABLE: Disconnect = disconnect(3508, "not available");

/// The error of a command that was refused.
pub(super) fn error_of(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NotAllowed(denial) => error_of_denial(denial),
        Refusal::InvalidName | Refusal::InvalidPattern | Refusal::PatternShape => BAD_REQUEST,
        Refusal::NotKept => NOT_AVAILABLE,
        Refusal::TooOften => TOO_MANY_REQUESTS,
        Refusal::NoRoom => INTERNAL,
    }
}

/// Whatever the reason is, a client is told no more, but for whether it may try again: after an error that is
/// not temporary it gives the subscription up.
pub(super) fn error_of_denial(denial: Denial) -> Error {
    match denial.is_temporary() {
        true => INTERNAL,
        false => PERMISSION_DENIED,
    }
}

/// What follows a token that does not let the client in.
pub(super) fn after_refusal(refusal: TokenRefusal) -> Result<Error, Disconnect> {
    match refusal {
        TokenRefusal::Missing => Ok(UNAUTHORIZED),
        TokenRefusal::Expired => Ok(TOKEN_EXPIRED),
        TokenRefusal::Unavailable => Ok(INTERNAL),
        TokenRefusal::Invalid => Err(INVALID_TOKEN),
        TokenRefusal::TooMany => Err(CONNECTION_LIMIT),
    }
}

const fn error(code: u16, message: &'static str) -> Error {
    Error {
        code,
        message,
        is_temporary: false,
    }
}

const fn temporary(code: u16, message: &'static str) -> Error {
    Error {
        code,
        message,
        is_temporary: true,
    }
}

const fn disconnect(code: u16, reason: &'static str) -> Disconnect {
    match CloseCode::new(code) {
        Some(code) => Disconnect { code, reason },
        None => panic!("a code that may stand in a close frame"),
    }
}
