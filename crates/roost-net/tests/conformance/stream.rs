//! Streams whose every byte is known from its place, and the random numbers of the tests.

use roost_net::Chunk;
use roost_net::sim::SimRng;

/// An endless stream of bytes, told from others by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    id: u64,
    start: u64,
}

impl Stream {
    /// The stream numbered `id`, from its start.
    pub(crate) fn new(id: u64) -> Stream {
        Stream { id, start: 0 }
    }

    /// The same stream without its first `bytes`.
    pub(crate) fn from(self, bytes: u64) -> Stream {
        Stream {
            start: self.start + bytes,
            ..self
        }
    }

    /// The eight bytes of word `index`. The period is far longer than any test.
    fn word(self, index: u64) -> [u8; 8] {
        let word = index
            .wrapping_add(self.id << 32)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (word ^ (word >> 29)).to_be_bytes()
    }

    /// `len` bytes from `start` on.
    pub(crate) fn bytes(self, start: u64, len: usize) -> Vec<u8> {
        let start = self.start + start;
        let skip = (start % 8) as usize;
        let mut bytes = Vec::with_capacity(skip + len + 8);
        let mut index = start / 8;
        while bytes.len() < skip + len {
            bytes.extend_from_slice(&self.word(index));
            index += 1;
        }
        bytes.truncate(skip + len);
        bytes.drain(..skip);
        bytes
    }

    /// The same in chunks of `chunk_bytes`.
    pub(crate) fn chunks(self, start: u64, len: usize, chunk_bytes: usize) -> Vec<Chunk> {
        self.bytes(start, len)
            .chunks(chunk_bytes)
            .map(|part| Chunk::new(part.to_vec().into()))
            .collect()
    }

    /// Compares `bytes` with the stream from `start` on; the place of the first other byte.
    pub(crate) fn check(self, start: u64, bytes: &[u8]) -> Result<(), u64> {
        let expected = self.bytes(start, bytes.len());
        if expected == bytes {
            return Ok(());
        }
        let same = expected
            .iter()
            .zip(bytes)
            .take_while(|(one, other)| one == other);
        Err(start + same.count() as u64)
    }
}

/// Seeded random numbers, as the cases ask for them.
#[derive(Debug, Clone)]
pub(crate) struct Rng(SimRng);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(SimRng::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0.below(limit as u64) as usize
    }

    /// True `percent` times of a hundred.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// `ROOST_SEED`, or a new seed; printed either way, and shown when the test fails.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("ROOST_SEED") {
        Ok(text) => text.parse().expect("ROOST_SEED is a number"),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("after 1970").as_nanos() as u64
        }
    };
    println!("ROOST_SEED={seed}");
    seed
}
