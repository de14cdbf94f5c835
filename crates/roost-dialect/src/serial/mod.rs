//! Values in the serializers that WAMP knows: JSON, MessagePack and CBOR. Pure, and nothing of
//! WAMP's messages.
//!
//! | to read about | look at |
//! |---|---|
//! | what all three are made of, and its limits | `token.rs` |
//! | one serializer, read and written | `json.rs`, `msgpack.rs`, `cbor.rs` |
//! | fields of a message out of the binary ones | `de.rs` |
//! | a value from one into another | `transcode.rs` |

mod cbor;
mod de;
mod json;
mod msgpack;
mod serializer;
mod token;
mod transcode;

pub(crate) use cbor::{CborSink, CborTokens};
pub(crate) use de::{Raw, ReadError, Reader};
pub(crate) use json::{JsonSink, as_bytes, push_bytes, push_number};
pub(crate) use msgpack::{MsgPackSink, MsgPackTokens};
pub use serializer::Serializer;
pub(crate) use token::{RawSink, Sink, Token, Tokens};
pub(crate) use transcode::{is_empty_map, list_of, sole_scalar, transcode, walk_value};

/// A copy of `value`, of one serializer, in another. The inside of `Arguments` and `ArgumentsKw`
/// crosses serializers this way.
///
/// # Errors
/// When `value` is not one whole value; the sentence says why.
pub fn convert(value: &[u8], from: Serializer, to: Serializer) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(value.len());
    transcode(value, from, to, &mut out).map_err(|error| error.0)?;
    Ok(out)
}
