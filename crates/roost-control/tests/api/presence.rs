//! Who is in a channel, by the API's own methods and by Centrifugo's.

use std::time::{Duration, Instant};

use roost_reactor::{ChannelPolicy, Presence, policy_for_tests};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, KEY, ORDER_KEY};

/// Channels of `room` list up to two members.
fn server() -> TestServer {
    TestServer::with(Backend::Epoll, 2, |settings| {
        let policy = ChannelPolicy {
            presence: Presence::Members,
            presence_members_max: 2,
            ..policy_for_tests()
        };
        settings.channels.namespaces = vec![("room".to_owned(), policy)];
    })
}

fn ask(api: &Api, path: &str, query: &str, key: &str) -> Answer {
    let path = format!("/v1/{path}?{query}");
    api.request("GET", &path, &format!("X-API-Key: {key}\r\n"), b"")
}

/// Asked until there are so many.
fn await_members(api: &Api, count: u64) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let view = ask(api, "presence", "channel=room:1", KEY).json();
        if view["num_clients"] == count {
            return view;
        }
        assert!(Instant::now() < deadline, "{view}");
    }
}

#[test]
fn members_are_listed_up_to_a_limit() {
    let server = server();
    let api = Api::of(server.shared());
    assert_eq!(await_members(&api, 0)["members"], json!([]));
    let one = server.open("/raw/room:1").expect("opens");
    let view = await_members(&api, 1);
    let client = view["members"][0]["client"].as_str().expect("a name");
    assert!(client.starts_with('r') && client.contains('-'), "{client}");
    assert_eq!(view["members"][0]["user"], "");
    assert_eq!(view["truncated"], false);
    let stats = ask(&api, "presence_stats", "channel=room:1", KEY).json();
    let expected =
        json!({"channel": "room:1", "num_clients": 1, "num_users": 0, "truncated": false});
    assert_eq!(stats, expected);
    let more = [(); 2].map(|()| server.open("/raw/room:1").expect("opens"));
    let view = await_members(&api, 3);
    assert_eq!(
        (&view["truncated"], &view["members"]),
        (&json!(true), &Value::Null)
    );
    drop((one, more));
    await_members(&api, 0);
}

#[test]
fn centrifugos_methods_answer_as_it_does() {
    let server = server();
    let api = Api::of(server.shared());
    let _one = server.open("/raw/room:1").expect("opens");
    let view = await_members(&api, 1);
    let client = view["members"][0]["client"].as_str().expect("a name");
    let presence = api.post("/api/presence", r#"{"channel":"room:1"}"#).json();
    let info = json!({"client": client, "user": ""});
    assert_eq!(presence, json!({"result": {"presence": {client: info}}}));
    let stats = api.post("/api/presence_stats", r#"{"channel":"room:1"}"#);
    // All that are anonymous are one user, here as in Centrifugo's clients' protocol.
    let counts = json!({"num_clients": 1, "num_users": 1});
    assert_eq!(stats.json(), json!({"result": counts}));
    let more = [(); 2].map(|()| server.open("/raw/room:1").expect("opens"));
    await_members(&api, 3);
    let stats = api.post("/api/presence_stats", r#"{"channel":"room:1"}"#);
    let counts = json!({"num_clients": 3, "num_users": 1});
    assert_eq!(stats.json(), json!({"result": counts}));
    let many = api.post("/api/presence", r#"{"channel":"room:1"}"#).json();
    let counts = json!({"presence": {}, "truncated": true, "num_clients": 3, "num_users": 1});
    assert_eq!(many, json!({"result": counts}));
    drop(more);
    await_members(&api, 1);
    // By that name it is found.
    let body = json!({"client": client}).to_string();
    assert_eq!(
        api.post("/api/disconnect", &body).json(),
        json!({"result": {}})
    );
    await_members(&api, 0);
    let none = api.post("/api/presence", r#"{"channel":"other"}"#).json();
    assert_eq!(none["error"]["code"], 108, "{none}");
}

#[test]
fn what_may_not_be_asked_is_refused() {
    let server = server();
    let api = Api::of(server.shared());
    assert_eq!(ask(&api, "presence", "channel=other", KEY).status, 404);
    assert_eq!(ask(&api, "presence", "", KEY).status, 400);
    assert_eq!(
        ask(&api, "presence", "channel=room:1&limit=3", KEY).status,
        400
    );
    assert_eq!(
        ask(&api, "presence", "channel=room:1", ORDER_KEY).status,
        403
    );
    assert_eq!(
        ask(&api, "presence_stats", "channel=room:1", ORDER_KEY).status,
        403
    );
}
