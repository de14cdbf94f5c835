//! `/echo` sends each message back.

use std::sync::Arc;

use roost_testkit::client::{Checked, Client, Frame, Message, Request};
use roost_testkit::server::{Backend, TestServer};

roost_testkit::on_each_backend!(
    all_sizes_come_back,
    many_clients_at_once,
    answers_to_one_who_reads_late,
    the_subprotocol_configured_is_selected,
    goodbye_is_sent_back_and_closes,
    code_and_reason_of_a_close_come_back,
);

fn all_sizes_come_back(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut client = server.open("/echo")?;
    for bytes in [
        0,
        1,
        2,
        125,
        126,
        4095,
        4096,
        16 << 10,
        65535,
        65536,
        100_000,
        1 << 20,
        5 << 20,
    ] {
        let payload: Vec<u8> = (0..bytes).map(|n| (n % 253) as u8).collect();
        client.send_binary(&payload)?;
        client.expect_binary(&payload)?;
    }
    client.close()?;
    assert_eq!(server.count("binary_messages_received_total"), 13);
    Ok(())
}

fn many_clients_at_once(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(server.open("/echo")?);
    }
    server.wait_for_count("websockets_open", |open| open == 200);
    for round in 0..5 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send_text(&format!("{round} {number}"))?;
        }
        for (number, client) in clients.iter_mut().enumerate() {
            client.expect_text(&format!("{round} {number}"))?;
        }
    }
    for client in clients {
        client.close()?;
    }
    server.wait_for_count("connections_open", |open| open == 0);
    Ok(())
}

/// Answers wait in the outbox while the client does not read, and come in order and whole.
fn answers_to_one_who_reads_late(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut client = server.open("/echo")?;
    let payload = |number: u32| {
        let mut payload = vec![(number % 251) as u8; 50_000];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        payload
    };
    // 20 MB: more than the kernel's buffers hold.
    for number in 0..400 {
        client.send_frame(&Frame::binary(payload(number)))?;
    }
    server.wait_for_count("outbox_bytes", |bytes| bytes > 0);
    for number in 0..400 {
        client.expect_binary(&payload(number))?;
    }
    client.close()?;
    server.wait_for_count("outbox_bytes", |bytes| bytes == 0);
    Ok(())
}

fn the_subprotocol_configured_is_selected(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        Arc::make_mut(&mut settings.dialects.echo).subprotocol = Some("echo".to_owned());
    });
    for (offer, expected) in [
        ("echo", Some("echo")),
        ("chat, echo", Some("echo")),
        ("chat", None),
    ] {
        let mut client = Client::connect(server.address())?;
        let offer = format!("Sec-WebSocket-Protocol: {offer}");
        let response = client.shake_hands(&Request::websocket("h", "/echo").header(offer))?;
        assert_eq!(response.header("Sec-WebSocket-Protocol"), expected);
    }
    server.wait_for_count("subprotocols_unmatched_total", |count| count == 1);
    Ok(())
}

fn goodbye_is_sent_back_and_closes(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        Arc::make_mut(&mut settings.dialects.echo).goodbye = "Goodbye".to_owned();
    });
    let mut client = server.open("/echo")?;
    for text in ["goodbye", "Goodbye!", ""] {
        client.send_text(text)?;
        client.expect_text(text)?;
    }
    client.send_binary(b"Goodbye")?;
    client.expect_binary(b"Goodbye")?;
    client.send_frames(&[Frame::text("Goodbye"), Frame::text("not answered")])?;
    client.expect_text("Goodbye")?;
    assert_eq!(client.receive()?, Message::Close(Some(1000), String::new()));
    client.send_close(1000, "")?;
    client.expect_fin()?;
    drop(client);
    server.wait_for_count("connections_open", |open| open == 0);

    let without = TestServer::start(backend);
    let mut client = without.open("/echo")?;
    client.send_text("Goodbye")?;
    client.expect_text("Goodbye")?;
    client.send_text("")?;
    client.expect_text("")?;
    client.close()?;
    Ok(())
}

/// In every dialect: RFC 6455 §5.5.1 speaks of the code; browsers' own tests want the reason too.
fn code_and_reason_of_a_close_come_back(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    for path in ["/echo", "/raw/room"] {
        for (code, reason) in [(1000, "bye"), (4999, "κόσμε"), (3000, "")] {
            let mut client = server.open(path)?;
            client.send_close(code, reason)?;
            let expected = Message::Close(Some(code), reason.to_owned());
            assert_eq!(client.receive()?, expected, "{path}");
        }
    }
    Ok(())
}
