#![expect(
    unsafe_code,
    reason = "entries in a mapping of their own, which no vector of the standard library offers"
)]

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::mem::{align_of, size_of};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

/// A vector in a mapping of its own: for tables with an entry a connection.
///
/// A page of it costs memory from when an entry is first put there until [`PagedVec::release_free`],
/// so it has no slack but the rest of its last page. It grows by moving pages (`mremap`, Linux 2.3.31),
/// not entries: without a pause, without a copy, and without the holes in the heap that a vector
/// leaves behind, each of them touched, as it doubles. Where the machine has no more memory it does as
/// [`Vec`] does: it ends the process.
pub struct PagedVec<T> {
    /// Dangling while `mapped_bytes` is 0.
    start: NonNull<T>,
    len: usize,
    /// Room for entries in the mapping.
    capacity: usize,
    mapped_bytes: usize,
    /// Most entries there were since free pages were given back.
    touched: usize,
}

// SAFETY: it owns its entries and shares none of them, as `Vec` does.
unsafe impl<T: Send> Send for PagedVec<T> {}
// SAFETY: a shared reference gives out shared references to entries only.
unsafe impl<T: Sync> Sync for PagedVec<T> {}

impl<T> PagedVec<T> {
    /// Without entries; nothing is mapped yet.
    pub const fn new() -> PagedVec<T> {
        const {
            assert!(size_of::<T>() > 0 && size_of::<T>() <= FIRST_BYTES);
            assert!(align_of::<T>() <= PAGE_BYTES_MIN);
        }
        PagedVec {
            start: NonNull::dangling(),
            len: 0,
            capacity: 0,
            mapped_bytes: 0,
            touched: 0,
        }
    }

    /// Appends an entry.
    #[inline]
    pub fn push(&mut self, value: T) {
        if self.len == self.capacity {
            self.grow();
        }
        let end = self.start.as_ptr().wrapping_add(self.len);
        // SAFETY: `len` is below `capacity`, so this is inside the mapping, and no entry is there.
        unsafe { end.write(value) };
        self.len += 1;
        self.touched = self.touched.max(self.len);
    }

    /// Takes the last entry away, if there is one and it `is_free`.
    pub fn pop_if(&mut self, is_free: impl FnOnce(&mut T) -> bool) -> Option<T> {
        if !is_free(self.last_mut()?) {
            return None;
        }
        self.len -= 1;
        let last = self.start.as_ptr().wrapping_add(self.len);
        // SAFETY: an entry is there, and with `len` lowered nothing else will read it.
        Some(unsafe { last.read() })
    }

    /// Appends entries until there are `len`.
    pub fn grow_to(&mut self, len: usize, mut value: impl FnMut() -> T) {
        while self.len < len {
            self.push(value());
        }
    }

    /// Bytes of memory that it holds, in whole pages.
    pub fn memory_bytes(&self) -> usize {
        (self.touched * size_of::<T>()).next_multiple_of(PAGE_BYTES_MIN)
    }

    /// Gives pages behind the last entry to the kernel.
    pub fn release_free(&mut self) {
        if self.mapped_bytes == 0 {
            return;
        }
        let page_bytes = page_bytes();
        let used = (self.len * size_of::<T>()).next_multiple_of(page_bytes);
        if self.len == 0 {
            self.unmap();
        } else if used < self.mapped_bytes {
            let free = self.start.as_ptr().wrapping_byte_add(used).cast();
            // SAFETY: whole pages of this mapping, behind the last entry. They read as zero
            // afterwards; nothing reads them before it writes them.
            unsafe { libc::madvise(free, self.mapped_bytes - used, libc::MADV_DONTNEED) };
        }
        self.touched = self.len;
    }

    #[cold]
    fn grow(&mut self) {
        let bytes = match self.mapped_bytes {
            0 => FIRST_BYTES.next_multiple_of(page_bytes()),
            bytes => bytes
                .checked_mul(2)
                .expect("fewer bytes than an address space"),
        };
        let start = if self.mapped_bytes == 0 {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: an anonymous mapping at an address the kernel chooses touches nothing of ours.
            unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) }
        } else {
            // SAFETY: the whole mapping, of exactly this length; `&mut self` says that no reference
            // into it is alive, so it may move.
            unsafe {
                let start = self.start.as_ptr().cast();
                libc::mremap(start, self.mapped_bytes, bytes, libc::MREMAP_MAYMOVE)
            }
        };
        if start == libc::MAP_FAILED {
            handle_alloc_error(
                Layout::array::<T>(bytes / size_of::<T>()).expect("it was computed"),
            );
        }
        self.start = NonNull::new(start.cast()).expect("the kernel chooses no null address");
        self.mapped_bytes = bytes;
        self.capacity = bytes / size_of::<T>();
    }

    fn unmap(&mut self) {
        if self.mapped_bytes > 0 {
            // SAFETY: the whole mapping, without entries, and no reference into it is alive.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped_bytes) };
        }
        self.start = NonNull::dangling();
        self.mapped_bytes = 0;
        self.capacity = 0;
    }
}

