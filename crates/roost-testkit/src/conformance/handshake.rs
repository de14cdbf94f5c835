//! The opening handshake (RFC 6455 §4, RFC 9110, RFC 9112).

mod accepted;
mod either;
mod plain;
mod refused;

pub(super) use accepted::CASES as ACCEPTED;
pub(super) use either::CASES as EITHER;
pub(super) use plain::CASES as PLAIN;
pub(super) use refused::CASES as REFUSED;
