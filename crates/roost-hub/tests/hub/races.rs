//! What happens when items cross, one case each, and the rules that random runs do not state.

use std::collections::VecDeque;

use roost_hub::{
    ChannelId, ENCODINGS_MAX, Encoding, EncodingSet, EventIds, HistoryOptions, Hub, HubOptions,
    Item, NameError, NamespaceId, Output, PatternOptions, Position, PresenceOptions, Publish,
    PublishError, PublishTo, ReactorId, Route, Subscribe, SubscribeError, Subscriber,
};

const RAW: Encoding = Encoding(0);
const WAMP: Encoding = Encoding(1);
const LAST: Encoding = Encoding(ENCODINGS_MAX as u8 - 1);
const ALICE: Subscriber = Subscriber(1);
const BOB: Subscriber = Subscriber(2);

type Out = Output<&'static str, String>;

/// Two reactors: subscribers on one, and a channel whose home is the other.
struct Pair {
    near: Hub<&'static str, String>,
    home: Hub<&'static str, String>,
    to_home: VecDeque<Item<&'static str, String>>,
    to_near: VecDeque<Item<&'static str, String>>,
    /// What the near reactor has to do.
    done: Vec<Out>,
    /// What was encoded.
    encoded: Vec<(Encoding, EventIds)>,
}

const NEAR: ReactorId = ReactorId(0);
const HOME: ReactorId = ReactorId(1);

fn options(me: ReactorId, reactors: u16) -> HubOptions {
    HubOptions {
        me,
        reactors,
        hash_key: [9; 16],
        seed: u64::from(me.0),
        channels_max: 3,
        patterns: PatternOptions::default(),
        history: HistoryOptions::default(),
        presence: PresenceOptions::default(),
        channel_name_bytes_max: 10,
    }
}

/// The `nth` name with this home among two.
fn name_at(home: ReactorId, nth: usize) -> String {
    let hub = Hub::<(), ()>::new(options(HOME, 2));
    let mut names = (0..).map(|n| format!("name{n}"));
    names
        .by_ref()
        .filter(|name| hub.home_of(name) == home)
        .nth(nth)
        .expect("half of all names")
}

fn encode(
    encoded: &mut Vec<(Encoding, EventIds)>,
) -> impl FnMut(&&'static str, Encoding, EventIds, Route<'_>) -> String {
    |payload, encoding, ids, _| {
        encoded.push((encoding, ids));
        format!("{payload}@{}", encoding.0)
    }
}

impl Pair {
    fn new() -> Self {
        Pair {
            near: Hub::new(options(NEAR, 2)),
            home: Hub::new(options(HOME, 2)),
            to_home: VecDeque::new(),
            to_near: VecDeque::new(),
            done: Vec::new(),
            encoded: Vec::new(),
        }
    }

    fn subscribe(&mut self, who: Subscriber, encoding: Encoding, name: &str) -> ChannelId {
        let mut out = Vec::new();
        let token = u64::from(who.0);
        let channel = self
            .near
            .subscribe(request(who, encoding, name, token), 0, &mut out);
        self.sort(out);
        channel.expect("within the limits")
    }

    fn unsubscribe(&mut self, who: Subscriber, encoding: Encoding, channel: ChannelId) {
        let mut out = Vec::new();
        assert!(self.near.unsubscribe(who, encoding, channel, &mut out));
        self.sort(out);
    }

    /// Somebody on the home's reactor publishes.
    fn publish_at_home(&mut self, name: &str, payload: &'static str) {
        let mut out = Vec::new();
        let encode = &mut encode(&mut self.encoded);
        self.home
            .publish(publish(name, payload), 0, encode, &mut out)
            .expect("a good name");
        self.to_near
            .extend(out.into_iter().filter_map(|output| match output {
                Output::ToReactor(_, item) => Some(item),
                _ => None,
            }));
    }

    fn step_home(&mut self) {
        let item = self.to_home.pop_front().expect("an item to the home");
        let mut out = Vec::new();
        let encode = &mut encode(&mut self.encoded);
        self.home.handle(NEAR, item, 0, encode, &mut out);
        for output in out {
            match output {
                Output::ToReactor(NEAR, item) => self.to_near.push_back(item),
                other => panic!("unexpected at home: {other:?}"),
            }
        }
    }

