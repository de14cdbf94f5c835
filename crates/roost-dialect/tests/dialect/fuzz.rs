//! The fuzz bodies on the committed corpora, on random bytes and on mutated messages.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use roost_dialect::Serializer;
use roost_dialect::centrifugo::fuzz::{protobuf_session, session as centrifugo};
use roost_dialect::fuzz::{records, wamp_cbor, wamp_json, wamp_msgpack};
use roost_dialect::pusher::fuzz::session as pusher;
use roost_dialect::serial::convert;
use roost_dialect::sse::fuzz::event_stream;

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the corpus is committed")
        .map(|entry| entry.expect("readable").path())
        .map(|path| {
            let data = fs::read(&path).expect("readable");
            (path, data)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn corpora_are_replayed() {
    for (name, body) in [
        ("wamp", wamp_json as fn(&[u8])),
        ("wamp_msgpack", wamp_msgpack),
        ("wamp_cbor", wamp_cbor),
        ("centrifugo", centrifugo),
        ("centrifugo_protobuf", protobuf_session),
        ("pusher", pusher),
        ("event_stream", event_stream),
    ] {
        let files = corpus(name);
        assert!(files.len() >= 5, "the corpus is not empty");
        for (path, data) in files {
            println!("{}", path.display());
            body(&data);
        }
    }
}

/// Lines of the JSON corpus.
fn lines() -> Vec<Vec<u8>> {
    corpus("wamp")
        .iter()
        .flat_map(|(_, data)| data.split(|&byte| byte == b'\n').map(<[u8]>::to_vec))
        .filter(|line| !line.is_empty())
        .collect()
}

/// Messages of a binary corpus, and those lines of the JSON corpus that are JSON.
fn messages(name: &str, serializer: Serializer) -> Vec<Vec<u8>> {
    let own = corpus(name);
    let own = own.iter().flat_map(|(_, data)| records(data));
    let mut messages: Vec<_> = own.map(<[u8]>::to_vec).collect();
    for line in lines() {
        // What is no JSON may be anything; only values are wanted here.
        if serde_json::from_slice::<serde_json::Value>(&line).is_ok() {
            messages.extend(convert(&line, Serializer::Json, serializer));
        }
    }
    messages.retain(|message| message.len() < 1 << 14);
    messages
}

/// A few messages, each with a few bytes changed: to those of `bytes`, or to any if it is empty.
fn mutated(messages: Vec<Vec<u8>>, bytes: &'static [u8]) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 0..3);
    let message = (prop::sample::select(messages), edits).prop_map(move |(mut message, edits)| {
        for (index, byte, kind) in edits {
            let at = index.index(message.len() + 1);
            let byte = match bytes.len() {
                0 => byte,
                count => bytes[usize::from(byte) % count],
            };
            match kind {
                0 => message.insert(at, byte),
                1 if at < message.len() => message[at] = byte,
                2 if at < message.len() => {
                    message.remove(at);
                }
                _ => {}
            }
        }
        message
    });
    prop::collection::vec(message, 1..12)
}

fn as_lines() -> impl Strategy<Value = Vec<u8>> {
    // Mostly what JSON is made of, so that some of it stays JSON.
    mutated(lines(), b"[]{},:\"\\0123456789u nt").prop_map(|lines| lines.join(&b'\n'))
}

/// Messages of Centrifugo or Pusher, with U+0001 between them.
fn as_messages(of: &str) -> impl Strategy<Value = Vec<u8>> {
    let corpus = corpus(of);
    let messages = corpus.iter().flat_map(|(_, data)| {
        let messages = data.split(|&byte| byte == 1);
        messages.map(<[u8]>::to_vec)
    });
    let messages = mutated(messages.collect(), b"[]{},:\"\\0123456789u\nt");
    messages.prop_map(|messages| messages.join(&1))
}

/// Ids, requests and streams.
fn as_blocks() -> impl Strategy<Value = Vec<u8>> {
    let files = corpus("event_stream").into_iter();
    let files = mutated(
        files.map(|(_, data)| data).collect(),
        b"0123456789abcdef.~-= \n:&%",
    );
    files.prop_map(|files| files.join(&b'\n'))
}

fn as_records(name: &str, serializer: Serializer) -> impl Strategy<Value = Vec<u8>> + use<> {
    mutated(messages(name, serializer), b"").prop_map(joined)
}

/// Messages of Centrifugo in Protobuf.
fn as_protobuf() -> impl Strategy<Value = Vec<u8>> {
    let files = corpus("centrifugo_protobuf");
    let messages = files.iter().flat_map(|(_, data)| records(data));
    mutated(messages.map(<[u8]>::to_vec).collect(), b"").prop_map(joined)
}

/// Each behind its length.
fn joined(messages: Vec<Vec<u8>>) -> Vec<u8> {
    let record = |message: Vec<u8>| {
        let length = u16::try_from(message.len()).expect("short").to_be_bytes();
        [&length[..], &message].concat()
    };
    messages.into_iter().flat_map(record).collect()
}

proptest! {
    #[test]
    fn random_bytes(data: Vec<u8>) {
        wamp_json(&data);
        wamp_msgpack(&data);
        wamp_cbor(&data);
        centrifugo(&data);
        protobuf_session(&data);
        pusher(&data);
        event_stream(&data);
    }

    #[test]
    fn mutated_event_streams(data in as_blocks()) {
        event_stream(&data);
    }

    #[test]
    fn mutated_messages_of_centrifugo(data in as_messages("centrifugo")) {
        centrifugo(&data);
    }

    #[test]
    fn mutated_messages_of_centrifugo_in_protobuf(data in as_protobuf()) {
        protobuf_session(&data);
    }

    #[test]
    fn mutated_messages_of_pusher(data in as_messages("pusher")) {
        pusher(&data);
    }

    #[test]
    fn mutated_messages(data in as_lines()) {
        wamp_json(&data);
    }

    #[test]
    fn mutated_messages_in_msgpack(data in as_records("wamp_msgpack", Serializer::MsgPack)) {
        wamp_msgpack(&data);
    }

    #[test]
    fn mutated_messages_in_cbor(data in as_records("wamp_cbor", Serializer::Cbor)) {
        wamp_cbor(&data);
    }
}
