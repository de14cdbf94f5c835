//! One session, sent in any pieces: what the server says is the same to the byte.

use std::ops::Range;
use std::thread;
use std::time::Instant;

use roost_net::sim::SimRng;
use roost_reactor::Deflate as DeflateSettings;
use roost_testkit::client::{
    Checked, Client, Deflate, Failure, Frame, RSV1, Received, ReceivedFrame, Request, opcode,
};
use roost_testkit::server::{Backend, DEADLINE, TestServer};

roost_testkit::on_each_backend!(
    a_plain_session_in_any_pieces,
    a_compressed_session_in_any_pieces,
    a_compressed_session_with_contexts_in_any_pieces,
    an_early_session_in_any_pieces,
);

fn a_plain_session_in_any_pieces(backend: Backend) -> Checked {
    modern(backend, None)
}

fn a_compressed_session_in_any_pieces(backend: Backend) -> Checked {
    let offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    modern(backend, Some((offer, 0)))
}

fn a_compressed_session_with_contexts_in_any_pieces(backend: Backend) -> Checked {
    modern(backend, Some(("permessage-deflate", 10 << 20)))
}

/// What a client sends, and where it may be cut.
#[derive(Default)]
struct Session {
    parts: Vec<Part>,
    /// Before and behind each byte of each header.
    cuts: Vec<usize>,
    /// Of the long body, which does not go byte by byte.
    body: Range<usize>,
    len: usize,
    /// Bytes sent so far to a server with no other client. Its own count may be an iteration late.
    sent: u64,
}

