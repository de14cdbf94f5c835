//! Heap bytes, counted by the allocator: what a channel and a subscription cost, and that the data
//! path allocates nothing once warm. Without the test harness, whose thread allocates as well.
//!
//! `cargo test -p roost-hub --test memory` prints the table.

use std::alloc::System;

use roost_hub::{
    ChannelId, Encoding, EncodingSet, HistoryLimits, HistoryNamespace, HistoryOptions, Hub,
    HubOptions, Item, Member, NamespaceId, Output, PatternOptions, Payload, PresenceLimits,
    PresenceOptions, Publish, PublishTo, ReactorId, Route, Subscribe, Subscriber,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A shared frame would not count here: only the hub's own bytes do.
type TestHub = Hub<u64, u64>;

const RAW: Encoding = Encoding(0);

fn main() {
    channels_of_one_subscriber();
    shared_channels();
    histories();
    members();
    nothing_allocated_when_warm();
}

/// The bar: name, both tables' records, index entries and interest in 144 bytes with names of 20
/// bytes, in 108 with short ones.
fn channels_of_one_subscriber() {
    println!("channels of one subscriber, bytes each:");
    // Over a doubling, since the index is fuller at some sizes than at others.
    for (reactors, channels, digits, bytes_max) in [
        (1u16, 33_000u32, 15, 144.0),
        (1, 46_000, 15, 144.0),
        (1, 66_000, 15, 144.0),
        (4, 50_000, 15, 144.0),
        (1, 46_000, 10, 108.0),
        (4, 50_000, 10, 108.0),
    ] {
        let before = heap_bytes();
        let mut hubs = hubs(reactors);
        let reactor = |n| (n % u32::from(reactors)) as u8;
        let name = |n| format!("room:{n:0digits$}");
        for n in 0..channels {
            subscribe(&mut hubs, reactor(n), n, &name(n));
        }
        let each = (heap_bytes() - before) as f64 / f64::from(channels);
        let said: usize = hubs.iter().map(Hub::memory_bytes).sum();
        let said = said as f64 / f64::from(channels);
        for n in 0..channels {
            unsubscribe(&mut hubs, reactor(n), n, &name(n));
        }
        let left = (heap_bytes() - before) as f64 / f64::from(channels);
        println!(
            "  {channels} channels, names of {} bytes, {reactors} reactors: {each:.1}, said {said:.1}, left {left:.1}",
            name(0).len()
        );
        assert!(each <= bytes_max, "{each} bytes");
        assert!(
            (each - said).abs() < each / 50.0,
            "{each} bytes, not {said}"
        );
        assert!(left < each / 50.0, "{left} bytes a channel are left");
    }
}

/// The bar: well below 12 bytes for an edge in a channel that many share.
fn shared_channels() {
    println!("one shared channel, bytes for a subscription:");
    for (subscribers, bytes_max) in [
        (16, 9.0),
        (64, 6.0),
        (1000, 4.0),
        (20_000, 2.5),
        (1_000_000, 0.2),
    ] {
        let steps = [("dense", 1), ("scattered", 1_000_000 / subscribers)];
        // A million are everywhere.
        let steps = &steps[..if subscribers < 1_000_000 { 2 } else { 1 }];
        for (spread, step) in steps {
            let mut hub = TestHub::new(options(0, 1));
            let mut out = Vec::with_capacity(4);
            hub.subscribe(request(0, "shared"), 0, &mut out)
                .expect("within the limits");
            let before = heap_bytes();
            for n in 1..subscribers {
                out.clear();
                hub.subscribe(request(n * step, "shared"), 0, &mut out)
                    .expect("within the limits");
            }
            let each = (heap_bytes() - before) as f64 / f64::from(subscribers);
            println!("  {subscribers:>7} subscribers, {spread}: {each:.2}");
            assert!(each <= bytes_max, "{each} bytes, not {bytes_max}");
        }
    }
}

/// As large as what reactors publish, with its bytes somewhere else.
#[derive(Clone)]
struct Publication([u64; 4]);

impl Payload for Publication {
    fn bytes(&self) -> usize {
        usize::try_from(self.0[0]).expect("small")
    }
}

/// The bar: 40 bytes an entry beside its payload, and nothing for a channel that is forgotten.
fn histories() {
    const CHANNELS: u32 = 1_000;
    const ENTRIES: u32 = 100;
    let limits = HistoryLimits {
        messages_max: ENTRIES,
        bytes_max: u64::MAX,
        lifetime: 10,
        answer_bytes_max: u64::MAX,
        answer_messages_max: u32::MAX,
    };
    let history = HistoryOptions {
        namespaces: [HistoryNamespace {
            name: String::new(),
            limits: Some(limits),
        }]
        .into(),
        bytes_max: u64::MAX,
    };
    let mut hub: Hub<Publication, u64> = Hub::new(HubOptions {
        history,
        ..options(0, 1)
    });
    let mut out = Vec::new();
    let before = heap_bytes();
    let mut publish = |hub: &mut Hub<Publication, u64>, n: u32| {
        let name = format!("room:{n:010}");
        let encode = &mut |_: &Publication, _, _, _: Route<'_>| 0;
        hub.publish_at_home(&name, Publication([0; 4]), 0, encode, &mut out);
    };
    (0..CHANNELS).for_each(|n| publish(&mut hub, n));
    let remembered = heap_bytes() - before;
    // More than are kept, so that each ring is full.
    for _ in 0..ENTRIES + 20 {
        (0..CHANNELS).for_each(|n| publish(&mut hub, n));
    }
    let full = heap_bytes() - before;
    let first = remembered as f64 / f64::from(CHANNELS);
    let each = full as f64 / f64::from(CHANNELS * ENTRIES);
    hub.expire(11);
    let left = (heap_bytes() - before) as f64 / f64::from(CHANNELS);
    println!(
        "histories: a channel with one entry {first:.1} bytes, an entry of {ENTRIES} {each:.1}, a channel that \
         is forgotten {left:.1}"
    );
    assert!(each <= 40.0 + first / f64::from(ENTRIES), "{each} an entry");
    assert!(first <= 440.0, "{first} a channel");
    assert_eq!(hub.counts().history_channels, 0);
    assert!(left < 1.0, "{left} of a channel that is forgotten");
}

/// The bar: 72 bytes for a member with a short name of its own, as the limit counts it, and nothing for one
/// that has left.
fn members() {
    println!("presence, bytes for a member:");
    for (channels, each) in [
        (20_000u32, 2u32),
        (2_000, 20),
        (200, 300),
        (50, 1_000),
        (20, 1_800),
    ] {
        let limits = PresenceLimits {
            members_max: 10_000,
            notify: None,
            by_user: false,
        };
        let mut hub = TestHub::new(HubOptions {
            presence: PresenceOptions {
                namespaces: [Some(limits)].into(),
                bytes_max: u64::MAX,
                encodings: EncodingSet::EMPTY,
            },
            ..options(0, 1)
        });
        let mut numbers = Vec::new();
        let mut out = Vec::with_capacity(64);
        // What subscriptions cost is measured above.
        for n in 0..channels {
            for slot in 0..each {
                let name = format!("room:{n:010}");
                let channel = hub.subscribe(request(slot, &name), 0, &mut out);
                numbers.push(channel.expect("within the limits"));
                out.clear();
            }
        }
        let before = heap_bytes();
        let mut join = |nth: u32| {
            let (channel, slot) = (numbers[nth as usize], nth % each);
            let member = Member {
                client: u64::from(nth),
                user: format!("user{nth}").into(),
                info: None,
                who: Subscriber(slot),
                generation: 0,
                reactor: ReactorId(0),
            };
            hub.join(channel, member, 0, &mut out);
        };
        let count = channels * each;
        (0..count).for_each(&mut join);
        let full = heap_bytes() - before;
        let one = full as f64 / f64::from(count);
        let said = hub.counts().presence_bytes as f64 / f64::from(count);
        for nth in 0..count {
            hub.unsubscribe(Subscriber(nth % each), RAW, numbers[nth as usize], &mut out);
        }
        println!("  {channels} channels of {each}: {one:.1}, counted as {said:.1}");
        assert!(one <= said, "{one} bytes, counted as {said}");
        if each >= 300 {
            assert!(one <= 72.0, "{one} bytes");
        }
        assert_eq!(hub.counts().presence_bytes, 0);
    }
}

fn nothing_allocated_when_warm() {
    let mut hub = TestHub::new(options(0, 1));
    let mut out = Vec::new();
    let mut channels = Vec::new();
    for n in 0..100u32 {
        let name = format!("room:{}", n / 10);
        let channel = hub.subscribe(request(n, &name), 0, &mut out);
        channels.push(channel.expect("within the limits"));
    }
    let mut deliveries = [0u32; 100];
    let mut tick = || {
        out.clear();
        for &channel in &channels {
            let publish = Publish {
                target: PublishTo::Channel(channel),
                publisher: 0,
                exclude_publisher: false,
                ack: Some(0),
                payload: 0,
            };
            hub.publish(publish, 0, &mut |_, _, _, _| 0, &mut out)
                .expect("the channel lives");
        }
        for output in &out {
            if let Output::Deliver {
                channel, frames, ..
            } = output
            {
                for (encoding, _) in frames.iter() {
                    for who in hub.subscribers(*channel, encoding) {
                        deliveries[who.0 as usize] += 1;
                    }
                }
            }
        }
    };
    tick();
    // The test harness's own thread may allocate meanwhile: one quiet tick of many is enough.
    let allocations = (0..20).map(|_| {
        let before = HEAP.stats();
        tick();
        let after = HEAP.stats();
        after.allocations + after.reallocations - before.allocations - before.reallocations
    });
    assert_eq!(allocations.min(), Some(0), "allocations in a warm tick");
}

fn hubs(reactors: u16) -> Vec<TestHub> {
    (0..reactors)
        .map(|me| TestHub::new(options(me as u8, reactors)))
        .collect()
}

fn options(me: u8, reactors: u16) -> HubOptions {
    HubOptions {
        me: ReactorId(me),
        reactors,
        hash_key: [3; 16],
        seed: 0,
        channels_max: u32::MAX,
        patterns: PatternOptions::default(),
        history: HistoryOptions::default(),
        presence: PresenceOptions::default(),
        channel_name_bytes_max: 255,
    }
}

fn request(who: u32, name: &str) -> Subscribe<'_> {
    Subscribe {
        who: Subscriber(who),
        encoding: RAW,
        name,
        namespace: NamespaceId(0),
        token: 0,
    }
}

