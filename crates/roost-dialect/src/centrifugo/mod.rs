//! Centrifugo's bidirectional protocol, on the path `/connection/websocket`. In JSON commands and replies are
//! objects, one a line, and a message has any number of lines; in Protobuf each stands behind its length.
//! `docs/centrifugo.md` says what is supported and how the rest is answered.
//!
//! | to read about | look at |
//! |---|---|
//! | which requests for a WebSocket are Centrifugo's | `accept.rs` |
//! | what a client may say | `request.rs` |
//! | what it is told, and the codes of errors and closes | `reply.rs`, `client.rs`, `codes.rs` |
//! | the same in Protobuf | `protobuf/` |
//! | one session: its subscriptions, and who the client is | `session.rs`, `subscriptions.rs` |
//! | who is in a channel, who comes and who leaves | `members.rs` |
//! | what commands and events do | `sessions.rs` |
//! | who the client is | `connect.rs` |
//! | history, and what a client has missed | `recovery.rs`, `result.rs`, `publications.rs` |
//! | subscriptions that the server makes | `served.rs`, `connecting.rs` |
//! | WebSocket, HTTP streams, event streams | `transport.rs` |
//! | what clients without a WebSocket send | `emulation.rs` |
//! | tokens of subscriptions | `grants.rs` |

mod accept;
mod client;
mod codes;
mod connect;
mod connecting;
pub mod emulation;
#[doc(hidden)]
pub mod fuzz;
mod grants;
mod members;
mod protobuf;
mod publications;
mod push;
mod recovery;
mod reply;
mod request;
mod result;
mod rpc;
mod served;
mod session;
mod sessions;
mod step;
mod subscriptions;
mod token;
mod transport;

pub use accept::{
    EMULATION_PATH, HTTP_STREAM_PATH, PATH, SSE_PATH, SUBPROTOCOL_JSON, SUBPROTOCOL_PROTOBUF,
};
pub use push::{delta_of, encode_delta, is_protobuf};
pub use session::SessionState;
pub use sessions::Centrifugo;
pub use transport::Transport;

/// What sessions obey. Shared by all of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether the path exists.
    pub enabled: bool,
    /// Most subscriptions a session may have, those not yet confirmed included.
    pub subscriptions_per_connection_max: usize,
    /// Longest channel name, in bytes of UTF-8.
    pub channel_name_bytes_max: usize,
    /// In how many seconds the next ping comes, as clients are told; 0: none comes.
    pub ping_interval_s: u32,
    /// Whether a client is subscribed to `#USER`, its user's own channel, as soon as it has connected.
    pub personal_channels: bool,
}
