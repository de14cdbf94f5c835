//! Comma-separated header values (RFC 9110 §5.6.1), parsed in one pass.
//!
//! Every parser here moves forward only, so the work is a constant per byte: websocket-extensions
//! (CVE-2020-7662) and ws (CVE-2021-32640) had regular expressions that went back.

use std::borrow::Cow;

use httparse::Header;

use super::HandshakeError;

/// The subprotocols that a client named, in its order of preference. Tokens, each at most once.
#[derive(Debug, Clone)]
pub struct Protocols<'r> {
    elements: Elements<'r>,
}

/// The extensions that a client offered, in its order of preference.
#[derive(Debug, Clone)]
pub struct Extensions<'r> {
    headers: &'r [Header<'r>],
    cursor: Cursor<'r>,
}

/// One offer: an extension's name and its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'r> {
    /// The name as sent; extension names are compared with regard to case.
    pub name: &'r str,
    params: &'r [u8],
}

/// The elements of all headers of one name, whitespace around them removed, empty ones skipped.
/// For headers whose elements are tokens: a quoted comma is not understood.
#[derive(Debug, Clone)]
pub(super) struct Elements<'r> {
    name: &'static str,
    headers: &'r [Header<'r>],
    /// What is left of the current header, `None` when it is used up.
    rest: Option<&'r [u8]>,
}

/// A place in a header value.
#[derive(Debug, Clone, Copy)]
struct Cursor<'r> {
    rest: &'r [u8],
}

impl<'r> Protocols<'r> {
    /// How many subprotocols a request may name. A bound, so that looking for a repeated one costs
    /// a constant.
    pub const MAX: usize = 64;

    /// Checks all Sec-WebSocket-Protocol headers.
    ///
    /// RFC 6455 §4.1: the elements MUST be non-empty strings of token characters and MUST all be
    /// unique. A header without any element breaks the client's grammar (§4.3: 1#token), but
    /// libraries send it for an empty list of subprotocols, and it can only mean one thing: none
    /// are offered. (RFC 9110 §5.6.1.2: a recipient ignores empty elements.)
    pub(super) fn parse(headers: &'r [Header<'r>]) -> Result<Protocols<'r>, HandshakeError> {
        let elements = Elements::new(PROTOCOL, headers);
        let mut seen = [""; Self::MAX];
        for (count, element) in elements.clone().enumerate() {
            let name = token(element).ok_or(HandshakeError::ProtocolsInvalid)?;
            if seen[..count].contains(&name) {
                return Err(HandshakeError::ProtocolRepeated);
            }
            *seen
                .get_mut(count)
                .ok_or(HandshakeError::ProtocolsTooMany)? = name;
        }
        Ok(Protocols { elements })
    }
}

impl<'r> Iterator for Protocols<'r> {
    type Item = &'r str;

    fn next(&mut self) -> Option<&'r str> {
        self.elements.next().and_then(token)
    }
}

impl<'r> Extensions<'r> {
    /// Checks all Sec-WebSocket-Extensions headers.
    ///
    /// RFC 6455 §9.1: a header that breaks the grammar fails the connection.
    pub(super) fn parse(headers: &'r [Header<'r>]) -> Result<Extensions<'r>, HandshakeError> {
        let extensions = Extensions {
            headers,
            cursor: Cursor { rest: &[] },
        };
        let mut walk = extensions.clone();
        while walk
            .advance()
            .ok_or(HandshakeError::ExtensionsInvalid)?
            .is_some()
        {}
        Ok(extensions)
    }

    /// The next offer; `Some(None)` at the end, `None` when the grammar is broken.
    fn advance(&mut self) -> Option<Option<Extension<'r>>> {
        loop {
            self.cursor.skip_empty_elements();
            if !self.cursor.rest.is_empty() {
                break;
            }
            let Some((header, headers)) = self.headers.split_first() else {
                return Some(None);
            };
            self.headers = headers;
            if is(header, EXTENSIONS) {
                self.cursor.rest = header.value;
            }
        }
        let name = self.cursor.token()?;
        let params = self.cursor.rest;
        while self.cursor.param()?.is_some() {}
        let params = &params[..params.len() - self.cursor.rest.len()];
        // An element ends at a comma or with its header.
        matches!(self.cursor.rest.first(), None | Some(b','))
            .then_some(Some(Extension { name, params }))
    }
}

