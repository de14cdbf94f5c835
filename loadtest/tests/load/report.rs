//! The page stands alone, and shows what the files hold.

use std::collections::BTreeMap;

use roost_load::histogram::Latencies;
use roost_load::output::{Document, FORMAT, PhaseResult, Sample};
use roost_load::report;

fn run(name: &str, held: u64) -> Document {
    let mut latencies = Latencies::default();
    for us in 1..=10_000 {
        latencies.record(us * 1_000);
    }
    let summary = latencies.summary().expect("something was recorded");
    Document {
        format: FORMAT.to_owned(),
        name: name.to_owned(),
        began_unix_s: 1_709_251_199,
        phases: vec![PhaseResult {
            name: "traffic".to_owned(),
            held,
            received: 5,
            latencies: BTreeMap::from([("delivery".to_owned(), summary)]),
            ..PhaseResult::default()
        }],
        samples: (0..20)
            .map(|n| Sample {
                s: n as f64 / 4.0,
                held: held * n / 20,
                received: n * n,
                pings: n / 2,
                pss_bytes: Some(1_000_000 + n * 10_000),
                ..Sample::default()
            })
            .collect(),
        problems: vec!["a <script>alert(1)</script> & \"more\"".to_owned()],
        ..Document::default()
    }
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    let page = report::page(&[run("idle", 1_234_567), run("idle", 10)]);
    for foreign in [
        "<script", "http:", "https:", "src=", "@import", "url(", "<link",
    ] {
        assert!(!page.contains(foreign), "the page contains {foreign}");
    }
    assert!(page.contains("&lt;script&gt;"));
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
}

#[test]
fn the_page_shows_runs_side_by_side() {
    let page = report::page(&[run("idle", 1_234_567), run("idle", 10)]);
    assert!(page.contains("1,234,567"));
    assert!(page.contains("idle #1") && page.contains("idle #2"));
    // Median and 99th percentile in short, and when each run began.
    let (_, short) = page.split_once("<h2>In short</h2>").expect("a summary");
    let (short, _) = short.split_once("</section>").expect("its end");
    assert!(
        short.contains("<td>5.00 ms</td><td>9.90 ms</td><td>delivery</td>"),
        "{short}"
    );
    assert!(page.contains("<p>Begun 2024-02-29 23:59 UTC."));
    // Connections, memory, messages, pings, and one distribution.
    assert_eq!(page.matches("role=\"img\"").count(), 5);
    // Two lines in each, each with its key.
    assert_eq!(page.matches("<path class=\"line").count(), 20);
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn a_document_survives_its_file() {
    let before = run("x", 3);
    let text = serde_json::to_string(&before).expect("JSON");
    let after: Document = serde_json::from_str(&text).expect("the same JSON");
    assert_eq!(before, after);
    let summary = &after.phases[0].latencies["delivery"];
    let p99 = summary.at(99.0).expect("p99 is written");
    assert!(p99.abs_diff(9_900_000) <= 9_900, "{p99}");
}

#[test]
fn more_lines_than_colours_are_told_apart() {
    let many: Vec<Document> = (0..3)
        .map(|_| {
            let mut run = run("idle", 10);
            let phases = (0..4).map(|n| PhaseResult {
                name: format!("traffic {n}"),
                ..run.phases[0].clone()
            });
            run.phases = phases.collect();
            run
        })
        .collect();
    let page = report::page(&many);
    let (_, from) = page
        .split_once("<h2>From publish to receipt")
        .expect("a plot");
    let (drawn, _) = from.split_once("<ul").expect("its legend");
    let looks: Vec<&str> = drawn
        .split("<path class=\"")
        .skip(1)
        .map(|path| path.split('"').next().expect("its classes"))
        .collect();
    let different: std::collections::BTreeSet<_> = looks.iter().collect();
    assert_eq!((looks.len(), different.len()), (12, 12), "{looks:?}");
    // A colour a run.
    for (run, looks) in looks.chunks(4).enumerate() {
        let colour = format!("line c{run} ");
        assert!(
            looks.iter().all(|look| look.starts_with(&colour)),
            "{looks:?}"
        );
    }
}

#[test]
fn memory_that_stays_when_connections_go_is_a_line_of_its_own() {
    let mut one = run("idle", 100);
    let closing = PhaseResult {
        name: "close".to_owned(),
        began_s: 2.5,
        closed: 100,
        ..PhaseResult::default()
    };
    one.phases.push(closing);
    let page = report::page(&[one]);
    let (_, from) = page.split_once("<h2>Server's memory over").expect("a plot");
    let (drawn, _) = from.split_once("</figure>").expect("its end");
    assert!(drawn.contains("idle: closing"), "{drawn}");
    let (figure, _) = drawn.split_once("<ul").expect("its legend");
    assert_eq!(figure.matches("<path class=\"line").count(), 2);
    // 10 samples before the closing began, 10 from then on, which begin at the last of those.
    let points = |path: &str| path.split("<title").next().map(|d| d.matches('L').count());
    let paths: Vec<_> = figure.split("<path ").skip(1).map(points).collect();
    assert_eq!(paths, [Some(9), Some(10)]);
}

#[test]
fn contents_lead_to_every_section() {
    let page = report::page(&[run("idle", 1_234_567), run("echo", 10)]);
    let (_, nav) = page.split_once("<nav").expect("contents");
    let (nav, sections) = nav.split_once("</nav>").expect("their end");
    let links: Vec<&str> = nav
        .split("href=\"#")
        .skip(1)
        .map(|link| link.split('"').next().expect("an id"))
        .collect();
    let ids: Vec<&str> = sections
        .split("<section id=\"")
        .skip(1)
        .map(|section| section.split('"').next().expect("an id"))
        .collect();
    assert_eq!(links, ids);
    let different: std::collections::BTreeSet<_> = ids.iter().collect();
    // The summary, five plots, two runs.
    assert_eq!((ids.len(), different.len()), (8, 8));
    assert!(
        nav.contains(">In short</a>") && nav.contains(">echo</a>"),
        "{nav}"
    );
}

#[test]
fn the_last_label_of_an_axis_stays_in_the_picture() {
    let page = report::page(&[run("idle", 12_345_678)]);
    let (_, from) = page.split_once("<h2>Server's memory over").expect("a plot");
    let (svg, _) = from.split_once("</svg>").expect("its end");
    assert!(
        svg.contains("text-anchor=\"end\">15,000,000</text>"),
        "{svg}"
    );
    let at = |text: &str| {
        text.split_once("x=\"")?
            .1
            .split('"')
            .next()?
            .parse::<f64>()
            .ok()
    };
    for label in svg.split("<text class=\"tick\"").skip(1) {
        let (label, _) = label.split_once("</text>").expect("its end");
        let right = at(label).expect("a place");
        let text = label
            .split('>')
            .nth(1)
            .and_then(|rest| rest.split('<').next());
        let room = text.expect("a label").chars().count() as f64 * 7.0;
        let past = if label.contains("\"middle\"") {
            room / 2.0
        } else {
            0.0
        };
        assert!(right + past <= 760.0, "{label}");
    }
}
