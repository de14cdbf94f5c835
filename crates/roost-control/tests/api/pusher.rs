//! Pusher's HTTP API: who is let in, what is published, and what is answered.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use roost_auth::body_md5;
use roost_dialect::pusher;
use roost_reactor::Presence;
use roost_testkit::client::{Client, Message};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

use crate::harness::{APP, APP_KEY, APP_SECRET, Answer, Api, KEY, app, server, signing};

/// A request, as Pusher's libraries make it.
struct Signed<'a> {
    method: &'a str,
    path: &'a str,
    query: Vec<(&'a str, String)>,
    body: String,
    secret: &'a str,
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is later than 1970").as_secs()
}

fn signed<'a>(method: &'a str, path: &'a str, body: &str) -> Signed<'a> {
    let mut query = vec![
        ("auth_key", APP_KEY.to_owned()),
        ("auth_timestamp", now().to_string()),
        ("auth_version", "1.0".to_owned()),
    ];
    if method == "POST" {
        query.push(("body_md5", body_md5(body.as_bytes())));
    }
    Signed {
        method,
        path,
        query,
        body: body.to_owned(),
        secret: APP_SECRET,
    }
}

impl<'a> Signed<'a> {
    fn with(mut self, name: &'a str, value: &str) -> Signed<'a> {
        self.query.retain(|(known, _)| *known != name);
        self.query.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Signed<'a> {
        self.query.retain(|(known, _)| *known != name);
        self
    }

    fn target(&self) -> String {
        let pairs: Vec<(&str, &str)> = self.query.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let signature = signing(self.secret).sign_request(self.method, self.path, &pairs);
        let mut target = format!("{}?auth_signature={signature}", self.path);
        for (name, value) in &self.query {
            let _ = write!(target, "&{name}={}", value.replace('%', "%25"));
        }
        target
    }

    fn send(&self, api: &Api) -> Answer {
        let headers = "Content-Type: application/json\r\n";
        api.request(self.method, &self.target(), headers, self.body.as_bytes())
    }
}

fn post(api: &Api, path: &str, body: &Value) -> Answer {
    signed("POST", path, &body.to_string()).send(api)
}

fn get(api: &Api, path: &str, info: &[(&'static str, &str)]) -> Answer {
    let request = signed("GET", path, "");
    let request = info
        .iter()
        .fold(request, |request, (name, value)| request.with(name, value));
    request.send(api)
}

const EVENTS: &str = "/apps/3/events";

fn event(channel: &str) -> Value {
    json!({"name": "shout", "data": "{\"a\":1}", "channel": channel})
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, why: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(why), "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
}

#[test]
fn an_event_reaches_its_channels_once_each() {
    let server = server();
    let api = Api::of(server.shared());
    let open = |name: &str| server.open(&format!("/raw/{name}")).expect("opens");
    let (mut one, mut two) = (open("one"), open("two"));
    let both = json!({"name": "shout", "data": "hello", "channels": ["one", "two"]});
    let answer = post(&api, EVENTS, &both);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "{}"),
        "{answer:?}"
    );
    one.expect_text("hello").expect("it is published");
    two.expect_text("hello").expect("it is published");
    let batch = json!({"batch": [event("one"), event("two"), event("one")]});
    let answer = post(&api, "/apps/3/batch_events", &batch);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "{}"),
        "{answer:?}"
    );
    for _ in 0..2 {
        one.expect_text("{\"a\":1}").expect("it is published");
    }
    two.expect_text("{\"a\":1}").expect("it is published");
    // Data that is no string is published as it is written.
    let plain = json!({"name": "n", "data": {"b": [2]}, "channel": "two", "unknown": 1});
    assert_eq!(post(&api, EVENTS, &plain).status, 200);
    two.expect_text(r#"{"b":[2]}"#).expect("it is published");
}

