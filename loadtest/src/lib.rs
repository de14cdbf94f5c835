//! The million-connection load harness, for Roost and for any other WebSocket server.
//!
//! It owns the clients' side of very many connections and the account of every message; it never
//! reports a figure it did not hold. One engine carries out every subcommand:
//!
//! | to read about | look at |
//! |---|---|
//! | subcommands and scenarios, and the plans they stand for | [`cli`], [`scenario`], [`plan`] |
//! | what the machine allows | [`preflight`], [`machine`] |
//! | leading a run, and what it found | [`run`], [`output`], [`report`] |
//! | a thread of clients | `ring/`; event streams `ring/streams.rs`, coming back `ring/recovery.rs` |
//! | which servers are trusted | `tls` |
//! | what clients say and hear | [`dialect`] |
//! | servers in turn, and a floor below them | [`compare`], [`floor`], [`bare`] |
//! | the bars of `loadtest/million.sh` | [`million`] |
//! | writing for people | [`progress`], [`terminal`] |
//! | lost, doubled, reordered, corrupt | [`payload`], [`account`] |
//! | latencies, and schedules that do not wait | [`histogram`], [`pace`] |

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod account;
pub mod bare;
pub mod cli;
pub mod compare;
pub mod dialect;
pub mod floor;
pub mod histogram;
pub mod machine;
pub mod million;
pub mod output;
pub mod pace;
pub mod payload;
pub mod plan;
pub mod preflight;
pub mod progress;
pub mod report;
pub mod run;
pub mod scenario;
pub mod stats;
pub mod terminal;

mod ring;
mod shared;
mod tls;
