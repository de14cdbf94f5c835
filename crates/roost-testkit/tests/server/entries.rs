//! WAMP's registration and subscription meta APIs and retained events, across reactors and realms.

use std::collections::BTreeSet;
use std::sync::Arc;

use roost_access::{Matching, Operation};
use roost_dialect::wamp::{OwnRealm, OwnRealms};
use roost_reactor::{Access, ChannelPolicy, Settings, policy_for_tests};
use roost_testkit::client::{Checked, Failure};
use roost_testkit::server::{Backend, TestServer, wait_until};
use roost_testkit::users::{permission, role, set, user};
use serde_json::{Value, json};

use crate::wamp_session::Session;

roost_testkit::on_each_backend!(
    registrations_are_listed_and_told_of,
    subscriptions_are_listed_and_told_of,
    no_realm_sees_anothers_entries,
    entries_that_come_and_go_are_events,
    what_cannot_be_asked_of_entries_is_an_error,
    asking_takes_the_permission_of_the_namespace,
    a_retained_event_comes_to_those_that_ask,
    a_retained_event_is_for_its_receivers,
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
    let keeps = ChannelPolicy {
        history_messages_max: 2,
        ..policy_for_tests()
    };
    settings.channels.namespaces = vec![("kept".to_owned(), keeps)];
    let users = vec![user("realm1", "alice", "s", role("staff", Vec::new()))];
    set(settings, users, Vec::new());
}

fn start(backend: Backend) -> TestServer {
    TestServer::with(backend, 3, configure)
}

const NONE: Value = Value::Null;

/// A call with one argument or none.
fn call(session: &mut Session, procedure: &str, argument: Value) -> Result<Value, Failure> {
    let args = match argument {
        Value::Null => json!([]),
        argument => json!([argument]),
    };
    session.call(&format!("wamp.{procedure}"), args, json!({}))
}

fn sorted(list: &Value) -> Vec<u64> {
    let mut list: Vec<u64> = serde_json::from_value(list.clone()).expect("a list of numbers");
    list.sort_unstable();
    list
}

fn ordered<const N: usize>(mut numbers: [u64; N]) -> [u64; N] {
    numbers.sort_unstable();
    numbers
}

fn registrations_are_listed_and_told_of(backend: Backend) -> Checked {
    let server = start(backend);
    let mut asker = Session::join(&server, "realm1")?;
    for (role, api) in [
        ("dealer", "registration_meta_api"),
        ("broker", "subscription_meta_api"),
        ("broker", "event_retention"),
    ] {
        assert_eq!(asker.roles[role]["features"][api], json!(true), "{api}");
    }
    let empty = json!({"exact": [], "prefix": [], "wildcard": []});
    assert_eq!(call(&mut asker, "registration.list", NONE)?, empty);
    let mut callees = Vec::new();
    for _ in 0..3 {
        callees.push(Session::join(&server, "realm1")?);
    }
    let mut shared = Vec::new();
    for callee in &mut callees {
        shared.push(callee.register("com.shared", json!({"invoke": "roundrobin"}))?);
    }
    assert!(shared.iter().all(|one| *one == shared[0]), "{shared:?}");
    let shared = shared[0];
    let single = callees[0].register("com.single", json!({}))?;
    let prefix = callees[1].register("com.", json!({"match": "prefix"}))?;
    let wildcard = callees[2].register("org..x", json!({"match": "wildcard"}))?;
    let list = call(&mut asker, "registration.list", NONE)?;
    assert_eq!(sorted(&list["exact"]), ordered([shared, single]));
    assert_eq!(
        (&list["prefix"], &list["wildcard"]),
        (&json!([prefix]), &json!([wildcard]))
    );
    for (name, options, expected) in [
        ("com.single", json!({}), json!(single)),
        ("com.", json!({"match": "prefix"}), json!(prefix)),
        ("org..x", json!({"match": "wildcard"}), json!(wildcard)),
        ("com.", json!({}), Value::Null),
        ("com.single", json!({"match": "prefix"}), Value::Null),
    ] {
        let args = json!([name, options]);
        let found = asker.call("wamp.registration.lookup", args, json!({}))?;
        assert_eq!(found, expected, "{name} {options}");
    }
    for (name, expected) in [
        ("com.single", json!(single)),
        ("com.other", json!(prefix)),
        ("org.a.x", json!(wildcard)),
        ("net.x", Value::Null),
        ("wamp.session.list", Value::Null),
    ] {
        assert_eq!(
            call(&mut asker, "registration.match", json!(name))?,
            expected,
            "{name}"
        );
    }
    let mut details = call(&mut asker, "registration.get", json!(shared))?;
    let created = details["created"].take();
    assert!(
        created.as_str().is_some_and(|text| text.ends_with('Z')),
        "{created}"
    );
    let expected = json!({
        "id": shared, "created": null, "uri": "com.shared", "match": "exact", "invoke": "roundrobin",
    });
    assert_eq!(details, expected);
    let ids: Vec<u64> = callees.iter().map(|callee| callee.id).collect();
    let listed = call(&mut asker, "registration.list_callees", json!(shared))?;
    assert_eq!(listed, json!(ids), "in the order of registration");
    assert_eq!(
        call(&mut asker, "registration.count_callees", json!(shared))?,
        3
    );
    callees.remove(0);
    let counts = |asker: &mut Session| call(asker, "registration.count_callees", json!(shared));
    wait_until(
        || counts(&mut asker).is_ok_and(|count| count == 2),
        || "a callee that has gone is counted".to_owned(),
    );
    let gone = "wamp.error.no_such_registration";
    for name in ["get", "list_callees", "count_callees"] {
        let name = format!("registration.{name}");
        assert_eq!(call(&mut asker, &name, json!(single))?, gone, "{name}");
    }
    Ok(())
}

