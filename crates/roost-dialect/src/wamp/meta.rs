//! The session meta API: which procedures there are, what a call of one asks for, and the topics of the
//! router's events. What is asked of registrations and subscriptions is in `entries`.

use std::borrow::Cow;

use roost_access::{Identity, Method};
use serde_json::{Value, json};

use crate::Arguments;
use crate::dialect::{Member, SessionAct, SessionQuery, SessionSelect};
use crate::serial::{Serializer, transcode};
use crate::wamp::uri;

/// A session has joined its realm.
pub const ON_JOIN: &str = "wamp.session.on_join";
/// A session has left its realm.
pub const ON_LEAVE: &str = "wamp.session.on_leave";

/// A registration has its first callee.
pub const REGISTRATION_ON_CREATE: &str = "wamp.registration.on_create";
/// A registration has one callee more.
pub const REGISTRATION_ON_REGISTER: &str = "wamp.registration.on_register";
/// A callee has left a registration.
pub const REGISTRATION_ON_UNREGISTER: &str = "wamp.registration.on_unregister";
/// The last callee has left a registration.
pub const REGISTRATION_ON_DELETE: &str = "wamp.registration.on_delete";
/// A subscription has its first subscriber.
pub const SUBSCRIPTION_ON_CREATE: &str = "wamp.subscription.on_create";
/// A subscription has one subscriber more.
pub const SUBSCRIPTION_ON_SUBSCRIBE: &str = "wamp.subscription.on_subscribe";
/// A subscriber has left a subscription.
pub const SUBSCRIPTION_ON_UNSUBSCRIBE: &str = "wamp.subscription.on_unsubscribe";
/// The last subscriber has left a subscription.
pub const SUBSCRIPTION_ON_DELETE: &str = "wamp.subscription.on_delete";

/// Whether a topic is one of the router's that clients may subscribe to.
pub fn is_topic(topic: &str) -> bool {
    matches!(
        topic,
        ON_JOIN
            | ON_LEAVE
            | REGISTRATION_ON_CREATE
            | REGISTRATION_ON_REGISTER
            | REGISTRATION_ON_UNREGISTER
            | REGISTRATION_ON_DELETE
            | SUBSCRIPTION_ON_CREATE
            | SUBSCRIPTION_ON_SUBSCRIBE
            | SUBSCRIPTION_ON_UNSUBSCRIBE
            | SUBSCRIPTION_ON_DELETE
    )
}

/// Whether a procedure ends sessions: it takes a permission, whatever the namespace allows.
pub fn is_deadly(procedure: &str) -> bool {
    procedure.starts_with("wamp.session.kill")
}

/// A call of one of the router's procedures: the question, or the error's URI and what it says to a
/// person. `None`: there is no such procedure.
pub(super) fn query(
    (session, realm): (u64, u16),
    procedure: &str,
    arguments: &Arguments<'_>,
) -> Option<Result<SessionQuery, (&'static str, &'static str)>> {
    let name = procedure.strip_prefix("wamp.session.")?;
    let known = [
        "count",
        "list",
        "get",
        "kill",
        "kill_by_authid",
        "kill_by_authrole",
        "kill_all",
    ];
    if !known.contains(&name) {
        return None;
    }
    let parsed = parse(arguments).and_then(|(args, kwargs)| {
        let first = args.into_iter().next().unwrap_or_default();
        let (select, act) = asked(name, first, &kwargs)?;
        Ok(SessionQuery {
            realm,
            caller: session,
            select,
            act,
        })
    });
    Some(parsed.map_err(|message| (uri::INVALID_ARGUMENT, message)))
}

/// As whom a session is known.
pub fn authid_of(member: Member, identity: Option<&Identity>) -> String {
    match identity.map_or("", |identity| &identity.user) {
        "" => member.session.to_string(),
        user => user.to_owned(),
    }
}

/// In which role.
pub fn role_of(identity: Option<&Identity>) -> &str {
    let role = identity.map(|identity| identity.permissions.role());
    role.unwrap_or(Method::Anonymous.name())
}

/// What is told of a session, as a JSON object.
pub fn details_of(member: Member, identity: Option<&Identity>) -> String {
    let method = identity.map_or(Method::Anonymous, |identity| identity.method);
    let details = json!({
        "session": member.session,
        "authid": authid_of(member, identity),
        "authrole": role_of(identity),
        "authmethod": method.name(),
        "authprovider": identity.map(|identity| identity.provider.name()),
    });
    details.to_string()
}

/// The arguments of [`ON_LEAVE`], as JSON.
pub fn leave_args(member: Member, identity: Option<&Identity>) -> String {
    let args = (
        member.session,
        authid_of(member, identity),
        role_of(identity),
    );
    json!(args).to_string()
}

/// One argument, a list of sessions, as JSON.
pub fn list_args(sessions: &[u64]) -> String {
    json!([sessions]).to_string()
}

/// One argument, a text, as JSON.
pub fn text_args(text: &str) -> String {
    json!([text]).to_string()
}

fn asked(
    name: &str,
    first: Value,
    kwargs: &Value,
) -> Result<(SessionSelect, SessionAct), &'static str> {
    let select = match name {
        "count" | "list" => match first {
            Value::Null => SessionSelect::All,
            roles => SessionSelect::Roles(texts(roles)?),
        },
        "get" | "kill" => SessionSelect::Session(
            first
                .as_u64()
                .ok_or("The first argument must be a session's number.")?,
        ),
        "kill_by_authid" => SessionSelect::AuthId(text(&first)?),
        "kill_by_authrole" => SessionSelect::Roles([text(&first)?].into()),
        _ => SessionSelect::All,
    };
    let act = match name {
        "count" => SessionAct::Count,
        "list" => SessionAct::List,
        "get" => SessionAct::Get,
        _ => kill(kwargs)?,
    };
    Ok((select, act))
}

