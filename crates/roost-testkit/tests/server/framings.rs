//! One channel for all: each client receives it in the framing of its own connection.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roost_reactor::Deflate;
use roost_testkit::client::{Checked, Client, Failure, Message, RSV1, Received, Request, opcode};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

roost_testkit::on_each_backend!(all_framings_meet_in_one_channel);

/// All clients of the channel `x`.
struct Member {
    speaks: Speaks,
    client: Client,
    requests: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Hixie75,
    Hixie76,
    Modern,
    /// With permessage-deflate.
    Deflate,
    Wamp,
}

impl Speaks {
    const ALL: [Speaks; 5] = [
        Speaks::Hixie75,
        Speaks::Hixie76,
        Speaks::Modern,
        Speaks::Deflate,
        Speaks::Wamp,
    ];
}

impl Member {
    fn join(server: &TestServer, speaks: Speaks) -> Result<Member, Failure> {
        let client = match speaks {
            Speaks::Hixie75 => early(server, "", b"", b"")?,
            Speaks::Hixie76 => early(server, KEYS, CHALLENGE, ANSWER)?,
            Speaks::Modern => server.open("/raw/x")?,
            Speaks::Deflate => {
                let offer = "permessage-deflate; server_no_context_takeover";
                let mut client = Client::open_deflating(server.address(), "/raw/x", offer)?;
                client.agreed()?;
                client
            }
            Speaks::Wamp => {
                let mut client = Client::connect(server.address())?;
                let request = Request::websocket("h", "/wamp");
                client.shake_hands(&request.header("Sec-WebSocket-Protocol: wamp.2.json"))?;
                client
            }
        };
        let mut member = Member {
            speaks,
            client,
            requests: 0,
        };
        if speaks == Speaks::Wamp {
            let roles = json!({"roles": {"publisher": {}, "subscriber": {}}});
            member
                .client
                .send_text(&json!([1, "realm1", roles]).to_string())?;
            assert_eq!(member.receive_json()?[0], 2, "WELCOME");
            let subscribe = json!([32, member.next_request(), {}, "x"]);
            member.client.send_text(&subscribe.to_string())?;
            assert_eq!(member.receive_json()?[0], 33, "SUBSCRIBED");
        }
        Ok(member)
    }

    fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    fn receive_json(&mut self) -> Result<Value, Failure> {
        match self.client.receive()? {
            Message::Text(text) => {
                serde_json::from_str(&text).map_err(|error| Failure::new(error.to_string()))
            }
            other => Err(Failure::new(format!("expected JSON, received {other:?}"))),
        }
    }

    fn send_json(&mut self, message: &Message) -> Result<(), Failure> {
        match self.speaks {
            Speaks::Hixie75 | Speaks::Hixie76 => self.client.send(&early_bytes(message)),
            Speaks::Modern => match message {
                Message::Text(text) => self.client.send_text(text),
                Message::Binary(bytes) => self.client.send_binary(bytes),
                other => unreachable!("{other:?} is no data"),
            },
            Speaks::Deflate => {
                let (opcode, payload) = data(message);
                self.client.send_compressed(opcode, payload).map(|_| ())
            }
            Speaks::Wamp => {
                let publish = json!([16, self.next_request(), {}, "x", [wamp_string(message)]]);
                self.client.send_text(&publish.to_string())
            }
        }
    }

    /// Requires this message next, framed as it is for this member.
    fn expect(&mut self, message: &Message) -> Result<(), Failure> {
        let speaks = self.speaks;
        match speaks {
            Speaks::Hixie75 | Speaks::Hixie76 => {
                let expected = early_bytes(message);
                let received = self.client.read_exact(expected.len())?;
                assert!(received == expected, "{speaks:?}: {} bytes", received.len());
            }
            Speaks::Modern | Speaks::Deflate => {
                let frame = match self.client.receive_any()? {
                    Received::Frame(frame) => frame,
                    other => return Err(Failure::new(format!("{speaks:?} received {other:?}"))),
                };
                let (opcode, payload) = data(message);
                assert_eq!((frame.fin, frame.opcode), (true, opcode), "{speaks:?}");
                let deflate = speaks == Speaks::Deflate;
                assert_eq!(frame.rsv, if deflate { RSV1 } else { 0 }, "{speaks:?}");
                let received = match deflate {
                    true => self.client.agreed()?.inflate(&frame.payload)?,
                    false => frame.payload,
                };
                assert!(received == payload, "{speaks:?}: {} bytes", received.len());
            }
            Speaks::Wamp => {
                let event = self.receive_json()?;
                assert_eq!(event[0], 36, "EVENT");
                assert!(event[4] == json!([wamp_string(message)]), "{speaks:?}");
            }
        }
        Ok(())
    }

