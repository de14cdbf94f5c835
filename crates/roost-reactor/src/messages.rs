//! Messages of an open WebSocket, out of bytes and to the dialect.

use roost_dialect::dialect::Message as DataMessage;
use roost_net::ConnKey;
use roost_wire::deflate::Inflater;
use roost_wire::{CloseCode, Inbound, Input, Message, ProtocolError, Role, hixie};
use tracing::debug;

use crate::client_limits::counts_messages;
use crate::closing::{fail, linger};
use crate::commands::handle_data;
use crate::connections::{Decoder, Flags, Framing, Index, Partial, Phase, Unread};
use crate::core::Core;
use crate::journal;
use crate::{hub_outputs, throttle};

/// Bytes of an open connection, or of one that awaits the peer's close frame.
pub(crate) fn handle_frame_bytes(core: &mut Core, key: ConnKey, bytes: &mut [u8]) {
    let Some(conn) = core.connections.get(key).filter(|conn| conn.reads_frames()) else {
        return;
    };
    if bytes.is_empty() {
        return;
    }
    if conn.partial == Index::NONE && !conn.flags.has(Flags::PAUSED) {
        return handle_fresh_frames(core, key, conn.framing, bytes);
    }
    let (framing, is_paused) = (conn.framing, conn.flags.has(Flags::PAUSED));
    if framing.is_event_stream() {
        return; // it goes one way
    }
    handle_more_frames(core, key, (framing, is_paused), bytes);
}

/// A message of a client without a WebSocket, as a frame. It may come at any time, also while the connection of
/// the client's stream is not read.
pub(crate) fn handle_emulated(core: &mut Core, key: ConnKey, frame: &mut [u8]) {
    let now = core.now();
    let conn = core.connections.get_mut(key);
    let Some(conn) = conn.filter(|conn| conn.phase == Phase::Open) else {
        return;
    };
    conn.last_seen = now;
    let was_pinged = conn.flags.clear(Flags::PING_SENT);
    let (framing, is_paused) = (conn.framing, conn.flags.has(Flags::PAUSED));
    let is_fresh = conn.partial == Index::NONE && !is_paused;
    core.connections.note_received(key.slot(), frame.len());
    match is_fresh {
        true => handle_frames(core, key, framing, frame),
        false => handle_more_frames(core, key, (framing, is_paused), frame),
    }
    if was_pinged {
        core.connections.arm_ping(key.slot());
    }
    core.connections.note_handled(key);
}

/// Bytes behind those that are kept, or of a connection that is not read now.
fn handle_more_frames(
    core: &mut Core,
    key: ConnKey,
    (framing, is_paused): (Framing, bool),
    bytes: &mut [u8],
) {
    let decoder = match core.connections.take_partial(key.slot()) {
        Some(Partial::Unread(mut unread)) => {
            unread.append(bytes);
            core.connections.work(key.slot(), bytes.len() as u64);
            return core
                .connections
                .keep_partial(key.slot(), Partial::Unread(unread));
        }
        Some(Partial::Frames(inbound)) => Decoder::Frames(*inbound),
        Some(Partial::EarlyFrames(inbound)) => Decoder::EarlyFrames(*inbound),
        Some(
            Partial::Head(_)
            | Partial::Challenge(_)
            | Partial::Body(_)
            | Partial::Pipelined(_)
            | Partial::PendingAccept(_)
            | Partial::PendingCheck(_)
            | Partial::PendingJoin(_),
        )
        | None => Decoder::new(framing),
    };
    if is_paused {
        // They were on their way when the driver was asked to pause.
        core.connections.keep_input(key, decoder, bytes);
    } else if let Some((decoder, rest)) = decode(core, key, decoder, bytes) {
        core.connections
            .keep_input(key, decoder, &bytes[bytes.len() - rest..]);
    }
}

/// The usual case: nothing was half received, and the decoder lives on the stack.
fn handle_fresh_frames(core: &mut Core, key: ConnKey, framing: Framing, bytes: &mut [u8]) {
    if matches!(
        framing,
        Framing::Early | Framing::EventStream | Framing::Emulated | Framing::Stamped
    ) {
        if framing.is_event_stream() {
            return; // it goes one way
        }
        let decoder = Decoder::new(framing);
        if let Some((decoder, rest)) = decode(core, key, decoder, bytes) {
            core.connections
                .keep_input(key, decoder, &bytes[bytes.len() - rest..]);
        }
        return;
    }
    handle_frames(core, key, framing, bytes);
}

