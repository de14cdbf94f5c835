//! What `loadtest/million.sh` found, against its bars, in one table. Reads the files of its runs and
//! measures nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::compare::median;
use crate::output::{Deliveries, Document, PhaseResult};
use crate::preflight::mebibytes;

/// One figure and its bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The figure.
    pub what: String,
    /// What it must be; empty when it is shown beside others only.
    pub bar: String,
    /// What it is.
    pub measured: String,
    /// Whether that is enough.
    pub verdict: Verdict,
}

/// Whether a figure reaches its bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Pass,
    /// It does not, or should have been measured and was not.
    Fail,
    /// Its run was not asked for.
    NotRun,
    /// It has no bar.
    Shown,
}

/// All figures of the runs in `dir`. `runs`: those that were asked for, and no others count; none:
/// whatever is there. `connections`: how many should have been held.
///
/// # Errors
/// When a file is there and is not that of a run.
pub fn rows(dir: &Path, runs: &[String], connections: u64) -> Result<Vec<Row>, String> {
    let runs = Runs::read(dir, runs, connections)?;
    let mut rows = Vec::new();
    for run in HELD_RUNS {
        rows.push(runs.row(run, &format!("held, {run}"), &runs.held_bar(run), held));
    }
    for run in ["common", "wamp", "wss"] {
        let bar = "each once, in order, whole";
        rows.push(runs.row(run, &format!("publish to all, {run}"), bar, delivered));
    }
    for (run, bytes) in [("common", 96.0), ("own", 256.0)] {
        let what = format!("server's memory per connection (slope of PSS), {run}");
        rows.push(runs.row(run, &what, &format!("≤ {bytes:.0} B"), |_, run| {
            let slope = run.slope.as_ref().ok_or("no slope")?.bytes_per_connection;
            Ok((format!("{slope:.1} B"), slope <= bytes))
        }));
    }
    let what = "the same as a share of the kernel's own, common";
    rows.push(runs.row("common", what, "≤ 4 %", share_of_kernel));
    rows.push(runs.against_plain(
        "server's memory per connection (slope of PSS), wss, above common's",
        "≤ 232 B",
        more_bytes,
    ));
    let what = "server's memory in all (PSS, half of the slab), wss";
    rows.push(runs.row("wss", what, "≤ 4.5 GB", server_in_all));
    for run in ["common", "own", "wamp"] {
        let what = format!("CPU per quiet connection and second, with pings, {run}");
        rows.push(runs.row(run, &what, "≤ 0.7 µs", |_, run| quiet_cpu(run, 0.7)));
    }
    let what = "the same, wss, as a multiple of common's";
    rows.push(runs.against_plain(what, "≤ 1.2 ×", times_the_cpu));
    let what = "the same without pings, silent";
    rows.push(runs.row("silent", what, "", |_, run| quiet_cpu(run, f64::INFINITY)));
    rows.push(runs.connect_rate());
    for run in ["common", "own", "wamp", "wss"] {
        let what = format!("memory after, against after the warm-up, {run}");
        rows.push(runs.row(run, &what, "≤ +5 %", memory_after));
        let what = format!("counters after, {run}");
        rows.push(runs.row(run, &what, "all back", counters_after));
    }
    rows.push(runs.busy_beside());
    for run in HELD_RUNS {
        let what = format!("most memory in all (server, harness, slab), {run}");
        rows.push(runs.row(run, &what, "≤ 22 GiB", peak));
    }
    for run in HELD_RUNS {
        let what = format!("time, {run}");
        let minutes = if run == "wss" { 25.0 } else { 15.0 };
        rows.push(runs.row(run, &what, &format!("≤ {minutes} min"), |_, run| {
            let s = run.samples.last().ok_or("no samples")?.s;
            Ok((format!("{:.1} min", s / 60.0), s <= minutes * 60.0))
        }));
    }
    Ok(rows)
}

/// The rows as Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from("| what | bar | measured | |\n|---|---:|---:|---|\n");
    for row in rows {
        let verdict = match row.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "**FAIL**",
            Verdict::NotRun => "not run",
            Verdict::Shown => "",
        };
        let (what, bar, measured) = (&row.what, &row.bar, &row.measured);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {what} | {bar} | {measured} | {verdict} |");
    }
    out
}

