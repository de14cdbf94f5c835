//! Masking (RFC 6455 §5.3): byte `i` of a payload is XORed with byte `i % 4` of the mask. The same
//! operation masks and unmasks.

/// XORs `bytes` in place with `mask`, which stands at its first byte. For a payload in pieces, go
/// on with [`rotate`].
#[inline]
pub fn apply(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let twice = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    // Words of 8, which the compiler turns into vectors; nothing here depends on alignment.
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ twice).to_ne_bytes();
    }
    // Then perhaps one of 4, and up to three bytes.
    let tail = match tail.split_first_chunk_mut::<4>() {
        Some((word, tail)) => {
            *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
            tail
        }
        None => tail,
    };
    for (byte, mask) in tail.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// The mask as it stands `offset` bytes further into the payload.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "less than 4")]
pub const fn rotate(mask: [u8; 4], offset: usize) -> [u8; 4] {
    // Big-endian: the first byte of the mask is the most significant one, so left is forward.
    u32::from_be_bytes(mask)
        .rotate_left(8 * (offset & 3) as u32)
        .to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 6455 §5.7: a single-frame masked text message "Hello".
        let mut hello = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply(&mut hello, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&hello, b"Hello");
    }

    #[test]
    fn every_length_and_every_split_agree_with_the_definition() {
        let mask = [0x01, 0x22, 0x43, 0x84];
        for len in 0..70 {
            let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let expected: Vec<u8> = plain
                .iter()
                .enumerate()
                .map(|(i, byte)| byte ^ mask[i % 4])
                .collect();
            for split in 0..=len {
                let mut bytes = plain.clone();
                let (head, tail) = bytes.split_at_mut(split);
                apply(head, mask);
                apply(tail, rotate(mask, split));
                assert_eq!(bytes, expected, "length {len}, split {split}");
            }
        }
    }
}