#[test]
fn a_request_that_is_not_signed_so_is_refused() {
    let server = server();
    let api = Api::of(server.shared());
    let body = event("one").to_string();
    let good = || signed("POST", EVENTS, &body);
    let refused = |request: Signed<'_>, why: &str| assert_refused(&request.send(&api), 401, why);
    refused(
        Signed {
            secret: "secret-of-other",
            ..good()
        },
        "auth_signature",
    );
    for name in ["auth_key", "auth_timestamp", "auth_version", "body_md5"] {
        refused(good().without(name), name);
    }
    refused(good().with("auth_key", "key-of-other"), "auth_key");
    refused(good().with("auth_version", "2.0"), "auth_version");
    refused(
        good().with("auth_timestamp", &(now() - 700).to_string()),
        "auth_timestamp",
    );
    refused(
        good().with("auth_timestamp", &(now() + 700).to_string()),
        "auth_timestamp",
    );
    refused(good().with("body_md5", &body_md5(b"{}")), "body_md5");
    // What was signed for another path, or has another parameter by now.
    let target = good().target();
    let headers = "Content-Type: application/json\r\n";
    let tampered = |target: &str| api.request("POST", target, headers, body.as_bytes());
    let other = target.replace("/events", "/batch_events");
    assert_refused(&tampered(&other), 401, "auth_signature");
    assert_refused(
        &tampered(&format!("{target}&info=user_count")),
        401,
        "auth_signature",
    );
    let twice = format!("{target}&auth_version=1.0");
    assert_refused(&tampered(&twice), 400, "twice");
    assert_eq!(tampered(&target).status, 200, "the request itself is good");
    // Libraries that sign by the second may say the same twice.
    assert_eq!(tampered(&target).status, 200);
    let unknown = signed("POST", "/apps/4/events", &body).send(&api);
    assert_refused(&unknown, 404, "no application \"4\"");
    let disabled = signed("POST", "/apps/off/events", &body).send(&api);
    assert_refused(&disabled, 403, "is disabled");
    assert_refused(
        &signed("GET", "/apps/3/nothing", "").send(&api),
        404,
        "no path",
    );
    let method = signed("GET", EVENTS, "").send(&api);
    assert_refused(&method, 405, "POST");
    assert_eq!(method.header("allow"), Some("POST"));
}

#[test]
fn what_is_too_much_is_refused_and_nothing_is_published() {
    let server = server();
    let api = Api::of(server.shared());
    let mut client = server.open("/raw/one").expect("opens");
    let names: Vec<String> = (0..101).map(|n| format!("c{n}")).collect();
    let many = json!({"name": "n", "data": "", "channels": names});
    let long = |field: &str, text: String| {
        let mut event = event("one");
        event[field] = text.into();
        event
    };
    for (path, body, status, why) in [
        (EVENTS, many, 400, "1 to 100 channels"),
        (
            EVENTS,
            json!({"name": "n", "data": "", "channels": []}),
            400,
            "1 to 100",
        ),
        (
            EVENTS,
            json!({"name": "n", "data": ""}),
            400,
            "one of channel and channels",
        ),
        (
            EVENTS,
            long("name", "n".repeat(201)),
            400,
            "1 to 200 characters",
        ),
        (
            EVENTS,
            long("name", String::new()),
            400,
            "1 to 200 characters",
        ),
        (EVENTS, long("data", "d".repeat(10_241)), 413, "10241 bytes"),
        (EVENTS, long("channel", "c".repeat(165)), 400, "1 to 164"),
        (EVENTS, event("with space"), 400, "with space"),
        (EVENTS, event("other:one"), 400, "other:one"),
        (EVENTS, long("socket_id", "x".to_owned()), 400, "socket_id"),
        (EVENTS, long("info", "secrets".to_owned()), 400, "info"),
        (EVENTS, json!({"data": "", "channel": "one"}), 400, "name"),
        ("/apps/3/batch_events", json!({"batch": []}), 400, "1 to 10"),
        (
            "/apps/3/batch_events",
            json!({"batch": vec![event("one"); 11]}),
            400,
            "1 to 10",
        ),
        (
            "/apps/3/batch_events",
            json!({"batch": [event("one"), event("")]}),
            400,
            "event 2 of the batch",
        ),
    ] {
        assert_refused(&post(&api, path, &body), status, why);
    }
    let most = long("data", "d".repeat(10_240));
    assert_eq!(post(&api, EVENTS, &most).status, 200);
    client
        .expect_text(&"d".repeat(10_240))
        .expect("and nothing before it");
}