    fn step_near(&mut self) {
        let item = self.to_near.pop_front().expect("an item from the home");
        let mut out = Vec::new();
        self.near.handle(
            HOME,
            item,
            0,
            &mut |_, _, _, _| panic!("not the home"),
            &mut out,
        );
        self.sort(out);
    }

    fn deliver_all(&mut self) {
        while !self.to_home.is_empty() || !self.to_near.is_empty() {
            if self.to_home.is_empty() {
                self.step_near();
            } else {
                self.step_home();
            }
        }
    }

    fn sort(&mut self, out: Vec<Out>) {
        for output in out {
            match output {
                Output::ToReactor(HOME, item) => self.to_home.push_back(item),
                Output::ToReactor(other, _) => panic!("nobody at {other:?}"),
                other => self.done.push(other),
            }
        }
    }

    /// Where the subscriptions begin that were answered since the last look.
    fn snapshots(&mut self) -> Vec<Position> {
        let position = |output: Out| match output {
            Output::Subscribed { snapshot, .. } => Some(snapshot.position),
            _ => None,
        };
        self.done.drain(..).filter_map(position).collect()
    }

    /// What was done since the last look, in short: who was subscribed, what was delivered where.
    fn done(&mut self) -> Vec<String> {
        let short = |output: Out| match output {
            Output::Subscribed { who, encoding, .. } => {
                format!("subscribed {}@{}", who.0, encoding.0)
            }
            Output::Deliver {
                channel, frames, ..
            } => {
                let frames: Vec<&str> = frames.iter().map(|(_, frame)| &**frame).collect();
                format!("{} gets {}", channel.0, frames.join(" "))
            }
            Output::Published { token, .. } => format!("published {token}"),
            Output::DeliverMatched { .. } | Output::Refused { .. } => panic!("no pattern"),
            Output::Presence(_) => panic!("no presence"),
            Output::Occupancy { .. } | Output::User { .. } | Output::Watched(_) => {
                panic!("it is not asked for")
            }
            Output::ToReactor(..) => unreachable!("sorted out before"),
        };
        self.done.drain(..).map(short).collect()
    }
}

fn request(who: Subscriber, encoding: Encoding, name: &str, token: u64) -> Subscribe<'_> {
    Subscribe {
        who,
        encoding,
        name,
        namespace: NamespaceId(0),
        token,
    }
}

fn publish<'a>(name: &'a str, payload: &'static str) -> Publish<'a, &'static str> {
    Publish {
        target: PublishTo::Name(name),
        publisher: 0,
        exclude_publisher: false,
        ack: None,
        payload,
    }
}

#[test]
fn a_late_delivery_does_not_reach_the_next_channel_with_the_id() {
    // The next channel may have been answered already, where its home is another one.
    for (next, answered) in [(name_at(HOME, 1), 0), (name_at(NEAR, 0), 1)] {
        let first = name_at(HOME, 0);
        let mut pair = Pair::new();
        let channel = pair.subscribe(ALICE, RAW, &first);
        pair.deliver_all();
        pair.done.clear();
        pair.publish_at_home(&first, "late");
        pair.unsubscribe(ALICE, RAW, channel);
        let again = pair.subscribe(ALICE, RAW, &next);
        assert_eq!(again, channel, "the id is used again at once");
        assert_eq!(pair.done.len(), answered);
        pair.deliver_all();
        assert_eq!(pair.done(), ["subscribed 1@0"]);
        assert_eq!(pair.near.counts().stale_items, 1);
    }
}

#[test]
fn a_late_answer_does_not_confirm_the_next_channel_with_the_id() {
    let [first, second] = [0, 1].map(|nth| name_at(HOME, nth));
    let mut pair = Pair::new();
    let channel = pair.subscribe(ALICE, RAW, &first);
    pair.step_home();
    pair.unsubscribe(ALICE, RAW, channel);
    pair.subscribe(BOB, RAW, &second);
    pair.step_near();
    assert_eq!(pair.done(), [""; 0], "that was the answer for the first");
    pair.deliver_all();
    assert_eq!(pair.done(), ["subscribed 2@0"]);
    assert_eq!(pair.home.counts().home_channels, 1);
}