/// The runs by their names: `million-NAME.json`.
struct Runs {
    runs: BTreeMap<String, Document>,
    asked: Vec<String>,
    connections: u64,
}

/// A figure in words and whether it reaches its bar, or why there is none.
type Found = Result<(String, bool), &'static str>;

impl Runs {
    fn read(dir: &Path, asked: &[String], connections: u64) -> Result<Runs, String> {
        let wrong = |path: &Path, error: String| format!("{}: {error}", path.display());
        let mut runs = BTreeMap::new();
        let entries = std::fs::read_dir(dir).map_err(|error| wrong(dir, error.to_string()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let file = path.file_name().and_then(|name| name.to_str());
            let name = file.and_then(|name| name.strip_prefix("million-")?.strip_suffix(".json"));
            let Some(name) = name else { continue };
            let run = name.split('-').next().unwrap_or(name);
            if !asked.is_empty() && !asked.iter().any(|asked| asked == run) {
                continue;
            }
            let text =
                std::fs::read_to_string(&path).map_err(|error| wrong(&path, error.to_string()))?;
            let document =
                serde_json::from_str(&text).map_err(|error| wrong(&path, error.to_string()))?;
            runs.insert(name.to_owned(), document);
        }
        Ok(Runs {
            runs,
            asked: asked.to_vec(),
            connections,
        })
    }

    /// How many a run should hold.
    fn wanted(&self, run: &str) -> u64 {
        match run {
            "busy" => self.connections / 10 * 9,
            _ => self.connections,
        }
    }

    fn held_bar(&self, run: &str) -> String {
        format!("{} without an error", self.wanted(run))
    }

    fn row(
        &self,
        run: &str,
        what: &str,
        bar: &str,
        find: impl FnOnce(u64, &Document) -> Found,
    ) -> Row {
        let found = self
            .runs
            .get(run)
            .map(|found| find(self.wanted(run), found));
        self.row_of(run, what, bar, found)
    }

    fn row_of(&self, run: &str, what: &str, bar: &str, found: Option<Found>) -> Row {
        let (measured, verdict) = match found {
            None if self.asked.iter().any(|asked| asked == run) => {
                ("no results".to_owned(), Verdict::Fail)
            }
            None => (String::new(), Verdict::NotRun),
            Some(Err(why)) => (why.to_owned(), Verdict::Fail),
            Some(Ok((measured, _))) if bar.is_empty() => (measured, Verdict::Shown),
            Some(Ok((measured, true))) => (measured, Verdict::Pass),
            Some(Ok((measured, false))) => (measured, Verdict::Fail),
        };
        Row {
            what: what.to_owned(),
            bar: bar.to_owned(),
            measured,
            verdict,
        }
    }

    /// A figure of the run over TLS beside that of the plain one.
    fn against_plain(
        &self,
        what: &str,
        bar: &str,
        find: impl FnOnce(&Document, &Document) -> Found,
    ) -> Row {
        let (wss, common) = (self.runs.get("wss"), self.runs.get("common"));
        let found = wss.zip(common).map(|(wss, common)| find(wss, common));
        // It is missed where one of them was asked for and left nothing.
        let missing = if wss.is_none() { "wss" } else { "common" };
        self.row_of(missing, what, bar, found)
    }

    /// Pairs of a round each: the floor alone, then the daemon.
    fn connect_rate(&self) -> Row {
        let mut rounds = Vec::new();
        for round in 1.. {
            let of = |kind: &str| self.runs.get(&format!("rate-{kind}-{round}"));
            match (of("bare"), of("daemon")) {
                (None, None) => break,
                pair => rounds.push(pair),
            }
        }
        let found = (!rounds.is_empty()).then(|| {
            let mut ratios = Vec::new();
            let mut rates = (Vec::new(), Vec::new());
            for (bare, daemon) in rounds {
                let (bare, daemon) = (bare.ok_or(NO_PAIR)?, daemon.ok_or(NO_PAIR)?);
                let (of_bare, of_daemon) = (opening(bare)?, opening(daemon)?);
                let setting = |run: &Document, key: &str| run.settings.get(key).cloned();
                if of_bare.held != of_daemon.held
                    || setting(bare, "rings") != setting(daemon, "rings")
                    || setting(bare, "driver") != setting(daemon, "driver")
                {
                    return Err("not the same connections over the same rings");
                }
                let (bare, daemon) = (of_bare.opened_per_second(), of_daemon.opened_per_second());
                ratios.push(daemon / bare.max(f64::MIN_POSITIVE));
                rates.0.push(bare);
                rates.1.push(daemon);
            }
            let ratio = median(&ratios).ok_or(NO_PAIR)?;
            let middle = |rates: &[f64]| median(rates).unwrap_or(0.0);
            let text = format!(
                "{:.0} % ({:.0} of {:.0} a second)",
                ratio * 100.0,
                middle(&rates.1),
                middle(&rates.0)
            );
            Ok((text, ratio >= 0.6))
        });
        self.row_of("rate", "connect rate, of bare TCP's", "≥ 60 %", found)
    }

    fn busy_beside(&self) -> Row {
        let of = |which: &str| {
            let run = self.runs.get(&format!("busy-{which}"))?;
            let echo = |phase: &&PhaseResult| phase.name == "traffic" && phase.echoes.received > 0;
            run.phases
                .iter()
                .find(echo)?
                .latencies
                .get("echo")?
                .at(50.0)
        };
        let found = match (of("alone"), of("beside")) {
            (Some(alone), Some(beside)) => {
                let (alone, beside) = (alone as f64, beside as f64);
                let ratio = beside / alone.max(1.0);
                let text = format!("{ratio:.2} × its median alone");
                Some(Ok((text, ratio <= 1.5)))
            }
            _ if self.runs.contains_key("busy") => Some(Err("not measured beside those held")),
            _ => None,
        };
        let what = "echo of 100 connections beside quiet ones";
        self.row_of("busy", what, "≤ 1.5 ×", found)
    }
}

fn held(wanted: u64, run: &Document) -> Found {
    let most = run.phases.iter().map(|phase| phase.held).max();
    let most = most.ok_or("no phases")?;
    let sum = |of: fn(&PhaseResult) -> u64| run.phases.iter().map(of).sum::<u64>();
    let (failed, lost) = (sum(|phase| phase.failed), sum(|phase| phase.lost));
    let cut = if run.interrupted { ", interrupted" } else { "" };
    let text = format!("{most}; {failed} failed, {lost} lost{cut}");
    let clean = failed + lost == 0 && !run.interrupted;
    Ok((text, most >= wanted && clean))
}

/// Every publish to all that were wanted, the warm-up's not among them.
fn delivered(wanted: u64, run: &Document) -> Found {
    let (mut sent, mut all) = (0, Deliveries::default());
    for phase in run.phases.iter().filter(|phase| phase.sent > 0) {
        if phase.held < wanted {
            continue;
        }
        let tally = phase.deliveries;
        sent += phase.sent;
        all.received += tally.received;
        all.lost += tally.lost;
        all.doubled += tally.doubled;
        all.reordered += tally.reordered;
        all.corrupt += tally.corrupt;
        all.misrouted += tally.misrouted;
    }
    if sent == 0 {
        return Err("nothing was published to all");
    }
    let due = sent * wanted;
    let wrong = all.lost + all.doubled + all.reordered + all.corrupt + all.misrouted;
    let text = format!("{} of {due}, {wrong} otherwise", all.received);
    Ok((text, all.received == due && wrong == 0))
}

/// The phase that held most and did nothing else.
fn quiet(run: &Document) -> Result<&PhaseResult, &'static str> {
    let of = |phase: &&PhaseResult| {
        phase.held > 0 && phase.begun + phase.sent + phase.dropped + phase.closed == 0
    };
    let quiet = run.phases.iter().filter(of).max_by_key(|phase| phase.held);
    quiet.ok_or("nothing was held quietly")
}

