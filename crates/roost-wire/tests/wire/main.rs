//! The wire format, rule by rule, at every split point and against hostile peers.

mod corpus;
mod deflate;
mod frozen;
mod handshake;
mod hixie;
mod hostile;
mod http;
mod properties;
mod protocol;
mod support;