impl<T> Default for PagedVec<T> {
    fn default() -> PagedVec<T> {
        PagedVec::new()
    }
}

impl<T> Deref for PagedVec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` entries are written, aligned (a mapping begins on a page), and
        // borrowed for as long as `self` is; `start` is dangling only while `len` is 0.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for PagedVec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` excludes other readers.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for PagedVec<T> {
    fn drop(&mut self) {
        let entries: *mut [T] = &mut **self;
        self.len = 0;
        // SAFETY: each is written and is dropped once: `len` no longer counts them.
        unsafe { ptr::drop_in_place(entries) };
        self.unmap();
    }
}

impl<T: fmt::Debug> fmt::Debug for PagedVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn page_bytes() -> usize {
    // SAFETY: takes a number and gives one.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(PAGE_BYTES_MIN)
}

/// The smallest pages there are on Linux.
const PAGE_BYTES_MIN: usize = 4096;

/// Address space of the first mapping; what is not touched of it costs nothing.
const FIRST_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use roost_random::SplitMix64;

    use super::*;

    /// Whether the page at `at` is in memory.
    fn is_resident(at: *const u64) -> bool {
        let mut state = 0_u8;
        // SAFETY: one page of a mapping of ours, and one byte for the answer.
        let status = unsafe { libc::mincore(at.cast_mut().cast(), page_bytes(), &raw mut state) };
        assert_eq!(status, 0, "{}", std::io::Error::last_os_error());
        state & 1 != 0
    }

    #[test]
    fn does_as_a_vector_does() {
        let mut random = SplitMix64::new(7);
        let (mut paged, mut plain) = (PagedVec::new(), Vec::new());
        for step in 0..200_000_u64 {
            match random.below(1000) {
                0 => {
                    let keep = random.below(plain.len() as u64 + 1) as usize;
                    while paged.len() > keep {
                        assert_eq!(paged.pop_if(|_| true), plain.pop());
                    }
                }
                1..10 => paged.release_free(),
                10..300 if !plain.is_empty() => {
                    let at = random.below(plain.len() as u64) as usize;
                    (paged[at], plain[at]) = ([step; 3], [step; 3]);
                }
                _ => {
                    paged.push([step; 3]);
                    plain.push([step; 3]);
                }
            }
            assert_eq!(paged.last(), plain.last());
        }
        assert_eq!(paged[..], plain[..]);
        assert_eq!(paged.pop_if(|_| false), None);
        assert_eq!(paged.len(), plain.len());
    }

    #[test]
    fn pages_cost_from_the_first_entry_until_they_are_released() {
        let mut paged = PagedVec::new();
        assert_eq!(paged.memory_bytes(), 0);
        let a_page = page_bytes() / size_of::<u64>();
        paged.grow_to(40 * a_page, || 1_u64);
        paged.grow_to(41 * a_page, || 2);
        let behind = paged.as_ptr().wrapping_add(42 * a_page);
        assert!(
            !is_resident(behind),
            "room that was never used costs nothing"
        );
        let last = paged.as_ptr().wrapping_add(40 * a_page);
        assert!(is_resident(last));
        while paged.pop_if(|value| *value == 2).is_some() {}
        assert!(is_resident(last));
        paged.release_free();
        assert!(!is_resident(last));
        assert_eq!(paged.memory_bytes(), 40 * page_bytes());
        assert!(paged.iter().all(|&value| value == 1));
    }

    #[test]
    fn each_entry_is_dropped_once() {
        let alive = Rc::new(());
        let mut paged = PagedVec::new();
        paged.grow_to(10_000, || Rc::clone(&alive));
        assert_eq!(Rc::strong_count(&alive), 10_001);
        drop(paged.pop_if(|_| true));
        paged[7] = Rc::new(());
        assert_eq!(Rc::strong_count(&alive), 9_999);
        drop(paged);
        assert_eq!(Rc::strong_count(&alive), 1);
    }

    #[test]
    fn an_emptied_one_maps_nothing_and_can_be_used_again() {
        let mut paged = PagedVec::default();
        paged.push(1_u64);
        assert!(paged.pop_if(|_| true).is_some());
        paged.release_free();
        assert_eq!(paged.mapped_bytes, 0);
        paged.push(2);
        assert_eq!(paged[..], [2]);
    }
}
