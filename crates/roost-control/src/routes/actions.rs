//! What changes the daemon: its log, and its end.

use std::sync::Arc;

use axum::extract::{RawQuery, State as Shown};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use tracing::warn;

use super::answers::{State, TEXT, bad_request, pairs, respond, respond_json};

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
    let Some(operator) = &state.operator else {
        return has_no_operator();
    };
    match operator.set_log_level(&level) {
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
    let Some(operator) = state.operator.clone() else {
        return has_no_operator();
    };
    if !is_check {
        warn!(target: "audit", "an administrator reloads the configuration");
    }
    // It reads files: not on the thread that answers.
    let reloaded = tokio::task::spawn_blocking(move || operator.reload(is_check)).await;
    let Ok(reloaded) = reloaded else {
        let reason = "the reload has not come to its end: see the log\n";
        return respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, reason);
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

/// `POST /drain?timeout_ms=`.
pub(super) async fn drain(Shown(state): Shown<Arc<State>>, RawQuery(query): RawQuery) -> Response {
    let mut timeout_ms = None;
    for (key, value) in pairs(query.as_deref()) {
        match (&*key, value.parse()) {
            ("timeout_ms", Ok(ms)) => timeout_ms = Some(ms),
            ("timeout_ms", Err(_)) => {
                return bad_request("timeout_ms is a number of milliseconds\n");
            }
            _ => return bad_request("/drain takes timeout_ms only\n"),
        }
    }
    let Some(operator) = &state.operator else {
        return has_no_operator();
    };
    if state.shared.is_draining() {
        return respond(StatusCode::CONFLICT, TEXT, "it is draining already\n");
    }
    warn!(target: "audit", timeout_ms, "an administrator drains the daemon");
    let timeout_ms = operator.drain(timeout_ms);
    let connections = state.shared.registry().sum("connections_open");
    respond_json(&json!({"timeout_ms": timeout_ms, "connections": connections}))
}

/// In a test, or in a program that is not the daemon.
fn has_no_operator() -> Response {
    let reason = "this process cannot do that\n";
    respond(StatusCode::NOT_IMPLEMENTED, TEXT, reason)
}
