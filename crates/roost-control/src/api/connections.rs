//! Connections: listed, looked at, and disconnected.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use roost_net::ConnKey;
use roost_reactor::{
    CONNECTIONS_MAX, CloseReason, ConnectionRecord, Disconnect, Request as ReactorRequest,
};
use roost_wire::CloseCode;
use serde::{Deserialize, Serialize};

use super::access::{Action, decide};
use super::body::{Whole, answer_json, parse, read_json};
use super::call::Call;
use super::problem::{Kind, Problem};
use crate::pauses::Pauses;
use crate::peer::Reply;

/// One connection as answers have it.
#[derive(Serialize)]
struct Connection {
    connection: String,
    dialect: &'static str,
    phase: &'static str,
    silent_seconds: u32,
    is_paused: bool,
    input_buffered_bytes: usize,
    outbox_bytes: usize,
    outbox_messages: usize,
    in_flight_bytes: usize,
}

#[derive(Serialize)]
struct Page {
    connections: Vec<Connection>,
    /// For the next page; none behind the last connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// Which connections of which page.
struct Query {
    reactor: usize,
    slot: u32,
    limit: u32,
    dialect: Option<String>,
}

/// A connection's name: `r3-17.4` is generation 4 of slot 17 of reactor 3, as logs have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    reactor: usize,
    key: ConnKey,
}

/// What is said to a client that is disconnected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default = "code_default")]
    code: Whole,
    #[serde(default)]
    reason: String,
}

/// `GET /v1/connections`.
pub(super) async fn list(call: &Call, query: Option<&str>) -> Result<Response, Problem> {
    decide(&call.caller, Action::Read)?;
    let mut query = Query::parse(query)?;
    let peer = &call.api.peer;
    let (mut connections, mut pauses) = (Vec::new(), Pauses::new());
    let mut left = query.limit;
    // So many records are looked through that a page ends, also where few have the dialect.
    let mut visited_max = CONNECTIONS_MAX;
    while left > 0 && visited_max > 0 && query.reactor < peer.reactors() {
        let limit = match query.dialect {
            Some(_) => visited_max,
            None => left,
        };
        let asked = ReactorRequest::Connections {
            from_slot: query.slot,
            limit,
            filter: None,
        };
        let sent = peer.ask(query.reactor, asked)?;
        let Reply::Connections { records, next_slot } = sent.answer_by(call.deadline).await? else {
            return Err(wrong_answer());
        };
        let mut next_slot = next_slot;
        for record in records {
            visited_max = visited_max.saturating_sub(1);
            if query
                .dialect
                .as_deref()
                .is_some_and(|dialect| dialect != record.dialect)
            {
                continue;
            }
            if left == 0 {
                next_slot = Some(record.key.slot());
                break;
            }
            left -= 1;
            connections.push(Connection::of(&record));
            pauses.after_line().await;
        }
        (query.reactor, query.slot) = match next_slot {
            Some(slot) => (query.reactor, slot),
            None => (query.reactor + 1, 0),
        };
    }
    let has_more = query.reactor < peer.reactors();
    let page = Page {
        connections,
        cursor: has_more.then(|| format!("{}.{}", query.reactor, query.slot)),
    };
    answer_json(StatusCode::OK, &page)
}

/// `GET /v1/connections/{connection}`.
pub(super) async fn one(call: &Call, name: &str) -> Result<Response, Problem> {
    decide(&call.caller, Action::Read)?;
    let name = Name::of_path(call, name)?;
    let asked = ReactorRequest::Connections {
        from_slot: name.key.slot(),
        limit: 1,
        filter: None,
    };
    let sent = call.api.peer.ask(name.reactor, asked)?;
    let Reply::Connections { records, .. } = sent.answer_by(call.deadline).await? else {
        return Err(wrong_answer());
    };
    match records.first().filter(|record| record.key == name.key) {
        Some(record) => answer_json(StatusCode::OK, &Connection::of(record)),
        None => Err(not_there()),
    }
}

/// `DELETE /v1/connections/{connection}`.
pub(super) async fn delete(
    call: &Call,
    name: &str,
    request: Request<Body>,
) -> Result<Response, Problem> {
    decide(&call.caller, Action::Disconnect)?;
    let name = Name::of_path(call, name)?;
    let said = match has_body(request.headers()) {
        true => {
            let body = read_json(call, request).await?;
            parse(&body)?
        }
        false => Said {
            code: code_default(),
            reason: String::new(),
        },
    };
    let said_to_client = (said.code.to_u16(), said.reason.as_str());
    match disconnect(call, name, "", said_to_client).await? {
        true => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
        false => Err(not_there()),
    }
}

