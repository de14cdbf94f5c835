//! What a simulated driver has.

/// What one simulated driver may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimOptions {
    /// Size of a receive buffer: the longest [`Event::Bytes`](crate::Event::Bytes).
    pub read_buffer_bytes: usize,
    /// Receive buffers; each event that waits holds one.
    pub buffers: usize,
    /// Descriptors for connections, the accepted and not yet adopted included.
    pub sockets_max: usize,
    /// Whether new connections beyond `sockets_max` are reset; else they wait in the accept queue.
    pub reset_at_limit: bool,
    /// Connections looked at in one iteration; the others come first in the next.
    pub events_max: usize,
    /// Whether a caller's breach of the contract panics. Off, it has the consequence that the
    /// contract states.
    pub strict: bool,
}

impl Default for SimOptions {
    fn default() -> SimOptions {
        SimOptions {
            read_buffer_bytes: 4096,
            buffers: 16,
            sockets_max: 10_000,
            reset_at_limit: false,
            events_max: 128,
            strict: true,
        }
    }
}
