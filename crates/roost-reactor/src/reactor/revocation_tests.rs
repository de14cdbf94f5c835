//! Tokens that are revoked while connections that came by them are there, or on their way, and users
//! whose connections are closed.

use std::sync::Arc;

use roost_access::{PermissionSet, Provider, Revoked, TokenMark};
use roost_wire::CloseCode;

use super::http_world::{Client, World};
use crate::connections::Phase;
use crate::control::CloseReason;
use crate::settings::Auth;
use crate::{
    Answer, ControlPeer, DisconnectUser, FromReactor, Login, Part, Refusal, Request, Revocation,
    SWEEPS_MAX, Settings, TokenCheck, Verdict,
};

fn world() -> (World, ControlPeer) {
    let mut settings = Settings::for_tests();
    settings.auth = Auth {
        is_on: true,
        wait_ms: 60_000, // connecting hundreds takes a while
        revocations_max: 2,
        checks_max: 1_000,
        ..Auth::default()
    };
    let world = World::new(settings);
    let control = world.control();
    (world, control)
}

fn request(token: &str) -> Vec<u8> {
    let head = format!(
        "GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    head.into_bytes()
}

/// Connections that show `user.id.issued_at`, and their checks.
fn connect(
    world: &mut World,
    control: &mut ControlPeer,
    tokens: &[&str],
) -> Vec<(Client, TokenCheck)> {
    let connect = |token: &&str| {
        let client = world.connect();
        world.send(client, request(token));
        let check = match control.next_message() {
            Some(FromReactor::TokenChecks(0, mut checks)) => checks.pop(),
            other => panic!("{other:?}"),
        };
        (client, check.expect("one"))
    };
    tokens.iter().map(connect).collect()
}

/// The verdict on a check whose token is good.
fn good(check: &TokenCheck) -> Verdict {
    let token = std::str::from_utf8(check.token.expose()).expect("a text");
    let mut parts = token.split('.');
    let user = parts.next().expect("a user");
    let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
    let id = number().expect("an id");
    let login = Login {
        user: user.into(),
        permissions: Arc::new(PermissionSet::of_token(Vec::new())),
        expires_in_ms: None,
        provider: Provider::Jwt,
        token: TokenMark {
            id: u64::from(id).to_le_bytes(),
            issued_at: number().expect("a time"),
        },
    };
    Verdict {
        key: check.key,
        outcome: Ok(login),
    }
}

fn let_in(world: &mut World, control: &mut ControlPeer, check: &TokenCheck) {
    let verdicts = vec![good(check)];
    control
        .send_verdicts(0, verdicts)
        .expect("the ring has room");
    world.run(50);
}

fn answer(world: &mut World, control: &mut ControlPeer) -> Part {
    for _ in 0..100 {
        match control.next_message() {
            Some(FromReactor::Answer(Answer { part, .. })) => return part,
            Some(other) => panic!("{other:?}"),
            None => world.run(10),
        }
    }
    panic!("no answer")
}

fn ask(world: &mut World, control: &mut ControlPeer, request: Request) -> Part {
    control.ask(0, request).expect("the ring has room");
    answer(world, control)
}

fn of_token(id: u64, ends_in_ms: u64) -> Request {
    let revoked = Revoked::Token(id.to_le_bytes());
    Request::Revoke(Box::new(Revocation {
        revoked,
        ends_in_ms,
    }))
}

fn of_user(user: &str, issued_before: u32) -> Request {
    let revoked = Revoked::User {
        user: user.into(),
        issued_before,
    };
    Request::Revoke(Box::new(Revocation {
        revoked,
        ends_in_ms: 10_000,
    }))
}

fn disconnect(user: &str, except: &[roost_net::ConnKey]) -> Request {
    Request::DisconnectUser(Box::new(DisconnectUser {
        user: user.into(),
        except: except.into(),
        code: CloseCode::new(4001).expect("a code"),
        reason: CloseReason::new("elsewhere").expect("a reason"),
    }))
}

fn closed(part: &Part) -> u32 {
    match part {
        Part::Done { connections } => *connections,
        other => panic!("{other:?}"),
    }
}

/// Each is told what is not taken any more: it may have another.
#[test]
fn a_certificate_is_revoked_as_what_it_is() {
    let (mut world, mut control) = world();
    let (client, check) = connect(&mut world, &mut control, &["a.1.50"]).remove(0);
    let_in(&mut world, &mut control, &check);
    world.take(client);
    world.show_certificate(client);
    let part = ask(&mut world, &mut control, of_user("a", 70));
    assert_eq!(closed(&part), 1);
    assert_eq!(world.take(client)[4..], *b"the certificate is revoked");
}

#[test]
fn a_token_is_not_taken_and_its_connections_end() {
    let (mut world, mut control) = world();
    let tokens = ["a.1.50", "a.2.50", "b.1.50", "a.3.70"];
    let clients = connect(&mut world, &mut control, &tokens);
    for (client, check) in &clients {
        let_in(&mut world, &mut control, check);
        assert_eq!(world.phase(*client), Some(Phase::Open));
        world.take(*client);
    }
    let part = ask(&mut world, &mut control, of_token(1, 2_000));
    assert_eq!(closed(&part), 2, "of both users");
    let part = ask(&mut world, &mut control, of_user("a", 70));
    assert_eq!(closed(&part), 1, "the one issued later stays");
    let phases = clients.iter().map(|(client, _)| world.phase(*client));
    let phases: Vec<_> = phases.collect();
    let (open, ends) = (Some(Phase::Open), Some(Phase::Closing));
    assert_eq!(phases, [ends, ends, ends, open]);
    let said = world.take(clients[0].0);
    assert_eq!(said[2..4], 4401_u16.to_be_bytes());
    assert_eq!(said[4..], *b"the token is revoked");
    assert_eq!(world.count("connections_revoked_total"), 3);
    assert_eq!(world.count("revocations"), 2);
    // Checked before, or after: it is the reactor that decides, so that no verdict on its way is late.
    let (late, check) = connect(&mut world, &mut control, &["b.1.50"]).remove(0);
    let_in(&mut world, &mut control, &check);
    let said = String::from_utf8_lossy(&world.take(late)).into_owned();
    assert!(
        said.starts_with("HTTP/1.1 401 ") && said.contains("invalid_token"),
        "{said}"
    );
    assert_eq!(world.count("tokens_accepted_total"), 4);
    // There is room for no third, until the first ends.
    let part = ask(&mut world, &mut control, of_user("b", 70));
    assert!(
        matches!(part, Part::Refused(Refusal::RevocationsFull)),
        "{part:?}"
    );
    world.run(2_000);
    let (again, check) = connect(&mut world, &mut control, &["b.1.50"]).remove(0);
    let_in(&mut world, &mut control, &check);
    assert_eq!(world.phase(again), open);
    let part = ask(&mut world, &mut control, of_user("b", 70));
    assert_eq!(closed(&part), 1);
}

#[test]
fn a_users_connections_are_closed_but_those_that_stay() {
    let (mut world, mut control) = world();
    let tokens: Vec<String> = (0..600).map(|n| format!("u{}.1.50", n % 2)).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let clients = connect(&mut world, &mut control, &tokens);
    let verdicts = clients.iter().map(|(_, check)| good(check)).collect();
    control
        .send_verdicts(0, verdicts)
        .expect("the ring has room");
    world.run(50);
    let stays = clients[1].1.key;
    let part = ask(&mut world, &mut control, disconnect("u1", &[stays]));
    assert_eq!(closed(&part), 299, "more than are closed in one iteration");
    for (at, (client, check)) in clients.iter().enumerate() {
        let ends = at % 2 == 1 && check.key != stays;
        let phase = world.phase(*client);
        assert_eq!(phase == Some(Phase::Open), !ends, "{at}: {phase:?}");
    }
    assert_eq!(world.count("connections_disconnected_total"), 299);
    let part = ask(&mut world, &mut control, disconnect("u", &[]));
    assert_eq!(closed(&part), 0);
    // It is no revocation: the user comes back.
    let (again, check) = connect(&mut world, &mut control, &["u1.1.50"]).remove(0);
    let_in(&mut world, &mut control, &check);
    assert_eq!(world.phase(again), Some(Phase::Open));
}

#[test]
fn requests_that_come_together_are_one_pass_and_bounded() {
    let (mut world, mut control) = world();
    let clients = connect(&mut world, &mut control, &["a.1.50", "b.2.50"]);
    for (_, check) in &clients {
        let_in(&mut world, &mut control, check);
    }
    let mut outcomes = Vec::new();
    // The ring holds 32 batches, and one is handled in an iteration: several times as many wait.
    for round in 0..4 {
        for _ in 0..30 {
            let user = if round == 0 { "a" } else { "b" };
            control.ask(0, disconnect(user, &[])).expect("room");
        }
        for _ in 0..30 {
            outcomes.push(closed(&answer(&mut world, &mut control)));
        }
    }
    assert_eq!(outcomes.iter().sum::<u32>(), 2, "each was closed once");
    const { assert!(SWEEPS_MAX >= 64) };
}
