//! What changes the daemon: its log, and its end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State as Shown};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use roost_reactor::Pace;
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;
use tracing::warn;

use crate::operator::DrainAsked;

use super::answers::{State, TEXT, bad_request, pairs, respond, respond_json};
use crate::operator::Operator;

/// `POST /log?level=LEVEL`.
pub(super) async fn log(Shown(state): Shown<Arc<State>>, RawQuery(query): RawQuery) -> Response {
    let mut level = None;
    for (key, value) in pairs(query.as_deref()) {
        match &*key {
            "level" => level = Some(value.into_owned()),
            _ => return bad_request("/log takes level only\n"),
        }
    }
    let Some(level) = level else {
        return bad_request("level is off, error, warn, info, debug or trace\n");
    };
    let to = level.clone();
    let set = match ask(&state, move |operator| operator.set_log_level(&to)).await {
        Ok(set) => set,
        Err(answer) => return answer,
    };
    match set {
        Ok(before) => {
            warn!(target: "audit", %level, %before, "the log's level was changed");
            respond_json(&json!({"level": level, "before": before}))
        }
        Err(reason) => bad_request(format!("{reason}\n")),
    }
}

/// `POST /reload?check=1`.
pub(super) async fn reload(Shown(state): Shown<Arc<State>>, RawQuery(query): RawQuery) -> Response {
    let mut is_check = false;
    for (key, value) in pairs(query.as_deref()) {
        match (&*key, &*value) {
            ("check", "1") => is_check = true,
            ("check", "0") => is_check = false,
            _ => return bad_request("/reload takes check=1 only\n"),
        }
    }
    if !is_check && state.operator.is_some() {
        warn!(target: "audit", "an administrator reloads the configuration");
    }
    let reloaded = match ask(&state, move |operator| operator.reload(is_check)).await {
        Ok(reloaded) => reloaded,
        Err(answer) => return answer,
    };
    if !reloaded.errors.is_empty() {
        let mut lines = reloaded.errors.join("\n");
        lines.push_str("\nnothing has changed\n");
        return respond(StatusCode::UNPROCESSABLE_ENTITY, TEXT, lines);
    }
    respond_json(&json!({
        "check": is_check,
        "warnings": reloaded.warnings,
        "changes": reloaded.changes,
    }))
}

/// How far a drain has come.
#[derive(Serialize)]
struct Draining {
    /// `serving`; `waiting`: checks of readiness fail, and clients are served; `closing`.
    state: &'static str,
    connections: u64,
    /// Connections that were told to come back elsewhere.
    told: u64,
    #[serde(flatten)]
    pace: Option<Paced>,
}

#[derive(Serialize)]
struct Paced {
    delay_ms: u32,
    timeout_ms: u32,
    /// 0: all at once.
    connections_per_second: u32,
}

impl Paced {
    fn of(pace: Pace) -> Paced {
        let Pace {
            delay_ms,
            timeout_ms,
            per_second: connections_per_second,
        } = pace;
        Paced {
            delay_ms,
            timeout_ms,
            connections_per_second,
        }
    }
}

/// `GET /drain`.
pub(super) async fn drain_state(Shown(state): Shown<Arc<State>>) -> Response {
    respond_json(&draining(&state, state.shared.pace()))
}

fn draining(state: &State, pace: Option<Pace>) -> Draining {
    let sum = |name| state.shared.registry().sum(name).unwrap_or_default();
    Draining {
        state: match (pace, sum("reactors_draining")) {
            (None, _) => "serving",
            (Some(_), 0) => "waiting",
            (Some(_), _) => "closing",
        },
        connections: sum("connections_open"),
        told: sum("drain_told_total"),
        pace: pace.map(Paced::of),
    }
}

/// `POST /drain?delay_ms=&timeout_ms=&connections_per_second=`.
pub(super) async fn drain(Shown(state): Shown<Arc<State>>, RawQuery(query): RawQuery) -> Response {
    let asked = match drain_asked(query.as_deref()) {
        Ok(asked) => asked,
        Err(reason) => return bad_request(reason),
    };
    let is_under_way = state.shared.is_draining();
    if is_under_way && (asked.per_second.is_none() || asked.timeout_ms.or(asked.delay_ms).is_some())
    {
        let reason = "it is draining already: connections_per_second alone can be changed\n";
        return respond(StatusCode::CONFLICT, TEXT, reason);
    }
    let DrainAsked {
        delay_ms,
        timeout_ms,
        per_second,
    } = asked;
    if state.operator.is_some() {
        warn!(
            target: "audit", delay_ms, timeout_ms, per_second, is_under_way,
            "an administrator drains the daemon"
        );
    }
    let pace = match ask(&state, move |operator| operator.drain(asked)).await {
        Ok(pace) => pace,
        Err(answer) => return answer,
    };
    respond_json(&draining(&state, Some(state.shared.pace().unwrap_or(pace))))
}

fn drain_asked(query: Option<&str>) -> Result<DrainAsked, String> {
    let mut asked = DrainAsked::default();
    for (key, value) in pairs(query) {
        let field = match &*key {
            "delay_ms" => &mut asked.delay_ms,
            "timeout_ms" => &mut asked.timeout_ms,
            "connections_per_second" => &mut asked.per_second,
            _ => {
                let takes = "delay_ms, timeout_ms and connections_per_second";
                return Err(format!("/drain takes {takes} only\n"));
            }
        };
        let number = value.parse();
        *field = Some(number.map_err(|_| format!("{key} is a number of at most {}\n", u32::MAX))?);
    }
    Ok(asked)
}

/// Has the process do something, on a thread that may wait: for a disk, for a lock, for a service manager.
/// The control thread goes on meanwhile. The error is the answer.
async fn ask<T: Send + 'static>(
    state: &State,
    work: impl FnOnce(&dyn Operator) -> T + Send + 'static,
) -> Result<T, Response> {
    let Some(operator) = state.operator.clone() else {
        return Err(has_no_operator());
    };
    let Ok(permit) = state.operator_calls.clone().try_acquire_owned() else {
        let reason = "earlier requests of this kind have not come to their end\n";
        let mut answer = respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason);
        let retry_after = HeaderValue::from_static("1");
        answer.headers_mut().insert(RETRY_AFTER, retry_after);
        return Err(answer);
    };
    let work = tokio::task::spawn_blocking(move || {
        let done = work(&*operator);
        drop(permit); // one that hangs keeps it
        done
    });
    match timeout(OPERATOR_WAIT, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => {
            let reason = "it has not come to its end: see the log\n";
            Err(respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, reason))
        }
        Err(_) => {
            let reason = "it is not done yet: it may still be, see the log\n";
            Err(respond(StatusCode::GATEWAY_TIMEOUT, TEXT, reason))
        }
    }
}

/// How long an administrator waits for what the process does: for a disk that is busy, and no longer.
const OPERATOR_WAIT: Duration = Duration::from_secs(10);

/// In a test, or in a program that is not the daemon.
fn has_no_operator() -> Response {
    let reason = "this process cannot do that\n";
    respond(StatusCode::NOT_IMPLEMENTED, TEXT, reason)
}
