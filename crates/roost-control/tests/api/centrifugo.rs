//! Centrifugo's server API: its answers, and its errors in answers of status 200.

use roost_control::ApiLimits;
use roost_testkit::client::Checked;
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

use crate::harness::{Api, KEY, ORDER_KEY, limits, server};

fn ask(api: &Api, method: &str, json: &Value) -> Value {
    let headers = format!("X-API-Key: {KEY}\r\n");
    let answer = api.post_with(&format!("/api/{method}"), &headers, &json.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn publications_arrive_and_repeats_do_not() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    let mut subscriber = server.open("/raw/c")?;
    let first = ask(
        &api,
        "publish",
        &json!({"channel": "c", "data": {"a": 1}, "idempotency_key": "k"}),
    );
    assert!(
        first["result"]["offset"].is_u64() && first["result"]["epoch"].is_string(),
        "{first}"
    );
    subscriber.expect_text("{\"a\":1}")?;
    let again = ask(
        &api,
        "publish",
        &json!({"channel": "c", "data": 2, "idempotency_key": "k"}),
    );
    assert_eq!(again, first);
    ask(
        &api,
        "publish",
        &json!({"channel": "c", "data": {}, "b64data": "/wA=", "tags": {"t": "x"}}),
    );
    subscriber.expect_binary(&[0xff, 0])?;
    let many = ask(
        &api,
        "broadcast",
        &json!({"channels": ["c", "d"], "data": "text"}),
    );
    let responses = many["result"]["responses"].as_array().expect("a list");
    assert!(
        responses.iter().all(|one| one["result"]["offset"].is_u64()),
        "{many}"
    );
    subscriber.expect_text("text")?;
    let batch = ask(
        &api,
        "batch",
        &json!({"commands": [
        {"publish": {"channel": "c", "data": 7}},
        {"presence": {"channel": "c"}},
        {"nothing": {}},
        {"info": {}},
    ], "parallel": false}),
    );
    subscriber.expect_text("7")?;
    let replies = batch["replies"].as_array().expect("a list");
    assert!(replies[0]["publish"]["offset"].is_u64(), "{batch}");
    assert_eq!(replies[1]["error"]["code"], 108);
    assert_eq!(replies[2]["error"]["code"], 104);
    assert_eq!(replies[3]["info"]["nodes"][0]["num_clients"], 1);
    Ok(())
}

#[test]
fn errors_are_answers_but_for_a_wrong_key() {
    let server = server();
    let api = Api::of(server.shared());
    for (method, body, code) in [
        ("publish", json!({"data": 1}), 107),
        ("publish", json!({"channel": "", "data": 1}), 107),
        ("publish", json!({"channel": "c"}), 107),
        ("broadcast", json!({"channels": [], "data": 1}), 107),
        ("history", json!({"channel": "c"}), 108),
        ("presence", json!({"channel": "c"}), 108),
        ("subscribe", json!({"channel": "c"}), 107),
    ] {
        let answer = ask(&api, method, &body);
        assert_eq!(answer["error"]["code"], code, "{method} {body}: {answer}");
    }
    let answer = ask(&api, "disconnect", &json!({}));
    assert_eq!(answer["error"]["code"], 107, "{answer}");
    assert_eq!(
        ask(&api, "disconnect", &json!({"user": "u"})),
        json!({"result": {}})
    );
    let nobody = json!({"user": "u", "channel": "c"});
    assert_eq!(ask(&api, "subscribe", &nobody), json!({"result": {}}));
    let body = r#"{"channel":"chat","data":1}"#;
    let headers = format!("X-API-Key: {ORDER_KEY}\r\n");
    let denied = api.post_with("/api/publish", &headers, body);
    assert_eq!(
        (denied.status, &denied.json()["error"]["code"]),
        (200, &json!(103))
    );
    let wrong = api.post_with("/api/publish", "X-API-Key: wrong\r\n", body);
    assert_eq!(wrong.status, 401);
    assert_eq!(server.count("publishes_total"), 0);
}

/// As Centrifugo, whose namespaces are all in its configuration: where that is asked for.
#[test]
fn a_channel_of_no_namespace_is_unknown_where_that_is_asked_for() {
    let with_one = TestServer::with(Backend::Epoll, 2, |settings| {
        let policy = settings.channels.default.clone();
        settings.channels.namespaces = vec![("known".to_owned(), policy)];
    });
    let strict = ApiLimits {
        strict_namespaces: true,
        ..limits()
    };
    let methods = |channel: &str| {
        [
            ("publish", json!({"channel": channel, "data": 1})),
            ("subscribe", json!({"channel": channel, "user": "u"})),
            ("unsubscribe", json!({"channel": channel, "user": "u"})),
            ("history", json!({"channel": channel})),
            ("history_remove", json!({"channel": channel})),
            ("presence", json!({"channel": channel})),
            ("presence_stats", json!({"channel": channel})),
        ]
    };
    let api = Api::with(with_one.shared(), strict);
    for (method, body) in methods("unknown:1") {
        let error = &ask(&api, method, &body)["error"];
        assert_eq!(error["code"], 102, "{method}: {error}");
        let message = error["message"].as_str().expect("a message");
        assert!(
            message.starts_with("unknown channel") && message.contains("\"unknown\""),
            "{message}"
        );
    }
    for channel in ["known:1", "unknown", "known"] {
        for (method, body) in methods(channel) {
            let answer = ask(&api, method, &body);
            assert_ne!(answer["error"]["code"], 102, "{method} {channel}: {answer}");
        }
    }
    let channels = json!({"channels": ["known:1", "unknown:1", "c"], "data": 1});
    let answer = ask(&api, "broadcast", &channels);
    let codes = answer["result"]["responses"].as_array().expect("a list");
    let codes = codes.iter().map(|one| one["error"]["code"].as_u64());
    assert_eq!(codes.collect::<Vec<_>>(), [None, Some(102), None]);

    let server = server();
    let api = Api::of(server.shared());
    for (method, body) in methods("unknown:1") {
        let answer = ask(&api, method, &body);
        assert_ne!(answer["error"]["code"], 102, "{method}: {answer}");
    }
}
