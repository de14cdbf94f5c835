//! Users of Pusher's presence channels, told of by fan-outs that take many loop iterations: what a client
//! is answered and what it is told afterwards are one story, without a hole and without a repetition.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use roost_access::Secret;
use roost_auth::{PusherApp, PusherKey};
use roost_dialect::pusher;
use roost_net::sim::{SimFaults, SimRng};
use roost_wire::Opcode;
use roost_wire::frame::append_masked_frame;

use super::client_token_tests::text;
use super::http_world::{Client, World};
use crate::{ChannelPolicy, Settings, policy_for_tests};

/// Two reactors, clients that may be members of a channel whose home is the first, and all each was sent.
struct Members {
    world: World,
    channel: String,
    all: Vec<Member>,
}

struct Member {
    client: Client,
    user: String,
    socket_id: String,
    received: String,
    /// It has asked for its subscription.
    has_joined: bool,
    is_gone: bool,
}

/// What a client was sent of users.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// Who is there, in answer to its subscription.
    There(BTreeSet<String>),
    Added(String),
    Removed(String),
}

impl Members {
    fn new(change: impl FnOnce(&mut Settings)) -> Members {
        let mut settings = Settings::for_tests();
        settings.limits.ping_interval_ms = 0;
        settings.channels.default = ChannelPolicy {
            presence_linger_ms: 0,
            presence_notify_ms: 200,
            presence_notify_per_second_max: 1_000,
            ..policy_for_tests()
        };
        change(&mut settings);
        settings.channels = std::mem::take(&mut settings.channels).with_app("");
        settings.dialects.pusher = Arc::new(pusher::Settings {
            enabled: true,
            apps: [app()].into(),
            activity_timeout_s: 120,
            members_per_channel_max: 1_000,
            member_bytes_max: 100,
            subscriptions_per_connection_max: 10,
            channel_name_bytes_max: 100,
            ..pusher::Settings::default()
        });
        let world = World::of_reactors(2, settings, SimFaults::none());
        let control = world.control();
        let mut names = (0..).map(|number| format!("presence-{number}"));
        let channel = names.find(|name| control.home_of(name) == 0);
        Members {
            world,
            channel: channel.expect("one of many"),
            all: Vec::new(),
        }
    }

