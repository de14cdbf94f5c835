//! The subscribers of one channel in one encoding: a set of slots, iterated in ascending order,
//! which is the order of the connection table.
//!
//! Three forms, by size: up to three slots in the record itself; a sorted list up to
//! [`SORTED_MAX`]; then containers of 65,536 slots each (see [`crate::bitmap`]). Between the forms
//! lies slack, so that one subscriber who comes and goes does not rebuild the set each time.

use std::iter;

use crate::bitmap::{Bitmap, BitmapIter};
use crate::encoding::Encoding;
use crate::ids::Subscriber;

/// The subscribers of one channel in one encoding, which stands in a byte that would be padding: 16
/// bytes, plus 4 or less for each subscriber beyond the third.
#[derive(Debug, Clone)]
pub struct SubscriberSet(Form);

#[derive(Debug, Clone)]
enum Form {
    /// The first `len` are the slots, ascending.
    Few {
        encoding: Encoding,
        len: u8,
        slots: [u32; FEW_MAX],
    },
    /// Ascending.
    #[expect(
        clippy::box_collection,
        reason = "with a bare Vec the set would have 32 bytes"
    )]
    Sorted {
        encoding: Encoding,
        list: Box<Vec<u32>>,
    },
    Many {
        encoding: Encoding,
        bitmap: Box<Bitmap>,
    },
}

const _: () = assert!(size_of::<SubscriberSet>() <= 16);

const FEW_MAX: usize = 3;

/// Above this the set becomes containers. Lower, and slots scattered over a million would pay for
/// sixteen containers; higher, and an insertion would move more than two cache lines' worth.
const SORTED_MAX: usize = 128;
/// At this the containers become a sorted list again.
const SORTED_AGAIN: usize = 64;
/// At this the sorted list moves back into the record.
const FEW_AGAIN: usize = 2;
/// A sorted list grows by this many.
const SORTED_STEP: usize = 4;

impl SubscriberSet {
    /// No subscriber in this encoding.
    pub const fn new(encoding: Encoding) -> Self {
        SubscriberSet(Form::Few {
            encoding,
            len: 0,
            slots: [0; FEW_MAX],
        })
    }

    /// The encoding of all its subscribers.
    pub fn encoding(&self) -> Encoding {
        match self.0 {
            Form::Few { encoding, .. }
            | Form::Sorted { encoding, .. }
            | Form::Many { encoding, .. } => encoding,
        }
    }

    /// Adds a subscriber; false if it was there.
    pub fn insert(&mut self, subscriber: Subscriber) -> bool {
        let slot = subscriber.0;
        match &mut self.0 {
            Form::Few {
                encoding,
                len,
                slots,
            } => {
                let used = usize::from(*len);
                let Err(at) = slots[..used].binary_search(&slot) else {
                    return false;
                };
                if used < FEW_MAX {
                    slots.copy_within(at..used, at + 1);
                    slots[at] = slot;
                    *len += 1;
                } else {
                    let mut list = Vec::with_capacity(FEW_MAX + SORTED_STEP);
                    list.extend_from_slice(slots);
                    list.insert(at, slot);
                    self.0 = Form::Sorted {
                        encoding: *encoding,
                        list: Box::new(list),
                    };
                }
                true
            }
            Form::Sorted { encoding, list } => {
                let Err(at) = list.binary_search(&slot) else {
                    return false;
                };
                if list.len() == SORTED_MAX {
                    let mut bitmap: Bitmap = list.iter().copied().collect();
                    bitmap.insert(slot);
                    self.0 = Form::Many {
                        encoding: *encoding,
                        bitmap: Box::new(bitmap),
                    };
                    return true;
                }
                if list.len() == list.capacity() {
                    list.reserve_exact(SORTED_STEP);
                }
                list.insert(at, slot);
                true
            }
            Form::Many { bitmap, .. } => bitmap.insert(slot),
        }
    }

