//! permessage-deflate, where it is on.

use roost_net::sim::SimRng;
use roost_reactor::{ChannelPolicy, Deflate, Settings, SlowConsumer, policy_for_tests};
use roost_testkit::client::{
    Address, Checked, Client, Failure, Frame, RSV1, Received, Request, opcode,
};
use roost_testkit::server::{Backend, TestServer};
use roost_wire::deflate::{Deflater, Inflater};

use crate::child::{Child, tell, wait_for_end};
use crate::support::{PINNED_BYTES_BASE, nothing_left, still_serves};

roost_testkit::on_each_backend_and_over_tls!(
    attack_01_nats_cve_2026_27571_six_gigabytes_in_six_megabytes,
    attack_05_bandit_cve_2026_39804_the_limit_is_on_what_comes_out,
    attack_05_bandit_cve_2026_39804_also_in_a_context_taken_over,
    attack_05_bandit_cve_2026_39804_many_small_bombs_to_a_subscriber,
    contexts_cost_what_is_reserved_for_them,
    attack_08_undici_cve_2026_12151_compressed_fragments_never_finished,
    attack_10_undici_cve_2026_1526_a_bomb_reaches_no_subscriber,
    attack_12_undici_cve_2026_2229_window_bits,
    attack_13_uws_cve_2016_10544_a_bomb_as_long_as_may_be_on_the_wire,
    attack_14_websockets_py_cve_2018_1000518_bombs_in_fragments,
    attack_15_civetweb_cve_2026_29035_what_ends_where_a_buffer_does,
    jetty_6050_text_is_cut_across_inflate_blocks,
);

fn on(settings: &mut Settings) {
    settings.deflate = Deflate {
        enabled: true,
        compress_min_bytes: 64,
        level: 6,
        takeover_bytes_max: 0,
    };
}

fn open(address: Address, offer: &str) -> Result<Client, Failure> {
    open_path(address, "/echo", offer)
}

fn open_path(address: Address, path: &str, offer: &str) -> Result<Client, Failure> {
    let mut client = Client::connect(address)?;
    let request = Request::websocket("h", path);
    let header = format!("Sec-WebSocket-Extensions: {offer}");
    let response = client.shake_hands(&request.header(header))?;
    client.deflate = response.header("Sec-WebSocket-Extensions").is_some();
    Ok(client)
}

/// `megabytes` of zeros as one compressed message: blocks that each end at a byte.
fn bomb(megabytes: usize) -> Vec<u8> {
    let zeros = vec![0; 64 << 20];
    let mut deflater = Deflater::new(9);
    let block = deflater.deflate(&zeros).expect("zeros shrink").to_vec();
    // RFC 7692 §7.2.1 takes these four bytes away at the message's end.
    [block.as_slice(), b"\0\0\xff\xff"]
        .concat()
        .repeat(megabytes / 64)
}

/// The limit was looked at behind the inflating.
fn attack_01_nats_cve_2026_27571_six_gigabytes_in_six_megabytes(backend: Backend) -> Checked {
    let case = "attack_01_nats_cve_2026_27571_six_gigabytes_in_six_megabytes";
    if crate::child::role().is_some() {
        let server = TestServer::with(backend, 1, on);
        tell(&server.address().url());
        wait_for_end();
        return Ok(());
    }
    let mut child = Child::start("compression", backend, case, None);
    let address: Address = child.read_line().parse().expect("an address");
    let bytes = bomb(6 << 10);
    let limit = 16 << 20; // Settings::for_tests
    assert!(bytes.len() < limit, "{} bytes on the wire", bytes.len());
    let before = child.memory_bytes();
    for _ in 0..3 {
        let mut client = open(address, "permessage-deflate")?;
        assert!(client.deflate, "permessage-deflate is on");
        client.send_frame(&Frame::binary(&bytes).reserved(RSV1))?;
        assert_eq!(
            client.expect_close(1009)?,
            "The message is larger than the receiver's limit."
        );
    }
    let most = child.memory_bytes_max().saturating_sub(before);
    println!("{} bytes that mean 6 GiB cost {most} at most", bytes.len());
    // The message as it came, in a buffer that has doubled, and as far as it was inflated.
    let allowed = 2 * bytes.len() + 2 * limit + (8 << 20);
    assert!(most <= allowed as u64, "{most} bytes for {}", bytes.len());
    child.finish();
    Ok(())
}

