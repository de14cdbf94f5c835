//! The registration and subscription meta APIs: which procedures there are, what a call of one asks for, and
//! what is answered.

use roost_dealer::{Match, Policy};
use serde_json::{Value, json};

use crate::Arguments;
use crate::dialect::{Entry, EntryAsk, EntryKind, EntryQuery};
use crate::wamp::settings::Names;
use crate::wamp::{meta, uri};

/// A call of one of the router's procedures: the question, or the error's URI and what it says to a
/// person. `None`: there is no such procedure.
pub(super) fn query(
    realm: u16,
    procedure: &str,
    arguments: &Arguments<'_>,
    names: Names<'_>,
) -> Option<Result<EntryQuery, (&'static str, &'static str)>> {
    let (kind, name) = kind_of(procedure)?;
    let asks = match name {
        "list" | "lookup" | "match" | "get" => true,
        "list_callees" | "count_callees" => kind == EntryKind::Registration,
        "list_subscribers" | "count_subscribers" => kind == EntryKind::Subscription,
        _ => false,
    };
    if !asks {
        return None;
    }
    let parsed = meta::parse(arguments).and_then(|(args, _)| {
        let ask = asked(name, &args, names)?;
        Ok(EntryQuery { kind, realm, ask })
    });
    Some(parsed.map_err(|message| (uri::INVALID_ARGUMENT, message)))
}

fn kind_of(procedure: &str) -> Option<(EntryKind, &str)> {
    if let Some(name) = procedure.strip_prefix("wamp.registration.") {
        return Some((EntryKind::Registration, name));
    }
    let name = procedure.strip_prefix("wamp.subscription.")?;
    Some((EntryKind::Subscription, name))
}

fn asked(name: &str, args: &[Value], names: Names<'_>) -> Result<EntryAsk, &'static str> {
    let first = args.first().unwrap_or(&Value::Null);
    let number = || first.as_u64().ok_or("The first argument must be a number.");
    let text = || {
        let text = first.as_str().ok_or("The first argument must be a URI.")?;
        let full = names.full(text.into());
        match full.len() <= URI_BYTES_MAX {
            true => Ok(Box::from(&*full)),
            false => Err("The URI has more than 4 KiB."),
        }
    };
    Ok(match name {
        // Crossbar lists those of one session, too.
        "list" if !first.is_null() => {
            return Err("list takes no argument: those of one session are not listed.");
        }
        "list" => EntryAsk::List,
        "lookup" => EntryAsk::Lookup(matching(args.get(1))?, text()?),
        "match" => EntryAsk::Match(text()?),
        "get" => EntryAsk::Get(number()?),
        "list_callees" | "list_subscribers" => EntryAsk::ListSessions(number()?),
        _ => EntryAsk::CountSessions(number()?),
    })
}

/// `match` of the options.
fn matching(options: Option<&Value>) -> Result<Match, &'static str> {
    const EXPECTED: &str =
        "The second argument must be null, or an object whose match is exact, prefix or wildcard.";
    let matching = match options {
        None | Some(Value::Null) => &Value::Null,
        Some(Value::Object(options)) => options.get("match").unwrap_or(&Value::Null),
        Some(_) => return Err(EXPECTED),
    };
    match matching {
        Value::Null => Ok(Match::Exact),
        Value::String(word) => {
            let all = [Match::Exact, Match::Prefix, Match::Wildcard];
            let found = all.into_iter().find(|one| match_name(*one) == word);
            found.ok_or(EXPECTED)
        }
        _ => Err(EXPECTED),
    }
}

/// The error's URI where a number is none of a realm's, and what it says to a person.
pub fn no_such(kind: EntryKind) -> (&'static str, &'static str) {
    match kind {
        EntryKind::Registration => (
            uri::NO_SUCH_REGISTRATION,
            "No registration of this realm has this number.",
        ),
        EntryKind::Subscription => (
            uri::NO_SUCH_SUBSCRIPTION,
            "No subscription of this realm has this number.",
        ),
    }
}

/// What is told of a registration or a subscription, as a JSON object.
pub fn details_of(entry: &Entry) -> String {
    let Entry {
        number,
        uri,
        matching,
        policy,
        created,
    } = entry;
    let mut details = json!({
        "id": number,
        "created": created,
        "uri": uri,
        "match": match_name(*matching),
    });
    if let Some(policy) = policy {
        details["invoke"] = json!(policy_name(*policy));
    }
    details.to_string()
}

/// One argument: numbers by how they are matched, as JSON.
pub fn lists_args([exact, prefix, wildcard]: &[Vec<u64>; 3]) -> String {
    json!([{"exact": exact, "prefix": prefix, "wildcard": wildcard}]).to_string()
}

/// One argument, a list of numbers or null, as JSON.
pub fn numbers_args(numbers: Option<&Vec<u64>>) -> String {
    json!([numbers]).to_string()
}

