//! Connections: found, looked at, and closed.

use roost_access::UserName;
use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State as Shown};
use axum::http::header::LINK;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use roost_config::Network;
use roost_net::ConnKey;
use roost_reactor::{
    CONNECTIONS_MAX, CloseReason, ConnectionFilter, ConnectionRecord, Disconnect,
    Request as ReactorRequest,
};
use roost_wire::CloseCode;
use serde::{Serialize, Serializer};
use serde_json::json;
use tokio::time::Instant;
use tracing::info;

use super::answers::{
    ANSWER_TIMEOUT, NDJSON, State, bad_request, not_answered, not_found, pairs, respond,
    respond_json, write_line, wrong_answer,
};
use crate::pauses::Pauses;
use crate::peer::{AskError, Reply};

/// A connection as administrators see it.
#[derive(Serialize)]
pub(super) struct View<'a> {
    #[serde(serialize_with = "as_text")]
    connection: KeyName,
    phase: &'static str,
    dialect: &'static str,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    listener: &'a str,
    silent_seconds: u32,
    is_paused: bool,
    input_buffered_bytes: usize,
    outbox_bytes: usize,
    outbox_messages: usize,
    in_flight_bytes: usize,
}

impl View<'_> {
    pub(super) fn of<'a>(listeners: &'a Labels, record: &'a ConnectionRecord) -> View<'a> {
        let ConnectionRecord {
            reactor,
            key,
            phase,
            dialect,
            user,
            listener,
            address,
            input_buffered_bytes,
            outbox_bytes,
            outbox_messages,
            in_flight_bytes,
            is_paused,
            silent_seconds,
        } = record;
        View {
            connection: KeyName {
                reactor: usize::from(*reactor),
                key: *key,
            },
            phase,
            dialect,
            user,
            address: *address,
            listener: listeners
                .0
                .get(usize::from(*listener))
                .map_or("", |label| label),
            silent_seconds: *silent_seconds,
            is_paused: *is_paused,
            input_buffered_bytes: *input_buffered_bytes,
            outbox_bytes: *outbox_bytes,
            outbox_messages: *outbox_messages,
            in_flight_bytes: *in_flight_bytes,
        }
    }
}

/// What listeners are called, by their numbers.
pub(super) struct Labels(Vec<String>);

impl Labels {
    pub(super) fn of(state: &State) -> Labels {
        let settings = state.shared.settings();
        let labels = settings.listeners.iter().map(|one| one.config.label());
        Labels(labels.collect())
    }
}

fn as_text<S: Serializer>(value: &impl fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// A connection's name: `r3-17.4` is generation 4 of slot 17 of reactor 3, as logs have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyName {
    pub(super) reactor: usize,
    pub(super) key: ConnKey,
}

impl KeyName {
    /// `Err` is the answer.
    pub(super) fn parse(state: &State, text: &str) -> Result<KeyName, Box<Response>> {
        let name = KeyName::read(text).ok_or_else(|| {
            Box::new(bad_request(
                "a connection is called as in /connections and in the log: r0-17.4\n",
            ))
        })?;
        let reactors = state.peer.reactors();
        if name.reactor >= reactors {
            let last = reactors - 1;
            let reason = format!("{text}: reactors have the numbers 0 to {last}\n");
            return Err(Box::new(not_found(reason)));
        }
        Ok(name)
    }

    pub(super) fn of(record: &ConnectionRecord) -> KeyName {
        KeyName {
            reactor: usize::from(record.reactor),
            key: record.key,
        }
    }

    pub(super) fn read(text: &str) -> Option<KeyName> {
        let (reactor, rest) = text.strip_prefix('r')?.split_once('-')?;
        let (slot, generation) = rest.split_once('.')?;
        Some(KeyName {
            reactor: reactor.parse().ok()?,
            key: ConnKey::new(slot.parse().ok()?, generation.parse().ok()?),
        })
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slot, generation) = (self.key.slot(), self.key.generation());
        write!(f, "r{}-{slot}.{generation}", self.reactor)
    }
}

/// Where a page of connections begins: `REACTOR.SLOT`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cursor {
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

/// Which connections of which page.
struct Query {
    cursor: Cursor,
    limit: u32,
    slowest: Option<usize>,
    filter: Option<Arc<ConnectionFilter>>,
    /// The filter as it came, for the next page.
    kept: String,
}

