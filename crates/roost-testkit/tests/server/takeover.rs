//! permessage-deflate with context takeover, under a limit on its memory.

use std::time::Duration;

use roost_net::sim::SimRng;
use roost_reactor::{Access, ChannelPolicy, Deflate, Settings, SlowConsumer, policy_for_tests};
use roost_testkit::client::{
    Checked, Client, ConnectOptions, Failure, Frame, Message, RSV1, Received, Request, opcode,
};
use roost_testkit::server::{Backend, TestServer};
use roost_wire::deflate::{Deflater, Inflater};

roost_testkit::on_each_backend!(
    an_echo_refers_to_what_came_before,
    deliveries_are_compressed_for_each_who_takes_over,
    fragments_are_compressed_as_one,
    the_limit_holds_and_what_ends_gives_back,
    only_whom_there_is_memory_for_takes_over,
    every_end_gives_back,
    a_slot_inherits_nothing,
    one_who_reads_late_hears_all,
    a_slow_consumer_can_read_why,
    what_is_dropped_leaves_no_hole,
    what_comes_with_the_request_is_inflated,
    a_threshold_of_zero_compresses_all,
);

const PLAIN: &str = "permessage-deflate";
const SERVER_NO: &str = "permessage-deflate; server_no_context_takeover";
const CLIENT_NO: &str = "permessage-deflate; client_no_context_takeover";
const BOTH_NO: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

const INFLATER: usize = Inflater::CONTEXT_BYTES;
const DEFLATER: usize = Deflater::context_bytes(15);

/// With memory for so many bytes of contexts.
fn on(takeover_bytes_max: usize) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.deflate = Deflate {
            enabled: true,
            compress_min_bytes: 64,
            level: 1,
            takeover_bytes_max,
        };
    }
}

fn open(server: &TestServer, target: &str, offer: &str) -> Result<Client, Failure> {
    Client::open_deflating(server.address(), target, offer)
}

/// Requires that the server has this many contexts and bytes reserved for them.
#[track_caller]
fn has(server: &TestServer, contexts: u64, bytes: usize) {
    server.wait_for_count("deflate_contexts", |count| count == contexts);
    server.wait_for_count("deflate_context_bytes", |count| count == bytes as u64);
}

/// A message like those before and after it.
fn quote(number: usize) -> String {
    format!(
        r#"{{"symbol":"ROOST","bid":{}.25,"ask":{}.5,"volume":{},"venue":"XAMS","flags":["open"]}}"#,
        100 + number % 7,
        101 + number % 5,
        number * 7919 % 100_000,
    )
}

/// Bytes that do not compress, different for each number.
fn noise(number: u64, len: usize) -> Vec<u8> {
    let mut rng = SimRng::new(number);
    let next = || rng.next_u64() as u8;
    std::iter::repeat_with(next).take(len).collect()
}

/// The same, of which zlib makes no more either.
fn letters(number: u64, len: usize) -> Vec<u8> {
    let noise = noise(number, len).into_iter();
    noise.map(|byte| b'0' + byte % 64).collect()
}

fn an_echo_refers_to_what_came_before(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, on(10 << 20));
    let mut client = open(&server, "/echo", PLAIN)?;
    assert_eq!(client.agreed()?.answer(), PLAIN);
    has(&server, 2, INFLATER + DEFLATER);

    let text = quote(1);
    let first = client.send_compressed(opcode::TEXT, text.as_bytes())?;
    client.expect_text(&text)?;
    let first = (first, client.received_payload_bytes());
    let second = client.send_compressed(opcode::TEXT, text.as_bytes())?;
    client.expect_text(&text)?;
    let second = (second, client.received_payload_bytes());
    assert!(
        5 * second.0 < first.0 && 5 * second.1 < first.1,
        "{first:?} bytes, then {second:?}"
    );

    // What is below the threshold goes past the context and leaves it as it is.
    let short = "x".repeat(63);
    client.send_compressed(opcode::TEXT, short.as_bytes())?;
    client.expect_text(&short)?;
    assert_eq!(client.received_payload_bytes(), 63, "not compressed");
    client.send_text(&text)?;
    client.expect_text(&text)?;
    assert_eq!(
        client.received_payload_bytes(),
        second.1,
        "still referring to the first"
    );

    for len in [0, 1, 64, 1000, 20_000, 65_536, 300_000, 3 << 20] {
        let bytes: Vec<u8> = (0..len).map(|n| (n % 253) as u8).collect();
        for bytes in [bytes, noise(len as u64, len)] {
            client.send_compressed(opcode::BINARY, &bytes)?;
            client.expect_binary(&bytes)?;
        }
    }
    client.send_frame(&Frame::ping("between"))?;
    client.expect_pong(b"between")?;
    client.send_compressed(opcode::TEXT, text.as_bytes())?;
    client.expect_text(&text)?;
    client.close()?;
    has(&server, 0, 0);
    Ok(())
}

