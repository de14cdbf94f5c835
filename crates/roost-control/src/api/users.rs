//! All connections of a user.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use roost_net::ConnKey;
use roost_reactor::{DisconnectUser, EXCEPT_MAX, Request as ReactorRequest};
use serde::Deserialize;
use serde_json::json;

use super::access::{Action, decide};
use super::body::{Whole, answer_json, parse, read_json};
use super::call::Call;
use super::connections::{Name, check_close, code_default};
use super::problem::Problem;
use crate::peer::{AskError, Reply};

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
    let names = except.iter().filter_map(|name| Name::parse(call, name));
    let names: Vec<Name> = names.collect();
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
    close_at_all(call, request).await
}

/// Asks all reactors to close connections; how many they have closed.
pub(super) async fn close_at_all(
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
            (Ok(before), Ok(Reply::Closed { connections })) => Ok(before + u64::from(connections)),
            (Ok(_), Ok(_)) => {
                debug_assert!(false, "a reactor answers what it was asked");
                Err(AskError::Deadline)
            }
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

/// Of tokens and of WAMP's users.
const USER_BYTES_MAX: usize = 255;
