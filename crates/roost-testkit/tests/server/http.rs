//! What is answered to requests that open no WebSocket.

use std::sync::Arc;
use std::time::Duration;

use roost_reactor::{Origins, Page, Subprotocols};
use roost_testkit::client::{ACCEPT, Checked, Client, Failure, Frame, Request, Response};
use roost_testkit::server::{Backend, TestServer};

roost_testkit::on_each_backend!(
    each_path_has_its_answer,
    a_reason_stands_in_the_body,
    pages_are_served,
    head_has_the_length_and_no_body,
    other_origins_are_forbidden,
    balancers_are_told_that_it_serves,
    the_health_path_is_where_it_is_configured,
    subprotocols_that_raw_serves_are_selected,
    a_subprotocol_that_is_not_served_is_counted,
    an_empty_list_of_subprotocols_is_none,
    the_path_decides_before_the_subprotocol,
    the_connection_ends_behind_the_answer,
    the_connection_goes_on_behind_a_plain_answer,
    a_session_cut_anywhere_is_the_same,
    bodies_end_where_they_say,
    a_client_that_asks_first_is_told_to_send_its_body,
    requests_that_are_not_read_for_a_while_are_all_answered,
);

fn ask(server: &TestServer, request: &Request) -> Result<(Response, String), Failure> {
    let mut client = Client::connect(server.address())?;
    client.send(&request.bytes())?;
    let response = client.read_response()?;
    let body = client.read_body(&response)?;
    Ok((response, String::from_utf8_lossy(&body).into_owned()))
}

fn status(server: &TestServer, request: &Request) -> Result<u16, Failure> {
    Ok(ask(server, request)?.0.status)
}

fn each_path_has_its_answer(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    for (path, plain, websocket) in [
        ("/", 200, 404),
        ("/health", 200, 404),
        ("/nothing", 404, 404),
        ("/echo", 426, 101),
        ("/echo/", 404, 404),
        ("/raw/room", 426, 101),
        ("/raw/room?query", 426, 101),
        ("/raw/", 400, 400),
        ("/raw", 400, 400),
        ("/raw/%zz", 400, 400),
        ("/raw/%00", 400, 400),
        ("/raw/%ff", 400, 400),
        ("/wamp", 426, 101),
        ("/stats", 404, 404),
    ] {
        assert_eq!(
            status(&server, &Request::get("h", path))?,
            plain,
            "GET {path}"
        );
        let mut client = Client::connect(server.address())?;
        client.send(&Request::websocket("h", path).bytes())?;
        assert_eq!(
            client.read_response()?.status,
            websocket,
            "WebSocket {path}"
        );
    }
    let long = format!("/raw/{}", "n".repeat(256));
    assert_eq!(status(&server, &Request::get("h", &long))?, 400);
    let post = Request::get("h", "/echo").line("POST /echo HTTP/1.1");
    let (response, _) = ask(&server, &post)?;
    assert_eq!(
        (response.status, response.header("Allow")),
        (405, Some("GET, HEAD, OPTIONS"))
    );
    Ok(())
}

