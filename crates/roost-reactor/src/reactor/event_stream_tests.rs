//! Event streams that are ended, each as an HTTP response ends, and those that wait for an answer.

use std::sync::Arc;

use roost_access::{PermissionSet, Provider, Revoked, TokenMark};
use roost_dialect::PayloadRef;
use roost_net::ConnKey;
use roost_wire::CloseCode;

use super::http_world::{Client, World};
use crate::connections::Phase;
use crate::settings::{Auth, policy_for_tests};
use crate::{
    Access, Answer, ChannelPolicy, CloseReason, ControlPeer, ControlPublication, Describe,
    Disconnect, DisconnectUser, FromReactor, HookAnswer, HookAsked, HookOutcome, Hooks, Login,
    Part, Refresh, Request, Revocation, Settings, Unsubscribe, Verdict, Whose,
};

fn world(change: impl FnOnce(&mut Settings)) -> (World, ControlPeer) {
    let mut settings = Settings::for_tests();
    settings.auth = Auth {
        is_on: true,
        revocations_max: 10,
        checks_max: 100,
        wait_ms: 5_000,
        ..Auth::default()
    };
    settings.hooks = Hooks {
        wait_ms: 5_000,
        ..Hooks::default()
    };
    let kept = ChannelPolicy {
        history_messages_max: 5,
        ..policy_for_tests()
    };
    let asked = ChannelPolicy {
        subscribe: Access::Hook,
        ..kept.clone()
    };
    settings.channels.namespaces = vec![("kept".to_owned(), kept), ("asked".to_owned(), asked)];
    change(&mut settings);
    let world = World::new(settings);
    let control = world.control();
    (world, control)
}

