//! What administrators may ask, and what they are answered.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{RawQuery, State as Shown};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LINK, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::Response;
use axum::routing::{any, get, post};
use roost_dialect::PayloadRef;
use roost_reactor::{
    CONNECTIONS_MAX, ConnectionRecord, ControlPublication, Request as ReactorRequest, Shared,
};
use tokio::time::{Instant, timeout};
use tower_service::Service;

use crate::health::{ALIVE_WITHIN, Health, Reactor};
use crate::metrics::{self, Build};
use crate::peer::{AskError, Peer, Reply, Until};

/// What all answers are made from.
pub(crate) struct State {
    shared: Shared,
    build: Build,
    peer: Arc<Peer>,
    health: Health,
    /// Whether there are keys of the issuer of tokens, if they are fetched.
    has_keys: Option<Arc<AtomicBool>>,
}

/// What may be asked over a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everything: the unix socket, whose file's permissions decide which users connect.
    Full,
    /// What changes nothing: TCP, where every process of the machine may connect, and a page in a
    /// browser may send a POST.
    ReadOnly,
}

impl State {
    pub(crate) fn new(
        shared: Shared,
        build: Build,
        peer: Arc<Peer>,
        has_keys: Option<Arc<AtomicBool>>,
    ) -> State {
        State {
            shared,
            build,
            peer,
            health: Health::default(),
            has_keys,
        }
    }
}

/// The routes of a listener. A path that is known answers other methods with 405 and `Allow`.
pub(crate) fn router(state: Arc<State>, access: Access) -> Router {
    let publish = match access {
        Access::Full => post(publish).fallback(only_post),
        Access::ReadOnly => any(only_over_the_socket),
    };
    Router::new()
        .route("/", get(index))
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/stats", get(stats))
        .route("/stats/slow", get(slow))
        .route("/connections", get(connections))
        .route("/publish", publish)
        .fallback(not_found)
        .with_state(state)
}

/// Answers one request.
pub(crate) async fn answer(mut router: Router, request: Request<Body>) -> Response {
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never as Infallible {},
    }
}

const INDEX: &str = "\
Roost, admin listener

GET  /live                       whether every reactor's loop runs
GET  /ready                      whether clients should be sent here
GET  /metrics                    counters for Prometheus; ?reactors=1 for each reactor
GET  /stats                      counters as JSON
GET  /stats/slow                 the connections for which most waits, as JSON
GET  /connections                connections, a JSON object a line; ?limit=100&cursor=
                                 (the Link header has the next page)
POST /publish?channel=NAME       publish the body: text, or binary as application/octet-stream
                                 (over the unix socket only)
";

async fn index() -> Response {
    respond(StatusCode::OK, TEXT, INDEX)
}

async fn not_found() -> Response {
    respond(
        StatusCode::NOT_FOUND,
        TEXT,
        "no such path; GET / lists them\n",
    )
}

async fn only_over_the_socket() -> Response {
    let reason = "this changes something: ask over the unix socket (admin.socket)\n";
    respond(StatusCode::FORBIDDEN, TEXT, reason)
}

async fn only_post() -> Response {
    let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "POST publishes\n");
    let allow = HeaderValue::from_static("POST");
    response.headers_mut().insert(ALLOW, allow);
    response
}

/// 200 while every reactor's loop runs: sleeping reactors are woken to check it.
async fn live(Shown(state): Shown<Arc<State>>) -> Response {
    let reactors = state
        .health
        .check(&state.peer, state.shared.registry())
        .await;
    let mut out = String::new();
    for (reactor, _) in hanging(&reactors, |health| health == Reactor::Hangs) {
        let _ = writeln!(
            out,
            "reactor {reactor}: its loop stands still for {} s",
            ALIVE_WITHIN.as_secs()
        );
    }
    verdict("live\n", out)
}

/// 200 while clients should be sent here.
async fn ready(Shown(state): Shown<Arc<State>>) -> Response {
    if state.shared.is_draining() {
        return verdict("", "draining\n".to_owned());
    }
    let reactors = state
        .health
        .check(&state.peer, state.shared.registry())
        .await;
    let mut out = String::new();
    for (reactor, _) in hanging(&reactors, |health| health != Reactor::Answers) {
        let _ = writeln!(
            out,
            "reactor {reactor}: no answer within {} s",
            ALIVE_WITHIN.as_secs()
        );
    }
    let has_keys = state.has_keys.as_ref();
    if has_keys.is_some_and(|has_keys| !has_keys.load(Ordering::Relaxed)) {
        out.push_str("tokens: no keys of auth.jwt.jwks_url, so its issuer's are refused\n");
    }
    verdict("ready\n", out)
}

