//! Deadlines and limits of ordinary size, kept.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use roost_testkit::client::{
    Checked, Client, ConnectOptions, Failure, Frame, Message, Received, Request, opcode,
};
use roost_testkit::server::{Backend, TestServer};

roost_testkit::on_each_backend!(
    a_quiet_client_is_pinged_and_one_that_answers_stays,
    one_that_does_not_answer_a_ping_is_cut,
    an_idle_client_is_closed,
    a_ping_is_answered_until_the_clients_close_frame,
    messages_keep_from_being_idle,
    beyond_connections_max_new_connections_are_reset,
    each_address_has_its_share,
    beyond_handshakes_in_flight_max_new_connections_wait,
    a_message_above_the_limit_is_too_big,
);

fn a_quiet_client_is_pinged_and_one_that_answers_stays(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.ping_interval_ms = 200;
        settings.limits.ping_timeout_ms = 2_000;
    });
    let mut client = server.open("/echo")?;
    for _ in 0..3 {
        match client.receive_any()? {
            Received::Frame(frame) if frame.opcode == opcode::PING => {
                client.send_frame(&Frame::pong(&frame.payload))?;
            }
            received => panic!("expected a ping, received {received:?}"),
        }
    }
    client.close()?;
    assert!(server.count("pings_sent_total") >= 3);
    assert_eq!(server.count("ping_timeouts_total"), 0);
    Ok(())
}

fn one_that_does_not_answer_a_ping_is_cut(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.ping_interval_ms = 200;
        settings.limits.ping_timeout_ms = 300;
    });
    let mut client = server.open("/echo")?;
    assert!(
        matches!(client.receive_any()?, Received::Frame(frame) if frame.opcode == opcode::PING)
    );
    client.expect_reset()?;
    server.wait_for_count("ping_timeouts_total", |count| count == 1);
    server.wait_for_count("connections_open", |open| open == 0);
    Ok(())
}

fn an_idle_client_is_closed(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.idle_timeout_ms = 400;
        settings.limits.ping_interval_ms = 100;
    });
    let mut client = server.open("/echo")?;
    let begun = Instant::now();
    // Pings and pongs on the way are no messages.
    assert_eq!(
        client.receive()?,
        Message::Close(Some(1001), "idle for too long".to_owned())
    );
    assert!(
        begun.elapsed() >= Duration::from_millis(300),
        "closed early"
    );
    client.send_close(1001, "")?;
    client.expect_fin()?;
    assert_eq!(server.count("idle_timeouts_total"), 1);
    Ok(())
}

/// RFC 6455 §5.5.2: a ping is answered unless a close frame was received; that we have sent one
/// changes nothing.
fn a_ping_is_answered_until_the_clients_close_frame(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.idle_timeout_ms = 200;
        settings.limits.close_timeout_ms = 20_000;
    });
    let mut client = server.open("/echo")?;
    assert_eq!(client.expect_close(1001)?, "idle for too long");
    for payload in ["once", "twice"] {
        client.send_frame(&Frame::ping(payload))?;
        client.expect_pong(payload.as_bytes())?;
    }
    // The answer to a message is data, and that it may not send any more.
    client.send_text("too late")?;
    client.send_frame(&Frame::ping("thrice"))?;
    client.expect_pong(b"thrice")?;
    client.send_frames(&[Frame::close(1001, b""), Frame::ping("behind")])?;
    client.expect_fin()?;
    Ok(())
}

fn messages_keep_from_being_idle(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.idle_timeout_ms = 3_000
    });
    let mut talker = server.open("/raw/talk")?;
    let mut subscriber = server.open("/raw/talk")?;
    // Both directions count: one only sends, the other only receives.
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(200));
        talker.send_text("still talking")?;
        subscriber.expect_text("still talking")?;
    }
    assert_eq!(server.count("idle_timeouts_total"), 0);
    Ok(())
}

fn beyond_connections_max_new_connections_are_reset(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| settings.connections_max = 5);
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(server.open("/echo")?);
    }
    for _ in 0..3 {
        expect_refused(Client::connect(server.address()))?;
    }
    assert_eq!(server.count("refused_connections_max_total"), 3);
    clients.pop();
    server.wait_for_count("connections_open", |open| open == 4);
    server.open("/echo")?.close()?;
    for client in clients {
        client.close()?;
    }
    Ok(())
}

/// The RST may come before connecting has ended.
fn expect_refused(client: Result<Client, Failure>) -> Result<(), Failure> {
    match client {
        Ok(mut client) => client.expect_reset(),
        Err(failure) if failure.to_string().contains("reset") => Ok(()),
        Err(failure) => Err(failure),
    }
}

fn from(server: &TestServer, last: u8) -> Result<Client, Failure> {
    let local = Some(IpAddr::from([127, 0, 0, last]));
    let options = ConnectOptions {
        local,
        ..ConnectOptions::default()
    };
    Client::connect_with(server.address(), options)
}

fn each_address_has_its_share(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.connections_per_address_max = 2;
    });
    let request = Request::websocket("h", "/echo");
    let mut clients = Vec::new();
    for last in [2, 2, 3, 3] {
        let mut client = from(&server, last)?;
        client.shake_hands(&request)?;
        clients.push(client);
    }
    expect_refused(from(&server, 2))?;
    expect_refused(from(&server, 3))?;
    assert_eq!(server.count("refused_per_address_total"), 2);
    clients.remove(0).close()?;
    server.wait_for_count("connections_open", |open| open == 3);
    from(&server, 2)?.shake_hands(&request)?;
    Ok(())
}

fn beyond_handshakes_in_flight_max_new_connections_wait(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.handshakes_in_flight_max = 4;
        settings.limits.handshake_timeout_ms = 60_000;
    });
    let mut open = server.open("/echo")?;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(Client::connect(server.address())?);
    }
    server.wait_for_count("handshakes_in_flight", |count| count == 4);
    let mut waiting = Client::connect(server.address())?;
    waiting.send(&Request::websocket("h", "/echo").bytes())?;
    waiting.expect_silence(Duration::from_millis(100))?;
    // Open connections do not wait.
    open.send_text("served")?;
    open.expect_text("served")?;
    silent.pop();
    assert_eq!(waiting.read_response()?.status, 101);
    Ok(())
}

fn a_message_above_the_limit_is_too_big(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.frame_bytes_max = 1000;
        settings.limits.message_bytes_max = 2000;
    });
    let mut client = server.open("/echo")?;
    client.send_binary(&[1; 1000])?;
    client.expect_binary(&[1; 1000])?;
    client.send(&Frame::binary("").declare(1001).bytes())?;
    assert_eq!(
        client.expect_close(1009)?,
        "The frame is larger than the receiver's limit."
    );

    let mut client = server.open("/echo")?;
    client.send_frames(&[
        Frame::binary([1; 1000]).unfinished(),
        Frame::continuation([2; 1000]).unfinished(),
        Frame::continuation([3; 1]),
    ])?;
    assert_eq!(
        client.expect_close(1009)?,
        "The message is larger than the receiver's limit."
    );
    assert_eq!(server.count("protocol_errors_total"), 2);
    Ok(())
}
