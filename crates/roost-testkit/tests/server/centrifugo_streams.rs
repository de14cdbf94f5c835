//! Centrifugo's protocol without a WebSocket: what a client is told is a response that goes on, and what it says
//! comes in requests of their own, to whichever reactor.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roost_reactor::{Delta, Origins};
use roost_testkit::centrifugo::{Deltas, Encoding, commands, emulation_request, take_replies};
use roost_testkit::client::{Checked, Client, Failure, Request, Response};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

roost_testkit::on_each_backend!(
    a_stream_connects_subscribes_and_publishes,
    an_event_stream_does_the_same,
    sessions_are_reached_from_all_reactors,
    a_name_that_is_none_is_404,
    what_is_no_request_is_refused,
    pages_of_other_origins_may_neither_read_nor_send,
    a_stream_without_pong_is_told_and_ends,
    a_stream_that_answers_pings_stays,
    a_drain_tells_streams_to_come_back,
    a_stream_that_is_not_read_is_closed_as_slow,
    a_client_that_goes_leaves_its_channels,
    what_the_client_sends_on_its_stream_is_dropped,
    a_stream_speaks_protobuf,
    streams_get_deltas,
);

const HTTP_STREAM: &str = "/connection/http_stream";

fn start(backend: Backend) -> TestServer {
    TestServer::with(backend, 3, |_| {})
}

/// A request with a body.
fn post(target: &str, body: &str) -> Vec<u8> {
    post_as(target, "application/json", body.as_bytes())
}

fn post_as(target: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let request = Request::get("h", target)
        .line(format!("POST {target} HTTP/1.1"))
        .header(format!("Content-Type: {kind}"))
        .header(format!("Content-Length: {}", body.len()));
    [request.bytes(), body.to_vec()].concat()
}

/// The answer to a request of its own, on a connection of its own.
fn ask(server: &TestServer, request: &[u8]) -> Result<Response, Failure> {
    let mut client = Client::connect(server.address())?;
    client.send(request)?;
    client.read_response()
}

/// A client and its session.
struct Stream {
    client: Client,
    response: Response,
    /// Whether a line is an event.
    is_sse: bool,
    session: String,
}

impl Stream {
    fn open(server: &TestServer, is_sse: bool) -> Result<Stream, Failure> {
        let connect = r#"{"id":1,"connect":{}}"#;
        let request = match is_sse {
            true => {
                let encoded = connect.replace('"', "%22").replace('{', "%7B");
                Request::get("h", &format!("/connection/sse?cf_connect={encoded}")).bytes()
            }
            false => post(HTTP_STREAM, connect),
        };
        let mut client = Client::connect(server.address())?;
        client.send(&request)?;
        let response = client.read_response()?;
        assert_eq!(response.status, 200);
        let mut stream = Stream {
            client,
            response,
            is_sse,
            session: String::new(),
        };
        let reply = stream.next()?;
        assert_eq!(reply["id"], 1, "{reply}");
        stream.session = reply["connect"]["session"]
            .as_str()
            .expect("a name")
            .to_owned();
        Ok(stream)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        loop {
            match self.client.read_exact(1)?[0] {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                byte => line.push(byte),
            }
        }
    }

    /// The next of what it is told.
    fn next(&mut self) -> Result<Value, Failure> {
        let mut line = self.line()?;
        if self.is_sse {
            let data = line.strip_prefix("data: ").map(str::to_owned);
            line = data.ok_or_else(|| Failure::new(format!("a line {line:?}")))?;
            assert_eq!(self.line()?, "", "an event ends with an empty line");
        }
        serde_json::from_str(&line).map_err(|error| Failure::new(format!("{error}: {line}")))
    }

    /// Says something, by a request of its own.
    fn say(&self, server: &TestServer, commands: &str) -> Checked {
        let answer = ask(server, &emulation(&self.session, commands))?;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("Content-Length"), None, "RFC 9110 §8.6");
        Ok(())
    }

    fn expect(&mut self, expected: &Value) -> Checked {
        assert_eq!(self.next()?, *expected);
        Ok(())
    }
}

fn emulation(session: &str, commands: &str) -> Vec<u8> {
    let body = json!({"session": session, "node": "n", "data": commands});
    post("/emulation", &body.to_string())
}

