//! What each path answers.

use std::collections::HashSet;

use roost_testkit::client::Checked;
use serde_json::Value;

use crate::harness::{Admin, ask, server};

#[test]
fn index_lists_every_path_and_each_of_them_answers_over_both_listeners() {
    let server = server();
    let admin = Admin::of(server.shared());
    let index = admin.get("/");
    assert_eq!(index.status, 200);
    let mut listed = 0;
    let (over_both, _) = index
        .body
        .split_once("Over the unix socket only")
        .expect("two parts");
    for line in over_both.lines().filter(|line| line.starts_with("GET ")) {
        let path = line.split_whitespace().nth(1).expect("a path");
        let answer = admin.get(path);
        listed += 1;
        if path.contains("KEY") || path.starts_with("/may?") {
            // It is known, and wants what stands there in capitals.
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
            continue;
        }
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let answer = ask(&mut admin.tcp(), "GET", path, "", b"");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let head = ask(&mut admin.tcp(), "HEAD", path, "", b"");
        assert_eq!((head.status, &*head.body), (200, ""), "{path}");
        let other = ask(&mut admin.tcp(), "DELETE", path, "", b"");
        let allowed = match path {
            "/drain" => "POST,GET,HEAD",
            _ => "GET,HEAD",
        };
        assert_eq!((other.status, other.header("allow")), (405, Some(allowed)));
    }
    assert_eq!(listed, 13, "{}", index.body);
    let unknown = admin.get("/nothing");
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("GET /"), "{unknown:?}");
}

#[test]
fn stats_are_the_counters_and_slow_is_a_list() -> Checked {
    let server = server();
    let admin = Admin::of(server.shared());
    let _client = server.open("/echo")?;
    let stats = admin.get("/stats");
    assert_eq!(stats.header("content-type"), Some("application/json"));
    let stats: Value = serde_json::from_str(&stats.body).expect("JSON");
    assert_eq!(stats["websockets_open"], 1);
    assert_eq!(stats["reactors"], 2);
    let slow: Value = serde_json::from_str(&admin.get("/stats/slow").body).expect("JSON");
    assert_eq!(slow, Value::Array(Vec::new()));
    Ok(())
}

#[test]
fn each_reactor_says_what_it_has_and_the_time_it_takes() -> Checked {
    let server = server();
    let admin = Admin::of(server.shared());
    let _clients = [server.open("/echo")?, server.open("/echo")?];
    let answer = admin.get("/stats/reactors");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let reactors: Vec<Value> = serde_json::from_str(&answer.body).expect("a list");
    assert_eq!(reactors.len(), 2, "{answer:?}");
    let sum = |name: &str| -> u64 {
        let of_each = reactors
            .iter()
            .map(|one| one[name].as_u64().expect("a number"));
        of_each.sum()
    };
    assert_eq!(sum("connections_open"), 2);
    assert_eq!(sum("websockets_open"), 2);
    assert!(sum("loop_iterations_total") > 0);
    for (number, one) in reactors.iter().enumerate() {
        assert_eq!(one["reactor"], number);
        // Of a thread of this process, by its name.
        assert!(one["cpu_ms_total"].is_u64(), "{one}");
    }
    Ok(())
}

#[test]
fn connections_come_in_pages_each_once() -> Checked {
    let server = server();
    let admin = Admin::of(server.shared());
    let clients: Vec<_> = (0..300)
        .map(|_| server.open("/echo"))
        .collect::<Result<_, _>>()?;
    for limit in [1, 64, 4096] {
        let (mut seen, mut pages) = (HashSet::new(), 0);
        let mut next = Some(format!("/connections?limit={limit}"));
        while let Some(target) = next.take() {
            let page = admin.get(&target);
            assert_eq!(page.status, 200, "{page:?}");
            assert_eq!(page.header("content-type"), Some("application/x-ndjson"));
            let mut records = 0;
            for line in page.body.lines() {
                let record: Value = serde_json::from_str(line).expect("a JSON object a line");
                assert_eq!(record["phase"], "open");
                assert_eq!(record["dialect"], "echo");
                assert_eq!(record["outbox_bytes"], 0);
                assert_eq!(record["is_paused"], false);
                let id = record["connection"].as_str().expect("a name").to_owned();
                assert!(seen.insert(id), "{line} comes twice");
                records += 1;
            }
            assert!(records <= limit, "{records} of {limit}");
            pages += 1;
            next = page.header("link").map(|link| {
                let (target, rel) = link.split_once(">; ").expect("a link");
                assert_eq!(rel, "rel=\"next\"");
                target.trim_start_matches('<').to_owned()
            });
        }
        assert_eq!(seen.len(), clients.len());
        assert!(
            pages >= clients.len().div_ceil(limit),
            "{pages} pages of {limit}"
        );
    }
    for bad in [
        "limit=0",
        "limit=4097",
        "limit=x",
        "cursor=1",
        "cursor=a.b",
        "other=1",
    ] {
        let answer = admin.get(&format!("/connections?{bad}"));
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
    }
    let behind = admin.get("/connections?cursor=99.0");
    assert_eq!((behind.status, &*behind.body), (200, ""));
    Ok(())
}

