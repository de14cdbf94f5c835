//! Dialects by themselves. NATS, MQTT and event streams are cut anywhere, and the same is received.

use roost_load::dialect::{
    self, Dialect, Position, Random, Received, Recovered, Say, Session, each_message,
};
use roost_wire::{Inbound, Input, Limits, Message, Role};

fn named(name: &str) -> &'static dyn Dialect {
    dialect::by_name(name).expect("a dialect")
}

/// A connection subscribed to two channels, or a publisher's without any.
struct Client {
    dialect: &'static dyn Dialect,
    channels: Vec<&'static str>,
    stage: u8,
    kept: Vec<u8>,
    positions: Vec<Position>,
    recovered: Recovered,
    /// What it received, a line each.
    received: Vec<String>,
    out: Vec<u8>,
    random: Random,
}

impl Client {
    fn new(name: &str, channels: &[&'static str]) -> Client {
        Client {
            dialect: named(name),
            channels: channels.to_vec(),
            stage: 0,
            kept: Vec::new(),
            positions: Vec::new(),
            recovered: Recovered::default(),
            received: Vec::new(),
            out: Vec::new(),
            random: Random::new(1),
        }
    }

    fn open(&mut self) -> Vec<u8> {
        let channels = self.channels.clone();
        let mut session = Session {
            stage: &mut self.stage,
            channels: &|index| channels.get(index).map(|name| (*name).to_owned()),
            positions: &mut self.positions,
            recovered: &mut self.recovered,
            say: Say {
                out: &mut self.out,
                random: &mut self.random,
            },
        };
        assert!(!self.dialect.open(&mut session), "an answer is awaited");
        self.said()
    }

    /// A text message has come, or a line of one; what is said to it.
    fn hear_text(&mut self, text: &str) -> String {
        let channels = self.channels.clone();
        let mut buffer = Vec::new();
        let mut session = Session {
            stage: &mut self.stage,
            channels: &|index| channels.get(index).map(|name| (*name).to_owned()),
            positions: &mut self.positions,
            recovered: &mut self.recovered,
            say: Say {
                out: &mut self.out,
                random: &mut self.random,
            },
        };
        let message = Message::Text(text);
        let received = self.dialect.handle(&mut session, message, &mut buffer);
        self.received.push(in_words(&received));
        String::from_utf8(self.said()).expect("text")
    }

    /// A binary message has come; what is said to it.
    fn hear(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let channels = self.channels.clone();
        let mut buffer = Vec::new();
        let mut session = Session {
            stage: &mut self.stage,
            channels: &|index| channels.get(index).map(|name| (*name).to_owned()),
            positions: &mut self.positions,
            recovered: &mut self.recovered,
            say: Say {
                out: &mut self.out,
                random: &mut self.random,
            },
        };
        each_message(self.dialect, &mut self.kept, bytes, |message| {
            let message = Message::Binary(message);
            let received = self.dialect.handle(&mut session, message, &mut buffer);
            self.received.push(in_words(&received));
            true
        })?;
        Ok(self.said())
    }

    fn publish(&mut self, channel: &str, payload: &[u8]) -> Vec<u8> {
        let mut say = Say {
            out: &mut self.out,
            random: &mut self.random,
        };
        self.dialect.publish(&mut say, channel, 0, payload);
        self.said()
    }

    /// The payloads of all messages said; a text is a line.
    fn said(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.out);
        let limits = Limits {
            frame_bytes_max: 1 << 20,
            message_bytes_max: 1 << 20,
        };
        let mut all = Vec::new();
        let mut inbound = Inbound::new(Role::Server);
        let mut input = Input::new(&mut bytes);
        while let Some(message) = inbound.next(&mut input, &limits).expect("clean frames") {
            match message {
                Message::Binary(bytes) => all.extend_from_slice(bytes),
                Message::Text(text) => all.extend_from_slice(format!("{text}\n").as_bytes()),
                other => panic!("only messages are said, not {other:?}"),
            }
        }
        all
    }
}

fn in_words(received: &Received<'_>) -> String {
    match received {
        Received::Payload(payload) => format!("payload {payload:?}"),
        Received::Progress => "progress".to_owned(),
        Received::Ping => "ping".to_owned(),
        Received::Acknowledged => "acknowledged".to_owned(),
        Received::Ready => "ready".to_owned(),
        Received::Refused(why) => format!("refused {why}"),
    }
}

