//! Any conversation, cut anywhere, decodes to itself.

use proptest::collection::vec;
use proptest::prelude::*;
use roost_wire::deflate::{Deflater, Inflater};
use roost_wire::frame::{append_masked_fragment, append_masked_frame};
use roost_wire::fuzz::{
    self, OwnedMessage, Transcript, early_transcript, transcript, transcript_inflating,
};
use roost_wire::{CloseCode, Opcode, Role, hixie};

use crate::support::{WIDE, cuts, decode};

/// A message, and how a client sends it.
#[derive(Debug, Clone)]
struct Sent {
    message: OwnedMessage,
    /// Where its payload is cut into fragments, in 1/256 of its length; pings between them.
    cuts: Vec<u8>,
    pings: bool,
    mask: [u8; 4],
    /// Where that was agreed to.
    compressed: bool,
}

fn any_message() -> impl Strategy<Value = OwnedMessage> {
    prop_oneof![
        8 => any::<String>().prop_map(OwnedMessage::Text),
        8 => vec(any::<char>(), 0..100).prop_map(|c| OwnedMessage::Text(c.into_iter().collect())),
        16 => vec(any::<u8>(), 0..300).prop_map(OwnedMessage::Binary),
        1 => vec(any::<u8>(), 65_000..67_000).prop_map(OwnedMessage::Binary),
        4 => vec(any::<u8>(), 0..=125).prop_map(OwnedMessage::Ping),
        4 => vec(any::<u8>(), 0..=125).prop_map(OwnedMessage::Pong),
    ]
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let cuts = prop_oneof![Just(vec![]), vec(any::<u8>(), 1..6)];
    let (pings, mask, compressed) = (any::<bool>(), any::<[u8; 4]>(), any::<bool>());
    (any_message(), cuts, pings, mask, compressed).prop_map(
        |(message, mut cuts, pings, mask, compressed)| {
            cuts.sort_unstable();
            Sent {
                message,
                cuts,
                pings,
                mask,
                compressed,
            }
        },
    )
}

/// Appends what goes over the wire to `stream`, and what is to be heard to `heard`.
fn encode(sent: &Sent, stream: &mut Vec<u8>, heard: &mut Vec<OwnedMessage>) {
    encode_with(sent, None, stream, heard);
}