    /// Takes a subscriber out; false if it was not there.
    pub fn remove(&mut self, subscriber: Subscriber) -> bool {
        let slot = subscriber.0;
        match &mut self.0 {
            Form::Few { len, slots, .. } => {
                let used = usize::from(*len);
                let Ok(at) = slots[..used].binary_search(&slot) else {
                    return false;
                };
                slots.copy_within(at + 1..used, at);
                *len -= 1;
            }
            Form::Sorted { encoding, list } => {
                let Ok(at) = list.binary_search(&slot) else {
                    return false;
                };
                list.remove(at);
                if list.len() <= FEW_AGAIN {
                    let mut slots = [0; FEW_MAX];
                    slots[..list.len()].copy_from_slice(list);
                    self.0 = Form::Few {
                        encoding: *encoding,
                        len: u8::try_from(list.len()).expect("few"),
                        slots,
                    };
                } else if list.capacity() > list.len() * 2 + SORTED_STEP {
                    list.shrink_to(list.len() + SORTED_STEP);
                }
            }
            Form::Many { encoding, bitmap } => {
                if !bitmap.remove(slot) {
                    return false;
                }
                if bitmap.len() <= SORTED_AGAIN {
                    let mut list = Vec::with_capacity(SORTED_AGAIN + SORTED_STEP);
                    list.extend(bitmap.iter_from(0));
                    self.0 = Form::Sorted {
                        encoding: *encoding,
                        list: Box::new(list),
                    };
                }
            }
        }
        true
    }

    /// Whether the subscriber is in it.
    pub fn contains(&self, subscriber: Subscriber) -> bool {
        let slot = subscriber.0;
        match &self.0 {
            Form::Few { len, slots, .. } => slots[..usize::from(*len)].contains(&slot),
            Form::Sorted { list, .. } => list.binary_search(&slot).is_ok(),
            Form::Many { bitmap, .. } => bitmap.contains(slot),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Few { len, .. } => usize::from(*len),
            Form::Sorted { list, .. } => list.len(),
            Form::Many { bitmap, .. } => bitmap.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All, in ascending order.
    pub fn iter(&self) -> SubscriberIter<'_> {
        self.iter_from(Subscriber(0))
    }

    /// Those at or above `first`, in ascending order: goes on where a walk was interrupted.
    pub fn iter_from(&self, first: Subscriber) -> SubscriberIter<'_> {
        let first = first.0;
        let sorted = |slots: &'_ [u32]| slots.partition_point(|&slot| slot < first);
        SubscriberIter(match &self.0 {
            Form::Few { len, slots, .. } => {
                let slots = &slots[..usize::from(*len)];
                IterForm::Sorted(slots[sorted(slots)..].iter())
            }
            Form::Sorted { list, .. } => IterForm::Sorted(list[sorted(list)..].iter()),
            Form::Many { bitmap, .. } => IterForm::Many(bitmap.iter_from(first)),
        })
    }

    /// Its encoding and its subscribers, which make it again.
    pub(crate) fn into_state(self) -> (Encoding, Vec<Subscriber>) {
        (self.encoding(), self.iter().collect())
    }

    /// A set as [`SubscriberSet::into_state`] took it apart.
    pub(crate) fn from_state(encoding: Encoding, subscribers: &[Subscriber]) -> Self {
        let mut set = SubscriberSet::new(encoding);
        for &subscriber in subscribers {
            set.insert(subscriber);
        }
        set
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        match &self.0 {
            Form::Few { .. } => 0,
            Form::Sorted { list, .. } => size_of::<Vec<u32>>() + list.capacity() * size_of::<u32>(),
            Form::Many { bitmap, .. } => size_of::<Bitmap>() + bitmap.memory_bytes(),
        }
    }

    /// Panics where the set contradicts itself.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        match &self.0 {
            Form::Few { len, .. } => assert!(usize::from(*len) <= FEW_MAX, "few are few"),
            Form::Sorted { list, .. } => {
                assert!(list.len() > FEW_AGAIN, "a short list is in the record");
                assert!(list.len() <= SORTED_MAX, "a long list is containers");
            }
            Form::Many { bitmap, .. } => {
                assert!(bitmap.len() > SORTED_AGAIN, "few containers are a list");
                bitmap.check_invariants();
            }
        }
        let ascending = iter::zip(self.iter(), self.iter().skip(1)).all(|(a, b)| a < b);
        assert!(ascending, "slots ascend");
        assert_eq!(self.iter().count(), self.len(), "the count is right");
    }
}

/// Walks a [`SubscriberSet`] in ascending order of slots.
#[derive(Debug, Clone)]
pub struct SubscriberIter<'a>(IterForm<'a>);

#[derive(Debug, Clone)]
enum IterForm<'a> {
    Sorted(std::slice::Iter<'a, u32>),
    Many(BitmapIter<'a>),
}

impl SubscriberIter<'_> {
    /// Walks nothing.
    pub(crate) fn empty() -> Self {
        SubscriberIter(IterForm::Sorted([].iter()))
    }
}

impl Iterator for SubscriberIter<'_> {
    type Item = Subscriber;

    fn next(&mut self) -> Option<Subscriber> {
        match &mut self.0 {
            IterForm::Sorted(slots) => slots.next().copied(),
            IterForm::Many(slots) => slots.next(),
        }
        .map(Subscriber)
    }
}
