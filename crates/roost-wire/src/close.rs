//! Close codes (RFC 6455 §7.4 and the IANA registry "WebSocket Close Code Number").

use std::fmt;

/// Why a connection is closed, as sent in a close frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// 1001: the server goes down, or the browser leaves the page.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// 1003: a kind of data that this endpoint does not take.
    pub const UNSUPPORTED_DATA: CloseCode = CloseCode(1003);
    /// 1005: a close frame without a code. Never sent.
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// 1006: the connection ended without a close frame. Never sent.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// 1007: text that is not UTF-8.
    pub const INVALID_PAYLOAD: CloseCode = CloseCode(1007);
    /// 1008: a rule of the application is broken.
    pub const POLICY_VIOLATION: CloseCode = CloseCode(1008);
    /// 4401, ours: the identity that the client has shown has expired. It may come back with a new one.
    pub const IDENTITY_EXPIRED: CloseCode = CloseCode(4401);
    /// 4403, ours: the application has ended the subscription that the connection is for.
    pub const UNSUBSCRIBED: CloseCode = CloseCode(4403);
    /// 1009: a frame or message above the limit.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// 1010: the client wanted an extension that the server did not offer.
    pub const MANDATORY_EXTENSION: CloseCode = CloseCode(1010);
    /// 1011: the server failed.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// 1012: the server restarts; come back after a while.
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// 1013: the server is overloaded; come back later.
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);
    /// 1014: a gateway got an invalid answer from behind it.
    pub const BAD_GATEWAY: CloseCode = CloseCode(1014);
    /// 1015: the TLS handshake failed. Never sent.
    pub const TLS_HANDSHAKE: CloseCode = CloseCode(1015);

    /// The code, if it may stand in a close frame; `None` for 0…999, 1004…1006, 1015…2999 and
    /// from 5000 on.
    ///
    /// RFC 6455 §7.4.1 and §7.4.2: 1005, 1006 and 1015 MUST NOT be sent; 1004 and what is
    /// unassigned below 3000 is reserved; 3000…3999 are registered by libraries, 4000…4999 free
    /// for applications. 1012, 1013 and 1014 were registered with IANA after the RFC.
    pub const fn new(code: u16) -> Option<CloseCode> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(CloseCode(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_legal_codes_may_be_sent() {
        let legal: Vec<u16> = (0..=u16::MAX)
            .filter(|&code| CloseCode::new(code).is_some())
            .collect();
        let expected: Vec<u16> = (1000..=1003)
            .chain(1007..=1014)
            .chain(3000..=4999)
            .collect();
        assert_eq!(legal, expected);
    }
}
