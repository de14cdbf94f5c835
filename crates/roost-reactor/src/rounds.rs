//! Fan-out to many, a piece at a time, so that nobody else waits for all of it.
//!
//! A channel with many subscribers here is gone round like a lift goes past its floors: one cursor
//! in table order, and at each subscriber it visits, everything that subscriber has not had yet.
//! What is published while the lift is under way joins it where it stands and leaves it there a
//! round later; so publications that come faster than a round lasts share its visits, and each
//! subscriber is written to once for all of them. Older publications are always ahead on the same
//! round: every subscriber gets them in order.
//!
//! A subscription begins at a position: a client that subscribes meanwhile gets nothing that was
//! published before. Its slot is noted until what was in flight then has gone round; the record of
//! a subscription holds nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};

use roost_hub::{ChannelId, Encoding, FrameIndex, Hub, Name, Subscriber};
use roost_net::ConnKey;
use roost_wire::Frozen;

use crate::table::Table;
use crate::tick::{Origin, Tick};

/// The fan-outs under way on a reactor.
#[derive(Default)]
pub(crate) struct Rounds {
    rounds: HashMap<RoundKey, Round>,
    /// Whose turn it is, first to last: each gets a piece.
    order: VecDeque<RoundKey>,
    /// What is under way in all of them.
    under_way: Load,
    /// Frames of the piece under way; reused.
    shared: Vec<FrameIndex>,
}

/// Subscribers of one channel in one encoding.
type RoundKey = (ChannelId, Encoding);

#[derive(Default)]
struct Round {
    /// The slot to look at next.
    cursor: u32,
    /// On the round, oldest first.
    riding: VecDeque<Ride>,
    /// Waiting to get on: no visit gives more than [`RIDING_MAX`] frames.
    waiting: VecDeque<Publication>,
    /// How many publications have left: the number of the oldest that rides. Those that ride, then
    /// those that wait, follow it without a gap.
    left: u64,
    /// Slots that have subscribed since the oldest that rides was published, and the number of the
    /// first publication that is for each. Looked through at the end of the table, so an entry
    /// lives for two rounds at most.
    joined: BTreeMap<u32, u64>,
    /// What rides and waits.
    load: Load,
    /// The channel, while its publishers have been asked to wait.
    congested: Option<Name>,
}

/// Publications, each counted once, and the bytes of their frames.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Load {
    publications: usize,
    bytes: usize,
}

struct Publication {
    frame: Frozen,
    origin: Origin,
    exclude: Option<ConnKey>,
}

struct Ride {
    publication: Publication,
    /// Got on before this slot, and gets off there.
    start: u32,
    /// The cursor has been past the end of the table since.
    wrapped: bool,
}

/// What a piece has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Frames given to subscribers.
    pub(crate) deliveries: u64,
    /// The channel that is congested no longer.
    pub(crate) relieved: Option<Name>,
}