fn a_reason_stands_in_the_body(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let request = Request::websocket("h", "/echo");
    for (request, reason) in [
        (
            request.clone().without("Host"),
            "The request has no Host header; HTTP/1.1 requires one.\n",
        ),
        (
            request.clone().without("Sec-WebSocket-Key"),
            "A request for a WebSocket needs a Sec-WebSocket-Key header.\n",
        ),
        (
            request
                .clone()
                .replace("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"),
            "A request for a WebSocket needs \"Sec-WebSocket-Version: 13\", \
             the only version that this server speaks.\n",
        ),
        (
            Request::get("h", "/raw/"),
            "The channel's name is empty; it needs a character at least.\n",
        ),
        (
            Request::get("h", "/raw/%e2%28"),
            "The channel's name must be UTF-8 once it is percent-decoded.\n",
        ),
        (
            Request::get("h", "/nothing"),
            "This server has nothing at this path.\n",
        ),
        (
            Request::get("h", "/echo"),
            "This path speaks WebSocket: the request needs \"Upgrade: websocket\" and \
             \"Connection: Upgrade\". Behind a proxy, have it forward the headers Upgrade and \
             Connection.\n",
        ),
    ] {
        let (response, body) = ask(&server, &request)?;
        assert_eq!(body, reason);
        assert_eq!(
            response.header("Content-Type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(response.all("Content-Length").len(), 1);
    }
    server.wait_for_count("handshakes_refused_total", |count| count == 7);
    Ok(())
}

fn pages_are_served(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].pages = vec![PAGE]
    });
    let (response, body) = ask(&server, &Request::get("h", "/"))?;
    assert_eq!((response.status, body.len()), (200, PAGE.body.len()));
    assert_eq!(
        response.header("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(
        response.header("Content-Security-Policy"),
        Some("default-src 'none'")
    );
    assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
    let post = Request::get("h", "/").line("POST / HTTP/1.1");
    assert_eq!(status(&server, &post)?, 405);
    Ok(())
}

fn head_has_the_length_and_no_body(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].pages = vec![PAGE]
    });
    let mut client = Client::connect(server.address())?;
    client.send(&Request::get("h", "/").line("HEAD / HTTP/1.1").bytes())?;
    let response = client.read_response()?;
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("Content-Length"),
        Some(PAGE.body.len().to_string().as_str())
    );
    serves_on(&mut client)
}

/// By GET, HEAD and OPTIONS, with the heads that balancers send.
fn balancers_are_told_that_it_serves(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let heads = [
        ("GET /health HTTP/1.1\r\nHost: h\r\n\r\n", "ok\n"),
        (
            "GET /health?from=balancer HTTP/1.1\r\nHost: h\r\n\r\n",
            "ok\n",
        ),
        ("GET /health HTTP/1.0\r\n\r\n", "ok\n"),
        ("HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n", ""),
        // HAProxy: `option httpchk`.
        ("OPTIONS / HTTP/1.0\r\n\r\n", ""),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", ""),
        ("OPTIONS /echo HTTP/1.1\r\nHost: h\r\n\r\n", ""),
    ];
    for (head, expected) in heads {
        let mut client = Client::connect(server.address())?;
        client.send(head.as_bytes())?;
        let response = client.read_response()?;
        assert_eq!(response.status, 200, "{head}");
        if head.starts_with("OPTIONS") {
            assert_eq!(response.header("Allow"), Some("GET, HEAD, OPTIONS"));
            assert_eq!(response.header("Content-Length"), Some("0"));
        } else {
            assert_eq!(response.header("Cache-Control"), Some("no-store"));
            assert_eq!(response.header("Content-Length"), Some("3"));
        }
        if !expected.is_empty() {
            assert_eq!(client.read_body(&response)?, expected.as_bytes());
        }
        match response.header("Connection") {
            Some(_) => client.expect_fin()?,
            None => serves_on(&mut client)?,
        }
    }
    for head in [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "HEAD / HTTP/1.0\r\n\r\n",
    ] {
        let mut client = Client::connect(server.address())?;
        client.send(head.as_bytes())?;
        assert_eq!(client.read_response()?.status, 200, "{head}");
    }
    // Those of HTTP/1.1 asked twice.
    let asked = (2 * heads.len() - 2) as u64;
    server.wait_for_count("health_checks_total", |count| count == asked);
    assert_eq!(server.count("handshakes_refused_total"), 0);
    let post = Request::get("h", "/health").line("POST /health HTTP/1.1");
    assert_eq!(status(&server, &post)?, 405);
    let put = Request::get("h", "/").line("PUT / HTTP/1.1");
    assert_eq!(status(&server, &put)?, 405);
    Ok(())
}

