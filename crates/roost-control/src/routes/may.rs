//! Who may do what, and the rule that decides.

use std::sync::Arc;

use axum::extract::{RawQuery, State as Shown};
use axum::response::Response;
use roost_access::Operation;
use roost_reactor::{
    AskedChannel, ConnectionFilter, Describe, Described, Request as ReactorRequest,
};
use serde::Serialize;
use tokio::time::Instant;

use super::answers::{
    ANSWER_TIMEOUT, State, bad_request, not_answered, not_found, pairs, respond_json, wrong_answer,
};
use super::connections::{Cursor, KeyName, Walk};
use crate::peer::{AskError, Reply};

#[derive(Serialize)]
struct Decided<'a> {
    user: &'a str,
    operation: &'a str,
    channel: &'a str,
    is_allowed: bool,
    decision: String,
    /// Whose permissions were looked at.
    known_by: String,
}

/// `GET /may?user=&operation=&channel=`.
pub(super) async fn may(Shown(state): Shown<Arc<State>>, RawQuery(query): RawQuery) -> Response {
    let (mut user, mut named, mut channel) = (None, String::new(), String::new());
    for (key, value) in pairs(query.as_deref()) {
        match &*key {
            "user" => user = Some(value.into_owned()),
            "operation" => named = value.into_owned(),
            "channel" => channel = value.into_owned(),
            _ => return bad_request("/may takes user, operation and channel\n"),
        }
    }
    let named = match named.as_str() {
        "presence" => Operation::ReadPresence.name(),
        named => named,
    };
    let operation = Operation::ALL.into_iter().find(|one| one.name() == named);
    let (Some(user), Some(operation)) = (user, operation) else {
        return bad_request(
            "/may wants user (\"\" is a client that is not known), operation (subscribe, publish, \
             call, register, presence) and channel\n",
        );
    };
    if channel.is_empty() {
        return bad_request("/may wants a channel\n");
    }
    let decided = |(is_allowed, decision), known_by| {
        respond_json(&Decided {
            user: &user,
            operation: operation.name(),
            channel: &channel,
            is_allowed,
            decision,
            known_by,
        })
    };
    if user.is_empty() {
        let settings = state.shared.settings();
        let decision = settings.may(None, (operation, &channel), None, false, 0);
        return decided(decision, "a client that is not known".to_owned());
    }
    let name = match connection_of(&state, &user).await {
        Ok(Some(name)) => name,
        Ok(None) => {
            return not_found(format!(
                "no connection of user \"{user}\" is there: what a user may comes with its login; \
                 name a connection (r0-17.4), or \"\" for a client that is not known\n"
            ));
        }
        Err(error) => return not_answered(error),
    };
    let request = ReactorRequest::Describe(Box::new(Describe {
        key: name.key,
        channel: Some(channel.as_str().into()),
    }));
    let reply = match state.peer.ask(name.reactor, request) {
        Ok(sent) => sent.answer_by(Instant::now() + ANSWER_TIMEOUT).await,
        Err(error) => Err(error),
    };
    let described = match reply {
        Ok(Reply::Described(described)) => described,
        Ok(_) => return wrong_answer(),
        Err(error) => return not_answered(error),
    };
    let Described { details, .. } = *described;
    match details.and_then(|details| details.asked) {
        Some(asked) => decided(of(operation, asked), format!("by connection {name}")),
        None => super::connections::not_there(name),
    }
}

fn of(operation: Operation, asked: AskedChannel) -> (bool, String) {
    let AskedChannel {
        name: _,
        is_subscribed: _,
        subscribe,
        publish,
        call,
        register,
        read_presence,
    } = asked;
    match operation {
        Operation::Subscribe => subscribe,
        Operation::Publish => publish,
        Operation::Call => call,
        Operation::Register => register,
        Operation::ReadPresence => read_presence,
    }
}

/// The connection that is named, or one of the user.
async fn connection_of(state: &State, user: &str) -> Result<Option<KeyName>, AskError> {
    if let Some(name) = KeyName::read(user) {
        return Ok((name.reactor < state.peer.reactors()).then_some(name));
    }
    let filter = ConnectionFilter {
        user: Some(user.into()),
        ..ConnectionFilter::default()
    };
    let mut walk = Walk::new(state, Some(Arc::new(filter)), Cursor::default());
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    while !walk.is_over() {
        if let Some(record) = walk.next(1, deadline).await?.first() {
            return Ok(Some(KeyName::of(record)));
        }
    }
    Ok(None)
}
