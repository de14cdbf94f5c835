//! WAMP v2, the router's side, in JSON, MessagePack or CBOR, one message a WebSocket message or
//! batched ([`Wire`]).
//!
//! A [`Session`] is what a WAMP connection keeps beside the connection table: its state and its
//! subscriptions. It turns a message into a [`Command`](crate::dialect::Command) and writes all
//! answers; what the command asks for is done by the caller, who reports back with one of the `on_`
//! functions. Sections of the specification are quoted by their titles ("IDs", "Protocol errors").
//!
//! | file | has |
//! |---|---|
//! | `sessions` | the sessions of a reactor, and what the dialects' interface says to one |
//! | `session` | HELLO to GOODBYE |
//! | `broker`, `subscriptions`, `topics` | publications and subscriptions |
//! | `calls`, `meta`, `entries` | procedures and calls, and those of the router's own |
//! | `message`, `options`, `dict` | what messages are made of; `parse` and `write` read and write them |
//!
//! `docs/wamp.md` says what is supported and how the rest is answered.

mod answers;
mod auth;
mod broker;
mod calls;
pub mod dict;
pub mod entries;
pub mod message;
pub mod meta;
pub mod options;
mod parse;
mod reply;
mod session;
mod sessions;
mod settings;
mod subscriptions;
mod topics;
pub mod uri;
mod wire;
mod write;

pub use message::Request;
pub use parse::{parse_cbor, parse_json, parse_msgpack};
pub use session::{Session, SessionState, State};
pub use sessions::Wamp;
pub use settings::{OwnRealm, OwnRealms, Realms, Settings, Users};
pub use wire::Wire;
