//! Subscriptions that the server makes.

use roost_dialect::dialect::SubscribeTo::{Behind, Channel};

use super::*;

/// What the line of a `connect` asks for next; the line stays to be drawn again where it is not `None`.
fn draw(client: &mut Client, line: &str) -> (Option<(String, u64)>, Vec<String>) {
    let mut input = Input::new(Message::Text(line));
    let mut said = Vec::new();
    let command = client.next(&mut input, &mut said);
    let asked = command.map(|command| {
        assert_eq!(input.bytes(), line.as_bytes(), "it is drawn again");
        match command {
            Command::Subscribe {
                what, token, grant, ..
            } => {
                assert!(grant.is_some(), "the client need not be allowed it");
                let what = match what {
                    Channel(name) => format!("subscribe {name}"),
                    Behind(name, epoch, offset) => format!("subscribe {name} {epoch:?} {offset}"),
                    other => panic!("{other:?}"),
                };
                (what, token)
            }
            Command::Unsubscribe { channel, .. } => (format!("unsubscribe {}", channel.0), 0),
            Command::AwaitSubscriptions => ("await".to_owned(), 0),
            Command::CheckToken(_) => ("check".to_owned(), 0),
            other => panic!("{other:?}"),
        }
    });
    (asked, said)
}

/// Begins to connect, with these subscriptions; the tokens of what is asked for, and `await`.
fn connect(client: &mut Client, line: &str, channels: &[&str]) -> Vec<(String, u64)> {
    client.outcome = Ok(Admission {
        user: "alice".into(),
        expires_in_s: None,
        provider: Provider::Jwt,
        subscriptions: channels.iter().map(|&name| name.into()).collect(),
        info: None,
    });
    let (check, _) = draw(client, line);
    assert_eq!(check.expect("a command").0, "check");
    let outcome = client.outcome.clone();
    client.tell(Event::TokenChecked(&outcome));
    wanted(client, line)
}

/// All that the line asks for until it waits; subscriptions are under way as channel 0, 1, ….
fn wanted(client: &mut Client, line: &str) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    loop {
        let (asked, said) = draw(client, line);
        assert_eq!(said, [""; 0], "it is not answered yet");
        let (asked, token) = asked.expect("a command");
        if asked == "await" {
            return all;
        }
        if asked.starts_with("subscribe") {
            // A place among those of the `connect` stands in the token.
            let channel = ChannelId(u32::try_from((token >> 33) - 1).expect("few"));
            let form = Form::CENTRIFUGO;
            let (next, said) = client.tell(Event::Subscribing {
                token,
                channel,
                form,
            });
            assert_eq!((next, said), (Next::Continue, vec![]));
        }
        all.push((asked, token));
    }
}

fn end_wait(client: &mut Client, offsets: &[(u32, u64)]) -> Vec<String> {
    let positions: Vec<_> = offsets
        .iter()
        .map(|&(channel, offset)| {
            let position = Position {
                epoch: 0xab,
                offset,
            };
            (ChannelId(channel), position)
        })
        .collect();
    let positions = &positions;
    client.tell(Event::WaitEnded { positions }).1
}

const CONNECT: &str = r#"{"id":1,"connect":{"token":"t"}}"#;

#[test]
fn connect_is_answered_with_all_subscriptions() {
    let mut client = Client::new();
    let asked = connect(&mut client, CONNECT, &["a", "b"]);
    let names: Vec<_> = asked.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(names, ["subscribe a", "subscribe b"]);
    let awaited = client.tell(Event::SubscriptionsAwaited).0;
    assert_eq!(awaited, Next::Continue, "none is answered");
    let (next, said) = client.recovered(asked[1].1, 1, (Recovers::Stream, None));
    assert_eq!((next, said), (Next::Continue, vec![]), "one is missing");
    let (next, said) = client.recovered(asked[0].1, 0, (Recovers::Nothing, None));
    assert_eq!((next, said), (Next::EndWait, vec![]));
    let said = end_wait(&mut client, &[(0, 50), (1, 9)]);
    let reply: serde_json::Value = serde_json::from_str(&said[0]).expect("JSON");
    let b = r#"{"recoverable":true,"positioned":true,"epoch":"00000000000000ab","offset":9}"#;
    let b: serde_json::Value = serde_json::from_str(b).expect("JSON");
    let expected = serde_json::json!({"a": {}, "b": b});
    assert_eq!(reply["connect"]["subs"], expected, "{reply}");
    // The line is over, and is no second connect.
    assert_eq!(draw(&mut client, CONNECT), (None, vec![]));
    assert_eq!(client.channels(), [0, 1]);
    let (asked, _) = client.say(CONNECT);
    assert_eq!(asked, ["close 3501 bad request"]);
}

