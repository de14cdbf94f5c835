//! Comparisons: the arithmetic of the table, and servers that really run one by one and really end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use roost_load::compare::{self, Comparison, FORMAT, Figures, Options, Run, Spread, median, rows};
use roost_load::histogram::Latencies;
use roost_load::machine::Process;
use roost_load::output::{Deliveries, Document, PhaseResult};
use roost_load::plan::Settings;
use roost_load::progress::Progress;
use roost_load::{report, scenario};
use roost_net::process::end_with_parent;

// Arithmetic.

fn figures(per_cpu_second: f64) -> Figures {
    Figures {
        messages: 1_000,
        cpu_seconds: 1_000.0 / per_cpu_second,
        per_cpu_second,
        latency_ns: [per_cpu_second as u64, 2_000, 3_000],
        pss_bytes: 1 << 20,
        faults: Vec::new(),
    }
}

/// A row of figures for each server: one for each round.
fn comparison(servers: &[(&str, &[Figures])]) -> Comparison {
    let mut comparison = Comparison {
        format: FORMAT.to_owned(),
        name: "test".to_owned(),
        against: vec![0],
        ..Comparison::default()
    };
    for (server, (name, runs)) in servers.iter().enumerate() {
        let version = format!("{name} 1.0");
        comparison.servers.push(((*name).to_owned(), version));
        for (round, figures) in runs.iter().enumerate() {
            comparison.runs.push(Run {
                round,
                server,
                figures: figures.clone(),
                document: Document::default(),
            });
        }
    }
    comparison
}

#[test]
fn ratios_are_taken_within_a_round_and_medians_over_rounds() {
    let a = [100.0, 200.0, 50.0].map(figures);
    let b = [200.0, 200.0, 150.0].map(figures);
    let mut comparison = comparison(&[("a", &a), ("b", &b)]);
    let rows = rows(&comparison);
    let spread = |min, median, max| Some(Spread { min, median, max });
    assert_eq!(rows[0].ratios, [spread(1.0, 1.0, 1.0)]);
    // Of the two medians it would be 2 as well, but the extremes would be 0.75 and 4.
    assert_eq!(rows[1].ratios, [spread(1.0, 2.0, 3.0)]);
    let medians = rows[1].medians.as_ref().expect("all rounds were held");
    assert_eq!(medians.per_cpu_second, 200.0);
    assert_eq!(medians.latency_ns, [200, 2_000, 3_000]);
    assert!(rows[1].faults.is_empty());

    comparison.against = vec![1, 0];
    let table = comparison.table();
    assert!(
        table.contains("| × b (min…max) | × a (min…max) |"),
        "{table}"
    );
    assert!(
        table.contains("| 0.50 (0.33…1.00) | 1.00 (1.00…1.00) |"),
        "{table}"
    );
}

#[test]
fn medians_of_even_counts_and_of_nothing() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[3.0]), Some(3.0));
    assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), Some(3.0));
    assert_eq!(Spread::of(&[]), None);
}

#[test]
fn a_round_that_was_not_held_is_named_and_never_counted() {
    let mut lossy = figures(9_999.0);
    lossy.faults.push("3 lost".to_owned());
    let a = [100.0, 100.0, 100.0].map(figures);
    let b = [figures(200.0), lossy.clone(), figures(300.0)];
    let c = [lossy.clone(), lossy.clone(), lossy];
    let comparison = comparison(&[("a", &a), ("b", &b), ("c", &c)]);
    let rows = rows(&comparison);
    let ratio = rows[1].ratios[0].expect("two rounds were held");
    assert_eq!((ratio.min, ratio.median, ratio.max), (2.0, 2.5, 3.0));
    assert_eq!(rows[1].faults, [(2, "3 lost".to_owned())]);
    assert_eq!(rows[2].medians, None);
    assert_eq!(rows[2].ratios, [None]);

    let table = comparison.table();
    assert!(!comparison.is_clean());
    assert!(!table.contains("9999"), "{table}");
    assert!(table.contains("| c | not held |"), "{table}");
    assert!(table.contains("NOT HELD b, round 2: 3 lost"), "{table}");
    assert!(table.contains("| b | 250 |"), "{table}");
}

