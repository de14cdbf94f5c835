//! permessage-deflate (RFC 7692): negotiation, and messages compressed whole.
//!
//! Without context takeover, which is what we ask for, a message is compressed by itself: one
//! [`Deflater`] and one [`Inflater`] serve all connections of a reactor, a message is compressed
//! once for all its receivers, and a quiet connection costs nothing. An incoming message is kept
//! compressed until it is whole, so what a connection pins is bounded by what it sent, and it is
//! inflated into the shared buffer, up to the limit and not further.
//!
//! With context takeover in a direction, the connection needs a context of its own in it, of
//! [`Deflater::context_bytes`] or [`Inflater::CONTEXT_BYTES`]; whether there is memory for one is
//! for the caller to say at the handshake ([`Takeover`], [`Agreement::without_server_takeover`]).

mod deflater;
mod inflater;
mod negotiate;
mod window;

pub use deflater::Deflater;
pub use inflater::Inflater;
pub use negotiate::{Agreement, Takeover, negotiate};

/// What a compressor leaves at the end of each flush, and what is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
