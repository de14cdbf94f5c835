//! WAMP in all its serializers, plain and batched, and how they meet in one channel.

use roost_dialect::Serializer;
use roost_dialect::serial::convert;
use roost_dialect::wamp::Wire;
use roost_testkit::client::{Checked, Client, Failure, Message, Request};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

roost_testkit::on_each_backend!(
    all_serializers_meet_in_one_channel,
    a_batch_is_answered,
    a_malformed_message_is_a_violation,
    lists_of_receivers_are_kept,
    lists_of_receivers_are_kept_in_an_incremental_fan_out,
    lists_of_receivers_are_kept_among_subscribers_to_a_pattern,
    lists_of_receivers_are_kept_in_the_fan_out_of_a_pattern,
);

/// A session of one subprotocol, seen as JSON.
struct Session {
    client: Client,
    wire: Wire,
    id: Value,
}

impl Session {
    fn connect(server: &TestServer, subprotocol: &'static str) -> Result<Session, Failure> {
        let mut client = Client::connect(server.address())?;
        let header = format!("Sec-WebSocket-Protocol: x, {subprotocol}, wamp.2.y");
        let request = Request::websocket("h", "/");
        let response = client.shake_hands(&request.header(&header))?;
        let selected = response.header("Sec-WebSocket-Protocol");
        assert_eq!(selected, Some(subprotocol), "the client's first");
        let wire = Wire::of_subprotocol(subprotocol).expect("it is served");
        let id = Value::Null;
        Ok(Session { client, wire, id })
    }

    fn join(server: &TestServer, subprotocol: &'static str) -> Result<Session, Failure> {
        let mut session = Session::connect(server, subprotocol)?;
        let roles = json!({"roles": {"publisher": {}, "subscriber": {}}});
        session.send(&[json!([1, "realm1", roles])])?;
        let welcome = session.receive()?;
        assert_eq!(welcome[0], 2, "{subprotocol}: {welcome}");
        session.id = welcome[1].clone();
        Ok(session)
    }

    /// Sends messages: together if that is batched.
    fn send(&mut self, messages: &[Value]) -> Result<(), Failure> {
        let serializer = self.wire.serializer;
        let mut batch = Vec::new();
        for message in messages {
            let json = message.to_string();
            let bytes = convert(json.as_bytes(), Serializer::Json, serializer).expect("JSON");
            match (self.wire.is_batched, serializer) {
                (false, Serializer::Json) => self.client.send_text(&json)?,
                (false, _) => self.client.send_binary(&bytes)?,
                (true, Serializer::Json) => batch.extend([&bytes[..], b"\x1e"].concat()),
                (true, _) => {
                    let length = u32::try_from(bytes.len()).expect("short").to_be_bytes();
                    batch.extend([&length[..], &bytes].concat());
                }
            }
        }
        match (self.wire.is_batched, serializer) {
            (false, _) => Ok(()),
            (true, Serializer::Json) => {
                self.client.send_text(str::from_utf8(&batch).expect("text"))
            }
            (true, _) => self.client.send_binary(&batch),
        }
    }

    /// The next WebSocket message, which is one message or a batch.
    fn receive_batch(&mut self) -> Result<Vec<Value>, Failure> {
        let serializer = self.wire.serializer;
        let bytes = match (self.client.receive()?, serializer) {
            (Message::Text(text), Serializer::Json) => text.into_bytes(),
            (Message::Binary(bytes), Serializer::MsgPack | Serializer::Cbor) => bytes,
            (other, _) => return Err(Failure::new(format!("received {other:?}"))),
        };
        let mut messages = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let one = match (self.wire.is_batched, serializer) {
                (false, _) => std::mem::take(&mut rest),
                (true, Serializer::Json) => {
                    let end = rest.iter().position(|&byte| byte == 0x1e);
                    let (one, behind) = rest.split_at(end.expect("RS ends a message"));
                    rest = &behind[1..];
                    one
                }
                (true, _) => {
                    let (length, behind) = rest.split_first_chunk::<4>().expect("a length");
                    let (one, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
                    rest = behind;
                    one
                }
            };
            let json = convert(one, serializer, Serializer::Json).expect("a value");
            messages.push(serde_json::from_slice(&json).expect("JSON"));
        }
        Ok(messages)
    }

    /// The next message, alone in its WebSocket message.
    fn receive(&mut self) -> Result<Value, Failure> {
        let mut batch = self.receive_batch()?;
        assert_eq!(batch.len(), 1, "{batch:?}");
        Ok(batch.remove(0))
    }
}