fn hanging(
    reactors: &[Reactor],
    is_bad: impl Fn(Reactor) -> bool,
) -> impl Iterator<Item = (usize, Reactor)> {
    let all = reactors.iter().copied().enumerate();
    all.filter(move |&(_, health)| is_bad(health))
}

/// 200 if nothing is wrong.
fn verdict(good: &'static str, wrong: String) -> Response {
    if wrong.is_empty() {
        respond(StatusCode::OK, TEXT, good)
    } else {
        respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, wrong)
    }
}

async fn metrics(Shown(state): Shown<Arc<State>>, RawQuery(query): RawQuery) -> Response {
    let mut per_reactor = false;
    for (key, value) in pairs(query.as_deref()) {
        match (&*key, &*value) {
            ("reactors", "1") => per_reactor = true,
            ("reactors", "0") => per_reactor = false,
            _ => return bad_request("/metrics takes reactors=1 only\n"),
        }
    }
    let text = metrics::encode(state.shared.registry(), state.build, per_reactor);
    respond(StatusCode::OK, metrics::CONTENT_TYPE, text)
}

async fn stats(Shown(state): Shown<Arc<State>>) -> Response {
    respond(StatusCode::OK, JSON, state.shared.registry().to_json())
}

async fn slow(Shown(state): Shown<Arc<State>>) -> Response {
    respond(StatusCode::OK, JSON, state.shared.slow_to_json())
}

/// Where a page of connections begins: `REACTOR.SLOT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    reactor: usize,
    slot: u32,
}

impl Cursor {
    fn parse(text: &str) -> Option<Cursor> {
        let (reactor, slot) = text.split_once('.')?;
        Some(Cursor {
            reactor: reactor.parse().ok()?,
            slot: slot.parse().ok()?,
        })
    }
}

async fn connections(Shown(state): Shown<Arc<State>>, RawQuery(query): RawQuery) -> Response {
    let mut cursor = Cursor {
        reactor: 0,
        slot: 0,
    };
    let mut limit = LIMIT_DEFAULT;
    for (key, value) in pairs(query.as_deref()) {
        match &*key {
            "limit" => match value.parse() {
                Ok(number @ 1..=CONNECTIONS_MAX) => limit = number,
                _ => {
                    return bad_request(format!("limit is a number from 1 to {CONNECTIONS_MAX}\n"));
                }
            },
            "cursor" if value.is_empty() => {}
            "cursor" => match Cursor::parse(&value) {
                Some(parsed) => cursor = parsed,
                None => return bad_request("cursor is what the Link header of a page has\n"),
            },
            _ => return bad_request("/connections takes limit and cursor\n"),
        }
    }
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let (mut lines, mut left) = (String::new(), limit);
    while left > 0 && cursor.reactor < state.shared.registry().reactors() {
        let request = ReactorRequest::Connections {
            from_slot: cursor.slot,
            limit: left,
        };
        let reply = match state.peer.ask(cursor.reactor, request) {
            Ok(sent) => sent.answer_by(deadline).await,
            Err(error) => Err(error),
        };
        let (records, next_slot) = match reply {
            Ok(Reply::Connections { records, next_slot }) => (records, next_slot),
            Ok(_) => return wrong_answer(),
            Err(error) => return not_answered(error),
        };
        left = left.saturating_sub(u32::try_from(records.len()).unwrap_or(u32::MAX));
        records
            .iter()
            .for_each(|record| write_record(&mut lines, record));
        cursor = match next_slot {
            Some(slot) => Cursor { slot, ..cursor },
            None => Cursor {
                reactor: cursor.reactor + 1,
                slot: 0,
            },
        };
    }
    let mut response = respond(StatusCode::OK, NDJSON, lines);
    if cursor.reactor < state.shared.registry().reactors() {
        let Cursor { reactor, slot } = cursor;
        let next = format!("</connections?limit={limit}&cursor={reactor}.{slot}>; rel=\"next\"");
        if let Ok(next) = HeaderValue::from_str(&next) {
            response.headers_mut().insert(LINK, next);
        }
    }
    response
}

