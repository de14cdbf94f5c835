//! What one dialect publishes and the other receives.

use proptest::prelude::*;
use std::sync::Arc;

use roost_dialect::serial::convert;
use roost_dialect::wamp::Wire;
use roost_dialect::{
    Arguments, DialectKind, Form, PayloadRef, Publication, PublishDetails, Serializer, encode,
};
use roost_hub::EventIds;
use roost_wire::{Frozen, Opcode};
use serde_json::Value;
use serde_json::value::RawValue;

/// The ids of the specification's EVENT examples.
const IDS: EventIds = EventIds {
    topic: 5_512_315_355,
    publication: 4_429_313_566,
    offset: 1,
};

fn event(publication: &Publication) -> String {
    let frame = encode(publication, Form::WAMP_JSON, IDS, "c");
    assert_eq!(frame.opcode(), Opcode::Text);
    String::from_utf8(frame.payload().unwrap().to_vec()).unwrap()
}

fn received_raw(publication: &Publication) -> (Opcode, Vec<u8>) {
    let frame = encode(publication, Form::RAW, IDS, "c");
    (frame.opcode(), frame.payload().unwrap().to_vec())
}

fn wamp(args: Option<&str>, kwargs: Option<&str>) -> Publication {
    PayloadRef::Wamp(Arguments::json(args, kwargs)).freeze()
}

fn text(text: &str) -> (Opcode, Vec<u8>) {
    (Opcode::Text, text.as_bytes().to_vec())
}

/// The publication a WAMP client makes when it publishes what an EVENT brought it.
fn republished(event: &str) -> Publication {
    let items: Vec<&RawValue> = serde_json::from_str(event).unwrap();
    wamp(
        items.get(4).map(|item| item.get()),
        items.get(5).map(|item| item.get()),
    )
}