/// What is sent before an answer is awaited. A pong may overtake what waits to be sent, so a ping
/// is the last of its part, and nothing waits when it is sent.
#[derive(Default)]
struct Part {
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Session {
    fn send(&mut self, bytes: &[u8]) {
        let part = self.parts.last_mut().expect("begun");
        part.sent.extend(bytes);
        self.len += bytes.len();
    }

    fn begin_part(&mut self) {
        self.parts.push(Part::default());
    }

    /// Something to be cut before and behind each of its bytes.
    fn send_header(&mut self, bytes: &[u8]) {
        self.cuts.extend(self.len..=self.len + bytes.len());
        self.send(bytes);
    }

    fn send_frame(&mut self, frame: &Frame) {
        let bytes = frame.bytes();
        let length = match bytes[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let (header, body) = bytes.split_at(2 + length + 4);
        self.send_header(header);
        self.send_body(body);
    }

    fn send_body(&mut self, body: &[u8]) {
        if body.len() >= LONG {
            self.body = self.len..self.len + body.len();
        }
        self.send(body);
    }

    /// Sends it cut at these places, each piece when the server has what was before it, and
    /// requires of each part what was received once.
    fn repeat(&mut self, server: &TestServer, cuts: &[usize]) -> Result<(), Failure> {
        let mut client = Client::connect(server.address())?;
        let mut at = 0;
        for (number, part) in self.parts.iter().enumerate() {
            let mut rest = part.sent.as_slice();
            while !rest.is_empty() {
                let cut = cuts.iter().find(|&&cut| cut > at);
                let len = cut.map_or(rest.len(), |cut| rest.len().min(cut - at));
                let (piece, after) = rest.split_at(len);
                client.send(piece)?;
                (at, rest) = (at + len, after);
                self.sent += len as u64;
                wait_for_bytes(server, self.sent);
            }
            let received = client.read_exact(part.received.len()).map_err(|failure| {
                let cuts = &cuts[..cuts.len().min(3)];
                Failure::new(format!("part {number}, cut at {cuts:?}: {failure}"))
            })?;
            assert!(
                received == part.received,
                "part {number} of a session cut at {:?} is answered otherwise",
                &cuts[..cuts.len().min(3)],
            );
        }
        client.expect_fin()
    }

    fn repeat_in_all_pieces(&mut self, server: &TestServer) -> Checked {
        self.repeat(server, &[])?;
        let bytes = (1..self.body.start).chain(self.body.clone().step_by(7919));
        let bytes: Vec<usize> = bytes.chain(self.body.end..self.len).collect();
        self.repeat(server, &bytes)?;
        self.cuts.dedup();
        assert!(self.cuts.len() > 20, "{} cuts", self.cuts.len());
        let inside = 1..self.len;
        for cut in std::mem::take(&mut self.cuts) {
            if inside.contains(&cut) {
                self.repeat(server, &[cut])?;
            }
        }
        Ok(())
    }
}

/// A message's or a control frame's opcode and payload.
type Whole = (u8, Vec<u8>);

fn modern(backend: Backend, deflate: Option<(&str, usize)>) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.deflate = DeflateSettings {
            enabled: deflate.is_some(),
            compress_min_bytes: 0,
            level: 1,
            takeover_bytes_max: deflate.map_or(0, |(_, bytes_max)| bytes_max),
        };
    });
    let mut request = Request::websocket("h", "/echo");
    if let Some((offer, _)) = deflate {
        request = request.header(format!("Sec-WebSocket-Extensions: {offer}"));
    }
    // The server answers with what is offered: agreed to beforehand, as the first frames come in
    // one piece with the request.
    let mut ours = deflate
        .map(|(offer, _)| Deflate::agreed(offer, offer))
        .transpose()?;
    let rsv = if ours.is_some() { RSV1 } else { 0 };
    let mut encode = |payload: &[u8]| match &mut ours {
        Some(deflate) => deflate.compress(payload),
        None => payload.to_vec(),
    };

    let text = "κόσμε".as_bytes().to_vec();
    let fragmented = "a text in two fragments, with a ping between. ".repeat(4);
    let binary: Vec<u8> = noise(300);
    let long = noise(LONG);

    let mut session = Session::default();
    session.begin_part();
    let head = request.bytes();
    let (line, end) = head.split_at(head.len() - 4);
    session.send(line);
    session.send_header(end);
    session.send_frame(&Frame::text(encode(&text)).reserved(rsv));
    session.begin_part();
    let encoded = encode(fragmented.as_bytes());
    let (first, second) = encoded.split_at(encoded.len() / 2);
    session.send_frame(&Frame::text(first).reserved(rsv).unfinished());
    session.send_frame(&Frame::ping("between"));
    session.begin_part();
    session.send_frame(&Frame::continuation(second));
    session.send_frame(&Frame::binary(encode(&binary)).reserved(rsv));
    session.send_frame(&Frame::binary(encode(&long)).reserved(rsv));
    session.send_frame(&Frame::text(encode(b"")).reserved(rsv));
    session.begin_part();
    session.send_frame(&Frame::ping("last"));
    session.begin_part();
    session.send_frame(&Frame::close(1000, b"enough"));

    let expected: [Vec<Whole>; 5] = [
        vec![(opcode::TEXT, text)],
        vec![(opcode::PONG, b"between".to_vec())],
        vec![
            (opcode::TEXT, fragmented.into_bytes()),
            (opcode::BINARY, binary),
            (opcode::BINARY, long),
            (opcode::TEXT, Vec::new()),
        ],
        vec![(opcode::PONG, b"last".to_vec())],
        vec![(
            opcode::CLOSE,
            [&1000_u16.to_be_bytes()[..], b"enough"].concat(),
        )],
    ];
    record(&server, &mut session, &expected, deflate.map(|d| d.0))?;
    session.repeat_in_all_pieces(&server)?;
    all_at_once(&server, &session)?;
    server.wait_for_count("connections_open", |open| open == 0);
    Ok(())
}

/// Has the session once, part by part, keeps what is received and requires that it is as expected.
fn record(
    server: &TestServer,
    session: &mut Session,
    expected: &[Vec<Whole>],
    offer: Option<&str>,
) -> Result<(), Failure> {
    let mut client = Client::connect(server.address())?;
    client.deflate = offer.is_some();
    let mut theirs = None;
    for (part, expected) in session.parts.iter_mut().zip(expected) {
        client.send(&part.sent)?;
        session.sent += part.sent.len() as u64;
        if part.sent.starts_with(b"GET") {
            while !part.received.ends_with(b"\r\n\r\n") {
                part.received.extend(client.read_exact(1)?);
            }
            let head = String::from_utf8_lossy(&part.received).into_owned();
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            let answer = head
                .lines()
                .find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
            assert_eq!(answer, offer, "agreed to what was offered");
            theirs = offer
                .map(|offer| Deflate::agreed(offer, offer))
                .transpose()?;
        }
        for (opcode, payload) in expected {
            let frame = receive_frame(&mut client)?;
            part.received.extend(bytes_of(&frame));
            assert_eq!((frame.fin, frame.opcode), (true, *opcode));
            let data = matches!(frame.opcode, opcode::TEXT | opcode::BINARY);
            let received = match &mut theirs {
                Some(deflate) if data => {
                    assert_eq!(frame.rsv, RSV1);
                    deflate.inflate(&frame.payload)?
                }
                _ => frame.payload,
            };
            assert!(received == *payload, "{} bytes", received.len());
        }
    }
    client.expect_fin()
}

