//! Seeded pseudo-random numbers: numbers of publications, the simulator's choices, masks and load. One
//! 64-bit state, the same sequence on every machine. Never for what a peer must not guess.

#![warn(clippy::print_stdout, clippy::print_stderr)]

/// Steele, Lea and Flood's SplitMix64. Equal seeds give equal sequences, for ever: seeds are
/// written down in bug reports.
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// A generator at the start of `seed`'s sequence.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    /// Its state: the seed of a generator that goes on where this one stands.
    pub fn into_state(self) -> u64 {
        self.0
    }

    /// A generator of its own, so that choices made here do not shift those made there.
    pub fn fork(&mut self) -> SplitMix64 {
        SplitMix64(self.next_u64())
    }

    /// The next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`.
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "no number is below 0");
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    ///
    /// # Panics
    /// When `low` is above `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an empty range has no number");
        match (high - low).checked_add(1) {
            Some(span) => low + self.below(span),
            None => self.next_u64(),
        }
    }

    /// True `rate` times in a thousand.
    pub fn per_mille(&mut self, rate: u32) -> bool {
        rate > 0 && self.below(1000) < u64::from(rate)
    }

    /// Puts `items` into an order of its choice. Returns whether that differs from the old one.
    pub fn shuffle<T>(&mut self, items: &mut [T]) -> bool {
        let mut moved = false;
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            moved |= i != j;
            items.swap(i, j);
        }
        moved
    }
}

/// Spreads the bits of `x` over all of the result: SplitMix64's output function.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_of_a_seed_never_changes() {
        // The published first outputs of SplitMix64 for seed 1234567.
        let mut rng = SplitMix64::new(1_234_567);
        let first = [rng.next_u64(), rng.next_u64(), rng.next_u64()];
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn ranges_include_both_ends() {
        let mut rng = SplitMix64::new(1);
        let drawn: Vec<u64> = (0..200).map(|_| rng.between(3, 5)).collect();
        assert!((3..=5).all(|n| drawn.contains(&n)));
        assert!(drawn.iter().all(|n| (3..=5).contains(n)));
    }
}
