//! Subscriptions that the server makes: by a token, and for the application.

use std::sync::Arc;

use roost_access::{PermissionSet, UserName};
use roost_wire::Opcode;
use roost_wire::frame::append_masked_frame;

use super::client_token_tests::{asked, expect, good, say, settings, text};
use super::http_world::{Client, World};
use crate::settings::{ChannelPolicy, policy_for_tests};
use crate::{
    Access, ControlPeer, FromReactor, Part, Request, Settings, Subscribe, TokenCheck, Verdict,
    Whose,
};

fn world(change: impl FnOnce(&mut Settings)) -> World {
    let mut settings = settings();
    let kept = ChannelPolicy {
        history_messages_max: 5,
        subscribe: Access::Granted,
        ..policy_for_tests()
    };
    let closed = ChannelPolicy {
        subscribe: Access::Nobody,
        ..policy_for_tests()
    };
    settings.channels.namespaces = vec![("kept".to_owned(), kept), ("closed".to_owned(), closed)];
    change(&mut settings);
    World::new(settings)
}

fn open(world: &mut World) -> Client {
    let client = world.connect();
    let head = "GET /connection/websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    world.send(client, head);
    world.run(50);
    assert!(text(world.take(client)).starts_with("HTTP/1.1 101 "));
    client
}

fn send(world: &mut World, client: Client, lines: &str) {
    let mut frame = Vec::new();
    append_masked_frame(&mut frame, Opcode::Text, lines.as_bytes(), [1, 2, 3, 4]);
    world.send(client, frame);
    world.run(50);
}

/// As a good token with these channels.
fn with(check: &TokenCheck, user: &str, channels: &[&str]) -> Verdict {
    let mut verdict = good(check, user, None);
    if let Ok(login) = &mut verdict.outcome {
        let names = channels.iter().map(|&name| name.into()).collect();
        let permissions = PermissionSet::of_token(Vec::new());
        login.permissions = Arc::new(permissions.with_subscriptions(names));
    }
    verdict
}

/// Connects; what stands behind the command in its message follows it.
fn connect(
    world: &mut World,
    control: &mut ControlPeer,
    (user, channels): (&str, &[&str]),
    lines: &str,
) -> Client {
    let client = open(world);
    send(world, client, lines);
    let check = asked(control).pop().expect("the token is checked");
    say(control, with(&check, user, channels));
    client
}

const CONNECT: &str = r#"{"id":1,"connect":{"token":"t"}}"#;