impl Rounds {
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether so much is under way that no mail should be read and no publisher. Long before,
    /// publishers of the channels that bring so much were asked to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.under_way.is_beyond(PUBLICATIONS_MAX, BYTES_MAX)
    }

    /// Whether a fan-out of this channel is under way, which what comes next must not overtake.
    pub(crate) fn has(&self, channel: ChannelId, encoding: Encoding) -> bool {
        !self.order.is_empty() && self.rounds.contains_key(&(channel, encoding))
    }

    /// Starts a publication on its way to all subscribers. True when the channel's publishers
    /// should wait, which they have not been asked for: see [`Rounds::congest`].
    #[must_use]
    pub(crate) fn add(
        &mut self,
        origin: Origin,
        encoding: Encoding,
        frame: Frozen,
        exclude: Option<ConnKey>,
    ) -> bool {
        let key = (origin.channel, encoding);
        let order = &mut self.order;
        let round = self.rounds.entry(key).or_insert_with(|| {
            order.push_back(key);
            Round::default()
        });
        self.under_way.add(&frame);
        round.load.add(&frame);
        round.waiting.push_back(Publication {
            frame,
            origin,
            exclude,
        });
        let is_behind = round
            .load
            .is_beyond(ROUND_PUBLICATIONS_MAX, ROUND_BYTES_MAX);
        is_behind && round.congested.is_none()
    }

    /// A subscriber has come to a channel: what is under way there was published before.
    pub(crate) fn join(&mut self, channel: ChannelId, encoding: Encoding, slot: u32) {
        if let Some(round) = self.rounds.get_mut(&(channel, encoding)) {
            round.joined.insert(slot, round.next_number());
        }
    }

    /// A subscriber has gone from a channel.
    pub(crate) fn leave(&mut self, channel: ChannelId, encoding: Encoding, slot: u32) {
        if let Some(round) = self.rounds.get_mut(&(channel, encoding)) {
            round.joined.remove(&slot);
        }
    }

    /// The publishers of a channel are asked to wait, until [`Piece::relieved`] or
    /// [`Rounds::forget`] names it.
    pub(crate) fn congest(&mut self, channel: ChannelId, encoding: Encoding, name: Name) {
        if let Some(round) = self.rounds.get_mut(&(channel, encoding)) {
            round.congested = Some(name);
        }
    }

    /// Whether publishers of the channel should wait for any of its encodings.
    pub(crate) fn is_congested(&self, name: &Name) -> bool {
        let mut rounds = self.rounds.values();
        rounds.any(|round| round.congested.as_ref() == Some(name))
    }

    /// The last subscriber in this encoding has gone: what was under way is for nobody. The
    /// channel's number may soon be another's. Returns its name if it was congested.
    pub(crate) fn forget(&mut self, channel: ChannelId, encoding: Encoding) -> Option<Name> {
        let key = (channel, encoding);
        let round = self.rounds.remove(&key)?;
        self.order.retain(|other| *other != key);
        self.under_way.take(round.load);
        round.congested
    }

    /// Gives the next of the rounds a piece of at most `visits_max` subscribers.
    pub(crate) fn next_piece<P, F: Clone>(
        &mut self,
        hub: &Hub<P, F>,
        table: &mut Table,
        tick: &mut Tick,
        now: u32,
        visits_max: usize,
    ) -> Piece {
        let mut piece = Piece::default();
        let Some(key) = self.order.pop_front() else {
            return piece;
        };
        let (channel, encoding) = key;
        let round = self.rounds.get_mut(&key).expect("who has a turn rides");
        let before = round.load;
        round.board();
        self.shared.clear();
        let share = |ride: &Ride| {
            let publication = &ride.publication;
            tick.share(&publication.frame, Some(publication.origin))
        };
        self.shared.extend(round.riding.iter().map(share));

        let mut left = 0; // how many have got off in this piece
        let mut visits = 0;
        let mut next_stop = round.next_stop();
        let mut subscribers = hub.subscribers_from(channel, encoding, Subscriber(round.cursor));
        while visits < visits_max && left < self.shared.len() {
            let Some(Subscriber(slot)) = subscribers.next() else {
                round.cursor = 0;
                left += round.wrap();
                next_stop = round.next_stop();
                subscribers = hub.subscribers(channel, encoding);
                continue;
            };
            if slot >= next_stop {
                left += round.get_off(slot);
                next_stop = round.next_stop();
            }
            round.cursor = slot + 1;
            let Some(conn) = table.at_mut(slot) else {
                debug_assert!(false, "a subscriber is in the table");
                continue;
            };
            let here = ConnKey::new(slot, conn.generation);
            let older = round.older_than_subscription(slot);
            let riding = round.riding.iter().zip(&self.shared[left..]);
            for (ride, &frame) in riding.skip(older) {
                if ride.publication.exclude != Some(here) {
                    tick.give(slot, conn, frame);
                    piece.deliveries += 1;
                }
            }
            if older < round.riding.len() {
                conn.last_message = now;
            }
            visits += 1;
        }
        self.under_way.take(before.without(round.load));
        if round.congested.is_some() && round.has_caught_up() {
            piece.relieved = round.congested.take();
        }
        if round.riding.is_empty() && round.waiting.is_empty() {
            self.rounds.remove(&key);
        } else {
            self.order.push_back(key);
        }
        piece
    }
}