fn subscriptions_are_listed_and_told_of(backend: Backend) -> Checked {
    let server = start(backend);
    let mut asker = Session::join(&server, "realm1")?;
    let empty = json!({"exact": [], "prefix": [], "wildcard": []});
    assert_eq!(call(&mut asker, "subscription.list", NONE)?, empty);
    // What clients of other dialects are subscribed to has no session.
    let _raw = server.open("/raw/com.raw")?;
    let mut listener = Session::join(&server, "realm1")?;
    listener.subscribe("wamp.session.on_join", "exact")?;
    let mut subscribers = Vec::new();
    for _ in 0..6 {
        subscribers.push(Session::join(&server, "realm1")?);
    }
    // Exact topics on all homes.
    let mut exact = Vec::new();
    for number in 0..8 {
        exact.push(subscribers[0].subscribe(&format!("com.topic{number}"), "exact")?);
    }
    let mut all = Vec::new();
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.subscribe("com.topic0", "exact")?, exact[0]);
        all.push(subscriber.id);
    }
    let prefix = subscribers[1].subscribe("com.", "prefix")?;
    let wildcard = subscribers[2].subscribe("com.", "wildcard")?;
    let list = call(&mut asker, "subscription.list", NONE)?;
    exact.sort_unstable();
    assert_eq!(sorted(&list["exact"]), exact);
    assert_eq!(
        (&list["prefix"], &list["wildcard"]),
        (&json!([prefix]), &json!([wildcard]))
    );
    for (name, options, expected) in [
        ("com.", json!({"match": "prefix"}), json!(prefix)),
        ("com.", json!({"match": "wildcard"}), json!(wildcard)),
        ("com.raw", json!({}), Value::Null),
        ("com.nothing", json!({}), Value::Null),
        ("wamp.session.on_join", json!({}), Value::Null),
    ] {
        let args = json!([name, options]);
        let found = asker.call("wamp.subscription.lookup", args, json!({}))?;
        assert_eq!(found, expected, "{name} {options}");
    }
    let topic0 = call(&mut asker, "subscription.lookup", json!("com.topic0"))?;
    let number = topic0.as_u64().expect("a number");
    let matched = call(&mut asker, "subscription.match", json!("com.topic0"))?;
    assert_eq!(sorted(&matched), ordered([number, prefix, wildcard]));
    let matched = call(&mut asker, "subscription.match", json!("com.a.b"))?;
    assert_eq!(matched, json!([prefix]));
    assert_eq!(
        call(&mut asker, "subscription.match", json!("org.a"))?,
        Value::Null
    );
    for (number, uri, matching) in [
        (number, "com.topic0", "exact"),
        (prefix, "com.", "prefix"),
        (wildcard, "com.", "wildcard"),
    ] {
        let expected = json!({"id": number, "created": null, "uri": uri, "match": matching});
        assert_eq!(
            call(&mut asker, "subscription.get", json!(number))?,
            expected
        );
    }
    all.sort_unstable();
    let listed = call(&mut asker, "subscription.list_subscribers", topic0.clone())?;
    assert_eq!(sorted(&listed), all);
    assert_eq!(
        call(&mut asker, "subscription.count_subscribers", topic0.clone())?,
        6
    );
    let own = json!([subscribers[1].id]);
    assert_eq!(
        call(&mut asker, "subscription.list_subscribers", json!(prefix))?,
        own
    );
    let answer = subscribers[1].request(34, json!(prefix), &[])?;
    assert_eq!(answer[0], 35, "{answer}");
    subscribers.pop();
    let counts = |asker: &mut Session| {
        let gone = "wamp.error.no_such_subscription";
        let count = call(asker, "subscription.count_subscribers", topic0.clone());
        let prefix = call(asker, "subscription.get", json!(prefix));
        count.is_ok_and(|count| count == 5) && prefix.is_ok_and(|answer| answer == gone)
    };
    wait_until(
        || counts(&mut asker),
        || "those that have gone are counted".to_owned(),
    );
    Ok(())
}

