//! Incremental fan-out: a channel with many subscribers is served a piece at a time, with other work
//! between two pieces.
//!
//! A cursor goes round a channel's subscribers in table order and gives each one it visits all
//! publications in flight that it has not had yet. A publication is admitted where the cursor stands
//! and retired when the cursor comes there again; so publications that come faster than a pass lasts
//! share its visits, and each subscriber is written to once for all of them. Older publications are
//! always ahead on the same pass: every subscriber gets them in order.
//!
//! A subscription begins at a position: a client that subscribes meanwhile gets nothing that was
//! published before. Its slot is noted until the publications of that moment are retired; the record
//! of a subscription holds nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use roost_dialect::Receivers;
use roost_hub::{ChannelId, Encoding, Hub, Name, Payload, Subscriber};
use roost_net::ConnKey;

use super::delivery::{SpecialFrames, is_at};
use super::deltas::{ChannelDeltas, Deltas};
use crate::connections::{BATCH_CHUNKS_MAX, Connections, Origin};
use crate::image::Image;
use crate::palette::FrameIndex;

/// The incremental fan-outs of a reactor.
#[derive(Default)]
pub(crate) struct Fanout {
    channels: HashMap<FanoutKey, ChannelFanout>,
    /// In which order channels get their next piece.
    order: VecDeque<FanoutKey>,
    /// What all of them hold.
    total: Load,
    /// Frames of the piece being given; reused.
    shared: Vec<FrameIndex>,
    /// The same of those that are not for all, or not the same for all; none otherwise. Reused.
    special: Vec<Option<SpecialFrames>>,
    /// Of these, what one subscriber gets, where there are such; reused.
    received: Vec<FrameIndex>,
}

/// Subscribers of one channel, or of one pattern, in one encoding.
type FanoutKey = (ChannelId, Encoding);

#[derive(Default)]
struct ChannelFanout {
    /// The slot to look at next.
    cursor: u32,
    /// Given at each visit, oldest first.
    in_flight: VecDeque<InFlight>,
    /// To be admitted: no visit gives more than [`IN_FLIGHT_MAX`] frames.
    waiting: VecDeque<Publication>,
    /// How many publications were retired: the number of the oldest in flight. Those in flight, then
    /// those waiting, follow it without a gap.
    retired: u64,
    /// Slots that have subscribed since the oldest in flight was published, and the number of the
    /// first publication that is for each. Looked through at the end of the table, so an entry
    /// lives for two passes at most.
    joined: BTreeMap<u32, u64>,
    /// What is in flight and waits.
    load: Load,
    /// Channels whose publishers have been asked to wait: the one, or those that match a pattern.
    congested: BTreeSet<Name>,
}

/// Publications, each counted once, and the bytes of their frames.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Load {
    publications: usize,
    bytes: usize,
}

struct Publication {
    image: Image,
    origin: Origin,
    exclude: Option<ConnKey>,
}

struct InFlight {
    publication: Publication,
    /// Admitted before this slot, and retired there.
    start: u32,
    /// The cursor has been past the end of the table since.
    wrapped: bool,
}

/// What a piece has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Frames given to subscribers.
    pub(crate) deliveries: u64,
    /// The channels that are congested no longer.
    pub(crate) relieved: BTreeSet<Name>,
}

