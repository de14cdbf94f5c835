//! Requests of the control thread: what it asks ([`messages`]), its end of the mesh ([`peer`]), and how a
//! reactor answers ([`requests`]).

mod listings;
mod messages;
mod peer;
mod requests;

pub(crate) use listings::Listings;
pub(crate) use messages::control_id;
pub use messages::{
    Answer, CONNECTIONS_MAX, ConnectionRecord, LISTINGS_MAX, Part, REACTORS_MAX, Refusal, Request,
    Token,
};
pub use peer::{ControlPeer, RingFull};
pub(crate) use requests::{admit_publication, handle_request, list_slice};
