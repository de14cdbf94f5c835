//! The early handshakes.

use crate::handshake::{HandshakeError, Request};

/// Which draft a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Draft {
    /// draft-hixie-thewebsocketprotocol-75: no proof that the server understood.
    Hixie75,
    /// draft-hixie-thewebsocketprotocol-76: two numbers in headers and eight bytes behind the head
    /// make a challenge.
    Hixie76,
}

/// A request in one of the drafts, checked.
#[derive(Debug, Clone)]
pub struct EarlyRequest<'r> {
    request: &'r Request<'r>,
    draft: Draft,
    host: &'r str,
    origin: &'r str,
    /// Of Key1 and Key2; 0 in draft 75.
    numbers: [u32; 2],
}

/// The bytes behind the head of a draft-76 request, which belong to it.
pub const CHALLENGE_BYTES: usize = 8;

/// Whether a request speaks one of the drafts, `None` if not; ask before
/// [`Request::upgrade`], which refuses them.
pub fn detect<'r>(request: &'r Request<'r>) -> Option<Result<EarlyRequest<'r>, HandshakeError>> {
    let has = |name| request.values(name).next().is_some();
    if !request.asks_for_websocket()
        || has("Sec-WebSocket-Version")
        || has("Sec-WebSocket-Key")
        || !has("Origin")
    {
        return None;
    }
    let draft = match has("Sec-WebSocket-Key1") || has("Sec-WebSocket-Key2") {
        true => Draft::Hixie76,
        false => Draft::Hixie75,
    };
    Some(EarlyRequest::check(request, draft))
}

impl<'r> EarlyRequest<'r> {
    fn check(request: &'r Request<'r>, draft: Draft) -> Result<EarlyRequest<'r>, HandshakeError> {
        let host = request.check_http()?;
        let origin = request
            .only("Origin", HandshakeError::OriginRepeated)?
            .and_then(|origin| str::from_utf8(origin).ok())
            .ok_or(HandshakeError::OriginInvalid)?;
        let numbers = match draft {
            Draft::Hixie75 => [0, 0],
            Draft::Hixie76 => [
                key_number(request, "Sec-WebSocket-Key1")?,
                key_number(request, "Sec-WebSocket-Key2")?,
            ],
        };
        Ok(EarlyRequest {
            request,
            draft,
            host,
            origin,
            numbers,
        })
    }

    /// The draft it speaks.
    pub fn draft(&self) -> Draft {
        self.draft
    }

    /// How many bytes behind the head belong to the request: [`CHALLENGE_BYTES`] or 0.
    pub fn challenge_bytes(&self) -> usize {
        match self.draft {
            Draft::Hixie75 => 0,
            Draft::Hixie76 => CHALLENGE_BYTES,
        }
    }

    /// The page's origin.
    pub fn origin(&self) -> &'r str {
        self.origin
    }

    /// The subprotocols asked for. The drafts name one, or several with spaces between.
    pub fn protocols(&self) -> impl Iterator<Item = &'r str> {
        self.request
            .header(self.header_name("Protocol"))
            .unwrap_or_default()
            .split([' ', ','])
            .filter(|name| !name.is_empty())
    }

    /// Appends the 101. `secure` says that the connection runs over TLS; `challenge` is what stood
    /// behind the head of a draft-76 request, and not looked at in draft 75; `protocol` is one of
    /// those asked for.
    pub fn write_accept(
        &self,
        out: &mut Vec<u8>,
        secure: bool,
        challenge: [u8; CHALLENGE_BYTES],
        protocol: Option<&str>,
    ) {
        let status_line = match self.draft {
            Draft::Hixie75 => "HTTP/1.1 101 Web Socket Protocol Handshake\r\n",
            Draft::Hixie76 => "HTTP/1.1 101 WebSocket Protocol Handshake\r\n",
        };
        let scheme = if secure { "wss://" } else { "ws://" };
        let (query_mark, query) = match self.request.query() {
            Some(query) => ("?", query),
            None => ("", ""),
        };
        // Draft 75 compares these lines byte by byte, in this order.
        for part in [
            status_line,
            "Upgrade: WebSocket\r\nConnection: Upgrade\r\n",
            self.header_name("Origin"),
            ": ",
            self.origin,
            "\r\n",
            self.header_name("Location"),
            ": ",
            scheme,
            self.host,
            self.request.path(),
            query_mark,
            query,
            "\r\n",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(protocol) = protocol {
            for part in [self.header_name("Protocol"), ": ", protocol, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
        if self.draft == Draft::Hixie76 {
            out.extend_from_slice(&challenge_response(self.numbers, challenge));
        }
    }

    /// Draft 76 put `Sec-` before the names of draft 75, since a script cannot set such headers.
    fn header_name(&self, name: &'static str) -> &'static str {
        match (self.draft, name) {
            (Draft::Hixie75, "Origin") => "WebSocket-Origin",
            (Draft::Hixie75, "Location") => "WebSocket-Location",
            (Draft::Hixie75, _) => "WebSocket-Protocol",
            (Draft::Hixie76, "Origin") => "Sec-WebSocket-Origin",
            (Draft::Hixie76, "Location") => "Sec-WebSocket-Location",
            (Draft::Hixie76, _) => "Sec-WebSocket-Protocol",
        }
    }
}

/// Draft 76 §5.2: the two numbers as big-endian 32-bit integers and the eight bytes, through MD5.
pub fn challenge_response(numbers: [u32; 2], challenge: [u8; CHALLENGE_BYTES]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&numbers[0].to_be_bytes());
    bytes[4..8].copy_from_slice(&numbers[1].to_be_bytes());
    bytes[8..].copy_from_slice(&challenge);
    md5::compute(bytes).0
}

/// Draft 76 §5.2: the digits of a key, read as a number and divided by the count of its spaces.
/// Abort if there is no space or the number is not a multiple of it.
fn key_number(request: &Request<'_>, name: &str) -> Result<u32, HandshakeError> {
    let key = request
        .only(name, HandshakeError::KeyRepeated)?
        .ok_or(HandshakeError::KeyMissing)?;
    let spaces = key.iter().filter(|&&byte| byte == b' ').count() as u64;
    let number = key
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .try_fold(0_u64, |number, digit| {
            let number = number * 10 + u64::from(digit - b'0');
            // §4.1: the product is at most 4,294,967,295.
            (number <= u64::from(u32::MAX)).then_some(number)
        })
        .ok_or(HandshakeError::KeyInvalid)?;
    if spaces == 0 || number % spaces != 0 {
        return Err(HandshakeError::KeyInvalid);
    }
    u32::try_from(number / spaces).map_err(|_| HandshakeError::KeyInvalid)
}
