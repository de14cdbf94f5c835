//! Presence: hubs joined by queues, against the set of subscriptions.

mod users;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use roost_hub::{
    AsTold, ChannelId, Encoding, EncodingSet, HistoryOptions, Hub, HubOptions, Item, Member,
    MemberInfo, NamespaceId, Output, PatternOptions, Payload, PresenceChange, PresenceLimits,
    PresenceNotify, PresenceOptions, PresenceQuery, ReactorId, Subscribe, Subscriber,
};
use roost_random::SplitMix64 as Random;

/// What tells subscribers; nothing is published here.
#[derive(Debug, Clone, PartialEq)]
struct Note(Arc<PresenceChange>);

impl Payload for Note {
    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn of_presence(change: Arc<PresenceChange>) -> Option<Note> {
        Some(Note(change))
    }
}

type TestHub = Hub<Note, Note>;

const TELLS: Encoding = Encoding(1);
const QUIET: Encoding = Encoding(0);
/// Of a channel whose clients are answered as told.
const USERS_MAX: u32 = 10;
const NAMES: [&str; 3] = ["room:a", "room:b", "room:a-longer-name-than-others"];

const NOTIFY: PresenceNotify = PresenceNotify {
    every: 5,
    changes_max: 6,
    linger: 20,
    is_for_all: false,
    tells_counts: false,
};

fn options(me: u8, reactors: u16, limits: PresenceLimits, bytes_max: u64) -> HubOptions {
    HubOptions {
        me: ReactorId(me),
        reactors,
        hash_key: [9; 16],
        seed: u64::from(me),
        channels_max: 100,
        patterns: PatternOptions::default(),
        history: HistoryOptions::default(),
        presence: PresenceOptions {
            namespaces: [None, Some(limits)].into(),
            bytes_max,
            encodings: EncodingSet::of(TELLS),
        },
        channel_name_bytes_max: 100,
    }
}

/// What was told, and in which tick.
type Changes = Vec<(u32, Arc<PresenceChange>)>;

/// Some hubs, what is on its way between them, and who subscribes.
struct World {
    hubs: Vec<TestHub>,
    ways: BTreeMap<(u8, u8), VecDeque<Item<Note, Note>>>,
    now: u32,
    /// By channel and place.
    there: BTreeMap<(usize, u8, u32), Client>,
    generations: BTreeMap<(u8, u32), u16>,
    /// What was told on each reactor, by channel.
    told: BTreeMap<(u8, String), Changes>,
    /// Where in that a reactor was not told for a while: none there wanted to be.
    breaks: BTreeSet<(u8, String, usize)>,
    answers: Vec<roost_hub::PresenceAnswer>,
    /// Users that are in a channel, as their coming and going is reported.
    users: BTreeSet<(String, String)>,
    /// How much had been told of the first channel where each of those came.
    told_before: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
struct Client {
    channel: ChannelId,
    encoding: Encoding,
    user: String,
}

impl World {
    fn new(reactors: u8, limits: PresenceLimits, bytes_max: u64) -> World {
        let hub = |me| {
            let mut hub = Hub::new(options(me, u16::from(reactors), limits, bytes_max));
            hub.set_reports_users(true);
            hub
        };
        World {
            hubs: (0..reactors).map(hub).collect(),
            ways: BTreeMap::new(),
            now: 0,
            there: BTreeMap::new(),
            generations: BTreeMap::new(),
            told: BTreeMap::new(),
            breaks: BTreeSet::new(),
            answers: Vec::new(),
            users: BTreeSet::new(),
            told_before: Vec::new(),
        }
    }

    fn join(&mut self, name: usize, (reactor, slot): (u8, u32), encoding: Encoding, user: &str) {
        if self.there.contains_key(&(name, reactor, slot)) {
            return;
        }
        let generation = *self.generations.entry((reactor, slot)).or_default();
        let who = Subscriber(slot);
        let subscribe = Subscribe {
            who,
            encoding,
            name: NAMES[name],
            namespace: NamespaceId(1),
            token: 0,
        };
        let member = Member {
            client: client_of((reactor, slot), generation),
            user: user.into(),
            info: slot.is_multiple_of(3).then(|| {
                Arc::new(MemberInfo {
                    connection: Some("{}".into()),
                    channel: None,
                    has_number: false,
                })
            }),
            who,
            generation,
            reactor: ReactorId(reactor),
        };
        let (mut out, hub) = (Vec::new(), &mut self.hubs[usize::from(reactor)]);
        let channel = hub.subscribe(subscribe, self.now, &mut out);
        let channel = channel.expect("within the limits");
        hub.join(channel, member, self.now, &mut out);
        self.carry(reactor, out);
        let user = user.to_owned();
        let client = Client {
            channel,
            encoding,
            user,
        };
        self.there.insert((name, reactor, slot), client);
    }

