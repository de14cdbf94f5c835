//! What runs, and how much of it.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::access::{Action, decide};
use super::body::answer_json;
use super::call::Call;
use super::problem::Problem;

#[derive(Serialize)]
pub(super) struct Info {
    pub(super) version: &'static str,
    pub(super) driver: &'static str,
    pub(super) uptime_seconds: u64,
    pub(super) reactors: usize,
    pub(super) connections: u64,
    pub(super) websockets: u64,
    pub(super) subscriptions: u64,
    pub(super) channels: u64,
}

/// `GET /v1/info`.
pub(super) fn info(call: &Call) -> Result<Response, Problem> {
    decide(&call.caller, Action::Read)?;
    answer_json(StatusCode::OK, &Info::of(call))
}

impl Info {
    pub(super) fn of(call: &Call) -> Info {
        let registry = call.api.shared.registry();
        let count = |name| registry.sum(name).unwrap_or_default();
        Info {
            version: call.api.build.version,
            driver: call.api.build.driver,
            uptime_seconds: call.api.started.elapsed().as_secs(),
            reactors: registry.reactors(),
            connections: count("connections_open"),
            websockets: count("websockets_open"),
            subscriptions: count("subscriptions"),
            channels: count("home_channels"),
        }
    }
}