fn no_realm_sees_anothers_entries(backend: Backend) -> Checked {
    let server = start(backend);
    let mut of_realm = Vec::new();
    for realm in ["realm1", "acme"] {
        let mut session = Session::join(&server, realm)?;
        let registration = session.register("com.proc", json!({}))?;
        let pattern = session.register("com.", json!({"match": "prefix"}))?;
        let topic = session.subscribe("com.topic", "exact")?;
        let prefix = session.subscribe("com.", "prefix")?;
        of_realm.push((session, [registration, pattern], [topic, prefix]));
    }
    let numbers = [of_realm[0].1, of_realm[1].1];
    let topics = [of_realm[0].2, of_realm[1].2];
    for (at, (session, own, subscribed)) in of_realm.iter_mut().enumerate() {
        let other = 1 - at;
        let registrations = call(session, "registration.list", NONE)?;
        let expected = json!({"exact": [own[0]], "prefix": [own[1]], "wildcard": []});
        assert_eq!(registrations, expected);
        let subscriptions = call(session, "subscription.list", NONE)?;
        let expected = json!({"exact": [subscribed[0]], "prefix": [subscribed[1]], "wildcard": []});
        assert_eq!(subscriptions, expected);
        let found = call(session, "registration.match", json!("com.proc"))?;
        assert_eq!(found, own[0]);
        let found = call(session, "subscription.match", json!("com.topic"))?;
        assert_eq!(sorted(&found), ordered(*subscribed));
        let details = call(session, "registration.get", json!(own[0]))?;
        assert_eq!(details["uri"], "com.proc", "as the realm writes it");
        let details = call(session, "subscription.get", json!(subscribed[1]))?;
        assert_eq!(details["uri"], "com.");
        let own_session = json!([session.id]);
        let listed = call(
            session,
            "subscription.list_subscribers",
            json!(subscribed[0]),
        )?;
        assert_eq!(listed, own_session);
        for number in numbers[other] {
            for name in ["get", "list_callees", "count_callees"] {
                let answer = call(session, &format!("registration.{name}"), json!(number))?;
                assert_eq!(answer, "wamp.error.no_such_registration", "{name}");
            }
        }
        for number in topics[other] {
            for name in ["get", "list_subscribers", "count_subscribers"] {
                let answer = call(session, &format!("subscription.{name}"), json!(number))?;
                assert_eq!(answer, "wamp.error.no_such_subscription", "{name}");
            }
        }
    }
    // The prefix of another realm is no way to it, nor is a pattern's beginning.
    let (session, ..) = &mut of_realm[0];
    for name in ["acme:.com.proc", "acme:.com.topic"] {
        for procedure in [
            "registration.match",
            "subscription.match",
            "subscription.lookup",
        ] {
            assert_eq!(
                call(session, procedure, json!(name))?,
                Value::Null,
                "{procedure} {name}"
            );
        }
    }
    Ok(())
}

