//! One publication a request: what arrives, who may, and what is refused.

use std::io::Write;
use std::time::{Duration, Instant};

use roost_control::{ApiLimits, ApiListener, ApiOptions};
use roost_testkit::client::Checked;
use roost_testkit::server::{Backend, TestServer, wait_until};
use serde_json::json;

use crate::harness::{Api, KEY, ORDER_KEY, SOON, limits, server, start};

#[test]
fn a_publication_reaches_subscribers_and_has_a_place() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    // Names enough that each reactor is home of some.
    for number in 0..8 {
        let channel = format!("room {number}");
        let mut subscriber = server.open(&format!("/raw/room%20{number}"))?;
        let publish = |payload: &str| {
            let answer = api.post(
                "/v1/publish",
                &format!("{{\"channel\":\"{channel}\",{payload}}}"),
            );
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            answer.json()
        };
        let first = publish("\"text\":\"grüße\"");
        subscriber.expect_text("grüße")?;
        let second = publish("\"base64\":\"/wA=\"");
        subscriber.expect_binary(&[0xff, 0])?;
        assert_eq!(first["channel"], channel.as_str());
        assert_eq!(first["epoch"], second["epoch"]);
        assert_eq!(first["epoch"].as_str().map(str::len), Some(16));
        let offset = |answer: &serde_json::Value| answer["offset"].as_u64().expect("a number");
        assert_eq!(offset(&second), offset(&first) + 1);
        // Any JSON as it is written; a string as its text.
        for (data, arrives) in [
            (r#"{"a": [1, 2.50]}"#, r#"{"a": [1, 2.50]}"#),
            ("null", "null"),
            ("7", "7"),
            (r#""a \"string\"""#, "a \"string\""),
            (r#""""#, ""),
        ] {
            publish(&format!("\"data\":{data}"));
            subscriber.expect_text(arrives)?;
        }
    }
    assert_eq!(server.count("publishes_total"), 8 * 7);
    Ok(())
}

#[test]
fn offsets_grow_without_subscribers_too() {
    let server = server();
    let api = Api::of(server.shared());
    let mut last = 0;
    for _ in 0..5 {
        let answer = api.post("/v1/publish", r#"{"channel":"quiet","text":"x"}"#);
        let offset = answer.json()["offset"].as_u64().expect("a number");
        assert!(offset > last, "{offset} behind {last}");
        last = offset;
    }
}

#[test]
fn a_repeated_publication_is_delivered_once() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    let mut subscriber = server.open("/raw/c")?;
    let publish = |text: &str, key: &str| {
        let body = format!(r#"{{"channel":"c","text":"{text}"{key}}}"#);
        api.post("/v1/publish", &body).json()
    };
    let first = publish("1", r#","idempotency_key":"k""#);
    assert_eq!(publish("2", r#","idempotency_key":"k""#), first);
    let headers = format!("X-API-Key: {KEY}\r\nIdempotency-Key: \"k\"\r\n");
    let body = r#"{"channel":"c","text":"3"}"#;
    let by_header = api.post_with("/v1/publish", &headers, body);
    assert_eq!(by_header.json(), first);
    let other = publish("4", r#","idempotency_key":"l""#);
    assert_ne!(other["offset"], first["offset"]);
    // On another channel the key is another.
    let elsewhere = api.post_with("/v1/publish", &headers, r#"{"channel":"d","text":"5"}"#);
    assert_ne!(elsewhere.json(), first);
    let body = r#"{"channels":["c","e"],"text":"6"}"#;
    let broadcast = api.post_with("/v1/broadcast", &headers, body).json();
    assert_eq!(broadcast["results"][0], first);
    subscriber.expect_text("1")?;
    subscriber.expect_text("4")?;
    publish("7", "");
    subscriber.expect_text("7")?;
    // Where both are given the body's is meant.
    let body = r#"{"channel":"c","text":"8","idempotency_key":"other"}"#;
    let by_body = api.post_with("/v1/publish", &headers, body).json();
    assert_ne!(by_body, first);
    subscriber.expect_text("8")?;
    let again = publish("9", r#","idempotency_key":"other""#);
    assert_eq!(again, by_body);
    Ok(())
}

#[test]
fn an_idempotency_key_has_255_characters_at_most() {
    let server = server();
    let api = Api::of(server.shared());
    let in_body = |key: &str| {
        let body = json!({"channel": "c", "text": "x", "idempotency_key": key});
        api.post("/v1/publish", &body.to_string())
    };
    let in_header = |value: &str| {
        let headers = format!("X-API-Key: {KEY}\r\nIdempotency-Key: {value}\r\n");
        api.post_with("/v1/publish", &headers, r#"{"channel":"c","text":"x"}"#)
    };
    let (most, more) = ("k".repeat(255), "k".repeat(256));
    for key in ["k", "ä", most.as_str(), &"ä".repeat(255)] {
        assert_eq!(in_body(key).status, 200, "{key}");
    }
    for key in ["", more.as_str()] {
        let detail = in_body(key).problem(400, "invalid-request");
        assert!(detail.contains("1 to 255 characters"), "{detail}");
    }
    let quoted = |key: &str| format!("\"{key}\"");
    for value in ["k", "a \"b\" c", &most, &quoted(&most), "\"\"\""] {
        assert_eq!(in_header(value).status, 200, "{value}");
    }
    for value in [
        &more,
        &quoted(&more),
        "\"",
        "\"\"",
        "\"k",
        "a\tb",
        "\"a\tb\"",
        "ä",
    ] {
        let detail = in_header(value).problem(400, "invalid-request");
        assert!(detail.to_lowercase().contains("idempotency"), "{detail}");
    }
    // It is read also where the body's is meant.
    let headers = format!("X-API-Key: {KEY}\r\nIdempotency-Key: {more}\r\n");
    let body = r#"{"channel":"c","text":"x","idempotency_key":"k"}"#;
    api.post_with("/v1/publish", &headers, body)
        .problem(400, "invalid-request");
}

#[test]
fn without_an_ack_it_is_accepted() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    let mut subscriber = server.open("/raw/c")?;
    let answer = api.post("/v1/publish", r#"{"channel":"c","text":"x","ack":"none"}"#);
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json(), json!({"channel": "c"}));
    subscriber.expect_text("x")?;
    Ok(())
}

#[test]
fn what_cannot_be_read_is_refused_with_what_to_do() {
    let server = server();
    let api = Api::of(server.shared());
    let settings = server.shared().settings();
    let settings = &settings.limits;
    let long = "x".repeat(settings.channel_name_bytes_max + 1);
    for (body, kind, says) in [
        ("", "invalid-request", "EOF"),
        ("[]", "invalid-request", "the path takes"),
        ("{", "invalid-request", "EOF"),
        (r#"{"text":"x"}"#, "invalid-request", "channel"),
        (r#"{"channel":"c"}"#, "invalid-request", "one of data"),
        (
            r#"{"channel":"c","text":"x","data":1}"#,
            "invalid-request",
            "one of data",
        ),
        (r#"{"channel":"c","txt":"x"}"#, "invalid-request", "txt"),
        (r#"{"channel":"c","text":5}"#, "invalid-request", "string"),
        (
            r#"{"channel":"c","text":"x","ack":"all"}"#,
            "invalid-request",
            "placed",
        ),
        (
            r#"{"channel":"c","text":"x","channel":"d"}"#,
            "invalid-request",
            "duplicate",
        ),
        (
            r#"{"channel":"c","base64":"!"}"#,
            "invalid-request",
            "base64",
        ),
        (
            r#"{"channel":"c","data":"\ud800"}"#,
            "invalid-request",
            "data",
        ),
        (r#"{"channel":"","text":"x"}"#, "invalid-channel", "empty"),
        (
            "{\"channel\":\"a\\u0007\",\"text\":\"x\"}",
            "invalid-channel",
            "control",
        ),
        (
            &format!(r#"{{"channel":"{long}","text":"x"}}"#),
            "invalid-channel",
            "limits",
        ),
    ] {
        let detail = api.post("/v1/publish", body).problem(400, kind);
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let bearer = format!("Authorization: Bearer {KEY}\r\n");
    for content_type in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/jsonx\r\n",
    ] {
        let headers = format!("{bearer}{content_type}");
        let answer = api.request("POST", "/v1/publish", &headers, b"{}");
        answer.problem(415, "unsupported-media-type");
    }
    let headers = format!("{bearer}Content-Encoding: gzip\r\n");
    let answer = api.post_with("/v1/publish", &headers, "{}");
    answer.problem(415, "unsupported-media-type");
    let large = format!(
        r#"{{"channel":"c","text":"{}"}}"#,
        "x".repeat(limits().body_bytes_max)
    );
    let detail = api.post("/v1/publish", &large).problem(413, "too-large");
    assert!(detail.contains("api.body_bytes_max"), "{detail}");
    api.request("POST", "/v1/nothing", &bearer, b"")
        .problem(404, "not-found");
    let answer = api.request("GET", "/v1/publish", &bearer, b"");
    answer.problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
    let answer = api.request("OPTIONS", "/v1/publish", "", b"");
    assert_eq!(
        (answer.status, answer.header("allow")),
        (204, Some("POST, OPTIONS"))
    );
    assert_eq!(server.count("publishes_total"), 0);
}

#[test]
fn a_message_longer_than_may_be_is_refused() {
    let server = TestServer::with(Backend::Epoll, 2, |settings| {
        settings.limits.message_bytes_max = 100;
        settings.limits.frame_bytes_max = 100;
    });
    let api = Api::of(server.shared());
    let of = |length: usize| {
        let text = "x".repeat(length);
        api.post(
            "/v1/publish",
            &format!(r#"{{"channel":"c","text":"{text}"}}"#),
        )
    };
    assert_eq!(of(100).status, 200);
    let detail = of(101).problem(413, "too-large");
    assert!(detail.contains("limits.message_bytes_max"), "{detail}");
}

#[test]
fn only_a_key_that_allows_it_publishes() {
    let server = server();
    let api = Api::of(server.shared());
    let body = r#"{"channel":"order:1","text":"x"}"#;
    for headers in [
        format!("Authorization: Bearer {ORDER_KEY}\r\n"),
        format!("authorization: bearer {ORDER_KEY}\r\n"),
        format!("X-API-Key: {ORDER_KEY}\r\n"),
        format!("X-API-Key: {KEY}\r\n"),
    ] {
        let answer = api.post_with("/v1/publish", &headers, body);
        assert_eq!(answer.status, 200, "{headers}: {answer:?}");
    }
    for headers in [
        String::new(),
        "Authorization: Bearer another\r\n".to_owned(),
        format!("Authorization: Basic {ORDER_KEY}\r\n"),
        "X-API-Key: \r\n".to_owned(),
    ] {
        let answer = api.post_with("/v1/publish", &headers, body);
        let detail = answer.problem(401, "unauthorized");
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer"),
            "{headers}"
        );
        assert!(!detail.contains(ORDER_KEY), "{detail}");
    }
    let in_url = format!("/v1/publish?api_key={}", ORDER_KEY.replace(' ', "%20"));
    api.post_with(&in_url, "", body)
        .problem(401, "unauthorized");
    let headers = format!("X-API-Key: {ORDER_KEY}\r\n");
    let other = api.post_with("/v1/publish", &headers, r#"{"channel":"chat","text":"x"}"#);
    let detail = other.problem(403, "forbidden");
    assert!(
        detail.contains("publish:order:*") && detail.contains("\"chat\""),
        "{detail}"
    );
    assert_eq!(server.count("publishes_total"), 4);
}

#[test]
fn a_namespace_that_is_full_says_when() {
    let server = TestServer::with(Backend::Epoll, 2, |settings| {
        settings.channels.default.publish_messages_per_second_max = 5;
    });
    let api = Api::of(server.shared());
    let body = r#"{"channel":"c","text":"x"}"#;
    let begin = Instant::now();
    let refused = loop {
        let answer = api.post("/v1/publish", body);
        if answer.status != 200 {
            break answer;
        }
        assert!(begin.elapsed() < SOON, "5 a second are never exceeded");
    };
    refused.problem(429, "rate-limited");
    let after: u64 = refused
        .header("retry-after")
        .and_then(|s| s.parse().ok())
        .expect("seconds");
    assert!((1..=2).contains(&after), "{after}");
    let wait = refused.json()["retry_after_ms"].as_u64().expect("a time");
    assert!((1..=2_000).contains(&wait), "{wait}");
    std::thread::sleep(Duration::from_millis(wait));
    assert_eq!(api.post("/v1/publish", body).status, 200, "then it may");
}

#[test]
fn an_address_without_a_key_is_not_served() {
    let server = server();
    let listener = ApiListener::tcp(([127, 0, 0, 1], 0).into()).expect("binds");
    let options = ApiOptions {
        listeners: vec![listener],
        keys: Vec::new(),
        pusher: Vec::new(),
        limits: limits(),
        revocations: None,
    };
    assert!(start(server.shared(), options).is_err());
}

/// Bodies that are received slowly, or announced alone, take no more memory than they may together.
#[test]
fn bodies_under_way_are_bounded_in_bytes() {
    let server = server();
    let limits = ApiLimits {
        body_bytes_max: 1_000,
        bodies_bytes_max: 2_500,
        ..limits()
    };
    let api = Api::with(server.shared(), limits);
    let head = |more: &str| {
        format!(
            "POST /v1/publish HTTP/1.1\r\nHost: api\r\nConnection: close\r\nX-API-Key: {KEY}\r\n\
             Content-Type: application/json\r\n{more}\r\n"
        )
    };
    let mut begun = Vec::new();
    for length in ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut stream = api.connect();
        stream
            .write_all(head(length).as_bytes())
            .expect("it is read");
        begun.push(stream);
    }
    // The third has room once it is small: the two have come by then.
    let large = format!(r#"{{"channel": "c", "text": "{}"}}"#, "x".repeat(900));
    let publish = |json: &str| api.post("/v1/publish", json);
    wait_until(
        || publish(&large).status == 503,
        || "room for 3,000 bytes".to_owned(),
    );
    let detail = publish(&large).problem(503, "overloaded");
    assert!(detail.contains("api.bodies_bytes_max"), "{detail}");
    assert_eq!(publish(r#"{"channel": "c", "text": "small"}"#).status, 200);
    drop(begun);
    wait_until(
        || publish(&large).status == 200,
        || "their room is free again".to_owned(),
    );
}
