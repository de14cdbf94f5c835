//! RFC 7692: negotiation, its own examples, limits.

use roost_wire::deflate::{Agreement, Deflater, Inflater, Takeover, negotiate};
use roost_wire::frame::append_masked_frame;
use roost_wire::fuzz::OwnedMessage::{Binary, Ping, Text};
use roost_wire::fuzz::{STEPS_PER_DEFLATED_BYTE_MAX, Transcript, transcript, transcript_inflating};
use roost_wire::handshake::{ClientRequest, Request, Upgrade};
use roost_wire::{Frozen, Limits, Opcode, ProtocolError, Role};

use crate::support::{MASK, WIDE, cuts, frame};

const BOTH: Takeover = Takeover {
    server: true,
    client: true,
};

fn agree(offers: &str, takeover: Takeover) -> Option<Agreement> {
    let mut head = Vec::new();
    ClientRequest {
        host: "x",
        target: "/",
        key: "dGhlIHNhbXBsZSBub25jZQ==",
        extensions: Some(offers),
        ..ClientRequest::default()
    }
    .write(&mut head);
    let request = Request::parse(&head, 16).unwrap();
    let Upgrade::WebSocket(granted) = request.upgrade() else {
        panic!("a WebSocket");
    };
    negotiate(granted.extensions(), takeover)
}

/// The response to these offers, `None` for a declined extension.
fn response(offers: &str, takeover: Takeover) -> Option<String> {
    agree(offers, takeover).map(Agreement::response)
}

#[test]
fn offers_are_answered_exactly() {
    let neither = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (offers, expected) in [
        // What browsers send.
        ("permessage-deflate; client_max_window_bits", neither),
        ("permessage-deflate", neither),
        ("permessage-deflate; client_max_window_bits=8", neither),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            neither,
        ),
        ("x-webkit-deflate-frame, permessage-deflate", neither),
    ] {
        assert_eq!(
            response(offers, Takeover::default()).as_deref(),
            Some(expected),
            "{offers}"
        );
    }
    let bits = "permessage-deflate; server_max_window_bits=\"8\"";
    let expected = format!("{neither}; server_max_window_bits=8");
    assert_eq!(response(bits, Takeover::default()), Some(expected));
}

#[test]
fn takeover_is_kept_where_both_are_ready() {
    let one = |server, client| Takeover { server, client };
    let plain = "permessage-deflate";
    assert_eq!(response(plain, BOTH).unwrap(), plain);
    assert_eq!(
        response(plain, one(true, false)).unwrap(),
        "permessage-deflate; client_no_context_takeover"
    );
    assert_eq!(
        response(plain, one(false, true)).unwrap(),
        "permessage-deflate; server_no_context_takeover"
    );
    // RFC 7692 §7.1.1.1: asked not to take over, we MUST NOT.
    let offer = "permessage-deflate; server_no_context_takeover";
    assert_eq!(response(offer, BOTH).unwrap(), offer);
    let hint = "permessage-deflate; client_no_context_takeover";
    assert_eq!(response(hint, BOTH).unwrap(), hint);
    let agreement = agree(offer, BOTH).unwrap();
    assert!(agreement.server_no_context_takeover());
    assert!(!agreement.client_no_context_takeover());
}

/// RFC 7692 §7.1: each way to offer against each state of the server's memory.
#[test]
fn each_offer_meets_each_readiness() {
    const SERVER_NO: &str = "; server_no_context_takeover";
    const CLIENT_NO: &str = "; client_no_context_takeover";
    for choices in 0..32 {
        let chosen = |bit: u32| choices >> bit & 1 == 1;
        let (server_no, client_no) = (chosen(0), chosen(1));
        let ready = Takeover {
            server: chosen(2),
            client: chosen(3),
        };
        let client_first = chosen(4);
        for window in [
            "",
            "; server_max_window_bits=8",
            "; server_max_window_bits=9",
        ] {
            for hint in ["", "; client_max_window_bits", "; client_max_window_bits=9"] {
                let server = if server_no { SERVER_NO } else { "" };
                let client = if client_no { CLIENT_NO } else { "" };
                let offer = match client_first {
                    true => format!("permessage-deflate{client}{hint}{server}{window}"),
                    false => format!("permessage-deflate{server}{window}{client}{hint}"),
                };
                // zlib has no window of 2^8.
                let servers = ready.server && !server_no && !window.ends_with('8');
                let clients = ready.client && !client_no;
                let server = if servers { "" } else { SERVER_NO };
                let client = if clients { "" } else { CLIENT_NO };
                let expected = format!("permessage-deflate{server}{client}{window}");
                let agreement = agree(&offer, ready).expect("a good offer");
                assert_eq!(agreement.response(), expected, "{offer} meets {ready:?}");
                assert_eq!(agreement.server_no_context_takeover(), !servers, "{offer}");
                assert_eq!(agreement.client_no_context_takeover(), !clients, "{offer}");

                // What was ready and is so no more.
                let without = agreement.without_server_takeover().response();
                let expected = format!("permessage-deflate{SERVER_NO}{client}{window}");
                assert_eq!(without, expected, "{offer}");
                let without = agreement.without_client_takeover().response();
                let expected = format!("permessage-deflate{server}{CLIENT_NO}{window}");
                assert_eq!(without, expected, "{offer}");
            }
        }
    }
}

