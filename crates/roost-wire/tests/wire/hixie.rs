//! The drafts before RFC 6455, by their own examples.

use roost_wire::fuzz::OwnedMessage::{Binary, Close, Text};
use roost_wire::fuzz::{Transcript, early_transcript};
use roost_wire::handshake::{HandshakeError, Request, Upgrade};
use roost_wire::hixie::{self, Draft, challenge_response, detect};
use roost_wire::{
    Frozen, Inbound, Input, Limits, Message, Opcode, PINNED_BYTES_BASE, ProtocolError,
};

use crate::support::WIDE;

/// Draft 75 §1.2.
const REQUEST_75: &str = "GET /demo HTTP/1.1\r\n\
    Upgrade: WebSocket\r\n\
    Connection: Upgrade\r\n\
    Host: example.com\r\n\
    Origin: http://example.com\r\n\
    WebSocket-Protocol: sample\r\n\r\n";

/// Draft 76 §1.2, without the eight bytes.
const REQUEST_76: &str = "GET /demo HTTP/1.1\r\n\
    Host: example.com\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\
    Sec-WebSocket-Protocol: sample\r\n\
    Upgrade: WebSocket\r\n\
    Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
    Origin: http://example.com\r\n\r\n";

fn parse(head: &str) -> Request<'_> {
    Request::parse(head.as_bytes(), 16).expect("a good head")
}

/// The draft, or why not.
fn verdict(head: &str) -> Option<Result<Draft, HandshakeError>> {
    let request = parse(head);
    detect(&request).map(|early| early.map(|early| early.draft()))
}

#[test]
fn the_example_of_draft_75() {
    let request = parse(REQUEST_75);
    let early = detect(&request)
        .expect("an early draft")
        .expect("a good request");
    assert_eq!(
        (early.draft(), early.challenge_bytes()),
        (Draft::Hixie75, 0)
    );
    assert_eq!(early.origin(), "http://example.com");
    assert!(early.protocols().eq(["sample"]));
    let mut out = Vec::new();
    early.write_accept(&mut out, false, [0; 8], Some("sample"));
    let expected = "HTTP/1.1 101 Web Socket Protocol Handshake\r\n\
        Upgrade: WebSocket\r\n\
        Connection: Upgrade\r\n\
        WebSocket-Origin: http://example.com\r\n\
        WebSocket-Location: ws://example.com/demo\r\n\
        WebSocket-Protocol: sample\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn the_example_of_draft_76() {
    let request = parse(REQUEST_76);
    let early = detect(&request)
        .expect("an early draft")
        .expect("a good request");
    assert_eq!(
        (early.draft(), early.challenge_bytes()),
        (Draft::Hixie76, 8)
    );
    let mut out = Vec::new();
    early.write_accept(&mut out, false, *b"^n:ds[4U", Some("sample"));
    let expected = "HTTP/1.1 101 WebSocket Protocol Handshake\r\n\
        Upgrade: WebSocket\r\n\
        Connection: Upgrade\r\n\
        Sec-WebSocket-Origin: http://example.com\r\n\
        Sec-WebSocket-Location: ws://example.com/demo\r\n\
        Sec-WebSocket-Protocol: sample\r\n\r\n\
        8jKS'y:G*Co,Wxa-";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

/// Draft 76 §1.3, §4.1 and §5.2: keys, challenge, answer.
#[test]
fn known_answers() {
    assert_eq!(
        &challenge_response([777_007_543, 114_997_259], *b"G0\"-Z?GX"),
        b"0st3Rl&q-2ZU^weu"
    );
    assert_eq!(
        &challenge_response([155_712_099, 173_347_027], *b"Tm[K T2u"),
        b"fQJ,fN/4F4!~K~MH"
    );
    for (key1, key2, challenge, answer) in [
        (
            "18x 6]8vM;54 *(5:  {   U1]8  z [  8",
            "1_ tx7X d  <  nw  334J702) 7]o}` 0",
            b"Tm[K T2u",
            "fQJ,fN/4F4!~K~MH",
        ),
        (
            "3e6b263  4 17 80",
            "17  9 G`ZD9   2 2b 7X 3 /r90",
            b"WjN}|M(6",
            "n`9eBk9z$R8pOtVb",
        ),
    ] {
        let head = REQUEST_76
            .replace("4 @1  46546xW%0l 1 5", key1)
            .replace("12998 5 Y3 1  .P00", key2);
        let request = parse(&head);
        let early = detect(&request)
            .expect("an early draft")
            .expect("a good request");
        let mut out = Vec::new();
        early.write_accept(&mut out, true, *challenge, None);
        let out = String::from_utf8(out).unwrap();
        assert!(out.ends_with(answer), "{out}");
        assert!(out.contains("\r\nSec-WebSocket-Location: wss://example.com/demo\r\n"));
        assert!(!out.contains("Protocol:"));
    }
}

#[test]
fn the_query_belongs_to_the_location() {
    let head = REQUEST_75.replace("/demo", "/demo?a=b&c");
    let request = parse(&head);
    let mut out = Vec::new();
    let early = detect(&request)
        .expect("an early draft")
        .expect("a good request");
    early.write_accept(&mut out, false, [0; 8], None);
    let out = String::from_utf8(out).unwrap();
    assert!(
        out.contains("\r\nWebSocket-Location: ws://example.com/demo?a=b&c\r\n"),
        "{out}"
    );
}

#[test]
fn what_is_not_early() {
    for head in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        REQUEST_75.replace("Upgrade: WebSocket\r\n", ""),
        REQUEST_75.replace("Origin: http://example.com\r\n", ""),
        REQUEST_75.replace("Host:", "Sec-WebSocket-Version: 13\r\nHost:"),
        REQUEST_75.replace("Host:", "Sec-WebSocket-Key: x\r\nHost:"),
    ] {
        assert_eq!(verdict(&head), None, "{head}");
    }
    // And what is early is refused where it is not looked for.
    for head in [REQUEST_75, REQUEST_76] {
        let request = parse(head);
        let Upgrade::Refused(error) = request.upgrade() else {
            panic!("refused");
        };
        assert_eq!(error, HandshakeError::VersionUnsupported);
    }
}

