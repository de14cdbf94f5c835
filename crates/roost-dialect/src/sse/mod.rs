//! Server-sent events: a channel as an event stream, for browsers' `EventSource` and everything else
//! that reads HTTP (WHATWG HTML, "Server-sent events").
//!
//! `GET /sse/CHANNEL` is answered with `text/event-stream`. Each publication is an event whose id is the
//! position behind it, `EPOCH-OFFSET`; a client that comes back names the last one it has seen in
//! `Last-Event-ID`, and gets what it has missed, or an event `roost.lost` that says why it cannot.
//!
//! | to read about | look at |
//! |---|---|
//! | ids | `sse/id.rs` |
//! | what a publication looks like | `sse/event.rs` |
//! | requests | `sse/request.rs` |
//! | the session: the channel, and nothing else | `sse/session.rs` |

mod event;
mod id;
mod request;
mod session;

pub use event::{retry_ms, write_event};
pub use id::{parse_id, write_id};
pub use session::{Settings, Sse};
