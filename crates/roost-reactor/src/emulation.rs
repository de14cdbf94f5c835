//! Sessions without a WebSocket: what a client is told is a response that goes on, and what it says comes in
//! requests of their own, each of which names the session.
//!
//! A session's name says which connection of which reactor it is, and 128 bits that only its client knows: who has
//! them may send. A request for a session of another reactor goes there, and waits for one answer. What it says is
//! taken as if it had come on the session's own connection, as one message of a WebSocket: so whatever holds up a
//! client there holds it up here.

use roost_dialect::DialectKind;
use roost_dialect::centrifugo::emulation::{is_protobuf, parse, parse_protobuf};
use roost_dialect::dialect::{Emulated, Event, Headers, Message};
use roost_hub::ReactorId;
use roost_net::ConnKey;
use roost_wire::frame::append_masked_frame;
use roost_wire::handshake::Request;
use tracing::debug;

use crate::connections::{Framing, Phase, Stream, begin_stamps};
use crate::core::Core;
use crate::dialogue::notify;
use crate::emulation_names::{Outcome, Relayed, SessionName, Waiting};
use crate::event_streams::{allowed_origin, head};
use crate::forwarded;
use crate::journal;
use crate::messages::{apply_pending, handle_emulated};
use crate::peer_message::PeerMessage;
use crate::responses::{Asked, Response, answer, answer_refused, come_back, end_with_head, refuse};

/// Answers a request by a stream of what a session is told, which begins with what the client says first.
pub(crate) fn begin(
    core: &mut Core,
    key: ConnKey,
    request: &Request<'_>,
    asked: Asked,
    (dialect, emulated): (DialectKind, &Emulated<'_>),
    body: &[u8],
) {
    let origin = request.header("Origin");
    let origins = &core.listener(key).origins;
    if !origins.allows(origin) {
        core.counters.origins_refused_total.inc();
        debug!(connection = %core.id(key), origin, "origin refused");
        return refuse(
            core,
            key,
            403,
            "Pages of this origin may not connect to this server.",
        );
    }
    let answer = head(origins, origin, emulated.content_type);
    if asked.is_head {
        return end_with_head(core, key, &answer);
    }
    let first = match str::from_utf8(body) {
        _ if emulated.is_binary => Message::Binary(body),
        Ok(text) => Message::Text(text),
        Err(_) => return refuse(core, key, 400, "The body is not UTF-8."),
    };
    if emulated.is_one_way {
        return begin_one_way(core, key, request, (dialect, emulated, &answer), first);
    }
    if core.is_draining {
        return refuse(
            core,
            key,
            503,
            "The server is going down; connect again later.",
        );
    }
    let Some(secret) = core.secrets.next() else {
        return refuse(
            core,
            key,
            503,
            "The system has no random numbers; try again later.",
        );
    };
    open(core, key, (dialect, emulated, &answer), Framing::Emulated);
    let name = SessionName::new(core.channels.me(), key, secret);
    let name = &name.to_text();
    notify(core, key, Event::Emulated { name });
    core.counters.emulated_sessions_total.inc();
    feed(core, key, first);
}

/// The same of a client that says nothing more.
fn begin_one_way(
    core: &mut Core,
    key: ConnKey,
    request: &Request<'_>,
    opening: Opening<'_>,
    first: Message<'_>,
) {
    let (_, _, answer) = opening;
    if core.is_draining {
        // A client takes any status but 200 as final (WHATWG HTML, "Server-sent events").
        return come_back(core, key, answer);
    }
    if first.bytes().len() > core.settings.limits.message_bytes_max {
        let reason = "What is asked for is longer than limits.message_bytes_max.";
        return refuse(core, key, 400, reason);
    }
    if !forwarded::admits(core, key, request) {
        return;
    }
    open(core, key, opening, Framing::Stamped);
    begin_stamps(&mut core.connections, key);
    feed(core, key, first);
}

/// A session's dialect, what was accepted, and the head of the answer.
type Opening<'a> = (DialectKind, &'a Emulated<'a>, &'a [u8]);

/// Begins a stream with its session.
fn open(core: &mut Core, key: ConnKey, (dialect, emulated, answer): Opening<'_>, framing: Framing) {
    core.connections.open(key, answer, dialect, framing);
    journal::opened(core, key, false);
    let session = core.sessions.open(dialect, None, emulated.terms, None);
    if let Some(conn) = core.connections.get_mut(key) {
        conn.session = session;
    }
}

