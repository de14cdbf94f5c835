//! What a token of the epoll set, or an entry of the ready-list, stands for: a key with an operation.

use crate::{ConnKey, ListenerId};

pub(super) const OP_SOCKET: u8 = 0;
pub(super) const OP_LISTENER: u8 = 1;
pub(super) const OP_WAKER: u8 = 2;

/// The entry of a listener.
pub(super) fn listener_key(id: ListenerId) -> ConnKey {
    ConnKey::new(id.0, 0).with_op(OP_LISTENER)
}
