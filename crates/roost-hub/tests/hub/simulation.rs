//! Random operations over several hubs, compared with the model.
//!
//! `ROOST_SEED=n` runs one seed.

use std::env;
use std::panic::{self, AssertUnwindSafe};

use roost_hub::{ENCODINGS_MAX, HistoryLimits, PatternKind, Position, Since};
use roost_random::SplitMix64;

use crate::model::Check;
use crate::network::Fault;
use crate::sim::{PublishHow, Sim};

const SEEDS: u64 = 256;
const STEPS: usize = 400;

#[test]
fn every_subscriber_sees_one_order_and_misses_nothing() {
    let seeds = match env::var("ROOST_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("ROOST_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    let mut all = Recoveries::default();
    let is_whole = seeds.end - seeds.start == SEEDS;
    for seed in seeds {
        let ran = panic::catch_unwind(AssertUnwindSafe(|| run(seed, None, &mut all).0));
        let wrong = match ran {
            Ok(Ok(())) => continue,
            Ok(Err(wrong)) => wrong,
            Err(_) => "a panic, see above".to_owned(),
        };
        panic!("ROOST_SEED={seed}: {wrong}");
    }
    println!("{all:?}");
    let Recoveries {
        recovered,
        complete,
        lost,
    } = all;
    if is_whole {
        // Not all is lost, and not nothing.
        let least = recovered.min(complete).min(lost);
        assert!(least * 20 > recovered + complete + lost, "{all:?}");
    }
}

/// How subscriptions that asked for what was before were answered.
#[derive(Debug, Default, Clone, Copy)]
struct Recoveries {
    recovered: usize,
    complete: usize,
    lost: usize,
}

/// The model is no use if it does not notice. A fault may strike where nobody is left to see it,
/// so not every seed shows it.
#[test]
fn faults_between_reactors_are_noticed() {
    for (fault, share) in [
        (Fault::DropDeliver, 0.4),
        (Fault::DoubleDeliver, 0.5),
        (Fault::SwapDelivers, 0.5),
        (Fault::DropPublished, 1.0),
        (Fault::DropPublish, 1.0),
        (Fault::DropMatched, 0.4),
        (Fault::DoubleMatched, 0.4),
        (Fault::DropRecovered, 0.5),
        (Fault::DelayRecovered, 0.3),
    ] {
        let (mut struck, mut noticed, mut first) = (0, 0, None);
        for seed in 0..64 {
            let (check, did_strike) = run(seed, Some(fault), &mut Recoveries::default());
            assert!(
                did_strike || check.is_ok(),
                "{fault:?}, seed {seed}: {check:?}"
            );
            struck += u32::from(did_strike);
            noticed += u32::from(check.is_err());
            if let Err(wrong) = check {
                first.get_or_insert((seed, wrong));
            }
        }
        println!("{fault:?}: struck {struck}, noticed {noticed}, first {first:?}");
        assert!(struck >= 16, "{fault:?} struck {struck} times");
        assert!(
            f64::from(noticed) >= share * f64::from(struck),
            "{fault:?}: noticed {noticed} of {struck}"
        );
    }
}

/// One run. Also tells whether the fault struck.
fn run(seed: u64, fault: Option<Fault>, all: &mut Recoveries) -> (Check, bool) {
    let mut random = SplitMix64::new(seed);
    let reactors = 1 + random.below(4) as u8;
    let slots = 1 + random.below(5) as u32;
    let names = 1 + random.below(4);
    // Few, or more than a word of bits once held.
    let encodings_max = [4, 14][random.below(2) as usize];
    let encodings = 1 + random.below(encodings_max);
    // Sometimes fewer than are asked for.
    let patterns_max = [3, 1000][random.below(2) as usize];
    let key = random.next_u64();
    // Often little, so that it is full, and sometimes none.
    let history = (random.below(8) > 0).then(|| {
        let limits = HistoryLimits {
            messages_max: 1 + random.below(12) as u32,
            bytes_max: [40, 1_000][random.below(2) as usize],
            lifetime: 20 + random.below(100) as u32,
            answer_bytes_max: [250, 10_000][random.below(2) as usize],
            answer_messages_max: u32::MAX,
        };
        (limits, [300, 700, 10_000][random.below(3) as usize])
    });
    let mut sim = Sim::new(reactors, slots as usize, key, patterns_max, history);
    if let Some(fault) = fault {
        sim.network.inject(fault, random.below(10) as u32);
    }
    let ran = (0..STEPS)
        .try_for_each(|_| {
            let reactor = random.below(u64::from(reactors)) as u8;
            let who = random.below(u64::from(slots)) as u32;
            let encoding = (ENCODINGS_MAX as u64 - 1 - 4 * random.below(encodings)) as u8;
            let name = NAMES[random.below(names) as usize];
            let pattern = PATTERNS[random.below(PATTERNS.len() as u64) as usize];
            match random.below(110) {
                0..6 => sim.subscribe_pattern(reactor, who, encoding, pattern),
                6..10 => sim.unsubscribe_pattern(reactor, who, encoding, pattern),
                10..30 => sim.subscribe(reactor, who, encoding, name).map(drop),
                30..44 => sim.unsubscribe(reactor, who, encoding, name),
                44..46 => sim.close(reactor, who),
                46..48 => sim.hand_over(reactor),
                // It was away, and comes back.
                48..56 => {
                    let since = match sim.model.position_of(name, random.next_u64()) {
                        _ if random.below(8) == 0 => Since::Retained,
                        _ if random.below(8) == 0 => Since::Last(random.below(4) as u32),
                        Some(position) if random.below(16) > 0 => match random.below(6) {
                            0 => Since::Offset(position.offset),
                            1 => Since::Latest(Some(position)),
                            _ => Since::Position(position),
                        },
                        None if random.below(2) == 0 => Since::Latest(None),
                        _ => Since::Position(Position {
                            epoch: random.below(2),
                            offset: random.below(300),
                        }),
                    };
                    sim.unsubscribe(reactor, who, encoding, name)?;
                    sim.subscribe_since(reactor, who, encoding, name, since)
                }
                56..57 => {
                    sim.pass(1 + random.below(40) as u32);
                    Ok(())
                }
                57..76 => {
                    let [exclude, ack, by_channel] = [(); 3].map(|()| random.below(2) == 0);
                    let how = PublishHow {
                        exclude,
                        ack,
                        by_channel,
                    };
                    sim.publish(reactor, who, name, how)
                }
                76..109 => {
                    let pairs = sim.network.busy_pairs().max(1) as u64;
                    sim.step(random.below(pairs) as usize)
                }
                _ => {
                    sim.drain()?;
                    sim.check_quiescent()
                }
            }
        })
        .and_then(|()| sim.finish());
    all.recovered += sim.model.recovered;
    all.complete += sim.model.complete;
    all.lost += sim.model.lost;
    (ran, sim.network.struck())
}

/// The last is no pattern's but those that name it.
const NAMES: [&str; 4] = ["channel-0", "channel.1", "channel.1/b:x", "$sys.x"];

const PATTERNS: [(PatternKind, &str); 8] = [
    (PatternKind::Prefix, ""),
    (PatternKind::Prefix, "channel."),
    (PatternKind::Components, "channel."),
    (PatternKind::Components, "channel.1"),
    (PatternKind::Tokens, ">"),
    (PatternKind::Tokens, "$sys.*"),
    (PatternKind::Levels, "+/#"),
    (PatternKind::Levels, "channel.1/+"),
];