fn deliveries_are_compressed_for_each_who_takes_over(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, on(10 << 20));
    let narrow = "permessage-deflate; server_max_window_bits=9";
    let narrowest = "permessage-deflate; server_max_window_bits=8";
    let narrow_alone = "permessage-deflate; server_no_context_takeover; server_max_window_bits=9";
    let mut subscribers = [PLAIN, narrow, SERVER_NO, narrow_alone, narrowest]
        .map(|offer| open(&server, "/raw/quotes", offer).map(|client| (offer, client, 0)))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let mut publisher = open(&server, "/raw/quotes", PLAIN)?;
    let mut sent = 0;
    for number in 0..100 {
        let text = quote(number);
        sent += text.len();
        publisher.send_compressed(opcode::TEXT, text.as_bytes())?;
        for (offer, subscriber, bytes) in &mut subscribers {
            assert_eq!(
                subscriber.receive()?,
                Message::Text(text.clone()),
                "{offer}"
            );
            *bytes += subscriber.received_payload_bytes();
        }
    }
    let bytes: Vec<usize> = subscribers.iter().map(|(.., bytes)| *bytes).collect();
    println!("{sent} bytes came as {bytes:?}");
    let &[full, narrow, alone, narrow_alone, narrowest] = &bytes[..] else {
        unreachable!("five subscribers");
    };
    assert!(2 * full < alone && 2 * narrow < alone && alone < sent);
    assert_eq!(
        narrow_alone, sent,
        "the image of all others looks too far back"
    );
    assert_eq!(narrowest, sent, "no window is that small");

    // In frames and all at once: each is joined, compressed and framed by itself.
    let frames = (0..50).flat_map(|number| {
        let text = quote(number);
        let (one, two) = text.split_at(number);
        [
            Frame::text(one).unfinished(),
            Frame::ping("between"),
            Frame::continuation(two),
        ]
    });
    publisher.send_frames(&frames.collect::<Vec<_>>())?;
    for (offer, subscriber, _) in &mut subscribers {
        for number in 0..50 {
            assert_eq!(
                subscriber.receive()?,
                Message::Text(quote(number)),
                "{offer}"
            );
        }
    }
    Ok(())
}

fn fragments_are_compressed_as_one(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        on(10 << 20)(settings);
        settings.limits.fragment_bytes = 100;
    });
    let mut subscriber = open(&server, "/raw/x", PLAIN)?;
    let mut publisher = server.open("/raw/x")?;
    let mut echo = open(&server, "/echo", PLAIN)?;
    let long = letters(1, 20_000);
    publisher.send_binary(&long)?;
    publisher.send_binary(&long)?;
    subscriber.expect_binary(&long)?;
    assert!(subscriber.received_payload_bytes() > long.len() / 2);
    subscriber.expect_binary(&long)?;
    assert!(
        subscriber.received_payload_bytes() < long.len() / 10,
        "joined, then compressed"
    );
    for bytes in [&long[..], &long[..99], &long[..5000], &long] {
        echo.send_binary(bytes)?;
        echo.expect_binary(bytes)?;
    }
    assert!(echo.received_payload_bytes() < long.len() / 10);
    Ok(())
}

