//! Bodies of the fuzz targets, which ordinary tests run too: each takes any bytes and panics when
//! an invariant is broken.

use std::collections::BTreeMap;
use std::sync::Arc;

use roost_access::Provider;
use roost_dealer::Answer;
use roost_hub::{ChannelId, EventIds, Pattern, Since};
use roost_wire::Opcode;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::dialect::{Admission, Command, Message, SubscribeTo, Target, TokenRefusal, TokenText};
use crate::serial::{Sink, Token, convert, walk_value};
use crate::wamp::message::WampMessage;
use crate::wamp::meta;
use crate::wamp::{Realms, Session, Settings, Wire, parse_cbor, parse_json, parse_msgpack, uri};
use crate::{
    Arguments, CallBodyRef, DialectKind, Form, PayloadRef, Publication, Serializer,
    check_channel_name, encode, fossil,
};

/// A delta of one text against another, which `data` has behind one byte and parts at the place that this says;
/// and the one as a delta of the other.
pub fn delta(data: &[u8]) {
    let Some((&place, texts)) = data.split_first() else {
        return;
    };
    let (base, target) = texts.split_at(texts.len() * usize::from(place) / 256);
    if let Some(delta) = fossil::encode(base, target) {
        assert!(delta.len() < target.len(), "it is worth sending");
        assert_eq!(
            fossil::decode(base, &delta, target.len()),
            Ok(target.to_vec())
        );
        let is_text = str::from_utf8(target).is_ok();
        assert!(
            !is_text || str::from_utf8(&delta).is_ok(),
            "one of text is text"
        );
    }
    if let Ok(text) = fossil::decode(base, target, 1 << 16) {
        assert!(text.len() <= 1 << 16);
    }
}

/// A WAMP session fed with `data`, one message a line, once from the start and once after HELLO;
/// a model of a broker answers its commands.
pub fn wamp_json(data: &[u8]) {
    let wire = Wire::default();
    let Ok(text) = str::from_utf8(data) else {
        let mut peer = Peer::new(wire);
        peer.feed(Message::Binary(data));
        return;
    };
    for prelude in ["", HELLO] {
        let mut peer = Peer::new(wire);
        for line in prelude.lines().chain(text.lines()) {
            peer.feed(Message::Text(line));
        }
    }
    values(data, Serializer::Json);
}

/// The same in MessagePack; each message has its length, of two bytes, before it.
pub fn wamp_msgpack(data: &[u8]) {
    wamp_binary(data, Serializer::MsgPack);
}

/// The same in CBOR.
pub fn wamp_cbor(data: &[u8]) {
    wamp_binary(data, Serializer::Cbor);
}

fn wamp_binary(data: &[u8], serializer: Serializer) {
    let wire = Wire {
        serializer,
        is_batched: false,
    };
    let hello = parse_json(HELLO).expect("it is one");
    let mut prelude = Vec::new();
    hello.write(serializer, &mut prelude);
    for prelude in [None, Some(&prelude[..])] {
        let mut peer = Peer::new(wire);
        for message in prelude.into_iter().chain(records(data)) {
            peer.feed(Message::Binary(message));
        }
    }
    values(data, serializer);
}

/// What stands behind lengths of two bytes; the last may be cut.
pub fn records(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (record, behind) = behind.split_at(length);
        rest = behind;
        Some(record)
    })
}

/// `data` as a value: refused, or the same in all serializers, at a cost that its length bounds.
fn values(data: &[u8], from: Serializer) {
    if from == Serializer::Json && serde_json::from_slice::<&RawValue>(data).is_err() {
        return;
    }
    let mut work = Work::default();
    if walk_value(data, from, &mut work).is_err() {
        return;
    }
    let read = data.len() as u64;
    assert!(
        work.calls <= 2 * read,
        "{} calls of {read} bytes",
        work.calls
    );
    for to in Serializer::ALL {
        let Ok(there) = convert(data, from, to) else {
            panic!("a value that is read is written in {to:?}");
        };
        assert!(
            there.len() <= 8 * data.len() + 16,
            "{} bytes in {to:?} of {read}",
            there.len()
        );
        // What a serializer writes, it writes again in the same way. Between equal ones nothing was
        // written: a number of JSON that no double holds passes as it is, and is infinite elsewhere.
        let there = match from == to {
            true => convert(data, from, Serializer::Cbor)
                .and_then(|cbor| convert(&cbor, Serializer::Cbor, to))
                .expect("it was read"),
            false => there,
        };
        let again = convert(&there, to, Serializer::Cbor).expect("it was written here");
        let there = convert(&again, Serializer::Cbor, to).expect("it was written here");
        let once_more = convert(&there, to, Serializer::Cbor).expect("it was written here");
        assert_eq!(again, once_more, "{from:?} to {to:?}");
    }
}

