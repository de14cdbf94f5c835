//! Clients that the application is asked about, and a control thread that answers, answers late, or
//! never.

use std::sync::Arc;

use roost_access::{PermissionSet, Provider, TokenMark};
use roost_dialect::PayloadRef;
use roost_wire::frame::append_masked_frame;
use roost_wire::{CloseCode, Opcode};

use super::core_tests::request;
use super::http_world::{Client, World};
use crate::connections::Phase;
use crate::settings::{Auth, policy_for_tests};
use crate::{
    Access, ChannelPolicy, CloseReason, ControlPeer, FromReactor, HookAnswer, HookAsked, HookCall,
    HookOutcome, Hooks, Login, Publish, Settings,
};

const WAIT_MS: u32 = 5_000;
/// What the ring to the control thread has room for, and more.
const RING_BATCHES: usize = 40;

fn world(asks_connect: bool) -> World {
    let mut settings = Settings::for_tests();
    settings.auth = Auth {
        checks_max: 100,
        ..Auth::default()
    };
    settings.hooks = Hooks {
        asks_connect,
        asks_rpc: true,
        headers: vec!["cookie".to_owned()],
        wait_ms: WAIT_MS,
    };
    let asked = ChannelPolicy {
        subscribe: Access::Hook,
        publish: Publish::Hook,
        ..policy_for_tests()
    };
    settings.channels.namespaces = vec![("chat".to_owned(), asked)];
    World::new(settings)
}

/// What reactors have asked until now.
fn asked(control: &mut ControlPeer) -> Vec<HookCall> {
    let mut all = Vec::new();
    while let Some(message) = control.next_message() {
        match message {
            FromReactor::HookCalls(0, calls) => all.extend(calls),
            other => panic!("{other:?}"),
        }
    }
    all
}

fn one(control: &mut ControlPeer) -> HookCall {
    let mut calls = asked(control);
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls.remove(0)
}

fn say(world: &mut World, control: &mut ControlPeer, call: &HookCall, outcome: HookOutcome) {
    let answer = HookAnswer {
        key: call.key,
        number: call.number,
        outcome,
    };
    control
        .send_hook_answers(0, vec![answer])
        .expect("the ring has room");
    world.run(30);
}

fn login(user: &str) -> HookOutcome {
    HookOutcome::Login(Box::new(Login {
        user: user.into(),
        permissions: Arc::new(PermissionSet::of_token(Vec::new())),
        expires_in_ms: None,
        provider: Provider::Hook,
        token: TokenMark::default(),
    }))
}

