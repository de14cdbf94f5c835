//! What the driver reports of connections, handed on by phase.

use std::net::SocketAddr;

use roost_net::ConnKey;
use tracing::{debug, field};

use crate::channels::ALARM;
use crate::connections::{Arrival, Flags, Partial, ProxyHeader};
use crate::core::Core;
use crate::forwarded;
use crate::governor::Refused;
use crate::messages::{apply_pending, handle_unread};
use crate::records::{handle_plaintext, handle_records};
use crate::requests::handle_pipelined;
use crate::responses::refuse_too_often;
use crate::settings::Listener;

/// A connection has come, by the listener of that number. `Err` says why it is refused.
pub(crate) fn handle_accepted(
    core: &mut Core,
    listener: u8,
    peer: Option<SocketAddr>,
) -> Result<ConnKey, Refused> {
    core.counters.connections_accepted_total.inc();
    let from = core.settings.listener(listener);
    let awaits_header = from.proxies.is_some();
    let is_proxys = forwarded::is_proxys(from, peer);
    let has_tls = from.tls.is_some();
    // The client's address is in the header of the connection or of its request, if there is one.
    let retry_after = peer
        .filter(|_| !awaits_header && !is_proxys && !core.is_draining)
        .and_then(|peer| core.governor.begin_connection(peer.ip(), core.now()).err());
    let entered = match core.is_draining {
        true => Err(Refused::Draining),
        false if !may_connect(from, peer) => Err(Refused::NotAProxy),
        // A handshake would cost more than a client is worth that comes too often.
        false if has_tls && retry_after.is_some() => Err(Refused::ConnectRate),
        false if awaits_header || is_proxys => core.governor.enter(None),
        false => core.governor.enter(peer.map(|peer| peer.ip())),
    };
    let address = entered.inspect_err(|refused| {
        let counter = match refused {
            Refused::Draining => &core.counters.refused_draining_total,
            Refused::ConnectionsMax => &core.counters.refused_connections_max_total,
            Refused::PerAddressMax => &core.counters.refused_per_address_total,
            Refused::ConnectRate => &core.counters.refused_connect_rate_total,
            Refused::NotAProxy => &core.counters.refused_proxy_source_total,
        };
        counter.inc();
    })?;
    core.governor.note_listener(listener);
    let key = core.connections.insert(match is_proxys {
        true => Arrival::of_proxy(listener),
        false => Arrival::new(listener, address),
    });
    let listener = core.settings.listener(listener);
    if awaits_header || listener.tls.is_some() {
        let header = awaits_header.then_some(ProxyHeader { socket: peer });
        core.connections
            .begin_transport(key, header, listener.tls.clone());
    }
    let peer = peer.map(field::display); // no field where it is not known
    debug!(connection = %core.id(key), listener = listener.config.label(), peer, "accepted");
    if let Some(seconds) = retry_after {
        refuse_too_often(core, key, seconds);
    }
    Ok(key)
}

/// Whether a connection from this address may come by a listener: where each has to begin with a PROXY
/// header, only a proxy's may. On a unix socket the permissions of its file have decided.
fn may_connect(listener: &Listener, peer: Option<SocketAddr>) -> bool {
    let Some(proxies) = &listener.proxies else {
        return true;
    };
    match peer {
        Some(peer) => proxies.iter().any(|network| network.contains(peer.ip())),
        None => listener.address.tcp().is_none(),
    }
}

/// Bytes from the driver, lent.
pub(crate) fn handle_bytes(core: &mut Core, key: ConnKey, lease: &mut [u8]) {
    let now = core.now();
    let Some(conn) = core.connections.get_mut(key) else {
        core.counters.stale_completions_total.inc();
        return;
    };
    if conn.flags.has(Flags::HAS_TRANSPORT) {
        core.connections.note_received(key.slot(), lease.len());
        handle_records(core, key, lease);
        return core.connections.note_handled(key);
    }
    conn.last_seen = now;
    let was_pinged = conn.flags.clear(Flags::PING_SENT);
    let phase = conn.phase;
    core.connections.note_received(key.slot(), lease.len());
    handle_plaintext(core, key, phase, lease);
    if was_pinged {
        core.connections.arm_ping(key.slot());
    }
    core.connections.note_handled(key);
}

/// Reads those paused publishers again that can be.
pub(crate) fn read_paused(core: &mut Core) {
    let now = core.now();
    // A publisher that is paused anew is not read again in this pass.
    for _ in 0..core.channels.paused().count_due(now) {
        if !core.channels.has_room() || core.has_done_enough() {
            return;
        }
        match core.channels.paused().pop() {
            Some(ALARM) => core.channels.send_heard(),
            Some(key) => read_again(core, key),
            None => return,
        }
    }
}

/// Handles what a paused publisher, or one whose answers have gone, has sent, and reads from it,
/// unless that pauses it again.
pub(crate) fn read_again(core: &mut Core, key: ConnKey) {
    // It is read again when its hook or a channel's home has answered, or its token was checked.
    let slot = key.slot();
    if core.hook_calls.waits(slot)
        || core.token_checks.awaits(slot)
        || core.history_asks.waits(slot)
    {
        return;
    }
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    if !conn.flags.clear(Flags::PAUSED) {
        return;
    }
    match core.connections.take_partial(key.slot()) {
        Some(Partial::Unread(unread)) => handle_unread(core, key, *unread),
        Some(Partial::Pipelined(pipelined)) => {
            handle_pipelined(core, key, *pipelined);
            apply_pending(core);
        }
        Some(other) => core.connections.keep_partial(key.slot(), other),
        None => {}
    }
    core.connections.resume_after_unread(key);
}
