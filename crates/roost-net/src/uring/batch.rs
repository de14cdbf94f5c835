//! Batches in flight: bytes held until the kernel has taken them.

use libc::{iovec, msghdr};

use super::ring::{Ring, Target};
use crate::Chunk;
use crate::memory::Untouched;

/// The bytes of one send. The kernel holds pointers into it while a request is in flight, so it
/// may be moved, but not dropped or changed, until the completion.
#[derive(Debug)]
pub(super) enum Batch {
    /// One chunk.
    One { chunk: Chunk, taken: u32 },
    /// Copied bytes.
    Copy { bytes: Vec<u8>, taken: usize },
    /// Several chunks.
    Many(Box<Many>),
}

/// Several chunks, and the slices the kernel reads them by.
#[derive(Debug)]
pub(super) struct Many {
    chunks: Vec<Chunk>,
    /// The first chunk with bytes left.
    first: usize,
    /// Bytes of that chunk already taken.
    taken: usize,
    /// Bytes left in all.
    left: usize,
    slices: Vec<iovec>,
    message: msghdr,
}

impl Batch {
    /// Bytes the kernel has not taken yet.
    pub(super) fn left(&self) -> usize {
        match self {
            Batch::One { chunk, taken } => chunk.len() - *taken as usize,
            Batch::Copy { bytes, taken } => bytes.len() - taken,
            Batch::Many(many) => many.left,
        }
    }

    /// Bytes held until the completion of the last send.
    pub(super) fn pinned_bytes(&self) -> u64 {
        match self {
            Batch::One { chunk, .. } => chunk.len() as u64,
            Batch::Copy { bytes, .. } => bytes.len() as u64,
            Batch::Many(many) => many.chunks.iter().map(|chunk| chunk.len() as u64).sum(),
        }
    }

    /// Names the memory it holds.
    pub(super) fn each_pinned(&self, visit: &mut dyn FnMut(usize, usize)) {
        match self {
            Batch::One { chunk, .. } => visit(chunk.address(), chunk.held_bytes()),
            Batch::Copy { bytes, .. } => visit(bytes.as_ptr().addr(), bytes.len()),
            Batch::Many(many) => many
                .chunks
                .iter()
                .for_each(|chunk| visit(chunk.address(), chunk.held_bytes())),
        }
    }

    /// The kernel has taken `bytes` more.
    pub(super) fn take(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.left(), "the kernel took more than there was");
        match self {
            // A chunk is shorter than 4 GiB.
            Batch::One { taken, .. } => *taken += bytes as u32,
            Batch::Copy { taken, .. } => *taken += bytes,
            Batch::Many(many) => many.take(bytes),
        }
    }

    /// Asks the kernel to send what is left.
    ///
    /// # Safety
    /// The batch lives, unchanged, until the completion.
    pub(super) unsafe fn submit(&mut self, ring: &mut Ring, target: Target, user_data: u64) {
        let rest = match self {
            Batch::One { chunk, taken } => &chunk.as_slice()[*taken as usize..],
            Batch::Copy { bytes, taken } => &bytes[*taken..],
            Batch::Many(many) => {
                let message = many.message();
                // SAFETY: message and slices are on the heap, owned by the box; the bytes are
                // held by its chunks. The caller keeps them all.
                return unsafe { ring.send_message(target, message, user_data) };
            }
        };
        let len = rest.len().min(SEND_BYTES_MAX) as u32;
        // SAFETY: the bytes are on the heap, held by the chunk or the vector that the caller
        // keeps.
        unsafe { ring.send(target, rest.as_ptr(), len, user_data) }
    }
}

impl Many {
    fn new() -> Many {
        Many {
            chunks: Vec::new(),
            first: 0,
            taken: 0,
            left: 0,
            slices: Vec::new(),
            message: msghdr {
                msg_name: std::ptr::null_mut(),
                msg_namelen: 0,
                msg_iov: std::ptr::null_mut(),
                msg_iovlen: 0,
                msg_control: std::ptr::null_mut(),
                msg_controllen: 0,
                msg_flags: 0,
            },
        }
    }

    fn fill(&mut self, chunks: &[Chunk]) {
        self.chunks
            .extend(chunks.iter().filter(|chunk| !chunk.is_empty()).cloned());
        self.left = self.chunks.iter().map(Chunk::len).sum();
    }

    fn memory_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Chunk>() + self.slices.capacity() * size_of::<iovec>()
    }

    fn clear(&mut self) {
        self.chunks.clear();
        self.slices.clear();
        (self.first, self.taken, self.left) = (0, 0, 0);
    }

    fn take(&mut self, bytes: usize) {
        self.left -= bytes;
        let mut past = self.taken + bytes;
        while let Some(chunk) = self.chunks.get(self.first)
            && past >= chunk.len()
        {
            past -= chunk.len();
            self.first += 1;
        }
        self.taken = past;
    }

    fn message(&mut self) -> *const msghdr {
        self.slices.clear();
        let mut skip = self.taken;
        for chunk in self.chunks[self.first..].iter().take(SLICES_MAX) {
            let rest = &chunk.as_slice()[skip..];
            skip = 0;
            self.slices.push(iovec {
                iov_base: rest.as_ptr().cast_mut().cast(),
                iov_len: rest.len(),
            });
        }
        self.message.msg_iov = self.slices.as_mut_ptr();
        self.message.msg_iovlen = self.slices.len();
        &raw const self.message
    }
}

/// Makes batches out of the parts of those that are done, so that a steady stream of sends
/// allocates nothing.
#[derive(Debug, Default)]
pub(super) struct BatchPool {
    copies: Vec<Vec<u8>>,
    #[expect(
        clippy::vec_box,
        reason = "in flight they stand still: the box goes with them"
    )]
    many: Vec<Box<Many>>,
    /// Bytes of the batches made and not yet taken back.
    pinned_bytes: u64,
    copies_untouched: Untouched,
    many_untouched: Untouched,
}

