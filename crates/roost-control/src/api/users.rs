//! Connections of a user, or one of them: closed, unsubscribed, and let be for longer or shorter.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use roost_net::ConnKey;
use roost_reactor::{
    DisconnectUser, EXCEPT_MAX, Name, Refresh, Request as ReactorRequest, Subscribe, Unsubscribe,
    Whose,
};
use serde::Deserialize;
use serde_json::json;

use super::access::{Action, decide};
use super::body::{Whole, answer_json, parse, present, read_json};
use super::call::Call;
use super::connections::{Name as ConnectionName, check_close, code_default, wrong_answer};
use super::problem::Problem;
use super::publication::check_name;
use crate::peer::Reply;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    /// Connections that stay.
    #[serde(default, borrow)]
    except: Vec<Cow<'a, str>>,
    #[serde(default = "code_default")]
    code: Whole,
    #[serde(default)]
    reason: String,
}

/// `POST /v1/disconnect`.
pub(super) async fn disconnect(call: &Call, request: Request<Body>) -> Result<Response, Problem> {
    decide(&call.caller, Action::Disconnect)?;
    let body = read_json(call, request).await?;
    let wanted: Wanted<'_> = parse(&body)?;
    let said = (wanted.code.to_u16(), wanted.reason.as_str());
    let connections = disconnect_user(call, &wanted.user, &wanted.except, said).await?;
    answer_json(StatusCode::OK, &json!({ "disconnected": connections }))
}

/// A user, a connection, or both: a connection if it is the user's.
#[derive(Deserialize)]
struct Target<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    connection: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedSubscription<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    connection: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedRefresh<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    connection: Option<Cow<'a, str>>,
    expire_at: Whole,
}

/// `POST /v1/subscribe`.
pub(super) async fn subscribe(call: &Call, request: Request<Body>) -> Result<Response, Problem> {
    let body = read_json(call, request).await?;
    let wanted: WantedSubscription<'_> = parse(&body)?;
    let target = Target {
        user: wanted.user,
        connection: wanted.connection,
    };
    let subscribed = begin_subscriptions(call, &target.read()?, &wanted.channel).await?;
    answer_json(StatusCode::OK, &json!({ "subscribed": subscribed }))
}

/// Subscribes connections to a channel, if the caller may; how many that were not subscribed to it.
pub(super) async fn begin_subscriptions(
    call: &Call,
    (user, connection): &(&str, Option<&str>),
    channel: &str,
) -> Result<u64, Problem> {
    let channel = check_name(call, channel)?;
    decide(&call.caller, Action::Subscribe(channel))?;
    let channel = Name::from(channel);
    let request = |whose| {
        ReactorRequest::Subscribe(Box::new(Subscribe {
            channel: channel.clone(),
            whose,
        }))
    };
    act_on(call, user, *connection, request).await
}

/// `POST /v1/unsubscribe`.
pub(super) async fn unsubscribe(call: &Call, request: Request<Body>) -> Result<Response, Problem> {
    decide(&call.caller, Action::Disconnect)?;
    let body = read_json(call, request).await?;
    let wanted: WantedSubscription<'_> = parse(&body)?;
    let target = Target {
        user: wanted.user,
        connection: wanted.connection,
    };
    let unsubscribed = end_subscriptions(call, &target.read()?, &wanted.channel).await?;
    answer_json(StatusCode::OK, &json!({ "unsubscribed": unsubscribed }))
}

/// Ends subscriptions to a channel; how many there were.
pub(super) async fn end_subscriptions(
    call: &Call,
    (user, connection): &(&str, Option<&str>),
    channel: &str,
) -> Result<u64, Problem> {
    let channel = Name::from(check_name(call, channel)?);
    let request = |whose| {
        ReactorRequest::Unsubscribe(Box::new(Unsubscribe {
            channel: channel.clone(),
            whose,
        }))
    };
    act_on(call, user, *connection, request).await
}

/// `POST /v1/refresh`.
pub(super) async fn refresh(call: &Call, request: Request<Body>) -> Result<Response, Problem> {
    decide(&call.caller, Action::Refresh)?;
    let body = read_json(call, request).await?;
    let wanted: WantedRefresh<'_> = parse(&body)?;
    let target = Target {
        user: wanted.user,
        connection: wanted.connection,
    };
    let refreshed = set_expiry(call, &target.read()?, wanted.expire_at.0).await?;
    answer_json(StatusCode::OK, &json!({ "refreshed": refreshed }))
}

