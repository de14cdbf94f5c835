//! Channels of an application: `GET /apps/{app_id}/channels`, one of them, and the users in it.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use roost_dialect::pusher::Kind;
use roost_reactor::{HistoryQuery, PresenceView, Request as ReactorRequest};
use serde_json::{Map, Value, json};

use super::app_call::{AppCall, Done};
use super::fault::Fault;
use crate::api::body::answer_json;
use crate::api::connections::wrong_answer;
use crate::channels::{self, Channel, Cursor, LIMIT_MAX};
use crate::peer::Reply;

/// What is asked of channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Infos {
    user_count: bool,
    subscription_count: bool,
    cache: bool,
}

impl Infos {
    /// Names with commas between.
    pub(super) fn parse(text: Option<&str>) -> Result<Infos, Fault> {
        let mut infos = Infos::default();
        let names = text.unwrap_or_default().split(',').map(str::trim);
        for name in names.filter(|name| !name.is_empty()) {
            match name {
                "user_count" => infos.user_count = true,
                "subscription_count" => infos.subscription_count = true,
                "cache" => infos.cache = true,
                other => {
                    return Err(Fault::bad(format!(
                        "info {other:?}: there are user_count, subscription_count and cache"
                    )));
                }
            }
        }
        Ok(infos)
    }

    /// The same with all counts, which answers about channels have whether they are asked for or not: other
    /// servers' applications look for them.
    fn with_counts(self) -> Infos {
        Infos {
            user_count: true,
            subscription_count: true,
            ..self
        }
    }

    pub(super) fn any(self) -> bool {
        self != Infos::default()
    }

    /// What is asked of a channel; `None`: nothing subscribes to it, and it keeps nothing.
    fn counts_of(self, name: &str, found: Option<&Channel>) -> Map<String, Value> {
        let mut view = Map::new();
        if self.user_count && name.starts_with(PRESENCE) {
            let users = found.map_or(0, |found| found.record.presence.users);
            view.insert("user_count".to_owned(), users.into());
        }
        if self.subscription_count {
            let subscribers = found.map_or(0, |found| found.subscribers);
            view.insert("subscription_count".to_owned(), subscribers.into());
        }
        view
    }
}

/// `GET /apps/{app_id}/channels?filter_by_prefix=&info=`.
pub(super) async fn list(call: &AppCall) -> Done {
    let prefix = call.query.get("filter_by_prefix")?.unwrap_or_default();
    let infos = Infos::parse(call.query.get("info")?)?;
    if infos.user_count && !prefix.starts_with(PRESENCE) {
        let detail = "user_count is known of presence channels alone: filter_by_prefix=presence-";
        return Err(Fault::bad(detail));
    }
    if infos.cache {
        return Err(Fault::bad("cache is known of one channel, not of a list"));
    }
    let (peer, deadline) = (&call.call.api.peer, call.call.deadline);
    let whole = format!("{}{prefix}", call.app.prefix);
    let (mut found, mut next) = (Map::new(), Some(Cursor::default()));
    while let Some(at) = next {
        let (page, following) = channels::page(peer, at, LIMIT_MAX, &whole, deadline).await?;
        for channel in page.iter().filter(|channel| channel.subscribers > 0) {
            if let Some(name) = call.own_name(&channel.record.name) {
                let mut described = infos.with_counts().counts_of(name, Some(channel));
                described.insert("occupied".to_owned(), true.into());
                found.insert(name.to_owned(), Value::Object(described));
            }
        }
        if found.len() > LISTED_MAX {
            let detail = format!("more than {LISTED_MAX} channels: give filter_by_prefix");
            return Err(Fault::bad(detail));
        }
        next = following;
    }
    Ok(answer_json(StatusCode::OK, &json!({ "channels": found }))?)
}

