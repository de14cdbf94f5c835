//! The frames of one publication: [`Frames`], and how its home has them encoded.

use std::slice;
use std::sync::Arc;

use crate::encoding::{Encoding, EncodingSet};
use crate::ids::EventIds;

/// Writes a publication in one encoding.
pub type Encode<'a, P, F> = &'a mut dyn FnMut(&P, Encoding, EventIds) -> F;

/// The frames of one publication: one for each encoding asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Frames<F>(Body<F>);

/// One frame travels by itself; several share one allocation for all the reactors they go to.
#[derive(Debug, Clone)]
enum Body<F> {
    One(Encoded<F>),
    Many {
        /// Which of the frames are meant.
        shown: EncodingSet,
        /// Ascending by encoding.
        frames: Arc<Vec<Encoded<F>>>,
    },
}

#[derive(Debug, Clone)]
struct Encoded<F> {
    frame: F,
    encoding: Encoding,
}

// A frame is two words, the first a pointer: no more than it and a word.
const _: () = assert!(size_of::<Frames<Arc<[u8]>>>() <= 24);

impl<F> Frames<F> {
    /// Which encodings are in it.
    pub fn encodings(&self) -> EncodingSet {
        match &self.0 {
            Body::One(one) => EncodingSet::of(one.encoding),
            Body::Many { shown, .. } => *shown,
        }
    }

    /// Each encoding with its frame, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (Encoding, &F)> {
        let (frames, shown) = match &self.0 {
            Body::One(one) => (slice::from_ref(one), EncodingSet::of(one.encoding)),
            Body::Many { shown, frames } => (frames.as_slice(), *shown),
        };
        let frames = frames.iter();
        frames
            .filter(move |one| shown.contains(one.encoding))
            .map(|one| (one.encoding, &one.frame))
    }

    /// Hides the encodings that are not in `shown`.
    pub(crate) fn narrowed(mut self, to: EncodingSet) -> Option<Frames<F>> {
        let is_left = match &mut self.0 {
            Body::One(one) => to.contains(one.encoding),
            Body::Many { shown, .. } => {
                *shown = shown.intersection(to);
                !shown.is_empty()
            }
        };
        is_left.then_some(self)
    }
}

/// The frames of one publication while its home hands them out: each is encoded when the first
/// reactor asks for it.
pub(crate) struct Encoder<'a, F> {
    encode: &'a mut dyn FnMut(Encoding) -> F,
    made: &'a mut Made<F>,
    shared: Option<(EncodingSet, Arc<Vec<Encoded<F>>>)>,
}

/// Where an encoder keeps what it has made: lent to one after the other, so that no publication
/// allocates it.
#[derive(Debug)]
pub(crate) struct Made<F>(Vec<Encoded<F>>);

impl<F> Made<F> {
    pub(crate) fn new() -> Self {
        Made(Vec::new())
    }
}

impl<'a, F: Clone> Encoder<'a, F> {
    pub(crate) fn new(encode: &'a mut dyn FnMut(Encoding) -> F, made: &'a mut Made<F>) -> Self {
        made.0.clear();
        Encoder {
            encode,
            made,
            shared: None,
        }
    }

    /// The frames for a reactor that wants one encoding.
    pub(crate) fn one(&mut self, encoding: Encoding) -> Frames<F> {
        let at = self.make(encoding);
        Frames(Body::One(self.made.0[at].clone()))
    }

    /// The frames for a reactor that wants `encodings`, which is not empty.
    pub(crate) fn many(&mut self, encodings: EncodingSet) -> Frames<F> {
        if let Some(encoding) = encodings.only() {
            return self.one(encoding);
        }
        Frames(Body::Many {
            shown: encodings,
            frames: self.shared(encodings),
        })
    }

    /// Encodes if that was not done yet; returns the place in what was made.
    fn make(&mut self, encoding: Encoding) -> usize {
        let made = &mut self.made.0;
        let is_it = |one: &Encoded<F>| one.encoding == encoding;
        made.iter().position(is_it).unwrap_or_else(|| {
            let frame = (self.encode)(encoding);
            made.push(Encoded { frame, encoding });
            made.len() - 1
        })
    }

    /// An allocation with at least these encodings, the last one if it will do.
    fn shared(&mut self, encodings: EncodingSet) -> Arc<Vec<Encoded<F>>> {
        if let Some((have, shared)) = &self.shared
            && encodings.is_subset(*have)
        {
            return shared.clone();
        }
        for encoding in encodings.iter() {
            self.make(encoding);
        }
        let mut frames = self.made.0.clone();
        frames.sort_unstable_by_key(|one| one.encoding);
        let have = frames.iter().map(|one| one.encoding).collect();
        let shared = Arc::new(frames);
        self.shared = Some((have, shared.clone()));
        shared
    }
}

impl<F> Drop for Encoder<'_, F> {
    fn drop(&mut self) {
        self.made.0.clear(); // what was made is held by those it goes to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reactor_gets_what_it_asks_for_and_nothing_is_encoded_twice() {
        let mut encoded = Vec::new();
        let mut encode = |encoding: Encoding| {
            encoded.push(encoding.0);
            u32::from(encoding.0)
        };
        let mut made = Made::new();
        let set =
            |encodings: &[u8]| EncodingSet::from_iter(encodings.iter().copied().map(Encoding));
        let mut encoder = Encoder::new(&mut encode, &mut made);
        for wanted in [&[9][..], &[63, 9, 40], &[9, 40], &[63], &[0, 63]] {
            let frames = encoder.many(set(wanted));
            assert_eq!(frames.encodings(), set(wanted));
            let mut ascending = wanted.to_vec();
            ascending.sort_unstable();
            let got: Vec<(u8, u32)> = frames.iter().map(|(e, &frame)| (e.0, frame)).collect();
            let expected: Vec<(u8, u32)> = ascending.iter().map(|&e| (e, u32::from(e))).collect();
            assert_eq!(got, expected);
            let narrowed = frames.narrowed(set(&[9, 10]));
            let left = narrowed.map(|frames| frames.encodings());
            assert_eq!(left, wanted.contains(&9).then(|| set(&[9])));
        }
        drop(encoder);
        assert!(made.0.is_empty());
        assert_eq!(encoded, [9, 40, 63, 0]);
    }
}