    fn leave(&mut self, name: usize, (reactor, slot): (u8, u32)) {
        let Some(client) = self.there.remove(&(name, reactor, slot)) else {
            return;
        };
        let (mut out, hub) = (Vec::new(), &mut self.hubs[usize::from(reactor)]);
        hub.set_time(self.now);
        assert!(hub.unsubscribe(Subscriber(slot), client.encoding, client.channel, &mut out));
        self.carry(reactor, out);
        self.note_break(name, reactor);
    }

    /// The connection ends; the next in its place is another client.
    fn end(&mut self, (reactor, slot): (u8, u32)) {
        for name in 0..NAMES.len() {
            if let Some(client) = self.there.remove(&(name, reactor, slot)) {
                let (mut out, hub) = (Vec::new(), &mut self.hubs[usize::from(reactor)]);
                hub.set_time(self.now);
                assert!(hub.end(Subscriber(slot), client.encoding, client.channel, &mut out));
                self.carry(reactor, out);
                self.note_break(name, reactor);
            }
        }
        *self.generations.entry((reactor, slot)).or_default() += 1;
    }

    /// Notes where a reactor has nobody to tell.
    fn note_break(&mut self, name: usize, reactor: u8) {
        let mut there = self.there.iter();
        let is_told =
            there.any(|(&(of, on, _), client)| (of, on, client.encoding) == (name, reactor, TELLS));
        if !is_told {
            let key = (reactor, NAMES[name].to_owned());
            let told = self.told.get(&key).map_or(0, Vec::len);
            self.breaks.insert((key.0, key.1, told));
        }
    }

    fn carry(&mut self, from: u8, out: Vec<Output<Note, Note>>) {
        for output in out {
            match output {
                Output::ToReactor(to, item) => {
                    self.ways.entry((from, to.0)).or_default().push_back(item);
                }
                Output::Deliver {
                    channel, frames, ..
                } => {
                    let hub = &self.hubs[usize::from(from)];
                    let name = hub.channel_name(channel).expect("it lives").to_owned();
                    for (encoding, Note(change)) in frames.iter() {
                        assert_eq!(encoding, TELLS, "others are not told");
                        let told = self.told.entry((from, name.clone())).or_default();
                        told.push((self.now, change.clone()));
                    }
                }
                Output::Presence(answer) => {
                    let told = self.told.get(&(from, NAMES[0].to_owned()));
                    self.told_before.push(told.map_or(0, Vec::len));
                    self.answers.push(*answer);
                }
                Output::User {
                    channel,
                    user,
                    is_there,
                    has_number: _, // nobody has one here
                } => {
                    let key = (channel.to_string(), user.to_string());
                    let in_turns = match is_there {
                        true => self.users.insert(key),
                        false => self.users.remove(&key),
                    };
                    assert!(in_turns, "{user} comes or goes twice in {channel}");
                }
                _ => {}
            }
        }
    }

    /// A client on the first reactor asks who is in the first channel, as subscribers were told.
    fn ask_as_told(&mut self, slot: u32) {
        let query = PresenceQuery {
            name: NAMES[0].into(),
            asker: 1,
            token: 0,
            counts_only: false,
            as_told: Some(AsTold {
                who: Subscriber(slot),
                users_max: USERS_MAX,
            }),
        };
        let mut out = Vec::new();
        let encode = &mut |note: &Note, _, _, _: roost_hub::Route<'_>| note.clone();
        let asked = self.hubs[0].ask_presence(query, self.now, encode, &mut out);
        asked.expect("the name is one");
        self.carry(0, out);
    }

    /// One item arrives.
    fn step(&mut self, random: &mut Random) -> bool {
        self.ways.retain(|_, way| !way.is_empty());
        if self.ways.is_empty() {
            return false;
        }
        let nth = random.below(self.ways.len() as u64) as usize;
        let (&(from, to), way) = self.ways.iter_mut().nth(nth).expect("below its length");
        let item = way.pop_front().expect("not empty");
        let (mut out, now) = (Vec::new(), self.now);
        let encode = &mut |note: &Note, _, _, _: roost_hub::Route<'_>| note.clone();
        self.hubs[usize::from(to)].handle(ReactorId(from), item, now, encode, &mut out);
        self.carry(to, out);
        true
    }