impl Query {
    /// `Err` is the reason.
    fn parse(query: Option<&str>) -> Result<Query, String> {
        let mut cursor = Cursor::default();
        let (mut limit, mut slowest) = (LIMIT_DEFAULT, None);
        let mut filter = ConnectionFilter::default();
        let mut kept = form_urlencoded::Serializer::new(String::new());
        for (key, value) in pairs(query) {
            match &*key {
                "limit" => {
                    let number = value.parse().ok();
                    let number = number.filter(|n| (1..=CONNECTIONS_MAX).contains(n));
                    limit = number
                        .ok_or_else(|| format!("limit is a number from 1 to {CONNECTIONS_MAX}"))?;
                    continue;
                }
                "cursor" if value.is_empty() => continue,
                "cursor" => {
                    let wrong = "cursor is what the Link header of a page has";
                    cursor = Cursor::parse(&value).ok_or(wrong)?;
                    continue;
                }
                "slowest" => {
                    let number = value.parse().ok();
                    let number = number.filter(|n| (1..=SLOWEST_MAX).contains(n));
                    let wrong = || format!("slowest is a number from 1 to {SLOWEST_MAX}");
                    slowest = Some(number.ok_or_else(wrong)?);
                    filter.is_waiting = true;
                    continue;
                }
                "user" => filter.user = Some(value.as_ref().into()),
                "channel" => filter.channel = Some(value.as_ref().into()),
                "dialect" => filter.dialect = Some(value.as_ref().into()),
                "address" => {
                    let network = value.parse::<Network>().map_err(|hint| {
                        let colon = if hint.is_empty() { "" } else { ": " };
                        format!(
                            "address is one address, or a network such as 10.0.0.0/8{colon}{hint}"
                        )
                    })?;
                    filter.address = Some(network);
                }
                "waiting" if value == "1" => filter.is_waiting = true,
                _ => {
                    return Err(
                        "/connections takes limit and cursor, or slowest; and user, channel, \
                         address, dialect, waiting=1"
                            .to_owned(),
                    );
                }
            }
            kept.append_pair(&key, &value);
        }
        let has_filter = filter != ConnectionFilter::default();
        Ok(Query {
            cursor,
            limit,
            slowest,
            filter: has_filter.then(|| Arc::new(filter)),
            kept: kept.finish(),
        })
    }
}

/// Goes through the reactors' tables, from a cursor on.
pub(super) struct Walk<'a> {
    state: &'a State,
    filter: Option<Arc<ConnectionFilter>>,
    at: Cursor,
}

impl Walk<'_> {
    pub(super) fn new(
        state: &State,
        filter: Option<Arc<ConnectionFilter>>,
        at: Cursor,
    ) -> Walk<'_> {
        Walk { state, filter, at }
    }

    pub(super) fn is_over(&self) -> bool {
        self.at.reactor >= self.state.peer.reactors()
    }

    /// The next records, `limit` at most, maybe none.
    pub(super) async fn next(
        &mut self,
        limit: u32,
        deadline: Instant,
    ) -> Result<Vec<ConnectionRecord>, AskError> {
        let request = ReactorRequest::Connections {
            from_slot: self.at.slot,
            limit,
            filter: self.filter.clone(),
        };
        let sent = self.state.peer.ask(self.at.reactor, request)?;
        let Reply::Connections { records, next_slot } = sent.answer_by(deadline).await? else {
            debug_assert!(false, "a reactor answers what it was asked");
            return Err(AskError::Deadline);
        };
        self.at = match next_slot {
            Some(slot) => Cursor { slot, ..self.at },
            None => Cursor {
                reactor: self.at.reactor + 1,
                slot: 0,
            },
        };
        Ok(records)
    }
}

/// `GET /connections`.
pub(super) async fn list(Shown(state): Shown<Arc<State>>, RawQuery(query): RawQuery) -> Response {
    let query = match Query::parse(query.as_deref()) {
        Ok(query) => query,
        Err(reason) => return bad_request(format!("{reason}\n")),
    };
    let mut walk = Walk::new(&state, query.filter.clone(), query.cursor);
    if let Some(count) = query.slowest {
        return list_slowest(walk, count).await;
    }
    let begun = Instant::now();
    let (mut lines, mut left) = (Vec::new(), query.limit);
    let (listeners, mut pauses) = (Labels::of(&state), Pauses::new());
    // A page ends after some time: one of few among very many would come late otherwise.
    while left > 0 && !walk.is_over() && begun.elapsed() < PAGE_TIME {
        match walk.next(left, begun + ANSWER_TIMEOUT).await {
            Ok(records) => {
                left = left.saturating_sub(u32::try_from(records.len()).unwrap_or(u32::MAX));
                for record in &records {
                    write_line(&mut lines, &View::of(&listeners, record));
                    pauses.after_line().await;
                }
            }
            Err(error) => return not_answered(error),
        }
    }
    let mut response = respond(StatusCode::OK, NDJSON, lines);
    if !walk.is_over() {
        let Cursor { reactor, slot } = walk.at;
        let (limit, kept) = (query.limit, &query.kept);
        let and = if kept.is_empty() { "" } else { "&" };
        let next = format!(
            "</connections?limit={limit}&cursor={reactor}.{slot}{and}{kept}>; rel=\"next\""
        );
        if let Ok(next) = HeaderValue::from_str(&next) {
            response.headers_mut().insert(LINK, next);
        }
    }
    response
}