#[test]
fn to_come_back_before_the_answer_is_a_new_interest() {
    let name = name_at(HOME, 0);
    let mut pair = Pair::new();
    let channel = pair.subscribe(ALICE, RAW, &name);
    pair.unsubscribe(ALICE, RAW, channel);
    pair.subscribe(BOB, RAW, &name);
    pair.step_home(); // the first interest, answered
    pair.publish_at_home(&name, "for alice");
    pair.deliver_all();
    assert_eq!(pair.done(), ["subscribed 2@0"]);
    pair.publish_at_home(&name, "for bob");
    pair.deliver_all();
    assert_eq!(pair.done(), ["0 gets for bob@0"]);
}

#[test]
fn who_leaves_before_the_answer_is_never_answered() {
    let name = name_at(HOME, 0);
    let mut pair = Pair::new();
    let channel = pair.subscribe(ALICE, RAW, &name);
    pair.subscribe(BOB, RAW, &name);
    pair.unsubscribe(ALICE, RAW, channel);
    pair.deliver_all();
    assert_eq!(pair.done(), ["subscribed 2@0"]);
    pair.unsubscribe(BOB, RAW, channel);
    pair.deliver_all();
    assert_eq!(pair.near.counts().local_channels, 0);
    assert_eq!(pair.home.counts().home_channels, 0);
}

#[test]
fn an_encoding_is_delivered_from_its_answer_to_its_end() {
    let name = name_at(HOME, 0);
    let mut pair = Pair::new();
    let channel = pair.subscribe(ALICE, RAW, &name);
    pair.deliver_all();
    pair.subscribe(BOB, WAMP, &name);
    pair.publish_at_home(&name, "one");
    pair.deliver_all();
    assert_eq!(
        pair.done(),
        ["subscribed 1@0", "0 gets one@0", "subscribed 2@1"]
    );
    pair.publish_at_home(&name, "two");
    pair.deliver_all();
    assert_eq!(pair.done(), ["0 gets two@0 two@1"]);
    // The encoding goes out of use and comes back while a frame of it is on its way.
    pair.publish_at_home(&name, "three");
    pair.unsubscribe(BOB, WAMP, channel);
    pair.subscribe(BOB, WAMP, &name);
    pair.deliver_all();
    assert_eq!(pair.done(), ["0 gets three@0", "subscribed 2@1"]);
    pair.unsubscribe(BOB, WAMP, channel);
    pair.deliver_all();
    pair.encoded.clear();
    pair.publish_at_home(&name, "four");
    let encodings: Vec<Encoding> = pair.encoded.iter().map(|(encoding, _)| *encoding).collect();
    assert_eq!(encodings, [RAW], "what nobody wants is not encoded");
}

#[test]
fn a_second_subscribe_is_answered_and_is_still_one() {
    let name = name_at(HOME, 0);
    let mut pair = Pair::new();
    let channel = pair.subscribe(ALICE, RAW, &name);
    pair.subscribe(ALICE, RAW, &name);
    pair.deliver_all();
    pair.subscribe(ALICE, RAW, &name);
    assert_eq!(pair.done(), ["subscribed 1@0"; 3]);
    assert_eq!(pair.near.counts().subscriptions, 1);
    assert_eq!(pair.near.subscriber_count(channel, RAW), 1);
    pair.unsubscribe(ALICE, RAW, channel);
    assert_eq!(pair.near.counts().subscriptions, 0);
    assert!(!pair.near.unsubscribe(ALICE, RAW, channel, &mut Vec::new()));
}

#[test]
fn without_subscribers_nothing_is_encoded_and_all_is_acknowledged() {
    for home in [NEAR, HOME] {
        let name = name_at(home, 0);
        let mut pair = Pair::new();
        let mut out = Vec::new();
        let acked = Publish {
            ack: Some(77),
            ..publish(&name, "unheard")
        };
        pair.near
            .publish(
                acked,
                0,
                &mut |_, _, _, _| panic!("nobody listens"),
                &mut out,
            )
            .expect("a good name");
        pair.sort(out);
        pair.deliver_all();
        assert_eq!(pair.done(), ["published 77"]);
        assert!(pair.encoded.is_empty());
    }
}