impl Round {
    /// Lets on who waits, where the cursor stands.
    fn board(&mut self) {
        let start = self.cursor;
        while self.riding.len() < RIDING_MAX
            && let Some(publication) = self.waiting.pop_front()
        {
            self.riding.push_back(Ride {
                publication,
                start,
                wrapped: false,
            });
        }
    }

    /// The slot where the next of them gets off; none, as a number, before the cursor has wrapped.
    fn next_stop(&self) -> u32 {
        match self.riding.front() {
            Some(ride) if ride.wrapped => ride.start,
            Some(_) | None => u32::MAX,
        }
    }

    /// The cursor has come to the end of the table. Returns how many have got off.
    fn wrap(&mut self) -> usize {
        // Who has been past it before has seen all: nobody was left between its start and the end.
        let again = self.riding.iter().take_while(|ride| ride.wrapped).count();
        self.leave(again);
        for ride in &mut self.riding {
            ride.wrapped = true;
        }
        let over = again + self.get_off(0);
        let oldest = self.left;
        self.joined.retain(|_, first| *first > oldest);
        over
    }

    /// Lets off who got on at `slot` or before it, a round ago. Returns how many.
    fn get_off(&mut self, slot: u32) -> usize {
        let is_over = |ride: &&Ride| ride.wrapped && ride.start <= slot;
        let over = self.riding.iter().take_while(is_over).count();
        self.leave(over);
        over
    }

    /// The number of the publication that comes next.
    fn next_number(&self) -> u64 {
        self.left + (self.riding.len() + self.waiting.len()) as u64
    }

    /// How many of those that ride were published before the subscriber in this slot came.
    #[inline]
    fn older_than_subscription(&self, slot: u32) -> usize {
        if self.joined.is_empty() {
            return 0;
        }
        let first = self.joined.get(&slot).copied().unwrap_or(0);
        first.saturating_sub(self.left) as usize
    }

    fn leave(&mut self, count: usize) {
        self.left += count as u64;
        for ride in self.riding.drain(..count) {
            self.load.take(Load::of(&ride.publication.frame));
        }
    }

    /// Whether what waits will soon be on its way: more should be published, so that no visit goes
    /// with less than it could take.
    fn has_caught_up(&self) -> bool {
        let half = !self
            .load
            .is_beyond(ROUND_PUBLICATIONS_MAX / 2 + 1, ROUND_BYTES_MAX / 2);
        half || self.load == Load::default()
    }
}

impl Load {
    fn of(frame: &Frozen) -> Load {
        Load {
            publications: 1,
            bytes: frame.len(),
        }
    }

