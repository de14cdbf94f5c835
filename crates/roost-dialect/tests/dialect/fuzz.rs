//! The fuzz bodies on the committed corpora, on random bytes and on mutated messages.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use roost_dialect::Serializer;
use roost_dialect::centrifugo::fuzz::{protobuf_session, session as centrifugo};
use roost_dialect::fossil;
use roost_dialect::fuzz::{delta, records, wamp_cbor, wamp_json, wamp_msgpack};
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
        ("delta", delta),
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

/// A text, and what edits have made of it: of a byte each, or of a piece that is cut out and put in elsewhere.
fn edited() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let unit = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..100),
        "[a-c]{0,60}".prop_map(String::into_bytes),
        "\\PC{0,60}".prop_map(String::into_bytes),
    ];
    let base = (unit, 1..200usize).prop_map(|(unit, times)| unit.repeat(times));
    let at = any::<prop::sample::Index>;
    let edits = prop::collection::vec((at(), at(), at(), any::<Option<u8>>()), 0..12);
    (base, edits).prop_map(|(base, edits)| {
        let mut target = base.clone();
        for (from, end, to, byte) in edits {
            let place = |index: prop::sample::Index| index.index(target.len() + 1);
            let (from, end, to) = (place(from), place(end), place(to));
            match byte {
                Some(byte) => target.insert(to, byte),
                None => {
                    let piece: Vec<u8> = target.drain(from.min(end)..from.max(end)).collect();
                    let to = to.min(target.len());
                    target.splice(to..to, piece);
                }
            }
        }
        (base, target)
    })
}

/// What deltas of a text against itself, with one byte changed and of a cut one are decoded to.
#[test]
fn a_delta_of_any_length_is_decoded() {
    for len in (0..200).chain([4096, 65_535, fossil::TEXT_BYTES_MAX]) {
        let base: Vec<u8> = (0..len as u32)
            .map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8)
            .collect();
        let mut changed = base.clone();
        if let Some(byte) = changed.get_mut(len / 2) {
            *byte ^= 1;
        }
        for target in [&base[..], &changed, &base[len / 3..]] {
            let delta = fossil::encode(&base, target);
            assert!(delta.is_some() || target.len() < 64, "{len} bytes");
            if let Some(delta) = delta {
                assert_eq!(fossil::decode(&base, &delta, len).as_deref(), Ok(target));
            }
        }
    }
}

/// Texts in which a block is at each place, and in which none is though its hash is. Each pair takes some 30 ms
/// in a debug build; with a square in it, hours.
#[test]
fn no_texts_take_more_than_linear_time() {
    let zeros = vec![0; fossil::TEXT_BYTES_MAX];
    let ends: Vec<u8> = zeros
        .chunks(17)
        .flat_map(|_| [0; 16].into_iter().chain([1]))
        .collect();
    let pairs: Vec<u8> = (0..fossil::TEXT_BYTES_MAX)
        .map(|at| u8::from(at % 2 == 0))
        .collect();
    for base in [&zeros, &ends, &pairs] {
        for target in [&zeros, &ends, &pairs] {
            let target = &target[..fossil::TEXT_BYTES_MAX];
            let base = &base[..fossil::TEXT_BYTES_MAX];
            if let Some(delta) = fossil::encode(base, target) {
                assert_eq!(
                    fossil::decode(base, &delta, target.len()).as_deref(),
                    Ok(target)
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn deltas_of_edited_texts((base, target) in edited()) {
        let delta = fossil::encode(&base, &target);
        if let Some(delta) = delta {
            prop_assert!(delta.len() < target.len());
            prop_assert_eq!(fossil::decode(&base, &delta, target.len()), Ok(target));
        }
    }

    #[test]
    fn deltas_of_two_parts(data: Vec<u8>, unit in "[ab]{1,9}", times in 0..60usize) {
        delta(&[&data[..], unit.repeat(times).as_bytes()].concat());
    }

    #[test]
    fn random_bytes(data: Vec<u8>) {
        wamp_json(&data);
        wamp_msgpack(&data);
        wamp_cbor(&data);
        centrifugo(&data);
        protobuf_session(&data);
        pusher(&data);
        event_stream(&data);
        delta(&data);
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
