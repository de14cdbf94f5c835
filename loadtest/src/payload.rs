//! What a measured message carries, so that its receiver can tell what became of it.
//!
//! ```text
//! magic u32 | checksum u32 | publisher u32 | channel u32 | sequence u64 | due u64 | sent u64 | filler
//! ```
//!
//! Little-endian. The checksum covers all that follows it, and the length.

/// The length of a payload without filler, in bytes: the shortest there is.
pub const PAYLOAD_BYTES_MIN: usize = 40;

/// A message's publisher, topic, sequence number and due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the publisher, or of the echoing connection.
    pub publisher: u32,
    /// Number of the channel.
    pub channel: u32,
    /// The publisher's messages are numbered from 0.
    pub sequence: u64,
    /// When it should have been sent by the schedule, in nanoseconds of the sender's clock. Without
    /// a rate the same as `sent_ns`.
    pub due_ns: u64,
    /// When it was given to the kernel.
    pub sent_ns: u64,
}

/// Appends a payload of `len` bytes, or of [`PAYLOAD_BYTES_MIN`] if that is more.
pub fn append(stamp: &Stamp, len: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let end = start + len.max(PAYLOAD_BYTES_MIN);
    out.reserve(end - start);
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&stamp.publisher.to_le_bytes());
    out.extend_from_slice(&stamp.channel.to_le_bytes());
    for word in [stamp.sequence, stamp.due_ns, stamp.sent_ns] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    let filler = stamp.sequence.wrapping_mul(PRIME).to_le_bytes();
    while out.len() < end {
        let n = filler.len().min(end - out.len());
        out.extend_from_slice(&filler[..n]);
    }
    let checksum = checksum(&out[start + CHECKED_FROM..]);
    out[start + 4..start + CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
}

/// The stamp of a payload; `None` when it is not one, or not as it was sent.
pub fn read(bytes: &[u8]) -> Option<Stamp> {
    if bytes.len() < PAYLOAD_BYTES_MIN || word32(bytes, 0) != MAGIC {
        return None;
    }
    if word32(bytes, 4) != checksum(&bytes[CHECKED_FROM..]) {
        return None;
    }
    Some(Stamp {
        publisher: word32(bytes, 8),
        channel: word32(bytes, 12),
        sequence: word64(bytes, 16),
        due_ns: word64(bytes, 24),
        sent_ns: word64(bytes, 32),
    })
}

/// Each word goes through a multiplication by an odd number and a rotation, both reversible, so a
/// change of one word always changes the 64-bit state; of its end 32 bits are kept.
fn checksum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = bytes.len() as u64;
    let mut mix = |word: u64| state = (state ^ word).wrapping_mul(PRIME).rotate_left(29);
    for word in words {
        mix(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(u64::from_le_bytes(last));
    (state ^ state >> 32) as u32
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn word64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

const MAGIC: u32 = u32::from_le_bytes(*b"Rst1");
const CHECKED_FROM: usize = 8;
const PRIME: u64 = 0x9E37_79B9_7F4A_7C15;
