//! Deltas in the format of Fossil (<https://fossil-scm.org/home/doc/trunk/www/delta_format.wiki>): how to make a
//! text of another one, by copying ranges of it and inserting what is new.
//!
//! Work and memory are linear in the lengths of both: of the base one block in `BLOCK_BYTES` is indexed, and at
//! each place of the target at most `CANDIDATES_MAX` of them are compared.

use std::fmt;

/// The delta that makes `target` of `base`, if there is one that is shorter than `target`. Neither may be longer
/// than [`TEXT_BYTES_MAX`]. Of a target that is UTF-8 the delta is as well.
pub fn encode(base: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if base.len().max(target.len()) > TEXT_BYTES_MAX {
        return None;
    }
    let mut writer = Writer {
        target,
        is_text: str::from_utf8(target).is_ok(),
        written: 0,
        out: Vec::with_capacity(target.len() / 4 + HEAD_BYTES),
    };
    push_number(&mut writer.out, target.len());
    writer.out.push(b'\n');
    let index = Index::new(base);
    let mut at = 0;
    let mut hash = None;
    while at + BLOCK_BYTES <= target.len() && writer.out.len() < target.len() {
        let rolled = match hash {
            None => Rolling::of(&target[at..at + BLOCK_BYTES]),
            Some(before) => Rolling::rolled(before, target[at - 1], target[at + BLOCK_BYTES - 1]),
        };
        hash = Some(rolled);
        let longest = index.longest(rolled.value(), target, at, at - writer.written);
        let copied = longest.and_then(|found| writer.copy(found));
        match copied {
            Some(end) => (at, hash) = (end, None),
            None => at += 1,
        }
    }
    writer.insert(target.len());
    push_number(&mut writer.out, checksum(target) as usize);
    writer.out.push(b';');
    Some(writer.out).filter(|delta| delta.len() < target.len())
}

/// What a delta makes of `base`, if that is at most `bytes_max` long.
///
/// # Errors
/// When it is no delta, or none of this base.
pub fn decode(base: &[u8], delta: &[u8], bytes_max: usize) -> Result<Vec<u8>, NotADelta> {
    let mut rest = delta;
    let len = take_number(&mut rest).filter(|&len| len <= bytes_max);
    let len = len.ok_or(NotADelta)?;
    take(&mut rest, b'\n')?;
    let mut out = Vec::new();
    loop {
        let number = take_number(&mut rest).ok_or(NotADelta)?;
        let (&command, behind) = rest.split_first().ok_or(NotADelta)?;
        rest = behind;
        let piece = match command {
            b':' => {
                let (piece, behind) = rest.split_at_checked(number).ok_or(NotADelta)?;
                rest = behind;
                piece
            }
            b'@' => {
                let from = take_number(&mut rest).ok_or(NotADelta)?;
                take(&mut rest, b',')?;
                let end = from.checked_add(number).ok_or(NotADelta)?;
                base.get(from..end).ok_or(NotADelta)?
            }
            b';' => {
                let is_whole = rest.is_empty() && out.len() == len;
                let is_right = is_whole && checksum(&out) as usize == number;
                return is_right.then_some(out).ok_or(NotADelta);
            }
            _ => return Err(NotADelta),
        };
        if piece.len() > len - out.len() {
            return Err(NotADelta);
        }
        out.extend_from_slice(piece);
    }
}

/// It is no delta, or none of this base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotADelta;

impl fmt::Display for NotADelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no delta in Fossil's format against this text")
    }
}

impl std::error::Error for NotADelta {}

/// The sum of the text's words of four bytes, the first byte the highest; the last word is filled with zeros.
fn checksum(text: &[u8]) -> u32 {
    let (words, rest) = text.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]);
    words.fold(0, |sum: u32, word| {
        sum.wrapping_add(u32::from_be_bytes(*word))
    })
}

/// A range of the base that stands in the target.
#[derive(Debug, Clone, Copy)]
struct Match {
    base: usize,
    target: usize,
    len: usize,
}

struct Writer<'t> {
    target: &'t [u8],
    /// Whether what is inserted may begin and end between characters only.
    is_text: bool,
    /// How much of the target the commands make.
    written: usize,
    out: Vec<u8>,
}