#[test]
fn a_frame_is_encoded_once_however_many_reactors_want_it() {
    let mut hubs: Vec<Hub<&str, String>> = (0..5)
        .map(|me| Hub::new(options(ReactorId(me), 5)))
        .collect();
    let name = "shared";
    let home = hubs[0].home_of(name);
    // One reactor wants all there are.
    let all: Vec<Encoding> = (0..ENCODINGS_MAX as u8).map(Encoding).collect();
    let wanted: [&[Encoding]; 5] = [&[RAW], &[RAW, WAMP], &[WAMP], &[WAMP, LAST], &all];
    for (me, encodings) in wanted.iter().enumerate() {
        for &encoding in *encodings {
            let mut out = Vec::new();
            hubs[me]
                .subscribe(request(ALICE, encoding, name, 0), 0, &mut out)
                .expect("within the limits");
            for output in out {
                let Output::ToReactor(to, item) = output else {
                    continue;
                };
                hubs[usize::from(to.0)].handle(
                    ReactorId(me as u8),
                    item,
                    0,
                    &mut |_, _, _, _| unreachable!(),
                    &mut Vec::new(),
                );
            }
        }
    }
    let (mut encoded, mut out) = (Vec::new(), Vec::new());
    hubs[usize::from(home.0)]
        .publish(publish(name, "x"), 0, &mut encode(&mut encoded), &mut out)
        .expect("a good name");
    let mut encodings: Vec<Encoding> = encoded.iter().map(|(encoding, _)| *encoding).collect();
    encodings.sort_unstable();
    assert_eq!(encodings, all);
    let sent: Vec<(u8, EncodingSet)> = out
        .iter()
        .map(|output| match output {
            Output::ToReactor(to, Item::Deliver { frames, .. }) => (to.0, frames.encodings()),
            Output::Deliver { frames, .. } => (home.0, frames.encodings()),
            other => panic!("unexpected: {other:?}"),
        })
        .collect();
    assert_eq!(
        sent,
        [0, 1, 2, 3, 4].map(|me: u8| (me, wanted[usize::from(me)].iter().copied().collect()))
    );
    for output in &out {
        let (Output::ToReactor(_, Item::Deliver { frames, .. }) | Output::Deliver { frames, .. }) =
            output
        else {
            unreachable!("seen above");
        };
        for (encoding, frame) in frames.iter() {
            assert_eq!(*frame, format!("x@{}", encoding.0));
        }
        assert!(
            frames
                .iter()
                .map(|(encoding, _)| encoding)
                .eq(frames.encodings().iter())
        );
    }
}

#[test]
fn offsets_have_no_gap_and_never_go_back() {
    let name = name_at(HOME, 0);
    let mut pair = Pair::new();
    for life in 0..2 {
        let channel = pair.subscribe(ALICE, RAW, &name);
        pair.deliver_all();
        pair.encoded.clear();
        for _ in 0..3 {
            pair.publish_at_home(&name, "x");
        }
        let offsets: Vec<u64> = pair.encoded.iter().map(|(_, ids)| ids.offset).collect();
        let before = 3 * life;
        assert_eq!(offsets, [before + 1, before + 2, before + 3], "life {life}");
        let topic = pair.near.topic(channel);
        assert!(pair.encoded.iter().all(|(_, ids)| Some(ids.topic) == topic));
        // Home index 0 at reactor 1.
        assert_eq!(topic, Some(1 + u64::from(HOME.0)));
        pair.unsubscribe(ALICE, RAW, channel);
        pair.deliver_all();
    }
    // A channel that was never there begins where no position of its past can be mistaken.
    pair.subscribe(ALICE, RAW, &name_at(HOME, 1));
    pair.deliver_all();
    assert_eq!(pair.snapshots().last().map(|at| at.offset), Some(6));
}

#[test]
fn a_subscription_begins_at_the_position_it_is_told() {
    let name = name_at(HOME, 0);
    let mut pair = Pair::new();
    pair.publish_at_home(&name, "before there is a record");
    pair.subscribe(ALICE, RAW, &name);
    pair.step_home();
    pair.publish_at_home(&name, "first");
    pair.publish_at_home(&name, "second");
    pair.step_near(); // the home's answer, with its position from before both
    pair.step_near();
    // Answered here, where the second has not come: it comes next.
    pair.subscribe(BOB, RAW, &name);
    pair.step_near();
    // Another encoding is asked for at home, and answered behind both.
    pair.subscribe(ALICE, WAMP, &name);
    pair.deliver_all();
    let told = pair.snapshots();
    assert_eq!(
        told.iter().map(|at| at.offset).collect::<Vec<_>>(),
        [1, 2, 3],
        "what was published before there was a record has a place, too"
    );
    assert!(told.iter().all(|at| at.epoch == told[0].epoch));
    // The epoch is the home's, whichever reactor says it.
    let (here, there) = (name_at(NEAR, 0), name_at(HOME, 1));
    pair.subscribe(ALICE, RAW, &here);
    pair.subscribe(ALICE, RAW, &there);
    pair.deliver_all();
    let others: Vec<u64> = pair.snapshots().iter().map(|at| at.epoch).collect();
    assert_ne!(others[0], told[0].epoch);
    assert_eq!(others[1], told[0].epoch);
}