fn subscribe(hubs: &mut [TestHub], reactor: u8, who: u32, name: &str) -> ChannelId {
    let mut out = Vec::new();
    let channel = hubs[usize::from(reactor)]
        .subscribe(request(who, name), 0, &mut out)
        .expect("within the limits");
    carry(hubs, reactor, out);
    channel
}

fn unsubscribe(hubs: &mut [TestHub], reactor: u8, who: u32, name: &str) {
    let mut out = Vec::new();
    let hub = &mut hubs[usize::from(reactor)];
    let channel = hub.channel(name).expect("subscribed before");
    assert!(hub.unsubscribe(Subscriber(who), RAW, channel, &mut out));
    carry(hubs, reactor, out);
}

/// Takes items to their reactors until there are none.
fn carry(hubs: &mut [TestHub], from: u8, out: Vec<Output<u64, u64>>) {
    for output in out {
        if let Output::ToReactor(to, item) = output {
            assert!(!matches!(item, Item::Deliver { .. }), "nobody publishes");
            let mut answers = Vec::new();
            hubs[usize::from(to.0)].handle(
                ReactorId(from),
                item,
                0,
                &mut |_, _, _, _| unreachable!("nobody publishes"),
                &mut answers,
            );
            carry(hubs, to.0, answers);
        }
    }
}

fn heap_bytes() -> usize {
    let stats = HEAP.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}