fn the_health_path_is_where_it_is_configured(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].config.health_path = "/-/up".to_owned();
    });
    assert_eq!(status(&server, &Request::get("h", "/-/up"))?, 200);
    assert_eq!(status(&server, &Request::get("h", "/health"))?, 404);
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].config.health_path.clear()
    });
    assert_eq!(status(&server, &Request::get("h", "/health"))?, 404);
    assert_eq!(status(&server, &Request::get("h", "/"))?, 200);
    assert_eq!(server.count("health_checks_total"), 0);
    Ok(())
}

/// The subprotocol selected for a client that offers this.
fn selected(server: &TestServer, path: &str, offer: &str) -> Result<Option<String>, Failure> {
    let mut client = Client::connect(server.address())?;
    let offer = format!("Sec-WebSocket-Protocol: {offer}");
    let response = client.shake_hands(&Request::websocket("h", path).header(offer))?;
    Ok(response.header("Sec-WebSocket-Protocol").map(str::to_owned))
}

fn subprotocols_that_raw_serves_are_selected(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        let names = ["chat.v1", "chat.v2"].map(str::to_owned);
        let raw = Arc::make_mut(&mut settings.dialects.raw);
        raw.subprotocols = Subprotocols::from_list(names);
    });
    for (offer, expected) in [
        ("roost.raw", Some("roost.raw")),
        ("x, roost.raw", Some("roost.raw")),
        ("chat.v2, chat.v1", Some("chat.v2")),
        ("chat.v3", None),
    ] {
        let selected = selected(&server, "/raw/room", offer)?;
        assert_eq!(selected.as_deref(), expected, "{offer}");
    }
    Ok(())
}

/// RFC 6455 §4.2.2: the WebSocket opens without one.
fn a_subprotocol_that_is_not_served_is_counted(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    assert_eq!(selected(&server, "/raw/room", "x")?, None);
    assert_eq!(selected(&server, "/echo", "roost.raw")?, None);
    server.wait_for_count("subprotocols_unmatched_total", |count| count == 2);
    assert_eq!(
        selected(&server, "/raw/room", "x, roost.raw")?.as_deref(),
        Some("roost.raw")
    );
    server.open("/raw/room")?;
    assert_eq!(server.count("subprotocols_unmatched_total"), 2);
    assert_eq!(server.count("handshakes_refused_total"), 0);
    Ok(())
}

/// Python's websockets sends the empty header for `subprotocols=[]`.
fn an_empty_list_of_subprotocols_is_none(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    for offer in ["", " ", ",", " , ,\t"] {
        assert_eq!(selected(&server, "/raw/room", offer)?, None, "{offer:?}");
    }
    let request = Request::websocket("h", "/echo").header("Sec-WebSocket-Extensions:");
    let mut client = Client::connect(server.address())?;
    client.shake_hands(&request)?;
    assert_eq!(server.count("subprotocols_unmatched_total"), 0);
    Ok(())
}

fn the_path_decides_before_the_subprotocol(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let offer = "Sec-WebSocket-Protocol: soap, wamp.2.json";
    let mut from = Client::connect(server.address())?;
    let response = from.shake_hands(&Request::websocket("h", "/raw/lobby").header(offer))?;
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
    let mut to = server.open("/raw/lobby")?;
    from.send_text("hello")?;
    to.expect_text("hello")?;
    assert_eq!(
        selected(&server, "/ws", "soap, wamp.2.json")?.as_deref(),
        Some("wamp.2.json")
    );
    Ok(())
}

fn other_origins_are_forbidden(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        let origins = ["https://a.example", "http://localhost:8080"].map(str::to_owned);
        settings.listeners[0].origins = Origins::Listed(origins.into());
    });
    for (origin, expected) in [
        ("https://a.example", 101),
        ("http://localhost:8080", 101),
        ("https://localhost:8080", 403),
        ("http://localhost", 403),
        ("null", 403),
    ] {
        let mut client = Client::connect(server.address())?;
        let request = Request::websocket("h", "/echo").header(format!("Origin: {origin}"));
        client.send(&request.bytes())?;
        assert_eq!(client.read_response()?.status, expected, "{origin}");
    }
    Ok(())
}

