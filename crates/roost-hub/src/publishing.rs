//! Publishing in a channel whose home is here.

use std::sync::Arc;

use crate::encoding::{Encoding, EncodingSet};
use crate::frames::{Encode, Encoder, Frames, Made, Route};
use crate::histories::{Histories, HistoryIndex};
use crate::history::{Payload, Retained};
use crate::home::{Home, Place};
use crate::home_channel::Audience;
use crate::ids::{EventIds, HomeIndex, Placement, ReactorId, topic};
use crate::item::{Item, LocalRef, Output};
use crate::keeping::forget;
use crate::local::Local;
use crate::names::Named;
use crate::patterns::{Matches, PatternInterest};

/// What a publication meets on its way: first the order, then subscribers here and elsewhere.
pub(crate) struct Publishing<'a, P, F> {
    pub(crate) me: ReactorId,
    pub(crate) home: &'a mut Home,
    pub(crate) local: &'a mut Local,
    pub(crate) made: &'a mut Made<F>,
    pub(crate) histories: &'a mut Histories<P, F>,
    pub(crate) now: u32,
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

impl<P: Payload, F: Clone> Publishing<'_, P, F> {
    /// Orders a publication and sends it to all who want it: first to the channel's subscribers,
    /// then to those of each pattern that matches. Returns its place in the order.
    pub(crate) fn publish(
        mut self,
        place: Place<'_>,
        order: Order<P>,
        encode: Encode<'_, P, F>,
    ) -> Placement {
        let matches = self.home.find_matches(place);
        let placement = self.publish_exact(place, &order, encode);
        if let Some(matches) = matches {
            self.publish_matched((place, matches), placement, &order, encode);
        }
        // After the deliveries: who hears `Published` on the home's reactor has been heard there.
        if let Some(token) = order.ack {
            let (publisher, publication) = (order.publisher, placement.publication);
            self.out.push(if order.from == self.me {
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
        placement
    }

    /// Returns the publication's place.
    #[inline]
    fn publish_exact(
        &mut self,
        place: Place<'_>,
        order: &Order<P>,
        encode: Encode<'_, P, F>,
    ) -> Placement {
        let Publishing {
            me,
            home,
            local: side,
            made,
            histories: _,
            now: _,
            out,
        } = self;
        let me = *me;
        let ordered = home.order(place);
        if let Some((ids, name, audience)) = ordered.audience {
            let encode_by = encode;
            let mut encode =
                |encoding| encode_by(&order.payload, encoding, ids, Route::Channel(name));
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
                Audience::Kept(kept) => {
                    let route = Route::Kept(name);
                    let mut encode = |encoding| encode_by(&order.payload, encoding, ids, route);
                    deliver_kept(kept.audience(), &mut encode, made, &mut deliver);
                    let (history, placement) = (kept.history(), ordered.placement);
                    self.keep(history, order.payload.clone(), placement);
                    return placement;
                }
            }
        }
        ordered.placement
    }

    /// Gives subscribers in these encodings something that has no place in the order: it comes behind what
    /// was ordered last.
    pub(crate) fn tell(
        &mut self,
        index: HomeIndex,
        payload: &P,
        encodings: EncodingSet,
        encode: Encode<'_, P, F>,
    ) {
        let Some(channel) = self.home.get(index) else {
            return;
        };
        let ids = EventIds {
            topic: topic(self.me, index),
            publication: 0,
            offset: channel.offset(),
        };
        let route = Route::Channel(channel.name());
        let mut encode = |encoding| encode(payload, encoding, ids, route);
        let mut encoder = Encoder::new(&mut encode, self.made);
        for interest in channel.audience().iter() {
            let wanted = interest.encodings.intersection(encodings);
            if wanted.is_empty() {
                continue;
            }
            let (local, frames) = (interest.local, encoder.many(wanted));
            let exclude = None;
            if interest.reactor == self.me {
                self.out
                    .extend(self.local.deliver(local, ids, exclude, frames));
                continue;
            }
            let item = Item::Deliver {
                local,
                ids,
                exclude,
                frames,
            };
            self.out.push(Output::ToReactor(interest.reactor, item));
        }
    }

    /// Keeps a publication in its channel's history; what does not fit any more is forgotten.
    #[inline(never)]
    fn keep(&mut self, history: HistoryIndex, payload: P, placement: Placement) {
        let now = self.now;
        let Publishing {
            home, histories, ..
        } = self;
        let retained = payload.is_retained().then(|| Retained {
            payload: payload.clone(),
            publication: placement.publication,
            offset: placement.offset,
            published: now,
        });
        histories.push(history, payload, now);
        if let Some(retained) = retained {
            histories.retain(history, retained);
        }
        while let Some(excess) = histories.take_excess(history) {
            forget(home, histories, excess);
        }
    }

    /// Apart from the way of a publication that matches none.
    #[inline(never)]
    fn publish_matched(
        &mut self,
        (place, matches): (Place<'_>, Matches),
        placement: Placement,
        order: &Order<P>,
        encode: Encode<'_, P, F>,
    ) {
        let Publishing {
            me,
            home,
            local: side,
            made,
            histories: _,
            now: _,
            out,
        } = self;
        let publisher = (order.from, order.publisher);
        let event = Arc::new(home.matched_event(place, placement, publisher));
        let mut deliveries = 0;
        for wanted in home.wanted(matches) {
            // Nearly always all know the pattern by one number, and one encoder serves all.
            for same in wanted.chunk_by(|a, b| a.number == b.number) {
                let ids = EventIds {
                    topic: topic(ReactorId::REGISTER, same[0].number),
                    publication: placement.publication,
                    offset: event.offset,
                };
                let route = Route::Pattern(event.channel.as_str());
                let mut encode = |encoding| encode(&order.payload, encoding, ids, route);
                let mut encoder = Encoder::new(&mut encode, made);
                for interest in same {
                    let PatternInterest {
                        local,
                        number: _,
                        reactor,
                        encodings,
                    } = *interest;
                    let frames = encoder.many(encodings);
                    let exclude = order.excluded_at(reactor);
                    let event = event.clone();
                    out.extend(if reactor == *me {
                        side.deliver_matched(local, event, exclude, frames)
                    } else {
                        let item = Item::DeliverMatched {
                            local,
                            event,
                            exclude,
                            frames,
                        };
                        Some(Output::ToReactor(reactor, item))
                    });
                    deliveries += 1;
                }
            }
        }
        home.count_matches(deliveries);
    }
}

/// The publication of a channel that keeps history, to its subscribers.
#[inline(never)]
fn deliver_kept<F: Clone>(
    audience: Audience<'_>,
    encode: &mut dyn FnMut(Encoding) -> F,
    made: &mut Made<F>,
    deliver: &mut dyn FnMut(LocalRef, ReactorId, Frames<F>),
) {
    let mut encoder = Encoder::new(encode, made);
    for one in audience.iter() {
        deliver(one.local, one.reactor, encoder.many(one.encodings));
    }
}

impl<P> Order<P> {
    /// The publisher's key, if it shall not hear itself and is on this reactor.
    fn excluded_at(&self, reactor: ReactorId) -> Option<u64> {
        let is_excluded = self.exclude_publisher && reactor == self.from && self.publisher != 0;
        is_excluded.then_some(self.publisher)
    }
}