fn the_limit_holds_and_what_ends_gives_back(backend: Backend) -> Checked {
    // For both directions once, and one more of the cheap one.
    let limit = 2 * INFLATER + DEFLATER;
    let server = TestServer::with(backend, 1, on(limit));
    for round in 0..3 {
        let mut both = open(&server, "/echo", PLAIN)?;
        assert_eq!(both.agreed()?.answer(), PLAIN);
        let mut one = open(&server, "/raw/x", PLAIN)?;
        assert_eq!(one.agreed()?.answer(), SERVER_NO);
        has(&server, 3, limit);
        let mut none = open(&server, "/echo", PLAIN)?;
        assert_eq!(none.agreed()?.answer(), BOTH_NO);
        let refused = server.count("deflate_contexts_refused_total");
        assert_eq!(refused, 5 * round + 3, "one of one, both of none");
        // RFC 7692 §7.1.2.1: the answer names a window also where there is no memory.
        let offer = "permessage-deflate; server_max_window_bits=10";
        let mut narrow = open(&server, "/echo", offer)?;
        let expected = format!("{BOTH_NO}; server_max_window_bits=10");
        assert_eq!(narrow.agreed()?.answer(), expected);
        // A client that declines takeover is not refused.
        let mut declining = open(&server, "/echo", BOTH_NO)?;
        assert_eq!(declining.agreed()?.answer(), BOTH_NO);
        let refused = server.count("deflate_contexts_refused_total");
        assert_eq!(refused, 5 * round + 5);
        for client in [&mut both, &mut none, &mut narrow, &mut declining] {
            for number in 0..20 {
                client.send_compressed(opcode::TEXT, quote(number).as_bytes())?;
                client.expect_text(&quote(number))?;
            }
        }
        let received = [&both, &none, &narrow, &declining].map(Client::received_payload_bytes);
        assert!(
            received[1..].iter().all(|&bytes| 2 * received[0] < bytes),
            "{received:?}"
        );
        has(&server, 3, limit);
        for client in [both, one, none, narrow, declining] {
            client.close()?;
        }
        has(&server, 0, 0);
    }
    Ok(())
}

/// With no memory there is no takeover, with some each pays by its window.
fn only_whom_there_is_memory_for_takes_over(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, on(0));
    let mut client = open(&server, "/echo", PLAIN)?;
    assert_eq!(client.agreed()?.answer(), BOTH_NO);
    assert_eq!(
        server.count("deflate_contexts_refused_total"),
        0,
        "it is off"
    );
    drop(server);

    // Two reactors, each with a share that is too small for a deflater.
    let server = TestServer::with(backend, 2, on(2 * (DEFLATER - 1)));
    for _ in 0..4 {
        let mut client = open(&server, "/echo", CLIENT_NO)?;
        assert_eq!(client.agreed()?.answer(), BOTH_NO);
    }
    drop(server);

    let server = TestServer::with(backend, 1, on(10 << 20));
    for bits in 9..=15 {
        let offer = format!("{CLIENT_NO}; server_max_window_bits={bits}");
        let mut client = open(&server, "/echo", &offer)?;
        assert_eq!(client.agreed()?.answer(), offer);
        has(&server, 1, Deflater::context_bytes(bits));
        for number in 0..200 {
            client.send_compressed(opcode::TEXT, quote(number).as_bytes())?;
            client.expect_text(&quote(number))?;
        }
        client.send_binary(&noise(1, 100_000))?;
        client.expect_binary(&noise(1, 100_000))?;
        client.close()?;
        has(&server, 0, 0);
    }
    // RFC 7692 §7.1.2.1 allows 8 bits, zlib has no such window.
    let offer = format!("{CLIENT_NO}; server_max_window_bits=8");
    let mut client = open(&server, "/echo", &offer)?;
    let answer = format!("{BOTH_NO}; server_max_window_bits=8");
    assert_eq!(client.agreed()?.answer(), answer);
    has(&server, 0, 0);
    Ok(())
}

