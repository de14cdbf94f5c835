//! Owns what tests share: a scripted raw client, an in-process server on port 0, a conformance program
//! for any WebSocket server, and the simulator that runs whole servers on a seeded network. No product
//! code depends on it.
//!
//! | to read about | look at |
//! |---|---|
//! | sending any bytes, and checking all that comes back | [`client`] |
//! | a server of the test's own, on each driver | [`server`] |
//! | Centrifugo's commands and replies, in JSON and in Protobuf | [`centrifugo`] |
//! | the cases asked of any WebSocket server | [`conformance`] |
//! | what the simulator promises and checks | [`simulation`] |

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod centrifugo;
pub mod client;
pub mod conformance;
pub mod server;
pub mod simulation;
pub mod users;