    fn pass(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.now += 1;
            for reactor in 0..self.hubs.len() {
                let (mut out, now) = (Vec::new(), self.now);
                let hub = &mut self.hubs[reactor];
                if hub.presence_due() <= now {
                    let encode = &mut |note: &Note, _, _, _: roost_hub::Route<'_>| note.clone();
                    hub.tell_presence(now, encode, &mut out);
                }
                self.carry(reactor as u8, out);
            }
        }
    }

    fn deliver_all(&mut self, random: &mut Random) {
        while self.step(random) {}
    }

    /// The homes know who is there, and nothing else.
    fn check(&mut self, members_max: usize) {
        for (name, text) in NAMES.iter().enumerate() {
            let home = usize::from(self.hubs[0].home_of(text).0);
            let view = self.hubs[home].presence(text, false, self.now);
            let there = self.there.iter().filter(|((of, ..), _)| *of == name);
            let mut there: Vec<_> = there
                .map(|(&(_, reactor, slot), client)| (reactor, slot, client.user.clone()))
                .collect();
            assert_eq!(view.counts.clients as usize, there.len(), "{text}");
            let users: BTreeSet<_> = there.iter().map(|(_, _, user)| user.as_str()).collect();
            let users = users.iter().filter(|user| !user.is_empty()).count();
            assert_eq!(view.counts.users as usize, users, "{text}");
            let reported = self.users.iter().filter(|(of, _)| of == text);
            assert_eq!(reported.count(), users, "{text}: {:?}", self.users);
            assert_eq!(view.is_truncated, there.len() > members_max);
            if view.is_truncated {
                assert!(view.members.is_empty());
                continue;
            }
            let listed = view.members.iter();
            let mut listed: Vec<_> = listed
                .map(|member| (member.reactor.0, member.who.0, member.user.to_string()))
                .collect();
            listed.sort();
            there.sort();
            assert_eq!(listed, there, "{text}");
        }
    }
}

fn client_of((reactor, slot): (u8, u32), generation: u16) -> u64 {
    u64::from(slot) << 32 | u64::from(generation) << 8 | u64::from(reactor)
}

fn limits(members_max: u32, notify: Option<PresenceNotify>) -> PresenceLimits {
    PresenceLimits {
        members_max,
        notify,
        by_user: false,
    }
}

/// Many clients come and go in many ways; what homes know and tell is right.
#[test]
fn members_are_the_subscriptions_and_what_is_told_agrees() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let members_max = [3, 40][random.below(2) as usize];
        let mut world = World::new(
            1 + seed as u8 % 3,
            limits(members_max, Some(NOTIFY)),
            1 << 30,
        );
        for _ in 0..400 {
            let reactor = random.below(world.hubs.len() as u64) as u8;
            let place = (reactor, random.below(12) as u32);
            let name = random.below(3) as usize;
            match random.below(8) {
                0..=2 => {
                    let user = ["", "ann", "bob", "eve"][random.below(4) as usize];
                    let encoding = [QUIET, TELLS][(place.1 % 2) as usize];
                    world.join(name, place, encoding, user);
                }
                3 => world.leave(name, place),
                4 => world.end(place),
                5 => world.pass(random.below(9) as u32),
                _ => {
                    for _ in 0..random.below(6) {
                        world.step(&mut random);
                    }
                }
            }
        }
        world.deliver_all(&mut random);
        world.check(members_max as usize);
        world.pass(60);
        world.deliver_all(&mut random);
        world.check(members_max as usize);
        check_told(&world);
        // Nothing is left.
        for reactor in 0..world.hubs.len() as u8 {
            (0..12).for_each(|slot| world.end((reactor, slot)));
        }
        world.deliver_all(&mut random);
        world.pass(60);
        for hub in &world.hubs {
            let counts = hub.counts();
            assert_eq!((counts.presence_channels, counts.presence_members), (0, 0));
            assert_eq!((counts.presence_bytes, counts.presence_unlisted), (0, 0));
        }
    }
}

