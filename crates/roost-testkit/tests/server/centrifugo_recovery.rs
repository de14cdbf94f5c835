//! Centrifugo's clients that come back: what they have missed, and pages of history.

use roost_reactor::{ChannelPolicy, SlowConsumer, policy_for_tests};
use roost_testkit::centrifugo::{Encoding, Peer};
use roost_testkit::client::{Checked, Client, ConnectOptions, Failure, Request};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

roost_testkit::in_each_encoding!(
    a_client_that_was_away_gets_what_it_missed,
    a_loss_is_told_or_refused,
    many_that_come_back_get_the_same,
    a_cache_gives_the_last_one,
    without_recovery_nothing_is_promised,
    pages_of_history_are_read,
    history_is_for_those_that_may_subscribe,
    what_stands_behind_a_question_waits_for_the_answer,
    a_client_too_slow_for_a_namespace_that_drops_recovers,
);

/// Channels of `kept` keep five messages, of `cache` as well; those of `plain` as well, but do not recover; others
/// keep none.
fn start(backend: Backend) -> TestServer {
    TestServer::with(backend, 3, |settings| {
        let kept = ChannelPolicy {
            history_messages_max: 5,
            ..policy_for_tests()
        };
        let cache = ChannelPolicy {
            recovery: roost_reactor::Recovery::Cache,
            ..kept.clone()
        };
        let plain = ChannelPolicy {
            recovery: roost_reactor::Recovery::Off,
            ..kept.clone()
        };
        let closed = ChannelPolicy {
            subscribe: roost_reactor::Access::Nobody,
            ..kept.clone()
        };
        settings.channels.namespaces = vec![
            ("kept".to_owned(), kept),
            ("cache".to_owned(), cache),
            ("plain".to_owned(), plain),
            ("closed".to_owned(), closed),
        ];
    })
}

/// Sends a command, and returns its result, or the error.
fn ask(client: &mut Peer, command: Value) -> Result<Value, Failure> {
    client.ask(&command)
}

fn subscribe(client: &mut Peer, more: Value) -> Result<Value, Failure> {
    ask(client, json!({"id": 2, "subscribe": more}))
}

fn publish(client: &mut Peer, channel: &str, data: Value) -> Checked {
    let publish = json!({"id": 3, "publish": {"channel": channel, "data": data}});
    assert_eq!(ask(client, publish)?, json!({}));
    Ok(())
}

fn offsets(list: &Value) -> Vec<(u64, Value)> {
    let list = list.as_array().into_iter().flatten();
    list.map(|one| {
        (
            one["offset"].as_u64().expect("an offset"),
            one["data"].clone(),
        )
    })
    .collect()
}

