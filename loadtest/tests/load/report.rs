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
    // Connections, memory, messages, and one distribution.
    assert_eq!(page.matches("<svg").count(), 4);
    // Two lines in each.
    assert_eq!(page.matches("<path class=\"line").count(), 8);
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