/// A client is told as come and as gone in turns, and a user that comes back soon is not told at all.
fn check_told(world: &World) {
    for ((reactor, name), changes) in &world.told {
        // A reactor may begin in the middle: what it is told first of a client may be either.
        let mut known: BTreeMap<u64, bool> = BTreeMap::new();
        for (nth, (at, change)) in changes.iter().enumerate() {
            if world.breaks.contains(&(*reactor, name.clone(), nth)) {
                known.clear();
            }
            let size = change.joined.len() + change.left.len();
            assert!(
                size <= NOTIFY.changes_max as usize,
                "{name} at {at}: {size}"
            );
            assert!(size > 0 || change.counts.is_some());
            for (member, is_there) in (change.joined.iter().map(|one| (one, true)))
                .chain(change.left.iter().map(|one| (one, false)))
            {
                let before = known.insert(member.client, is_there);
                assert_ne!(before, Some(is_there), "{name}: {member:?} in turns");
            }
        }
        for pair in changes.windows(2) {
            // From another reactor they come when they come.
            let is_gathered = pair[1].0 >= pair[0].0 + NOTIFY.every;
            assert!(is_gathered || world.hubs.len() > 1, "gathered");
        }
    }
}

#[test]
fn a_user_that_comes_back_soon_is_not_told_and_keeps_its_number() {
    let mut random = Random::new(1);
    let mut world = World::new(1, limits(10, Some(NOTIFY)), 1 << 30);
    world.join(0, (0, 1), TELLS, "watcher");
    world.join(0, (0, 2), QUIET, "ann");
    world.pass(6);
    let first = client_of((0, 2), 0);
    world.end((0, 2));
    world.pass(19);
    world.join(0, (0, 3), QUIET, "ann");
    world.pass(100);
    let told = |world: &World| world.told.values().map(Vec::len).sum::<usize>();
    assert_eq!(told(&world), 1, "{:?}", world.told);
    let view = world.hubs[0].presence(NAMES[0], false, world.now);
    let ann = view.members.iter().find(|member| member.user == "ann");
    let ann = ann.expect("she is there");
    assert_eq!((ann.client, ann.who), (first, Subscriber(3)));
    // Too late.
    world.end((0, 3));
    world.pass(21);
    world.join(0, (0, 4), QUIET, "ann");
    world.pass(20);
    let changes: Vec<_> = world.told.values().flatten().collect();
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert_eq!(changes[1].1.left[0].client, first);
    assert_eq!(changes[2].1.joined[0].client, client_of((0, 4), 0));
    world.deliver_all(&mut random);
}

#[test]
fn one_that_only_unsubscribes_comes_back_as_itself_alone() {
    let mut world = World::new(1, limits(10, Some(NOTIFY)), 1 << 30);
    world.join(0, (0, 1), TELLS, "watcher");
    world.join(0, (0, 2), QUIET, "ann");
    world.pass(6);
    world.leave(0, (0, 2));
    // Another connection of the same user: it is another member, since the first may come back.
    world.join(0, (0, 3), QUIET, "ann");
    world.join(0, (0, 2), QUIET, "ann");
    world.pass(100);
    let changes: Vec<_> = world.told.values().flatten().collect();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(changes[1].1.joined.len(), 1);
    assert_eq!(changes[1].1.joined[0].client, client_of((0, 3), 0));
    assert!(changes[1].1.left.is_empty());
}

#[test]
fn many_changes_are_told_in_parts_with_the_counts() {
    let mut world = World::new(1, limits(50, Some(NOTIFY)), 1 << 30);
    for slot in 0..20 {
        world.join(0, (0, slot), TELLS, &format!("user{slot}"));
    }
    world.pass(100);
    let changes: Vec<_> = world.told.values().flatten().collect();
    let sizes: Vec<_> = changes.iter().map(|(_, one)| one.joined.len()).collect();
    assert_eq!(sizes, [6, 6, 6, 2]);
    let counted: Vec<_> = changes
        .iter()
        .map(|(_, one)| one.counts.is_some())
        .collect();
    assert_eq!(counted, [true, true, true, false]);
    assert_eq!(changes[0].1.counts.map(|counts| counts.clients), Some(20));
}

#[test]
fn a_full_channel_tells_only_how_many_there_are() {
    let mut world = World::new(1, limits(4, Some(NOTIFY)), 1 << 30);
    for slot in 0..6 {
        world.join(0, (0, slot), TELLS, "");
    }
    world.pass(10);
    let last = |world: &World| world.told.values().flatten().last().cloned();
    let (_, change) = last(&world).expect("it is told");
    assert!(change.joined.is_empty() && change.left.is_empty());
    let counts = change.counts.expect("how many");
    assert_eq!((counts.clients, counts.users), (6, 0));
    // Then they fit again, and are told.
    world.end((0, 0));
    world.end((0, 1));
    world.pass(10);
    let (_, change) = last(&world).expect("it is told");
    assert_eq!((change.joined.len(), change.counts), (4, None));
}

