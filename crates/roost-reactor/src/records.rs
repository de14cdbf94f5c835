//! Bytes of connections whose transport is not plain: records are opened in place, and what was under
//! them is handled like any bytes of the connection's phase.
//!
//! Handshakes take turns. A ClientHello is 0.1 ms of work, a thousand times that of a message, so one
//! is handled in a loop iteration: a storm of them costs each message that comes meanwhile the time of
//! one. Throughput does not depend on the number ([decision
//! 0013](../../../docs/decisions/0013-one-client-hello-an-iteration.md)).

use roost_net::{CloseMode, ConnKey};
use roost_tls::Session;
use roost_tls::record::gather;
use roost_wire::CloseCode;
use roost_wire::proxy::Source;
use tracing::{debug, field};

use crate::closing::{cut, handle_read_closed, linger, start_close};
use crate::connections::{Phase, Then};
use crate::core::Core;
use crate::handshake::handle_early_bytes;
use crate::messages::{apply_pending, handle_frame_bytes};
use crate::requests::handle_request_bytes;
use crate::responses::{Response, refuse_too_often, respond};

/// Bytes of a connection's protocol, in whatever phase it is.
#[inline(always)] // a call for each message: +22 instructions
pub(crate) fn handle_plaintext(core: &mut Core, key: ConnKey, phase: Phase, bytes: &mut [u8]) {
    match phase {
        Phase::Open | Phase::Closing => handle_frame_bytes(core, key, bytes),
        Phase::Handshake | Phase::Http => handle_request_bytes(core, key, bytes),
        Phase::Joining => handle_early_bytes(core, key, bytes),
        Phase::Lingering | Phase::Closed => {}
    }
}

/// Bytes of a transport that is not plain. A record of which a part has come before is completed in
/// that part's own buffer; all others are opened where they lie.
pub(crate) fn handle_records(core: &mut Core, key: ConnKey, mut lease: &mut [u8]) {
    if let Some(mut kept) = core.connections.take_record(key.slot()) {
        if core.connections.waits_for_turn(key.slot()) && core.connections.is_paused(key) {
            // What was on its way when the driver was asked to pause.
            if kept.len() + lease.len() > HELLO_BYTES_MAX {
                return cut(core, key, CloseMode::Abort);
            }
            kept.extend_from_slice(lease);
            core.connections.work(key.slot(), lease.len() as u64);
            return core.connections.keep_record(key, kept);
        }
        if core.connections.awaits_header(key.slot()) {
            // It ends before all that is kept of it: what follows is handled with it.
            kept.extend_from_slice(lease);
            core.connections.work(key.slot(), lease.len() as u64);
            let rest = open_records(core, key, &mut kept);
            if rest > 0 {
                kept.drain(..kept.len() - rest);
                core.connections.keep_record(key, kept);
            }
            return;
        }
        let (taken, _) = gather(&mut kept, lease);
        core.connections.work(key.slot(), taken as u64);
        lease = &mut lease[taken..];
        let rest = open_records(core, key, &mut kept);
        if rest > 0 {
            kept.drain(..kept.len() - rest);
            kept.extend_from_slice(lease);
            return core.connections.keep_record(key, kept);
        }
    }
    let rest = open_records(core, key, lease);
    if rest > 0 {
        let kept = lease[lease.len() - rest..].to_vec();
        core.connections.work(key.slot(), rest as u64);
        core.connections.keep_record(key, kept);
    }
}

/// Handles the ClientHello whose turn it is, if one waits.
pub(crate) fn handle_next_hello(core: &mut Core) {
    while let Some(key) = core.connections.next_hello() {
        let conn = core.connections.get(key);
        if conn.is_none_or(|conn| conn.phase != Phase::Handshake) {
            continue; // its client has gone meanwhile
        }
        core.connections.resume(key);
        if let Err(fault) = core.connections.begin_handshake(key.slot()) {
            debug!(connection = %core.id(key), %fault, "TLS handshake failed");
            return cut(core, key, CloseMode::Abort);
        }
        if let Some(mut kept) = core.connections.take_record(key.slot()) {
            let rest = open_records(core, key, &mut kept);
            if rest > 0 {
                kept.drain(..kept.len() - rest);
                core.connections.keep_record(key, kept);
            }
        }
        return;
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
        let opened = core.connections.open_records(key.slot(), rest);
        core.connections.work(key.slot(), opened.steps);
        if opened.is_sign_of_life {
            core.connections.note_seen(key);
        }
        if !opened.plaintext.is_empty() {
            handle_plaintext(core, key, phase, &mut rest[opened.plaintext]);
            apply_pending(core);
        }
        at += opened.consumed;
        match opened.then {
            Then::GoOn => {}
            Then::Wait => return bytes.len() - at,
            Then::WaitForTurn => {
                core.connections.queue_hello(key);
                return bytes.len() - at;
            }
            Then::Announced(source) => match handle_header(core, key, source) {
                Followed::Records => {}
                Followed::Plaintext => {
                    if at < bytes.len() {
                        handle_plaintext(core, key, phase, &mut bytes[at..]);
                        apply_pending(core);
                    }
                    return 0;
                }
                Followed::Nothing => return 0,
            },
            Then::Established(session) => note_established(core, key, &session),
            Then::WornOut => {
                let reason = "TLS keys have been used as often as may be; connect again";
                start_close(core, key, CloseCode::GOING_AWAY, reason);
                return bytes.len() - at; // the client's answer is still read
            }
            end => {
                handle_end(core, key, &end);
                return 0;
            }
        }
    }
}