/// Lets identities end at this second since 1970; of how many connections.
pub(super) async fn set_expiry(
    call: &Call,
    (user, connection): &(&str, Option<&str>),
    expire_at: u64,
) -> Result<u64, Problem> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    if expire_at > now.as_secs() + AHEAD_SECS_MAX {
        return Err(Problem::invalid("expire_at is more than 400 days ahead"));
    }
    let ends_in = Duration::from_secs(expire_at).saturating_sub(now);
    let ends_in_ms = u64::try_from(ends_in.as_millis()).ok();
    let request = |whose| ReactorRequest::Refresh(Box::new(Refresh { whose, ends_in_ms }));
    act_on(call, user, *connection, request).await
}

/// Has one reactor, or all, do something to a connection or to those of a user.
async fn act_on(
    call: &Call,
    user: &str,
    connection: Option<&str>,
    request: impl Fn(Whose) -> ReactorRequest,
) -> Result<u64, Problem> {
    let Some(name) = connection else {
        let user = check_user(user)?;
        return do_at_all(call, |_| request(Whose::User(user.into()))).await;
    };
    // A name that no connection can have is of none.
    let Some(name) = ConnectionName::parse(call, name) else {
        return Ok(0);
    };
    let whose = Whose::Connection {
        key: name.key(),
        user: user.into(),
    };
    let sent = call.api.peer.ask(name.reactor(), request(whose))?;
    match sent.answer_by(call.deadline).await? {
        Reply::Done { connections } => Ok(connections.into()),
        _ => Err(wrong_answer()),
    }
}

impl Target<'_> {
    /// The user, which may be empty if there is a connection.
    fn read(&self) -> Result<(&str, Option<&str>), Problem> {
        match (self.user.as_deref(), self.connection.as_deref()) {
            (None, None) => Err(Problem::invalid("give user, connection, or both")),
            (user, connection) => {
                let user = user.map(check_user).transpose()?;
                Ok((user.unwrap_or_default(), connection))
            }
        }
    }
}

/// Closes all connections of a user but these; how many there were.
pub(super) async fn disconnect_user(
    call: &Call,
    user: &str,
    except: &[Cow<'_, str>],
    (code, reason): (u16, &str),
) -> Result<u64, Problem> {
    let user = check_user(user)?;
    let (code, reason) = check_close(code, reason)?;
    if except.len() > EXCEPT_MAX {
        let detail = format!("at most {EXCEPT_MAX} connections may be named to stay");
        return Err(Problem::invalid(detail));
    }
    // A name that no connection can have excepts none.
    let names = except
        .iter()
        .filter_map(|name| ConnectionName::parse(call, name));
    let names: Vec<ConnectionName> = names.collect();
    let request = |reactor| {
        let own = names.iter().filter(|name| name.reactor() == reactor);
        let except: Vec<ConnKey> = own.map(|name| name.key()).collect();
        ReactorRequest::DisconnectUser(Box::new(DisconnectUser {
            user: user.into(),
            except: except.into(),
            code,
            reason: reason.clone(),
        }))
    };
    do_at_all(call, request).await
}

/// Asks all reactors to do something to connections; to how many they have.
pub(super) async fn do_at_all(
    call: &Call,
    request: impl Fn(usize) -> ReactorRequest,
) -> Result<u64, Problem> {
    let peer = &call.api.peer;
    let mut sent = Vec::new();
    for reactor in 0..peer.reactors() {
        let request = request(reactor);
        sent.push(peer.ask_patiently(reactor, &request, call.deadline).await);
    }
    // What a reactor refuses, the others have done.
    let mut outcome = Ok(0);
    for sent in sent {
        let reply = match sent {
            Ok(sent) => sent.answer_by(call.deadline).await,
            Err(error) => Err(error),
        };
        outcome = match (outcome, reply) {
            (Ok(before), Ok(Reply::Done { connections })) => Ok(before + u64::from(connections)),
            (Ok(_), Ok(_)) => return Err(wrong_answer()),
            (Ok(_), Err(error)) | (Err(error), _) => Err(error),
        };
    }
    outcome.map_err(|error| Problem::from(error).and("it is safe to repeat"))
}

/// A user that a connection can have.
pub(super) fn check_user(user: &str) -> Result<&str, Problem> {
    match user.len() {
        1..=USER_BYTES_MAX => Ok(user),
        _ => {
            let detail =
                format!("a user has 1 to {USER_BYTES_MAX} bytes; anonymous clients have none");
            Err(Problem::invalid(detail))
        }
    }
}

/// How far ahead a revocation or an identity may end.
pub(super) const AHEAD_SECS_MAX: u64 = 400 * 24 * 3600;
/// Of tokens and of WAMP's users.
const USER_BYTES_MAX: usize = 255;
