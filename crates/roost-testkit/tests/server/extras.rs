//! What is off unless asked for: permessage-deflate, outgoing fragments, the early framings.

use std::time::Duration;

use roost_net::sim::SimRng;
use roost_reactor::{Deflate, Origins};
use roost_testkit::client::{
    Checked, Client, Failure, Frame, RSV1, Received, ReceivedFrame, Request,
};
use roost_testkit::client::{Response, opcode};
use roost_testkit::server::{Backend, TestServer};

roost_testkit::on_each_backend!(
    several_offers_get_one_answer,
    short_messages_are_not_compressed,
    no_message_is_compressed_by_another,
    a_smaller_window_hears_what_it_can_inflate,
    fragments_of_two_messages_are_not_mixed,
    early_requests_are_judged_alike,
    an_early_challenge_has_the_handshakes_time,
);

fn deflating(backend: Backend, compress_min_bytes: usize) -> TestServer {
    TestServer::with(backend, 1, |settings| {
        settings.deflate = Deflate {
            enabled: true,
            compress_min_bytes,
            level: 6,
            takeover_bytes_max: 0,
        };
    })
}

fn offering(
    server: &TestServer,
    target: &str,
    offers: &[&str],
) -> Result<(Client, Response), Failure> {
    let mut client = Client::connect(server.address())?;
    let mut request = Request::websocket("h", target);
    for offer in offers {
        request = request.header(format!("Sec-WebSocket-Extensions: {offer}"));
    }
    let response = client.shake_hands(&request)?;
    client.deflate = true;
    Ok((client, response))
}

fn receive_frame(client: &mut Client) -> Result<ReceivedFrame, Failure> {
    match client.receive_any()? {
        Received::Frame(frame) => Ok(frame),
        received => Err(Failure::new(format!(
            "a frame was expected, not {received:?}"
        ))),
    }
}

/// RFC 6455 §11.3.2: Sec-WebSocket-Extensions stands once in a response.
fn several_offers_get_one_answer(backend: Backend) -> Checked {
    let server = deflating(backend, 0);
    for offers in [
        ["permessage-deflate", "permessage-deflate"],
        [
            "x-webkit-deflate-frame",
            "permessage-deflate; client_max_window_bits, permessage-deflate",
        ],
        [
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            "permessage-deflate; server_no_context_takeover",
        ],
    ] {
        let (client, response) = offering(&server, "/echo", &offers)?;
        let answers = response.all("Sec-WebSocket-Extensions");
        assert_eq!(answers.len(), 1, "{offers:?} got {answers:?}");
        assert_eq!(answers[0].matches("permessage-deflate").count(), 1);
        client.close()?;
    }
    Ok(())
}

/// RFC 7692 §6.1: each message may be compressed or not.
fn short_messages_are_not_compressed(backend: Backend) -> Checked {
    let server = deflating(backend, 64);
    let (mut client, _) = offering(&server, "/echo", &["permessage-deflate"])?;
    let (mut subscriber, _) = offering(&server, "/raw/x", &["permessage-deflate"])?;
    let mut talker = server.open("/raw/x")?;
    for (bytes, compressed) in [(1, 0), (63, 0), (64, RSV1), (5_000, RSV1)] {
        let message = "x".repeat(bytes);
        client.send_text(&message)?;
        talker.send_text(&message)?;
        for subscriber in [&mut client, &mut subscriber] {
            let frame = receive_frame(subscriber)?;
            assert_eq!(frame.rsv, compressed, "{bytes} bytes");
            let shorter = frame.payload.len() < bytes;
            assert_eq!(shorter, compressed == RSV1, "{bytes} bytes");
        }
    }
    Ok(())
}

/// RFC 7692 §8: what shares a context with a secret shows in its length.
fn no_message_is_compressed_by_another(backend: Backend) -> Checked {
    let server = deflating(backend, 0);
    let (mut client, response) = offering(&server, "/echo", &["permessage-deflate"])?;
    let answer = response.header("Sec-WebSocket-Extensions");
    assert!(answer.is_some_and(|answer| answer.contains("server_no_context_takeover")));
    let (mut other, _) = offering(&server, "/echo", &["permessage-deflate"])?;
    let secret = "the token is 8f3a9c, and no other client may know it";
    client.send_text(secret)?;
    let alone = receive_frame(&mut client)?;
    assert_eq!(alone.rsv, RSV1);
    for again in [&mut client, &mut other] {
        again.send_text(secret)?;
        let again = receive_frame(again)?;
        assert_eq!(again.payload, alone.payload, "it refers to what was before");
    }
    Ok(())
}

