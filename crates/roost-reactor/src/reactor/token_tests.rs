//! Handshakes with a token, and a control thread that answers, answers late, or never.

use std::sync::Arc;

use roost_access::{PermissionSet, Provider, TokenMark};

use super::http_world::{Client, World};
use crate::connections::Phase;
use crate::settings::Auth;
use crate::{
    ControlPeer, Denied, FromReactor, Login, RevokedAtStart, Settings, TokenCheck, Verdict,
};

const WAIT_MS: u32 = 1_000;

pub(super) fn world(change: impl FnOnce(&mut Auth)) -> World {
    let mut settings = Settings::for_tests();
    settings.auth = Auth {
        is_on: true,
        is_required: true,
        wamp_logs_in: false,
        cookie: String::new(),
        wait_ms: WAIT_MS,
        revocations_max: 100,
        revoked: RevokedAtStart::default(),
        connections_per_user_max: 0,
        token_bytes_max: 1_000,
        checks_max: 100,
    };
    change(&mut settings.auth);
    World::new(settings)
}

fn request(path: &str, token: &str) -> Vec<u8> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    head.into_bytes()
}

pub(super) fn connect(world: &mut World, token: &str) -> Client {
    let client = world.connect();
    world.send(client, request("/echo", token));
    client
}

/// What reactors have asked until now.
fn asked(control: &mut ControlPeer) -> Vec<TokenCheck> {
    let mut all = Vec::new();
    while let Some(message) = control.next_message() {
        match message {
            FromReactor::TokenChecks(0, checks) => all.extend(checks),
            other => panic!("{other:?}"),
        }
    }
    all
}

