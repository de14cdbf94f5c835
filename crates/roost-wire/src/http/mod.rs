//! Plain HTTP/1 requests behind their head: the body, whether the connection goes on, and what is
//! answered (RFC 9112).
//!
//! 1. [`crate::handshake::Request::parse`] of the head.
//! 2. [`BodyDecoder::of`]: how the body is framed, or an error after which the connection closes, for
//!    nobody knows where the next request begins.
//! 3. If [`expects_continue`]: [`CONTINUE`] goes out before the body is awaited.
//! 4. [`BodyDecoder::next`] over each lease, until [`BodyDecoder::is_finished`]. What is left of the
//!    lease is the next request.
//! 5. [`write_head`], and where the body is a stream [`write_chunk`] and [`write_last_chunk`].

mod body;
mod error;
mod response;

pub use body::{BodyDecoder, BodyLimits};
pub use error::BodyError;
pub use response::{
    CONTINUE, ResponseBody, ResponseHead, write_chunk, write_chunk_end, write_chunk_head,
    write_head, write_last_chunk,
};

use crate::handshake::Request;

/// Whether the client wants another request answered on the connection.
///
/// RFC 9112 §9.3: not with the token `close`; else with HTTP/1.1, and with HTTP/1.0 where the token
/// `keep-alive` is there.
pub fn wants_keep_alive(request: &Request<'_>) -> bool {
    let has = |token: &[u8]| {
        request.values("Connection").any(|value| {
            value
                .split(|&byte| byte == b',')
                .any(|element| element.trim_ascii().eq_ignore_ascii_case(token))
        })
    };
    !has(b"close") && (request.minor_version() >= 1 || has(b"keep-alive"))
}

/// Whether the client waits for [`CONTINUE`] before it sends the body.
///
/// # Errors
/// [`BodyError::ExpectationUnknown`] when it expects something else.
pub fn expects_continue(request: &Request<'_>) -> Result<bool, BodyError> {
    // RFC 9110 §10.1.1: an expectation in an HTTP/1.0 request MUST be ignored.
    if request.minor_version() == 0 {
        return Ok(false);
    }
    let mut values = request.values("Expect");
    match (values.next(), values.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(BodyError::ExpectationUnknown),
    }
}
