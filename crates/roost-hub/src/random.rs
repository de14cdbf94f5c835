//! Publication numbers: pseudo-random, as WAMP's "global scope" asks (drawn at random from
//! 1..2^53), and the same again for the same seed.

use roost_random::SplitMix64;

/// Makes them.
#[derive(Debug, Clone)]
pub(crate) struct PublicationIds(SplitMix64);

impl PublicationIds {
    pub(crate) fn new(seed: u64) -> Self {
        PublicationIds(SplitMix64::new(seed))
    }

    /// Takes the generator apart: its state is the seed of one that goes on.
    pub(crate) fn into_state(self) -> u64 {
        let PublicationIds(generator) = self;
        generator.into_state()
    }

    /// The next number, in 1..2^53.
    pub(crate) fn next_id(&mut self) -> u64 {
        loop {
            let id = self.0.next_u64() >> 11;
            if id != 0 {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_a_double() {
        let mut ids = PublicationIds::new(0);
        assert!((0..10_000).all(|_| (1..1 << 53).contains(&ids.next_id())));
    }
}