/// Each within the limit of a message, but a read brings sixty of them and a loop iteration many reads: what
/// they are inflated to must not all wait for the iteration's end.
fn attack_05_bandit_cve_2026_39804_many_small_bombs_to_a_subscriber(backend: Backend) -> Checked {
    const PEERS: usize = 16;
    let case = "attack_05_bandit_cve_2026_39804_many_small_bombs_to_a_subscriber";
    if crate::child::role().is_some() {
        let server = TestServer::with(backend, 1, |settings| {
            on(settings);
            settings.limits.message_bytes_max = 1 << 20;
            settings.channels.namespaces = vec![("x".to_owned(), dropping())];
        });
        tell(&server.address().url());
        wait_for_end();
        return Ok(());
    }
    let mut child = Child::start("compression", backend, case, None);
    let address: Address = child.read_line().parse().expect("an address");
    let mut stalled = Client::connect(address)?;
    stalled.shake_hands(&Request::websocket("h", "/raw/x:y"))?;
    let mut deflater = Deflater::new(9);
    let block = deflater.deflate(&vec![0; 1 << 20]).expect("zeros shrink");
    let bombs = Frame::binary(block).reserved(RSV1).bytes().repeat(55);
    assert!(bombs.len() < 64 << 10, "a read: {} bytes", bombs.len());
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        let mut peer = Client::connect(address)?;
        let request = Request::websocket("h", "/raw/x:y");
        peer.shake_hands(&request.header("Sec-WebSocket-Extensions: permessage-deflate"))?;
        peer.deflate = true;
        peers.push(peer);
    }
    let before = child.memory_bytes();
    for peer in &mut peers {
        peer.send(&bombs)?;
    }
    for peer in &mut peers {
        peer.send_frame(&Frame::ping(b"handled"))?;
        while !matches!(peer.receive_any()?, Received::Frame(frame) if frame.opcode == opcode::PONG)
        {
        }
    }
    let most = child.memory_bytes_max().saturating_sub(before);
    println!("{PEERS} × 55 MiB at once cost {most} bytes at most");
    // One read's, what an iteration may take besides, and what waits for a client that does not read.
    assert!(most <= 96 << 20, "{most} bytes");
    child.finish();
    Ok(())
}

/// A namespace that drops what its subscribers do not take.
fn dropping() -> ChannelPolicy {
    ChannelPolicy {
        slow_consumer: SlowConsumer::DropNewest,
        outbox_bytes_max: 2 << 20,
        outbox_messages_max: 1_000,
        ..policy_for_tests()
    }
}

