//! What deltas are against: of each channel whose home is here and that has subscribers with deltas, the
//! publication that came last. Bounded: the channels that have waited longest are forgotten, and their next
//! publication goes out whole.

use std::collections::{BTreeMap, HashMap};

use roost_dialect::centrifugo::{delta_of, is_protobuf};
use roost_dialect::{Form, Publication, fossil};
use roost_hub::EventIds;

/// The last publications, and the deltas that were made last.
#[derive(Default)]
pub(super) struct DeltaBases {
    /// By the channel's number in the server.
    last: HashMap<u64, Base>,
    /// The channels by the time of that, which is a number that counts up.
    by_time: BTreeMap<u64, u64>,
    time: u64,
    bytes: usize,
    current: Option<Current>,
}

struct Base {
    publication: Publication,
    offset: u64,
    time: u64,
}

/// A publication that is being encoded, once for each form.
struct Current {
    topic: u64,
    offset: u64,
    /// The one before it.
    before: Option<Publication>,
    /// Its delta as JSON and as bytes, where that was asked for.
    deltas: [Option<Option<Vec<u8>>>; 2],
}

impl DeltaBases {
    /// The delta of a publication against the one before it in its channel. It is made once for all forms that
    /// have the same.
    pub(super) fn delta(
        &mut self,
        publication: &Publication,
        form: Form,
        ids: EventIds,
    ) -> Option<&[u8]> {
        let place = (ids.topic, ids.offset);
        let current = self.current.take();
        let current = current.filter(|current| (current.topic, current.offset) == place);
        let current = match current {
            Some(current) => current,
            None => Current {
                topic: ids.topic,
                offset: ids.offset,
                before: self.replace(publication, ids),
                deltas: [None, None],
            },
        };
        let Current { before, deltas, .. } = self.current.insert(current);
        let delta = &mut deltas[usize::from(is_protobuf(form))];
        let delta = delta.get_or_insert_with(|| delta_of(form, before.as_ref()?, publication));
        delta.as_deref()
    }

    /// Keeps a publication in place of the one before it, and returns that. What is between them was for no
    /// subscriber with deltas: then there is none.
    fn replace(&mut self, publication: &Publication, ids: EventIds) -> Option<Publication> {
        let before = self.forget(ids.topic);
        if publication.size() <= fossil::TEXT_BYTES_MAX {
            self.time += 1;
            self.bytes += cost(publication);
            let base = Base {
                publication: publication.clone(),
                offset: ids.offset,
                time: self.time,
            };
            self.by_time.insert(self.time, ids.topic);
            self.last.insert(ids.topic, base);
        }
        while self.bytes > DELTA_BASES_BYTES_MAX
            && let Some((_, topic)) = self.by_time.first_key_value()
        {
            self.forget(*topic);
        }
        let before = before.filter(|base| base.offset + 1 == ids.offset);
        before.map(|base| base.publication)
    }

    fn forget(&mut self, topic: u64) -> Option<Base> {
        let base = self.last.remove(&topic)?;
        self.by_time.remove(&base.time);
        self.bytes -= cost(&base.publication);
        Some(base)
    }

    /// Frees what the last publication has left; returns the bytes.
    pub(super) fn shrink(&mut self) -> usize {
        let current = self.current.take();
        let deltas = current.into_iter().flat_map(|current| current.deltas);
        let freed = deltas.flatten().flatten().map(|delta| delta.capacity());
        let before = self.last.capacity();
        if before > KEPT && before / 4 > self.last.len() {
            self.last.shrink_to_fit();
        }
        let entries = before - self.last.capacity();
        freed.sum::<usize>() + entries * size_of::<(u64, Base)>()
    }
}

fn cost(publication: &Publication) -> usize {
    publication.bytes() + ENTRY_BYTES
}

/// Most bytes that one reactor keeps for deltas: of 10,000 channels with messages of 1 KiB, all.
pub const DELTA_BASES_BYTES_MAX: usize = 16 << 20;
/// Room for so many is not worth giving back.
const KEPT: usize = 64;
/// What an entry takes in both tables.
const ENTRY_BYTES: usize = 160;

#[cfg(test)]
mod tests {
    use roost_dialect::{DialectKind, PayloadRef};

    use super::*;

    fn is_delta(bases: &mut DeltaBases, topic: u64, offset: u64, bytes: usize) -> bool {
        let text = format!("{{\"n\":{offset},\"x\":\"{}\"}}", "x".repeat(bytes));
        let ids = EventIds {
            topic,
            publication: 1,
            offset,
        };
        let publication = PayloadRef::Json(&text).freeze();
        let form = Form::of(DialectKind::Centrifugo, 5);
        let delta = bases.delta(&publication, form, ids).map(<[u8]>::len);
        let again = bases.delta(&publication, form, ids).map(<[u8]>::len);
        assert_eq!(delta, again, "it is made once");
        delta.is_some()
    }

    #[test]
    fn a_delta_is_against_the_publication_before() {
        let mut bases = DeltaBases::default();
        assert!(!is_delta(&mut bases, 1, 7, 100));
        assert!(is_delta(&mut bases, 1, 8, 100));
        assert!(!is_delta(&mut bases, 2, 9, 100), "of another channel");
        assert!(is_delta(&mut bases, 1, 9, 100));
        assert!(!is_delta(&mut bases, 1, 11, 100), "one was not for deltas");
        assert!(is_delta(&mut bases, 1, 12, 100));
        assert!(!is_delta(&mut bases, 1, 13, fossil::TEXT_BYTES_MAX));
        assert!(!is_delta(&mut bases, 1, 14, 100), "its base is too long");
        assert!(is_delta(&mut bases, 1, 15, 100));
    }

    #[test]
    fn bases_are_bounded() {
        let mut bases = DeltaBases::default();
        for topic in 0..40 {
            is_delta(&mut bases, topic, 1, fossil::TEXT_BYTES_MAX - 100);
            assert!(bases.bytes <= DELTA_BASES_BYTES_MAX);
            assert_eq!(bases.last.len(), bases.by_time.len());
        }
        assert!(is_delta(&mut bases, 39, 2, 1000), "the last is kept");
        assert!(!is_delta(&mut bases, 0, 2, 1000), "the first is not");
    }
}