/// One JSON object. Nothing in it needs an escape.
fn write_record(out: &mut String, record: &ConnectionRecord) {
    let (reactor, key) = (record.reactor, record.key);
    let _ = writeln!(
        out,
        "{{\"connection\":\"r{reactor}-{}.{}\",\"phase\":\"{}\",\"dialect\":\"{}\",\
         \"silent_seconds\":{},\"is_paused\":{},\"input_buffered_bytes\":{},\
         \"outbox_bytes\":{},\"outbox_messages\":{},\"in_flight_bytes\":{}}}",
        key.slot(),
        key.generation(),
        record.phase,
        record.dialect,
        record.silent_seconds,
        record.is_paused,
        record.input_buffered_bytes,
        record.outbox_bytes,
        record.outbox_messages,
        record.in_flight_bytes,
    );
}

/// Publishes the body. The namespace's `publish` and rates are for clients and do not hold here.
async fn publish(
    Shown(state): Shown<Arc<State>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut channel = String::new();
    for (key, value) in pairs(query.as_deref()) {
        match &*key {
            "channel" => channel = value.into_owned(),
            _ => return bad_request("/publish takes channel only\n"),
        }
    }
    let limits = &state.shared.settings().limits;
    let name_bytes_max = limits.channel_name_bytes_max;
    if channel.is_empty() || channel.len() > name_bytes_max {
        return bad_request(format!("channel has 1 to {name_bytes_max} bytes\n"));
    }
    let body = match read_body(body, limits.message_bytes_max).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let payload = if content_type.is_some_and(|is| is.eq_ignore_ascii_case(BINARY.as_bytes())) {
        PayloadRef::Binary(&body).freeze()
    } else {
        match std::str::from_utf8(&body) {
            Ok(text) => PayloadRef::Text(text).freeze(),
            Err(_) => {
                return bad_request(format!(
                    "the body is not UTF-8: send bytes with Content-Type: {BINARY}\n"
                ));
            }
        }
    };
    let publication = ControlPublication {
        channel: channel.into(),
        payload,
        is_limited: false,
        repeat_key: None,
    };
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    match state
        .peer
        .publish(publication, Until::Placed, deadline)
        .await
    {
        Ok(Some(place)) => {
            let json = format!("{{\"publication\":{}}}\n", place.publication);
            respond(StatusCode::OK, JSON, json)
        }
        Ok(None) => wrong_answer(),
        Err(error) => not_answered(error),
    }
}

/// A whole body, bounded in length and time.
async fn read_body(body: Body, bytes_max: usize) -> Result<axum::body::Bytes, Response> {
    match timeout(BODY_TIMEOUT, to_bytes(body, bytes_max)).await {
        Ok(Ok(body)) => Ok(body),
        // Too long, or the connection has ended and the answer goes nowhere.
        Ok(Err(_)) => Err(respond(
            StatusCode::PAYLOAD_TOO_LARGE,
            TEXT,
            format!("the body has more than {bytes_max} bytes (limits.message_size_max)\n"),
        )),
        Err(_) => Err(respond(
            StatusCode::REQUEST_TIMEOUT,
            TEXT,
            "the body has not come in time\n",
        )),
    }
}

fn pairs(query: Option<&str>) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
}

fn bad_request(reason: impl Into<Body>) -> Response {
    respond(StatusCode::BAD_REQUEST, TEXT, reason)
}

/// A reactor that does not answer is a gateway's timeout; one that does not take the request, or
/// not now, is unavailable and may be asked again.
fn not_answered(error: AskError) -> Response {
    let reason = format!("{error}\n");
    match error {
        AskError::Deadline => respond(StatusCode::GATEWAY_TIMEOUT, TEXT, reason),
        AskError::RingFull | AskError::TooManyWaiting | AskError::Refused(_) => {
            let mut response = respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason);
            let retry_after = HeaderValue::from_static("1");
            response.headers_mut().insert(RETRY_AFTER, retry_after);
            response
        }
    }
}

/// A fault of ours, which must not end the thread.
fn wrong_answer() -> Response {
    debug_assert!(false, "a reactor answers what it was asked");
    let reason = "a reactor has answered something else\n";
    respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, reason)
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const BINARY: &str = "application/octet-stream";
/// Connections in a page, if none are asked for.
const LIMIT_DEFAULT: u32 = 100;
/// For a reactor's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// For a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_reactor_and_a_slot() {
        let cursor = |reactor, slot| Some(Cursor { reactor, slot });
        assert_eq!(Cursor::parse("0.0"), cursor(0, 0));
        assert_eq!(Cursor::parse("17.4294967295"), cursor(17, u32::MAX));
        for bad in [
            "",
            ".",
            "1",
            "1.",
            ".1",
            "1.4294967296",
            "-1.0",
            "1.1.1",
            "a.b",
        ] {
            assert_eq!(Cursor::parse(bad), None, "{bad:?}");
        }
    }
}
