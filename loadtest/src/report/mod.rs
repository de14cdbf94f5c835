//! One HTML page about runs: tables and plots, nothing loaded from elsewhere, no script.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::output::{Deliveries, Document, PhaseResult, Sample, duration};
use crate::preflight::mebibytes;

mod plot;

use plot::{Axis, Line, Look, Piece, Scale, escape, plot};

/// Writes the page.
pub fn page(runs: &[Document]) -> String {
    let names = names(runs);
    let mut out = String::from(HEAD);
    let _ = writeln!(
        out,
        "<header><h1>Load runs</h1><p>{} What was held, what was delivered, and what it cost. \
         Figures are those of the runs' own files; each run says below how it was made.</p></header>",
        dates(runs)
    );
    let mut body = String::new();
    summary(runs, &names, &mut body);
    figure(
        &mut body,
        "Connections held over time",
        connections(runs, &names),
    );
    figure(
        &mut body,
        "Server's memory over connections held",
        memory(runs, &names),
    );
    figure(
        &mut body,
        "Messages received a second",
        messages(runs, &names),
    );
    figure(&mut body, "Pings answered a second", pings(runs, &names));
    for (metric, title) in METRICS {
        figure(&mut body, title, distribution(runs, &names, metric));
    }
    for (run, name) in runs.iter().zip(&names) {
        details(run, name, &mut body);
    }
    out.push_str(&contents(&body));
    out.push_str(&body);
    out.push_str("</main></body></html>\n");
    out
}

/// A list of the page's sections with links to them.
fn contents(body: &str) -> String {
    let mut out = String::from("<nav aria-label=\"Contents\"><ol>");
    for part in body.split("<section id=\"").skip(1) {
        // Each section begins with its id and its title: see `section`.
        if let Some((id, rest)) = part.split_once("\"><h2>")
            && let Some((title, _)) = rest.split_once("</h2>")
        {
            let _ = write!(out, "<li><a href=\"#{id}\">{title}</a></li>");
        }
    }
    out.push_str("</ol></nav>\n");
    out
}

/// The beginning of a section, with a name to link to that no other on the page has.
fn section(title: &str, out: &mut String) {
    let number = out.matches("<section id=").count() + 1;
    let _ = writeln!(out, "<section id=\"s{number}\"><h2>{}</h2>", escape(title));
}

/// A name for each run, told apart by numbers where two are the same.
fn names(runs: &[Document]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    runs.iter()
        .enumerate()
        .map(|(index, run)| {
            if seen.insert(&run.name) && runs.iter().filter(|r| r.name == run.name).count() == 1 {
                run.name.clone()
            } else {
                format!("{} #{}", run.name, index + 1)
            }
        })
        .collect()
}

// Tables.

fn summary(runs: &[Document], names: &[String], out: &mut String) {
    section("In short", out);
    out.push_str(
        "<div class=\"wide\"><table><thead><tr><th>run</th><th>p50</th>\
                  <th>p99</th><th>of</th><th>verdict</th><th>held at most</th><th>delivered</th>\
                  <th>lost, doubled, reordered, corrupt</th><th>memory</th>\
                  <th>bytes per connection</th></tr></thead><tbody>\n",
    );
    for (run, name) in runs.iter().zip(names) {
        let held = run.phases.iter().map(|phase| phase.held).max().unwrap_or(0);
        let mut all = Deliveries::default();
        for tally in run.phases.iter().flat_map(|p| [p.deliveries, p.echoes]) {
            all.received += tally.received;
            all.lost += tally.lost;
            all.doubled += tally.doubled;
            all.reordered += tally.reordered;
            all.corrupt += tally.corrupt + tally.misrouted;
        }
        let memory = run
            .phases
            .iter()
            .filter_map(|p| p.server)
            .map(|s| s.pss_bytes)
            .max();
        let verdict = if run.problems.is_empty() {
            "<td class=\"good\">clean</td>"
        } else {
            "<td class=\"bad\">not as it should be</td>"
        };
        let _ = writeln!(
            out,
            "<tr><th>{}</th>{}{verdict}<td>{}</td><td>{}</td><td>{}, {}, {}, {}</td><td>{}</td>\
             <td>{}</td></tr>",
            escape(name),
            latency_cells(run),
            grouped(held),
            grouped(all.received),
            all.lost,
            all.doubled,
            all.reordered,
            all.corrupt,
            memory.map_or_else(|| "–".to_owned(), mebibytes),
            run.slope.as_ref().map_or_else(
                || "–".to_owned(),
                |s| format!("{:.1}", s.bytes_per_connection)
            ),
        );
    }
    out.push_str("</tbody></table></div></section>\n");
}

