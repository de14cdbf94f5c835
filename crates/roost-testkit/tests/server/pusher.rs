//! Pusher's protocol: applications, channels of all kinds, client events, sign-ins, and closes.

use std::sync::Arc;
use std::time::Duration;

use roost_access::Secret;
use roost_auth::{PusherApp, PusherKey};
use roost_dialect::pusher;
use roost_reactor::{Access, ChannelPolicy, Settings, policy_for_tests};
use roost_testkit::client::{Checked, Client, Failure, Message};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

roost_testkit::on_each_backend!(
    a_connection_is_established_or_told_why_not,
    what_others_publish_arrives_as_message,
    a_private_channel_wants_the_applications_signature,
    protection_is_the_names_in_every_dialect,
    members_are_users_and_not_connections,
    a_subscription_is_answered_with_all_that_came_before,
    a_user_that_is_a_number_stays_one,
    a_full_channel_refuses_another_user,
    client_events_go_to_others_alone,
    client_events_have_a_rate_and_a_size,
    a_cache_channel_answers_with_its_last_event,
    subscribers_are_told_how_many_they_are,
    a_user_signs_in_and_has_a_channel_of_its_own,
    applications_with_prefixes_are_apart,
    one_for_which_nothing_is_signed_is_closed_with_4009,
    one_without_pong_is_closed_with_4201,
    a_drain_closes_with_4200,
);

fn app(key: &str, prefix: &str) -> PusherApp {
    PusherApp {
        id: key.into(),
        key: key.into(),
        signing: signing(),
        prefix: prefix.into(),
        enabled: true,
        client_events: true,
        authorized_connections: false,
    }
}

fn signing() -> PusherKey {
    PusherKey::new(&Secret::from("hush".to_owned()))
}

fn server_with(
    backend: Backend,
    apps: Vec<PusherApp>,
    also: impl FnOnce(&mut Settings),
) -> TestServer {
    TestServer::with(backend, 2, |settings| {
        settings.channels.default = ChannelPolicy {
            presence_linger_ms: 200,
            presence_notify_ms: 100,
            ..policy_for_tests()
        };
        for app in &apps {
            settings.channels = settings.channels.clone().with_app(&app.prefix);
        }
        settings.dialects.pusher = Arc::new(pusher::Settings {
            enabled: true,
            apps: apps.into(),
            activity_timeout_s: 30,
            client_events_per_second_max: 10,
            client_event_bytes_max: 100,
            members_per_channel_max: 2,
            member_bytes_max: 100,
            subscriptions_per_connection_max: 128,
            channel_name_bytes_max: 255,
            events: pusher::EventLimits::default(),
        });
        also(settings);
    })
}

fn server(backend: Backend) -> TestServer {
    server_with(backend, vec![app("key", "")], |_| {})
}

/// A client that is connected, and its socket id.
struct Peer {
    client: Client,
    id: String,
}

impl Peer {
    fn open(server: &TestServer) -> Result<Peer, Failure> {
        Peer::open_at(
            server,
            "/app/key?protocol=7&client=js&version=8.6.0&flash=false",
        )
    }

    fn open_at(server: &TestServer, target: &str) -> Result<Peer, Failure> {
        let client = server.open(target)?;
        let mut peer = Peer {
            client,
            id: String::new(),
        };
        let (event, data) = peer.receive()?;
        assert_eq!(event, "pusher:connection_established");
        assert_eq!(data["activity_timeout"], 30);
        peer.id = data["socket_id"].as_str().expect("a string").to_owned();
        assert!(peer.id.split('.').all(|part| part.parse::<u64>().is_ok()));
        Ok(peer)
    }

    /// The next message: its event, and its data, which stands in a string but for errors.
    fn receive(&mut self) -> Result<(String, Value), Failure> {
        let message = self.message()?;
        let data = match &message["data"] {
            Value::String(text) => serde_json::from_str(text).unwrap_or(json!(text)),
            other => other.clone(),
        };
        let event = message["event"].as_str().expect("an event");
        Ok((event.to_owned(), data))
    }

