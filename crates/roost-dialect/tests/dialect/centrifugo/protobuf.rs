//! Clients that speak Protobuf: how they ask for it, and what makes a message.

use roost_wire::handshake::Request as HttpRequest;

use super::*;

/// The subprotocol that is selected, and the number of the terms.
fn accepted(target: &str, subprotocols: &[&'static str]) -> (Option<String>, u8) {
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let request = HttpRequest::parse(head.as_bytes(), 16).expect("a head");
    let offer = Offer {
        path: request.path(),
        subprotocols,
        headers: Headers::of(&request),
        channel_name_bytes_max: 16,
    };
    match Centrifugo::accept(&settings(), &offer) {
        Accept::Open {
            subprotocol, terms, ..
        } => (subprotocol.map(str::to_owned), terms.number),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_subprotocol_says_it_or_the_query() {
    let (plain, json, protobuf) = (PATH, "centrifuge-json", "centrifuge-protobuf");
    let number = accepted(plain, &[protobuf]).1;
    assert_ne!(number, accepted(plain, &[]).1);
    for (target, offered, selected, is_protobuf) in [
        (plain, &[][..], None, false),
        (plain, &[json][..], Some(json), false),
        (plain, &[protobuf][..], Some(protobuf), true),
        (plain, &["x", protobuf, json][..], Some(protobuf), true),
        (plain, &[json, protobuf][..], Some(json), false),
        ("?cf_protocol=protobuf", &[][..], None, true),
        ("?a=b&format=protobuf", &["x"][..], None, true),
        ("?cf_protocol=json", &[][..], None, false),
        ("?format=protobuf2", &[][..], None, false),
        ("?format=protobuf", &[json][..], Some(json), false),
    ] {
        let target = match target.strip_prefix('?') {
            Some(query) => format!("{PATH}?{query}"),
            None => target.to_owned(),
        };
        let expected = (selected.map(str::to_owned), is_protobuf);
        let (name, terms) = accepted(&target, offered);
        assert_eq!((name, terms == number), expected, "{target} {offered:?}");
    }
}

/// A client of Protobuf that has said nothing.
fn client() -> Client {
    let mut client = Client::new();
    let number = accepted(PATH, &["centrifuge-protobuf"]).1;
    let terms = Terms {
        number,
        header: None,
    };
    client.session = client.dialect.open(None, terms, None);
    client
}

/// What a message asks for, and the messages that answer it. Tokens are checked.
fn say(client: &mut Client, message: Message<'_>) -> (Vec<String>, Vec<Vec<u8>>) {
    let (mut asked, mut said) = (Vec::new(), Vec::new());
    let mut input = Input::new(message);
    while !input.is_empty() {
        let mut cx = Context {
            replies: &mut client.replies,
            new_id: &mut || 1,
        };
        let command = client.dialect.next(client.session, &mut input, &mut cx);
        said.extend(messages(&mut client.replies));
        match command {
            None => break,
            Some(Command::CheckToken(_)) => {
                let outcome = client.outcome.clone();
                said.extend(tell(client, Event::TokenChecked(&outcome)));
            }
            Some(command) => {
                asked.push(shown(&command));
                if matches!(command, Command::Close { .. }) {
                    break;
                }
            }
        }
    }
    (asked, said)
}

fn tell(client: &mut Client, event: Event<'_>) -> Vec<Vec<u8>> {
    let mut cx = Context {
        replies: &mut client.replies,
        new_id: &mut || 1,
    };
    let next = client.dialect.on(client.session, event, &mut cx);
    assert_eq!(next, Next::Continue);
    messages(&mut client.replies)
}

fn messages(replies: &mut Replies) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    replies.drain(|opcode, bytes| {
        assert_eq!(opcode, Opcode::Binary);
        messages.push(bytes.to_vec());
    });
    messages
}

const CONNECT: &[u8] = b"\x04\x08\x01\x22\x00";

#[test]
fn a_message_has_any_number_of_commands() {
    let mut client = client();
    let ping = |id: u8| [4, 8, id, 0x5a, 0];
    let two = [CONNECT, &ping(2), &ping(3)].concat();
    let (asked, said) = say(&mut client, Message::Binary(&two));
    assert_eq!(asked, [""; 0]);
    let [answer] = &said[..] else {
        panic!("one message: {said:?}");
    };
    let length = usize::from(answer[0]);
    assert_eq!(answer[1..4], [8, 1, 0x2a], "a ConnectResult");
    let error = |id| {
        [
            b"\x15\x08",
            &[id][..],
            b"\x12\x11\x08l\x12\x0dnot available",
        ]
        .concat()
    };
    assert_eq!(answer[1 + length..], [error(2), error(3)].concat());
    // A pong is empty, and so is a ping.
    assert_eq!(say(&mut client, Message::Binary(b"\0")), (vec![], vec![]));
    assert_eq!(tell(&mut client, Event::PingDue), [b"\0"]);
}

#[test]
fn commands_are_those_of_json() {
    let mut client = client();
    say(&mut client, Message::Binary(CONNECT));
    for (message, expected) in [
        (&b"\x07\x08\x02*\x03\x0a\x01a"[..], "subscribe a 2"),
        (b"\x07\x08\x032\x03\x0a\x01a", "unsubscribe a 3"),
        (
            b"\x0c\x08\x05:\x08\x0a\x02c1\x12\x02\x01\xff",
            r#"publish Name("c1") Binary([1, 255]) Some(5) by """#,
        ),
        (
            b"\x0c\x08\x05:\x08\x0a\x02c1\x12\x02{}",
            r#"publish Name("c1") Json("{}") Some(5) by """#,
        ),
        (b"\x09\x08\x0aj\x05\x0a\x03[1]", "rpc  Some(\"[1]\") 10"),
        (b"\x08\x08\x08R\x04\x0a\x02c1", "history c1 None 0 false 8"),
    ] {
        let (asked, said) = say(&mut client, Message::Binary(message));
        assert_eq!((asked, said), (vec![expected.to_owned()], vec![]));
    }
    let error = |id: u8, code: u8, text: &[u8]| {
        let length = u8::try_from(text.len()).expect("short");
        let error = [&[8, code, 0x12, length], text].concat();
        let reply = [&[8, id, 0x12, length + 4], &error[..]].concat();
        [&[length + 8], &reply[..]].concat()
    };
    let empty = say(&mut client, Message::Binary(b"\x08\x08\x05:\x04\x0a\x02c1"));
    assert_eq!(empty, (vec![], vec![error(5, 107, b"bad request")]));
}

#[test]
fn what_is_no_command_closes() {
    for (message, closed) in [
        (Message::Text("{}"), "close 3506 inappropriate protocol"),
        (Message::Binary(b""), "close 3501 bad request"),
        (
            Message::Binary(b"\x05\x08\x01\x22\x00"),
            "close 3501 bad request",
        ),
        (Message::Binary(b"\x80"), "close 3501 bad request"),
        (Message::Binary(b"\x02\x0b\x0c"), "close 3501 bad request"),
        (
            Message::Binary(b"\x04\x08\x09Z\x00"),
            "close 3501 bad request",
        ),
        (
            Message::Binary(b"\x05b\x03\x0a\x01x"),
            "close 3501 bad request",
        ),
    ] {
        let (asked, said) = say(&mut client(), message);
        assert_eq!(
            (asked, said),
            (vec![closed.to_owned()], vec![]),
            "{message:?}"
        );
    }
    let mut client = client();
    say(&mut client, Message::Binary(CONNECT));
    let send = say(&mut client, Message::Binary(b"\x05b\x03\x0a\x01x"));
    assert_eq!(send, (vec!["close 3508 not available".to_owned()], vec![]));
    let mut json = Client::new();
    let (asked, _) = say(&mut json, Message::Binary(CONNECT));
    assert_eq!(asked, ["close 3506 inappropriate protocol"]);
}

#[test]
fn a_subscription_is_in_protobuf_and_handed_over() {
    let mut client = client();
    say(&mut client, Message::Binary(CONNECT));
    say(&mut client, Message::Binary(b"\x07\x08\x02*\x03\x0a\x01a"));
    let (channel, form) = (ChannelId(3), Form::CENTRIFUGO_PROTOBUF);
    let token = 2;
    tell(
        &mut client,
        Event::Subscribing {
            token,
            channel,
            form,
        },
    );
    let state = client.dialect.export(client.session);
    client.session = client.dialect.import(state);
    let position = Position {
        epoch: 0xab,
        offset: 9,
    };
    let answer = tell(
        &mut client,
        Event::Subscribed {
            token,
            channel,
            topic: 5,
            snapshot: Snapshot { position },
            recovers: Recovers::Nothing,
            recovery: None,
        },
    );
    assert_eq!(answer, [b"\x04\x08\x022\x00"]);
    let popped = client.dialect.pop_subscription(&mut client.session);
    assert_eq!(popped, Some((channel, form)));
}
