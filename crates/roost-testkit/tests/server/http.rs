//! What is answered to requests that open no WebSocket.

use roost_reactor::{Origins, Page};
use roost_testkit::client::{Checked, Client, Failure, Request, Response};
use roost_testkit::server::{Backend, TestServer};

roost_testkit::on_each_backend!(
    each_path_has_its_answer,
    a_reason_stands_in_the_body,
    stats_count,
    pages_are_served,
    head_has_the_length_and_no_body,
    other_origins_are_forbidden,
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
        ("/", 404, 404),
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
        ("/stats", 200, 404),
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
        (405, Some("GET"))
    );
    Ok(())
}

fn a_reason_stands_in_the_body(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let request = Request::websocket("h", "/echo");
    for (request, reason) in [
        (request.clone().without("Host"), "no Host header\n"),
        (
            request.clone().without("Sec-WebSocket-Key"),
            "no Sec-WebSocket-Key header\n",
        ),
        (
            request
                .clone()
                .replace("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"),
            "Sec-WebSocket-Version must be 13\n",
        ),
        (Request::get("h", "/raw/"), "channel name is empty\n"),
        (
            Request::get("h", "/raw/%e2%28"),
            "channel name is not UTF-8\n",
        ),
        (Request::get("h", "/nothing"), "no such path\n"),
        (Request::get("h", "/echo"), "this path speaks WebSocket\n"),
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

fn stats_count(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut client = server.open("/echo")?;
    client.send_text("counted")?;
    client.expect_text("counted")?;
    let (response, body) = ask(&server, &Request::get("h", "/stats"))?;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("Content-Type"), Some("application/json"));
    assert_eq!(response.header("Cache-Control"), Some("no-store"));
    let stats: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(stats["reactors"], 2);
    assert_eq!(stats["websockets_open"], 1);
    assert_eq!(stats["text_messages_received_total"], 1);

    let hidden = TestServer::with(backend, 1, |settings| settings.stats = false);
    assert_eq!(status(&hidden, &Request::get("h", "/stats"))?, 404);
    Ok(())
}

fn pages_are_served(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| settings.pages = vec![PAGE]);
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
    let server = TestServer::with(backend, 1, |settings| settings.pages = vec![PAGE]);
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

fn other_origins_are_forbidden(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        let origins = ["https://a.example", "http://localhost:8080"].map(str::to_owned);
        settings.origins = Origins::Listed(origins.into());
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
