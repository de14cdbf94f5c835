//! Many publications a request.

use std::io::{BufRead as _, BufReader, Write as _};

use roost_testkit::client::Checked;
use serde_json::{Value, json};

use crate::harness::{Api, KEY, ORDER_KEY, server};

fn ndjson(api: &Api, query: &str, body: &str) -> Vec<Value> {
    let headers = format!("X-API-Key: {KEY}\r\nContent-Type: application/x-ndjson\r\n");
    let path = format!("/v1/publications{query}");
    let answer = api.request("POST", &path, &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    answer.lines()
}

#[test]
fn each_line_is_published_and_answered_in_order() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    let mut subscribers = Vec::new();
    for channel in 0..4 {
        subscribers.push(server.open(&format!("/raw/c{channel}"))?);
    }
    let lines = (0..1_000).map(|n| format!("{{\"channel\":\"c{}\",\"data\":{n}}}\n", n % 4));
    let results = ndjson(&api, "", &lines.collect::<String>());
    assert_eq!(results.len(), 1_000);
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result["line"], n + 1);
        assert_eq!(result["channel"], format!("c{}", n % 4));
        assert!(
            result["offset"].is_u64() && result["epoch"].is_string(),
            "{result}"
        );
    }
    for (channel, subscriber) in subscribers.iter_mut().enumerate() {
        for n in (channel..1_000).step_by(4) {
            subscriber.expect_text(&n.to_string())?;
        }
    }
    Ok(())
}

#[test]
fn a_bad_line_is_its_own_error() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    let mut subscriber = server.open("/raw/c")?;
    let body = "{\"channel\":\"c\",\"text\":\"1\"}\n\nnot JSON\r\n{\"channel\":\"\",\"text\":\"x\"}\n\
                {\"channel\":\"c\",\"text\":\"x\",\"ack\":\"none\"}\n{\"channel\":\"c\",\"text\":\"2\"}";
    let results = ndjson(&api, "", body);
    let lines: Vec<_> = results
        .iter()
        .map(|result| result["line"].as_u64())
        .collect();
    assert_eq!(lines, [1, 3, 4, 5, 6].map(Some), "an empty line is none");
    let kinds: Vec<_> = results
        .iter()
        .map(|result| result["error"]["type"].as_str())
        .collect();
    let invalid = Some("urn:roost:problem:invalid-request");
    let channel = Some("urn:roost:problem:invalid-channel");
    assert_eq!(kinds, [None, invalid, channel, invalid, None]);
    subscriber.expect_text("1")?;
    subscriber.expect_text("2")?;
    let errors = ndjson(&api, "?results=errors", body);
    let lines: Vec<_> = errors
        .iter()
        .map(|result| result["line"].as_u64())
        .collect();
    assert_eq!(lines, [3, 4, 5].map(Some));
    Ok(())
}

#[test]
fn results_come_while_the_body_is_still_sent() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    let mut stream = api.connect();
    let head = format!(
        "POST /v1/publications HTTP/1.1\r\nHost: api\r\nX-API-Key: {KEY}\r\n\
         Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sends");
    let mut answer = BufReader::new(stream.try_clone().expect("a second handle"));
    for n in 0..3 {
        let line = format!("{{\"channel\":\"c\",\"data\":{n}}}\n");
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        stream.write_all(chunk.as_bytes()).expect("sends");
        let wanted = format!("\"line\":{}", n + 1);
        let mut line = String::new();
        while !line.contains(&wanted) {
            line.clear();
            assert_ne!(
                answer.read_line(&mut line).expect("it answers"),
                0,
                "it has ended"
            );
        }
    }
    Ok(())
}

#[test]
fn a_line_without_end_is_refused() {
    let server = server();
    let api = Api::of(server.shared());
    let body = format!("{{\"channel\":\"c\",\"text\":\"{}", "x".repeat(3 << 20));
    let results = ndjson(&api, "", &body);
    assert_eq!(results.len(), 1, "{results:?}");
    assert_eq!(results[0]["error"]["type"], "urn:roost:problem:too-large");
}

#[test]
fn a_broadcast_reaches_all_its_channels() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    let mut first = server.open("/raw/c0")?;
    let mut last = server.open("/raw/c1999")?;
    let channels: Vec<String> = (0..2_000).map(|n| format!("\"c{n}\"")).collect();
    let body = format!("{{\"channels\":[{}],\"text\":\"all\"}}", channels.join(","));
    let answer = api.post("/v1/broadcast", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let results = json["results"].as_array().expect("a list");
    assert_eq!(results.len(), 2_000);
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result["channel"], format!("c{n}"));
        assert!(result["offset"].is_u64(), "{result}");
    }
    first.expect_text("all")?;
    last.expect_text("all")?;
    Ok(())
}

/// One key of a broadcast counts in each of its channels by itself.
#[test]
fn a_broadcast_with_an_idempotency_key_comes_once_to_each_channel() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    let channels: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let mut subscribers = Vec::new();
    for channel in &channels {
        subscribers.push(server.open(&format!("/raw/{channel}"))?);
    }
    for text in ["first", "again"] {
        let body = json!({"channels": channels, "text": text, "idempotency_key": "k"});
        let answer = api.post("/v1/broadcast", &body.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let body = json!({"channels": channels, "text": "last"});
    assert_eq!(api.post("/v1/broadcast", &body.to_string()).status, 200);
    for subscriber in &mut subscribers {
        subscriber.expect_text("first")?;
        subscriber.expect_text("last")?;
    }
    Ok(())
}

#[test]
fn a_broadcast_with_a_mistake_publishes_nothing() {
    let server = server();
    let api = Api::of(server.shared());
    api.post("/v1/broadcast", r#"{"channels":[],"text":"x"}"#)
        .problem(400, "invalid-request");
    api.post("/v1/broadcast", r#"{"channels":["c",""],"text":"x"}"#)
        .problem(400, "invalid-channel");
    api.post("/v1/broadcast", r#"{"channels":["c"]}"#)
        .problem(400, "invalid-request");
    let many = vec!["\"c\""; 10_001].join(",");
    let detail = api.post(
        "/v1/broadcast",
        &format!(r#"{{"channels":[{many}],"text":"x"}}"#),
    );
    assert!(detail.problem(400, "invalid-request").contains("10000"));
    let headers = format!("X-API-Key: {ORDER_KEY}\r\n");
    let body = r#"{"channels":["order:1","chat"],"text":"x"}"#;
    api.post_with("/v1/broadcast", &headers, body)
        .problem(403, "forbidden");
    assert_eq!(server.count("publishes_total"), 0);
}