impl Fanout {
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether so much is held that no message of another reactor should be read, and no publisher. Long before,
    /// publishers of the channels that bring so much were asked to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.total.is_beyond(PUBLICATIONS_MAX, BYTES_MAX)
    }

    /// How many publications are held.
    #[cfg(test)]
    pub(crate) fn publications(&self) -> usize {
        self.total.publications
    }

    /// Whether a fan-out of this channel is running, which what comes next must not overtake.
    pub(crate) fn has(&self, channel: ChannelId, encoding: Encoding) -> bool {
        !self.order.is_empty() && self.channels.contains_key(&(channel, encoding))
    }

    /// Starts a publication on its way to all subscribers. True when the publishers of a channel
    /// that comes here should wait: see [`Fanout::congest`].
    #[must_use]
    pub(crate) fn add(
        &mut self,
        key: FanoutKey,
        origin: Origin,
        image: Image,
        exclude: Option<ConnKey>,
    ) -> bool {
        let order = &mut self.order;
        let channel = self.channels.entry(key).or_insert_with(|| {
            order.push_back(key);
            ChannelFanout::default()
        });
        self.total.add(&image);
        channel.load.add(&image);
        channel.waiting.push_back(Publication {
            image,
            origin,
            exclude,
        });
        channel
            .load
            .is_beyond(CHANNEL_PUBLICATIONS_MAX, CHANNEL_BYTES_MAX)
    }

    /// A subscriber has come to a channel: what its fan-out holds was published before.
    pub(crate) fn join(&mut self, channel: ChannelId, encoding: Encoding, slot: u32) {
        if let Some(channel) = self.channels.get_mut(&(channel, encoding)) {
            channel.joined.insert(slot, channel.next_number());
        }
    }

    /// A subscriber has gone from a channel.
    pub(crate) fn leave(&mut self, channel: ChannelId, encoding: Encoding, slot: u32) {
        if let Some(channel) = self.channels.get_mut(&(channel, encoding)) {
            channel.joined.remove(&slot);
        }
    }

    /// Whether the publishers of the channel `name` have been asked to wait for this fan-out.
    pub(crate) fn congests(&self, key: FanoutKey, name: &str) -> bool {
        let channel = self.channels.get(&key);
        channel.is_some_and(|channel| channel.congested.contains(name))
    }

    /// They are asked to, until [`Piece::relieved`] or [`Fanout::forget`] names the channel.
    pub(crate) fn congest(&mut self, key: FanoutKey, name: Name) {
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.congested.insert(name);
        }
    }

    /// Whether publishers of the channel should wait for any of its encodings.
    pub(crate) fn is_congested(&self, name: &Name) -> bool {
        let mut channels = self.channels.values();
        channels.any(|channel| channel.congested.contains(name))
    }

    /// The last subscriber in this encoding has gone: what was in flight is for no one. The
    /// channel's number may soon be another's. Returns what was congested.
    pub(crate) fn forget(&mut self, channel: ChannelId, encoding: Encoding) -> BTreeSet<Name> {
        let key = (channel, encoding);
        let Some(channel) = self.channels.remove(&key) else {
            return BTreeSet::new();
        };
        self.order.retain(|other| *other != key);
        self.total.take(channel.load);
        channel.congested
    }

    /// Gives the next channel a piece of at most `visits_max` subscribers.
    pub(crate) fn next_piece<P: Payload, F: Clone>(
        &mut self,
        hub: &Hub<P, F>,
        connections: &mut Connections,
        deltas: &mut Deltas,
        visits_max: usize,
        is_receiver: impl Fn((u32, ChannelId), &Receivers, &Connections) -> bool,
    ) -> Piece {
        let mut piece = Piece::default();
        let Some(key) = self.order.pop_front() else {
            return piece;
        };
        let (channel, encoding) = key;
        let fanout = self
            .channels
            .get_mut(&key)
            .expect("a channel in order has a fan-out");
        let before = fanout.load;
        fanout.admit();
        let has_special = fanout.share(connections, &mut self.shared, &mut self.special);
        let mut retired = 0; // in this piece
        let mut visits = 0;
        let mut next_retire_slot = fanout.next_retire_slot();
        let mut subscribers = hub.subscribers_from(channel, encoding, Subscriber(fanout.cursor));
        while visits < visits_max && retired < self.shared.len() {
            let Some(Subscriber(slot)) = subscribers.next() else {
                fanout.cursor = 0;
                retired += fanout.wrap();
                next_retire_slot = fanout.next_retire_slot();
                subscribers = hub.subscribers(channel, encoding);
                continue;
            };
            if slot >= next_retire_slot {
                retired += fanout.retire_before(slot);
                next_retire_slot = fanout.next_retire_slot();
            }
            fanout.cursor = slot + 1;
            let older = fanout.older_than_subscription(slot);
            piece.deliveries += if has_special {
                let frames = (&self.shared[retired..], &self.special[retired..]);
                let is_given = |publication: &Publication| {
                    let is_for =
                        |receivers: &_| is_receiver((slot, channel), receivers, connections);
                    !is_at(publication.exclude, slot, connections)
                        && publication.image.receivers().is_none_or(is_for)
                };
                let received = &mut self.received;
                fanout.receive(
                    (slot, older),
                    frames,
                    deltas.of(channel),
                    is_given,
                    received,
                );
                let frames = received.iter().map(|&frame| (None, frame));
                connections.deliver_all(slot, frames)
            } else {
                let in_flight = fanout.in_flight.iter().zip(&self.shared[retired..]);
                let in_flight = in_flight.skip(older);
                let frames = in_flight.map(|(entry, &frame)| (entry.publication.exclude, frame));
                connections.deliver_all(slot, frames)
            };
            visits += 1;
        }
        self.total.take(before.without(fanout.load));
        if !fanout.congested.is_empty() && fanout.has_caught_up() {
            piece.relieved = std::mem::take(&mut fanout.congested);
        }
        if fanout.in_flight.is_empty() && fanout.waiting.is_empty() {
            self.channels.remove(&key);
        } else {
            self.order.push_back(key);
        }
        piece
    }
}