/// RFC 7692 §7.1.2.1: what is sent refers no further back than the client's window.
fn a_smaller_window_hears_what_it_can_inflate(backend: Backend) -> Checked {
    let server = deflating(backend, 0);
    let small = "permessage-deflate; server_max_window_bits=9";
    let (mut small, response) = offering(&server, "/raw/x", &[small])?;
    let answer = response.header("Sec-WebSocket-Extensions");
    assert!(answer.is_some_and(|answer| answer.contains("server_max_window_bits=9")));
    let (mut full, _) = offering(&server, "/raw/x", &["permessage-deflate"])?;
    let mut talker = server.open("/raw/x")?;
    // The second half can be had by looking 4,000 bytes back only.
    let mut rng = SimRng::new(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| rng.next_u64() as u8)
        .take(4_000)
        .collect();
    let message = noise.repeat(2);
    talker.send_binary(&message)?;
    let frame = receive_frame(&mut full)?;
    assert_eq!(frame.rsv, RSV1);
    assert!(frame.payload.len() < 5_000, "{}", frame.payload.len());
    let frame = receive_frame(&mut small)?;
    match frame.rsv {
        0 => assert_eq!(frame.payload, message),
        // Within its window there is nothing to refer to.
        _ => assert!(frame.payload.len() > 7_900, "{}", frame.payload.len()),
    }
    Ok(())
}

/// RFC 6455 §5.4: fragments of one message are not interleaved with another's.
fn fragments_of_two_messages_are_not_mixed(backend: Backend) -> Checked {
    const FRAGMENT_BYTES: usize = 100;
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.fragment_bytes = FRAGMENT_BYTES;
    });
    let mut subscriber = server.open("/raw/x")?;
    let mut talkers = [server.open("/raw/x")?, server.open("/raw/x")?];
    let messages = 50;
    for n in 0..messages {
        for (talker, letter) in talkers.iter_mut().zip([b'a', b'b']) {
            talker.send_binary(&vec![letter; 1 + 37 * n])?;
        }
        subscriber.send_frame(&Frame::ping("between"))?;
    }
    let (mut whole, mut pongs, mut fragments) = (0, 0, 0);
    let mut message: Option<Vec<u8>> = None;
    while whole < 2 * messages {
        let frame = receive_frame(&mut subscriber)?;
        if frame.opcode == opcode::PONG {
            pongs += 1;
            continue;
        }
        assert!(frame.payload.len() <= FRAGMENT_BYTES);
        let begins = frame.opcode != opcode::CONTINUATION;
        assert_eq!(begins, message.is_none(), "a message inside another");
        let bytes = message.get_or_insert_default();
        bytes.extend(&frame.payload);
        fragments += usize::from(!frame.fin);
        if frame.fin {
            let (first, len) = (bytes[0], bytes.len());
            assert!(bytes.iter().all(|&byte| byte == first), "two are mixed");
            assert_eq!(len % 37, 1, "a piece is missing");
            message = None;
            whole += 1;
        }
    }
    // Usually between the messages; a busy machine may handle the pings last.
    while pongs == 0 {
        assert_eq!(receive_frame(&mut subscriber)?.opcode, opcode::PONG);
        pongs += 1;
    }
    assert!(fragments > messages, "only {fragments} fragments");
    Ok(())
}

/// A request of draft 75, or of draft 76 with `keys`.
fn early(target: &str, origin: &str, keys: &str) -> Vec<u8> {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
         Origin: {origin}\r\n{keys}\r\n"
    );
    head.into_bytes()
}

/// Origins, routes and subprotocols count for the early framings as for RFC 6455.
fn early_requests_are_judged_alike(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].config.hixie = true;
        settings.listeners[0].origins = Origins::Listed(vec!["http://good.example".to_owned()]);
    });
    let wamp = "WebSocket-Protocol: wamp.2.json\r\n";
    let other = "WebSocket-Protocol: chat\r\n";
    for (target, origin, header, expected) in [
        ("/echo", "http://good.example", "", 101),
        ("/echo", "http://bad.example", "", 403),
        ("/echo", "null", "", 403),
        ("/nothing", "http://good.example", "", 404),
        ("/nothing", "http://bad.example", "", 403),
        ("/raw/x", "http://good.example", "", 101),
        ("/raw/", "http://good.example", "", 400),
        ("/wamp", "http://good.example", wamp, 101),
        ("/wamp", "http://good.example", other, 101),
    ] {
        let mut client = Client::connect(server.address())?;
        client.send(&early(target, origin, header))?;
        let response = client.read_response()?;
        assert_eq!(response.status, expected, "{target} from {origin}");
        let chosen = response.header("WebSocket-Protocol");
        let known = header == wamp;
        assert_eq!(chosen, known.then_some("wamp.2.json"), "{target} {header}");
        if target == "/wamp" && !known {
            // Without a subprotocol in common it closes at once, in its own framing.
            assert_eq!(client.read_exact(2)?, [0xff, 0x00]);
        }
    }
    Ok(())
}

/// The eight bytes behind a head of draft 76 are awaited as long as a head is.
fn an_early_challenge_has_the_handshakes_time(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].config.hixie = true;
        settings.limits.handshake_timeout_ms = 300;
    });
    let keys = "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
                Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n";
    let mut late = Client::connect(server.address())?;
    late.send(&early("/echo", "http://example.com", keys))?;
    late.send_in_pieces(b"^n:ds[4", 1, Duration::from_millis(1))?;
    assert_eq!(late.read_response()?.status, 408);
    late.read_to_end()?;
    assert_eq!(server.count("handshake_timeouts_total"), 1);
    server.wait_for_count("input_buffered_bytes", |bytes| bytes == 0);
    Ok(())
}
