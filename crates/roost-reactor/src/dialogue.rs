//! Between connections and their dialects: the dialect is notified of what happens, and what it says to
//! that is sent.

use roost_dialect::Form;
use roost_dialect::dialect::{Event, Next};
use roost_hub::{ChannelId, Subscriber};
use roost_net::ConnKey;

use crate::clock::ticks;
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
        Next::AwaitAuthentication => await_authentication(core, key),
        Next::CacheMissed { channel } => journal::cache_missed(core, key, channel),
        Next::EndWait => core.ended_waits.push(key), // at the end of this loop iteration
    }
}

/// Sends what a dialect has written.
#[inline(always)] // a call for each message
pub(crate) fn send_replies(core: &mut Core, key: ConnKey) {
    let replies = core.sessions.replies();
    if !replies.is_empty() {
        core.connections.send_replies(key, replies);
    }
}

/// A client is to be authenticated in time; see `logins.rs`.
pub(crate) fn await_authentication(core: &mut Core, key: ConnKey) {
    // The tick that runs does not count.
    let due = core.now() + ticks(core.settings.limits.handshake_timeout_ms) + 1;
    if !core.logins.push(key, due) {
        notify(core, key, Event::AuthenticationOver(TOO_MANY));
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

const TOO_MANY: &str = "Too many clients are being authenticated; try again later.";
