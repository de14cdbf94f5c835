//! A ring from one reactor to another: batches of messages, in order, without a lock. Bounded in batches and
//! in bytes, which no lane of [`super::links`] passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// What leaves for one reactor in one tick.
pub(super) struct Batch<T> {
    messages: Vec<T>,
    bytes: usize,
}

/// The sender's end of a ring.
pub(super) struct RingSender<T> {
    ring: Producer<Batch<T>>,
    /// Bytes in the ring.
    bytes: Arc<AtomicUsize>,
}

/// The receiver's end of a ring.
pub(super) struct RingReceiver<T> {
    ring: Consumer<Batch<T>>,
    bytes: Arc<AtomicUsize>,
}

impl<T> Batch<T> {
    /// Empty, in memory that is used again.
    pub(super) fn in_memory(messages: Vec<T>) -> Batch<T> {
        debug_assert!(messages.is_empty(), "what was in it has been read");
        Batch { messages, bytes: 0 }
    }

    /// Of one message, which keeps so many bytes.
    pub(super) fn of(message: T, bytes: usize) -> Batch<T> {
        let messages = vec![message];
        Batch { messages, bytes }
    }

    #[inline]
    pub(super) fn push(&mut self, message: T, bytes: usize) {
        self.messages.push(message);
        self.bytes += bytes;
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn into_messages(self) -> Vec<T> {
        self.messages
    }
}

/// A ring with nothing in it.
pub(super) fn ring<T>() -> (RingSender<T>, RingReceiver<T>) {
    let (producer, consumer) = RingBuffer::new(RING_BATCHES);
    let bytes = Arc::new(AtomicUsize::new(0));
    let ring_sender = RingSender {
        ring: producer,
        bytes: bytes.clone(),
    };
    let ring_receiver = RingReceiver {
        ring: consumer,
        bytes,
    };
    (ring_sender, ring_receiver)
}

impl<T> RingSender<T> {
    /// Gives the batch back if there is no room for it.
    pub(super) fn push(&mut self, batch: Batch<T>) -> Result<(), Batch<T>> {
        if self.bytes.load(Ordering::Relaxed) >= RING_BYTES_MAX {
            return Err(batch);
        }
        let bytes = batch.bytes;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.ring.push(batch).map_err(|PushError::Full(batch)| {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            batch
        })
    }
}

impl<T> RingReceiver<T> {
    /// The messages of the next batch.
    pub(super) fn pop(&mut self) -> Option<Vec<T>> {
        let batch = self.ring.pop().ok()?;
        self.bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
        Some(batch.messages)
    }
}

/// Batches a ring holds: with 53 reactors there are 5,512 rings of 32 bytes a batch.
pub(super) const RING_BATCHES: usize = 32;
/// Bytes in a ring beyond which it is full. An empty one takes a batch of any size.
pub(super) const RING_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_is_full_gives_the_batch_back() {
        let (mut sender, mut receiver) = ring();
        for n in 0..RING_BATCHES {
            assert!(sender.push(Batch::of(n, 1)).is_ok());
        }
        let refused = sender.push(Batch::of(RING_BATCHES, 1));
        assert_eq!(
            refused.map_err(Batch::into_messages).err(),
            Some(vec![RING_BATCHES])
        );
        for n in 0..RING_BATCHES {
            assert_eq!(receiver.pop(), Some(vec![n]));
        }
        assert_eq!(receiver.pop(), None);
        // What was refused counts for nothing: one batch of any size has room.
        assert!(sender.push(Batch::of(0, 2 * RING_BYTES_MAX)).is_ok());
        assert!(sender.push(Batch::of(1, 1)).is_err());
        assert_eq!(receiver.pop(), Some(vec![0]));
        assert!(sender.push(Batch::of(1, RING_BYTES_MAX - 1)).is_ok());
        assert!(sender.push(Batch::of(2, 1)).is_ok(), "not full yet");
        assert!(sender.push(Batch::of(3, 1)).is_err());
    }
}
