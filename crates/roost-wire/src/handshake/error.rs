//! What can be wrong with a request for a WebSocket, and the response that says so.

use std::fmt;

use super::response::write_response;

/// Why a handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandshakeError {
    /// Not an HTTP/1 request head.
    HeadMalformed,
    /// More headers than the limit.
    HeadersTooMany,
    /// A head above the caller's limit. The caller finds this one.
    HeadTooLong,
    /// Not HTTP/1.0 or 1.1, or a WebSocket request with HTTP/1.0.
    HttpVersion,
    /// A request target that is neither a path nor an absolute URI, or has a fragment.
    TargetInvalid,
    /// A method other than GET.
    Method,
    /// A request with a body.
    Body,
    /// No Host header.
    HostMissing,
    /// More than one Host header.
    HostRepeated,
    /// A Host header that is no authority.
    HostInvalid,
    /// `Upgrade: websocket` without `Connection: Upgrade`.
    ConnectionLacksUpgrade,
    /// No Sec-WebSocket-Key header.
    KeyMissing,
    /// More than one Sec-WebSocket-Key header.
    KeyRepeated,
    /// A key that is not 16 bytes in base64, or an early draft's without a number in it.
    KeyInvalid,
    /// More than one Sec-WebSocket-Version header.
    VersionRepeated,
    /// A Sec-WebSocket-Version other than 13, or none.
    VersionUnsupported,
    /// More than one Origin header.
    OriginRepeated,
    /// An Origin header that is not UTF-8, in an early draft, which has to repeat it.
    OriginInvalid,
    /// A Sec-WebSocket-Protocol header that is no list of tokens.
    ProtocolsInvalid,
    /// The same subprotocol twice.
    ProtocolRepeated,
    /// More than [`super::Protocols::MAX`] subprotocols.
    ProtocolsTooMany,
    /// A Sec-WebSocket-Extensions header that breaks its grammar.
    ExtensionsInvalid,
}

impl HandshakeError {
    /// The HTTP status of the response.
    pub const fn status(self) -> u16 {
        use HandshakeError::*;
        match self {
            HeadMalformed
            | TargetInvalid
            | Body
            | HostMissing
            | HostRepeated
            | HostInvalid
            | ConnectionLacksUpgrade
            | KeyMissing
            | KeyRepeated
            | KeyInvalid
            | VersionRepeated
            | OriginRepeated
            | OriginInvalid
            | ProtocolsInvalid
            | ProtocolRepeated
            | ProtocolsTooMany
            | ExtensionsInvalid => 400,
            Method => 405,
            VersionUnsupported => 426,
            HeadersTooMany | HeadTooLong => 431,
            HttpVersion => 505,
        }
    }

    /// What is wrong, and what was expected: sentences on one line, for the response body.
    pub const fn reason(self) -> &'static str {
        use HandshakeError::*;
        match self {
            HeadMalformed => {
                "This is not an HTTP/1.1 request: its request line or a header line is malformed."
            }
            HeadersTooMany => "The request has more header lines than this server takes.",
            HeadTooLong => {
                "The request's head (request line and headers) is longer than this server takes."
            }
            HttpVersion => {
                "A WebSocket opens with HTTP/1.1, also from a proxy (nginx: proxy_http_version 1.1)."
            }
            TargetInvalid => {
                "The request's target must be a path or an absolute http, https, ws or wss URL, without a fragment (#)."
            }
            Method => "This path takes GET and HEAD; a WebSocket opens with GET.",
            Body => {
                "A request for a WebSocket must have no body: neither Transfer-Encoding nor a Content-Length but 0."
            }
            HostMissing => "The request has no Host header; HTTP/1.1 requires one.",
            HostRepeated => {
                "The request has more than one Host header; HTTP/1.1 requires exactly one."
            }
            HostInvalid => {
                "The Host header must be a host name or address, with or without a port."
            }
            ConnectionLacksUpgrade => {
                "A request with \"Upgrade: websocket\" needs \"Connection: Upgrade\" too; a proxy must forward both headers."
            }
            KeyMissing => "A request for a WebSocket needs a Sec-WebSocket-Key header.",
            KeyRepeated => "The request has a Sec-WebSocket-Key header twice; one is expected.",
            KeyInvalid => "The Sec-WebSocket-Key header must be 16 bytes in base64.",
            VersionRepeated => {
                "The request has more than one Sec-WebSocket-Version header; one is expected."
            }
            VersionUnsupported => {
                "A request for a WebSocket needs \"Sec-WebSocket-Version: 13\", the only version that this server speaks."
            }
            OriginRepeated => {
                "The request has more than one Origin header; one at most is expected."
            }
            OriginInvalid => "The Origin header must be UTF-8.",
            ProtocolsInvalid => {
                "The Sec-WebSocket-Protocol header must list subprotocols separated by commas, each an HTTP token: letters, digits and !#$%&'*+-.^_`|~."
            }
            ProtocolRepeated => {
                "The Sec-WebSocket-Protocol header names a subprotocol twice; each must stand once."
            }
            ProtocolsTooMany => {
                "The Sec-WebSocket-Protocol header names more than 64 subprotocols."
            }
            ExtensionsInvalid => {
                "The Sec-WebSocket-Extensions header is malformed; expected is: name; parameter=value, separated by commas."
            }
        }
    }

    /// The name of its counter: lower case with underscores.
    pub const fn name(self) -> &'static str {
        use HandshakeError::*;
        match self {
            HeadMalformed => "head_malformed",
            HeadersTooMany => "headers_too_many",
            HeadTooLong => "head_too_long",
            HttpVersion => "http_version",
            TargetInvalid => "target_invalid",
            Method => "method",
            Body => "body",
            HostMissing => "host_missing",
            HostRepeated => "host_repeated",
            HostInvalid => "host_invalid",
            ConnectionLacksUpgrade => "connection_lacks_upgrade",
            KeyMissing => "key_missing",
            KeyRepeated => "key_repeated",
            KeyInvalid => "key_invalid",
            VersionRepeated => "version_repeated",
            VersionUnsupported => "version_unsupported",
            OriginRepeated => "origin_repeated",
            OriginInvalid => "origin_invalid",
            ProtocolsInvalid => "protocols_invalid",
            ProtocolRepeated => "protocol_repeated",
            ProtocolsTooMany => "protocols_too_many",
            ExtensionsInvalid => "extensions_invalid",
        }
    }

    /// Headers that the status requires beside those of every response.
    pub const fn extra_headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // RFC 9110 §15.5.6: a 405 response MUST have an Allow header.
            HandshakeError::Method => &[("Allow", "GET, HEAD, OPTIONS")],
            // RFC 6455 §4.4: with the versions that the server speaks; RFC 9110 §15.5.22: a 426
            // response MUST have an Upgrade header, which Connection names.
            HandshakeError::VersionUnsupported => &[
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Version", "13"),
            ],
            _ => &[],
        }
    }

    /// Appends the whole response: status, headers, the reason as its body.
    pub fn write_response(self, out: &mut Vec<u8>) {
        let mut body = String::with_capacity(160);
        body.push_str(self.reason());
        body.push('\n');
        write_response(
            out,
            self.status(),
            "text/plain; charset=utf-8",
            self.extra_headers(),
            body.as_bytes(),
        );
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for HandshakeError {}
