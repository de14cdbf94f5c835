//! Centrifugo's protocol: what a client is answered, line by line.

use std::sync::Arc;

use roost_access::{Denial, Operation, Provider};
use roost_dialect::centrifugo::{Centrifugo, PATH, Settings};
use roost_dialect::dialect::{
    Accept, Admission, Command, Context, Dialect, Event, Headers, HistoryPage, HistoryRefusal,
    Input, Message, Next, Offer, ReadHistory, Recovered, Recovers, Refusal, Request, RpcAnswer,
    Session, SubscribeTo, Terms, TokenOutcome, TokenRefusal,
};
use roost_dialect::{Arguments, Form, PayloadRef, Publication, PublishDetails, Replies, encode};
use roost_hub::{ChannelId, EventIds, Loss, Position, Snapshot};
use roost_wire::Opcode;

/// A session, and what it has said.
struct Client {
    dialect: Centrifugo,
    session: Session,
    replies: Replies,
    ids: u64,
    /// What the server thinks of tokens.
    outcome: TokenOutcome,
}

impl Client {
    fn new() -> Client {
        let mut dialect = Centrifugo::new(Arc::new(settings()));
        let session = dialect.open(None, Terms::default(), None);
        Client {
            dialect,
            session,
            replies: Replies::default(),
            ids: 0,
            outcome: Ok(anonymous()),
        }
    }

    /// One that has connected, as number 1.
    fn connected() -> Client {
        let mut client = Client::new();
        client.say(r#"{"id":1,"connect":{}}"#);
        client
    }

    /// Sends a message; returns what is asked for, and the lines of the answer. Tokens are checked.
    fn say(&mut self, text: &str) -> (Vec<String>, Vec<String>) {
        let (mut asked, mut said) = (Vec::new(), Vec::new());
        let mut input = Input::new(Message::Text(text));
        while !input.is_empty() {
            let command = self.next(&mut input, &mut said);
            match command {
                None => break,
                Some(Command::CheckToken(_)) => {
                    let outcome = self.outcome.clone();
                    let (next, _) = self.tell(Event::TokenChecked(&outcome));
                    assert_eq!(next, Next::Continue);
                }
                Some(command) => {
                    let closes = matches!(command, Command::Close { .. });
                    asked.push(shown(&command));
                    if closes {
                        break;
                    }
                }
            }
        }
        (asked, said)
    }

    fn next<'a>(&mut self, input: &mut Input<'a>, said: &mut Vec<String>) -> Option<Command<'a>> {
        let ids = &mut self.ids;
        let mut new_id = || {
            *ids += 1;
            *ids
        };
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut new_id,
        };
        let command = self.dialect.next(self.session, input, &mut cx);
        said.extend(lines(&mut self.replies));
        command
    }

    fn tell(&mut self, event: Event<'_>) -> (Next, Vec<String>) {
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut || 1,
        };
        let next = self.dialect.on(self.session, event, &mut cx);
        (next, lines(&mut self.replies))
    }

    /// The lines of the answer to a message that asks for nothing.
    fn answer(&mut self, text: &str) -> Vec<String> {
        let (asked, said) = self.say(text);
        assert_eq!(asked, [""; 0], "{text}");
        said
    }

    fn subscribing(&mut self, id: u32, channel: u32) -> Vec<String> {
        self.say(&format!(
            r#"{{"id":{id},"subscribe":{{"channel":"c{channel}"}}}}"#
        ));
        let (channel, form) = (ChannelId(channel), Form::CENTRIFUGO);
        self.tell(Event::Subscribing { channel, form }).1
    }

    /// The application ends the subscription to this channel. Its form, and what the client is told.
    fn end(&mut self, channel: u32) -> (Option<Form>, Vec<String>) {
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut || 1,
        };
        let named = (ChannelId(channel), &*format!("c{channel}"));
        let form = self.dialect.end_subscription(self.session, named, &mut cx);
        (form, lines(&mut self.replies))
    }

    fn channels(&self) -> Vec<u32> {
        let mut channels = Vec::new();
        self.dialect
            .each_subscription(self.session, &mut |channel| channels.push(channel.0));
        channels
    }

    fn subscribed(&mut self, id: u32, channel: u32) -> Vec<String> {
        let (next, said) = self.recovered(id.into(), channel, (Recovers::Nothing, None));
        assert_eq!(next, Next::Continue);
        said
    }

    fn recovered(
        &mut self,
        token: u64,
        channel: u32,
        (recovers, recovery): (Recovers, Option<Recovered<'_>>),
    ) -> (Next, Vec<String>) {
        self.tell(Event::Subscribed {
            token,
            channel: ChannelId(channel),
            topic: 5,
            snapshot: Snapshot {
                position: Position {
                    epoch: 0xab,
                    offset: 9,
                },
            },
            recovers,
            recovery,
        })
    }
}

