//! WAMP v2 in JSON, and how it meets raw clients. `roost-dialect` holds the details; stock clients
//! judge in `e2e`.

use roost_testkit::client::{Checked, Client, Failure, Message, Request};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

roost_testkit::on_each_backend!(
    a_session,
    raw_and_wamp_share_a_channel,
    a_refused_publish_is_answered_when_asked_for,
    without_subprotocol_the_close_says_why,
    who_speaks_no_wamp_is_told_that_it_is_spoken,
    a_session_without_hello_ends_in_time,
    a_drain_sends_goodbye,
);

/// A session that has been welcomed.
struct Session {
    client: Client,
    requests: u64,
}

impl Session {
    fn join(server: &TestServer) -> Result<Session, Failure> {
        let mut client = Client::connect(server.address())?;
        let request = Request::websocket("h", "/wamp");
        let response =
            client.shake_hands(&request.header("Sec-WebSocket-Protocol: wamp.2.json"))?;
        assert_eq!(
            response.header("Sec-WebSocket-Protocol"),
            Some("wamp.2.json")
        );
        let mut session = Session {
            client,
            requests: 0,
        };
        let roles = json!({"roles": {"publisher": {}, "subscriber": {}}});
        session.send_json(&json!([1, "realm1", roles]))?;
        let welcome = session.receive_any()?;
        assert_eq!(welcome[0], 2, "{welcome}");
        Ok(session)
    }

    fn send_json(&mut self, message: &Value) -> Result<(), Failure> {
        self.client.send_text(&message.to_string())
    }

    fn receive_any(&mut self) -> Result<Value, Failure> {
        match self.client.receive()? {
            Message::Text(text) => {
                serde_json::from_str(&text).map_err(|error| Failure::new(error.to_string()))
            }
            other => Err(Failure::new(format!("expected JSON, received {other:?}"))),
        }
    }

    /// Subscribes; gives the subscription's id.
    fn subscribe(&mut self, topic: &str) -> Result<Value, Failure> {
        self.requests += 1;
        self.send_json(&json!([32, self.requests, {}, topic]))?;
        let answer = self.receive_any()?;
        assert_eq!(
            (&answer[0], &answer[1]),
            (&json!(33), &json!(self.requests)),
            "{answer}"
        );
        Ok(answer[2].clone())
    }

    /// Publishes with acknowledgement; gives the answer.
    fn publish(&mut self, topic: &str, args: Value) -> Result<Value, Failure> {
        self.requests += 1;
        self.send_json(&json!([16, self.requests, {"acknowledge": true}, topic, args]))?;
        self.receive_any()
    }
}

fn a_session(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut subscriber = Session::join(&server)?;
    let mut speaker = Session::join(&server)?;
    let id = subscriber.subscribe("com.example.topic")?;
    let published = speaker.publish("com.example.topic", json!([1, {"a": [null]}]))?;
    assert_eq!(published[0], 17, "{published}");
    let event = subscriber.receive_any()?;
    assert_eq!((&event[0], &event[1]), (&json!(36), &id), "{event}");
    assert_eq!(event[2], published[2], "one publication has one id");
    assert_eq!(event[4], json!([1, {"a": [null]}]));
    subscriber.send_json(&json!([34, 7, id]))?;
    assert_eq!(subscriber.receive_any()?, json!([35, 7]));
    subscriber.send_json(&json!([6, {}, "wamp.close.normal"]))?;
    assert_eq!(subscriber.receive_any()?[2], "wamp.close.goodbye_and_out");
    subscriber.client.expect_close(1000)?;
    Ok(())
}

fn raw_and_wamp_share_a_channel(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut raw = server.open("/raw/com.example.room")?;
    let mut wamp = Session::join(&server)?;
    wamp.subscribe("com.example.room")?;
    raw.send_text("from raw")?;
    assert_eq!(wamp.receive_any()?[4], json!(["from raw"]));
    raw.send_binary(&[1, 2, 3])?;
    assert_eq!(wamp.receive_any()?[4], json!(["\u{0}AQID"]));
    wamp.publish("com.example.room", json!(["from wamp"]))?;
    raw.expect_text("from wamp")?;
    wamp.publish("com.example.room", json!(["\u{0}AQID"]))?;
    raw.expect_binary(&[1, 2, 3])?;
    wamp.publish("com.example.room", json!([1, 2]))?;
    raw.expect_text(r#"{"args":[1,2],"kwargs":{}}"#)?;
    Ok(())
}

fn a_refused_publish_is_answered_when_asked_for(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.channels.default.publish = roost_reactor::Publish::Subscribers;
    });
    let mut session = Session::join(&server)?;
    let answer = session.publish("com.example.closed", json!([]))?;
    assert_eq!(
        (&answer[0], &answer[4]),
        (&json!(8), &json!("wamp.error.not_authorized"))
    );
    session.subscribe("com.example.closed")?;
    assert_eq!(session.publish("com.example.closed", json!([]))?[0], 17);
    Ok(())
}

fn a_session_without_hello_ends_in_time(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.handshake_timeout_ms = 300;
        settings.limits.ping_interval_ms = 100; // pings and pongs do not open a session
    });
    let mut opened = Session::join(&server)?;
    let mut silent = Client::connect(server.address())?;
    let request = Request::websocket("h", "/wamp");
    silent.shake_hands(&request.header("Sec-WebSocket-Protocol: wamp.2.json"))?;
    let abort = silent.receive()?;
    let expected =
        r#"[3,{"message":"HELLO has not come in time."},"wamp.error.protocol_violation"]"#;
    assert_eq!(abort, Message::Text(expected.to_owned()));
    let reason = "wamp.error.protocol_violation: this connection speaks wamp.2.json, which begins with HELLO";
    assert_eq!(silent.expect_close(1002)?, reason);
    opened.subscribe("com.example.topic")?; // one that has said HELLO goes on
    Ok(())
}

fn who_speaks_no_wamp_is_told_that_it_is_spoken(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let request = Request::websocket("h", "/").header("Sec-WebSocket-Protocol: soap, wamp.2.json");
    let mut client = Client::connect(server.address())?;
    client.shake_hands(&request)?;
    client.send_text("hello")?;
    let Message::Text(abort) = client.receive()? else {
        panic!("an ABORT");
    };
    assert!(
        abort.contains("wamp.2.json wants one JSON array"),
        "{abort}"
    );
    let reason = client.expect_close(1002)?;
    assert!(
        reason.contains("this connection speaks wamp.2.json"),
        "{reason}"
    );
    Ok(())
}

fn without_subprotocol_the_close_says_why(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut client = server.open("/wamp")?;
    assert_eq!(
        client.expect_close(1002)?,
        "This path speaks WAMP: the client must offer the subprotocol wamp.2.json, wamp.2.msgpack or wamp.2.cbor."
    );
    client.expect_fin()?;
    Ok(())
}

fn a_drain_sends_goodbye(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut session = Session::join(&server)?;
    server.begin_stop(10_000);
    let goodbye = session.receive_any()?;
    assert_eq!(
        (&goodbye[0], &goodbye[2]),
        (&json!(6), &json!("wamp.close.system_shutdown"))
    );
    session.client.expect_close(1001)?;
    drop(session);
    server.wait_stopped();
    Ok(())
}
