//! Server-sent events: a channel as an event stream, for browsers' `EventSource` and everything else
//! that reads HTTP (WHATWG HTML, "Server-sent events").
//!
//! `GET /sse/CHANNEL` is answered with `text/event-stream`. Each publication is an event whose id is the
//! position behind it, `EPOCH-OFFSET`; a client that comes back names the last one it has seen in
//! `Last-Event-ID`, and gets what it has missed, or an event `roost.lost` that says why it cannot.
//!
//! `GET /sse?channel=A&channel=B` is answered with a stream of several channels, whose events have the name of
//! their channel and an id that says where the client stands in all of them.
//!
//! | to read about | look at |
//! |---|---|
//! | ids | `sse/id.rs`, and of several channels `sse/positions.rs` |
//! | what a publication looks like | `sse/event.rs` |
//! | requests | `sse/request.rs` |
//! | the session: one channel, and nothing else | `sse/session.rs` |
//! | or several | `sse/several.rs` |

mod event;
#[doc(hidden)]
pub mod fuzz;
mod id;
mod positions;
mod request;
mod session;
mod settings;
mod several;

pub use event::{retry_ms, write_event};
pub use id::{parse_id, write_id};
pub use positions::{Mark, Positions, STREAM_CHANNELS_MAX};
pub use session::{Sse, State};
pub use settings::Settings;