/// Median and 99th percentile of the run's last phase that has a distribution of the first kind in
/// [`METRICS`] that the run has, and which it is.
fn latency_cells(run: &Document) -> String {
    let found = METRICS.iter().find_map(|(metric, _)| {
        let last = run.phases.iter().rev();
        let summary = last.filter_map(|phase| phase.latencies.get(*metric)).next();
        Some((*metric, summary?))
    });
    let Some((metric, summary)) = found else {
        return "<td>–</td><td>–</td><td></td>".to_owned();
    };
    let at = |percentile| duration(summary.at(percentile).unwrap_or(0));
    format!(
        "<td>{}</td><td>{}</td><td>{}</td>",
        at(50.0),
        at(99.0),
        metric.replace('_', " ")
    )
}

/// When the first run began, and the last.
fn dates(runs: &[Document]) -> String {
    let began = || runs.iter().map(|run| run.began_unix_s).filter(|&s| s > 0);
    match (began().min(), began().max()) {
        (Some(first), Some(last)) if date(first) != date(last) => {
            format!("Begun from {} to {} UTC.", date(first), date(last))
        }
        (Some(first), _) => format!("Begun {} UTC.", date(first)),
        _ => String::new(),
    }
}

/// `2026-03-01 12:05`; a dash for a run that does not know.
fn date(unix_s: u64) -> String {
    if unix_s == 0 {
        return "–".to_owned();
    }
    // Days to a date of the Gregorian calendar, in years that begin in March.
    let (days, second) = (unix_s / 86_400 + 719_468, unix_s % 86_400);
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02}",
        second / 3_600,
        second / 60 % 60
    )
}

fn details(run: &Document, name: &str, out: &mut String) {
    section(name, out);
    let machine = &run.machine;
    let _ = writeln!(
        out,
        "<p class=\"made\">{} UTC<br><code>{}</code><br>{} × {}, {}, Linux {}, {} open files a process</p>",
        date(run.began_unix_s),
        escape(&run.command.join(" ")),
        machine.cores,
        escape(&machine.processor),
        mebibytes(machine.memory_bytes),
        escape(&machine.kernel),
        machine.open_files
    );
    if !run.problems.is_empty() {
        out.push_str("<ul class=\"problems\">");
        for problem in &run.problems {
            let _ = write!(out, "<li>{}</li>", escape(problem));
        }
        out.push_str("</ul>\n");
    }
    out.push_str(
        "<div class=\"wide\"><table><thead><tr><th>phase</th><th>s</th><th>held</th>\
                  <th>received</th><th>p50</th><th>p99</th><th>p99.9</th><th>of</th><th>memory</th>\
                  <th>CPU s</th><th>µs a message</th></tr></thead><tbody>\n",
    );
    for phase in &run.phases {
        phase_row(phase, out);
    }
    out.push_str("</tbody></table></div><details><summary>Settings</summary><dl>");
    for (key, value) in &run.settings {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(key), escape(value));
    }
    out.push_str("</dl></details></section>\n");
}

