//! What the broker says, as JSON text appended to an out buffer.

use std::fmt::Write;

/// `[WELCOME, Session|id, Details|dict]`. Only what works is announced.
pub(super) fn welcome(out: &mut String, session: u64) {
    push(
        out,
        format_args!(
            "[2,{session},{{\"agent\":\"{AGENT}\",\"authid\":\"{session}\",\
             \"authrole\":\"anonymous\",\"authmethod\":\"anonymous\",\
             \"roles\":{{\"broker\":{{\"features\":{{\"publisher_exclusion\":true}}}}}}}}]"
        ),
    );
}

/// `[ABORT, Details|dict, Reason|uri]`, `message` being for a person.
pub(super) fn abort(out: &mut String, reason: &str, message: &str) {
    let message = serde_json::Value::from(message);
    push(
        out,
        format_args!("[3,{{\"message\":{message}}},\"{reason}\"]"),
    );
}

/// `[GOODBYE, Details|dict, Reason|uri]`.
pub(super) fn goodbye(out: &mut String, reason: &str) {
    push(out, format_args!("[6,{{}},\"{reason}\"]"));
}

/// The same, with a `message` for a person.
pub(super) fn goodbye_with(out: &mut String, reason: &str, message: &str) {
    let message = serde_json::Value::from(message);
    push(
        out,
        format_args!("[6,{{\"message\":{message}}},\"{reason}\"]"),
    );
}

/// `[EVENT, SUBSCRIBED.Subscription|id, PUBLISHED.Publication|id, Details|dict,
/// PUBLISH.Arguments|list]` with one number.
pub(super) fn event(out: &mut String, subscription: u64, publication: u64, number: u64) {
    push(
        out,
        format_args!("[36,{subscription},{publication},{{}},[{number}]]"),
    );
}

/// `[ERROR, REQUEST.Type|int, REQUEST.Request|id, Details|dict, Error|uri]`.
pub(super) fn error(out: &mut String, request_type: u64, request: u64, error: &str) {
    push(
        out,
        format_args!("[8,{request_type},{request},{{}},\"{error}\"]"),
    );
}

/// The same with one argument, for a person.
pub(super) fn error_with(
    out: &mut String,
    request_type: u64,
    request: u64,
    error: &str,
    message: &str,
) {
    let message = serde_json::Value::from(message);
    push(
        out,
        format_args!("[8,{request_type},{request},{{}},\"{error}\",[{message}]]"),
    );
}

/// `[SUBSCRIBED, SUBSCRIBE.Request|id, Subscription|id]`.
pub(super) fn subscribed(out: &mut String, request: u64, subscription: u64) {
    push(out, format_args!("[33,{request},{subscription}]"));
}

/// `[UNSUBSCRIBED, UNSUBSCRIBE.Request|id]`.
pub(super) fn unsubscribed(out: &mut String, request: u64) {
    push(out, format_args!("[35,{request}]"));
}

/// `[PUBLISHED, PUBLISH.Request|id, Publication|id]`.
pub(super) fn published(out: &mut String, request: u64, publication: u64) {
    push(out, format_args!("[17,{request},{publication}]"));
}

fn push(out: &mut String, message: std::fmt::Arguments<'_>) {
    out.write_fmt(message).expect("a String takes all writes");
}

const AGENT: &str = concat!("Roost-", env!("CARGO_PKG_VERSION"));
