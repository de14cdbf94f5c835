//! The hub of one reactor: subscriptions here, and the order of the channels at home here.

use std::marker::PhantomData;

use crate::error::{NameError, PublishError, SubscribeError};
use crate::home::{Home, Interest};
use crate::ids::{
    ChannelId, Encoding, EncodingMask, EventIds, HomeIndex, NamespaceId, Position, ReactorId,
    Snapshot, Subscriber,
};
use crate::item::{Encoder, Frames, Item, LocalRef, Output, Publish, PublishTo, Subscribe};
use crate::local::LocalChannel;
use crate::names::{Name, NameHasher, Names};
use crate::random::PublicationIds;
use crate::set::SubscriberIter;
use crate::waiting::WaitingList;

/// Writes a publication in one encoding.
pub type Encode<'a, P, F> = &'a mut dyn FnMut(&P, Encoding, EventIds) -> F;

/// How a hub is set up.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// The reactor this hub belongs to; below `reactors`.
    pub me: ReactorId,
    /// How many reactors there are, 1 to 256; the same for all hubs.
    pub reactors: u16,
    /// Key of the names' hash, which chooses the home; the same for all hubs, unknown to peers.
    pub hash_key: [u8; 16],
    /// Start of the publication numbers; give each hub another one.
    pub seed: u64,
    /// Channels with subscribers on this reactor. At the limit a subscription to one more is
    /// refused. Channels at home here are bounded by what the other reactors hold.
    pub channels_max: u32,
    /// Length of a channel's name in bytes. Longer ones are refused.
    pub channel_name_bytes_max: u32,
}

/// Channels of one reactor: who receives what, in which order. See the crate's documentation.
#[derive(Debug)]
pub struct Hub<P, F> {
    options: HubOptions,
    hasher: NameHasher,
    /// Channels with subscribers here.
    locals: Names<LocalChannel>,
    /// Channels whose home is here.
    home: Home,
    /// Who waits for a home's answer.
    waiting: WaitingList,
    next_cookie: u32,
    /// The latest time that was told.
    now: u32,
    subscriptions: usize,
    stale_items: u64,
    types: PhantomData<fn(P) -> F>,
}

/// Sizes for statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HubCounts {
    /// Channels with subscribers here.
    pub local_channels: usize,
    /// Channels whose home is here.
    pub home_channels: usize,
    /// Subscriptions here: one for each subscriber, encoding and channel.
    pub subscriptions: usize,
    /// Subscribe requests that wait for a home's answer.
    pub waiting: usize,
    /// Items dropped since the start because their channel here, or its last subscriber in that
    /// encoding, had gone: normal after an unsubscribe.
    pub stale_items: u64,
}

impl<P, F: Clone> Hub<P, F> {
    /// An empty hub.
    ///
    /// # Panics
    /// When `reactors` is not in 1..=256, or `me` is not below it.
    pub fn new(options: HubOptions) -> Self {
        assert!(
            (1..=256).contains(&options.reactors),
            "1 to 256 reactors, not {}",
            options.reactors
        );
        assert!(
            u16::from(options.me.0) < options.reactors,
            "reactor {} of {}",
            options.me.0,
            options.reactors
        );
        let hasher = NameHasher::new(&options.hash_key);
        let publications = PublicationIds::new(options.seed);
        Hub {
            hasher,
            locals: Names::new(hasher),
            home: Home::new(options.me, hasher, publications),
            waiting: WaitingList::default(),
            next_cookie: 0,
            now: 0,
            subscriptions: 0,
            stale_items: 0,
            options,
            types: PhantomData,
        }
    }

