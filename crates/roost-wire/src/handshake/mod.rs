//! The opening handshake (RFC 6455 §4): an HTTP/1.1 request that asks for a WebSocket, and the 101
//! that grants it.
//!
//! The server's way through it:
//!
//! 1. [`HeadScanner::scan`] over the bytes so far, until the head is whole (or too long, or late:
//!    limits of the caller's).
//! 2. [`Request::parse`] of the head: method, path, headers.
//! 3. [`Request::upgrade`]: a plain HTTP request, a WebSocket request with all of §4.2.1 checked,
//!    or an error that writes its own response.
//! 4. [`write_accept`] with the subprotocol and extensions chosen. What follows the head in the
//!    lease is already WebSocket.

mod client;
mod error;
mod list;
mod other;
mod request;
mod response;
mod scan;

pub use client::{ClientRequest, Response, ResponseError, encode_key, parse_response};
pub use error::HandshakeError;
pub use list::{Extension, Extensions, Protocols};
pub use other::OtherProtocol;
pub use request::{Request, Upgrade, WebSocketRequest};
pub use response::{accept_value, write_accept, write_accept_with, write_response};
pub use scan::HeadScanner;

pub(crate) use response::{reason_phrase, write_header};
