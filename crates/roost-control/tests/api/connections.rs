//! Connections: listed in pages, looked at and disconnected.

use std::collections::BTreeSet;

use roost_testkit::client::Checked;

use crate::harness::{Api, KEY, ORDER_KEY, server};

fn get(api: &Api, path: &str) -> crate::harness::Answer {
    api.request("GET", path, &format!("X-API-Key: {KEY}\r\n"), b"")
}

fn delete(api: &Api, path: &str, json: &str) -> crate::harness::Answer {
    let headers = match json {
        "" => format!("X-API-Key: {KEY}\r\n"),
        _ => format!("X-API-Key: {KEY}\r\nContent-Type: application/json\r\n"),
    };
    api.request("DELETE", path, &headers, json.as_bytes())
}

#[test]
fn pages_have_each_connection_once() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    let mut clients = Vec::new();
    for number in 0..30 {
        let path = if number % 3 == 0 { "/echo" } else { "/raw/c" };
        clients.push(server.open(path)?);
    }
    for (query, expected) in [
        ("", 30),
        ("&dialect=raw", 20),
        ("&dialect=echo", 10),
        ("&dialect=x", 0),
    ] {
        let (mut seen, mut cursor) = (BTreeSet::new(), "0.0".to_owned());
        loop {
            let page = get(
                &api,
                &format!("/v1/connections?limit=7&cursor={cursor}{query}"),
            );
            assert_eq!(page.status, 200, "{page:?}");
            let page = page.json();
            let connections = page["connections"].as_array().expect("a list");
            assert!(connections.len() <= 7, "{page}");
            for connection in connections {
                let name = connection["connection"].as_str().expect("a name");
                assert!(seen.insert(name.to_owned()), "{name} twice");
                assert_eq!(connection["phase"], "open");
                let one = get(&api, &format!("/v1/connections/{name}"));
                assert_eq!(one.json()["dialect"], connection["dialect"], "{one:?}");
            }
            match page["cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(seen.len(), expected, "{query}");
    }
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=1",
        "cursor=a.b",
        "other=1",
    ] {
        get(&api, &format!("/v1/connections?{bad}")).problem(400, "invalid-request");
    }
    for none in ["r0-9999.1", "r9-0.1", "r0-0.999", "x", "r0-0"] {
        get(&api, &format!("/v1/connections/{none}")).problem(404, "not-found");
    }
    Ok(())
}

#[test]
fn a_client_is_disconnected_with_code_and_reason() -> Checked {
    let server = server();
    let api = Api::of(server.shared());
    for (json, code, reason) in [
        (
            r#"{"code":4001,"reason":"signed in elsewhere"}"#,
            4001,
            "signed in elsewhere",
        ),
        ("", 1008, ""),
    ] {
        let mut client = server.open("/raw/c")?;
        let page = get(&api, "/v1/connections").json();
        let open = page["connections"].as_array().expect("a list").iter();
        let open = open
            .filter(|one| one["phase"] == "open")
            .collect::<Vec<_>>();
        assert_eq!(open.len(), 1, "{page}");
        let path = format!(
            "/v1/connections/{}",
            open[0]["connection"].as_str().expect("a name")
        );
        delete(&api, &path, r#"{"code":1005}"#).problem(400, "invalid-request");
        let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(124));
        delete(&api, &path, &long).problem(400, "invalid-request");
        let answer = delete(&api, &path, json);
        assert_eq!((answer.status, &*answer.body), (204, ""));
        assert_eq!(client.expect_close(code)?, reason);
        delete(&api, &path, json).problem(404, "not-found");
    }
    Ok(())
}

#[test]
fn a_key_reads_and_disconnects_only_if_it_allows_it() {
    let server = server();
    let api = Api::of(server.shared());
    let headers = format!("X-API-Key: {ORDER_KEY}\r\n");
    for (method, path) in [
        ("GET", "/v1/connections"),
        ("GET", "/v1/connections/r0-0.1"),
        ("GET", "/v1/info"),
        ("DELETE", "/v1/connections/r0-0.1"),
    ] {
        api.request(method, path, &headers, b"")
            .problem(403, "forbidden");
    }
    let info = get(&api, "/v1/info").json();
    assert_eq!(
        (&info["version"], &info["reactors"]),
        (&"1.2.3".into(), &2.into())
    );
}
