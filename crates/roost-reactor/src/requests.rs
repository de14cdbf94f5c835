//! HTTP requests out of bytes: heads, bodies, and one request behind the other.
//!
//! A connection sends requests in order and gets its answers in order. The next request is handled when
//! the one before is answered; where an answer is a stream, or answers wait to be sent, what the client
//! has sent behind it is kept, and it is not read meanwhile. Where it is not certain how a request ends
//! (RFC 9112 §6.3), it is refused and the connection closes.

use roost_net::{CloseMode, ConnKey};
use roost_wire::handshake::{HandshakeError, HeadScanner, OtherProtocol, Request, Upgrade};
use roost_wire::hixie;
use roost_wire::http::{BodyDecoder, BodyError, BodyLimits, CONTINUE, expects_continue};
use tracing::debug;

use crate::closing::{cut, linger};
use crate::connections::{
    Body, Challenge, Flags, Head, Index, Partial, PendingCheck, Phase, Pipelined,
};
use crate::core::Core;
use crate::event_streams;
use crate::handshake::{handle_early_request, handle_upgrade};
use crate::memory::append;
use crate::plain::{handle_plain, wants_body};
use crate::responses::{Asked, Response, refuse, refuse_body, refuse_handshake, respond};

/// Bytes of a connection whose WebSocket is not asked for yet.
pub(crate) fn handle_request_bytes(core: &mut Core, key: ConnKey, bytes: &mut [u8]) {
    match core.connections.take_partial(key.slot()) {
        None => {
            let rest = handle_requests(core, key, bytes);
            if rest > 0 {
                let kept = bytes[bytes.len() - rest..].to_vec();
                core.connections.work(key.slot(), rest as u64);
                let pipelined = Pipelined {
                    bytes: kept,
                    start: 0,
                };
                core.connections.keep_pipelined(key, pipelined);
            }
        }
        Some(Partial::Head(head)) => handle_more_of_head(core, key, head, bytes),
        Some(Partial::Challenge(head)) => handle_more_of_challenge(core, key, *head, bytes),
        Some(Partial::Body(body)) => handle_more_of_body(core, key, body, bytes),
        Some(Partial::Pipelined(mut pipelined)) => {
            let copied = pipelined.append(bytes);
            core.connections.work(key.slot(), copied);
            core.connections
                .keep_partial(key.slot(), Partial::Pipelined(pipelined));
        }
        Some(
            Partial::PendingAccept(_)
            | Partial::PendingCheck(_)
            | Partial::PendingJoin(_)
            | Partial::Frames(_)
            | Partial::EarlyFrames(_)
            | Partial::Unread(_),
        ) => debug_assert!(false, "of a connection whose WebSocket is asked for"),
    }
}

/// The answers before them have gone: goes on with the requests that were kept.
pub(crate) fn handle_pipelined(core: &mut Core, key: ConnKey, mut pipelined: Pipelined) {
    let bytes = &mut pipelined.bytes[pipelined.start..];
    let rest = handle_requests(core, key, bytes);
    if rest > 0 {
        pipelined.start = pipelined.bytes.len() - rest;
        return core.connections.keep_pipelined(key, pipelined);
    }
    let conn = core.connections.get(key);
    if conn.is_some_and(|conn| conn.phase == Phase::Http && conn.flags.has(Flags::PEER_FIN)) {
        linger(core, key); // that was the last of them
    }
}

/// Handles one request behind the other, until the bytes are used up, the rest is kept as a part of a
/// request, or the connection speaks no HTTP any more. Returns how many bytes have to wait.
fn handle_requests(core: &mut Core, key: ConnKey, mut bytes: &mut [u8]) -> usize {
    let is_first = core
        .connections
        .get(key)
        .is_some_and(|conn| conn.phase == Phase::Handshake);
    if is_first && let Some(other) = OtherProtocol::detect(bytes) {
        refuse_other(core, key, other);
        return 0;
    }
    loop {
        if core.connections.has_answer_waiting(key) {
            return bytes.len();
        }
        if !is_first {
            // RFC 9112 §2.2: empty lines before a request are ignored. They begin none.
            let lines = bytes
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'));
            let skipped = lines.count();
            core.connections.work(key.slot(), skipped as u64);
            bytes = &mut bytes[skipped..];
        }
        if bytes.is_empty() {
            return 0;
        }
        // The usual case: the whole head in one piece, parsed where it lies.
        let mut scanner = HeadScanner::default();
        let end = scanner.scan(bytes);
        core.connections.work(key.slot(), scanner.steps());
        let Some(head_len) = end else {
            keep_head(core, key, scanner, bytes.to_vec());
            begin_timeout(core, key);
            return 0;
        };
        let (head, rest) = bytes.split_at_mut(head_len);
        match handle_head(core, key, head, rest) {
            Some(used) => bytes = &mut rest[used..],
            None => return 0,
        }
    }
}

