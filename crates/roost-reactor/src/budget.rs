//! What all connections of the daemon may hold together.
//!
//! Each reactor says what its connections hold: unfinished input, output that waits, output that
//! the kernel has not taken. One that grows looks at the sum now and then, without a lock. When
//! the sum is at seven eighths of the limit, every reactor closes those of its connections that
//! hold most, largest first, until a quarter of the limit is free again; each takes a part of that
//! in proportion to what it holds, and one that holds little none. Nobody is closed for whom less
//! than half as much waits as for another, here or on another reactor.
//!
//! The books count a message once for each connection for which it waits, though it is in memory
//! once: a message to ten thousand who read well would look like ten thousand. So what is said is an
//! upper bound of what is in memory: the books, or what a count of the memory itself has found plus
//! all that was handed out since, if that is less. Memory is counted anew when the bound has grown
//! by a quarter, and before anybody is closed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use roost_net::{CloseMode, ConnKey, Driver};
use roost_wire::CloseCode;

use crate::conn::{Flags, Phase};
use crate::core::Core;
use crate::inputs::Partial;
use crate::outbox::Held;

/// The sums of all reactors.
pub(crate) struct Budget {
    bytes_max: u64,
    shares: Box<[Share]>,
}

/// One reactor's, on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Share {
    held: AtomicU64,
    /// What waited for the one for whom most waited, when memory was last counted.
    largest: AtomicU64,
    /// It shall give some back.
    asked: AtomicBool,
}

/// Where one reactor stands with the budget.
pub(crate) struct Reported {
    /// What it has told: no less than what its connections held then.
    told: u64,
    /// What had been handed out then, of all that ever was.
    told_at: u64,
    /// What the last count of the memory has found, or less, if the bound was lower since.
    counted: u64,
    /// At how many bytes it looks at the sum again.
    look_at: u64,
}

impl Reported {
    pub(crate) fn new(budget: &Budget) -> Reported {
        Reported {
            told: 0,
            told_at: 0,
            counted: 0,
            look_at: budget.step(),
        }
    }
}

impl Budget {
    pub(crate) fn new(bytes_max: u64, reactors: usize) -> Budget {
        Budget {
            bytes_max,
            shares: (0..reactors).map(|_| Share::default()).collect(),
        }
    }

    /// What all reactors hold.
    fn sum(&self) -> u64 {
        let held = self.shares.iter().map(|s| s.held.load(Ordering::Relaxed));
        held.sum()
    }

    /// A reactor that holds less closes nobody: the one that holds most there may hold next to
    /// nothing. All such together hold less than a quarter, so that the others have enough to give.
    fn exempt_below(&self) -> u64 {
        self.bytes_max / 4 / self.shares.len() as u64
    }

    /// Who holds less is not closed: others hold more, here or on another reactor.
    fn close_threshold(&self) -> u64 {
        let largest = self
            .shares
            .iter()
            .map(|s| s.largest.load(Ordering::Relaxed));
        largest.max().unwrap_or(0) / 2
    }

    /// How much one reactor may grow before it looks at the sum: all together no more than a
    /// sixteenth.
    fn step(&self) -> u64 {
        (self.bytes_max / 16 / self.shares.len() as u64).max(1)
    }
}

impl Core {
    /// Says what the connections here hold, and closes some if all together hold too much.
    /// Returns whether it did.
    pub(crate) fn keep_budget<D: Driver>(&mut self, driver: &D) -> bool {
        let me = self.links.me();
        let budget = self.budget.clone();
        let share = &budget.shares[me];
        let books = self.outboxes.held().cost + self.inputs.bytes();
        let books = books + driver.stats().pinned_bytes;
        let reported = &self.reported;
        let mut held = books.min(reported.told + (self.queued_bytes_total() - reported.told_at));
        if held > reported.counted / 4 * 5 + budget.step() {
            held = self.count_memory(driver).min(held);
            self.reported.counted = held;
        }
        self.tell(&budget, held);
        if held >= self.reported.look_at {
            self.reported.look_at = held + budget.step();
            if budget.sum() >= budget.bytes_max / 8 * 7 {
                for (reactor, other) in budget.shares.iter().enumerate() {
                    other.asked.store(true, Ordering::Relaxed);
                    if reactor != me {
                        self.links.wake(reactor);
                    }
                }
            }
        }
        if !share.asked.load(Ordering::Relaxed) || !share.asked.swap(false, Ordering::Relaxed) {
            return false;
        }
        let held = self.count_memory(driver).min(held);
        self.reported.counted = held;
        self.tell(&budget, held);
        if held < budget.exempt_below() {
            return false;
        }
        let sum = budget.sum();
        if sum < budget.bytes_max / 8 * 7 {
            return false;
        }
        let much = sum.saturating_sub(budget.bytes_max / 4 * 3);
        // In u128: both may be large.
        let mine = u128::from(much) * u128::from(held) / u128::from(sum.max(1));
        mine > 0 && self.shed(driver, held, mine as u64)
    }

