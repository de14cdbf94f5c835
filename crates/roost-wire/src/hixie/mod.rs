//! The framings before RFC 6455: draft-hixie-thewebsocketprotocol-75 and -76 (2010; the latter is
//! also draft-ietf-hybi-thewebsocketprotocol-00).
//!
//! They are older handshakes and a simpler framing beneath the same messages: text is `0x00`,
//! UTF-8, `0xFF`; what has a length is `0x80`, the length, the body; `0xFF 0x00` closes. There is
//! no mask, no ping, no fragment, no close code. The drafts have servers discard what comes with a
//! length; here type `0x80` carries binary messages, as their authors meant it to be used next.
//!
//! Nothing in them keeps a script in a browser from making a proxy believe what it wants, which is
//! why masking was invented: serve them only to clients that have nothing better.

mod accept;
mod inbound;
mod outbound;

pub use accept::{CHALLENGE_BYTES, Draft, EarlyRequest, challenge_response, detect};
pub use inbound::Inbound;
pub use outbound::{append_message, close, message};
