//! Output that the kernel did not take yet.

use std::collections::VecDeque;

use roost_net::Chunk;

/// What waits behind the batch in flight of one connection: references, bounded in bytes.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Chunk>,
    bytes: usize,
    /// The newest pong owed. RFC 6455 §5.5.3: the answer to the last ping serves for those before.
    pong: Option<Chunk>,
}

impl Outbox {
    /// Queues a frame.
    pub(crate) fn push(&mut self, frame: Chunk) {
        self.bytes += frame.len();
        self.queue.push_back(frame);
    }

    /// Owes a pong; true if it replaces one that was still owed.
    pub(crate) fn owe_pong(&mut self, pong: Chunk) -> bool {
        self.bytes += pong.len();
        match self.pong.replace(pong) {
            Some(old) => {
                self.bytes -= old.len();
                true
            }
            None => false,
        }
    }

    /// Takes the next batch: at most [`BATCH_CHUNKS_MAX`] frames and, beyond the first,
    /// [`BATCH_BYTES_MAX`] bytes.
    pub(crate) fn take_batch(&mut self, batch: &mut Vec<Chunk>) {
        batch.clear();
        batch.extend(self.pong.take());
        let mut bytes: usize = batch.iter().map(Chunk::len).sum();
        while batch.len() < BATCH_CHUNKS_MAX
            && let Some(next) = self.queue.front()
            && (batch.is_empty() || bytes + next.len() <= BATCH_BYTES_MAX)
        {
            bytes += next.len();
            batch.extend(self.queue.pop_front());
        }
        self.bytes -= bytes;
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.pong = None;
        self.bytes = 0;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.pong.is_none()
    }
}

/// Most frames in one batch; well below the kernel's IOV_MAX of 1,024.
pub(crate) const BATCH_CHUNKS_MAX: usize = 64;
/// Most bytes in one batch, so that a policy can still act on what is behind it.
pub(crate) const BATCH_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(len: usize) -> Chunk {
        Chunk::new(vec![0; len].into())
    }

    #[test]
    fn bytes_are_what_is_queued() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            outbox.push(chunk(10));
        }
        assert!(!outbox.owe_pong(chunk(5)));
        assert!(
            outbox.owe_pong(chunk(7)),
            "a second pong replaces the first"
        );
        assert_eq!(outbox.bytes(), 1007);
        let mut batch = Vec::new();
        outbox.take_batch(&mut batch);
        assert_eq!(batch.len(), BATCH_CHUNKS_MAX);
        assert_eq!(outbox.bytes(), 1007 - 7 - 63 * 10);
        outbox.clear();
        assert!(outbox.is_empty() && outbox.bytes() == 0);
    }

    #[test]
    fn a_frame_larger_than_a_batch_goes_alone() {
        let mut outbox = Outbox::default();
        outbox.push(chunk(BATCH_BYTES_MAX * 2));
        outbox.push(chunk(1));
        let mut batch = Vec::new();
        outbox.take_batch(&mut batch);
        assert_eq!(batch.len(), 1);
        outbox.take_batch(&mut batch);
        assert_eq!(batch[0].len(), 1);
        assert!(outbox.is_empty());
    }
}