/// The limit was on what came in: 1,024 times that came out.
fn attack_05_bandit_cve_2026_39804_the_limit_is_on_what_comes_out(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        on(settings);
        settings.limits.message_bytes_max = 100_000;
        settings.limits.frame_bytes_max = 100_000;
    });
    for (bytes, fits) in [
        (99_999, true),
        (100_000, true),
        (100_001, false),
        (50 << 20, false),
    ] {
        let message = vec![b'a'; bytes];
        let mut deflater = Deflater::new(9);
        let compressed = deflater.deflate(&message).expect("it shrinks");
        let mut client = open(server.address(), "permessage-deflate")?;
        client.send_frame(&Frame::text(compressed).reserved(RSV1))?;
        if fits {
            client.receive()?;
            client.close()?;
        } else {
            assert_eq!(
                client.expect_close(1009)?,
                "The message is larger than the receiver's limit."
            );
        }
    }
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// The same where a message may refer to those before it: the limit is on each by itself.
fn attack_05_bandit_cve_2026_39804_also_in_a_context_taken_over(backend: Backend) -> Checked {
    let limit = 100_000;
    let server = TestServer::with(backend, 1, |settings| {
        settings.deflate = Deflate {
            enabled: true,
            compress_min_bytes: 64,
            level: 6,
            takeover_bytes_max: 10 << 20,
        };
        settings.limits.message_bytes_max = limit;
        settings.limits.frame_bytes_max = limit;
    });
    let open = || Client::open_deflating(server.address(), "/echo", "permessage-deflate");
    let most = vec![b'a'; limit];
    let beyond = [limit + 1, 50 << 20];
    for bytes in beyond {
        let mut client = open()?;
        for _ in 0..5 {
            client.send_compressed(opcode::BINARY, &most)?;
            client.expect_binary(&most)?;
        }
        server.wait_for_count("deflate_contexts", |count| count == 2);
        let sent = client.send_compressed(opcode::BINARY, &vec![b'a'; bytes])?;
        assert!(sent < limit, "{sent} bytes on the wire");
        assert_eq!(
            client.expect_close(1009)?,
            "The message is larger than the receiver's limit."
        );
        drop(client);
        nothing_left(&server);
    }
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// All clients want a context and have used it for as much as it holds: the memory is what was set
/// aside, and none is spent on those who came too late.
fn contexts_cost_what_is_reserved_for_them(backend: Backend) -> Checked {
    const MEMORY: u64 = 20 << 20;
    if crate::child::role().is_some() {
        let server = TestServer::with(backend, 1, |settings| {
            settings.deflate = Deflate {
                enabled: true,
                compress_min_bytes: 64,
                level: 1,
                takeover_bytes_max: MEMORY as usize,
            };
        });
        tell(&server.address().url());
        wait_for_end();
        return Ok(());
    }
    let both = (Deflater::context_bytes(15) + Inflater::CONTEXT_BYTES) as u64;
    let inflater = Inflater::CONTEXT_BYTES as u64;
    contexts_cost(backend, "permessage-deflate", MEMORY, both)?;
    let offer = "permessage-deflate; server_no_context_takeover";
    contexts_cost(backend, offer, MEMORY, inflater)?;
    Ok(())
}

/// So much memory is for contexts; one who makes this offer gets so much of it.
fn contexts_cost(backend: Backend, offer: &str, memory: u64, each: u64) -> Checked {
    let case = "contexts_cost_what_is_reserved_for_them";
    let mut child = Child::start("compression", backend, case, None);
    let address: Address = child.read_line().parse().expect("an address");
    // In no order, so that a buffer is used wherever there is one.
    let mut rng = SimRng::new(1);
    let noise = || rng.next_u64() as u8;
    let message: Vec<u8> = std::iter::repeat_with(noise).take(56_000).collect();
    let talk = |client: &mut Client| -> Checked {
        for _ in 0..2 {
            client.send_compressed(opcode::BINARY, &message)?;
            client.expect_binary(&message)?;
        }
        Ok(())
    };
    // What one connection costs beside its contexts is spent before.
    talk(&mut Client::open_deflating(address, "/echo", offer)?)?;
    let before = child.memory_bytes();
    let mut clients = Vec::new();
    let mut served = 0;
    for _ in 0..memory / each + 20 {
        let mut client = Client::open_deflating(address, "/echo", offer)?;
        served += u64::from(client.agreed()?.answer() == offer);
        talk(&mut client)?;
        clients.push(client);
    }
    assert_eq!(served, memory / each, "as many as fit");
    let grown = child.memory_bytes().saturating_sub(before);
    println!("{grown} bytes for {served} connections, {memory} set aside ({offer})");
    assert!(grown < memory + memory / 20, "{grown} bytes");
    assert!(grown > memory / 2, "{grown} bytes: nothing was measured");
    drop(clients);
    child.finish();
    Ok(())
}

/// Fragments were not counted: of a compressed message none is inflated before the last has come,
/// and what waits for it is no more than what has come.
fn attack_08_undici_cve_2026_12151_compressed_fragments_never_finished(
    backend: Backend,
) -> Checked {
    let server = TestServer::with(backend, 1, on);
    let bytes = bomb(64);
    let mut client = open(server.address(), "permessage-deflate")?;
    let mut sent = 0;
    for (number, piece) in bytes.chunks(2).take(20_000).enumerate() {
        let frame = match number {
            0 => Frame::binary(piece).reserved(RSV1),
            _ => Frame::continuation(piece),
        };
        client.send_frame(&frame.unfinished())?;
        sent += piece.len() as u64;
    }
    client.send_frame(&Frame::ping("all there?"))?;
    client.expect_pong(b"all there?")?;
    let pinned = server.count("input_buffered_bytes");
    assert!(pinned >= sent, "the fragments are somewhere");
    assert!(
        pinned <= PINNED_BYTES_BASE + 2 * sent,
        "{pinned} bytes pinned by {sent} of payload"
    );
    drop(client);
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// A client was brought down by what a server passed on: what is too long once inflated goes to
/// no subscriber.
fn attack_10_undici_cve_2026_1526_a_bomb_reaches_no_subscriber(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        on(settings);
        settings.limits.message_bytes_max = 1 << 20;
    });
    let bytes = bomb(64);
    let open = || open_path(server.address(), "/raw/room", "permessage-deflate");
    let mut plain = server.open("/raw/room")?;
    let mut deflating = open()?;
    for kind in [opcode::TEXT, opcode::BINARY] {
        let mut client = open()?;
        client.send_frame(&Frame::new(kind, &bytes).reserved(RSV1))?;
        assert_eq!(
            client.expect_close(1009)?,
            "The message is larger than the receiver's limit."
        );
    }
    assert_eq!(server.count("publishes_total"), 0);
    let mut publisher = server.open("/raw/room")?;
    publisher.send_text("after it")?;
    plain.expect_text("after it")?;
    deflating.expect_text("after it")?; // too short to be compressed
    drop((plain, deflating, publisher));
    nothing_left(&server);
    Ok(())
}

