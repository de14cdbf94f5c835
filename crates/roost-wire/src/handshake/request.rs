//! A request head, and the request for a WebSocket that may be in it.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use httparse::{EMPTY_HEADER, Header};

use super::HandshakeError;
use super::list::{Elements, Extensions, Protocols, is};

/// An HTTP/1 request head. Borrows from the bytes it was parsed from.
#[derive(Debug)]
pub struct Request<'h> {
    method: &'h str,
    /// Of an absolute-form target.
    authority: Option<&'h str>,
    path: &'h str,
    query: Option<&'h str>,
    minor_version: u8,
    headers: Vec<Header<'h>>,
}

/// What a request asks for.
#[derive(Debug)]
pub enum Upgrade<'r> {
    /// Not a WebSocket: serve it as plain HTTP.
    Plain,
    /// A WebSocket, and all is as RFC 6455 §4.2.1 wants it.
    WebSocket(WebSocketRequest<'r>),
    /// A WebSocket, but wrongly.
    Refused(HandshakeError),
}

/// A request for a WebSocket that may be granted.
#[derive(Debug, Clone)]
pub struct WebSocketRequest<'r> {
    request: &'r Request<'r>,
    key: &'r str,
    protocols: Protocols<'r>,
    extensions: Extensions<'r>,
}

impl<'h> Request<'h> {
    /// Parses a whole head, as [`super::HeadScanner`] found it. More than `headers_max` headers
    /// are an error.
    pub fn parse(head: &'h [u8], headers_max: usize) -> Result<Request<'h>, HandshakeError> {
        let mut headers = vec![EMPTY_HEADER; headers_max];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(HandshakeError::HeadMalformed),
            Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::HeadersTooMany),
            Err(httparse::Error::Version) if names_http(head) => {
                return Err(HandshakeError::HttpVersion);
            }
            Err(_) => return Err(HandshakeError::HeadMalformed),
        }
        let (Some(method), Some(target), Some(minor_version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(HandshakeError::HeadMalformed);
        };
        let count = parsed.headers.len();
        headers.truncate(count);
        let (authority, path, query) = split_target(method, target)?;
        Ok(Request {
            method,
            authority,
            path,
            query,
            minor_version,
            headers,
        })
    }

    /// Whether this asks for a WebSocket, and whether it may.
    pub fn upgrade(&self) -> Upgrade<'_> {
        // A request without `Upgrade: websocket` is an ordinary one, whatever else it says.
        if !self.asks_for_websocket() {
            return Upgrade::Plain;
        }
        match self.check() {
            Ok(request) => Upgrade::WebSocket(request),
            Err(error) => Upgrade::Refused(error),
        }
    }

    /// The method, as sent: methods are compared with regard to case.
    pub fn method(&self) -> &'h str {
        self.method
    }

    /// The path, as sent (percent-encoded), from its first `/` to before any `?`; `*` in a request
    /// `OPTIONS *`.
    pub fn path(&self) -> &'h str {
        self.path
    }

    /// What stands behind the `?`, as sent.
    pub fn query(&self) -> Option<&'h str> {
        self.query
    }

    /// HTTP version: 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub fn minor_version(&self) -> u8 {
        self.minor_version
    }

    /// The authority of an absolute-form target, else the first Host header.
    ///
    /// RFC 9112 §3.2.2: with an absolute-form target, the Host header MUST be ignored.
    pub fn host(&self) -> Option<&'h str> {
        self.authority.or_else(|| self.header("Host"))
    }

    /// The value of the first header with this name, in any case; `None` also when it is not
    /// UTF-8. Space around it is removed.
    pub fn header(&self, name: &str) -> Option<&'h str> {
        let value = self.values(name).next()?;
        str::from_utf8(value).ok()
    }

    /// The values of all headers with this name.
    pub fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = &'h [u8]> {
        self.headers
            .iter()
            .filter(move |header| is(header, name))
            .map(|header| header.value)
    }

    /// True when the Upgrade header has the token websocket.
    pub(crate) fn asks_for_websocket(&self) -> bool {
        self.elements("Upgrade").has_token("websocket")
    }

    /// The server's list of RFC 6455 §4.2.1, from the top.
    fn check(&self) -> Result<WebSocketRequest<'_>, HandshakeError> {
        // 1. to 4. as in any draft. 3. Upgrade has the token websocket: `upgrade` has seen it.
        self.check_http()?;
        // 6. (Before 5, since early drafts have other keys.) Version 13; §4.4: otherwise 426 and
        // the version we speak.
        match self.only("Sec-WebSocket-Version", HandshakeError::VersionRepeated)? {
            Some(b"13") => {}
            _ => return Err(HandshakeError::VersionUnsupported),
        }
        // 5. A key that decodes to 16 bytes.
        let key = self
            .only("Sec-WebSocket-Key", HandshakeError::KeyRepeated)?
            .ok_or(HandshakeError::KeyMissing)?;
        let key = check_key(key).ok_or(HandshakeError::KeyInvalid)?;
        // 7. Optionally an origin. RFC 6454 §7.3: not more than one.
        self.only("Origin", HandshakeError::OriginRepeated)?;
        // 8. and 9. Optionally subprotocols and extensions.
        Ok(WebSocketRequest {
            request: self,
            key,
            protocols: Protocols::parse(&self.headers)?,
            extensions: Extensions::parse(&self.headers)?,
        })
    }

    /// What every draft of the handshake requires of the HTTP request. Returns the Host header.
    pub(crate) fn check_http(&self) -> Result<&'h str, HandshakeError> {
        // 1. An HTTP/1.1 or higher GET request.
        if self.method != "GET" {
            return Err(HandshakeError::Method);
        }
        if self.minor_version < 1 {
            return Err(HandshakeError::HttpVersion);
        }
        // A body would be taken for frames, or the frames for a body.
        if self.has_body() {
            return Err(HandshakeError::Body);
        }
        // 2. A Host header with the server's authority. RFC 9112 §3.2: 400 to a request that lacks
        // one, has more than one, or an invalid one.
        let host = self
            .only("Host", HandshakeError::HostRepeated)?
            .ok_or(HandshakeError::HostMissing)?;
        let host = str::from_utf8(host)
            .ok()
            .filter(|host| is_authority(host.as_bytes()))
            .ok_or(HandshakeError::HostInvalid)?;
        // 4. Connection has the token Upgrade.
        if !self.elements("Connection").has_token("upgrade") {
            return Err(HandshakeError::ConnectionLacksUpgrade);
        }
        Ok(host)
    }

    /// The Host header of a request that asks for no WebSocket.
    ///
    /// # Errors
    /// RFC 9112 §3.2: 400 to a request with more than one or an invalid one, and to one of HTTP/1.1
    /// without. Two readers may take it for two servers' otherwise.
    pub fn check_host(&self) -> Result<(), HandshakeError> {
        match self.only("Host", HandshakeError::HostRepeated)? {
            None if self.minor_version >= 1 => Err(HandshakeError::HostMissing),
            // RFC 9110 §7.2: empty where the target has no authority.
            None | Some(b"") => Ok(()),
            Some(host) if is_authority(host) => Ok(()),
            Some(_) => Err(HandshakeError::HostInvalid),
        }
    }

    fn has_body(&self) -> bool {
        self.values("Transfer-Encoding").next().is_some()
            || self.values("Content-Length").any(|length| length != b"0")
    }

    /// The value of the header that may stand at most once.
    pub(crate) fn only(
        &self,
        name: &str,
        repeated: HandshakeError,
    ) -> Result<Option<&'h [u8]>, HandshakeError> {
        let mut values = self.values(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(repeated),
        }
    }

    fn elements(&self, name: &'static str) -> Elements<'_> {
        Elements::new(name, &self.headers)
    }
}

