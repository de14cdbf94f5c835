//! Connections that wait for the answers to several subscriptions before they are told of any, and read nothing
//! meanwhile. All that is needed for the last answer is there when a dialect says [`Next::EndWait`].
//!
//! [`Next::EndWait`]: roost_dialect::dialect::Next::EndWait

use roost_dialect::dialect::Event;
use roost_hub::{ChannelId, Position};
use roost_net::ConnKey;

use crate::commands::go_on;
use crate::connections::{Flags, Phase};
use crate::core::Core;
use crate::dialogue::notify;
use crate::input::read_again;
use crate::messages::apply_pending;

/// Goes on with those that wait no longer.
#[cold]
pub(crate) fn end_waits(core: &mut Core) {
    while let Some(key) = core.ended_waits.pop() {
        end_wait(core, key);
        apply_pending(core);
    }
}

fn end_wait(core: &mut Core, key: ConnKey) {
    let Some(waiting) = core.history_asks.take_subscriptions(key) else {
        return; // it has gone on, or its connection has ended
    };
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    if conn.phase != Phase::Open {
        return;
    }
    conn.flags.clear(Flags::PAUSED); // so that what follows may pause it anew
    let positions = positions(core, key);
    let positions = &positions;
    notify(core, key, Event::WaitEnded { positions });
    if let Some(rest) = waiting.rest {
        go_on(core, key, &rest);
    }
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    if !conn.flags.has(Flags::PAUSED) {
        conn.flags.set(Flags::PAUSED);
        read_again(core, key);
    }
}

/// Where the channels stand that a connection is subscribed to.
fn positions(core: &Core, key: ConnKey) -> Vec<(ChannelId, Position)> {
    let mut positions = Vec::new();
    if let Some(conn) = core.connections.get(key) {
        let channels = &core.channels;
        core.sessions
            .each_subscription(conn.dialect, conn.session, &mut |channel| {
                positions.extend(channels.hub().position(channel).map(|at| (channel, at)));
            });
    }
    positions
}
