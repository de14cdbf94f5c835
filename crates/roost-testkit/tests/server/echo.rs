//! `/echo` sends each message back.

use roost_testkit::client::{Checked, Frame};
use roost_testkit::server::{Backend, TestServer};

roost_testkit::on_each_backend!(
    all_sizes_come_back,
    many_clients_at_once,
    answers_to_one_who_reads_late,
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