/// `GET /apps/{app_id}/channels/{channel_name}?info=`.
pub(super) async fn one(call: &AppCall, name: &str) -> Done {
    let infos = Infos::parse(call.query.get("info")?)?;
    if infos.user_count && !name.starts_with(PRESENCE) {
        return Err(Fault::bad("user_count is known of presence channels alone"));
    }
    if infos.cache && !Kind::of(name).is_cached {
        return Err(Fault::bad("cache is known of cache channels alone"));
    }
    let found = found_of(call, name).await?;
    let is_occupied = found.as_ref().is_some_and(|found| found.subscribers > 0);
    let mut view = view_of(call, name, infos.with_counts(), found.as_ref()).await?;
    view.insert("occupied".to_owned(), is_occupied.into());
    Ok(answer_json(StatusCode::OK, &view)?)
}

/// `GET /apps/{app_id}/channels/{channel_name}/users`.
pub(super) async fn users(call: &AppCall, name: &str) -> Done {
    if !name.starts_with(PRESENCE) {
        return Err(Fault::bad("users are known of presence channels alone"));
    }
    let view = presence_of(call, name).await?;
    if view.is_truncated {
        let users = view.counts.users;
        return Err(Fault::bad(format!(
            "the channel has {users} users: too many to be listed"
        )));
    }
    let ids = view.members.iter().map(|member| &*member.user);
    let ids: BTreeSet<&str> = ids.filter(|user| !user.is_empty()).collect();
    let users: Vec<Value> = ids.into_iter().map(|id| json!({ "id": id })).collect();
    Ok(answer_json(StatusCode::OK, &json!({ "users": users }))?)
}

/// What is asked of a channel of the application.
pub(super) async fn describe(
    call: &AppCall,
    name: &str,
    infos: Infos,
) -> Result<Map<String, Value>, Fault> {
    let found = found_of(call, name).await?;
    view_of(call, name, infos, found.as_ref()).await
}

async fn view_of(
    call: &AppCall,
    name: &str,
    infos: Infos,
    found: Option<&Channel>,
) -> Result<Map<String, Value>, Fault> {
    let mut view = infos.counts_of(name, found);
    if infos.cache
        && Kind::of(name).is_cached
        && let Some(cached) = cached_of(call, name).await?
    {
        view.insert("cache".to_owned(), cached);
    }
    Ok(view)
}

/// The last event of a cache channel, and the seconds for which it is kept; `None`: there is none.
async fn cached_of(call: &AppCall, name: &str) -> Result<Option<Value>, Fault> {
    let channel = call.channel(name)?;
    let query = HistoryQuery {
        channel: channel.as_str().into(),
        since: None,
        limit: 1,
        is_reverse: true,
    };
    let peer = &call.call.api.peer;
    let sent = peer.ask(
        peer.home_of(&channel),
        ReactorRequest::History(Box::new(query)),
    )?;
    let Reply::History(page) = sent.answer_by(call.call.deadline).await? else {
        return Err(wrong_answer().into());
    };
    // No position is named, behind which something could be missing.
    let Some((page, (_, last))) = page.ok().and_then(|mut page| {
        let last = page.publications.pop()?;
        Some((page, last))
    }) else {
        return Ok(None);
    };
    let ttl = page.newest_ends_in_ms.unwrap_or_default() / 1000;
    Ok(Some(json!({ "data": last.to_text(), "ttl": ttl })))
}

async fn found_of(call: &AppCall, name: &str) -> Result<Option<Channel>, Fault> {
    let whole = call.channel(name)?;
    Ok(channels::one(&call.call.api.peer, &whole, call.call.deadline).await?)
}

async fn presence_of(call: &AppCall, name: &str) -> Result<PresenceView, Fault> {
    let channel = call.channel(name)?;
    let peer = &call.call.api.peer;
    let home = peer.home_of(&channel);
    let asked = ReactorRequest::Presence {
        channel: channel.as_str().into(),
        counts_only: false,
    };
    match peer.ask(home, asked)?.answer_by(call.call.deadline).await? {
        Reply::Presence(view) => Ok(view),
        _ => Err(wrong_answer().into()),
    }
}

/// What presence channels' names begin with.
const PRESENCE: &str = "presence-";
/// Channels in one answer.
const LISTED_MAX: usize = 10_000;