fn quiet_cpu(run: &Document, us_max: f64) -> Found {
    let phase = quiet(run)?;
    let us = phase
        .server_us_per_connection_second()
        .ok_or("connections came or went")?;
    if us_max.is_finite() && phase.pings == 0 {
        return Err("no pings were answered");
    }
    Ok((format!("{us:.3} µs"), us <= us_max))
}

/// The kernel's own is one end's half of the slab.
fn share_of_kernel(_: u64, run: &Document) -> Found {
    let slope = run.slope.as_ref().ok_or("no slope")?.bytes_per_connection;
    let phase = quiet(run)?;
    let kernel = phase.kernel.slab_grown_bytes as f64 / 2.0 / phase.held as f64;
    if kernel <= 0.0 {
        return Err("the kernel's memory was not measured");
    }
    let share = slope / kernel;
    let text = format!("{:.2} % of {kernel:.0} B", share * 100.0);
    Ok((text, share <= 0.04))
}

fn more_bytes(wss: &Document, common: &Document) -> Found {
    let slope = |run: &Document| run.slope.as_ref().map(|slope| slope.bytes_per_connection);
    let (wss, common) = slope(wss).zip(slope(common)).ok_or("no slope")?;
    let more = wss - common;
    let text = format!("{more:.1} B ({wss:.1} of {common:.1})");
    Ok((text, more <= 232.0))
}

