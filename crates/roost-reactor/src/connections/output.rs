//! What one loop iteration sends: frames, each once, and which connection gets which.

use std::collections::HashMap;

use roost_net::Chunk;
use roost_net::memory::{HighWater, shrink_vec};
use roost_wire::frame::append_frame;
use roost_wire::{Frozen, Opcode};

use super::conn::Conn;
use crate::palette::{FrameBytes, FrameIndex, Palette};

/// Where a publication comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// What policy `latest` keeps one message of: the channel's number here, or, above all of
    /// those, a hash of a pattern and of the channel that matches it.
    pub(crate) channel: u64,
    /// The channel's: when the frame is flushed the channel may have lost its last subscriber here,
    /// and its record.
    pub(crate) namespace: u16,
}

/// A frame of this loop iteration.
pub(crate) enum PendingFrame {
    /// Shared with others, maybe of other reactors; published in `channel`, if it was.
    Shared {
        chunk: Chunk,
        origin: Option<Origin>,
    },
    /// One connection's own, in the arena.
    Own { start: u32, end: u32 },
    /// The same, holding pongs: where output is blocked, only the newest is kept.
    Pong { start: u32, end: u32 },
}

impl FrameBytes for PendingFrame {
    fn frame_bytes(&self) -> usize {
        match self {
            PendingFrame::Shared { chunk, .. } => chunk.len(),
            PendingFrame::Own { start, end } | PendingFrame::Pong { start, end } => {
                (end - start) as usize
            }
        }
    }
}

/// The output of one loop iteration, pending until it is flushed.
pub(crate) struct PendingOutput {
    pub(super) palette: Palette<PendingFrame>,
    /// Frames of single connections, back to back.
    arena: Vec<u8>,
    /// Slots of the connections with something pending, in the order they first got it.
    dirty: Vec<u32>,
    /// Of deltas the whole publications: what waits may be dropped, and what is behind it must not need it.
    wholes: HashMap<FrameIndex, Chunk>,
    palette_water: HighWater,
    arena_water: HighWater,
    dirty_water: HighWater,
}

impl PendingOutput {
    pub(crate) fn new() -> PendingOutput {
        PendingOutput {
            palette: Palette::new(),
            arena: Vec::new(),
            dirty: Vec::new(),
            wholes: HashMap::new(),
            palette_water: HighWater::default(),
            arena_water: HighWater::default(),
            dirty_water: HighWater::default(),
        }
    }

    /// Adds a frame that many may share: a publication, or a large message of no channel.
    pub(crate) fn share(&mut self, frame: &Frozen, origin: Option<Origin>) -> FrameIndex {
        let chunk = Chunk::new(frame.shared().clone());
        self.palette.push(PendingFrame::Shared { chunk, origin })
    }

    /// Adds the delta of a publication, which `whole` stands for where it has to wait.
    pub(crate) fn share_delta(
        &mut self,
        delta: &Frozen,
        whole: &Frozen,
        origin: Option<Origin>,
    ) -> FrameIndex {
        let frame = self.share(delta, origin);
        let whole = Chunk::new(whole.shared().clone());
        self.wholes.insert(frame, whole);
        frame
    }

    /// What waits in place of a delta.
    pub(crate) fn whole_of(&self, frame: FrameIndex) -> Option<&Chunk> {
        match self.wholes.is_empty() {
            true => None,
            false => self.wholes.get(&frame),
        }
    }

    /// Gives `conn`, in `slot`, the frame after what it has already.
    #[inline]
    pub(crate) fn enqueue(&mut self, slot: u32, conn: &mut Conn, frame: FrameIndex) {
        if conn.pending == 0 {
            self.dirty.push(slot);
        }
        conn.pending = self.palette.append(conn.pending, frame);
    }

    /// Gives `conn` bytes of its own, which `write` appends to the arena.
    #[inline(always)] // a call for each echo: +34 instructions
    pub(crate) fn enqueue_owned(
        &mut self,
        slot: u32,
        conn: &mut Conn,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let (start, end) = self.write(write);
        let frame = self.palette.push(PendingFrame::Own { start, end });
        self.enqueue(slot, conn, frame);
    }

