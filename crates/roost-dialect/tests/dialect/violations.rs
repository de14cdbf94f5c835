//! Protocol violations: what is no message, or not now.

use std::time::{Duration, Instant};

use roost_dialect::dialect::{Command, Message};
use roost_hub::ChannelId;
use roost_wire::CloseCode;

use crate::wamp_client::{Client, Did, HELLO, NOT_WAMP};

#[test]
fn what_is_not_json() {
    for text in [
        "",
        " ",
        "hello",
        "[",
        "[16",
        "[16,",
        "[1]]",
        "[1],[2]",
        "{}x",
        "[\"\u{1}\"]",
        "[0x1]",
    ] {
        Client::open().violates(text, "Received a malformed message: ");
        Client::new().violates(text, "Received a malformed message: ");
    }
}

#[test]
fn what_is_json_but_no_message() {
    let malformed = "Received a malformed message: ";
    for text in [
        "1", "null", "\"x\"", "{}", "[]", "[null]", "[-1]", "[1.0]", "[\"16\"]", "[[16]]",
    ] {
        Client::open().violates(text, malformed);
    }
}

#[test]
fn elements_of_the_wrong_kind() {
    let malformed = "Received a malformed message: ";
    for text in [
        // too few
        "[16]",
        "[16,1]",
        "[16,1,{}]",
        "[32,1,{}]",
        "[34,1]",
        "[6]",
        "[6,{}]",
        "[3,{}]",
        "[48]",
        "[49]",
        // too many
        r#"[16,1,{},"t",[],{},0]"#,
        r#"[32,1,{},"t",0]"#,
        r#"[1,"r",{"roles":{"caller":{}}},0]"#,
        // IDs
        r#"[16,0,{},"t"]"#,
        r#"[16,9007199254740993,{},"t"]"#,
        r#"[16,1.5,{},"t"]"#,
        r#"[16,-1,{},"t"]"#,
        r#"[16,"1",{},"t"]"#,
        "[34,1,0]",
        "[48,0]",
        // dictionaries
        r#"[16,1,[],"t"]"#,
        r#"[16,1,null,"t"]"#,
        r#"[32,1,[],"t"]"#,
        r#"[6,[],"x.y"]"#,
        r#"[6,{},1]"#,
        // topics
        "[16,1,{},1]",
        "[16,1,{},null]",
        r#"[16,1,{},"\ud800"]"#,
        // payloads
        r#"[16,1,{},"t","x"]"#,
        r#"[16,1,{},"t",{}]"#,
        r#"[16,1,{},"t",[],[]]"#,
        r#"[16,1,{},"t",[01]]"#,
        r#"[16,1,{},"t",["\x"]]"#,
        r#"[16,1,{},"t",[1,]]"#,
        // options (vectors, "options_validation")
        r#"[32,123,{"match":"invalid"},"com.example.topic"]"#,
        r#"[32,123,{"match":123},"com.example.topic"]"#,
        r#"[16,1,{"acknowledge":1},"t"]"#,
        r#"[16,1,{"exclude_me":"hello"},"t"]"#,
        r#"[16,1,{"disclose_me":[]},"t"]"#,
        r#"[16,1,{"exclude":1},"t"]"#,
        r#"[16,1,{"eligible":"hello"},"t"]"#,
    ] {
        Client::open().violates(text, malformed);
    }
}

