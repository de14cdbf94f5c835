//! The server API of Centrifugo, `/api/METHOD`, for its clients in many languages: errors are answers of
//! status 200 with a code, only a wrong key is 401.
//!
//! What Roost has no counterpart of is answered with 108, "not available", as Centrifugo does where an
//! option is off.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roost_dialect::Publication;
use roost_reactor::{
    ControlPublication, HISTORY_PUBLICATIONS_MAX, HistoryQuery, Position, PresenceCounts,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::access::{Action, decide};
use super::body::{answer_json, read_json};
use super::call::Call;
use super::connections::{Name, disconnect};
use super::history::{forget, page_of, text_or_bytes};
use super::info::Info;
use super::many::publish_many;
use super::presence::{client_of, infos_of, view_of};
use super::problem::{Kind, Problem};
use super::publication::{Payload, check_channel, epoch_text, repeat_key, some_value};
use super::users::{begin_subscriptions, disconnect_user, end_subscriptions, set_expiry};
use crate::channels::{self, Cursor, LIMIT_MAX};

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Publish,
    Broadcast,
    Batch,
    Info,
    Disconnect,
    Subscribe,
    Unsubscribe,
    Refresh,
    Channels,
    History,
    HistoryRemove,
    Presence,
    PresenceStats,
}

/// An error as Centrifugo numbers them.
struct Fault {
    code: u32,
    message: Cow<'static, str>,
}

type Done = Result<Value, Fault>;

#[derive(Deserialize)]
struct Publish<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "some_value")]
    data: Option<&'a RawValue>,
    b64data: Option<String>,
    idempotency_key: Option<String>,
}

#[derive(Deserialize)]
struct Broadcast<'a> {
    #[serde(borrow)]
    channels: Vec<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "some_value")]
    data: Option<&'a RawValue>,
    b64data: Option<String>,
    idempotency_key: Option<String>,
}

#[derive(Deserialize)]
struct DisconnectRequest<'a> {
    #[serde(borrow, default)]
    user: Cow<'a, str>,
    #[serde(borrow, default)]
    client: Cow<'a, str>,
    /// Connections that stay.
    #[serde(borrow, default)]
    whitelist: Vec<Cow<'a, str>>,
    disconnect: Option<DisconnectCode>,
}

#[derive(Deserialize)]
struct SubscriptionRequest<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow, default)]
    user: Cow<'a, str>,
    #[serde(borrow, default)]
    client: Cow<'a, str>,
}

#[derive(Deserialize)]
struct RefreshRequest<'a> {
    #[serde(borrow, default)]
    user: Cow<'a, str>,
    #[serde(borrow, default)]
    client: Cow<'a, str>,
    #[serde(default)]
    expired: bool,
    expire_at: Option<u64>,
}

#[derive(Deserialize)]
struct ChannelsRequest {
    #[serde(default)]
    pattern: String,
}

#[derive(Deserialize)]
struct DisconnectCode {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct HistoryRequest {
    channel: String,
    /// 0: only where the channel stands; negative: all.
    #[serde(default)]
    limit: i64,
    since: Option<HistorySince>,
    #[serde(default)]
    reverse: bool,
}

#[derive(Deserialize)]
struct HistorySince {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    epoch: String,
}

#[derive(Deserialize)]
struct ChannelRequest {
    channel: String,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    commands: Vec<Map1<'a>>,
}

/// One method with its parameters.
#[derive(Deserialize)]
struct Map1<'a>(#[serde(borrow)] std::collections::BTreeMap<Cow<'a, str>, &'a RawValue>);

/// `POST /api/METHOD`.
pub(super) async fn answer(
    call: &Call,
    method: Method,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let done = match read_json(call, request).await {
        Ok(body) => match str::from_utf8(&body) {
            Ok(text) if method == Method::Batch => return batch(call, text).await,
            Ok(text) => run(call, method, text).await,
            Err(_) => Err(bad_request("the body is not UTF-8")),
        },
        Err(problem) => Err(problem.into()),
    };
    let answer = match done {
        Ok(result) => json!({ "result": result }),
        Err(fault) => json!({ "error": fault.to_json() }),
    };
    answer_json(StatusCode::OK, &answer)
}

/// Several methods, one behind the other.
async fn batch(call: &Call, text: &str) -> Result<Response, Problem> {
    let commands = match serde_json::from_str::<Batch<'_>>(text) {
        Ok(batch) => batch.commands,
        Err(error) => {
            let fault = bad_request(error.to_string());
            return answer_json(StatusCode::OK, &json!({ "error": fault.to_json() }));
        }
    };
    let mut replies = Vec::with_capacity(commands.len());
    for command in &commands {
        let mut reply = Map::new();
        let (name, done) = match command.0.first_key_value() {
            Some((name, params)) if command.0.len() == 1 => {
                (&**name, run_named(call, name, params.get()).await)
            }
            _ => ("", Err(bad_request("a command is an object of one method"))),
        };
        match done {
            Ok(result) => reply.insert(name.to_owned(), result),
            Err(fault) => reply.insert("error".to_owned(), fault.to_json()),
        };
        replies.push(Value::Object(reply));
    }
    answer_json(StatusCode::OK, &json!({ "replies": replies }))
}

