//! Channels: listed in pages with their subscribers, here and as Centrifugo has it.

use std::collections::BTreeMap;

use roost_testkit::client::Checked;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, KEY, ORDER_KEY, server};

fn get(api: &Api, path: &str) -> Answer {
    api.request("GET", path, &format!("X-API-Key: {KEY}\r\n"), b"")
}

#[test]
fn pages_have_each_channel_once() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    let mut clients = Vec::new();
    for number in 0..40 {
        clients.push(server.open(&format!("/raw/room:{}", number % 20))?);
    }
    clients.push(server.open("/raw/other")?);
    for (query, expected) in [("", 21), ("&prefix=room%3A", 20), ("&prefix=x", 0)] {
        let (mut seen, mut cursor) = (BTreeMap::new(), "0.0".to_owned());
        loop {
            let page = get(
                &api,
                &format!("/v1/channels?limit=3&cursor={cursor}{query}"),
            );
            assert_eq!(page.status, 200, "{page:?}");
            let page = page.json();
            for channel in page["channels"].as_array().expect("a list") {
                let name = channel["channel"].as_str().expect("a name").to_owned();
                let count = channel["subscribers"].as_u64();
                assert_eq!(seen.insert(name, count), None, "{channel} twice");
            }
            match page["cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(seen.len(), expected, "{query}");
        assert!(
            seen.get("room:7").is_none_or(|count| *count == Some(2)),
            "{seen:?}"
        );
    }
    let one = get(&api, "/v1/channels?name=other").json();
    assert_eq!(one["channels"][0]["subscribers"], 1, "{one}");
    let none = get(&api, "/v1/channels?name=Other").json();
    assert_eq!(none, json!({ "channels": [] }));
    for bad in ["limit=0", "limit=1001", "cursor=x", "other=1"] {
        let answer = get(&api, &format!("/v1/channels?{bad}"));
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
    }
    let headers = format!("X-API-Key: {ORDER_KEY}\r\n");
    let denied = api.request("GET", "/v1/channels", &headers, b"");
    assert_eq!(denied.status, 403, "{denied:?}");
    Ok(())
}

#[test]
fn centrifugo_lists_all_that_match() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    let _clients = ["a:1", "a:1", "a:2", "b:1"].map(|name| server.open(&format!("/raw/{name}")));
    let ask = |pattern: &Value| -> Value {
        let headers = format!("X-API-Key: {KEY}\r\n");
        let body = json!({ "pattern": pattern }).to_string();
        api.post_with("/api/channels", &headers, &body).json()
    };
    let two = json!({"a:1": {"num_clients": 2}, "a:2": {"num_clients": 1}});
    assert_eq!(ask(&json!("a:*"))["result"]["channels"], two);
    let ones = json!({"a:1": {"num_clients": 2}, "b:1": {"num_clients": 1}});
    assert_eq!(ask(&json!("?:1"))["result"]["channels"], ones);
    let all = ask(&json!(""));
    assert_eq!(
        all["result"]["channels"].as_object().map(|all| all.len()),
        Some(3)
    );
    let bad = ask(&json!("a[1]"));
    assert_eq!(bad["error"]["code"], 107, "{bad}");
    Ok(())
}
