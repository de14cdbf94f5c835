//! One core: the connection table and the loop that joins net, wire, dialect and hub.
//!
//! A reactor owns its connections, its share of the channels and its driver, and runs on one
//! thread. It shares nothing with other reactors but immutable frames and counters; what it has to
//! tell them it writes into their mailboxes. It never names a backend (it is generic over
//! [`roost_net::Driver`]), never parses a frame and never reads the clock itself.
//!
//! | to read about | look at |
//! |---|---|
//! | the loop | `reactor.rs` |
//! | a connection's record and its life | `conn.rs`, `core.rs` |
//! | a connection's name in the log | `conn_id.rs` |
//! | accept, the 101, refusals | `handshake.rs` |
//! | plain HTTP: pages, counters, health | `plain.rs` |
//! | messages | `messages.rs` |
//! | what dialects command, and what they are told | `commands.rs` |
//! | RFC 6455, deflate and the early framings | `encoding.rs` |
//! | context takeover | `contexts.rs` |
//! | deliveries and answers | `hub_outputs.rs` |
//! | what a connection's input costs, counted for tests | `cost_probe.rs` |
//! | one write per connection and turn | `turn_output.rs`, `flush.rs`, `outbox.rs`, `outboxes.rs` |
//! | fan-out to many, and channels that fall behind | `fanout.rs`, `congestion.rs` |
//! | publishers that have to wait | `paused.rs`, `inflow.rs` |
//! | unfinished input | `inputs.rs` |
//! | deadlines | `sweep.rs` |
//! | memory that comes back | `trim.rs` |
//! | requests of the slow side | `control.rs`, `control_requests.rs` |
//! | messages between reactors | `links.rs`, `wake.rs` |

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod admission;
mod backlog;
mod budget;
mod commands;
mod congestion;
mod conn;
mod conn_id;
mod contexts;
mod control;
mod control_requests;
mod core;
mod cost_probe;
mod encoding;
mod fanout;
mod flush;
mod handshake;
mod hub_outputs;
mod inflow;
mod inputs;
mod links;
mod messages;
mod outbox;
mod outboxes;
mod paused;
mod plain;
mod reactor;
mod server;
mod settings;
mod sweep;
mod table;
mod transport;
mod trim;
mod turn_output;
mod wake;
/// The atomics of the wake_flag: loom's in its test, the machine's here.
mod sync {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
}

pub use control::{
    Answer, CONNECTIONS_MAX, ConnectionRecord, ControlPeer, LISTINGS_MAX, Part, REACTORS_MAX,
    Refusal, Request, RingFull, Token,
};
#[doc(hidden)]
pub use cost_probe::ConnCost;
pub use links::LINK_BYTES_MAX;
pub use reactor::{Reactor, Shared, Turn};
pub use roost_dialect::raw::Subprotocols;
pub use server::{Server, StartError, Stopper};
pub use settings::{
    Deflate, FAN_OUT_AT_ONCE, FAN_OUT_PIECE, Inflow, Limits, Origins, Outflow, Page, Policies,
    Policy, Publish, Settings, SlowReceivers,
};