    fn add(&mut self, frame: &Frozen) {
        self.publications += 1;
        self.bytes += frame.len();
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
const RIDING_MAX: usize = crate::outbox::BATCH_CHUNKS_MAX;
/// Publications of one round, beyond which the channel's publishers are asked to wait: a full visit
/// under way, and the next.
const ROUND_PUBLICATIONS_MAX: usize = 2 * RIDING_MAX;
/// Bytes of them, beyond which the same is done.
const ROUND_BYTES_MAX: usize = 1 << 20;
/// Publications under way in all, beyond which mail is left in its rings and publishers are not
/// read.
const PUBLICATIONS_MAX: usize = 16_384;
/// Bytes of them, beyond which the same is done.
const BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Conn;
    use roost_hub::{HubOptions, NamespaceId, ReactorId, Subscribe};
    use roost_net::sim::SimRng;
    use roost_wire::Opcode;

    /// One channel on one reactor, and who gets what.
    struct Day {
        hub: Hub<(), Frozen>,
        table: Table,
        tick: Tick,
        rounds: Rounds,
        channel: ChannelId,
        published: u32,
        /// By slot: what was published before it came, and what it has got.
        got: Vec<(u32, Vec<u32>)>,
    }

    const TEXT: Encoding = Encoding(0);

    impl Day {
        fn new() -> Day {
            let hub = Hub::new(HubOptions {
                me: ReactorId(0),
                reactors: 1,
                hash_key: [7; 16],
                seed: 1,
                channels_max: 10,
                channel_name_bytes_max: 10,
            });
            let mut day = Day {
                hub,
                table: Table::new(),
                tick: Tick::new(),
                rounds: Rounds::default(),
                channel: ChannelId(0),
                published: 0,
                got: Vec::new(),
            };
            day.join();
            day
        }

        fn join(&mut self) {
            let slot = self.table.insert(Conn::new(0)).slot();
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
            self.rounds.join(self.channel, TEXT, slot);
        }

        fn unsubscribe(&mut self, slot: u32) {
            let (who, out) = (Subscriber(slot), &mut Vec::new());
            self.hub.unsubscribe(who, TEXT, self.channel, out);
            self.rounds.leave(self.channel, TEXT, slot);
        }

        /// Ends a subscription, and begins another in its slot.
        fn subscribe_again(&mut self, slot: u32) {
            self.unsubscribe(slot);
            self.subscribe(slot);
            self.got[slot as usize] = (self.published, Vec::new());
        }

        fn publish(&mut self, exclude: Option<ConnKey>) {
            let frame = Frozen::message(Opcode::Binary, &self.published.to_be_bytes());
            self.published += 1;
            let origin = Origin {
                channel: self.channel,
                namespace: 0,
            };
            if self.rounds.add(origin, TEXT, frame, exclude) {
                self.rounds.congest(self.channel, TEXT, "c".into());
            }
        }

        fn piece(&mut self, visits_max: usize) -> Piece {
            let (hub, table, tick) = (&self.hub, &mut self.table, &mut self.tick);
            let piece = self.rounds.next_piece(hub, table, tick, 0, visits_max);
            let mut frames = Vec::new();
            for (slot, (_, got)) in self.got.iter_mut().enumerate() {
                let conn = self.table.at_mut(slot as u32).expect("all stay");
                self.tick.palette.frames(conn.pending, &mut frames);
                conn.pending = 0;
                for &frame in &frames {
                    let bytes = self.tick.bytes_of(frame);
                    let number = bytes[bytes.len() - 4..].try_into().expect("four bytes");
                    got.push(u32::from_be_bytes(number));
                }
            }
            self.tick.clear();
            piece
        }
    }

    #[test]
    fn everybody_gets_everything_once_and_in_order() {
        for seed in 0..200 {
            let mut rng = SimRng::new(seed);
            let mut day = Day::new();
            for _ in 0..rng.below(200) {
                match rng.below(5) {
                    0 => day.join(),
                    1 => day.publish(None),
                    // Not the first, so that the channel goes on.
                    2 if day.got.len() > 1 => {
                        let slot = 1 + rng.below(day.got.len() as u64 - 1);
                        day.subscribe_again(slot as u32);
                    }
                    _ => {
                        day.piece(rng.between(1, 20) as usize);
                    }
                }
            }
            while !day.rounds.is_empty() {
                day.piece(3);
            }
            assert_eq!(day.rounds.under_way, Load::default());
            for (slot, (before, got)) in day.got.iter().enumerate() {
                // Nothing from before its subscription, and nothing is missing since.
                let all: Vec<u32> = (*before..day.published).collect();
                assert_eq!(*got, all, "seed {seed}, slot {slot}");
            }
        }
    }

    #[test]
    fn a_subscriber_gets_nothing_older_than_its_subscription() {
        let mut day = Day::new();
        (0..9).for_each(|_| day.join());
        (0..RIDING_MAX + 3).for_each(|_| day.publish(None)); // the last three wait
        day.piece(3);
        day.join(); // ahead of the cursor
        day.subscribe_again(1); // behind it
        day.subscribe_again(7);
        day.publish(None);
        let newest = day.published - 1;
        while !day.rounds.is_empty() {
            day.piece(2);
        }
        for slot in [1, 7, 10] {
            assert_eq!(day.got[slot].1, [newest], "slot {slot}");
        }
        assert_eq!(day.got[2].1, (0..=newest).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_known_of_a_subscription_is_forgotten_two_rounds_later() {
        let mut day = Day::new();
        (0..9).for_each(|_| day.join());
        day.publish(None);
        day.piece(3);
        day.join();
        day.join();
        let joined = |day: &Day| day.rounds.rounds[&(day.channel, TEXT)].joined.len();
        assert_eq!(joined(&day), 2);
        day.unsubscribe(10);
        assert_eq!(joined(&day), 1);
        day.got[10].0 = u32::MAX;
        // The channel is never without a publication in flight.
        for _ in 0..3 * 11 {
            day.publish(None);
            day.piece(1);
        }
        assert_eq!(joined(&day), 0);
    }

    #[test]
    fn publications_that_come_together_share_the_visits() {
        let mut day = Day::new();
        (0..9).for_each(|_| day.join());
        (0..8).for_each(|_| day.publish(None));
        day.piece(10);
        assert!(day.got.iter().all(|(_, got)| got.len() == 8));
        day.piece(1);
        assert!(day.rounds.is_empty());
    }

    #[test]
    fn the_publisher_is_passed_over_and_its_heir_is_not() {
        let mut day = Day::new();
        day.join();
        let publisher = day.table.key_at(1).expect("joined");
        day.publish(Some(publisher));
        day.publish(Some(ConnKey::new(1, publisher.generation() + 1)));
        day.piece(10);
        assert_eq!(day.got[0].1, [0, 1]);
        assert_eq!(day.got[1].1, [1]);
    }

    #[test]
    fn what_is_forgotten_is_for_nobody() {
        let mut day = Day::new();
        (0..9).for_each(|_| day.join());
        (0..70).for_each(|_| day.publish(None));
        day.piece(3);
        assert_eq!(day.rounds.forget(day.channel, TEXT), None);
        assert!(day.rounds.is_empty() && !day.rounds.has(day.channel, TEXT));
        assert_eq!(day.rounds.under_way, Load::default());
        (0..ROUND_PUBLICATIONS_MAX).for_each(|_| day.publish(None));
        let name = day.rounds.forget(day.channel, TEXT);
        assert_eq!(name.as_deref(), Some("c"), "its publishers wait");
    }

    #[test]
    fn a_channel_is_congested_until_it_has_caught_up() {
        let mut day = Day::new();
        (0..9).for_each(|_| day.join());
        let name = Name::from("c");
        (1..ROUND_PUBLICATIONS_MAX).for_each(|_| day.publish(None));
        assert!(!day.rounds.is_congested(&name));
        day.publish(None);
        assert!(day.rounds.is_congested(&name));
        let mut visits = 0;
        while day.piece(1).relieved.is_none() {
            assert!(day.rounds.is_congested(&name));
            visits += 1;
        }
        assert!((9..12).contains(&visits), "one round: {visits} visits");
        assert!(!day.rounds.is_congested(&name) && !day.rounds.is_empty());
        assert!(!day.rounds.is_full());
    }

    /// How long a visit takes without what the kernel does for it, in a channel so large that no
    /// record is in a cache, and in one whose records all are: what fetching them ahead could gain.
    ///
    /// `cargo test --release -p roost-reactor -- --ignored --nocapture visits`
    #[test]
    #[ignore = "a measurement, for docs/decisions; it takes 200 MB"]
    fn visits_to_a_million() {
        for crowd in [64, 1_000_000] {
            let mut day = Day::new();
            (1..crowd).for_each(|_| day.join());
            let mut other = vec![0u8; 64 << 20]; // what the kernel touches meanwhile
            let mut times_ns = Vec::new();
            while times_ns.len() < 5_000 {
                if day.rounds.is_empty() {
                    day.publish(None);
                }
                if crowd > 64 {
                    other.iter_mut().step_by(64).for_each(|byte| *byte += 1);
                }
                let begun = std::time::Instant::now();
                let (hub, table, tick) = (&day.hub, &mut day.table, &mut day.tick);
                let piece = day.rounds.next_piece(hub, table, tick, 0, 64);
                let took = begun.elapsed().as_nanos() as u64;
                if piece.deliveries == 64 {
                    times_ns.push(took / 64);
                }
                for slot in std::mem::take(&mut day.tick.dirty) {
                    let conn = day.table.at_mut(slot).expect("all stay");
                    conn.pending = 0;
                }
                day.tick.clear();
            }
            times_ns.sort_unstable();
            let at = |share: usize| times_ns[times_ns.len() * share / 100];
            println!(
                "of {crowd}: p10 {}, p50 {}, p90 {} ns a visit",
                at(10),
                at(50),
                at(90)
            );
        }
    }
}