impl ChannelFanout {
    /// Admits what waits, where the cursor stands.
    fn admit(&mut self) {
        let start = self.cursor;
        while self.in_flight.len() < IN_FLIGHT_MAX
            && let Some(publication) = self.waiting.pop_front()
        {
            self.in_flight.push_back(InFlight {
                publication,
                start,
                wrapped: false,
            });
        }
    }

    /// Makes frames of what is in flight. Whether some of it is not for all, or not the same for all.
    fn share(
        &self,
        connections: &mut Connections,
        shared: &mut Vec<FrameIndex>,
        frames: &mut Vec<Option<SpecialFrames>>,
    ) -> bool {
        shared.clear();
        shared.extend(self.in_flight.iter().map(|entry| {
            let publication = &entry.publication;
            connections.share(publication.image.frame(), Some(publication.origin))
        }));
        let is_special = |entry: &InFlight| entry.publication.image.special().is_some();
        let has_special = self.in_flight.iter().any(is_special);
        if has_special {
            frames.clear();
            frames.extend(self.in_flight.iter().map(|entry| {
                let Publication { image, origin, .. } = &entry.publication;
                let special = image.special()?;
                Some(SpecialFrames::new(special, *origin, connections))
            }));
        }
        has_special
    }

    /// What the subscriber in a slot gets of what is in flight, but for the older: of those that are given to it,
    /// where some are not for all or not the same for all.
    fn receive(
        &self,
        (slot, older): (u32, usize),
        (frames, special): (&[FrameIndex], &[Option<SpecialFrames>]),
        mut deltas: Option<&mut ChannelDeltas>,
        is_given: impl Fn(&Publication) -> bool,
        received: &mut Vec<FrameIndex>,
    ) {
        received.clear();
        let frames = frames.iter().zip(special);
        for (entry, (&frame, of_special)) in self.in_flight.iter().zip(frames).skip(older) {
            let publication = &entry.publication;
            let is_given = is_given(publication);
            received.extend(match (publication.image.special(), of_special) {
                (Some(special), Some(frames)) => {
                    frames.given(special, slot, is_given, deltas.as_deref_mut())
                }
                _ => is_given.then_some(frame),
            });
        }
    }

    /// The slot where the next of them is retired; none, as a number, before the cursor has wrapped.
    fn next_retire_slot(&self) -> u32 {
        match self.in_flight.front() {
            Some(entry) if entry.wrapped => entry.start,
            Some(_) | None => u32::MAX,
        }
    }