fn times_the_cpu(wss: &Document, common: &Document) -> Found {
    let us = |run| quiet(run).map(PhaseResult::server_us_per_connection_second);
    let (wss, common) = us(wss)?
        .zip(us(common)?)
        .ok_or("connections came or went")?;
    let times = wss / common.max(f64::MIN_POSITIVE);
    let text = format!("{times:.2} × ({wss:.3} of {common:.3} µs)");
    Ok((text, times <= 1.2))
}

/// What the server takes of the machine, the kernel's part for its ends of the connections included.
fn server_in_all(_: u64, run: &Document) -> Found {
    let phase = quiet(run)?;
    let server = phase.server.ok_or("the server was not watched")?.pss_bytes;
    let slab = u64::try_from(phase.kernel.slab_grown_bytes).unwrap_or(0);
    if slab == 0 {
        return Err("the kernel's memory was not measured");
    }
    let all = (server + slab / 2) as f64 / 1e9;
    let text = format!(
        "{all:.2} GB, {:.0} B a connection",
        all * 1e9 / phase.held as f64
    );
    Ok((text, all <= 4.5))
}

fn memory_after(_: u64, run: &Document) -> Found {
    let warm = run.phases.iter().find(|phase| phase.closed > 0);
    let before = warm.and_then(|phase| phase.server).ok_or("no warm-up")?;
    let after = run.after.as_ref().and_then(|after| after.server);
    let after = after.ok_or("not looked at")?;
    let (before, after) = (before.pss_bytes, after.pss_bytes);
    let grown = after as f64 / before.max(1) as f64 - 1.0;
    let text = format!(
        "{:+.1} % ({} from {})",
        grown * 100.0,
        mebibytes(after),
        mebibytes(before)
    );
    Ok((text, grown <= 0.05))
}

fn counters_after(_: u64, run: &Document) -> Found {
    let after = run.after.as_ref().ok_or("not looked at")?;
    if after.counters.is_empty() {
        return Err("none was read");
    }
    let off = after.counters.iter().filter(|(_, was, is)| was != is);
    let off: Vec<&str> = off.map(|(name, ..)| name.as_str()).collect();
    match off.is_empty() {
        true => Ok((format!("all {}", after.counters.len()), true)),
        false => Ok((format!("not {}", off.join(", ")), false)),
    }
}

fn peak(_: u64, run: &Document) -> Found {
    let all = run.samples.iter().filter_map(|sample| {
        let slab = u64::try_from(sample.slab_grown_bytes?).unwrap_or(0);
        Some(sample.pss_bytes? + sample.client_pss_bytes? + slab)
    });
    let most = all.max().ok_or("not sampled")?;
    Ok((mebibytes(most), most <= 22 << 30))
}

/// The one opening of a run of `idle`.
fn opening(run: &Document) -> Result<&PhaseResult, &'static str> {
    let open = run.phases.iter().find(|phase| phase.begun > 0);
    let open = open.ok_or("nothing was opened")?;
    match open.failed + open.lost {
        0 => Ok(open),
        _ => Err("connections did not open"),
    }
}

/// Runs of a scenario each, for which the same things hold.
const HELD_RUNS: [&str; 6] = ["common", "own", "wamp", "silent", "busy", "wss"];
const NO_PAIR: &str = "a round was not measured";