fn phase_row(phase: &PhaseResult, out: &mut String) {
    let shown = METRICS
        .iter()
        .find_map(|(metric, _)| Some((metric, phase.latencies.get(*metric)?)));
    let at = |percentile: f64| {
        shown
            .and_then(|(_, latencies)| latencies.at(percentile))
            .map_or_else(|| "–".to_owned(), duration)
    };
    let dash = || "–".to_owned();
    let _ = writeln!(
        out,
        "<tr><th>{}</th><td>{:.1}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
         <td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        escape(&phase.name),
        phase.seconds,
        grouped(phase.held),
        grouped(phase.received),
        at(50.0),
        at(99.0),
        at(99.9),
        shown.map_or("", |(metric, _)| metric).replace('_', " "),
        phase
            .server
            .map_or_else(dash, |server| mebibytes(server.pss_bytes)),
        phase
            .server_cpu_seconds
            .map_or_else(dash, |cpu| format!("{cpu:.2}")),
        phase
            .server_ns_per_message()
            .map_or_else(dash, |ns| format!("{:.2}", ns / 1e3)),
    );
}

// Plots.

fn figure(out: &mut String, title: &str, drawn: Option<String>) {
    if let Some(drawn) = drawn {
        section(title, out);
        let _ = writeln!(out, "<figure>{drawn}</figure></section>");
    }
}

fn over_samples(
    runs: &[Document],
    names: &[String],
    points: impl Fn(&Document) -> Vec<(f64, f64)>,
) -> Vec<Line> {
    runs.iter()
        .zip(names)
        .enumerate()
        .map(|(index, (run, name))| Line {
            name: name.clone(),
            look: Look::nth(index),
            pieces: vec![points(run)],
        })
        .filter(|line| line.pieces[0].len() > 1)
        .collect()
}

fn connections(runs: &[Document], names: &[String]) -> Option<String> {
    let lines = over_samples(runs, names, |run| {
        run.samples.iter().map(|s| (s.s, s.held as f64)).collect()
    });
    plot(&SECONDS, &linear("connections", count_label), &lines)
}

fn memory(runs: &[Document], names: &[String]) -> Option<String> {
    let mut lines = Vec::new();
    for (index, (run, name)) in runs.iter().zip(names).enumerate() {
        let (opening, closing) = waves(run);
        // One colour a run; what it closes is dashed.
        let mut line = |name: String, dash: usize, pieces: Vec<Piece>| {
            let look = Look {
                dash,
                ..Look::nth(index)
            };
            // Where nothing comes or goes, there is nothing to see over connections.
            let moves = |piece: &Piece| piece.iter().any(|point| point.0 != piece[0].0);
            if pieces.iter().any(moves) {
                lines.push(Line { name, look, pieces });
            }
        };
        line(name.clone(), Look::nth(index).dash, opening);
        line(format!("{name}: closing"), 1, closing);
    }
    plot(
        &linear("connections held", count_label),
        &linear("proportional set size", |bytes| mebibytes(bytes as u64)),
        &lines,
    )
}

/// Memory over connections: while they were opened and held, and while they closed, each time anew.
/// What the server keeps when they go would otherwise hide what it took when they came.
fn waves(run: &Document) -> (Vec<Piece>, Vec<Piece>) {
    let (mut opening, mut closing) = (Vec::<Piece>::new(), Vec::<Piece>::new());
    let (mut closes, mut last) = (None, None);
    for sample in &run.samples {
        let Some(pss) = sample.pss_bytes else {
            continue;
        };
        let phase = run.phases.iter().rfind(|phase| phase.began_s <= sample.s);
        // A closing that was cut short closed some; when all is over, nothing closes any more.
        let now = phase.is_some_and(|phase| phase.closed > 0);
        let pieces = if now { &mut closing } else { &mut opening };
        let point = (sample.held as f64, pss as f64);
        if closes != Some(now) {
            // From where the other one ended.
            pieces.push(last.into_iter().collect());
            closes = Some(now);
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(point);
        }
        last = Some(point);
    }
    (opening, closing)
}

fn messages(runs: &[Document], names: &[String]) -> Option<String> {
    rates(runs, names, |sample| sample.received)
}

fn pings(runs: &[Document], names: &[String]) -> Option<String> {
    rates(runs, names, |sample| sample.pings)
}