/// What comes behind a PROXY header.
enum Followed {
    Records,
    Plaintext,
    /// The connection is refused.
    Nothing,
}

/// A PROXY header has come: the connection counts to the address of its client.
fn handle_header(core: &mut Core, key: ConnKey, source: Source) -> Followed {
    core.counters.proxy_headers_total.inc();
    let (socket, has_tls) = core.connections.take_header(key);
    let client = match source {
        Source::Client(client) => Some(client),
        Source::Socket => socket,
    };
    if let Some(client) = client {
        let begun = core.governor.begin_connection(client.ip(), core.now());
        if let Err(seconds) = begun {
            match has_tls {
                true => {
                    core.counters.refused_connect_rate_total.inc();
                    cut(core, key, CloseMode::Abort);
                }
                false => refuse_too_often(core, key, seconds),
            }
            return Followed::Nothing;
        }
        match core.governor.enter_address(client.ip().to_canonical()) {
            Ok(address) => core.connections.set_address(key, address),
            Err(_) => {
                core.counters.refused_per_address_total.inc();
                debug!(connection = %core.id(key), %client, "refused: too many of this address");
                cut(core, key, CloseMode::Abort);
                return Followed::Nothing;
            }
        }
    }
    let client = client.map(field::display);
    debug!(connection = %core.id(key), client, "forwarded by a proxy");
    match has_tls {
        true => Followed::Records,
        false => Followed::Plaintext,
    }
}

fn note_established(core: &Core, key: ConnKey, session: &Session) {
    let counters = &core.counters;
    counters.tls_handshakes_total.inc();
    if session.resumed {
        counters.tls_handshakes_resumed_total.inc();
    }
    debug!(
        connection = %core.id(key),
        suite = session.suite.name(),
        resumed = session.resumed,
        server_name = session.server_name.as_deref(),
        "TLS established"
    );
}

/// Nothing more is read of the connection.
fn handle_end(core: &mut Core, key: ConnKey, end: &Then) {
    match end {
        Then::Closed => return handle_read_closed(core, key),
        Then::NotTls => return refuse_not_tls(core, key),
        Then::NotAnnounced(error) => {
            core.counters.proxy_headers_refused_total.inc();
            debug!(connection = %core.id(key), %error, "refused");
            return cut(core, key, CloseMode::Abort);
        }
        Then::HandshakeFailed(fault) => {
            core.counters.tls_handshakes_failed_total.inc();
            debug!(connection = %core.id(key), %fault, "TLS handshake failed");
        }
        Then::Failed(fault) => {
            core.counters.tls_faults_total.inc();
            debug!(connection = %core.id(key), %fault, "TLS broken");
        }
        Then::GoOn
        | Then::Wait
        | Then::WaitForTurn
        | Then::Announced(_)
        | Then::Established(_)
        | Then::WornOut => return,
    }
    linger(core, key); // the alert still goes out
}

/// The first byte is none of a TLS handshake. Its client gets a line of HTTP in the clear.
fn refuse_not_tls(core: &mut Core, key: ConnKey) {
    debug!(connection = %core.id(key), "no TLS");
    core.counters.plain_on_tls_total.inc();
    core.connections.forget_transport(key);
    respond(core, key, &Response::text(400, NOT_TLS));
}

const NOT_TLS: &[u8] =
    b"This port speaks TLS: use wss:// or https:// in the URL. Behind a proxy that ends TLS, \
      forward to a listener without it.\n";
/// A ClientHello that waits, and what came behind it: a client has nothing to say before it is
/// answered, but for early data, which rustls refuses.
const HELLO_BYTES_MAX: usize = 64 << 10;