/// Counts what a walk tells.
#[derive(Default)]
struct Work {
    calls: u64,
}

impl Sink for Work {
    fn scalar(&mut self, _: &Token<'_>) {
        self.calls += 1;
    }

    fn begin_array(&mut self, _: Option<u64>) {
        self.calls += 1;
    }

    fn element(&mut self) {
        self.calls += 1;
    }

    fn end_array(&mut self) {}

    fn begin_map(&mut self, _: Option<u64>) {
        self.calls += 1;
    }

    fn key(&mut self, _: &Token<'_>) {
        self.calls += 1;
    }

    fn end_map(&mut self) {}
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
    fn new(wire: Wire) -> Peer {
        Peer {
            session: Session::new(wire),
            settings: Settings {
                enabled: true,
                realms: Realms::Any,
                users: None,
                own_realms: crate::wamp::OwnRealms::default(),
                takes_tokens: true,
                subscriptions_per_connection_max: 4,
                channel_name_bytes_max: 64,
            },
            closed: false,
            subscribed: BTreeMap::new(),
            channels: 0,
        }
    }

    fn feed(&mut self, message: Message<'_>) {
        let mut out = Vec::new();
        // Another process may have taken the session over, and must not tell.
        let state = std::mem::take(&mut self.session).into_state();
        let mut other = Session::from_state(state.clone());
        self.session = Session::from_state(state);
        let settings = &self.settings;
        let command = self.session.handle(message, &mut out, &mut || 77, settings);
        let mut other_out = Vec::new();
        let other_command = other.handle(message, &mut other_out, &mut || 77, settings);
        assert_eq!((&command, &out), (&other_command, &other_out));
        if self.closed {
            assert_eq!(command, None, "a closed session does nothing");
            assert!(out.is_empty(), "a closed session says nothing: {out:?}");
            return;
        }
        assert!(
            out.len() <= OUT_BYTES_MAX,
            "the answer does not grow with the message"
        );
        match command {
            Some(command) => self.carry_out(command, message, &mut out),
            None if out.is_empty() => {}
            None => check_reply(&out, self.session.wire()),
        }
        self.check_subscriptions();
    }

    /// What a message leads to is within bounds; subscriptions are made and ended.
    fn carry_out(&mut self, command: Command<'_>, message: Message<'_>, out: &mut Vec<u8>) {
        match command {
            Command::Register { procedure, .. } => {
                assert!(out.is_empty(), "REGISTER is answered later: {out:?}");
                assert!(procedure.len() <= self.settings.channel_name_bytes_max);
                assert!(uri::is_loose_pattern(&procedure) && !uri::is_reserved(&procedure));
            }
            Command::Call {
                procedure, body, ..
            } => {
                assert!(out.is_empty(), "CALL is answered later: {out:?}");
                self.check_topic(&procedure);
                check_payload(message.bytes(), body.payload);
            }
            Command::Answer { answer, .. } => {
                assert!(out.is_empty(), "YIELD is not answered: {out:?}");
                check_answer(answer);
            }
            Command::Unregister { .. } | Command::CancelCall { .. } => {
                assert!(out.is_empty(), "they are answered later: {out:?}");
            }
            Command::AwaitAuthentication => check_reply(out, self.session.wire()),
            Command::CheckToken(Some(TokenText(token))) => self.check_token(&token, out),
            Command::Opened => check_reply(out, self.session.wire()),
            Command::AskSessions { procedure, .. } | Command::AskEntries { procedure, .. } => {
                assert!(out.is_empty(), "it is answered later: {out:?}");
                assert!(uri::is_reserved(&procedure));
            }
            Command::Identify(_) => panic!("no user is configured"),
            Command::Send(_) => panic!("WAMP sends nothing back as it is"),
            Command::UnsubscribeFrom { .. }
            | Command::CheckToken(None)
            | Command::Rpc { .. }
            | Command::ReadHistory(_)
            | Command::AwaitSubscriptions
            | Command::CheckSubscription(..)
            | Command::RefreshGrant { .. }
            | Command::AskPresence { .. } => {
                panic!("WAMP has other words for it")
            }
            Command::Close { reason, .. } => {
                assert!(
                    reason.len() <= 123,
                    "RFC 6455 §5.5: a close reason is short"
                );
                if !out.is_empty() {
                    check_reply(out, self.session.wire());
                }
                self.closed = true;
            }
            Command::Publish {
                channel, payload, ..
            } => {
                let Target::Name(channel) = channel else {
                    panic!("WAMP publishes by name");
                };
                assert!(out.is_empty(), "PUBLISH is answered later: {out:?}");
                self.check_topic(&channel);
                check_payload(message.bytes(), payload);
            }
            Command::Subscribe { what, token, .. } => {
                assert!(out.is_empty(), "SUBSCRIBE is answered later: {out:?}");
                let name = self.check_what(what);
                self.subscribe(name, token);
            }
            Command::Unsubscribe { channel, token, .. } => {
                assert!(out.is_empty(), "UNSUBSCRIBE is answered later: {out:?}");
                self.unsubscribe(channel, token, out);
            }
        }
    }