    /// Subscribes. [`Output::Subscribed`] with `token` follows once the home knows: at once if it
    /// already does. Who subscribes again is answered again and stays subscribed once.
    pub fn subscribe(
        &mut self,
        subscribe: Subscribe<'_>,
        now: u32,
        out: &mut Vec<Output<P, F>>,
    ) -> Result<ChannelId, SubscribeError> {
        self.advance(now);
        let Subscribe {
            who,
            encoding,
            name,
            namespace,
            token,
        } = subscribe;
        self.check_name(name)?;
        let hash = self.hasher.hash(name);
        let channel = match self.locals.find(hash, name) {
            Some(number) => ChannelId(number),
            None if self.locals.len() >= self.options.channels_max as usize => {
                return Err(SubscribeError::ChannelsFull {
                    channels_max: self.options.channels_max,
                });
            }
            None => {
                let home = ReactorId(hash.home(self.options.reactors));
                let cookie = self.next_cookie;
                self.next_cookie = cookie.wrapping_add(1);
                let record = LocalChannel::new(Name::from(name), namespace, home, cookie);
                ChannelId(self.locals.insert(hash, record))
            }
        };
        let record = self.local_mut(channel);
        let added = record.insert(encoding, who);
        let announced = record.announced;
        self.subscriptions += usize::from(added);
        if announced & encoding.bit() == 0 {
            self.announce(channel, announced | encoding.bit(), out);
        }
        let record = self.local_mut(channel);
        if record.acked & encoding.bit() != 0 {
            let topic = record.topic().expect("an acked channel has its topic");
            let snapshot = self.snapshot(channel).expect("it lives");
            out.push(Output::Subscribed {
                who,
                encoding,
                token,
                channel,
                topic,
                snapshot,
            });
        } else {
            self.waiting.insert(channel, who, encoding, token);
        }
        self.debug_check();
        Ok(channel)
    }

    /// Ends a subscription; false if there was none. Nothing is delivered to it afterwards, and
    /// requests of it that were not yet answered never will be.
    pub fn unsubscribe(
        &mut self,
        who: Subscriber,
        encoding: Encoding,
        channel: ChannelId,
        out: &mut Vec<Output<P, F>>,
    ) -> bool {
        let Some(record) = self.locals.get_mut(channel.0) else {
            return false;
        };
        if !record.remove(encoding, who) {
            return false;
        }
        self.subscriptions -= 1;
        if record.unacked > 0 {
            self.waiting.cancel(channel, who, encoding);
        }
        self.settle(channel, out);
        self.debug_check();
        true
    }

    /// Publishes. What one publisher publishes on one channel keeps its order, whichever way the
    /// channel is named. Without a subscriber it is acknowledged all the same.
    ///
    /// `encode` is called for each encoding that somebody wants, if the channel's home is here.
    pub fn publish(
        &mut self,
        publish: Publish<'_, P>,
        now: u32,
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) -> Result<(), PublishError> {
        self.advance(now);
        let Publish {
            target,
            publisher,
            exclude_publisher,
            ack,
            payload,
        } = publish;
        let order = Order {
            from: self.options.me,
            publisher,
            exclude_publisher,
            ack,
            payload,
        };
        match self.destination(target)? {
            Destination::Here(index) => self.publish_here(index, order, encode, out),
            Destination::There(home, name) => out.push(Output::ToReactor(
                home,
                Item::Publish {
                    name,
                    publisher,
                    exclude_publisher,
                    ack,
                    payload: order.payload,
                },
            )),
        }
        Ok(())
    }

    /// Takes in what another reactor's hub has sent.
    pub fn handle(
        &mut self,
        from: ReactorId,
        item: Item<P, F>,
        now: u32,
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) {
        self.advance(now);
        match item {
            Item::Interest {
                name,
                namespace,
                local,
                encodings,
            } => {
                let interest = Interest {
                    local,
                    reactor: from,
                    encodings,
                };
                self.handle_interest(&name, namespace, interest, out);
            }
            Item::InterestAck {
                local,
                home,
                encodings,
                snapshot,
            } => self.handle_interest_ack(local, home, encodings, snapshot, out),
            Item::Uninterest { target, local } => {
                let removed = self.home.uninterest(from, &target, local);
                debug_assert!(removed, "interest ends once");
            }
            Item::Publish {
                name,
                publisher,
                exclude_publisher,
                ack,
                payload,
            } => {
                let index = self.home.find(self.hasher.hash(&name), &name);
                let order = Order {
                    from,
                    publisher,
                    exclude_publisher,
                    ack,
                    payload,
                };
                self.publish_here(index, order, encode, out);
            }
            Item::Published {
                publisher,
                token,
                publication,
            } => out.push(Output::Published {
                publisher,
                token,
                publication,
            }),
            Item::Deliver {
                local,
                ids,
                exclude,
                frames,
            } => match deliver(&mut self.locals, local, ids, exclude, frames) {
                Some(output) => out.push(output),
                None => self.stale_items += 1,
            },
        }
        self.debug_check();
    }

