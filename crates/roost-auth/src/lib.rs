//! Who may log in, and by which secret: static users of WAMP realms, and what applications sign for
//! Pusher's clients. Owns secrets and the keys that are derived from them; never touches a file, a socket or a message.
//!
//! | to read about | look at |
//! |---|---|
//! | users, roles, realms | [`Directory`] |
//! | the methods, each two pure steps | `ticket.rs`, `wampcra.rs`, `scram.rs`, `cryptosign.rs` |
//! | Pusher's signatures | [`PusherKey`] |
//!
//! **No user is told apart from none.** A name that is not known gets the challenge of one of the users, by
//! a keyed hash of the name: with the same method, a salt that is always the same for it, and the same
//! work to check the answer, which is never right.
//!
//! All that takes long (PBKDF2) is done when the directory is made. A check is a few HMACs, or one
//! verification of an Ed25519 signature.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cryptosign;
mod directory;
mod keys;
mod pusher;
mod scram;
mod ticket;
mod wampcra;

pub use directory::{Credentials, Directory, Options, Realm, User, UserError};
pub use keys::{Salted, derive, salt_of};
pub use pusher::{PusherApp, PusherKey, body_md5, is_body_md5};