/// RFC 7692 §7: unknown, repeated, out-of-range and ill-placed parameters. undici CVE-2026-2229
/// threw on window bits out of range.
#[test]
fn bad_offers_are_declined_and_the_next_one_taken() {
    for bad in [
        "x",
        "permessage-bzip2",
        "Permessage-Deflate",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=x",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; server_max_window_bits=9999999999999999999999",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=a",
    ] {
        assert_eq!(agree(bad, BOTH), None, "{bad}");
        let two = format!("{bad}, permessage-deflate");
        assert_eq!(
            response(&two, BOTH).as_deref(),
            Some("permessage-deflate"),
            "{bad}"
        );
    }
    assert_eq!(agree("", BOTH), None);
}

#[test]
fn a_small_window_shares_small_messages() {
    let agreement = agree("permessage-deflate; server_max_window_bits=9", BOTH).unwrap();
    assert_eq!(agreement.server_window_bits(), 9);
    assert!(agreement.may_share(512));
    assert!(!agreement.may_share(513));
    let agreement = agree("permessage-deflate", BOTH).unwrap();
    assert!(agreement.may_share(1 << 30));
}

/// The payloads of RFC 7692 §7.2.3, all of them "Hello".
#[test]
fn examples_of_section_7_2_3() {
    let mut inflater = Inflater::new();
    for compressed in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        // §7.2.3.3: a stored block.
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ],
        // §7.2.3.4: a block marked as the last one.
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        // The same without the empty block that ought to follow.
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        // §7.2.3.5: two blocks.
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
    ] {
        assert_eq!(
            inflater.inflate(compressed, 5),
            Ok(&b"Hello"[..]),
            "{compressed:02x?}"
        );
    }
    // §7.2.3.6: the empty message.
    assert_eq!(inflater.inflate(&[0x00], 0), Ok(&b""[..]));
}

#[test]
fn section_7_2_3_2_the_window_is_shared_or_not() {
    let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let second = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let mut taking_over = Inflater::with_takeover(true);
    assert_eq!(taking_over.inflate(&first, 5), Ok(&b"Hello"[..]));
    assert_eq!(taking_over.inflate(&second, 5), Ok(&b"Hello"[..]));
    let mut alone = Inflater::new();
    assert_eq!(alone.inflate(&first, 5), Ok(&b"Hello"[..]));
    // It refers to bytes before the message.
    assert_eq!(
        alone.inflate(&second, 5),
        Err(ProtocolError::DeflateInvalid)
    );
    // And what follows is not disturbed.
    assert_eq!(alone.inflate(&first, 5), Ok(&b"Hello"[..]));

    let mut deflater = Deflater::with_window(6, 15, true);
    let text = b"Hello Hello Hello Hello";
    let mut inflater = Inflater::with_takeover(true);
    let first = deflater.deflate(text).expect("shorter").to_vec();
    let second = deflater.deflate(text).expect("shorter").to_vec();
    assert!(second.len() < first.len(), "the second refers to the first");
    assert_eq!(inflater.inflate(&first, 99), Ok(&text[..]));
    assert_eq!(inflater.inflate(&second, 99), Ok(&text[..]));
    let mut deflater = Deflater::new(6);
    assert_eq!(deflater.deflate(text), deflater_alone(text).as_deref());
    assert_eq!(deflater.deflate(text), deflater_alone(text).as_deref());
}

