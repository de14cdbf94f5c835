//! Between connections and their dialects: the dialect is notified of what happens, and what it says to
//! that is sent.

use roost_dialect::dialect::{Event, Next};
use roost_net::ConnKey;

use crate::closing::start_close;
use crate::core::Core;

/// Notifies a connection's dialect of an event, and sends what it answers.
pub(crate) fn notify(core: &mut Core, key: ConnKey, event: Event<'_>) {
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    let next = core.sessions.on(conn.dialect, conn.session, event);
    send_replies(core, key);
    if let Next::Close { code, reason } = next {
        start_close(core, key, code, reason);
    }
}

/// Sends what a dialect has written.
#[inline]
pub(crate) fn send_replies(core: &mut Core, key: ConnKey) {
    let replies = core.sessions.replies();
    if !replies.is_empty() {
        core.connections.send_replies(key, replies);
    }
}
