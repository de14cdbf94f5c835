//! Clients that send much, and clients that read nothing.

use std::time::{Duration, Instant};

use roost_testkit::client::{Checked, Client, ConnectOptions, Failure, Frame, Message, Request};
use roost_testkit::server::{Backend, DEADLINE, TestServer, wait_until};

use crate::support::{nothing_left, still_serves};

roost_testkit::on_each_backend_and_over_tls!(
    attack_29_ws_rs_cve_2020_35896_answers_nobody_reads,
    attack_30_tokio_tungstenite_286_a_subscriber_that_pings_but_never_reads,
    attack_31_undertow_cve_2021_3690_pongs_leak_nothing,
    attack_32_tyrus_954_pings_while_nobody_reads,
    attack_22_uws_105_much_in_the_outbox_at_the_end,
);

/// A client whose window is small, so that the server soon has to wait.
fn narrow(server: &TestServer, target: &str) -> Result<Client, roost_testkit::client::Failure> {
    let receive_buffer_bytes = Some(4096);
    let options = ConnectOptions {
        receive_buffer_bytes,
        ..ConnectOptions::default()
    };
    let mut client = Client::connect_with(server.address(), options)?;
    client.shake_hands(&Request::websocket("h", target))?;
    Ok(client)
}

/// The out-buffer had no bound.
fn attack_29_ws_rs_cve_2020_35896_answers_nobody_reads(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.outbox_bytes_max = 1 << 20;
        settings.limits.close_timeout_ms = 60_000;
    });
    let mut client = narrow(&server, "/echo")?;
    let message = Frame::binary(vec![1; 60_000]).bytes();
    let begun = Instant::now();
    let mut most = 0;
    // The server may stop listening to it, so what it does not take is not sent.
    while server.count("slow_consumers_total") == 0 {
        assert!(
            begun.elapsed() < DEADLINE,
            "an echo without bound: {most} bytes wait"
        );
        client.push(&message, Duration::from_millis(200));
        most = most.max(server.count("outbox_bytes"));
    }
    assert!(most <= (1 << 20) + 2 * 60_010, "{most} bytes waited");
    // They are dropped, in the same loop iteration: the other counter may be seen before it has ended.
    server.wait_for_count("outbox_bytes", |bytes| bytes <= 1000);
    still_serves(&server)?;
    // What was under way arrives, and then the reason.
    loop {
        match client.receive()? {
            Message::Binary(bytes) => assert_eq!(bytes.len(), 60_000),
            Message::Close(Some(1013), reason) => {
                assert_eq!(reason, "slow consumer: outbox full");
                break;
            }
            other => panic!("received {other:?}"),
        }
    }
    drop(client);
    nothing_left(&server);
    Ok(())
}

/// Answering pings kept it alive while its queue grew; also harness#1996.
fn attack_30_tokio_tungstenite_286_a_subscriber_that_pings_but_never_reads(
    backend: Backend,
) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.outbox_bytes_max = 1 << 20;
        settings.limits.close_timeout_ms = 60_000;
        settings.limits.ping_interval_ms = 100;
    });
    let mut publisher = server.open("/raw/news")?;
    let mut good = server.open("/raw/news")?;
    let mut stalled = narrow(&server, "/raw/news")?;
    let (count, bytes) = (400u32, 50_000);
    let mut most = 0;
    for number in 0..count {
        let mut payload = vec![7; bytes];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        publisher.send_binary(&payload)?;
        good.expect_binary(&payload)?;
        // It is alive, and says so.
        stalled.send_anyway(&Frame::pong("").bytes());
        stalled.send_anyway(&Frame::ping("alive").bytes());
        most = most.max(server.count("outbox_bytes"));
    }
    server.wait_for_count("slow_consumers_total", |count| count == 1);
    assert!(
        most > 0 && most <= (1 << 20) + bytes as u64 + 1000,
        "{most} bytes waited"
    );
    let mut next = 0;
    loop {
        match stalled.receive()? {
            // What it gets is in order and without a gap, and then the reason.
            Message::Binary(payload) => {
                assert_eq!(payload[..4], u32::to_be_bytes(next));
                next += 1;
            }
            Message::Pong(_) => {}
            Message::Close(Some(1013), _) => break,
            other => panic!("received {other:?}"),
        }
    }
    assert!(next < count, "nothing was dropped");
    Ok(())
}

