//! WAMP's session meta API, across reactors and realms.

use std::sync::Arc;

use roost_access::{Matching, Operation};
use roost_dialect::wamp::{OwnRealm, OwnRealms};
use roost_reactor::Settings;
use roost_testkit::client::Checked;
use roost_testkit::server::{Backend, TestServer, wait_until};
use roost_testkit::users::{permission, role, set, user};
use serde_json::{Value, json};

use crate::wamp_session::Session;

roost_testkit::on_each_backend!(
    sessions_are_counted_listed_and_told_of,
    sessions_are_killed_by_those_who_may,
    joining_and_leaving_are_events,
    what_cannot_be_asked_is_an_error,
);

fn configure(settings: &mut Settings) {
    let realm = |name: &str, prefix: &str| OwnRealm {
        name: name.into(),
        prefix: prefix.into(),
        anonymous: true,
        tokens: true,
        other_dialects: false,
    };
    let realms = vec![realm("realm1", ""), realm("acme", "acme:.")];
    Arc::make_mut(&mut settings.dialects.wamp).own_realms = OwnRealms::new(realms);
    let calls = &[Operation::Call];
    let admin = |prefix: &str| {
        let kill = format!("{prefix}wamp.session.kill");
        role("admin", vec![permission(Matching::Prefix, &kill, calls)])
    };
    let users = vec![
        user("realm1", "root", "s", admin("")),
        user("acme", "root", "s", admin("acme:.")),
        user("realm1", "alice", "s", role("staff", Vec::new())),
    ];
    set(settings, users, Vec::new());
}

fn start(backend: Backend) -> TestServer {
    TestServer::with(backend, 3, configure)
}

const NONE: fn() -> (Value, Value) = || (json!([]), json!({}));

fn sessions_are_counted_listed_and_told_of(backend: Backend) -> Checked {
    let server = start(backend);
    let mut all = Vec::new();
    for user in ["", "", "", "alice", "alice"] {
        all.push(Session::join_as(&server, "realm1", user)?);
    }
    let mut other = Session::join_as(&server, "acme", "")?;
    let features = &all[0].roles;
    for role in ["broker", "dealer"] {
        assert_eq!(features[role]["features"]["session_meta_api"], json!(true));
    }
    let ids: Vec<u64> = all.iter().map(|one| one.id).collect();
    let asker = &mut all[0];
    let (args, kwargs) = NONE();
    assert_eq!(
        asker.ask_sessions("count", args.clone(), kwargs.clone())?,
        5
    );
    assert_eq!(
        asker.ask_sessions("count", json!([["staff"]]), kwargs.clone())?,
        2
    );
    assert_eq!(
        asker.ask_sessions("count", json!([["staff", "anonymous"]]), kwargs.clone())?,
        5
    );
    let listed = asker.ask_sessions("list", args.clone(), kwargs.clone())?;
    let mut listed: Vec<u64> = serde_json::from_value(listed).expect("a list of numbers");
    listed.sort_unstable();
    let mut expected = ids.clone();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    let alice = asker.ask_sessions("get", json!([ids[4]]), kwargs.clone())?;
    let expected = json!({
        "session": ids[4], "authid": "alice", "authrole": "staff", "authmethod": "ticket",
        "authprovider": "static",
    });
    assert_eq!(alice, expected);
    let anonymous = asker.ask_sessions("get", json!([ids[1]]), kwargs.clone())?;
    assert_eq!(anonymous["authid"], ids[1].to_string());
    assert_eq!(
        (&anonymous["authrole"], &anonymous["authprovider"]),
        (&json!("anonymous"), &Value::Null)
    );
    // Another realm's are none.
    let other_id = other.id;
    assert_eq!(
        asker.ask_sessions("get", json!([other_id]), kwargs.clone())?,
        "wamp.error.no_such_session"
    );
    assert_eq!(
        other.ask_sessions("list", args.clone(), kwargs.clone())?,
        json!([other_id])
    );
    assert_eq!(
        other.ask_sessions("get", json!([ids[0]]), kwargs.clone())?,
        "wamp.error.no_such_session"
    );
    all.pop();
    let (first, _) = all.split_at_mut(1);
    wait_until(
        || {
            first[0]
                .ask_sessions("count", json!([]), json!({}))
                .is_ok_and(|count| count == 4)
        },
        || "the one that has gone is counted".to_owned(),
    );
    Ok(())
}

