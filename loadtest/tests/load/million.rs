//! The bars of `million.sh`: what reaches them passes, what misses one by a little fails, and what
//! was not run is not said to have passed. And the script's parts of a million.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use roost_load::histogram::Latencies;
use roost_load::machine::Process;
use roost_load::million::{self, Verdict};
use roost_load::output::{
    AfterResult, Deliveries, Document, KernelGrowth, PhaseResult, Sample, Slope,
};

const ALL: u64 = 1_000;

/// A directory of results, removed with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let name = format!("roost-load-million-{}-{name}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).expect("a temporary directory");
        Dir(dir)
    }

    fn write(&self, name: &str, document: &Document) {
        let text = serde_json::to_string(document).expect("JSON");
        let file = self.0.join(format!("million-{name}.json"));
        fs::write(file, text).expect("it is written");
    }

    fn verdicts(&self, runs: &[&str]) -> BTreeMap<String, Verdict> {
        let runs: Vec<String> = runs.iter().map(|run| (*run).to_owned()).collect();
        let rows = million::rows(&self.0, &runs, ALL).expect("files of runs");
        rows.into_iter()
            .map(|row| (row.what, row.verdict))
            .collect()
    }

    /// What fails.
    fn failures(&self) -> Vec<String> {
        let all = self.verdicts(&[]).into_iter();
        all.filter(|(_, verdict)| *verdict == Verdict::Fail)
            .map(|(what, _)| what)
            .collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn process(pss_bytes: u64) -> Option<Process> {
    Some(Process {
        pss_bytes,
        cpu_seconds: 1.0,
    })
}

/// A run that reaches every bar, none of them by much.
fn common() -> Document {
    let all = |name: &str| PhaseResult {
        name: name.to_owned(),
        seconds: 10.0,
        held_before: Some(ALL),
        held: ALL,
        ..PhaseResult::default()
    };
    let phases = vec![
        PhaseResult {
            name: "warm-up: publish".to_owned(),
            held: 20,
            sent: 1,
            deliveries: once(19),
            ..PhaseResult::default()
        },
        PhaseResult {
            name: "warm-up: close".to_owned(),
            closed: 20,
            server: process(1_000_000),
            ..PhaseResult::default()
        },
        PhaseResult {
            begun: ALL,
            ..all("open 100 %")
        },
        PhaseResult {
            pings: ALL,
            server: process(99_000),
            server_cpu_seconds: Some(0.0069),
            kernel: KernelGrowth {
                slab_grown_bytes: ALL as i64 * 2 * 2_500,
                ..KernelGrowth::default()
            },
            ..all("hold")
        },
        PhaseResult {
            sent: 6,
            deliveries: once(6 * ALL),
            ..all("publish to all")
        },
        PhaseResult {
            name: "close".to_owned(),
            closed: ALL,
            server: process(1_200_000),
            ..PhaseResult::default()
        },
    ];
    Document {
        phases,
        slope: Some(Slope {
            points: Vec::new(),
            bytes_per_connection: 95.9,
        }),
        after: Some(AfterResult {
            seconds: 1.0,
            server: process(1_049_000),
            counters: vec![("channels".to_owned(), 3, 3)],
        }),
        samples: vec![
            sample(1.0, 21 << 30),
            sample(2.0, (22 << 30) - 300),
            sample(899.0, 1),
        ],
        ..Document::default()
    }
}

fn once(received: u64) -> Deliveries {
    Deliveries {
        received,
        ..Deliveries::default()
    }
}

fn sample(s: f64, slab: i64) -> Sample {
    Sample {
        s,
        pss_bytes: Some(100),
        client_pss_bytes: Some(200),
        slab_grown_bytes: Some(slab),
        ..Sample::default()
    }
}

/// `idle` that opened so many in so many seconds.
fn opened(connections: u64, seconds: f64, rings: &str) -> Document {
    let mut latencies = Latencies::default();
    (0..connections).for_each(|_| latencies.record(1_000));
    let connect = latencies.summary().expect("some were opened");
    Document {
        settings: BTreeMap::from([("rings".to_owned(), rings.to_owned())]),
        phases: vec![PhaseResult {
            seconds,
            begun: connections,
            held: connections,
            latencies: BTreeMap::from([("connect".to_owned(), connect)]),
            ..PhaseResult::default()
        }],
        ..Document::default()
    }
}

#[test]
fn each_bar_is_passed_and_missed_by_a_little() {
    let dir = Dir::new("bars");
    dir.write("common", &common());
    assert_eq!(dir.failures(), Vec::<String>::new());
    let passed = dir.verdicts(&[]).into_values();
    assert_eq!(passed.filter(|all| *all == Verdict::Pass).count(), 9);

    type Change = fn(&mut Document);
    let changes: [(&str, Change); 17] = [
        ("held, common", |run| run.phases[2].lost = 1),
        ("held, common", |run| run.phases[2].failed = 1),
        ("held, common", |run| run.interrupted = true),
        ("publish to all, common", |run| {
            run.phases[4].deliveries.received -= 1;
        }),
        ("publish to all, common", |run| {
            run.phases[4].deliveries.doubled = 1;
        }),
        ("publish to all, common", |run| run.phases[4].held -= 1),
        (
            "server's memory per connection (slope of PSS), common",
            |run| {
                run.slope.as_mut().expect("a slope").bytes_per_connection = 96.1;
            },
        ),
        ("the same as a share of the kernel's own, common", |run| {
            run.phases[3].kernel.slab_grown_bytes = ALL as i64 * 2 * 2_390;
        }),
        (
            "CPU per quiet connection and second, with pings, common",
            |run| {
                run.phases[3].server_cpu_seconds = Some(0.0071);
            },
        ),
        (
            "CPU per quiet connection and second, with pings, common",
            |run| {
                run.phases[3].pings = 0;
            },
        ),
        (
            "CPU per quiet connection and second, with pings, common",
            |run| {
                run.phases[3].held_before = Some(ALL - 1);
            },
        ),
        ("memory after, against after the warm-up, common", |run| {
            run.after.as_mut().expect("after").server = process(1_051_000);
        }),
        ("memory after, against after the warm-up, common", |run| {
            run.after.as_mut().expect("after").server = None;
        }),
        ("counters after, common", |run| {
            run.after.as_mut().expect("after").counters[0].2 = 4;
        }),
        ("counters after, common", |run| {
            run.after.as_mut().expect("after").counters.clear();
        }),
        (
            "most memory in all (server, harness, slab), common",
            |run| {
                run.samples[1].client_pss_bytes = Some(201);
            },
        ),
        ("time, common", |run| run.samples[2].s = 901.0),
    ];
    for (what, change) in changes {
        let mut run = common();
        change(&mut run);
        dir.write("common", &run);
        assert_eq!(dir.failures(), [what]);
    }
}

/// The run over TLS, as dear as it may be beside `common`.
fn wss() -> Document {
    let mut run = common();
    run.slope.as_mut().expect("a slope").bytes_per_connection = 95.9 + 231.9;
    run.phases[3].server_cpu_seconds = Some(0.0069 * 1.19);
    run.phases[3].server = process(4_499_000_000 - ALL * 2_500);
    run
}

#[test]
fn the_bars_of_tls_are_passed_and_missed_by_a_little() {
    let dir = Dir::new("wss");
    dir.write("common", &common());
    dir.write("wss", &wss());
    assert_eq!(dir.failures(), Vec::<String>::new());
    let passed = dir.verdicts(&[]).into_iter();
    let passed = passed.filter(|(what, verdict)| what.contains("wss") && *verdict == Verdict::Pass);
    assert_eq!(passed.count(), 9);

    let bytes = "server's memory per connection (slope of PSS), wss, above common's";
    let cpu = "the same, wss, as a multiple of common's";
    let in_all = "server's memory in all (PSS, half of the slab), wss";
    type Change = fn(&mut Document);
    let changes: [(&str, Change); 5] = [
        (bytes, |run| {
            run.slope.as_mut().expect("a slope").bytes_per_connection += 0.2;
        }),
        (cpu, |run| {
            run.phases[3].server_cpu_seconds = Some(0.0069 * 1.21)
        }),
        (in_all, |run| {
            run.phases[3].server = process(4_501_000_000 - ALL * 2_500)
        }),
        (in_all, |run| {
            run.phases[3].kernel.slab_grown_bytes += 4_000_000
        }),
        ("held, wss", |run| run.phases[2].failed = 1),
    ];
    for (what, change) in changes {
        let mut run = wss();
        change(&mut run);
        dir.write("wss", &run);
        assert_eq!(dir.failures(), [what]);
    }
}

#[test]
fn what_tls_costs_is_not_known_without_the_plain_run() {
    let dir = Dir::new("wss-alone");
    dir.write("wss", &wss());
    let what = "the same, wss, as a multiple of common's";
    assert_eq!(dir.verdicts(&["wss"])[what], Verdict::NotRun);
    assert_eq!(dir.verdicts(&["wss"])["held, wss"], Verdict::Pass);
    assert_eq!(dir.verdicts(&["common", "wss"])[what], Verdict::Fail);
    dir.write("common", &common());
    assert_eq!(dir.verdicts(&["common", "wss"])[what], Verdict::Pass);
}

#[test]
fn what_was_not_run_has_not_passed() {
    let dir = Dir::new("not-run");
    dir.write("common", &common());
    assert_eq!(dir.verdicts(&[])["held, own"], Verdict::NotRun);
    // It was asked for and left nothing.
    assert_eq!(dir.verdicts(&["common", "own"])["held, own"], Verdict::Fail);
    // It is there and was not asked for.
    assert_eq!(dir.verdicts(&["own"])["held, common"], Verdict::NotRun);
}

#[test]
fn the_connect_rate_is_that_of_rounds_with_as_many_connections_and_rings() {
    let what = "connect rate, of bare TCP's";
    let dir = Dir::new("rate");
    let round = |n: u32, bare: &Document, daemon: &Document| {
        dir.write(&format!("rate-bare-{n}"), bare);
        dir.write(&format!("rate-daemon-{n}"), daemon);
    };
    // 59, 61 and 90 per cent: the middle one counts.
    for (n, seconds) in [(1, 1.0 / 0.59), (2, 1.0 / 0.61), (3, 1.0 / 0.9)] {
        round(n, &opened(100, 1.0, "2"), &opened(100, seconds, "2"));
    }
    assert_eq!(dir.verdicts(&[])[what], Verdict::Pass);
    round(2, &opened(100, 1.0, "2"), &opened(100, 1.0 / 0.595, "2"));
    assert_eq!(dir.verdicts(&[])[what], Verdict::Fail);
    round(2, &opened(100, 1.0, "2"), &opened(100, 1.0, "2"));
    assert_eq!(dir.verdicts(&[])[what], Verdict::Pass);
    round(2, &opened(100, 1.0, "2"), &opened(100, 1.0, "3"));
    assert_eq!(dir.verdicts(&[])[what], Verdict::Fail);
    round(2, &opened(100, 1.0, "2"), &opened(99, 1.0, "2"));
    assert_eq!(dir.verdicts(&[])[what], Verdict::Fail);
}

/// The script's own substitutions, for numbers that other numbers' parts are equal to.
#[test]
fn parts_of_another_number_than_a_million_are_its_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = fs::read_to_string(folder.join("million.sh")).expect("the script");
    let (_, from) = script.split_once("    sed -e ").expect("its substitutions");
    let (sed, _) = from
        .split_once("loadtest/scenarios")
        .expect("of a scenario");
    let sed = sed.trim_end().trim_end_matches('"');
    for connections in [50, 100_000, 2_000_000, 5_000_000, 50_000_000] {
        let shell = format!("connections={connections}; sed -e {sed} \"$1\"");
        let scenario = folder.join("scenarios/million-common.toml");
        let ran = Command::new("sh")
            .arg("-c")
            .arg(shell)
            .arg("sh")
            .arg(scenario)
            .output();
        let ran = ran.expect("sh runs");
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let text = String::from_utf8(ran.stdout).expect("UTF-8");
        let numbers: Vec<u64> = text
            .lines()
            .filter(|line| line.starts_with("upto") || line.starts_with("count"))
            .filter_map(|line| line.split(" = ").nth(1)?.parse().ok())
            .collect();
        let parts = [connections / 50, connections / 5, connections / 2];
        assert_eq!(numbers[..2], [1, connections], "{text}");
        assert_eq!(numbers[2..], parts, "{text}");
    }
}

#[test]
fn the_busy_are_compared_with_themselves_alone() {
    let what = "echo of 100 connections beside quiet ones";
    let dir = Dir::new("busy");
    let echo = |us: u64| {
        let mut latencies = Latencies::default();
        latencies.record(us * 1_000);
        let echo = latencies.summary().expect("one was recorded");
        Document {
            phases: vec![PhaseResult {
                name: "traffic".to_owned(),
                echoes: once(1),
                latencies: BTreeMap::from([("echo".to_owned(), echo)]),
                ..PhaseResult::default()
            }],
            ..Document::default()
        }
    };
    dir.write("busy", &common());
    dir.write("busy-alone", &echo(100));
    assert_eq!(dir.verdicts(&[])[what], Verdict::Fail);
    dir.write("busy-beside", &echo(149));
    assert_eq!(dir.verdicts(&[])[what], Verdict::Pass);
    dir.write("busy-beside", &echo(151));
    assert_eq!(dir.verdicts(&[])[what], Verdict::Fail);
}