    /// A model of the token's check: it is of the user that it names.
    fn check_token(&mut self, token: &str, out: &mut Vec<u8>) {
        assert!(out.is_empty(), "AUTHENTICATE is answered later: {out:?}");
        let outcome = match token.strip_prefix("bad") {
            Some(_) => Err(TokenRefusal::Invalid),
            None => Ok(Admission {
                user: token.into(),
                expires_in_s: None,
                provider: Provider::Jwt,
                subscriptions: Arc::default(),
                info: None,
            }),
        };
        let ends = self.session.on_token_checked(&outcome, out);
        check_reply(out, self.session.wire());
        assert_eq!(ends.is_none(), self.session.is_open());
        self.closed = ends.is_some();
    }

    /// The name by which this model knows a channel or a pattern; no channel has that of a pattern.
    fn check_what(&self, what: SubscribeTo<'_>) -> String {
        match what {
            SubscribeTo::Channel(channel) | SubscribeTo::Since(channel, Since::Retained) => {
                if !meta::is_topic(&channel) {
                    self.check_topic(&channel);
                }
                channel.into_owned()
            }
            SubscribeTo::Since(..) | SubscribeTo::Behind(..) => panic!("WAMP recovers nothing"),
            SubscribeTo::Pattern(kind, text) => {
                Pattern::new(kind, &text, 64).expect("the session has checked it");
                assert!(!text.starts_with("wamp."));
                format!("{kind:?} {text}")
            }
        }
    }

    fn subscribe(&mut self, topic: String, token: u64) {
        let mut out = Vec::new();
        let next = ChannelId(self.channels);
        let channel = *self.subscribed.entry(topic).or_insert(next);
        self.channels += u32::from(channel == next);
        self.session.on_subscribing(channel);
        self.check_subscriptions();
        let number = u64::from(channel.0) + 1;
        self.session.on_subscribed(token, channel, number, &mut out);
        assert_eq!(out, self.written(&format!("[33,{token},{number}]")));
    }

    fn unsubscribe(&mut self, channel: ChannelId, token: u64, out: &mut Vec<u8>) {
        let before = self.subscribed.len();
        self.subscribed.retain(|_, &mut other| other != channel);
        assert_eq!(self.subscribed.len(), before - 1, "one subscription ended");
        self.session.on_unsubscribed(token, out);
        assert_eq!(*out, self.written(&format!("[35,{token}]")));
    }

