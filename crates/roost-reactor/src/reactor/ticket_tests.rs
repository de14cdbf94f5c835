//! Tokens as tickets of WAMP sessions, and a control thread that answers, late or never.

use std::num::NonZeroU32;
use std::sync::Arc;

use roost_access::{Identity, Method, PermissionSet, Provider, Revoked, TokenMark};
use roost_wire::Opcode;
use roost_wire::frame::append_masked_frame;

use super::client_token_tests::{WAIT_MS, asked, expect, good, say, settings, text};
use super::http_world::{Client, World};
use crate::connections::Phase;
use crate::settings::Auth;
use crate::{ControlPeer, Denied, Request, Revocation, TokenCheck, Verdict};

fn world(change: impl FnOnce(&mut Auth)) -> World {
    let mut settings = settings();
    settings.auth.wamp_logs_in = true;
    change(&mut settings.auth);
    let wamp = Arc::make_mut(&mut settings.dialects.wamp);
    wamp.takes_tokens = true;
    World::new(settings)
}

/// A client whose WebSocket is open, with what the handshake's token has made it, if there is one.
fn open(world: &mut World, subprotocol: &str, handshake: Option<&mut ControlPeer>) -> Client {
    let client = world.connect();
    let token = match &handshake {
        Some(_) => "Authorization: Bearer x\r\n",
        None => "",
    };
    let head = format!(
        "GET /wamp HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{token}\
         Sec-WebSocket-Protocol: {subprotocol}\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    world.send(client, head.into_bytes());
    if let Some(control) = handshake {
        world.run(50);
        let check = asked(control).pop().expect("the token is checked");
        say(control, good(&check, "alice", None));
    }
    world.run(50);
    assert!(text(world.take(client)).starts_with("HTTP/1.1 101 "));
    client
}

fn send(world: &mut World, client: Client, opcode: Opcode, message: &[u8]) {
    let mut frame = Vec::new();
    append_masked_frame(&mut frame, opcode, message, [1, 2, 3, 4]);
    world.send(client, frame);
    world.run(50);
}

const HELLO: &str =
    r#"[1,"realm1",{"roles":{"subscriber":{}},"authmethods":["ticket"],"authid":"alice"}]"#;

/// A client that has shown a token as ticket.
fn shown(world: &mut World, control: &mut ControlPeer) -> (Client, TokenCheck) {
    let client = open(world, "wamp.2.json", None);
    send(world, client, Opcode::Text, HELLO.as_bytes());
    expect(world, client, &[r#"[4,"ticket",{}]"#]);
    send(world, client, Opcode::Text, br#"[5,"t.o.k",{}]"#);
    expect(world, client, &[]);
    let check = asked(control).pop().expect("it is checked");
    assert_eq!(check.token.expose(), b"t.o.k");
    (client, check)
}

#[test]
fn a_token_is_a_ticket_and_what_stands_behind_it_waits() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let (client, check) = shown(&mut world, &mut control);
    let subscribe = br#"[32,7,{},"com.example.a"]"#;
    send(&mut world, client, Opcode::Text, subscribe);
    expect(&mut world, client, &[]);
    say(&mut control, good(&check, "alice", None));
    let parts = [
        "[2,",
        r#""authid":"alice""#,
        r#""authmethod":"ticket""#,
        "[33,7,",
    ];
    expect(&mut world, client, &parts);
    assert_eq!(world.count("tokens_accepted_total"), 1);
    // A second verdict is for nothing.
    say(&mut control, good(&check, "bob", None));
    expect(&mut world, client, &[]);
}

#[test]
fn what_stands_behind_it_in_a_batch_keeps_its_kind() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let client = open(&mut world, "wamp.2.msgpack.batched", None);
    let hello =
        b"\x93\x01\xa6realm1\x82\xabauthmethods\x91\xa6ticket\xa5roles\x81\xaasubscriber\x80";
    send(&mut world, client, Opcode::Binary, &batch(&[hello]));
    expect(&mut world, client, &["ticket"]);
    let messages: [&[u8]; 2] = [b"\x93\x05\xa1t\x80", b"\x94\x20\x01\x80\xa3a.b"];
    send(&mut world, client, Opcode::Binary, &batch(&messages));
    expect(&mut world, client, &[]);
    let check = asked(&mut control).pop().expect("it is checked");
    say(&mut control, good(&check, "carol", None));
    // [33, 1, …]
    expect(&mut world, client, &["carol", "\u{21}\u{1}"]);
    assert_eq!(world.phase(client), Some(Phase::Open));
}

fn batch(messages: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for message in messages {
        let len = u32::try_from(message.len()).expect("short");
        all.extend(len.to_be_bytes());
        all.extend(*message);
    }
    all
}

#[test]
fn who_is_not_let_in_is_not_told_why() {
    let denied = "wamp.error.authentication_denied";
    for (outcome, uri) in [
        (Err(Denied::Refused("no".into())), denied),
        (Err(Denied::Expired("no".into())), denied),
        (
            Err(Denied::Unavailable("no".into())),
            "wamp.error.authentication_failed",
        ),
        (Ok("bob"), denied),
    ] {
        let mut world = world(|_| {});
        let mut control = world.control();
        let (client, check) = shown(&mut world, &mut control);
        say(
            &mut control,
            match outcome {
                Ok(user) => good(&check, user, None),
                Err(denied) => Verdict {
                    key: check.key,
                    outcome: Err(denied),
                },
            },
        );
        expect(&mut world, client, &["[3,", uri, uri]);
        assert_eq!(world.phase(client), Some(Phase::Closing), "{uri}");
    }
}

#[test]
fn a_check_that_takes_too_long_aborts() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let (client, check) = shown(&mut world, &mut control);
    world.run(u64::from(WAIT_MS) + 500);
    let uri = "wamp.error.authentication_failed";
    expect(&mut world, client, &["[3,", "in time", uri, uri]);
    say(&mut control, good(&check, "alice", None));
    expect(&mut world, client, &[]);
    assert_eq!(world.count("tokens_unchecked_total"), 1);
}

#[test]
fn expiry_and_revocation_hold_as_for_other_connections() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let (short, check) = shown(&mut world, &mut control);
    say(&mut control, good(&check, "alice", Some(1_000)));
    let (long, check) = shown(&mut world, &mut control);
    say(&mut control, good(&check, "alice", None));
    expect(&mut world, short, &["[2,"]);
    expect(&mut world, long, &["[2,"]);
    // There is no message for another token: it ends at once.
    world.run(4_000);
    expect(
        &mut world,
        short,
        &["[6,", "The token has expired.", "roost.close.expired"],
    );
    let (waiting, check) = shown(&mut world, &mut control);
    let request = Request::Revoke(Box::new(Revocation {
        revoked: Revoked::User {
            user: "alice".into(),
            issued_before: 1,
        },
        ends_in_ms: 10_000,
    }));
    control.ask(0, request).expect("the ring has room");
    world.run(50);
    control.next_message().expect("an answer");
    expect(&mut world, long, &["[6,", "roost.close.revoked"]);
    // One that is checked meanwhile is refused, and so is the next.
    say(&mut control, good(&check, "alice", None));
    expect(&mut world, waiting, &["wamp.error.authentication_denied"]);
    let (late, check) = shown(&mut world, &mut control);
    say(&mut control, good(&check, "alice", None));
    expect(&mut world, late, &["wamp.error.authentication_denied"]);
}