    fn message(&mut self) -> Result<Value, Failure> {
        loop {
            match self.client.receive()? {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text)
                        .map_err(|error| Failure::new(format!("{error}: {text}")))?;
                    if message["event"] == "pusher:ping" {
                        self.send(&json!({"event": "pusher:pong", "data": {}}))?;
                        continue;
                    }
                    return Ok(message);
                }
                other => return Err(Failure::new(format!("expected text, got {other:?}"))),
            }
        }
    }

    fn send(&mut self, message: &Value) -> Result<(), Failure> {
        self.client.send_text(&message.to_string())
    }

    fn ask(&mut self, channel: &str, data: Option<&str>) -> Result<(), Failure> {
        let signature = signing().sign_channel(&self.id, channel, data);
        self.ask_with(channel, &format!("key:{signature}"), data)
    }

    fn ask_with(&mut self, channel: &str, auth: &str, data: Option<&str>) -> Result<(), Failure> {
        let data = json!({"channel": channel, "auth": auth, "channel_data": data});
        self.send(&json!({"event": "pusher:subscribe", "data": data}))
    }

    /// Subscribes, and returns what the answer says.
    fn subscribe(&mut self, channel: &str, data: Option<&str>) -> Result<Value, Failure> {
        self.ask(channel, data)?;
        let (event, data) = self.receive()?;
        assert_eq!(event, "pusher_internal:subscription_succeeded", "{data}");
        Ok(data)
    }

    fn expect(&mut self, event: &str) -> Result<Value, Failure> {
        let (received, data) = self.receive()?;
        assert_eq!(received, event, "{data}");
        Ok(data)
    }

    /// What was sent before was handled, and led to nothing that is sent here.
    fn expect_nothing(&mut self) -> Result<(), Failure> {
        self.send(&json!({"event": "pusher:ping", "data": {}}))?;
        self.expect("pusher:pong")?;
        Ok(())
    }
}

fn a_connection_is_established_or_told_why_not(backend: Backend) -> Checked {
    let disabled = PusherApp {
        enabled: false,
        ..app("off", "off:")
    };
    let server = server_with(backend, vec![app("key", ""), disabled], |_| {});
    let mut peer = Peer::open(&server)?;
    peer.expect_nothing()?;
    for (target, code) in [
        ("/app/other?protocol=7", 4001),
        ("/app/off?protocol=7", 4003),
        ("/app/key?protocol=x", 4006),
        ("/app/key?protocol=4", 4007),
        ("/app/key?protocol=8", 4007),
        ("/app/key", 4008),
        ("/app/", 4001),
    ] {
        let mut client = server.open(target)?;
        let Message::Text(text) = client.receive()? else {
            panic!("an error comes first");
        };
        let error: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(error["event"], "pusher:error");
        assert_eq!(error["data"]["code"], code, "{target}");
        client.expect_close(code)?;
    }
    for bad in ["", "[]", "{\"event\":1}"] {
        peer.client.send_text(bad)?;
        peer.expect("pusher:error")?;
    }
    peer.client.send_binary(b"{}")?;
    peer.expect("pusher:error")?;
    peer.expect_nothing()?;
    Ok(())
}

fn what_others_publish_arrives_as_message(backend: Backend) -> Checked {
    let server = server(backend);
    let mut peer = Peer::open(&server)?;
    assert_eq!(peer.subscribe("lobby", None)?, json!({}));
    let mut raw = server.open("/raw/lobby")?;
    raw.send_text("{\"a\":1}")?;
    let message = peer.message()?;
    assert_eq!(
        message,
        json!({"event": "message", "channel": "lobby", "data": "{\"a\":1}"})
    );
    raw.send_binary(&[1, 255])?;
    assert_eq!(peer.message()?["data"], "\u{0}Af8=");
    peer.ask("lobby", None)?;
    peer.expect("pusher:error")?;
    peer.send(&json!({"event": "pusher:unsubscribe", "data": {"channel": "lobby"}}))?;
    server.wait_for_count("subscriptions", |count| count == 1);
    raw.send_text("unheard")?;
    peer.expect_nothing()?;
    assert_eq!(peer.subscribe("lobby", None)?, json!({}));
    Ok(())
}

