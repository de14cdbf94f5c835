//! What plain HTTP keeps of connections: an entry only for those that are kept for another request, or
//! whose answer is a stream.

use std::collections::HashMap;

/// All of it, for one reactor's connections.
#[derive(Default)]
pub(crate) struct Exchanges {
    by_slot: HashMap<u32, Exchange>,
}

/// What is kept of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// Requests answered behind which the connection went on.
    pub(crate) answered: u32,
    /// The answer that is under way.
    pub(crate) stream: Option<Stream>,
}

const _: () = assert!(size_of::<Exchange>() <= 8);

/// A response whose body comes in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    /// The pieces go out in chunks; otherwise the connection's end is that of the body.
    pub(crate) is_chunked: bool,
    /// Another request may follow.
    pub(crate) keep_alive: bool,
}

impl Exchanges {
    /// What is kept of the connection in `slot`.
    pub(crate) fn get(&self, slot: u32) -> Exchange {
        self.by_slot.get(&slot).copied().unwrap_or_default()
    }

    /// Another request is answered, and the connection goes on.
    pub(super) fn note_answered(&mut self, slot: u32) {
        self.by_slot.entry(slot).or_default().answered += 1;
    }

    pub(super) fn begin_stream(&mut self, slot: u32, stream: Stream) {
        let exchange = self.by_slot.entry(slot).or_default();
        debug_assert_eq!(exchange.stream, None, "one answer at a time");
        exchange.stream = Some(stream);
    }

    pub(super) fn end_stream(&mut self, slot: u32) -> Option<Stream> {
        self.by_slot.get_mut(&slot)?.stream.take()
    }

    /// Takes what is kept of the connection in `slot`.
    pub(super) fn take(&mut self, slot: u32) -> Option<Exchange> {
        let exchange = self.by_slot.remove(&slot);
        if self.by_slot.is_empty() && self.by_slot.capacity() > KEPT {
            self.by_slot = HashMap::new();
        }
        exchange
    }

    /// Forgets what is kept of the connection in `slot`.
    pub(super) fn release(&mut self, slot: u32) {
        if !self.by_slot.is_empty() {
            self.take(slot);
        }
    }

    /// For a connection that came from another process.
    pub(super) fn insert(&mut self, slot: u32, exchange: Exchange) {
        self.by_slot.insert(slot, exchange);
    }

    /// Cuts the table down to what is needed; returns the bytes that were freed, about.
    pub(super) fn shrink(&mut self) -> usize {
        let before = self.by_slot.capacity();
        if before / 4 > self.by_slot.len() {
            self.by_slot.shrink_to_fit();
        }
        (before - self.by_slot.capacity()) * size_of::<(u32, Exchange)>()
    }
}

/// Room for so many is kept when the last has gone.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_goes_with_its_connection() {
        let mut exchanges = Exchanges::default();
        exchanges.release(7);
        assert_eq!(exchanges.get(7), Exchange::default());
        let stream = Stream {
            is_chunked: true,
            keep_alive: true,
        };
        exchanges.note_answered(7);
        exchanges.begin_stream(7, stream);
        assert_eq!(
            exchanges.get(7),
            Exchange {
                answered: 1,
                stream: Some(stream)
            }
        );
        assert_eq!(exchanges.end_stream(7), Some(stream));
        assert_eq!(exchanges.end_stream(7), None);
        assert_eq!(exchanges.get(7).answered, 1);
        exchanges.release(7);
        assert_eq!(exchanges.get(7), Exchange::default());
        for slot in 0..1_000 {
            exchanges.note_answered(slot);
        }
        for slot in 0..999 {
            exchanges.release(slot);
        }
        assert!(exchanges.shrink() > 500 * size_of::<Exchange>());
        exchanges.release(999);
        assert!(exchanges.by_slot.is_empty());
    }
}
