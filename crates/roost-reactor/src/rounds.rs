//! Fan-out to many, a piece at a time, so that nobody else waits for all of it.
//!
//! A channel with many subscribers here is gone round like a lift goes past its floors: one cursor
//! in table order, and at each subscriber it visits, everything that subscriber has not had yet.
//! What is published while the lift is under way joins it where it stands and leaves it there a
//! round later; so publications that come faster than a round lasts share its visits, and each
//! subscriber is written to once for all of them. Older publications are always ahead on the same
//! round: every subscriber gets them in order.

use std::collections::{HashMap, VecDeque};

use roost_hub::{ChannelId, Encoding, FrameIndex, Hub, Subscriber};
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
    /// Publications under way, and their bytes, each counted once.
    publications: usize,
    bytes: usize,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Frames given to subscribers.
    pub(crate) deliveries: u64,
}

impl Rounds {
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether so much is under way that its makers should wait.
    pub(crate) fn is_full(&self) -> bool {
        self.publications >= PUBLICATIONS_MAX || self.bytes >= BYTES_MAX
    }

    /// Whether a fan-out of this channel is under way, which what comes next must not overtake.
    pub(crate) fn has(&self, channel: ChannelId, encoding: Encoding) -> bool {
        !self.order.is_empty() && self.rounds.contains_key(&(channel, encoding))
    }

    /// Starts a publication on its way to all subscribers.
    pub(crate) fn add(
        &mut self,
        origin: Origin,
        encoding: Encoding,
        frame: Frozen,
        exclude: Option<ConnKey>,
    ) {
        let key = (origin.channel, encoding);
        let order = &mut self.order;
        let round = self.rounds.entry(key).or_insert_with(|| {
            order.push_back(key);
            Round::default()
        });
        self.publications += 1;
        self.bytes += frame.len();
        round.waiting.push_back(Publication {
            frame,
            origin,
            exclude,
        });
    }

    /// The last subscriber in this encoding has gone: what was under way is for nobody. The
    /// channel's number may soon be another's.
    pub(crate) fn forget(&mut self, channel: ChannelId, encoding: Encoding) {
        let key = (channel, encoding);
        if let Some(round) = self.rounds.remove(&key) {
            self.order.retain(|other| *other != key);
            for publication in round.publications() {
                self.publications -= 1;
                self.bytes -= publication.frame.len();
            }
        }
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
        let mut piece = Piece { deliveries: 0 };
        let Some(key) = self.order.pop_front() else {
            return piece;
        };
        let (channel, encoding) = key;
        let round = self.rounds.get_mut(&key).expect("who has a turn rides");
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
                left += round.wrap(&mut self.publications, &mut self.bytes);
                next_stop = round.next_stop();
                subscribers = hub.subscribers(channel, encoding);
                continue;
            };
            if slot >= next_stop {
                left += round.get_off(slot, &mut self.publications, &mut self.bytes);
                next_stop = round.next_stop();
            }
            round.cursor = slot + 1;
            let Some(conn) = table.at_mut(slot) else {
                debug_assert!(false, "a subscriber is in the table");
                continue;
            };
            let here = ConnKey::new(slot, conn.generation);
            for (ride, &frame) in round.riding.iter().zip(&self.shared[left..]) {
                if ride.publication.exclude != Some(here) {
                    tick.give(slot, conn, frame);
                    piece.deliveries += 1;
                }
            }
            conn.last_message = now;
            visits += 1;
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
    fn wrap(&mut self, publications: &mut usize, bytes: &mut usize) -> usize {
        // Who has been past it before has seen all: nobody was left between its start and the end.
        let again = self.riding.iter().take_while(|ride| ride.wrapped).count();
        self.leave(again, publications, bytes);
        for ride in &mut self.riding {
            ride.wrapped = true;
        }
        again + self.get_off(0, publications, bytes)
    }

    /// Lets off who got on at `slot` or before it, a round ago. Returns how many.
    fn get_off(&mut self, slot: u32, publications: &mut usize, bytes: &mut usize) -> usize {
        let is_over = |ride: &&Ride| ride.wrapped && ride.start <= slot;
        let over = self.riding.iter().take_while(is_over).count();
        self.leave(over, publications, bytes);
        over
    }

    fn leave(&mut self, count: usize, publications: &mut usize, bytes: &mut usize) {
        for ride in self.riding.drain(..count) {
            *publications -= 1;
            *bytes -= ride.publication.frame.len();
        }
    }

    fn publications(&self) -> impl Iterator<Item = &Publication> {
        let riding = self.riding.iter().map(|ride| &ride.publication);
        riding.chain(&self.waiting)
    }
}

/// Most frames one visit gives: as many as a batch takes.
const RIDING_MAX: usize = crate::outbox::BATCH_CHUNKS_MAX;
/// Publications under way, beyond which mail is left in its rings and publishers are not read.
const PUBLICATIONS_MAX: usize = 256;
/// Bytes of publications under way, beyond which the same is done.
const BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Conn;
    use roost_hub::{HubOptions, ReactorId};
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
            let joined = self
                .hub
                .subscribe(Subscriber(slot), TEXT, "c", 0, &mut Vec::new());
            self.channel = joined.expect("there is room");
            self.got.push((self.published, Vec::new()));
        }

        fn publish(&mut self, exclude: Option<ConnKey>) {
            let frame = Frozen::message(Opcode::Binary, &self.published.to_be_bytes());
            self.published += 1;
            let origin = Origin {
                channel: self.channel,
                namespace: 0,
            };
            self.rounds.add(origin, TEXT, frame, exclude);
        }

        fn piece(&mut self, visits_max: usize) {
            let (hub, table, tick) = (&self.hub, &mut self.table, &mut self.tick);
            self.rounds.next_piece(hub, table, tick, 0, visits_max);
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
        }
    }

    #[test]
    fn everybody_gets_everything_once_and_in_order() {
        for seed in 0..200 {
            let mut rng = SimRng::new(seed);
            let mut day = Day::new();
            for _ in 0..rng.below(200) {
                match rng.below(4) {
                    0 => day.join(),
                    1 => day.publish(None),
                    _ => day.piece(rng.between(1, 20) as usize),
                }
            }
            while !day.rounds.is_empty() {
                day.piece(3);
            }
            assert_eq!((day.rounds.publications, day.rounds.bytes), (0, 0));
            for (slot, (before, got)) in day.got.iter().enumerate() {
                // What was under way when it came it may get, or not; then nothing is missing.
                let first = got.first().copied().unwrap_or(day.published);
                assert!(
                    first <= *before,
                    "seed {seed}, slot {slot}: {before} {got:?}"
                );
                let all: Vec<u32> = (first..day.published).collect();
                assert_eq!(*got, all, "seed {seed}, slot {slot}");
            }
        }
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
        day.rounds.forget(day.channel, TEXT);
        assert!(day.rounds.is_empty() && !day.rounds.has(day.channel, TEXT));
        assert_eq!((day.rounds.publications, day.rounds.bytes), (0, 0));
    }
}