/// A head of which a part was kept.
fn handle_more_of_head(core: &mut Core, key: ConnKey, head: Head, bytes: &[u8]) {
    let Head {
        mut scanner,
        bytes: mut stored,
    } = head;
    let is_first = core
        .connections
        .get(key)
        .is_some_and(|conn| conn.phase == Phase::Handshake);
    let may_be_other = is_first && stored.len() < OtherProtocol::BYTES_MAX;
    let copied = append(&mut stored, bytes);
    if may_be_other && let Some(other) = OtherProtocol::detect(&stored) {
        return refuse_other(core, key, other);
    }
    let steps = scanner.steps();
    let end = scanner.scan(&stored);
    let scanned = scanner.steps() - steps;
    core.connections.work(key.slot(), copied + scanned);
    let Some(head_len) = end else {
        return keep_head(core, key, scanner, stored);
    };
    let (head, rest) = stored.split_at_mut(head_len);
    if let Some(used) = handle_head(core, key, head, rest) {
        go_on(core, key, &mut rest[used..]);
    }
}

fn handle_more_of_challenge(core: &mut Core, key: ConnKey, mut head: Challenge, bytes: &[u8]) {
    let copied = append(&mut head.bytes, bytes);
    core.connections.work(key.slot(), copied);
    let (head, rest) = head.bytes.split_at_mut(head.head_len);
    if let Some(used) = handle_head(core, key, head, rest) {
        go_on(core, key, &mut rest[used..]);
    }
}

/// The same for a body.
fn handle_more_of_body(core: &mut Core, key: ConnKey, mut body: Box<Body>, bytes: &mut [u8]) {
    let used = match read_body(core, key, &mut body.decoder, &mut body.bytes, bytes) {
        Ok(used) => used,
        Err(error) => return refuse_body(core, key, error),
    };
    if !body.decoder.is_finished() {
        return core
            .connections
            .keep_partial(key.slot(), Partial::Body(body));
    }
    core.connections.work(key.slot(), body.head.len() as u64);
    let headers_max = core.settings.limits.handshake_headers_max as usize;
    match Request::parse(&body.head, headers_max) {
        Ok(request) => {
            let asked = Asked::by(&request);
            handle_plain(core, key, &request, asked, body.bytes.as_deref());
        }
        Err(error) => return refuse_handshake(core, key, error),
    }
    if is_http(core, key) {
        go_on(core, key, &mut bytes[used..]);
    }
}

/// Goes on behind a request of which a part was kept.
fn go_on(core: &mut Core, key: ConnKey, rest: &mut [u8]) {
    if !rest.is_empty() {
        handle_request_bytes(core, key, rest);
    }
}

fn keep_head(core: &mut Core, key: ConnKey, scanner: HeadScanner, bytes: Vec<u8>) {
    if bytes.len() > core.settings.limits.handshake_bytes_max {
        refuse_handshake(core, key, HandshakeError::HeadTooLong);
    } else {
        core.connections
            .keep_partial(key.slot(), Partial::Head(Head { scanner, bytes }));
    }
}

/// A request has begun, or its body: the rest has its time. That of the first runs since the accept.
fn begin_timeout(core: &mut Core, key: ConnKey) {
    if is_http(core, key) {
        let timeout_ms = core.settings.limits.handshake_timeout_ms;
        core.connections.set_deadline(key.slot(), timeout_ms);
    }
}

fn is_http(core: &Core, key: ConnKey) -> bool {
    let conn = core.connections.get(key);
    conn.is_some_and(|conn| conn.phase == Phase::Http)
}

/// A whole head, and what has come behind it. Returns behind how many bytes of that the next request
/// begins; `None` if there is none, or its place is not known yet.
fn handle_head(core: &mut Core, key: ConnKey, head: &[u8], rest: &mut [u8]) -> Option<usize> {
    core.connections.work(key.slot(), head.len() as u64);
    let limits = &core.settings.limits;
    if head.len() > limits.handshake_bytes_max {
        refuse_handshake(core, key, HandshakeError::HeadTooLong);
        return None;
    }
    let request = match Request::parse(head, limits.handshake_headers_max as usize) {
        Ok(request) => request,
        Err(error) => {
            refuse_handshake(core, key, error);
            return None;
        }
    };
    if core.listener(key).config.hixie
        && let Some(early) = hixie::detect(&request)
    {
        match early {
            Ok(early) => handle_early_request(core, key, &request, early, head, rest),
            Err(error) => refuse_handshake(core, key, error),
        }
        return None;
    }
    match request.upgrade() {
        Upgrade::Plain if event_streams::awaits_check(core, key, &request, (head, rest)) => {}
        Upgrade::Plain => return handle_plain_head(core, key, &request, head, rest),
        Upgrade::Refused(error) => refuse_handshake(core, key, error),
        Upgrade::WebSocket(websocket) => handle_upgrade(core, key, websocket, head, rest),
    }
    None
}

