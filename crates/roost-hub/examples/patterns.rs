//! What patterns cost those who publish: `cargo run --release -p roost-hub --example patterns --
//! KIND PATTERNS NAMES PUBLICATIONS` subscribes to so many patterns of a kind (`prefix`,
//! `components`, `tokens`, `levels`), none of which matches, and publishes so often, to so many names in turn. With a name of its own
//! each is subscribed to (`live`) or not (`bare`).
//!
//! `scripts/pattern-cost.py` counts the instructions of a publication with it.
#![expect(
    clippy::print_stdout,
    reason = "it prints what a pattern takes at its home"
)]

use std::env;
use std::hint::black_box;

use roost_hub::{
    Encoding, Hub, HubOptions, NamespaceId, Output, Pattern, PatternKind, PatternOptions, Publish,
    PublishTo, ReactorId, Subscribe, SubscribePattern, Subscriber,
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
    let names: Vec<String> = (0..number(names))
        .map(|n| format!("com.example.room.{n:06}"))
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
        let (kind, text) = match kind.as_str() {
            "prefix" => (PatternKind::Prefix, format!("com.example.device.{n:06}.")),
            "components" => (PatternKind::Components, format!("com..device.{n:06}.")),
            "tokens" => (PatternKind::Tokens, format!("com.*.device.{n:06}.>")),
            "levels" => (PatternKind::Levels, format!("com/+/device/{n:06}/#")),
            other => panic!("no kind {other}"),
        };
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
    }
}