    /// JSON in the session's serializer.
    fn written(&self, json: &str) -> Vec<u8> {
        let serializer = self.session.wire().serializer;
        convert(json.as_bytes(), Serializer::Json, serializer).expect("it is JSON")
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

/// What a callee says of an invocation: errors have names, and nothing else has.
fn check_answer(answer: Answer<CallBodyRef<'_>>) {
    match answer {
        Answer::Progress(body) | Answer::Result(body) => {
            assert_eq!(body.error, None, "only errors have names");
        }
        Answer::Error(body) => assert!(body.error.is_some(), "errors have names"),
        Answer::Failed(_) => panic!("callees do not say so"),
    }
}

/// An answer is one WAMP message that a router may send.
fn check_reply(out: &[u8], wire: Wire) {
    let json = convert(out, wire.serializer, Serializer::Json);
    let Ok(Ok(Value::Array(items))) = json.map(|json| serde_json::from_slice(&json)) else {
        panic!("not an array: {out:?}");
    };
    let code = items.first().and_then(Value::as_u64);
    assert!(matches!(code, Some(2 | 3 | 6 | 8)), "no answer: {out:?}");
}

/// A payload survives all encodings.
fn check_payload(message: &[u8], payload: PayloadRef<'_>) {
    let PayloadRef::Wamp(arguments) = payload else {
        panic!("WAMP publishes WAMP payloads");
    };
    let publication = payload.freeze();
    for form in 0..Wire::ALL.len() {
        check_event(&publication, arguments, form);
    }
    let raw = encode(&publication, Form::RAW, IDS, "c");
    let body = raw.payload().expect("one frame");
    assert!(
        raw.len() <= 8 * message.len() + 100,
        "the stated factor holds"
    );
    let back = match raw.opcode() {
        Opcode::Text => PayloadRef::Text(str::from_utf8(body).expect("text is UTF-8")),
        Opcode::Binary => PayloadRef::Binary(body),
        other => panic!("{other:?} is no message"),
    };
    let back = back.freeze();
    assert_eq!(
        encode(&back, Form::RAW, IDS, "c"),
        raw,
        "raw to raw changes nothing"
    );
    for (at, (_, wire)) in Wire::ALL.into_iter().enumerate() {
        let event = encode(&back, Form::of(DialectKind::Wamp, at), IDS, "c");
        assert!(
            event.len() <= 6 * raw.len() + 100,
            "the stated factor holds"
        );
        let event = unwrapped(&event, wire);
        let json = convert(&event, wire.serializer, Serializer::Json).expect("an EVENT");
        assert_eq!(event_items(&json).len(), 5, "one argument, no keywords");
    }
}

/// The EVENT of a WAMP publication carries its arguments, in its own serializer unchanged.
fn check_event(publication: &Publication, arguments: Arguments<'_>, form: usize) {
    let (_, wire) = Wire::ALL[form];
    let frame = encode(publication, Form::of(DialectKind::Wamp, form), IDS, "c");
    assert_eq!(frame.opcode(), wire.opcode());
    assert!(
        frame.len() <= 8 * arguments.size() + 100,
        "the stated factor holds"
    );
    let event = unwrapped(&frame, wire);
    let parsed = match wire.serializer {
        Serializer::Json => parse_json(str::from_utf8(&event).expect("a text frame is UTF-8")),
        Serializer::MsgPack => parse_msgpack(&event),
        Serializer::Cbor => parse_cbor(&event),
    };
    let Ok(WampMessage::Event {
        subscription: 5,
        publication: 6,
        details,
        arguments: received,
    }) = parsed
    else {
        panic!("no EVENT in {wire:?}: {parsed:?}");
    };
    assert_eq!(details.get(), None);
    let has_args = arguments.args.or(arguments.kwargs).is_some();
    assert_eq!(received.args.is_some(), has_args);
    assert_eq!(received.kwargs.is_some(), arguments.kwargs.is_some());
    if wire.serializer == arguments.serializer {
        assert_eq!(received.kwargs, arguments.kwargs);
        if arguments.args.is_some() {
            assert_eq!(received.args, arguments.args);
        }
    }
}

/// The message in a frame, without what batching adds.
fn unwrapped(frame: &roost_wire::Frozen, wire: Wire) -> Vec<u8> {
    let payload = frame.payload().expect("one frame");
    match (wire.is_batched, wire.opcode()) {
        (false, _) => payload.to_vec(),
        (true, Opcode::Text) => payload.strip_suffix(b"\x1e").expect("RS ends it").to_vec(),
        (true, _) => {
            let (length, rest) = payload.split_first_chunk::<4>().expect("a length");
            assert_eq!(u32::from_be_bytes(*length) as usize, rest.len());
            rest.to_vec()
        }
    }
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
