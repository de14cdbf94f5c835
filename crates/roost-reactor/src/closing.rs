//! Ends of connections: each leaves its channels with its last message, and its session goes.

use roost_dialect::dialect::{Event, Next, Session};
use roost_hub::{ChannelId, Encoding, Subscriber};
use roost_net::{CloseMode, ConnKey};
use roost_wire::CloseCode;

use crate::connections::{Flags, Partial, Phase};
use crate::core::Core;
use crate::incidents::{EndCause, Ended, IncidentKind};
use crate::journal::{self, Leaving};
use crate::session_events::{end_cause, left};

/// Starts the closing handshake from our side.
pub(crate) fn start_close(core: &mut Core, key: ConnKey, code: CloseCode, reason: &str) {
    let leaving = journal::leaving(core, key, Some((code.get(), reason)));
    if core.connections.start_close(key, code, reason) {
        leave(core, key, leaving);
    } else if core.connections.is_open_event_stream(key) {
        let words = close_words(core, key, code, reason);
        if !words.is_empty() {
            core.connections
                .send_bytes(key, |arena| arena.extend_from_slice(&words));
        }
        end_output(core, key, leaving); // its client answers nothing
    }
}

/// What the client of a stream is told instead of a close frame, as it is sent.
fn close_words(core: &mut Core, key: ConnKey, code: CloseCode, reason: &str) -> Vec<u8> {
    let Some(conn) = core.connections.get(key) else {
        return Vec::new();
    };
    core.sessions
        .say_close(conn.dialect, conn.session, (code, reason));
    core.connections.frame_replies(key, core.sessions.replies())
}

/// Nothing more will be written after what is queued: see [`crate::connections::Connections::linger`].
pub(crate) fn linger(core: &mut Core, key: ConnKey) {
    let leaving = journal::leaving(core, key, None);
    end_output(core, key, leaving);
}

fn end_output(core: &mut Core, key: ConnKey, leaving: Option<Leaving>) {
    if core.connections.linger(key) {
        leave(core, key, leaving);
    }
}

/// Notes why a connection that was an open WebSocket ends, for administrators who ask.
pub(crate) fn note_end(core: &mut Core, key: ConnKey, cause: EndCause, reason: &str) {
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    if conn.phase == Phase::Open {
        let silent_ticks = core.now().saturating_sub(conn.last_seen);
        let reason_of_end = match reason {
            "" => journal::reason_of(cause),
            reason => reason,
        };
        let ended = Ended::new(cause, silent_ticks, reason);
        journal::note_end(core, key, None, reason_of_end);
        core.note_incident(key, IncidentKind::Ended(ended), 1);
    }
}

/// Fails the connection (RFC 6455 §7.1.7): a close frame with the reason, then the end.
pub(crate) fn fail(core: &mut Core, key: ConnKey, code: CloseCode, reason: &str) {
    note_end(core, key, EndCause::Failed, reason);
    start_close(core, key, code, reason);
    linger(core, key);
}

/// Closes with 1013 and a reason, or as the dialect says, and drops all that waits. The frame that is half sent stays, so
/// that the peer can read the close behind it.
pub(crate) fn close_dropping(core: &mut Core, key: ConnKey, reason: &str) {
    if !core.connections.has_outbox(key) {
        return;
    }
    let phase = core.connections.get(key).map(|conn| conn.phase);
    if phase != Some(Phase::Open) {
        return cut(core, key, CloseMode::Abort);
    }
    note_end(core, key, EndCause::SlowConsumer, reason);
    let (mut words, next) = core.framed_words(key, Event::SlowConsumer { reason });
    let (code, reason) = match next {
        Next::Close { code, reason } => (code, reason),
        Next::Continue
        | Next::Unsubscribe { .. }
        | Next::AwaitAuthentication
        | Next::CacheMissed { .. }
        | Next::EndWait => (CloseCode::TRY_AGAIN_LATER, reason),
    };
    if core.connections.is_open_event_stream(key) {
        words.extend(close_words(core, key, code, reason));
    }
    let leaving = journal::leaving(core, key, Some((code.get(), reason)));
    if core.connections.close_dropping(key, words, code, reason) {
        leave(core, key, leaving);
    }
}

/// Closes the socket. The slot stays until the driver says `Closed`.
pub(crate) fn cut(core: &mut Core, key: ConnKey, mode: CloseMode) {
    let leaving = journal::leaving(core, key, None);
    if core.connections.cut(key, mode) {
        leave_channels(core, key.slot(), leaving);
        close_session(core, key.slot());
    }
}

/// The driver says that the connection is over.
pub(crate) fn remove(core: &mut Core, key: ConnKey) {
    if core.connections.get(key).is_none() {
        core.counters.stale_completions_total.inc();
        return;
    }
    let leaving = journal::leaving(core, key, None);
    leave_channels(core, key.slot(), leaving);
    close_session(core, key.slot());
    let listener = core.listener_number(key);
    if let Some(address) = core.connections.remove(key) {
        core.governor.leave(address, listener);
    }
}

/// A connection is closing: it leaves its channels, and is read to its end whatever its messages had
/// to wait for.
fn leave(core: &mut Core, key: ConnKey, leaving: Option<Leaving>) {
    leave_channels(core, key.slot(), leaving);
    let conn = core.connections.get(key);
    if conn.is_some_and(|conn| conn.flags.has(Flags::PAUSED)) {
        core.channels.unpark(key);
    }
}

/// Ends all subscriptions, registrations and calls of a connection.
fn leave_channels(core: &mut Core, slot: u32, leaving: Option<Leaving>) {
    if let Some(key) = core.connections.key_at(slot) {
        core.token_checks.end_open(key);
        left(core, key);
        let now = core.now();
        core.calls.leave(key, now);
    }
    core.hook_calls.forget(slot);
    core.history_asks.forget(slot);
    core.relays.forget(slot);
    let now = core.now();
    while let Some((channel, encoding)) = pop_subscription(core, slot) {
        if let Some(leaving) = &leaving {
            journal::note_left(core, leaving, channel);
        }
        core.channels
            .end_subscription(Subscriber(slot), encoding, channel, now);
    }
    end_cause(core);
    if let Some(leaving) = leaving {
        journal::note_disconnected(core, leaving);
    }
}

fn pop_subscription(core: &mut Core, slot: u32) -> Option<(ChannelId, Encoding)> {
    let conn = core.connections.at_mut(slot)?;
    let (channel, form) = core
        .sessions
        .pop_subscription(conn.dialect, &mut conn.session)?;
    Some((channel, conn.framing.encoding(form)))
}

/// Frees what its dialect keeps of a connection that has ended.
fn close_session(core: &mut Core, slot: u32) {
    if let Some(conn) = core.connections.at_mut(slot) {
        let session = std::mem::replace(&mut conn.session, Session::NONE);
        core.sessions.close(conn.dialect, session);
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
        note_end(core, key, EndCause::Cut, "");
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
