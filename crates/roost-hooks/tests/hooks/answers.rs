//! Answers of applications.

use proptest::prelude::*;
use roost_access::{Operation, PatternRef};
use roost_hooks::{Answer, AnswerError, Changed, Event, fuzz, parse};

fn read(event: Event, text: &str) -> Result<Answer, AnswerError> {
    parse(event, text.as_bytes(), 64 << 10)
}

#[test]
fn a_connect_is_granted_with_a_user_an_end_and_permissions() {
    let answer = read(
        Event::Connect,
        r#"{"result":{"user":"42","expire_at":1764400000,"info":{"a":1},"data":[],
            "channels":["news"],"subs":{"chat:1":{}},"meta":{},
            "caps":[{"channels":["chat:*"],"match":"wildcard","allow":["sub","pub"]}]}}"#,
    );
    let Ok(Answer::Connect(granted)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(
        (&*granted.user, granted.expire_at),
        ("42", Some(1_764_400_000))
    );
    let find = |operation, name| granted.permissions.find(operation, PatternRef::name(name));
    assert!(find(Operation::Subscribe, "chat:1").is_some());
    assert!(find(Operation::Publish, "chat:1").is_some());
    assert!(find(Operation::Publish, "news").is_none());
    assert!(find(Operation::Call, "chat:1").is_none());
    let subscriptions: Vec<&str> = granted
        .permissions
        .subscriptions()
        .iter()
        .map(|name| &**name)
        .collect();
    assert_eq!(subscriptions, ["news", "chat:1"]);
    let info = granted.permissions.info().map(|info| &**info);
    assert_eq!(info, Some(r#"{"a":1}"#));
}

#[test]
fn what_a_connect_grants_has_its_form_and_its_limits() {
    let long = format!(
        r#"{{"result":{{"user":"a","info":"{}"}}}}"#,
        "x".repeat(1023)
    );
    let many: Vec<String> = (0..65).map(|n| format!("\"c{n}\"")).collect();
    let many = format!(
        r#"{{"result":{{"user":"a","channels":[{}]}}}}"#,
        many.join(",")
    );
    for (text, what) in [
        (
            r#"{"result":{"user":"a","channels":"news"}}"#,
            "channels is no list",
        ),
        (r#"{"result":{"user":"a","channels":[""]}}"#, "is empty"),
        (
            r#"{"result":{"user":"a","subs":["news"]}}"#,
            "subs is no object",
        ),
        (
            r#"{"result":{"user":"a","subs":{"news":1}}}"#,
            "subs is no object",
        ),
        (many.as_str(), "more than 64 channels"),
        (long.as_str(), "info is longer than 1024 bytes"),
    ] {
        match read(Event::Connect, text) {
            Err(AnswerError::Granted(said)) => assert!(said.contains(what), "{said}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    let none = read(Event::Connect, r#"{"result":{"user":"a","info":null}}"#);
    let Ok(Answer::Connect(granted)) = none else {
        panic!("{none:?}");
    };
    assert_eq!(granted.permissions.info(), None);
}

#[test]
fn each_kind_of_answer_is_read() {
    for (event, text, expected) in [
        (Event::Subscribe, r#"{"result":{}}"#, Answer::Subscribe),
        (
            Event::Publish,
            r#"{"result":{},"error":null}"#,
            Answer::Publish(Changed::Nothing),
        ),
        (
            Event::Publish,
            r#"{"result":{"data":{"a": 1},"skip_history":true}}"#,
            Answer::Publish(Changed::Text(r#"{"a": 1}"#.into())),
        ),
        (
            Event::Publish,
            r#"{"result":{"data":1,"b64data":"AAE"}}"#,
            Answer::Publish(Changed::Binary([0, 1].into())),
        ),
        (
            Event::Subscribe,
            r#"{"error":{"code":1000,"message":"no","temporary":true}}"#,
            Answer::Error {
                code: 1000,
                message: "no".into(),
                is_temporary: true,
            },
        ),
        (
            Event::Connect,
            r#"{"disconnect":{"code":4500,"reason":"gone"}}"#,
            Answer::Disconnect {
                code: 4500,
                reason: "gone".into(),
            },
        ),
    ] {
        assert_eq!(read(event, text), Ok(expected), "{text}");
    }
}

/// Whatever is not certainly a permission is none.
#[test]
fn what_is_not_understood_grants_nothing() {
    for (event, text) in [
        (Event::Subscribe, ""),
        (Event::Subscribe, "null"),
        (Event::Subscribe, "{}"),
        (Event::Subscribe, r#"{"result":null}"#),
        (Event::Subscribe, r#"{"result":true}"#),
        (Event::Subscribe, r#"{"result":[]}"#),
        (Event::Subscribe, r#"[{},null,null]"#),
        (Event::Subscribe, r#"{"result":{}} {}"#),
        (Event::Subscribe, r#"{"result":{},"result":{}}"#),
        (Event::Subscribe, r#"{"result":{},"error":{"code":1000}}"#),
        (
            Event::Subscribe,
            r#"{"result":{},"disconnect":{"code":4500}}"#,
        ),
        (Event::Subscribe, r#"{"result":{"expire_at":1}}"#),
        (Event::Subscribe, "<html>504 Gateway Time-out</html>"),
        (Event::Connect, r#"{"result":{}}"#),
        (Event::Connect, r#"{"result":{"user":7}}"#),
        (Event::Connect, r#"{"result":{"user":null}}"#),
        (Event::Connect, r#"{"result":{"user":"a","expire_at":-1}}"#),
        (Event::Connect, r#"{"result":{"user":"a","expire_at":"1"}}"#),
        (Event::Connect, r#"{"result":{"user":"a","caps":{}}}"#),
        (
            Event::Connect,
            r#"{"result":{"user":"a","caps":[{"channels":[".*"],"match":"regex","allow":["sub"]}]}}"#,
        ),
        (
            Event::Connect,
            r#"{"result":{"user":"a","caps":[{"channels":["a"],"allow":["everything"]}]}}"#,
        ),
        (Event::Publish, r#"{"result":{"b64data":"%"}}"#),
        (Event::Publish, r#"{"error":{"code":399}}"#),
        (Event::Publish, r#"{"error":{"code":2000}}"#),
        (Event::Publish, r#"{"error":{}}"#),
        (Event::Publish, r#"{"error":[1000,"",false]}"#),
        (Event::Publish, r#"{"disconnect":{"code":1000}}"#),
        (Event::Publish, r#"{"disconnect":{"code":69536}}"#),
    ] {
        assert!(read(event, text).is_err(), "{event:?} {text}");
    }
    let long = format!(r#"{{"result":{{"user":"{}"}}}}"#, "a".repeat(256));
    assert!(read(Event::Connect, &long).is_err());
    assert_eq!(
        parse(Event::Subscribe, br#"{"result":{}}"#, 12),
        Err(AnswerError::TooLarge)
    );
}

/// What is ignored is gone over without a stack that grows.
#[test]
fn depth_costs_no_stack() {
    let (open, close) = ("[".repeat(30_000), "]".repeat(30_000));
    let ignored = format!(r#"{{"result":{{"x":{open}1{close}}}}}"#);
    assert_eq!(read(Event::Subscribe, &ignored), Ok(Answer::Subscribe));
    let caps = format!(r#"{{"result":{{"user":"a","caps":{open}{close}}}}}"#);
    assert!(read(Event::Connect, &caps).is_err());
}

#[test]
fn what_is_too_long_for_a_close_frame_is_cut_between_characters() {
    let text = format!(
        r#"{{"disconnect":{{"code":4000,"reason":"{}"}}}}"#,
        "ä".repeat(100)
    );
    let Ok(Answer::Disconnect { reason, .. }) = read(Event::Connect, &text) else {
        panic!("a disconnect");
    };
    assert_eq!(&*reason, "ä".repeat(61));
}

#[test]
fn the_corpus_keeps_what_must_hold() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/answer");
    let mut inputs = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus") {
        let path = entry.expect("an entry").path();
        fuzz::answer(&std::fs::read(path).expect("a file"));
        inputs += 1;
    }
    assert!(inputs >= 6);
}

proptest! {
    #[test]
    fn any_bytes_keep_what_must_hold(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::answer(&data);
    }

    /// Pieces of answers in any order come near to being one.
    #[test]
    fn pieces_of_answers_keep_what_must_hold(
        choice in 0u8..3,
        pieces in prop::collection::vec(prop::sample::select(PIECES), 1..12),
    ) {
        fuzz::answer(&[&[choice], pieces.concat().as_bytes()].concat());
    }
}

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    "null",
    "1",
    "\"a\"",
    "{}",
    "\"result\":",
    "\"error\":",
    "\"disconnect\":",
    "{\"result\":{",
    "}}",
    "\"user\":\"a\"",
    "\"code\":4500",
    "\"code\":1000",
    "\"data\":",
    "\"caps\":[]",
    "\"b64data\":\"AAAA\"",
    "\"expire_at\":0",
    "\"reason\":\"\\ud83d\\ude00\"",
    "\"message\":\"m\"",
];