impl<'r> Iterator for Extensions<'r> {
    type Item = Extension<'r>;

    fn next(&mut self) -> Option<Extension<'r>> {
        self.advance().flatten()
    }
}

impl<'r> Extension<'r> {
    /// Name and value of each parameter in order; a parameter may stand without a value. A quoted
    /// value comes without its quotes.
    pub fn params(self) -> impl Iterator<Item = (&'r str, Option<Cow<'r, str>>)> {
        let mut cursor = Cursor { rest: self.params };
        std::iter::from_fn(move || cursor.param().flatten())
    }
}

impl<'r> Elements<'r> {
    pub(super) fn new(name: &'static str, headers: &'r [Header<'r>]) -> Elements<'r> {
        Elements {
            name,
            headers,
            rest: None,
        }
    }

    /// True when one of the elements is `token`, in any case.
    pub(super) fn has_token(mut self, token: &str) -> bool {
        self.any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }
}

impl<'r> Iterator for Elements<'r> {
    type Item = &'r [u8];

    fn next(&mut self) -> Option<&'r [u8]> {
        loop {
            let Some(rest) = self.rest else {
                let (header, headers) = self.headers.split_first()?;
                self.headers = headers;
                if is(header, self.name) {
                    self.rest = Some(header.value);
                }
                continue;
            };
            let (element, rest) = match rest.iter().position(|&byte| byte == b',') {
                Some(comma) => (&rest[..comma], Some(&rest[comma + 1..])),
                None => (rest, None),
            };
            self.rest = rest;
            let element = element.trim_ascii();
            // RFC 9110 §5.6.1.2: a recipient MUST ignore a reasonable number of empty elements.
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

impl<'r> Cursor<'r> {
    /// `*( OWS ";" OWS token [ "=" ( token | quoted-string ) ] )`, one of them. `Some(None)` when
    /// no `;` follows, `None` when the grammar is broken.
    #[expect(clippy::type_complexity, reason = "a parameter, none, or an error")]
    fn param(&mut self) -> Option<Option<(&'r str, Option<Cow<'r, str>>)>> {
        self.skip_space();
        if !self.eat(b';') {
            return Some(None);
        }
        self.skip_space();
        let name = self.token()?;
        self.skip_space();
        if !self.eat(b'=') {
            return Some(Some((name, None)));
        }
        self.skip_space();
        let value = match self.eat(b'"') {
            true => self.quoted()?,
            false => Cow::Borrowed(self.token()?),
        };
        Some(Some((name, Some(value))))
    }

    /// The rest of a quoted string. RFC 6455 §9.1: after unescaping, it MUST be a token.
    fn quoted(&mut self) -> Option<Cow<'r, str>> {
        let stop = |&byte: &u8| matches!(byte, b'"' | b'\\');
        let plain = self.rest.iter().position(stop)?;
        if self.rest[plain] == b'"' {
            let value = token(&self.rest[..plain])?;
            self.rest = &self.rest[plain + 1..];
            return Some(Cow::Borrowed(value));
        }
        let mut value = Vec::new();
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => break,
                b'\\' => {
                    let (&escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    value.push(escaped);
                }
                byte => value.push(byte),
            }
        }
        Some(Cow::Owned(token(&value)?.to_owned()))
    }

    fn token(&mut self) -> Option<&'r str> {
        let len = self.rest.iter().take_while(|&&byte| is_tchar(byte)).count();
        let (name, rest) = self.rest.split_at(len);
        self.rest = rest;
        token(name)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.rest.first() == Some(&byte);
        self.rest = &self.rest[usize::from(eaten)..];
        eaten
    }

    fn skip_space(&mut self) {
        self.skip(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn skip_empty_elements(&mut self) {
        self.skip(|byte| matches!(byte, b' ' | b'\t' | b','));
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        let len = self.rest.iter().take_while(|&&byte| skipped(byte)).count();
        self.rest = &self.rest[len..];
    }
}

/// True when the header has this name, in any case.
pub(super) fn is(header: &Header<'_>, name: &str) -> bool {
    header.name.eq_ignore_ascii_case(name)
}

/// `bytes` if they are a token: one or more of the characters of RFC 9110 §5.6.2.
fn token(bytes: &[u8]) -> Option<&str> {
    let valid = !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte));
    valid.then(|| str::from_utf8(bytes).expect("tchar is ASCII"))
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
