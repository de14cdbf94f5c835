//! Numbers that clients cannot guess.

use roost_random::SplitMix64;

/// Where they come from.
#[derive(Debug, Default)]
pub(crate) enum Secrets {
    /// The operating system.
    #[default]
    System,
    /// A seed, so that a simulation goes the same way each time.
    Seeded(SplitMix64),
}

impl Secrets {
    /// The next one; `None` if the system has none to give.
    pub(crate) fn next(&mut self) -> Option<[u8; 16]> {
        match self {
            Secrets::System => roost_tls::random::secret(),
            Secrets::Seeded(random) => {
                let [high, low] = [random.next_u64(), random.next_u64()];
                let secret = u128::from(high) << 64 | u128::from(low);
                Some(secret.to_be_bytes())
            }
        }
    }
}