const EVENTS: [&str; 8] = [
    "wamp.registration.on_create",
    "wamp.registration.on_register",
    "wamp.registration.on_unregister",
    "wamp.registration.on_delete",
    "wamp.subscription.on_create",
    "wamp.subscription.on_subscribe",
    "wamp.subscription.on_unsubscribe",
    "wamp.subscription.on_delete",
];

/// The next so many events, each as its topic and its arguments, in the order of their texts: those of several
/// topics have no order between them.
fn hear_events(
    listener: &mut Session,
    topics: &[(u64, &str)],
    count: usize,
) -> Result<BTreeSet<String>, Failure> {
    let mut heard = BTreeSet::new();
    for _ in 0..count {
        let mut event = listener.hear()?;
        assert_eq!(event[0], 36, "{event}");
        let topic = topics.iter().find(|(number, _)| event[1] == *number);
        let (_, topic) = topic.expect("one of those subscribed to");
        if let Some(details) = event[4][1].as_object_mut() {
            details.remove("created");
        }
        assert!(
            heard.insert(format!("{topic} {}", event[4])),
            "{event} comes twice"
        );
    }
    Ok(heard)
}

fn entries_that_come_and_go_are_events(backend: Backend) -> Checked {
    let server = start(backend);
    let mut listener = Session::join(&server, "realm1")?;
    let mut in_acme = Session::join(&server, "acme")?;
    let mut topics = Vec::new();
    let mut of_acme = Vec::new();
    for event in EVENTS {
        topics.push((listener.subscribe(event, "exact")?, event));
        of_acme.push((in_acme.subscribe(event, "exact")?, event));
    }
    let told = |events: &[(&str, Value)]| -> BTreeSet<String> {
        let texts = events
            .iter()
            .map(|(topic, args)| format!("wamp.{topic} {args}"));
        texts.collect()
    };
    for round in 0..4 {
        let name = format!("com.name{round}");
        let mut first = Session::join(&server, "realm1")?;
        let mut second = Session::join(&server, "realm1")?;
        let shared = json!({"invoke": "first"});
        let number = first.register(&name, shared.clone())?;
        second.register(&name, shared.clone())?;
        let again = first.request(64, shared, &[json!(name)])?;
        assert_eq!(again[4], "wamp.error.procedure_already_exists");
        let details = json!({"id": number, "uri": name, "match": "exact", "invoke": "first"});
        let expected = told(&[
            ("registration.on_create", json!([first.id, details])),
            ("registration.on_register", json!([first.id, number])),
            ("registration.on_register", json!([second.id, number])),
        ]);
        assert_eq!(hear_events(&mut listener, &topics, 3)?, expected);
        let topic = first.subscribe(&name, "exact")?;
        assert_eq!(first.subscribe(&name, "exact")?, topic, "again: no event");
        second.subscribe(&name, "exact")?;
        let details = json!({"id": topic, "uri": name, "match": "exact"});
        let expected = told(&[
            ("subscription.on_create", json!([first.id, details])),
            ("subscription.on_subscribe", json!([first.id, topic])),
            ("subscription.on_subscribe", json!([second.id, topic])),
        ]);
        assert_eq!(hear_events(&mut listener, &topics, 3)?, expected);
        // One says so, and one goes without a word.
        assert_eq!(first.request(66, json!(number), &[])?[0], 67);
        assert_eq!(first.request(34, json!(topic), &[])?[0], 35);
        let expected = told(&[
            ("registration.on_unregister", json!([first.id, number])),
            ("subscription.on_unsubscribe", json!([first.id, topic])),
        ]);
        assert_eq!(hear_events(&mut listener, &topics, 2)?, expected);
        let second_id = second.id;
        drop(second);
        // That the first one has unsubscribed may come to the topic's home last, from another reactor.
        let expected = [second_id, first.id].map(|last| {
            told(&[
                ("registration.on_unregister", json!([second_id, number])),
                ("registration.on_delete", json!([second_id, number])),
                ("subscription.on_unsubscribe", json!([second_id, topic])),
                ("subscription.on_delete", json!([last, topic])),
            ])
        });
        let heard = hear_events(&mut listener, &topics, 4)?;
        assert!(expected.contains(&heard), "{heard:?}, not {expected:?}");
    }
    // Patterns as well.
    let mut session = Session::join(&server, "realm1")?;
    let prefix = session.subscribe("org.", "prefix")?;
    let details = json!({"id": prefix, "uri": "org.", "match": "prefix"});
    let expected = told(&[
        ("subscription.on_create", json!([session.id, details])),
        ("subscription.on_subscribe", json!([session.id, prefix])),
    ]);
    assert_eq!(hear_events(&mut listener, &topics, 2)?, expected);
    // In the other realm the first event is that of its own.
    let mut own = Session::join(&server, "acme")?;
    let number = own.register("com.own", json!({}))?;
    let details = json!({"id": number, "uri": "com.own", "match": "exact", "invoke": "single"});
    let expected = told(&[
        ("registration.on_create", json!([own.id, details])),
        ("registration.on_register", json!([own.id, number])),
    ]);
    assert_eq!(hear_events(&mut in_acme, &of_acme, 2)?, expected);
    // And nothing of it has come here: the next thing is the answer.
    assert_eq!(
        call(&mut listener, "registration.list", NONE)?["exact"],
        json!([])
    );
    Ok(())
}

