//! Requests of the control thread: what it asks ([`messages`]), its end of the mesh ([`peer`]), how a
//! reactor answers ([`requests`]), and publications that are repeated ([`repeats`]).

mod listings;
mod messages;
mod peer;
mod repeats;
mod requests;

pub(crate) use listings::Listings;
pub(crate) use messages::control_id;
pub use messages::{
    Answer, CONNECTIONS_MAX, CloseReason, ConnectionRecord, ControlPublication, Disconnect,
    LISTINGS_MAX, PUBLICATIONS_BYTES_MAX, PUBLICATIONS_MAX, Part, REACTORS_MAX, Refusal, Request,
    Token,
};
pub use peer::{ControlPeer, FromReactor, RingFull};
pub(crate) use repeats::Repeats;
pub use repeats::{REPEATS_BYTES_MAX, REPEATS_MAX, RepeatKey};
pub(crate) use requests::{handle_publications, handle_request, list_slice};
