//! Bodies of the fuzz targets, which ordinary tests run too: each takes any bytes and panics when
//! an invariant is broken.

use std::collections::BTreeMap;

use roost_hub::{ChannelId, EventIds};
use roost_wire::Opcode;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::dialect::{Command, Target};
use crate::wamp::{Realms, Session, Settings, uri};
use crate::{Form, PayloadRef, Publication, check_channel_name, encode};

/// A WAMP session fed with `data`, one message a line, once from the start and once after HELLO;
/// a model of a broker answers its commands.
pub fn wamp_json(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        let mut peer = Peer::new();
        peer.feed(None);
        return;
    };
    for prelude in ["", HELLO] {
        let mut peer = Peer::new();
        for line in prelude.lines().chain(text.lines()) {
            peer.feed(Some(line));
        }
    }
}

/// A session and what its broker believes of it.
struct Peer {
    session: Session,
    settings: Settings,
    closed: bool,
    /// Subscribed topics and their channel; the topic's number is the channel's plus one.
    subscribed: BTreeMap<String, ChannelId>,
    channels: u32,
}

impl Peer {
    fn new() -> Peer {
        Peer {
            session: Session::new(),
            settings: Settings {
                enabled: true,
                realms: Realms::Any,
                subscriptions_per_connection_max: 4,
                channel_name_bytes_max: 64,
            },
            closed: false,
            subscribed: BTreeMap::new(),
            channels: 0,
        }
    }

    /// One message, `None` being a binary one.
    fn feed(&mut self, text: Option<&str>) {
        let mut out = String::new();
        // Another process may have taken the session over, and must not tell.
        let state = std::mem::take(&mut self.session).into_state();
        let mut other = Session::from_state(state.clone());
        self.session = Session::from_state(state);
        let command = match text {
            Some(text) => self
                .session
                .handle(text, &mut out, &mut || 77, &self.settings),
            None => self.session.handle_binary(&mut out),
        };
        let mut other_out = String::new();
        let settings = &self.settings;
        let other_command = match text {
            Some(text) => other.handle(text, &mut other_out, &mut || 77, settings),
            None => other.handle_binary(&mut other_out),
        };
        assert_eq!((&command, &out), (&other_command, &other_out));
        if self.closed {
            assert_eq!(command, None, "a closed session does nothing");
            assert!(out.is_empty(), "a closed session says nothing: {out}");
            return;
        }
        assert!(
            out.len() <= OUT_BYTES_MAX,
            "the answer does not grow with the message"
        );
        match command {
            None if out.is_empty() => {}
            None => check_reply(&out),
            Some(Command::Send(_)) => panic!("WAMP sends nothing back as it is"),
            Some(Command::Close { reason, .. }) => {
                assert!(
                    reason.len() <= 123,
                    "RFC 6455 §5.5: a close reason is short"
                );
                if !out.is_empty() {
                    check_reply(&out);
                }
                self.closed = true;
            }
            Some(Command::Publish {
                channel, payload, ..
            }) => {
                let Target::Name(channel) = channel else {
                    panic!("WAMP publishes by name");
                };
                assert!(out.is_empty(), "PUBLISH is answered later: {out}");
                self.check_topic(&channel);
                check_payload(text.expect("a binary message publishes nothing"), payload);
            }
            Some(Command::Subscribe { channel, token, .. }) => {
                assert!(out.is_empty(), "SUBSCRIBE is answered later: {out}");
                self.check_topic(&channel);
                let channel = channel.into_owned();
                self.subscribe(channel, token);
            }
            Some(Command::Unsubscribe { channel, token, .. }) => {
                assert!(out.is_empty(), "UNSUBSCRIBE is answered later: {out}");
                let before = self.subscribed.len();
                self.subscribed.retain(|_, &mut other| other != channel);
                assert_eq!(self.subscribed.len(), before - 1, "one subscription ended");
                self.session.on_unsubscribed(token, &mut out);
                assert_eq!(out, format!("[35,{token}]"));
            }
        }
        self.check_subscriptions();
    }

