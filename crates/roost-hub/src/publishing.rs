//! Publishing in a channel whose home is here.

use crate::frames::{Encode, Encoder, Frames, Made};
use crate::home::Home;
use crate::home_channel::Audience;
use crate::ids::{HomeIndex, ReactorId};
use crate::item::{Item, LocalRef, Output};
use crate::local::Local;

/// What a publication meets on its way: first the order, then subscribers here and elsewhere.
pub(crate) struct Publishing<'a, P, F> {
    pub(crate) me: ReactorId,
    pub(crate) home: &'a mut Home,
    pub(crate) local: &'a mut Local,
    pub(crate) made: &'a mut Made<F>,
    pub(crate) out: &'a mut Vec<Output<P, F>>,
}

/// A publication on its way into the order.
pub(crate) struct Order<P> {
    pub(crate) from: ReactorId,
    pub(crate) publisher: u64,
    pub(crate) exclude_publisher: bool,
    pub(crate) ack: Option<u64>,
    pub(crate) payload: P,
}

impl<P, F: Clone> Publishing<'_, P, F> {
    /// Orders a publication and sends it to all who want it.
    pub(crate) fn publish(
        self,
        index: Option<HomeIndex>,
        order: Order<P>,
        encode: Encode<'_, P, F>,
    ) {
        let Publishing {
            me,
            home,
            local: side,
            made,
            out,
        } = self;
        let ordered = home.order(index);
        if let Some((ids, audience)) = ordered.audience {
            let mut encode = |encoding| encode(&order.payload, encoding, ids);
            let mut deliver = |local: LocalRef, reactor: ReactorId, frames: Frames<F>| {
                let exclude = order.excluded_at(reactor);
                out.extend(if reactor == me {
                    side.deliver(local, ids, exclude, frames)
                } else {
                    let item = Item::Deliver {
                        local,
                        ids,
                        exclude,
                        frames,
                    };
                    Some(Output::ToReactor(reactor, item))
                });
            };
            match audience {
                Audience::Single([one]) => {
                    let frame = encode(one.encodings);
                    deliver(one.local, one.reactor, Frames::one(frame, one.encodings));
                }
                Audience::Single(list) => {
                    let mut encoder = Encoder::new(&mut encode, made);
                    for one in list {
                        deliver(one.local, one.reactor, encoder.one(one.encodings));
                    }
                }
                Audience::Several(list) => {
                    let mut encoder = Encoder::new(&mut encode, made);
                    for one in list {
                        deliver(one.local, one.reactor, encoder.many(one.encodings));
                    }
                }
            }
        }
        // After the deliveries: who hears `Published` on the home's reactor has been heard there.
        if let Some(token) = order.ack {
            let (publisher, publication) = (order.publisher, ordered.publication);
            out.push(if order.from == me {
                Output::Published {
                    publisher,
                    token,
                    publication,
                }
            } else {
                let published = Item::Published {
                    publisher,
                    token,
                    publication,
                };
                Output::ToReactor(order.from, published)
            });
        }
    }
}

impl<P> Order<P> {
    /// The publisher's key, if it shall not hear itself and is on this reactor.
    fn excluded_at(&self, reactor: ReactorId) -> Option<u64> {
        let is_excluded = self.exclude_publisher && reactor == self.from && self.publisher != 0;
        is_excluded.then_some(self.publisher)
    }
}
