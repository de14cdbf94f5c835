//! The protocol in Protobuf: the messages of `client.proto` of <https://github.com/centrifugal/protocol>, each
//! behind its length. Read and written by hand, field by field; what is not known is skipped.
//!
//! | to read about | look at |
//! |---|---|
//! | the wire format | `wire.rs` |
//! | what a client may say | `commands.rs` |
//! | what it is told | `replies.rs`, `publications.rs` |

pub(super) mod commands;
pub(super) mod publications;
pub(super) mod replies;
pub(super) mod wire;

#[cfg(test)]
mod tests;
