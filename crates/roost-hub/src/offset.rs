//! A channel's last offset and its namespace, in eight bytes of its record.

use crate::ids::NamespaceId;

/// An offset of 48 bits and a namespace of 16. At a million publications a second in one channel
/// the offset lasts for nine years.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamespacedOffset(u64);

/// Offsets are below this.
const OFFSET_END: u64 = 1 << 48;

impl NamespacedOffset {
    pub(crate) fn new(offset: u64, namespace: NamespaceId) -> NamespacedOffset {
        debug_assert!(offset < OFFSET_END, "an offset has 48 bits");
        NamespacedOffset(offset << 16 | u64::from(namespace.0))
    }

    pub(crate) fn offset(self) -> u64 {
        self.0 >> 16
    }

    pub(crate) fn namespace(self) -> NamespaceId {
        let [low, high, ..] = self.0.to_le_bytes();
        NamespaceId(u16::from_le_bytes([low, high]))
    }

    /// Gives the next offset.
    pub(crate) fn advance(&mut self) -> u64 {
        self.0 += 1 << 16;
        self.offset()
    }

    pub(crate) fn set_namespace(&mut self, namespace: NamespaceId) {
        *self = NamespacedOffset::new(self.offset(), namespace);
    }

    pub(crate) fn set_offset(&mut self, offset: u64) {
        *self = NamespacedOffset::new(offset, self.namespace());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_and_namespace_leave_each_other_alone() {
        let mut at = NamespacedOffset::new(0, NamespaceId(u16::MAX));
        assert_eq!(at.advance(), 1);
        at.set_offset(OFFSET_END - 2);
        assert_eq!(at.advance(), OFFSET_END - 1);
        assert_eq!(at.namespace(), NamespaceId(u16::MAX));
        let at = NamespacedOffset::new(7, NamespaceId(0));
        assert_eq!((at.offset(), at.namespace()), (7, NamespaceId(0)));
    }
}
