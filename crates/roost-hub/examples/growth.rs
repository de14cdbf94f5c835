//! How long the hub takes: the slowest step while a million channels or subscribers come, and what
//! a walk through the subscribers costs.
//!
//! `cargo run --release -p roost-hub --example growth`
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use roost_hub::{
    Encoding, HistoryOptions, Hub, HubOptions, NamespaceId, Output, PatternOptions,
    PresenceOptions, Publish, PublishTo, ReactorId, Subscribe, Subscriber,
};

const MILLION: u32 = 1_000_000;
const RAW: Encoding = Encoding(0);

type TestHub = Hub<u64, u64>;

/// Each step does the same in each round, so the least of its times is without the noise of the
/// machine.
const ROUNDS: usize = 5;

fn main() {
    let names: Vec<String> = (0..MILLION).map(|n| format!("room:{n:015}")).collect();
    let mut own = Steps::new("subscribe, each to a channel of its own");
    let mut by_name = Steps::new("publish by name, one subscriber");
    let mut by_channel = Steps::new("publish by channel, one subscriber");
    let mut leave = Steps::new("unsubscribe");
    let mut shared = Steps::new("subscribe, all to one channel");
    let mut walk = Duration::MAX;
    for _ in 0..ROUNDS {
        let mut hub = hub();
        let mut channels = Vec::with_capacity(names.len());
        let mut out = Vec::new();
        own.run(|n| {
            out.clear();
            let name = &names[n as usize];
            let channel = hub.subscribe(request(n, name), 0, &mut out);
            channels.push(channel.expect("within the limits"));
        });
        by_name.run(|n| publish(&mut hub, PublishTo::Name(&names[n as usize]), &mut out));
        by_channel.run(|n| publish(&mut hub, PublishTo::Channel(channels[n as usize]), &mut out));
        leave.run(|n| {
            out.clear();
            hub.unsubscribe(Subscriber(n), RAW, channels[n as usize], &mut out);
        });
        shared.run(|n| {
            out.clear();
            hub.subscribe(request(n, "shared"), 0, &mut out)
                .expect("within the limits");
        });
        walk = walk.min(walk_shared(&hub));
    }
    for steps in [own, by_name, by_channel, leave, shared] {
        steps.print();
    }
    println!("walk a channel of a million and mark each record: {walk:?} a subscriber");
}

/// One walk through a million subscribers.
fn walk_shared(hub: &TestHub) -> Duration {
    let shared = hub.channel("shared").expect("subscribed");
    let mut marks = vec![1u32; MILLION as usize];
    let start = Instant::now();
    for who in hub.subscribers(shared, RAW) {
        marks[who.0 as usize] += 1;
    }
    let took = start.elapsed() / MILLION;
    black_box(&marks);
    took
}

/// The times of a million steps.
struct Steps {
    what: &'static str,
    least_ns: Vec<u32>,
}

impl Steps {
    fn new(what: &'static str) -> Self {
        Steps {
            what,
            least_ns: vec![u32::MAX; MILLION as usize],
        }
    }

    fn run(&mut self, mut step: impl FnMut(u32)) {
        let mut before = Instant::now();
        for (n, least) in (0..).zip(&mut self.least_ns) {
            step(n);
            let now = Instant::now();
            let took = (now - before).as_nanos();
            *least = (*least).min(u32::try_from(took).unwrap_or(u32::MAX));
            before = now;
        }
    }

    fn print(self) {
        let sum: u64 = self.least_ns.iter().map(|&ns| u64::from(ns)).sum();
        let slowest = self.least_ns.iter().max().copied().unwrap_or(0);
        let mean = sum / u64::from(MILLION);
        let slowest_us = slowest / 1000;
        println!("{}: mean {mean} ns, slowest {slowest_us} us", self.what);
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

fn publish(hub: &mut TestHub, target: PublishTo<'_>, out: &mut Vec<Output<u64, u64>>) {
    out.clear();
    let publish = Publish {
        target,
        publisher: 0,
        exclude_publisher: false,
        ack: None,
        payload: 0,
    };
    hub.publish(publish, 0, &mut |_, _, _, _| 0, out)
        .expect("a good name");
}

fn hub() -> TestHub {
    Hub::new(HubOptions {
        me: ReactorId(0),
        reactors: 1,
        hash_key: [3; 16],
        seed: 0,
        channels_max: u32::MAX,
        patterns: PatternOptions::default(),
        history: HistoryOptions::default(),
        presence: PresenceOptions::default(),
        channel_name_bytes_max: 255,
    })
}