async fn run_named(call: &Call, name: &str, params: &str) -> Done {
    let method = METHODS.iter().find(|(known, _)| *known == name);
    match method {
        Some((_, Method::Batch)) | None => Err(Fault {
            code: 104,
            message: "method not found".into(),
        }),
        Some((_, method)) => run(call, *method, params).await,
    }
}

async fn run(call: &Call, method: Method, text: &str) -> Done {
    match method {
        Method::Publish => publish(call, text).await,
        Method::Broadcast => broadcast(call, text).await,
        Method::Info => info(call),
        Method::Disconnect => disconnect_client(call, text).await,
        Method::Subscribe => subscribe(call, text).await,
        Method::Unsubscribe => unsubscribe(call, text).await,
        Method::Refresh => refresh(call, text).await,
        Method::Channels => list_channels(call, text).await,
        Method::History => history(call, text).await,
        Method::HistoryRemove => history_remove(call, text).await,
        Method::Presence => presence(call, text, false).await,
        Method::PresenceStats => presence(call, text, true).await,
        Method::Batch => Err(Fault {
            code: 108,
            message: "not available".into(),
        }),
    }
}

async fn publish(call: &Call, text: &str) -> Done {
    let wanted: Publish<'_> = read(text)?;
    let mut outcomes = publish_on(
        call,
        std::slice::from_ref(&wanted.channel),
        (wanted.data, wanted.b64data.as_deref()),
        wanted.idempotency_key.as_deref(),
    )
    .await?;
    outcomes.pop().unwrap_or_else(|| Err(internal()))
}

async fn broadcast(call: &Call, text: &str) -> Done {
    let wanted: Broadcast<'_> = read(text)?;
    if !(1..=super::broadcast::CHANNELS_MAX).contains(&wanted.channels.len()) {
        return Err(bad_request("channels are none or too many"));
    }
    let outcomes = publish_on(
        call,
        &wanted.channels,
        (wanted.data, wanted.b64data.as_deref()),
        wanted.idempotency_key.as_deref(),
    )
    .await?;
    let responses = outcomes.into_iter().map(|outcome| match outcome {
        Ok(result) => json!({ "result": result }),
        Err(fault) => json!({ "error": fault.to_json() }),
    });
    Ok(json!({ "responses": responses.collect::<Vec<_>>() }))
}