fn disconnect(code: u16) -> HookOutcome {
    HookOutcome::Disconnect {
        code: CloseCode::new(code).expect("a code"),
        reason: CloseReason::new("you are banned").expect("it is short"),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A short message of a client.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("it is short");
    assert!(length < 126);
    let head = [0x81, 0x80 | length, 0, 0, 0, 0];
    [&head, text.as_bytes()].concat()
}

/// The texts of short messages of the server.
fn messages(mut bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    while let [_, length, rest @ ..] = bytes {
        let (text, behind) = rest.split_at(usize::from(*length));
        all.push(text.escape_ascii().to_string());
        bytes = behind;
    }
    all
}

fn wamp(world: &mut World) -> Client {
    wamp_of(world, "wamp.2.json", "")
}

/// With this subprotocol, which ends each message so.
fn wamp_of(world: &mut World, subprotocol: &str, end: &str) -> Client {
    let client = world.connect();
    let mut head = request("/wamp");
    head.truncate(head.len() - 2);
    head.extend(format!("Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n").into_bytes());
    world.send(client, head);
    let hello = r#"[1,"r",{"roles":{"subscriber":{},"publisher":{}}}]"#;
    world.send(client, frame(&format!("{hello}{end}")));
    let said = text(world.take(client));
    assert!(said.contains("[2,"), "{said}");
    client
}

/// A raw client that was allowed to subscribe.
fn joined(world: &mut World, control: &mut ControlPeer) -> Client {
    let client = world.connect();
    world.send(client, request("/raw/chat:1"));
    let call = one(control);
    say(world, control, &call, HookOutcome::Allowed(None));
    assert!(text(world.take(client)).starts_with("HTTP/1.1 101 "));
    client
}

#[test]
fn a_handshake_waits_for_the_application_and_then_opens_as_its_user() {
    let mut world = world(true);
    let mut control = world.control();
    let client = world.connect();
    let mut head = request("/raw/chat:1");
    head.truncate(head.len() - 2);
    head.extend(b"Cookie: s=1\r\nX-Other: 2\r\n\r\n");
    world.send(client, head);
    world.run(300);
    assert_eq!(world.phase(client), Some(Phase::Joining));
    assert_eq!(world.count("token_checks_in_flight"), 1);
    let call = one(&mut control);
    let HookAsked::Connect { headers } = &call.asked else {
        panic!("{call:?}");
    };
    let shown = headers.iter();
    let shown = shown.map(|(name, value)| (&**name, value.expose()));
    assert_eq!(shown.collect::<Vec<_>>(), [("cookie", &b"s=1"[..])]);
    assert!(!format!("{call:?}").contains("s=1"), "no secret is printed");
    say(&mut world, &mut control, &call, login("alice"));
    // Now about the channel, as alice.
    let call = one(&mut control);
    assert_eq!((&*call.user, call.dialect), ("alice", "raw"));
    assert!(matches!(&call.asked, HookAsked::Subscribe { channel } if &**channel == "chat:1"));
    assert_eq!(text(world.take(client)), "");
    say(&mut world, &mut control, &call, HookOutcome::Allowed(None));
    assert_eq!(world.phase(client), Some(Phase::Open));
    assert!(text(world.take(client)).starts_with("HTTP/1.1 101 "));
    assert_eq!(world.count("hooks_allowed_total"), 2);
    // What comes twice is for nothing.
    say(&mut world, &mut control, &call, disconnect(4500));
    assert_eq!(world.phase(client), Some(Phase::Open));
}

#[test]
fn what_the_application_refuses_is_refused_for_good_or_for_now() {
    let refused = || HookOutcome::Refused("no such user".into());
    let unavailable = || HookOutcome::Unavailable("come back".into());
    let none = || HookOutcome::Refused("".into());
    for path in ["/raw/open", "/raw/chat:1"] {
        for (outcome, status, words) in [
            (refused(), 403, "no such user"),
            (none(), 403, "does not let this client in"),
            (unavailable(), 503, "come back"),
            (disconnect(4499), 503, "you are banned"),
            (disconnect(4500), 403, "you are banned"),
        ] {
            let mut world = world(path == "/raw/open");
            let mut control = world.control();
            let client = world.connect();
            world.send(client, request(path));
            let call = one(&mut control);
            say(&mut world, &mut control, &call, outcome);
            let said = text(world.take(client));
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
            assert!(said.contains(words), "{said}");
            assert_eq!(said.contains("Retry-After: 1\r\n"), status == 503, "{said}");
            assert_eq!(world.count("token_checks_in_flight"), 0);
        }
    }
}

/// The control thread is stopped, or was never there.
#[test]
fn without_an_answer_handshakes_and_requests_end_and_others_go_on() {
    for is_there in [false, true] {
        let mut world = world(false);
        let control = is_there.then(|| world.control());
        let before = world.connect();
        world.send(before, request("/echo"));
        assert!(text(world.take(before)).starts_with("HTTP/1.1 101 "));
        let session = wamp(&mut world);
        world.send(session, frame(r#"[32,1,{},"chat:1"]"#));
        world.send(session, frame(r#"[32,2,{},"open"]"#));
        let clients: Vec<Client> = (0..60)
            .map(|_| {
                let client = world.connect();
                world.send(client, request("/raw/chat:1"));
                client
            })
            .collect();
        assert_eq!(text(world.take(session)), "");
        assert_eq!(messages(&world.ask(before, frame("hello"))), ["hello"]);
        world.run(u64::from(WAIT_MS) + 1_000);
        for client in clients {
            let said = text(world.take(client));
            assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
        }
        let said = text(world.take(session));
        let failed = said.find("wamp.error.authorization_failed").expect(&said);
        let next = said.find("[33,2,").expect(&said);
        assert!(failed < next, "in its order: {said}");
        assert_eq!(world.phase(before), Some(Phase::Open));
        assert_eq!(world.count("hooks_unavailable_total"), 61);
        world.run(200);
        assert_eq!(world.count("connections_awaiting_hooks"), 0);
        drop(control);
    }
}

/// While the control thread hangs with its ring full, questions that were given up were kept, and the
/// reactor looked each millisecond whether they could be sent.
#[test]
fn what_was_given_up_is_not_asked_any_more() {
    let mut world = world(false);
    let mut control = world.control();
    let session = wamp(&mut world);
    for _ in 0..RING_BATCHES {
        let client = world.connect();
        world.send(client, request("/raw/chat:1"));
    }
    for number in 1..4 {
        world.send(session, frame(&format!(r#"[32,{number},{{}},"chat:1"]"#)));
        assert!(
            world.reactor.core.hook_calls.has_unsent(),
            "no ring is full"
        );
        world.run(u64::from(WAIT_MS) + 1_000);
        let said = text(world.take(session));
        assert!(said.contains("authorization_failed"), "{said}");
        assert!(!world.reactor.core.hook_calls.has_unsent(), "{number}");
    }
    let session = world.key(session);
    assert!(asked(&mut control).iter().all(|call| call.key != session));
}

#[test]
fn an_open_connection_waits_in_its_order_and_others_do_not() {
    let mut world = world(false);
    let mut control = world.control();
    let (one_client, other) = (wamp(&mut world), wamp(&mut world));
    // In one message, and behind it.
    let both = [
        frame(r#"[32,1,{},"chat:1"]"#),
        frame(r#"[32,2,{},"open"]"#),
        frame(r#"[16,3,{"acknowledge":true},"open",["a"]]"#),
    ]
    .concat();
    world.send(one_client, both);
    world.send(one_client, frame(r#"[32,4,{},"chat:2"]"#));
    world.run(300);
    assert_eq!(world.count("connections_awaiting_hooks"), 1);
    assert_eq!(text(world.take(one_client)), "");
    world.send(other, frame(r#"[32,1,{},"open"]"#));
    assert!(
        text(world.take(other)).contains("[33,1,"),
        "it does not wait"
    );
    let call = one(&mut control);
    say(&mut world, &mut control, &call, HookOutcome::Allowed(None));
    let said = text(world.take(one_client));
    let places = ["[33,1,", "[33,2,", "[17,3,"].map(|answer| said.find(answer));
    assert!(places.iter().all(Option::is_some), "{said}");
    assert!(places.is_sorted(), "{said}");
    // The last one asks in turn.
    let call = one(&mut control);
    say(
        &mut world,
        &mut control,
        &call,
        HookOutcome::Refused("".into()),
    );
    let said = text(world.take(one_client));
    assert!(
        said.contains("[8,32,4,{},\"wamp.error.not_authorized\""),
        "{said}"
    );
    assert!(
        said.contains("The application does not allow it."),
        "{said}"
    );
}

/// What stands behind a command in one message waits with it, twice here.
#[test]
fn commands_of_one_message_wait_in_their_order() {
    let mut world = world(false);
    let mut control = world.control();
    let client = wamp_of(&mut world, "wamp.2.json.batched", "\x1e");
    let commands = [
        r#"[32,1,{},"open"]"#,
        r#"[32,2,{},"chat:1"]"#,
        r#"[32,3,{},"chat:2"]"#,
        r#"[32,4,{},"open"]"#,
    ];
    let message = commands.map(|command| format!("{command}\x1e")).concat();
    world.send(client, frame(&message));
    let said = text(world.take(client));
    assert!(
        said.contains("[33,1,") && !said.contains("[33,4,"),
        "{said}"
    );
    let call = one(&mut control);
    say(&mut world, &mut control, &call, HookOutcome::Allowed(None));
    let said = text(world.take(client));
    assert!(
        said.contains("[33,2,") && !said.contains("[33,4,"),
        "{said}"
    );
    let call = one(&mut control);
    say(&mut world, &mut control, &call, HookOutcome::Allowed(None));
    let said = text(world.take(client));
    let places = ["[33,3,", "[33,4,"].map(|answer| said.find(answer));
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{said}"
    );
    assert_eq!(world.count("connections_awaiting_hooks"), 0);
}

#[test]
fn lines_of_centrifugos_clients_wait_in_their_order() {
    let mut world = world(false);
    let mut control = world.control();
    let client = world.connect();
    let head = "GET /connection/websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert!(text(world.ask(client, head)).starts_with("HTTP/1.1 101 "));
    let lines = [
        r#"{"id":1,"connect":{}}"#,
        r#"{"id":2,"subscribe":{"channel":"chat:1"}}"#,
        r#"{"id":3,"publish":{"channel":"chat:1","data":1}}"#,
        r#"{"id":4,"subscribe":{"channel":"chat:2"}}"#,
        r#"{"id":5,"subscribe":{"channel":"open"}}"#,
    ];
    let mut long = Vec::new();
    append_masked_frame(&mut long, Opcode::Text, lines.join("\n").as_bytes(), [0; 4]);
    world.send(client, long);
    world.run(30);
    assert!(text(world.take(client)).contains(r#"{"id":1,"connect":"#));
    for (outcome, answer) in [
        (HookOutcome::Allowed(None), r#"{"id":2,"subscribe":{}}"#),
        (HookOutcome::Allowed(None), r#"{"id":3,"publish":{}}"#),
        (
            HookOutcome::Refused("no".into()),
            r#"{"id":4,"error":{"code":103"#,
        ),
    ] {
        let call = one(&mut control);
        assert_eq!(text(world.take(client)), "", "it waits: {answer}");
        say(&mut world, &mut control, &call, outcome);
        let said = text(world.take(client));
        assert!(said.contains(answer), "{said}");
        let is_last = answer.contains(r#""id":4"#);
        assert_eq!(
            said.contains(r#"{"id":5,"subscribe":{}}"#),
            is_last,
            "{said}"
        );
    }
    assert_eq!(world.count("connections_awaiting_hooks"), 0);
}

#[test]
fn a_publication_is_kept_until_it_is_allowed_and_may_be_replaced() {
    let mut world = world(false);
    let mut control = world.control();
    let (publisher, subscriber) = (
        joined(&mut world, &mut control),
        joined(&mut world, &mut control),
    );
    let three = [frame("1"), frame("2"), frame("3")].concat();
    world.send(publisher, three);
    for outcome in [
        HookOutcome::Allowed(None),
        HookOutcome::Allowed(Some(PayloadRef::Text("two").freeze())),
        HookOutcome::Allowed(None),
    ] {
        let call = one(&mut control);
        assert!(
            matches!(&call.asked, HookAsked::Publish { channel, .. } if &**channel == "chat:1")
        );
        say(&mut world, &mut control, &call, outcome);
    }
    assert_eq!(messages(&world.take(subscriber)), ["1", "two", "3"]);
    assert_eq!(messages(&world.take(publisher)), [""; 0], "not its own");
    world.send(publisher, frame("4"));
    let call = one(&mut control);
    say(&mut world, &mut control, &call, disconnect(4501));
    assert_eq!(
        messages(&world.take(publisher)),
        ["\\x11\\x95you are banned"]
    );
    assert_eq!(messages(&world.take(subscriber)), [""; 0]);
}

/// Its question is answered after it has gone, and after its slot has another connection.
#[test]
fn a_raw_client_may_come_back_when_the_application_could_not_be_asked() {
    let mut world = world(false);
    let mut control = world.control();
    for (outcome, code) in [
        (
            HookOutcome::Unavailable("".into()),
            CloseCode::TRY_AGAIN_LATER,
        ),
        (
            HookOutcome::Refused("no".into()),
            CloseCode::POLICY_VIOLATION,
        ),
    ] {
        let client = joined(&mut world, &mut control);
        world.send(client, frame("1"));
        let call = one(&mut control);
        say(&mut world, &mut control, &call, outcome);
        let said = world.take(client);
        assert_eq!(said[0], 0x88, "a close frame");
        assert_eq!(said[2..4], code.get().to_be_bytes(), "{code}");
    }
}

#[test]
fn an_answer_is_for_the_connection_that_asked() {
    let mut world = world(false);
    let mut control = world.control();
    let client = wamp(&mut world);
    world.send(client, frame(r#"[32,1,{},"chat:1"]"#));
    let call = one(&mut control);
    world.abort(client);
    world.run(50);
    let next = wamp(&mut world);
    world.send(next, frame(r#"[32,1,{},"chat:2"]"#));
    say(&mut world, &mut control, &call, HookOutcome::Allowed(None));
    assert_eq!(text(world.take(next)), "");
    let call = one(&mut control);
    say(&mut world, &mut control, &call, HookOutcome::Allowed(None));
    assert!(text(world.take(next)).contains("[33,1,"));
}

#[test]
fn only_so_many_handshakes_wait_and_a_drain_ends_them() {
    let mut world = {
        let mut settings = Settings::for_tests();
        settings.auth.checks_max = 2;
        settings.hooks = Hooks {
            asks_connect: true,
            asks_rpc: false,
            headers: Vec::new(),
            wait_ms: WAIT_MS,
        };
        World::new(settings)
    };
    let _control = world.control();
    let clients: Vec<Client> = (0..3)
        .map(|_| {
            let client = world.connect();
            world.send(client, request("/echo"));
            client
        })
        .collect();
    let said = text(world.take(clients[2]));
    assert!(
        said.contains("503") && said.contains("Too many clients"),
        "{said}"
    );
    assert_eq!(text(world.take(clients[0])), "");
    world.begin_drain();
    world.run(100);
    let said = text(world.take(clients[0]));
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
}

/// What no hook is asked about costs a connection nothing, and asks nothing.
#[test]
fn other_namespaces_ask_nothing() {
    let mut world = world(false);
    let mut control = world.control();
    let client = world.connect();
    world.send(client, request("/raw/open"));
    world.send(client, frame("hello"));
    assert_eq!(asked(&mut control).len(), 0);
    let conn = world.reactor.core.connections.get(world.key(client));
    assert_eq!(conn.map(|conn| conn.phase), Some(Phase::Open));
    assert!(world.reactor.core.connections.identities().get(0).is_none());
}