fn all_serializers_meet_in_one_channel(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut sessions = Vec::new();
    for (subprotocol, _) in Wire::ALL {
        let mut session = Session::join(&server, subprotocol)?;
        session.send(&[json!([32, 1, {}, "a.b"])])?;
        let subscribed = session.receive()?;
        assert_eq!((&subscribed[0], &subscribed[1]), (&json!(33), &json!(1)));
        sessions.push((session, subscribed[2].clone()));
    }
    let mut raw = Client::connect(server.address())?;
    raw.shake_hands(&Request::websocket("h", "/raw/a.b"))?;
    let args = json!([1, -1, 0.5, true, null, "é", "\u{0}AQID", [[]], {"k": [{}]}, 1u64 << 60]);
    let kwargs = json!({"a": {"b": ["c"]}});
    for publisher in 0..sessions.len() {
        let publish =
            json!([16, 7, {"acknowledge": true, "exclude_me": false}, "a.b", args, kwargs]);
        sessions[publisher].0.send(&[publish])?;
        for (at, (session, subscription)) in sessions.iter_mut().enumerate() {
            let mut event = session.receive()?;
            if at == publisher {
                let mut published = session.receive()?;
                if event[0] == 17 {
                    std::mem::swap(&mut event, &mut published);
                }
                assert_eq!(published[0], 17, "{published}");
            }
            let expected = json!([36, *subscription, event[2], {}, args, kwargs]);
            assert_eq!(event, expected, "from {publisher} to {at}");
        }
        let Message::Text(text) = raw.receive()? else {
            return Err(Failure::new("expected text".to_owned()).into());
        };
        let received: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(received, json!({"args": args, "kwargs": kwargs}));
    }
    // Text stays text and bytes stay bytes.
    raw.send_text("plain")?;
    raw.send_binary(b"\x01\x02\x03")?;
    for (session, _) in &mut sessions {
        assert_eq!(session.receive()?[4], json!(["plain"]));
        assert_eq!(session.receive()?[4], json!(["\u{0}AQID"]));
    }
    for (session, _) in &mut sessions {
        session.send(&[json!([16, 8, {}, "a.b", ["\u{0}AQID"]])])?;
        assert_eq!(raw.receive()?, Message::Binary(vec![1, 2, 3]));
        session.send(&[json!([16, 9, {}, "a.b", ["text"]])])?;
        assert_eq!(raw.receive()?, Message::Text("text".to_owned()));
    }
    Ok(())
}

fn a_batch_is_answered(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |_| {});
    for (subprotocol, _) in Wire::ALL.into_iter().filter(|(_, wire)| wire.is_batched) {
        let mut session = Session::connect(&server, subprotocol)?;
        let roles = json!({"roles": {"publisher": {}, "subscriber": {}}});
        session.send(&[
            json!([1, "realm1", roles]),
            json!([34, 1, 4711]),
            json!([32, 2, {}, "a.b"]),
            json!([34, 3, 4711]),
            json!([34, 4, 4711]),
            json!([16, 5, {"acknowledge": true, "exclude_me": false}, "a.b", ["x"]]),
            json!([6, {}, "wamp.close.normal"]),
        ])?;
        let mut codes = Vec::new();
        let mut batches = 0;
        while codes.last() != Some(&6) {
            let batch = session.receive_batch()?;
            let answers = batch.iter().filter_map(|message| message[0].as_u64());
            let before = codes.len();
            codes.extend(answers.filter(|code| *code != 36)); // an event, before or behind PUBLISHED
            batches += usize::from(codes.len() > before);
        }
        assert_eq!(codes, [2, 8, 33, 8, 8, 17, 6], "{subprotocol}");
        assert!(batches < codes.len(), "answers are batched: {batches}");
    }
    Ok(())
}

fn a_malformed_message_is_a_violation(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |_| {});
    for (subprotocol, wire) in Wire::ALL {
        for is_text in [true, false] {
            let mut session = Session::join(&server, subprotocol)?;
            match is_text {
                true => session.client.send_text("\u{1}\u{1}\u{1}")?,
                false => session.client.send_binary(b"\xc1\xc1\xc1")?,
            }
            let abort = session.receive()?;
            assert_eq!(abort[0], 3, "{wire:?}: {abort}");
            assert_eq!(abort[2], "wamp.error.protocol_violation");
            let close = session.client.receive()?;
            let is_close = matches!(close, Message::Close(Some(1002), _));
            assert!(is_close, "{close:?}");
        }
    }
    Ok(())
}