/// Publishes on each of these channels. Bytes in `b64data` go before `data`, and a channel that is refused
/// is no reason not to publish on the others, as Centrifugo has it.
async fn publish_on(
    call: &Call,
    channels: &[Cow<'_, str>],
    (data, b64data): (Option<&RawValue>, Option<&str>),
    key: Option<&str>,
) -> Result<Vec<Done>, Fault> {
    let b64data = b64data.filter(|text| !text.is_empty());
    let payload = Payload {
        data: data.filter(|_| b64data.is_none()),
        text: None,
        base64: b64data,
    };
    let payload = payload.freeze(&call.api.shared)?;
    let key = key.filter(|key| !key.is_empty());
    let (mut faults, mut publications) = (Vec::new(), Vec::new());
    for channel in channels {
        match publication_on(call, channel, &payload, key) {
            Ok(publication) => {
                publications.push(publication);
                faults.push(None);
            }
            Err(fault) => faults.push(Some(fault)),
        }
    }
    let mut placed = placed(call, publications).await.into_iter();
    let outcomes = faults.into_iter().map(|fault| match fault {
        Some(fault) => Err(fault),
        None => placed.next().unwrap_or_else(|| Err(internal())),
    });
    Ok(outcomes.collect())
}

fn publication_on(
    call: &Call,
    channel: &str,
    payload: &Publication,
    key: Option<&str>,
) -> Result<ControlPublication, Fault> {
    check_known(call, channel)?;
    Ok(ControlPublication {
        channel: check_channel(call, channel)?.into(),
        payload: payload.clone(),
        is_limited: true,
        repeat_key: repeat_key(call, channel, key)?,
    })
}

async fn placed(call: &Call, publications: Vec<ControlPublication>) -> Vec<Done> {
    let peer = &call.api.peer;
    let outcomes = publish_many(peer, publications, call.deadline).await;
    let all = outcomes.into_iter().map(|outcome| match outcome {
        Ok(place) => {
            let epoch = epoch_text(peer.epoch_at(place.home));
            Ok(json!({ "offset": place.offset, "epoch": epoch }))
        }
        Err(error) => Err(Problem::from(error).into()),
    });
    all.collect()
}

/// In Centrifugo a channel is unknown whose namespace is not in the configuration; here where that is asked
/// for.
fn check_known(call: &Call, channel: &str) -> Result<(), Fault> {
    let Some((namespace, _)) = channel.split_once(':') else {
        return Ok(());
    };
    if !call.api.limits.strict_namespaces
        || call.api.shared.settings().channels.number_of(channel) != 0
    {
        return Ok(());
    }
    let detail = format!("there is no [[namespace]] {namespace:?} (api.strict_namespaces)");
    Err(Fault {
        code: 102,
        message: format!("unknown channel: {detail}").into(),
    })
}

fn info(call: &Call) -> Done {
    decide(&call.caller, Action::Read).map_err(Problem::from)?;
    let info = Info::of(call);
    Ok(json!({
        "nodes": [{
            "uid": epoch_text(call.api.peer.epoch_of("")),
            "name": "roost",
            "version": info.version,
            "num_clients": info.websockets,
            "num_users": 0,
            "num_subs": info.subscriptions,
            "num_channels": info.channels,
            "uptime": info.uptime_seconds,
        }],
    }))
}

/// All channels that match, as Centrifugo has it: not for servers with very many, which `/v1/channels` lists in
/// pages.
async fn list_channels(call: &Call, text: &str) -> Done {
    let wanted: ChannelsRequest = read(text)?;
    decide(&call.caller, Action::Read).map_err(Problem::from)?;
    let pattern = wanted.pattern;
    let prefix = pattern.split(['*', '?']).next().unwrap_or_default();
    if pattern.contains(['[', ']', '{', '}', '\\']) {
        return Err(bad_request("of patterns, * and ? are understood"));
    }
    let peer = &call.api.peer;
    let (mut found, mut next) = (Map::new(), Some(Cursor::default()));
    while let Some(at) = next {
        let page = channels::page(peer, at, LIMIT_MAX, prefix, call.deadline);
        let (page, following) = page.await.map_err(Problem::from)?;
        for channel in page {
            let name = channel.record.name;
            if channel.subscribers == 0 {
                continue; // it keeps something, and that is all
            }
            if pattern.is_empty() || is_match(pattern.as_bytes(), name.as_bytes()) {
                let count = json!({ "num_clients": channel.subscribers });
                found.insert(name.as_str().to_owned(), count);
            }
        }
        if found.len() > CHANNELS_LISTED_MAX {
            return Err(bad_request(format!(
                "more than {CHANNELS_LISTED_MAX} channels: name a pattern, or GET /v1/channels"
            )));
        }
        next = following;
    }
    Ok(json!({ "channels": found }))
}

/// Whether a name matches a pattern in which `*` stands for any bytes and `?` for one.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = ((0, 0), None);
    while at.1 < name.len() {
        match pattern.get(at.0) {
            Some(b'*') => {
                from = Some(at);
                at.0 += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[at.1] => at = (at.0 + 1, at.1 + 1),
            _ => {
                // The last star stands for one byte more.
                let Some((star, begin)) = from else {
                    return false;
                };
                from = Some((star, begin + 1));
                at = (star + 1, begin + 1);
            }
        }
    }
    pattern[at.0..].iter().all(|&byte| byte == b'*')
}

/// By connection, or all of a user.
async fn disconnect_client(call: &Call, text: &str) -> Done {
    let wanted: DisconnectRequest<'_> = read(text)?;
    decide(&call.caller, Action::Disconnect).map_err(Problem::from)?;
    let (code, reason) = match &wanted.disconnect {
        Some(said) if said.code != 0 => (said.code, said.reason.as_str()),
        _ => (3503, "force disconnect"),
    };
    match (&*wanted.client, &*wanted.user) {
        ("", "") => return Err(bad_request("a disconnect names a user or a client")),
        ("", user) => {
            disconnect_user(call, user, &wanted.whitelist, (code, reason)).await?;
        }
        (client, user) => {
            if let Some(name) = Name::parse(call, client) {
                disconnect(call, name, user, (code, reason)).await?;
            }
        }
    }
    Ok(json!({}))
}

/// Subscribes connections; what a subscription would be like, beside its channel, is not looked at.
async fn subscribe(call: &Call, text: &str) -> Done {
    let wanted: SubscriptionRequest<'_> = read(text)?;
    let target = target(&wanted.user, &wanted.client)?;
    check_known(call, &wanted.channel)?;
    begin_subscriptions(call, &target, &wanted.channel).await?;
    Ok(json!({}))
}

/// Ends subscriptions; raw connections are closed.
async fn unsubscribe(call: &Call, text: &str) -> Done {
    let wanted: SubscriptionRequest<'_> = read(text)?;
    decide(&call.caller, Action::Disconnect).map_err(Problem::from)?;
    let target = target(&wanted.user, &wanted.client)?;
    check_known(call, &wanted.channel)?;
    end_subscriptions(call, &target, &wanted.channel).await?;
    Ok(json!({}))
}

/// Sets when connections end. Without a time, and not expired, there is nothing to do.
async fn refresh(call: &Call, text: &str) -> Done {
    let wanted: RefreshRequest<'_> = read(text)?;
    decide(&call.caller, Action::Refresh).map_err(Problem::from)?;
    let target = target(&wanted.user, &wanted.client)?;
    let ends = match wanted.expired {
        true => Some(0),
        false => wanted.expire_at.filter(|&at| at != 0),
    };
    if let Some(ends) = ends {
        set_expiry(call, &target, ends).await?;
    }
    Ok(json!({}))
}

/// Whose connections, or which.
fn target<'a>(user: &'a str, client: &'a str) -> Result<(&'a str, Option<&'a str>), Fault> {
    match (user, client) {
        ("", "") => Err(bad_request("a user or a client is to be named")),
        _ => Ok((user, Some(client).filter(|client| !client.is_empty()))),
    }
}