fn good(check: &TokenCheck, expires_in_ms: Option<u64>) -> Verdict {
    let login = Login {
        user: "alice".into(),
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

fn say(control: &mut ControlPeer, verdict: Verdict) {
    control
        .send_verdicts(0, vec![verdict])
        .expect("the ring has room");
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_handshake_waits_for_its_tokens_check() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let client = connect(&mut world, "good");
    world.run(300);
    assert_eq!(world.phase(client), Some(Phase::Joining));
    assert_eq!(text(world.take(client)), "");
    let checks = asked(&mut control);
    let [check] = checks.as_slice() else {
        panic!("{checks:?}");
    };
    assert_eq!(check.token.expose(), b"good");
    assert_eq!(world.count("token_checks_in_flight"), 1);
    say(&mut control, good(check, None));
    world.run(50);
    assert_eq!(world.phase(client), Some(Phase::Open));
    assert!(text(world.take(client)).starts_with("HTTP/1.1 101 "));
    // A second verdict is for nothing.
    say(&mut control, good(check, None));
    say(
        &mut control,
        Verdict {
            key: check.key,
            outcome: Err(Denied::Refused("no".into())),
        },
    );
    world.run(50);
    assert_eq!(world.phase(client), Some(Phase::Open));
    assert_eq!(world.count("tokens_accepted_total"), 1);
    assert_eq!(world.count("tokens_refused_total"), 0);
}

#[test]
fn a_refused_token_is_told_why() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let client = connect(&mut world, "bad");
    let checks = asked(&mut control);
    let outcome = Err(Denied::Refused("The token has expired.".into()));
    let key = checks[0].key;
    say(&mut control, Verdict { key, outcome });
    world.run(50);
    let said = text(world.take(client));
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    assert!(
        said.contains("error_description=\"The token has expired.\""),
        "{said}"
    );
    assert!(said.ends_with("\r\n\r\nThe token has expired.\n"), "{said}");
    assert!(world.has_fin(client));
}

/// The control thread has ended, or was never there: who is connected notices nothing.
#[test]
fn without_an_answer_a_handshake_ends_and_others_go_on() {
    for is_there in [false, true] {
        let mut world = world(|auth| {
            auth.is_required = false;
            auth.wait_ms = 5 * WAIT_MS;
        });
        let control = is_there.then(|| world.control());
        let before = world.connect();
        world.send(before, super::core_tests::request("/echo"));
        assert!(text(world.take(before)).starts_with("HTTP/1.1 101 "));
        let clients: Vec<Client> = (0..60)
            .map(|n| connect(&mut world, &n.to_string()))
            .collect();
        world.run(200); // for the gauge
        assert_eq!(world.count("token_checks_in_flight"), 60);
        world.send(
            before,
            [0x81, 0x85, 0, 0, 0, 0, b'h', b'e', b'l', b'l', b'o'],
        );
        assert_eq!(world.take(before), b"\x81\x05hello");
        world.run(u64::from(5 * WAIT_MS) + 1_000);
        for client in clients {
            let said = text(world.take(client));
            assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
            assert!(said.contains("Retry-After: 1\r\n"), "{said}");
        }
        assert_eq!(world.count("tokens_unchecked_total"), 60);
        assert_eq!(world.count("token_checks_in_flight"), 0);
        assert_eq!(world.phase(before), Some(Phase::Open));
        drop(control);
    }
}

/// A ring holds 32 messages; what it has no room for waits in the reactor, and is asked once.
#[test]
fn a_control_thread_that_hangs_for_a_while_is_asked_about_each_token_once() {
    let mut world = world(|auth| auth.wait_ms = 60_000);
    let mut control = world.control();
    let clients: Vec<Client> = (0..90)
        .map(|n| connect(&mut world, &n.to_string()))
        .collect();
    let mut tokens = Vec::new();
    for _ in 0..10 {
        for check in asked(&mut control) {
            tokens.push(check.token.expose().to_vec());
            say_when_there_is_room(&mut world, &mut control, good(&check, None));
        }
        world.run(20);
    }
    tokens.sort();
    let mut expected: Vec<Vec<u8>> = (0..90).map(|n: u32| n.to_string().into_bytes()).collect();
    expected.sort();
    assert_eq!(tokens, expected);
    for client in clients {
        assert!(text(world.take(client)).starts_with("HTTP/1.1 101 "));
    }
}

fn say_when_there_is_room(world: &mut World, control: &mut ControlPeer, verdict: Verdict) {
    let mut verdicts = vec![verdict];
    while let Err(back) = control.send_verdicts(0, verdicts) {
        verdicts = back;
        world.run(5);
    }
}

#[test]
fn only_so_many_handshakes_wait() {
    let mut world = world(|auth| auth.checks_max = 3);
    let mut control = world.control();
    let clients: Vec<Client> = (0..5).map(|_| connect(&mut world, "t")).collect();
    let said: Vec<String> = clients
        .iter()
        .map(|client| text(world.take(*client)))
        .collect();
    assert_eq!(said[..3], [""; 3]);
    for said in &said[3..] {
        assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
        assert!(said.contains("Too many clients log in at once"), "{said}");
    }
    // A client that goes makes room, and its verdict is for nothing.
    let checks = asked(&mut control);
    assert_eq!(checks.len(), 3);
    world.abort(clients[0]);
    say(&mut control, good(&checks[0], None));
    let next = connect(&mut world, "t");
    assert_eq!(text(world.take(next)), "");
    assert_eq!(world.count("tokens_accepted_total"), 0);
}

#[test]
fn without_a_token_a_client_is_refused_where_one_is_required() {
    for (is_required, wamp_logs_in, path, status) in [
        (true, false, "/echo", "401"),
        (true, true, "/echo", "401"),
        (true, false, "/wamp", "401"),
        (true, true, "/wamp", "101"),
        (false, false, "/echo", "101"),
        (false, false, "/wamp", "101"),
    ] {
        let mut world = world(|auth| {
            (auth.is_required, auth.wamp_logs_in) = (is_required, wamp_logs_in);
        });
        let client = world.connect();
        let mut asked = super::core_tests::request(path);
        if path == "/wamp" {
            asked.truncate(asked.len() - 2); // the end of the head
            asked.extend(b"Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n");
        }
        world.send(client, asked);
        let said = text(world.take(client));
        let expected = format!("HTTP/1.1 {status} ");
        assert!(said.starts_with(&expected), "{path}: {said}");
    }
}

#[test]
fn a_connection_ends_when_its_identity_expires_and_no_other_does() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let clients: Vec<Client> = (0..4).map(|_| connect(&mut world, "t")).collect();
    let checks = asked(&mut control);
    for (check, expires) in checks
        .iter()
        .zip([Some(2_000), None, Some(60_000), Some(2_000)])
    {
        say(&mut control, good(check, expires));
    }
    world.run(1_000);
    for client in &clients {
        assert_eq!(world.phase(*client), Some(Phase::Open));
        world.take(*client);
    }
    world.run(3_000);
    for at in [0, 3] {
        let said = world.take(clients[at]);
        assert_eq!(&said[..4], [0x88, 23, 0x11, 0x31], "4401: {said:?}");
        assert_eq!(&said[4..], b"the token has expired");
    }
    for at in [1, 2] {
        assert_eq!(world.phase(clients[at]), Some(Phase::Open));
        assert_eq!(world.take(clients[at]), b"");
    }
    assert_eq!(world.count("identities_expired_total"), 2);
}

/// The server goes down while a token is checked.
#[test]
fn a_drain_ends_handshakes_that_wait() {
    let mut world = world(|_| {});
    let mut control = world.control();
    let client = connect(&mut world, "t");
    let checks = asked(&mut control);
    world.begin_drain();
    world.run(200);
    assert!(text(world.take(client)).starts_with("HTTP/1.1 503 "));
    say(&mut control, good(&checks[0], None));
    world.run(200);
    assert_eq!(text(world.take(client)), "");
}

#[test]
fn a_token_that_is_too_long_is_refused_before_it_is_checked() {
    let mut world = world(|auth| auth.token_bytes_max = 10);
    let mut control = world.control();
    let refused = connect(&mut world, "12345678901");
    assert!(asked(&mut control).is_empty());
    let said = text(world.take(refused));
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    assert!(said.contains("larger than auth.token_bytes_max"), "{said}");
    connect(&mut world, "1234567890");
    assert_eq!(asked(&mut control).len(), 1);
}