/// A buffer was lost with every pong.
fn attack_31_undertow_cve_2021_3690_pongs_leak_nothing(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut client = server.open("/echo")?;
    let pongs = Frame::pong([1; 125]).bytes().repeat(1000);
    for _ in 0..100 {
        client.send(&pongs)?;
    }
    server.wait_for_count("pongs_received_total", |count| count == 100_000);
    server.wait_for_count("input_buffered_bytes", |bytes| bytes == 0);
    // A reactor that was late has had more waiting than its buffers hold. All of them are back: what comes
    // one at a time finds one free, more often than there are buffers.
    let one_pong = [Frame::pong([1; 125]).bytes(), Frame::ping("").bytes()].concat();
    let mut rounds = |count: usize| {
        (0..count).try_for_each(|_| {
            client.send(&one_pong)?;
            assert_eq!(client.receive()?, Message::Pong(Vec::new()));
            Ok::<(), Failure>(())
        })
    };
    rounds(2)?;
    let exhausted = server.count("buffers_exhausted_total");
    rounds(1_000)?;
    assert_eq!(server.count("buffers_exhausted_total"), exhausted);
    client.close()?;
    nothing_left(&server);
    Ok(())
}

/// The queue of pongs had no bound; also OkHttp.
fn attack_32_tyrus_954_pings_while_nobody_reads(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut client = narrow(&server, "/echo")?;
    let (batches, batch) = (150u64, 1000u64);
    let mut most = 0;
    for number in 0..batches {
        let mut payload = [0; 125];
        payload[..8].copy_from_slice(&number.to_be_bytes());
        client.send(&Frame::ping(payload).bytes().repeat(batch as usize))?;
        most = most.max(server.count("outbox_bytes"));
    }
    client.send_frame(&Frame::ping("the last"))?;
    server.wait_for_count("pings_received_total", |count| count == batches * batch + 1);
    wait_until(
        || server.count("pongs_coalesced_total") > 0,
        || "19 MB of pongs fit into the kernel's buffers".to_owned(),
    );
    most = most.max(server.count("outbox_bytes"));
    println!("{most} bytes of pongs waited at most");
    // RFC 6455 §5.5.3: only the newest is owed.
    assert!(most <= 127, "{most} bytes of pongs waited");
    still_serves(&server)?;
    let mut pongs = 0;
    loop {
        match client.receive()? {
            Message::Pong(payload) if payload == b"the last" => break,
            Message::Pong(_) => pongs += 1,
            other => panic!("received {other:?}"),
        }
    }
    assert!(pongs < batches * batch, "none was left out");
    client.close()?;
    nothing_left(&server);
    Ok(())
}

/// A connection that ends with a full outbox is freed once.
fn attack_22_uws_105_much_in_the_outbox_at_the_end(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut publisher = server.open("/raw/news")?;
    let mut stalled = Vec::new();
    for _ in 0..9 {
        stalled.push(narrow(&server, "/raw/news")?);
    }
    for _ in 0..200 {
        publisher.send_binary(&[1; 50_000])?;
    }
    server.wait_for_count("connections_backlogged", |count| count == 9);
    // Each in its own way: RST, FIN, close frame and RST.
    for (number, mut client) in stalled.into_iter().enumerate() {
        match number % 3 {
            0 => client.reset()?,
            1 => drop(client),
            _ => {
                client.send_close(1000, "")?;
                client.send_close(1000, "")?;
                client.reset()?;
            }
        }
    }
    server.wait_for_count("connections_backlogged", |count| count == 0);
    publisher.close()?;
    nothing_left(&server);
    Ok(())
}
