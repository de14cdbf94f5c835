#![expect(
    unsafe_code,
    reason = "a mapping that never moves and is not dumped, which no vector of the standard library offers"
)]

use std::alloc::{Layout, handle_alloc_error};
use std::mem::{align_of, size_of};
use std::ptr::{self, NonNull};

/// Secrets of connections, by slot: in memory that never moves, so that growing leaves no copy
/// behind, that is in no core dump (`MADV_DONTDUMP`, Linux 3.4) and in no child process
/// (`MADV_WIPEONFORK`, 4.14). What is removed is dropped where it stands: its `Drop` wipes it.
///
/// Address space is mapped for 8,192 slots at a time; memory is used by whole pages, from when a slot
/// on them is first taken until all of its 8,192 are free and [`SecretSlots::release_free`] is called.
pub struct SecretSlots<T> {
    chunks: Vec<Option<Chunk<T>>>,
    len: usize,
}

/// So many slots that stand side by side.
struct Chunk<T> {
    start: NonNull<T>,
    /// A bit for each slot that is taken.
    taken: Box<[u64; CHUNK_SLOTS / 64]>,
    len: usize,
}

// SAFETY: it owns its values and shares none of them, as `Vec` does.
unsafe impl<T: Send> Send for Chunk<T> {}

impl<T> SecretSlots<T> {
    /// None; nothing is mapped.
    pub const fn new() -> SecretSlots<T> {
        const {
            assert!(size_of::<T>() > 0);
            assert!(align_of::<T>() <= PAGE_BYTES_MIN);
        }
        SecretSlots {
            chunks: Vec::new(),
            len: 0,
        }
    }

    /// Slots that are taken.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes a slot, which must be free, for `value`.
    ///
    /// # Panics
    /// If it is taken.
    pub fn insert(&mut self, slot: u32, value: T) -> &mut T {
        let (number, place) = split(slot);
        if number >= self.chunks.len() {
            self.chunks.resize_with(number + 1, || None);
        }
        let chunk = self.chunks[number].get_or_insert_with(Chunk::new);
        assert!(!chunk.is_taken(place), "slot {slot} is taken");
        chunk.taken[place / 64] |= 1 << (place % 64);
        chunk.len += 1;
        self.len += 1;
        let at = chunk.at(place);
        // SAFETY: inside the mapping, and no value is there.
        unsafe { at.write(value) };
        // SAFETY: it has just been written, and `&mut self` lends it to one caller only.
        unsafe { &mut *at }
    }

    /// What stands in a slot, if it is taken.
    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        let (number, place) = split(slot);
        let chunk = self.chunks.get_mut(number)?.as_mut()?;
        if !chunk.is_taken(place) {
            return None;
        }
        let at = chunk.at(place);
        // SAFETY: a value is there, and `&mut self` lends it to one caller only.
        Some(unsafe { &mut *at })
    }

    /// Whether a slot is taken.
    #[inline]
    pub fn is_taken(&self, slot: u32) -> bool {
        let (number, place) = split(slot);
        let chunk = self.chunks.get(number).and_then(Option::as_ref);
        chunk.is_some_and(|chunk| chunk.is_taken(place))
    }

    /// Drops what stands in a slot, there. False if it is free.
    pub fn remove(&mut self, slot: u32) -> bool {
        let (number, place) = split(slot);
        let Some(chunk) = self.chunks.get_mut(number).and_then(Option::as_mut) else {
            return false;
        };
        if !chunk.is_taken(place) {
            return false;
        }
        chunk.remove(place);
        self.len -= 1;
        true
    }

    /// Gives the memory of chunks without a value to the kernel; returns the bytes, by address space.
    pub fn release_free(&mut self) -> usize {
        let mut bytes = 0;
        for chunk in &mut self.chunks {
            if chunk.as_ref().is_some_and(|chunk| chunk.len == 0) {
                *chunk = None;
                bytes += Chunk::<T>::BYTES;
            }
        }
        while self.chunks.pop_if(|chunk| chunk.is_none()).is_some() {}
        bytes
    }
}

impl<T> Default for SecretSlots<T> {
    fn default() -> SecretSlots<T> {
        SecretSlots::new()
    }
}

impl<T> Chunk<T> {
    const BYTES: usize = CHUNK_SLOTS * size_of::<T>();

    fn new() -> Chunk<T> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: an anonymous mapping at an address the kernel chooses touches nothing of ours.
        let start = unsafe { libc::mmap(ptr::null_mut(), Self::BYTES, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            let layout = Layout::array::<T>(CHUNK_SLOTS);
            handle_alloc_error(layout.expect("fewer bytes than an address space"));
        }
        for advice in [libc::MADV_DONTDUMP, libc::MADV_WIPEONFORK] {
            // SAFETY: the mapping just made. Where the kernel does not know the advice, the memory
            // does its work all the same.
            unsafe { libc::madvise(start, Self::BYTES, advice) };
        }
        Chunk {
            start: NonNull::new(start.cast()).expect("the kernel chooses no null address"),
            taken: Box::new([0; CHUNK_SLOTS / 64]),
            len: 0,
        }
    }

