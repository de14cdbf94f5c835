//! Times, counted in fixed buckets whose bounds are powers of two.

use crate::description::Description;
use crate::value::Value;

/// How often something took how long, with one writer. Any thread may read it: counts of one reading may
/// be of different moments.
#[derive(Debug, Default)]
pub struct Histogram {
    /// By bucket; the last has no bound.
    counts: [Value; BUCKETS],
    sum_ns: Value,
}

/// What a histogram has counted, or several together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistogramReading {
    counts: [u64; BUCKETS],
    sum_ns: u64,
}

impl Histogram {
    /// Counts one time. Only the owner calls this.
    #[inline]
    pub fn record(&self, ns: u64) {
        self.counts[bucket_of(ns)].inc();
        self.sum_ns.add(ns);
    }

    /// What is counted now.
    pub fn read(&self) -> HistogramReading {
        HistogramReading {
            counts: std::array::from_fn(|at| self.counts[at].get()),
            sum_ns: self.sum_ns.get(),
        }
    }
}

impl HistogramReading {
    /// Adds what another has counted.
    pub fn add(&mut self, other: &HistogramReading) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum = sum.wrapping_add(count);
        }
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
    }

    /// For each bucket, the seconds up to which times are in it (the last has no bound) and how many are
    /// in it or in one before.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<f64>, u64)> + '_ {
        let mut below = 0;
        self.counts.iter().enumerate().map(move |(at, count)| {
            below += count;
            let bound = (at + 1 < BUCKETS).then(|| seconds(1 << (FIRST_BITS + at)));
            (bound, below)
        })
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        seconds(self.sum_ns)
    }
}

/// Of a reactor, what no counter tells. Each has one writer: the reactor, or for what the canary finds the
/// control thread.
#[derive(Debug, Default)]
pub struct Timings {
    /// What the reactor's loop iterations took; written by the reactor.
    pub loop_iteration: Histogram,
    /// What the canary's publications took; written by the control thread.
    pub publish: Histogram,
    /// What the last one took, in nanoseconds.
    pub canary_ns: Value,
    /// How many were missed in a row.
    pub canary_misses: Value,
    /// How many were missed.
    pub canary_misses_total: Value,
}

/// Name and meaning of the histograms, in the order of [`Timings::histograms`].
pub const HISTOGRAM_DESCRIPTIONS: &[Description] = &[
    Description {
        name: "loop_iteration_seconds",
        help: "Time that a reactor's loop iteration works, without its wait; every 64th iteration is measured.",
    },
    Description {
        name: "publish_seconds",
        help: "Time from a publication of the API until its channel's home has ordered it and its subscriber has it, as the canary measures it every admin.canary_interval at each reactor.",
    },
];

/// Name and meaning of what is known of each reactor by its canary.
pub const CANARY_DESCRIPTIONS: &[Description] = &[
    Description {
        name: "canary_seconds",
        help: "Time that the last publication of the canary at this reactor was on its way; 0 before the first.",
    },
    Description {
        name: "canary_misses",
        help: "Publications of the canary in a row that did not come in time; from 2 on the server is not ready.",
    },
    Description {
        name: "canary_misses_total",
        help: "Publications of the canary that did not come in time.",
    },
];

impl Timings {
    /// Both.
    pub fn histograms(&self) -> [HistogramReading; 2] {
        [self.loop_iteration.read(), self.publish.read()]
    }
}

/// In seconds; exact up to 2^53 ns, which is 104 days.
pub fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// The first bucket whose bound is not below the time.
#[inline]
fn bucket_of(ns: u64) -> usize {
    let bits = (u64::BITS - ns.saturating_sub(1).leading_zeros()) as usize;
    bits.saturating_sub(FIRST_BITS).min(BUCKETS - 1)
}

/// The first bucket is for times up to 2^12 ns, which are 4 µs.
const FIRST_BITS: usize = 12;
/// The last but one is for those up to 2^33 ns, which are 8.6 s.
const BUCKETS: usize = 23;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_takes_it() {
        for (ns, bucket) in [
            (0, 0),
            (1, 0),
            (4_096, 0),
            (4_097, 1),
            (8_192, 1),
            (1 << 33, BUCKETS - 2),
            ((1 << 33) + 1, BUCKETS - 1),
            (u64::MAX, BUCKETS - 1),
        ] {
            assert_eq!(bucket_of(ns), bucket, "{ns} ns");
        }
        for ns in (0..64)
            .map(|bits| 1u64 << bits)
            .chain([77, 5_000, 1_000_000])
        {
            let histogram = Histogram::default();
            histogram.record(ns);
            let reading = histogram.read();
            for (bound, below) in reading.buckets() {
                let is_in = bound.is_none_or(|bound| seconds(ns) <= bound);
                assert_eq!(below == 1, is_in, "{ns} ns, {bound:?}");
            }
        }
    }

    #[test]
    fn readings_add_up() {
        let (one, other) = (Histogram::default(), Histogram::default());
        one.record(1_000);
        other.record(1_000_000_000);
        other.record(20_000_000_000);
        let mut sum = one.read();
        sum.add(&other.read());
        assert_eq!((sum.count(), sum.sum_seconds()), (3, 21.000_001));
        let below: Vec<u64> = sum.buckets().map(|(_, below)| below).collect();
        assert_eq!(
            (below[0], below[BUCKETS - 2], below[BUCKETS - 1]),
            (1, 2, 3)
        );
    }
}