#[test]
fn malformed_requests() {
    let refused = |from: &str, to: &str, error: HandshakeError| {
        assert!(REQUEST_76.contains(from));
        let head = REQUEST_76.replace(from, to);
        assert_eq!(verdict(&head), Some(Err(error)), "{head}");
    };
    refused("GET", "PUT", HandshakeError::Method);
    refused("HTTP/1.1", "HTTP/1.0", HandshakeError::HttpVersion);
    refused("Host: example.com\r\n", "", HandshakeError::HostMissing);
    refused(
        "Connection: Upgrade\r\n",
        "",
        HandshakeError::ConnectionLacksUpgrade,
    );
    refused(
        "Origin:",
        "Origin: a\r\nOrigin:",
        HandshakeError::OriginRepeated,
    );
    refused("Key1:", "Key3:", HandshakeError::KeyMissing);
    refused(
        "Key1:",
        "Key1: 1 2\r\nSec-WebSocket-Key1:",
        HandshakeError::KeyRepeated,
    );
    let key1 = "4 @1  46546xW%0l 1 5";
    refused(key1, "41465460115", HandshakeError::KeyInvalid); // no space
    refused(key1, "1 2 3 4", HandshakeError::KeyInvalid); // not a multiple of 3
    refused(key1, "42949 67296", HandshakeError::KeyInvalid); // above 32 bits
    refused(
        key1,
        "99999999 9999999999999999999999999",
        HandshakeError::KeyInvalid,
    );
}

/// Decodes whole, in single bytes and cut at each place, always to the same.
fn decode_with(stream: &[u8], limits: &Limits) -> Transcript {
    let whole = early_transcript(stream, [stream.len()], limits);
    let single = early_transcript(stream, std::iter::repeat(1), limits);
    assert_eq!(whole, single, "single bytes of {stream:02x?}");
    for cut in 1..stream.len().min(256) {
        let cut_once = early_transcript(stream, [cut, stream.len()], limits);
        assert_eq!(whole, cut_once, "cut at {cut} of {stream:02x?}");
    }
    whole
}

#[track_caller]
fn error(stream: &[u8], expected: ProtocolError) {
    assert_eq!(
        decode_with(stream, &WIDE).error,
        Some(expected),
        "{stream:02x?}"
    );
}

#[test]
fn text_binary_and_close() {
    let stream = b"\x00Hello\xff\x00\xff\x80\x00\x80\x05Hello\x80\x81\x00"
        .iter()
        .copied()
        .chain([7; 128])
        .chain(*b"\x00Gr\xc3\xbc\xc3\x9fe\xff\xff\x00\x00ignored\xff")
        .collect::<Vec<u8>>();
    let transcript = decode_with(&stream, &WIDE);
    assert_eq!(transcript.error, None);
    assert_eq!(
        transcript.messages,
        [
            Text("Hello".to_owned()),
            Text(String::new()),
            Binary(vec![]),
            Binary(b"Hello".to_vec()),
            Binary(vec![7; 128]),
            Text("Grüße".to_owned()),
            Close(None, String::new()),
        ]
    );
}

#[test]
fn what_the_drafts_discard_is_skipped() {
    let stream = b"\x01skipped\xff\x7f\xff\x81\x03abc\xfe\x00\xff\x01x\x00heard\xff";
    let transcript = decode_with(stream, &WIDE);
    assert_eq!(transcript.error, None);
    assert_eq!(transcript.messages, [Text("heard".to_owned())]);
    // Also when it is not UTF-8, or longer than any message.
    let limits = Limits {
        frame_bytes_max: 4,
        message_bytes_max: 4,
    };
    let transcript = decode_with(
        b"\x01\xfe\x80 too long\xff\x81\x0a0123456789\x00ok\xff",
        &limits,
    );
    assert_eq!(transcript.messages, [Text("ok".to_owned())]);
}