/// The same where permessage-deflate was agreed to, if there is a deflater.
fn encode_with(
    sent: &Sent,
    deflater: Option<&mut Deflater>,
    stream: &mut Vec<u8>,
    heard: &mut Vec<OwnedMessage>,
) {
    let (opcode, payload): (Opcode, &[u8]) = match &sent.message {
        OwnedMessage::Text(text) => (Opcode::Text, text.as_bytes()),
        OwnedMessage::Binary(bytes) => (Opcode::Binary, bytes),
        OwnedMessage::Ping(bytes) => (Opcode::Ping, bytes),
        OwnedMessage::Pong(bytes) => (Opcode::Pong, bytes),
        OwnedMessage::Close(..) => unreachable!("no close is generated here"),
    };
    if opcode.is_control() {
        append_masked_frame(stream, opcode, payload, sent.mask);
        heard.push(sent.message.clone());
        return;
    }
    let deflater = deflater.filter(|_| sent.compressed);
    let deflated = deflater.map(|deflater| deflater.deflate_any(payload).expect("zlib"));
    let rsv1 = if deflated.is_some() { 0x40 } else { 0 };
    let payload = deflated.unwrap_or(payload);
    let (first, mut from) = (stream.len(), 0);
    for (index, cut) in sent.cuts.iter().enumerate() {
        let to = payload.len() * usize::from(*cut) / 256;
        let opcode = if index == 0 {
            opcode
        } else {
            Opcode::Continuation
        };
        append_masked_fragment(stream, opcode, false, &payload[from..to], sent.mask);
        from = to;
        if sent.pings {
            append_masked_frame(stream, Opcode::Ping, b"between", sent.mask);
            heard.push(OwnedMessage::Ping(b"between".to_vec()));
        }
    }
    let opcode = if sent.cuts.is_empty() {
        opcode
    } else {
        Opcode::Continuation
    };
    append_masked_fragment(stream, opcode, true, &payload[from..], sent.mask);
    stream[first] |= rsv1; // RFC 7692 §6.1: on the first frame only
    heard.push(sent.message.clone());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_conversation_in_any_pieces(
        sent in vec(any_sent(), 0..8),
        pieces in vec(1_usize..400, 1..50),
    ) {
        let (mut stream, mut heard) = (vec![], vec![]);
        for sent in &sent {
            encode(sent, &mut stream, &mut heard);
        }
        append_masked_frame(&mut stream, Opcode::Close, &1000_u16.to_be_bytes(), [1, 2, 3, 4]);
        heard.push(OwnedMessage::Close(Some(CloseCode::NORMAL), String::new()));
        // RFC 6455 §5.5.1: nothing after a close counts.
        stream.extend([0xff; 10]);
        let expected = Transcript { messages: heard, error: None };
        for pieces in [vec![stream.len()], vec![1], pieces] {
            let lens = pieces.iter().copied().cycle();
            prop_assert_eq!(&transcript(&stream, lens, Role::Server, &WIDE), &expected);
        }
    }

    #[test]
    fn a_short_conversation_cut_at_every_place(sent in vec(any_sent(), 1..3)) {
        let (mut stream, mut heard) = (vec![], vec![]);
        for sent in &sent {
            encode(sent, &mut stream, &mut heard);
        }
        prop_assert_eq!(decode(&stream), Transcript { messages: heard, error: None });
    }

    /// Each message twice, so that with takeover the second refers to the first.
    #[test]
    fn any_compressed_conversation_in_any_pieces(
        sent in vec(any_sent(), 0..4),
        takeover in any::<bool>(),
        (level, window_bits) in (1_u8..=9, 9_u8..=15),
        pieces in vec(1_usize..400, 1..50),
    ) {
        let mut deflater = Deflater::with_window(level, window_bits, takeover);
        let (mut stream, mut heard) = (vec![], vec![]);
        for sent in sent.iter().flat_map(|sent| [sent, sent]) {
            encode_with(sent, Some(&mut deflater), &mut stream, &mut heard);
        }
        let expected = Transcript { messages: heard, error: None };
        let run = |lens: &mut dyn Iterator<Item = usize>| {
            let mut inflater = Inflater::with_takeover(takeover);
            transcript_inflating(&stream, lens, Role::Server, &WIDE, Some(&mut inflater))
        };
        for pieces in [vec![stream.len()], vec![1], pieces] {
            prop_assert_eq!(&run(&mut pieces.iter().copied().cycle()), &expected);
        }
        for cut in cuts(&stream) {
            let cut_once = run(&mut [cut, stream.len()].into_iter());
            prop_assert_eq!(&cut_once, &expected, "cut at {}", cut);
        }
    }

    /// Valid streams with a few bytes changed reach deeper than random bytes.
    #[test]
    fn damaged_conversations_hold_the_invariants(
        sent in vec(any_sent(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        rules in any::<[u8; 2]>(),
    ) {
        let mut data = rules.to_vec();
        for sent in &sent {
            encode(sent, &mut data, &mut vec![]);
        }
        for (place, byte) in &damage {
            let place = place.index(data.len());
            data[place] = *byte;
        }
        fuzz::decoder(&data);
    }

    #[test]
    fn any_early_conversation_in_any_pieces(
        messages in vec(any_message(), 0..8),
        pieces in vec(1_usize..400, 1..50),
    ) {
        let mut stream = Vec::new();
        let mut heard = Vec::new();
        for message in messages {
            match &message {
                OwnedMessage::Text(text) => {
                    hixie::append_message(&mut stream, Opcode::Text, text.as_bytes());
                }
                OwnedMessage::Binary(bytes) => {
                    hixie::append_message(&mut stream, Opcode::Binary, bytes);
                }
                _ => continue,
            }
            heard.push(message);
        }
        stream.extend_from_slice(hixie::close().as_bytes());
        heard.push(OwnedMessage::Close(None, String::new()));
        stream.extend([0x00; 10]);
        let expected = Transcript { messages: heard, error: None };
        for pieces in [vec![stream.len()], vec![1], pieces] {
            let lens = pieces.iter().copied().cycle();
            prop_assert_eq!(&early_transcript(&stream, lens, &WIDE), &expected);
        }
    }

    /// Long enough for several messages, as they are compressed, fragmented and interrupted.
    #[test]
    fn any_compressed_frames_hold_the_invariants(data in vec(any::<u8>(), 0..2000)) {
        fuzz::deflate(&data);
    }

    #[test]
    fn random_bytes_hold_the_invariants(data in vec(any::<u8>(), 0..200)) {
        fuzz::decoder(&data);
        fuzz::head(&data);
        fuzz::deflate(&data);
        fuzz::hixie(&data);
        fuzz::proxy(&data);
        fuzz::forwarded(&data);
    }

    #[test]
    fn any_forwarded_header(pieces in vec(prop::sample::select(FORWARDED_PIECES), 0..24)) {
        fuzz::forwarded(pieces.concat().as_bytes());
    }

    #[test]
    fn any_proxy_header(
        sample in prop::sample::select(PROXY_HEADERS),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        rest in vec(any::<u8>(), 0..600),
    ) {
        let mut data = sample.to_vec();
        data.extend(rest);
        for (place, byte) in &damage {
            let place = place.index(sample.len());
            data[place] = *byte;
        }
        fuzz::proxy(&data);
    }

    #[test]
    fn any_body(header in body_header(), pieces in vec(body_piece(), 0..12)) {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\n{header}\r\n\r\n");
        fuzz::body(&[head.into_bytes(), pieces.concat()].concat());
    }
}

/// Of what headers that name clients are made, and of what breaks them.
const FORWARDED_PIECES: &[&str] = &[
    "for=",
    "FOR=",
    "for =",
    "by=",
    "proto=https",
    "\"",
    "\\\"",
    ",",
    ", ",
    ";",
    "=",
    "[",
    "]",
    ":",
    ":80",
    "_hidden",
    "unknown",
    "192.0.2.9",
    "10.0.0.7",
    "2001:db8::9",
    "::ffff:10.0.0.7",
    "\n",
    " ",
    "\u{e9}",
];

/// Beginnings of headers of the PROXY protocol.
const PROXY_HEADERS: &[&[u8]] = &[
    b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
    b"PROXY TCP6 2001:db8::1 ::1 80 443\r\n",
    b"PROXY UNKNOWN ",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x13\x88\x01\xbb",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\x02\x18",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24",
];

fn body_header() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("Transfer-Encoding: chunked".to_owned()),
        1 => (0..120_u64).prop_map(|length| format!("Content-Length: {length}")),
        1 => "Content-Length: [0-9]{1,22}",
    ]
}

/// A chunk, a piece of one, or bytes.
fn body_piece() -> impl Strategy<Value = Vec<u8>> {
    let chunk = |bytes: Vec<u8>| {
        let size = format!("{:x}\r\n", bytes.len()).into_bytes();
        [size, bytes, b"\r\n".to_vec()].concat()
    };
    let token = prop::sample::select(vec![
        "0\r\n\r\n",
        "0\r\n",
        "\r\n",
        "\n",
        "\r",
        "5",
        ";a=b",
        "A: b\r\n",
        " ",
        "f",
        "10\r\n",
    ]);
    prop_oneof![
        4 => vec(any::<u8>(), 1..40).prop_map(chunk),
        3 => token.prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ]
}