    /// Gives `conn` a pong.
    pub(crate) fn enqueue_pong(&mut self, slot: u32, conn: &mut Conn, payload: &[u8]) {
        let (start, end) = self.write(|arena| append_frame(arena, Opcode::Pong, payload));
        let frame = self.palette.push(PendingFrame::Pong { start, end });
        self.enqueue(slot, conn, frame);
    }

    fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> (u32, u32) {
        let start = self.arena.len();
        write(&mut self.arena);
        let narrow = |n: usize| u32::try_from(n).expect("an arena is flushed long before 4 GiB");
        (narrow(start), narrow(self.arena.len()))
    }

    /// Takes back what `conn` was to get: it ends before the flush.
    pub(crate) fn discard(&mut self, conn: &mut Conn) {
        self.palette.leave(std::mem::take(&mut conn.pending));
    }

    /// The bytes of an arena frame.
    #[inline]
    pub(crate) fn own(&self, start: u32, end: u32) -> &[u8] {
        &self.arena[start as usize..end as usize]
    }

    /// The bytes of any frame.
    pub(crate) fn bytes_of(&self, frame: FrameIndex) -> &[u8] {
        match self.palette.frame(frame) {
            PendingFrame::Shared { chunk, .. } => chunk.as_slice(),
            PendingFrame::Own { start, end } | PendingFrame::Pong { start, end } => {
                self.own(*start, *end)
            }
        }
    }

    /// A frame in a form that outlives the loop iteration.
    pub(crate) fn chunk_of(&self, frame: FrameIndex) -> Chunk {
        match self.palette.frame(frame) {
            PendingFrame::Shared { chunk, .. } => chunk.clone(),
            PendingFrame::Own { start, end } | PendingFrame::Pong { start, end } => {
                Chunk::new(self.own(*start, *end).into())
            }
        }
    }

    /// Whether so much is batched that it should be flushed before more is read.
    pub(crate) fn is_full(&self) -> bool {
        self.arena.len() >= ARENA_BYTES_SOFT
    }

    /// Whether nothing is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.dirty.is_empty() && self.palette.is_empty()
    }

    /// The connection in `slot` has something to be seen to at the flush, though no frame.
    pub(crate) fn touch(&mut self, slot: u32) {
        self.dirty.push(slot);
    }

    /// Takes the slots to look at, in table order: memory is touched in sequence.
    pub(crate) fn take_dirty(&mut self) -> Vec<u32> {
        let mut dirty = std::mem::take(&mut self.dirty);
        if !dirty.is_sorted() {
            dirty.sort_unstable();
        }
        dirty
    }

    /// Ends the loop iteration. Its memory is kept for the next, and that of `dirty` as well.
    pub(crate) fn clear(&mut self, mut dirty: Vec<u32>) {
        self.palette_water.note(self.palette.states() as usize + 1);
        self.arena_water.note(self.arena.len());
        self.dirty_water.note(dirty.len());
        self.palette.clear();
        self.arena.clear();
        if !self.wholes.is_empty() {
            self.wholes = HashMap::new();
        }
        dirty.clear();
        self.dirty = dirty;
    }

    /// Frees what no loop iteration has needed since the last call; in bytes.
    pub(crate) fn shrink(&mut self) -> usize {
        let before = self.memory_bytes();
        let capacity = self.palette.capacity();
        if let Some(needed) = self.palette_water.shrink_target(capacity, PALETTE_FLOOR) {
            self.palette.shrink_to(needed, needed);
        }
        shrink_vec(&mut self.arena, &mut self.arena_water);
        shrink_vec(&mut self.dirty, &mut self.dirty_water);
        before - self.memory_bytes()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.palette.memory_bytes()
            + self.arena.capacity()
            + self.dirty.capacity() * size_of::<u32>()
    }
}

/// The arena is flushed when it holds this much. One read adds at most about its own size.
const ARENA_BYTES_SOFT: usize = 256 << 10;
/// Room for so many frames is not worth giving back.
const PALETTE_FLOOR: usize = 32;
