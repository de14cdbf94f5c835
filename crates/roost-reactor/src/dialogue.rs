//! Between connections and their dialects: the dialect is notified of what happens, and what it says to
//! that is sent.

use roost_dialect::Form;
use roost_dialect::dialect::{Event, Next};
use roost_hub::{ChannelId, Subscriber};
use roost_net::ConnKey;

use crate::closing::start_close;
use crate::core::Core;
use crate::journal;

/// Notifies a connection's dialect of an event, and sends what it answers.
pub(crate) fn notify(core: &mut Core, key: ConnKey, event: Event<'_>) {
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    let next = core.sessions.on(conn.dialect, conn.session, event);
    send_replies(core, key);
    match next {
        Next::Continue => {}
        Next::Close { code, reason } => start_close(core, key, code, reason),
        Next::Unsubscribe { channel, form } => unsubscribe(core, key, channel, form),
        Next::Settle => core.settled.push(key), // at the end of this loop iteration
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

/// A dialect has ended a subscription.
#[cold]
fn unsubscribe(core: &mut Core, key: ConnKey, channel: ChannelId, form: Form) {
    let now = core.now();
    journal::unsubscribing(core, key, channel, "unsubscribed by the server");
    if let Some(conn) = core.connections.get(key) {
        let encoding = conn.framing.encoding(form);
        core.channels
            .unsubscribe(Subscriber(key.slot()), encoding, channel, now);
    }
}