/// Everything a server may say, and what is received of it.
fn streams() -> [(&'static str, Vec<u8>, Vec<String>); 2] {
    // A payload that looks like lines, one longer than a length byte of MQTT holds, an empty one.
    let payloads: [&[u8]; 3] = [b"PING\r\nMSG a 1 2\r\n", &[7; 200], b""];
    let received = |opening: &[&str]| {
        let opening = opening.iter().map(|text| (*text).to_owned());
        let payloads = payloads.map(|payload| format!("payload {payload:?}"));
        opening.chain(payloads).collect::<Vec<_>>()
    };
    let mut nats = b"INFO {\"server_id\":\"x\"}\r\n+OK\r\nPONG\r\nPING\r\n".to_vec();
    let mut mqtt = b"\x20\x02\x00\x00\x90\x04\x00\x01\x00\x00\xd0\x00".to_vec();
    for (at, payload) in payloads.iter().enumerate() {
        let reply = if at == 1 { " _INBOX.1" } else { "" };
        nats.extend_from_slice(format!("MSG load 1{reply} {}\r\n", payload.len()).as_bytes());
        nats.extend_from_slice(payload);
        nats.extend_from_slice(b"\r\n");
        let len = payload.len() + 6;
        mqtt.push(0x30);
        if len > 127 {
            mqtt.push((len % 128) as u8 | 0x80);
        }
        mqtt.push(if len > 127 { len / 128 } else { len } as u8);
        mqtt.extend_from_slice(b"\x00\x04load");
        mqtt.extend_from_slice(payload);
    }
    [
        (
            "nats",
            nats,
            received(&["progress", "progress", "ready", "progress"]),
        ),
        ("mqtt", mqtt, received(&["progress", "ready", "progress"])),
    ]
}

#[test]
fn a_stream_cut_anywhere_is_heard_the_same() {
    for (name, bytes, expected) in streams() {
        for cut in 0..=bytes.len() {
            let mut client = Client::new(name, &["load", "more"]);
            for piece in [&bytes[..cut], &bytes[cut..]] {
                client.hear(piece).expect("clean messages");
            }
            assert_eq!(client.received, expected, "{name} cut at {cut}");
            assert!(client.kept.is_empty(), "{name} cut at {cut}");
        }
        let mut client = Client::new(name, &["load", "more"]);
        for byte in &bytes {
            client.hear(&[*byte]).expect("clean messages");
        }
        assert_eq!(client.received, expected, "{name} byte by byte");
    }
}

#[test]
fn nats_opens_subscribes_publishes_and_answers_pings() {
    let mut client = Client::new("nats", &["a", "b.c"]);
    let said = String::from_utf8(client.open()).expect("lines");
    assert!(said.starts_with("CONNECT {") && said.contains("\"verbose\":false"));
    assert!(
        said.ends_with("}\r\nSUB a 1\r\nSUB b.c 2\r\nPING\r\n"),
        "{said}"
    );
    assert_eq!(client.hear(b"PING\r\n").as_deref(), Ok(&b"PONG\r\n"[..]));
    assert_eq!(client.publish("a", b"\x00hi"), b"PUB a 3\r\n\x00hi\r\n");
    client
        .hear(b"-ERR 'Authorization Violation'\r\n")
        .expect("a line");
    assert_eq!(
        client.received.last().map(String::as_str),
        Some("refused -ERR 'Authorization Violation'")
    );
}

#[test]
fn mqtt_opens_subscribes_and_publishes() {
    let mut client = Client::new("mqtt", &["a", "bc"]);
    assert_eq!(
        client.open(),
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"
    );
    let subscribe = b"\x82\x0b\x00\x01\x00\x01a\x00\x00\x02bc\x00";
    assert_eq!(
        client.hear(b"\x20\x02\x00\x00").as_deref(),
        Ok(&subscribe[..])
    );
    assert_eq!(client.publish("a", b"hi"), b"\x30\x05\x00\x01ahi");
    let long = client.publish("a", &[1; 300]);
    // 303 = 2 × 128 + 47.
    assert_eq!(
        (&long[..6], long.len()),
        (&b"\x30\xaf\x02\x00\x01a"[..], 306)
    );

    // A client that only publishes needs no SUBACK.
    let mut publisher = Client::new("mqtt", &[]);
    publisher.hear(b"\x20\x02\x00\x00").expect("a packet");
    assert_eq!(publisher.received, ["ready"]);
    for refusal in [
        &b"\x20\x02\x00\x05"[..],
        b"\x90\x04\x00\x01\x00\x80",
        b"\xe0\x00",
    ] {
        client.hear(refusal).expect("a packet");
        let last = client.received.last().expect("it was received");
        assert!(last.starts_with("refused"), "{refusal:?}: {last}");
    }
}

#[test]
fn what_is_no_message_is_refused_without_waiting_for_more() {
    let cases: [(&str, &[u8]); 6] = [
        ("nats", b"MSG load 1\r\n"),
        ("nats", b"MSG load 1 -5\r\n"),
        ("nats", b"MSG load 1 99999999999\r\n"),
        ("nats", b"MSG load 1 2\r\nhi!!"),
        ("nats", &[b'x'; 65 << 10]),
        ("mqtt", b"\x30\xff\xff\xff\xff"),
    ];
    for (name, bytes) in cases {
        let mut client = Client::new(name, &[]);
        let shown = &bytes[..bytes.len().min(30)];
        assert!(client.hear(bytes).is_err(), "{name} {shown:?}");
    }
    // A PUBLISH whose topic is longer than it, and one of a QoS that was not asked for: corrupt.
    for packet in [&b"\x30\x03\x00\x09a"[..], b"\x32\x05\x00\x01a\x00\x01"] {
        let mut client = Client::new("mqtt", &[]);
        client.hear(packet).expect("whole packets");
        assert_eq!(client.received, ["payload []"], "{packet:?}");
    }
}

#[test]
fn an_event_stream_cut_anywhere_is_heard_the_same() {
    let stream = "\u{feff}retry: 1000\nid: a-1\n\n: quiet\n\nid: a-2\r\nevent: binary\r\n: by the way\r\n\
                  data: AAEC\r\n\r\ndata:BA==\r\rdata: AA\ndata: ==\n\nid: a-3\revent: roost.lost\rdata: {}\r\r\
                  event: roost.closed\ndata: bye\n\n";
    let bytes = stream.as_bytes();
    // Lines of data are joined by LF, which base64 does not have: corrupt.
    let expected = [
        "ping",
        "payload [0, 1, 2]",
        "payload [4]",
        "payload []",
        "refused closed: bye",
    ];
    for cut in 0..=bytes.len() {
        let mut client = Client::new("sse", &["load"]);
        client.positions.push(Position::default());
        for piece in [&bytes[..cut], &bytes[cut..]] {
            client.hear(piece).expect("clean events");
        }
        client.received.retain(|received| received != "progress");
        assert_eq!(client.received, expected, "cut at {cut}");
        let id = client.positions[0].to_id();
        assert_eq!(id.as_deref(), Some("a-3"), "cut at {cut}");
        assert_eq!(client.recovered.lost(), [0], "cut at {cut}");
    }
}

#[test]
fn centrifugo_opens_subscribes_publishes_and_answers_pings() {
    let mut client = Client::new("centrifugo", &["a", "b\"c"]);
    let said = String::from_utf8(client.open()).expect("text");
    assert!(
        said.starts_with("{\"connect\":{") && said.ends_with("\"id\":1}\n"),
        "{said}"
    );
    let said = client.hear_text(r#"{"id":1,"connect":{"client":"x","ping":25,"pong":true}}"#);
    assert_eq!(said, "{\"subscribe\":{\"channel\":\"a\"},\"id\":2}\n");
    let said = client.hear_text(r#"{"id":2,"subscribe":{}}"#);
    assert_eq!(said, "{\"subscribe\":{\"channel\":\"b\\\"c\"},\"id\":3}\n");
    assert_eq!(client.hear_text(r#"{"id":3,"subscribe":{}}"#), "");
    assert_eq!(client.hear_text("{}"), "{}\n");
    client
        .hear_text(r#"{"push":{"channel":"a","pub":{"data":"\u0000AAEC","info":{"client":"y"}}}}"#);
    client.hear_text(r#"{"push":{"channel":"a","pub":{"data":{"no":"bytes"}}}}"#);
    client.hear_text(r#"{"push":{"channel":"a","join":{"info":{"client":"y"}}}}"#);
    let said = String::from_utf8(client.publish("a", &[0, 1, 2])).expect("text");
    let publish = "{\"publish\":{\"channel\":\"a\",\"data\":\"\\u0000AAEC\"},\"id\":1000}\n";
    assert_eq!(said, publish);
    client.hear_text(r#"{"id":1000,"publish":{}}"#);
    client.hear_text(r#"{"id":1001,"error":{"code":103,"message":"permission denied"}}"#);
    client.hear_text(
        r#"{"push":{"channel":"a","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
    );
    client.hear_text("[]");
    let expected = [
        "progress",
        "progress",
        "ready",
        "ping",
        "payload [0, 1, 2]",
        "payload []",
        "progress",
        "acknowledged",
        "refused error 103 permission denied",
        "refused unsubscribed 2500 insufficient state",
        "refused not a line of Centrifugo's: []",
    ];
    assert_eq!(client.received, expected);
}

#[test]
fn centrifugo_goes_on_from_the_position_of_each_channel() {
    let mut client = Client::new("centrifugo", &["a", "b"]);
    client.positions = vec![Position::default(), Position::default()];
    let said = client.hear_text(r#"{"id":1,"connect":{}}"#);
    assert_eq!(
        said,
        "{\"subscribe\":{\"channel\":\"a\",\"recoverable\":true},\"id\":2}\n"
    );
    client.hear_text(r#"{"id":2,"subscribe":{"recoverable":true,"epoch":"e","offset":4}}"#);
    client.hear_text(r#"{"id":3,"subscribe":{"recoverable":true,"epoch":"f"}}"#);
    client.hear_text(r#"{"push":{"channel":"b","pub":{"data":1,"offset":1}}}"#);
    client.hear_text(r#"{"push":{"channel":"a","pub":{"data":1,"offset":5}}}"#);
    // It comes back.
    client.stage = 0;
    let again = |channel: &str, offset: u8, epoch: &str, id: u8| {
        format!(
            "{{\"subscribe\":{{\"channel\":\"{channel}\",\"recoverable\":true,\"recover\":true,\"offset\":{offset},\
             \"epoch\":\"{epoch}\"}},\"id\":{id}}}\n"
        )
    };
    assert_eq!(
        client.hear_text(r#"{"id":1,"connect":{}}"#),
        again("a", 5, "e", 2)
    );
    let said = client.hear_text(
        r#"{"id":2,"subscribe":{"recoverable":true,"epoch":"e","offset":7,"recovered":true,
            "publications":[{"data":"\u0000Bg==","offset":6},{"data":"\u0000Bw==","offset":7}]}}"#,
    );
    assert_eq!(said, again("b", 1, "f", 3));
    let payloads: Vec<_> = client.recovered.payloads().map(<[u8]>::to_vec).collect();
    assert_eq!(
        (payloads, client.recovered.lost()),
        (vec![vec![6], vec![7]], &[][..])
    );
    client.hear_text(
        r#"{"id":3,"subscribe":{"recoverable":true,"epoch":"g","offset":1,"was_recovering":true}}"#,
    );
    assert_eq!(client.recovered.lost(), [1]);
    // The server has dropped messages, and has the client subscribe again.
    let pushed =
        r#"{"push":{"channel":"b","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#;
    assert_eq!(client.hear_text(pushed), again("b", 1, "g", 3));
    client.hear_text(r#"{"id":2,"subscribe":{}}"#);
    let last = client.received.last().expect("it was received");
    assert!(last.contains("not recoverable"), "{last}");
}

#[test]
fn a_path_with_pushers_key_is_for_pushers_clients_alone() {
    let [pusher, raw] = ["pusher", "raw"].map(named);
    let both = [pusher, raw];
    let key = "/app/a-key?protocol=7&client=roost-load&version=1.0.0&flash=false";
    let asked = |path| dialect::target(path, pusher, &both);
    assert_eq!(asked("/app/a-key"), key);
    assert_eq!(asked("/app/a-key?protocol=5"), "/app/a-key?protocol=5");
    assert_eq!(asked(""), key.replace("a-key", "roost-load"));
    assert_eq!(dialect::target("/app/a-key", raw, &both), raw.path());
    assert_eq!(dialect::target("/app/a-key", raw, &[raw]), "/app/a-key");
    assert_eq!(dialect::target("/x/{channel}", raw, &both), "/x/{channel}");
}

#[test]
fn pusher_waits_for_the_greeting_subscribes_and_answers_pings() {
    let mut client = Client::new("pusher", &["a", "b\"c"]);
    assert_eq!(client.open(), b"", "the server speaks first");
    let greeting = r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\"}"}"#;
    let said = client.hear_text(greeting);
    let subscribe = "{\"event\":\"pusher:subscribe\",\"data\":{\"channel\":\"a\"}}\n";
    assert_eq!(said, subscribe);
    let subscribed = |channel: &str| {
        format!(
            "{{\"event\":\"pusher_internal:subscription_succeeded\",\"channel\":{channel},\"data\":\"{{}}\"}}"
        )
    };
    let said = client.hear_text(&subscribed("\"a\""));
    assert!(said.contains(r#"{"channel":"b\"c"}"#), "{said}");
    assert_eq!(client.hear_text(&subscribed(r#""b\"c""#)), "");
    let pong = "{\"event\":\"pusher:pong\",\"data\":{}}\n";
    assert_eq!(
        client.hear_text(r#"{"event":"pusher:ping","data":"{}"}"#),
        pong
    );
    client.hear_text(r#"{"event":"message","channel":"a","data":"\u0000AAEC"}"#);
    client.hear_text(r#"{"event":"message","channel":"a","data":"no bytes"}"#);
    client.hear_text(r#"{"event":"pusher_internal:subscription_count","channel":"a","data":"{}"}"#);
    let refused = r#"{"event":"pusher:error","data":{"code":4001}}"#;
    client.hear_text(refused);
    client.hear_text("[]");
    let expected = [
        "progress".to_owned(),
        "progress".to_owned(),
        "ready".to_owned(),
        "ping".to_owned(),
        "payload [0, 1, 2]".to_owned(),
        "payload []".to_owned(),
        "progress".to_owned(),
        format!("refused {refused}"),
        "refused not an event of Pusher's: []".to_owned(),
    ];
    assert_eq!(client.received, expected);
}
