//! Realms with a prefix: what is in one is reached by its sessions alone, in each dialect.

use std::sync::Arc;

use roost_access::{Matching, Operation};
use roost_dialect::wamp::{OwnRealm, OwnRealms};
use roost_reactor::{Access, ChannelPolicy, Settings, policy_for_tests};
use roost_testkit::client::{Checked, Client, Message, Request};
use roost_testkit::server::{Backend, TestServer};
use roost_testkit::users::{permission, role, set, user};
use serde_json::{Value, json};

use crate::wamp_session::Session;

roost_testkit::on_each_backend!(
    events_stay_in_their_realm,
    patterns_stay_in_their_realm,
    calls_stay_in_their_realm,
    other_dialects_reach_a_realm_only_where_it_says_so,
    a_namespace_is_that_of_the_whole_name,
    only_realms_that_are_there_are_joined,
);

fn realm(name: &str, prefix: &str) -> OwnRealm {
    OwnRealm {
        name: name.into(),
        prefix: prefix.into(),
        anonymous: name != "known",
        tokens: true,
        other_dialects: name == "open",
    }
}

fn configure(settings: &mut Settings) {
    let realms = vec![
        realm("common", ""),
        realm("acme", "acme:."),
        realm("other", "com.other."),
        realm("open", "open."),
        realm("known", "known:."),
    ];
    Arc::make_mut(&mut settings.dialects.wamp).own_realms = OwnRealms::new(realms);
}

fn start(backend: Backend) -> TestServer {
    TestServer::with(backend, 3, configure)
}

/// The URI of an ERROR.
fn error_of(answer: &Value) -> &str {
    match answer[0] == 8 {
        true => answer[4].as_str().unwrap_or_default(),
        false => "",
    }
}

const NOT_AUTHORIZED: &str = "wamp.error.not_authorized";

fn events_stay_in_their_realm(backend: Backend) -> Checked {
    let server = start(backend);
    let realms = ["common", "acme", "other", "open"];
    let mut sessions = Vec::new();
    for name in realms {
        let mut subscriber = Session::join(&server, name)?;
        subscriber.subscribe("com.topic", "exact")?;
        sessions.push((name, subscriber, Session::join(&server, name)?));
    }
    for (name, _, publisher) in &mut sessions {
        let answer = publisher.publish("com.topic", name)?;
        assert_eq!(answer[0], 17, "{answer}");
    }
    for (name, subscriber, _) in &mut sessions {
        let event = subscriber.hear()?;
        assert_eq!(
            (&event[0], &event[3], &event[4][0]),
            (&json!(36), &json!({}), &json!(name))
        );
        // The next thing it hears is its own answer: nothing of another realm has come.
        subscriber.subscribe("com.last", "exact")?;
    }
    // The names of a realm are none of the others' by whatever they are written.
    let (_, common, _) = &mut sessions[0];
    for name in ["acme:.com.topic", "com.other.com.topic", "open.com.topic"] {
        let subscribed = common.request(32, json!({}), &[json!(name)])?;
        assert_eq!(error_of(&subscribed), NOT_AUTHORIZED, "{name}");
        let said = subscribed[5][0].as_str().unwrap_or_default();
        assert!(said.contains("realm") && !said.contains("acme"), "{said}");
        assert_eq!(
            error_of(&common.publish(name, "x")?),
            NOT_AUTHORIZED,
            "{name}"
        );
    }
    // Within a realm they are names as any others, which no other realm has.
    let (_, acme, _) = &mut sessions[1];
    acme.subscribe("acme:.com.topic", "exact")?;
    acme.subscribe("open.com.topic", "exact")?;
    assert_eq!(acme.publish("open.com.topic", "x")?[0], 17);
    Ok(())
}