/// Begins the closing handshake. False if there is no such connection, no WebSocket on it, or it is not
/// the user's, if one is named.
pub(super) async fn disconnect(
    call: &Call,
    name: Name,
    user: &str,
    (code, reason): (u16, &str),
) -> Result<bool, Problem> {
    let (code, reason) = check_close(code, reason)?;
    let asked = ReactorRequest::Disconnect(Box::new(Disconnect {
        key: name.key,
        user: user.into(),
        code,
        reason,
    }));
    let sent = call.api.peer.ask(name.reactor, asked)?;
    match sent.answer_by(call.deadline).await? {
        Reply::Disconnected { was_open } => Ok(was_open),
        _ => Err(wrong_answer()),
    }
}

/// What a client may be told at its end.
pub(super) fn check_close(code: u16, reason: &str) -> Result<(CloseCode, CloseReason), Problem> {
    let code = CloseCode::new(code).ok_or_else(|| {
        Problem::invalid(format!(
            "{code} is no close code to send: 1000, 1001, 1008, 1011 to 1013, or 3000 to 4999"
        ))
    })?;
    let reason = CloseReason::new(reason).ok_or_else(|| {
        Problem::invalid("a close reason has at most 123 bytes of UTF-8 (RFC 6455 §5.5)")
    })?;
    Ok((code, reason))
}

/// As logs have it.
pub(super) fn name_of(reactor: usize, key: ConnKey) -> String {
    format!("r{reactor}-{}.{}", key.slot(), key.generation())
}

impl Name {
    /// Its reactor.
    pub(super) fn reactor(self) -> usize {
        self.reactor
    }

    /// Its slot and generation there.
    pub(super) fn key(self) -> ConnKey {
        self.key
    }

    fn of_path(call: &Call, text: &str) -> Result<Name, Problem> {
        Name::parse(call, text).ok_or_else(not_there)
    }

    /// A connection that this server can have.
    pub(super) fn parse(call: &Call, text: &str) -> Option<Name> {
        let (reactor, rest) = text.strip_prefix('r')?.split_once('-')?;
        let (slot, generation) = rest.split_once('.')?;
        let reactor = reactor
            .parse()
            .ok()
            .filter(|&n| n < call.api.peer.reactors())?;
        let key = ConnKey::new(slot.parse().ok()?, generation.parse().ok()?);
        Some(Name { reactor, key })
    }
}

impl Connection {
    fn of(record: &ConnectionRecord) -> Connection {
        let (reactor, key) = (record.reactor, record.key);
        Connection {
            connection: name_of(usize::from(reactor), key),
            dialect: record.dialect,
            phase: record.phase,
            silent_seconds: record.silent_seconds,
            is_paused: record.is_paused,
            input_buffered_bytes: record.input_buffered_bytes,
            outbox_bytes: record.outbox_bytes,
            outbox_messages: record.outbox_messages,
            in_flight_bytes: record.in_flight_bytes,
        }
    }
}

impl Query {
    fn parse(query: Option<&str>) -> Result<Query, Problem> {
        let mut parsed = Query {
            reactor: 0,
            slot: 0,
            limit: LIMIT_DEFAULT,
            dialect: None,
        };
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        for (name, value) in pairs {
            match &*name {
                "limit" => {
                    let limit = value.parse().ok();
                    parsed.limit =
                        limit
                            .filter(|n| (1..=LIMIT_MAX).contains(n))
                            .ok_or_else(|| {
                                Problem::invalid(format!("limit is a number from 1 to {LIMIT_MAX}"))
                            })?;
                }
                "cursor" => {
                    let place = value.split_once('.').and_then(|(reactor, slot)| {
                        Some((reactor.parse().ok()?, slot.parse().ok()?))
                    });
                    let wrong = || Problem::invalid("cursor is what the page before has");
                    (parsed.reactor, parsed.slot) = place.ok_or_else(wrong)?;
                }
                "dialect" => parsed.dialect = Some(value.into_owned()),
                _ => {
                    let detail = "the query takes limit, cursor and dialect";
                    return Err(Problem::invalid(detail));
                }
            }
        }
        Ok(parsed)
    }
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_TYPE)
}

fn not_there() -> Problem {
    let detail = "there is no such connection: it has ended, or is no WebSocket";
    Problem::new(Kind::NotFound, detail)
}

/// A fault of ours, which must not end the thread.
pub(super) fn wrong_answer() -> Problem {
    debug_assert!(false, "a reactor answers what it was asked");
    Problem::new(Kind::Internal, "a reactor has answered something else")
}

/// 1008, policy violation: what clients take for a decision of the server's.
pub(super) fn code_default() -> Whole {
    Whole(u64::from(CloseCode::POLICY_VIOLATION.get()))
}

/// Connections in a page, if none are asked for.
const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
