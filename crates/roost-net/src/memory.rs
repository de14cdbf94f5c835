//! Memory of many connections: freed when they have gone, to the allocator, and by it to the kernel;
//! and tables of connections in mappings of their own.
#![expect(
    unsafe_code,
    reason = "the allocator's own functions, which no crate offers"
)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;

mod paged_vec;
mod secret_slots;

pub use paged_vec::PagedVec;
pub use secret_slots::SecretSlots;

/// Tells the allocator how this process uses memory: few pools, and large blocks apart from them.
/// Call it before threads are started. Without effect where the allocator is not glibc's.
///
/// - One pool (arena) a core instead of eight: what one reactor frees another can use, and no free
///   rests are kept in pools that are not used again.
/// - Blocks of 8 MiB and more are mapped, so that they grow by moving pages and are given back when
///   freed. By default glibc moves that limit, up to 32 MiB, as it sees such blocks come and go.
///   Lower, and long messages would be mapped, faulted in and unmapped one by one: with 1 MiB, an
///   echo of 1 MB took up to 2.5 times the CPU.
/// - The free end of a pool is given back at once when it is 4 MiB; a smaller one is by
///   [`trim_heap`].
pub fn tune_allocator(cores: usize) {
    #[cfg(target_env = "gnu")]
    for (option, value) in [
        (
            libc::M_ARENA_MAX,
            i32::try_from(cores.max(1) + 1).unwrap_or(i32::MAX),
        ),
        (libc::M_MMAP_THRESHOLD, 8 << 20),
        (libc::M_TRIM_THRESHOLD, POOL_END_BYTES),
    ] {
        // SAFETY: takes two numbers, and says no to those it does not know.
        unsafe { libc::mallopt(option, value) };
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = cores;
}

/// Has the allocator give free pages to the kernel: the end of this thread's pool, and what lies
/// free inside all pools. For the latter it looks through the whole heap, so once in a while is
/// enough for all threads together: what was freed until `freed_ns` ([`clock::now_ns`]) is seen by
/// any call after that. False if none was, and it is too soon for another: ask again.
pub fn trim_heap(freed_ns: u64) -> bool {
    // malloc_trim leaves the ends of all pools but the first alone. A block that is freed at the
    // end makes it long enough to be given back; nothing of it is touched.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(
        POOL_END_BYTES as usize + 1,
    )));
    static LAST_NS: AtomicU64 = AtomicU64::new(0);
    let now = clock::now_ns();
    let last = LAST_NS.load(Ordering::Relaxed);
    if last > freed_ns {
        return true;
    }
    if now.saturating_sub(last) < TRIM_INTERVAL_NS && last != 0 {
        return false;
    }
    let ours = LAST_NS.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
    if ours.is_ok() {
        #[cfg(target_env = "gnu")]
        // SAFETY: touches free memory of the allocator only, under its own locks.
        unsafe {
            libc::malloc_trim(0);
        }
    }
    true
}

/// How full something gets that keeps its memory for the next use.
#[derive(Debug, Default)]
pub struct HighWater(usize);

impl HighWater {
    /// It holds `len` now.
    #[inline]
    pub fn note(&mut self, len: usize) {
        self.0 = self.0.max(len);
    }

    /// What it needed since the last call, if it has room for more than twice that and for more
    /// than `floor`: then shrink it to this.
    pub fn shrink_target(&mut self, capacity: usize, floor: usize) -> Option<usize> {
        let needed = std::mem::take(&mut self.0);
        (capacity > floor && capacity / 2 > needed).then_some(needed)
    }
}

/// How many at the bottom of a stack of spare parts have not been used.
#[derive(Debug, Default)]
pub(crate) struct Untouched(usize);

impl Untouched {
    /// None of `len` has been used.
    pub(crate) fn all(len: usize) -> Untouched {
        Untouched(len)
    }

    /// `len` are left after one was taken.
    #[inline]
    pub(crate) fn note(&mut self, len: usize) {
        self.0 = self.0.min(len);
    }

    /// How many were not touched since [`Untouched::take`].
    #[inline]
    pub(crate) fn least(&self) -> usize {
        self.0
    }

    /// How many were not touched since the last call; `len` are there now.
    pub(crate) fn take(&mut self, len: usize) -> usize {
        std::mem::replace(&mut self.0, len).min(len)
    }
}

/// Shrinks a queue to what it needed since the last call. Returns the bytes given back.
pub(crate) fn shrink_queue<T>(queue: &mut VecDeque<T>, water: &mut HighWater) -> usize {
    let capacity = queue.capacity();
    water.note(queue.len());
    if let Some(needed) = water.shrink_target(capacity, QUEUE_FLOOR) {
        queue.shrink_to(needed);
    }
    (capacity - queue.capacity()) * size_of::<T>()
}

/// Shrinks a vector to what it needed since the last call. Returns the bytes given back.
pub fn shrink_vec<T>(vec: &mut Vec<T>, water: &mut HighWater) -> usize {
    let capacity = vec.capacity();
    water.note(vec.len());
    if let Some(needed) = water.shrink_target(capacity, QUEUE_FLOOR) {
        vec.shrink_to(needed);
    }
    (capacity - vec.capacity()) * size_of::<T>()
}

/// How long the free end of a pool gets before it is given back at once.
const POOL_END_BYTES: i32 = 4 << 20;

/// How often free pages are looked for.
const TRIM_INTERVAL_NS: u64 = 1_000_000_000;

/// Room for this many is not worth giving back.
const QUEUE_FLOOR: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_needed_stays() {
        let (mut queue, mut water) = (VecDeque::new(), HighWater::default());
        for needed in [5_000, 1_000, 400] {
            for n in 0..needed {
                queue.push_back(n);
                water.note(queue.len());
            }
            queue.clear();
            shrink_queue(&mut queue, &mut water);
            assert!(queue.capacity() >= needed, "{needed}: it may come again");
        }
        assert!(queue.capacity() < 1_000, "twice as much as was needed");
        assert!(shrink_queue(&mut queue, &mut water) > 400 * size_of::<i32>());
        assert_eq!(queue.capacity(), 0, "nothing was needed");
        assert_eq!(shrink_queue(&mut queue, &mut water), 0);
    }

    #[test]
    fn what_lay_untouched_is_known() {
        let mut spare = Untouched::default();
        assert_eq!(spare.take(10), 0, "nothing is known yet");
        spare.note(7);
        spare.note(8);
        assert_eq!(spare.take(10), 7);
        assert_eq!(spare.take(4), 4, "all, and fewer than there were");
    }
}