fn deflater_alone(text: &[u8]) -> Option<Vec<u8>> {
    Deflater::new(6).deflate(text).map(<[u8]>::to_vec)
}

#[test]
fn broken_streams_are_refused() {
    let mut inflater = Inflater::new();
    for broken in [
        &b""[..],
        &[0xff],                                     // a block of the reserved type
        &[0x04, 0x00],                               // cut inside a block's tables
        &[0xf2, 0x48, 0xcd],                         // cut inside a block
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48],       // a stored block cut short
        &[0x00, 0x05, 0x00, 0x00, 0x00, 0x48, 0x65], // lengths that do not match
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0xff], // rubbish behind it
    ] {
        let inflated = inflater.inflate(broken, 1000).map(<[u8]>::to_vec);
        assert_eq!(
            inflated,
            Err(ProtocolError::DeflateInvalid),
            "{broken:02x?}"
        );
    }
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    let text: Vec<u8> = (0..3000_u32).map(|n| (n * n % 251) as u8).collect();
    for message in [&b"Hello Hello Hello"[..], &text] {
        let whole = Deflater::new(9).deflate(message).expect("shorter").to_vec();
        let mut inflater = Inflater::new();
        for cut in 0..whole.len() {
            let inflated = inflater.inflate(&whole[..cut], 10_000).map(<[u8]>::len);
            assert_eq!(inflated, Err(ProtocolError::DeflateInvalid), "cut at {cut}");
        }
        assert_eq!(inflater.inflate(&whole, 10_000), Ok(message));
    }
    // With takeover there can be no block that ends the stream; the empty payload is seen anyway.
    let inflated = Inflater::with_takeover(true)
        .inflate(b"", 10)
        .map(<[u8]>::len);
    assert_eq!(inflated, Err(ProtocolError::DeflateInvalid));
}

/// What a client that agreed to compress sends, cut everywhere.
fn decode(stream: &[u8], limits: &Limits) -> Transcript {
    let mut inflater = Inflater::new();
    let mut run = |lens: &[usize]| {
        let lens = lens.iter().copied().chain(std::iter::repeat(stream.len()));
        transcript_inflating(stream, lens, Role::Server, limits, Some(&mut inflater))
    };
    let whole = run(&[]);
    assert_eq!(
        whole,
        run(&vec![1; stream.len()]),
        "single bytes of {stream:02x?}"
    );
    for cut in cuts(stream) {
        assert_eq!(whole, run(&[cut]), "cut at {cut} of {stream:02x?}");
    }
    whole
}

#[test]
fn compressed_frames() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let stream = [
        frame(0xc1, &hello),
        frame(0x41, &hello[..3]),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x80, &hello[3..]),
        // Each message may be compressed or not.
        frame(0x81, b"plain"),
        frame(0xc2, &hello),
    ]
    .concat();
    let transcript = decode(&stream, &WIDE);
    assert_eq!(transcript.error, None);
    assert_eq!(
        transcript.messages,
        [
            Text("Hello".to_owned()),
            Ping(b"ping".to_vec()),
            Text("Hello".to_owned()),
            Text("plain".to_owned()),
            Binary(b"Hello".to_vec()),
        ]
    );
}

