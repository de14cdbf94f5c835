//! The dialect SOAP over WebSocket: subprotocol `soap`, one text envelope a message (MS-SWSB).
//! `docs/soap.md` has the rules.
//!
//! | to read about | look at |
//! |---|---|
//! | which requests for a WebSocket are SOAP's | `accept.rs` |
//! | what XML is read, and how far | `xml.rs` |
//! | what makes a document an envelope | `envelope.rs` |
//! | where a message goes, and whether it is a request | `addressing.rs` |
//! | sessions, open requests and their answers | `sessions.rs`, `requests.rs`, `answers.rs` |
//! | faults | `fault.rs` |

mod accept;
mod addressing;
mod answers;
mod envelope;
mod fault;
#[doc(hidden)]
pub mod fuzz;
mod names;
mod requests;
mod sessions;
mod xml;

pub use accept::{SERVED, SOAP};
pub use requests::RequestState;
pub use sessions::{SessionState, Soap};

/// What sessions obey. Shared by all of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether SOAP is served: `/soap` exists, and the subprotocol is selected when offered.
    pub enabled: bool,
    /// Elements of an envelope may be nested so deep.
    pub depth_max: usize,
    /// An envelope's Header with its tags, in bytes.
    pub header_bytes_max: usize,
    /// A request is answered with a fault after so many milliseconds; 0 is never.
    pub request_timeout_ms: u32,
    /// Longest name of a channel or a service, in bytes of UTF-8.
    pub name_bytes_max: usize,
}

impl Default for Settings {
    /// Off.
    fn default() -> Settings {
        Settings {
            enabled: false,
            depth_max: 64,
            header_bytes_max: 16 << 10,
            request_timeout_ms: 30_000,
            name_bytes_max: 255,
        }
    }
}

/// The highest `depth_max` that may be configured; what subscribers are sent is held to it.
pub const DEPTH_CEILING: usize = 1_000;
