//! How the network names its parts.

/// One end of a link. A freed link's number is used again with another generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SockId {
    pub(super) link: u32,
    pub(super) generation: u32,
    pub(super) side: u8,
}

impl SockId {
    /// The other end.
    pub(super) fn peer(self) -> SockId {
        SockId {
            side: self.side ^ 1,
            ..self
        }
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.side)
    }
}

/// Which driver of the net.
pub(super) type DriverIndex = u32;
/// Which listener of the net (a [`ListenerId`](crate::ListenerId) counts per driver).
pub(super) type ListenerIndex = u32;