#[test]
fn a_token_subscribes_its_client() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let channels = &["kept:a", "closed:b", "c"][..];
    let lines = format!("{CONNECT}\n{{\"id\":2,\"publish\":{{\"channel\":\"c\",\"data\":7}}}}");
    let client = connect(&mut world, &mut control, ("alice", channels), &lines);
    // What nobody may subscribe to is left out, and what stands behind the command is done behind it.
    let answer = r#""subs":{"kept:a":{"recoverable":true,"positioned":true,"epoch":""#;
    let parts = [
        answer,
        r#""offset":0},"c":{}}"#,
        r#"{"channel":"c","pub":{"data":7"#,
        r#"{"id":2,"publish":{}}"#,
    ];
    expect(&mut world, client, &parts);
    // A message that comes later is handled as before.
    send(
        &mut world,
        client,
        r#"{"id":3,"subscribe":{"channel":"kept:a"}}"#,
    );
    expect(&mut world, client, &[r#"{"id":3,"error":{"code":103"#]);
    send(
        &mut world,
        client,
        r#"{"id":4,"unsubscribe":{"channel":"c"}}"#,
    );
    expect(&mut world, client, &[r#"{"id":4,"unsubscribe":{}}"#]);
}

#[test]
fn a_client_that_comes_back_gets_what_it_missed() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let first = connect(&mut world, &mut control, ("alice", &["kept:a"]), CONNECT);
    world.run(50);
    let answer = text(world.take(first));
    let (_, behind) = answer.split_once(r#""epoch":""#).expect("an epoch");
    let epoch = behind[..16].to_owned();
    world.abort(first);
    let other = connect(&mut world, &mut control, ("bob", &["kept:a"]), CONNECT);
    send(
        &mut world,
        other,
        r#"{"id":2,"publish":{"channel":"kept:a","data":"x"}}"#,
    );
    world.take(other);
    let line = format!(
        r#"{{"id":1,"connect":{{"token":"t","subs":{{"kept:a":{{"recover":true,"offset":0,"epoch":"{epoch}"}}}}}}}}"#
    );
    let back = connect(&mut world, &mut control, ("alice", &["kept:a"]), &line);
    let parts = [
        r#""subs":{"kept:a":{"#,
        r#""was_recovering":true,"recovered":true,"publications":[{"data":"x","#,
    ];
    expect(&mut world, back, &parts);
}

#[test]
fn the_application_subscribes_a_users_connections() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let alice = connect(&mut world, &mut control, ("alice", &[]), CONNECT);
    let bob = connect(&mut world, &mut control, ("bob", &[]), CONNECT);
    world.run(50);
    world.take(alice);
    world.take(bob);
    let subscribe = |world: &mut World, control: &mut ControlPeer, channel: &str| {
        let request = Request::Subscribe(Box::new(Subscribe {
            channel: channel.into(),
            whose: Whose::User(UserName::from("alice")),
        }));
        control.ask(0, request).expect("the ring has room");
        world.run(50);
        match control.next_message() {
            Some(FromReactor::Answer(answer)) => match answer.part {
                Part::Done { connections } => connections,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(subscribe(&mut world, &mut control, "kept:news"), 1);
    let push = r#"{"push":{"channel":"kept:news","subscribe":{"recoverable":true,"#;
    expect(&mut world, alice, &[push]);
    expect(&mut world, bob, &[]);
    assert_eq!(subscribe(&mut world, &mut control, "kept:news"), 0, "it is");
    send(
        &mut world,
        bob,
        r#"{"id":2,"publish":{"channel":"kept:news","data":1}}"#,
    );
    expect(
        &mut world,
        alice,
        &[r#"{"channel":"kept:news","pub":{"data":1"#],
    );
    assert_eq!(world.count("subscriptions_served_total"), 1);
}

#[test]
fn a_users_own_channel_is_its_own() {
    let mut world = world(|settings| {
        let centrifugo = Arc::make_mut(&mut settings.dialects.centrifugo);
        centrifugo.personal_channels = true;
    });
    let mut control = world.control();
    let alice = connect(&mut world, &mut control, ("alice", &[]), CONNECT);
    expect(&mut world, alice, &[r##""subs":{"#alice":{}}"##]);
    let bob = connect(&mut world, &mut control, ("bob", &[]), CONNECT);
    expect(&mut world, bob, &[r##""subs":{"#bob":{}}"##]);
    send(
        &mut world,
        bob,
        r##"{"id":2,"subscribe":{"channel":"#alice"}}"##,
    );
    expect(&mut world, bob, &[r#"{"id":2,"error":{"code":103"#]);
    send(
        &mut world,
        bob,
        r##"{"id":3,"publish":{"channel":"#alice","data":1}}"##,
    );
    expect(&mut world, bob, &[r#"{"id":3,"publish":{}}"#]);
    expect(
        &mut world,
        alice,
        &[r##"{"channel":"#alice","pub":{"data":1"##],
    );
    // Other dialects do not let it in either.
    let raw = world.connect();
    world.send(
        raw,
        "GET /sse/%23alice HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x\r\n\r\n",
    );
    world.run(50);
    let check = asked(&mut control).pop().expect("the token is checked");
    say(&mut control, good(&check, "bob", None));
    expect(&mut world, raw, &["HTTP/1.1 403 "]);
}
