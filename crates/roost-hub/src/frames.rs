//! The frames of one publication: [`Frames`], and how its home has them encoded.

use std::slice;
use std::sync::Arc;

use crate::encoding::{Encoding, EncodingSet};
use crate::ids::EventIds;

/// Writes a publication in one encoding, for subscribers that it comes to by this route.
pub type Encode<'a, P, F> = &'a mut dyn FnMut(&P, Encoding, EventIds, Route<'_>) -> F;

/// By what a publication comes to subscribers, with the name of its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// They are subscribed to the channel.
    Channel(&'a str),
    /// The same, and the channel keeps history.
    Kept(&'a str),
    /// They begin a subscription to it, and get what was before.
    Recovered(&'a str),
    /// The same, and get what the channel retains.
    Retained(&'a str),
    /// They are subscribed to a pattern that matches it: [`EventIds::topic`] is the pattern's number.
    Pattern(&'a str),
}

/// The frames of one publication: one for each encoding asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Frames<F>(Body<F>);

/// One frame travels by itself; several share one allocation for all reactors that want the same.
#[derive(Debug, Clone)]
enum Body<F> {
    One(Encoded<F>),
    /// Ascending by encoding.
    Several(Arc<[Encoded<F>]>),
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
        self.iter().map(|(encoding, _)| encoding).collect()
    }

    /// Each encoding with its frame, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (Encoding, &F)> {
        let frames = match &self.0 {
            Body::One(one) => slice::from_ref(one),
            Body::Several(frames) => frames,
        };
        frames.iter().map(|one| (one.encoding, &one.frame))
    }
}

impl<F: Clone> Frames<F> {
    /// The only frame.
    pub(crate) fn one(frame: F, encoding: Encoding) -> Frames<F> {
        Frames(Body::One(Encoded { frame, encoding }))
    }

    /// Drops the encodings that are not in `to`. False if none is left; what is in it then does not
    /// matter.
    #[inline]
    pub(crate) fn narrow(&mut self, to: EncodingSet) -> bool {
        match &self.0 {
            Body::One(one) => to.contains(one.encoding),
            Body::Several(frames) if frames.iter().all(|one| to.contains(one.encoding)) => true,
            Body::Several(_) => self.drop_others(to),
        }
    }

    #[cold]
    fn drop_others(&mut self, to: EncodingSet) -> bool {
        let left = self.iter().filter(|(encoding, _)| to.contains(*encoding));
        let left = left.map(|(encoding, frame)| Encoded {
            frame: frame.clone(),
            encoding,
        });
        let left: Vec<_> = left.collect();
        let is_any = !left.is_empty();
        self.0 = Body::Several(left.into());
        is_any
    }
}

/// The frames of one publication while its home hands them out: each is encoded when the first
/// reactor asks for it.
pub(crate) struct Encoder<'a, F> {
    encode: &'a mut dyn FnMut(Encoding) -> F,
    made: &'a mut Made<F>,
    /// What the last reactor got that wanted several.
    last: Option<(EncodingSet, Arc<[Encoded<F>]>)>,
}

/// Where an encoder keeps what it has made, ascending by encoding: lent to one after the other, so
/// that no publication allocates it.
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
            last: None,
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
        let again = self.last.take_if(|(last, _)| *last == encodings);
        let (_, frames) = again.unwrap_or_else(|| (encodings, self.several(encodings)));
        self.last = Some((encodings, frames.clone()));
        Frames(Body::Several(frames))
    }

    /// Encodes if that was not done yet; returns the place in what was made.
    fn make(&mut self, encoding: Encoding) -> usize {
        let made = &mut self.made.0;
        let found = made.binary_search_by_key(&encoding, |one| one.encoding);
        found.unwrap_or_else(|at| {
            let frame = (self.encode)(encoding);
            made.insert(at, Encoded { frame, encoding });
            at
        })
    }

    fn several(&mut self, encodings: EncodingSet) -> Arc<[Encoded<F>]> {
        if self.made.0.is_empty() {
            // The usual case, without a search.
            for encoding in encodings.iter() {
                let frame = (self.encode)(encoding);
                self.made.0.push(Encoded { frame, encoding });
            }
        } else {
            for encoding in encodings.iter() {
                self.make(encoding);
            }
        }
        let made = &self.made.0;
        if made.len() == encodings.len() {
            return Arc::from(&made[..]);
        }
        let wanted = made.iter().filter(|one| encodings.contains(one.encoding));
        wanted.cloned().collect()
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
            for kept in [&[9, 10][..], &[9, 63], &[0, 9, 40, 63]] {
                let mut narrowed = frames.clone();
                let left = frames.encodings().intersection(set(kept));
                assert_eq!(narrowed.narrow(set(kept)), !left.is_empty());
                assert!(left.is_empty() || narrowed.encodings() == left);
            }
        }
        drop(encoder);
        assert!(made.0.is_empty());
        assert_eq!(encoded, [9, 40, 63, 0]);
    }
}
