//! SOAP over WebSocket: handshakes, channels, and requests to callees of WAMP on other reactors.

use std::sync::Arc;

use roost_testkit::client::{Checked, Client, Failure, Message, Request};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

roost_testkit::on_each_backend!(
    content_types_are_agreed_on,
    what_is_not_served_is_refused_by_name,
    one_way_messages_are_published,
    subscribers_get_envelopes_alone,
    a_message_may_go_to_the_channel_of_its_path,
    a_callee_answers_requests,
    requests_that_are_not_answered_become_faults,
    open_requests_are_limited,
    a_client_that_leaves_cancels_its_requests,
    bad_documents_are_answered_and_reach_nobody,
    a_drain_closes,
);

const V11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const V12: &str = "http://www.w3.org/2003/05/soap-envelope";
const ADD: &str = "urn:example:add";

fn open(server: &TestServer, path: &str, content_type: &str) -> Result<Client, Failure> {
    let mut client = Client::connect(server.address())?;
    let response = client.shake_hands(&request(path, content_type))?;
    assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("soap"));
    Ok(client)
}

/// With this soap-content-type, unless it is empty.
fn request(path: &str, content_type: &str) -> Request {
    let request = Request::websocket("h", path).header("Sec-WebSocket-Protocol: soap");
    match content_type {
        "" => request,
        _ => request.header(format!("soap-content-type: {content_type}")),
    }
}

fn envelope(namespace: &str, header: &str) -> String {
    format!(
        r#"<s:Envelope xmlns:s="{namespace}"><s:Header xmlns:a="http://www.w3.org/2005/08/addressing">{header}</s:Header><s:Body/></s:Envelope>"#
    )
}

fn one_way(to: &str) -> String {
    envelope(V12, &format!("<a:To>{to}</a:To>"))
}

fn call(id: u32) -> String {
    envelope(
        V12,
        &format!("<a:Action>{ADD}</a:Action><a:MessageID>urn:id:{id}</a:MessageID>"),
    )
}

fn receive_text(client: &mut Client) -> Result<String, Failure> {
    match client.receive()? {
        Message::Text(text) => Ok(text),
        other => Err(Failure::new(format!("expected text, received {other:?}"))),
    }
}

/// The next message has all these parts.
fn expect_parts(client: &mut Client, parts: &[&str]) -> Checked {
    let text = receive_text(client)?;
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
    Ok(())
}

/// A WAMP session that is the callee of [`ADD`].
fn join_callee(server: &TestServer) -> Result<Client, Failure> {
    let mut callee = Client::connect(server.address())?;
    let request = Request::websocket("h", "/wamp");
    callee.shake_hands(&request.header("Sec-WebSocket-Protocol: wamp.2.json"))?;
    let features = json!({"features": {"call_canceling": true}});
    send(
        &mut callee,
        &json!([1, "realm1", {"roles": {"callee": features}}]),
    )?;
    assert_eq!(receive(&mut callee)?[0], 2);
    send(&mut callee, &json!([64, 1, {}, ADD]))?;
    assert_eq!(receive(&mut callee)?[0], 65);
    Ok(callee)
}

fn send(client: &mut Client, message: &Value) -> Result<(), Failure> {
    client.send_text(&message.to_string())
}

fn receive(client: &mut Client) -> Result<Value, Failure> {
    let text = receive_text(client)?;
    serde_json::from_str(&text).map_err(|error| Failure::new(error.to_string()))
}

fn content_types_are_agreed_on(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    for (sent, said) in [
        ("", None),
        ("text/xml", Some("text/xml; charset=utf-8")),
        (
            "application/soap+xml; charset=utf-8",
            Some("application/soap+xml; charset=utf-8"),
        ),
    ] {
        for path in ["/soap", "/soap/urn:a:b", "/StorageServices"] {
            let mut client = Client::connect(server.address())?;
            let response = client.shake_hands(&request(path, sent))?;
            assert_eq!(response.header("soap-content-type"), said, "{path}");
            client.close()?;
        }
    }
    Ok(())
}

fn what_is_not_served_is_refused_by_name(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let binary = "application/soap+msbinsession1";
    let mode = "microsoft-binary-transfer-mode: Buffered";
    for refused in [
        request("/soap", binary),
        request("/soap", binary).header(mode),
        request("/soap/urn:a:b", "text/xml").header(mode),
    ] {
        let mut client = Client::connect(server.address())?;
        client.send(&refused.bytes())?;
        let response = client.read_response()?;
        assert_eq!(response.status, 400);
        let served = response.header("soap-content-type").unwrap_or_default();
        assert!(served.contains("application/soap+xml") && served.contains("text/xml"));
        let body = client.read_body(&response)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(
            body.contains("soap-content-type") && body.contains("microsoft-binary"),
            "{body}"
        );
    }
    // What a browser would not tell of otherwise, and what is no WebSocket.
    let mut client = Client::open(server.address(), "/soap")?;
    let reason = client.expect_close(1002)?;
    assert!(reason.contains("subprotocol soap"), "{reason}");
    let mut client = Client::connect(server.address())?;
    client.send(&Request::get("h", "/soap").bytes())?;
    assert_eq!(client.read_response()?.status, 426);
    Ok(())
}

