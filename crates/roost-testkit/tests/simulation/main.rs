//! 256 days in the life of a server, each from a seed. `ROOST_SEED=n` replays one of them,
//! `ROOST_SEEDS=n` runs the first n.

use std::sync::atomic::{AtomicU64, Ordering};

use roost_testkit::simulation::{Report, run};

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|value| value.parse().expect("a number"))
}

#[test]
fn promises_are_kept_on_every_seed() {
    if let Some(seed) = from_env("ROOST_SEED") {
        let report = run(seed).unwrap_or_else(|broken| panic!("{broken}"));
        println!("{report:#?}");
        return;
    }
    let seeds = from_env("ROOST_SEEDS").unwrap_or(256);
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let work = || {
            let mut reports = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return reports;
                }
                reports.push(run(seed).unwrap_or_else(|broken| panic!("{broken}")));
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a seed failed"))
            .collect()
    });
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    println!(
        "{} seeds: {} peers opened, {} published, {} received, {} windows compared, \
         {} slow consumers, {} pings, {} turns",
        reports.len(),
        sum(|r| r.opened as u64),
        sum(|r| r.published as u64),
        sum(|r| r.received as u64),
        sum(|r| r.windows as u64),
        sum(|r| r.slow_consumers),
        sum(|r| r.pings),
        sum(|r| r.turns),
    );
    // Things did happen.
    if seeds >= 64 {
        assert!(
            sum(|r| r.windows as u64) > seeds * 50,
            "too few windows were compared"
        );
        assert!(sum(|r| r.slow_consumers) > 0, "no seed had a slow consumer");
        assert!(sum(|r| r.pings) > seeds * 10, "too few pings");
    }
}

#[test]
fn a_seed_gives_the_same_day_twice() {
    let once = run(7).unwrap_or_else(|broken| panic!("{broken}"));
    let twice = run(7).unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(once, twice);
    let other = run(8).unwrap_or_else(|broken| panic!("{broken}"));
    assert_ne!(once.trace, other.trace);
}
