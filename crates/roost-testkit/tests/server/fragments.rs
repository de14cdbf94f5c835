//! `limits.fragment_bytes` on the wire, wherever a message is made.

use roost_net::sim::SimRng;
use roost_reactor::Deflate as DeflateSettings;
use roost_testkit::client::{
    Checked, Client, Deflate, Failure, RSV1, Received, ReceivedFrame, Request, opcode,
};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

roost_testkit::on_each_backend!(
    echoes_are_fragmented,
    compressed_echoes_are_fragmented,
    answers_and_events_are_fragmented,
    compressed_answers_and_events_are_fragmented,
    the_early_framings_have_no_fragments,
);

const FRAGMENT_BYTES: usize = 50;

/// Of one with contexts, one without, and one that asks for a window smaller than its messages.
const OFFERS: [&str; 4] = [
    "permessage-deflate",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; server_max_window_bits=9",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
];

/// Shorter and longer than a fragment, and than what an echo copies (4 KiB).
const LENS: [usize; 9] = [0, 1, 49, 50, 51, 1_000, 4_096, 4_097, 70_000];

fn start(backend: Backend) -> TestServer {
    TestServer::with(backend, 2, |settings| {
        settings.limits.fragment_bytes = FRAGMENT_BYTES;
        settings.listeners[0].config.hixie = true;
        settings.deflate = DeflateSettings {
            enabled: true,
            compress_min_bytes: 0,
            level: 6,
            takeover_bytes_max: 10 << 20,
        };
    })
}

/// A client that looks at each frame.
struct Looker {
    client: Client,
    /// If permessage-deflate was agreed to.
    inflating: Option<Deflate>,
    requests: u64,
}

impl Looker {
    fn open(
        server: &TestServer,
        target: &str,
        offer: Option<&str>,
        header: Option<&str>,
    ) -> Result<Looker, Failure> {
        let mut client = Client::connect(server.address())?;
        let mut request = Request::websocket("h", target);
        if let Some(offer) = offer {
            request = request.header(format!("Sec-WebSocket-Extensions: {offer}"));
        }
        if let Some(header) = header {
            request = request.header(header);
        }
        let response = client.shake_hands(&request)?;
        let answer = response.header("Sec-WebSocket-Extensions");
        let agreed = |answer| Deflate::agreed(offer.unwrap_or_default(), answer);
        let inflating = answer.map(agreed).transpose()?;
        assert_eq!(inflating.is_some(), offer.is_some(), "agreed to");
        client.deflate = inflating.is_some();
        Ok(Looker {
            client,
            inflating,
            requests: 0,
        })
    }

    /// Joins and subscribes to `x`.
    fn join(server: &TestServer, offer: Option<&str>) -> Result<Looker, Failure> {
        let subprotocol = Some("Sec-WebSocket-Protocol: wamp.2.json");
        let mut looker = Looker::open(server, "/wamp", offer, subprotocol)?;
        let roles = json!({"roles": {"publisher": {}, "subscriber": {}}});
        assert_eq!(looker.ask(&json!([1, "realm1", roles]))?[0], 2, "WELCOME");
        assert_eq!(looker.ask(&json!([32, 1, {}, "x"]))?[0], 33, "SUBSCRIBED");
        Ok(looker)
    }

    fn ask(&mut self, message: &Value) -> Result<Value, Failure> {
        self.client.send_text(&message.to_string())?;
        self.receive_json()
    }

    fn receive_json(&mut self) -> Result<Value, Failure> {
        let (opcode, json) = self.receive_any()?;
        assert_eq!(opcode, opcode::TEXT);
        serde_json::from_slice(&json).map_err(|error| Failure::new(error.to_string()))
    }

    fn receive_frame(&mut self) -> Result<ReceivedFrame, Failure> {
        match self.client.receive_any()? {
            Received::Frame(frame) => Ok(frame),
            received => Err(Failure::new(format!(
                "a frame was expected, not {received:?}"
            ))),
        }
    }

