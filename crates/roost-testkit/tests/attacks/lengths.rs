//! Declared lengths.

use roost_testkit::client::{Checked, Frame, opcode};
use roost_testkit::server::{Backend, TestServer};

use crate::support::{PINNED_BYTES_BASE, nothing_left, open_wamp, still_serves};

roost_testkit::on_each_backend_and_over_tls!(
    attack_02_nats_cve_2026_27889_top_bit_of_a_length,
    attack_11_undici_cve_2026_1528_length_of_64_bits,
    attack_25_gorilla_cve_2020_27813_sum_of_lengths,
    attack_26_tomcat_cve_2020_13935_length_of_a_control_frame,
    attack_27_rust_websocket_cve_2022_35922_declared_and_never_sent,
    attack_28_eventlet_cve_2021_21419_a_huge_frame_that_is_sent,
    attack_03_nats_cve_2026_33219_memory_before_hello,
);

const PATHS: [&str; 2] = ["/echo", "/raw/room"];

/// 64-bit lengths with the top bit set crashed the server, before any authentication.
fn attack_02_nats_cve_2026_27889_top_bit_of_a_length(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    for length in [1 << 63, (1 << 63) | 1, u64::MAX, u64::MAX - 13] {
        for kind in [opcode::TEXT, opcode::BINARY] {
            let header = Frame::new(kind, "").declare(length);
            for path in PATHS {
                let mut client = server.open(path)?;
                client.send_frame(&header)?;
                client.expect_close(1002)?;
                client.expect_fin()?;
            }
            let mut client = open_wamp(&server)?; // nobody has said HELLO
            client.send_frame(&header)?;
            client.expect_close(1002)?;
        }
    }
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// Legal but enormous lengths.
fn attack_11_undici_cve_2026_1528_length_of_64_bits(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    for length in [(1 << 63) - 1, 1 << 62, 1 << 53, 1 << 32, (16 << 20) + 1] {
        for path in PATHS {
            let mut client = server.open(path)?;
            client.send_frame(&Frame::binary("").declare(length))?;
            assert_eq!(
                client.expect_close(1009)?,
                "The frame is larger than the receiver's limit."
            );
            client.expect_fin()?;
        }
    }
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// The sum of the fragments' lengths overflowed, and the loop never ended.
fn attack_25_gorilla_cve_2020_27813_sum_of_lengths(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        // No limit but the message's: the sum has to be right.
        settings.limits.frame_bytes_max = usize::MAX;
    });
    for length in [(1 << 63) - 1, (1 << 63) - 10, (16 << 20) - 9] {
        let mut client = server.open("/echo")?;
        let first = Frame::binary("0123456789").unfinished();
        client.send_frames(&[first, Frame::continuation("").unfinished().declare(length)])?;
        assert_eq!(
            client.expect_close(1009)?,
            "The message is larger than the receiver's limit."
        );
    }
    still_serves(&server)?;
    Ok(())
}

/// A bad length made the server spin.
fn attack_26_tomcat_cve_2020_13935_length_of_a_control_frame(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    for kind in [opcode::PING, opcode::PONG, opcode::CLOSE] {
        for length in [126, 65_535, 65_536, (1 << 63) - 1, u64::MAX] {
            let mut client = server.open("/echo")?;
            client.send_frame(&Frame::new(kind, "").declare(length))?;
            client.expect_close(1002)?;
        }
    }
    nothing_left(&server);
    // A loop without end would go on.
    let before = server.count("loop_iterations_total");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let more = server.count("loop_iterations_total") - before;
    assert!(more < 100, "{more} iterations in 0.3 s without a client");
    still_serves(&server)?;
    Ok(())
}

/// As much as was declared was reserved.
fn attack_27_rust_websocket_cve_2022_35922_declared_and_never_sent(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut clients = Vec::new();
    for number in 0..200 {
        let mut client = server.open(PATHS[number % 2])?;
        client.send(&Frame::binary("x").declare(16 << 20).bytes())?;
        clients.push(client);
    }
    // A byte of payload and a header have come of each; 3.2 GB were promised.
    let pinned = server.wait_for_count("input_buffered_bytes", |bytes| bytes >= 200);
    let allowed = 200 * (PINNED_BYTES_BASE + 2 * 15);
    assert!(pinned <= allowed, "{pinned} bytes for 200 connections");
    still_serves(&server)?;
    drop(clients);
    nothing_left(&server);
    Ok(())
}

/// A frame was stored however long it was: here its header is the end, and what follows is dropped
/// as it comes.
fn attack_28_eventlet_cve_2021_21419_a_huge_frame_that_is_sent(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.frame_bytes_max = 1 << 20;
    });
    for path in PATHS {
        let before = server.count("received_bytes_total");
        let mut client = server.open(path)?;
        let header = Frame::binary("").declare(64 << 20).bytes();
        client.send(&header)?;
        assert_eq!(
            client.expect_close(1009)?,
            "The frame is larger than the receiver's limit."
        );
        let piece = vec![0; 1 << 20];
        for sent in 1..=8 {
            client.send(&piece)?;
            let expected = before + (sent << 20);
            server.wait_for_count("received_bytes_total", |bytes| bytes >= expected);
            // Over TLS the beginning of the last record may wait yet.
            server.wait_for_count("input_buffered_bytes", |pinned| pinned == 0);
        }
        assert_eq!(server.count("binary_messages_received_total"), 0);
    }
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// A huge message before the session was authenticated was stored without bound.
fn attack_03_nats_cve_2026_33219_memory_before_hello(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.message_bytes_max = 1 << 20;
    });
    let mut client = open_wamp(&server)?;
    let mut sent = 0;
    client.send_frame(&Frame::text("[").unfinished())?;
    for _ in 0..16 {
        let frame = Frame::continuation(vec![b' '; 65_536]).unfinished().bytes();
        sent += frame.len() as u64;
        client.send(&frame)?;
        let pinned = server.count("input_buffered_bytes");
        assert!(
            pinned <= PINNED_BYTES_BASE + 2 * sent,
            "{pinned} for {sent}"
        );
    }
    assert_eq!(
        client.expect_close(1009)?,
        "The message is larger than the receiver's limit."
    );
    still_serves(&server)?;
    drop(client);
    nothing_left(&server);
    Ok(())
}