fn one_way_messages_are_published(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut raw = Client::open(server.address(), "/raw/urn:a:b")?;
    let mut subscriber = open(&server, "/soap/urn:a:b", "application/soap+xml")?;
    let mut publisher = open(&server, "/any", "")?;
    let text = one_way("urn:a:b");
    publisher.send_text(&text)?;
    raw.expect_text(&text)?;
    subscriber.expect_text(&text)?;
    // Binary, with a byte order mark.
    publisher.send_binary(format!("\u{FEFF}{text}").as_bytes())?;
    raw.expect_text(&text)?;
    subscriber.expect_text(&text)?;
    // A raw client's text is an envelope if it reads as one.
    raw.send_text(&text)?;
    subscriber.expect_text(&text)?;
    Ok(())
}

fn subscribers_get_envelopes_alone(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut raw = Client::open(server.address(), "/raw/urn:a:b")?;
    let mut old = open(&server, "/soap/urn:a:b", "text/xml")?;
    let mut new = open(&server, "/soap/urn:a:b", "application/soap+xml")?;
    let mut any = open(&server, "/soap/urn:a:b", "")?;
    let (v11, v12) = (envelope(V11, ""), envelope(V12, ""));
    raw.send_text("hello")?;
    raw.send_binary(v12.as_bytes())?;
    raw.send_text(&v11)?;
    raw.send_text(&v12)?;
    old.expect_text(&v11)?;
    new.expect_text(&v12)?;
    any.expect_text(&v11)?;
    any.expect_text(&v12)?;
    // Two for all three, and one of each version.
    server.wait_for_count("publications_not_carried_total", |count| count == 8);
    Ok(())
}

fn a_message_may_go_to_the_channel_of_its_path(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut one = open(&server, "/soap/urn:a:b", "text/xml")?;
    let mut two = open(&server, "/soap/urn:a:b", "text/xml")?;
    let plain = format!(r#"<e:Envelope xmlns:e="{V11}"><e:Body/></e:Envelope>"#);
    one.send_text(&plain)?;
    two.expect_text(&plain)?;
    // Where the path names none, that is a fault.
    let mut other = open(&server, "/soap", "text/xml")?;
    other.send_text(&plain)?;
    expect_parts(&mut other, &["MessageAddressingHeaderRequired"])
}

fn a_callee_answers_requests(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut callee = join_callee(&server)?;
    for id in 0..8 {
        let mut client = open(&server, "/calc", "application/soap+xml")?;
        // What WCF writes goes in binary messages, and is answered so.
        let is_binary = id % 2 == 1;
        match is_binary {
            false => client.send_text(&call(id))?,
            true => client.send_binary(call(id).as_bytes())?,
        }
        let invocation = receive(&mut callee)?;
        assert_eq!(
            (&invocation[0], &invocation[4]),
            (&json!(68), &json!([call(id)]))
        );
        let answer = format!(r#"<s:Envelope xmlns:s="{V12}"><s:Body>{id}</s:Body></s:Envelope>"#);
        send(&mut callee, &json!([70, invocation[1], {}, [answer]]))?;
        let relates = format!(
            r#"<wsa:RelatesTo xmlns:wsa="http://www.w3.org/2005/08/addressing">urn:id:{id}</wsa:RelatesTo>"#
        );
        let expected = format!(
            r#"<s:Envelope xmlns:s="{V12}"><s:Header>{relates}</s:Header><s:Body>{id}</s:Body></s:Envelope>"#
        );
        match is_binary {
            false => client.expect_text(&expected)?,
            true => client.expect_binary(expected.as_bytes())?,
        }
        client.close()?;
    }
    let mut client = open(&server, "/calc", "application/soap+xml")?;
    client.send_text(&call(1))?;
    let invocation = receive(&mut callee)?;
    let error = json!([
        8,
        68,
        invocation[1],
        {},
        "com.example.negative",
        ["no <negative> numbers"]
    ]);
    send(&mut callee, &error)?;
    let parts = [
        "env:Receiver",
        "no &lt;negative&gt; numbers",
        "com.example.negative",
        ">urn:id:1<",
    ];
    expect_parts(&mut client, &parts)
}

fn requests_that_are_not_answered_become_faults(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        Arc::make_mut(&mut settings.dialects.soap).request_timeout_ms = 200;
    });
    let mut client = open(&server, "/calc", "application/soap+xml")?;
    client.send_text(&call(1))?;
    expect_parts(&mut client, &["ActionNotSupported", ">urn:id:1<"])?;
    let mut callee = join_callee(&server)?;
    client.send_text(&call(2))?;
    assert_eq!(receive(&mut callee)?[0], 68);
    expect_parts(
        &mut client,
        &["env:Receiver", "did not answer in time", ">urn:id:2<"],
    )?;
    assert_eq!(receive(&mut callee)?[0], 69, "the callee is interrupted");
    client.send_text(&call(3))?;
    assert_eq!(receive(&mut callee)?[0], 68);
    callee.close()?;
    expect_parts(&mut client, &["EndpointUnavailable", ">urn:id:3<"])?;
    server.wait_for_count("calls_open", |count| count == 0);
    Ok(())
}