fn do_it_all(server: &TestServer, stream: &mut Stream) -> Checked {
    stream.say(server, r#"{"id":2,"subscribe":{"channel":"c"}}"#)?;
    stream.expect(&json!({"id": 2, "subscribe": {}}))?;
    stream.say(
        server,
        r#"{"id":3,"publish":{"channel":"c","data":{"a":[1]}}}"#,
    )?;
    let push = stream.next()?;
    assert_eq!(push["push"]["pub"]["data"], json!({"a": [1]}));
    stream.expect(&json!({"id": 3, "publish": {}}))?;
    let mut raw = server.open("/raw/c")?;
    raw.send_text("text")?;
    let pushed = json!({"push": {"channel": "c", "pub": {"data": "text"}}});
    stream.expect(&pushed)?;
    // Several commands of one request.
    stream.say(
        server,
        "{\"id\":4,\"rpc\":{}}\n{\"id\":5,\"unsubscribe\":{\"channel\":\"c\"}}",
    )?;
    assert_eq!(stream.next()?["error"]["code"], 108);
    stream.expect(&json!({"id": 5, "unsubscribe": {}}))
}

fn a_stream_connects_subscribes_and_publishes(backend: Backend) -> Checked {
    let server = start(backend);
    let mut stream = Stream::open(&server, false)?;
    let kind = stream.response.header("Content-Type");
    assert_eq!(kind, Some("application/x-ndjson"));
    do_it_all(&server, &mut stream)?;
    assert_eq!(server.count("emulated_sessions_total"), 1);
    assert_eq!(server.count("emulation_requests_total"), 3);
    Ok(())
}

fn an_event_stream_does_the_same(backend: Backend) -> Checked {
    let server = start(backend);
    let mut stream = Stream::open(&server, true)?;
    let kind = stream.response.header("Content-Type");
    assert_eq!(kind, Some("text/event-stream"));
    do_it_all(&server, &mut stream)
}

fn sessions_are_reached_from_all_reactors(backend: Backend) -> Checked {
    let server = start(backend);
    let mut streams = Vec::new();
    for _ in 0..6 {
        streams.push(Stream::open(&server, false)?);
    }
    // One connection for all requests, which are pipelined, and several besides.
    let mut client = Client::connect(server.address())?;
    for (n, stream) in streams.iter().enumerate() {
        let text = format!(r#"{{"id":{},"rpc":{{}}}}"#, n + 2);
        client.send(&emulation(&stream.session, &text))?;
        stream.say(&server, &text)?;
    }
    for _ in &streams {
        assert_eq!(client.read_response()?.status, 204);
    }
    for (n, stream) in streams.iter_mut().enumerate() {
        for _ in 0..2 {
            assert_eq!(stream.next()?["id"], n + 2);
        }
    }
    Ok(())
}

fn streams_get_deltas(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 3, |settings| {
        settings.channels.default.delta = Delta::Fossil;
    });
    for is_sse in [false, true] {
        let mut stream = Stream::open(&server, is_sse)?;
        let subscribe = json!({"id": 2, "subscribe": {"channel": "c", "delta": "fossil"}});
        stream.say(&server, &subscribe.to_string())?;
        stream.expect(&json!({"id": 2, "subscribe": {"delta": true}}))?;
        let mut deltas = Deltas::default();
        for number in 0..4 {
            let data = json!({"number": number, "same": "line\n\"ů\"".repeat(20)});
            let publish = json!({"id": 3, "publish": {"channel": "c", "data": data}});
            stream.say(&server, &publish.to_string())?;
            let push = stream.next()?;
            let read = deltas.read(Encoding::Json, &push["push"]["pub"]);
            assert_eq!(read, Ok(data), "{push}");
            stream.expect(&json!({"id": 3, "publish": {}}))?;
        }
        assert_eq!((deltas.whole, deltas.deltas), (1, 3));
    }
    Ok(())
}

fn a_name_that_is_none_is_404(backend: Backend) -> Checked {
    let server = start(backend);
    let stream = Stream::open(&server, false)?;
    let (place, secret) = stream.session.split_at(14);
    let other_secret: String = secret.chars().rev().collect();
    let (_, key) = place.split_at(2);
    for name in [
        String::new(),
        "x".to_owned(),
        format!("{place}{other_secret}"),
        format!("{place}{}", "0".repeat(32)),
        format!("fe{key}{secret}"), // no such reactor
        format!("{place}{secret}0"),
    ] {
        let answer = ask(&server, &emulation(&name, "{}"))?;
        assert_eq!(answer.status, 404, "{name}");
    }
    drop(stream);
    server.wait_for_count("event_streams_open", |open| open == 0);
    Ok(())
}

fn what_is_no_request_is_refused(backend: Backend) -> Checked {
    let server = start(backend);
    for body in ["", "[]", "{}", r#"{"session":"a","data":{}}"#, "\u{0}"] {
        assert_eq!(
            ask(&server, &post("/emulation", body))?.status,
            400,
            "{body:?}"
        );
    }
    let get = |target| ask(&server, &Request::get("h", target).bytes());
    for target in ["/emulation", HTTP_STREAM] {
        let answer = get(target)?;
        assert_eq!((answer.status, answer.header("Allow")), (405, Some("POST")));
    }
    assert_eq!(get("/connection/sse")?.status, 400);
    let upgrade = Request::websocket("h", HTTP_STREAM).bytes();
    assert_eq!(ask(&server, &upgrade)?.status, 400);
    // What is no command ends the stream with words.
    let mut client = Client::connect(server.address())?;
    client.send(&post(HTTP_STREAM, "no command"))?;
    let response = client.read_response()?;
    let body = client.read_body(&response)?;
    let words = r#"{"push":{"disconnect":{"code":3501,"reason":"bad request"}}}"#;
    assert_eq!(String::from_utf8_lossy(&body), format!("{words}\n"));
    Ok(())
}

fn pages_of_other_origins_may_neither_read_nor_send(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.listeners[0].origins = Origins::Listed(vec!["https://a.example".to_owned()]);
    });
    let stream = Stream::open(&server, false)?;
    let body = json!({"session": stream.session, "data": "{}"}).to_string();
    let connect = r#"{"id":1,"connect":{}}"#;
    for (target, body, status) in [
        ("/emulation", body.as_str(), 204),
        (HTTP_STREAM, connect, 200),
    ] {
        let from = |origin: &str| {
            let request = Request::get("h", target)
                .line(format!("POST {target} HTTP/1.1"))
                .header(format!("Origin: {origin}"))
                .header(format!("Content-Length: {}", body.len()));
            ask(
                &server,
                &[request.bytes(), body.as_bytes().to_vec()].concat(),
            )
        };
        let allowed = from("https://a.example")?;
        assert_eq!(allowed.status, status, "{target}");
        let header = allowed.header("Access-Control-Allow-Origin");
        assert_eq!(header, Some("https://a.example"));
        assert_eq!(from("https://b.example")?.status, 403, "{target}");
        let preflight = Request::get("h", target)
            .line(format!("OPTIONS {target} HTTP/1.1"))
            .header("Origin: https://a.example")
            .header("Access-Control-Request-Method: POST")
            .header("Access-Control-Request-Headers: content-type");
        let answer = ask(&server, &preflight.bytes())?;
        let headers = answer.header("Access-Control-Allow-Headers");
        assert_eq!(headers, Some("Authorization, Content-Type, Last-Event-ID"));
    }
    Ok(())
}