#[test]
fn rsv1_stands_on_the_first_frame_of_a_message_only() {
    for (stream, error) in [
        (frame(0xc9, b""), ProtocolError::ReservedBit),
        (frame(0xc8, b""), ProtocolError::ReservedBit),
        (
            [frame(0x41, b"\xf2"), frame(0xc0, b"\x48")].concat(),
            ProtocolError::ReservedBit,
        ),
        (
            [frame(0x01, b"a"), frame(0xc0, b"b")].concat(),
            ProtocolError::ReservedBit,
        ),
        (frame(0xe1, b""), ProtocolError::ReservedBit),
    ] {
        assert_eq!(decode(&stream, &WIDE).error, Some(error), "{stream:02x?}");
    }
    // Without the extension RSV1 means nothing.
    let stream = frame(0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    let without = transcript(&stream, [stream.len()], Role::Server, &WIDE);
    assert_eq!(without.error, Some(ProtocolError::ReservedBit));
}

#[test]
fn inflated_text_is_utf8() {
    let deflate = |text: &[u8]| Deflater::new(6).deflate(text).expect("shorter").to_vec();
    let good = "Grüße ".repeat(20);
    let transcript = decode(&frame(0xc1, &deflate(good.as_bytes())), &WIDE);
    assert_eq!(transcript.messages, [Text(good)]);
    let bad = [b"Gr\xfc\xdfe ".repeat(20), b"\xe2\x82".repeat(20)].concat();
    let transcript = decode(&frame(0xc1, &deflate(&bad)), &WIDE);
    assert_eq!(transcript.error, Some(ProtocolError::TextNotUtf8));
    let transcript = decode(&frame(0xc2, &deflate(&bad)), &WIDE);
    assert_eq!(transcript.messages, [Binary(bad)]);
}

/// NATS CVE-2026-27571, Bandit CVE-2026-39804, uWebSockets CVE-2016-10544 and others: a bomb.
#[test]
fn inflating_stops_at_the_limit() {
    let zeros = vec![0; 4 << 20];
    let mut deflater = Deflater::new(9);
    let bomb = deflater.deflate(&zeros).expect("shorter").to_vec();
    assert!(bomb.len() * 1000 < zeros.len(), "it is one: {}", bomb.len());
    let mut inflater = Inflater::new();
    for bytes_max in [0, 1, 1023, 1024, 65536, 100_000, 1 << 20] {
        let inflated = inflater.inflate(&bomb, bytes_max).map(<[u8]>::len);
        assert_eq!(inflated, Err(ProtocolError::MessageTooBig));
        assert!(
            inflater.buffer_bytes() <= (bytes_max + 1).max(64 << 10),
            "at {bytes_max}"
        );
    }
    // Also when the buffer is longer, from the message before.
    let message = deflater
        .deflate(&zeros[..60_000])
        .expect("shorter")
        .to_vec();
    assert!(inflater.inflate(&message, 60_000).is_ok());
    let before = inflater.steps();
    assert!(inflater.inflate(&bomb, 10).is_err());
    let steps = inflater.steps() - before;
    assert!(steps <= 12 + bomb.len() as u64, "{steps} steps");

    // The limit is the last length that passes, at linear work.
    let mut inflater = Inflater::new();
    let inflated = inflater.inflate(&bomb, zeros.len() - 1).map(<[u8]>::len);
    assert_eq!(inflated, Err(ProtocolError::MessageTooBig));
    let before = inflater.steps();
    let inflated = inflater.inflate(&bomb, zeros.len()).map(<[u8]>::len);
    assert_eq!(inflated, Ok(zeros.len()));
    let steps = inflater.steps() - before;
    assert!(
        steps <= STEPS_PER_DEFLATED_BYTE_MAX * bomb.len() as u64,
        "{steps} steps"
    );
    // A long buffer does not outlive the next message.
    assert!(inflater.inflate(&message, 60_000).is_ok());
    assert!(inflater.buffer_bytes() <= 64 << 10);

    let limits = Limits {
        message_bytes_max: 1 << 20,
        ..WIDE
    };
    let mut stream = Vec::new();
    append_masked_frame(&mut stream, Opcode::Binary, &bomb, MASK);
    stream[0] |= 0x40;
    let lens = std::iter::repeat(4096);
    let ended = transcript_inflating(&stream, lens, Role::Server, &limits, Some(&mut inflater));
    assert_eq!(ended.error, Some(ProtocolError::MessageTooBig));
}

/// The same with a context: also when the bomb refers to what came before.
#[test]
fn inflating_with_takeover_stops_at_the_limit() {
    let zeros = vec![0; 4 << 20];
    let mut deflater = Deflater::with_window(9, 15, true);
    let small = deflater
        .deflate(&zeros[..60_000])
        .expect("shorter")
        .to_vec();
    let bomb = deflater.deflate(&zeros).expect("shorter").to_vec();
    assert!(bomb.len() * 1000 < zeros.len(), "it is one: {}", bomb.len());
    for bytes_max in [0, 1, 1023, 65536, 1 << 20, (4 << 20) - 1] {
        let mut inflater = Inflater::with_takeover(true);
        assert!(inflater.inflate(&small, 60_000).is_ok());
        let inflated = inflater.inflate(&bomb, bytes_max).map(<[u8]>::len);
        assert_eq!(inflated, Err(ProtocolError::MessageTooBig));
        let allowed = (bytes_max + 1).max(64 << 10);
        assert!(inflater.buffer_bytes() <= allowed, "at {bytes_max}");
    }
    let mut inflater = Inflater::with_takeover(true);
    assert!(inflater.inflate(&small, 60_000).is_ok());
    assert_eq!(inflater.inflate(&bomb, zeros.len()), Ok(&zeros[..]));
}

/// Contexts of many connections do with one buffer.
#[test]
fn contexts_share_a_buffer() {
    let text = |n: usize| format!("{n}: to be or not to be, that is the question");
    let mut deflaters = [1, 2].map(|level| Deflater::with_window(level, 15, true));
    let mut inflaters = [1, 2].map(|_| Inflater::with_takeover(true));
    let (mut buffer, mut shared) = (Vec::new(), Inflater::new());
    for n in 0..100 {
        let (deflater, inflater) = (&mut deflaters[n % 2], &mut inflaters[n % 2]);
        deflater.swap_buffer(&mut buffer);
        inflater.swap_buffer(&mut shared);
        let deflated = deflater.deflate(text(n).as_bytes()).expect("shorter");
        assert!(n < 2 || deflated.len() < 12, "it refers to the one before");
        assert_eq!(inflater.inflate(deflated, 100), Ok(text(n).as_bytes()));
        deflater.swap_buffer(&mut buffer);
        inflater.swap_buffer(&mut shared);
        assert_eq!(inflater.buffer_bytes(), 0, "it keeps none of its own");
    }
}

#[test]
fn a_message_may_grow_so_far_and_no_further() {
    let noise: Vec<u8> = (0..=255_u8).map(|n| n.wrapping_mul(167) ^ 0x5a).collect();
    let mut deflater = Deflater::with_window(6, 15, true);
    assert_eq!(deflater.deflate_within(&noise, noise.len()), None);
    let first = deflater.deflate_within(&noise, noise.len() + 64);
    let first = first.expect("a little longer").to_vec();
    assert!(first.len() > noise.len());
    let second = deflater.deflate_within(&noise, 10).expect("a reference");
    let mut inflater = Inflater::with_takeover(true);
    assert_eq!(inflater.inflate(&first, 256), Ok(&noise[..]));
    assert_eq!(inflater.inflate(second, 256), Ok(&noise[..]));
}

/// Every stream's end makes the inflater start anew: that must cost no more than its two bytes.
#[test]
fn many_streams_in_one_message_are_linear() {
    let empty_last_block = [0x03, 0x00];
    let mut inflater = Inflater::new();
    let payload = empty_last_block.repeat(100_000);
    assert_eq!(inflater.inflate(&payload, 10), Ok(&b""[..]));
    assert!(inflater.steps() <= 4 * payload.len() as u64);
}

#[test]
fn a_deflater_sends_what_a_client_reads() {
    let text = "to be or not to be, ".repeat(50);
    for window_bits in 9..=15 {
        let mut deflater = Deflater::with_window(6, window_bits, false);
        for fragment_bytes_max in [usize::MAX, 10] {
            let deflated = deflater.deflate(text.as_bytes()).expect("shorter");
            let frozen = Frozen::compressed(Opcode::Text, deflated, fragment_bytes_max);
            assert!(frozen.is_compressed());
            assert_eq!(frozen.opcode(), Opcode::Text);
            let heard = transcript_inflating(
                frozen.as_bytes(),
                [usize::MAX],
                Role::Client,
                &WIDE,
                Some(&mut Inflater::new()),
            );
            assert_eq!(heard.messages, [Text(text.clone())]);
        }
    }
}

#[test]
fn what_would_not_get_shorter_is_not_compressed() {
    for takeover in [false, true] {
        let mut deflater = Deflater::with_window(6, 15, takeover);
        assert_eq!(deflater.deflate(b""), None);
        assert_eq!(deflater.deflate(b"ab"), None);
        // 256 different bytes in no order.
        let noise: Vec<u8> = (0..=255_u8).map(|n| n.wrapping_mul(167) ^ 0x5a).collect();
        assert_eq!(deflater.deflate(&noise), None);
        // What was not sent is not referred to.
        let text = [&noise[..64], &[b'x'; 64]].concat();
        let deflated = deflater.deflate(&text).expect("shorter").to_vec();
        let mut inflater = Inflater::with_takeover(takeover);
        assert_eq!(inflater.inflate(&deflated, 1000), Ok(&text[..]));
    }
}

/// zlib-rs 0.6.8 panicked here at level 1: output that ran full, then the same compressor again.
#[test]
fn noise_after_noise() {
    let mut state = 12345_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(100_000)
    .collect();
    for level in 1..=9 {
        for takeover in [false, true] {
            let mut deflater = Deflater::with_window(level, 15, takeover);
            let mut inflater = Inflater::with_takeover(takeover);
            for len in [20_000, 100_000, 100, 100_000] {
                let deflated = deflater.deflate_any(&noise[..len]).expect("zlib");
                assert_eq!(inflater.inflate(deflated, len), Ok(&noise[..len]));
                deflater.deflate(&noise[..len]);
            }
        }
    }
}

/// RFC 7692 §7.2.1: a block with BFINAL needs padding behind it. None is sent, so that no message
/// ends the stream.
#[test]
fn no_block_is_the_last() {
    let text = b"all work and no play makes a dull protocol. ".repeat(3000);
    let squares = (0..100_000_u32).map(|n| n.wrapping_mul(n));
    let squares: Vec<u8> = squares.flat_map(u32::to_le_bytes).collect();
    for (level, takeover) in (1..=9).flat_map(|level| [(level, false), (level, true)]) {
        let mut deflater = Deflater::with_window(level, 15, takeover);
        let mut judge = flate2::Decompress::new(false);
        for message in [b"".as_slice(), b"x", &text[..100], &text, &squares] {
            if !takeover {
                judge.reset(false);
            }
            let deflated = deflater.deflate_any(message).expect("on request");
            let stream = [deflated, &[0x00, 0x00, 0xff, 0xff]].concat();
            let mut out = Vec::with_capacity(message.len() + 1);
            let before = judge.total_in();
            let status = judge.decompress_vec(&stream, &mut out, flate2::FlushDecompress::Sync);
            assert!(matches!(status, Ok(flate2::Status::Ok)), "level {level}");
            assert_eq!(judge.total_in() - before, stream.len() as u64);
            assert!(out == message, "level {level}");
        }
    }
}

#[test]
fn what_gets_longer_is_compressed_on_request() {
    for takeover in [false, true] {
        let mut deflater = Deflater::with_window(6, 15, takeover);
        let mut inflater = Inflater::with_takeover(takeover);
        for message in [&b""[..], b"", b"a", b"", b"ab", b"a"] {
            let deflated = deflater.deflate_any(message).expect("zlib");
            assert!(!deflated.is_empty(), "an empty message is a byte");
            assert_eq!(inflater.inflate(deflated, 2), Ok(message));
        }
    }
}

/// A window carried to another inflater, after each message, is as good as the inflater itself, which
/// goes on as well, as when it is taken back.
#[test]
fn a_window_is_carried_between_any_two_messages() {
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for (level, window_bits) in [(1, 15), (6, 15), (9, 9)] {
        let mut deflater = Deflater::with_window(level, window_bits, true);
        let mut kept = Inflater::with_takeover(true);
        let mut carried = Inflater::with_takeover(true);
        assert_eq!(carried.window(), b"", "nothing was sent");
        let mut sent = Vec::new();
        for n in 0..60 {
            // First few bytes, where no reference is long enough; later more than a window.
            let len = match n {
                0..10 => n % 4,
                10..50 => random(300),
                _ => random(40_000),
            };
            let from = random(sent.len() + 1);
            let mut message: Vec<u8> = sent[from..].iter().copied().take(len).collect();
            message.resize_with(len, || random(7) as u8);
            let deflated = deflater.deflate_any(&message).expect("zlib").to_vec();
            assert_eq!(kept.inflate(&deflated, 1 << 20), Ok(&message[..]));
            assert_eq!(carried.inflate(&deflated, 1 << 20), Ok(&message[..]));
            sent.extend_from_slice(&message);
            let window = carried.window();
            let last = &sent[sent.len().saturating_sub(1 << 15)..];
            assert!(window.ends_with(last), "message {n}: what was sent last");
            carried = Inflater::from_window(&window);
            kept.window();
        }
    }
}

/// Without takeover no message refers to another.
#[test]
fn an_inflater_without_takeover_has_no_window() {
    let mut deflater = Deflater::new(6);
    let mut inflater = Inflater::new();
    let deflated = deflater.deflate(&[b'x'; 100]).expect("shorter");
    assert!(inflater.inflate(deflated, 100).is_ok());
    assert_eq!(inflater.window(), b"");
}