/// A run of two phases of which the second is measured: 500 deliveries in 0.25 s of CPU time.
fn document() -> Document {
    let mut latencies = Latencies::default();
    for us in 1..=1_000 {
        latencies.record(us * 1_000);
    }
    let summary = latencies.summary().expect("something was recorded");
    let measured = PhaseResult {
        held: 10,
        deliveries: Deliveries {
            received: 500,
            ..Deliveries::default()
        },
        latencies: BTreeMap::from([("delivery".to_owned(), summary)]),
        server: Some(Process {
            pss_bytes: 4_096,
            cpu_seconds: 7.0,
        }),
        server_cpu_seconds: Some(0.25),
        ..PhaseResult::default()
    };
    Document {
        phases: vec![PhaseResult::default(), measured],
        ..Document::default()
    }
}

#[test]
fn figures_are_those_of_the_measured_phase() {
    let figures = Figures::of(&document(), 1, 10);
    assert_eq!(figures.faults, Vec::<String>::new());
    assert_eq!((figures.messages, figures.per_cpu_second), (500, 2_000.0));
    assert_eq!(figures.pss_bytes, 4_096);
    let [p50, p99, p999] = figures.latency_ns.map(|ns| ns / 10_000);
    assert_eq!((p50, p99, p999), (50, 99, 100));
}

#[test]
fn whatever_went_wrong_keeps_a_figure_from_being_shown() {
    type Break = fn(&mut Document);
    let cases: [(&str, Break); 9] = [
        ("1 due and not sent", |d| d.phases[1].unsent_overdue = 1),
        ("1 lost", |d| d.phases[1].deliveries.lost = 1),
        ("1 doubled", |d| d.phases[1].deliveries.doubled = 1),
        ("1 reordered", |d| d.phases[1].deliveries.reordered = 1),
        ("1 corrupt", |d| d.phases[1].echoes.corrupt = 1),
        ("1 misrouted", |d| d.phases[1].deliveries.misrouted = 1),
        ("2 connections not held", |d| d.phases[1].held = 8),
        ("nothing was measured", |d| {
            d.phases[1].server_cpu_seconds = None;
        }),
        ("1 × refused", |d| {
            d.phases[0].failures.insert("refused".to_owned(), 1);
        }),
    ];
    for (expected, break_it) in cases {
        let mut document = document();
        break_it(&mut document);
        let faults = Figures::of(&document, 1, 10).faults;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with(expected), "{faults:?}");
    }
    assert!(!Figures::of(&document(), 2, 10).held());
}

// Real servers: floors, started by a script of the test's own.

/// Copies `text` to `program` in another process.
///
/// Written here, the file would be open for writing in each child that another test forks meanwhile,
/// until that child's `execve`, and to run it would fail with `ETXTBSY`.
fn make_executable(text: &Path, program: &Path) {
    let status = Command::new("install")
        .args(["-m", "755"])
        .args([text, program])
        .status()
        .expect("install runs");
    assert!(status.success(), "install: {status}");
}

struct Dir(PathBuf);