    /// A client that has connected, and has not subscribed.
    fn connect(&mut self, reactor: usize, user: &str) -> usize {
        let client = self.world.connect_to(reactor);
        let head = "GET /app/key?protocol=7 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        self.world.send(client, head);
        self.world.run(20);
        let greeting = text(self.world.take(client)).replace('\\', "");
        let (_, behind) = greeting.split_once(r#""socket_id":""#).expect("its id");
        let (socket_id, _) = behind.split_once('"').expect("a string");
        self.all.push(Member {
            client,
            user: user.to_owned(),
            socket_id: socket_id.to_owned(),
            received: String::new(),
            has_joined: false,
            is_gone: false,
        });
        self.all.len() - 1
    }

    /// Asks for the subscription; no time passes.
    fn join(&mut self, member: usize) {
        let Members {
            world,
            channel,
            all,
        } = self;
        let member = &mut all[member];
        member.has_joined = true;
        let data = format!(r#"{{"user_id":"{}"}}"#, member.user);
        let signature = key().sign_channel(&member.socket_id, channel, Some(&data));
        let data = data.replace('"', "\\\"");
        let message = format!(
            r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"key:{signature}","channel_data":"{data}"}}}}"#
        );
        let mut frame = Vec::new();
        append_masked_frame(&mut frame, Opcode::Text, message.as_bytes(), [1, 2, 3, 4]);
        world.post(member.client, frame);
    }

    /// Its connection ends; no time passes.
    fn vanish(&mut self, member: usize) {
        let member = &mut self.all[member];
        member.is_gone = true;
        self.world.vanish(member.client);
    }

    /// All that a client was sent of users so far.
    fn told(&mut self, member: usize) -> Vec<Told> {
        let member = &mut self.all[member];
        let bytes = self.world.take(member.client);
        member.received += &text(bytes).replace('\\', "");
        let events = member
            .received
            .split(r#"{"event":"pusher_internal:"#)
            .skip(1);
        let told = events.map(|event| {
            let (name, data) = event.split_once('"').expect("its name");
            let user = || {
                let (_, behind) = data.split_once(r#""user_id":""#).expect("a user");
                behind.split('"').next().expect("one part").to_owned()
            };
            match name {
                "subscription_succeeded" => Told::There(ids_of(data)),
                "member_added" => Told::Added(user()),
                "member_removed" => Told::Removed(user()),
                other => panic!("{other}: {data}"),
            }
        });
        told.collect()
    }

    /// Whom a client knows to be there.
    ///
    /// # Errors
    /// It was told something that it knew, or of itself.
    fn known(&mut self, member: usize) -> Result<Option<BTreeSet<String>>, String> {
        let own = self.all[member].user.clone();
        let mut known: Option<BTreeSet<String>> = None;
        for told in self.told(member) {
            let is_new = match (told, &mut known) {
                (Told::There(ids), None) => {
                    let has_own = ids.contains(&own);
                    known = Some(ids);
                    has_own
                }
                (Told::Added(user), Some(known)) => user != own && known.insert(user),
                (Told::Removed(user), Some(known)) => user != own && known.remove(&user),
                (_, _) => false,
            };
            if !is_new {
                return Err(format!("{own} was told {:?}", self.told(member)));
            }
        }
        Ok(known)
    }

    /// In the end each subscriber knows those that are there.
    fn check(&mut self) -> Result<(), String> {
        let here = self.all.iter();
        let here = here.filter(|one| one.has_joined && !one.is_gone);
        let users: BTreeSet<String> = here.map(|one| one.user.clone()).collect();
        for member in 0..self.all.len() {
            let known = self.known(member)?;
            let Member {
                user,
                has_joined,
                is_gone,
                ..
            } = &self.all[member];
            if *has_joined && !is_gone && known.as_ref() != Some(&users) {
                return Err(format!("{user} knows {known:?}, and there are {users:?}"));
            }
        }
        Ok(())
    }
}

/// The users in the answer to a subscription.
fn ids_of(data: &str) -> BTreeSet<String> {
    let (_, behind) = data.split_once(r#""ids":["#).expect("a list");
    let (ids, _) = behind.split_once(']').expect("its end");
    let ids = ids.split(',').map(|id| id.trim_matches('"').to_owned());
    ids.collect()
}

fn app() -> PusherApp {
    PusherApp {
        id: "1".into(),
        key: "key".into(),
        signing: key(),
        prefix: "".into(),
        enabled: true,
        client_events: true,
        authorized_connections: false,
    }
}

fn key() -> PusherKey {
    PusherKey::new(&Secret::from("secret".to_owned()))
}

/// Users come and go while fan-outs tell of others: each client knows in the end who is there, and is told
/// nothing that it knew. A subscription is answered with users whose changes are still on their way to it.
#[test]
fn answers_and_changes_are_one_story() {
    let mut under_way = 0;
    for seed in 0..SEEDS {
        match play(seed) {
            Ok(steps) => under_way += steps,
            Err(broken) => panic!("seed {seed}: {broken}"),
        }
    }
    assert!(under_way > 10 * SEEDS, "few fan-outs: {under_way}");
}

/// One story. Returns in how many of its steps a fan-out was under way.
fn play(seed: u64) -> Result<u64, String> {
    let mut rng = SimRng::new(seed);
    let mut members = Members::new(|settings| {
        (settings.fan_out_at_once, settings.fan_out_piece) = (4, 1);
        let policy = &mut settings.channels.default;
        policy.presence_notify_per_second_max = rng.between(20, 200) as u32;
        policy.presence_linger_ms = [0, 300][rng.below(2) as usize];
    });
    for number in 0..40 {
        // Some users have several connections.
        let user = format!("u{}", number % 30);
        let member = members.connect(rng.below(2) as usize, &user);
        if number < 12 {
            members.join(member);
        }
    }
    members.world.run(1_000);
    let mut under_way = 0;
    for _ in 0..600 {
        let member = rng.below(40) as usize;
        let of = &members.all[member];
        match (of.has_joined, of.is_gone) {
            (false, false) if rng.per_mille(150) => members.join(member),
            (true, false) if rng.per_mille(40) => members.vanish(member),
            _ => {}
        }
        match rng.below(4) {
            0 => members.world.run_clients(),
            1 => {
                let micros = rng.between(1, 30_000);
                members.world.net.advance(Duration::from_micros(micros));
            }
            reactor => _ = members.world.step(reactor as usize - 2),
        }
        under_way += u64::from(members.world.fans_out(1));
    }
    members.world.run(5_000);
    members.check().map(|()| under_way)
}

/// How many stories are played.
const SEEDS: u64 = 64;