fn what_cannot_be_asked_of_entries_is_an_error(backend: Backend) -> Checked {
    let server = start(backend);
    let mut session = Session::join(&server, "realm1")?;
    let invalid = "wamp.error.invalid_argument";
    for (name, args, error) in [
        ("registration.get", json!([]), invalid),
        ("registration.get", json!(["x"]), invalid),
        ("registration.list", json!([7]), invalid),
        (
            "registration.get",
            json!([0]),
            "wamp.error.no_such_registration",
        ),
        (
            "subscription.get",
            json!([0]),
            "wamp.error.no_such_subscription",
        ),
        (
            "subscription.get",
            json!([1u64 << 52]),
            "wamp.error.no_such_subscription",
        ),
        (
            "subscription.get",
            json!([255]),
            "wamp.error.no_such_subscription",
        ),
        ("subscription.match", json!([7]), invalid),
        (
            "registration.remove_callee",
            json!([1, 1]),
            "wamp.error.no_such_procedure",
        ),
    ] {
        let found = session.call(&format!("wamp.{name}"), args, json!({}))?;
        assert_eq!(found, error, "{name}");
    }
    for name in ["", "\u{1}com.", "a b", &"x".repeat(4000)] {
        for kind in ["registration", "subscription"] {
            let found = call(&mut session, &format!("{kind}.lookup"), json!(name))?;
            assert_eq!(found, Value::Null, "{name:?}");
        }
    }
    Ok(())
}

fn asking_takes_the_permission_of_the_namespace(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        configure(settings);
        settings.channels.default.call = Access::Granted;
        let calls = &[Operation::Call];
        let may = permission(Matching::Prefix, "wamp.registration.", calls);
        let users = vec![user("realm1", "alice", "s", role("staff", vec![may]))];
        set(settings, users, Vec::new());
    });
    let denied = "wamp.error.not_authorized";
    let mut alice = Session::join_as(&server, "realm1", "alice")?;
    let mut anonymous = Session::join(&server, "realm1")?;
    let list = call(&mut alice, "registration.list", NONE)?;
    assert_eq!(list["exact"], json!([]));
    assert_eq!(call(&mut alice, "subscription.list", NONE)?, denied);
    assert_eq!(call(&mut anonymous, "registration.list", NONE)?, denied);
    assert_eq!(call(&mut anonymous, "registration.get", json!(1))?, denied);
    Ok(())
}