fn sessions_are_killed_by_those_who_may(backend: Backend) -> Checked {
    let server = start(backend);
    let mut root = Session::join_as(&server, "realm1", "root")?;
    let mut other_root = Session::join_as(&server, "acme", "root")?;
    let mut anonymous = Session::join_as(&server, "realm1", "")?;
    let mut alice = Session::join_as(&server, "realm1", "alice")?;
    let mut in_acme = Session::join_as(&server, "acme", "")?;
    let denied = "wamp.error.not_authorized";
    for (name, args) in [
        ("kill", json!([root.id])),
        ("kill_all", json!([])),
        ("kill_by_authid", json!(["root"])),
    ] {
        for session in [&mut anonymous, &mut alice, &mut in_acme] {
            assert_eq!(
                session.ask_sessions(name, args.clone(), json!({}))?,
                denied,
                "{name}"
            );
        }
    }
    let none = "wamp.error.no_such_session";
    let (own, other) = (root.id, in_acme.id);
    for id in [own, other, 1] {
        assert_eq!(root.ask_sessions("kill", json!([id]), json!({}))?, none);
    }
    let why = json!({"reason": "com.example.enough", "message": "Enough."});
    assert_eq!(
        root.ask_sessions("kill", json!([alice.id]), why)?,
        Value::Null
    );
    let goodbye = alice.hear()?;
    assert_eq!(
        goodbye,
        json!([6, {"message": "Enough."}, "com.example.enough"])
    );
    assert_eq!(alice.client.expect_close(1008)?, "com.example.enough");
    let name = anonymous.id.to_string();
    assert_eq!(
        root.ask_sessions("kill_by_authid", json!([name]), json!({}))?,
        1
    );
    assert_eq!(anonymous.hear()?[2], "wamp.close.killed");
    let mut many = Vec::new();
    for _ in 0..5 {
        many.push(Session::join_as(&server, "realm1", "")?);
    }
    assert_eq!(
        root.ask_sessions("kill_by_authrole", json!(["anonymous"]), json!({}))?,
        5
    );
    for session in &mut many {
        assert_eq!(session.hear()?[0], 6);
    }
    let _alice = Session::join_as(&server, "realm1", "alice")?;
    assert_eq!(
        root.ask_sessions("kill_all", json!([]), json!({}))?,
        1,
        "but for itself"
    );
    assert_eq!(root.ask_sessions("count", json!([]), json!({}))?, 1);
    assert_eq!(
        other_root.ask_sessions("count", json!([]), json!({}))?,
        2,
        "the other realm is as it was"
    );
    Ok(())
}

fn joining_and_leaving_are_events(backend: Backend) -> Checked {
    let server = start(backend);
    let mut listener = Session::join_as(&server, "realm1", "")?;
    listener.subscribe("wamp.session.on_join", "exact")?;
    listener.subscribe("wamp.session.on_leave", "exact")?;
    let mut in_acme = Session::join_as(&server, "acme", "")?;
    in_acme.subscribe("wamp.session.on_join", "exact")?;
    let mut alice = Session::join_as(&server, "realm1", "alice")?;
    let joined = listener.hear()?;
    assert_eq!(
        (&joined[0], &joined[4][0]["session"]),
        (&json!(36), &json!(alice.id)),
        "{joined}"
    );
    assert_eq!(
        (&joined[4][0]["authid"], &joined[4][0]["authrole"]),
        (&json!("alice"), &json!("staff"))
    );
    let goodbye = alice.ask(&json!([6, {}, "wamp.close.normal"]))?;
    assert_eq!(goodbye[0], 6);
    assert_eq!(listener.hear()?[4], json!([alice.id, "alice", "staff"]));
    // One that goes without a word has left as well, once.
    let anonymous = Session::join_as(&server, "realm1", "")?;
    let id = anonymous.id;
    drop(anonymous);
    // Two topics: each has an order, and they have none between them.
    let told = [listener.hear()?[4].clone(), listener.hear()?[4].clone()];
    let has_joined = told.iter().any(|args| args[0]["session"] == id);
    let left = json!([id, id.to_string(), "anonymous"]);
    assert!(has_joined && told.contains(&left), "{told:?}");
    // In the other realm the first event is that of its own.
    let next = Session::join_as(&server, "acme", "")?;
    assert_eq!(in_acme.hear()?[4][0]["session"], next.id);
    // Nothing else has come: the next thing is the answer.
    assert_eq!(listener.ask_sessions("count", json!([]), json!({}))?, 1);
    Ok(())
}

fn what_cannot_be_asked_is_an_error(backend: Backend) -> Checked {
    let server = start(backend);
    let mut session = Session::join_as(&server, "realm1", "")?;
    for (name, args, error) in [
        ("get", json!([]), "wamp.error.invalid_argument"),
        ("count", json!(["x"]), "wamp.error.invalid_argument"),
        ("get", json!([1]), "wamp.error.no_such_session"),
        ("nothing", json!([]), "wamp.error.no_such_procedure"),
    ] {
        assert_eq!(
            session.ask_sessions(name, args, json!({}))?,
            error,
            "{name}"
        );
    }
    session.requests += 1;
    let answer = session.ask(&json!([32, session.requests, {}, "wamp.session.x"]))?;
    assert_eq!(answer[4], "wamp.error.invalid_uri");
    Ok(())
}