/// Those for which most waits, of all that something waits for.
async fn list_slowest(mut walk: Walk<'_>, count: usize) -> Response {
    let deadline = Instant::now() + SLOWEST_TIMEOUT;
    let waiting = |record: &ConnectionRecord| record.outbox_bytes + record.in_flight_bytes;
    let mut slowest: Vec<ConnectionRecord> = Vec::new();
    while !walk.is_over() {
        match walk.next(CONNECTIONS_MAX, deadline).await {
            Ok(records) => slowest.extend(records),
            Err(error) => return not_answered(error),
        }
        slowest.sort_by_key(|record| Reverse(waiting(record)));
        slowest.truncate(count);
    }
    let mut lines = Vec::new();
    let (listeners, mut pauses) = (Labels::of(walk.state), Pauses::new());
    for record in &slowest {
        write_line(&mut lines, &View::of(&listeners, record));
        pauses.after_line().await;
    }
    respond(StatusCode::OK, NDJSON, lines)
}

/// `GET /connections/KEY`.
pub(super) async fn one(
    Shown(state): Shown<Arc<State>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    if pairs(query.as_deref()).next().is_some() {
        return bad_request("/connections/KEY takes no query\n");
    }
    let name = match KeyName::parse(&state, &name) {
        Ok(name) => name,
        Err(response) => return *response,
    };
    let request = ReactorRequest::Connections {
        from_slot: name.key.slot(),
        limit: 1,
        filter: None,
    };
    let reply = match state.peer.ask(name.reactor, request) {
        Ok(sent) => sent.answer_by(Instant::now() + ANSWER_TIMEOUT).await,
        Err(error) => Err(error),
    };
    match reply {
        Ok(Reply::Connections { records, .. }) => {
            match records.first().filter(|record| record.key == name.key) {
                Some(record) => respond_json(&View::of(&Labels::of(&state), record)),
                None => not_there(name),
            }
        }
        Ok(_) => wrong_answer(),
        Err(error) => not_answered(error),
    }
}

/// `DELETE /connections/KEY`.
pub(super) async fn kick(
    Shown(state): Shown<Arc<State>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let name = match KeyName::parse(&state, &name) {
        Ok(name) => name,
        Err(response) => return *response,
    };
    let (mut code, mut reason) = (CloseCode::NORMAL, String::new());
    for (key, value) in pairs(query.as_deref()) {
        match &*key {
            "code" => match value.parse().ok().and_then(CloseCode::new) {
                Some(parsed) => code = parsed,
                None => return bad_request(format!("{value}: {NO_CODE}\n")),
            },
            "reason" => reason = value.into_owned(),
            _ => return bad_request("this takes code and reason\n"),
        }
    }
    let Some(said) = CloseReason::new(&reason) else {
        return bad_request("a close reason has at most 123 bytes of UTF-8 (RFC 6455 §5.5)\n");
    };
    let request = ReactorRequest::Disconnect(Box::new(Disconnect {
        key: name.key,
        user: UserName::default(),
        code,
        reason: said,
    }));
    let reply = match state.peer.ask(name.reactor, request) {
        Ok(sent) => sent.answer_by(Instant::now() + ANSWER_TIMEOUT).await,
        Err(error) => Err(error),
    };
    match reply {
        Ok(Reply::Disconnected { was_open: true }) => {
            info!(target: "audit", connection = %name, reason, "an administrator closes a connection");
            respond_json(&json!({"connection": name.to_string(), "closed": true}))
        }
        Ok(Reply::Disconnected { was_open: false }) => not_there(name),
        Ok(_) => wrong_answer(),
        Err(error) => not_answered(error),
    }
}

/// It was never there, or its client has gone.
pub(super) fn not_there(name: KeyName) -> Response {
    not_found(format!(
        "{name}: no WebSocket of this name is open; it has closed, or another has its place \
         (/connections lists those that are there)\n"
    ))
}

/// Connections in a page, if none are asked for.
const LIMIT_DEFAULT: u32 = 100;
/// Connections in a list of the slowest.
const SLOWEST_MAX: usize = 1000;
/// After which a page ends with what it has.
const PAGE_TIME: Duration = Duration::from_secs(2);
/// For all reactors' tables to be looked through.
const SLOWEST_TIMEOUT: Duration = Duration::from_secs(20);
const NO_CODE: &str = "no close code to send: 1000, 1001, 1008, 1011 to 1013, or 3000 to 4999";

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

    #[test]
    fn a_connection_is_called_by_reactor_slot_and_generation() {
        let name = KeyName::read("r3-17.4").expect("a name");
        assert_eq!((name.reactor, name.key), (3, ConnKey::new(17, 4)));
        assert_eq!(name.to_string(), "r3-17.4");
        for bad in [
            "",
            "3-17.4",
            "r3-17",
            "r3.17.4",
            "r-1.1",
            "r3-17.65536",
            "r3-17.4x",
        ] {
            assert_eq!(KeyName::read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_next_page_has_the_same_filter() {
        let query = Query::parse(Some("user=a%26b&limit=7&channel=x%20y&cursor=1.2"));
        let query = query.unwrap_or_else(|reason| panic!("{reason}"));
        assert_eq!(query.kept, "user=a%26b&channel=x+y");
        let filter = query.filter.expect("there is one");
        assert_eq!(filter.user.as_deref(), Some("a&b"));
        assert!(Query::parse(Some("limit=7")).is_ok_and(|query| query.filter.is_none()));
    }
}
