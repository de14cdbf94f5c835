//! What all connections of the daemon may hold together.
//!
//! Each reactor says what its connections hold: unfinished input, output that waits, output that
//! the kernel has not taken. One that grows looks at the sum now and then, without a lock. When
//! the sum is at seven eighths of the limit, every reactor closes those of its connections that
//! hold most, largest first, until a quarter of the limit is free again; each takes a part of that
//! in proportion to what it holds, and one that holds little none. No connection is closed for which less
//! than half as much waits as for another, here or on another reactor.
//!
//! Accounting counts a message once for each connection for which it waits, though it is in memory
//! once: a message to ten thousand connections that read well would look like ten thousand. So what is said is an
//! upper bound of what is in memory: the accounting, or what a count of the memory itself has found plus
//! all that was queued since, if that is less. Memory is counted anew when the bound has grown
//! by a quarter, and before a connection is closed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use roost_net::{ConnKey, Driver};

use crate::connections::{Connections, Held, held_by};

/// The sums of all reactors.
pub(crate) struct Budget {
    bytes_max: AtomicU64,
    /// How much one reactor may grow before it looks at the sum: all together no more than a
    /// sixteenth.
    step: AtomicU64,
    shares: Box<[Share]>,
}

/// One reactor's, on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Share {
    held: AtomicU64,
    /// What the connection here that holds most holds, or held since memory was last counted.
    largest: AtomicU64,
    /// It is to close connections.
    close_requested: AtomicBool,
}

/// One reactor's part of the budget.
pub(crate) struct BudgetShare {
    budget: Arc<Budget>,
    reactor: usize,
    /// What it has reported: no less than what its connections held then.
    reported: u64,
    /// What had been queued then, of all that ever was.
    queued_at_report: u64,
    /// What the last count of the memory has found, or less, if the bound was lower since.
    counted: u64,
    /// At how many bytes it looks at the sum again.
    look_at: u64,
}

/// What a look at the budget requires.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct BudgetVerdict {
    /// All hold too much together: the other reactors are to look, too.
    pub(crate) wake_others: bool,
    /// What each connection here holds, those that hold most first; none where none is to be closed.
    pub(crate) holders: Vec<(u64, ConnKey)>,
    /// What they hold together, a message for each for which it waits.
    pub(crate) listed_bytes: u64,
    /// What is held of that, a message once.
    pub(crate) held_bytes: u64,
    /// What may be held when enough are closed.
    pub(crate) goal_bytes: u64,
    /// One that holds less is not closed.
    pub(crate) close_threshold: u64,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64, reactors: usize) -> Budget {
        Budget {
            bytes_max: AtomicU64::new(bytes_max),
            step: AtomicU64::new(step_of(bytes_max, reactors)),
            shares: (0..reactors).map(|_| Share::default()).collect(),
        }
    }

    /// Another limit holds from now on.
    pub(crate) fn set_bytes_max(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        let step = step_of(bytes_max, self.shares.len());
        self.step.store(step, Ordering::Relaxed);
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Relaxed)
    }

    fn step(&self) -> u64 {
        self.step.load(Ordering::Relaxed)
    }

    /// What all reactors hold.
    fn sum(&self) -> u64 {
        let held = self.shares.iter().map(|s| s.held.load(Ordering::Relaxed));
        held.sum()
    }

    /// A reactor that holds less closes no connection: the one that holds most there may hold next to
    /// nothing. All such together hold less than a quarter, so that the others hold enough to close.
    fn exempt_below(&self) -> u64 {
        self.bytes_max() / 4 / self.shares.len() as u64
    }

    /// A connection that holds less is not closed: others hold more, here or on another reactor.
    fn close_threshold(&self) -> u64 {
        let largest = self
            .shares
            .iter()
            .map(|s| s.largest.load(Ordering::Acquire));
        largest.max().unwrap_or(0) / 2
    }
}

fn step_of(bytes_max: u64, reactors: usize) -> u64 {
    (bytes_max / 16 / reactors as u64).max(1)
}

impl BudgetShare {
    pub(crate) fn new(budget: Arc<Budget>, reactor: usize) -> BudgetShare {
        BudgetShare {
            look_at: budget.step(),
            budget,
            reactor,
            reported: 0,
            queued_at_report: 0,
            counted: 0,
        }
    }