fn a_private_channel_wants_the_applications_signature(backend: Backend) -> Checked {
    let server = server(backend);
    let mut peer = Peer::open(&server)?;
    let other = signing().sign_channel("1.1", "private-a", None);
    for auth in ["", "key:", "key:00", "other:00", &format!("key:{other}")] {
        peer.ask_with("private-a", auth, None)?;
        let error = peer.expect("pusher:subscription_error")?;
        assert_eq!(
            (&error["type"], &error["status"]),
            (&json!("AuthError"), &json!(401))
        );
    }
    peer.ask_with("", "", None)?;
    peer.expect("pusher:subscription_error")?;
    peer.ask_with(&"a".repeat(201), "", None)?;
    peer.expect("pusher:subscription_error")?;
    assert_eq!(peer.subscribe("private-a", None)?, json!({}));
    assert_eq!(peer.subscribe("private-encrypted-a", None)?, json!({}));
    Ok(())
}

fn protection_is_the_names_in_every_dialect(backend: Backend) -> Checked {
    let server = server(backend);
    let mut peer = Peer::open(&server)?;
    peer.subscribe("private-a", None)?;
    for path in [
        "/raw/private-a",
        "/raw/presence-a",
        "/raw/private-encrypted-a",
    ] {
        let refused = server.open(path);
        assert!(refused.is_err(), "{path} is protected");
    }
    let mut centrifugo = server.open("/connection/websocket")?;
    centrifugo.send_text(r#"{"id":1,"connect":{}}"#)?;
    centrifugo.receive()?;
    for command in [
        r#"{"id":2,"subscribe":{"channel":"private-a"}}"#,
        r#"{"id":3,"publish":{"channel":"private-a","data":1}}"#,
        r#"{"id":4,"presence":{"channel":"presence-a"}}"#,
    ] {
        centrifugo.send_text(command)?;
        let Message::Text(text) = centrifugo.receive()? else {
            panic!("an answer is text");
        };
        assert!(text.contains("permission denied"), "{command}: {text}");
    }
    peer.expect_nothing()?;
    Ok(())
}

fn member(user: &str, name: &str) -> String {
    json!({"user_id": user, "user_info": {"name": name}}).to_string()
}

fn members_are_users_and_not_connections(backend: Backend) -> Checked {
    let server = server(backend);
    let mut first = Peer::open(&server)?;
    let here = first.subscribe("presence-a", Some(&member("1", "A")))?;
    let own = json!({"count": 1, "ids": ["1"], "hash": {"1": {"name": "A"}}});
    assert_eq!(here["presence"], own);
    let mut second = Peer::open(&server)?;
    second.subscribe("presence-a", Some(&member("2", "B")))?;
    let added = first.expect("pusher_internal:member_added")?;
    assert_eq!(added, json!({"user_id": "2", "user_info": {"name": "B"}}));
    // The same user by another connection, with another name: what was said first stays.
    let mut again = Peer::open(&server)?;
    let here = again.subscribe("presence-a", Some(&member("2", "C")))?;
    let both = json!({"1": {"name": "A"}, "2": {"name": "B"}});
    assert_eq!(
        (&here["presence"]["count"], &here["presence"]["hash"]),
        (&json!(2), &both)
    );
    drop(second);
    server.wait_for_count("presence_members", |count| count == 2);
    std::thread::sleep(Duration::from_millis(600)); // longer than a leave lingers and is gathered
    first.expect_nothing()?;
    again.send(&json!({"event": "pusher:unsubscribe", "data": {"channel": "presence-a"}}))?;
    let removed = first.expect("pusher_internal:member_removed")?;
    assert_eq!(removed, json!({"user_id": "2"}));
    again.expect_nothing()?;
    for bad in [None, Some("{}"), Some("x"), Some("{\"user_id\":[]}")] {
        again.ask("presence-a", bad)?;
        again.expect("pusher:subscription_error")?;
    }
    Ok(())
}

/// Also with those of whom others were not told yet, and each is told to each other once.
fn a_subscription_is_answered_with_all_that_came_before(backend: Backend) -> Checked {
    let server = server_with(backend, vec![app("key", "")], |settings| {
        for (_, policy) in &mut settings.channels.namespaces {
            policy.presence_notify_ms = 3_000;
            policy.presence_linger_ms = 0;
        }
        let mut pusher = pusher::Settings::clone(&settings.dialects.pusher);
        pusher.members_per_channel_max = 100;
        settings.dialects.pusher = Arc::new(pusher);
    });
    let users = ["1", "2", "3", "4", "5"];
    let mut peers = Vec::new();
    for (before, user) in users.iter().enumerate() {
        let mut peer = Peer::open(&server)?;
        let here = peer.subscribe("presence-a", Some(&member(user, "x")))?;
        assert_eq!(here["presence"]["ids"], json!(users[..=before]));
        peers.push(peer);
    }
    for (at, peer) in peers.iter_mut().enumerate() {
        for user in &users[at + 1..] {
            let added = peer.expect("pusher_internal:member_added")?;
            assert_eq!(added["user_id"], json!(user));
        }
        peer.expect_nothing()?;
    }
    // Also of one that leaves at once.
    drop(peers.pop());
    for peer in &mut peers {
        let left = peer.expect("pusher_internal:member_removed")?;
        assert_eq!(left, json!({"user_id": "5"}));
    }
    Ok(())
}

/// Laravel's applications name users by numbers, and their pages compare.
fn a_user_that_is_a_number_stays_one(backend: Backend) -> Checked {
    let server = server(backend);
    let mut one = Peer::open(&server)?;
    let first = one.subscribe("presence-a", Some(r#"{"user_id":1}"#))?;
    assert_eq!(first["presence"]["hash"], json!({"1": {}}));
    let mut two = Peer::open(&server)?;
    let second = two.subscribe("presence-a", Some(r#"{"user_id":2,"user_info":{"a":3}}"#))?;
    assert_eq!(second["presence"]["hash"], json!({"1": {}, "2": {"a": 3}}));
    let added = one.expect("pusher_internal:member_added")?;
    assert_eq!(added, json!({"user_id": 2, "user_info": {"a": 3}}));
    two.send(&client_event("presence-a", json!("x")))?;
    assert_eq!(one.message()?["user_id"], json!(2));
    drop(two);
    let removed = one.expect("pusher_internal:member_removed")?;
    assert_eq!(removed, json!({"user_id": 2}));
    Ok(())
}

fn a_full_channel_refuses_another_user(backend: Backend) -> Checked {
    let server = server(backend);
    let mut peers = Vec::new();
    for user in ["1", "2"] {
        let mut peer = Peer::open(&server)?;
        peer.subscribe("presence-a", Some(&member(user, "x")))?;
        peers.push(peer);
    }
    peers[0].expect("pusher_internal:member_added")?;
    let mut third = Peer::open(&server)?;
    third.ask("presence-a", Some(&member("3", "x")))?;
    let error = third.expect("pusher:subscription_error")?;
    assert_eq!(error["type"], "LimitReached");
    std::thread::sleep(Duration::from_millis(600)); // longer than a leave lingers and is gathered
    for peer in &mut peers {
        peer.expect_nothing()?; // of one that may not stay nobody is told
    }
    third.subscribe("presence-a", Some(&member("2", "x")))?;
    let long = member("3", &"x".repeat(200));
    third.ask("presence-b", Some(&long))?;
    third.expect("pusher:subscription_error")?;
    server.wait_for_count("presence_members", |count| count == 3);
    Ok(())
}

fn client_event(channel: &str, data: Value) -> Value {
    json!({"event": "client-typing", "channel": channel, "data": data})
}

fn client_events_go_to_others_alone(backend: Backend) -> Checked {
    let server = server(backend);
    let mut one = Peer::open(&server)?;
    let mut two = Peer::open(&server)?;
    for peer in [&mut one, &mut two] {
        peer.subscribe("private-a", None)?;
        peer.subscribe("private-encrypted-a", None)?;
        peer.subscribe("lobby", None)?;
    }
    one.send(&client_event("private-a", json!({"a": [1]})))?;
    let message = two.message()?;
    let expected = json!({"event": "client-typing", "channel": "private-a", "data": "{\"a\":[1]}"});
    assert_eq!(message, expected);
    two.send(&client_event("private-a", json!("text")))?;
    assert_eq!(one.message()?["data"], "text");
    two.expect_nothing()?;
    for (channel, event) in [
        ("lobby", "client-a"),
        ("private-encrypted-a", "client-a"),
        ("private-b", "client-a"),
        ("private-a", "typing"),
    ] {
        one.send(&json!({"event": event, "channel": channel, "data": 1}))?;
        assert_eq!(
            one.expect("pusher:error")?["code"],
            4301,
            "{channel} {event}"
        );
    }
    two.expect_nothing()?;
    one.subscribe("presence-a", Some(&member("7", "x")))?;
    two.subscribe("presence-a", Some(&member("8", "y")))?;
    one.expect("pusher_internal:member_added")?;
    one.send(&client_event("presence-a", json!(1)))?;
    loop {
        let message = two.message()?;
        if message["event"] == "client-typing" {
            assert_eq!(message["user_id"], "7");
            return Ok(());
        }
        assert_eq!(
            message["event"], "pusher_internal:member_added",
            "{message}"
        );
    }
}

fn client_events_have_a_rate_and_a_size(backend: Backend) -> Checked {
    let server = server(backend);
    let mut one = Peer::open(&server)?;
    one.subscribe("private-a", None)?;
    one.send(&client_event("private-a", json!("x".repeat(100))))?;
    assert_eq!(one.expect("pusher:error")?["code"], 4301);
    let mut other = Peer::open(&server)?; // with a rate of its own
    other.subscribe("private-a", None)?;
    let named =
        |name: &str| json!({"event": format!("client-{name}"), "channel": "private-a", "data": 1});
    for name in [&"x".repeat(194), "\t"] {
        other.send(&named(name))?;
        let error = other.expect("pusher:error")?;
        assert!(error["message"].to_string().contains("name"), "{error}");
    }
    other.send(&named(&"x".repeat(193)))?;
    other.expect_nothing()?;
    drop(other);
    assert_eq!(
        one.message()?["event"],
        format!("client-{}", "x".repeat(193))
    );
    let mut refused = 0;
    for _ in 0..25 {
        one.send(&client_event("private-a", json!(1)))?;
    }
    one.send(&json!({"event": "pusher:ping"}))?;
    loop {
        match one.receive()? {
            (event, _) if event == "pusher:pong" => break,
            (event, data) => {
                assert_eq!(
                    (event.as_str(), &data["code"]),
                    ("pusher:error", &json!(4301))
                );
                refused += 1;
            }
        }
    }
    // They may fall into two seconds.
    assert!((5..=15).contains(&refused), "{refused} of 25 were refused");
    Ok(())
}

fn a_cache_channel_answers_with_its_last_event(backend: Backend) -> Checked {
    let server = server(backend);
    let mut first = Peer::open(&server)?;
    first.subscribe("cache-a", None)?;
    let miss = first.message()?;
    assert_eq!(
        miss,
        json!({"event": "pusher:cache_miss", "channel": "cache-a"})
    );
    let mut raw = server.open("/raw/cache-a")?;
    for text in ["old", "new"] {
        raw.send_text(text)?;
        assert_eq!(first.message()?["data"], text);
    }
    let mut second = Peer::open(&server)?;
    second.subscribe("cache-a", None)?;
    let last = json!({"event": "message", "channel": "cache-a", "data": "new"});
    assert_eq!(second.message()?, last);
    second.expect_nothing()?;
    // Behind the answer also where that waits for the members.
    let own = member("1", "x");
    first.subscribe("presence-cache-a", Some(&own))?;
    first.expect("pusher:cache_miss")?;
    // Another that has the event shows that the channel has kept it: a ping of its publisher's would
    // not, which that one's own reactor answers.
    let mut other = Peer::open(&server)?;
    other.subscribe("presence-cache-a", Some(&member("2", "x")))?;
    other.expect("pusher:cache_miss")?;
    first.send(&client_event("presence-cache-a", json!("kept")))?;
    assert_eq!(other.message()?["event"], "client-typing");
    second.subscribe("presence-cache-a", Some(&member("2", "x")))?;
    let last = second.message()?;
    assert_eq!(
        (&last["event"], &last["data"]),
        (&json!("client-typing"), &json!("kept"))
    );
    assert_eq!(last["user_id"], "1");
    Ok(())
}

fn subscribers_are_told_how_many_they_are(backend: Backend) -> Checked {
    let server = server_with(backend, vec![app("key", "")], |settings| {
        settings.channels = std::mem::take(&mut settings.channels).with_counts();
    });
    let counted = |peer: &mut Peer, count: u32| -> Checked {
        let told = peer.expect("pusher_internal:subscription_count")?;
        assert_eq!(told, json!({"subscription_count": count}));
        Ok(())
    };
    for (channel, path) in [("lobby", "/raw/lobby"), ("private-a", "")] {
        let mut one = Peer::open(&server)?;
        one.subscribe(channel, None)?;
        counted(&mut one, 1)?;
        let mut two = Peer::open(&server)?;
        two.subscribe(channel, None)?;
        counted(&mut one, 2)?;
        counted(&mut two, 2)?;
        if !path.is_empty() {
            let raw = server.open(path)?; // it counts as well
            counted(&mut one, 3)?;
            counted(&mut two, 3)?;
            drop(raw);
            counted(&mut one, 2)?;
            counted(&mut two, 2)?;
        }
        let data = json!({"channel": channel});
        two.send(&json!({"event": "pusher:unsubscribe", "data": data}))?;
        counted(&mut one, 1)?;
        two.expect_nothing()?;
    }
    // Where there are members, of users alone.
    let mut one = Peer::open(&server)?;
    one.subscribe("presence-a", Some(&member("1", "x")))?;
    let mut two = Peer::open(&server)?;
    two.subscribe("presence-a", Some(&member("2", "x")))?;
    one.expect("pusher_internal:member_added")?;
    one.expect_nothing()?;
    Ok(())
}

fn a_user_signs_in_and_has_a_channel_of_its_own(backend: Backend) -> Checked {
    let server = server(backend);
    let mut peer = Peer::open(&server)?;
    peer.ask("#server-to-user-7", None)?;
    peer.expect("pusher:subscription_error")?;
    let data = json!({"id": "7", "user_info": {"name": "x"}}).to_string();
    let auth = format!("key:{}", signing().sign_user(&peer.id, &data));
    let sign_in = json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": data}});
    peer.send(&sign_in)?;
    assert_eq!(peer.expect("pusher:signin_success")?["user_data"], data);
    peer.ask_with("#server-to-user-7", "", None)?;
    peer.expect("pusher_internal:subscription_succeeded")?;
    peer.ask_with("#server-to-user-8", "", None)?;
    peer.expect("pusher:subscription_error")?;
    assert!(
        server.open("/raw/%23server-to-user-7").is_err(),
        "it is one user's"
    );
    let other = json!({"id": "8"}).to_string();
    let auth = format!("key:{}", signing().sign_user("1.1", &other));
    peer.send(&json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": other}}))?;
    assert_eq!(peer.expect("pusher:error")?["code"], 4009);
    peer.client.expect_close(4009)?;
    Ok(())
}

fn applications_with_prefixes_are_apart(backend: Backend) -> Checked {
    let apps = vec![app("key", ""), app("other", "shop:")];
    let server = server_with(backend, apps, |_| {});
    let mut plain = Peer::open(&server)?;
    let mut shop = Peer::open_at(&server, "/app/other?protocol=7")?;
    plain.subscribe("lobby", None)?;
    shop.ask_with("lobby", "", None)?;
    shop.expect("pusher_internal:subscription_succeeded")?;
    let mut raw = server.open("/raw/shop:lobby")?;
    raw.send_text("x")?;
    assert_eq!(shop.message()?["channel"], "lobby");
    plain.expect_nothing()?;
    plain.ask("shop:lobby", None)?;
    plain.expect("pusher:subscription_error")?;
    assert!(
        server.open("/raw/shop:private-a").is_err(),
        "it is protected"
    );
    Ok(())
}

/// Where an application wants it, a client stays only with something that the application has signed.
fn one_for_which_nothing_is_signed_is_closed_with_4009(backend: Backend) -> Checked {
    let own = PusherApp {
        authorized_connections: true,
        ..app("key", "")
    };
    let server = server_with(backend, vec![own], |settings| {
        settings.limits.handshake_timeout_ms = 1_000;
    });
    let mut idle = Peer::open(&server)?;
    idle.subscribe("lobby", None)?;
    let mut private = Peer::open(&server)?;
    private.subscribe("private-a", None)?;
    let mut user = Peer::open(&server)?;
    let data = json!({"id": "7"}).to_string();
    let auth = format!("key:{}", signing().sign_user(&user.id, &data));
    let asked = json!({"auth": auth, "user_data": data});
    user.send(&json!({"event": "pusher:signin", "data": asked}))?;
    user.expect("pusher:signin_success")?;
    assert_eq!(idle.expect("pusher:error")?["code"], 4009);
    idle.client.expect_close(4009)?;
    private.expect_nothing()?;
    user.expect_nothing()?;
    Ok(())
}

fn one_without_pong_is_closed_with_4201(backend: Backend) -> Checked {
    let server = server_with(backend, vec![app("key", "")], |settings| {
        settings.limits.ping_interval_ms = 1_000;
        settings.limits.ping_timeout_ms = 1_000;
    });
    let mut peer = Peer::open(&server)?;
    let Message::Text(ping) = peer.client.receive()? else {
        panic!("a ping is text");
    };
    assert_eq!(ping, r#"{"event":"pusher:ping","data":"{}"}"#);
    assert_eq!(peer.expect("pusher:error")?["code"], 4201);
    peer.client.expect_close(4201)?;
    Ok(())
}

fn a_drain_closes_with_4200(backend: Backend) -> Checked {
    let server = server(backend);
    let mut peer = Peer::open(&server)?;
    server.begin_stop(20_000);
    assert_eq!(peer.expect("pusher:error")?["code"], 4200);
    peer.client.expect_close(4200)?;
    peer.client.send_close(1000, "")?;
    drop(peer);
    server.wait_stopped();
    Ok(())
}

/// Who may subscribe to nothing, may not by a signature either.
#[test]
fn a_closed_namespace_stays_closed() {
    let server = server_with(Backend::ALL[0], vec![app("key", "")], |settings| {
        let shut = ChannelPolicy {
            subscribe: Access::Nobody,
            ..policy_for_tests()
        };
        let all = std::mem::take(&mut settings.channels.namespaces);
        let shut = all.into_iter().map(|(name, _)| (name, shut.clone()));
        settings.channels.namespaces = shut.collect();
    });
    let mut peer = Peer::open(&server).expect("it opens");
    peer.ask("private-a", None).expect("it is sent");
    let error = peer.expect("pusher:subscription_error").expect("an answer");
    assert_eq!(error["status"], 401);
}
