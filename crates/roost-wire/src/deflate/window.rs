//! A window carried from one inflater to another, which knows only how to inflate: it comes out by a
//! block of references to itself, and goes in as a stored block.

/// How far back a message may refer, in bytes (RFC 1951 §2).
pub(super) const WINDOW_BYTES_MAX: usize = 1 << 15;

/// Blocks that repeat the last `len` bytes, 1 to [`WINDOW_BYTES_MAX`], and end on a whole byte. The
/// inflater then yields them, once or, where they are fewer than three, as often as makes three:
/// a reference has three bytes at least. Either way what is behind it ends as before.
pub(super) fn repeat(len: usize) -> Vec<u8> {
    debug_assert!((1..=WINDOW_BYTES_MAX).contains(&len));
    let mut bits = Bits::default();
    bits.push(0b010, 3); // not the last block, and with the fixed codes (RFC 1951 §3.2.3)
    let mut left = len * REFERENCE_MIN.div_ceil(len);
    while left > 0 {
        let mut take = left.min(REFERENCE_MAX);
        if (1..REFERENCE_MIN).contains(&(left - take)) {
            take -= REFERENCE_MIN;
        }
        bits.reference(take, len);
        left -= take;
    }
    bits.push_code(0, 7); // end of the block
    bits.push(0b000, 3);
    bits.align();
    bits.bytes.extend_from_slice(&super::TAIL);
    bits.bytes
}

/// `window` as a stored block, which is not the last.
pub(super) fn stored(window: &[u8]) -> Vec<u8> {
    let len = u16::try_from(window.len()).expect("a window has at most 32 KiB");
    let mut block = Vec::with_capacity(5 + window.len());
    block.push(0);
    block.extend_from_slice(&len.to_le_bytes());
    block.extend_from_slice(&(!len).to_le_bytes());
    block.extend_from_slice(window);
    block
}

/// Bits, the lowest of each byte first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    /// Numbers stand with their lowest bit first.
    fn push(&mut self, value: usize, count: u32) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let byte = self.bytes.last_mut().expect("one was pushed");
            *byte |= u8::from(value >> bit & 1 == 1) << (self.used % 8);
            self.used += 1;
        }
    }

    /// Codes stand with their highest bit first (RFC 1951 §3.1.1).
    fn push_code(&mut self, code: usize, count: u32) {
        for bit in (0..count).rev() {
            self.push(code >> bit & 1, 1);
        }
    }

    fn align(&mut self) {
        self.used = self.used.next_multiple_of(8);
    }

    /// RFC 1951 §3.2.5 and §3.2.6.
    fn reference(&mut self, len: usize, distance: usize) {
        let (code, base, extra) = last_up_to(len, LENGTHS.iter().copied());
        match code {
            ..=22 => self.push_code(code + 1, 7),
            _ => self.push_code(0b1100_0000 + code - 23, 8),
        }
        self.push(len - base, extra);
        let (code, base, extra) = last_up_to(distance, distances());
        self.push_code(code, 5);
        self.push(distance - base, extra);
    }
}

/// The last code whose base is at most `value`, with its base and its extra bits.
fn last_up_to(value: usize, codes: impl Iterator<Item = (usize, u32)>) -> (usize, usize, u32) {
    let fitting = codes
        .enumerate()
        .take_while(|(_, (base, _))| *base <= value);
    let (code, (base, extra)) = fitting.last().expect("the first code has the least");
    (code, base, extra)
}

/// The distances that codes 0 to 29 begin at, and their extra bits.
fn distances() -> impl Iterator<Item = (usize, u32)> {
    let mut next = 1;
    (0..30u32).map(move |code| {
        let extra = (code / 2).saturating_sub(1);
        let base = next;
        next += 1 << extra;
        (base, extra)
    })
}

const REFERENCE_MIN: usize = 3;
const REFERENCE_MAX: usize = 258;

/// The lengths that codes 257 to 285 begin at, and their extra bits.
const LENGTHS: [(usize, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
