//! Bytes to WebSocket messages and back. Pure: no socket, no clock, no randomness.
//!
//! The crate owns the wire format: RFC 6455, the compression of RFC 7692, the drafts before them.
//! Bytes come in as a lent `&mut [u8]` and go on as borrowed [`Message`]s; messages go out as
//! [`Frozen`] images, encoded once and shared by every receiver. It never reads a socket, a clock or a random number: masks
//! and keys are given by the caller.
//!
//! | to read about | look at |
//! |---|---|
//! | the opening handshake, both sides | [`handshake`] |
//! | frame headers and their encoding | [`frame`] |
//! | bodies of plain HTTP requests, and what is answered | [`http`] |
//! | masking | [`mask`] |
//! | header parsing at any split point | [`Decoder`] |
//! | whole messages, fragments, UTF-8, limits | [`Inbound`] |
//! | what a peer can do wrong, and its close code | [`ProtocolError`], [`CloseCode`] |
//! | permessage-deflate | [`deflate`] |
//! | whose connection a proxy forwards | [`proxy`] |
//! | whose request a proxy forwards | [`forwarded`] |
//! | the framings before the RFC | [`hixie`] |
//! | outgoing messages | [`Frozen`], [`frame::append_frame`] |
//!
//! # A connection's share
//!
//! A quiet connection keeps nothing of this crate. [`Inbound`] is made on the stack for a lease and
//! stored only while [`Inbound::is_quiet`] is false: something of the peer's is half received.
//! Then [`Inbound::pinned_bytes`] is at most [`PINNED_BYTES_BASE`] plus twice the bytes received
//! for what is not yet whole.
//!
//! ```
//! use roost_wire::{Inbound, Input, Limits, Message, ProtocolError, Role};
//!
//! /// What a server does with bytes that came; `stored` is what it kept of the connection.
//! fn handle(
//!     stored: &mut Option<Box<Inbound>>,
//!     lease: &mut [u8],
//!     limits: &Limits,
//! ) -> Result<Vec<String>, ProtocolError> {
//!     let mut heard = Vec::new();
//!     let mut inbound = stored.take().map_or(Inbound::new(Role::Server), |kept| *kept);
//!     let mut input = Input::new(lease);
//!     while let Some(message) = inbound.next(&mut input, limits)? {
//!         match message {
//!             Message::Text(text) => heard.push(text.to_owned()),
//!             Message::Close(..) => break,
//!             _ => {}
//!         }
//!     }
//!     if !inbound.is_quiet() {
//!         *stored = Some(Box::new(inbound));
//!     }
//!     Ok(heard)
//! }
//!
//! let limits = Limits { frame_bytes_max: 1 << 16, message_bytes_max: 1 << 20 };
//! let mut stored = None;
//! // RFC 6455 §5.7: "Hello", masked; first a piece of it, then the rest.
//! let mut hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
//! let (first, rest) = hello.split_at_mut(7);
//! assert!(handle(&mut stored, first, &limits)?.is_empty());
//! assert!(stored.is_some());
//! assert_eq!(handle(&mut stored, rest, &limits)?, ["Hello"]);
//! assert!(stored.is_none());
//! # Ok::<(), ProtocolError>(())
//! ```

#![warn(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_lossless,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

pub mod deflate;
pub mod forwarded;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
pub mod handshake;
pub mod hixie;
pub mod http;
pub mod mask;
pub mod proxy;

mod assembly;
mod close;
mod decoder;
mod error;
mod frozen;
mod inbound;
mod input;

pub use close::CloseCode;
pub use decoder::{Decoder, FramePart, Role};
pub use error::ProtocolError;
pub use frame::{FrameHeader, Opcode};
pub use frozen::Frozen;
pub use inbound::{Inbound, Message, PINNED_BYTES_BASE};
pub use input::{Input, Limits};
