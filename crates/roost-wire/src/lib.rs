//! Bytes to WebSocket messages and back. Pure: no socket, no clock, no randomness.
//!
//! The crate owns the wire format of RFC 6455 and nothing else. Bytes come in as a lent
//! `&mut [u8]` and go out as borrowed [`Message`]s; messages go out as [`Frozen`] images, encoded
//! once and shared by every receiver. It never reads a socket, a clock or a random number: masks
//! and keys are given by the caller.
//!
//! | to read about | look at |
//! |---|---|
//! | the opening handshake, both sides | [`handshake`] |
//! | frame headers and their encoding | [`frame`] |
//! | masking | [`mask`] |
//! | header parsing at any split point | [`Decoder`] |
//! | whole messages, fragments, UTF-8, limits | [`Inbound`] |
//! | what a peer can do wrong, and its close code | [`ProtocolError`], [`CloseCode`] |
//! | permessage-deflate | [`deflate`] |
//! | the framings before the RFC | [`hixie`] |
//! | outgoing messages | [`Frozen`], [`frame::append_frame`] |
//!
//! # A connection's share
//!
//! A quiet connection keeps nothing of this crate: [`Inbound`] is made on the stack for a lease
//! and stored only when [`Inbound::is_quiet`] says that something of the peer's is half received.
//! While it is stored, [`Inbound::pinned_bytes`] is at most [`PINNED_BYTES_BASE`] plus twice the
//! bytes received for what is not yet whole.

pub mod deflate;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
pub mod handshake;
pub mod hixie;
pub mod mask;

mod assembly;
mod close;
mod decoder;
mod error;
mod frozen;
mod inbound;

pub use close::CloseCode;
pub use decoder::{Decoder, FramePart, Role};
pub use error::ProtocolError;
pub use frame::{FrameHeader, Opcode};
pub use frozen::Frozen;
pub use inbound::{Inbound, Input, Limits, Message, PINNED_BYTES_BASE};