    /// Closes, and requires that nothing else came before.
    fn leave(mut self) -> Checked {
        match self.speaks {
            Speaks::Hixie75 | Speaks::Hixie76 => {
                self.client.send(b"\xff\0")?;
                assert_eq!(self.client.read_exact(2)?, b"\xff\0");
                self.client.expect_fin()?;
            }
            Speaks::Modern | Speaks::Deflate | Speaks::Wamp => self.client.close()?,
        }
        Ok(())
    }
}

/// Opens `/raw/x` by draft 75, or by draft 76 with keys and their answer.
fn early(
    server: &TestServer,
    keys: &str,
    challenge: &[u8],
    answer: &[u8],
) -> Result<Client, Failure> {
    let mut client = Client::connect(server.address())?;
    let head = format!(
        "GET /raw/x HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
         Upgrade: WebSocket\r\nOrigin: http://example.com\r\n{keys}\r\n"
    );
    client.send(&[head.as_bytes(), challenge].concat())?;
    assert_eq!(client.read_response()?.status, 101);
    assert_eq!(client.read_exact(answer.len())?, answer);
    Ok(client)
}

/// draft-hixie-thewebsocketprotocol-76 §5.3, and type 0x80 for what is binary.
fn early_bytes(message: &Message) -> Vec<u8> {
    match data(message) {
        (opcode::TEXT, text) => [b"\0", text, b"\xff"].concat(),
        (_, bytes) => {
            let mut length = vec![(bytes.len() & 0x7f) as u8];
            let mut rest = bytes.len() >> 7;
            while rest > 0 {
                length.insert(0, 0x80 | (rest & 0x7f) as u8);
                rest >>= 7;
            }
            [b"\x80", &*length, bytes].concat()
        }
    }
}

/// "Binary conversion of JSON Strings": U+0000 and base64 are bytes.
fn wamp_string(message: &Message) -> String {
    match data(message) {
        (opcode::TEXT, text) => String::from_utf8_lossy(text).into_owned(),
        (_, bytes) => format!("\0{}", STANDARD.encode(bytes)),
    }
}

fn data(message: &Message) -> (u8, &[u8]) {
    match message {
        Message::Text(text) => (opcode::TEXT, text.as_bytes()),
        Message::Binary(bytes) => (opcode::BINARY, bytes),
        other => unreachable!("{other:?} is no data"),
    }
}

fn all_framings_meet_in_one_channel(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.listeners[0].config.hixie = true;
        settings.deflate = Deflate {
            enabled: true,
            compress_min_bytes: 0,
            level: 1,
            takeover_bytes_max: 0,
        };
    });
    let mut members = Vec::new();
    for _ in 0..EACH {
        for speaks in Speaks::ALL {
            members.push(Member::join(&server, speaks)?);
        }
    }
    let busy = (0..2).filter(|&id| server.registry().reactor(id).websockets_open.get() > 0);
    assert_eq!(busy.count(), 2, "one reactor has them all");
    for sender in 0..members.len() {
        for bytes in [0, 1, 125, 126, 3_000, 70_000] {
            let text: String = "κόσμε, to all of you. "
                .chars()
                .cycle()
                .skip(sender)
                .take(bytes)
                .collect();
            // Bytes that end a text in the early framings, and that are no UTF-8.
            let binary = (sender..sender + bytes).map(|n| (n * 37) as u8).collect();
            for message in [Message::Text(text), Message::Binary(binary)] {
                members[sender].send_json(&message)?;
                for (place, member) in members.iter_mut().enumerate() {
                    // A publisher that received itself would take it for the next one's.
                    if place != sender {
                        member.expect(&message)?;
                    }
                }
            }
        }
    }
    for member in members {
        member.leave()?;
    }
    server.wait_for_count("connections_open", |open| open == 0);
    Ok(())
}

/// So many of each kind, so that both reactors have some.
const EACH: usize = 3;

/// draft-hixie-thewebsocketprotocol-76 §1.3, its example.
const KEYS: &str = "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
                    Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n";
const CHALLENGE: &[u8] = b"^n:ds[4U";
const ANSWER: &[u8] = b"8jKS'y:G*Co,Wxa-";