/// How fast a count rose, if it did.
fn rates(runs: &[Document], names: &[String], count: fn(&Sample) -> u64) -> Option<String> {
    let lines = over_samples(runs, names, |run| {
        run.samples
            .windows(2)
            .filter(|pair| pair[1].s - pair[0].s > 0.05)
            .map(|pair| {
                let more = count(&pair[1]).saturating_sub(count(&pair[0])) as f64;
                (pair[1].s, more / (pair[1].s - pair[0].s))
            })
            .collect()
    });
    let some = lines
        .iter()
        .any(|line| line.pieces[0].iter().any(|p| p.1 > 0.0));
    some.then(|| plot(&SECONDS, &linear("a second", count_label), &lines))?
}

/// Latency over percentile; the percentiles spread so that each nine has as much room.
fn distribution(runs: &[Document], names: &[String], metric: &str) -> Option<String> {
    let mut lines = Vec::new();
    for (index, (run, name)) in runs.iter().zip(names).enumerate() {
        let first = lines.len();
        for phase in &run.phases {
            let Some(latencies) = phase.latencies.get(metric) else {
                continue;
            };
            let resolved = latencies.count as f64;
            let points = latencies.percentiles.iter().map(|&(p, ns)| {
                (
                    1.0 / (1.0 - (p / 100.0).min(1.0 - 0.5 / resolved)),
                    ns as f64,
                )
            });
            // One colour a run, on this page's other plots too; a dash a phase.
            let look = Look {
                dash: lines.len() - first,
                ..Look::nth(index)
            };
            lines.push(Line {
                name: format!("{name}: {}", phase.name),
                look,
                pieces: vec![points.collect()],
            });
        }
    }
    let percentile = Axis {
        title: "percentile",
        scale: Scale::Log,
        label: percentile_label,
    };
    let time = Axis {
        title: "time",
        scale: Scale::Log,
        label: |ns| duration(ns as u64),
    };
    plot(&percentile, &time, &lines)
}

fn linear(title: &'static str, label: fn(f64) -> String) -> Axis {
    Axis {
        title,
        scale: Scale::Linear,
        label,
    }
}

const SECONDS: Axis = Axis {
    title: "seconds",
    scale: Scale::Linear,
    label: |value| format!("{value:.0}"),
};

fn count_label(value: f64) -> String {
    if value > 0.0 && value < 10.0 {
        format!("{value:.1}")
    } else {
        grouped(value.round() as u64)
    }
}

/// 1 → 0, 10 → 90, 100 → 99, 1,000 → 99.9.
fn percentile_label(tail: f64) -> String {
    let nines = tail.log10().round() as i32;
    match nines {
        ..=0 => "0".to_owned(),
        1 => "90".to_owned(),
        2 => "99".to_owned(),
        _ => format!("{:.*}", (nines - 2) as usize, 100.0 - 100.0 / tail),
    }
}

/// 1234567 → 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Distributions with a plot; the first that a phase has is the one of its table row.
const METRICS: &[(&str, &str)] = &[
    ("delivery", "From publish to receipt"),
    (
        "delivery_rest",
        "From publish to receipt, of connections that were not dropped",
    ),
    (
        "delivery_returned",
        "From publish to receipt, of connections that were dropped and came back",
    ),
    ("last_receipt", "From publish to the last receipt"),
    ("echo", "From due to back"),
    ("recover", "From drop to subscribed again"),
    (
        "caught_up",
        "From drop or return to having all that was missed",
    ),
    ("connect", "From connect to subscribed"),
];

const HEAD: &str = include_str!("head.html");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix_s, written) in [
            (86_399, "1970-01-01 23:59"),
            (951_782_400, "2000-02-29 00:00"),
            (1_709_251_199, "2024-02-29 23:59"),
            (4_102_444_800, "2100-01-01 00:00"),
        ] {
            assert_eq!(date(unix_s), written);
        }
        assert_eq!(date(0), "–");
    }
}