fn the_connection_ends_behind_the_answer(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    for request in [
        Request::websocket("h", "/echo").without("Sec-WebSocket-Key"),
        Request::websocket("h", "/nothing"),
        Request::get("h", "/nothing").header("Connection: close"),
        Request::get("h", "/nothing").line("GET /nothing HTTP/1.0"),
        Request::get("h", "/nothing").line("GET"),
    ] {
        let mut client = Client::connect(server.address())?;
        let behind = Request::get("h", "/health").bytes();
        client.send(&[request.bytes(), behind].concat())?;
        let response = client.read_response()?;
        assert_eq!(response.header("Connection"), Some("close"), "{request:?}");
        client.read_body(&response)?;
        client.expect_fin()?;
    }
    server.wait_for_count("connections_open", |open| open == 0);
    assert_eq!(server.count("health_checks_total"), 0);
    Ok(())
}

/// Another request on the connection is answered.
fn serves_on(client: &mut Client) -> Checked {
    client.send(&Request::get("h", "/health").bytes())?;
    let response = client.read_response()?;
    assert_eq!(response.status, 200);
    assert_eq!(client.read_body(&response)?, b"ok\n");
    Ok(())
}

fn the_connection_goes_on_behind_a_plain_answer(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].pages = vec![PAGE]
    });
    let mut client = Client::connect(server.address())?;
    for (line, status) in [
        ("GET / HTTP/1.1", 200),
        ("HEAD / HTTP/1.1", 200),
        ("OPTIONS / HTTP/1.1", 200),
        ("POST / HTTP/1.1", 405),
        ("GET /health HTTP/1.1", 200),
        ("HEAD /health HTTP/1.1", 200),
        ("PUT /health HTTP/1.1", 405),
        ("GET /nothing HTTP/1.1", 404),
        ("HEAD /nothing HTTP/1.1", 404),
        ("OPTIONS /nothing HTTP/1.1", 200),
        ("DELETE /nothing HTTP/1.1", 404),
        ("GET /echo HTTP/1.1", 426),
        ("HEAD /raw/ HTTP/1.1", 400),
    ] {
        client.send(&Request::get("h", "/").line(line).bytes())?;
        let response = client.read_response()?;
        assert_eq!(response.status, status, "{line}");
        assert!(response.header("Connection") != Some("close"), "{line}");
        if !line.starts_with("HEAD") {
            client.read_body(&response)?;
        }
        serves_on(&mut client)?;
    }
    let accepted = server.count("connections_accepted_total");
    assert_eq!(accepted, 1, "one connection for all");
    client.shake_hands(&Request::websocket("h", "/echo"))?;
    client.send_text("hello")?;
    client.expect_text("hello")?;
    client.close()?;
    Ok(())
}

/// Requests of a connection, with bodies, and a WebSocket with its first message behind them.
fn session() -> Vec<u8> {
    let mut bytes = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n\
        POST /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\nGET / HTTP/1\
        POST /health HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\na;b=c\r\n0123456789\r\n0\r\nT: t\r\n\r\n\
        HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
        .to_vec();
    bytes.extend(Request::websocket("h", "/echo").bytes());
    bytes.extend(Frame::text("last").bytes());
    bytes
}

fn expect_session(client: &mut Client) -> Checked {
    for (status, has_body) in [(200, true), (404, true), (405, true), (200, false)] {
        let response = client.read_response()?;
        assert_eq!(response.status, status);
        if has_body {
            client.read_body(&response)?;
        }
    }
    client.read_response()?.check_accepted(ACCEPT)?;
    client.expect_text("last")?;
    Ok(())
}