impl Dir {
    /// `run` notes each pid that becomes a server.
    fn new(name: &str) -> Dir {
        let name = format!("roost-load-peers-{}-{name}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).expect("a temporary directory");
        let floor = env!("CARGO_BIN_EXE_roost-load");
        let run = format!(
            "#!/bin/sh\n\
             [ \"$2\" != version ] || {{ echo \"a floor, $1\"; exit; }}\n\
             [ \"$1\" != broken ] || {{ echo 'no strength today' >&2; exit 3; }}\n\
             echo $$ >>'{pids}'\n\
             [ \"$1\" != joined ] || join=--join\n\
             exec '{floor}' floor --listen 127.0.0.1:$2 $join\n",
            pids = dir.join("pids").display()
        );
        fs::write(dir.join("run.text"), run).expect("it is written");
        make_executable(&dir.join("run.text"), &dir.join("run"));
        let servers = "[plain]\nchannels = 'raw'\necho = true\n\
                       [joined]\nchannels = 'raw'\n\
                       [broken]\nchannels = 'nats'\n";
        fs::write(dir.join("servers.toml"), servers).expect("it is written");
        Dir(dir)
    }

    fn options(&self, servers: &[&str]) -> Options {
        Options {
            peers: self.0.clone(),
            servers: servers.iter().map(|name| (*name).to_owned()).collect(),
            against: Vec::new(),
            rounds: 2,
            settings: Settings::default(),
        }
    }

    fn pids(&self) -> Vec<String> {
        let text = fs::read_to_string(self.0.join("pids")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fanout(time: &str) -> String {
    format!(
        r#"
        name = "small fan-out"
        [[topic]]
        name = "load"
        [[group]]
        name = "subscribers"
        count = 20
        subscribe = ["load"]
        [[group]]
        name = "publisher"
        count = 1
        publish = {{ topic = "load", window = 8, together = true }}
        [[phase]]
        do = "open"
        [[phase]]
        do = "traffic"
        time = "{time}"
        "#
    )
}

const ECHO: &str = r#"
    name = "small echo"
    [[group]]
    name = "busy"
    count = 10
    dialect = "echo"
    echo = {}
    [[phase]]
    do = "open"
    [[phase]]
    do = "traffic"
    time = "200ms"
"#;

fn is_gone(pid: &str) -> bool {
    // A zombie that is not reaped has ended, too.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn each_server_runs_and_ends() {
    let dir = Dir::new("runs");
    let fanout = scenario::parse(&fanout("300ms")).expect("a scenario");
    let options = dir.options(&["plain", "joined"]);
    let comparison = compare::compare(&fanout, &options, &Progress::new(true)).expect("floors run");
    let order: Vec<_> = comparison
        .runs
        .iter()
        .map(|run| (run.round, run.server))
        .collect();
    assert_eq!(order, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    for run in &comparison.runs {
        assert_eq!(run.figures.faults, Vec::<String>::new());
        let measured = &run.document.phases[1];
        assert_eq!(run.figures.messages, measured.sent * 20);
        assert_eq!(measured.sent % 8, 0, "eight together, or none");
    }
    let table = comparison.table();
    assert!(table.contains("× plain (min…max)"), "{table}");
    assert!(table.contains("joined: a floor, joined"), "{table}");
    let pids = dir.pids();
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(|pid| is_gone(pid)), "{pids:?}");

    let echo = scenario::parse(ECHO).expect("a scenario");
    let comparison =
        compare::compare(&echo, &dir.options(&["plain"]), &Progress::new(true)).expect("it runs");
    assert!(comparison.is_clean(), "{}", comparison.table());
    let page = report::page(&comparison.into_documents());
    assert!(page.contains("small echo: plain, round 2"));
}

#[test]
fn what_cannot_be_compared_is_said_before_anything_runs() {
    let dir = Dir::new("mistakes");
    let error_of = |text: &str, servers: &[&str]| {
        let scenario = scenario::parse(text).expect("a scenario");
        let result = compare::compare(&scenario, &dir.options(servers), &Progress::new(true));
        result.expect_err("this is no comparison")
    };
    let fanout = fanout("100ms");
    let unknown = error_of(&fanout, &["plain", "nobody"]);
    assert!(unknown.contains("broken, joined, plain"), "{unknown}");
    let silent = error_of(ECHO, &["plain", "joined"]);
    assert!(
        silent.contains("joined: group busy: it does not echo"),
        "{silent}"
    );
    let quiet = fanout.replace("traffic", "hold");
    let quiet = error_of(&quiet, &["plain"]);
    assert!(quiet.contains("needs a phase with traffic"), "{quiet}");
    let scenario = scenario::parse(&fanout).expect("a scenario");
    let mut absent = dir.options(&["plain"]);
    absent.against.push("joined".to_owned());
    let absent =
        compare::compare(&scenario, &absent, &Progress::new(true)).expect_err("it does not run");
    assert!(absent.contains("against joined"), "{absent}");
    assert_eq!(dir.pids(), Vec::<String>::new());

    let broken = error_of(&fanout, &["plain", "broken"]);
    assert!(broken.contains("exit status: 3"), "{broken}");
    assert!(broken.contains("no strength today"), "{broken}");
    assert!(dir.pids().iter().all(|pid| is_gone(pid)));
}

#[test]
fn a_server_ends_even_when_the_harness_is_killed() {
    let dir = Dir::new("killed");
    let file = dir.0.join("scenario.toml");
    fs::write(&file, fanout("60s")).expect("it is written");
    let mut harness = Command::new(env!("CARGO_BIN_EXE_roost-load"));
    harness
        .args(["compare", "--peers"])
        .args([dir.0.as_path(), file.as_path(), Path::new("plain")])
        .stderr(Stdio::null());
    let mut harness = end_with_parent(&mut harness)
        .spawn()
        .expect("the harness runs");
    wait_until("the server runs", || dir.pids().len() == 1);
    let pid = dir.pids().remove(0);
    assert!(!is_gone(&pid));
    harness.kill().expect("it runs");
    harness.wait().expect("it was killed");
    wait_until("the server has ended", || is_gone(&pid));
}

pub(crate) fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not in 20 s");
        thread::sleep(Duration::from_millis(10));
    }
}
