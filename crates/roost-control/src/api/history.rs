//! What channels keep: read, and forgotten.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roost_dialect::Publication;
use roost_dialect::sse::parse_id;
use roost_reactor::{HISTORY_PUBLICATIONS_MAX, HistoryPage, HistoryQuery, Loss, Position, Request};
use roost_wire::Opcode;
use serde::Serialize;

use super::access::{Action, decide};
use super::body::answer_json;
use super::call::Call;
use super::problem::{Kind, Problem};
use super::publication::{check_name, epoch_text};
use crate::peer::Reply;

/// A page of what a channel keeps.
#[derive(Serialize)]
struct Page<'a> {
    channel: &'a str,
    /// The channel's last publication.
    offset: u64,
    epoch: String,
    publications: Vec<Kept>,
    /// More are there, behind the last of these.
    has_more: bool,
}

/// A publication as raw subscribers got it.
#[derive(Serialize)]
struct Kept {
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// What is asked for by the query of a URL.
struct Query {
    channel: String,
    since: Option<Position>,
    limit: u32,
    is_reverse: bool,
}

/// `GET /v1/history`.
pub(super) async fn read(call: &Call, query: Option<&str>) -> Result<Response, Problem> {
    let query = Query::parse(query)?;
    let asked = HistoryQuery {
        channel: query.channel.as_str().into(),
        since: query.since,
        limit: query.limit,
        is_reverse: query.is_reverse,
    };
    let page = match page_of(call, asked).await? {
        Ok(page) => page,
        Err(loss) => {
            let detail = format!("{loss} (since)");
            return Err(Problem::new(Kind::Unrecoverable, detail));
        }
    };
    let publications = page.publications.iter();
    let publications = publications.map(|(offset, publication)| Kept::of(*offset, publication));
    let page = Page {
        channel: &query.channel,
        offset: page.position.offset,
        epoch: epoch_text(page.position.epoch),
        publications: publications.collect(),
        has_more: page.has_more,
    };
    answer_json(StatusCode::OK, &page)
}

/// `DELETE /v1/history`.
pub(super) async fn remove(call: &Call, query: Option<&str>) -> Result<Response, Problem> {
    let query = Query::parse(query)?;
    forget(call, &query.channel).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// What a channel keeps, if the caller may know.
pub(super) async fn page_of(
    call: &Call,
    query: HistoryQuery,
) -> Result<Result<HistoryPage, Loss>, Problem> {
    check_name(call, &query.channel)?;
    decide(&call.caller, Action::History(&query.channel))?;
    let home = call.api.peer.home_of(&query.channel);
    let sent = call.api.peer.ask(home, Request::History(Box::new(query)))?;
    match sent.answer_by(call.deadline).await? {
        Reply::History(page) => Ok(page),
        _ => Err(wrong_answer()),
    }
}

/// Has a channel forget what it keeps.
pub(super) async fn forget(call: &Call, channel: &str) -> Result<(), Problem> {
    check_name(call, channel)?;
    decide(&call.caller, Action::History(channel))?;
    let home = call.api.peer.home_of(channel);
    let sent = call
        .api
        .peer
        .ask(home, Request::RemoveHistory(channel.into()))?;
    match sent.answer_by(call.deadline).await? {
        Reply::HistoryRemoved => Ok(()),
        _ => Err(wrong_answer()),
    }
}

impl Kept {
    fn of(offset: u64, publication: &Publication) -> Kept {
        let (text, bytes) = text_or_bytes(publication);
        Kept {
            offset,
            text,
            base64: bytes.map(|bytes| STANDARD.encode(bytes)),
        }
    }
}

/// A publication as raw subscribers got it.
pub(super) fn text_or_bytes(publication: &Publication) -> (Option<String>, Option<Vec<u8>>) {
    let raw = publication.to_raw();
    let payload = raw.payload().unwrap_or_default();
    match (raw.opcode(), str::from_utf8(payload)) {
        (Opcode::Text, Ok(text)) => (Some(text.to_owned()), None),
        _ => (None, Some(payload.to_vec())),
    }
}

impl Query {
    fn parse(query: Option<&str>) -> Result<Query, Problem> {
        let mut channel = None;
        let (mut since, mut limit, mut is_reverse) = (None, LIMIT_DEFAULT, false);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "channel" => channel = Some(value.into_owned()),
                "since" => {
                    let wrong = || Problem::invalid("since is a position, EPOCH-OFFSET");
                    since = Some(parse_id(&value).ok_or_else(wrong)?);
                }
                "limit" => {
                    let number = value.parse().ok();
                    let within = number.filter(|n| (0..=HISTORY_PUBLICATIONS_MAX).contains(n));
                    limit = within.ok_or_else(|| {
                        let most = HISTORY_PUBLICATIONS_MAX;
                        Problem::invalid(format!("limit is a number from 0 to {most}"))
                    })?;
                }
                "reverse" => {
                    let wrong = || Problem::invalid("reverse is true or false");
                    is_reverse = value.parse().map_err(|_| wrong())?;
                }
                _ => {
                    let detail = "the query takes channel, since, limit and reverse";
                    return Err(Problem::invalid(detail));
                }
            }
        }
        let channel = channel.ok_or_else(|| Problem::invalid("the query names no channel"))?;
        Ok(Query {
            channel,
            since,
            limit,
            is_reverse,
        })
    }
}

/// A fault of ours, which must not end the thread.
fn wrong_answer() -> Problem {
    debug_assert!(false, "a reactor answers what it was asked");
    Problem::new(Kind::Internal, "a reactor has answered something else")
}

/// Publications in a page, if no other number is asked for.
const LIMIT_DEFAULT: u32 = 100;
