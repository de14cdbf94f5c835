//! A request's body, piece by piece, where it lies.

use super::BodyError;
use crate::handshake::Request;

/// What a request's body may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes of the body, without what frames it.
    pub body_bytes_max: u64,
    /// Bytes of all chunks' extensions together, which are dropped. They are bytes that nobody wants
    /// (Go's CVE-2023-39326).
    pub extension_bytes_max: u32,
    /// Bytes of the trailers together, which are dropped: RFC 9112 §7.1.2 allows that, and to merge
    /// them is how fields get past those who look at heads.
    pub trailer_bytes_max: u32,
}

/// Finds a body's bytes in what comes behind a request's head. Looks at each byte once and keeps
/// none.
///
/// ```
/// use roost_wire::handshake::Request;
/// use roost_wire::http::{BodyDecoder, BodyLimits};
///
/// let head = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
/// let limits = BodyLimits { body_bytes_max: 1 << 16, extension_bytes_max: 256, trailer_bytes_max: 256 };
/// let mut body = BodyDecoder::of(&Request::parse(head, 16).unwrap(), limits)?;
/// let mut input: &[u8] = b"5\r\nhello\r\n0\r\n\r\nGET /next";
/// assert_eq!(body.next(&mut input)?, Some(&b"hello"[..]));
/// assert_eq!(body.next(&mut input)?, None);
/// assert!(body.is_finished());
/// assert_eq!(input, b"GET /next");
/// # Ok::<(), roost_wire::http::BodyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BodyDecoder {
    state: State,
    limits: BodyLimits,
    /// Bytes of the body that the chunks begun so far have.
    body_bytes: u64,
    extension_bytes: u32,
    trailer_bytes: u32,
}

const _: () = assert!(size_of::<BodyDecoder>() <= 56);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes to come, without chunks.
    Length(u64),
    /// A chunk's size, and how many digits of it have come.
    Size(u64, u8),
    /// Behind the size: its extensions, if they have begun, until the CR.
    Extension {
        size: u64,
        begun: bool,
    },
    SizeLf(u64),
    /// So many bytes of the chunk to come, at least one.
    Data(u64),
    DataCr,
    DataLf,
    /// A line of the trailers; true while it is empty.
    Trailer {
        empty: bool,
    },
    TrailerLf {
        empty: bool,
    },
    Finished,
}

impl BodyDecoder {
    /// For the body of a request, by RFC 9112 §6.3; one without has an empty body.
    ///
    /// # Errors
    /// What the head says of it is wrong, in doubt, or too long.
    pub fn of(request: &Request<'_>, limits: BodyLimits) -> Result<BodyDecoder, BodyError> {
        let mut encodings = request.values("Transfer-Encoding").peekable();
        let mut lengths = request.values("Content-Length");
        let (length, second) = (lengths.next(), lengths.next());
        let state = match (encodings.peek().is_some(), length) {
            // §6.1: "ought to be handled as an error".
            (true, Some(_)) => return Err(BodyError::LengthAndEncoding),
            (true, None) => {
                // §6.1: a server MUST treat it in HTTP/1.0 as if the framing is faulty.
                if request.minor_version() == 0 {
                    return Err(BodyError::EncodingInvalid);
                }
                check_encodings(encodings)?;
                State::Size(0, 0)
            }
            // §6.3: a list of the same number might be taken for that number. It might also be a
            // proxy's doing, and nobody needs it.
            (false, Some(_)) if second.is_some() => return Err(BodyError::LengthRepeated),
            (false, Some(value)) => match read_length(value)? {
                0 => State::Finished,
                length if length > limits.body_bytes_max => return Err(BodyError::TooLong),
                length => State::Length(length),
            },
            (false, None) => State::Finished,
        };
        Ok(BodyDecoder {
            state,
            limits,
            body_bytes: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
        })
    }

    /// The next piece of the body, never empty, and takes it and what frames it off `input`. `None`
    /// when the body is finished, or the input is and more of it is needed.
    ///
    /// # Errors
    /// The body breaks the rules or the limits. Do not call again after that.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<&'i [u8]>, BodyError> {
        while self.state != State::Finished {
            if let State::Length(left) | State::Data(left) = self.state {
                if input.is_empty() {
                    return Ok(None);
                }
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let (piece, rest) = input.split_at(take);
                *input = rest;
                self.state = self.after(left - take as u64);
                return Ok(Some(piece));
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            *input = rest;
            self.state = self.framing(byte)?;
        }
        Ok(None)
    }

