//! Centrifugo's protocol: sessions, channels shared with other dialects, pings and closes.

use roost_testkit::centrifugo::{Encoding, Peer};
use roost_testkit::client::{Checked, Failure, Message};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

roost_testkit::in_each_encoding!(
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

roost_testkit::on_each_backend!(
    clients_of_both_encodings_get_the_same,
    a_client_keeps_to_its_encoding,
    joins_and_leaves_are_told_in_protobuf,
);

fn subscribe(client: &mut Peer, channel: &str) -> Checked {
    client.say(&json!({"id": 2, "subscribe": {"channel": channel}}).to_string())?;
    assert_eq!(client.reply()?, json!({"id": 2, "subscribe": {}}));
    Ok(())
}

fn pushed(channel: &str, data: Value) -> Value {
    json!({"push": {"channel": channel, "pub": {"data": data}}})
}

fn a_batch_connects_subscribes_and_publishes(backend: Backend, encoding: Encoding) -> Checked {
    let server = TestServer::start(backend);
    let mut client = Peer::open(&server, encoding)?;
    client.say(concat!(
        r#"{"id":1,"connect":{}}"#,
        "\n",
        r#"{"id":2,"subscribe":{"channel":"c"}}"#,
        "\n",
        r#"{"id":3,"publish":{"channel":"other","data":1}}"#,
    ))?;
    assert_eq!(client.reply()?["connect"]["ping"], 25);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let reply = client.reply()?;
        assert_eq!(reply["error"], Value::Null, "{reply}");
        ids.push(reply["id"].as_u64());
    }
    ids.sort_unstable();
    assert_eq!(ids, [Some(2), Some(3)], "homes answer in any order");
    client.say(r#"{"id":4,"publish":{"channel":"c","data":{"a":[1, null]}}}"#)?;
    let push = client.reply()?;
    assert_eq!(push["push"]["pub"]["data"], json!({"a": [1, null]}));
    assert_eq!(push["push"]["pub"]["info"]["user"], "");
    assert_eq!(client.reply()?, json!({"id": 4, "publish": {}}));
    client.say(r#"{"id":5,"unsubscribe":{"channel":"c"}}"#)?;
    assert_eq!(client.reply()?, json!({"id": 5, "unsubscribe": {}}));
    client.say(r#"{"id":6,"publish":{"channel":"c","data":1}}"#)?;
    assert_eq!(client.reply()?, json!({"id": 6, "publish": {}}));
    Ok(())
}

fn raw_and_centrifugo_clients_share_a_channel(backend: Backend, encoding: Encoding) -> Checked {
    let server = TestServer::start(backend);
    let mut raw = server.open("/raw/c")?;
    let mut client = Peer::connect(&server, encoding)?;
    subscribe(&mut client, "c")?;
    raw.send_text("{\"a\":1}")?;
    let text = match encoding {
        Encoding::Json => json!("{\"a\":1}"),
        Encoding::Protobuf => json!({"a": 1}), // its bytes
    };
    assert_eq!(client.reply()?, pushed("c", text));
    raw.send_binary(&[1, 255])?;
    assert_eq!(client.reply()?, pushed("c", json!("\u{0}Af8=")));
    client.say(r#"{"id":3,"publish":{"channel":"c","data":"text"}}"#)?;
    raw.expect_text("text")?;
    client.say(r#"{"id":4,"publish":{"channel":"c","data":{"a": 1}}}"#)?;
    let object = match encoding {
        Encoding::Json => r#"{"a": 1}"#,
        Encoding::Protobuf => r#"{"a":1}"#, // as the client writes it
    };
    raw.expect_text(object)?;
    client.say(r#"{"id":5,"publish":{"channel":"c","data":"\u0000Af8="}}"#)?;
    raw.expect_binary(&[1, 255])?;
    Ok(())
}

fn a_namespace_lets_in_whom_it_lets_in(backend: Backend, encoding: Encoding) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        let policy = roost_reactor::ChannelPolicy {
            subscribe: roost_reactor::Access::Authenticated,
            publish: roost_reactor::Publish::Subscribers,
            ..roost_reactor::policy_for_tests()
        };
        settings.channels.namespaces = vec![("known".to_owned(), policy)];
    });
    let mut client = Peer::connect(&server, encoding)?;
    let denied = |id| json!({"id": id, "error": {"code": 103, "message": "permission denied"}});
    client.say(r#"{"id":2,"subscribe":{"channel":"known:x"}}"#)?;
    assert_eq!(client.reply()?, denied(2));
    client.say(r#"{"id":3,"publish":{"channel":"known:x","data":1}}"#)?;
    assert_eq!(client.reply()?, denied(3));
    // Tokens are not configured here.
    let mut client = Peer::open(&server, encoding)?;
    client.say(r#"{"id":1,"connect":{"token":"x"}}"#)?;
    assert_eq!(client.client.expect_close(3500)?, "invalid token");
    Ok(())
}

fn a_client_that_unsubscribes_at_once_has_all_answers(
    backend: Backend,
    encoding: Encoding,
) -> Checked {
    let server = TestServer::with(backend, 3, |_| {});
    let mut client = Peer::connect(&server, encoding)?;
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
        client.say(&lines.join("\n"))?;
        let mut ids = Vec::new();
        while ids.len() < lines.len() {
            let reply = client.reply()?;
            assert_eq!(reply["error"], Value::Null, "{reply}");
            ids.extend(reply["id"].as_u64());
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

fn one_that_talks_is_pinged_all_the_same(backend: Backend, encoding: Encoding) -> Checked {
    let server = pinging(backend);
    let mut client = Peer::connect(&server, encoding)?;
    let (mut pings, mut id) = (0, 1);
    while pings < 3 {
        id += 1;
        client.say(&json!({"id": id, "rpc": {}}).to_string())?;
        loop {
            let message = client.reply()?;
            if message == json!({}) {
                pings += 1;
                client.say("{}")?;
            } else if message["id"] == id {
                break;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Ok(())
}

fn one_without_pong_is_closed(backend: Backend, encoding: Encoding) -> Checked {
    let server = pinging(backend);
    let mut client = Peer::connect(&server, encoding)?;
    assert_eq!(client.reply()?, json!({}));
    assert_eq!(client.client.expect_close(3012)?, "no pong");
    assert_eq!(server.count("ping_timeouts_total"), 1);
    Ok(())
}

fn one_that_does_not_connect_is_closed(backend: Backend, encoding: Encoding) -> Checked {
    let server = pinging(backend);
    let mut client = Peer::open(&server, encoding)?;
    assert_eq!(client.client.expect_close(3502)?, "stale");
    Ok(())
}

fn a_client_that_does_not_read_is_closed_as_slow(backend: Backend, encoding: Encoding) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.outbox_bytes_max = 1 << 20;
    });
    let mut client = Peer::connect(&server, encoding)?;
    subscribe(&mut client, "c")?;
    let mut raw = server.open("/raw/c")?;
    let text = "x".repeat(100_000);
    while server.count("slow_consumers_total") == 0 {
        raw.send_text(&text)?;
    }
    loop {
        match client.client.receive()? {
            Message::Text(_) | Message::Binary(_) => {}
            Message::Close(code, reason) => {
                assert_eq!((code, reason.as_str()), (Some(3008), "slow"));
                return Ok(());
            }
            other => return Err(Failure::new(format!("received {other:?}")).into()),
        }
    }
}

fn a_drain_closes_with_3001(backend: Backend, encoding: Encoding) -> Checked {
    let server = TestServer::start(backend);
    let mut client = Peer::connect(&server, encoding)?;
    server.begin_stop(20_000);
    assert_eq!(client.client.expect_close(3001)?, "shutdown");
    client.client.send_close(1000, "")?;
    drop(client);
    server.wait_stopped();
    Ok(())
}

/// Each gets all publications in its own encoding and in the same order, of publishers of both.
fn clients_of_both_encodings_get_the_same(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 3, |_| {});
    let mut clients = Vec::new();
    for at in 0..8 {
        clients.push(Peer::connect(&server, Encoding::ALL[at % 2])?);
    }
    for client in &mut clients {
        subscribe(client, "c")?;
    }
    let payloads = [
        json!({"a": [1, "é"]}),
        json!("\u{0}Af8="),
        json!(null),
        json!("x"),
    ];
    for (at, data) in payloads.iter().cycle().take(24).enumerate() {
        let publish = json!({"id": 10, "publish": {"channel": "c", "data": data}});
        clients[at % 8].say(&publish.to_string())?;
        let mut publishers = Vec::new();
        for (index, client) in clients.iter_mut().enumerate() {
            // The publisher has its answer as well.
            for _ in 0..1 + usize::from(index == at % 8) {
                let reply = client.reply()?;
                if reply["id"] == 10 {
                    assert_eq!(reply, json!({"id": 10, "publish": {}}));
                    continue;
                }
                let publication = &reply["push"]["pub"];
                assert_eq!(publication["data"], *data, "{reply}");
                publishers.push(publication["info"]["client"].clone());
            }
        }
        assert_eq!(publishers.len(), 8);
        let first = &publishers[0];
        assert!(first.is_string() && publishers.iter().all(|it| it == first));
    }
    Ok(())
}

fn a_client_keeps_to_its_encoding(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut client = Peer::connect(&server, Encoding::Protobuf)?;
    client.client.send_text("{}")?;
    assert_eq!(client.client.expect_close(3506)?, "inappropriate protocol");
    let mut client = Peer::connect(&server, Encoding::Json)?;
    client.client.send_binary(&[0])?;
    assert_eq!(client.client.expect_close(3506)?, "inappropriate protocol");
    // A command that is cut off is not awaited.
    let mut client = Peer::connect(&server, Encoding::Protobuf)?;
    client.client.send_binary(&[5, 8, 2])?;
    assert_eq!(client.client.expect_close(3501)?, "bad request");
    Ok(())
}

fn joins_and_leaves_are_told_in_protobuf(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        let policy = roost_reactor::ChannelPolicy {
            presence: roost_reactor::Presence::Members,
            presence_linger_ms: 0,
            presence_notify_ms: 100,
            join_leave: roost_reactor::JoinLeave::Asked,
            presence_read: roost_reactor::Readers::Anyone,
            ..roost_reactor::policy_for_tests()
        };
        settings.channels.namespaces = vec![("room".to_owned(), policy)];
    });
    let mut watcher = Peer::connect(&server, Encoding::Protobuf)?;
    let ask = json!({"id": 2, "subscribe": {"channel": "room:x", "join_leave": true}});
    assert_eq!(watcher.ask(&ask)?, json!({}));
    let mut other = Peer::open(&server, Encoding::Json)?;
    let connected = other.ask(&json!({"id": 1, "connect": {}}))?;
    let id = &connected["client"];
    subscribe(&mut other, "room:x")?;
    let mut next = |what: &str| loop {
        let push = watcher.reply()?;
        let info = &push["push"][what]["info"];
        if info["client"] == *id {
            assert_eq!(
                (&push["push"]["channel"], &info["user"]),
                (&json!("room:x"), &json!(""))
            );
            return Ok::<_, Failure>(());
        }
    };
    next("join")?;
    drop(other);
    next("leave")?;
    let presence = watcher.ask(&json!({"id": 3, "presence": {"channel": "room:x"}}))?;
    let members = presence["presence"].as_object().map(|it| it.len());
    assert_eq!(members, Some(1), "{presence}");
    let stats = watcher.ask(&json!({"id": 4, "presence_stats": {"channel": "room:x"}}))?;
    assert_eq!(stats, json!({"num_clients": 1, "num_users": 1}));
    Ok(())
}
