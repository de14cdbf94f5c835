//! How much may be published in a namespace, by all publishers of all reactors together.
//!
//! Each limit is one number: the time at which all that was published until now would have been
//! published at the rate that is allowed (virtual scheduling of the generic cell rate algorithm,
//! ITU-T I.371). What comes faster moves it ahead of the clock; once it is ahead by more than
//! [`AHEAD_MAX`], publishers wait until it is ahead by half of that.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::TICK_MS;
use crate::settings::{ChannelPolicy, Policies};

/// The namespaces' limits, by number, and where they stand.
pub(crate) struct Inflow {
    /// Empty if there is no limit at all.
    gates: Box<[Gates]>,
}

/// The limits of one namespace.
struct Gates {
    messages: Gate,
    bytes: Gate,
}

/// One limit.
struct Gate {
    /// Of these a second; 0 is no limit.
    per_second: u64,
    /// When what was taken so far would have been at this rate, in nanoseconds.
    taken_until_ns: AtomicU64,
}

impl Inflow {
    pub(crate) fn new(policies: &Policies) -> Inflow {
        let own = policies.namespaces.iter().map(|(_, policy)| policy);
        let all = std::iter::once(&policies.default).chain(own);
        let gates: Box<[Gates]> = all.map(Gates::new).collect();
        Inflow {
            gates: match gates.iter().any(Gates::has_limits) {
                true => gates,
                false => Box::default(),
            },
        }
    }

    /// The limits of new policies. A limit that is the same goes on where it stands; another begins anew.
    pub(crate) fn reload(&self, policies: &Policies) -> Inflow {
        let next = Inflow::new(policies);
        for (old, new) in self.gates.iter().zip(&next.gates) {
            old.messages.go_on_in(&new.messages);
            old.bytes.go_on_in(&new.bytes);
        }
        next
    }

    #[inline]
    pub(crate) fn has_limits(&self) -> bool {
        !self.gates.is_empty()
    }

    /// A message of so many bytes was published in a namespace at tick `now`. Returns the tick at
    /// which its publisher may publish again.
    pub(crate) fn take(&self, namespace: u16, bytes: usize, now: u32) -> u32 {
        let Some(gates) = self.gates.get(usize::from(namespace)) else {
            return now;
        };
        let messages = gates.messages.take(1, now);
        messages.max(gates.bytes.take(bytes as u64, now))
    }

    /// The same of a publisher that cannot be made to wait: if it may not publish now, nothing is
    /// taken, and the tick at which it may is returned.
    pub(crate) fn try_take(&self, namespace: u16, bytes: usize, now: u32) -> Result<(), u32> {
        let Some(gates) = self.gates.get(usize::from(namespace)) else {
            return Ok(());
        };
        let open_at = gates.messages.open_at(now).max(gates.bytes.open_at(now));
        if open_at > now {
            return Err(open_at);
        }
        self.take(namespace, bytes, now);
        Ok(())
    }
}

impl Gates {
    fn new(policy: &ChannelPolicy) -> Gates {
        Gates {
            messages: Gate::new(u64::from(policy.publish_messages_per_second_max)),
            bytes: Gate::new(policy.publish_bytes_per_second_max),
        }
    }

    fn has_limits(&self) -> bool {
        self.messages.per_second > 0 || self.bytes.per_second > 0
    }
}

impl Gate {
    fn new(per_second: u64) -> Gate {
        Gate {
            per_second,
            taken_until_ns: AtomicU64::new(0),
        }
    }

    fn go_on_in(&self, next: &Gate) {
        if self.per_second == next.per_second {
            let taken_until_ns = self.taken_until_ns.load(Ordering::Relaxed);
            next.taken_until_ns.store(taken_until_ns, Ordering::Relaxed);
        }
    }

    fn take(&self, amount: u64, now: u32) -> u32 {
        if self.per_second == 0 {
            return now;
        }
        let cost = u128::from(amount) * 1_000_000_000 / u128::from(self.per_second);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let now_ns = u64::from(now) * TICK_NS;
        let until = |taken_until: u64| taken_until.max(now_ns).saturating_add(cost);
        let before = self
            .taken_until_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| Some(until(at)));
        let (Ok(before) | Err(before)) = before;
        resume_at(until(before) - now_ns, now)
    }

    /// The tick from which on a publisher that has taken nothing may publish.
    fn open_at(&self, now: u32) -> u32 {
        let now_ns = u64::from(now) * TICK_NS;
        let taken_until = self.taken_until_ns.load(Ordering::Relaxed);
        resume_at(taken_until.saturating_sub(now_ns), now)
    }
}

