//! Hashes of texts whose collisions no client can foresee: polynomials at a secret point, modulo a
//! prime, a word of seven bytes a step.
//!
//! Two texts of so many words collide at so many of the 2^61 points at most, whatever they are.

/// 2^61 - 1. All numbers here are below it, but for running hashes.
const PRIME: u64 = (1 << 61) - 1;

/// Bytes of a word: with its length above them it is below [`PRIME`].
pub(crate) const WORD_BYTES: usize = 7;

/// A secret number as a point.
pub(crate) fn point(secret: u64) -> u64 {
    secret % PRIME
}

/// The hash of a part of a text at a point; 0 of the empty one only.
#[inline]
pub(crate) fn hash(text: &[u8], range: (usize, usize), point: u64) -> u64 {
    let (at, end) = range;
    match end - at {
        0 => 0,
        len @ 1..=WORD_BYTES => word(text, at, len), // most levels
        _ => hash_words(text, range, point),
    }
}

#[inline(never)]
fn hash_words(text: &[u8], range: (usize, usize), point: u64) -> u64 {
    let (mut at, end) = range;
    let mut running = 0;
    while at < end {
        let len = (end - at).min(WORD_BYTES);
        running = append(running, word(text, at, len), point);
        at += len;
    }
    finish(running)
}

/// The running hash of a text from that of what stands before its last word: below 2^62.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "cut at 61 bits")]
pub(crate) fn append(running: u64, word: u64, point: u64) -> u64 {
    if running == 0 {
        return word;
    }
    let product = u128::from(running) * u128::from(point);
    let sum = (product as u64 & PRIME) + (product >> 61) as u64 + word; // below 2^63
    (sum & PRIME) + (sum >> 61)
}

/// The hash that a running hash stands for.
#[inline]
pub(crate) fn finish(running: u64) -> u64 {
    reduce(running)
}

/// A word of `len` bytes, 1 to 7 of them, at a place of a text: never 0.
#[inline]
pub(crate) fn word(text: &[u8], at: usize, len: usize) -> u64 {
    let bytes = eight_bytes(text, at) & (u64::MAX >> (64 - 8 * len));
    bytes | (len as u64) << (8 * WORD_BYTES)
}

/// The eight bytes that begin at `at`, the first lowest; 0 where the text is over.
#[inline]
pub(crate) fn eight_bytes(text: &[u8], at: usize) -> u64 {
    let end = text.len();
    if at + 8 <= end {
        return load(text, at);
    }
    if end >= 8 {
        return load(text, end - 8) >> (8 * (at + 8 - end)); // at < end
    }
    let rest = text[at..].iter().rev();
    rest.fold(0, |word, &byte| word << 8 | u64::from(byte))
}

#[inline]
fn load(text: &[u8], at: usize) -> u64 {
    let bytes = text[at..at + 8].try_into();
    u64::from_le_bytes(bytes.expect("eight bytes"))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "cut at 61 bits")]
pub(crate) fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    reduce((product as u64 & PRIME) + (product >> 61) as u64)
}

#[inline]
pub(crate) fn add(a: u64, b: u64) -> u64 {
    reduce(a + b)
}

#[inline]
pub(crate) fn subtract(a: u64, b: u64) -> u64 {
    reduce(a + (PRIME - b))
}

/// From below 2^62.
#[inline]
fn reduce(sum: u64) -> u64 {
    if sum >= PRIME { sum - PRIME } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_below_the_prime() {
        let most = PRIME - 1;
        assert_eq!(add(most, 1), 0);
        assert_eq!(add(most, most), PRIME - 2);
        assert_eq!(subtract(0, 1), most);
        assert_eq!(subtract(5, 5), 0);
        assert_eq!(multiply(most, most), 1, "(-1)^2");
        assert_eq!(multiply(1 << 60, 2), 1, "2^61 is 1");
    }

    #[test]
    fn a_text_is_hashed_the_same_wherever_it_stands() {
        let point = point(u64::MAX);
        let long = "abcdefghijklmnopqrstuvwxyz";
        for begin in 0..long.len() {
            for end in begin..=long.len() {
                let part = &long.as_bytes()[begin..end];
                let alone = hash(part, (0, part.len()), point);
                assert_eq!(
                    hash(long.as_bytes(), (begin, end), point),
                    alone,
                    "{part:?}"
                );
                assert!(alone < PRIME && (alone == 0) == part.is_empty());
            }
        }
    }

    #[test]
    fn texts_of_zeros_differ_by_their_length() {
        let zeros = [0; 40];
        let hashes: std::collections::HashSet<u64> =
            (0..40).map(|len| hash(&zeros, (0, len), 3)).collect();
        assert_eq!(hashes.len(), 40);
    }
}