    /// The next message's opcode and payload. Each of its frames is as it should be.
    fn receive_any(&mut self) -> Result<(u8, Vec<u8>), Failure> {
        let mut frame = self.receive_frame()?;
        let opcode = frame.opcode;
        assert!(
            matches!(opcode, opcode::TEXT | opcode::BINARY),
            "{opcode} begins a message"
        );
        // RFC 7692 §6.1: RSV1 says of the first frame that the message is compressed.
        let rsv = if self.inflating.is_some() { RSV1 } else { 0 };
        assert_eq!(frame.rsv, rsv, "of the first frame");
        let mut payload = Vec::new();
        loop {
            let len = frame.payload.len();
            assert!(len <= FRAGMENT_BYTES, "a fragment of {len} bytes");
            assert!(frame.fin || len > 0, "an empty fragment");
            payload.extend(frame.payload);
            if frame.fin {
                break;
            }
            frame = self.receive_frame()?;
            // RFC 6455 §5.4: all but the first continue; RFC 7692 §6.1: without RSV1.
            assert_eq!(
                (frame.opcode, frame.rsv),
                (opcode::CONTINUATION, 0),
                "of a later frame"
            );
        }
        match &mut self.inflating {
            Some(deflate) => Ok((opcode, deflate.inflate(&payload)?)),
            None => Ok((opcode, payload)),
        }
    }

    /// Requires each message back from `/echo`.
    fn echoes(&mut self) -> Result<(), Failure> {
        for len in LENS {
            let text = letters(len);
            self.client.send_text(&text)?;
            let received = self.receive_any()?;
            assert!(
                received == (opcode::TEXT, text.clone().into()),
                "text {len}"
            );
            self.client.send_binary(text.as_bytes())?;
            let received = self.receive_any()?;
            assert!(received == (opcode::BINARY, text.into()), "binary {len}");
        }
        Ok(())
    }
}

fn echoes_are_fragmented(backend: Backend) -> Checked {
    let server = start(backend);
    let mut looker = Looker::open(&server, "/echo", None, None)?;
    looker.echoes()?;
    looker.client.close()?;
    Ok(())
}

fn compressed_echoes_are_fragmented(backend: Backend) -> Checked {
    let server = start(backend);
    for offer in OFFERS {
        let mut looker = Looker::open(&server, "/echo", Some(offer), None)?;
        looker.echoes()?;
        looker.client.close()?;
    }
    Ok(())
}

fn answers_and_events_are_fragmented(backend: Backend) -> Checked {
    let server = start(backend);
    let subscriber = Looker::join(&server, None)?;
    events(&server, subscriber)
}

fn compressed_answers_and_events_are_fragmented(backend: Backend) -> Checked {
    let server = start(backend);
    // A delivery to a client that asked for a small window is not compressed.
    for offer in &OFFERS[..3] {
        let subscriber = Looker::join(&server, Some(offer))?;
        events(&server, subscriber)?;
    }
    Ok(())
}

fn events(server: &TestServer, mut subscriber: Looker) -> Checked {
    let mut publisher = Looker::join(server, None)?;
    for len in LENS {
        let text = letters(len);
        publisher.requests += 1;
        let request = publisher.requests;
        let publish = json!([16, request, {"acknowledge": true}, "x", [text]]);
        assert_eq!(publisher.ask(&publish)?[0], 17, "PUBLISHED");
        assert!(
            subscriber.receive_json()?[4] == json!([text]),
            "EVENT {len}"
        );
    }
    // An answer with words.
    let refused = subscriber.ask(&json!([32, 2, {"match": "prefix"}, "#"]))?;
    assert_eq!(refused[4], "wamp.error.invalid_uri");
    subscriber.client.close()?;
    publisher.client.close()?;
    Ok(())
}

/// The drafts know none, so a message goes whole.
fn the_early_framings_have_no_fragments(backend: Backend) -> Checked {
    let server = start(backend);
    let mut early = Client::connect(server.address())?;
    early.send(
        b"GET /raw/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
          Origin: http://example.com\r\n\r\n",
    )?;
    assert_eq!(early.read_response()?.status, 101);
    let mut modern = Looker::open(&server, "/raw/x", None, None)?;
    for len in LENS {
        let text = letters(len);
        let framed = [b"\0", text.as_bytes(), b"\xff"].concat();
        modern.client.send_text(&text)?;
        assert!(early.read_exact(framed.len())? == framed, "{len} bytes");
        early.send(&framed)?;
        assert!(
            modern.receive_any()? == (opcode::TEXT, text.into()),
            "{len} bytes"
        );
    }
    Ok(())
}

/// Text that does not compress much, different for each length.
fn letters(len: usize) -> String {
    let mut rng = SimRng::new(len as u64);
    let next = || char::from(b'0' + rng.below(64) as u8);
    let escaped = |c: &char| !matches!(c, '\\');
    std::iter::repeat_with(next)
        .filter(escaped)
        .take(len)
        .collect()
}
