//! All cases of the conformance program, asked of Roost on each driver and over TLS; and of a bad server,
//! to see that they are able to fail.

mod bad_server;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use roost_reactor::{Deflate, Settings};
use roost_testkit::conformance::{self, Finding, Target, Verdict};
use roost_testkit::server::{Backend, TestServer};

fn ask(backend: Backend, reactors: usize, change: impl FnOnce(&mut Settings)) {
    let mut may_be_skipped = ["deflate.garbage"].as_slice();
    let server = TestServer::with(backend, reactors, |settings| {
        conformance::own_settings(settings);
        // A closed connection must be noticed by itself, not by a ping.
        settings.limits.ping_interval_ms = 0;
        change(settings);
        if settings.deflate.enabled {
            may_be_skipped = &[];
        }
    });
    let target = conformance::own_target(server.address());
    let findings = conformance::run(&target, "", JOBS);
    let table = conformance::table(&findings, false);
    let good = |finding: &Finding| match &finding.verdict {
        Verdict::Pass => true,
        Verdict::Skip(_) => may_be_skipped.contains(&finding.case.id),
        Verdict::Loose(_) | Verdict::Fail(_) => false,
    };
    assert!(findings.iter().all(good), "{}:\n{table}", backend.name());
    let handshakes = server.count("tls_handshakes_total");
    assert_eq!(handshakes > 0, backend.has_tls(), "{handshakes} handshakes");
    assert_eq!(server.count("tls_faults_total"), 0);
    // No connection is left.
    server.wait_for_count("connections_open", |open| open == 0);
    server.wait_for_count("input_buffered_bytes", |count| count == 0);
    server.wait_for_count("outbox_bytes", |count| count == 0);
    server.wait_for_count("subscriptions", |count| count == 0);
}

#[test]
fn every_case_passes_on_epoll() {
    ask(Backend::Epoll, 1, |_| {});
}

#[test]
fn every_case_passes_on_io_uring() {
    ask(Backend::Uring, 1, |_| {});
}

#[test]
fn every_case_passes_on_io_uring_with_direct_descriptors() {
    ask(Backend::UringDirect, 1, |_| {});
}

#[test]
fn every_case_passes_over_tls_on_epoll() {
    ask(Backend::EpollTls, 1, |_| {});
}

#[test]
fn every_case_passes_over_tls_on_io_uring_with_everything_on() {
    ask(Backend::UringTls, 2, all_on);
}

#[test]
fn every_case_passes_with_several_reactors() {
    ask(Backend::Epoll, 3, |_| {});
}

/// What may be turned on changes no answer to clients that do not ask for it.
fn all_on(settings: &mut Settings) {
    settings.deflate = Deflate {
        enabled: true,
        compress_min_bytes: 0,
        level: 1,
        takeover_bytes_max: 64 << 20,
    };
    settings.listeners[0].config.hixie = true;
    settings.limits.fragment_bytes = 1000;
}

#[test]
fn every_case_passes_on_epoll_with_everything_on() {
    ask(Backend::Epoll, 1, all_on);
}

#[test]
fn every_case_passes_on_io_uring_with_everything_on() {
    ask(Backend::Uring, 2, all_on);
}

/// A server that takes all for good: what it gets wrong must be found.
#[test]
fn a_bad_server_fails_its_cases() {
    let bad = bad_server::Server::start();
    let target = Target {
        raw: Some("/raw/x".to_owned()),
        origin: Some("https://app.example".to_owned()),
        subprotocol: Some("chat".to_owned()),
        timeout: Duration::from_millis(150),
        ..Target::at(bad.address())
    };
    for (filter, failing_min) in [
        ("handshake.key", 10),
        ("handshake.version", 10),
        ("handshake.method", 6),
        ("handshake.host", 6),
        ("origin.", 15),
        ("subprotocol.", 5),
        ("masking.missing", 8),
        ("reserved.opcode", 10),
        ("reserved.rsv2", 5),
        ("length.longer", 7),
        ("control.", 8),
        ("fragments.", 10),
        ("text.invalid", 20),
        ("close.code", 12),
        ("channel.", 8),
    ] {
        let findings = conformance::run(&target, filter, 4 * JOBS);
        let failed = |finding: &&Finding| matches!(finding.verdict, Verdict::Fail(_));
        let failing = findings.iter().filter(failed).count();
        assert!(
            failing >= failing_min,
            "{filter}: only {failing} fail\n{}",
            conformance::table(&findings, true)
        );
    }
    // And what it gets right is not held against it.
    let target = Target {
        timeout: Duration::from_secs(20),
        ..target
    };
    let right = conformance::run(&target, "length.text", JOBS);
    assert!(
        right.iter().all(|finding| finding.verdict == Verdict::Pass),
        "{}",
        conformance::table(&right, true)
    );
}

/// Each case of these groups finds out a server that believes all, or one that garbles what it sends
/// back, or one that does not end.
#[test]
fn every_case_of_the_framing_is_able_to_fail() {
    let bad = bad_server::Server::start();
    let target = |echo: &str| Target {
        echo: echo.to_owned(),
        timeout: Duration::from_millis(150),
        ..Target::at(bad.address())
    };
    let targets = ["/echo", bad_server::GARBLING, bad_server::STAYING].map(target);
    for group in GROUPS {
        let findings = targets.each_ref();
        let findings = findings.map(|target| conformance::run(target, group, 4 * JOBS));
        let failed: BTreeSet<_> = findings
            .iter()
            .flatten()
            .filter(|finding| matches!(finding.verdict, Verdict::Fail(_)))
            .map(|finding| finding.case.id)
            .collect();
        let cases = conformance::cases().filter(|case| case.id.starts_with(group));
        let cases: BTreeSet<_> = cases.map(|case| case.id).collect();
        assert!(!cases.is_empty(), "{group} has no cases");
        let never: Vec<_> = cases.difference(&failed).collect();
        assert!(never.is_empty(), "of {group} these never fail: {never:?}");
    }
}

#[test]
fn the_document_has_every_case_and_no_failure() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conformance.md");
    let document = fs::read_to_string(path).expect("docs/conformance.md");
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let id = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((id.to_owned(), cells.next()?.to_owned()))
    };
    let written: BTreeSet<_> = document.lines().filter_map(row).collect();
    let cases: BTreeSet<_> = conformance::cases()
        .map(|case| (case.id.to_owned(), case.title.to_owned()))
        .collect();
    let differing: Vec<_> = written.symmetric_difference(&cases).collect();
    assert!(
        differing.is_empty(),
        "docs/conformance.md is not of today: {differing:?}"
    );
    assert!(!document.contains("| FAIL |"));
}

/// Groups of which every case is seen to fail.
const GROUPS: &[&str] = &[
    "extension.",
    "deflate.",
    "masking.",
    "reserved.",
    "length.",
    "close.",
];
/// Cases asked at the same time.
const JOBS: usize = 4;