#[test]
fn a_subscription_whose_channel_has_moved_on_begins_anew() {
    let line = r#"{"id":1,"connect":{"token":"t","subs":{"a":{"recover":true,"offset":7,"epoch":"00000000000000ab"},"x":{"recover":true}}}}"#;
    let mut client = Client::new();
    let asked = connect(&mut client, line, &["a"]);
    assert_eq!(asked[0].0, format!("subscribe a {:?} 7", Some(0xab)));
    let missed = |offset| {
        let publication = PayloadRef::Json("1").freeze();
        let ids = EventIds {
            topic: 1,
            publication: 1,
            offset,
        };
        (offset, Centrifugo::encode_recovered(0, &publication, ids))
    };
    let both = [missed(8), missed(9)];
    let recovered = Some(Recovered::Publications(&both));
    let (next, _) = client.recovered(asked[0].1, 0, (Recovers::Stream, recovered));
    assert_eq!(next, Next::EndWait);
    assert_eq!(
        end_wait(&mut client, &[(0, 10)]),
        [""; 0],
        "it has moved on"
    );
    let again = wanted(&mut client, line);
    let names: Vec<_> = again.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(names, ["unsubscribe 0", asked[0].0.as_str()]);
    let (next, _) = client.recovered(again[1].1, 0, (Recovers::Stream, recovered));
    assert_eq!(next, Next::EndWait);
    let said = end_wait(&mut client, &[(0, 9)]);
    assert!(
        said[0].contains(r#""recovered":true,"publications":[{"data":1,"offset":8},"#),
        "{said:?}"
    );
}

#[test]
fn a_channel_that_does_not_come_to_rest_is_told_as_a_loss() {
    let line = r#"{"id":1,"connect":{"token":"t","subs":{"a":{"recover":true,"offset":7}}}}"#;
    let mut client = Client::new();
    let mut asked = connect(&mut client, line, &["a"]);
    for round in 0..1000 {
        let token = asked.last().expect("a subscribe").1;
        let recovered = Some(Recovered::Publications(&[]));
        client.recovered(token, 0, (Recovers::Stream, recovered));
        let said = end_wait(&mut client, &[(0, 12)]);
        if let Some(reply) = said.first() {
            assert!(round > 3, "it is tried");
            assert!(
                reply.contains(r#""offset":12,"was_recovering":true}"#),
                "{reply}"
            );
            return;
        }
        asked = wanted(&mut client, line);
    }
    panic!("it is not answered");
}

#[test]
fn a_refused_subscription_is_left_out() {
    let mut client = Client::new();
    let asked = connect(&mut client, CONNECT, &["a", "b"]);
    let refused = Event::SubscriptionRefused {
        token: asked[0].1,
        channel: ChannelId(0),
        refusal: Refusal::NoRoom,
    };
    assert_eq!(client.tell(refused), (Next::Continue, vec![]));
    let (next, _) = client.recovered(asked[1].1, 1, (Recovers::Nothing, None));
    assert_eq!(next, Next::EndWait);
    let said = end_wait(&mut client, &[]);
    assert!(said[0].contains(r#""subs":{"b":{}}"#), "{said:?}");
    assert_eq!(client.channels(), [1]);
}

/// The application subscribes a client, and that is under way.
fn begun(client: &mut Client, name: &str, channel: ChannelId) -> (Form, u64) {
    let begun = client.dialect.begin_subscription(client.session, name);
    let (form, token) = begun.expect("it may");
    client.tell(Event::Subscribing {
        token,
        channel,
        form,
    });
    (form, token)
}

#[test]
fn the_application_subscribes_a_client() {
    let mut client = Client::new();
    let session = client.session;
    assert_eq!(
        client.dialect.begin_subscription(session, "n"),
        None,
        "it has not connected"
    );
    let mut client = Client::connected();
    let session = client.session;
    let channel = ChannelId(7);
    let (form, token) = begun(&mut client, "news", channel);
    let (next, said) = client.recovered(token, 7, (Recovers::Stream, None));
    assert_eq!(next, Next::Continue);
    let push = r#"{"push":{"channel":"news","subscribe":{"recoverable":true,"positioned":true,"epoch":"00000000000000ab","offset":9}}}"#;
    assert_eq!(said, [push]);
    // It ends as others do, and what it has missed ends the connection, for no client subscribes again.
    let missed = Event::Missed {
        channel,
        name: "news",
    };
    let next = client.tell(missed).0;
    assert!(
        matches!(next, Next::Close { code, .. } if code.get() == 3010),
        "{next:?}"
    );
    assert_eq!(client.end(7).0, Some(form));
    let (_, token) = client
        .dialect
        .begin_subscription(session, "other")
        .expect("it may");
    let refused = Event::Refused {
        request: Request::Subscribe,
        token: Some(token),
        refusal: Refusal::NoRoom,
    };
    assert_eq!(
        client.tell(refused),
        (Next::Continue, vec![]),
        "the client has not asked"
    );
}

#[test]
fn the_application_subscribes_a_client_to_no_more_than_it_may_have() {
    let mut client = Client::connected();
    let session = client.session;
    client.subscribing(2, 1);
    client.subscribing(3, 2); // as many as it may have
    assert_eq!(client.dialect.begin_subscription(session, "c3"), None);
    client.subscribed(2, 1);
    client.subscribed(3, 2);
    assert_eq!(client.dialect.begin_subscription(session, "c3"), None);
    client.end(1);
    assert!(client.dialect.begin_subscription(session, "c3").is_some());
}

/// A client has asked for what the application subscribes it to meanwhile: it is answered, and the subscription
/// is its own.
#[test]
fn a_client_that_subscribes_at_the_same_time_subscribes_itself() {
    let mut client = Client::connected();
    client.subscribing(2, 7);
    let channel = ChannelId(7);
    let (_, token) = begun(&mut client, "c7", channel);
    let (next, said) = client.recovered(token, 7, (Recovers::Nothing, None));
    assert_eq!((next, said), (Next::Continue, vec![]));
    assert_eq!(client.subscribed(2, 7), [r#"{"id":2,"subscribe":{}}"#]);
    // What it misses does not end its connection: it subscribes again.
    let name = "c7";
    let next = client.tell(Event::Missed { channel, name }).0;
    assert!(matches!(next, Next::Unsubscribe { .. }), "{next:?}");
}

/// Where a token names a channel twice, the answer tells of it once.
#[test]
fn a_channel_that_is_named_twice_is_told_once() {
    let mut client = Client::new();
    client.outcome = Ok(Admission {
        user: "alice".into(),
        expires_in_s: None,
        provider: Provider::Jwt,
        subscriptions: ["a", "a"].into_iter().map(Into::into).collect(),
        info: None,
    });
    let mut tokens = Vec::new();
    let (check, _) = draw(&mut client, CONNECT);
    assert_eq!(check.expect("a command").0, "check");
    let outcome = client.outcome.clone();
    client.tell(Event::TokenChecked(&outcome));
    loop {
        let (asked, _) = draw(&mut client, CONNECT);
        let (asked, token) = asked.expect("a command");
        if asked == "await" {
            break;
        }
        assert_eq!(asked, "subscribe a");
        let (channel, form) = (ChannelId(0), Form::CENTRIFUGO);
        client.tell(Event::Subscribing {
            token,
            channel,
            form,
        });
        tokens.push(token);
    }
    for &token in &tokens {
        client.recovered(token, 0, (Recovers::Nothing, None));
    }
    let said = end_wait(&mut client, &[]);
    assert!(said[0].contains(r#""subs":{"a":{}}"#), "{said:?}");
    assert_eq!(client.channels(), [0]);
}

#[test]
fn a_user_has_a_channel_of_its_own() {
    let mut client = Client::new();
    let settings = Settings {
        personal_channels: true,
        ..settings()
    };
    client.dialect.configure(Arc::new(settings));
    let asked = connect(&mut client, CONNECT, &[]);
    assert_eq!(asked[0].0, "subscribe #alice");
}

#[test]
fn answers_of_two_clients_do_not_meet() {
    let mut one = Client::connected();
    let settings = Arc::new(settings());
    // A second session of the same reactor, whose subscribe is drawn while an application decides that of the first.
    let other = one.dialect.open(None, Terms::default(), None);
    one.say(r#"{"id":5,"subscribe":{"channel":"a"}}"#);
    let first = std::mem::replace(&mut one.session, other);
    one.say(r#"{"id":1,"connect":{}}"#);
    one.say(r#"{"id":9,"subscribe":{"channel":"b"}}"#);
    one.session = first;
    let (channel, form, token) = (ChannelId(3), Form::CENTRIFUGO, 5);
    one.tell(Event::Subscribing {
        token,
        channel,
        form,
    });
    assert_eq!(one.subscribed(5, 3), [r#"{"id":5,"subscribe":{}}"#]);
    drop(settings);
}
