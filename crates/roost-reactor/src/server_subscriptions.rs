//! Subscriptions that the server makes for a connection: the application has asked for them.

use roost_dialect::check_channel_name;
use roost_net::ConnKey;

use crate::connections::Phase;
use crate::core::Core;
use crate::grants;
use crate::subscribe_commands::subscribe_allowed;

/// Subscribes an open connection to a channel, whatever the channel's namespace asks of clients; the client is
/// told so when the channel's home has answered. False if it is subscribed already, may have no more subscriptions,
/// or its dialect has no words for it.
pub(crate) fn subscribe(core: &mut Core, key: ConnKey, name: &str) -> bool {
    let Some(conn) = core.connections.get(key) else {
        return false;
    };
    let (dialect, session, phase) = (conn.dialect, conn.session, conn.phase);
    let bytes_max = core.settings.limits.channel_name_bytes_max;
    let known = core.channels.find(name);
    if phase != Phase::Open
        || check_channel_name(name, bytes_max).is_err()
        || known.is_some_and(|channel| grants::is_subscribed(core, key, channel))
    {
        return false;
    }
    let Some((form, token)) = core.sessions.begin_subscription(dialect, session, name) else {
        return false;
    };
    subscribe_allowed(core, key, (name, None), form, token);
    core.counters.subscriptions_served_total.inc();
    true
}
