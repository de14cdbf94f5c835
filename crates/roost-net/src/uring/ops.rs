//! Operations: what a completion belongs to. Its `user_data` is the key with one of these.

use crate::ConnKey;

pub(super) const WATCH: u8 = 1;
pub(super) const RECEIVE: u8 = 2;
pub(super) const SEND: u8 = 3;
pub(super) const OPEN: u8 = 4;
pub(super) const BIND: u8 = 5;
pub(super) const CONNECT: u8 = 6;
pub(super) const INSTALL: u8 = 7;
pub(super) const SHUTDOWN: u8 = 8;
pub(super) const CLOSE: u8 = 9;
/// A note to ourselves: look what is next for this connection.
pub(super) const ADVANCE: u8 = 10;
/// Reports that the batch is out.
pub(super) const SENT: u8 = 11;
pub(super) const ACCEPT: u8 = 12;
pub(super) const LISTENER_READY: u8 = 13;
pub(super) const WOKEN: u8 = 14;
/// Makes a descriptor to ask the kernel about a socket by.
pub(super) const LOOK: u8 = 15;
/// A note to ourselves: a connection that waited at a listener when that was closed.
pub(super) const LATE: u8 = 16;

/// `user_data` of what belongs to no connection.
pub(super) fn key_of(op: u8) -> u64 {
    ConnKey::new(0, 0).with_op(op).to_bits()
}
