//! Plain HTTP requests, one behind the other on a connection, on a simulated network.

use roost_net::sim::SimFaults;
use roost_wire::Opcode;
use roost_wire::frame::append_masked_frame;

use super::core_tests::request as websocket_request;
use super::http_world::{Answer, World, answers};
use crate::Settings;
use crate::connections::Phase;

fn world() -> World {
    World::new(Settings::for_tests())
}

fn world_with(change: impl FnOnce(&mut Settings)) -> World {
    let mut settings = Settings::for_tests();
    change(&mut settings);
    World::new(settings)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

/// A session of one connection: requests of all kinds, then a WebSocket and a message behind it.
fn session() -> (Vec<u8>, &'static [&'static str], &'static [u16]) {
    let chunked = "POST /test/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nA: b\r\n\r\n";
    let parts = [
        get("/health"),
        "HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        get("/"),
        "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "HEAD /nothing HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        get("/nothing"),
        "HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        get("/echo"),
        get("/raw/"),
        post("/health", "a body that is not wanted: GET /nothing"),
        post("/nothing", "x"),
        // RFC 9112 §2.2: some clients send an empty line behind a body.
        format!("\r\n{}", post("/test/echo", "first")),
        chunked.to_owned(),
        get("/test/long/3000"),
        "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
    ];
    let mut bytes = parts.concat().into_bytes();
    bytes.extend(websocket_request("/echo"));
    append_masked_frame(&mut bytes, Opcode::Text, b"at last", [1, 2, 3, 4]);
    (
        bytes,
        &[
            "GET", "HEAD", "OPTIONS", "GET", "HEAD", "HEAD", "GET", "HEAD", "GET", "GET", "POST",
            "POST", "POST", "POST", "GET", "GET",
        ],
        &[
            200, 200, 200, 200, 200, 404, 404, 426, 426, 400, 405, 404, 200, 200, 200, 200,
        ],
    )
}

fn check_session(received: &[u8], what: &str) {
    let (_, methods, expected) = session();
    let (answers, rest) = answers(received, methods);
    assert_eq!(statuses(&answers), expected, "{what}");
    let body = |n: usize| String::from_utf8_lossy(&answers[n].body).into_owned();
    assert_eq!((body(0), body(12)), ("ok\n".to_owned(), "first".to_owned()));
    assert_eq!((body(13).as_str(), body(14).len()), ("hello, world", 3_000));
    for answer in &answers {
        assert!(!answer.head.contains("close"), "{what}: {}", answer.head);
    }
    assert!(answers[15].head.contains("Connection: keep-alive\r\n"));
    let rest = String::from_utf8_lossy(rest);
    assert!(rest.starts_with("HTTP/1.1 101 "), "{what}: {rest}");
    assert!(
        rest.ends_with("\r\n\r\n\u{fffd}\u{7}at last"),
        "{what}: {rest}"
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut world = world();
    let client = world.connect();
    let received = world.ask(client, session().0);
    check_session(&received, "in one piece");
    assert_eq!(world.phase(client), Some(Phase::Open));
    assert_eq!(world.count("http_requests_total"), 16);
    assert_eq!(world.count("http_responses_2xx_total"), 9);
    assert_eq!(world.count("http_responses_4xx_total"), 7);
    assert_eq!(world.count("input_buffered_bytes"), 0);
}

#[test]
fn a_session_in_any_pieces_is_the_same() {
    let bytes = session().0;
    let mut world = world_with(|settings| settings.limits.handshake_timeout_ms = 60_000);
    for cut in 1..bytes.len() {
        let client = world.connect();
        world.send(client, &bytes[..cut]);
        let received = world.ask(client, &bytes[cut..]);
        check_session(
            &received_all(&mut world, client, received),
            &format!("cut at {cut}"),
        );
    }
    let client = world.connect();
    for byte in &bytes {
        world.send(client, [*byte]);
    }
    check_session(&world.take(client), "byte by byte");
}

fn received_all(world: &mut World, client: super::http_world::Client, first: Vec<u8>) -> Vec<u8> {
    world.run(20);
    [first, world.take(client)].concat()
}

/// RFC 9112 §9.3.
#[test]
fn a_connection_goes_on_where_both_are_willing() {
    for (head, goes_on) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", true),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            false,
        ),
        (
            "GET /no HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            false,
        ),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ("DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", true),
    ] {
        let mut world = world();
        let client = world.connect();
        let twice = [head, &get("/health")].concat();
        let received = world.ask(client, twice);
        let (answers, rest) = answers(&received, &["GET", "GET"]);
        assert_eq!(answers.len(), 1 + usize::from(goes_on), "{head}");
        assert!(rest.is_empty(), "{head}");
        let says_close = answers[0].head.contains("Connection: close\r\n");
        assert_eq!(says_close, !goes_on, "{}", answers[0].head);
        assert_eq!(world.has_fin(client), !goes_on, "{head}");
    }
}