/// The same of frames of RFC 6455.
#[inline(always)] // the usual case has no call more
fn handle_frames(core: &mut Core, key: ConnKey, framing: Framing, bytes: &mut [u8]) {
    let mut inbound = Inbound::new(Role::Server);
    let rest = handle_messages(core, key, framing, &mut inbound, bytes);
    if (rest > 0 || !inbound.is_quiet()) && still_reads(core, key) {
        let rest = &bytes[bytes.len() - rest..];
        core.connections
            .keep_input(key, Decoder::Frames(inbound), rest);
    }
}

/// Handles bytes until they are used up or the connection is paused. Returns the decoder and
/// how many bytes are left, unless there is nothing to keep.
fn decode(
    core: &mut Core,
    key: ConnKey,
    mut decoder: Decoder,
    bytes: &mut [u8],
) -> Option<(Decoder, usize)> {
    let framing = core.connections.get(key)?.framing;
    let (rest, is_quiet) = match &mut decoder {
        Decoder::Frames(inbound) => {
            let rest = handle_messages(core, key, framing, inbound, bytes);
            (rest, inbound.is_quiet())
        }
        Decoder::EarlyFrames(inbound) => {
            let rest = handle_early(core, key, inbound, bytes);
            (rest, inbound.is_quiet())
        }
    };
    let keeps = (rest > 0 || !is_quiet) && still_reads(core, key);
    keeps.then_some((decoder, rest))
}

fn still_reads(core: &Core, key: ConnKey) -> bool {
    core.connections
        .get(key)
        .is_some_and(|conn| conn.reads_frames())
}

/// Whether the next message is handled now, behind one of so many bytes.
fn reads_on(core: &mut Core, key: ConnKey, bytes: u64) -> bool {
    let Some(conn) = core.connections.get(key) else {
        return false;
    };
    if !conn.reads_frames() {
        return false;
    }
    // One look for both: a client whose messages are not counted pays nothing for those that are.
    !conn.flags.has(Flags::PAUSED_OR_COUNTED) || note_message_of(core, key, bytes)
}

/// The same of one that is paused, or whose messages are counted.
#[cold]
fn note_message_of(core: &mut Core, key: ConnKey, bytes: u64) -> bool {
    let Some(conn) = core.connections.get(key) else {
        return false;
    };
    let is_emulated = conn.framing == Framing::Emulated;
    if conn.flags.counts_messages() || is_emulated && counts_messages(&core.settings.limits) {
        return throttle::note_message(core, key, bytes);
    }
    !conn.flags.has(Flags::PAUSED)
}

/// Handles bytes until they are used up, or the connection is paused or over. Returns how many
/// are left.
fn handle_messages(
    core: &mut Core,
    key: ConnKey,
    framing: Framing,
    inbound: &mut Inbound,
    bytes: &mut [u8],
) -> usize {
    let steps = inbound.steps();
    let Framing::Deflate(agreement) = framing else {
        let limits = core.wire_limits;
        let mut input = Input::new(bytes);
        while handle_next(core, key, inbound.next(&mut input, &limits)) {}
        core.connections.work(key.slot(), inbound.steps() - steps);
        return input.len();
    };
    // The inflater is out while a message is borrowed from it; nothing handled meanwhile
    // inflates.
    let mut inflater = core.connections.take_inflater(key.slot(), agreement);
    let rest = handle_deflated(core, key, inbound, bytes, inflater.get_mut());
    core.connections.return_inflater(key.slot(), inflater);
    core.connections.work(key.slot(), inbound.steps() - steps);
    rest
}

fn handle_deflated(
    core: &mut Core,
    key: ConnKey,
    inbound: &mut Inbound,
    bytes: &mut [u8],
    inflater: &mut Inflater,
) -> usize {
    let limits = core.wire_limits;
    let mut input = Input::new(bytes);
    while handle_next(
        core,
        key,
        inbound.next_inflating(&mut input, &limits, inflater),
    ) {}
    input.len()
}

