//! Bytes of connections with TLS: handshakes step by step, records opened in place, and how a connection
//! ends under TLS. What was under the records is handled as on a plain connection.
//!
//! One record of a handshake is handled in a loop iteration, so that no message waits for more than
//! one: the latencies that are measured are the server's, and not a queue of handshakes here.

use roost_net::clock::now_ns;
use roost_net::{CloseCause, CloseMode};
use roost_tls::End;
use roost_tls::record::{Extent, gather};

use super::conn::{EXPECTED, SAID_GOODBYE, State};
use super::tls::Progress;
use super::{Core, DriverOp};

/// Bytes of a connection.
pub(super) fn handle_bytes(core: &mut Core, slot: u32, mut lease: &mut [u8]) {
    let conn = core.conns[slot as usize];
    let Some(tls) = &mut core.tls else { return };
    match conn.state {
        State::Free | State::Connecting => return,
        State::TlsHandshaking => {
            if let Err(why) = tls.handle_bytes(conn.key(slot), lease) {
                core.give_up(slot, why.to_owned());
            }
            return;
        }
        State::Handshaking | State::Opening | State::Held | State::Closing => {}
    }
    if let Some(mut kept) = tls.take_record(slot) {
        let (taken, extent) = gather(&mut kept, lease);
        if let Extent::Missing(_) = extent {
            return tls.keep_record(slot, kept);
        }
        lease = &mut lease[taken..];
        open(core, slot, &mut kept);
    }
    if !lease.is_empty() {
        open(core, slot, lease);
    }
}

/// Opens and handles what is whole of `bytes`, and keeps the rest.
fn open(core: &mut Core, slot: u32, bytes: &mut [u8]) {
    let Some(tls) = &mut core.tls else { return };
    let Some(opened) = tls.open(slot, bytes) else {
        return;
    };
    if !opened.plaintext.is_empty() {
        core.on_bytes(slot, &mut bytes[opened.plaintext]);
    }
    let Some(tls) = &mut core.tls else { return };
    match opened.end {
        End::Incomplete(_) => {
            let rest = &bytes[opened.consumed..];
            if !rest.is_empty() {
                tls.keep_record(slot, rest.to_vec());
            }
            if tls.is_worn_out(slot) {
                core.give_up(slot, "TLS: keys of 1.2 used as often as may be".to_owned());
            } else if tls.owes_output(slot) {
                core.queue_flush(slot);
            }
        }
        End::Closed => handle_close_notify(core, slot),
        End::Failed(fault) => fail(core, slot, format!("TLS: {fault}")),
    }
}

/// Goes on with the handshake that can go on.
pub(super) fn advance_one(core: &mut Core) {
    while let Some(tls) = &mut core.tls
        && let Some(key) = tls.next_ready()
    {
        let conn = core.conns[key.slot() as usize];
        if conn.key(key.slot()) == key && tls.is_ready(key.slot()) {
            return step(core, key.slot());
        }
        // It has ended meanwhile.
    }
}

/// One step of a handshake.
fn step(core: &mut Core, slot: u32) {
    let key = core.conns[slot as usize].key(slot);
    let Some(tls) = &mut core.tls else { return };
    let begun = now_ns();
    let progress = tls.advance(key);
    core.results.tls_step.record(now_ns().saturating_sub(begun));
    match progress {
        Progress::More => core.queue_flush(slot),
        Progress::Established {
            mut rest,
            waited_ns,
        } => {
            core.results.tls_wait.record(waited_ns);
            core.send_request(slot);
            if !rest.is_empty() {
                open(core, slot, &mut rest);
            }
        }
        Progress::Failed(why) => fail(core, slot, why),
    }
}

/// TLS has ended the connection: an alert, if one is to be sent, and TCP's end.
fn fail(core: &mut Core, slot: u32, why: String) {
    core.note_end(slot, why);
    core.conns[slot as usize].state = State::Closing;
    core.conns[slot as usize].flags |= EXPECTED;
    core.rare.entry(slot).or_default().since_ns = core.now;
    core.queue_flush(slot);
    core.driver_ops
        .push(DriverOp::Close(slot, CloseMode::Graceful));
}

/// RFC 8446 §6.1: the server will send no more. It is what FIN is without TLS, and FIN follows.
fn handle_close_notify(core: &mut Core, slot: u32) {
    let conn = core.conns[slot as usize];
    match conn.state {
        State::Free => {}
        State::Closing => {
            if !conn.has(SAID_GOODBYE | EXPECTED) {
                core.note_end(slot, "close_notify without a close frame".to_owned());
                core.conns[slot as usize].flags |= EXPECTED;
            }
            core.driver_ops.push(DriverOp::Fin(slot));
        }
        _ => core.give_up(slot, "close_notify".to_owned()),
    }
}

/// The server's FIN.
pub(super) fn handle_read_closed(core: &mut Core, slot: u32) {
    finish_steps(core, slot);
    let conn = core.conns[slot as usize];
    let Some(tls) = &mut core.tls else { return };
    match conn.state {
        State::TlsHandshaking => core.give_up(slot, "FIN in the TLS handshake".to_owned()),
        State::Closing
            if conn.has(SAID_GOODBYE) && !conn.has(EXPECTED) && !tls.is_receive_closed(slot) =>
        {
            core.results.note_loss("closing: FIN without close_notify");
            core.on_read_closed(slot);
        }
        _ => core.on_read_closed(slot),
    }
}

/// The connection is over.
pub(super) fn handle_closed(core: &mut Core, slot: u32, cause: CloseCause) {
    finish_steps(core, slot);
    core.on_closed(slot, cause);
}

/// The steps that a connection's handshake can still make, when nothing more will come: what the server
/// has said is why it ended.
fn finish_steps(core: &mut Core, slot: u32) {
    while core.conns[slot as usize].state == State::TlsHandshaking
        && let Some(tls) = &core.tls
        && tls.is_ready(slot)
    {
        step(core, slot);
    }
}