fn settings() -> Settings {
    Settings {
        enabled: true,
        subscriptions_per_connection_max: 2,
        channel_name_bytes_max: 16,
        ping_interval_s: 25,
    }
}

fn anonymous() -> Admission {
    Admission {
        user: "".into(),
        expires_in_s: None,
        provider: Provider::Static,
    }
}

fn lines(replies: &mut Replies) -> Vec<String> {
    let mut lines = Vec::new();
    replies.drain(|opcode, bytes| {
        assert_eq!(opcode, Opcode::Text);
        let text = str::from_utf8(bytes).expect("a text message is UTF-8");
        lines.extend(text.split('\n').map(str::to_owned));
    });
    lines
}

/// A command in a few words.
fn shown(command: &Command<'_>) -> String {
    match command {
        Command::Subscribe { what, token, .. } => match what {
            SubscribeTo::Channel(channel) => format!("subscribe {channel} {token}"),
            SubscribeTo::Behind(channel, epoch, offset) => {
                let epoch = epoch.map_or("any".to_owned(), |epoch| format!("{epoch:x}"));
                format!("subscribe {channel} behind {epoch}-{offset} {token}")
            }
            SubscribeTo::Since(..) | SubscribeTo::Pattern(..) => panic!("it asks for neither"),
        },
        Command::UnsubscribeFrom { channel, token, .. } => format!("unsubscribe {channel} {token}"),
        Command::Publish {
            channel,
            payload,
            exclude_me,
            ack,
            details,
        } => {
            assert_eq!(*exclude_me, Some(false), "a publisher gets its own");
            let details = details.as_ref().expect("the publisher is told of");
            let info = details.client_info.as_deref().expect("by its info");
            let info: serde_json::Value = serde_json::from_str(info).expect("an object");
            let user = info["user"].as_str().expect("a name");
            format!("publish {channel:?} {payload:?} {ack:?} by {user:?}")
        }
        Command::ReadHistory(ReadHistory {
            channel,
            since,
            limit,
            is_reverse,
            token,
        }) => format!("history {channel} {since:?} {limit} {is_reverse} {token}"),
        Command::Rpc {
            method,
            data,
            token,
        } => format!("rpc {method} {data:?} {token}"),
        Command::Close { code, reason } => format!("close {code} {reason}"),
        other => format!("{other:?}"),
    }
}

