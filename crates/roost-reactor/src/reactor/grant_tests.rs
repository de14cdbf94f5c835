//! Tokens of subscriptions: what they allow, to whom, and for how long.

use std::sync::Arc;

use roost_dialect::wamp::{OwnRealm, OwnRealms};
use roost_wire::Opcode;
use roost_wire::frame::append_masked_frame;

use super::client_token_tests::{asked, expect, good, say, settings, text};
use super::http_world::{Client, World};
use crate::settings::Access;
use crate::{ChannelPolicy, ControlPeer, Denied, Settings, TokenCheck, Verdict};

/// Channels of `granted` want a permission, and those of `closed` are nobody's. The client is alice.
fn start() -> (World, ControlPeer, Client) {
    start_with(|_| {})
}

fn start_with(change: impl FnOnce(&mut Settings)) -> (World, ControlPeer, Client) {
    let mut settings = settings();
    settings.limits.ping_interval_ms = 0; // none has to be answered
    let of = |subscribe| ChannelPolicy {
        subscribe,
        ..crate::policy_for_tests()
    };
    settings.channels.namespaces = vec![
        ("granted".to_owned(), of(Access::Granted)),
        ("closed".to_owned(), of(Access::Nobody)),
    ];
    change(&mut settings);
    let mut world = World::new(settings);
    let mut control = world.control();
    let client = connect(&mut world, &mut control);
    (world, control, client)
}