impl BatchPool {
    /// A batch of `chunks`; `None` if there is nothing in them.
    pub(super) fn chunks(&mut self, chunks: &[Chunk]) -> Option<Batch> {
        self.pinned_bytes += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        if let [chunk] = chunks {
            let chunk = chunk.clone();
            return (!chunk.is_empty()).then_some(Batch::One { chunk, taken: 0 });
        }
        if chunks.iter().all(Chunk::is_empty) {
            return None;
        }
        let mut many = self.many.pop().unwrap_or_else(|| Box::new(Many::new()));
        self.many_untouched.note(self.many.len());
        many.fill(chunks);
        Some(Batch::Many(many))
    }

    /// A batch of a copy of `bytes`; `None` if there are none.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Option<Batch> {
        if bytes.is_empty() {
            return None;
        }
        self.pinned_bytes += bytes.len() as u64;
        let mut copy = self.copies.pop().unwrap_or_default();
        self.copies_untouched.note(self.copies.len());
        copy.extend_from_slice(bytes);
        Some(Batch::Copy {
            bytes: copy,
            taken: 0,
        })
    }

    /// Bytes of the batches in flight.
    pub(super) fn pinned_bytes(&self) -> u64 {
        self.pinned_bytes
    }

    /// Takes a batch back that is no longer in flight.
    pub(super) fn recycle(&mut self, batch: Batch) {
        self.pinned_bytes -= batch.pinned_bytes();
        match batch {
            Batch::One { .. } => {}
            Batch::Copy { mut bytes, .. } => {
                if bytes.capacity() <= POOLED_BYTES_MAX && self.copies.len() < POOLED_COPIES_MAX {
                    bytes.clear();
                    self.copies.push(bytes);
                }
            }
            Batch::Many(mut many) => {
                if many.chunks.capacity() <= SLICES_MAX && self.many.len() < POOLED_MANY_MAX {
                    many.clear();
                    self.many.push(many);
                }
            }
        }
    }

    /// Drops the parts that were not used since the last call. Returns how many bytes.
    pub(super) fn shrink(&mut self) -> usize {
        let copies = self.copies_untouched.take(self.copies.len());
        let copies = self.copies.drain(..copies).map(|bytes| bytes.capacity());
        let many = self.many_untouched.take(self.many.len());
        let many = self.many.drain(..many).map(|many| many.memory_bytes());
        let bytes = copies.chain(many).sum();
        self.copies_untouched.note(self.copies.len());
        self.many_untouched.note(self.many.len());
        bytes
    }
}

/// The kernel takes no more than this in one call (MAX_RW_COUNT).
const SEND_BYTES_MAX: usize = 0x7fff_f000;

/// Slices of one request. The kernel allows 1,024 (UIO_MAXIOV), and allocates above 8.
const SLICES_MAX: usize = 256;

/// Largest copy buffer kept, and how many: 256 KiB at most.
const POOLED_BYTES_MAX: usize = 1_024;
const POOLED_COPIES_MAX: usize = 256;

/// Batches of several chunks kept: 10 KiB each at most.
const POOLED_MANY_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(len: usize) -> Chunk {
        Chunk::new(vec![7; len].into())
    }

    #[test]
    fn a_batch_of_several_resumes_at_any_byte() {
        let chunks = [chunk(3), chunk(0), chunk(5), chunk(1), chunk(400)];
        let total: usize = chunks.iter().map(Chunk::len).sum();
        for first in 0..=total {
            let mut pool = BatchPool::default();
            let mut batch = pool.chunks(&chunks).expect("not empty");
            assert_eq!(batch.left(), total);
            batch.take(first);
            assert_eq!(batch.left(), total - first);
            let Batch::Many(many) = &mut batch else {
                panic!("several chunks make a batch of several");
            };
            many.message();
            let listed: usize = many.slices.iter().map(|slice| slice.iov_len).sum();
            assert_eq!(listed, total - first, "after {first} bytes");
            batch.take(total - first);
            assert_eq!(batch.left(), 0);
        }
    }

    #[test]
    fn more_slices_than_one_request_takes_go_out_in_several() {
        let chunks: Vec<Chunk> = (0..SLICES_MAX + 7).map(|_| chunk(2)).collect();
        let mut batch = BatchPool::default().chunks(&chunks).expect("not empty");
        let mut requests = 0;
        while batch.left() > 0 {
            let Batch::Many(many) = &mut batch else {
                panic!("several chunks make a batch of several");
            };
            many.message();
            let listed: usize = many.slices.iter().map(|slice| slice.iov_len).sum();
            assert!(many.slices.len() <= SLICES_MAX && listed > 0);
            batch.take(listed);
            requests += 1;
        }
        assert_eq!(requests, 2);
    }

    #[test]
    fn a_recycled_batch_starts_clean() {
        let mut pool = BatchPool::default();
        for len in [9, 4] {
            let mut batch = pool.copy(&vec![1; len]).expect("not empty");
            assert_eq!(batch.left(), len);
            batch.take(len);
            pool.recycle(batch);
            let mut batch = pool.chunks(&[chunk(len), chunk(1)]).expect("not empty");
            assert_eq!(batch.left(), len + 1);
            batch.take(len);
            pool.recycle(batch);
        }
        assert!(pool.copy(&[]).is_none());
        assert!(pool.chunks(&[]).is_none());
        assert!(pool.chunks(&[chunk(0)]).is_none());
        assert!(pool.chunks(&[chunk(0), chunk(0)]).is_none());
    }
}
