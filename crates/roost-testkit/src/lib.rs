//! What tests share: a scripted raw client, an in-process server on port 0, a conformance program for
//! any WebSocket server, and the simulator that runs whole reactors on a seeded network. Not
//! published; no product code depends on it.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod client;
pub mod conformance;
pub mod server;
pub mod simulation;
