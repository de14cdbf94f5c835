//! What is answered to requests that open no WebSocket.

use std::sync::Arc;

use roost_reactor::{Origins, Page, Subprotocols};
use roost_testkit::client::{Checked, Client, Failure, Request, Response};
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
    client.expect_fin()?;
    Ok(())
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
        client.expect_fin()?;
    }
    for head in [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "HEAD / HTTP/1.0\r\n\r\n",
    ] {
        let mut client = Client::connect(server.address())?;
        client.send(head.as_bytes())?;
        assert_eq!(client.read_response()?.status, 200, "{head}");
    }
    server.wait_for_count("health_checks_total", |count| count == heads.len() as u64);
    assert_eq!(server.count("handshakes_refused_total"), 0);
    let post = Request::get("h", "/health").line("POST /health HTTP/1.1");
    assert_eq!(status(&server, &post)?, 405);
    let put = Request::get("h", "/").line("PUT / HTTP/1.1");
    assert_eq!(status(&server, &put)?, 405);
    Ok(())
}

fn the_health_path_is_where_it_is_configured(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].health_path = "/-/up".to_owned();
    });
    assert_eq!(status(&server, &Request::get("h", "/-/up"))?, 200);
    assert_eq!(status(&server, &Request::get("h", "/health"))?, 404);
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].health_path.clear()
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
    let mut client = Client::connect(server.address())?;
    let get = Request::get("h", "/nothing").bytes();
    client.send(&[get.clone(), get].concat())?;
    let response = client.read_response()?;
    assert_eq!(response.header("Connection"), Some("close"));
    client.read_body(&response)?;
    client.expect_fin()?;
    drop(client);
    server.wait_for_count("connections_open", |open| open == 0);
    Ok(())
}

const PAGE: Page = Page {
    path: "/",
    content_type: "text/html; charset=utf-8",
    content_security_policy: "default-src 'none'",
    body: &[b'p'; 30_000],
};