/// Each complaint names the element and what it should be.
#[test]
fn a_complaint_names_what_is_wrong_and_what_is_right() {
    let long = format!(r#"[16,1,"{}","t"]"#, "x".repeat(1000));
    for (text, sentence) in [
        (
            "hello",
            "wamp.2.json wants one JSON array, and this is no JSON (expected value at line 1 column ",
        ),
        (
            "[16,",
            "this is no JSON (EOF while parsing a value at line 1 column ",
        ),
        (
            "{}",
            "a WAMP message is a JSON array that begins with its type, an integer (invalid type: map, expected an array at line 1 column ",
        ),
        (
            "[]",
            "begins with its type, an integer (the array is empty at line 1 column ",
        ),
        (
            "[1.5]",
            "begins with its type, an integer (invalid type: floating point `1.5`, expected u64 at line 1 column ",
        ),
        (
            r#"[16,1,{},"t",[],[]]"#,
            "PUBLISH.ArgumentsKw must be an object (found an array at line 1 column ",
        ),
        (
            r#"[16,1,{},"t","x"]"#,
            "PUBLISH.Arguments must be an array (found a string at line 1 column ",
        ),
        (
            r#"[16,1,{"acknowledge":1},"t"]"#,
            "PUBLISH.Options must be an object (acknowledge must be true or false at line 1 column ",
        ),
        (
            r#"[16,1,{"eligible":"x"},"t"]"#,
            "PUBLISH.Options must be an object (eligible must be an array of integers",
        ),
        (
            r#"[32,1,{"match":"all"},"t"]"#,
            "SUBSCRIBE.Options must be an object (match must be exact, prefix or wildcard",
        ),
        (
            "[16,1]",
            "PUBLISH.Options is missing; expected is [16, Request, Options, Topic, Arguments, ArgumentsKw], the last two optional.",
        ),
        (
            "[34,1]",
            "UNSUBSCRIBE.Subscription is missing; expected is [34, Request, Subscription].",
        ),
        (
            r#"[32,1,{},"t",0]"#,
            "SUBSCRIBE has too many elements; expected is [32, Request, Options, Topic].",
        ),
        (
            r#"[32,0,{},"t"]"#,
            "SUBSCRIBE.Request must be an integer from 1 to 2^53 (",
        ),
        ("[16,1,{},1]", "PUBLISH.Topic must be a string ("),
        (r#"[6,[],"x.y"]"#, "GOODBYE.Details must be an object ("),
        (
            &long,
            "PUBLISH.Options must be an object (invalid type: string",
        ),
    ] {
        let sentence = serde_json::Value::from(sentence).to_string();
        let hint = sentence.trim_matches('"');
        Client::open().violates(text, hint);
    }
    let roles = r#"[1,"realm1",{"roles":[]}]"#;
    Client::new().violates(
        roles,
        "HELLO.Details must be an object (roles must be an object of objects",
    );
}

#[test]
fn the_largest_id_is_two_to_the_53() {
    let did = Client::open().send(r#"[32,9007199254740992,{},"t"]"#);
    assert!(matches!(did, Did::Asked(_)), "{did:?}");
}

#[test]
fn second_hello() {
    let hint = "Received HELLO message after session was established.";
    Client::open().violates(HELLO, hint);
}

#[test]
fn hello_without_a_role() {
    for details in [
        "{}",
        r#"{"roles":{}}"#,
        r#"{"roles":null}"#,
        r#"{"roles":{"broker":{}}}"#,
    ] {
        let text = format!(r#"[1,"realm1",{details}]"#);
        Client::new().violates(&text, "HELLO announces no client role: ");
    }
    for details in ["[]", r#"{"roles":[]}"#, r#"{"roles":{"caller":1}}"#] {
        let text = format!(r#"[1,"realm1",{details}]"#);
        Client::new().violates(&text, "Received a malformed message: ");
    }
}

/// "Protocol errors", the list.
#[test]
fn messages_out_of_place() {
    let before = "Received a message before the session was established: the first must be HELLO.";
    for text in [
        r#"[6,{},"wamp.close.normal"]"#,
        r#"[16,1,{},"t"]"#,
        r#"[32,1,{},"t"]"#,
        "[34,1,2]",
        r#"[48,1,{},"p"]"#,
        r#"[8,32,1,{},"a.b"]"#,
        "[33,1,2]",
        "[2,1,{}]",
    ] {
        Client::new().violates(text, before);
    }
    for (code, rest) in [
        (0, ",1,{}"),
        (2, ",1,{}"),
        (4, r#","ticket",{}"#),
        (5, r#","secret",{}"#),
        (7, ""),
        (8, r#",48,1,{},"a.b""#),
        (17, ",1,2"),
        (33, ",1,2"),
        (35, ",1"),
        (36, ",1,2,{}"),
        (50, ",1,{}"),
        (65, ",1,2"),
        (67, ",1"),
        (68, ",1,2,{}"),
        (69, ",1,{}"),
        (337, ",1"),
        (1000, ",[]"),
    ] {
        let hint = format!("Received an unexpected message of type {code}.");
        Client::open().violates(&format!("[{code}{rest}]"), &hint);
    }
}

#[test]
fn binary_messages() {
    for (mut client, reason) in [
        (Client::new(), NOT_WAMP),
        (Client::open(), "wamp.error.protocol_violation"),
    ] {
        let mut out = Vec::new();
        let mut handle = |out: &mut Vec<u8>| {
            let message = Message::Binary(b"[]");
            let settings = &client.settings;
            client.session.handle(message, out, &mut || 1, settings)
        };
        let command = handle(&mut out);
        let expected = r#"[3,{"message":"Received a binary message; wamp.2.json has text messages only."},"wamp.error.protocol_violation"]"#;
        assert_eq!(str::from_utf8(&out), Ok(expected));
        let close = Command::Close {
            code: CloseCode::PROTOCOL_ERROR,
            reason,
        };
        assert_eq!(command, Some(close));
        out.clear();
        assert_eq!(handle(&mut out), None);
        assert_eq!(out, b"");
    }
}

#[test]
fn nesting_is_bounded_in_what_passes_through() {
    let nested = |depth: usize| {
        format!(
            r#"[16,1,{{}},"t",{}{}]"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    // The message's own array is the first level.
    let did = Client::open().send(&nested(127));
    assert!(matches!(did, Did::Asked(_)), "{did:?}");
    Client::open().violates(&nested(128), "nested more than 128 deep.");
    let objects = format!(
        r#"[16,1,{{}},"t",[],{}1{}]"#,
        r#"{"a":"#.repeat(128),
        "}".repeat(128)
    );
    Client::open().violates(&objects, "nested more than 128 deep");
    // Unknown options are skipped, not passed, and bounded all the same.
    let options = format!(
        r#"[16,1,{{"x":{}{}}},"t"]"#,
        "[".repeat(127),
        "]".repeat(127)
    );
    Client::open().violates(&options, "nested more than 128 deep");
}

#[test]
fn complaints_do_not_grow_with_the_message() {
    let text = format!(r#"["{}"]"#, "\\u0001".repeat(100_000));
    let did = Client::open().send(&text);
    let Did::Closed(out, ..) = did else {
        panic!("{did:?}")
    };
    assert!(out.len() < 1500, "{} bytes", out.len());
}

/// 4 MiB of what a quadratic parser would choke on. The deadline is far above what a linear one
/// needs in a debug build on a busy machine (0.1 s each), and far below a quadratic one's hours.
#[test]
#[expect(clippy::disallowed_methods, reason = "it compares times")]
fn work_is_linear() {
    let long = 4 << 20;
    let deadline = Duration::from_secs(20);
    for text in [
        "[".repeat(long),
        format!(r#"[16,1,{{}},"t",[{}1]]"#, "[],".repeat(long / 3)),
        format!(r#"[16,1,{{}},"t",["{}"]]"#, "\\\\".repeat(long / 2)),
        format!(r#"[16,1,{{}},"{}"]"#, "\\u0041".repeat(long / 6)),
        format!(r#"[16,1,{{{}"b":1}},"t"]"#, r#""a":1,"#.repeat(long / 6)),
        format!(
            r#"[1,"r",{{"authmethods":[{}"x"]}}]"#,
            r#""","#.repeat(long / 3)
        ),
        format!("[{}1]", "1,".repeat(long / 2)),
        format!(r#"[16,1,{{}},"t",[{}]]"#, "1".repeat(long)),
    ] {
        let started = Instant::now();
        Client::open().send(&text);
        let took = started.elapsed();
        assert!(took < deadline, "{:.30}…: {took:?}", text);
    }
}

/// A session may be allowed a million subscriptions; each must not cost a walk over the others.
#[test]
#[expect(clippy::disallowed_methods, reason = "it compares times")]
fn work_for_a_subscription_does_not_grow_with_their_number() {
    let number_max = 100_000;
    let mut client = Client::open();
    client.settings.subscriptions_per_connection_max = number_max as usize;
    let deadline = Duration::from_secs(20);
    let started = Instant::now();
    for number in 0..number_max {
        let did = client.send(r#"[32,1,{},"t"]"#);
        assert!(matches!(did, Did::Asked(_)), "{did:?}");
        client.session.on_subscribing(ChannelId(number));
        let topic = u64::from(number) + 1;
        client.hear(|session, out| session.on_subscribed(1, ChannelId(number), topic, out));
    }
    for topic in 1..=number_max {
        let did = client.send(&format!("[34,1,{topic}]"));
        assert!(matches!(did, Did::Asked(_)), "{did:?}");
    }
    assert_eq!(client.session.subscriptions().count(), 0);
    assert!(started.elapsed() < deadline, "{:?}", started.elapsed());
}