#[test]
fn the_last_request_of_a_connection_says_so() {
    let mut world = world_with(|s| s.limits.http_requests_per_connection_max = 3);
    let client = world.connect();
    let received = world.ask(client, get("/health").repeat(5));
    let (answers, rest) = answers(&received, &["GET"; 5]);
    let closes = answers
        .iter()
        .map(|answer| answer.head.contains("Connection: close"));
    assert_eq!(closes.collect::<Vec<_>>(), [false, false, true]);
    assert!(rest.is_empty() && world.has_fin(client));
    // Off.
    let mut world = world_with(|s| s.limits.http_keep_alive_timeout_ms = 0);
    let client = world.connect();
    let received = world.ask(client, get("/health").repeat(2));
    assert_eq!(answers_count(&received), 1);
    assert!(world.has_fin(client));
}

fn answers_count(received: &[u8]) -> usize {
    answers(received, &["GET"; 100]).0.len()
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let mut world = world_with(|s| s.limits.http_keep_alive_timeout_ms = 3_000);
    let client = world.connect();
    for _ in 0..3 {
        assert_eq!(answers_count(&world.ask(client, get("/health"))), 1);
        world.run(2_000);
        // No request begins with it, and no time.
        world.send(client, "\r\n\r\n");
        assert!(!world.has_fin(client));
    }
    world.run(3_000);
    assert!(world.has_fin(client));
    assert_eq!(world.take(client), b"");
    assert_eq!(world.count("http_keep_alive_timeouts_total"), 1);
    assert_eq!(world.count("handshake_timeouts_total"), 0);
}

#[test]
fn each_request_and_each_body_has_its_time() {
    for (begun, more) in [
        ("GET / HT", "T"),
        (
            "POST /test/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n",
            "b",
        ),
        (
            "POST /health HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1\r\nx\r\n",
        ),
    ] {
        let mut world = world_with(|s| s.limits.handshake_timeout_ms = 3_000);
        let client = world.connect();
        world.ask(client, get("/health"));
        world.run(8_000);
        assert_eq!(world.ask(client, begun), b"");
        for _ in 0..2 {
            world.run(1_000);
            assert_eq!(world.ask(client, more), b"", "{begun}");
        }
        world.run(2_500);
        let received = world.take(client);
        let answer = String::from_utf8_lossy(&received);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{begun}: {answer}");
        assert!(world.has_fin(client), "{begun}");
        assert_eq!(world.count("handshake_timeouts_total"), 1, "{begun}");
    }
}

