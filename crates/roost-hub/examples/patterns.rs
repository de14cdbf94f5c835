//! What patterns cost those who publish: `cargo run --release -p roost-hub --example patterns --
//! KIND PATTERNS live|bare NAMES PUBLICATIONS` subscribes to so many patterns of a kind (`prefix`,
//! `components`, `tokens`, `levels`, or `arrangements`, which are components with fifteen arrangements
//! of wildcards), and publishes so often, to so many names in turn, which have as many levels but
//! match none. Each name is subscribed to (`live`) or not (`bare`).
//!
//! `scripts/pattern-cost.py` counts the instructions of a publication with it.
#![expect(
    clippy::print_stdout,
    reason = "it prints what a pattern takes at its home"
)]

use std::env;
use std::hint::black_box;

use roost_hub::{
    Encoding, HistoryOptions, Hub, HubOptions, NamespaceId, Output, Pattern, PatternKind,
    PatternOptions, PresenceOptions, Publish, PublishTo, ReactorId, Subscribe, SubscribePattern,
    Subscriber,
};

const RAW: Encoding = Encoding(0);

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [kind, patterns, what, names, publications] = &args[..] else {
        panic!("KIND PATTERNS live|bare NAMES PUBLICATIONS");
    };
    let number = |text: &String| text.parse::<u32>().expect("a number");
    let mut hub: Hub<u64, u64> = Hub::new(options());
    let mut out: Vec<Output<u64, u64>> = Vec::new();
    let separator = if kind == "levels" { "/" } else { "." };
    let names: Vec<String> = (0..number(names))
        .map(|n| format!("com.example.room.{n:06}").replace('.', separator))
        .collect();
    for (name, n) in names.iter().zip(0..) {
        if what == "live" {
            let subscribe = Subscribe {
                who: Subscriber(n),
                encoding: RAW,
                name,
                namespace: NamespaceId(0),
                token: 0,
            };
            hub.subscribe(subscribe, 0, &mut out)
                .expect("there is room");
        }
    }
    let before = hub.memory_bytes();
    for n in 0..number(patterns) {
        let (kind, text) = pattern(kind, n);
        let subscribe = SubscribePattern {
            who: Subscriber(n),
            encoding: RAW,
            pattern: Pattern::new(kind, &text, 255).expect("a pattern"),
            token: 0,
        };
        out.clear();
        hub.subscribe_pattern(subscribe, 0, &mut out)
            .expect("there is room");
    }
    if number(patterns) > 0 {
        let each = (hub.memory_bytes() - before) / number(patterns) as usize;
        println!("{each} bytes a pattern, on the reactor of its subscriber, which is its home");
    }
    for n in 0..number(publications) {
        out.clear();
        let name = &names[n as usize % names.len()];
        let publish = Publish {
            target: PublishTo::Name(name),
            publisher: 0,
            exclude_publisher: false,
            ack: None,
            payload: 0,
        };
        hub.publish(publish, 0, &mut |_, _, _, _| 0, &mut out)
            .expect("a good name");
        black_box(&out);
    }
}

/// The pattern of a number: its literal beginning is that of the names, or differs at once.
fn pattern(kind: &str, n: u32) -> (PatternKind, String) {
    match kind {
        "prefix" => (PatternKind::Prefix, format!("com.example.ro.{n:06}")),
        "components" => (PatternKind::Components, format!("com..device.{n:06}")),
        "tokens" => (PatternKind::Tokens, format!("com.*.{n:06}.>")),
        "levels" => (PatternKind::Levels, format!("com/+/device/{n:06}/#")),
        "arrangements" => {
            let level = |level: u32| match ((n % 15) >> level) & 1 {
                1 => String::new(),
                _ => format!("{n:06}"),
            };
            let levels: Vec<String> = (0..4).map(level).collect();
            (PatternKind::Components, levels.join("."))
        }
        other => panic!("no kind {other}"),
    }
}

fn options() -> HubOptions {
    HubOptions {
        me: ReactorId(0),
        reactors: 1,
        hash_key: [3; 16],
        seed: 0,
        channels_max: u32::MAX,
        channel_name_bytes_max: 255,
        patterns: PatternOptions {
            patterns_max: u32::MAX,
            ..PatternOptions::default()
        },
        history: HistoryOptions::default(),
        presence: PresenceOptions::default(),
    }
}
