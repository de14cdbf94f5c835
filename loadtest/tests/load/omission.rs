//! A stall of the server is seen by all messages that were due in it, not by one alone.

use roost_load::histogram::Latencies;
use roost_load::pace::{Schedule, Window};

const MS: u64 = 1_000_000;

/// A client of 100 messages a second, one in flight, against a server that takes 1 ms, and once
/// 400 ms. Returns latencies from due and from sent.
fn one_second_with_a_stall() -> (Latencies, Latencies) {
    let mut schedule = Schedule::share(0, 100.0, 0, 1);
    let mut window = Window::new(1);
    let (mut from_due, mut from_sent) = (Latencies::default(), Latencies::default());
    let mut answer: Option<(u64, u64, u64)> = None;
    let mut now = 0;
    while now < 2_000 * MS {
        while now < 1_000 * MS
            && let Some(due) = schedule.take_due(now)
        {
            window.push_due(due);
        }
        if let Some((at, due, sent)) = answer
            && at <= now
        {
            answer = None;
            window.answered();
            from_due.record(at - due);
            from_sent.record(at - sent);
        }
        if let Some(due) = window.send_next() {
            let stalls = (200 * MS..210 * MS).contains(&now);
            answer = Some((now + if stalls { 400 * MS } else { MS }, due, now));
        }
        now += MS;
    }
    (from_due, from_sent)
}

#[test]
fn a_stall_counts_for_every_message_due_in_it() {
    let (from_due, from_sent) = one_second_with_a_stall();
    assert_eq!((from_due.count(), from_sent.count()), (100, 100));
    // From sending, the stall is one message's misfortune.
    assert!(from_sent.percentile_ns(98.0) < 10 * MS);
    // From due, it is that of the 40 messages due in it, and of those that wait behind them.
    assert!(from_due.percentile_ns(98.0) > 300 * MS);
    assert!(from_due.percentile_ns(70.0) > 100 * MS);
    assert!(from_due.percentile_ns(20.0) < 10 * MS);
}

#[test]
fn shares_of_a_rate_make_the_rate() {
    let mut due = Vec::new();
    for member in 0..3 {
        let mut schedule = Schedule::share(1_000, 30.0, member, 3);
        while let Some(at) = schedule.take_due(1_000 + 999 * MS) {
            due.push(at);
        }
    }
    due.sort_unstable();
    assert_eq!(due.len(), 30);
    for pair in due.windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap.abs_diff(33_333_333) < 10, "{gap} ns apart");
    }
}