fn error(id: u32, code: u16, message: &str) -> String {
    format!(r#"{{"id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#)
}

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
            Accept::OpenAndClose(code, _) => format!("close {code}"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(accept(PATH, &[], true), "open -");
    assert_eq!(accept(PATH, &["x"], true), "open -");
    assert_eq!(
        accept(PATH, &["x", "centrifuge-json"], true),
        "open centrifuge-json"
    );
    let both = ["centrifuge-protobuf", "centrifuge-json"];
    assert_eq!(accept(PATH, &both, true), "open centrifuge-json");
    assert_eq!(accept(PATH, &["centrifuge-protobuf"], true), "close 3506");
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
fn where_it_was_is_read_from_a_subscribe() {
    let mut client = Client::connected();
    for (n, (text, asked)) in [
        (r#""offset":3,"epoch":"00000000000000ab""#, "c"),
        (
            r#""recover":true,"offset":3,"epoch":"00000000000000ab""#,
            "c behind ab-3",
        ),
        (r#""recover":true,"offset":3,"epoch":"_""#, "c behind 0-3"),
        (r#""recover":true"#, "c behind any-0"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = n + 2;
        let text = format!(r#"{{"id":{id},"subscribe":{{"channel":"c",{text}}}}}"#);
        assert_eq!(client.say(&text).0, [format!("subscribe {asked} {id}")]);
    }
    let text = r#"{"id":6,"subscribe":{"channel":"c","recover":true,"flag":3}}"#;
    let token = (1u64 << 32) + 6;
    assert_eq!(
        client.say(text).0,
        [format!("subscribe c behind any-0 {token}")]
    );
}

#[test]
fn an_answer_has_what_was_missed_in_order() {
    let mut client = Client::connected();
    let head =
        r#"{"id":2,"subscribe":{"recoverable":true,"positioned":true,"epoch":"00000000000000ab","#;
    let written = |data: &str, offset| {
        let ids = EventIds {
            topic: 1,
            publication: 1,
            offset,
        };
        let publication = PayloadRef::Json(data).freeze();
        (offset, Centrifugo::encode_recovered(0, &publication, ids))
    };
    let missed = [written("[1]", 8), written("\n\"x\"", 9)];
    for (recovery, rest) in [
        (None, r#""offset":9}}"#),
        (
            Some(Recovered::Publications(&[])),
            r#""offset":9,"was_recovering":true,"recovered":true,"publications":[]}}"#,
        ),
        (
            Some(Recovered::Publications(&missed)),
            r#""offset":7,"was_recovering":true,"recovered":true,"publications":[{"data":[1],"offset":8},{"data": "x","offset":9}]}}"#,
        ),
        (
            Some(Recovered::Lost(Loss::TooOld)),
            r#""offset":9,"was_recovering":true}}"#,
        ),
    ] {
        client.subscribing(2, 0);
        let (next, said) = client.recovered(2, 0, (Recovers::Stream, recovery));
        assert_eq!(
            (next, said),
            (Next::Continue, vec![format!("{head}{rest}")])
        );
        assert_eq!(client.end(0).0, Some(Form::CENTRIFUGO));
    }
}

#[test]
fn a_client_that_wants_all_or_nothing_gets_an_error() {
    let mut client = Client::connected();
    let (channel, form) = (ChannelId(0), Form::CENTRIFUGO);
    let token = (1 << 32) + 2;
    client.subscribing(2, 0);
    let lost = Some(Recovered::Lost(Loss::Epoch));
    let (next, said) = client.recovered(token, 0, (Recovers::Stream, lost));
    assert_eq!(next, Next::Unsubscribe { channel, form });
    assert_eq!(said, [error(2, 112, "unrecoverable position")]);
    assert!(client.channels().is_empty());
    // Of a cache it gets the last one, or nothing.
    client.subscribing(2, 0);
    let (next, _) = client.recovered(token, 0, (Recovers::Latest, lost));
    assert_eq!((next, client.channels()), (Next::Continue, vec![0]));
}

#[test]
fn a_client_that_has_missed_something_subscribes_again() {
    let mut client = Client::connected();
    let (channel, form, name) = (ChannelId(0), Form::CENTRIFUGO, "c0");
    client.subscribing(2, 0);
    let pending = client.tell(Event::Missed { channel, name });
    assert_eq!(
        pending,
        (Next::Continue, vec![]),
        "it is of an earlier subscription"
    );
    client.recovered(2, 0, (Recovers::Stream, None));
    let (next, said) = client.tell(Event::Missed { channel, name });
    assert_eq!(next, Next::Unsubscribe { channel, form });
    let push =
        r#"{"push":{"channel":"c0","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#;
    assert_eq!(said, [push]);
    assert!(client.channels().is_empty());
}

#[test]
fn what_a_channel_keeps_is_told_in_pages() {
    let mut client = Client::connected();
    let text = r#"{"id":2,"history":{"channel":"c","limit":-1}}
{"id":3,"history":{"channel":"c","limit":5,"since":{"offset":7,"epoch":"00000000000000ab"},"reverse":true}}
{"id":4,"history":{"channel":"c"}}"#;
    let expected = [
        format!("history c None {} false 2", u32::MAX),
        "history c Some((Some(171), 7)) 5 true 3".to_owned(),
        "history c None 0 false 4".to_owned(),
    ];
    assert_eq!(client.say(text).0, expected);
    let page = HistoryPage {
        position: Position {
            epoch: 0xab,
            offset: 9,
        },
        publications: vec![(8, PayloadRef::Json("{\"a\":1}").freeze())],
        has_more: true,
    };
    let answer = Ok(&page);
    let (_, said) = client.tell(Event::History { token: 2, answer });
    assert_eq!(
        said,
        [
            r#"{"id":2,"history":{"publications":[{"data":{"a":1},"offset":8}],"epoch":"00000000000000ab","offset":9}}"#
        ]
    );
    for (refusal, code, text) in [
        (HistoryRefusal::InvalidName, 107, "bad request"),
        (HistoryRefusal::NotKept, 108, "not available"),
        (
            HistoryRefusal::Lost(Loss::Epoch),
            112,
            "unrecoverable position",
        ),
    ] {
        let answer = Err(refusal);
        let (_, said) = client.tell(Event::History { token: 3, answer });
        assert_eq!(said, [error(3, code, text)]);
    }
}

#[test]
fn a_push_of_a_channel_that_keeps_history_has_its_offset() {
    let publication = PayloadRef::Json("1").freeze();
    let ids = EventIds {
        topic: 1,
        publication: 1,
        offset: 12,
    };
    let written = |frame: roost_wire::Frozen| {
        String::from_utf8_lossy(frame.payload().expect("one frame")).into_owned()
    };
    let kept = written(Centrifugo::encode_kept(0, &publication, ids, "c", 1));
    assert_eq!(
        kept,
        r#"{"push":{"channel":"c","pub":{"data":1,"offset":12}}}"#
    );
    let other = written(Centrifugo::encode_at(0, &publication, ids, "c", 1));
    assert_eq!(other, r#"{"push":{"channel":"c","pub":{"data":1}}}"#);
}
