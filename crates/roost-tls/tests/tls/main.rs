//! Handshakes and records beside rustls and beside ourselves.

mod certs;
mod handshakes;
mod peer;
mod properties;
mod records;
mod support;
mod traffic;
