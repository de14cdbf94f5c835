//! Receive buffers: one region of memory, lent to the kernel a buffer at a time.
//!
//! A provided buffer ring hands buffers out in the order they were put in. To keep the memory in
//! use small and warm, a buffer is put in only when a receive is about to be submitted that needs
//! it, and the last one given back goes in first: what is touched is as much as is ever in use at
//! once, not all of it in turn. What a burst has touched beyond [`WARM_MAX`], pongs of many connections
//! say, is given back when it is over.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::ring::Ring;
use crate::memory::Untouched;

/// The buffers and the ring the kernel takes them from.
pub(super) struct ReadBuffers {
    ring: Region,
    memory: Region,
    bytes: u32,
    mask: u16,
    tail: u16,
    /// Neither in the ring nor holding received bytes; the last is the warmest.
    free: Vec<u16>,
    /// So many of them, the coldest, had no memory when it was last given back.
    empty: usize,
    /// So many were not used since buffers were last looked through.
    untouched: Untouched,
    /// In the ring.
    offered: u32,
    /// Receives submitted and not completed. Each takes at most one from the ring.
    claims: u32,
}

impl ReadBuffers {
    /// `count` buffers (1 to 32,768) of `bytes` each, registered with `ring`.
    pub(super) fn new(ring: &Ring, count: u16, bytes: u32) -> io::Result<ReadBuffers> {
        if count == 0 || count > BUFFERS_MAX || bytes == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{count} receive buffers of {bytes} B: 1 to {BUFFERS_MAX} of 1 B or more"),
            ));
        }
        let entries = count.next_power_of_two();
        let buffers = ReadBuffers {
            ring: Region::new(usize::from(entries) * size_of::<BufRingEntry>())?,
            memory: Region::new(usize::from(count) * bytes as usize)?,
            bytes,
            mask: entries - 1,
            tail: 0,
            free: (0..count).rev().collect(),
            empty: usize::from(count),
            untouched: Untouched::all(usize::from(count)),
            offered: 0,
            claims: 0,
        };
        // SAFETY: the region has that many entries, on whole pages, written only by `offer`. The
        // driver drops its ring before its buffers.
        unsafe { ring.register_buffers(buffers.ring.start.as_ptr(), entries) }?;
        Ok(buffers)
    }

    /// Size of each, in bytes.
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Makes sure the next receive finds a buffer. False if none is free: then do not submit it.
    pub(super) fn claim(&mut self) -> bool {
        if self.offered <= self.claims {
            let Some(id) = self.free.pop() else {
                return false;
            };
            self.untouched.note(self.free.len());
            self.offer(id);
        }
        self.claims += 1;
        true
    }

    /// A receive has completed, with or without having used a buffer.
    pub(super) fn complete(&mut self, used: Option<u16>) {
        debug_assert!(
            self.claims > 0,
            "a receive completed that claimed no buffer"
        );
        self.claims -= 1;
        if used.is_some() {
            self.offered -= 1;
        }
    }

    /// What was received into buffer `id`: `len` bytes.
    pub(super) fn lend(&mut self, id: u16, len: u32) -> &mut [u8] {
        assert!(len <= self.bytes, "the kernel received more than fits");
        let start = self.address(id);
        // SAFETY: the buffer lies inside the region (`address` checks); the kernel took it out of
        // its ring when it completed the receive and does not write to it until it is offered
        // again, which needs `&mut self`; the region was zeroed by the kernel at the least.
        unsafe { std::slice::from_raw_parts_mut(start, len as usize) }
    }

    /// Buffer `id` may be used again.
    pub(super) fn shrink(&mut self, id: u16) {
        debug_assert!(!self.free.contains(&id), "a buffer was given back twice");
        self.free.push(id);
    }

    /// How many of those that are free have memory.
    #[inline]
    pub(super) fn warm(&self) -> usize {
        let cold = self.untouched.least().min(self.empty);
        self.free.len().saturating_sub(cold) // none is, while the kernel has nearly all
    }

    /// Whether they are more than shall keep it behind a burst.
    #[inline]
    pub(super) fn is_swollen(&self) -> bool {
        self.warm() > WARM_MAX
    }

    /// Gives the memory of all that are free back, but of the [`WARM_MAX`] warmest.
    #[cold]
    pub(super) fn release_swollen(&mut self) {
        let len = self.free.len();
        self.empty = self.empty.min(self.untouched.take(len));
        let cold = len.saturating_sub(WARM_MAX);
        self.release(cold);
        self.untouched.note(cold); // the others have been used
    }

    /// Gives the memory of those back that were not used since the last call; in bytes.
    pub(super) fn release_idle(&mut self) -> usize {
        let untouched = self.untouched.take(self.free.len());
        self.empty = self.empty.min(untouched);
        self.release(untouched)
    }

    /// Gives the memory of the `count` coldest back; in bytes.
    fn release(&mut self, count: usize) -> usize {
        if count <= self.empty {
            return 0;
        }
        // Neighbours together, the first on top: a page may be that of several buffers, of which some have no
        // memory already.
        let has_own_pages = (self.bytes as usize).is_multiple_of(PAGE_BYTES);
        let from = if has_own_pages { self.empty } else { 0 };
        self.free[from..count].sort_unstable_by(|a, b| b.cmp(a));
        let mut bytes = 0;
        for run in self.free[from..count].chunk_by(|a, b| *a == *b + 1) {
            bytes += self.release_pages_of(run[run.len() - 1], run[0]);
        }
        let fresh = count - self.empty;
        self.empty = count;
        bytes.min(fresh * self.bytes as usize)
    }

    /// Frees the pages that are the buffers' `first` to `last` alone.
    fn release_pages_of(&self, first: u16, last: u16) -> usize {
        let run_bytes = (usize::from(last - first) + 1) * self.bytes as usize;
        let address = self.address(first);
        let skip = address.align_offset(PAGE_BYTES);
        let len = run_bytes.saturating_sub(skip) / PAGE_BYTES * PAGE_BYTES;
        if len == 0 {
            return 0;
        }
        let start = address.wrapping_add(skip).cast();
        // SAFETY: whole pages inside the mapping that nothing reads or writes: the buffers are
        // neither in the ring nor lent. When next used they are zeros.
        let result = unsafe { libc::madvise(start, len, libc::MADV_DONTNEED) };
        if result == 0 { len } else { 0 }
    }

    /// Never unmaps the memory: the kernel may still have it.
    pub(super) fn leak(&mut self) {
        self.memory.kept = true;
        self.ring.kept = true;
    }

    fn address(&self, id: u16) -> *mut u8 {
        let offset = usize::from(id) * self.bytes as usize;
        assert!(
            offset < self.memory.len,
            "the kernel named a buffer that does not exist"
        );
        self.memory.start.as_ptr().wrapping_add(offset)
    }

    fn offer(&mut self, id: u16) {
        let (address, bytes) = (self.address(id), self.bytes);
        let base: *mut BufRingEntry = self.ring.start.as_ptr().cast();
        let index = usize::from(self.tail & self.mask);
        // SAFETY: `index` is below the number of entries the region was made for. The kernel does
        // not read this entry before the tail passes it, below.
        let entry = unsafe { &mut *base.wrapping_add(index) };
        entry.set_addr(address as u64);
        entry.set_len(bytes);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        self.offered += 1;
        // SAFETY: `base` is the first entry, zeroed memory at the least.
        let tail: *const u16 = unsafe { BufRingEntry::tail(base) };
        // SAFETY: the tail is an aligned u16 inside the region, which only we write.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: the kernel sees the entry when it sees the tail.
        tail.store(self.tail, Ordering::Release);
    }
}