fn pinging(backend: Backend) -> TestServer {
    TestServer::with(backend, 2, |settings| {
        settings.limits.ping_interval_ms = 100;
        settings.limits.ping_timeout_ms = 400;
    })
}

fn a_stream_without_pong_is_told_and_ends(backend: Backend) -> Checked {
    let server = pinging(backend);
    let mut stream = Stream::open(&server, true)?;
    stream.expect(&json!({}))?;
    let told = stream.next()?;
    let expected = json!({"push": {"disconnect": {"code": 3012, "reason": "no pong"}}});
    assert_eq!(told, expected);
    stream.client.read_to_end()?;
    drop(stream);
    server.wait_for_count("event_streams_open", |open| open == 0);
    Ok(())
}

fn a_stream_that_answers_pings_stays(backend: Backend) -> Checked {
    let server = pinging(backend);
    let mut stream = Stream::open(&server, false)?;
    for _ in 0..8 {
        stream.expect(&json!({}))?;
        stream.say(&server, "{}")?;
    }
    assert_eq!(server.count("ping_timeouts_total"), 0);
    Ok(())
}

fn a_drain_tells_streams_to_come_back(backend: Backend) -> Checked {
    let server = start(backend);
    let mut stream = Stream::open(&server, false)?;
    server.begin_stop(20_000);
    let expected = json!({"push": {"disconnect": {"code": 3001, "reason": "shutdown"}}});
    stream.expect(&expected)?;
    stream.client.read_to_end()?;
    drop(stream);
    server.wait_stopped();
    Ok(())
}