/// When a gate that is ahead of the clock by so much opens.
fn resume_at(ahead_ns: u64, now: u32) -> u32 {
    if ahead_ns <= AHEAD_MAX {
        return now;
    }
    let wait = (ahead_ns - AHEAD_MAX / 2).div_ceil(TICK_NS);
    now.saturating_add(u32::try_from(wait).unwrap_or(u32::MAX))
}

const TICK_NS: u64 = TICK_MS as u64 * 1_000_000;
/// So much may come at once: 400 ms' worth. Half of it is more than a tick, so that publishers who
/// wait for the next tick have not let the rate sink by then.
const AHEAD_MAX: u64 = 4 * TICK_NS;

#[cfg(test)]
mod tests {
    use super::*;

    fn inflow(messages: u32, bytes: u64) -> Inflow {
        let limited = ChannelPolicy {
            publish_messages_per_second_max: messages,
            publish_bytes_per_second_max: bytes,
            ..ChannelPolicy::default()
        };
        Inflow::new(&Policies {
            default: ChannelPolicy::default(),
            namespaces: vec![("limited".to_owned(), limited)],
            counted: Vec::new(),
        })
    }

    /// Several publishers, of which each publishes whenever it may: messages in so many seconds.
    fn messages_in(inflow: &Inflow, publishers: usize, bytes: usize, seconds: u32) -> u32 {
        let mut resume_at = vec![0; publishers];
        let mut messages = 0;
        for now in 0..seconds * 1_000 / TICK_MS {
            let mut is_over = false;
            while !is_over {
                is_over = true;
                for resume_at in resume_at.iter_mut().filter(|at| **at <= now) {
                    *resume_at = inflow.take(1, bytes, now);
                    messages += 1;
                    is_over = false;
                }
            }
        }
        messages
    }

    #[test]
    fn the_rate_is_kept_over_all_publishers() {
        for publishers in [1, 3, 40] {
            let messages = messages_in(&inflow(1_000, 0), publishers, 1, 60);
            assert!((60_000..61_000).contains(&messages), "{messages} messages");
            let messages = messages_in(&inflow(0, 100_000), publishers, 100, 60);
            assert!((60_000..61_000).contains(&messages), "{messages} messages");
            let messages = messages_in(&inflow(1, 0), publishers, 100, 60);
            let burst = publishers as u32;
            assert!((60..62 + burst).contains(&messages), "{messages} messages");
        }
    }

    #[test]
    fn the_stricter_limit_holds() {
        let messages = messages_in(&inflow(1_000, 10_000), 2, 100, 30);
        assert!((3_000..3_100).contains(&messages), "{messages} messages");
    }

    #[test]
    fn what_is_refused_takes_nothing() {
        let inflow = inflow(10, 0);
        let mut taken = 0;
        let mut open_at = 0;
        for now in 0..100 {
            // However often it is tried.
            for _ in 0..50 {
                match inflow.try_take(1, 1, now) {
                    Ok(()) => taken += 1,
                    Err(at) => open_at = at,
                }
            }
            assert!(open_at > now, "it is told when to try again");
        }
        assert!(
            (100..=106).contains(&taken),
            "{taken} in 10 s at 10 a second"
        );
        assert_eq!(inflow.try_take(1, 1, open_at), Ok(()), "and may then");
        assert_eq!(inflow.try_take(0, 1 << 30, 0), Ok(()), "no limit");
    }

    #[test]
    fn other_namespaces_have_none() {
        let inflow = inflow(1, 1);
        assert!(inflow.has_limits());
        assert_eq!(inflow.take(0, 1 << 30, 7), 7);
        assert!(inflow.take(1, 1 << 30, 7) > 1_000_000);
        assert!(!Inflow::new(&Policies::default()).has_limits());
    }
}