    #[inline]
    fn is_taken(&self, place: usize) -> bool {
        self.taken[place / 64] & 1 << (place % 64) != 0
    }

    /// The address of a place, which is below `CHUNK_SLOTS`.
    #[inline]
    fn at(&self, place: usize) -> *mut T {
        self.start.as_ptr().wrapping_add(place)
    }

    fn remove(&mut self, place: usize) {
        self.taken[place / 64] &= !(1 << (place % 64));
        self.len -= 1;
        let at = self.at(place);
        // SAFETY: a value was there, and it is not counted any more, so it is dropped once.
        unsafe { at.drop_in_place() };
    }
}

impl<T> Drop for Chunk<T> {
    fn drop(&mut self) {
        for place in 0..CHUNK_SLOTS {
            if self.is_taken(place) {
                self.remove(place);
            }
        }
        // SAFETY: the whole mapping; no value is left in it, and no reference into it is alive.
        unsafe { libc::munmap(self.start.as_ptr().cast(), Self::BYTES) };
    }
}

#[inline]
fn split(slot: u32) -> (usize, usize) {
    (slot as usize / CHUNK_SLOTS, slot as usize % CHUNK_SLOTS)
}

/// Slots of a chunk: of 208 bytes each, 416 whole pages.
const CHUNK_SLOTS: usize = 8192;

/// The smallest pages there are on Linux.
const PAGE_BYTES_MIN: usize = 4096;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::rc::Rc;

    use roost_random::SplitMix64;

    use super::*;

    #[test]
    fn does_as_a_map_does() {
        let mut random = SplitMix64::new(3);
        let (mut slots, mut map) = (SecretSlots::new(), HashMap::new());
        for step in 0..20_000_u64 {
            let slot = random.below(3 * CHUNK_SLOTS as u64) as u32;
            match random.below(3) {
                0 => assert_eq!(slots.remove(slot), map.remove(&slot).is_some()),
                1 if !map.contains_key(&slot) => {
                    assert_eq!(*slots.insert(slot, [step; 26]), [step; 26]);
                    map.insert(slot, [step; 26]);
                }
                _ => {
                    assert_eq!(slots.get_mut(slot), map.get_mut(&slot));
                    assert_eq!(slots.is_taken(slot), map.contains_key(&slot));
                }
            }
            assert_eq!(slots.len(), map.len());
        }
        for (&slot, value) in &mut map {
            assert_eq!(slots.get_mut(slot), Some(value));
        }
    }

    #[test]
    fn values_do_not_move_and_are_dropped_once() {
        let alive = Rc::new(());
        let mut slots = SecretSlots::new();
        let first: *const Rc<()> = slots.insert(5, Rc::clone(&alive));
        for slot in [0, 8191, 8192, 100_000] {
            slots.insert(slot, Rc::clone(&alive));
        }
        let now: *const Rc<()> = slots.get_mut(5).expect("it is taken");
        assert_eq!(first, now);
        assert_eq!(Rc::strong_count(&alive), 6);
        assert!(slots.remove(8191) && !slots.remove(8191));
        assert_eq!(Rc::strong_count(&alive), 5);
        assert_eq!(slots.release_free(), 0, "each chunk has values");
        assert!(slots.remove(100_000));
        assert_eq!(slots.release_free(), Chunk::<Rc<()>>::BYTES);
        assert_eq!(slots.chunks.len(), 2);
        drop(slots);
        assert_eq!(Rc::strong_count(&alive), 1);
    }

    #[test]
    fn they_are_in_no_core_dump() {
        let mut slots = SecretSlots::new();
        let at = std::ptr::from_ref(slots.insert(7, [1_u8; 208])) as usize;
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("of this process");
        let mut is_here = false;
        for line in smaps.lines() {
            let range = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'));
            if let Some((low, high)) = range
                && let (Ok(low), Ok(high)) = (
                    usize::from_str_radix(low, 16),
                    usize::from_str_radix(high, 16),
                )
            {
                is_here = (low..high).contains(&at);
            } else if is_here && let Some(flags) = line.strip_prefix("VmFlags:") {
                // proc_pid_smaps(5): dd is "do not include area into core dump", wf "wipe on fork".
                assert!(flags.contains(" dd") && flags.contains(" wf"), "{flags}");
                return;
            }
        }
        panic!("no mapping has the address {at:#x}");
    }
}
