//! What a message means: each protocol turns messages into commands, and a publication into bytes
//! for its subscribers. Pure: no socket, no clock, no randomness (identifiers are passed in), no
//! channel table.
//!
//! A connection speaks one dialect ([`DialectKind`]), chosen once from its opening request
//! ([`Settings::accept`]). Its messages become [`dialect::Command`]s that borrow the message; a
//! publication becomes an owned [`Publication`], which travels to the channel's home reactor and is
//! encoded there once for each [`Form`] that has a subscriber ([`encode`]).
//!
//! | to read about | look at |
//! |---|---|
//! | what a dialect must say of itself | [`dialect::Dialect`] |
//! | the list of dialects | `dialects.rs` |
//! | how a payload reads in another dialect | `publication.rs`, `docs/wamp.md` |
//!
//! All dialects share one channel space.

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

mod calls;
pub mod centrifugo;
mod channel;
pub mod dialect;
mod dialects;
pub mod echo;
mod form;
pub mod fossil;
#[doc(hidden)]
pub mod fuzz;
mod json;
mod path;
mod publication;
pub mod pusher;
pub mod raw;
mod receivers;
mod replies;
pub mod serial;
pub mod soap;
pub mod sse;
#[cfg(feature = "toy")]
#[path = "../tests/toy/mod.rs"]
pub mod toy;
pub mod wamp;

pub use calls::{CallBody, CallBodyRef, Caller};
pub use channel::{ChannelNameError, check_channel_name};
pub use dialects::{
    DialectKind, Dialects, FORMS, Settings, answers_with_recovered, carries, encode, encode_at,
    encode_kept, encode_matched, encode_recovered, encode_retained,
};
pub use form::Form;
pub use path::{PathError, percent_decode};
pub use publication::{Arguments, PayloadRef, Publication, PublishDetails};
pub use receivers::{Receiver, Receivers};
pub use replies::Replies;
pub use serial::Serializer;