/// Anonymous memory on whole pages; a page costs nothing until it is touched.
struct Region {
    start: NonNull<u8>,
    len: usize,
    kept: bool,
}

impl Region {
    fn new(len: usize) -> io::Result<Region> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: an anonymous mapping at an address the kernel chooses touches nothing of ours.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap chooses no null address");
        Ok(Region {
            start,
            len,
            kept: false,
        })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // SAFETY: mapped by `new` with this length; the owner lends no slice that outlives it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// So many keep their memory behind a burst, until they have not been used for a while: as many
/// neighbours are pinged together, and their pongs come as one burst, again and again. A constant,
/// whatever the number of connections.
const WARM_MAX: usize = 32;

/// The smallest pages there are; larger ones refuse what is not whole.
const PAGE_BYTES: usize = 4_096;

/// The most entries a buffer ring may have.
const BUFFERS_MAX: u16 = 32_768;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uring::UringOptions;

    /// Has the first `count` that are free used and given back.
    fn use_at_once(buffers: &mut ReadBuffers, count: u16) {
        let ids: Vec<u16> = buffers.free.iter().rev().copied().collect();
        let ids = &ids[..usize::from(count)];
        assert!(ids.iter().all(|_| buffers.claim()));
        for &id in ids {
            buffers.complete(Some(id));
            buffers.lend(id, 1).fill(0xff);
            buffers.shrink(id);
        }
    }

