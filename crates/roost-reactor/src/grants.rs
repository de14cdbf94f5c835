//! Subscriptions that a token allows, and for how long: where that ends, so does the subscription, once the
//! client has had time to show another token.

use roost_dialect::dialect::{Event, Grant};
use roost_hub::{ChannelId, PublishTo};
use roost_net::ConnKey;

use crate::client_tokens::GRACE_MS;
use crate::clock::tick_in;
use crate::core::Core;
use crate::dialogue::notify;
use crate::hub_outputs;
use crate::settings::Access;

/// Whether a token is all that a channel's namespace asks for.
pub(crate) fn suffices(core: &Core, channel: &str) -> bool {
    core.settings.channels.of(channel).subscribe != Access::Nobody
}

/// A token allows a subscription for longer.
pub(crate) fn refresh(core: &mut Core, key: ConnKey, channel: &str, grant: Grant, token: u64) {
    let channel = core.channels.find(channel);
    let channel = channel.filter(|&channel| is_subscribed(core, key, channel));
    if let Some(channel) = channel {
        set(core, key, channel, grant);
    }
    let existed = channel.is_some();
    let event = Event::GrantRefreshed {
        token,
        existed,
        grant,
    };
    notify(core, key, event);
}

/// Ends subscriptions whose tokens have expired.
pub(crate) fn keep_deadlines(core: &mut Core) {
    let now = core.now();
    while let Some((slot, channel)) = core.channels.expiries_mut().pop_due(now) {
        let name = core.channels.name_of(PublishTo::Channel(channel));
        let name = name.map(str::to_owned);
        if let (Some(key), Some(name)) = (core.connections.key_at(slot), name) {
            core.counters.subscriptions_expired_total.inc();
            let name = &name;
            notify(core, key, Event::GrantExpired { channel, name });
        }
    }
    hub_outputs::apply(core);
}

/// From now on a subscription is allowed for so long.
pub(crate) fn set(core: &mut Core, key: ConnKey, channel: ChannelId, grant: Grant) {
    let now = core.now();
    let tick = grant.expires_in_s.map(|seconds| {
        let ms = u64::from(seconds) * 1000 + GRACE_MS;
        tick_in(now, ms).get()
    });
    core.channels.expiries_mut().set(key.slot(), channel, tick);
}

/// Whether a connection's dialect knows of a subscription.
pub(crate) fn is_subscribed(core: &Core, key: ConnKey, channel: ChannelId) -> bool {
    core.connections.get(key).is_some_and(|conn| {
        core.sessions
            .is_subscribed(conn.dialect, conn.session, channel)
    })
}
