//! Findings for people, for programs, and for the documentation.

use std::fmt::Write as _;

use serde_json::{Value, json as value};

use super::{Case, Finding, Verdict};

/// A line for each finding that is not simply passed (or for all), and the sums.
pub fn table(findings: &[Finding], all: bool) -> String {
    let mut out = String::new();
    for Finding { case, verdict } in findings {
        if all || *verdict != Verdict::Pass {
            let Case { id, title, rfc, .. } = case;
            let _ = writeln!(out, "{:5} {id:34} {title} ({rfc})", verdict.word());
            if !verdict.reason().is_empty() {
                let _ = writeln!(out, "      {:34} {}", "", verdict.reason());
            }
        }
    }
    let _ = writeln!(out, "{}", sums(findings));
    out
}

/// All findings as a JSON document.
pub fn json(findings: &[Finding]) -> String {
    let findings: Vec<Value> = findings
        .iter()
        .map(|Finding { case, verdict }| {
            value!({
                "id": case.id,
                "title": case.title,
                "rfc": case.rfc,
                "verdict": verdict.word().to_lowercase(),
                "reason": verdict.reason(),
            })
        })
        .collect();
    format!("{:#}\n", value!({ "findings": findings }))
}

/// A table in Markdown: a row for each case, a column for each run of the same cases.
pub fn markdown(runs: &[(&str, Vec<Finding>)]) -> String {
    let mut out = String::from("| case | what it asks | section |");
    for (name, _) in runs {
        let _ = write!(out, " {name} |");
    }
    out.push_str("\n|---|---|---|");
    out.push_str(&"---|".repeat(runs.len()));
    out.push('\n');
    let cases = runs.first().map_or(&[][..], |(_, findings)| findings);
    for (row, Finding { case, .. }) in cases.iter().enumerate() {
        let _ = write!(
            out,
            "| `{}` | {} | {} |",
            case.id,
            case.title,
            section(case.rfc)
        );
        for (_, findings) in runs {
            let _ = write!(out, " {} |", findings[row].verdict.word());
        }
        out.push('\n');
    }
    out.push('\n');
    for (name, findings) in runs {
        let _ = writeln!(out, "- {name}: {}", sums(findings));
    }
    out
}

/// `6455 §5.2` as a link.
fn section(rfc: &str) -> String {
    let Some((number, section)) = rfc.split_once(" §") else {
        return rfc.to_owned();
    };
    format!(
        "[{number} §{section}](https://www.rfc-editor.org/rfc/rfc{number}.html#section-{section})"
    )
}

fn sums(findings: &[Finding]) -> String {
    let count = |word: &str| findings.iter().filter(|f| f.verdict.word() == word).count();
    format!(
        "{} cases: {} passed, {} loose, {} skipped, {} failed",
        findings.len(),
        count("pass"),
        count("loose"),
        count("skip"),
        count("FAIL"),
    )
}
