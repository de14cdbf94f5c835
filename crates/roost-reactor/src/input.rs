//! What the driver reports of connections, handed on by phase.

use std::net::SocketAddr;

use roost_net::{CloseMode, ConnKey};
use tracing::{debug, field};

use crate::closing::{cut, linger};
use crate::connections::{Arrival, Flags, Opened, Partial, Phase};
use crate::core::Core;
use crate::governor::Refused;
use crate::handshake::handle_early_bytes;
use crate::messages::{apply_pending, handle_frame_bytes, handle_unread};
use crate::requests::{handle_pipelined, handle_request_bytes};

/// A connection has come, by the listener of that number. `Err` says why it is refused.
pub(crate) fn handle_accepted(
    core: &mut Core,
    listener: u8,
    peer: Option<SocketAddr>,
) -> Result<ConnKey, Refused> {
    core.counters.connections_accepted_total.inc();
    let entered = match core.is_draining {
        true => Err(Refused::Draining),
        false => core.governor.enter(peer.map(|peer| peer.ip())),
    };
    let address = entered.inspect_err(|refused| {
        let counter = match refused {
            Refused::Draining => &core.counters.refused_draining_total,
            Refused::ConnectionsMax => &core.counters.refused_connections_max_total,
            Refused::PerAddressMax => &core.counters.refused_per_address_total,
        };
        counter.inc();
    })?;
    let key = core.connections.insert(Arrival::new(listener, address));
    let peer = peer.map(field::display); // no field where it is not known
    let listener = &core.settings.listeners[usize::from(listener)].name;
    debug!(connection = %core.id(key), listener, peer, "accepted");
    Ok(key)
}

/// Bytes from the driver, lent.
pub(crate) fn handle_bytes(core: &mut Core, key: ConnKey, lease: &mut [u8]) {
    let now = core.now();
    let Some(conn) = core.connections.get_mut(key) else {
        core.counters.stale_completions_total.inc();
        return;
    };
    conn.last_seen = now;
    let was_pinged = conn.flags.clear(Flags::PING_SENT);
    let (phase, has_transport) = (conn.phase, conn.flags.has(Flags::HAS_TRANSPORT));
    core.connections.note_received(key.slot(), lease.len());
    match has_transport {
        false => handle_plaintext(core, key, phase, lease),
        true => handle_records(core, key, lease),
    }
    if was_pinged {
        core.connections.arm_ping(key.slot());
    }
    core.connections.note_handled(key);
}

/// Bytes of a connection's protocol, in whatever phase it is.
#[inline]
fn handle_plaintext(core: &mut Core, key: ConnKey, phase: Phase, bytes: &mut [u8]) {
    match phase {
        Phase::Open | Phase::Closing => handle_frame_bytes(core, key, bytes),
        Phase::Handshake | Phase::Http => handle_request_bytes(core, key, bytes),
        Phase::Joining => handle_early_bytes(core, key, bytes),
        Phase::Lingering | Phase::Closed => {}
    }
}

/// Bytes of a transport that is not plain: its records are opened in place, one after the other.
fn handle_records(core: &mut Core, key: ConnKey, lease: &mut [u8]) {
    let Some(mut kept) = core.connections.take_record(key.slot()) else {
        let rest = open_records(core, key, lease);
        if rest > 0 {
            let rest = lease[lease.len() - rest..].to_vec();
            core.connections.work(key.slot(), rest.len() as u64);
            core.connections.keep_record(key, rest);
        }
        return;
    };
    kept.extend_from_slice(lease);
    core.connections.work(key.slot(), lease.len() as u64);
    let rest = open_records(core, key, &mut kept);
    if rest > 0 {
        kept.drain(..kept.len() - rest);
        core.connections.keep_record(key, kept);
    }
}

/// Opens and handles all whole records. Returns how many bytes are left, 0 if the connection is over.
fn open_records(core: &mut Core, key: ConnKey, bytes: &mut [u8]) -> usize {
    let mut at = 0;
    loop {
        let conn = core.connections.get(key);
        let phase = conn.map_or(Phase::Closed, |conn| conn.phase);
        if phase >= Phase::Lingering || at == bytes.len() {
            return 0; // what comes behind the end is read and not looked at
        }
        let rest = &mut bytes[at..];
        match core.connections.open_record(key.slot(), rest) {
            Opened::Record {
                plaintext,
                consumed,
            } => {
                handle_plaintext(core, key, phase, &mut rest[plaintext]);
                apply_pending(core);
                at += consumed;
            }
            Opened::Incomplete => return bytes.len() - at,
            Opened::Broken => {
                core.counters.protocol_errors_total.inc();
                cut(core, key, CloseMode::Abort);
                return 0;
            }
        }
    }
}

/// The peer will send no more.
pub(crate) fn handle_read_closed(core: &mut Core, key: ConnKey) {
    let Some(conn) = core.connections.get_mut(key) else {
        core.counters.stale_completions_total.inc();
        return;
    };
    conn.flags.set(Flags::PEER_FIN);
    let (flags, phase) = (conn.flags, conn.phase);
    if flags.has(Flags::WEBSOCKET) && !flags.has(Flags::PEER_CLOSED) {
        core.counters.abnormal_closes_total.inc();
    }
    if flags.has(Flags::FIN_SENT) {
        cut(core, key, CloseMode::Graceful);
    } else if phase < Phase::Lingering && !has_requests_waiting(core, key) {
        linger(core, key); // what is queued still goes out, then our FIN
    }
}

/// Whether a connection has sent requests that are still to be answered, and whose answers it may be
/// waiting for though it sends no more. A stream ends when its client does.
fn has_requests_waiting(core: &Core, key: ConnKey) -> bool {
    core.connections.get(key).is_some_and(|conn| {
        let partial = core.connections.inputs().get(conn);
        let stream = core.connections.exchanges().get(key.slot()).stream;
        matches!(partial, Some(Partial::Pipelined(_))) && stream.is_none()
    })
}

/// Reads those paused publishers again that can be.
pub(crate) fn read_paused(core: &mut Core) {
    let now = core.now();
    // A publisher that is paused anew is not read again in this pass.
    for _ in 0..core.channels.paused().count_due(now) {
        if !core.channels.has_room() || core.has_done_enough() {
            return;
        }
        if let Some(key) = core.channels.paused().pop() {
            read_again(core, key);
        }
    }
}

/// Handles what a paused publisher, or one whose answers have gone, has sent, and reads from it,
/// unless that pauses it again.
fn read_again(core: &mut Core, key: ConnKey) {
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