fn every_end_gives_back(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        on(10 << 20)(settings);
        let closed = ChannelPolicy {
            subscribe: Access::Nobody,
            ..policy_for_tests()
        };
        settings.channels.namespaces = vec![("closed".to_owned(), closed)];
        settings.limits.close_timeout_ms = 3_000;
    });
    let text = quote(1);
    let talking = |target| -> Result<Client, Failure> {
        let mut client = open(&server, target, PLAIN)?;
        client.send_compressed(opcode::TEXT, text.as_bytes())?;
        client.send_frame(&Frame::ping(""))?;
        while client.receive()? != Message::Pong(Vec::new()) {}
        has(&server, 2, INFLATER + DEFLATER);
        Ok(client)
    };
    talking("/echo")?.reset()?;
    has(&server, 0, 0);
    talking("/raw/x")?.half_close()?;
    has(&server, 0, 0);
    drop(talking("/echo")?);
    has(&server, 0, 0);
    let mut client = talking("/echo")?;
    client.send_frame(&Frame::text([0xff; 20]).reserved(RSV1))?;
    client.expect_close(1007)?;
    has(&server, 0, 0); // at the deadline: it does not close
    let mut client = talking("/raw/x")?;
    client.send_frame(&Frame::new(3, "no such opcode"))?;
    client.expect_close(1002)?;
    drop(client);
    has(&server, 0, 0);
    server.wait_for_count("connections_open", |count| count == 0);
    // Handshakes that come to nothing, while their connection lasts.
    for target in ["/raw/closed:x", "/no/such/path"] {
        let mut client = Client::connect(server.address())?;
        let request = Request::websocket("h", target);
        client.send(
            &request
                .header(format!("Sec-WebSocket-Extensions: {PLAIN}"))
                .bytes(),
        )?;
        assert!(client.read_response()?.status >= 400);
        has(&server, 0, 0);
        assert_eq!(server.count("connections_open"), 1, "it is still there");
        client.half_close()?;
        server.wait_for_count("connections_open", |count| count == 0);
    }
    let mut client = open(&server, "/wamp", PLAIN)?; // without the subprotocol that it takes
    assert_eq!(client.agreed()?.answer(), BOTH_NO);
    has(&server, 0, 0);
    // And when all are sent away.
    let mut client = talking("/echo")?;
    server.begin_stop(10_000);
    client.expect_close(1001)?;
    client.send_close(1001, "")?;
    client.expect_fin()?;
    drop(client);
    server.wait_stopped();
    Ok(())
}

/// One reactor, one connection at a time: each has the slot of the one before.
fn a_slot_inherits_nothing(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, on(10 << 20));
    let text = quote(1);
    let mut firsts = Vec::new();
    for offer in [PLAIN, PLAIN, CLIENT_NO, SERVER_NO, BOTH_NO, PLAIN] {
        let mut client = open(&server, "/echo", offer)?;
        assert_eq!(client.agreed()?.answer(), offer);
        for number in 0..3 {
            client.send_compressed(opcode::TEXT, text.as_bytes())?;
            client.expect_text(&text)?;
            if number == 0 {
                firsts.push(client.received_payload_bytes());
            }
        }
        client.reset()?;
        server.wait_for_count("connections_open", |count| count == 0);
    }
    assert!(
        firsts.iter().all(|&bytes| bytes == firsts[0]),
        "no first message refers to another client's: {firsts:?}"
    );
    Ok(())
}

/// What waits is compressed when its turn comes, in the order sent, whatever the batches.
fn one_who_reads_late_hears_all(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, on(10 << 20));
    let mut client = open(&server, "/echo", PLAIN)?;
    let lens = |number: u64| match number % 50 {
        0 => 600_000,
        1..40 => 300 + number as usize,
        _ => 40_000,
    };
    let last = 500;
    for number in 0..last {
        let payload = noise(number, lens(number));
        client.send_frame(&Frame::binary(&payload))?;
        client.send_frame(&Frame::text(quote(number as usize)))?;
    }
    server.wait_for_count("outbox_bytes", |bytes| bytes > 0);
    for number in 0..last {
        client.expect_binary(&noise(number, lens(number)))?;
        client.expect_text(&quote(number as usize))?;
        // What has as little before it as this refers to the quote before.
        let received = client.received_payload_bytes();
        let near = matches!(number % 50, 2..40);
        assert!(!near || received < 60, "{received} bytes for {number}");
    }
    client.close()?;
    server.wait_for_count("outbox_bytes", |bytes| bytes == 0);
    has(&server, 0, 0);
    Ok(())
}

/// What waited is dropped; what had been compressed before was sent, so all of it can be read.
fn a_slow_consumer_can_read_why(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        on(10 << 20)(settings);
        settings.limits.outbox_bytes_max = 1 << 20;
    });
    let options = ConnectOptions {
        receive_buffer_bytes: Some(16 << 10),
        ..ConnectOptions::default()
    };
    let mut slow = Client::open_deflating_with(server.address(), "/raw/x", PLAIN, options)?;
    let mut publisher = server.open("/raw/x")?;
    let mut sent = 0;
    while server.count("slow_consumers_total") == 0 {
        assert!(sent < 2000, "it is not slow");
        publisher.send_binary(&noise(sent, 50_000))?;
        publisher.send_frame(&Frame::ping(""))?;
        publisher.expect_pong(b"")?;
        sent += 1;
    }
    slow.set_timeout(Duration::from_secs(30));
    let mut received = 0;
    loop {
        match slow.receive()? {
            Message::Binary(bytes) => {
                assert!(bytes == noise(received, 50_000), "message {received}");
                received += 1;
            }
            Message::Close(code, _) => {
                assert_eq!(code, Some(1013));
                break;
            }
            other => panic!("received {other:?}"),
        }
    }
    assert!(received < sent, "{received} of {sent} were received");
    drop(slow);
    has(&server, 0, 0);
    Ok(())
}