/// One argument, a number or null, as JSON.
pub fn number_args(number: Option<u64>) -> String {
    json!([number]).to_string()
}

/// The arguments of an event about a session and a registration or subscription, as JSON. `what` is JSON.
pub fn event_args(session: u64, what: &str) -> String {
    format!("[{session},{what}]")
}

fn match_name(matching: Match) -> &'static str {
    match matching {
        Match::Exact => "exact",
        Match::Prefix => "prefix",
        Match::Wildcard => "wildcard",
    }
}

fn policy_name(policy: Policy) -> &'static str {
    match policy {
        Policy::Single => "single",
        Policy::RoundRobin => "roundrobin",
        Policy::Random => "random",
        Policy::First => "first",
        Policy::Last => "last",
    }
}

/// What is asked for goes to other reactors; no name is so long.
const URI_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wamp::settings::{OwnRealm, OwnRealms, Settings};

    fn settings() -> Settings {
        Settings {
            own_realms: OwnRealms::new(vec![OwnRealm {
                name: "acme".into(),
                prefix: "acme:.".into(),
                anonymous: true,
                tokens: true,
                other_dialects: false,
            }]),
            channel_name_bytes_max: 255,
            ..Settings::default()
        }
    }

    fn asked(procedure: &str, args: &str) -> Option<Result<EntryQuery, &'static str>> {
        let settings = settings();
        let arguments = Arguments::json(Some(args), None);
        let query = query(1, procedure, &arguments, settings.names(1))?;
        Some(query.map_err(|(uri, _)| uri))
    }

    #[test]
    fn a_call_is_read() {
        use EntryAsk::{CountSessions, Get, List, ListSessions, Lookup};
        for (name, args, ask) in [
            ("list", "[]", List),
            ("list", "[null]", List),
            (
                "lookup",
                r#"["a.b"]"#,
                Lookup(Match::Exact, "acme:.a.b".into()),
            ),
            (
                "lookup",
                r#"["a..b",{"match":"wildcard"}]"#,
                Lookup(Match::Wildcard, "acme:.a..b".into()),
            ),
            (
                "lookup",
                r#"["a",{"match":"prefix"}]"#,
                Lookup(Match::Prefix, "acme:.a".into()),
            ),
            ("match", r#"["a.b"]"#, EntryAsk::Match("acme:.a.b".into())),
            ("get", "[7]", Get(7)),
        ] {
            for (start, kind) in [
                ("wamp.registration.", EntryKind::Registration),
                ("wamp.subscription.", EntryKind::Subscription),
            ] {
                let (realm, ask) = (1, ask.clone());
                let expected = EntryQuery { kind, realm, ask };
                let name = format!("{start}{name}");
                assert_eq!(asked(&name, args), Some(Ok(expected)), "{name} {args}");
            }
        }
        let ask = |name: &str| asked(name, "[7]").map(|query| query.map(|query| query.ask));
        assert_eq!(
            ask("wamp.registration.list_callees"),
            Some(Ok(ListSessions(7)))
        );
        assert_eq!(
            ask("wamp.subscription.count_subscribers"),
            Some(Ok(CountSessions(7)))
        );
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        for (name, args) in [
            ("list", "[7]"),
            ("lookup", "[]"),
            ("lookup", r#"["a",7]"#),
            ("lookup", r#"["a",{"match":"most"}]"#),
            ("lookup", r#"["a",{"match":7}]"#),
            ("match", "[7]"),
            ("get", r#"["7"]"#),
            ("get", "[-1]"),
            ("count_callees", "[]"),
            ("match", &format!("[\"{}\"]", "a".repeat(4096))),
        ] {
            let name = format!("wamp.registration.{name}");
            assert_eq!(
                asked(&name, args),
                Some(Err(uri::INVALID_ARGUMENT)),
                "{name} {args}"
            );
        }
        for name in [
            "wamp.registration.list_subscribers",
            "wamp.subscription.count_callees",
            "wamp.subscription.on_create",
            "wamp.session.list",
            "wamp.registration",
        ] {
            assert_eq!(asked(name, "[]"), None, "{name}");
        }
    }

    #[test]
    fn what_is_told_is_json() {
        let mut entry = Entry {
            number: 7,
            uri: "a..\"".into(),
            matching: Match::Wildcard,
            policy: Some(Policy::RoundRobin),
            created: Some("2026-12-31T23:59:59.999Z".into()),
        };
        let expected = json!({
            "id": 7, "uri": "a..\"", "match": "wildcard", "invoke": "roundrobin",
            "created": "2026-12-31T23:59:59.999Z",
        });
        let told = |entry: &Entry| serde_json::from_str::<Value>(&details_of(entry)).expect("JSON");
        assert_eq!(told(&entry), expected);
        (entry.policy, entry.created) = (None, None);
        let expected = json!({"id": 7, "uri": "a..\"", "match": "wildcard", "created": null});
        assert_eq!(told(&entry), expected);
    }
}