    /// Reports what the connections here hold; finds which to close if all together hold too much.
    #[inline]
    pub(crate) fn look<D: Driver>(
        &mut self,
        connections: &Connections,
        driver: &D,
    ) -> Option<BudgetVerdict> {
        let accounted = connections.accounted_bytes() + driver.stats().pinned_bytes;
        let queued_since = connections.queued_bytes_total() - self.queued_at_report;
        let mut held = accounted.min(self.reported + queued_since);
        if held > self.counted / 4 * 5 + self.budget.step() {
            held = self.recount(connections, driver, held);
        }
        self.report(connections, held);
        let wake_others = held >= self.look_at && self.request_closing(held);
        let share = &self.budget.shares[self.reactor];
        if !wake_others && !share.close_requested.load(Ordering::Relaxed) {
            return None;
        }
        share.close_requested.store(false, Ordering::Relaxed);
        let mut verdict = BudgetVerdict {
            wake_others,
            ..BudgetVerdict::default()
        };
        let held = self.recount(connections, driver, held);
        // Before the sum: see `recount`.
        let close_threshold = self.budget.close_threshold();
        let sum = self.budget.sum();
        if held >= self.budget.exempt_below() && sum >= self.budget.bytes_max() / 8 * 7 {
            let much = sum.saturating_sub(self.budget.bytes_max() / 4 * 3);
            // In u128: both may be large.
            let mine = u128::from(much) * u128::from(held) / u128::from(sum.max(1));
            let mine = u64::try_from(mine).unwrap_or(u64::MAX);
            verdict.holders = holders(connections, driver);
            verdict.listed_bytes = verdict.holders.iter().map(|(held, _)| held).sum();
            // What no living connection holds is on its way back already.
            verdict.held_bytes = held.min(verdict.listed_bytes);
            verdict.goal_bytes = held.saturating_sub(mine);
            verdict.close_threshold = close_threshold;
        }
        Some(verdict)
    }

    /// Has all reactors close some of their connections, if all together hold too much.
    fn request_closing(&mut self, held: u64) -> bool {
        self.look_at = held + self.budget.step();
        let is_too_much = self.budget.sum() >= self.budget.bytes_max() / 8 * 7;
        if is_too_much {
            for share in &self.budget.shares {
                share.close_requested.store(true, Ordering::Relaxed);
            }
        }
        is_too_much
    }

    /// One that holds less than this is not closed.
    pub(crate) fn close_threshold(&self) -> u64 {
        self.budget.close_threshold()
    }

    /// Reports that connections here hold at most `held`, and if one holds more than any did before.
    #[inline]
    fn report(&mut self, connections: &Connections, held: u64) {
        let peak = connections.outboxes().take_peak();
        let largest = &self.budget.shares[self.reactor].largest;
        if peak > largest.load(Ordering::Relaxed) {
            largest.store(peak, Ordering::Relaxed);
        }
        self.queued_at_report = connections.queued_bytes_total();
        self.counted = self.counted.min(held);
        if held != self.reported {
            self.reported = held;
            let share = &self.budget.shares[self.reactor];
            share.held.store(held, Ordering::Relaxed);
            self.look_at = self.look_at.min(held + self.budget.step());
        }
    }

    /// Counts the memory anew, of which no more than `bound` is held, and what the connection holds
    /// that holds most; reports both. One without an outbox holds little, as a rule.
    pub(crate) fn recount<D: Driver>(
        &mut self,
        connections: &Connections,
        driver: &D,
        bound: u64,
    ) -> u64 {
        let held = count_memory(connections, driver).min(bound);
        self.counted = held;
        self.report(connections, held);
        let owners = connections.outboxes().iter().map(|outbox| outbox.owner());
        let keys = owners.filter_map(|slot| connections.key_at(slot));
        let costs = keys.map(|key| held_by(connections, driver, key));
        // A reactor that sees that the largest is gone must see that the sum is less as well, or it
        // closes its own for that.
        let largest = &self.budget.shares[self.reactor].largest;
        largest.store(costs.max().unwrap_or(0), Ordering::Release);
        held
    }
}

/// Bytes of memory that a reactor's connections make it hold: what waits for several counts once.
pub(crate) fn count_memory<D: Driver>(connections: &Connections, driver: &D) -> u64 {
    let mut seen = HashSet::new();
    let mut bytes = connections.inputs().bytes();
    let mut add = |address: usize, len: usize| {
        if seen.insert(address) {
            bytes += len as u64;
        }
    };
    let mut queues = 0;
    for outbox in connections.outboxes().iter() {
        outbox
            .chunks()
            .for_each(|chunk| add(chunk.address(), chunk.held_bytes()));
        queues += Held::of(outbox).queue_bytes();
    }
    driver.each_pinned(&mut add);
    bytes + queues
}

/// What connections hold, the largest first.
fn holders<D: Driver>(connections: &Connections, driver: &D) -> Vec<(u64, ConnKey)> {
    let held = |key| (held_by(connections, driver, key), key);
    let holders = connections.keys().map(held);
    let mut holders: Vec<(u64, ConnKey)> = holders.filter(|&(held, _)| held > 0).collect();
    holders.sort_unstable_by_key(|&(held, key)| (std::cmp::Reverse(held), key.slot()));
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reactors_look_before_the_limit_is_reached() {
        let budget = Budget::new(1 << 30, 53);
        assert!(budget.step() * 53 <= (1 << 30) / 16);
        for share in &budget.shares {
            share.held.store(1 << 20, Ordering::Relaxed);
        }
        assert_eq!(budget.sum(), 53 << 20);
    }
}