#[test]
fn only_the_publishers_own_reactor_hears_of_the_exclusion() {
    let name = name_at(HOME, 0);
    let mut pair = Pair::new();
    pair.subscribe(ALICE, RAW, &name);
    pair.deliver_all();
    pair.done.clear();
    for publisher in [5, 0] {
        let shy = Publish {
            publisher,
            exclude_publisher: true,
            ..publish(&name, "x")
        };
        // The same key may be in use on both reactors.
        let mut out = Vec::new();
        pair.home
            .publish(shy.clone(), 0, &mut encode(&mut pair.encoded), &mut out)
            .expect("a good name");
        assert!(matches!(
            out[..],
            [Output::ToReactor(NEAR, Item::Deliver { exclude: None, .. })]
        ));
        pair.near
            .publish(shy, 0, &mut |_, _, _, _| unreachable!(), &mut pair.done)
            .expect("a good name");
        let out = std::mem::take(&mut pair.done);
        pair.sort(out);
        pair.deliver_all();
        let expected = (publisher != 0).then_some(publisher);
        assert!(matches!(pair.done[..], [Output::Deliver { exclude, .. }] if exclude == expected));
        pair.done.clear();
    }
}

#[test]
fn one_reactor_keeps_everything_to_itself() {
    let mut hub: Hub<&str, String> = Hub::new(options(NEAR, 1));
    let mut out = Vec::new();
    let channel = hub.subscribe(request(ALICE, RAW, "here", 4), 0, &mut out);
    let channel = channel.expect("within the limits");
    assert!(matches!(
        out[..],
        [Output::Subscribed {
            who: ALICE,
            token: 4,
            ..
        }]
    ));
    out.clear();
    let by_channel = Publish {
        target: PublishTo::Channel(channel),
        ack: Some(1),
        ..publish("", "x")
    };
    hub.publish(by_channel, 0, &mut encode(&mut Vec::new()), &mut out)
        .expect("the channel lives");
    assert!(matches!(
        out[..],
        [Output::Deliver { .. }, Output::Published { token: 1, .. }]
    ));
    assert!(hub.unsubscribe(ALICE, RAW, channel, &mut out));
    assert_eq!(out.len(), 2);
    assert_eq!(hub.counts(), Default::default());
}

#[test]
fn limits_are_kept_and_named() {
    let mut hub: Hub<&str, String> = Hub::new(options(NEAR, 1));
    let mut out = Vec::new();
    let mut subscribe = |name: &str| hub.subscribe(request(ALICE, RAW, name, 0), 0, &mut out);
    let too_long = NameError::TooLong {
        bytes: 11,
        bytes_max: 10,
    };
    assert_eq!(subscribe(""), Err(SubscribeError::Name(NameError::Empty)));
    assert_eq!(
        subscribe("01234567890"),
        Err(SubscribeError::Name(too_long))
    );
    for name in ["0123456789", "b", "c"] {
        subscribe(name).expect("within the limits");
    }
    let full = SubscribeError::ChannelsFull { channels_max: 3 };
    assert_eq!(subscribe("d"), Err(full));
    assert_eq!(full.to_string(), "there are 3 channels already");
    subscribe("c").expect("it is there already");
    let encode = &mut |_: &_, _, _, _: Route<'_>| unreachable!("refused");
    assert_eq!(
        hub.publish(publish("01234567890", "x"), 0, encode, &mut out),
        Err(PublishError::Name(too_long))
    );
    let nowhere = Publish {
        target: PublishTo::Channel(ChannelId(9)),
        ..publish("", "x")
    };
    assert_eq!(
        hub.publish(nowhere, 0, encode, &mut out),
        Err(PublishError::UnknownChannel(ChannelId(9)))
    );
    assert_eq!(hub.counts().local_channels, 3);
}
