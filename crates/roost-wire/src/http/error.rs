//! What is wrong with a request's body, and what is answered.

use std::fmt;

/// Why a body is not read. The connection closes behind the answer: where the next request begins
/// is not known, and to guess is how requests are smuggled past a proxy (RFC 9112 §11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// Both Content-Length and Transfer-Encoding.
    LengthAndEncoding,
    /// More than one Content-Length, alike or not.
    LengthRepeated,
    /// A Content-Length that is no decimal number.
    LengthInvalid,
    /// A Transfer-Encoding in HTTP/1.0, or one of which `chunked` is not the last and only one.
    EncodingInvalid,
    /// A transfer coding beside `chunked`.
    EncodingUnknown,
    /// A body of more than [`body_bytes_max`](super::BodyLimits::body_bytes_max).
    TooLong,
    /// A chunk's size that is no hexadecimal number, or a line that does not end with CRLF.
    ChunkInvalid,
    /// More than [`extension_bytes_max`](super::BodyLimits::extension_bytes_max).
    ExtensionsTooLong,
    /// More than [`trailer_bytes_max`](super::BodyLimits::trailer_bytes_max).
    TrailersTooLong,
    /// An Expect header that is not `100-continue`.
    ExpectationUnknown,
}

impl BodyError {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            BodyError::LengthAndEncoding
            | BodyError::LengthRepeated
            | BodyError::LengthInvalid
            | BodyError::EncodingInvalid
            | BodyError::ChunkInvalid
            | BodyError::ExtensionsTooLong => 400,
            // RFC 9110 §15.5.14, RFC 6585 §5, RFC 9110 §15.5.18, RFC 9112 §6.1.
            BodyError::TooLong => 413,
            BodyError::TrailersTooLong => 431,
            BodyError::ExpectationUnknown => 417,
            BodyError::EncodingUnknown => 501,
        }
    }

    /// A sentence for the client's developer.
    pub fn reason(self) -> &'static str {
        match self {
            BodyError::LengthAndEncoding => {
                "The request has both Content-Length and Transfer-Encoding: send one of them."
            }
            BodyError::LengthRepeated => "The request has more than one Content-Length: send one.",
            BodyError::LengthInvalid => "Content-Length must be a decimal number.",
            BodyError::EncodingInvalid => {
                "Transfer-Encoding must be \"chunked\", once, in an HTTP/1.1 request."
            }
            BodyError::EncodingUnknown => {
                "No transfer coding but \"chunked\" is understood: send the body without it."
            }
            BodyError::TooLong => "The body is longer than this server takes.",
            BodyError::ChunkInvalid => {
                "The body is not in chunks as RFC 9112 §7.1 has them: a hexadecimal size, CRLF, so \
                 many bytes, CRLF."
            }
            BodyError::ExtensionsTooLong => {
                "The chunks' extensions are longer than this server takes: send none."
            }
            BodyError::TrailersTooLong => {
                "The trailers are longer than this server takes: send none."
            }
            BodyError::ExpectationUnknown => "Only \"Expect: 100-continue\" is understood.",
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for BodyError {}