/// A client that has connected as alice.
fn connect(world: &mut World, control: &mut ControlPeer) -> Client {
    let client = world.connect();
    let head = "GET /connection/websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    world.send(client, head.as_bytes());
    world.run(50);
    assert!(text(world.take(client)).starts_with("HTTP/1.1 101 "));
    send(world, client, r#"{"id":1,"connect":{"token":"t"}}"#);
    let check = check(control);
    assert_eq!(check.channel, None);
    say(control, good(&check, "alice", None));
    expect(world, client, &[r#"{"id":1,"connect":{"#]);
    client
}

fn send(world: &mut World, client: Client, lines: &str) {
    let mut frame = Vec::new();
    append_masked_frame(&mut frame, Opcode::Text, lines.as_bytes(), [1, 2, 3, 4]);
    world.send(client, frame);
    world.run(50);
}

/// The one token that is to be checked.
fn check(control: &mut ControlPeer) -> TokenCheck {
    let mut checks = asked(control);
    assert_eq!(checks.len(), 1, "{checks:?}");
    checks.remove(0)
}

const SUBSCRIBE: &str = r#"{"id":2,"subscribe":{"channel":"granted:x","token":"s"}}"#;

#[test]
fn a_token_allows_a_subscription() {
    let (mut world, mut control, client) = start();
    send(
        &mut world,
        client,
        r#"{"id":2,"subscribe":{"channel":"granted:x"}}"#,
    );
    expect(&mut world, client, &[r#"{"id":2,"error":{"code":103,"#]);
    let behind = r#"{"id":3,"publish":{"channel":"granted:x","data":7}}"#;
    send(&mut world, client, &format!("{SUBSCRIBE}\n{behind}"));
    expect(&mut world, client, &[]);
    let check = check(&mut control);
    assert_eq!(check.token.expose(), b"s");
    assert_eq!(check.channel.as_deref(), Some("granted:x"));
    say(&mut control, good(&check, "alice", Some(60_000)));
    let subscribed = r#"{"id":2,"subscribe":{"expires":true,"ttl":60}}"#;
    let push = r#""pub":{"data":7,"#;
    expect(
        &mut world,
        client,
        &[subscribed, push, r#"{"id":3,"publish":{}}"#],
    );
}

#[test]
fn a_token_of_another_user_or_a_bad_one_allows_nothing() {
    let (mut world, mut control, client) = start();
    let refused = r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#;
    let expired = r#"{"id":2,"error":{"code":109,"message":"token expired"}}"#;
    let later =
        r#"{"id":2,"error":{"code":100,"message":"internal server error","temporary":true}}"#;
    let outcomes: [fn(&TokenCheck) -> Verdict; 4] = [
        |check| good(check, "bob", None),
        |check| denied(check, Denied::Refused("no".into())),
        |check| denied(check, Denied::Expired("no".into())),
        |check| denied(check, Denied::Unavailable("no".into())),
    ];
    for (outcome, told) in outcomes.into_iter().zip([refused, refused, expired, later]) {
        send(&mut world, client, SUBSCRIBE);
        let check = check(&mut control);
        say(&mut control, outcome(&check));
        expect(&mut world, client, &[told]);
    }
    let closed = r#"{"id":2,"subscribe":{"channel":"closed:x","token":"s"}}"#;
    send(&mut world, client, closed);
    let check = check(&mut control);
    say(&mut control, good(&check, "alice", None));
    expect(&mut world, client, &[refused]);
}

fn denied(check: &TokenCheck, denied: Denied) -> Verdict {
    Verdict {
        key: check.key,
        outcome: Err(denied),
    }
}

#[test]
fn a_token_does_not_reach_into_a_realm() {
    let (mut world, mut control, client) = start_with(|settings| {
        let realm = OwnRealm {
            name: "acme".into(),
            prefix: "acme.".into(),
            anonymous: true,
            tokens: true,
            other_dialects: false,
        };
        let wamp = Arc::make_mut(&mut settings.dialects.wamp);
        wamp.own_realms = OwnRealms::new(vec![realm]);
    });
    for (channel, told) in [
        (
            "acme.x",
            r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#,
        ),
        ("acme", r#"{"id":2,"subscribe":{}}"#),
    ] {
        let line = format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}","token":"s"}}}}"#);
        send(&mut world, client, &line);
        let check = check(&mut control);
        say(&mut control, good(&check, "alice", None));
        expect(&mut world, client, &[told]);
    }
}

#[test]
fn a_subscription_ends_some_time_after_its_token_unless_another_is_shown() {
    let (mut world, mut control, client) = start();
    send(&mut world, client, SUBSCRIBE);
    let first = check(&mut control);
    say(&mut control, good(&first, "alice", Some(5_000)));
    expect(&mut world, client, &[r#""ttl":5}"#]);
    world.run(20_000);
    let refresh = r#"{"id":3,"sub_refresh":{"channel":"granted:x","token":"s2"}}"#;
    send(&mut world, client, refresh);
    let second = check(&mut control);
    assert_eq!(second.channel.as_deref(), Some("granted:x"));
    say(&mut control, good(&second, "alice", Some(10_000)));
    let told = r#"{"id":3,"sub_refresh":{"expires":true,"ttl":10}}"#;
    expect(&mut world, client, &[told]);
    world.run(20_000);
    assert_eq!(world.count("subscriptions"), 1);
    world.run(16_000);
    let ended = r#"{"push":{"channel":"granted:x","unsubscribe":{"code":2501,"reason":"subscription expired"}}}"#;
    expect(&mut world, client, &[ended]);
    assert_eq!(world.count("subscriptions"), 0);
    assert_eq!(world.count("subscriptions_expired_total"), 1);
    // What is not subscribed to is not refreshed.
    send(&mut world, client, refresh);
    let third = check(&mut control);
    say(&mut control, good(&third, "alice", None));
    expect(&mut world, client, &[r#"{"id":3,"error":{"code":103,"#]);
}

#[test]
fn one_that_subscribes_again_without_a_token_stays() {
    let (mut world, mut control, client) = start();
    send(
        &mut world,
        client,
        r#"{"id":2,"subscribe":{"channel":"open","token":"s"}}"#,
    );
    let first = check(&mut control);
    say(&mut control, good(&first, "alice", Some(1_000)));
    expect(&mut world, client, &[r#""ttl":1}"#]);
    let again = "{\"id\":3,\"unsubscribe\":{\"channel\":\"open\"}}\n{\"id\":4,\"subscribe\":{\"channel\":\"open\"}}";
    send(&mut world, client, again);
    expect(
        &mut world,
        client,
        &[r#"{"id":3,"#, r#"{"id":4,"subscribe":{}}"#],
    );
    world.run(20_000);
    world.run(20_000);
    assert_eq!(world.count("subscriptions"), 1);
}

/// The next connection in its slot has the subscription for as long as it likes.
#[test]
fn how_long_a_token_allows_ends_with_its_connection() {
    let (mut world, mut control, client) = start();
    let stays = connect(&mut world, &mut control); // so that the channel keeps its number
    let subscribe = r#"{"id":2,"subscribe":{"channel":"open"}}"#;
    send(&mut world, stays, subscribe);
    send(
        &mut world,
        client,
        r#"{"id":2,"subscribe":{"channel":"open","token":"s"}}"#,
    );
    let first = check(&mut control);
    let key = first.key;
    say(&mut control, good(&first, "alice", Some(1_000)));
    expect(&mut world, client, &[r#""ttl":1}"#]);
    world.abort(client);
    let next = connect(&mut world, &mut control);
    let in_slot = world.reactor.core.connections.key_at(key.slot());
    assert!(in_slot.is_some_and(|other| other != key), "{in_slot:?}");
    send(&mut world, next, subscribe);
    expect(&mut world, next, &[r#"{"id":2,"subscribe":{}}"#]);
    world.run(20_000);
    world.run(20_000);
    expect(&mut world, next, &[]);
    assert_eq!(world.count("subscriptions"), 2);
    assert_eq!(world.count("subscriptions_expired_total"), 0);
}

#[test]
fn a_token_opens_no_channel_of_a_realm_that_is_closed_to_other_dialects() {
    for other_dialects in [false, true] {
        let (mut world, mut control, client) = start_with(|settings| {
            let realm = OwnRealm {
                name: "acme".into(),
                prefix: "granted:.".into(),
                anonymous: true,
                tokens: true,
                other_dialects,
            };
            let wamp = Arc::make_mut(&mut settings.dialects.wamp);
            wamp.own_realms = OwnRealms::new(vec![realm]);
        });
        let refused = r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#;
        let allowed = r#"{"id":2,"subscribe":{"#;
        // The namespace is one, and what is in the realm is not.
        for (channel, is_in_realm) in [("granted:.com.x", true), ("granted:x", false)] {
            let subscribe =
                format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}","token":"s"}}}}"#);
            send(&mut world, client, &subscribe);
            let check = check(&mut control);
            say(&mut control, good(&check, "alice", Some(60_000)));
            let told = match is_in_realm && !other_dialects {
                true => refused,
                false => allowed,
            };
            expect(&mut world, client, &[told]);
        }
        let open = u64::from(other_dialects) + 1;
        assert_eq!(world.count("subscriptions"), open);
        // Nor is it told who is there, or what was published.
        if !other_dialects {
            for ask in ["presence", "presence_stats", "history"] {
                let asked = format!(r#"{{"id":3,"{ask}":{{"channel":"granted:.com.x"}}}}"#);
                send(&mut world, client, &asked);
                expect(&mut world, client, &[r#"{"id":3,"error":{"code":1"#]);
            }
        }
    }
}
