//! Connection keys: slot, generation and operation in one u64.

use std::fmt;

/// Names one connection of one reactor: slot (32 bits), generation (16 bits) and, inside the
/// drivers, the operation (8 bits). mio's token, io_uring's `user_data` and the table's key are
/// this one number, so that a late completion is told from the slot's present owner by a compare.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnKey(u64);

impl ConnKey {
    /// A key for `slot` in its `generation`, with operation 0.
    pub const fn new(slot: u32, generation: u16) -> ConnKey {
        ConnKey(slot as u64 | (generation as u64) << 32)
    }

    /// The index in the connection table.
    pub const fn slot(self) -> u32 {
        self.0 as u32
    }

    /// How often the slot had been given away before, modulo 65,536.
    pub const fn generation(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// The operation a completion belongs to; 0 outside the drivers.
    pub const fn op(self) -> u8 {
        (self.0 >> 48) as u8
    }

    /// The same connection with operation `op`.
    pub const fn with_op(self, op: u8) -> ConnKey {
        ConnKey(self.0 & !(0xff << 48) | (op as u64) << 48)
    }

    /// The number as given to the kernel.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The key of a number that came back from the kernel.
    pub const fn from_bits(bits: u64) -> ConnKey {
        ConnKey(bits)
    }
}

impl fmt::Debug for ConnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())?;
        if self.op() != 0 {
            write!(f, "/{}", self.op())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_packing() {
        let key = ConnKey::new(0xdead_beef, 0xabcd).with_op(0x5a);
        assert_eq!(
            (key.slot(), key.generation(), key.op()),
            (0xdead_beef, 0xabcd, 0x5a)
        );
        assert_eq!(key.with_op(0), ConnKey::new(0xdead_beef, 0xabcd));
        assert_eq!(ConnKey::from_bits(key.to_bits()), key);
    }
}