fn open_requests_are_limited(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.calls_per_connection_max = 2;
    });
    let mut callee = join_callee(&server)?;
    let mut client = open(&server, "/calc", "")?;
    for id in 0..3 {
        client.send_text(&call(id))?;
    }
    expect_parts(&mut client, &["as many open requests", ">urn:id:2<"])?;
    for _ in 0..2 {
        let invocation = receive(&mut callee)?;
        send(
            &mut callee,
            &json!([70, invocation[1], {}, [envelope(V12, "")]]),
        )?;
    }
    expect_parts(&mut client, &[">urn:id:0<"])?;
    expect_parts(&mut client, &[">urn:id:1<"])?;
    client.send_text(&call(3))?;
    assert_eq!(receive(&mut callee)?[0], 68);
    Ok(())
}

fn a_client_that_leaves_cancels_its_requests(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut callee = join_callee(&server)?;
    let mut client = open(&server, "/calc", "")?;
    client.send_text(&call(1))?;
    let invocation = receive(&mut callee)?;
    client.reset()?;
    let interrupt = receive(&mut callee)?;
    assert_eq!((&interrupt[0], &interrupt[1]), (&json!(69), &invocation[1]));
    // Its answer is late and no mistake.
    send(
        &mut callee,
        &json!([70, invocation[1], {}, [envelope(V12, "")]]),
    )?;
    server.wait_for_count("calls_open", |count| count == 0);
    server.wait_for_count("invocations_open", |count| count == 0);
    callee.close()?;
    Ok(())
}

fn bad_documents_are_answered_and_reach_nobody(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut raw = Client::open(server.address(), "/raw/urn:a:b")?;
    let mut client = open(&server, "/soap/urn:a:b", "")?;
    let good = one_way("urn:a:b");
    for (bad, why) in [
        ("hello".to_owned(), "text outside"),
        (good.replace("</s:Envelope>", ""), "too early"),
        (format!("<!DOCTYPE a>{good}"), "DTD"),
    ] {
        client.send_text(&bad)?;
        expect_parts(&mut client, &["env:Sender", why])?;
        client.send_binary(bad.as_bytes())?;
        let Message::Binary(_) = client.receive()? else {
            panic!("answered as the client writes");
        };
    }
    // In a binary message RFC 6455 lets this pass; XML does not.
    client.send_binary(b"<a>\xff</a>")?;
    let Message::Binary(_) = client.receive()? else {
        panic!("answered as the client writes");
    };
    client.send_text(&good)?;
    raw.expect_text(&good)?;
    // In a text message it ends the connection (RFC 6455 §8.1).
    client.send_frame(&roost_testkit::client::Frame::text(b"<a>\xff</a>"))?;
    client.expect_close(1007)?;
    Ok(())
}

fn a_drain_closes(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut callee = join_callee(&server)?;
    let mut client = open(&server, "/soap/urn:a:b", "")?;
    client.send_text(&call(1))?;
    assert_eq!(receive(&mut callee)?[0], 68);
    server.begin_stop(5_000);
    // Each may hear of the other's end before.
    let message = client.receive()?;
    if let Message::Text(fault) = &message {
        assert!(fault.contains("EndpointUnavailable"), "{fault}");
        client.expect_close(1001)?;
    } else {
        let is_close = matches!(message, Message::Close(Some(1001), _));
        assert!(is_close, "{message:?}");
    }
    drop(client);
    let mut message = receive(&mut callee)?;
    if message[0] == 69 {
        message = receive(&mut callee)?;
    }
    assert_eq!(message[2], "wamp.close.system_shutdown", "{message}");
    callee.expect_close(1001)?;
    drop(callee);
    server.wait_stopped();
    Ok(())
}
