//! Fragments by the million: time linear, memory bounded.

use roost_testkit::client::{Checked, Frame};
use roost_testkit::server::{Backend, TestServer};
use roost_wire::{Inbound, Input, Limits, Message, Role};

use crate::support::{PINNED_BYTES_BASE, cpu_ratio, nothing_left, still_serves};

roost_testkit::on_each_backend_and_over_tls!(
    attack_06_bandit_cve_2026_65623_a_million_fragments_of_one_byte,
    attack_07_ws_cve_2026_48779_tiny_fragments_never_finished,
    attack_09_netty_cve_2014_0193_empty_fragments_for_ever,
    attack_40_engine_io_reserved_bits_do_not_end_the_process,
);

/// What one client sends: a text of `count` bytes, each in a fragment of its own.
fn one_byte_fragments(count: usize) -> Vec<u8> {
    let middle = Frame::continuation("a").unfinished().bytes();
    let mut stream = Frame::text("a").unfinished().bytes();
    stream.extend(middle.repeat(count - 2));
    stream.extend(Frame::continuation("z").bytes());
    stream
}

/// Each fragment measured the whole buffer again.
fn attack_06_bandit_cve_2026_65623_a_million_fragments_of_one_byte(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut client = server.open("/echo")?;
    client.send(&one_byte_fragments(1_000_000))?;
    let mut expected = "a".repeat(999_999);
    expected.push('z');
    client.expect_text(&expected)?;
    client.close()?;
    nothing_left(&server);
    Ok(())
}

/// The same without a socket: work for twice as many fragments is twice as much.
#[test]
fn attack_06_bandit_cve_2026_65623_work_is_linear() {
    let limits = Limits {
        frame_bytes_max: 16 << 20,
        message_bytes_max: 16 << 20,
    };
    let decode = |stream: &[u8]| {
        let mut inbound = Inbound::new(Role::Server);
        let mut messages = 0;
        for piece in stream.chunks(1000) {
            let mut lease = piece.to_vec();
            let mut input = Input::new(&mut lease);
            while let Some(message) = inbound.next(&mut input, &limits).expect("legal") {
                assert!(matches!(message, Message::Text(_)));
                messages += 1;
            }
        }
        assert_eq!(messages, 1);
        inbound.steps()
    };
    let (half, whole) = (one_byte_fragments(250_000), one_byte_fragments(500_000));
    let (steps_half, steps_whole) = (decode(&half), decode(&whole));
    if cfg!(debug_assertions) {
        let ratio = steps_whole as f64 / steps_half as f64;
        let per_byte = steps_whole as f64 / whole.len() as f64;
        println!("steps for twice as many: {ratio:.2} times; {per_byte:.2} a byte received");
        assert!(
            ratio < 2.2,
            "{ratio:.2} times the steps for twice the fragments"
        );
        assert!(per_byte < 5.0, "{per_byte:.2} steps a byte");
    }
    let ratio = cpu_ratio(|| _ = decode(&half), || _ = decode(&whole));
    println!("CPU for twice as many: {ratio:.2} times");
    assert!(
        ratio < 3.0,
        "{ratio:.2} times the CPU for twice the fragments"
    );
}

/// 0.87 MB on the wire pinned 13.5 MB.
fn attack_07_ws_cve_2026_48779_tiny_fragments_never_finished(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut clients = Vec::new();
    let piece = Frame::continuation("x").unfinished().bytes();
    let (per_client, count) = (5_000, 50);
    for _ in 0..count {
        let mut client = server.open("/raw/room")?;
        client.send(&Frame::binary("x").unfinished().bytes())?;
        client.send(&piece.repeat(per_client))?;
        clients.push(client);
    }
    let wire = (count * per_client * piece.len()) as u64;
    server.wait_for_count("received_bytes_total", |bytes| bytes >= wire);
    let payload = (count * per_client) as u64;
    let allowed = count as u64 * (PINNED_BYTES_BASE + 2) + 2 * payload;
    // The fragments are somewhere, and when a TLS record's beginning does not wait any more, no more is.
    let pinned = server.wait_for_count("input_buffered_bytes", |pinned| {
        (payload..=allowed).contains(&pinned)
    });
    println!("{wire} bytes on the wire pin {pinned}, allowed are {allowed}");
    drop(clients);
    nothing_left(&server);
    Ok(())
}

/// Fragments without payload cost their sender six bytes, and may cost no memory.
fn attack_09_netty_cve_2014_0193_empty_fragments_for_ever(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut client = server.open("/echo")?;
    client.send(&Frame::text("").unfinished().bytes())?;
    let empty = Frame::continuation("").unfinished().bytes().repeat(10_000);
    for _ in 0..20 {
        client.send(&empty)?;
    }
    server.wait_for_count("received_bytes_total", |bytes| {
        bytes >= 20 * empty.len() as u64
    });
    // Over TLS more bytes than the fragments' are received: the beginning of a record may wait yet.
    server.wait_for_count("input_buffered_bytes", |pinned| pinned <= PINNED_BYTES_BASE);
    client.send_frame(&Frame::continuation("end"))?;
    client.expect_text("end")?;
    client.close()?;
    nothing_left(&server);
    Ok(())
}

/// A frame with RSV2 or RSV3 was an exception that nobody caught.
fn attack_40_engine_io_reserved_bits_do_not_end_the_process(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut beside = server.open("/echo")?;
    for bits in 1..8u8 {
        for kind in 0..16u8 {
            let mut client = server.open("/echo")?;
            client.send_frame(&Frame::new(kind, "x").reserved(bits << 4))?;
            client.expect_close(1002)?;
        }
    }
    beside.send_text("untouched")?;
    beside.expect_text("untouched")?;
    still_serves(&server)?;
    Ok(())
}