async fn history(call: &Call, text: &str) -> Done {
    let wanted: HistoryRequest = read(text)?;
    check_keeps(call, &wanted.channel)?;
    let own_epoch = call.api.peer.epoch_of(&wanted.channel);
    let since = wanted.since.map(|since| Position {
        // An empty one is any, as Centrifugo has it.
        epoch: match since.epoch.as_str() {
            "" => own_epoch,
            epoch => u64::from_str_radix(epoch, 16).unwrap_or(!own_epoch),
        },
        offset: since.offset,
    });
    let query = HistoryQuery {
        channel: wanted.channel.as_str().into(),
        since,
        limit: u32::try_from(wanted.limit).unwrap_or(HISTORY_PUBLICATIONS_MAX),
        is_reverse: wanted.reverse,
    };
    let page = page_of(call, query).await?.map_err(|_| Fault {
        code: 112,
        message: "unrecoverable position".into(),
    })?;
    let publications = page.publications.iter();
    let publications: Vec<Value> = publications
        .map(|(offset, publication)| publication_json(*offset, publication))
        .collect();
    Ok(json!({
        "publications": publications,
        "epoch": epoch_text(page.position.epoch),
        "offset": page.position.offset,
    }))
}

/// JSON as it is; another text as a string, bytes in `b64data`.
fn publication_json(offset: u64, publication: &Publication) -> Value {
    match text_or_bytes(publication) {
        (Some(text), _) => {
            let data = serde_json::from_str(&text).unwrap_or(Value::String(text));
            json!({ "offset": offset, "data": data })
        }
        (None, bytes) => {
            let base64 = STANDARD.encode(bytes.unwrap_or_default());
            json!({ "offset": offset, "b64data": base64 })
        }
    }
}