    /// Whether the body is over: what follows is not part of the request.
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// How many bytes are still to come, where the request's head has said it.
    pub fn remaining_bytes(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Finished => Some(0),
            _ => None,
        }
    }

    /// Where `left` bytes of what is being read are still to come.
    fn after(&self, left: u64) -> State {
        match (self.state, left) {
            (State::Length(_), 0) => State::Finished,
            (State::Length(_), left) => State::Length(left),
            (_, 0) => State::DataCr,
            (_, left) => State::Data(left),
        }
    }

    /// RFC 9112 §7.1, a byte of what frames the chunks. A bare LF is no line's end: §2.2 lets one be
    /// taken for it in a head, and where it is taken for it in a body two readers may differ.
    fn framing(&mut self, byte: u8) -> Result<State, BodyError> {
        let invalid = Err(BodyError::ChunkInvalid);
        Ok(match (self.state, byte) {
            (State::Size(size, digits), _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                if digits == SIZE_DIGITS_MAX {
                    return invalid;
                }
                State::Size(size << 4 | u64::from(digit), digits + 1)
            }
            (State::Size(_, 0), _) => return invalid,
            (State::Size(size, _), b'\r') | (State::Extension { size, begun: true }, b'\r') => {
                self.body_bytes = self.body_bytes.saturating_add(size);
                if self.body_bytes > self.limits.body_bytes_max {
                    return Err(BodyError::TooLong);
                }
                State::SizeLf(size)
            }
            // §7.1.1: only space may stand before the semicolon.
            (State::Size(size, _) | State::Extension { size, .. }, b';') => {
                self.extension(size, true)?
            }
            (State::Size(size, _), b' ' | b'\t') => self.extension(size, false)?,
            (State::Extension { size, begun }, _)
                if is_field_byte(byte) && (begun || matches!(byte, b' ' | b'\t')) =>
            {
                self.extension(size, begun)?
            }
            (State::SizeLf(0), b'\n') => State::Trailer { empty: true },
            (State::SizeLf(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size(0, 0),
            (State::Trailer { empty }, b'\r') => State::TrailerLf { empty },
            (State::Trailer { .. }, _) if is_field_byte(byte) => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > self.limits.trailer_bytes_max {
                    return Err(BodyError::TrailersTooLong);
                }
                State::Trailer { empty: false }
            }
            (State::TrailerLf { empty: true }, b'\n') => State::Finished,
            (State::TrailerLf { empty: false }, b'\n') => State::Trailer { empty: true },
            _ => return invalid,
        })
    }

    fn extension(&mut self, size: u64, begun: bool) -> Result<State, BodyError> {
        self.extension_bytes += 1;
        if self.extension_bytes > self.limits.extension_bytes_max {
            return Err(BodyError::ExtensionsTooLong);
        }
        Ok(State::Extension { size, begun })
    }
}

/// RFC 9112 §6.1: `chunked`, once and last. §7: another coding that is not understood is 501.
fn check_encodings<'h>(values: impl Iterator<Item = &'h [u8]>) -> Result<(), BodyError> {
    let mut is_chunked = false;
    for element in values.flat_map(|value| value.split(|&byte| byte == b',')) {
        let element = element.trim_ascii();
        // Nothing stands behind chunked, and no element is empty: what is odd here is an attempt.
        if is_chunked || element.is_empty() || !element.iter().all(|&byte| is_field_byte(byte)) {
            return Err(BodyError::EncodingInvalid);
        }
        if !element.eq_ignore_ascii_case(b"chunked") {
            return match KNOWN_CODINGS
                .iter()
                .any(|name| element.eq_ignore_ascii_case(name))
            {
                true => Err(BodyError::EncodingUnknown),
                false => Err(BodyError::EncodingInvalid),
            };
        }
        is_chunked = true;
    }
    match is_chunked {
        true => Ok(()),
        false => Err(BodyError::EncodingInvalid),
    }
}

/// RFC 9110 §8.6: digits and nothing else.
fn read_length(value: &[u8]) -> Result<u64, BodyError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        // A list of numbers is several lengths.
        let is_list = value.contains(&b',');
        return Err(match is_list {
            true => BodyError::LengthRepeated,
            false => BodyError::LengthInvalid,
        });
    }
    // More digits than a number of 64 bits has are a long body, unless they are zeros.
    let length = value.iter().try_fold(0_u64, |length, digit| {
        length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    length.ok_or(BodyError::TooLong)
}

/// RFC 9110 §5.5: what a field's line may have in it.
fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// A chunk of 2^64 bytes has more.
const SIZE_DIGITS_MAX: u8 = 16;
/// RFC 9112 §7: the registered ones beside chunked, which proxies may know.
const KNOWN_CODINGS: [&[u8]; 6] = [
    b"gzip",
    b"x-gzip",
    b"deflate",
    b"compress",
    b"x-compress",
    b"identity",
];