/// RFC 9112 §6.3: the answer says what is wrong, and what stands behind is no request.
#[test]
fn what_frames_no_body_ends_the_connection() {
    const TE: &str = "Transfer-Encoding: chunked\r\n";
    let smuggled = get("/health");
    for (lines, body, status) in [
        (format!("Content-Length: 5\r\n{TE}"), "0\r\n\r\n", 400),
        (format!("{TE}Content-Length: 5\r\n"), "0\r\n\r\n", 400),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n".to_owned(),
            "hello",
            400,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n".to_owned(),
            "hello",
            400,
        ),
        ("Content-Length: 5, 5\r\n".to_owned(), "hello", 400),
        ("Content-Length: +5\r\n".to_owned(), "hello", 400),
        ("Content-Length: 0x5\r\n".to_owned(), "hello", 400),
        ("Content-Length: -1\r\n".to_owned(), "", 400),
        ("Content-Length: \r\n".to_owned(), "", 400),
        ("Content-Length : 5\r\n".to_owned(), "hello", 400),
        ("X: a\r\n Content-Length: 5\r\n".to_owned(), "hello", 400),
        (
            "Content-Length: 18446744073709551621\r\n".to_owned(),
            "hello",
            413,
        ),
        ("Content-Length: 2001\r\n".to_owned(), "", 413),
        ("Transfer-Encoding: gzip, chunked\r\n".to_owned(), "", 501),
        ("Transfer-Encoding: identity\r\n".to_owned(), "", 501),
        (
            "Transfer-Encoding: xchunked\r\n".to_owned(),
            "0\r\n\r\n",
            400,
        ),
        (
            "Transfer-Encoding : chunked\r\n".to_owned(),
            "0\r\n\r\n",
            400,
        ),
        (format!("{TE}{TE}"), "0\r\n\r\n", 400),
        (TE.to_owned(), "5\nhello\r\n0\r\n\r\n", 400),
        (TE.to_owned(), "5\r\nhelloX", 400),
        (TE.to_owned(), "-5\r\n", 400),
        (TE.to_owned(), "7d1\r\n", 413),
        (TE.to_owned(), "ffffffffffffffff\r\n", 413),
        (TE.to_owned(), "0\r\nA: b\nB: c\r\n\r\n", 400),
        (
            "Expect: something\r\nContent-Length: 5\r\n".to_owned(),
            "hello",
            417,
        ),
        ("Host: other\r\n".to_owned(), "", 400),
        (
            "Upgrade: websocket\r\nContent-Length: 5\r\n".to_owned(),
            "hello",
            400,
        ),
    ] {
        let mut world = world_with(|settings| settings.limits.message_bytes_max = 2_000);
        for path in ["/health", "/nothing", "/test/echo"] {
            for is_kept in [false, true] {
                let client = world.connect();
                if is_kept {
                    world.ask(client, get("/health"));
                }
                let method = if lines.starts_with("Upgrade") {
                    "GET"
                } else {
                    "POST"
                };
                let head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
                let received = world.ask(client, [&head, body, &smuggled].concat());
                let (answers, rest) = answers(&received, &["POST", "GET"]);
                assert_eq!(statuses(&answers), [status], "{head}{body}");
                assert!(answers[0].head.contains("Connection: close\r\n"), "{head}");
                assert!(rest.is_empty() && world.has_fin(client), "{head}{body}");
            }
        }
    }
    // RFC 9112 §6.1: no chunks in HTTP/1.0. §3.2: a Host in HTTP/1.1.
    for head in [
        "POST /health HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: a b\r\n\r\n",
    ] {
        let mut world = world();
        let client = world.connect();
        let received = world.ask(client, [head, &smuggled].concat());
        assert_eq!(
            statuses(&answers(&received, &["POST", "GET"]).0),
            [400],
            "{head}"
        );
        assert!(world.has_fin(client));
    }
}

#[test]
fn a_body_within_the_limit_is_dropped_or_handed_over() {
    let mut world = world_with(|settings| settings.limits.message_bytes_max = 2_000);
    let (long, client) = ("b".repeat(2_000), world.connect());
    for path in ["/health", "/nothing", "/test/echo", "/echo"] {
        let asked = [post(path, &long), get("/health")].concat();
        let received = world.ask(client, asked);
        let (answers, _) = answers(&received, &["POST", "GET"]);
        assert_eq!(answers.len(), 2, "{path}");
        let echoed = path == "/test/echo";
        assert_eq!(answers[0].body == long.as_bytes(), echoed, "{path}");
        assert_eq!(answers[1].body, b"ok\n", "{path}");
    }
}

/// RFC 9110 §10.1.1.
#[test]
fn a_client_that_waits_for_a_word_gets_it() {
    let expect = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut world = world();
    let client = world.connect();
    let received = world.ask(client, expect("/test/echo"));
    assert_eq!(received, b"HTTP/1.1 100 Continue\r\n\r\n");
    let received = world.ask(client, "hello");
    assert_eq!(answers(&received, &["POST"]).0[0].body, b"hello");
    // It did not wait.
    let received = world.ask(client, [&expect("/test/echo"), "hello"].concat());
    assert_eq!(answers(&received, &["POST"]).0[0].body, b"hello");
    let received = world.ask(client, [&expect("/health"), "hello"].concat());
    assert_eq!(answers(&received, &["POST"]).0[0].status, 405);
    assert!(!world.has_fin(client));
    // No path wants the body: it is not asked for, and may come or not.
    let received = world.ask(client, expect("/health"));
    let (answers, rest) = answers(&received, &["POST"]);
    assert_eq!(statuses(&answers), [405]);
    assert!(rest.is_empty() && world.has_fin(client));
}

