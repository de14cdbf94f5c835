//! Memory that grows with its cost counted, and is freed where tables and queues no longer need it.

use std::collections::VecDeque;

use slab::Slab;

/// Cuts a table that is mostly empty as far as its last entry; returns the bytes.
pub(crate) fn cut<T>(slab: &mut Slab<T>) -> usize {
    let before = slab.capacity();
    if before > FLOOR && before / 4 > slab.len() {
        slab.shrink_to_fit();
    }
    (before - slab.capacity()) * size_of::<T>()
}

/// Frees a list that is empty; returns the bytes.
pub(crate) fn drop_empty<T>(vec: &mut Vec<T>) -> usize {
    let before = vec.capacity();
    if vec.is_empty() {
        *vec = Vec::new();
    }
    (before - vec.capacity()) * size_of::<T>()
}

/// As [`drop_empty`].
pub(crate) fn drop_empty_queue<T>(queue: &mut VecDeque<T>) -> usize {
    let before = queue.capacity();
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
    (before - queue.capacity()) * size_of::<T>()
}

/// Appends; returns how many bytes that copied.
pub(crate) fn append(to: &mut Vec<u8>, bytes: &[u8]) -> u64 {
    let (len, capacity) = (to.len(), to.capacity());
    to.extend_from_slice(bytes);
    let moved = if to.capacity() > capacity { len } else { 0 };
    (moved + bytes.len()) as u64
}

/// Room for so many is not worth giving back.
const FLOOR: usize = 64;