#[test]
fn beyond_the_bytes_members_are_counted_and_not_listed() {
    let mut world = World::new(1, limits(100, None), 256 + 72 * 5);
    for slot in 0..9 {
        world.join(0, (0, slot * 3 + 1), QUIET, "");
    }
    let counts = world.hubs[0].counts();
    assert_eq!((counts.presence_members, counts.presence_unlisted), (5, 4));
    assert_eq!(counts.presence_bytes, 256 + 72 * 5);
    let view = world.hubs[0].presence(NAMES[0], false, world.now);
    assert_eq!((view.counts.clients, view.is_truncated), (9, true));
    assert!(view.members.is_empty());
    for slot in 0..9 {
        world.end((0, slot * 3 + 1));
    }
    world.check(100);
    assert_eq!(world.hubs[0].counts().presence_bytes, 0);
}

#[test]
fn a_hub_without_presence_sends_and_keeps_nothing() {
    let mut world = World::new(2, limits(10, None), 1 << 30);
    // Of the namespace that keeps none.
    let mut out = Vec::new();
    let hub = &mut world.hubs[0];
    let far = (0..).map(|n| format!("x{n}"));
    let far = far
        .into_iter()
        .find(|name| hub.home_of(name) == ReactorId(1));
    let subscribe = Subscribe {
        who: Subscriber(1),
        encoding: QUIET,
        name: &far.expect("half of all names"),
        namespace: NamespaceId(0),
        token: 0,
    };
    let channel = hub.subscribe(subscribe, 0, &mut out).expect("a good name");
    let member = Member {
        client: 1,
        user: "ann".into(),
        info: None,
        who: Subscriber(1),
        generation: 0,
        reactor: ReactorId(0),
    };
    hub.join(channel, member, 0, &mut out);
    hub.unsubscribe(Subscriber(1), QUIET, channel, &mut out);
    let items = out
        .iter()
        .filter(|output| matches!(output, Output::ToReactor(..)));
    assert_eq!(items.count(), 2, "interest, and its end: {out:?}");
}

#[test]
fn who_asks_on_another_reactor_is_answered() {
    let mut random = Random::new(1);
    let mut world = World::new(3, limits(10, None), 1 << 30);
    world.join(1, (2, 7), QUIET, "ann");
    for reactor in 0..3u8 {
        let query = PresenceQuery {
            as_told: None,
            name: NAMES[1].into(),
            asker: 40 + u64::from(reactor),
            token: 7,
            counts_only: reactor == 1,
        };
        let (mut out, now) = (Vec::new(), world.now);
        let encode = &mut |note: &Note, _, _, _: roost_hub::Route<'_>| note.clone();
        let hub = &mut world.hubs[usize::from(reactor)];
        let asked = hub.ask_presence(query, now, encode, &mut out);
        asked.expect("a good name");
        world.carry(reactor, out);
        world.deliver_all(&mut random);
        let answer = world.answers.pop().expect("it is answered");
        assert_eq!((answer.asker, answer.token), (40 + u64::from(reactor), 7));
        assert_eq!(answer.view.counts.clients, 1);
        assert_eq!(answer.view.members.len(), usize::from(reactor != 1));
    }
}

#[test]
fn presence_goes_on_in_another_process() {
    let limits = limits(10, Some(NOTIFY));
    let mut world = World::new(1, limits, 1 << 30);
    world.join(0, (0, 1), TELLS, "watcher");
    world.join(0, (0, 2), QUIET, "ann");
    world.join(2, (0, 2), QUIET, "ann");
    world.pass(6);
    world.end((0, 2));
    world.join(0, (0, 3), QUIET, "bob");
    let before = world.hubs[0].counts();
    let state = world.hubs.remove(0).export();
    let hub = Hub::import(options(0, 1, limits, 1 << 30), state.clone());
    let mut hub = hub.expect("its own state");
    hub.set_reports_users(true);
    world.hubs.push(hub);
    let after = world.hubs[0].counts();
    assert_eq!(before.presence_bytes, after.presence_bytes);
    assert_eq!(before.presence_members, after.presence_members);
    world.pass(4);
    world.join(0, (0, 4), QUIET, "ann");
    world.pass(100);
    world.check(10);
    let changes: Vec<_> = world.told.values().flatten().collect();
    assert_eq!(changes.len(), 2, "bob alone is told: {changes:?}");
    assert_eq!(changes[1].1.joined[0].user, "bob");
    // Without presence there is no place for it.
    let mut none = options(0, 1, limits, 0);
    none.presence = PresenceOptions::default();
    assert!(Hub::<Note, Note>::import(none, state).is_err());
}
