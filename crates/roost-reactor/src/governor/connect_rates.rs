//! How many connections one address may begin, counted over all reactors: the kernel spreads the
//! connections of one address over them.
//!
//! A fixed sketch of atomics, so that no number of addresses costs more: each address has a cell in each
//! of two rows, and has taken no more than the lesser of the two says. Addresses that share a cell with a
//! busy one in both rows are limited with it; the hash is secret, so that none can be aimed at. A cell is
//! the time by which what was taken would have been at the rate (ITU-T I.371).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::TICK_MS;
use crate::settings::Limits;

/// The rates of all addresses.
pub(crate) struct ConnectRates {
    /// 0: there is no limit.
    per_second: u32,
    burst_ns: u64,
    /// Two rows of [`CELLS`]; empty without a limit.
    cells: Box<[AtomicU64]>,
    /// The latest time of any reactor. One whose tick is behind would find the burst of an address used up
    /// by the difference.
    latest_ns: AtomicU64,
    hasher: RandomState,
}

impl ConnectRates {
    pub(crate) fn new(limits: &Limits) -> ConnectRates {
        let per_second = limits.connects_per_address_per_second_max;
        let cells = if per_second > 0 { 2 * CELLS } else { 0 };
        ConnectRates {
            per_second,
            burst_ns: u64::from(limits.client_burst_ms) * 1_000_000,
            cells: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            latest_ns: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    /// Whether they are what these limits say.
    pub(crate) fn is_of(&self, limits: &Limits) -> bool {
        self.per_second == limits.connects_per_address_per_second_max
            && self.burst_ns == u64::from(limits.client_burst_ms) * 1_000_000
    }

    /// A connection comes from `peer` at tick `now`.
    ///
    /// # Errors
    /// The address has begun too many: in so many seconds it may try again. Nothing is taken.
    pub(crate) fn take(&self, peer: IpAddr, now: u32) -> Result<(), u32> {
        if self.per_second == 0 {
            return Ok(());
        }
        let cells = self.cells_of(peer);
        let now_ns = u64::from(now) * TICK_NS;
        let now_ns = self
            .latest_ns
            .fetch_max(now_ns, Ordering::Relaxed)
            .max(now_ns);
        let taken = cells.map(|cell| cell.load(Ordering::Relaxed));
        let until = taken[0].min(taken[1]).max(now_ns) + SECOND_NS / u64::from(self.per_second);
        let ahead = until - now_ns;
        // One is let in whatever the rate: else a rate of less than one in the burst lets in none.
        if ahead > self.burst_ns.max(SECOND_NS / u64::from(self.per_second)) {
            let wait = (ahead - self.burst_ns).div_ceil(SECOND_NS);
            return Err(u32::try_from(wait).unwrap_or(u32::MAX));
        }
        for cell in cells {
            cell.fetch_max(until, Ordering::Relaxed);
        }
        Ok(())
    }

    fn cells_of(&self, peer: IpAddr) -> [&AtomicU64; 2] {
        let network = match peer.to_canonical() {
            IpAddr::V4(peer) => u64::from(peer.to_bits()),
            // A household has a /64; RFC 4291 §2.5.4. Bit 63 is never set of IPv4's.
            IpAddr::V6(peer) => u64::try_from(peer.to_bits() >> 64).expect("64 bits") | 1 << 63,
        };
        let hash = self.hasher.hash_one(network);
        let cell = |bits: u64| usize::try_from(bits).expect("16 bits") % CELLS;
        [
            &self.cells[cell(hash & 0xffff)],
            &self.cells[CELLS + cell(hash >> 16 & 0xffff)],
        ]
    }
}

/// Cells of a row: 512 KiB both together. While 3,000 addresses are ahead of their rate, fewer
/// than one of a hundred others shares both its cells with such.
const CELLS: usize = 1 << 15;
/// What all addresses take where `limits.connects_per_address_per_second_max` is set.
pub const CONNECT_RATES_BYTES: usize = 2 * CELLS * size_of::<AtomicU64>();
const TICK_NS: u64 = TICK_MS as u64 * 1_000_000;
const SECOND_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(per_second: u32) -> ConnectRates {
        ConnectRates::new(&Limits {
            connects_per_address_per_second_max: per_second,
            client_burst_ms: 2_000,
            ..Limits::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_begins_a_burst_and_then_its_rate() {
        let rates = rates(10);
        let mut begun = [0; 600];
        for (now, begun) in (0..).zip(&mut begun) {
            while rates.take(ip("192.0.2.1"), now).is_ok() {
                *begun += 1;
            }
        }
        assert_eq!(begun[0], 20, "a burst");
        assert_eq!(begun.iter().sum::<u32>(), 20 + 599, "in a minute");
        assert_eq!(rates.take(ip("192.0.2.1"), 599), Err(1));
        assert_eq!(rates.take(ip("192.0.2.2"), 599), Ok(()), "another");
    }

    #[test]
    fn a_reactor_whose_tick_is_behind_lets_in_as_many() {
        let rates = rates(10);
        let ticks = [7, 6, 5].into_iter().cycle();
        let begun = ticks.take_while(|&now| rates.take(ip("192.0.2.1"), now).is_ok());
        assert_eq!(begun.count(), 20);
    }

    #[test]
    fn a_64_of_ipv6_is_one_and_a_mapped_address_is_ipv4() {
        let rates = rates(10);
        for n in 0..20 {
            let peer = ip(&format!("2001:db8:0:1::{n:x}"));
            assert_eq!(rates.take(peer, 1), Ok(()), "{n}");
            assert_eq!(rates.take(ip("::ffff:192.0.2.1"), 1), Ok(()), "{n}");
        }
        assert!(rates.take(ip("2001:db8:0:1:ffff::"), 1).is_err());
        assert!(rates.take(ip("192.0.2.1"), 1).is_err());
        assert_eq!(rates.take(ip("2001:db8:0:2::"), 1), Ok(()));
        // Its first 64 bits are those of the other's 32.
        assert_eq!(rates.take(ip("0:0:c000:201::1"), 1), Ok(()));
    }

    #[test]
    fn one_that_is_refused_is_told_when_it_may_try_again() {
        let rates = ConnectRates::new(&Limits {
            connects_per_address_per_second_max: 1,
            client_burst_ms: 5_000,
            ..Limits::default()
        });
        let peer = ip("192.0.2.1");
        for _ in 0..5 {
            assert_eq!(rates.take(peer, 10), Ok(()));
        }
        assert_eq!(rates.take(peer, 10), Err(1));
        assert_eq!(rates.take(peer, 19), Err(1), "in a tenth of one");
        assert_eq!(rates.take(peer, 20), Ok(()));
        // With a lesser burst it waits for longer.
        let less = ConnectRates {
            burst_ns: 2 * SECOND_NS,
            ..rates
        };
        assert_eq!(less.take(peer, 20), Err(4));
        assert_eq!(less.take(peer, 50), Err(1));
        assert_eq!(less.take(peer, 60), Ok(()));
    }

    #[test]
    fn rates_are_of_the_limits_they_were_made_of() {
        let limits = Limits {
            connects_per_address_per_second_max: 10,
            client_burst_ms: 2_000,
            ..Limits::default()
        };
        let rates = rates(10);
        assert!(rates.is_of(&limits));
        let other_rate = Limits {
            connects_per_address_per_second_max: 11,
            ..limits.clone()
        };
        let other_burst = Limits {
            client_burst_ms: 2_001,
            ..limits
        };
        assert!(!rates.is_of(&other_rate) && !rates.is_of(&other_burst));
    }

    #[test]
    fn a_thousand_busy_addresses_limit_few_others() {
        let rates = rates(1);
        for n in 0..1_000_u32 {
            while rates.take(IpAddr::from(n.to_be_bytes()), 1).is_ok() {}
        }
        let others = 0x0a00_0000..0x0a00_0000 + 10_000_u32;
        let limited = others.filter(|n| rates.take(IpAddr::from(n.to_be_bytes()), 1).is_err());
        let limited = limited.count();
        assert!(limited < 100, "{limited} of 10,000");
    }

    #[test]
    fn a_slow_rate_lets_one_in_and_no_rate_all() {
        let limits = Limits {
            connects_per_address_per_second_max: 1,
            client_burst_ms: 100,
            ..Limits::default()
        };
        let rates = ConnectRates::new(&limits);
        assert_eq!(rates.take(ip("192.0.2.1"), 1), Ok(()));
        assert!(rates.take(ip("192.0.2.1"), 1).is_err());
        assert_eq!(rates.take(ip("192.0.2.1"), 11), Ok(()));
        assert_eq!(size_of_val(&*rates.cells), CONNECT_RATES_BYTES);
        let none = ConnectRates::new(&Limits::default());
        assert_eq!(none.cells.len(), 0);
        assert!((0..1_000).all(|_| none.take(ip("192.0.2.1"), 0).is_ok()));
    }
}