#[test]
fn who_logs_in_is_that_user_whatever_the_handshakes_token_says() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let client = open(&mut world, "wamp.2.json", Some(&mut control));
    let hello = HELLO.replace("alice", "bob");
    send(&mut world, client, Opcode::Text, hello.as_bytes());
    expect(&mut world, client, &["[4,"]);
    send(&mut world, client, Opcode::Text, br#"[5,"t",{}]"#);
    let check = asked(&mut control).pop().expect("it is checked");
    say(&mut control, good(&check, "bob", None));
    expect(&mut world, client, &["[2,", r#""authid":"bob""#]);
    assert_eq!(world.phase(client), Some(Phase::Open));
}

#[test]
fn a_ticket_that_is_too_long_is_refused_and_kept_nowhere() {
    let mut world = world(|auth| auth.token_bytes_max = 100);
    let mut control = world.control();
    for (bytes, is_asked) in [(100, true), (101, false), (60_000, false)] {
        let client = open(&mut world, "wamp.2.json", None);
        send(&mut world, client, Opcode::Text, HELLO.as_bytes());
        expect(&mut world, client, &[r#"[4,"ticket",{}]"#]);
        let ticket = format!(r#"[5,"{}",{{}}]"#, "t".repeat(bytes));
        send(&mut world, client, Opcode::Text, ticket.as_bytes());
        assert_eq!(asked(&mut control).len(), usize::from(is_asked), "{bytes}");
        match is_asked {
            true => expect(&mut world, client, &[]),
            false => expect(&mut world, client, &["[3,", "authentication_denied"]),
        }
    }
    assert_eq!(world.count("tokens_refused_total"), 2);
}

#[test]
fn a_goodbye_names_the_certificate_that_has_ended() {
    let mut world = world(|_| {});
    let client = open(&mut world, "wamp.2.json", None);
    let now = world.tick();
    let identity = Identity {
        user: "probe".into(),
        permissions: Arc::new(PermissionSet::of_token(Vec::new())),
        expires: NonZeroU32::new(now + 20),
        method: Method::Certificate,
        provider: Provider::Static,
        token: TokenMark::default(),
    };
    world.identify(client, identity);
    let hello = br#"[1,"realm1",{"roles":{"subscriber":{}}}]"#;
    send(&mut world, client, Opcode::Text, hello);
    expect(&mut world, client, &["[2,"]);
    world.run(5_000);
    let parts = ["[6,", "The certificate has expired.", "roost.close.expired"];
    expect(&mut world, client, &parts);
}
