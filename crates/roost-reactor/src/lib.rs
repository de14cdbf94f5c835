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
//! | accept, the 101, refusals | `opening.rs` |
//! | plain HTTP: pages, counters, health | `plain.rs` |
//! | messages | `frames.rs` |
//! | what dialects command, and what they are told | `commands.rs` |
//! | RFC 6455, deflate and the early framings | `framing.rs` |
//! | context takeover | `contexts.rs` |
//! | deliveries and answers | `delivery.rs` |
//! | what a connection's input costs, counted for tests | `ledger.rs` |
//! | one write per connection and turn | `tick.rs`, `flush.rs`, `outbox.rs`, `outboxes.rs` |
//! | fan-out to many, and channels that fall behind | `fanout.rs`, `congestion.rs` |
//! | publishers that have to wait | `paused.rs`, `inflow.rs` |
//! | unfinished input | `inputs.rs` |
//! | deadlines | `sweep.rs` |
//! | memory that comes back | `thrift.rs` |
//! | requests of the slow side | `control.rs`, `control_requests.rs` |
//! | mail between reactors | `mailbox.rs`, `bell.rs` |

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod admission;
mod bell;
mod budget;
mod commands;
mod congestion;
mod conn;
mod conn_id;
mod contexts;
mod control;
mod control_requests;
mod core;
mod delivery;
mod fanout;
mod flush;
mod frames;
mod framing;
mod inflow;
mod inputs;
mod ledger;
mod mailbox;
mod opening;
mod outbox;
mod outboxes;
mod paused;
mod plain;
mod reactor;
mod server;
mod settings;
mod slow;
mod sweep;
mod table;
mod thrift;
mod tick;
mod transport;
/// The atomics of the bell: loom's in its test, the machine's here.
mod sync {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
}

pub use control::{
    Answer, CONNECTIONS_MAX, ConnectionRecord, ControlPeer, LISTINGS_MAX, Part, REACTORS_MAX,
    Refusal, Request, RingFull, Token,
};
#[doc(hidden)]
pub use ledger::Account;
pub use mailbox::MAIL_BYTES_MAX;
pub use reactor::{Reactor, Shared, Turn};
pub use roost_dialect::raw::Subprotocols;
pub use server::{Server, StartError, Stopper};
pub use settings::{
    Deflate, FAN_OUT_AT_ONCE, FAN_OUT_PIECE, Inflow, Limits, Origins, Outflow, Page, Policies,
    Policy, Publish, Settings, SlowReceivers,
};
