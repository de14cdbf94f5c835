//! What administrators may ask, and what they are answered.

mod actions;
mod answers;
mod channels;
mod connections;
mod guard;
mod may;
mod page;
mod reactors;
mod tail;
mod verdict;
mod why;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{RawQuery, State as Shown};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::{MethodRouter, any, delete, get, post};
use roost_dialect::PayloadRef;
use roost_reactor::ControlPublication;
use tokio::time::{Instant, timeout};

use crate::health::{ALIVE_WITHIN, Reactor};
use crate::metrics;
use crate::peer::Until;

use answers::{
    ANSWER_TIMEOUT, BINARY, BODY_TIMEOUT, JSON, TEXT, bad_request, check_name, not_answered,
    not_found, pairs, respond, wrong_answer,
};

pub(crate) use answers::{Access, Checked, State};

/// The routes of a listener. A path that is known answers other methods with 405 and `Allow`.
pub(crate) fn router(state: Arc<State>, access: Access) -> Router {
    let changing = |method: MethodRouter<Arc<State>>| match access {
        Access::Full => method,
        Access::ReadOnly => any(only_over_the_socket),
    };
    let kick = match access {
        Access::Full => delete(connections::kick),
        Access::ReadOnly => delete(only_over_the_socket),
    };
    let drain = match access {
        Access::Full => post(actions::drain),
        Access::ReadOnly => post(only_over_the_socket),
    };
    Router::new()
        .route(
            "/",
            get(move |headers: HeaderMap| async move { page::index(access, &headers) }),
        )
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/stats", get(stats))
        .route("/stats/reactors", get(reactors::reactors))
        .route("/stats/slow", get(slow))
        .route("/connections", get(connections::list))
        .route("/connections/{key}", kick.get(connections::one))
        .route("/channels", get(channels::list))
        .route("/why/{key}", get(why::why))
        .route("/may", get(may::may))
        .route("/publish", changing(post(publish).fallback(only_post)))
        .route("/log", changing(post(actions::log).fallback(only_post)))
        .route(
            "/reload",
            changing(post(actions::reload).fallback(only_post)),
        )
        .route("/tail", changing(get(tail::tail)))
        .route("/drain", drain.get(actions::drain_state))
        .fallback(no_such_path)
        .layer(from_fn(guard::guard))
        .with_state(state)
}

async fn no_such_path() -> Response {
    not_found("no such path; GET / lists them\n")
}

async fn only_over_the_socket() -> Response {
    let reason = "this changes something: ask over the unix socket (admin.socket)\n";
    respond(StatusCode::FORBIDDEN, TEXT, reason)
}

async fn only_post() -> Response {
    let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this takes POST\n");
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
    state.shared.note_watched();
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
    if let Some(canary) = &state.checked.canary {
        for problem in canary.problems() {
            let _ = writeln!(out, "{problem}");
        }
    }
    let has_keys = state.checked.has_keys.as_ref();
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
    let settings = state.shared.settings();
    let limits = &settings.limits;
    if let Err(response) = check_name(&channel, limits.channel_name_bytes_max) {
        return *response;
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
