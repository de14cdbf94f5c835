//! Sessions without a WebSocket at their limits: one that is behind, and one that asks for too much.

use roost_testkit::client::{Checked, Client, Failure, Request, Response};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

roost_testkit::on_each_backend!(
    a_session_that_is_behind_takes_no_more_until_it_has_caught_up,
    a_stream_may_ask_for_as_much_as_one_message_has,
);

fn post(target: &str, body: &str) -> Vec<u8> {
    let request = Request::get("h", target)
        .line(format!("POST {target} HTTP/1.1"))
        .header(format!("Content-Length: {}", body.len()));
    [request.bytes(), body.as_bytes().to_vec()].concat()
}

fn ask(server: &TestServer, request: &[u8]) -> Result<Response, Failure> {
    let mut client = Client::connect(server.address())?;
    client.send(request)?;
    client.read_response()
}

/// The next line of a chunked or endless response that is JSON.
fn line(stream: &mut Client) -> Result<Value, Failure> {
    loop {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.extend(stream.read_exact(1)?);
        }
        if line.starts_with(b"{") {
            return Ok(serde_json::from_slice(&line).expect("JSON"));
        }
    }
}

/// A client that publishes faster than it may is not read, and what it sends meanwhile is bounded as it is on a
/// WebSocket, where it would wait in its socket.
fn a_session_that_is_behind_takes_no_more_until_it_has_caught_up(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.message_bytes_max = 4_096;
        settings.channels.default.publish_messages_per_second_max = 5;
    });
    let mut stream = Client::connect(server.address())?;
    stream.send(&post("/connection/http_stream", r#"{"id":1,"connect":{}}"#))?;
    assert_eq!(stream.read_response()?.status, 200);
    let connected = line(&mut stream)?;
    let session = connected["connect"]["session"].as_str().expect("a name");
    let data = "x".repeat(1_000);
    let publish = |id: u64| {
        let command = json!({"id": id, "publish": {"channel": "c", "data": data}});
        let body = json!({"session": session, "node": "", "data": command.to_string()});
        ask(&server, &post("/emulation", &body.to_string()))
    };
    let mut next = 2;
    let refused = loop {
        let answer = publish(next)?;
        if answer.status != 204 {
            break answer;
        }
        next += 1;
        assert!(next < 100, "much more than it may hold is taken");
    };
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("Retry-After"), Some("1"));
    assert_eq!(server.count("emulation_busy_total"), 1);
    // What was taken is handled, in order, and then there is room.
    for id in 2..next {
        assert_eq!(line(&mut stream)?, json!({"id": id, "publish": {}}));
    }
    assert_eq!(publish(next)?.status, 204);
    assert_eq!(line(&mut stream)?["id"], next);
    Ok(())
}

fn a_stream_may_ask_for_as_much_as_one_message_has(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.message_bytes_max = 256;
    });
    let names = |count: usize| {
        let names = (0..count).map(|n| format!("channel={n}{}", "a".repeat(60)));
        Request::get(
            "h",
            &format!("/sse?{}", names.collect::<Vec<_>>().join("&")),
        )
        .bytes()
    };
    assert_eq!(ask(&server, &names(3))?.status, 200);
    assert_eq!(ask(&server, &names(5))?.status, 400);
    Ok(())
}