    /// The cursor has come to the end of the table. Returns how many were retired.
    fn wrap(&mut self) -> usize {
        // What has wrapped before was given to all: no subscriber stood between its start and the end.
        let again = self
            .in_flight
            .iter()
            .take_while(|entry| entry.wrapped)
            .count();
        self.retire(again);
        for entry in &mut self.in_flight {
            entry.wrapped = true;
        }
        let over = again + self.retire_before(0);
        let oldest = self.retired;
        self.joined.retain(|_, first| *first > oldest);
        over
    }

    /// Retires what was admitted at `slot` or before it, a pass ago. Returns how many.
    fn retire_before(&mut self, slot: u32) -> usize {
        let is_over = |entry: &&InFlight| entry.wrapped && entry.start <= slot;
        let over = self.in_flight.iter().take_while(is_over).count();
        self.retire(over);
        over
    }

    /// The number of the publication that comes next.
    fn next_number(&self) -> u64 {
        self.retired + (self.in_flight.len() + self.waiting.len()) as u64
    }

    /// How many of those in flight were published before the subscriber in this slot came.
    #[inline]
    fn older_than_subscription(&self, slot: u32) -> usize {
        if self.joined.is_empty() {
            return 0;
        }
        let first = self.joined.get(&slot).copied().unwrap_or(0);
        let older = first.saturating_sub(self.retired);
        usize::try_from(older).expect("fewer than are in flight")
    }

    fn retire(&mut self, count: usize) {
        self.retired += count as u64;
        for entry in self.in_flight.drain(..count) {
            self.load.take(Load::of(&entry.publication.image));
        }
    }

    /// Whether what waits will soon be on its way: more should be published, so that no visit goes
    /// with less than it could take.
    fn has_caught_up(&self) -> bool {
        let half = !self
            .load
            .is_beyond(CHANNEL_PUBLICATIONS_MAX / 2 + 1, CHANNEL_BYTES_MAX / 2);
        half || self.load == Load::default()
    }
}

impl Load {
    fn of(image: &Image) -> Load {
        Load {
            publications: 1,
            bytes: image.len(),
        }
    }

    fn add(&mut self, image: &Image) {
        self.publications += 1;
        self.bytes += image.len();
    }

    fn take(&mut self, other: Load) {
        *self = self.without(other);
    }

    fn without(self, other: Load) -> Load {
        Load {
            publications: self.publications - other.publications,
            bytes: self.bytes - other.bytes,
        }
    }

    fn is_beyond(self, publications_max: usize, bytes_max: usize) -> bool {
        self.publications >= publications_max || self.bytes >= bytes_max
    }
}