    /// The subscribers of a channel in one encoding, in ascending order of slots.
    pub fn subscribers(&self, channel: ChannelId, encoding: Encoding) -> SubscriberIter<'_> {
        self.subscribers_from(channel, encoding, Subscriber(0))
    }

    /// As [`Hub::subscribers`], from a slot on: goes on where a walk was interrupted.
    pub fn subscribers_from(
        &self,
        channel: ChannelId,
        encoding: Encoding,
        first: Subscriber,
    ) -> SubscriberIter<'_> {
        self.locals
            .get(channel.0)
            .and_then(|record| record.set(encoding))
            .map_or(SubscriberIter::empty(), |set| set.iter_from(first))
    }

    /// Whether a subscriber has asked for a channel in one encoding, answered or not.
    pub fn is_subscribed(&self, who: Subscriber, encoding: Encoding, channel: ChannelId) -> bool {
        let set = self.locals.get(channel.0);
        let set = set.and_then(|record| record.set(encoding));
        set.is_some_and(|set| set.contains(who))
    }

    /// How many subscribe to a channel in one encoding.
    pub fn subscriber_count(&self, channel: ChannelId, encoding: Encoding) -> usize {
        self.locals
            .get(channel.0)
            .and_then(|record| record.set(encoding))
            .map_or(0, |set| set.len())
    }

    /// A channel here, by name.
    pub fn channel(&self, name: &str) -> Option<ChannelId> {
        self.locals
            .find(self.hasher.hash(name), name)
            .map(ChannelId)
    }

    /// A channel's name.
    pub fn channel_name(&self, channel: ChannelId) -> Option<&str> {
        self.locals.get(channel.0).map(LocalChannel::name_str)
    }

    /// The namespace of a channel here.
    pub fn namespace(&self, channel: ChannelId) -> Option<NamespaceId> {
        Some(self.locals.get(channel.0)?.namespace)
    }

    /// A channel as a subscription that begins here and now finds it, once its home has answered.
    pub fn snapshot(&self, channel: ChannelId) -> Option<Snapshot> {
        let record = self.locals.get(channel.0)?;
        record.home_index()?;
        let position = Position {
            epoch: self.hasher.epoch(record.home),
            offset: record.offset,
        };
        Some(Snapshot { position })
    }

    /// A channel's number in the whole server, once its home has answered.
    pub fn topic(&self, channel: ChannelId) -> Option<u64> {
        self.locals.get(channel.0)?.topic()
    }

    /// The reactor that orders the channel of this name.
    pub fn home_of(&self, name: &str) -> ReactorId {
        ReactorId(self.hasher.hash(name).home(self.options.reactors))
    }

    /// Sizes for statistics.
    pub fn counts(&self) -> HubCounts {
        HubCounts {
            local_channels: self.locals.len(),
            home_channels: self.home.len(),
            subscriptions: self.subscriptions,
            waiting: self.waiting.len(),
            stale_items: self.stale_items,
        }
    }

    /// Heap bytes held, nearly. Looks at every channel: not for the data path.
    pub fn memory_bytes(&self) -> usize {
        let records: usize = self
            .locals
            .iter()
            .map(|(_, record)| record.memory_bytes())
            .sum();
        let waiting = self.waiting.memory_bytes();
        records + waiting + self.locals.memory_bytes() + self.home.memory_bytes()
    }

    /// Panics where the hub contradicts itself. Looks at everything.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        self.locals.check_invariants();
        self.home.check_invariants();
        let mut subscriptions = 0;
        for (_, record) in self.locals.iter() {
            record.check_invariants();
            subscriptions += record.subscriptions();
            let home = self.home_of(record.name_str());
            assert_eq!(record.home, home, "the home is the name's");
            if home == self.options.me {
                let index = record.home_index().expect("the home here answers at once");
                assert_eq!(record.unacked, 0, "the home here answers at once");
                let hash = self.hasher.hash(record.name_str());
                assert_eq!(self.home.find(hash, record.name_str()), Some(index));
            }
        }
        assert_eq!(
            subscriptions, self.subscriptions,
            "subscriptions are counted"
        );
        for waiting in self.waiting.iter() {
            let record = self.locals.get(waiting.channel.0);
            let record = record.expect("who waits, waits for a channel here");
            let set = record.set(waiting.encoding);
            let subscribed = set.is_some_and(|set| set.contains(waiting.who));
            assert!(subscribed, "who waits is in the set");
            assert!(record.unacked > 0, "who waits will be answered");
            assert_eq!(
                record.acked & waiting.encoding.bit(),
                0,
                "who is acked is answered"
            );
        }
        for (index, home) in self.home.channels() {
            let from_here = |interest: &&Interest| interest.reactor == self.options.me;
            for interest in home.interests.iter().filter(from_here) {
                let record = self.locals.get(interest.local.channel.0);
                let record = record.expect("interest from here is of a channel here");
                assert_eq!(record.as_ref(interest.local.channel), interest.local);
                assert_eq!(
                    (record.name_str(), record.home_index()),
                    (&**home.name, Some(index))
                );
                assert_eq!(
                    (record.namespace, record.offset),
                    (home.namespace, home.offset),
                    "what is delivered here is known here"
                );
                assert_eq!(record.announced, interest.encodings);
            }
        }
    }

    /// The home's side: a reactor wants a channel in exactly these encodings.
    fn handle_interest(
        &mut self,
        name: &Name,
        namespace: NamespaceId,
        interest: Interest,
        out: &mut Vec<Output<P, F>>,
    ) {
        debug_assert_eq!(
            self.home_of(name),
            self.options.me,
            "interest comes to the home"
        );
        let (home, snapshot) = self.home.interest(name, namespace, interest);
        let ack = Item::InterestAck {
            local: interest.local,
            home,
            encodings: interest.encodings,
            snapshot,
        };
        out.push(Output::ToReactor(interest.reactor, ack));
    }

    /// The subscriber's side: the home has answered.
    fn handle_interest_ack(
        &mut self,
        local: LocalRef,
        home: HomeIndex,
        encodings: EncodingMask,
        snapshot: Snapshot,
        out: &mut Vec<Output<P, F>>,
    ) {
        let channel = local.channel;
        let record = self.locals.get_mut(channel.0);
        let Some(record) = record.filter(|record| record.cookie == local.cookie) else {
            // All have unsubscribed meanwhile; the home will hear of it, or has.
            self.stale_items += 1;
            return;
        };
        debug_assert!(record.unacked > 0, "each interest is answered once");
        record.unacked -= 1;
        record.set_acked(home, encodings);
        record.offset = snapshot.position.offset;
        let topic = record.topic().expect("an acked channel has its topic");
        self.waiting.answer(channel, encodings, |request, token| {
            out.push(Output::Subscribed {
                who: request.who,
                encoding: request.encoding,
                token,
                channel,
                topic,
                snapshot,
            });
        });
        self.settle(channel, out);
    }

    /// Brings the home to know no more than is wanted, after subscribers have gone.
    fn settle(&mut self, channel: ChannelId, out: &mut Vec<Output<P, F>>) {
        let record = self.local_mut(channel);
        let wanted = record.encodings();
        if wanted == 0 {
            self.forget(channel, out);
        } else if record.unacked == 0 && wanted != record.announced {
            self.announce(channel, wanted, out);
        }
    }

    /// Tells the home which encodings are wanted from now on.
    fn announce(
        &mut self,
        channel: ChannelId,
        encodings: EncodingMask,
        out: &mut Vec<Output<P, F>>,
    ) {
        let me = self.options.me;
        let record = self
            .locals
            .get_mut(channel.0)
            .expect("announced while it lives");
        record.announced = encodings;
        record.acked &= encodings;
        let local = record.as_ref(channel);
        if record.home == me {
            let interest = Interest {
                local,
                reactor: me,
                encodings,
            };
            let name = record.name_arc();
            let (home, snapshot) = self.home.interest(name, record.namespace, interest);
            record.set_acked(home, encodings);
            record.offset = snapshot.position.offset;
        } else {
            record.unacked += 1;
            let interest = Item::Interest {
                name: record.name_arc().clone(),
                namespace: record.namespace,
                local,
                encodings,
            };
            out.push(Output::ToReactor(record.home, interest));
        }
    }

    /// The last subscriber has gone.
    fn forget(&mut self, channel: ChannelId, out: &mut Vec<Output<P, F>>) {
        let record = self.locals.remove(channel.0).expect("forgotten once");
        let local = record.as_ref(channel);
        let target = record.target();
        if record.home == self.options.me {
            let removed = self.home.uninterest(self.options.me, &target, local);
            debug_assert!(removed, "interest ends once");
        } else {
            let item = Item::Uninterest { target, local };
            out.push(Output::ToReactor(record.home, item));
        }
    }

    /// Orders a publication and sends it to all who want it. The home is here.
    fn publish_here(
        &mut self,
        index: Option<HomeIndex>,
        order: Order<P>,
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) {
        let me = self.options.me;
        let ordered = self.home.order(index);
        if let Some((ids, interests)) = ordered.audience {
            let mut encode = |encoding| encode(&order.payload, encoding, ids);
            let mut encoder = Encoder::new(&mut encode);
            for &interest in interests {
                let local = interest.local;
                let frames = encoder.frames(interest.encodings);
                let publisher = Some(order.publisher).filter(|&publisher| publisher != 0);
                let hears_itself = !order.exclude_publisher || interest.reactor != order.from;
                let exclude = publisher.filter(|_| !hears_itself);
                if interest.reactor == me {
                    out.extend(deliver(&mut self.locals, local, ids, exclude, frames));
                    continue;
                }
                let item = Item::Deliver {
                    local,
                    ids,
                    exclude,
                    frames,
                };
                out.push(Output::ToReactor(interest.reactor, item));
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

    /// Where a publication has to go.
    fn destination(&self, target: PublishTo<'_>) -> Result<Destination, PublishError> {
        let record = match target {
            PublishTo::Channel(channel) => {
                let record = self.locals.get(channel.0);
                record.ok_or(PublishError::UnknownChannel(channel))?
            }
            PublishTo::Name(name) => {
                self.check_name(name)?;
                let hash = self.hasher.hash(name);
                let home = ReactorId(hash.home(self.options.reactors));
                if home == self.options.me {
                    return Ok(Destination::Here(self.home.find(hash, name)));
                }
                let number = self.locals.find(hash, name);
                match number.and_then(|number| self.locals.get(number)) {
                    Some(record) => record,
                    None => return Ok(Destination::There(home, Name::from(name))),
                }
            }
        };
        Ok(if record.home == self.options.me {
            Destination::Here(record.home_index())
        } else {
            Destination::There(record.home, record.shared_name())
        })
    }

    fn advance(&mut self, now: u32) {
        debug_assert!(now >= self.now, "time goes on: {now} after {}", self.now);
        self.now = now;
    }

    fn check_name(&self, name: &str) -> Result<(), NameError> {
        let bytes_max = self.options.channel_name_bytes_max;
        if name.is_empty() {
            Err(NameError::Empty)
        } else if name.len() > bytes_max as usize {
            Err(NameError::TooLong {
                bytes: name.len(),
                bytes_max,
            })
        } else {
            Ok(())
        }
    }

    fn local_mut(&mut self, channel: ChannelId) -> &mut LocalChannel {
        let record = self.locals.get_mut(channel.0);
        record.expect("the caller has found the channel")
    }

    /// In debug builds every mutation is followed by the whole check while the hub is small.
    fn debug_check(&self) {
        const SMALL: usize = 64;
        let size = self.locals.len() + self.home.len() + self.subscriptions;
        if cfg!(debug_assertions) && size <= SMALL {
            self.check_invariants();
        }
    }
}

/// A delivery for this reactor's subscribers, if the channel it is meant for still lives and wants
/// it.
fn deliver<P, F>(
    locals: &mut Names<LocalChannel>,
    local: LocalRef,
    ids: EventIds,
    exclude: Option<u64>,
    frames: Frames<F>,
) -> Option<Output<P, F>> {
    let record = locals.get_mut(local.channel.0)?;
    if record.cookie != local.cookie {
        return None;
    }
    // A frame that was on its way while its encoding went out of use and came back belongs to
    // nobody: those who asked again have not been answered yet.
    record.offset = ids.offset;
    let frames = frames.narrowed(record.acked)?;
    Some(Output::Deliver {
        channel: local.channel,
        namespace: record.namespace,
        ids,
        exclude,
        frames,
    })
}

/// A publication on its way into the order.
struct Order<P> {
    from: ReactorId,
    publisher: u64,
    exclude_publisher: bool,
    ack: Option<u64>,
    payload: P,
}

enum Destination {
    /// The home is here; the place, if the channel lives.
    Here(Option<HomeIndex>),
    There(ReactorId, Name),
}