/// The token of a handshake is good: goes through it again.
pub(crate) fn handle_checked(core: &mut Core, key: ConnKey, mut pending: PendingCheck) {
    let (head, rest) = pending.bytes.split_at_mut(pending.head_len);
    let next = handle_head(core, key, head, rest);
    debug_assert!(
        next.is_none(),
        "it asked for a WebSocket or an event stream"
    );
}

/// The same of a plain request.
fn handle_plain_head(
    core: &mut Core,
    key: ConnKey,
    request: &Request<'_>,
    head: &[u8],
    rest: &mut [u8],
) -> Option<usize> {
    core.counters.http_requests_total.inc();
    core.connections.begin_exchange(key);
    if let Err(error) = request.check_host() {
        refuse_handshake(core, key, error);
        return None;
    }
    let limits = BodyLimits {
        body_bytes_max: core.settings.limits.message_bytes_max as u64,
        extension_bytes_max: EXTENSION_BYTES_MAX,
        trailer_bytes_max: TRAILER_BYTES_MAX,
    };
    let body = BodyDecoder::of(request, limits);
    let body = body.and_then(|decoder| Ok((decoder, expects_continue(request)?)));
    let (mut decoder, is_continue_expected) = match body {
        Ok(body) => body,
        Err(error) => {
            refuse_body(core, key, error);
            return None;
        }
    };
    let mut asked = Asked::by(request);
    let mut kept = wants_body(core, key, request).then(Vec::new);
    if is_continue_expected && !decoder.is_finished() && rest.is_empty() {
        if kept.is_none() {
            // RFC 9110 §10.1.1: whether the body comes all the same is the client's choice, and where
            // the next request begins is not known.
            asked.keep_alive = false;
            handle_plain(core, key, request, asked, None);
            return None;
        }
        core.connections
            .send_bytes(key, |arena| arena.extend_from_slice(CONTINUE));
    }
    let used = match read_body(core, key, &mut decoder, &mut kept, rest) {
        Ok(used) => used,
        Err(error) => {
            refuse_body(core, key, error);
            return None;
        }
    };
    if !decoder.is_finished() {
        core.connections.work(key.slot(), head.len() as u64);
        let body = Body {
            head: head.to_vec(),
            decoder,
            bytes: kept,
        };
        core.connections
            .keep_partial(key.slot(), Partial::Body(Box::new(body)));
        begin_timeout(core, key);
        return None;
    }
    handle_plain(core, key, request, asked, kept.as_deref());
    is_http(core, key).then_some(used)
}

/// Reads of a body what has come, into `kept` where it is wanted. Returns how many bytes that were.
fn read_body(
    core: &mut Core,
    key: ConnKey,
    decoder: &mut BodyDecoder,
    kept: &mut Option<Vec<u8>>,
    bytes: &[u8],
) -> Result<usize, BodyError> {
    let (mut input, mut steps) = (bytes, 0);
    while let Some(piece) = decoder.next(&mut input)? {
        steps += 1;
        if let Some(kept) = kept {
            steps += append(kept, piece);
        }
    }
    let used = bytes.len() - input.len();
    core.connections.work(key.slot(), steps + used as u64);
    Ok(used)
}

/// The first bytes are another protocol's. Its client gets a line of HTTP all the same: most
/// show it, or say of it what they say of plain HTTP (Go: "server gave HTTP response to HTTPS
/// client"; OpenSSL: "wrong version number").
fn refuse_other(core: &mut Core, key: ConnKey, other: OtherProtocol) {
    debug!(connection = %core.id(key), protocol = other.name(), "another protocol than HTTP");
    match other {
        OtherProtocol::Tls => core.counters.tls_on_plain_total.inc(),
        OtherProtocol::Proxy => core.counters.proxy_header_unexpected_total.inc(),
        OtherProtocol::Http2 | OtherProtocol::Ssh | OtherProtocol::Unknown => {
            core.counters.other_protocol_total.inc();
        }
    }
    let body = format!("{}\n", other.reason());
    respond(core, key, &Response::text(other.status(), body.as_bytes()));
}

/// A request has not come whole in time.
pub(crate) fn on_request_timeout(core: &mut Core, key: ConnKey) {
    core.counters.handshake_timeouts_total.inc();
    let conn = core.connections.get(key);
    if conn.is_some_and(|conn| conn.partial == Index::NONE) {
        // Nothing came at all: no answer is awaited.
        cut(core, key, CloseMode::Abort);
    } else {
        refuse(
            core,
            key,
            408,
            "The request did not come whole in the time that this server gives it.",
        );
    }
}

/// Bytes of extensions of a body's chunks, which are ignored: no client is known to send any.
const EXTENSION_BYTES_MAX: u32 = 1 << 10;
/// Bytes of a body's trailers, which are ignored.
const TRAILER_BYTES_MAX: u32 = 4 << 10;