/// Of a channel whose namespace keeps nothing, Centrifugo says so.
fn check_keeps(call: &Call, channel: &str) -> Result<(), Fault> {
    check_known(call, channel)?;
    decide(&call.caller, Action::History(channel)).map_err(Problem::from)?;
    let settings = call.api.shared.settings();
    let policy = settings.channels.of(channel);
    match policy.history_messages_max {
        0 => Err(Fault {
            code: 108,
            message: "not available: the namespace keeps no history".into(),
        }),
        _ => Ok(()),
    }
}

async fn history_remove(call: &Call, text: &str) -> Done {
    let wanted: ChannelRequest = read(text)?;
    check_keeps(call, &wanted.channel)?;
    forget(call, &wanted.channel).await?;
    Ok(json!({}))
}

/// Who is in a channel, by connection.
async fn presence(call: &Call, text: &str, counts_only: bool) -> Done {
    let wanted: ChannelRequest = read(text)?;
    check_known(call, &wanted.channel)?;
    let view = match view_of(call, &wanted.channel, counts_only).await {
        Ok(view) => view,
        Err(problem) if problem.kind() == Kind::NotFound => {
            return Err(Fault {
                code: 108,
                message: format!("not available: {}", problem.detail()).into(),
            });
        }
        Err(problem) => return Err(problem.into()),
    };
    let PresenceCounts {
        clients,
        users,
        has_anonymous,
    } = view.counts;
    // As Centrifugo counts: all that are anonymous are one user.
    let users = users + u32::from(has_anonymous);
    if counts_only {
        return Ok(json!({ "num_clients": clients, "num_users": users }));
    }
    let members = view.members.iter().map(|member| {
        let client = client_of(member);
        let mut info = Map::new();
        info.insert("client".to_owned(), client.as_str().into());
        info.insert("user".to_owned(), member.user.as_str().into());
        for (name, value) in infos_of(member) {
            let value = value.and_then(|text| serde_json::from_str(text).ok());
            info.extend(value.map(|value: Value| (name.to_owned(), value)));
        }
        (client, Value::Object(info))
    });
    let members: Map<String, Value> = members.collect();
    let mut result = json!({ "presence": members });
    if view.is_truncated {
        result["truncated"] = true.into();
        result["num_clients"] = clients.into();
        result["num_users"] = users.into();
    }
    Ok(result)
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| bad_request(error.to_string()))
}

impl Fault {
    fn to_json(&self) -> Value {
        json!({ "code": self.code, "message": self.message })
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Fault {
        let (code, message) = match problem.kind() {
            Kind::Forbidden => (103, "permission denied"),
            Kind::Congested | Kind::RateLimited | Kind::Overloaded => (111, "too many requests"),
            Kind::Internal | Kind::NoAnswer => (100, "internal server error"),
            _ => (107, "bad request"),
        };
        Fault {
            code,
            message: format!("{message}: {}", problem.detail()).into(),
        }
    }
}

fn bad_request(detail: impl Into<String>) -> Fault {
    Fault {
        code: 107,
        message: format!("bad request: {}", detail.into()).into(),
    }
}

fn internal() -> Fault {
    Fault {
        code: 100,
        message: "internal server error".into(),
    }
}

/// Channels in one answer.
const CHANNELS_LISTED_MAX: usize = 10_000;

/// The names of methods.
pub(super) const METHODS: [(&str, Method); 13] = [
    ("publish", Method::Publish),
    ("broadcast", Method::Broadcast),
    ("batch", Method::Batch),
    ("info", Method::Info),
    ("disconnect", Method::Disconnect),
    ("channels", Method::Channels),
    ("presence", Method::Presence),
    ("presence_stats", Method::PresenceStats),
    ("history", Method::History),
    ("history_remove", Method::HistoryRemove),
    ("subscribe", Method::Subscribe),
    ("unsubscribe", Method::Unsubscribe),
    ("refresh", Method::Refresh),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("a*", "a", true),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*c", "abxbc", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("", "a", false),
        ] {
            let is = is_match(pattern.as_bytes(), name.as_bytes());
            assert_eq!(is, expected, "{pattern} {name}");
        }
    }
}
