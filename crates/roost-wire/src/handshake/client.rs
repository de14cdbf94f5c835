//! The client's side, for the load harness and for tests.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use httparse::EMPTY_HEADER;

use super::list::{Elements, is};
use super::response::{accept_value, write_header};

/// A request for a WebSocket.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientRequest<'a> {
    /// Authority of the server: host, and port unless it is the scheme's own.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// 16 random bytes in base64, see [`encode_key`].
    pub key: &'a str,
    /// Subprotocols in order of preference.
    pub protocols: &'a [&'a str],
    /// The whole value of Sec-WebSocket-Extensions.
    pub extensions: Option<&'a str>,
    /// The Origin header.
    pub origin: Option<&'a str>,
}

/// What a server granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'h> {
    /// The subprotocol it chose, one of those offered.
    pub protocol: Option<&'h str>,
    /// The value of its (first) Sec-WebSocket-Extensions header.
    pub extensions: Option<&'h str>,
}

/// Why a server's response opens no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseError {
    /// Not an HTTP/1 response head.
    Malformed,
    /// A status other than 101.
    Status(u16),
    /// No `Upgrade: websocket`.
    Upgrade,
    /// No `Connection: Upgrade`.
    Connection,
    /// Sec-WebSocket-Accept does not answer our key.
    Accept,
    /// A subprotocol that was not offered, or more than one.
    Protocol,
}

impl ClientRequest<'_> {
    /// Appends the request head (RFC 6455 §4.1).
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        write_header(out, "Host", self.host);
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
        write_header(out, "Sec-WebSocket-Key", self.key);
        out.extend_from_slice(b"Sec-WebSocket-Version: 13\r\n");
        if !self.protocols.is_empty() {
            write_header(out, "Sec-WebSocket-Protocol", &self.protocols.join(", "));
        }
        if let Some(extensions) = self.extensions {
            write_header(out, "Sec-WebSocket-Extensions", extensions);
        }
        if let Some(origin) = self.origin {
            write_header(out, "Origin", origin);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// A key from 16 random bytes.
pub fn encode_key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// Checks a whole response head against the request's key and the subprotocols offered, as
/// RFC 6455 §4.1 has it. Whether the extensions are acceptable is the caller's to say.
pub fn parse_response<'h>(
    head: &'h [u8],
    key: &str,
    offered: &[&str],
) -> Result<Response<'h>, ResponseError> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        _ => return Err(ResponseError::Malformed),
    }
    match parsed.code {
        Some(101) => {}
        Some(status) => return Err(ResponseError::Status(status)),
        None => return Err(ResponseError::Malformed),
    }
    let headers = &*parsed.headers;
    let values = |name: &'static str| {
        headers
            .iter()
            .filter(move |header| is(header, name))
            .map(|header| header.value)
    };
    if !Elements::new("Upgrade", headers).has_token("websocket") {
        return Err(ResponseError::Upgrade);
    }
    if !Elements::new("Connection", headers).has_token("upgrade") {
        return Err(ResponseError::Connection);
    }
    if !values("Sec-WebSocket-Accept").eq([accept_value(key).as_slice()]) {
        return Err(ResponseError::Accept);
    }
    let mut protocols = values("Sec-WebSocket-Protocol");
    let protocol = protocols.next().map(str::from_utf8);
    let protocol = protocol.transpose().map_err(|_| ResponseError::Protocol)?;
    if protocols.next().is_some() || protocol.is_some_and(|chosen| !offered.contains(&chosen)) {
        return Err(ResponseError::Protocol);
    }
    Ok(Response {
        protocol,
        extensions: values("Sec-WebSocket-Extensions")
            .next()
            .and_then(|value| str::from_utf8(value).ok()),
    })
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResponseError::Malformed => f.write_str("malformed response head"),
            ResponseError::Status(status) => write!(f, "status {status} instead of 101"),
            ResponseError::Upgrade => f.write_str("response lacks Upgrade: websocket"),
            ResponseError::Connection => f.write_str("response lacks Connection: Upgrade"),
            ResponseError::Accept => f.write_str("Sec-WebSocket-Accept does not match the key"),
            ResponseError::Protocol => f.write_str("a subprotocol that was not offered"),
        }
    }
}

impl std::error::Error for ResponseError {}

const HEADERS_MAX: usize = 64;
