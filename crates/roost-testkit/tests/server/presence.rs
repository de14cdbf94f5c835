//! Presence: who is in a channel, and who is told of it.

use roost_reactor::{ChannelPolicy, JoinLeave, Presence, Readers, policy_for_tests};
use roost_testkit::client::{Checked, Client, Failure, Message};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

roost_testkit::on_each_backend!(
    members_are_those_subscribed_whatever_they_speak,
    joins_and_leaves_are_told_to_those_that_ask,
    one_that_is_not_subscribed_may_not_ask,
    a_channel_with_many_members_has_counts_alone,
    a_namespace_without_presence_says_so,
    lists_are_not_asked_for_too_often,
);

fn server(backend: Backend, policy: ChannelPolicy) -> TestServer {
    TestServer::with(backend, 2, |settings| {
        settings.channels.namespaces = vec![("room".to_owned(), policy)];
    })
}

fn members() -> ChannelPolicy {
    ChannelPolicy {
        presence: Presence::Members,
        presence_linger_ms: 300,
        presence_notify_ms: 100,
        join_leave: JoinLeave::Asked,
        ..policy_for_tests()
    }
}

/// One that has connected, and its id.
fn connect(server: &TestServer) -> Result<(Client, String), Failure> {
    let mut client = server.open("/connection/websocket")?;
    client.send_text(r#"{"id":1,"connect":{}}"#)?;
    let reply = receive(&mut client)?;
    let id = reply["connect"]["client"].as_str().unwrap_or_default();
    Ok((client, id.to_owned()))
}

fn ask(client: &mut Client, command: Value) -> Result<Value, Failure> {
    client.send_text(&command.to_string())?;
    loop {
        let reply = receive(client)?;
        if reply["id"] == command["id"] {
            return Ok(reply);
        }
    }
}

fn subscribe(client: &mut Client, join_leave: bool) -> Checked {
    let subscribe = json!({"channel": "room:a", "join_leave": join_leave});
    let reply = ask(client, json!({"id": 2, "subscribe": subscribe}))?;
    assert_eq!(reply, json!({"id": 2, "subscribe": {}}));
    Ok(())
}

/// The next message; of several lines, the first.
fn receive(client: &mut Client) -> Result<Value, Failure> {
    match client.receive()? {
        Message::Text(text) => {
            let line = text.lines().next().unwrap_or_default();
            serde_json::from_str(line).map_err(|error| Failure::new(format!("{error}: {text}")))
        }
        other => Err(Failure::new(format!("expected text, received {other:?}"))),
    }
}

/// How many there are, asked until it is as expected: others' subscriptions take their time.
fn await_count(client: &mut Client, count: u64) -> Checked {
    loop {
        let stats = json!({"id": 9, "presence_stats": {"channel": "room:a"}});
        let reply = ask(client, stats)?;
        if reply["presence_stats"]["num_clients"] == count {
            return Ok(());
        }
        assert!(reply["error"].is_null(), "{reply}");
    }
}

fn members_are_those_subscribed_whatever_they_speak(backend: Backend) -> Checked {
    let server = server(backend, members());
    let (mut one, id) = connect(&server)?;
    subscribe(&mut one, false)?;
    let raw = server.open("/raw/room:a")?;
    let (mut two, other) = connect(&server)?;
    subscribe(&mut two, false)?;
    await_count(&mut one, 3)?;
    let asked = json!({"id": 3, "presence": {"channel": "room:a"}});
    let reply = ask(&mut one, asked.clone())?;
    let listed = reply["presence"]["presence"].as_object();
    let listed = listed.expect("members").clone();
    assert_eq!(listed.len(), 3, "{reply}");
    for client in [&id, &other] {
        assert_eq!(listed[client], json!({"user": "", "client": client}));
    }
    drop(raw);
    await_count(&mut one, 2)?;
    ask(
        &mut two,
        json!({"id": 3, "unsubscribe": {"channel": "room:a"}}),
    )?;
    await_count(&mut one, 1)?;
    let reply = ask(&mut one, asked)?;
    assert!(reply["presence"]["presence"][&id].is_object(), "{reply}");
    let stats = ask(
        &mut one,
        json!({"id": 4, "presence_stats": {"channel": "room:a"}}),
    )?;
    let counts = json!({"num_clients": 1, "num_users": 1}); // all that are anonymous are one
    assert_eq!(stats, json!({"id": 4, "presence_stats": counts}));
    Ok(())
}

fn joins_and_leaves_are_told_to_those_that_ask(backend: Backend) -> Checked {
    let server = server(backend, members());
    let (mut told, own) = connect(&server)?;
    subscribe(&mut told, true)?;
    let (mut quiet, _) = connect(&server)?;
    let push = |what: &str, client: &str| {
        let info = json!({"info": {"user": "", "client": client}});
        json!({"push": {"channel": "room:a", what: info}})
    };
    assert_eq!(receive(&mut told)?, push("join", &own));
    let (mut other, id) = connect(&server)?;
    subscribe(&mut other, false)?;
    assert_eq!(receive(&mut told)?, push("join", &id));
    // It comes back at once: that is not told.
    ask(
        &mut other,
        json!({"id": 3, "unsubscribe": {"channel": "room:a"}}),
    )?;
    subscribe(&mut other, false)?;
    subscribe(&mut quiet, false)?;
    let third = receive(&mut told)?;
    assert!(third["push"]["join"].is_object(), "{third}");
    assert_ne!(third["push"]["join"]["info"]["client"], id.as_str());
    drop(other);
    assert_eq!(receive(&mut told)?, push("leave", &id));
    // In the channel's order, and to those alone that have asked.
    ask(
        &mut quiet,
        json!({"id": 4, "publish": {"channel": "room:a", "data": 1}}),
    )?;
    assert_eq!(receive(&mut told)?["push"]["pub"]["data"], 1);
    Ok(())
}

fn one_that_is_not_subscribed_may_not_ask(backend: Backend) -> Checked {
    let server = server(backend, members());
    let (mut client, _) = connect(&server)?;
    let asked = json!({"id": 3, "presence": {"channel": "room:a"}});
    assert_eq!(ask(&mut client, asked.clone())?["error"]["code"], 103);
    subscribe(&mut client, false)?;
    assert!(ask(&mut client, asked)?["presence"].is_object());
    Ok(())
}

fn a_channel_with_many_members_has_counts_alone(backend: Backend) -> Checked {
    let policy = ChannelPolicy {
        presence_members_max: 2,
        presence_read: Readers::Anyone,
        join_leave: JoinLeave::All,
        ..members()
    };
    let server = server(backend, policy);
    let (mut client, _) = connect(&server)?;
    let raw: Result<Vec<_>, _> = (0..3).map(|_| server.open("/raw/room:a")).collect();
    let mut raw = raw?;
    await_count(&mut client, 3)?;
    let asked = json!({"id": 3, "presence": {"channel": "room:a"}});
    let reply = ask(&mut client, asked.clone())?;
    let expected = json!({"presence": {}, "truncated": true, "num_clients": 3, "num_users": 1});
    assert_eq!(reply["presence"], expected);
    subscribe(&mut client, false)?;
    let push = receive(&mut client)?;
    assert_eq!(
        push["push"]["presence_stats"],
        json!({"num_clients": 4, "num_users": 1})
    );
    raw.truncate(1);
    await_count(&mut client, 2)?;
    let reply = ask(&mut client, asked)?;
    assert_eq!(
        reply["presence"]["presence"]
            .as_object()
            .map(|all| all.len()),
        Some(2)
    );
    Ok(())
}

fn a_namespace_without_presence_says_so(backend: Backend) -> Checked {
    let server = server(backend, policy_for_tests());
    let (mut client, _) = connect(&server)?;
    subscribe(&mut client, true)?;
    for command in ["presence", "presence_stats"] {
        let reply = ask(
            &mut client,
            json!({"id": 3, command: {"channel": "room:a"}}),
        )?;
        assert_eq!(reply["error"]["code"], 108, "{reply}");
    }
    Ok(())
}

fn lists_are_not_asked_for_too_often(backend: Backend) -> Checked {
    let server = server(backend, members());
    let (mut client, _) = connect(&server)?;
    subscribe(&mut client, false)?;
    let lines: Vec<String> = (10..20)
        .map(|id| json!({"id": id, "presence": {"channel": "room:a"}}).to_string())
        .collect();
    client.send_text(&lines.join("\n"))?;
    let (mut lists, mut refused) = (0, 0);
    while lists + refused < 10 {
        let Message::Text(text) = client.receive()? else {
            return Err(Failure::new("no text").into());
        };
        for line in text.lines() {
            let reply: Value = serde_json::from_str(line).expect("each is JSON");
            match reply["error"]["code"].as_u64() {
                None => lists += 1,
                Some(code) => {
                    assert_eq!(code, 111, "{reply}");
                    refused += 1;
                }
            }
        }
    }
    // They come within one tick, or across the beginning of one.
    assert!((2..=4).contains(&lists), "{lists} lists");
    Ok(())
}
