//! What all answers to administrators are made from.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use roost_dialect::{ChannelNameError, check_channel_name};
use roost_reactor::{Presence, Shared};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::canary::CanaryTask;
use crate::health::Health;
use crate::metrics::Build;
use crate::operator::Operator;
use crate::peer::{AskError, Peer};
use crate::tail::TAILS_MAX;

/// What has to be good for clients to be sent here, beside reactors that answer.
pub(crate) struct Checked {
    /// Whether there are keys of the issuer of tokens, if they are fetched.
    pub(crate) has_keys: Option<Arc<AtomicBool>>,
    /// Whether reactors deliver, if that is looked at.
    pub(crate) canary: Option<Arc<CanaryTask>>,
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

/// What all answers are made from.
pub(crate) struct State {
    pub(super) shared: Shared,
    pub(super) build: Build,
    pub(super) peer: Arc<Peer>,
    pub(super) health: Health,
    pub(super) checked: Checked,
    /// A permit for each that may look on at a channel.
    pub(super) tails: Arc<Semaphore>,
    pub(super) operator: Option<Arc<dyn Operator>>,
    /// What it may be asked at once: each takes a thread.
    pub(super) operator_calls: Arc<Semaphore>,
}

impl State {
    pub(crate) fn new(
        shared: Shared,
        build: Build,
        peer: Arc<Peer>,
        checked: Checked,
        operator: Option<Arc<dyn Operator>>,
    ) -> State {
        State {
            shared,
            build,
            peer,
            health: Health::default(),
            checked,
            tails: Arc::new(Semaphore::new(TAILS_MAX)),
            operator,
            operator_calls: Arc::new(Semaphore::new(OPERATOR_CALLS_MAX)),
        }
    }
}

impl State {
    /// Whether channels of a namespace know who is in them.
    pub(super) fn keeps_presence(&self, number: u16) -> bool {
        let settings = self.shared.settings();
        let known = usize::from(number) <= settings.channels.namespaces.len();
        known && settings.channels.policy(number).presence != Presence::Off
    }

    /// Empty: channels without a namespace.
    pub(super) fn namespace_name(&self, number: u16) -> String {
        let settings = self.shared.settings();
        let namespaces = &settings.channels.namespaces;
        let at = usize::from(number).checked_sub(1);
        at.and_then(|at| namespaces.get(at))
            .map_or_else(String::new, |(name, _)| name.clone())
    }
}

/// Of the runtime's threads that may wait, the others are for names of hosts and files.
const OPERATOR_CALLS_MAX: usize = 2;

pub(super) fn pairs(query: Option<&str>) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
}

pub(super) fn bad_request(reason: impl Into<Body>) -> Response {
    respond(StatusCode::BAD_REQUEST, TEXT, reason)
}

/// Names are those that clients can have.
pub(super) fn check_name(channel: &str, bytes_max: usize) -> Result<(), Box<Response>> {
    check_channel_name(channel, bytes_max).map_err(|error| {
        Box::new(bad_request(match error {
            ChannelNameError::Control => "channel has a control character\n".to_owned(),
            ChannelNameError::Empty | ChannelNameError::TooLong => {
                format!("channel has 1 to {bytes_max} bytes\n")
            }
        }))
    })
}

pub(super) fn not_found(reason: impl Into<Body>) -> Response {
    respond(StatusCode::NOT_FOUND, TEXT, reason)
}

/// A reactor that does not answer is a gateway's timeout; one that does not take the request, or
/// not now, is unavailable and may be asked again.
pub(super) fn not_answered(error: AskError) -> Response {
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
pub(super) fn wrong_answer() -> Response {
    debug_assert!(false, "a reactor answers what it was asked");
    let reason = "a reactor has answered something else\n";
    respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, reason)
}

pub(super) fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// One JSON object.
pub(super) fn respond_json(value: &impl Serialize) -> Response {
    let mut line = Vec::new();
    write_line(&mut line, value);
    respond(StatusCode::OK, JSON, line)
}

/// Appends a JSON object and a newline.
pub(super) fn write_line(out: &mut Vec<u8>, value: &impl Serialize) {
    let written = serde_json::to_writer(&mut *out, value);
    debug_assert!(written.is_ok(), "answers are plain values");
    out.push(b'\n');
}

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";
pub(super) const NDJSON: &str = "application/x-ndjson";
pub(super) const BINARY: &str = "application/octet-stream";
/// For a reactor's answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// For a request's body.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);