impl Writer<'_> {
    /// Copies a match, and inserts what stands before it. Returns where it ends; `None` if it is not worth it.
    fn copy(&mut self, found: Match) -> Option<usize> {
        let Match { base, target, len } = found;
        let end = target + len;
        let mut first = target;
        while first < end && !self.is_boundary(first) {
            first += 1;
        }
        let mut last = end;
        while last > first && !self.is_boundary(last) {
            last -= 1;
        }
        let len = last - first;
        if len < COPY_BYTES_MIN {
            return None;
        }
        self.insert(first);
        push_number(&mut self.out, len);
        self.out.push(b'@');
        push_number(&mut self.out, base + (first - target));
        self.out.push(b',');
        self.written = last;
        Some(last)
    }

    /// Inserts the target up to here.
    fn insert(&mut self, end: usize) {
        let literal = &self.target[self.written..end];
        if !literal.is_empty() {
            push_number(&mut self.out, literal.len());
            self.out.push(b':');
            self.out.extend_from_slice(literal);
            self.written = end;
        }
    }

    fn is_boundary(&self, at: usize) -> bool {
        let is_inside = |&byte: &u8| byte & 0xC0 == 0x80; // RFC 3629 §3: 10xxxxxx goes on with a character
        !self.is_text || !self.target.get(at).is_some_and(is_inside)
    }
}

/// The blocks of a base, by their hash.
struct Index<'b> {
    base: &'b [u8],
    /// By a hash's lower bits the last block that has it, by its number and one.
    heads: Vec<u32>,
    /// By a block's number the one before it with the same bits, in the same way.
    before: Vec<u32>,
}

impl<'b> Index<'b> {
    fn new(base: &'b [u8]) -> Index<'b> {
        let (blocks, _) = base.as_chunks::<BLOCK_BYTES>();
        let mut index = Index {
            base,
            heads: vec![0; (blocks.len() * 2).next_power_of_two()],
            before: Vec::with_capacity(blocks.len()),
        };
        for (number, block) in (1..).zip(blocks) {
            let head = index.head(Rolling::of(block).value());
            index
                .before
                .push(std::mem::replace(&mut index.heads[head], number));
        }
        index
    }

    fn head(&self, hash: u32) -> usize {
        // The sums' lower bits differ little between texts of few different bytes.
        let mixed = hash.wrapping_mul(0x9E37_79B1) >> 8;
        mixed as usize & (self.heads.len() - 1)
    }

    /// The longest match of a block that stands at this place of the target, widened to both sides: to the
    /// left by as much as is not written yet.
    fn longest(&self, hash: u32, target: &[u8], at: usize, before: usize) -> Option<Match> {
        let mut longest: Option<Match> = None;
        let mut number = self.heads[self.head(hash)];
        for _ in 0..CANDIDATES_MAX {
            let Some(block) = number.checked_sub(1) else {
                break;
            };
            number = self.before[block as usize];
            let from = block as usize * BLOCK_BYTES;
            let ahead = common(&self.base[from..], &target[at..]);
            if ahead < BLOCK_BYTES {
                continue; // the hash alone is the same
            }
            let back = common_end(&self.base[..from], &target[at - before..at]);
            let len = back + ahead;
            if longest.is_none_or(|found| found.len < len) {
                let (base, target) = (from - back, at - back);
                longest = Some(Match { base, target, len });
            }
        }
        longest
    }
}

/// How many bytes both begin with.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// How many bytes both end with.
fn common_end(a: &[u8], b: &[u8]) -> usize {
    let pairs = a.iter().rev().zip(b.iter().rev());
    pairs.take_while(|(a, b)| a == b).count()
}

/// A hash of [`BLOCK_BYTES`] bytes that can go on by one: their sum, and their sum by places.
#[derive(Debug, Clone, Copy)]
struct Rolling {
    sum: u32,
    by_place: u32,
}

impl Rolling {
    fn of(block: &[u8]) -> Rolling {
        let mut rolling = Rolling {
            sum: 0,
            by_place: 0,
        };
        for &byte in block {
            rolling.sum = rolling.sum.wrapping_add(u32::from(byte));
            rolling.by_place = rolling.by_place.wrapping_add(rolling.sum);
        }
        rolling
    }

    /// One byte further on.
    fn rolled(self, leaves: u8, comes: u8) -> Rolling {
        let (leaves, comes) = (u32::from(leaves), u32::from(comes));
        let sum = self.sum.wrapping_sub(leaves).wrapping_add(comes);
        let by_place = self.by_place.wrapping_sub(leaves * BLOCK_BYTES_U32);
        Rolling {
            sum,
            by_place: by_place.wrapping_add(sum),
        }
    }

