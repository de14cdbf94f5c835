//! Event streams: a plain request that is answered by what is published in a channel, for as long as its
//! client stays.
//!
//! The answer begins when the channel's home knows of the subscription, as a 101 does, and then the
//! connection is open like that of a WebSocket: its output is shared, waits in an outbox and obeys the
//! namespace's policy. It has no framing ([`Framing::EventStream`]): the body is delimited by the
//! connection's end (RFC 9112 §6.3), so that one image of a publication serves all clients, of HTTP/1.0
//! as well. What the client sends is dropped.

use roost_dialect::DialectKind;
use roost_dialect::dialect::{Accept, Headers, Join, Terms};
use roost_net::{CloseMode, ConnKey, Driver};
use roost_wire::handshake::Request;
use roost_wire::http::{ResponseBody, ResponseHead, write_head};
use tracing::debug;

use crate::authentication::admits;
use crate::clock::ticks;
use crate::closing::{cut, note_end};
use crate::connections::{Flags, Framing, Index, PendingAccept, PendingJoin};
use crate::core::Core;
use crate::forwarded;
use crate::handshake::join_if_allowed;
use crate::incidents::EndCause;
use crate::responses::{Asked, come_back, end_with_head, refuse, with_type};
use crate::settings::Origins;

/// Whether a plain request goes no further now: it asks for a stream, and its token is being
/// checked, or it was refused.
pub(crate) fn awaits_check(
    core: &mut Core,
    key: ConnKey,
    request: &Request<'_>,
    (head, rest): (&[u8], &[u8]),
) -> bool {
    let (auth, hooks) = (&core.settings.auth, &core.settings.hooks);
    let is_asked = auth.is_on || auth.is_required || hooks.asks_connect;
    if !(is_asked || core.connections.has_client_names()) {
        return false;
    }
    let settings = core.settings.clone();
    let offer = settings.offer(request.path(), &[], Headers::of(request));
    let accepted = settings.accept(core.listener_number(key), &offer);
    let dialect = match (accepted, request.method()) {
        (Some((dialect, Accept::Stream(_))), "GET") => dialect,
        (Some((dialect, Accept::Emulated(emulated))), method) if emulated.method() == method => {
            dialect
        }
        _ => return false,
    };
    core.connections.end_handshake(key.slot());
    !admits(core, key, request, dialect, (head, rest))
}

/// Answers a request by an event stream.
pub(crate) fn begin(
    core: &mut Core,
    key: ConnKey,
    request: &Request<'_>,
    asked: Asked,
    (dialect, to): (DialectKind, Join<'_>),
) {
    let origin = request.header("Origin");
    let origins = &core.listener(key).origins;
    if !origins.allows(origin) {
        core.counters.origins_refused_total.inc();
        debug!(connection = %core.id(key), origin, "origin refused");
        return refuse(core, key, 403, "Pages of this origin may not read this.");
    }
    let answer = head(origins, origin, "text/event-stream");
    if asked.is_head || core.is_draining {
        // A client takes any status but 200 as final (WHATWG HTML, "Server-sent events"): while the
        // server goes down it is to come back.
        return match asked.is_head {
            true => end_with_head(core, key, &answer),
            false => come_back(core, key, &answer),
        };
    }
    if !forwarded::admits(core, key, request) {
        return;
    }
    let pending = PendingAccept {
        answer,
        dialect,
        framing: Framing::EventStream,
        rest: Vec::new(),
    };
    let Join {
        channel,
        form,
        since,
    } = to;
    let join = PendingJoin {
        channel: (*channel).into(),
        form,
        since,
        subprotocol: None,
        terms: Terms::default(),
        pending,
    };
    join_if_allowed(core, key, join);
}

/// The head of the answer.
pub(crate) fn head(origins: &Origins, origin: Option<&str>, content_type: &str) -> Vec<u8> {
    let mut headers = vec![
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"), // nginx would keep events back
        ("X-Content-Type-Options", "nosniff"),
    ];
    headers.extend(allowed_origin(origins, origin));
    let head = ResponseHead {
        status: 200,
        headers: &with_type(content_type, &headers),
        body: ResponseBody::Stream,
        keep_alive: false,
        minor_version: 0, // whatever the client's: see above
    };
    let mut out = Vec::new();
    write_head(&mut out, &head);
    out
}

/// Which pages may read the answer (Fetch, "CORS protocol"). Where origins are listed, their cookies may
/// come along.
pub(crate) fn allowed_origin<'a>(
    origins: &Origins,
    origin: Option<&'a str>,
) -> Vec<(&'static str, &'a str)> {
    match (origins, origin) {
        (Origins::Any, _) => vec![("Access-Control-Allow-Origin", "*")],
        (Origins::Listed(_), Some(origin)) if origins.allows(Some(origin)) => vec![
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Credentials", "true"),
            ("Vary", "Origin"),
        ],
        (Origins::Listed(_), _) => vec![("Vary", "Origin")],
    }
}

/// A stream's deadline is over: its client gets a comment if it has got nothing for a while, and is cut
/// if it takes nothing of what waits for it.
pub(crate) fn check<D: Driver>(core: &mut Core, driver: &D, key: ConnKey) {
    let now = core.now();
    let limits = &core.settings.limits;
    let (ping_timeout_ms, interval_ms) = (limits.ping_timeout_ms.max(1), limits.ping_interval_ms);
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    let waits = conn.outbox != Index::NONE || conn.flags.has(Flags::IN_FLIGHT);
    if !waits {
        conn.flags.clear(Flags::PING_SENT);
        let is_quiet = now.saturating_sub(conn.last_message) >= ticks(interval_ms) / 2;
        if interval_ms > 0 && is_quiet {
            core.connections.send_comment(key);
        }
        let next_ms = if interval_ms > 0 {
            interval_ms
        } else {
            ping_timeout_ms
        };
        core.connections.set_deadline(key.slot(), next_ms);
    } else if conn.flags.has(Flags::PING_SENT) {
        if core
            .connections
            .overdue()
            .is_silent(driver, key, ping_timeout_ms)
        {
            core.counters.http_stream_timeouts_total.inc();
            note_end(core, key, EndCause::SlowConsumer, "it took nothing");
            cut(core, key, CloseMode::Abort);
        }
    } else {
        conn.flags.set(Flags::PING_SENT);
        core.connections.set_deadline(key.slot(), ping_timeout_ms);
    }
}