fn patterns_stay_in_their_realm(backend: Backend) -> Checked {
    let server = start(backend);
    let patterns = [
        ("", "prefix"),
        ("com.", "prefix"),
        ("com.", "wildcard"),
        (".topic", "wildcard"),
        ("..", "wildcard"),
        ("...", "wildcard"),
    ];
    let mut sessions = Vec::new();
    for name in ["common", "acme", "other"] {
        let mut subscriber = Session::join(&server, name)?;
        for (text, matching) in patterns {
            subscriber.subscribe(text, matching)?;
        }
        sessions.push((name, subscriber, Session::join(&server, name)?));
    }
    let (_, common, _) = &mut sessions[0];
    for (text, matching) in [
        ("acme:.", "prefix"),
        ("acme:.com", "prefix"),
        ("acme:..topic", "wildcard"),
        ("com.other..", "wildcard"),
    ] {
        let answer = common.request(32, json!({"match": matching}), &[json!(text)])?;
        assert_eq!(error_of(&answer), NOT_AUTHORIZED, "{text}: {answer}");
    }
    for (name, _, publisher) in &mut sessions {
        publisher.publish("com.topic", name)?;
    }
    // `com.topic` has two components: the prefixes and two of the wildcards match in each realm.
    for (name, subscriber, _) in &mut sessions {
        for _ in 0..4 {
            let event = subscriber.hear()?;
            assert_eq!(
                (&event[0], &event[4][0]),
                (&json!(36), &json!(name)),
                "{event}"
            );
            assert_eq!(event[3], json!({"topic": "com.topic"}));
        }
        subscriber.subscribe("com.last", "exact")?;
    }
    // What the protocol reserves is matched in no realm.
    let (_, acme, _) = &mut sessions[1];
    for topic in ["wamp.session.on_join", "wamp."] {
        let answer = acme.request(32, json!({"match": "prefix"}), &[json!(topic)])?;
        assert_eq!(error_of(&answer), "wamp.error.invalid_uri", "{answer}");
    }
    Ok(())
}

fn calls_stay_in_their_realm(backend: Backend) -> Checked {
    let server = start(backend);
    let mut sessions = Vec::new();
    for name in ["common", "acme", "other"] {
        let mut callee = Session::join(&server, name)?;
        for (text, matching) in [
            ("com.exact", "exact"),
            ("", "prefix"),
            (".wild", "wildcard"),
        ] {
            let answer = callee.request(64, json!({"match": matching}), &[json!(text)])?;
            assert_eq!(answer[0], 65, "{answer}");
        }
        sessions.push((name, callee, Session::join(&server, name)?));
    }
    for (name, callee, caller) in &mut sessions {
        for procedure in ["com.exact", "com.by_prefix", "a.wild"] {
            caller.requests += 1;
            let call = json!([48, caller.requests, {}, procedure, [*name]]);
            caller.send(&call)?;
            let invocation = callee.hear()?;
            assert_eq!(
                (&invocation[0], &invocation[4][0]),
                (&json!(68), &json!(name))
            );
            let shown = &invocation[3]["procedure"];
            match procedure {
                "com.exact" => assert_eq!(shown, &Value::Null),
                _ => assert_eq!(shown, procedure),
            }
            callee.send(&json!([70, invocation[1], {}, [*name]]))?;
            let result = caller.hear()?;
            assert_eq!(
                (&result[0], &result[3][0]),
                (&json!(50), &json!(name)),
                "{result}"
            );
        }
    }
    // Without a callee of its own realm a call has none.
    let mut lonely = Session::join(&server, "open")?;
    for procedure in ["com.exact", "com.by_prefix", "a.wild"] {
        let answer = lonely.request(48, json!({}), &[json!(procedure)])?;
        assert_eq!(
            error_of(&answer),
            "wamp.error.no_such_procedure",
            "{answer}"
        );
    }
    let (_, _, common) = &mut sessions[0];
    for procedure in ["acme:.com.exact", "open.x"] {
        let called = common.request(48, json!({}), &[json!(procedure)])?;
        assert_eq!(error_of(&called), NOT_AUTHORIZED, "{called}");
        let registered = common.request(64, json!({}), &[json!(procedure)])?;
        assert_eq!(error_of(&registered), NOT_AUTHORIZED, "{registered}");
    }
    Ok(())
}

