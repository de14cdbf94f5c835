//! Tokens in messages of open connections, and a control thread that answers, late or never.

use std::sync::Arc;

use roost_access::{PermissionSet, Provider, Revoked, TokenMark};
use roost_wire::Opcode;
use roost_wire::frame::append_masked_frame;

use super::http_world::{Client, World};
use crate::connections::Phase;
use crate::settings::Auth;
use crate::{
    ControlPeer, Denied, FromReactor, Login, Part, Request, Revocation, RevokedAtStart, Settings,
    TokenCheck, Verdict,
};

pub(super) const WAIT_MS: u32 = 1_000;

fn world(change: impl FnOnce(&mut Auth)) -> World {
    let mut settings = settings();
    change(&mut settings.auth);
    World::new(settings)
}

pub(super) fn settings() -> Settings {
    let mut settings = Settings::for_tests();
    settings.auth = Auth {
        is_on: true,
        is_required: true,
        wamp_logs_in: false,
        cookie: String::new(),
        wait_ms: WAIT_MS,
        checks_max: 100,
        revocations_max: 10,
        revoked: RevokedAtStart::default(),
        connections_per_user_max: 0,
        token_bytes_max: 1_000,
    };
    settings
}

/// A client whose WebSocket is open, with what the handshake's token has made it, if there is one.
fn open(world: &mut World, handshake: Option<&mut ControlPeer>) -> Client {
    let client = world.connect();
    let token = match &handshake {
        Some(_) => "Authorization: Bearer x\r\n",
        None => "",
    };
    let head = format!(
        "GET /connection/websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{token}\
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

fn send(world: &mut World, client: Client, lines: &str) {
    let mut frame = Vec::new();
    append_masked_frame(&mut frame, Opcode::Text, lines.as_bytes(), [1, 2, 3, 4]);
    world.send(client, frame);
    world.run(50);
}

pub(super) fn asked(control: &mut ControlPeer) -> Vec<TokenCheck> {
    let mut all = Vec::new();
    while let Some(message) = control.next_message() {
        match message {
            FromReactor::TokenChecks(0, checks) => all.extend(checks),
            other => panic!("{other:?}"),
        }
    }
    all
}

pub(super) fn good(check: &TokenCheck, user: &str, expires_in_ms: Option<u64>) -> Verdict {
    let login = Login {
        user: user.into(),
        permissions: Arc::new(PermissionSet::of_token(Vec::new())),
        expires_in_ms,
        provider: Provider::Jwt,
        token: TokenMark::default(),
    };
    Verdict {
        key: check.key,
        outcome: Ok(login),
    }
}

pub(super) fn say(control: &mut ControlPeer, verdict: Verdict) {
    let sent = control.send_verdicts(0, vec![verdict]);
    sent.expect("the ring has room");
}

pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a client has been sent has these parts, in this order.
pub(super) fn expect(world: &mut World, client: Client, parts: &[&str]) {
    world.run(50);
    let text = text(world.take(client));
    let mut rest = text.as_str();
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else {
            panic!("{part} is missing: {text}");
        };
        rest = behind;
    }
    if parts.is_empty() {
        assert_eq!(text, "");
    }
}

const CONNECT: &str = r#"{"id":1,"connect":{"token":"t"}}"#;

#[test]
fn what_stands_behind_a_token_waits_for_its_check() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let client = open(&mut world, None);
    let behind = r#"{"id":2,"subscribe":{"channel":"c"}}"#;
    send(&mut world, client, &format!("{CONNECT}\n{behind}"));
    send(
        &mut world,
        client,
        r#"{"id":3,"publish":{"channel":"c","data":1}}"#,
    );
    send(&mut world, client, r#"{"id":4,"rpc":{}}"#);
    expect(&mut world, client, &[]);
    let checks = asked(&mut control);
    let [check] = checks.as_slice() else {
        panic!("one check: {checks:?}");
    };
    assert_eq!(check.token.expose(), b"t");
    assert_eq!(world.count("token_checks_in_flight"), 1);
    say(&mut control, good(check, "alice", None));
    let parts = [
        r#"{"id":1,"connect":{"#,
        r#"{"id":2,"subscribe":{}}"#,
        r#""user":"alice""#,
        r#"{"id":3,"publish":{}}"#,
        r#"{"id":4,"error":"#,
    ];
    expect(&mut world, client, &parts);
    // A second verdict is for nothing.
    say(&mut control, good(check, "bob", None));
    send(
        &mut world,
        client,
        r#"{"id":5,"publish":{"channel":"c","data":1}}"#,
    );
    expect(&mut world, client, &[r#""user":"alice""#, r#"{"id":5,"#]);
    assert_eq!(world.count("tokens_accepted_total"), 1);
    world.run(300);
    assert_eq!(world.count("token_checks_in_flight"), 0);
}

#[test]
fn refusals_are_told_in_the_dialects_words() {
    for (denied, expected, phase) in [
        (
            Denied::Refused("no".into()),
            "invalid token",
            Phase::Closing,
        ),
        (Denied::Expired("no".into()), r#""code":109"#, Phase::Open),
        (
            Denied::Unavailable("no".into()),
            r#""code":100"#,
            Phase::Open,
        ),
    ] {
        let mut world = world(|_| {});
        let mut control = world.control();
        let client = open(&mut world, None);
        send(&mut world, client, CONNECT);
        let key = asked(&mut control)[0].key;
        let outcome = Err(denied);
        say(&mut control, Verdict { key, outcome });
        expect(&mut world, client, &[expected]);
        assert_eq!(world.phase(client), Some(phase), "{expected}");
    }
    let mut world = world(|auth| auth.checks_max = 1);
    let (first, second) = (open(&mut world, None), open(&mut world, None));
    send(&mut world, first, CONNECT);
    send(&mut world, second, CONNECT);
    expect(&mut world, first, &[]);
    expect(
        &mut world,
        second,
        &[r#""code":100"#, r#""temporary":true"#],
    );
    send(&mut world, second, r#"{"id":2,"connect":{}}"#);
    expect(&mut world, second, &[r#""code":101"#]);
}

#[test]
fn a_check_that_takes_too_long_closes() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let client = open(&mut world, None);
    send(&mut world, client, CONNECT);
    let check = asked(&mut control).pop().expect("it is checked");
    world.run(u64::from(WAIT_MS) + 500);
    expect(&mut world, client, &["internal server error"]);
    assert_eq!(world.phase(client), Some(Phase::Closing));
    say(&mut control, good(&check, "alice", None));
    world.run(50);
    assert_eq!(world.phase(client), Some(Phase::Closing));
    assert_eq!(world.count("tokens_unchecked_total"), 1);
}

#[test]
fn a_verdict_is_for_the_connection_that_asked_and_no_later_one() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let client = open(&mut world, None);
    send(&mut world, client, CONNECT);
    let check = asked(&mut control).pop().expect("it is checked");
    world.abort(client);
    world.run(100);
    let other = open(&mut world, None);
    send(&mut world, other, r#"{"id":7,"connect":{"token":"other"}}"#);
    let own = asked(&mut control).pop().expect("it is checked");
    assert_eq!(
        own.key.slot(),
        check.key.slot(),
        "in the place of the first"
    );
    say(&mut control, good(&check, "alice", None));
    expect(&mut world, other, &[]);
    say(&mut control, good(&own, "bob", None));
    expect(&mut world, other, &[r#"{"id":7,"connect":{"#]);
}

#[test]
fn the_handshakes_token_counts_and_another_users_does_not() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let client = open(&mut world, Some(&mut control));
    send(&mut world, client, r#"{"id":1,"connect":{}}"#);
    expect(&mut world, client, &[r#"{"id":1,"connect":{"#]);
    let client = open(&mut world, Some(&mut control));
    send(&mut world, client, CONNECT);
    let check = asked(&mut control).pop().expect("it is checked");
    say(&mut control, good(&check, "bob", None));
    expect(&mut world, client, &["invalid token"]);
    assert_eq!(world.phase(client), Some(Phase::Closing));
}

#[test]
fn a_connection_ends_25_s_behind_its_token_unless_that_is_refreshed() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let clients = [open(&mut world, None), open(&mut world, None)];
    for client in clients {
        send(&mut world, client, CONNECT);
        let check = asked(&mut control).pop().expect("it is checked");
        say(&mut control, good(&check, "alice", Some(2_500)));
        expect(&mut world, client, &[r#""expires":true,"ttl":2"#]);
    }
    world.run(20_000);
    send(
        &mut world,
        clients[1],
        "{}\n{\"id\":2,\"refresh\":{\"token\":\"next\"}}",
    );
    let check = asked(&mut control).pop().expect("it is checked");
    say(&mut control, good(&check, "alice", Some(60_000)));
    expect(
        &mut world,
        clients[1],
        &[r#"{"id":2,"refresh":{"#, r#""ttl":60"#],
    );
    send(&mut world, clients[0], "{}");
    world.run(9_000);
    expect(&mut world, clients[0], &["connection expired"]);
    assert_eq!(world.phase(clients[1]), Some(Phase::Open));
}

/// Clients that show a token each in `connect`; both are good tokens of alice's.
fn two_of_alice(world: &mut World, control: &mut ControlPeer) -> [(Client, TokenCheck); 2] {
    [(); 2].map(|()| {
        let client = open(world, None);
        send(world, client, CONNECT);
        (client, asked(control).pop().expect("one check"))
    })
}

#[test]
fn a_token_that_is_revoked_while_it_is_checked_lets_nobody_in() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let [(before, first), (after, second)] = two_of_alice(&mut world, &mut control);
    say(&mut control, good(&first, "alice", None));
    expect(&mut world, before, &[r#"{"id":1,"connect":{"#]);
    let revoked = Revoked::User {
        user: "alice".into(),
        issued_before: 1,
    };
    let request = Request::Revoke(Box::new(Revocation {
        revoked,
        ends_in_ms: 10_000,
    }));
    control.ask(0, request).expect("the ring has room");
    world.run(50);
    match control.next_message() {
        Some(FromReactor::Answer(answer)) => {
            assert!(matches!(answer.part, Part::Done { connections: 1 }));
        }
        other => panic!("{other:?}"),
    }
    say(&mut control, good(&second, "alice", None));
    for client in [before, after] {
        expect(&mut world, client, &["invalid token"]);
        assert_ne!(world.phase(client), Some(Phase::Open));
    }
    assert_eq!(world.count("connections_revoked_total"), 1);
    assert_eq!(world.count("tokens_refused_total"), 1);
}

#[test]
fn one_connection_more_than_a_user_may_have_is_told_so() {
    let mut world = world(|auth| auth.connections_per_user_max = 1);
    let mut control = world.control();
    let [(first, check), (second, other)] = two_of_alice(&mut world, &mut control);
    say(&mut control, good(&check, "alice", None));
    say(&mut control, good(&other, "alice", None));
    expect(&mut world, first, &[r#"{"id":1,"connect":{"#]);
    expect(&mut world, second, &["connection limit"]);
    // The first may refresh: it is there already.
    send(&mut world, first, r#"{"id":2,"refresh":{"token":"t"}}"#);
    let check = asked(&mut control).pop().expect("one check");
    say(&mut control, good(&check, "alice", Some(60_000)));
    expect(
        &mut world,
        first,
        &[r#"{"id":2,"refresh":{"#, r#""ttl":60"#],
    );
}