fn a_client_that_was_away_gets_what_it_missed(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut publisher = Peer::connect(&server, encoding)?;
    for channel in ["kept:a", "kept:b", "kept:c", "kept:d"] {
        let mut client = Peer::connect(&server, encoding)?;
        let first = subscribe(&mut client, json!({"channel": channel}))?;
        assert_eq!(first["recoverable"], true, "{first}");
        assert_eq!(first["positioned"], true);
        assert_eq!(first["recovered"], Value::Null);
        let (start, epoch) = (
            first["offset"].as_u64().expect("an offset"),
            &first["epoch"],
        );
        publish(&mut publisher, channel, json!(1))?;
        let push = client.reply()?;
        assert_eq!(push["push"]["pub"]["offset"], start + 1, "{push}");
        client.client.close()?;
        for number in 2..5 {
            publish(&mut publisher, channel, json!(number))?;
        }
        let mut client = Peer::connect(&server, encoding)?;
        let known =
            json!({"channel": channel, "recover": true, "offset": start + 1, "epoch": epoch});
        let back = subscribe(&mut client, known)?;
        assert_eq!(
            (&back["was_recovering"], &back["recovered"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(back["offset"], start + 1);
        let missed = (2..5).map(|number| (start + number, json!(number)));
        assert_eq!(offsets(&back["publications"]), missed.collect::<Vec<_>>());
        assert_eq!(back["publications"][0]["info"]["user"], "");
        publish(&mut publisher, channel, json!(5))?;
        assert_eq!(client.reply()?["push"]["pub"]["offset"], start + 5);
        // One that knows no epoch, and has missed nothing.
        let mut client = Peer::connect(&server, encoding)?;
        let known = json!({"channel": channel, "recover": true, "offset": start + 5});
        let back = subscribe(&mut client, known)?;
        assert_eq!(
            (&back["recovered"], &back["publications"]),
            (&json!(true), &json!([]))
        );
    }
    Ok(())
}

fn a_loss_is_told_or_refused(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut publisher = Peer::connect(&server, encoding)?;
    for number in 0..9 {
        publish(&mut publisher, "kept:x", json!(number))?;
    }
    let mut client = Peer::connect(&server, encoding)?;
    for known in [
        json!({"offset": 1}),
        json!({"offset": 9, "epoch": "_"}),
        json!({"offset": 99}),
    ] {
        let mut ask_for = json!({"channel": "kept:x", "recover": true, "flag": 2});
        let members = known.as_object().expect("an object").clone();
        ask_for.as_object_mut().expect("an object").extend(members);
        let error = subscribe(&mut client, ask_for.clone())?;
        assert_eq!(error["code"], 112, "{error}");
        ask_for["flag"] = json!(1);
        let told = subscribe(&mut client, ask_for)?;
        assert_eq!(told["was_recovering"], true, "{told}");
        assert_eq!(
            (&told["recovered"], &told["publications"]),
            (&Value::Null, &Value::Null)
        );
        let end = json!({"id": 4, "unsubscribe": {"channel": "kept:x"}});
        assert_eq!(ask(&mut client, end)?, json!({}));
    }
    server.wait_for_count("subscriptions", |count| count == 0);
    Ok(())
}

fn many_that_come_back_get_the_same(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut publisher = Peer::connect(&server, encoding)?;
    let mut client = Peer::connect(&server, encoding)?;
    let first = subscribe(&mut client, json!({"channel": "kept:x"}))?;
    for number in 0..4 {
        publish(&mut publisher, "kept:x", json!(number))?;
    }
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(Peer::connect(&server, encoding)?);
    }
    let known = json!({"channel": "kept:x", "recover": true, "offset": first["offset"], "epoch": first["epoch"]});
    for client in &mut clients {
        client.say(&json!({"id": 2, "subscribe": known}).to_string())?;
    }
    for client in &mut clients {
        let reply = client.reply()?;
        let got = offsets(&reply["subscribe"]["publications"]);
        let got: Vec<_> = got.into_iter().map(|(_, data)| data).collect();
        assert_eq!(got, [json!(0), json!(1), json!(2), json!(3)], "{reply}");
    }
    Ok(())
}

fn a_cache_gives_the_last_one(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut publisher = Peer::connect(&server, encoding)?;
    let mut client = Peer::connect(&server, encoding)?;
    let empty = subscribe(&mut client, json!({"channel": "cache:x", "recover": true}))?;
    assert_eq!(
        (&empty["was_recovering"], &empty["recovered"]),
        (&json!(true), &Value::Null)
    );
    for number in 0..9 {
        publish(&mut publisher, "cache:x", json!(number))?;
    }
    let mut client = Peer::connect(&server, encoding)?;
    let last = subscribe(&mut client, json!({"channel": "cache:x", "recover": true}))?;
    assert_eq!(last["recovered"], true, "{last}");
    let got = offsets(&last["publications"]);
    assert_eq!(
        got.iter().map(|(_, data)| data).collect::<Vec<_>>(),
        [&json!(8)]
    );
    let known =
        json!({"channel": "cache:x", "recover": true, "offset": got[0].0, "epoch": last["epoch"]});
    let mut client = Peer::connect(&server, encoding)?;
    let again = subscribe(&mut client, known)?;
    assert_eq!(
        (&again["recovered"], &again["publications"]),
        (&json!(true), &json!([]))
    );
    Ok(())
}

fn without_recovery_nothing_is_promised(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut client = Peer::connect(&server, encoding)?;
    for channel in ["plain:x", "none"] {
        let known = json!({"channel": channel, "recover": true, "offset": 0});
        assert_eq!(subscribe(&mut client, known)?, json!({}));
    }
    Ok(())
}

fn pages_of_history_are_read(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut client = Peer::connect(&server, encoding)?;
    for channel in ["kept:a", "kept:b", "kept:c", "kept:d"] {
        for number in 0..7 {
            publish(&mut client, channel, json!(number))?;
        }
        let mut read = |more: Value| {
            let mut history = json!({"channel": channel});
            let members = more.as_object().expect("an object").clone();
            history.as_object_mut().expect("an object").extend(members);
            ask(&mut client, json!({"id": 7, "history": history}))
        };
        let top = read(json!({}))?;
        assert_eq!(top["publications"], json!([]), "no limit is no publication");
        let (last, epoch) = (top["offset"].as_u64().expect("an offset"), &top["epoch"]);
        let numbers = |page: &Value| {
            let all = offsets(&page["publications"]);
            all.iter()
                .for_each(|(at, data)| assert_eq!(json!(at + 6 - last), *data));
            all.into_iter()
                .map(|(_, data)| data.as_u64())
                .collect::<Option<Vec<_>>>()
        };
        assert_eq!(
            numbers(&read(json!({"limit": -1}))?),
            Some(vec![2, 3, 4, 5, 6])
        );
        assert_eq!(numbers(&read(json!({"limit": 2}))?), Some(vec![2, 3]));
        assert_eq!(
            numbers(&read(json!({"limit": 2, "reverse": true}))?),
            Some(vec![6, 5])
        );
        let since = json!({"offset": last - 3, "epoch": epoch});
        assert_eq!(
            numbers(&read(json!({"limit": 2, "since": since}))?),
            Some(vec![4, 5])
        );
        let page = read(json!({"limit": 9, "since": since, "reverse": true}))?;
        assert_eq!(numbers(&page), Some(vec![2]));
        // The beginning is not kept any more; the offsets show it.
        let page = read(json!({"limit": 1, "since": {"offset": 0}}))?;
        assert_eq!(numbers(&page), Some(vec![2]));
        let error = read(json!({"limit": 1, "since": {"offset": 0, "epoch": "other"}}))?;
        assert_eq!(error["code"], 112);
    }
    Ok(())
}

fn history_is_for_those_that_may_subscribe(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut client = Peer::connect(&server, encoding)?;
    for (channel, code) in [("closed:x", 103), ("none", 108), ("kept:\n", 107)] {
        let error = ask(
            &mut client,
            json!({"id": 2, "history": {"channel": channel}}),
        )?;
        assert_eq!(error["code"], code, "{channel}");
    }
    Ok(())
}

fn what_stands_behind_a_question_waits_for_the_answer(
    backend: Backend,
    encoding: Encoding,
) -> Checked {
    let server = start(backend);
    let mut client = Peer::connect(&server, encoding)?;
    let mut lines = Vec::new();
    for id in 0..40 {
        let channel = format!("kept:{id}");
        lines.push(json!({"id": 10 + id, "history": {"channel": channel, "limit": 1}}).to_string());
        if id % 8 == 7 {
            client.say(&lines.join("\n"))?;
            lines.clear();
        }
    }
    for next in 10..50 {
        let reply = client.reply()?;
        assert_eq!(reply["id"], next, "{reply}");
        assert_eq!(reply["history"]["publications"], json!([]));
    }
    Ok(())
}

fn a_client_too_slow_for_a_namespace_that_drops_recovers(
    backend: Backend,
    encoding: Encoding,
) -> Checked {
    for slow_consumer in [
        SlowConsumer::DropOldest,
        SlowConsumer::DropNewest,
        SlowConsumer::Latest,
    ] {
        slow_client_recovers(backend, encoding, slow_consumer)?;
    }
    Ok(())
}

/// A client that does not read for a while sees each publication once and in order, by way of recovery.
fn slow_client_recovers(
    backend: Backend,
    encoding: Encoding,
    slow_consumer: SlowConsumer,
) -> Checked {
    // With another reactor as the channel's home, more than one answer may hold is published before the
    // first drop is counted.
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.outbox_bytes_max = 64 << 20;
        let policy = ChannelPolicy {
            slow_consumer,
            outbox_bytes_max: 32 << 20,
            outbox_messages_max: 20,
            history_messages_max: 1_000,
            history_bytes_max: 1 << 30,
            ..policy_for_tests()
        };
        settings.channels.namespaces = vec![("x".to_owned(), policy)];
    });
    let options = ConnectOptions {
        receive_buffer_bytes: Some(4096),
        ..ConnectOptions::default()
    };
    let mut slow = Client::connect_with(server.address(), options)?;
    slow.shake_hands(&Request::websocket("h", encoding.target()))?;
    let mut slow = Peer::of(slow, encoding);
    ask(&mut slow, json!({"id": 1, "connect": {}}))?;
    let begun = subscribe(&mut slow, json!({"channel": "x:y"}))?;
    let epoch = &begun["epoch"];
    let mut at = begun["offset"].as_u64().expect("an offset");
    let first = at;
    let mut publisher = Peer::connect(&server, encoding)?;
    let mut sent = 0;
    while server.count("subscriptions_insufficient_total") == 0 {
        publish(&mut publisher, "x:y", json!("x".repeat(20_000)))?;
        sent += 1;
    }
    let mut move_on = |publication: &Value| {
        let offset = publication["offset"].as_u64().expect("an offset");
        assert_eq!(offset, at + 1, "nothing is missing, nothing comes twice");
        at = offset;
    };
    loop {
        let push = slow.reply()?;
        let push = &push["push"];
        if push["unsubscribe"]["code"] == 2500 {
            assert_eq!(push["channel"], "x:y");
            break;
        }
        move_on(&push["pub"]);
    }
    let reached = at;
    assert!(reached < first + sent, "something was dropped");
    server.wait_for_count("publishes_total", |count| count == sent);
    let known = json!({"channel": "x:y", "recover": true, "offset": reached, "epoch": epoch});
    let back = subscribe(&mut slow, known)?;
    assert_eq!(back["recovered"], true, "{slow_consumer:?}");
    let mut at = reached;
    for publication in back["publications"].as_array().expect("a list") {
        at += 1;
        assert_eq!(publication["offset"], at);
    }
    assert_eq!(at, first + sent);
    Ok(())
}