fn other_dialects_reach_a_realm_only_where_it_says_so(backend: Backend) -> Checked {
    let server = start(backend);
    let mut acme = Session::join(&server, "acme")?;
    acme.subscribe("com.topic", "exact")?;
    for path in [
        "/raw/acme:.com.topic",
        "/raw/com.other.x",
        "/raw/acme%3A.com.topic",
    ] {
        let mut client = Client::connect(server.address())?;
        let error = client.shake_hands(&Request::websocket("h", path));
        let error = error.expect_err("refused").to_string();
        assert!(error.contains("403"), "{path}: {error}");
    }
    let mut raw = server.open("/raw/open.com.topic")?;
    let mut open = Session::join(&server, "open")?;
    open.subscribe("com.topic", "exact")?;
    open.subscribe("", "prefix")?;
    raw.send_text("hello")?;
    for details in [json!({}), json!({"topic": "com.topic"})] {
        let event = open.hear()?;
        assert_eq!((&event[3], &event[4]), (&details, &json!(["hello"])));
    }
    assert_eq!(open.publish("com.topic", "back")?[0], 17);
    let back = raw.receive()?;
    assert_eq!(back, Message::Text("back".to_owned()));
    // What the protocol says there is not feigned.
    let mut meta = server.open("/raw/open.wamp.session.on_join")?;
    meta.send_text("feigned")?;
    meta.expect_close(1008)?;
    Ok(())
}

/// The namespace of `acme:.…` is `acme`, and permissions hold for names in their realm.
fn a_namespace_is_that_of_the_whole_name(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        configure(settings);
        let policy = ChannelPolicy {
            subscribe: Access::Granted,
            register: Access::Granted,
            ..policy_for_tests()
        };
        settings.channels.namespaces = vec![("acme".to_owned(), policy)];
        let all = &Operation::ALL[..];
        // As the daemon makes it of a permission for `com.` in this realm.
        let staff = role(
            "staff",
            vec![permission(Matching::Prefix, "acme:.com.", all)],
        );
        set(
            settings,
            vec![user("acme", "alice", "s", staff)],
            Vec::new(),
        );
    });
    let ticket = json!({"authid": "alice", "authmethods": ["ticket"]});
    let (mut alice, challenge) = Session::hello(&server, "acme", ticket.clone())?;
    assert_eq!(challenge[0], 4, "{challenge}");
    assert_eq!(alice.ask(&json!([5, "s", {}]))?[0], 2);
    alice.subscribe("com.topic", "exact")?;
    assert_eq!(
        alice.request(64, json!({"match": "prefix"}), &[json!("com.a")])?[0],
        65
    );
    for (code, name) in [(32, "org.topic"), (64, "org.proc")] {
        let answer = alice.request(code, json!({}), &[json!(name)])?;
        assert_eq!(error_of(&answer), NOT_AUTHORIZED, "{answer}");
    }
    let mut anonymous = Session::join(&server, "acme")?;
    let answer = anonymous.request(32, json!({}), &[json!("com.topic")])?;
    assert_eq!(error_of(&answer), NOT_AUTHORIZED, "{answer}");
    // A user of one realm is none of another, which has none.
    let (_, refused) = Session::hello(&server, "other", ticket)?;
    assert_eq!(
        refused[2], "wamp.error.no_matching_auth_method",
        "{refused}"
    );
    Ok(())
}

fn only_realms_that_are_there_are_joined(backend: Backend) -> Checked {
    let server = start(backend);
    for (realm, details, reason) in [
        ("realm1", json!({}), "wamp.error.no_such_realm"),
        ("known", json!({}), "wamp.error.authentication_required"),
        (
            "known",
            json!({"authmethods": ["anonymous"]}),
            "wamp.error.no_matching_auth_method",
        ),
    ] {
        let (_, answer) = Session::hello(&server, realm, details)?;
        assert_eq!(
            (&answer[0], &answer[2]),
            (&json!(3), &json!(reason)),
            "{realm}"
        );
    }
    Ok(())
}