fn kill(kwargs: &Value) -> Result<SessionAct, &'static str> {
    let word = |key: &str| match &kwargs[key] {
        Value::Null => Ok(None),
        Value::String(word) if word.len() <= WORD_BYTES_MAX => Ok(Some(Box::from(word.as_str()))),
        _ => Err("reason and message must be strings of at most 123 bytes."),
    };
    let reason = word("reason")?.unwrap_or_else(|| uri::KILLED.into());
    if !uri::is_loose(&reason) {
        return Err("reason must be a URI.");
    }
    Ok(SessionAct::Kill {
        reason,
        message: word("message")?.unwrap_or_else(|| "The session was killed.".into()),
    })
}

fn text(value: &Value) -> Result<Box<str>, &'static str> {
    let text = value
        .as_str()
        .ok_or("The first argument must be a string.")?;
    Ok(text.into())
}

fn texts(value: Value) -> Result<Box<[Box<str>]>, &'static str> {
    const EXPECTED: &str = "The first argument must be null, or a list of at most 1024 roles.";
    let Value::Array(all) = value else {
        return Err(EXPECTED);
    };
    if all.len() > ROLES_MAX {
        return Err(EXPECTED);
    }
    let texts = all
        .iter()
        .map(|one| one.as_str().map(Box::from).ok_or(EXPECTED));
    texts.collect()
}

/// The arguments and the keyword arguments of a call of one of the router's procedures.
pub(super) fn parse(arguments: &Arguments<'_>) -> Result<(Vec<Value>, Value), &'static str> {
    if arguments.size() > ARGUMENTS_BYTES_MAX {
        return Err("The arguments have more than 64 KiB.");
    }
    let value = |part: Option<&[u8]>| {
        let Some(part) = part else {
            return Some(Value::Null);
        };
        let json = match arguments.serializer {
            Serializer::Json => Cow::Borrowed(part),
            from => {
                let mut json = Vec::new();
                transcode(part, from, Serializer::Json, &mut json).ok()?;
                Cow::Owned(json)
            }
        };
        serde_json::from_slice::<Value>(&json).ok()
    };
    let (args, kwargs) = value(arguments.args)
        .zip(value(arguments.kwargs))
        .ok_or("The arguments cannot be read.")?;
    let args = match args {
        Value::Array(list) => list,
        _ => Vec::new(),
    };
    Ok((args, kwargs))
}

/// What is parsed at once is small: a value takes more memory than its text.
const ARGUMENTS_BYTES_MAX: usize = 64 << 10;
/// Roles that may be asked for at once.
const ROLES_MAX: usize = 1024;
/// A close frame's reason has at most 123 bytes (RFC 6455 §5.5).
const WORD_BYTES_MAX: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(procedure: &str, args: &str, kwargs: &str) -> Result<SessionQuery, &'static str> {
        let arguments = Arguments::json(Some(args), Some(kwargs));
        let query = query((7, 2), procedure, &arguments).expect("it is there");
        query.map_err(|(_, message)| message)
    }

    #[test]
    fn a_call_is_read() {
        let query = |select, act| SessionQuery {
            realm: 2,
            caller: 7,
            select,
            act,
        };
        let kill = |reason: &str, message: &str| SessionAct::Kill {
            reason: reason.into(),
            message: message.into(),
        };
        use SessionAct::{Count, Get, List};
        use SessionSelect::{All, AuthId, Roles, Session};
        let killed = "The session was killed.";
        for (name, args, kwargs, expected) in [
            ("count", "[]", "{}", query(All, Count)),
            ("count", "[null]", "{}", query(All, Count)),
            (
                "list",
                r#"[["a"]]"#,
                "{}",
                query(Roles(["a".into()].into()), List),
            ),
            ("get", "[9]", "{}", query(Session(9), Get)),
            (
                "kill",
                "[9]",
                "{}",
                query(Session(9), kill(uri::KILLED, killed)),
            ),
            (
                "kill_by_authid",
                r#"["a"]"#,
                r#"{"reason":"com.a","message":"m"}"#,
                query(AuthId("a".into()), kill("com.a", "m")),
            ),
            (
                "kill_by_authrole",
                r#"["a"]"#,
                "{}",
                query(Roles(["a".into()].into()), kill(uri::KILLED, killed)),
            ),
            (
                "kill_all",
                "[]",
                "{}",
                query(All, kill(uri::KILLED, killed)),
            ),
        ] {
            let name = format!("wamp.session.{name}");
            assert_eq!(asked(&name, args, kwargs), Ok(expected), "{name} {args}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        let long = format!("[[{}\"a\"]]", "\"a\",".repeat(1024));
        for (name, args, kwargs) in [
            ("count", "[1]", "{}"),
            ("list", "[[1]]", "{}"),
            ("list", &long, "{}"),
            ("get", "[]", "{}"),
            ("get", r#"["9"]"#, "{}"),
            ("kill", "[-1]", "{}"),
            ("kill", "[1]", r#"{"reason":7}"#),
            ("kill", "[1]", r#"{"reason":"a b"}"#),
            ("kill_by_authid", "[1]", "{}"),
        ] {
            let name = format!("wamp.session.{name}");
            assert!(
                asked(&name, args, kwargs).is_err(),
                "{name} {args} {kwargs}"
            );
        }
        let none = Arguments::NONE;
        for name in [
            "wamp.session.on_join",
            "wamp.session",
            "com.x",
            "wamp.session.counts",
        ] {
            assert!(query((1, 0), name, &none).is_none(), "{name}");
        }
    }
}