fn lists_of_receivers_are_kept(backend: Backend) -> Checked {
    check_receivers(&TestServer::with(backend, 2, |_| {}), &exactly())
}

fn lists_of_receivers_are_kept_in_an_incremental_fan_out(backend: Backend) -> Checked {
    check_receivers(&with_fan_outs(backend), &exactly())
}

fn lists_of_receivers_are_kept_among_subscribers_to_a_pattern(backend: Backend) -> Checked {
    check_receivers(&TestServer::with(backend, 2, |_| {}), &by_a_pattern())
}

fn lists_of_receivers_are_kept_in_the_fan_out_of_a_pattern(backend: Backend) -> Checked {
    check_receivers(&with_fan_outs(backend), &by_a_pattern())
}

fn with_fan_outs(backend: Backend) -> TestServer {
    TestServer::with(backend, 2, |settings| {
        settings.fan_out_at_once = 0;
        settings.fan_out_piece = 2;
    })
}

fn exactly() -> Value {
    json!([32, 1, {}, "a.b"])
}

fn by_a_pattern() -> Value {
    json!([32, 1, {"match": "wildcard"}, "a."])
}

/// All sessions subscribe as is said, to `a.b` or to a pattern that matches it.
fn check_receivers(server: &TestServer, subscribe: &Value) -> Checked {
    let mut sessions = Vec::new();
    for (subprotocol, _) in Wire::ALL.into_iter().chain(Wire::ALL) {
        let mut session = Session::join(server, subprotocol)?;
        session.send(std::slice::from_ref(subscribe))?;
        assert_eq!(session.receive()?[0], 33);
        sessions.push(session);
    }
    let mut raw = Client::connect(server.address())?;
    raw.shake_hands(&Request::websocket("h", "/raw/a.b"))?;
    let ids: Vec<_> = sessions.iter().map(|session| session.id.clone()).collect();
    let names: Vec<_> = ids.iter().map(|id| json!(id.to_string())).collect();
    // The options, which sessions they mean, and whether raw clients.
    let everyone: Vec<usize> = (0..ids.len()).collect();
    let but = |left_out: &[usize]| {
        let mut rest = everyone.clone();
        rest.retain(|at| !left_out.contains(at));
        rest
    };
    let cases = [
        (json!({"exclude": [ids[1], ids[2], 1]}), but(&[1, 2]), true),
        (json!({"exclude_authid": [names[3], "x"]}), but(&[3]), true),
        (json!({"exclude_authrole": ["anonymous"]}), vec![], true),
        (
            json!({"eligible": [ids[4], ids[5], ids[9], 1]}),
            vec![4, 5, 9],
            false,
        ),
        (
            json!({"eligible_authid": [names[7]], "eligible": [ids[7], ids[8]]}),
            vec![7],
            false,
        ),
        (
            json!({"eligible_authrole": ["anonymous"], "exclude": [ids[0]]}),
            but(&[0]),
            false,
        ),
        (json!({"eligible": []}), vec![], false),
        (json!({"disclose_me": true}), but(&[]), true),
        // By the ninth of all, which does not hear it then.
        (json!({"exclude_me": true}), but(&[8]), true),
    ];
    let details = match subscribe[2].get("match") {
        Some(_) => json!({"topic": "a.b"}),
        None => json!({}),
    };
    for (number, (options, receivers, is_for_raw)) in cases.into_iter().enumerate() {
        let publisher = number % sessions.len();
        let mut last = json!({"exclude_me": false});
        for (key, value) in options.as_object().expect("an object") {
            last[key] = value.clone();
        }
        sessions[publisher].send(&[json!([16, 1, last, "a.b", [number]])])?;
        // What comes behind it tells that it has not come.
        let all = json!({"exclude_me": false});
        sessions[publisher].send(&[json!([16, 2, all, "a.b", ["all"]])])?;
        for (at, session) in sessions.iter_mut().enumerate() {
            if receivers.contains(&at) {
                let event = session.receive()?;
                assert_eq!(event[4], json!([number]), "{options} to {at}");
                let mut details = details.clone();
                if options.get("disclose_me").is_some() {
                    details["publisher"] = ids[publisher].clone();
                }
                assert_eq!(event[3], details, "{options}");
            }
            assert_eq!(session.receive()?[4], json!(["all"]), "{options} to {at}");
        }
        if is_for_raw {
            let text = json!({"args": [number], "kwargs": {}}).to_string();
            assert_eq!(raw.receive()?, Message::Text(text), "{options}");
        }
        assert_eq!(raw.receive()?, Message::Text("all".to_owned()), "{options}");
    }
    Ok(())
}