#[test]
fn text_is_utf8() {
    error(b"\x00\x80\xff", ProtocolError::TextNotUtf8);
    error(b"\x00\xe2\x82\xff", ProtocolError::TextNotUtf8);
    // At the offending byte, before the frame ends.
    error(b"\x00abc\xc0", ProtocolError::TextNotUtf8);
}

#[test]
fn lengths() {
    error(b"\x80\x80\x05", ProtocolError::LengthNotMinimal);
    error(b"\x81\x80\x05", ProtocolError::LengthNotMinimal);
    error(b"\x80\x85\x80\x80\x80\x80", ProtocolError::MessageTooBig);
    // What is skipped may be long, but its length must be a number.
    let transcript = decode_with(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\x7fabc", &WIDE);
    assert_eq!((transcript.error, transcript.messages), (None, vec![]));
    error(
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        ProtocolError::LengthOverflow,
    );
}

#[test]
fn limits_hold_before_the_end() {
    let limits = Limits {
        frame_bytes_max: 10,
        message_bytes_max: 8,
    };
    let run = |stream: &[u8]| decode_with(stream, &limits).error;
    assert_eq!(run(b"\x0012345678\xff\x80\x0812345678"), None);
    assert_eq!(run(b"\x00123456789"), Some(ProtocolError::MessageTooBig));
    assert_eq!(run(b"\x80\x09"), Some(ProtocolError::MessageTooBig));
    // What is within the limit counts first.
    assert_eq!(
        run(b"\x001234\xc0789012\xff"),
        Some(ProtocolError::TextNotUtf8)
    );
    let limits = Limits {
        frame_bytes_max: 4,
        ..limits
    };
    let run = |stream: &[u8]| decode_with(stream, &limits).error;
    assert_eq!(run(b"\x0012345"), Some(ProtocolError::FrameTooBig));
    assert_eq!(run(b"\x80\x05"), Some(ProtocolError::FrameTooBig));
}

#[test]
fn floods_pin_little() {
    // Declared and not delivered.
    let mut inbound = hixie::Inbound::new();
    let mut lease = *b"\x80\x83\xff\xff\x7fx";
    assert_eq!(inbound.next(&mut Input::new(&mut lease), &WIDE), Ok(None));
    assert!(!inbound.is_quiet());
    assert!(inbound.pinned_bytes() <= PINNED_BYTES_BASE);
    // Text for ever: the transcript checks the bounds.
    let endless = [&b"\x00"[..], &[b'a'; 100_000]].concat();
    let transcript = early_transcript(&endless, std::iter::repeat(1000), &WIDE);
    assert_eq!((transcript.error, transcript.messages), (None, vec![]));
    // An early decoder is no larger than the other, so that both fit one pool.
    assert!(size_of::<hixie::Inbound>() <= size_of::<Inbound>());
}

#[test]
fn what_we_send() {
    fn frozen(message: Message<'_>) -> Frozen {
        hixie::message(message).expect("it can be said")
    }
    let text = frozen(Message::Text("Grüße"));
    assert_eq!(
        text.as_bytes(),
        "\0Grüße".bytes().chain([0xff]).collect::<Vec<u8>>()
    );
    assert_eq!(text.opcode(), Opcode::Text);
    assert_eq!(text.payload(), Some("Grüße".as_bytes()));
    for len in [0, 1, 127, 128, 16383, 16384, 1 << 21] {
        let payload = vec![5; len];
        let binary = frozen(Message::Binary(&payload));
        assert_eq!(binary.opcode(), Opcode::Binary);
        assert_eq!(binary.payload(), Some(&payload[..]), "length {len}");
        assert!(!binary.is_compressed());
        let heard = early_transcript(binary.as_bytes(), [binary.len()], &WIDE);
        assert_eq!(heard.messages, [Binary(payload.clone())]);
        let mut appended = Vec::new();
        hixie::append_message(&mut appended, Opcode::Binary, &payload);
        assert_eq!(appended, binary.as_bytes());
    }
    assert_eq!(
        frozen(Message::Binary(&[5; 300])).as_bytes()[..3],
        [0x80, 0x82, 0x2c]
    );
    let close = hixie::close();
    assert_eq!(close.as_bytes(), b"\xff\x00");
    assert_eq!(
        (close.opcode(), close.payload()),
        (Opcode::Close, Some(&b""[..]))
    );
    assert!(!close.is_compressed());
    assert_eq!(frozen(Message::Close(None, "lost")), close);
    assert_eq!(hixie::message(Message::Ping(b"")), None);
    assert_eq!(hixie::message(Message::Pong(b"")), None);
}