    fn subscribe(&mut self, topic: String, token: u64) {
        let mut out = String::new();
        let next = ChannelId(self.channels);
        let channel = *self.subscribed.entry(topic).or_insert(next);
        self.channels += u32::from(channel == next);
        self.session.on_subscribing(channel);
        self.check_subscriptions();
        let number = u64::from(channel.0) + 1;
        self.session.on_subscribed(token, channel, number, &mut out);
        assert_eq!(out, format!("[33,{token},{number}]"));
    }

    fn check_topic(&self, topic: &str) {
        let bytes_max = self.settings.channel_name_bytes_max;
        assert_eq!(check_channel_name(topic, bytes_max), Ok(()));
        assert!(
            uri::is_loose(topic) && !uri::is_reserved(topic),
            "{topic:?}"
        );
    }

    fn check_subscriptions(&self) {
        let mut listed: Vec<_> = self.session.subscriptions().collect();
        listed.sort_unstable();
        let mut believed: Vec<_> = self.subscribed.values().copied().collect();
        believed.sort_unstable();
        assert_eq!(
            listed, believed,
            "the session lists what it is subscribed to"
        );
        assert!(listed.len() <= self.settings.subscriptions_per_connection_max);
    }
}

/// An answer is one WAMP message that a router may send.
fn check_reply(out: &str) {
    let Ok(Value::Array(items)) = serde_json::from_str(out) else {
        panic!("not a JSON array: {out}");
    };
    let code = items.first().and_then(Value::as_u64);
    assert!(matches!(code, Some(2 | 3 | 6 | 8)), "no answer: {out}");
}

/// A payload survives both encodings.
fn check_payload(message: &str, payload: PayloadRef<'_>) {
    let PayloadRef::Wamp { args, kwargs } = payload else {
        panic!("WAMP publishes WAMP payloads");
    };
    let publication = payload.freeze();
    check_event(&publication, args.or(kwargs.and(Some("[]"))), kwargs);

    let raw = encode(&publication, Form::RAW, IDS);
    let body = raw.payload().expect("one frame");
    assert!(
        raw.len() <= 2 * message.len() + 100,
        "the payload is not blown up"
    );
    let back = match raw.opcode() {
        Opcode::Text => PayloadRef::Text(str::from_utf8(body).expect("text is UTF-8")),
        Opcode::Binary => PayloadRef::Binary(body),
        other => panic!("{other:?} is no message"),
    };
    let back = back.freeze();
    assert_eq!(
        encode(&back, Form::RAW, IDS),
        raw,
        "raw to raw changes nothing"
    );
    let event = encode(&back, Form::WAMP_JSON, IDS);
    assert!(
        event.len() <= 6 * raw.len() + 100,
        "the stated factor holds"
    );
    let items = event_items(event.payload().expect("one frame"));
    assert_eq!(items.len(), 5, "one argument, no keywords");
}

/// The EVENT of a WAMP publication carries its texts unchanged.
fn check_event(publication: &Publication, args: Option<&str>, kwargs: Option<&str>) {
    let event = encode(publication, Form::WAMP_JSON, IDS);
    assert_eq!(event.opcode(), Opcode::Text);
    let items = event_items(event.payload().expect("one frame"));
    let mut expected = vec!["36", "5", "6", "{}"];
    expected.extend(args.into_iter().chain(kwargs));
    assert_eq!(items, expected);
}

/// The JSON texts of a message's elements.
fn event_items(payload: &[u8]) -> Vec<&str> {
    let items: Vec<&RawValue> = serde_json::from_slice(payload).expect("an EVENT is JSON");
    items.into_iter().map(RawValue::get).collect()
}

const HELLO: &str = r#"[1,"realm1",{"roles":{"publisher":{},"subscriber":{}}}]"#;

const IDS: EventIds = EventIds {
    topic: 5,
    publication: 6,
    offset: 7,
};

/// Longest answer to a message, whatever it says.
const OUT_BYTES_MAX: usize = 2048;