#[test]
fn what_waits_for_a_connection_is_in_its_record() -> Checked {
    let server = server();
    let admin = Admin::of(server.shared());
    let mut silent = roost_testkit::client::Client::connect(server.address())?;
    silent.send(b"GET /echo HTTP/1.1\r\nHost: h\r\n")?;
    server.wait_for_count("input_buffered_bytes", |bytes| bytes > 0);
    let page = admin.get("/connections");
    let record: Value = serde_json::from_str(page.body.trim()).expect("one line");
    assert_eq!(record["phase"], "handshake");
    assert!(
        record["input_buffered_bytes"].as_u64() >= Some(30),
        "{record}"
    );
    Ok(())
}

#[test]
fn a_publication_reaches_subscribers_and_is_acknowledged() -> Checked {
    let server = server();
    let admin = Admin::of(server.shared());
    // Names enough that each reactor is home of some.
    for number in 0..8 {
        let mut subscriber = server.open(&format!("/raw/room%20{number}"))?;
        let target = format!("/publish?channel=room%20{number}");
        let mut numbers = HashSet::new();
        let answer = admin.post(&target, "", "grüße".as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        let json: Value = serde_json::from_str(&answer.body).expect("JSON");
        numbers.insert(json["publication"].as_u64().expect("a number"));
        subscriber.expect_text("grüße")?;
        let binary = "Content-Type: application/octet-stream\r\n";
        let answer = admin.post(&target, binary, &[0xff, 0]);
        let json: Value = serde_json::from_str(&answer.body).expect("JSON");
        numbers.insert(json["publication"].as_u64().expect("a number"));
        subscriber.expect_binary(&[0xff, 0])?;
        assert_eq!(numbers.len(), 2, "each has a number of its own");
    }
    assert_eq!(server.count("publishes_total"), 16);
    Ok(())
}

#[test]
fn a_publication_that_cannot_be_is_refused() {
    let server = server();
    let admin = Admin::of(server.shared());
    let settings = server.shared().settings();
    let limits = &settings.limits;
    let long = "x".repeat(limits.channel_name_bytes_max + 1);
    for bad in ["", "?channel=", "?other=1", &format!("?channel={long}")] {
        let answer = admin.post(&format!("/publish{bad}"), "", b"hello");
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
    }
    let answer = admin.post("/publish?channel=c", "", &[0xff]);
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.contains("application/octet-stream"),
        "{answer:?}"
    );
    let too_long = vec![b'x'; limits.message_bytes_max + 1];
    let answer = admin.post("/publish?channel=c", "", &too_long);
    assert_eq!(answer.status, 413, "{answer:?}");
    let answer = admin.get("/publish?channel=c");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    // A page in a browser could send this one.
    let answer = ask(&mut admin.tcp(), "POST", "/publish?channel=c", "", b"hello");
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(server.count("publishes_total"), 0);
}

#[test]
fn a_drain_is_not_ready_and_alive() -> Checked {
    let server = server();
    let admin = Admin::of(server.shared());
    assert_eq!(admin.get("/ready").body, "ready\n");
    // It has not closed on its side: its reactor waits for that. The other has nothing to wait for.
    let (first, second) = (server.open("/echo")?, server.open("/echo")?);
    server.begin_stop(20_000);
    roost_testkit::server::wait_until(
        || admin.get("/ready").status == 503,
        || format!("{:?}", admin.get("/ready")),
    );
    assert_eq!(admin.get("/ready").body, "draining\n");
    drop((first, second));
    server.wait_stopped();
    Ok(())
}

#[test]
fn reactors_outlive_the_control_thread() -> Checked {
    let server = server();
    let admin = Admin::of(server.shared());
    assert_eq!(admin.get("/live").status, 200);
    admin.stop();
    assert!(!admin.path.exists(), "its socket has gone");
    let mut client = server.open("/echo")?;
    client.send_text("still here")?;
    client.expect_text("still here")?;
    Ok(())
}
