//! What a WebSocket server owes its clients, asked case by case of any server by its address.
//!
//! Each [`Case`] is one question with the section that answers it. It opens connections of its own
//! and knows nothing of the server but its [`Target`], so the same list judges Roost and others.
//! Autobahn's TestSuite asks about frames; this asks besides about what that leaves out: the
//! opening handshake, masking, subprotocols, origins, length encodings, races and floods.

mod case;
mod channels;
mod closing;
mod control;
mod extensions;
mod fragments;
mod handshake;
mod headers;
mod lengths;
mod masking;
mod origins;
mod own;
mod peers;
mod report;
mod subprotocols;
mod target;
mod text;
mod verdict;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

pub use case::Case;
pub use own::{own_settings, own_target};
pub use report::{json, markdown, table};
pub use target::Target;
pub use verdict::Verdict;

/// A case and what became of it.
pub struct Finding {
    /// The case.
    pub case: &'static Case,
    /// What became of it.
    pub verdict: Verdict,
}

/// All cases, group by group.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    GROUPS.iter().flat_map(|group| group.iter())
}

/// Runs the cases whose id or title contains `filter`, `jobs` at a time; in the list's order.
pub fn run(target: &Target, filter: &str, jobs: usize) -> Vec<Finding> {
    let wanted = |case: &&Case| case.id.contains(filter) || case.title.contains(filter);
    let wanted: Vec<_> = cases().filter(wanted).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut findings = Vec::new();
        while let Some(&case) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            findings.push(ask(case, target));
        }
        findings
    };
    let mut findings: Vec<Finding> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter();
        done.flat_map(|worker| worker.join().expect("a worker catches its panics"))
            .collect()
    });
    let place = |finding: &Finding| wanted.iter().position(|case| case.id == finding.case.id);
    findings.sort_by_key(place);
    findings
}

fn ask(case: &'static Case, target: &Target) -> Finding {
    // A mistake of a case's own must not hide what the others find.
    let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(target)));
    let verdict = match outcome {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(failure)) => Verdict::Fail(failure.to_string()),
        Err(_) => Verdict::Fail("the case itself panicked".to_owned()),
    };
    Finding { case, verdict }
}

const GROUPS: &[&[Case]] = &[
    handshake::ACCEPTED,
    handshake::REFUSED,
    handshake::EITHER,
    handshake::PLAIN,
    subprotocols::CASES,
    origins::CASES,
    extensions::CASES,
    masking::CASES,
    headers::CASES,
    lengths::CASES,
    control::CASES,
    fragments::CASES,
    text::CASES,
    closing::CASES,
    peers::CASES,
    channels::CASES,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_says_what_it_asks() {
        let mut seen = Vec::new();
        for case in cases() {
            assert!(!seen.contains(&case.id), "{} twice", case.id);
            seen.push(case.id);
            assert!(case.id.split('.').count() >= 2, "{}", case.id);
            assert!(case.title.len() > 10, "{} says nothing", case.id);
            assert!(case.rfc.contains('§'), "{} names no section", case.id);
        }
        assert!(seen.len() >= 150, "{} cases", seen.len());
    }
}
