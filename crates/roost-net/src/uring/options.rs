//! What a ring is set up with.

/// Sizes of a driver.
#[derive(Debug, Clone)]
pub struct UringOptions {
    /// Requests queued before a submission, 64 bytes each. A power of two.
    pub entries: u32,
    /// Completions the shared queue holds, 16 bytes each; at least `entries`. More than that wait
    /// in the kernel's memory. A power of two.
    pub cq_entries: u32,
    /// Receive buffers, 1 to 32,768: how many connections are read in one iteration.
    pub buffers: u16,
    /// Size of each, in bytes: the longest [`Event::Bytes`](crate::Event::Bytes). Their memory is used only as far as
    /// they are in use at the same time.
    pub buffer_bytes: u32,
    /// `Some(n)`: sockets live in a table of `n` slots of the ring's own, and count against
    /// RLIMIT_NOFILE per ring instead of per process. The peer's address is then known only where
    /// it was asked for when accepting: [`Driver::peer_addr`](crate::Driver::peer_addr) is `None`.
    pub direct_slots: Option<u32>,
}

impl Default for UringOptions {
    fn default() -> UringOptions {
        UringOptions {
            entries: 1_024,
            cq_entries: 4_096,
            buffers: 256,
            buffer_bytes: 16_384,
            direct_slots: None,
        }
    }
}