/// A client of Pusher's that is subscribed to a channel, and its socket's id.
fn subscribed(server: &TestServer, channel: &str) -> (Client, String) {
    subscribed_as(server, channel, None)
}

/// The same as a member of a presence channel.
fn subscribed_as(server: &TestServer, channel: &str, member: Option<&str>) -> (Client, String) {
    let mut client = server
        .open(&format!("/app/{APP_KEY}?protocol=7"))
        .expect("opens");
    let mut receive = || {
        let Message::Text(text) = client.receive().expect("it is told") else {
            panic!("no text");
        };
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let greeting = receive();
    let data = greeting["data"].as_str().expect("a string");
    let data: Value = serde_json::from_str(data).expect("JSON");
    let id = data["socket_id"].as_str().expect("a string").to_owned();
    let signature = app(APP, "").signing.sign_channel(&id, channel, member);
    let auth = format!("{APP_KEY}:{signature}");
    let asked = json!({"channel": channel, "auth": auth, "channel_data": member});
    let subscribe = json!({"event": "pusher:subscribe", "data": asked});
    client.send_text(&subscribe.to_string()).expect("sent");
    let Message::Text(text) = client.receive().expect("it is told") else {
        panic!("no text");
    };
    assert!(text.contains("subscription_succeeded"), "{text}");
    (client, id)
}

/// What an application says of its users, its servers see in the API.
#[test]
fn members_are_listed_with_what_is_said_of_them() {
    let server = TestServer::with(Backend::Epoll, 2, |settings| {
        settings.channels = std::mem::take(&mut settings.channels).with_app("");
        settings.dialects.pusher = Arc::new(pusher::Settings {
            enabled: true,
            apps: vec![app(APP, "")].into(),
            members_per_channel_max: 10,
            member_bytes_max: 100,
            subscriptions_per_connection_max: 10,
            channel_name_bytes_max: 255,
            ..pusher::Settings::default()
        });
    });
    let api = Api::of(server.shared());
    let member = json!({"user_id": "7", "user_info": {"name": "x"}}).to_string();
    let _client = subscribed_as(&server, "presence-room", Some(&member));
    let headers = format!("X-API-Key: {KEY}\r\n");
    let target = "/v1/presence?channel=presence-room";
    let view = api.request("GET", target, &headers, b"").json();
    let [one] = &view["members"].as_array().expect("a list")[..] else {
        panic!("one is there: {view}");
    };
    let info = json!({"name": "x"});
    assert_eq!((&one["user"], &one["chan_info"]), (&json!("7"), &info));
    assert_eq!(
        one.get("conn_info"),
        None,
        "nothing is said of its connection"
    );
    let answer = api.post("/api/presence", r#"{"channel":"presence-room"}"#);
    let client = one["client"].as_str().expect("a name");
    let info = json!({"client": client, "user": "7", "chan_info": info});
    assert_eq!(
        answer.json(),
        json!({"result": {"presence": {client: info}}})
    );
}

/// Who has caused an event names its own socket, and does not hear it again.
#[test]
fn an_event_is_not_sent_to_the_socket_that_it_names() {
    let server = TestServer::with(Backend::Epoll, 2, |settings| {
        settings.channels = std::mem::take(&mut settings.channels).with_app("");
        settings.dialects.pusher = Arc::new(pusher::Settings {
            enabled: true,
            apps: vec![app(APP, "")].into(),
            subscriptions_per_connection_max: 10,
            channel_name_bytes_max: 255,
            ..pusher::Settings::default()
        });
    });
    let api = Api::of(server.shared());
    let (mut one, id) = subscribed(&server, "room");
    let (mut other, _) = subscribed(&server, "room");
    for (data, except) in [("first", Some(&id)), ("second", None)] {
        let mut told = json!({"name": "said", "channel": "room", "data": data});
        if let Some(id) = except {
            told["socket_id"] = id.as_str().into();
        }
        let answer = post(&api, EVENTS, &told);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let said = |data: &str| format!(r#"{{"channel":"room","event":"said","data":"{data}"}}"#);
    one.expect_text(&said("second"))
        .expect("and not the first, which it has caused");
    other.expect_text(&said("first")).expect("it is told");
    other.expect_text(&said("second")).expect("and then that");
}

/// Namespaces keep presence, so that there are users to be counted.
fn present() -> TestServer {
    TestServer::with(Backend::Epoll, 2, |settings| {
        settings.channels.default.presence = Presence::Members;
    })
}

#[test]
fn channels_are_listed_with_what_is_asked_of_them() {
    let server = present();
    let api = Api::of(server.shared());
    let open = |name: &str| server.open(&format!("/raw/{name}")).expect("opens");
    let _clients = [
        open("presence-a"),
        open("presence-a"),
        open("one"),
        open("other:one"),
        open("no%20channel%20of%20Pusher's"),
    ];
    let all = get(&api, "/apps/3/channels", &[]);
    // Counts are there whether they are asked for or not.
    let two = json!({"occupied": true, "subscription_count": 2, "user_count": 0});
    let one = json!({"occupied": true, "subscription_count": 1});
    let expected = json!({"channels": {"presence-a": two, "one": one}});
    assert_eq!((all.status, all.json()), (200, expected));
    let some = get(
        &api,
        "/apps/3/channels",
        &[
            ("filter_by_prefix", "presence-"),
            ("info", "user_count,subscription_count"),
        ],
    );
    assert_eq!(some.json(), json!({"channels": {"presence-a": two}}));
    let bad = get(&api, "/apps/3/channels", &[("info", "user_count")]);
    assert_refused(&bad, 400, "filter_by_prefix=presence-");
    let room = get(
        &api,
        "/apps/3/channels/presence-a",
        &[("info", "subscription_count")],
    );
    assert_eq!(room.json(), two);
    let none = get(&api, "/apps/3/channels/empty", &[]);
    let empty = json!({"occupied": false, "subscription_count": 0});
    assert_eq!(none.json(), empty);
    let bad = get(&api, "/apps/3/channels/one", &[("info", "user_count")]);
    assert_refused(&bad, 400, "presence channels");
    let users = get(&api, "/apps/3/channels/presence-a/users", &[]);
    assert_eq!(users.json(), json!({"users": []}), "raw clients have none");
    assert_refused(
        &get(&api, "/apps/3/channels/one/users", &[]),
        400,
        "presence channels",
    );
    // With an event, what is asked of its channels.
    let mut told = event("presence-a");
    told["info"] = "subscription_count".into();
    let answer = post(&api, EVENTS, &told);
    let counted = json!({"subscription_count": 2});
    assert_eq!(answer.json(), json!({"channels": {"presence-a": counted}}));
    let answer = post(
        &api,
        "/apps/3/batch_events",
        &json!({"batch": [event("one"), told]}),
    );
    assert_eq!(answer.json(), json!({"batch": [{}, counted]}));
    // Another application sees its own alone.
    let mut request = signed("GET", "/apps/other/channels", "").with("auth_key", "key-of-other");
    request.secret = "secret-of-other";
    assert_eq!(request.send(&api).json(), json!({"channels": {"one": one}}));
}

/// Its channels are those of an application, so that some of them keep their last event.
#[test]
fn a_cache_channel_says_what_it_keeps_and_for_how_long() {
    let server = TestServer::with(Backend::Epoll, 2, |settings| {
        settings.channels = std::mem::take(&mut settings.channels).with_app("");
    });
    let api = Api::of(server.shared());
    let path = "/apps/3/channels/cache-a";
    let none = get(&api, path, &[("info", "cache")]);
    let empty = json!({"occupied": false, "subscription_count": 0});
    assert_eq!((none.status, none.json()), (200, empty));
    let mut told = event("cache-a");
    told["info"] = "subscription_count,cache".into();
    let answer = post(&api, EVENTS, &told).json();
    let about = &answer["channels"]["cache-a"];
    assert_eq!(about["subscription_count"], 0, "{answer}");
    let check = |cache: &Value| {
        assert_eq!(cache["data"], "{\"a\":1}", "{cache}");
        let ttl = cache["ttl"].as_u64().expect("seconds");
        assert!((1_700..=1_800).contains(&ttl), "half an hour, not {ttl} s");
    };
    check(&about["cache"]);
    let _client = server.open("/raw/cache-a").expect("opens");
    let one = get(&api, path, &[("info", "cache")]).json();
    assert_eq!(one["occupied"], true);
    check(&one["cache"]);
    told["channel"] = "lobby".into();
    let answer = post(&api, EVENTS, &told).json();
    assert_eq!(
        answer,
        json!({"channels": {"lobby": {"subscription_count": 0}}}),
        "it keeps none"
    );
    let lobby = get(&api, "/apps/3/channels/lobby", &[("info", "cache")]);
    assert_refused(&lobby, 400, "cache channels");
}

#[test]
fn what_an_event_may_be_is_configured() {
    let server = TestServer::with(Backend::Epoll, 2, |settings| {
        let own = pusher::EventLimits {
            name_chars_max: 7,
            channels_max: 1,
            bytes_max: 3,
        };
        settings.dialects.pusher = Arc::new(pusher::Settings {
            events: own,
            ..pusher::Settings::default()
        });
    });
    let api = Api::of(server.shared());
    let named = |name: &str, data: &str| json!({"name": name, "data": data, "channel": "one"});
    let two = json!({"name": "n", "data": "", "channels": ["one", "two"]});
    for (body, status, why) in [
        (named("greeting", ""), 400, "1 to 7 characters"),
        (named("n", "four"), 413, "at most 3"),
        (two, 400, "1 to 1 channels"),
    ] {
        assert_refused(&post(&api, EVENTS, &body), status, why);
    }
    assert_eq!(post(&api, EVENTS, &named("greetin", "abc")).status, 200);
}

#[test]
fn a_user_is_terminated_by_name_however_it_is_written() {
    let server = server();
    let api = Api::of(server.shared());
    let path = "/apps/3/users/a%20b/terminate_connections";
    let answer = signed("POST", path, "{}").send(&api);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "{}"),
        "{answer:?}"
    );
    // Some libraries sign what they do not send: the path without escapes.
    let mut request = signed("POST", "/apps/3/users/a b/terminate_connections", "{}");
    request.query.push(("x", "1".to_owned()));
    let target = request.target().replace("a b", "a%20b");
    let headers = "Content-Type: application/json\r\n";
    assert_eq!(api.request("POST", &target, headers, b"{}").status, 200);
    // And PyPI's names the application by its key alone.
    let alone = "/users/ann/terminate_connections";
    assert_eq!(signed("POST", alone, "{}").send(&api).status, 200);
    let others = "/apps/3/users/other:ann/terminate_connections";
    let refused = signed("POST", others, "{}").send(&api);
    assert_refused(&refused, 400, "another application's");
    let unknown = signed("POST", alone, "{}").with("auth_key", "nobody");
    assert_refused(&unknown.send(&api), 401, "auth_key");
    let long = format!(
        "/apps/{APP}/users/{}/terminate_connections",
        "u".repeat(256)
    );
    assert_refused(&signed("POST", &long, "{}").send(&api), 400, "255 bytes");
}
