//! The protocol's own test vectors (`tests/vectors/README.md`), in all serializers: what they are
//! parsed to, what is written of that, and which options are refused.

use std::path::PathBuf;

use roost_dialect::Serializer;
use roost_dialect::dialect::{Command, Message};
use roost_dialect::serial::convert;
use roost_dialect::wamp::message::WampMessage;
use roost_dialect::wamp::{Realms, Session, Settings, Wire, parse_cbor, parse_json, parse_msgpack};
use roost_wire::CloseCode;
use serde_json::Value;

use crate::wamp_client::HELLO;

fn lines(name: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name);
    let text = std::fs::read_to_string(path).expect("the vectors are committed");
    let line = |line| serde_json::from_str(line).expect("each line is JSON");
    text.lines().map(line).collect()
}

fn parse(bytes: &[u8], serializer: Serializer) -> Result<WampMessage<'_>, String> {
    match serializer {
        Serializer::Json => parse_json(str::from_utf8(bytes).expect("text")),
        Serializer::MsgPack => parse_msgpack(bytes),
        Serializer::Cbor => parse_cbor(bytes),
    }
}

/// The value of bytes, read by serde_json, after a conversion where they are not JSON.
fn value_of(bytes: &[u8], serializer: Serializer) -> Value {
    let json = convert(bytes, serializer, Serializer::Json).expect("a value");
    serde_json::from_slice(&json).expect("JSON")
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.map(byte).collect()
}

/// The byte strings of a sample, with their serializer.
fn byte_strings(sample: &Value) -> Vec<(Serializer, Vec<u8>)> {
    let list = |key: &str| {
        let list = sample[key].as_array().expect("a list").clone();
        list.into_iter()
            .map(|item| item.as_str().expect("a string").to_owned())
    };
    let json = list("json").map(|text| (Serializer::Json, text.into_bytes()));
    let msgpack = list("msgpack").map(|hex| (Serializer::MsgPack, unhex(&hex)));
    let cbor = list("cbor").map(|hex| (Serializer::Cbor, unhex(&hex)));
    json.chain(msgpack).chain(cbor).collect()
}

#[test]
fn every_byte_string_is_parsed_and_written() {
    let mut strings = 0;
    for sample in lines("wamp_messages.jsonl") {
        let name = sample["sample"].as_str().expect("a name");
        let all = byte_strings(&sample);
        // serde_json's reading of the suite's own JSON.
        let expected: Value = serde_json::from_slice(&all[0].1).expect("JSON");
        let parsed: Vec<_> = all
            .iter()
            .map(|(serializer, bytes)| {
                let message = parse(bytes, *serializer);
                message.unwrap_or_else(|error| panic!("{name} in {serializer:?}: {error}"))
            })
            .collect();
        for ((serializer, bytes), message) in all.iter().zip(&parsed) {
            assert_eq!(Some(message.code()), sample["code"].as_u64(), "{name}");
            // What was read in this serializer, written in each.
            for to in Serializer::ALL {
                let mut written = Vec::new();
                message.write(to, &mut written);
                assert_eq!(
                    value_of(&written, to),
                    expected,
                    "{name}, {serializer:?} to {to:?}"
                );
                if *serializer == to {
                    let (ours, theirs) = (written.len(), bytes.len());
                    assert!(
                        ours <= theirs,
                        "{name}: {to:?} is written in the shortest form"
                    );
                }
            }
            strings += 1;
        }
    }
    assert_eq!(strings, 129);
}

#[test]
fn every_set_of_options_is_accepted_or_refused() {
    let (mut accepted, mut refused) = (0, 0);
    for sample in lines("wamp_options.jsonl") {
        let name = sample["sample"].as_str().expect("a name");
        let json = sample["message"].as_str().expect("a string").as_bytes();
        for serializer in Serializer::ALL {
            let bytes = convert(json, Serializer::Json, serializer).expect("JSON");
            let parsed = parse(&bytes, serializer);
            match (sample["wrong"].as_str(), &parsed) {
                (None, Ok(message)) => {
                    // Nothing of it is lost.
                    let mut written = Vec::new();
                    message.write(serializer, &mut written);
                    assert_eq!(
                        value_of(&written, serializer),
                        value_of(json, Serializer::Json)
                    );
                }
                (None, Err(error)) => panic!("{name} in {serializer:?}: {error}"),
                (Some(wrong), Err(error)) => {
                    assert!(error.contains(wrong), "{name} in {serializer:?}: {error}");
                }
                (Some(wrong), Ok(_)) => panic!("{name} in {serializer:?}: {wrong} is accepted"),
            }
            // To an open session, what is wrong is a violation, and so is any EVENT.
            let is_violation = closes(&bytes, serializer);
            let is_event = name.starts_with("event/");
            assert_eq!(
                is_violation,
                parsed.is_err() || is_event,
                "{name} in {serializer:?}"
            );
        }
        match sample["wrong"] {
            Value::Null => accepted += 1,
            _ => refused += 1,
        }
    }
    assert_eq!((accepted, refused), (39, 28));
}

/// Whether an open session takes the message for a protocol violation.
fn closes(message: &[u8], serializer: Serializer) -> bool {
    let settings = Settings {
        enabled: true,
        realms: Realms::Any,
        users: None,
        own_realms: roost_dialect::wamp::OwnRealms::default(),
        takes_tokens: false,
        subscriptions_per_connection_max: 3,
        channel_name_bytes_max: 64,
    };
    let mut session = Session::new(Wire {
        serializer,
        is_batched: false,
    });
    let hello = convert(HELLO.as_bytes(), Serializer::Json, serializer).expect("JSON");
    let mut out = Vec::new();
    for message in [&hello, message] {
        let message = match serializer {
            Serializer::Json => Message::Text(str::from_utf8(message).expect("text")),
            Serializer::MsgPack | Serializer::Cbor => Message::Binary(message),
        };
        out.clear();
        let command = session.handle(message, &mut out, &mut || 7, &settings);
        if let Some(Command::Close { code, .. }) = command {
            assert_eq!(code, CloseCode::PROTOCOL_ERROR);
            let abort = value_of(&out, serializer);
            assert_eq!(
                (&abort[0], &abort[2]),
                (&3.into(), &"wamp.error.protocol_violation".into())
            );
            return true;
        }
    }
    false
}
