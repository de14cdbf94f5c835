//! Going down.

use std::net::TcpStream;
use std::time::Instant;

use roost_testkit::client::{Checked, Client, Request};
use roost_testkit::server::{Backend, TestServer, wait_until};

roost_testkit::on_each_backend!(
    every_client_gets_1001,
    what_was_on_its_way_arrives,
    who_does_not_answer_is_cut,
    a_balancer_is_told_while_it_drains,
);

fn every_client_gets_1001(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(server.open("/echo")?);
    }
    let mut half = Client::connect(server.address())?;
    half.send(b"GET / HTTP/1.1\r\n")?;
    server.wait_for_count("handshakes_in_flight", |count| count == 1);
    server.begin_stop(20_000);
    assert_eq!(half.read_response()?.status, 503);
    for client in &mut clients {
        assert_eq!(client.expect_close(1001)?, "server is going down");
        client.send_close(1001, "")?;
        client.expect_fin()?;
    }
    // New connections are refused or reset.
    wait_until(
        || {
            let Ok(stream) = TcpStream::connect(server.address()) else {
                return true;
            };
            drop(stream);
            false
        },
        || "the port is still open".to_owned(),
    );
    drop((clients, half));
    let begun = Instant::now();
    server.wait_stopped();
    assert!(
        begun.elapsed().as_secs() < 15,
        "it waited for its deadline without connections"
    );
    Ok(())
}

fn what_was_on_its_way_arrives(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut from = server.open("/raw/last")?;
    let mut to = server.open("/raw/last")?;
    from.send_text("last words")?;
    server.wait_for_count("publishes_total", |count| count == 1);
    server.begin_stop(20_000);
    to.expect_text("last words")?;
    to.expect_close(1001)?;
    from.expect_close(1001)?;
    drop((from, to));
    server.wait_stopped();
    Ok(())
}

/// A check whose connection came before the stop: its request is answered with 503, whenever in the
/// stop it comes; a later one finds the port closed.
fn a_balancer_is_told_while_it_drains(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut open = server.open("/echo")?; // keeps the drain going
    let mut checks = Vec::new();
    for head in [
        "GET /health HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\n",
    ] {
        let mut client = Client::connect(server.address())?;
        client.send(head.as_bytes())?;
        checks.push(client);
    }
    server.wait_for_count("handshakes_in_flight", |count| count == 3);
    server.begin_stop(20_000);
    open.expect_close(1001)?; // it drains
    for client in &mut checks {
        client.send_anyway(b"Host: h\r\n\r\n");
        assert_eq!(client.read_response()?.status, 503);
    }
    drop((open, checks));
    server.wait_stopped();
    Ok(())
}

fn who_does_not_answer_is_cut(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.close_timeout_ms = 60_000
    });
    let mut silent = server.open("/echo")?;
    let mut stalled = Client::connect(server.address())?;
    stalled.send(&Request::websocket("h", "/echo").bytes())?;
    server.wait_for_count("websockets_open", |count| count == 2);
    server.begin_stop(300);
    silent.expect_close(1001)?;
    let begun = Instant::now();
    server.wait_stopped();
    assert!(
        begun.elapsed().as_secs() < 20,
        "the drain outlived its deadline"
    );
    silent.expect_end()?;
    Ok(())
}