/// The check of what is on the wire was passed, and there was no other.
fn attack_13_uws_cve_2016_10544_a_bomb_as_long_as_may_be_on_the_wire(backend: Backend) -> Checked {
    let bytes = bomb(128);
    let limit = bytes.len();
    let server = TestServer::with(backend, 1, |settings| {
        on(settings);
        settings.limits.frame_bytes_max = limit;
        settings.limits.message_bytes_max = limit;
    });
    for (longer, reason) in [
        (0, "The message is larger than the receiver's limit."),
        (1, "The frame is larger than the receiver's limit."),
    ] {
        let mut client = open(server.address(), "permessage-deflate")?;
        let bytes = [&bytes[..], &vec![0; longer]].concat();
        client.send_frame(&Frame::binary(bytes).reserved(RSV1))?;
        assert_eq!(client.expect_close(1009)?, reason);
    }
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// Window bits out of 8 to 15 were an exception.
fn attack_12_undici_cve_2026_2229_window_bits(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, on);
    for side in ["server", "client"] {
        for bits in [
            "0",
            "1",
            "7",
            "16",
            "-1",
            "255",
            "4294967304",
            "18446744073709551624",
            "1e1",
        ] {
            let offer = format!("permessage-deflate; {side}_max_window_bits={bits}");
            let mut client = open(server.address(), &offer)?;
            assert!(!client.deflate, "{offer} was agreed to");
            client.send_frame(&Frame::text("x").reserved(RSV1))?;
            client.expect_close(1002)?;
        }
        for bits in 8..=15 {
            let offer = format!("permessage-deflate; {side}_max_window_bits={bits}");
            let client = open(server.address(), &offer)?;
            client.close()?;
        }
    }
    Ok(())
}