    fn value(self) -> u32 {
        self.sum ^ self.by_place << 12
    }
}

fn push_number(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0; 11];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = DIGITS[rest % 64];
        rest /= 64;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A number of at least one digit, below 2^32.
fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let digits = rest.iter().take_while(|byte| DIGITS.contains(byte)).count();
    let (digits, behind) = rest.split_at(digits);
    if !(1..=6).contains(&digits.len()) {
        return None;
    }
    *rest = behind;
    let number = digits.iter().fold(0, |number: u64, digit| {
        let value = DIGITS.iter().position(|one| one == digit);
        number * 64 + value.expect("it is a digit") as u64
    });
    u32::try_from(number).ok().map(|number| number as usize)
}

fn take(rest: &mut &[u8], byte: u8) -> Result<(), NotADelta> {
    match rest.split_first() {
        Some((first, behind)) if *first == byte => {
            *rest = behind;
            Ok(())
        }
        _ => Err(NotADelta),
    }
}

/// Longest text of which, or against which, a delta is made.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Bytes that are looked for in the base at once.
const BLOCK_BYTES: usize = 16;
const BLOCK_BYTES_U32: u32 = 16;
const _: () = assert!(BLOCK_BYTES == BLOCK_BYTES_U32 as usize);
/// Most places of the base that are compared at a place of the target.
const CANDIDATES_MAX: usize = 8;
/// A shorter copy takes as many bytes as it saves.
const COPY_BYTES_MIN: usize = 11;
/// What stands around the commands of a delta.
const HEAD_BYTES: usize = 32;
/// What stands for 0 to 63.
const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

#[cfg(test)]
mod tests {
    use super::*;

    fn is_made(base: &str, target: &str, delta: &str) {
        let made = encode(base.as_bytes(), target.as_bytes()).expect("it is shorter");
        assert_eq!(String::from_utf8(made), Ok(delta.to_owned()));
        let decoded = decode(base.as_bytes(), delta.as_bytes(), 1 << 20);
        assert_eq!(decoded.as_deref(), Ok(target.as_bytes()));
    }

    #[test]
    fn a_delta_is_as_fossil_writes_it() {
        let base = "The quick brown fox jumps over the lazy dog.";
        // 44 bytes are "h" in its digits; the checksum is that of the whole text.
        let sum = checksum(base.as_bytes());
        let mut digits = Vec::new();
        push_number(&mut digits, sum as usize);
        let digits = String::from_utf8(digits).expect("ASCII");
        is_made(base, base, &format!("h\nh@0,{digits};"));
        assert_eq!(checksum(b""), 0);
        assert_eq!(checksum(b"\x01\x02\x03\x04\x05"), 0x0102_0304 + 0x0500_0000);
    }

    #[test]
    fn a_delta_of_text_is_text() {
        let base = "žluťoučký kůň pěl ďábelské ódy, a kůň pěl dál";
        let target = "žluťoučký kůň pěl ďábelské ódů, i kůň pěl dál";
        let delta = encode(base.as_bytes(), target.as_bytes()).expect("it is shorter");
        assert!(str::from_utf8(&delta).is_ok());
        assert_eq!(
            decode(base.as_bytes(), &delta, 100),
            Ok(target.as_bytes().to_vec())
        );
    }

    #[test]
    fn what_has_nothing_of_its_base_has_no_delta() {
        assert_eq!(encode(b"", b""), None);
        assert_eq!(encode(b"abc", b""), None);
        assert_eq!(encode(b"", &[7; 100]), None);
        let (base, target) = (vec![1; TEXT_BYTES_MAX + 1], vec![1; 100]);
        assert_eq!(encode(&base, &target), None, "it is too long");
    }

    #[test]
    fn what_is_no_delta_of_a_base_is_not_decoded() {
        let (base, target) = (b"0123456789abcdefghijklmnop", b"0123456789abcdefghijklmnoq");
        let delta = encode(base, target).expect("it is shorter");
        assert!(
            decode(base, &delta, target.len() - 1).is_err(),
            "it is too long"
        );
        assert!(decode(b"0123456789abcdefghijklmn!p", &delta, 100).is_err());
        for at in 0..delta.len() {
            assert!(decode(base, &delta[..at], 100).is_err(), "{at} bytes of it");
        }
    }
}
