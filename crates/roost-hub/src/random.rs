//! Publication numbers: pseudo-random, as WAMP's "global scope" asks (drawn at random from
//! 1..2^53), and the same again for the same seed.

/// Steele, Lea and Flood's splitmix64.
#[derive(Debug, Clone)]
pub(crate) struct PublicationIds {
    state: u64,
}

impl PublicationIds {
    pub(crate) fn new(seed: u64) -> Self {
        PublicationIds { state: seed }
    }

    /// Takes the generator apart: its state is the seed of one that goes on.
    pub(crate) fn into_state(self) -> u64 {
        let PublicationIds { state } = self;
        state
    }

    /// The next number, in 1..2^53.
    pub(crate) fn next_id(&mut self) -> u64 {
        loop {
            let id = self.next_u64() >> 11;
            if id != 0 {
                return id;
            }
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_its_known_numbers() {
        // The reference implementation's first outputs for seed 1234567.
        let mut ids = PublicationIds::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| ids.next_u64()).collect();
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
    fn numbers_fit_a_double() {
        let mut ids = PublicationIds::new(0);
        assert!((0..10_000).all(|_| (1..1 << 53).contains(&ids.next_id())));
    }
}
