//! Commands, answers, pushes and closes.

use super::*;

#[test]
fn requests_are_taken_on_one_path() {
    let accept = |path: &'static str, subprotocols: &[&'static str], is_on| {
        let settings = Settings {
            enabled: is_on,
            ..settings()
        };
        let offer = Offer {
            path,
            subprotocols,
            headers: Headers::NONE,
            channel_name_bytes_max: 16,
        };
        match Centrifugo::accept(&settings, &offer) {
            Accept::NotMine => "not mine".to_owned(),
            Accept::Open { subprotocol, .. } => format!("open {}", subprotocol.unwrap_or("-")),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(accept(PATH, &[], true), "open -");
    assert_eq!(accept(PATH, &["x"], true), "open -");
    assert_eq!(
        accept(PATH, &["x", "centrifuge-json"], true),
        "open centrifuge-json"
    );
    let both = ["x", "centrifuge-protobuf", "centrifuge-json"];
    assert_eq!(accept(PATH, &both, true), "open centrifuge-protobuf");
    assert_eq!(accept(PATH, &[], false), "not mine");
    assert_eq!(accept("/connection/websocket/", &[], true), "not mine");
    assert_eq!(
        accept("/connection", &["centrifuge-json"], true),
        "not mine"
    );
}

#[test]
fn a_client_connects_once_and_first() {
    let mut client = Client::new();
    let said = client.answer(r#"{"id":1,"connect":{"name":"js","version":"5.7.4","flag":1}}"#);
    let [said] = &said[..] else {
        panic!("one reply: {said:?}");
    };
    let reply: serde_json::Value = serde_json::from_str(said).expect("JSON");
    assert_eq!(reply["id"], 1);
    let connect = &reply["connect"];
    assert_eq!(connect["client"].as_str().map(str::len), Some(36));
    assert_eq!(connect["ping"], 25);
    assert_eq!(connect["pong"], true);
    assert_eq!(connect["expires"], serde_json::Value::Null);
    let (asked, said) = client.say(r#"{"id":2,"connect":{}}"#);
    assert_eq!(
        (&asked[..], said.len()),
        (&["close 3501 bad request".to_owned()][..], 0)
    );
    for first in [
        "{}",
        r#"{"id":1,"subscribe":{"channel":"c"}}"#,
        r#"{"id":1,"refresh":{"token":"t"}}"#,
        r#"{"send":{}}"#,
        r#"{"id":0,"connect":{}}"#,
    ] {
        let (asked, said) = Client::new().say(first);
        assert_eq!(
            (&asked[..], said.len()),
            (&["close 3501 bad request".to_owned()][..], 0)
        );
    }
}

#[test]
fn what_is_no_command_closes() {
    for text in [
        "",
        "\n",
        "x",
        "[]",
        "{\"id\":2",
        r#"{"id":2}"#,
        r#"{"id":2,"unknown":{}}"#,
        r#"{"id":-1,"rpc":{}}"#,
        r#"{"id":4294967295,"rpc":{}}"#,
        r#"{"id":4294967296,"rpc":{}}"#,
        r#"{"id":0,"rpc":{}}"#,
        r#"{"rpc":{}}"#,
        r#"{"id":2,"subscribe":{}}"#,
        r#"{"id":2,"subscribe":{"channel":""}}"#,
        r#"{"id":2,"subscribe":{"channel":7}}"#,
        r#"{"id":2,"unsubscribe":{}}"#,
        r#"{"id":2,"publish":{"data":1}}"#,
        r#"{"id":2,"presence":{}}"#,
        r#"{"id":2,"history":{"channel":""}}"#,
        r#"{"id":2,"refresh":{}}"#,
        r#"{"id":2,"refresh":{"token":""}}"#,
        r#"{"id":2,"publish":{"channel":"c","data":{"a":}}}"#,
    ] {
        let (asked, said) = Client::connected().say(text);
        let expected = ["close 3501 bad request".to_owned()];
        assert_eq!((&asked[..], said.len()), (&expected[..], 0), "{text:?}");
    }
    let deep = format!(
        r#"{{"id":2,"publish":{{"channel":"c","data":{}1{}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    assert_eq!(Client::connected().say(&deep).0, ["close 3501 bad request"]);
    let (asked, _) = Client::connected().say(r#"{"send":{"data":{}}}"#);
    assert_eq!(asked, ["close 3508 not available"]);
    let mut client = Client::connected();
    let mut said = Vec::new();
    let command = client.next(&mut Input::new(Message::Binary(b"{}")), &mut said);
    let command = command.expect("it is closed");
    assert_eq!(shown(&command), "close 3506 inappropriate protocol");
}

#[test]
fn commands_come_in_batches_and_pongs_are_nothing() {
    let mut client = Client::new();
    let (asked, said) = client.say(concat!(
        r#"{"id":1,"connect":{}}"#,
        "\n",
        r#"{"id":2,"subscribe":{"channel":"caf\u00e9","recover":true,"epoch":"","offset":3}}"#,
        "\n",
        r#"{"id":3,"publish":{"channel":"c","data":{"a": "\n"}}}"#,
        "\n{}\n",
        r#"{"id":4,"unsubscribe":{"channel":"c"}}"#,
        "\n",
    ));
    let expected = [
        "subscribe café behind any-3 2".to_owned(),
        r#"publish Name("c") Json("{\"a\": \"\\n\"}") Some(3) by """#.to_owned(),
        "unsubscribe c 4".to_owned(),
    ];
    assert_eq!((&asked[..], said.len()), (&expected[..], 1));
    assert_eq!(client.answer("{}"), [""; 0]);
    assert_eq!(client.answer("{}\n{}"), [""; 0]);
}

#[test]
fn errors_have_the_protocols_codes() {
    let mut client = Client::connected();
    for (text, expected) in [
        (r#"{"id":3,"ping":{}}"#, error(3, 108, "not available")),
        (
            r#"{"id":5,"presence":{"channel":"0123456789abcdefg"}}"#,
            error(5, 107, "bad request"),
        ),
        (
            r#"{"id":7,"subscribe":{"channel":"c","type":1}}"#,
            error(7, 108, "not available"),
        ),
        (
            r#"{"id":8,"subscribe":{"channel":"c","tf":{}}}"#,
            error(8, 107, "bad request"),
        ),
        (
            r#"{"id":9,"subscribe":{"channel":"0123456789abcdefg"}}"#,
            error(9, 107, "bad request"),
        ),
        (
            r#"{"id":10,"publish":{"channel":"c\u0007","data":1}}"#,
            error(10, 107, "bad request"),
        ),
        (
            r#"{"id":14,"publish":{"channel":"wamp.x","data":1}}"#,
            error(14, 103, "permission denied"),
        ),
        (
            r#"{"id":11,"publish":{"channel":"c"}}"#,
            error(11, 107, "bad request"),
        ),
        (
            r#"{"id":12,"publish":{"channel":"c","data":1,"type":1}}"#,
            error(12, 108, "not available"),
        ),
    ] {
        assert_eq!(client.answer(text), [expected], "{text}");
    }
    let refused = |request, refusal| {
        let token = Some(13);
        Event::Refused {
            request,
            token,
            refusal,
        }
    };
    let (_, said) = client.tell(refused(Request::Subscribe, Refusal::InvalidName));
    assert_eq!(said, [error(13, 107, "bad request")]);
    let (_, said) = client.tell(refused(Request::Publish, Refusal::NoRoom));
    let expected =
        r#"{"id":13,"error":{"code":100,"message":"internal server error","temporary":true}}"#;
    assert_eq!(said, [expected]);
}

#[test]
fn subscriptions_are_confirmed_refused_and_limited() {
    let mut client = Client::connected();
    assert_eq!(client.subscribing(2, 0), [""; 0]);
    assert_eq!(
        client.subscribing(3, 0),
        [error(3, 105, "already subscribed")]
    );
    assert_eq!(client.subscribed(2, 0), [r#"{"id":2,"subscribe":{}}"#]);
    // The hub answers the second too.
    assert_eq!(client.subscribed(3, 0), [""; 0]);
    assert_eq!(client.subscribing(4, 1), [""; 0]);
    let third = r#"{"id":5,"subscribe":{"channel":"c2"}}"#;
    assert_eq!(client.answer(third), [error(5, 106, "limit exceeded")]);
    let (_, said) = client.tell(Event::SubscriptionRefused {
        token: 4,
        channel: ChannelId(1),
        refusal: Refusal::InvalidName,
    });
    assert_eq!(said, [error(4, 107, "bad request")]);
    assert_eq!(client.say(third).0, ["subscribe c2 5"]);
    let channel = Some(ChannelId(0));
    let (_, said) = client.tell(Event::UnsubscribedFrom { token: 6, channel });
    assert_eq!(said, [r#"{"id":6,"unsubscribe":{}}"#]);
    let (_, said) = client.tell(Event::UnsubscribedFrom {
        token: 7,
        channel: None,
    });
    assert_eq!(
        said,
        [r#"{"id":7,"unsubscribe":{}}"#],
        "twice is no mistake"
    );
}

#[test]
fn a_subscription_that_is_under_way_ends_and_begins_again() {
    let mut client = Client::connected();
    client.subscribing(2, 0);
    let channel = Some(ChannelId(0));
    let (_, said) = client.tell(Event::UnsubscribedFrom { token: 3, channel });
    let expected = [r#"{"id":2,"subscribe":{}}"#, r#"{"id":3,"unsubscribe":{}}"#];
    assert_eq!(said, expected, "each command has its answer");
    assert_eq!(client.subscribing(4, 0), [""; 0]);
    assert_eq!(
        client.subscribed(2, 0),
        [""; 0],
        "of the first, which has ended"
    );
    assert_eq!(client.subscribed(4, 0), [r#"{"id":4,"subscribe":{}}"#]);
}

#[test]
fn tokens_let_in_or_not() {
    let mut client = Client::new();
    client.outcome = Ok(Admission {
        user: "alice".into(),
        expires_in_s: Some(60),
        provider: Provider::Jwt,
        subscriptions: Arc::default(),
        info: None,
    });
    let (asked, said) = client.say(concat!(
        r#"{"id":1,"connect":{"token":"t"}}"#,
        "\n",
        r#"{"id":2,"publish":{"channel":"c","data":"x"}}"#,
    ));
    assert_eq!(
        asked,
        [r#"publish Name("c") Json("\"x\"") Some(2) by "alice""#]
    );
    assert!(said[0].contains(r#""expires":true,"ttl":60"#), "{said:?}");
    let said = client.answer(r#"{"id":3,"refresh":{"token":"t"}}"#);
    assert!(said[0].contains(r#""refresh":{"client":""#), "{said:?}");
    assert!(said[0].contains(r#""expires":true,"ttl":60"#), "{said:?}");
    client.outcome = Ok(Admission {
        user: "bob".into(),
        expires_in_s: Some(60),
        provider: Provider::Jwt,
        subscriptions: Arc::default(),
        info: None,
    });
    let (asked, _) = client.say(r#"{"id":4,"refresh":{"token":"t"}}"#);
    assert_eq!(asked, ["close 3500 invalid token"], "of another user");
    for (refusal, expected) in [
        (TokenRefusal::Missing, Ok(error(1, 101, "unauthorized"))),
        (TokenRefusal::Expired, Ok(error(1, 109, "token expired"))),
        (TokenRefusal::Invalid, Err("close 3500 invalid token")),
        (TokenRefusal::TooMany, Err("close 3504 connection limit")),
    ] {
        let mut client = Client::new();
        client.outcome = Err(refusal);
        let (asked, said) = client.say(r#"{"id":1,"connect":{"token":"t"}}"#);
        match expected {
            Ok(expected) => assert_eq!((asked.len(), &said[..]), (0, &[expected][..])),
            Err(expected) => assert_eq!((&asked[..], said.len()), (&[expected.to_owned()][..], 0)),
        }
        client.outcome = Ok(anonymous());
        let (asked, _) = client.say(r#"{"id":2,"rpc":{}}"#);
        assert_eq!(asked, ["close 3501 bad request"], "it has not connected");
    }
    let mut client = Client::connected();
    client.outcome = Err(TokenRefusal::Expired);
    let (asked, _) = client.say(r#"{"id":4,"refresh":{"token":"t"}}"#);
    assert_eq!(asked, ["close 3005 connection expired"]);
}

#[test]
fn a_method_is_asked_for_and_answered() {
    let mut client = Client::connected();
    for (text, expected) in [
        (
            r#"{"id":2,"rpc":{"method":"m","data":{"a": 1}}}"#,
            r#"rpc m Some("{\"a\": 1}") 2"#,
        ),
        (r#"{"id":3,"rpc":{"data":null}}"#, r#"rpc  Some("null") 3"#),
        (r#"{"id":4,"rpc":{}}"#, "rpc  None 4"),
    ] {
        let (asked, said) = client.say(text);
        assert_eq!((&asked[..], said.len()), (&[expected.to_owned()][..], 0));
    }
    let long = "m".repeat(256);
    let (asked, said) = client.say(&format!(r#"{{"id":5,"rpc":{{"method":"{long}"}}}}"#));
    let refused = error(5, 107, "bad request");
    assert_eq!((asked.len(), said), (0, vec![refused]));
    let of_application = |code, is_temporary| RpcAnswer::Error {
        code,
        message: "a \"word\"".into(),
        is_temporary,
    };
    for (answer, expected) in [
        // Lines are what separates replies.
        (
            RpcAnswer::Result(Some("{\n\"a\":\r\n1}".into())),
            r#"{"id":9,"rpc":{"data":{ "a":  1}}}"#,
        ),
        (RpcAnswer::Result(None), r#"{"id":9,"rpc":{}}"#),
        (
            of_application(1000, false),
            r#"{"id":9,"error":{"code":1000,"message":"a \"word\""}}"#,
        ),
        (
            of_application(400, true),
            r#"{"id":9,"error":{"code":400,"message":"a \"word\"","temporary":true}}"#,
        ),
        (
            RpcAnswer::Unavailable,
            r#"{"id":9,"error":{"code":100,"message":"internal server error","temporary":true}}"#,
        ),
        (
            RpcAnswer::NotServed,
            r#"{"id":9,"error":{"code":108,"message":"not available"}}"#,
        ),
    ] {
        let answer = &answer;
        let said = client.tell(Event::RpcAnswered { token: 9, answer }).1;
        assert_eq!(said, [expected]);
    }
}

#[test]
fn pings_are_sent_and_closes_have_codes() {
    let mut client = Client::connected();
    assert_eq!(
        client.tell(Event::PingDue),
        (Next::Continue, vec!["{}".to_owned()])
    );
    let close = |client: &mut Client, event: Event<'_>| match client.tell(event) {
        (Next::Close { code, reason }, said) if said.is_empty() => format!("{code} {reason}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(close(&mut client, Event::PongMissing), "3012 no pong");
    assert_eq!(close(&mut client, Event::Draining), "3001 shutdown");
    assert_eq!(
        close(
            &mut client,
            Event::Expired {
                credential: "token"
            }
        ),
        "3005 connection expired"
    );
    let slow = Event::SlowConsumer { reason: "slow" };
    assert_eq!(close(&mut client, slow), "3008 slow");
    let late = Event::AuthenticationOver("late");
    assert_eq!(close(&mut client, late), "3004 internal server error");
    assert_eq!(close(&mut Client::new(), Event::PingDue), "3502 stale");
}

#[test]
fn publications_are_pushed_as_json() {
    let push = |publication: Publication, channel: &str| {
        let ids = EventIds {
            topic: 1,
            publication: 2,
            offset: 3,
        };
        let frame = encode(&publication, Form::CENTRIFUGO, ids, channel);
        assert_eq!(frame.opcode(), Opcode::Text);
        String::from_utf8(frame.payload().expect("one frame").to_vec()).expect("UTF-8")
    };
    let of = |payload: PayloadRef<'_>| push(payload.freeze(), "c");
    let expected = |data: &str| format!(r#"{{"push":{{"channel":"c","pub":{{"data":{data}}}}}}}"#);
    assert_eq!(of(PayloadRef::Json(r#"{"a": 1}"#)), expected(r#"{"a": 1}"#));
    assert_eq!(
        of(PayloadRef::Json("{\n\"a\":\r\n1}")),
        expected(r#"{ "a":  1}"#)
    );
    assert_eq!(of(PayloadRef::Json(r#""x\n""#)), expected(r#""x\n""#));
    assert_eq!(of(PayloadRef::Text("a\"\n")), expected(r#""a\"\n""#));
    assert_eq!(of(PayloadRef::Text("{}")), expected(r#""{}""#));
    assert_eq!(
        of(PayloadRef::Binary(b"\x01\xff")),
        expected(r#""\u0000Af8=""#)
    );
    let args = PayloadRef::Wamp(Arguments::json(Some(r#"["x"]"#), None));
    assert_eq!(of(args), expected(r#""x""#));
    let args = PayloadRef::Wamp(Arguments::json(Some("[1]"), None));
    assert_eq!(of(args), expected(r#""{\"args\":[1],\"kwargs\":{}}""#));
    let details = PublishDetails {
        client_info: Some(r#"{"user":"u"}"#.into()),
        ..PublishDetails::default()
    };
    let publication = PayloadRef::Json("1")
        .freeze()
        .with_details(Some(Arc::new(details)));
    let expected = r#"{"push":{"channel":"a\"b","pub":{"data":1,"info":{"user":"u"}}}}"#;
    assert_eq!(push(publication, "a\"b"), expected);
}

#[test]
fn a_session_goes_on_in_another_process() {
    let mut client = Client::new();
    client.outcome = Ok(Admission {
        user: "alice".into(),
        expires_in_s: None,
        provider: Provider::Jwt,
        subscriptions: Arc::default(),
        info: None,
    });
    client.say(r#"{"id":1,"connect":{"token":"t"}}"#);
    client.subscribing(2, 0);
    client.subscribed(2, 0);
    client.subscribing(3, 1);
    let before = client
        .say(r#"{"id":4,"publish":{"channel":"c","data":1}}"#)
        .0;
    let state = client.dialect.export(client.session);
    assert_eq!(state.subscriptions, [(ChannelId(0), 0), (ChannelId(1), 3)]);
    client.session = client.dialect.import(state);
    assert_eq!(client.subscribed(3, 1), [r#"{"id":3,"subscribe":{}}"#]);
    let after = client
        .say(r#"{"id":4,"publish":{"channel":"c","data":1}}"#)
        .0;
    assert_eq!(before, after, "its user and client are known");
    assert!(client.dialect.is_subscribed(client.session, ChannelId(0)));
    assert!(!client.dialect.is_subscribed(client.session, ChannelId(2)));
}

#[test]
fn a_subscription_that_the_application_ends_is_over() {
    let mut client = Client::connected();
    client.subscribing(2, 7);
    assert_eq!(client.end(7), (None, vec![]), "it is not in force yet");
    client.subscribed(2, 7);
    client.subscribing(3, 8);
    client.subscribed(3, 8);
    assert_eq!(client.channels(), [7, 8]);
    let push =
        r#"{"push":{"channel":"c7","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#;
    assert_eq!(
        client.end(7),
        (Some(Form::CENTRIFUGO), vec![push.to_owned()])
    );
    assert_eq!(client.channels(), [8]);
    assert_eq!(client.end(7), (None, vec![]), "once");
    // It may subscribe again.
    assert_eq!(client.subscribing(4, 7), [""; 0]);
    assert_eq!(client.subscribed(4, 7), [r#"{"id":4,"subscribe":{}}"#]);
}

#[test]
fn what_is_refused_for_now_is_temporary() {
    let mut client = Client::connected();
    client.subscribing(2, 7);
    let refused = |denial| Event::SubscriptionRefused {
        token: 2,
        channel: ChannelId(7),
        refusal: Refusal::NotAllowed(denial),
    };
    let (_, said) = client.tell(refused(Denial::hook_unavailable(Operation::Subscribe)));
    let temporary =
        r#"{"id":2,"error":{"code":100,"message":"internal server error","temporary":true}}"#;
    assert_eq!(said, [temporary]);
    client.subscribing(2, 7);
    let (_, said) = client.tell(refused(Denial::by_hook(Operation::Subscribe)));
    assert_eq!(said, [error(2, 103, "permission denied")]);
}

#[test]
fn a_second_subscribe_changes_nothing_of_what_is_told_of_members() {
    for is_told in [true, false] {
        let mut client = Client::connected();
        for (id, join_leave) in [(2_u32, is_told), (3, !is_told)] {
            client.say(&format!(
                r#"{{"id":{id},"subscribe":{{"channel":"c7","join_leave":{join_leave}}}}}"#
            ));
            let (token, channel, form) = (u64::from(id), ChannelId(7), Form::CENTRIFUGO);
            let (_, said) = client.tell(Event::Subscribing {
                token,
                channel,
                form,
            });
            match id {
                2 => _ = client.subscribed(2, 7),
                _ => assert_eq!(said, [error(3, 105, "already subscribed")]),
            }
        }
        let told = client
            .dialect
            .is_told_of_members(client.session, ChannelId(7));
        assert_eq!(told, is_told, "as the first has asked");
    }
}

#[test]
fn others_are_told_what_tokens_say_of_a_client() {
    let with = |info: Option<&str>| Admission {
        info: info.map(Into::into),
        ..anonymous()
    };
    let told = |client: &Client| {
        let (user, info) = client.dialect.joins_as(client.session)?;
        assert_eq!(user.as_str(), "");
        let info = info.expect("something is said");
        Some((info.connection.clone(), info.channel.clone()))
    };
    let mut client = Client::connected();
    client.say(r#"{"id":2,"subscribe":{"channel":"a"}}"#);
    assert_eq!(told(&client), None, "nothing is said of it");

    let mut client = Client::new();
    client.outcome = Ok(with(Some(r#"{"n":"A"}"#)));
    client.say(r#"{"id":1,"connect":{"token":"t"}}"#);
    client.say(r#"{"id":2,"subscribe":{"channel":"a"}}"#);
    let connection = Some(r#"{"n":"A"}"#.into());
    assert_eq!(told(&client), Some((connection.clone(), None)));
    let line = r#"{"id":3,"subscribe":{"channel":"b","token":"s"}}"#;
    let mut input = Input::new(Message::Text(line));
    let check = client.next(&mut input, &mut Vec::new());
    assert!(matches!(check, Some(Command::CheckSubscription(..))));
    client.tell(Event::TokenChecked(&Ok(with(Some("7")))));
    let subscribe = client.next(&mut input, &mut Vec::new());
    assert!(matches!(subscribe, Some(Command::Subscribe { .. })));
    assert_eq!(told(&client), Some((connection.clone(), Some("7".into()))));
    client.say(r#"{"id":4,"subscribe":{"channel":"c"}}"#);
    assert_eq!(told(&client), Some((connection, None)), "of that one alone");

    let publish = r#"{"id":5,"publish":{"channel":"c","data":1}}"#;
    let info = |client: &mut Client| {
        let mut input = Input::new(Message::Text(publish));
        match client.next(&mut input, &mut Vec::new()) {
            Some(Command::Publish { details, .. }) => {
                let details = details.expect("its publisher is told");
                details.client_info.clone().expect("it is a client")
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(info(&mut client).ends_with(r#","conn_info":{"n":"A"}}"#));
    client.outcome = Ok(with(Some(r#"["B"]"#)));
    client.say(r#"{"id":6,"refresh":{"token":"u"}}"#);
    assert!(info(&mut client).ends_with(r#","conn_info":["B"]}"#));
    let state = client.dialect.export(client.session);
    client.session = client.dialect.import(state);
    assert!(info(&mut client).ends_with(r#","conn_info":["B"]}"#));
    client.outcome = Ok(with(None));
    client.say(r#"{"id":7,"refresh":{"token":"v"}}"#);
    assert!(!info(&mut client).contains("conn_info"));
    assert_eq!(told(&client), None);
}