#[test]
fn events_of_the_specification() {
    assert_eq!(event(&wamp(None, None)), "[36,5512315355,4429313566,{}]");
    let publication = wamp(Some(r#"["Hello, world!"]"#), None);
    assert_eq!(
        event(&publication),
        r#"[36,5512315355,4429313566,{},["Hello, world!"]]"#
    );
    let kwargs = r#"{"color": "orange", "sizes": [23, 42, 7]}"#;
    let expected = format!("[36,5512315355,4429313566,{{}},[],{kwargs}]");
    assert_eq!(event(&wamp(Some("[]"), Some(kwargs))), expected);
    // Keywords without arguments: the place before them is filled.
    assert_eq!(event(&wamp(None, Some(kwargs))), expected);
}

#[test]
fn event_of_the_test_vector() {
    let ids = EventIds {
        topic: 9_823_526,
        publication: 112_233_445_566,
        offset: 1,
    };
    let publication = PayloadRef::Text("Hello, event!").freeze();
    let frame = encode(&publication, Form::WAMP_JSON, ids, "c");
    let expected = br#"[36,9823526,112233445566,{},["Hello, event!"]]"#;
    assert_eq!(frame.payload().unwrap(), expected);
}

#[test]
fn a_publisher_that_wants_to_be_known_stands_in_the_details() {
    let details = PublishDetails {
        publisher: Some(3),
        ..PublishDetails::default()
    };
    let publication = wamp(Some("[1]"), None).with_details(Some(Arc::new(details)));
    let expected = r#"[36,5512315355,4429313566,{"publisher":3},[1]]"#;
    assert_eq!(event(&publication), expected);
    for (at, (name, wire)) in Wire::ALL.into_iter().enumerate() {
        let frame = encode(&publication, Form::of(DialectKind::Wamp, at), IDS, "c");
        if !wire.is_batched {
            let json = convert(frame.payload().unwrap(), wire.serializer, Serializer::Json);
            assert_eq!(json.as_deref(), Ok(expected.as_bytes()), "{name}");
        }
    }
    assert_eq!(
        received_raw(&publication),
        text(r#"{"args":[1],"kwargs":{}}"#)
    );
}

#[test]
fn raw_to_raw_shares_one_image() {
    let publication = PayloadRef::Text("hi").freeze();
    let first = encode(&publication, Form::RAW, IDS, "c");
    let second = encode(&publication.clone(), Form::RAW, IDS, "c");
    assert_eq!(first, Frozen::message(Opcode::Text, b"hi"));
    assert_eq!(
        first.as_bytes().as_ptr(),
        second.as_bytes().as_ptr(),
        "nothing is copied"
    );
}

#[test]
fn raw_to_wamp() {
    let of_text = |text| event(&PayloadRef::Text(text).freeze());
    assert_eq!(of_text("hi"), r#"[36,5512315355,4429313566,{},["hi"]]"#);
    assert_eq!(of_text(""), r#"[36,5512315355,4429313566,{},[""]]"#);
    let expected = r#"[36,5512315355,4429313566,{},["\"\\\n\u0001é😀"]]"#;
    assert_eq!(of_text("\"\\\n\u{1}é😀"), expected);
    // spec, "Binary conversion of JSON Strings"
    let bytes = b"\x10\xe3\xff\x90\x53\x07\x5c\x52\x6f\x5f\xc0\x6d\x4f\xe3\x7c\xdb";
    let expected = r#"[36,5512315355,4429313566,{},["\u0000EOP/kFMHXFJvX8BtT+N82w=="]]"#;
    assert_eq!(event(&PayloadRef::Binary(bytes).freeze()), expected);
    let expected = r#"[36,5512315355,4429313566,{},["\u0000"]]"#;
    assert_eq!(event(&PayloadRef::Binary(b"").freeze()), expected);
}

#[test]
fn wamp_to_raw_one_string() {
    for (args, expected) in [
        (r#"["hi"]"#, "hi"),
        (r#"[""]"#, ""),
        (r#" [ "hi" ] "#, "hi"),
        (r#"["\"\\\/\b\n\u00e9\ud83d\ude00"]"#, "\"\\/\u{8}\né😀"),
        // Begins with NUL and is not base64 as the convention has it: text.
        (r#"["\u0000a"]"#, "\0a"),
        (
            r#"["\u0000EOP/kFMHXFJvX8BtT+N82w"]"#,
            "\0EOP/kFMHXFJvX8BtT+N82w",
        ),
        (r#"["\u0000YR=="]"#, "\0YR=="),
    ] {
        assert_eq!(
            received_raw(&wamp(Some(args), None)),
            text(expected),
            "{args}"
        );
        assert_eq!(
            received_raw(&wamp(Some(args), Some("{}"))),
            text(expected),
            "{args}"
        );
        assert_eq!(
            received_raw(&wamp(Some(args), Some("{ \n}"))),
            text(expected),
            "{args}"
        );
    }
    let args = r#"["\u0000EOP/kFMHXFJvX8BtT+N82w=="]"#;
    let bytes = b"\x10\xe3\xff\x90\x53\x07\x5c\x52\x6f\x5f\xc0\x6d\x4f\xe3\x7c\xdb";
    assert_eq!(
        received_raw(&wamp(Some(args), None)),
        (Opcode::Binary, bytes.to_vec())
    );
    let empty = (Opcode::Binary, Vec::new());
    assert_eq!(received_raw(&wamp(Some(r#"["\u0000"]"#), None)), empty);
}

#[test]
fn wamp_to_raw_anything_else() {
    for (args, kwargs, expected) in [
        (None, None, r#"{"args":[],"kwargs":{}}"#),
        (Some("[]"), None, r#"{"args":[],"kwargs":{}}"#),
        (Some("[1]"), None, r#"{"args":[1],"kwargs":{}}"#),
        (Some("[null]"), None, r#"{"args":[null],"kwargs":{}}"#),
        (
            Some(r#"["a","b"]"#),
            None,
            r#"{"args":["a","b"],"kwargs":{}}"#,
        ),
        (Some(r#"[["a"]]"#), None, r#"{"args":[["a"]],"kwargs":{}}"#),
        (None, Some(r#"{"k":1}"#), r#"{"args":[],"kwargs":{"k":1}}"#),
        (
            Some(r#"["a"]"#),
            Some(r#"{"k": 1}"#),
            r#"{"args":["a"],"kwargs":{"k": 1}}"#,
        ),
        // No Unicode text, so it cannot be a text message.
        (
            Some(r#"["\ud800"]"#),
            None,
            r#"{"args":["\ud800"],"kwargs":{}}"#,
        ),
    ] {
        assert_eq!(received_raw(&wamp(args, kwargs)), text(expected));
    }
}

/// Any JSON of moderate size, as text, with strings of any characters.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\u{0}-\u{1f}\"\\\\]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\u{0}-\u{1f}\"\\\\/a😀\u{2028}]{0,40}"]
}

proptest! {
    #[test]
    fn raw_text_comes_back_from_wamp(sent in any_text()) {
        prop_assume!(!sent.starts_with('\0'));
        let publication = PayloadRef::Text(&sent).freeze();
        prop_assert_eq!(received_raw(&publication), text(&sent));
        let event = event(&publication);
        // A WAMP client sees this very string.
        let items: Value = serde_json::from_str(&event).unwrap();
        prop_assert_eq!(&items[4][0], &Value::from(sent.as_str()));
        prop_assert_eq!(received_raw(&republished(&event)), text(&sent));
    }

    #[test]
    fn raw_binary_comes_back_from_wamp(sent: Vec<u8>) {
        let publication = PayloadRef::Binary(&sent).freeze();
        let expected = (Opcode::Binary, sent);
        prop_assert_eq!(&received_raw(&publication), &expected);
        prop_assert_eq!(&received_raw(&republished(&event(&publication))), &expected);
    }

    #[test]
    fn wamp_text_is_delivered_unchanged(args in any_json(), kwargs in any_json()) {
        let args = Value::from(vec![args]).to_string();
        let kwargs = serde_json::json!({ "k": kwargs }).to_string();
        let event = event(&wamp(Some(&args), Some(&kwargs)));
        prop_assert_eq!(event, format!("[36,5512315355,4429313566,{{}},{args},{kwargs}]"));
    }

    #[test]
    fn raw_subscribers_get_json_of_what_is_not_one_string(
        args in prop::collection::vec(any_json(), 0..4),
        kwargs in prop::collection::btree_map(any::<String>(), any_json(), 0..3),
    ) {
        prop_assume!(!(matches!(&args[..], [Value::String(_)]) && kwargs.is_empty()));
        let sent = serde_json::json!({ "args": args, "kwargs": kwargs });
        let args = sent["args"].to_string();
        let kwargs = sent["kwargs"].to_string();
        let (opcode, payload) = received_raw(&wamp(Some(&args), Some(&kwargs)));
        prop_assert_eq!(opcode, Opcode::Text);
        let received: Value = serde_json::from_slice(&payload).unwrap();
        prop_assert_eq!(received, sent);
    }

    #[test]
    fn one_string_is_that_text(sent in any_text()) {
        prop_assume!(!sent.starts_with('\0'));
        let args = Value::from(vec![sent.as_str()]).to_string();
        prop_assert_eq!(received_raw(&wamp(Some(&args), None)), text(&sent));
    }
}
