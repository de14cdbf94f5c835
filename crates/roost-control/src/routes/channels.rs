//! Channels: found, and looked at.

use std::sync::Arc;

use axum::extract::{RawQuery, State as Shown};
use axum::http::header::LINK;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use tokio::time::Instant;

use super::answers::{
    ANSWER_TIMEOUT, NDJSON, State, bad_request, not_answered, not_found, pairs, respond,
    respond_json, write_line,
};
use crate::channels::{self, Channel, Cursor, LIMIT_DEFAULT, LIMIT_MAX};
use crate::pauses::Pauses;

/// A channel as administrators see it.
#[derive(Serialize)]
struct View<'a> {
    channel: &'a str,
    /// Empty: it has none.
    namespace: String,
    subscribers: u64,
    offset: u64,
    /// Publications in its history.
    kept: u32,
    /// How many are in it, if its namespace keeps presence.
    #[serde(skip_serializing_if = "Option::is_none")]
    present_clients: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    present_users: Option<u32>,
}

impl View<'_> {
    fn of<'a>(state: &'a State, channel: &'a Channel) -> View<'a> {
        let is_kept = state.keeps_presence(channel.record.namespace);
        let presence = is_kept.then_some(channel.record.presence);
        View {
            channel: &channel.record.name,
            namespace: state.namespace_name(channel.record.namespace),
            subscribers: channel.subscribers,
            offset: channel.record.offset,
            kept: channel.record.kept,
            present_clients: presence.map(|counts| counts.clients),
            present_users: presence.map(|counts| counts.users),
        }
    }
}

/// `GET /channels`.
pub(super) async fn list(Shown(state): Shown<Arc<State>>, RawQuery(query): RawQuery) -> Response {
    let (mut cursor, mut limit) = (Cursor::default(), LIMIT_DEFAULT);
    let (mut prefix, mut name) = (String::new(), None);
    for (key, value) in pairs(query.as_deref()) {
        match &*key {
            "limit" => match value.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n)) {
                Some(number) => limit = number,
                None => return bad_request(format!("limit is a number from 1 to {LIMIT_MAX}\n")),
            },
            "cursor" if value.is_empty() => {}
            "cursor" => match Cursor::parse(&value) {
                Some(parsed) => cursor = parsed,
                None => return bad_request("cursor is what the Link header of a page has\n"),
            },
            "prefix" => prefix = value.into_owned(),
            "name" => name = Some(value.into_owned()),
            _ => return bad_request("/channels takes limit, cursor and prefix, or name\n"),
        }
    }
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    if let Some(name) = name {
        return match channels::one(&state.peer, &name, deadline).await {
            Ok(Some(channel)) => respond_json(&View::of(&state, &channel)),
            Ok(None) => not_found(format!(
                "nothing subscribes to \"{name}\": a channel is there while it has subscribers; \
                 /channels?prefix= finds names\n"
            )),
            Err(error) => not_answered(error),
        };
    }
    let (page, next) = match channels::page(&state.peer, cursor, limit, &prefix, deadline).await {
        Ok(page) => page,
        Err(error) => return not_answered(error),
    };
    let (mut lines, mut pauses) = (Vec::new(), Pauses::new());
    for channel in &page {
        write_line(&mut lines, &View::of(&state, channel));
        pauses.after_line().await;
    }
    let mut response = respond(StatusCode::OK, NDJSON, lines);
    if let Some(next) = next {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        query.append_pair("cursor", &next.to_string());
        query.append_pair("prefix", &prefix);
        let link = format!("</channels?{}>; rel=\"next\"", query.finish());
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(LINK, link);
        }
    }
    response
}
