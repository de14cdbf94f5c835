//! Pusher's HTTP API, `/apps/{app_id}/…`, for its server libraries in many languages: requests are signed
//! with the application's secret, and errors are a status and a sentence.
//!
//! | to read about | look at |
//! |---|---|
//! | signatures | `pusher/signed.rs` |
//! | a request that was let in | `pusher/app_call.rs` |
//! | errors | `pusher/fault.rs` |
//! | events | `pusher/events.rs` |
//! | channels and their users | `pusher/channels.rs` |

mod app_call;
mod channels;
mod events;
mod fault;
mod signed;

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use tokio::time::Instant;

use super::access::Caller;
use super::body::WholeBody;
use super::call::{Api, Call};
use super::users::disconnect_user;
use app_call::{AppCall, Done, empty};
use fault::Fault;
use signed::Signed;

/// What is asked for, of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation<'a> {
    Events,
    BatchEvents,
    Channels,
    Channel(&'a str),
    Users(&'a str),
    TerminateConnections(&'a str),
}

/// Whether a path is one of Pusher's.
pub(super) fn has_path(path: &str) -> bool {
    let users = || {
        path.strip_prefix('/')?
            .strip_prefix(USERS)?
            .strip_suffix(TERMINATE)
    };
    path.starts_with(PREFIX) || users().is_some()
}

/// Answers a request to such a path.
pub(super) async fn answer(api: Arc<Api>, request: Request<Body>) -> Response {
    match run(api, request).await {
        Ok(response) => response,
        Err(fault) => fault.into_response(),
    }
}

async fn run(api: Arc<Api>, request: Request<Body>) -> Done {
    let path = request.uri().path().to_owned();
    let plain = signed::decoded(&path)?;
    let apps = api.pusher.get();
    let (app, rest) = match plain
        .strip_prefix('/')
        .filter(|rest| rest.starts_with(USERS))
    {
        Some(rest) => (signed::app_of_key(&apps, &request)?, rest),
        None => {
            let (id, rest) = split(&plain).ok_or_else(|| Fault::not_found(&plain))?;
            let found = apps.iter().find(|known| *known.id == *id);
            let app = found.ok_or_else(|| {
                let detail = format!("there is no application \"{id}\" ([[pusher.app]])");
                Fault::new(StatusCode::NOT_FOUND, detail)
            })?;
            (app, rest)
        }
    };
    if !app.enabled {
        let detail = format!(
            "the application \"{}\" is disabled (pusher.app.enabled)",
            app.id
        );
        return Err(Fault::new(StatusCode::FORBIDDEN, detail));
    }
    let (operation, method) = operation_of(rest).ok_or_else(|| Fault::not_found(&plain))?;
    if request.method() != method {
        return Ok(wrong_method(request.method(), &method));
    }
    let signed = Signed::check(app, &request, [&path, &plain], &api.pusher)?;
    let others = apps.iter().filter(|other| other.id != app.id);
    let others = others.map(|other| other.prefix.to_string());
    let call = AppCall {
        app: app.clone(),
        others: others.filter(|prefix| !prefix.is_empty()).collect(),
        query: signed.query,
        call: Call {
            caller: Caller::App,
            deadline: Instant::now() + api.limits.timeout,
            idempotency_key: None,
            _under_way: api.enter()?,
            api,
        },
    };
    match operation {
        Operation::Channels => channels::list(&call).await,
        Operation::Channel(name) => channels::one(&call, name).await,
        Operation::Users(name) => channels::users(&call, name).await,
        Operation::Events => {
            let body = read_body(&call, request, signed.body_md5).await?;
            events::publish(&call, &body).await
        }
        Operation::BatchEvents => {
            let body = read_body(&call, request, signed.body_md5).await?;
            events::publish_batch(&call, &body).await
        }
        Operation::TerminateConnections(user) => {
            read_body(&call, request, signed.body_md5).await?;
            let said = (TERMINATED_CODE, TERMINATED);
            disconnect_user(&call.call, &call.user(user)?, &[], said).await?;
            Ok(empty())
        }
    }
}

/// The application's id, and what follows it.
fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix(PREFIX)?.split_once('/')
}

/// What a path behind the application asks for, and by which method. A name may have a slash in it, for a
/// user's id may.
fn operation_of(rest: &str) -> Option<(Operation<'_>, Method)> {
    let found = match rest.split_once('/') {
        None => match rest {
            "events" => (Operation::Events, Method::POST),
            "batch_events" => (Operation::BatchEvents, Method::POST),
            "channels" => (Operation::Channels, Method::GET),
            _ => return None,
        },
        Some(("channels", rest)) => match rest.strip_suffix("/users") {
            Some(name) => (Operation::Users(name), Method::GET),
            None => (Operation::Channel(rest), Method::GET),
        },
        Some(("users", rest)) => {
            let user = rest.strip_suffix(TERMINATE)?;
            (Operation::TerminateConnections(user), Method::POST)
        }
        Some(_) => return None,
    };
    Some(found)
}

/// A body, which has to be the one that was signed.
async fn read_body(
    call: &AppCall,
    request: Request<Body>,
    body_md5: String,
) -> Result<WholeBody, Fault> {
    let body = super::body::read_json(&call.call, request).await?;
    match roost_auth::is_body_md5(&body_md5, &body) {
        true => Ok(body),
        false => Err(Fault::unauthorized(
            "body_md5 is not the MD5 of the request's body",
        )),
    }
}

fn wrong_method(found: &Method, wanted: &Method) -> Response {
    let detail = format!("the path takes {wanted}, not {found}");
    let mut response = Fault::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response();
    if let Ok(wanted) = HeaderValue::from_str(wanted.as_str()) {
        response.headers_mut().insert(ALLOW, wanted);
    }
    response
}

/// Method and path of all, for tests of the documentation.
pub(super) const PATHS: [(&str, &str); 6] = [
    ("POST", "/apps/{app_id}/events"),
    ("POST", "/apps/{app_id}/batch_events"),
    ("GET", "/apps/{app_id}/channels"),
    ("GET", "/apps/{app_id}/channels/{channel_name}"),
    ("GET", "/apps/{app_id}/channels/{channel_name}/users"),
    (
        "POST",
        "/apps/{app_id}/users/{user_id}/terminate_connections",
    ),
];
/// What the paths begin with.
const PREFIX: &str = "/apps/";
/// PyPI's pusher asks for `/users/{user_id}/terminate_connections` without the application, which its key names.
const USERS: &str = "users/";
const TERMINATE: &str = "/terminate_connections";
/// Pusher's "connection is unauthorized": its clients do not come back by themselves.
const TERMINATED_CODE: u16 = 4009;
const TERMINATED: &str = "terminated by the application";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_an_application_and_what_is_asked_of_it() {
        assert_eq!(split("/apps/3/events"), Some(("3", "events")));
        assert_eq!(split("/apps/3"), None);
        let of = |rest| operation_of(rest);
        assert_eq!(of("events"), Some((Operation::Events, Method::POST)));
        assert_eq!(of("channels"), Some((Operation::Channels, Method::GET)));
        let one = (Operation::Channel("presence-a"), Method::GET);
        assert_eq!(of("channels/presence-a"), Some(one));
        let users = (Operation::Users("presence-a"), Method::GET);
        assert_eq!(of("channels/presence-a/users"), Some(users));
        let user = (Operation::TerminateConnections("a/b"), Method::POST);
        assert_eq!(of("users/a/b/terminate_connections"), Some(user));
        for nothing in ["", "event", "users/1", "channel/a", "users/1/terminate"] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }
}
