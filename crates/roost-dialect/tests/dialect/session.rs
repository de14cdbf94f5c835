//! What a session answers, to the letter. Messages marked "spec" are the examples of the
//! specification's text; those marked "vector" its JSON test vectors (`testsuite/singlemessage`).

use roost_dialect::Receiver;
use roost_dialect::dialect::{Command, Message};
use roost_dialect::wamp::{Realms, Request, Session, uri};
use roost_hub::ChannelId;
use roost_wire::CloseCode;

use crate::wamp_client::{Client, Did, HELLO};

const CHANNEL: ChannelId = ChannelId(3);
const TOPIC: u64 = 5_512_315_355;

fn said(text: &str) -> Did {
    Did::Said(text.to_owned())
}

fn asked(text: &str) -> Did {
    Did::Asked(text.to_owned())
}

fn subscribed() -> Client {
    let mut client = Client::open();
    client.send(r#"[32, 713845233, {}, "com.myapp.mytopic1"]"#);
    client.session.on_subscribing(CHANNEL);
    // spec
    let out = client.hear(|session, out| session.on_subscribed(713_845_233, CHANNEL, TOPIC, out));
    assert_eq!(out, "[33,713845233,5512315355]");
    client
}

#[test]
fn hello_is_welcomed_with_what_works() {
    let mut client = Client::new();
    assert_eq!(client.session.id(), None);
    let welcome = format!(
        r#"[2,9129137332,{{"agent":"Roost-{}","authid":"9129137332","authrole":"anonymous","authmethod":"anonymous","roles":{{"broker":{{"features":{{"publisher_exclusion":true,"publisher_identification":true,"subscriber_blackwhite_listing":true,"pattern_based_subscription":true,"event_retention":true,"session_meta_api":true,"subscription_meta_api":true,"subscription_revocation":true}}}},"dealer":{{"features":{{"caller_identification":true,"call_canceling":true,"call_timeout":true,"progressive_call_results":true,"pattern_based_registration":true,"shared_registration":true,"session_meta_api":true,"registration_meta_api":true}}}}}}}}]"#,
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(client.send(HELLO), said(&welcome));
    assert_eq!(client.session.id(), Some(9_129_137_332));
}

#[test]
fn hello_of_the_specification_and_of_stock_clients() {
    for hello in [
        // spec, "Agent Identification"
        r#"[1, "somerealm", {"agent": "AutobahnJS-0.9.14", "roles": {"subscriber": {}, "publisher": {}}}]"#,
        // vector, both spellings
        r#"[1, "com.example.realm", {"roles": {"subscriber": {}, "publisher": {}}}]"#,
        r#"[1,"com.example.realm",{"roles":{"subscriber":{},"publisher":{}}}]"#,
        // features, roles and details not known here
        r#"[1,"realm1",{"roles":{"caller":{"features":{"caller_identification":true}},"x":{}},"authmethods":["wampcra","anonymous"],"authid":null,"authrole":null,"authextra":{"a":[1]}}]"#,
        r#"[1,"realm1",{"authmethods":[],"roles":{"subscriber":{}},"authrole":"anonymous"}]"#,
        "\n [ 1 ,\t\"realm1\" , { \"roles\" : { \"callee\" : { } } } ] ",
    ] {
        let did = Client::new().send(hello);
        assert!(
            matches!(&did, Did::Said(out) if out.starts_with("[2,")),
            "{hello}: {did:?}"
        );
    }
}

#[test]
fn hello_is_refused_by_name() {
    let listed = Realms::from_list(["realm1".to_owned()]);
    let with = |realm: &str, more: &str| {
        let mut client = Client::new();
        client.settings.realms = listed.clone();
        client.send(&format!(
            r#"[1,"{realm}",{{"roles":{{"publisher":{{}}}}{more}}}]"#
        ))
    };
    let refused = |message: &str, reason: &'static str| {
        let out = format!(r#"[3,{{"message":"{message}"}},"{reason}"]"#);
        Did::Closed(out, CloseCode::POLICY_VIOLATION, reason)
    };
    assert!(matches!(with("realm1", ""), Did::Said(_)));
    // spec, "ABORT"
    let expected = refused(
        "The realm does not exist on this server (wamp.realms and [[wamp.realm]] list them).",
        "wamp.error.no_such_realm",
    );
    assert_eq!(with("realm2", ""), expected);
    let expected = refused(
        "The realm is not a valid URI: it must be words with dots between, without # and spaces.",
        "wamp.error.invalid_uri",
    );
    assert_eq!(with("realm 1", ""), expected);
    let expected = refused(
        "There is no such role for this authid: authrole may be left out.",
        "wamp.error.no_such_role",
    );
    assert_eq!(with("realm1", r#","authrole":"admin""#), expected);
    let expected = refused(
        "None of these authmethods is served for this realm, or none for this authid.",
        "wamp.error.no_matching_auth_method",
    );
    assert_eq!(with("realm1", r#","authmethods":["ticket"]"#), expected);
}

#[test]
fn a_star_in_the_list_is_any_realm() {
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(Realms::from_list(names(&["a", "*"])), Realms::Any);
    assert_eq!(
        Realms::from_list(names(&["a"])),
        Realms::Listed(names(&["a"]))
    );
    assert_eq!(Realms::from_list(names(&[])), Realms::Listed(Vec::new()));
}

#[test]
fn subscribe_asks_and_is_answered() {
    let mut client = Client::open();
    // spec and vector
    for text in [
        r#"[32, 713845233, {}, "com.myapp.mytopic1"]"#,
        r#"[32,713845233,{},"com.myapp.mytopic1"]"#,
        r#"[32,713845233,{"match":"exact","get_retained":false,"forward_for":[]},"com.myapp.\u006dytopic1"]"#,
    ] {
        let expected = r#"Subscribe { what: Channel("com.myapp.mytopic1"), form: Form(1), token: 713845233, grant: None }"#;
        assert_eq!(client.send(text), asked(expected));
    }
    // spec
    let out = client.hear(|session, out| {
        session.on_refused(
            Request::Subscribe,
            713_845_233,
            uri::NOT_AUTHORIZED,
            None,
            out,
        );
    });
    assert_eq!(out, r#"[8,32,713845233,{},"wamp.error.not_authorized"]"#);
    assert_eq!(client.session.subscriptions().count(), 0);
}

#[test]
fn subscribed_twice_is_one_subscription_with_one_id() {
    let mut client = subscribed();
    client.session.on_subscribing(CHANNEL);
    let out = client.hear(|session, out| session.on_subscribed(2, CHANNEL, TOPIC, out));
    assert_eq!(out, "[33,2,5512315355]");
    assert_eq!(
        client.session.subscriptions().collect::<Vec<_>>(),
        [CHANNEL]
    );
    assert!(client.session.is_subscribed(CHANNEL));
    // One UNSUBSCRIBE ends it.
    client.send("[34, 3, 5512315355]");
    assert_eq!(client.session.subscriptions().count(), 0);
}

#[test]
fn a_pending_subscription_is_listed_but_has_no_id_yet() {
    let mut client = Client::open();
    client.send(r#"[32,1,{},"a"]"#);
    client.session.on_subscribing(CHANNEL);
    client.session.on_subscribing(CHANNEL);
    assert_eq!(
        client.session.subscriptions().collect::<Vec<_>>(),
        [CHANNEL]
    );
    // Guessing the number does not help.
    let expected = said(r#"[8,34,2,{},"wamp.error.no_such_subscription"]"#);
    assert_eq!(client.send("[34,2,5512315355]"), expected);
    client.session.forget(CHANNEL);
    assert_eq!(client.session.subscriptions().count(), 0);
}

#[test]
fn unsubscribe_ends_a_subscription() {
    let mut client = subscribed();
    // spec
    let expected = asked("Unsubscribe { channel: ChannelId(3), form: Form(1), token: 85346237 }");
    assert_eq!(client.send("[34, 85346237, 5512315355]"), expected);
    let out = client.hear(|session, out| session.on_unsubscribed(85_346_237, out));
    assert_eq!(out, "[35,85346237]");
    assert_eq!(client.session.subscriptions().count(), 0);
    // spec
    let expected = said(r#"[8,34,85346237,{},"wamp.error.no_such_subscription"]"#);
    assert_eq!(client.send("[34, 85346237, 5512315355]"), expected);
    // Options, by the Advanced Profile
    assert_eq!(client.send("[34, 85346237, 5512315355, {}]"), expected);
}

#[test]
fn subscriptions_are_found_in_any_order() {
    let mut client = Client::open();
    client.settings.subscriptions_per_connection_max = 100;
    let topics = [30, 10, 20, 50, 40];
    for (topic, channel) in topics.into_iter().zip(0..) {
        client.hear(|session, out| session.on_subscribed(1, ChannelId(channel), topic, out));
    }
    for (topic, channel) in [(10, 1), (50, 3), (30, 0), (40, 4), (20, 2)] {
        let expected = asked(&format!(
            "Unsubscribe {{ channel: ChannelId({channel}), form: Form(1), token: 9 }}"
        ));
        assert_eq!(client.send(&format!("[34,9,{topic}]")), expected);
    }
}

/// A topic of the session's own, which no hub knows.
#[test]
fn a_session_hears_of_its_drops_if_it_asks() {
    let mut client = subscribed();
    let tell = |client: &mut Client, messages| {
        client.hear(|session, out| session.on_dropped(messages, &mut || 7, out))
    };
    assert_eq!(tell(&mut client, 3), "");
    let subscribe = format!(r#"[32,1,{{}},"{}"]"#, uri::DROPPED);
    let answer = said("[33,1,1125899906842624]");
    assert_eq!(client.send(&subscribe), answer);
    assert_eq!(client.send(&subscribe), answer, "once is enough");
    assert_eq!(tell(&mut client, 3), "[36,1125899906842624,7,{},[3]]");
    // Only the broker knows what was dropped.
    let publish = format!(r#"[16,2,{{"acknowledge":true}},"{}",[1]]"#, uri::DROPPED);
    let refused = r#"[8,16,2,{},"wamp.error.not_authorized",["Only the broker publishes to roost.session.dropped."]]"#;
    assert_eq!(client.send(&publish), said(refused));
    assert_eq!(client.send("[34,3,1125899906842624]"), said("[35,3]"));
    assert_eq!(tell(&mut client, 3), "");
    let unknown = said(r#"[8,34,4,{},"wamp.error.no_such_subscription"]"#);
    assert_eq!(client.send("[34,4,1125899906842624]"), unknown);
}

/// No answer to this GOODBYE is awaited: a close frame follows.
#[test]
fn a_slow_session_is_told_why_it_ends() {
    let mut client = subscribed();
    let out = client.hear(|session, out| session.close_slow("too \"slow\"", out));
    let goodbye = r#"[6,{"message":"too \"slow\""},"roost.close.slow_consumer"]"#;
    assert_eq!(out, goodbye);
    assert!(!client.session.is_open());
    assert_eq!(
        client.send(r#"[6,{},"wamp.close.goodbye_and_out"]"#),
        Did::Nothing
    );
    let mut early = Client::new();
    assert_eq!(early.hear(|session, out| session.close_slow("x", out)), "");
}

#[test]
fn subscriptions_are_limited_pending_ones_included() {
    let mut client = subscribed();
    client.session.on_subscribing(ChannelId(4));
    client.session.on_subscribing(ChannelId(5));
    let expected = said(
        r#"[8,32,7,{},"wamp.error.not_authorized",["The session has as many subscriptions as it may have; end one first."]]"#,
    );
    assert_eq!(client.send(r#"[32,7,{},"d"]"#), expected);
    client.session.forget(ChannelId(5));
    assert_eq!(
        client.send(r#"[32,7,{},"d"]"#),
        asked(r#"Subscribe { what: Channel("d"), form: Form(1), token: 7, grant: None }"#)
    );
}

#[test]
fn patterns_are_subscribed_to_as_they_are_written() {
    let subscribe = |policy: &str, text: &str| {
        let text = format!(r#"[32,7,{{"match":"{policy}"}},"{text}"]"#);
        Client::open().send(&text)
    };
    for (policy, text, kind) in [
        ("prefix", "", "Prefix"),
        ("prefix", "com.my", "Prefix"),
        ("prefix", "com..x.", "Prefix"),
        ("prefix", "wamp", "Prefix"),
        ("wildcard", "com..x", "Components"),
        ("wildcard", "", "Components"),
        ("wildcard", "a.b", "Components"),
    ] {
        let expected = format!(
            r#"Subscribe {{ what: Pattern({kind}, "{text}"), form: Form(1), token: 7, grant: None }}"#
        );
        assert_eq!(subscribe(policy, text), asked(&expected));
    }
    for (policy, text) in [
        ("prefix", "a b"),
        ("prefix", "a#"),
        ("prefix", "wamp."),
        ("wildcard", "wamp..x"),
        ("wildcard", "....."),
    ] {
        let refused = subscribe(policy, text);
        let is_invalid = matches!(&refused, Did::Said(out) if out.contains(uri::INVALID_URI));
        assert!(is_invalid, "{policy} {text:?}: {refused:?}");
    }
}

#[test]
fn a_pattern_that_has_no_place_is_forgotten_and_answered() {
    let mut client = Client::open();
    let text = r#"[32,7,{"match":"prefix"},"a"]"#;
    let expected =
        r#"Subscribe { what: Pattern(Prefix, "a"), form: Form(1), token: 7, grant: None }"#;
    assert_eq!(client.send(text), asked(expected));
    client.session.on_subscribing(ChannelId(3));
    client.session.forget(ChannelId(3));
    let said = client.hear(|session, out| {
        session.on_refused(Request::Subscribe, 7, uri::UNAVAILABLE, None, out);
    });
    assert_eq!(said, r#"[8,32,7,{},"wamp.error.unavailable"]"#);
    assert_eq!(client.session.subscriptions().count(), 0);
}

#[test]
fn publish_passes_its_payload_through_unparsed() {
    let publish = |text: &str| Client::open().send(text);
    let expected = |payload: &str| {
        asked(&format!(
            r#"Publish {{ channel: Name("com.myapp.mytopic1"), payload: Wamp(Json {{ {payload} }}), exclude_me: Some(true), ack: None, details: None }}"#
        ))
    };
    // spec
    let text = r#"[16, 239714735, {}, "com.myapp.mytopic1"]"#;
    assert_eq!(publish(text), expected("args: None, kwargs: None"));
    // spec and vector, both spellings
    let text = r#"[16, 239714735, {}, "com.myapp.mytopic1", ["Hello, world!"]]"#;
    let hello = r#"args: Some("[\"Hello, world!\"]"), kwargs: None"#;
    assert_eq!(publish(text), expected(hello));
    let text = r#"[16,239714735,{},"com.myapp.mytopic1",["Hello, world!"]]"#;
    assert_eq!(publish(text), expected(hello));
    // spec
    let text = r#"[16, 239714735, {}, "com.myapp.mytopic1", [], {"color": "orange", "sizes": [23, 42, 7]}]"#;
    let payload =
        r#"args: Some("[]"), kwargs: Some("{\"color\": \"orange\", \"sizes\": [23, 42, 7]}")"#;
    assert_eq!(publish(text), expected(payload));
    // Not ours to judge: numbers no double holds, repeated keys, lone surrogates, spaces.
    let text = r#"[16,1,{},"com.myapp.mytopic1", [1e999,"\ud800" ] ,{"a":1,"a":2}]"#;
    let payload = r#"args: Some("[1e999,\"\\ud800\" ]"), kwargs: Some("{\"a\":1,\"a\":2}")"#;
    assert_eq!(publish(text), expected(payload));
    // null for left out
    let text = r#"[16,1,{},"com.myapp.mytopic1",null,null]"#;
    assert_eq!(publish(text), expected("args: None, kwargs: None"));
}

#[test]
fn publish_options() {
    let publish = |options: &str| Client::open().send(&format!(r#"[16,9,{options},"t",[1]]"#));
    let expected = |rest: &str| {
        asked(&format!(
            r#"Publish {{ channel: Name("t"), payload: Wamp(Json {{ args: Some("[1]"), kwargs: None }}), {rest} }}"#
        ))
    };
    let plain = expected("exclude_me: Some(true), ack: None, details: None");
    for options in [
        "{}",
        r#"{"acknowledge":false,"exclude_me":true,"disclose_me":false}"#,
        r#"{"acknowledge":null,"exclude":[],"exclude_authid":null,"eligible":null}"#,
        r#"{"retain":false,"forward_for":[],"x":{"y":[]},"ppt_scheme":null}"#,
    ] {
        assert_eq!(publish(options), plain, "{options}");
    }
    let acknowledged = expected("exclude_me: Some(true), ack: Some(9), details: None");
    assert_eq!(publish(r#"{"acknowledge":true}"#), acknowledged);
    assert_eq!(
        publish(r#"{"exclude_me":false}"#),
        expected("exclude_me: Some(false), ack: None, details: None")
    );
    let disclosed = "exclude_me: Some(true), ack: None, details: Some(PublishDetails { receivers: None, publisher: Some(9129137332), retain: false, client_info: None, event: None, user_id: None, has_number: false })";
    assert_eq!(publish(r#"{"disclose_me":true}"#), expected(disclosed));
    let retained = "exclude_me: Some(true), ack: None, details: Some(PublishDetails { receivers: None, publisher: None, retain: true, client_info: None, event: None, user_id: None, has_number: false })";
    assert_eq!(publish(r#"{"retain":true}"#), expected(retained));
}

/// Whether a publication with these options is for a session with this number; `None`: one of
/// another dialect.
fn reaches(options: &str, session: Option<u64>) -> bool {
    let text = format!(r#"[16,9,{options},"t"]"#);
    let mut client = Client::open();
    let settings = client.settings.clone();
    let message = Message::Text(&text);
    let handled = client
        .session
        .handle(message, &mut Vec::new(), &mut || 1, &settings);
    let Some(Command::Publish { details, .. }) = handled else {
        panic!("{text}: {handled:?}");
    };
    let receivers = details.as_ref().and_then(|it| it.receivers.as_ref());
    receivers.is_none_or(|receivers| {
        receivers.admits(session.map(|session| Receiver {
            session,
            authid: None,
            authrole: "anonymous",
        }))
    })
}

#[test]
fn publish_to_listed_receivers() {
    for (options, seven, eight, other) in [
        (r#"{"exclude":[7,9]}"#, false, true, true),
        (r#"{"exclude_authid":["a","7"]}"#, false, true, true),
        (r#"{"exclude_authrole":["anonymous"]}"#, false, false, true),
        (r#"{"exclude_authrole":["staff"]}"#, true, true, true),
        (r#"{"eligible":[]}"#, false, false, false),
        (r#"{"eligible":[1,7]}"#, true, false, false),
        (r#"{"eligible_authid":["7"]}"#, true, false, false),
        (r#"{"eligible_authrole":["anonymous"]}"#, true, true, false),
        (r#"{"eligible":[7,8],"exclude":[7]}"#, false, true, false),
        (
            r#"{"eligible":[7,8],"eligible_authid":["8"]}"#,
            false,
            true,
            false,
        ),
    ] {
        assert_eq!(reaches(options, Some(7)), seven, "{options} to 7");
        assert_eq!(reaches(options, Some(8)), eight, "{options} to 8");
        assert_eq!(
            reaches(options, None),
            other,
            "{options} to another dialect"
        );
    }
}

#[test]
fn publish_that_reaches_too_many_is_refused_instead() {
    let refused = |options: &str, error: &str, message: &str| {
        let text = format!(r#"[16,9,{{"acknowledge":true,{options}}},"t"]"#);
        let expected = format!(r#"[8,16,9,{{}},"{error}",["{message}"]]"#);
        assert_eq!(Client::open().send(&text), said(&expected));
        // Unacknowledged: dropped without a word.
        let text = format!(r#"[16,9,{{{options}}},"t"]"#);
        assert_eq!(Client::open().send(&text), Did::Nothing);
    };
    for options in [r#""ppt_scheme":"wamp""#, r#""enc_algo":"cryptobox""#] {
        let message = "Packed payloads (ppt_, enc_) are not supported.";
        refused(options, "wamp.error.option_not_allowed", message);
    }
    let list = |count: usize| format!(r#""exclude":[{}1]"#, "1,".repeat(count - 1));
    let message = "Lists of receivers (eligible, exclude) have at most 1024 entries each.";
    refused(&list(1025), "wamp.error.option_not_allowed", message);
    assert!(reaches(&format!("{{{}}}", list(1024)), Some(7)));
}

#[test]
fn publish_is_answered_when_asked() {
    let mut client = Client::open();
    // spec
    let out = client.hear(|session, out| session.on_published(239_714_735, 4_429_313_566, out));
    assert_eq!(out, "[17,239714735,4429313566]");
    // spec
    let out = client.hear(|session, out| {
        session.on_refused(
            Request::Publish,
            239_714_735,
            uri::NOT_AUTHORIZED,
            None,
            out,
        );
    });
    assert_eq!(out, r#"[8,16,239714735,{},"wamp.error.not_authorized"]"#);
}

#[test]
fn topics_must_be_loose_uris() {
    let long = "x".repeat(65);
    for (topic, message) in [
        (
            "",
            "The channel's name is empty; it needs a character at least.",
        ),
        (
            long.as_str(),
            "The channel's name has more bytes than this server allows.",
        ),
        (
            "a\\u0000b",
            "The channel's name has a control character, which none may have.",
        ),
        (
            "a b",
            "The topic is not a valid URI: it must be words with dots between, without # and spaces.",
        ),
        (
            "a..b",
            "The topic is not a valid URI: it must be words with dots between, without # and spaces.",
        ),
        (
            "a#",
            "The topic is not a valid URI: it must be words with dots between, without # and spaces.",
        ),
        (
            "wamp.session.on_joins",
            "Topics that begin with wamp. are reserved by the protocol.",
        ),
    ] {
        let expected = format!(r#"[8,32,1,{{}},"wamp.error.invalid_uri",["{message}"]]"#);
        let text = format!(r#"[32,1,{{}},"{topic}"]"#);
        assert_eq!(Client::open().send(&text), said(&expected));
        let expected = format!(r#"[8,16,1,{{}},"wamp.error.invalid_uri",["{message}"]]"#);
        let text = format!(r#"[16,1,{{"acknowledge":true}},"{topic}"]"#);
        assert_eq!(Client::open().send(&text), said(&expected));
        let text = format!(r#"[16,1,{{}},"{topic}"]"#);
        assert_eq!(Client::open().send(&text), Did::Nothing);
    }
    let text = format!(r#"[32,1,{{}},"{}"]"#, &long[..64]);
    assert!(
        matches!(Client::open().send(&text), Did::Asked(_)),
        "64 bytes are allowed"
    );
}

/// What is asked of the dealer, by the examples of the specification.
#[test]
fn calls_and_procedures_are_commands() {
    let mut client = Client::open();
    for (text, expected) in [
        (
            r#"[48, 7814135, {"timeout": 5, "receive_progress": true}, "com.myapp.ping"]"#,
            r#"Call { procedure: "com.myapp.ping", request: 7814135, wants_progress: true, timeout_ms: 5, "#,
        ),
        (
            r#"[48, 1, {"disclose_me": true}, "com.myapp.ping"]"#,
            r#"caller: Some(Caller { session: "#,
        ),
        (
            r#"[64, 25349185, {"match": "prefix", "invoke": "roundrobin"}, "com.myapp"]"#,
            r#"Register { procedure: "com.myapp", matching: Prefix, policy: RoundRobin, "#,
        ),
        (
            "[66, 788923562, 2103333224]",
            "Unregister { registration: 2103333224, token: 788923562 }",
        ),
        (
            r#"[49, 7, {"mode": "kill"}]"#,
            "CancelCall { request: 7, mode: Kill }",
        ),
        ("[49, 7, {}]", "CancelCall { request: 7, mode: KillNoWait }"),
        (
            r#"[70, 9, {"progress": true}, [1]]"#,
            "Answer { invocation: 9, answer: Progress(",
        ),
        (
            "[70, 9, {}, [1]]",
            "Answer { invocation: 9, answer: Result(",
        ),
        (
            r#"[8, 68, 9, {}, "com.myapp.error", [1]]"#,
            "Answer { invocation: 9, answer: Error(",
        ),
    ] {
        let Did::Asked(command) = client.send(text) else {
            panic!("{text} asks for something");
        };
        assert!(command.contains(expected), "{text}: {command}");
    }
    assert!(client.session.is_open());
}

#[test]
fn calls_and_registrations_that_are_not_served_are_refused() {
    let mut client = Client::open();
    for (text, error) in [
        (r#"[48,1,{},"a..b"]"#, "wamp.error.invalid_uri"),
        (
            r#"[48,1,{},"wamp.session.counts"]"#,
            "wamp.error.no_such_procedure",
        ),
        (
            r#"[48,1,{"ppt_scheme":"x_a"},"a.b"]"#,
            "wamp.error.option_not_allowed",
        ),
        (
            r#"[48,1,{"runmode":"all"},"a.b"]"#,
            "wamp.error.option_not_allowed",
        ),
        (
            r#"[48,1,{"progress":true},"a.b"]"#,
            "wamp.error.feature_not_supported",
        ),
        (r#"[64,1,{},"a..b"]"#, "wamp.error.invalid_uri"),
        (r#"[64,1,{},"wamp.a"]"#, "wamp.error.invalid_uri"),
        (
            r#"[64,1,{"invoke":"all"},"a.b"]"#,
            "wamp.error.option_not_allowed",
        ),
        (
            r#"[64,1,{"concurrency":1},"a.b"]"#,
            "wamp.error.option_not_allowed",
        ),
        (
            r#"[64,1,{"force_reregister":true},"a.b"]"#,
            "wamp.error.option_not_allowed",
        ),
    ] {
        let Did::Said(answer) = client.send(text) else {
            panic!("{text} is refused");
        };
        assert!(answer.contains(error), "{text}: {answer}");
    }
    client.violates(
        r#"[8,48,1,{},"a.b"]"#,
        "Received an unexpected message of type 8.",
    );
}

#[test]
fn goodbye_is_answered_and_closes() {
    let mut client = subscribed();
    // spec
    let text =
        r#"[6, {"message": "The host is shutting down now."}, "wamp.close.system_shutdown"]"#;
    let answer = r#"[6,{},"wamp.close.goodbye_and_out"]"#.to_owned();
    let expected = Did::Closed(answer, CloseCode::NORMAL, "wamp.close.goodbye_and_out");
    assert_eq!(client.send(text), expected);
    assert_eq!(
        client.send(HELLO),
        Did::Nothing,
        "no second session on this connection"
    );
    let left = client.session.subscriptions().collect::<Vec<_>>();
    assert_eq!(left, [CHANNEL], "left for the caller to end");
    let left = std::iter::from_fn(|| client.session.pop_subscription()).collect::<Vec<_>>();
    assert_eq!(left, [CHANNEL]);
    assert!(!client.session.is_subscribed(CHANNEL));
}

#[test]
fn abort_is_not_answered() {
    let text = r#"[3, {"message": "Received WELCOME message after session was established."}, "wamp.error.protocol_violation"]"#;
    let expected = || Did::Closed(String::new(), CloseCode::NORMAL, "aborted by client");
    assert_eq!(Client::open().send(text), expected());
    assert_eq!(Client::new().send(text), expected());
}

#[test]
fn server_says_goodbye_and_hears_it() {
    let mut client = Client::open();
    let out = client.hear(Session::goodbye);
    assert_eq!(out, r#"[6,{},"wamp.close.system_shutdown"]"#);
    assert_eq!(client.hear(Session::goodbye), "", "said once");
    // "Session Statechart", 14: all else is ignored, and nothing more is said.
    assert_eq!(
        client.send(r#"[16,1,{"acknowledge":true},"t"]"#),
        Did::Nothing
    );
    assert_eq!(
        client.hear(|session, out| session.on_published(1, 2, out)),
        ""
    );
    assert_eq!(
        client.hear(|session, out| session.on_subscribed(1, CHANNEL, 2, out)),
        ""
    );
    let expected = Did::Closed(
        String::new(),
        CloseCode::GOING_AWAY,
        "wamp.close.system_shutdown",
    );
    // spec
    assert_eq!(
        client.send(r#"[6, {}, "wamp.close.goodbye_and_out"]"#),
        expected
    );
}

#[test]
fn server_aborts_a_session_that_is_not_open_yet() {
    let mut client = Client::new();
    let expected = r#"[3,{"message":"The server is going down."},"wamp.close.system_shutdown"]"#;
    assert_eq!(client.hear(Session::goodbye), expected);
    assert_eq!(client.send(HELLO), Did::Nothing);
}

#[test]
fn a_quiet_session_is_small() {
    let mut client = Client::open();
    assert_eq!(client.session.memory_bytes(), 48);
    client.hear(|session, out| session.on_subscribed(1, CHANNEL, TOPIC, out));
    assert_eq!(client.session.memory_bytes(), 48 + 9, "one subscription");
    client.send("[34,1,5512315355]");
    assert_eq!(client.session.memory_bytes(), 48, "nothing is kept of it");
}
