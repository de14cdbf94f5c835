//! Centrifugo's protocol: sessions, channels shared with other dialects, pings and closes.

use roost_testkit::client::{Checked, Client, Failure, Message};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

roost_testkit::on_each_backend!(
    a_batch_connects_subscribes_and_publishes,
    raw_and_centrifugo_clients_share_a_channel,
    a_namespace_lets_in_whom_it_lets_in,
    a_client_that_unsubscribes_at_once_has_all_answers,
    one_that_talks_is_pinged_all_the_same,
    one_without_pong_is_closed,
    one_that_does_not_connect_is_closed,
    a_client_that_does_not_read_is_closed_as_slow,
    a_drain_closes_with_3001,
);

fn open(server: &TestServer) -> Result<Client, Failure> {
    server.open("/connection/websocket")
}

/// One that has connected.
fn connect(server: &TestServer) -> Result<Client, Failure> {
    let mut client = open(server)?;
    client.send_text(r#"{"id":1,"connect":{}}"#)?;
    assert_eq!(receive(&mut client)?["id"], 1);
    Ok(client)
}

fn subscribe(client: &mut Client, channel: &str) -> Checked {
    client.send_text(&json!({"id": 2, "subscribe": {"channel": channel}}).to_string())?;
    assert_eq!(receive(client)?, json!({"id": 2, "subscribe": {}}));
    Ok(())
}

/// The next message of one line.
fn receive(client: &mut Client) -> Result<Value, Failure> {
    match client.receive()? {
        Message::Text(text) => {
            serde_json::from_str(&text).map_err(|error| Failure::new(format!("{error}: {text}")))
        }
        other => Err(Failure::new(format!("expected text, received {other:?}"))),
    }
}

fn pushed(channel: &str, data: Value) -> Value {
    json!({"push": {"channel": channel, "pub": {"data": data}}})
}

fn a_batch_connects_subscribes_and_publishes(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut client = open(&server)?;
    client.send_text(concat!(
        r#"{"id":1,"connect":{}}"#,
        "\n",
        r#"{"id":2,"subscribe":{"channel":"c"}}"#,
        "\n",
        r#"{"id":3,"publish":{"channel":"other","data":1}}"#,
    ))?;
    assert_eq!(receive(&mut client)?["connect"]["ping"], 25);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let reply = receive(&mut client)?;
        assert_eq!(reply["error"], Value::Null, "{reply}");
        ids.push(reply["id"].as_u64());
    }
    ids.sort_unstable();
    assert_eq!(ids, [Some(2), Some(3)], "homes answer in any order");
    client.send_text(r#"{"id":4,"publish":{"channel":"c","data":{"a":[1, null]}}}"#)?;
    let push = receive(&mut client)?;
    assert_eq!(push["push"]["pub"]["data"], json!({"a": [1, null]}));
    assert_eq!(push["push"]["pub"]["info"]["user"], "");
    assert_eq!(receive(&mut client)?, json!({"id": 4, "publish": {}}));
    client.send_text(r#"{"id":5,"unsubscribe":{"channel":"c"}}"#)?;
    assert_eq!(receive(&mut client)?, json!({"id": 5, "unsubscribe": {}}));
    client.send_text(r#"{"id":6,"publish":{"channel":"c","data":1}}"#)?;
    assert_eq!(receive(&mut client)?, json!({"id": 6, "publish": {}}));
    Ok(())
}

fn raw_and_centrifugo_clients_share_a_channel(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut raw = server.open("/raw/c")?;
    let mut client = connect(&server)?;
    subscribe(&mut client, "c")?;
    raw.send_text("{\"a\":1}")?;
    assert_eq!(receive(&mut client)?, pushed("c", json!("{\"a\":1}")));
    raw.send_binary(&[1, 255])?;
    assert_eq!(receive(&mut client)?, pushed("c", json!("\u{0}Af8=")));
    client.send_text(r#"{"id":3,"publish":{"channel":"c","data":"text"}}"#)?;
    raw.expect_text("text")?;
    client.send_text(r#"{"id":4,"publish":{"channel":"c","data":{"a": 1}}}"#)?;
    raw.expect_text(r#"{"a": 1}"#)?;
    client.send_text(r#"{"id":5,"publish":{"channel":"c","data":"\u0000Af8="}}"#)?;
    raw.expect_binary(&[1, 255])?;
    Ok(())
}

fn a_namespace_lets_in_whom_it_lets_in(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        let policy = roost_reactor::ChannelPolicy {
            subscribe: roost_reactor::Access::Authenticated,
            publish: roost_reactor::Publish::Subscribers,
            ..roost_reactor::policy_for_tests()
        };
        settings.channels.namespaces = vec![("known".to_owned(), policy)];
    });
    let mut client = connect(&server)?;
    let denied = |id| json!({"id": id, "error": {"code": 103, "message": "permission denied"}});
    client.send_text(r#"{"id":2,"subscribe":{"channel":"known:x"}}"#)?;
    assert_eq!(receive(&mut client)?, denied(2));
    client.send_text(r#"{"id":3,"publish":{"channel":"known:x","data":1}}"#)?;
    assert_eq!(receive(&mut client)?, denied(3));
    // Tokens are not configured here.
    let mut client = open(&server)?;
    client.send_text(r#"{"id":1,"connect":{"token":"x"}}"#)?;
    assert_eq!(client.expect_close(3500)?, "invalid token");
    Ok(())
}

fn a_client_that_unsubscribes_at_once_has_all_answers(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 3, |_| {});
    let mut client = connect(&server)?;
    for round in 0..20 {
        let lines: Vec<String> = (0..8)
            .flat_map(|channel| {
                let id = 100 * (round + 1) + 4 * channel;
                let channel = json!({"channel": format!("c{channel}")});
                [
                    json!({"id": id, "subscribe": channel}).to_string(),
                    json!({"id": id + 1, "unsubscribe": channel}).to_string(),
                    json!({"id": id + 2, "subscribe": channel}).to_string(),
                    json!({"id": id + 3, "unsubscribe": channel}).to_string(),
                ]
            })
            .collect();
        client.send_text(&lines.join("\n"))?;
        let mut ids = Vec::new();
        while ids.len() < lines.len() {
            let Message::Text(text) = client.receive()? else {
                return Err(Failure::new("expected text".to_owned()).into());
            };
            for line in text.split('\n') {
                let reply: Value = serde_json::from_str(line).expect("JSON");
                assert_eq!(reply["error"], Value::Null, "{line}");
                ids.extend(reply["id"].as_u64());
            }
        }
        ids.sort_unstable();
        let first = 100 * (round as u64 + 1);
        assert_eq!(ids, (first..first + 32).collect::<Vec<_>>());
    }
    server.wait_for_count("subscriptions", |count| count == 0);
    Ok(())
}

/// Pinged each second, and given another one to answer.
fn pinging(backend: Backend) -> TestServer {
    TestServer::with(backend, 1, |settings| {
        settings.limits.ping_interval_ms = 1_000;
        settings.limits.ping_timeout_ms = 1_000;
    })
}

fn one_that_talks_is_pinged_all_the_same(backend: Backend) -> Checked {
    let server = pinging(backend);
    let mut client = connect(&server)?;
    let (mut pings, mut id) = (0, 1);
    while pings < 3 {
        id += 1;
        client.send_text(&json!({"id": id, "rpc": {}}).to_string())?;
        loop {
            let message = receive(&mut client)?;
            if message == json!({}) {
                pings += 1;
                client.send_text("{}")?;
            } else if message["id"] == id {
                break;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Ok(())
}

fn one_without_pong_is_closed(backend: Backend) -> Checked {
    let server = pinging(backend);
    let mut client = connect(&server)?;
    assert_eq!(receive(&mut client)?, json!({}));
    assert_eq!(client.expect_close(3012)?, "no pong");
    assert_eq!(server.count("ping_timeouts_total"), 1);
    Ok(())
}

fn one_that_does_not_connect_is_closed(backend: Backend) -> Checked {
    let server = pinging(backend);
    let mut client = open(&server)?;
    assert_eq!(client.expect_close(3502)?, "stale");
    Ok(())
}

fn a_client_that_does_not_read_is_closed_as_slow(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.outbox_bytes_max = 1 << 20;
    });
    let mut client = connect(&server)?;
    subscribe(&mut client, "c")?;
    let mut raw = server.open("/raw/c")?;
    let text = "x".repeat(100_000);
    while server.count("slow_consumers_total") == 0 {
        raw.send_text(&text)?;
    }
    loop {
        match client.receive()? {
            Message::Text(_) => {}
            Message::Close(code, reason) => {
                assert_eq!((code, reason.as_str()), (Some(3008), "slow"));
                return Ok(());
            }
            other => return Err(Failure::new(format!("received {other:?}")).into()),
        }
    }
}

fn a_drain_closes_with_3001(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut client = connect(&server)?;
    server.begin_stop(20_000);
    assert_eq!(client.expect_close(3001)?, "shutdown");
    client.send_close(1000, "")?;
    drop(client);
    server.wait_stopped();
    Ok(())
}