/// Messages dropped while they wait were not compressed yet: those behind them do not refer to
/// them.
fn what_is_dropped_leaves_no_hole(backend: Backend) -> Checked {
    const COUNT: u64 = 600;
    let message = |number: u64| {
        let quote = quote(number as usize).into_bytes();
        let number_text = number.to_string().into_bytes();
        [number_text, letters(number, 18_000), quote].concat()
    };
    for slow_consumer in [SlowConsumer::DropOldest, SlowConsumer::Latest] {
        let server = TestServer::with(backend, 2, |settings| {
            on(10 << 20)(settings);
            let policy = ChannelPolicy {
                slow_consumer,
                outbox_bytes_max: 200_000,
                outbox_messages_max: 0,
                ..policy_for_tests()
            };
            settings.channels.namespaces = vec![("x".to_owned(), policy)];
        });
        let options = ConnectOptions {
            receive_buffer_bytes: Some(4096),
            ..ConnectOptions::default()
        };
        let mut slow = Client::open_deflating_with(server.address(), "/raw/x:1", PLAIN, options)?;
        let mut good = open(&server, "/raw/x:1", PLAIN)?;
        let mut publisher = server.open("/raw/x:1")?;
        for number in 0..COUNT {
            publisher.send_binary(&message(number))?;
            good.expect_binary(&message(number))?;
        }
        let (mut received, mut last) = (0, None);
        while last != Some(COUNT - 1) {
            let Message::Binary(bytes) = slow.receive()? else {
                panic!("a quote");
            };
            let next = (last.map_or(0, |last| last + 1)..COUNT).find(|&n| message(n) == bytes);
            assert!(next.is_some(), "no message after {last:?} is this");
            (last, received) = (next, received + 1);
        }
        println!("{received} of {COUNT} received with {slow_consumer:?}");
        assert!(received < COUNT, "nothing was dropped");
        // The context goes on.
        publisher.send_binary(&message(0))?;
        slow.expect_binary(&message(0))?;
    }
    Ok(())
}

/// Frames in the same segment as the request: answered behind the 101, in one write.
fn what_comes_with_the_request_is_inflated(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, on(10 << 20));
    let mut helper = open(&server, "/echo", PLAIN)?;
    let compressed = helper.agreed()?.compress(quote(1).as_bytes());
    let mut client = Client::connect(server.address())?;
    let request = Request::websocket("h", "/echo");
    let request = request.header(format!("Sec-WebSocket-Extensions: {PLAIN}"));
    let frame = Frame::text(&compressed).reserved(RSV1);
    client.send(&[request.bytes(), frame.bytes()].concat())?;
    let response = client.read_response()?;
    assert_eq!(response.header("Sec-WebSocket-Extensions"), Some(PLAIN));
    client.deflate = true;
    let Message::Binary(answer) = client.receive()? else {
        panic!("it is compressed");
    };
    assert_eq!(helper.agreed()?.inflate(&answer)?, quote(1).as_bytes());
    Ok(())
}

/// Also what gets longer: `deflate.compress_min_bytes` promises it.
fn a_threshold_of_zero_compresses_all(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        on(10 << 20)(settings);
        settings.deflate.compress_min_bytes = 0;
    });
    let mut client = open(&server, "/echo", PLAIN)?;
    for payload in [&b""[..], b"a", &noise(1, 50_000), b"a", b""] {
        client.send_binary(payload)?;
        let Received::Frame(frame) = client.receive_any()? else {
            panic!("an echo");
        };
        assert_eq!(frame.rsv, RSV1, "{} bytes go compressed", payload.len());
        assert_eq!(client.agreed()?.inflate(&frame.payload)?, payload);
    }
    Ok(())
}
