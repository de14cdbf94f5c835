//! One entry of a simulated driver's table.

use std::collections::VecDeque;

use crate::sim::ids::SockId;
use crate::sim::kernel::Kernel;
use crate::{Chunk, CloseCause, ConnKey};

#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) conn: Option<Conn>,
    /// The generation that had the slot last.
    pub(super) generation: Option<u16>,
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) key: ConnKey,
    /// None once the socket is gone and only the last event is to be told.
    pub(super) sock: Option<SockId>,
    pub(super) phase: Phase,
    pub(super) paused: bool,
    /// Goes to the caller once it is connected and the batch is out.
    pub(super) releasing: bool,
    pub(super) shutdown: Shutdown,
    pub(super) read_closed_reported: bool,
    pub(super) batch: Option<Batch>,
    /// From `Pending` until the caller has seen `Sent`.
    pub(super) in_flight: bool,
    /// On `ready`.
    pub(super) ready: bool,
    /// On `starved`.
    pub(super) starved: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Open,
    /// Closes once the batch is out.
    Closing,
    /// The socket is gone and `Closed` will be queued in a later iteration.
    Ending(CloseCause),
    /// The last event is in the queue.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shutdown {
    No,
    Wanted,
    Done,
}

/// A send that the kernel has not taken whole.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are gone.
    pub(super) offset: usize,
    pub(super) unsent: usize,
}

impl Batch {
    /// What it holds: all of a chunk until its last byte is gone.
    pub(super) fn pinned_bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::len).sum()
    }
}

impl Conn {
    pub(super) fn sock(&self) -> SockId {
        self.sock.expect("a connection in this phase has a socket")
    }

    pub(super) fn check_invariants(&self) {
        let gone = matches!(self.phase, Phase::Ending(_) | Phase::Ended);
        assert_eq!(
            self.sock.is_none(),
            gone,
            "{:?}: socket and phase",
            self.key
        );
        assert!(
            !gone || self.batch.is_none(),
            "{:?} holds a batch for nothing",
            self.key
        );
        if let Some(batch) = &self.batch {
            let held: usize = batch.chunks.iter().map(Chunk::len).sum();
            assert_eq!(held - batch.offset, batch.unsent, "batch miscounted");
            assert!(batch.unsent > 0, "an empty batch is done");
        }
    }
}

impl Batch {
    /// The kernel takes the next `n` bytes, for which it has room.
    pub(super) fn write(&mut self, k: &mut Kernel, sock: SockId, n: usize) {
        let mut left = n;
        while left > 0 {
            let chunk = self.chunks.front().expect("unsent bytes are in a chunk");
            let rest = &chunk.as_slice()[self.offset..];
            let part = rest.len().min(left);
            k.write(sock, &rest[..part]);
            left -= part;
            self.offset += part;
            if self.offset == chunk.len() {
                self.chunks.pop_front();
                self.offset = 0;
            }
        }
        self.unsent -= n;
    }
}
