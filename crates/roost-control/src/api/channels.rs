//! Channels with subscribers, listed.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::access::{Action, decide};
use super::body::answer_json;
use super::call::Call;
use super::problem::Problem;
use crate::channels::{self, Channel, Cursor, LIMIT_DEFAULT, LIMIT_MAX};

/// One channel as answers have it.
#[derive(Serialize)]
struct View<'a> {
    channel: &'a str,
    subscribers: u64,
    offset: u64,
    /// Publications in its history.
    kept: u32,
}

#[derive(Serialize)]
struct Page<'a> {
    channels: Vec<View<'a>>,
    /// For the next page; none behind the last channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// `GET /v1/channels`.
pub(super) async fn list(call: &Call, query: Option<&str>) -> Result<Response, Problem> {
    decide(&call.caller, Action::Read)?;
    let (mut cursor, mut limit) = (Cursor::default(), LIMIT_DEFAULT);
    let (mut prefix, mut name) = (String::new(), None);
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*key {
            "limit" => {
                let parsed = value.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
                let wrong = || format!("limit is a number from 1 to {LIMIT_MAX}");
                limit = parsed.ok_or_else(|| Problem::invalid(wrong()))?;
            }
            "cursor" => {
                let wrong = || Problem::invalid("cursor is what the page before has");
                cursor = Cursor::parse(&value).ok_or_else(wrong)?;
            }
            "prefix" => prefix = value.into_owned(),
            "name" => name = Some(value.into_owned()),
            other => {
                return Err(Problem::invalid(format!(
                    "\"{other}\": the path takes limit, cursor, prefix and name"
                )));
            }
        }
    }
    let peer = &call.api.peer;
    let (found, next) = match name {
        Some(name) => {
            let one = channels::one(peer, &name, call.deadline).await?;
            (one.into_iter().collect(), None)
        }
        None => channels::page(peer, cursor, limit, &prefix, call.deadline).await?,
    };
    let page = Page {
        channels: found.iter().map(View::of).collect(),
        cursor: next.map(|next| next.to_string()),
    };
    answer_json(StatusCode::OK, &page)
}

impl View<'_> {
    fn of(channel: &Channel) -> View<'_> {
        View {
            channel: &channel.record.name,
            subscribers: channel.subscribers,
            offset: channel.record.offset,
            kept: channel.record.kept,
        }
    }
}