fn a_session_cut_anywhere_is_the_same(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let bytes = session();
    let mut sent = 0;
    for cut in 1..bytes.len() {
        let mut client = Client::connect(server.address())?;
        client.send(&bytes[..cut])?;
        // The first piece is read before the second goes.
        let first = sent + cut as u64;
        server.wait_for_count("received_bytes_total", |received| received >= first);
        client.send(&bytes[cut..])?;
        sent += bytes.len() as u64;
        expect_session(&mut client)?;
    }
    let mut client = Client::connect(server.address())?;
    client.send_in_pieces(&bytes, 1, Duration::from_millis(1))?;
    expect_session(&mut client)?;
    assert_eq!(server.count("http_requests_total"), 4 * bytes.len() as u64);
    Ok(())
}

fn bodies_end_where_they_say(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.message_bytes_max = 100_000;
    });
    let mut client = Client::connect(server.address())?;
    let post = |lines: &str| format!("POST /health HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    for length in [0, 1, 100_000] {
        client.send(post(&format!("Content-Length: {length}\r\n")).as_bytes())?;
        client.send(&vec![b'b'; length])?;
        let response = client.read_response()?;
        assert_eq!(response.status, 405, "{length}");
        client.read_body(&response)?;
        serves_on(&mut client)?;
    }
    client.send(post("Transfer-Encoding: chunked\r\n").as_bytes())?;
    for _ in 0..100 {
        client.send(b"3e8\r\n")?;
        client.send(&[b'c'; 1_000])?;
        client.send(b"\r\n")?;
    }
    client.send(b"0\r\n\r\n")?;
    let response = client.read_response()?;
    client.read_body(&response)?;
    serves_on(&mut client)?;
    for (lines, body, status) in [
        ("Content-Length: 100001\r\n", "", 413),
        ("Transfer-Encoding: chunked\r\n", "186a1\r\n", 413),
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "",
            400,
        ),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", "", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", "", 501),
        ("Transfer-Encoding: chunked\r\n", "1\nx", 400),
    ] {
        let mut client = Client::connect(server.address())?;
        serves_on(&mut client)?;
        client.send(format!("{}{body}", post(lines)).as_bytes())?;
        let response = client.read_response()?;
        let connection = response.header("Connection");
        assert_eq!((response.status, connection), (status, Some("close")));
        client.read_body(&response)?;
        client.expect_fin()?;
    }
    server.wait_for_count("input_buffered_bytes", |bytes| bytes == 0);
    Ok(())
}

/// As curl does with a long body: no path takes one, and it is told at once.
fn a_client_that_asks_first_is_told_to_send_its_body(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut client = Client::connect(server.address())?;
    let head = "POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\
                Expect: 100-continue\r\n\r\n";
    // With the body right behind, nothing was waited for.
    client.send(format!("{head}hello").as_bytes())?;
    let response = client.read_response()?;
    assert_eq!(response.status, 405);
    client.read_body(&response)?;
    serves_on(&mut client)?;
    client.send(head.as_bytes())?;
    let response = client.read_response()?;
    assert_eq!(response.status, 405, "{:?}", response.header("Connection"));
    assert_eq!(response.header("Connection"), Some("close"));
    client.read_body(&response)?;
    client.expect_fin()?;
    Ok(())
}

/// Pages that find no room in the socket wait, and so do the requests behind them.
fn requests_that_are_not_read_for_a_while_are_all_answered(backend: Backend) -> Checked {
    const REQUESTS: usize = 900;
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].pages = vec![PAGE]
    });
    let mut client = Client::connect(server.address())?;
    client.send(&Request::get("h", "/").bytes().repeat(REQUESTS))?;
    // 27 MB of answers: more than both sockets take.
    server.wait_for_count("http_requests_total", |requests| requests > 10);
    let held = server.count("outbox_bytes") + server.count("in_flight_bytes");
    assert!(held < 200_000, "{held} bytes are held for one client");
    for _ in 0..REQUESTS {
        let response = client.read_response()?;
        assert_eq!(client.read_body(&response)?.len(), PAGE.body.len());
    }
    serves_on(&mut client)
}

const PAGE: Page = Page {
    path: "/",
    content_type: "text/html; charset=utf-8",
    content_security_policy: "default-src 'none'",
    body: &[b'p'; 30_000],
};
