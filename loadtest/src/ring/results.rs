//! What a ring measured in one phase.

use std::collections::BTreeMap;

use crate::account::Tally;
use crate::histogram::Latencies;

/// Measurements since the last report.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// Deliveries to subscribers.
    pub(crate) deliveries: Tally,
    /// Messages that came back to echoing connections.
    pub(crate) echoes: Tally,
    /// From the beginning of TCP until open and subscribed.
    pub(crate) connect: Latencies,
    /// How long a connection waited here for the steps of its TLS handshake: a part of `connect`.
    pub(crate) tls_wait: Latencies,
    /// How long one step took, for which messages may have waited.
    pub(crate) tls_step: Latencies,
    /// From the drop until open and subscribed again.
    pub(crate) recover: Latencies,
    /// From the drop, or the return of those that were away, until a connection with positions had received
    /// all that was published until it was subscribed again.
    pub(crate) caught_up: Latencies,
    /// From the time a message was due until a subscriber had it.
    pub(crate) delivery: Latencies,
    /// The same of subscribers that were not dropped, in a phase that dropped some.
    pub(crate) delivery_rest: Latencies,
    /// The same of connections that were dropped and came back.
    pub(crate) delivery_returned: Latencies,
    /// From the time a message was due until it was back.
    pub(crate) echo: Latencies,
    /// From the time a message was sent until it was back: what a client without a schedule sees.
    pub(crate) echo_sent: Latencies,
    /// The latest delivery of each message here, by publisher.
    pub(crate) last: Vec<LastReceipts>,
    /// Why connections did not open.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Why connections that were held ended.
    pub(crate) losses: BTreeMap<String, u64>,
    /// Connections that came back with their positions.
    pub(crate) resumed: u64,
    /// Channels of them of which the server said that messages are lost.
    pub(crate) told: u64,
    /// Messages that were published and had not come when it said so.
    pub(crate) told_messages: u64,
    /// Publishes that the server acknowledged.
    pub(crate) acknowledged: u64,
    /// Publishes that it did not.
    pub(crate) unacknowledged: u64,
    /// Connections dropped by us.
    pub(crate) dropped: u64,
    /// Connections that closed as they should.
    pub(crate) closed: u64,
    /// Times a publisher gave up waiting for deliveries.
    pub(crate) stalls: u64,
    /// Messages due by a schedule and not sent when the traffic ended.
    pub(crate) unsent: u64,
    /// Those of them due for longer than one interval explains.
    pub(crate) unsent_overdue: u64,
    /// The longest time that this program stood still, in nanoseconds.
    pub(crate) paused_ns: u64,
}

/// The latest delivery of each message of one publisher.
#[derive(Debug, Default, Clone)]
pub(crate) struct LastReceipts {
    /// The sequence of the first.
    first: u64,
    /// The longest time from due to receipt, in nanoseconds; 0 if there was none.
    ns: Vec<u64>,
}

impl Results {
    pub(crate) fn new(publishers: usize) -> Results {
        Results {
            last: vec![LastReceipts::default(); publishers],
            ..Results::default()
        }
    }

    pub(crate) fn add(&mut self, other: Results) {
        self.deliveries.add(&other.deliveries);
        self.echoes.add(&other.echoes);
        self.connect.add(&other.connect);
        self.tls_wait.add(&other.tls_wait);
        self.tls_step.add(&other.tls_step);
        self.recover.add(&other.recover);
        self.caught_up.add(&other.caught_up);
        self.delivery.add(&other.delivery);
        self.delivery_rest.add(&other.delivery_rest);
        self.delivery_returned.add(&other.delivery_returned);
        self.echo.add(&other.echo);
        self.echo_sent.add(&other.echo_sent);
        for (mine, theirs) in self.last.iter_mut().zip(&other.last) {
            mine.add(theirs);
        }
        for (reason, count) in other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
        for (reason, count) in other.losses {
            *self.losses.entry(reason).or_default() += count;
        }
        self.resumed += other.resumed;
        self.told += other.told;
        self.told_messages += other.told_messages;
        self.acknowledged += other.acknowledged;
        self.unacknowledged += other.unacknowledged;
        self.dropped += other.dropped;
        self.closed += other.closed;
        self.stalls += other.stalls;
        self.unsent += other.unsent;
        self.unsent_overdue += other.unsent_overdue;
        self.note_pause(other.paused_ns);
    }

    /// A connection ended in a way it should not.
    pub(crate) fn note_loss(&mut self, why: &str) {
        *self.losses.entry(why.to_owned()).or_default() += 1;
    }

    /// This program stood still for so long, about.
    pub(crate) fn note_pause(&mut self, ns: u64) {
        self.paused_ns = self.paused_ns.max(ns);
    }

    /// From the time a message was due until the last subscriber had it.
    pub(crate) fn last_receipts(&self) -> Latencies {
        let mut all = Latencies::default();
        for ns in self.last.iter().flat_map(|last| &last.ns) {
            if *ns > 0 {
                all.record(*ns);
            }
        }
        all
    }
}

impl LastReceipts {
    pub(crate) fn record(&mut self, sequence: u64, ns: u64) {
        if self.ns.is_empty() {
            self.first = sequence;
        }
        self.raise(sequence, ns.max(1));
    }

    fn add(&mut self, other: &LastReceipts) {
        if self.ns.is_empty() {
            self.clone_from(other);
            return;
        }
        for (offset, &ns) in other.ns.iter().enumerate() {
            if ns > 0 {
                self.raise(other.first + offset as u64, ns);
            }
        }
    }

    fn raise(&mut self, sequence: u64, ns: u64) {
        if sequence < self.first {
            let missing = self.first - sequence;
            if missing + self.ns.len() as u64 > RECEIPTS_MAX {
                return;
            }
            self.ns.splice(0..0, (0..missing).map(|_| 0));
            self.first = sequence;
        }
        let at = sequence - self.first;
        if at >= RECEIPTS_MAX {
            return;
        }
        let at = at as usize;
        if self.ns.len() <= at {
            self.ns.resize(at + 1, 0);
        }
        self.ns[at] = self.ns[at].max(ns);
    }
}

/// Messages of one publisher in one phase whose last receipt is kept: 8 bytes each. Those beyond
/// are checked like all others and missing from this one distribution.
const RECEIPTS_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_receipt_is_the_latest_over_all_rings() {
        let mut one = Results::new(1);
        let mut other = Results::new(1);
        one.last[0].record(7, 100);
        one.last[0].record(8, 300);
        one.last[0].record(7, 50);
        other.last[0].record(6, 1_000);
        other.last[0].record(8, 200);
        other.last[0].record(9, 5);
        one.add(other);
        let last = &one.last[0];
        assert_eq!((last.first, &last.ns[..]), (6, &[1_000, 100, 300, 5][..]));
        assert_eq!(one.last_receipts().count(), 4);
    }
}