/// A client that sends more requests than it reads answers is not read any more, and what it has sent is
/// answered when it reads.
#[test]
fn a_client_that_does_not_read_holds_up_itself() {
    const REQUESTS: usize = 400;
    let faults = SimFaults {
        window_bytes: 4_096..=4_096,
        ..SimFaults::none()
    };
    for path in ["/health", "/test/long/20000"] {
        let mut world = World::on(Settings::for_tests(), faults.clone());
        let client = world.connect();
        world.set_reading(client, false);
        let mut asked = get(path).repeat(REQUESTS).into_bytes();
        let mut most = 0;
        for piece in asked.chunks_mut(1_000) {
            world.send(client, piece);
            let held = world.reactor.memory_held();
            most = most.max(held);
        }
        let answer = if path == "/health" { 4_096 } else { 24_096 };
        assert!(
            most < answer + 2 * 4_096 + 8_192,
            "{path}: {most} bytes were held"
        );
        world.set_reading(client, true);
        let (mut received, mut quiet) = (Vec::new(), 0);
        while quiet < 50 {
            world.run(10);
            let more = world.take(client);
            quiet = if more.is_empty() { quiet + 1 } else { 0 };
            received.extend(more);
        }
        let (answers, rest) = answers(&received, &["GET"; REQUESTS]);
        assert_eq!(answers.len(), REQUESTS, "{path}");
        assert!(rest.is_empty() && answers.iter().all(|answer| *answer == answers[0]));
        assert_eq!(world.count("input_buffered_bytes"), 0, "{path}");
        assert_eq!(answers_count(&world.ask(client, get("/health"))), 1);
    }
}

/// A client that sends its last request and FIN gets all its answers.
#[test]
fn requests_before_a_fin_are_answered() {
    let mut world = world();
    let client = world.connect();
    let asked = [get("/test/long/20000").repeat(20), get("/health")].concat();
    world.send(client, asked);
    world.send_fin(client);
    world.run(200);
    let received = world.take(client);
    let (answers, rest) = answers(&received, &["GET"; 21]);
    assert_eq!(answers.len(), 21);
    assert_eq!(answers[20].body, b"ok\n");
    assert!(rest.is_empty() && world.phase(client).is_none());
}

/// Other protocols are told by the first bytes of a connection, not by those of a later request.
#[test]
fn a_later_request_is_not_taken_for_another_protocol() {
    let mut world = world();
    let client = world.connect();
    world.ask(client, get("/health"));
    let received = world.ask(client, "SSH-2 /no HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(statuses(&answers(&received, &["GET"]).0), [404]);
    assert_eq!(world.count("other_protocol_total"), 0);
    let first = world.connect();
    world.ask(first, "SSH-2 / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(world.count("other_protocol_total"), 1);
}

#[test]
fn a_drain_ends_connections_between_requests() {
    let mut world = world();
    let (idle, begun, body) = (world.connect(), world.connect(), world.connect());
    for client in [idle, begun, body] {
        world.ask(client, get("/health"));
    }
    world.send(begun, "GET / HT");
    world.send(
        body,
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
    );
    world.begin_drain();
    world.run(50);
    assert_eq!(world.take(idle), b"");
    for client in [begun, body] {
        let received = world.take(client);
        let (answers, _) = answers(&received, &["GET"]);
        assert_eq!(statuses(&answers), [503]);
        assert!(answers[0].head.contains("Connection: close\r\n"));
    }
    assert!(
        [idle, begun, body]
            .iter()
            .all(|&client| world.has_fin(client))
    );
}

/// What is kept of a connection goes with it, and with its turn to a WebSocket.
#[test]
fn nothing_is_kept_of_a_connection_that_speaks_http_no_more() {
    let mut world = world();
    let client = world.connect();
    world.ask(client, get("/health"));
    let kept = |world: &World| world.reactor.core.connections.exchanges().get(0).answered;
    assert_eq!(kept(&world), 1);
    world.ask(client, websocket_request("/raw/room"));
    assert_eq!((world.phase(client), kept(&world)), (Some(Phase::Open), 0));
    let next = world.connect();
    world.ask(next, get("/health"));
    world.abort(next);
    assert_eq!(
        world.reactor.core.connections.exchanges().get(1).answered,
        0
    );
}

#[test]
fn a_reload_changes_how_many_connections_an_address_may_begin() {
    let mut world = world();
    let status = |world: &mut World| {
        let client = world.connect();
        world.send(client, get("/health"));
        world.run(20);
        let (answers, _) = answers(&world.take(client), &["GET"]);
        statuses(&answers)
    };
    for _ in 0..10 {
        assert_eq!(status(&mut world), [200]);
    }
    world.reload(|settings| {
        settings.limits.connects_per_address_per_second_max = 1;
        settings.limits.client_burst_ms = 1_000;
    });
    let begun = [(); 4].map(|()| status(&mut world));
    assert_eq!(begun[1..], [[429], [429], [429]], "{begun:?}");
    assert!(world.count("refused_connect_rate_total") >= 3);
    world.reload(|settings| settings.limits.connects_per_address_per_second_max = 0);
    assert_eq!(status(&mut world), [200]);
}