impl<'r> WebSocketRequest<'r> {
    /// The key as sent, for [`super::write_accept`].
    pub fn key(&self) -> &'r str {
        self.key
    }

    /// The subprotocols named, in the client's order of preference.
    pub fn protocols(&self) -> Protocols<'r> {
        self.protocols.clone()
    }

    /// The extensions offered, in the client's order of preference.
    pub fn extensions(&self) -> Extensions<'r> {
        self.extensions.clone()
    }

    /// The page's origin, as a browser sends it (`null` is one); `None` from most other clients.
    /// An origin that is not UTF-8 is the empty string: no allow-list has it.
    pub fn origin(&self) -> Option<&'r str> {
        let value = self.request.values("Origin").next()?;
        Some(str::from_utf8(value).unwrap_or(""))
    }

    /// The request as a whole.
    pub fn request(&self) -> &'r Request<'r> {
        self.request
    }
}

/// True when a protocol version of HTTP stands where the request line has one.
fn names_http(head: &[u8]) -> bool {
    let mut words = head.split(|&byte| byte == b' ');
    words.nth(2).is_some_and(|word| word.starts_with(b"HTTP/"))
}

/// Authority, path and query of a request target.
fn split_target<'t>(
    method: &str,
    target: &'t str,
) -> Result<(Option<&'t str>, &'t str, Option<&'t str>), HandshakeError> {
    // RFC 9112 §3.2.4: the asterisk form is for OPTIONS alone, and stands for the whole server.
    if target == "*" && method == "OPTIONS" {
        return Ok((None, target, None));
    }
    // RFC 6455 §3: fragment identifiers MUST NOT be used on WebSocket URIs; RFC 9112 §3.2: nor do
    // they stand in any request target.
    if target.contains('#') {
        return Err(HandshakeError::TargetInvalid);
    }
    let (authority, rest) = if target.starts_with('/') {
        (None, target)
    } else {
        // RFC 9112 §3.2.2: a server MUST accept the absolute form too.
        let (scheme, rest) = target
            .split_once("://")
            .ok_or(HandshakeError::TargetInvalid)?;
        let known = ["http", "https", "ws", "wss"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !known || !is_authority(authority.as_bytes()) {
            return Err(HandshakeError::TargetInvalid);
        }
        (Some(authority), path)
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    // RFC 9110 §4.2.3: an empty path is the same as `/`.
    let path = if path.is_empty() { "/" } else { path };
    Ok((authority, path, query))
}

/// Characters of `uri-host [ ":" port ]` (RFC 9110 §7.2), at least one; user information is none
/// of them.
fn is_authority(bytes: &[u8]) -> bool {
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    !bytes.is_empty() && bytes.iter().all(valid)
}

/// The key if it is base64 of 16 bytes.
fn check_key(key: &[u8]) -> Option<&str> {
    // Bits that the padding makes superfluous may be set: the key is never decoded but to count.
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
    );
    let key: &[u8; 24] = key.try_into().ok()?;
    let mut nonce = [0; 18];
    let decoded = LENIENT.decode_slice(key, &mut nonce).ok()?;
    (decoded == 16).then(|| str::from_utf8(key).expect("base64 is ASCII"))
}
