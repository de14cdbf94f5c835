//! The on-call guide has a line for all that an operator is shown.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first cells of the guide's tables.
fn entries(guide: &str) -> Vec<&str> {
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells.flat_map(|cell| cell.split(", ")).collect()
}

#[test]
fn each_verdict_has_a_line_in_the_guide() {
    let source = read("crates/roost-control/src/routes/verdict.rs");
    let guide = read("docs/operating.md");
    let entries = entries(&guide);
    let mut causes: Vec<&str> = source
        .split("Verdict::new(")
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .collect();
    causes.sort_unstable();
    causes.dedup();
    assert!(causes.len() >= 26, "{causes:?}");
    for cause in causes {
        let entry = format!("`{cause}`");
        assert!(entries.contains(&&*entry), "no line for {entry}");
    }
}

#[test]
fn each_alert_has_a_line_in_the_guide() {
    let alerts = read("deploy/prometheus/alerts.yml");
    let guide = read("docs/operating.md");
    let entries = entries(&guide);
    let names: Vec<&str> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(names.len() >= 20, "{names:?}");
    for name in names {
        assert!(entries.contains(&name), "no line for {name}");
    }
}
