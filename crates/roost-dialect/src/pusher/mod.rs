//! Pusher's protocol, versions 5 to 7, on the path `/app/{key}`: messages are JSON objects with an event's
//! name, and what the server says in `data` is JSON in a string. `docs/pusher.md` says what is supported.
//!
//! | to read about | look at |
//! |---|---|
//! | which requests for a WebSocket are Pusher's | `accept.rs` |
//! | what a channel's name says of it | `kind.rs` |
//! | what a client may say | `request.rs` |
//! | what it is told, and the codes of errors and closes | `reply.rs`, `codes.rs` |
//! | a publication for subscribers | `encode.rs` |
//! | one session: its subscriptions, and who the client is | `session.rs` |
//! | what messages and events do | `sessions.rs`, `subscribe.rs` |

use std::sync::Arc;

use roost_auth::PusherApp;

mod accept;
mod codes;
mod encode;
#[doc(hidden)]
pub mod fuzz;
mod kind;
mod reply;
mod request;
mod session;
mod sessions;
mod socket_id;
mod subscribe;

pub use kind::{KINDS, Kind, SERVER_TO_USER};
pub use session::{Membership, Pending, SessionState};
pub use sessions::Pusher;
pub use socket_id::{parse_socket_id, socket_id};

/// What stands before an application's key in a path.
pub const PATH: &str = "/app/";

/// What sessions obey. Shared by all of a server.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whether the path exists.
    pub enabled: bool,
    /// The applications.
    pub apps: Arc<[PusherApp]>,
    /// In how many seconds of silence clients ask whether the server is there.
    pub activity_timeout_s: u32,
    /// Events that one client may publish in a second.
    pub client_events_per_second_max: u32,
    /// Bytes of such an event's data.
    pub client_event_bytes_max: usize,
    /// Users of a presence channel.
    pub members_per_channel_max: u32,
    /// Bytes of what is said of one.
    pub member_bytes_max: usize,
    /// Most subscriptions a session may have, those not yet confirmed included.
    pub subscriptions_per_connection_max: usize,
    /// Longest channel name, in bytes of UTF-8, with the application's prefix.
    pub channel_name_bytes_max: usize,
    /// What events may be.
    pub events: EventLimits,
}

/// What events may be, of clients and of the application.
#[derive(Debug, Clone, Copy)]
pub struct EventLimits {
    /// Characters of a name.
    pub name_chars_max: usize,
    /// Channels of one event of the application's.
    pub channels_max: usize,
    /// Bytes of the data of such an event.
    pub bytes_max: usize,
}

impl Default for EventLimits {
    /// As Pusher has them.
    fn default() -> EventLimits {
        EventLimits {
            name_chars_max: 200,
            channels_max: 100,
            bytes_max: 10 << 10,
        }
    }
}

impl Settings {
    /// Whether a name belongs to an application that has a prefix.
    pub(crate) fn has_prefix(&self, name: &str) -> bool {
        let mut apps = self.apps.iter();
        apps.any(|app| !app.prefix.is_empty() && name.starts_with(&*app.prefix))
    }
}