    /// Says that connections here hold at most `held`.
    fn tell(&mut self, budget: &Budget, held: u64) {
        let queued_bytes_total = self.queued_bytes_total();
        let reported = &mut self.reported;
        reported.told_at = queued_bytes_total;
        reported.counted = reported.counted.min(held);
        if held != reported.told {
            reported.told = held;
            budget.shares[self.links.me()]
                .held
                .store(held, Ordering::Relaxed);
            reported.look_at = reported.look_at.min(held + budget.step());
        }
    }

    /// Bytes of memory that connections here make this reactor hold: what waits for several counts
    /// once.
    pub(crate) fn count_memory<D: Driver>(&self, driver: &D) -> u64 {
        let mut seen = HashSet::new();
        let mut bytes = self.inputs.bytes();
        let mut add = |address: usize, len: usize| {
            if seen.insert(address) {
                bytes += len as u64;
            }
        };
        let (mut queues, mut largest) = (0, 0);
        for outbox in self.outboxes.iter() {
            outbox
                .chunks()
                .for_each(|chunk| add(chunk.address(), chunk.held_bytes()));
            queues += Held::of(outbox).queue_bytes();
            largest = largest.max(Held::of(outbox).cost);
        }
        driver.each_pinned(&mut add);
        let share = &self.budget.shares[self.links.me()];
        share.largest.store(largest, Ordering::Relaxed);
        bytes + queues
    }

    /// Closes the connections that hold most until `bytes` of `held` are given back.
    fn shed<D: Driver>(&mut self, driver: &D, held: u64, bytes: u64) -> bool {
        let mut holders: Vec<(u64, ConnKey)> = (0..self.table.slots())
            .filter_map(|slot| {
                let key = self.table.key_at(slot)?;
                let held = self.held_by(driver, key);
                (held > 0).then_some((held, key))
            })
            .collect();
        holders.sort_unstable_by_key(|&(held, key)| (std::cmp::Reverse(held), key.slot()));
        // What no living connection holds is on its way back already.
        let listed: u64 = holders.iter().map(|(held, _)| held).sum();
        let mut given = held.saturating_sub(listed);
        let before = given;
        let close_threshold = self.budget.close_threshold();
        for (held, key) in holders {
            if given >= bytes || held < close_threshold {
                break;
            }
            given += held;
            self.counters.closed_memory_limit_total.inc();
            self.close_holder(driver, key);
        }
        given > before
    }

    /// Bytes a connection makes this reactor hold.
    pub(crate) fn held_by<D: Driver>(&self, driver: &D, key: ConnKey) -> u64 {
        let Some(conn) = self.table.get(key).filter(|c| c.phase != Phase::Closed) else {
            return 0;
        };
        let input = self.inputs.bytes_of(key.slot(), conn);
        let in_flight = if conn.flags.has(Flags::IN_FLIGHT) {
            driver.pinned_bytes(key)
        } else {
            0
        };
        self.outboxes.held_by(conn).cost + (input + in_flight) as u64
    }

    /// Ends a connection so that what it holds is given back at once.
    fn close_holder<D: Driver>(&mut self, driver: &D, key: ConnKey) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        // A close frame would wait behind the batch in flight, and that is what must go.
        let much_in_flight =
            conn.flags.has(Flags::IN_FLIGHT) && driver.pinned_bytes(key) > IN_FLIGHT_LEFT_MAX;
        if much_in_flight || conn.phase > Phase::Open {
            return self.cut(key, CloseMode::Abort);
        }
        if conn.phase < Phase::Open {
            return self.refuse(key, 503, REASON);
        }
        let has_input = conn.flags.has(Flags::HAS_REST)
            || self.inputs.get(conn).is_some_and(Partial::is_message);
        if conn.outbox.get().is_some() {
            self.close_dropping(key, REASON);
            if has_input {
                self.linger(key);
            }
        } else {
            self.fail(key, CloseCode::TRY_AGAIN_LATER, REASON);
        }
    }
}

/// A batch in flight up to this size is left to go out, with a close frame behind it.
const IN_FLIGHT_LEFT_MAX: usize = 16 << 10;
const REASON: &str = "server holds too much for its clients";

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