/// In one write. A pong may come before what was asked for before it, or stand for two.
fn all_at_once(server: &TestServer, session: &Session) -> Result<(), Failure> {
    let mut client = Client::connect(server.address())?;
    let sent: Vec<u8> = session.parts.iter().flat_map(|p| p.sent.clone()).collect();
    client.send(&sent)?;
    let head = &session.parts[0].received;
    let head_len = head.windows(4).position(|end| end == b"\r\n\r\n");
    let head = &head[..head_len.expect("a response") + 4];
    assert_eq!(client.read_exact(head.len())?, head);
    client.deflate = true; // a bit too much is found below
    let mut received = head.to_vec();
    let mut pongs = Vec::new();
    loop {
        let frame = match client.receive_any()? {
            Received::Frame(frame) => frame,
            Received::Fin => break,
            other => return Err(Failure::new(format!("received {other:?}"))),
        };
        match frame.opcode {
            opcode::PONG => pongs.push(frame.payload),
            _ => received.extend(bytes_of(&frame)),
        }
    }
    assert_eq!(pongs.pop().as_deref(), Some(&b"last"[..]));
    assert!(matches!(pongs.as_slice(), [] | [_]), "{pongs:?}");
    let is_pong = |part: &&Part| part.received[0] == 0x80 | opcode::PONG;
    let others = session.parts.iter().filter(|part| !is_pong(part));
    let expected: Vec<u8> = others.flat_map(|part| part.received.clone()).collect();
    assert!(
        received == expected,
        "in one piece it is answered otherwise"
    );
    Ok(())
}

fn an_early_session_in_any_pieces(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].config.hixie = true
    });
    let (binary, long) = (noise(300), noise(LONG));
    let mut session = Session::default();
    session.begin_part();
    let (line, end) = HEAD.split_at(HEAD.len() - 4);
    session.send(line);
    session.send_header(end);
    session.send_header(CHALLENGE);
    let mut received = ACCEPTED.to_vec();
    for (start, body, end) in [
        (&b"\0"[..], "κόσμε".as_bytes(), &b"\xff"[..]),
        (b"\x80\x82\x2c", &binary, b""),
        (b"\0", b"", b"\xff"),
        (b"\x80\x84\xa2\x70", &long, b""),
        (b"\x80\x00", b"", b""),
        (b"\xff\0", b"", b""),
    ] {
        session.send_header(start);
        session.send_body(body);
        session.send_header(end);
        received.extend([start, body, end].concat());
    }
    session.parts[0].received = received;
    session.repeat_in_all_pieces(&server)?;
    server.wait_for_count("connections_open", |open| open == 0);
    Ok(())
}

/// Looks often, as thousands of bytes are awaited one by one.
fn wait_for_bytes(server: &TestServer, expected: u64) {
    let until = Instant::now() + DEADLINE;
    while server.count("received_bytes_total") != expected {
        assert!(Instant::now() < until, "{expected} bytes awaited in vain");
        thread::yield_now();
    }
}

fn receive_frame(client: &mut Client) -> Result<ReceivedFrame, Failure> {
    match client.receive_any()? {
        Received::Frame(frame) => Ok(frame),
        received => Err(Failure::new(format!(
            "a frame was expected, not {received:?}"
        ))),
    }
}

/// A server's frame as it was on the wire: its length is in the shortest form, or was a failure.
fn bytes_of(frame: &ReceivedFrame) -> Vec<u8> {
    let again = Frame::new(frame.opcode, &frame.payload)
        .reserved(frame.rsv)
        .unmasked();
    match frame.fin {
        true => again.bytes(),
        false => again.unfinished().bytes(),
    }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut rng = SimRng::new(len as u64);
    let next = || rng.next_u64() as u8;
    std::iter::repeat_with(next).take(len).collect()
}

/// More than fits into a 16-bit length.
const LONG: usize = 70_000;

/// draft-hixie-thewebsocketprotocol-76 §1.3, its example.
const HEAD: &[u8] = b"GET /echo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nUpgrade: WebSocket\r\n\
    Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nOrigin: http://example.com\r\n\r\n";
const CHALLENGE: &[u8] = b"^n:ds[4U";
const ACCEPTED: &[u8] = b"HTTP/1.1 101 WebSocket Protocol Handshake\r\n\
    Upgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Origin: http://example.com\r\n\
    Sec-WebSocket-Location: ws://example.com/echo\r\n\r\n8jKS'y:G*Co,Wxa-";
