//! Requests of the control thread: what it asks ([`messages`]), its end of the mesh ([`peer`]), how a
//! reactor answers ([`requests`]), which connections a request is about ([`sweeps`]), and publications
//! that are repeated ([`repeats`]).

mod canary;
mod described;
mod details;
mod filter;
mod history;
mod listings;
mod messages;
mod peer;
mod repeats;
mod requests;
mod sweeps;
mod taps;

pub use canary::{BrokenHop, Canary, CanaryStep, MISSES_MAX};
pub use described::{
    AskedChannel, CHANNELS_SHOWN, ChannelRecord, ConnectionDetails, ConnectionFilter,
    ConnectionRecord, Describe, Described, IdentityRecord, LaneRecord, PausedFor,
    SubscribedChannel,
};
pub(crate) use history::page_of;
pub(crate) use listings::Listings;
pub(crate) use messages::control_id;
pub use messages::{
    Answer, CHANNELS_MAX, CONNECTIONS_MAX, COUNTED_MAX, CloseReason, ControlPublication,
    Disconnect, DisconnectUser, EXCEPT_MAX, FILTERED_SLOTS_MAX, HISTORY_PUBLICATIONS_MAX,
    HistoryPage, HistoryQuery, LISTINGS_MAX, PUBLICATIONS_BYTES_MAX, PUBLICATIONS_MAX, Part,
    REACTORS_MAX, Refresh, Refusal, Request, Revocation, SWEEPS_MAX, Subscribe, Token, Unsubscribe,
    Whose,
};
pub use peer::{ControlPeer, FromReactor, RingFull};
pub(crate) use repeats::Repeats;
pub use repeats::{REPEATS_BYTES_MAX, REPEATS_MAX, RepeatKey};
pub(crate) use requests::{handle_publications, handle_request, list_slice, sweep_slice};
pub(crate) use sweeps::Sweeps;
pub use taps::{Tap, Tapped};