/// Most frames one visit gives: as many as a batch takes.
const IN_FLIGHT_MAX: usize = BATCH_CHUNKS_MAX;
/// Publications of one channel, beyond which the channel's publishers are asked to wait: a full visit,
/// and the next.
const CHANNEL_PUBLICATIONS_MAX: usize = 2 * IN_FLIGHT_MAX;
/// Bytes of them, beyond which the same is done.
const CHANNEL_BYTES_MAX: usize = 1 << 20;
/// Publications held in all, beyond which messages are left in their rings and publishers are not
/// read.
const PUBLICATIONS_MAX: usize = 16_384;
/// Bytes of them, beyond which the same is done.
const BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::testing;
    use roost_hub::{
        HistoryOptions, HubOptions, NamespaceId, PatternOptions, PresenceOptions, ReactorId,
        Subscribe,
    };
    use roost_net::sim::SimRng;
    use roost_wire::{Frozen, Opcode};

    /// One channel on one reactor, and what each subscriber gets.
    struct Fixture {
        hub: Hub<(), Image>,
        connections: Connections,
        fanout: Fanout,
        channel: ChannelId,
        published: u32,
        /// By slot: what was published before it came, and what it has got.
        got: Vec<(u32, Vec<u32>)>,
    }

    const TEXT: Encoding = Encoding(0);

    impl Fixture {
        fn new() -> Fixture {
            let hub = Hub::new(HubOptions {
                me: ReactorId(0),
                reactors: 1,
                hash_key: [7; 16],
                seed: 1,
                channels_max: 10,
                channel_name_bytes_max: 10,
                patterns: PatternOptions::default(),
                history: HistoryOptions::default(),
                presence: PresenceOptions::default(),
            });
            let mut fixture = Fixture {
                hub,
                connections: testing::connections(),
                fanout: Fanout::default(),
                channel: ChannelId(0),
                published: 0,
                got: Vec::new(),
            };
            fixture.join();
            fixture
        }

        fn join(&mut self) {
            let slot = testing::insert(&mut self.connections).slot();
            self.subscribe(slot);
            self.got.push((self.published, Vec::new()));
        }

        fn subscribe(&mut self, slot: u32) {
            let subscribe = Subscribe {
                who: Subscriber(slot),
                encoding: TEXT,
                name: "c",
                namespace: NamespaceId(0),
                token: 0,
            };
            let joined = self.hub.subscribe(subscribe, 0, &mut Vec::new());
            self.channel = joined.expect("there is room");
            self.fanout.join(self.channel, TEXT, slot);
        }

        fn unsubscribe(&mut self, slot: u32) {
            let (who, out) = (Subscriber(slot), &mut Vec::new());
            self.hub.unsubscribe(who, TEXT, self.channel, out);
            self.fanout.leave(self.channel, TEXT, slot);
        }

        /// Ends a subscription, and begins another in its slot.
        fn subscribe_again(&mut self, slot: u32) {
            self.unsubscribe(slot);
            self.subscribe(slot);
            self.got[slot as usize] = (self.published, Vec::new());
        }

        fn publish(&mut self, exclude: Option<ConnKey>) {
            let frame = Frozen::message(Opcode::Binary, &self.published.to_be_bytes());
            let image = Image::Open(frame);
            self.published += 1;
            let origin = Origin {
                channel: 0,
                namespace: 0,
            };
            let key = (self.channel, TEXT);
            if self.fanout.add(key, origin, image, exclude) {
                self.fanout.congest(key, "c".into());
            }
        }

        fn piece(&mut self, visits_max: usize) -> Piece {
            let connections = &mut self.connections;
            let (hub, all) = (&self.hub, |_, _: &_, _: &_| true);
            let deltas = &mut Deltas::default();
            let piece = self
                .fanout
                .next_piece(hub, connections, deltas, visits_max, all);
            for (slot, (_, got)) in self.got.iter_mut().enumerate() {
                for bytes in testing::take_pending(connections, slot as u32) {
                    let number = bytes[bytes.len() - 4..].try_into().expect("four bytes");
                    got.push(u32::from_be_bytes(number));
                }
            }
            testing::forget_pending(connections);
            piece
        }
    }

    #[test]
    fn every_subscriber_gets_everything_once_and_in_order() {
        for seed in 0..200 {
            let mut rng = SimRng::new(seed);
            let mut fixture = Fixture::new();
            for _ in 0..rng.below(200) {
                match rng.below(5) {
                    0 => fixture.join(),
                    1 => fixture.publish(None),
                    // Not the first, so that the channel goes on.
                    2 if fixture.got.len() > 1 => {
                        let slot = 1 + rng.below(fixture.got.len() as u64 - 1);
                        fixture.subscribe_again(slot as u32);
                    }
                    _ => {
                        fixture.piece(rng.between(1, 20) as usize);
                    }
                }
            }
            while !fixture.fanout.is_empty() {
                fixture.piece(3);
            }
            assert_eq!(fixture.fanout.total, Load::default());
            for (slot, (before, got)) in fixture.got.iter().enumerate() {
                // Nothing from before its subscription, and nothing is missing since.
                let all: Vec<u32> = (*before..fixture.published).collect();
                assert_eq!(*got, all, "seed {seed}, slot {slot}");
            }
        }
    }

    #[test]
    fn a_subscriber_gets_nothing_older_than_its_subscription() {
        let mut fixture = Fixture::new();
        (0..9).for_each(|_| fixture.join());
        (0..IN_FLIGHT_MAX + 3).for_each(|_| fixture.publish(None)); // the last three wait
        fixture.piece(3);
        fixture.join(); // ahead of the cursor
        fixture.subscribe_again(1); // behind it
        fixture.subscribe_again(7);
        fixture.publish(None);
        let newest = fixture.published - 1;
        while !fixture.fanout.is_empty() {
            fixture.piece(2);
        }
        for slot in [1, 7, 10] {
            assert_eq!(fixture.got[slot].1, [newest], "slot {slot}");
        }
        assert_eq!(fixture.got[2].1, (0..=newest).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_known_of_a_subscription_is_forgotten_two_passes_later() {
        let mut fixture = Fixture::new();
        (0..9).for_each(|_| fixture.join());
        fixture.publish(None);
        fixture.piece(3);
        fixture.join();
        fixture.join();
        let joined = |fixture: &Fixture| {
            fixture.fanout.channels[&(fixture.channel, TEXT)]
                .joined
                .len()
        };
        assert_eq!(joined(&fixture), 2);
        fixture.unsubscribe(10);
        assert_eq!(joined(&fixture), 1);
        fixture.got[10].0 = u32::MAX;
        // The channel is never without a publication in flight.
        for _ in 0..3 * 11 {
            fixture.publish(None);
            fixture.piece(1);
        }
        assert_eq!(joined(&fixture), 0);
    }

    #[test]
    fn publications_that_come_together_share_the_visits() {
        let mut fixture = Fixture::new();
        (0..9).for_each(|_| fixture.join());
        (0..8).for_each(|_| fixture.publish(None));
        fixture.piece(10);
        assert!(fixture.got.iter().all(|(_, got)| got.len() == 8));
        fixture.piece(1);
        assert!(fixture.fanout.is_empty());
    }

    #[test]
    fn the_publisher_is_passed_over_and_its_heir_is_not() {
        let mut fixture = Fixture::new();
        fixture.join();
        let publisher = fixture.connections.key_at(1).expect("joined");
        fixture.publish(Some(publisher));
        fixture.publish(Some(ConnKey::new(1, publisher.generation() + 1)));
        fixture.piece(10);
        assert_eq!(fixture.got[0].1, [0, 1]);
        assert_eq!(fixture.got[1].1, [1]);
    }

    #[test]
    fn a_forgotten_publication_is_not_delivered() {
        let mut fixture = Fixture::new();
        (0..9).for_each(|_| fixture.join());
        (0..70).for_each(|_| fixture.publish(None));
        fixture.piece(3);
        assert!(fixture.fanout.forget(fixture.channel, TEXT).is_empty());
        assert!(fixture.fanout.is_empty() && !fixture.fanout.has(fixture.channel, TEXT));
        assert_eq!(fixture.fanout.total, Load::default());
        (0..CHANNEL_PUBLICATIONS_MAX).for_each(|_| fixture.publish(None));
        let names = fixture.fanout.forget(fixture.channel, TEXT);
        assert_eq!(names, BTreeSet::from(["c".into()]), "its publishers wait");
    }

    #[test]
    fn a_channel_is_congested_until_it_has_caught_up() {
        let mut fixture = Fixture::new();
        (0..9).for_each(|_| fixture.join());
        let name = Name::from("c");
        (1..CHANNEL_PUBLICATIONS_MAX).for_each(|_| fixture.publish(None));
        assert!(!fixture.fanout.is_congested(&name));
        fixture.publish(None);
        assert!(fixture.fanout.is_congested(&name));
        let mut visits = 0;
        while fixture.piece(1).relieved.is_empty() {
            assert!(fixture.fanout.is_congested(&name));
            visits += 1;
        }
        assert!((9..12).contains(&visits), "one pass: {visits} visits");
        assert!(!fixture.fanout.is_congested(&name) && !fixture.fanout.is_empty());
        assert!(!fixture.fanout.is_full());
    }
}