    #[test]
    fn a_burst_leaves_few_buffers_with_memory() {
        const COUNT: u16 = 64;
        const BYTES: u32 = 16_384;
        let ring = Ring::new(&UringOptions::default()).expect("this kernel has io_uring");
        let mut buffers = ReadBuffers::new(&ring, COUNT, BYTES).expect("there is memory");
        let warm = |buffers: &mut ReadBuffers| {
            let all = 0..COUNT;
            all.filter(|&id| buffers.lend(id, 1)[0] == 0xff).count()
        };
        assert!(!buffers.is_swollen(), "none has been used");
        use_at_once(&mut buffers, WARM_MAX as u16);
        assert!(!buffers.is_swollen(), "as many as keep their memory");
        use_at_once(&mut buffers, COUNT);
        assert!(buffers.is_swollen());
        assert_eq!(warm(&mut buffers), usize::from(COUNT));
        buffers.release_swollen();
        assert!(!buffers.is_swollen());
        assert_eq!(warm(&mut buffers), WARM_MAX);
        // The next burst is seen again, also when buffers were looked through in between.
        assert_eq!(buffers.release_idle(), 0, "they were in use");
        use_at_once(&mut buffers, 40);
        assert!(buffers.is_swollen());
        buffers.release_swollen();
        assert_eq!(warm(&mut buffers), WARM_MAX);
        buffers.release_idle();
        buffers.release_idle();
        assert_eq!(buffers.empty, usize::from(COUNT), "nothing was used");
        drop(ring);
    }

    /// Four buffers a page: none has one of its own.
    #[test]
    fn small_buffers_give_their_pages_back_together() {
        const COUNT: u16 = 64;
        const BYTES: u32 = 1_024;
        let ring = Ring::new(&UringOptions::default()).expect("this kernel has io_uring");
        let mut buffers = ReadBuffers::new(&ring, COUNT, BYTES).expect("there is memory");
        let all = || 0..COUNT;
        // All in use at once, given back in the order of the receives that used them.
        assert!(all().all(|_| buffers.claim()));
        for id in all().map(|n| n * 29 % COUNT) {
            buffers.complete(Some(id));
            buffers.lend(id, BYTES).fill(0xff);
            buffers.shrink(id);
        }
        assert_eq!(buffers.release_idle(), 0, "all were in use until now");
        // One is used meanwhile: the last that was given back.
        assert!(buffers.claim());
        let warm = 63 * 29 % COUNT;
        buffers.complete(Some(warm));
        buffers.shrink(warm);
        let bytes = buffers.release_idle();
        let is_warm = |id: u16| id / 4 == warm / 4;
        for id in all() {
            let first = buffers.lend(id, 1)[0];
            assert_eq!(first == 0xff, is_warm(id), "buffer {id}");
        }
        assert_eq!(bytes, 60 * BYTES as usize);
        // The page of the last goes when that has been idle as well.
        assert_eq!(buffers.release_idle(), BYTES as usize);
        assert!(all().all(|id| buffers.lend(id, 1)[0] == 0));
        assert_eq!(buffers.release_idle(), 0);
        drop(ring);
    }
}