const RETAIN: fn() -> Value = || json!({"acknowledge": true, "retain": true});
const GET: fn() -> Value = || json!({"get_retained": true});

fn publish(session: &mut Session, options: Value, topic: &str, text: &str) -> Checked {
    let answer = session.request(16, options, &[json!(topic), json!([text])])?;
    assert_eq!(answer[0], 17, "{answer}");
    Ok(())
}

fn a_retained_event_comes_to_those_that_ask(backend: Backend) -> Checked {
    let server = start(backend);
    let mut publisher = Session::join(&server, "realm1")?;
    for topic in ["kept:a", "kept:b", "kept:c"] {
        publish(&mut publisher, RETAIN(), topic, "first")?;
        let disclosed = json!({"acknowledge": true, "retain": true, "disclose_me": true});
        publish(&mut publisher, disclosed, topic, "second")?;
        // It stays, whatever follows, more than history keeps included.
        for text in ["x", "y", "z"] {
            publish(&mut publisher, json!({"acknowledge": true}), topic, text)?;
        }
    }
    publish(&mut publisher, RETAIN(), "plain.topic", "no history")?;
    for topic in ["kept:a", "kept:b", "kept:c"] {
        let mut session = Session::join(&server, "realm1")?;
        let answer = session.request(32, GET(), &[json!(topic)])?;
        assert_eq!(answer[0], 33, "{answer}");
        let event = session.hear()?;
        let details = json!({"publisher": publisher.id, "retained": true});
        assert_eq!((&event[0], &event[1]), (&json!(36), &answer[2]), "{event}");
        assert_eq!((&event[3], &event[4]), (&details, &json!(["second"])));
        publish(&mut publisher, json!({"acknowledge": true}), topic, "later")?;
        let event = session.hear()?;
        assert_eq!(
            (&event[3], &event[4]),
            (&json!({}), &json!(["later"])),
            "after it"
        );
    }
    // Not without asking, not by a pattern, and not where nothing is kept.
    let mut session = Session::join(&server, "realm1")?;
    session.subscribe("kept:a", "exact")?;
    let pattern = json!({"get_retained": true, "match": "prefix"});
    for (options, topic) in [
        (pattern, "kept:"),
        (GET(), "plain.topic"),
        (GET(), "kept:new"),
    ] {
        let answer = session.request(32, options, &[json!(topic)])?;
        assert_eq!(answer[0], 33, "{answer}");
    }
    assert_eq!(
        call(&mut session, "session.count", NONE)?,
        2,
        "nothing came before"
    );
    Ok(())
}

fn a_retained_event_is_for_its_receivers(backend: Backend) -> Checked {
    let server = start(backend);
    let mut publisher = Session::join(&server, "realm1")?;
    let mut stranger = Session::join(&server, "realm1")?;
    let mut alice = Session::join_as(&server, "realm1", "alice")?;
    let excluded = json!({"acknowledge": true, "retain": true, "exclude": [stranger.id]});
    let eligible = json!({"acknowledge": true, "retain": true, "eligible_authid": ["alice"]});
    publish(&mut publisher, excluded, "kept:a", "excluded")?;
    publish(&mut publisher, eligible, "kept:b", "eligible")?;
    for topic in ["kept:a", "kept:b"] {
        for session in [&mut stranger, &mut alice] {
            let answer = session.request(32, GET(), &[json!(topic)])?;
            assert_eq!(answer[0], 33, "{answer}");
        }
        let event = alice.hear()?;
        assert_eq!(event[3], json!({"retained": true}), "{event}");
        assert_eq!(
            call(&mut stranger, "session.count", NONE)?,
            3,
            "nothing came"
        );
    }
    // Another realm's topic of that name retains nothing.
    let mut in_acme = Session::join(&server, "acme")?;
    in_acme.request(32, GET(), &[json!("kept:a")])?;
    assert_eq!(call(&mut in_acme, "session.count", NONE)?, 1);
    Ok(())
}
