//! Channels: their subscribers, what is on its way, and which publishers have to wait.
//!
//! [`Channels`] owns all of it; its fields are private to this module. It gives deliveries to
//! [`crate::connections`], and knows no socket.

mod congestion;
mod delivery;
mod deltas;
mod expiries;
mod fanout;
mod inflow;
mod links;
mod notice;
mod paused;
mod pausing;
mod reactor_hub;
mod recovered;
mod ring;
mod state;
mod taps;
mod wake;
/// The atomics of the wake flag: loom's in its test, the machine's here.
mod sync {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
}

pub(crate) use inflow::Inflow;
pub use links::LINK_BYTES_MAX;
pub(crate) use links::{Lane, LinkMessage, Links, Mesh};
pub(crate) use notice::Notice;
pub(crate) use paused::ALARM;
pub(crate) use recovered::received_of;
pub(crate) use state::Channels;
pub(crate) use taps::is_canary;
pub(crate) use taps::{CANARY_PREFIX, TappedItem, Travels, tap_at, tap_encodings};