fn a_stream_that_is_not_read_is_closed_as_slow(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.outbox_bytes_max = 1 << 20;
    });
    let mut stream = Stream::open(&server, false)?;
    stream.say(&server, r#"{"id":2,"subscribe":{"channel":"c"}}"#)?;
    stream.next()?;
    let mut raw = server.open("/raw/c")?;
    let text = "x".repeat(100_000);
    while server.count("slow_consumers_total") == 0 {
        raw.send_text(&text)?;
    }
    loop {
        let told = stream.next()?;
        if told["push"]["disconnect"] != Value::Null {
            let expected = json!({"code": 3008, "reason": "slow"});
            assert_eq!(told["push"]["disconnect"], expected);
            return Ok(());
        }
    }
}

fn a_client_that_goes_leaves_its_channels(backend: Backend) -> Checked {
    let server = start(backend);
    let mut stream = Stream::open(&server, false)?;
    stream.say(&server, r#"{"id":2,"subscribe":{"channel":"c"}}"#)?;
    stream.next()?;
    let session = stream.session.clone();
    drop(stream);
    server.wait_for_count("event_streams_open", |open| open == 0);
    let answer = ask(&server, &emulation(&session, "{}"))?;
    assert_eq!(answer.status, 404);
    Ok(())
}

fn what_the_client_sends_on_its_stream_is_dropped(backend: Backend) -> Checked {
    let server = start(backend);
    let mut stream = Stream::open(&server, false)?;
    for _ in 0..3 {
        stream.client.send(b"\x81\x02{}GET / HTTP/1.1\r\n\r\n")?;
        stream.say(&server, r#"{"id":2,"rpc":{}}"#)?;
        assert_eq!(stream.next()?["id"], 2);
    }
    Ok(())
}

/// All lengths, whose first bytes look like those of any frame; a stream has no fragments.
fn a_stream_speaks_protobuf(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 3, |settings| settings.limits.fragment_bytes = 100);
    let mut client = Client::connect(server.address())?;
    let bytes = "application/octet-stream";
    let first = commands(r#"{"id":1,"connect":{}}"#);
    client.send(&post_as(HTTP_STREAM, bytes, &first))?;
    let response = client.read_response()?;
    assert_eq!(response.header("Content-Type"), Some(bytes));
    let mut unread = Vec::new();
    let mut next = |client: &mut Client| loop {
        unread.extend(client.read_exact(1)?);
        let replies = take_replies(&mut unread).map_err(Failure::new)?;
        if let Some(reply) = replies.into_iter().next() {
            return Ok::<_, Failure>(reply);
        }
    };
    let connected = next(&mut client)?;
    let session = connected["connect"]["session"].as_str().expect("a name");
    let say = |lines: &str| {
        let body = emulation_request(session, lines);
        let answer = ask(&server, &post_as("/emulation", bytes, &body))?;
        assert_eq!(answer.status, 204);
        Ok::<_, Failure>(())
    };
    say(r#"{"id":2,"subscribe":{"channel":"c"}}"#)?;
    assert_eq!(next(&mut client)?, json!({"id": 2, "subscribe": {}}));
    let mut raw = server.open("/raw/c")?;
    for length in (0..300).chain([3_000, 20_000, 70_000]) {
        let text = "x".repeat(length);
        raw.send_text(&text)?;
        let push = next(&mut client)?;
        let data = &push["push"]["pub"]["data"];
        let expected = match length {
            0 => Value::Null,
            _ => json!(format!("\0{}", STANDARD.encode(&text))),
        };
        assert_eq!((length, data), (length, &expected));
    }
    let other = ask(&server, &post_as("/emulation", bytes, b"\x12"))?;
    assert_eq!(other.status, 400);
    // A line of JSON is none of its commands.
    let answer = ask(&server, &emulation(session, "{}"))?;
    assert_eq!(answer.status, 204);
    let close = json!({"code": 3506, "reason": "inappropriate protocol"});
    assert_eq!(next(&mut client)?, json!({"push": {"disconnect": close}}));
    Ok(())
}
