//! The raw dialect: a message is its payload, published on the one channel the connection's path
//! names. No handshake, no state, nothing to parse.

use crate::PayloadRef;

/// The payload of a text message.
pub fn handle_text(text: &str) -> PayloadRef<'_> {
    PayloadRef::Text(text)
}

/// The payload of a binary message.
pub fn handle_binary(bytes: &[u8]) -> PayloadRef<'_> {
    PayloadRef::Binary(bytes)
}