/// The same for bytes in an early framing.
fn handle_early(
    core: &mut Core,
    key: ConnKey,
    inbound: &mut hixie::Inbound,
    bytes: &mut [u8],
) -> usize {
    let limits = core.wire_limits;
    let steps = inbound.steps();
    let mut input = Input::new(bytes);
    while handle_next(core, key, inbound.next(&mut input, &limits)) {}
    core.connections.work(key.slot(), inbound.steps() - steps);
    input.len()
}

/// Handles what a decoder says next; false when there is no more to ask it.
fn handle_next(
    core: &mut Core,
    key: ConnKey,
    next: Result<Option<Message<'_>>, ProtocolError>,
) -> bool {
    match next {
        Ok(Some(message)) => {
            let bytes = payload_bytes(&message);
            core.handled_bytes += MESSAGE_BYTES + bytes;
            core.connections.work(key.slot(), 1 + bytes);
            handle_message(core, key, message);
            hub_outputs::apply(core);
            reads_on(core, key, bytes)
        }
        Ok(None) => false,
        Err(error) => {
            debug!(connection = %core.id(key), error = error.name(), "protocol error");
            core.counters.protocol_errors_total.inc();
            fail(core, key, error.close_code(), error.reason());
            false
        }
    }
}

fn handle_message(core: &mut Core, key: ConnKey, message: Message<'_>) {
    match message {
        Message::Text(text) => {
            if note_message(core, key) {
                core.counters.text_messages_received_total.inc();
                handle_data(core, key, DataMessage::Text(text));
            }
        }
        Message::Binary(bytes) => {
            if note_message(core, key) {
                core.counters.binary_messages_received_total.inc();
                handle_data(core, key, DataMessage::Binary(bytes));
            }
        }
        Message::Ping(payload) => {
            core.counters.pings_received_total.inc();
            // RFC 6455 §5.5.2: answered until a close frame was received, also after ours.
            core.connections.send_pong(key, payload);
        }
        Message::Pong(_) => core.counters.pongs_received_total.inc(),
        Message::Close(code, reason) => handle_close(core, key, code, reason),
    }
}

/// Notes that a message has come. False if the connection is closing: our close frame has left.
fn note_message(core: &mut Core, key: ConnKey) -> bool {
    let now = core.now();
    let Some(conn) = core.connections.get_mut(key) else {
        return false;
    };
    if conn.phase != Phase::Open {
        return false;
    }
    conn.last_message = now;
    true
}

/// The peer's close frame.
fn handle_close(core: &mut Core, key: ConnKey, code: Option<CloseCode>, reason: &str) {
    debug!(
        connection = %core.id(key),
        code = code.map(CloseCode::get),
        reason,
        "close received"
    );
    core.connections.answer_close(key, code, reason);
    journal::note_end(core, key, code.map(CloseCode::get), "closed by the client");
    linger(core, key);
}

/// Handles what was kept of a publisher's input, until it is paused again.
pub(crate) fn handle_unread(core: &mut Core, key: ConnKey, unread: Unread) {
    let Unread {
        decoder,
        mut bytes,
        start,
    } = unread;
    match decode(core, key, decoder, &mut bytes[start..]) {
        None => {}
        Some((decoder, 0)) => core.connections.keep_input(key, decoder, &[]),
        Some((decoder, rest)) => {
            let start = bytes.len() - rest;
            let unread = Unread {
                decoder,
                bytes,
                start,
            };
            let unread = Partial::Unread(Box::new(unread));
            core.connections.keep_partial(key.slot(), unread);
        }
    }
    apply_pending(core);
}

/// Does all that the hub wants, and what follows from it.
#[inline(always)] // a call for each piece that is read
pub(crate) fn apply_pending(core: &mut Core) {
    loop {
        hub_outputs::apply(core);
        // Only now: a message behind a handshake must not reach the hub while outputs from
        // before it wait, or it would overtake them.
        let Some((key, mut rest)) = core.early_data.pop() else {
            return;
        };
        handle_frame_bytes(core, key, &mut rest);
    }
}

/// The length of what a message says.
fn payload_bytes(message: &Message<'_>) -> u64 {
    let payload = match message {
        Message::Text(text) | Message::Close(_, text) => text.as_bytes(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes,
    };
    payload.len() as u64
}

/// What a message counts in a loop iteration beside its payload: many that say nothing are work as well, and
/// each that is published is a record and an allocation.
const MESSAGE_BYTES: u64 = 64;