/// A client without a WebSocket says something.
pub(crate) fn relay(
    core: &mut Core,
    key: ConnKey,
    request: &Request<'_>,
    asked: Asked,
    body: &[u8],
) {
    let origin = request.header("Origin");
    if !core.listener(key).origins.allows(origin) {
        core.counters.origins_refused_total.inc();
        debug!(connection = %core.id(key), origin, "origin refused");
        let reason = "Pages of this origin may not send to this server.";
        return answer_refused(core, key, asked, 403, reason);
    }
    let is_protobuf = is_protobuf(Headers::of(request));
    let said = match is_protobuf {
        true => parse_protobuf(body),
        false => parse(body),
    };
    let Some(said) = said else {
        let reason = match is_protobuf {
            true => "The body is no EmulationRequest of Protobuf with a session.",
            false => "The body is not {\"session\": …, \"node\": …, \"data\": …}, with texts.",
        };
        return answer_refused(core, key, asked, 400, reason);
    };
    let waiting = Waiting {
        key,
        minor_version: asked.minor_version,
        keep_alive: asked.keep_alive,
        origin: origin.map(Into::into),
    };
    let name = SessionName::parse(said.session());
    let Some(session) = name.filter(|name| usize::from(name.reactor().0) < core.reactors) else {
        return finish(core, &waiting, Outcome::Unknown);
    };
    if session.reactor() == core.channels.me() {
        let outcome = deliver(core, session, said.message());
        return finish(core, &waiting, outcome);
    }
    core.relays.insert(waiting);
    // Nothing else is answered meanwhile, and the client is not read further.
    let stream = Stream {
        is_chunked: false,
        keep_alive: asked.keep_alive,
    };
    core.connections.begin_stream(key, stream);
    let relayed = Relayed {
        asker: key,
        session,
        said: said.message().into(),
    };
    let message = PeerMessage::Relay(Box::new(relayed));
    core.channels.links_mut().send(session.reactor(), message);
}

/// A request has come to another reactor for a session here.
pub(crate) fn handle_relayed(core: &mut Core, from: ReactorId, relayed: &Relayed) {
    let outcome = deliver(core, relayed.session, relayed.said.message());
    apply_pending(core);
    let message = PeerMessage::RelayAnswer {
        asker: relayed.asker,
        outcome,
    };
    core.channels.links_mut().send(from, message);
}

/// The reactor of a session has answered.
pub(crate) fn handle_answer(core: &mut Core, asker: ConnKey, outcome: Outcome) {
    let Some(waiting) = core.relays.take(asker) else {
        return;
    };
    if core.connections.end_stream(asker).is_some() {
        finish(core, &waiting, outcome);
    }
}

/// Answers a request.
fn finish(core: &mut Core, waiting: &Waiting, outcome: Outcome) {
    let key = waiting.key;
    let (status, body, counter) = match outcome {
        Outcome::Taken => (204, "", &core.counters.emulation_requests_total),
        Outcome::Unknown => (404, UNKNOWN, &core.counters.emulation_unknown_total),
        Outcome::Busy => (503, BUSY, &core.counters.emulation_busy_total),
    };
    counter.inc();
    let settings = core.settings.clone();
    let origins = &settings.listener(core.listener_number(key)).origins;
    let mut headers = vec![("Cache-Control", "no-store")];
    headers.extend(allowed_origin(origins, waiting.origin.as_deref()));
    if outcome == Outcome::Busy {
        headers.push(("Retry-After", "1"));
    }
    let response = Response {
        headers: &headers,
        ..Response::text(status, body.as_bytes())
    };
    let asked = Asked {
        minor_version: waiting.minor_version,
        keep_alive: waiting.keep_alive,
        is_head: false,
    };
    answer(core, key, asked, &response);
}

/// Has a session here take what its client says.
fn deliver(core: &mut Core, name: SessionName, said: Message<'_>) -> Outcome {
    let conn = core.connections.get(name.key());
    let Some(conn) = conn.filter(|conn| conn.phase == Phase::Open) else {
        return Outcome::Unknown;
    };
    let known = core.sessions.emulation(conn.dialect, conn.session);
    let known = known.and_then(SessionName::parse);
    // No branch on single digits: how long it takes says nothing of the secret.
    if !known.is_some_and(|known| known.is_same(name)) {
        return Outcome::Unknown;
    }
    let held = core.connections.inputs().bytes_of(name.key().slot(), conn);
    let bytes_max = core.settings.limits.message_bytes_max;
    if held + said.bytes().len() > bytes_max + FRAME_BYTES_MAX {
        return Outcome::Busy;
    }
    feed(core, name.key(), said);
    Outcome::Taken
}

/// Has a session take what its client says, as a message.
fn feed(core: &mut Core, key: ConnKey, said: Message<'_>) {
    let mut frame = Vec::with_capacity(said.bytes().len() + FRAME_BYTES_MAX);
    append_masked_frame(&mut frame, said.opcode(), said.bytes(), [0; 4]);
    handle_emulated(core, key, &mut frame);
}

/// What is held of a session's input beside messages, about: a decoder, and a header.
const FRAME_BYTES_MAX: usize = 1 << 10;
const UNKNOWN: &str = "There is no such session; connect again.\n";
const BUSY: &str = "What the session was sent before is still being handled; try again.\n";
