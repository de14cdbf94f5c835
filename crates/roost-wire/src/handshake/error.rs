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

    /// One line for the response body.
    pub const fn reason(self) -> &'static str {
        use HandshakeError::*;
        match self {
            HeadMalformed => "malformed request head",
            HeadersTooMany => "too many headers",
            HeadTooLong => "request head too long",
            HttpVersion => "a WebSocket needs HTTP/1.1",
            TargetInvalid => "request target must be a path or an absolute URI, without fragment",
            Method => "a WebSocket needs GET",
            Body => "a request for a WebSocket has no body",
            HostMissing => "no Host header",
            HostRepeated => "more than one Host header",
            HostInvalid => "malformed Host header",
            ConnectionLacksUpgrade => "the Connection header lacks Upgrade",
            KeyMissing => "no Sec-WebSocket-Key header",
            KeyRepeated => "more than one Sec-WebSocket-Key header",
            KeyInvalid => "malformed Sec-WebSocket-Key header",
            VersionRepeated => "more than one Sec-WebSocket-Version header",
            VersionUnsupported => "Sec-WebSocket-Version must be 13",
            OriginRepeated => "more than one Origin header",
            OriginInvalid => "malformed Origin header",
            ProtocolsInvalid => "Sec-WebSocket-Protocol is not a list of tokens",
            ProtocolRepeated => "a subprotocol is named twice",
            ProtocolsTooMany => "too many subprotocols",
            ExtensionsInvalid => "malformed Sec-WebSocket-Extensions header",
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
            HandshakeError::Method => &[("Allow", "GET")],
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
        let mut body = String::with_capacity(80);
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