/// The bomb in pieces, each below any limit, and a ping between them.
fn attack_14_websockets_py_cve_2018_1000518_bombs_in_fragments(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, on);
    let bytes = bomb(128);
    let mut client = open(server.address(), "permessage-deflate")?;
    let mut pieces = bytes.chunks(1000).peekable();
    let mut first = true;
    while let Some(piece) = pieces.next() {
        let frame = match std::mem::take(&mut first) {
            true => Frame::binary(piece).reserved(RSV1),
            false => Frame::continuation(piece),
        };
        let last = pieces.peek().is_none();
        client.send_frame(&if last { frame } else { frame.unfinished() })?;
        if !last {
            client.send_frame(&Frame::ping("between"))?;
            client.expect_pong(b"between")?;
        }
    }
    assert_eq!(
        client.expect_close(1009)?,
        "The message is larger than the receiver's limit."
    );
    drop(client);
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// It was written behind the end of the output: here messages that inflate to a buffer's length, a
/// byte less and a byte more, to the limit's too, and references to before the beginning.
fn attack_15_civetweb_cve_2026_29035_what_ends_where_a_buffer_does(backend: Backend) -> Checked {
    let limit = 1 << 20;
    let server = TestServer::with(backend, 1, |settings| {
        on(settings);
        settings.limits.message_bytes_max = limit;
        settings.limits.frame_bytes_max = 2 * limit;
    });
    let mut client = Client::open_deflating(server.address(), "/echo", "permessage-deflate")?;
    let mut rng = SimRng::new(1);
    let mut noise = || rng.next_u64() as u8;
    for exponent in 0..=20 {
        for len in [(1 << exponent) - 1, 1 << exponent, (1 << exponent) + 1] {
            let zeros = vec![0; len];
            // Six bits in eight: what is longer on the wire than the limit is refused there.
            let letters = std::iter::repeat_with(|| noise() & 0x3f);
            let letters: Vec<u8> = letters.take(len).collect();
            for message in [zeros, letters] {
                if len <= limit {
                    client.send_compressed(opcode::BINARY, &message)?;
                    client.expect_binary(&message)?;
                    continue;
                }
                let mut client = Client::open_deflating(
                    server.address(),
                    "/echo",
                    "permessage-deflate; client_no_context_takeover",
                )?;
                client.send_compressed(opcode::BINARY, &message)?;
                assert_eq!(
                    client.expect_close(1009)?,
                    "The message is larger than the receiver's limit."
                );
            }
        }
    }
    client.close()?;
    // RFC 1951 §3.2.6: blocks of fixed codes. An "a" and three bytes from one byte back; the same
    // from two back; and three from one back where there is nothing yet.
    let mut client = open(server.address(), "permessage-deflate")?;
    client.send_frame(&Frame::binary([0x4a, 0x04, 0x02, 0x00, 0x00]).reserved(RSV1))?;
    client.expect_binary(b"aaaa")?;
    client.close()?;
    for reference in [
        &[0x4a, 0x04, 0x42, 0x00, 0x00][..],
        &[0x02, 0x02, 0x00, 0x00],
    ] {
        let mut client = open(server.address(), "permessage-deflate")?;
        client.send_frame(&Frame::binary(reference).reserved(RSV1))?;
        let reason = client.expect_close(1007)?;
        assert_eq!(
            reason,
            "A compressed message must be a valid DEFLATE stream (RFC 7692)."
        );
    }
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// A character was taken for broken where a block of the compressed text ended inside it.
fn jetty_6050_text_is_cut_across_inflate_blocks(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, on);
    let text = "κόσμε, € and 𝄞: of two, three and four bytes";
    // RFC 1951 §3.2.4: a block without compression for each byte.
    let block = |&byte: &u8| [0x00, 0x01, 0x00, 0xfe, 0xff, byte];
    // RFC 7692 §7.2.1: behind them the beginning of the empty block whose end is not sent.
    let blocks = |text: &[u8]| -> Vec<u8> {
        let blocks = text.iter().flat_map(block);
        blocks.chain([0x00]).collect()
    };
    let good = blocks(text.as_bytes());
    let mut client = open(server.address(), "permessage-deflate")?;
    for fragment_bytes in [usize::MAX, 6, 5, 1] {
        let mut pieces = good.chunks(fragment_bytes.min(good.len())).peekable();
        let mut first = true;
        while let Some(piece) = pieces.next() {
            let frame = match std::mem::take(&mut first) {
                true => Frame::text(piece).reserved(RSV1),
                false => Frame::continuation(piece),
            };
            let last = pieces.peek().is_none();
            client.send_frame(&if last { frame } else { frame.unfinished() })?;
        }
        client.expect_text(text)?; // below the threshold, so not compressed
    }
    client.close()?;
    // And one that is broken is found, wherever the blocks end.
    for cut in 1..4 {
        let mut client = open(server.address(), "permessage-deflate")?;
        let broken = blocks(&"𝄞".as_bytes()[..cut]);
        client.send_frame(&Frame::text(broken).reserved(RSV1))?;
        client.expect_close(1007)?;
    }
    nothing_left(&server);
    Ok(())
}