fn request(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n").into_bytes()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Says that the token which a handshake waits for is `alice`'s.
fn let_in(world: &mut World, control: &mut ControlPeer, expires_in_ms: Option<u64>) {
    let check = match control.next_message() {
        Some(FromReactor::TokenChecks(0, mut checks)) => checks.pop().expect("one"),
        other => panic!("{other:?}"),
    };
    let login = Login {
        user: "alice".into(),
        permissions: Arc::new(PermissionSet::of_token(Vec::new())),
        expires_in_ms,
        provider: Provider::Jwt,
        token: TokenMark {
            id: 7_u64.to_le_bytes(),
            issued_at: 50,
        },
    };
    let verdict = Verdict {
        key: check.key,
        outcome: Ok(login),
    };
    control
        .send_verdicts(0, vec![verdict])
        .expect("the ring has room");
    world.run(50);
}

/// A stream of `alice`'s; returns the id at which it begins.
fn stream(world: &mut World, control: &mut ControlPeer, expires: Option<u64>) -> (Client, String) {
    let client = world.connect();
    world.send(
        client,
        request("/sse/kept:1", "Authorization: Bearer a.b.c\r\n"),
    );
    let_in(world, control, expires);
    let id = begin(&text(world.take(client)));
    (client, id)
}

/// Checks a stream's beginning; returns its id.
fn begin(said: &str) -> String {
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    let (_, body) = said.split_once("\r\n\r\n").expect("a head");
    assert!(body.starts_with("retry: "), "{said}");
    let id = body.lines().find_map(|line| line.strip_prefix("id: "));
    id.expect("an id").to_owned()
}

fn ask(world: &mut World, control: &mut ControlPeer, request: Request) -> Part {
    control.ask(0, request).expect("the ring has room");
    for _ in 0..100 {
        match control.next_message() {
            Some(FromReactor::Answer(Answer { part, .. })) => return part,
            Some(other) => panic!("{other:?}"),
            None => world.run(10),
        }
    }
    panic!("no answer")
}

fn done(part: &Part) -> u32 {
    match part {
        Part::Done { connections } => *connections,
        Part::Disconnected { was_open } => u32::from(*was_open),
        other => panic!("{other:?}"),
    }
}

/// The stream has ended as a response does, and nothing but this event stood before its end.
fn assert_closed(world: &mut World, client: Client, reason: &str) {
    world.run(100);
    let expected = format!("event: roost.closed\ndata: {{\"reason\":\"{reason}\"}}\n\n");
    assert_eq!(text(world.take(client)), expected);
    assert!(world.has_fin(client), "{reason}");
    world.send_fin(client);
    assert_eq!(world.count("event_streams_open"), 0);
    assert_eq!(world.count("subscriptions"), 0);
}

fn whose_user() -> Whose {
    Whose::User("alice".into())
}

fn code() -> CloseCode {
    CloseCode::new(4001).expect("a code")
}

fn reason() -> CloseReason {
    CloseReason::new("bye").expect("it is short")
}

#[test]
fn each_way_to_end_a_connection_ends_a_stream_as_a_response_ends() {
    type Ending = fn(ConnKey) -> Request;
    let endings: [(&str, Ending); 5] = [
        ("bye", |key| {
            Request::Disconnect(Box::new(Disconnect {
                key,
                user: "alice".into(),
                code: code(),
                reason: reason(),
            }))
        }),
        ("bye", |_| {
            Request::DisconnectUser(Box::new(DisconnectUser {
                user: "alice".into(),
                except: Box::default(),
                code: code(),
                reason: reason(),
            }))
        }),
        ("unsubscribed by the application", |_| {
            Request::Unsubscribe(Box::new(Unsubscribe {
                channel: "kept:1".into(),
                whose: whose_user(),
            }))
        }),
        ("the token is revoked", |_| {
            Request::Revoke(Box::new(Revocation {
                revoked: Revoked::Token(7_u64.to_le_bytes()),
                ends_in_ms: 1_000,
            }))
        }),
        ("the token is revoked", |_| {
            Request::Revoke(Box::new(Revocation {
                revoked: Revoked::User {
                    user: "alice".into(),
                    issued_before: 60,
                },
                ends_in_ms: 1_000,
            }))
        }),
    ];
    for (said, ending) in endings {
        let (mut world, mut control) = world(|_| {});
        let (client, _) = stream(&mut world, &mut control, None);
        let key = world.key(client);
        let part = ask(&mut world, &mut control, ending(key));
        assert_eq!(done(&part), 1, "{part:?}");
        assert_closed(&mut world, client, said);
    }
}

/// Its token was good when its head had come; it becomes no stream when the rest of it comes.
#[test]
fn a_revocation_ends_a_request_that_is_not_whole() {
    let (mut world, mut control) = world(|_| {});
    let client = world.connect();
    let headers = "Authorization: Bearer a.b.c\r\nContent-Length: 1\r\n";
    world.send(client, request("/sse/kept:1", headers));
    let_in(&mut world, &mut control, None);
    assert_eq!(text(world.take(client)), "");
    let revoke = Request::Revoke(Box::new(Revocation {
        revoked: Revoked::Token(7_u64.to_le_bytes()),
        ends_in_ms: 1_000,
    }));
    let part = ask(&mut world, &mut control, revoke);
    assert_eq!(done(&part), 1, "{part:?}");
    world.send(client, b"x");
    world.run(50);
    let said = text(world.take(client));
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    assert!(!said.contains("retry: "), "{said}");
}

/// A connection on which somebody was let in, for a path that a reload has taken away meanwhile, takes no
/// other request: it would be let in unasked.
#[test]
fn a_request_that_is_let_in_and_then_refused_is_the_last() {
    let (mut world, mut control) = world(|_| {});
    let client = world.connect();
    let mut both = request("/sse/kept:1", "Authorization: Bearer a.b.c\r\n");
    both.extend(request("/echo", ""));
    world.send(client, both);
    let sse = roost_dialect::sse::Settings::default();
    world.reload(|settings| settings.dialects.sse = Arc::new(sse));
    let_in(&mut world, &mut control, None);
    world.run(50);
    let said = text(world.take(client));
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    assert_eq!(said.matches("HTTP/1.1").count(), 1, "{said}");
}

/// Where certificates alone say who a client is, one without is refused, by whatever way it comes.
#[test]
fn what_is_required_is_required_without_tokens() {
    let (mut world, _control) = world(|settings| {
        settings.auth.is_on = false;
        settings.auth.is_required = true;
    });
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (path, headers) in [("/sse/kept:1", ""), ("/raw/kept:1", upgrade)] {
        let client = world.connect();
        world.send(client, request(path, headers));
        world.run(30);
        let said = text(world.take(client));
        assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    }
}

/// Where no tokens are configured, the application says who comes in, by an event stream too.
#[test]
fn the_application_is_asked_without_tokens() {
    let (mut world, mut control) = world(|settings| {
        settings.auth.is_on = false;
        settings.hooks.asks_connect = true;
    });
    let client = world.connect();
    world.send(client, request("/sse/kept:1", ""));
    let call = match control.next_message() {
        Some(FromReactor::HookCalls(0, mut calls)) => calls.pop().expect("one"),
        other => panic!("{other:?}"),
    };
    assert!(matches!(&call.asked, HookAsked::Connect { .. }));
    assert_eq!(text(world.take(client)), "", "nothing before the answer");
    let answer = HookAnswer {
        key: call.key,
        number: call.number,
        outcome: HookOutcome::Refused("It is not for you.".into()),
    };
    control
        .send_hook_answers(0, vec![answer])
        .expect("the ring has room");
    world.run(30);
    let said = text(world.take(client));
    assert!(said.starts_with("HTTP/1.1 403 "), "{said}");
}

#[test]
fn a_stream_ends_with_its_token_and_with_none_that_is_put_off() {
    let (mut world, mut control) = world(|_| {});
    let (client, _) = stream(&mut world, &mut control, Some(2_000));
    world.run(1_000);
    let refresh = Request::Refresh(Box::new(Refresh {
        whose: whose_user(),
        ends_in_ms: Some(5_000),
    }));
    assert_eq!(done(&ask(&mut world, &mut control, refresh)), 1);
    world.run(3_000);
    assert_eq!(text(world.take(client)), "");
    world.run(3_000);
    assert_closed(&mut world, client, "the token has expired");
    assert_eq!(world.count("identities_expired_total"), 1);
}

#[test]
fn another_channel_of_a_user_ends_no_stream() {
    let (mut world, mut control) = world(|_| {});
    let (client, _) = stream(&mut world, &mut control, None);
    let unsubscribe = Request::Unsubscribe(Box::new(Unsubscribe {
        channel: "kept:2".into(),
        whose: whose_user(),
    }));
    assert_eq!(done(&ask(&mut world, &mut control, unsubscribe)), 0);
    assert_eq!(world.phase(client), Some(Phase::Open));
}

#[test]
fn a_users_streams_count_as_its_connections() {
    let (mut world, mut control) = world(|settings| settings.auth.connections_per_user_max = 1);
    let (first, _) = stream(&mut world, &mut control, None);
    let second = world.connect();
    let asked = request("/sse/kept:1", "Authorization: Bearer a.b.c\r\n");
    world.send(second, &asked);
    let_in(&mut world, &mut control, None);
    let said = text(world.take(second));
    assert!(said.starts_with("HTTP/1.1 429 "), "{said}");
    assert!(world.has_fin(second), "it is final");
    // With the first its place is free.
    world.abort(first);
    let third = world.connect();
    world.send(third, &asked);
    let_in(&mut world, &mut control, None);
    begin(&text(world.take(third)));
}

#[test]
fn a_stream_is_described_without_a_ping() {
    let (mut world, mut control) = world(|_| {});
    let (client, _) = stream(&mut world, &mut control, None);
    let describe = Request::Describe(Box::new(Describe {
        key: world.key(client),
        channel: Some("kept:1".into()),
    }));
    let Part::Described(described) = ask(&mut world, &mut control, describe) else {
        panic!("another answer");
    };
    let details = described.details.expect("it is there");
    assert_eq!(details.record.phase, "open");
    assert_eq!(details.record.dialect, "sse");
    assert_eq!(&*details.record.user, "alice");
    assert_eq!(details.subscriptions, 1);
    assert_eq!(&*details.channels[0].name, "kept:1");
    assert!(details.asked.expect("asked").is_subscribed);
    assert!(!details.is_pinged && details.paused_for.is_none());
}

fn publish(world: &mut World, control: &mut ControlPeer, channel: &str, payload: &str) {
    let publication = ControlPublication {
        channel: channel.into(),
        payload: PayloadRef::Text(payload).freeze(),
        is_limited: false,
        repeat_key: None,
    };
    control
        .publish(0, vec![publication])
        .expect("the ring has room");
    world.run(30);
    let answer = control.next_message();
    assert!(matches!(answer, Some(FromReactor::Answer(_))), "{answer:?}");
}

/// The application is asked about a client that comes back, and then it gets what it has missed.
#[test]
fn a_hook_is_asked_before_what_was_missed_is_given() {
    let (mut world, mut control) = world(|settings| settings.auth.is_on = false);
    let mut id = String::new();
    for round in 0..2 {
        let client = world.connect();
        let header = match round {
            0 => String::new(),
            _ => format!("Last-Event-ID: {id}\r\n"),
        };
        world.send(client, request("/sse/asked:1", &header));
        let call = match control.next_message() {
            Some(FromReactor::HookCalls(0, mut calls)) => calls.pop().expect("one"),
            other => panic!("{other:?}"),
        };
        assert!(matches!(&call.asked, HookAsked::Subscribe { channel } if &**channel == "asked:1"));
        assert_eq!(text(world.take(client)), "", "nothing before the answer");
        let answer = HookAnswer {
            key: call.key,
            number: call.number,
            outcome: HookOutcome::Allowed(None),
        };
        control
            .send_hook_answers(0, vec![answer])
            .expect("the ring has room");
        world.run(30);
        let said = text(world.take(client));
        let at = begin(&said);
        if round == 0 {
            id = at;
            world.abort(client);
            publish(&mut world, &mut control, "asked:1", "missed");
        } else {
            assert_eq!(at, id, "it goes on where it was");
            assert!(said.ends_with("data: missed\n\n"), "{said}");
        }
    }
}

/// A browser takes any status but 200 as final; so that they do not come back all at once, each is told
/// another time.
#[test]
fn streams_that_cannot_be_served_come_back_at_different_times() {
    let (mut world, _) = world(|settings| {
        settings.auth.is_on = false;
        settings.limits.channels_max = 0;
    });
    let mut times = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let client = world.connect();
        world.send(client, request("/sse/other", ""));
        let said = text(world.take(client));
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        let retry = said.lines().find_map(|line| line.strip_prefix("retry: "));
        let retry: u64 = retry.and_then(|ms| ms.parse().ok()).expect("a time");
        assert!((1_000..=5_000).contains(&retry), "{retry}");
        times.insert(retry);
        assert!(world.has_fin(client));
    }
    assert!(times.len() > 4, "{times:?}");
}
