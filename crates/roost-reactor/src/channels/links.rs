//! Messages between reactors: bounded rings, a wake flag each, and no lock on the way of a message.
//!
//! Each pair of reactors has two rings, made when first used. The *plain* lane carries what the
//! receiver handles without making new messages for a third (deliveries, acknowledgements, interest);
//! it is always read. The *publish* lane carries publications and calls on the way to their home,
//! which make messages for other reactors; it is read only while the home's own messages get away.
//! An invocation, which is plain, makes a message for its caller's reactor that carries no payload:
//! one for each open call, of which each client has a bounded number. Only if its callee has just
//! gone does the call itself go on.
//! So many publishers fill the publish rings back to their own reactors, which then stop
//! reading from them, and no circle of full rings can stand still: plain messages always drain.

#![expect(
    clippy::disallowed_types,
    reason = "for rings just made: once in the life of each"
)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use roost_hub::ReactorId;
use roost_net::Waker;

use super::ring::{Batch, RING_BYTES_MAX, RingReceiver, RingSender, ring};
use super::wake::{SENDERS_MAX, WakeFlag};
use crate::memory::drop_empty_queue;

/// Which ring of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Plain = 0,
    Publish = 1,
}

const LANES: usize = 2;

/// A message that knows its lane.
pub(crate) trait LinkMessage {
    fn lane(&self) -> Lane;
    /// Memory that it keeps, be it alone or with others.
    fn bytes(&self) -> usize;
}

/// The inboxes of all peers of a server: its reactors, and behind them the control thread.
pub(crate) struct Mesh<T> {
    boxes: Vec<Inbox<T>>,
}

struct Inbox<T> {
    wake_flag: WakeFlag,
    waker: OnceLock<Waker>,
    /// Rings made by senders and not yet fetched: once in the life of each.
    new_rings: Mutex<Vec<NewRing<T>>>,
    has_new_rings: AtomicBool,
    /// Its peer has ended, and reads no more.
    has_ended: AtomicBool,
}

impl<T> Inbox<T> {
    /// The ring of a sender and lane, made if this is its first use.
    fn ring_from<'a>(
        &self,
        sender: u8,
        lane: Lane,
        made: &'a mut Option<RingSender<T>>,
    ) -> &'a mut RingSender<T> {
        made.get_or_insert_with(|| {
            let (ring_sender, ring_receiver) = ring();
            let mut rings = self.new_rings.lock().expect("no holder of the lock panics");
            rings.push((sender, lane, ring_receiver));
            self.has_new_rings.store(true, Ordering::Release);
            ring_sender
        })
    }
}

/// The receiving end of a ring, with its sender and lane.
type NewRing<T> = (u8, Lane, RingReceiver<T>);

impl<T> Mesh<T> {
    pub(crate) fn new(reactors: usize) -> Mesh<T> {
        assert!(reactors <= SENDERS_MAX, "at most {SENDERS_MAX} peers");
        let inbox = || Inbox {
            wake_flag: WakeFlag::new(),
            waker: OnceLock::new(),
            new_rings: Mutex::new(Vec::new()),
            has_new_rings: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        };
        Mesh {
            boxes: (0..reactors).map(|_| inbox()).collect(),
        }
    }
}

/// One reactor's links: what it sends, and what has come for it.
pub(crate) struct Links<T> {
    me: u8,
    mesh: Arc<Mesh<T>>,
    outgoing: Vec<Outgoing<T>>,
    /// Targets with a batch under way in this tick.
    collecting: Vec<u8>,
    incoming: Vec<[Option<RingReceiver<T>>; LANES]>,
    /// Senders whose ring may hold messages, per lane.
    unread: [[u64; SENDERS_MAX / 64]; LANES],
    /// Whether there are any.
    has_unread: bool,
    /// The peer to read next, by lane.
    next_sender: [usize; LANES],
    /// Batches that found their ring full.
    spilled: usize,
    /// Messages batched in this loop iteration, by lane, and bytes.
    batched: [usize; LANES],
    batched_bytes: usize,
    /// Emptied batches for what is sent next: what comes and what leaves balance out.
    spare: Vec<Vec<T>>,
    pub(crate) batches_sent: u64,
    pub(crate) wakes: u64,
}

struct Outgoing<T> {
    batch: [Batch<T>; LANES],
    ring: [Option<RingSender<T>>; LANES],
    spill: [VecDeque<Batch<T>>; LANES],
}

impl<T: LinkMessage> Links<T> {
    /// The links of reactor `me`; `waker` wakes it.
    pub(crate) fn new(me: u8, mesh: Arc<Mesh<T>>, waker: Waker) -> Links<T> {
        let reactors = mesh.boxes.len();
        let set = mesh.boxes[usize::from(me)].waker.set(waker);
        assert!(set.is_ok(), "a reactor has its links once");
        let outgoing = || Outgoing {
            batch: std::array::from_fn(|_| Batch::in_memory(Vec::new())),
            ring: std::array::from_fn(|_| None),
            spill: std::array::from_fn(|_| VecDeque::new()),
        };
        Links {
            me,
            outgoing: (0..reactors).map(|_| outgoing()).collect(),
            collecting: Vec::new(),
            incoming: (0..reactors).map(|_| [None, None]).collect(),
            unread: [[0; SENDERS_MAX / 64]; LANES],
            has_unread: false,
            next_sender: [0; LANES],
            spilled: 0,
            batched: [0; LANES],
            batched_bytes: 0,
            spare: Vec::new(),
            batches_sent: 0,
            wakes: 0,
            mesh,
        }
    }

    /// The peer's own number.
    pub(crate) fn me(&self) -> ReactorId {
        ReactorId(self.me)
    }

    /// Wakes all other peers without a message for them.
    pub(crate) fn wake_others(&self) {
        for (peer, inbox) in self.mesh.boxes.iter().enumerate() {
            if peer != usize::from(self.me)
                && let Some(waker) = inbox.waker.get()
            {
                waker.wake();
            }
        }
    }

    /// Adds to the batch for `to`; it leaves with [`Links::flush`].
    pub(crate) fn send(&mut self, to: ReactorId, message: T) {
        debug_assert_ne!(to.0, self.me, "no peer sends to itself");
        let outgoing = &mut self.outgoing[usize::from(to.0)];
        if outgoing.batch.iter().all(Batch::is_empty) {
            self.collecting.push(to.0);
        }
        let (lane, bytes) = (message.lane() as usize, message.bytes());
        self.batched[lane] += 1;
        self.batched_bytes += bytes;
        outgoing.batch[lane].push(message, bytes);
    }

    /// Ends the loop iteration: what was batched, and what was left from before, goes into the rings, and
    /// receivers that sleep are woken.
    pub(crate) fn flush(&mut self) {
        self.batched = [0; LANES];
        self.batched_bytes = 0;
        if self.spilled > 0 || !self.collecting.is_empty() {
            self.flush_all();
        }
    }

    /// Apart from the check whether there is anything, which each loop iteration makes.
    #[inline(never)]
    fn flush_all(&mut self) {
        if self.spilled > 0 {
            for to in 0..self.outgoing.len() {
                if self.outgoing[to]
                    .spill
                    .iter()
                    .any(|spill| !spill.is_empty())
                {
                    self.flush_to(peer_id(to).0);
                }
            }
        }
        while let Some(to) = self.collecting.pop() {
            let outgoing = &mut self.outgoing[usize::from(to)];
            for lane in 0..LANES {
                if outgoing.batch[lane].is_empty() {
                    continue;
                }
                let next = Batch::in_memory(self.spare.pop().unwrap_or_default());
                let batch = std::mem::replace(&mut outgoing.batch[lane], next);
                outgoing.spill[lane].push_back(batch);
                self.spilled += 1;
            }
            self.flush_to(to);
        }
    }

    /// Moves what is spilled for `to` into its rings, as far as they take it. What a peer that has ended
    /// leaves no room for is dropped: it would wait for ever, and its sender with it.
    fn flush_to(&mut self, to: u8) {
        let inbox = &self.mesh.boxes[usize::from(to)];
        let outgoing = &mut self.outgoing[usize::from(to)];
        let mut put = false;
        for lane in [Lane::Plain, Lane::Publish] {
            let spill = &mut outgoing.spill[lane as usize];
            if spill.is_empty() {
                continue;
            }
            let ring = inbox.ring_from(self.me, lane, &mut outgoing.ring[lane as usize]);
            while let Some(batch) = spill.pop_front() {
                match ring.push(batch) {
                    Ok(()) => {
                        self.spilled -= 1;
                        self.batches_sent += 1;
                        put = true;
                    }
                    Err(_) if inbox.has_ended.load(Ordering::Acquire) => {
                        self.spilled -= 1 + spill.len();
                        spill.clear();
                    }
                    Err(batch) => {
                        spill.push_front(batch);
                        break;
                    }
                }
            }
        }
        if put {
            self.notify(to);
        }
    }

    /// Says that a ring of `to` has something, and wakes it if it sleeps.
    fn notify(&mut self, to: u8) {
        let inbox = &self.mesh.boxes[usize::from(to)];
        if inbox.wake_flag.notify(self.me) {
            self.wakes += 1;
            inbox
                .waker
                .get()
                .expect("set before a reactor first sleeps")
                .wake();
        }
    }

    /// Puts one message into its ring at once, in a batch of its own. Returns it if the ring has no
    /// room: nothing is kept to be tried again. For a peer to which nothing else is sent, since it
    /// passes what [`Links::send`] has batched.
    pub(crate) fn try_send(&mut self, to: ReactorId, message: T) -> Result<(), T> {
        debug_assert_ne!(to.0, self.me, "no peer sends to itself");
        let inbox = &self.mesh.boxes[usize::from(to.0)];
        let (lane, bytes) = (message.lane(), message.bytes());
        let made = &mut self.outgoing[usize::from(to.0)].ring[lane as usize];
        let batch = Batch::of(message, bytes);
        match inbox.ring_from(self.me, lane, made).push(batch) {
            Ok(()) => {
                self.batches_sent += 1;
                self.notify(to.0);
                Ok(())
            }
            Err(batch) => Err(batch.into_messages().pop().expect("a batch of one")),
        }
    }

    /// The next batch that has come. The publish lane only `with_publishes`.
    #[inline(always)] // a call in each loop iteration: +20 instructions
    pub(crate) fn next_batch(&mut self, with_publishes: bool) -> Option<(ReactorId, Vec<T>)> {
        self.poll_inbox();
        match self.has_unread {
            true => self.next_unread(with_publishes),
            false => None,
        }
    }

    #[inline(never)]
    fn next_unread(&mut self, with_publishes: bool) -> Option<(ReactorId, Vec<T>)> {
        let lanes = if with_publishes { LANES } else { 1 };
        for lane in 0..lanes {
            // Round robin, so that no peer waits for ever behind one that always has messages.
            while let Some(from) = first_from(&self.unread[lane], self.next_sender[lane]) {
                let ring = self.incoming[from][lane].as_mut();
                if let Some(batch) = ring.and_then(RingReceiver::pop) {
                    self.next_sender[lane] = (from + 1) % SENDERS_MAX;
                    return Some((peer_id(from), batch));
                }
                self.unread[lane][from / 64] &= !(1 << (from % 64));
            }
        }
        self.has_unread = self.unread[lanes..].iter().flatten().any(|&word| word != 0);
        None
    }

    /// Whether something has come that was not read.
    pub(crate) fn has_unread(&mut self) -> bool {
        self.poll_inbox();
        self.has_unread && self.unread.iter().flatten().any(|&word| word != 0)
    }

    /// Takes back what [`Links::next_batch`] gave, empty by now.
    pub(crate) fn recycle(&mut self, messages: Vec<T>) {
        debug_assert!(messages.is_empty(), "it has been read");
        if self.spare.len() < SPARE_MAX && messages.capacity() <= SPARE_MESSAGES_MAX {
            self.spare.push(messages);
        }
    }

    /// Notes which peers have notified.
    #[inline(always)] // a call in each loop iteration: +17 instructions
    fn poll_inbox(&mut self) {
        let inbox = &self.mesh.boxes[usize::from(self.me)];
        let Some(pending) = inbox.wake_flag.take() else {
            return;
        };
        if inbox.has_new_rings.swap(false, Ordering::Acquire) {
            let mut rings = inbox
                .new_rings
                .lock()
                .expect("no holder of the lock panics");
            for (from, lane, ring) in rings.drain(..) {
                self.incoming[usize::from(from)][lane as usize] = Some(ring);
            }
        }
        self.has_unread = true;
        for lane in &mut self.unread {
            for (word, pending) in lane.iter_mut().zip(pending) {
                *word |= pending;
            }
        }
    }

    /// Says whether the reactor may sleep: no message that it could read has come. If so, the next
    /// peer that writes wakes it.
    #[inline(always)] // a call in each loop iteration
    pub(crate) fn try_park(&mut self, with_publishes: bool) -> bool {
        let lanes = if with_publishes { LANES } else { 1 };
        let mut unread = self.unread[..lanes].iter().flatten();
        if self.has_unread && unread.any(|&word| word != 0) {
            return false;
        }
        self.mesh.boxes[usize::from(self.me)].wake_flag.try_park()
    }

    /// Ends what [`Links::try_park`] began.
    pub(crate) fn unpark(&self) {
        self.mesh.boxes[usize::from(self.me)].wake_flag.unpark();
    }

    /// Drops memory that is only kept for the next batches; returns the bytes.
    pub(crate) fn shrink(&mut self) -> usize {
        let messages: usize = self.spare.iter().map(Vec::capacity).sum();
        self.spare = Vec::new();
        let spills = self.outgoing.iter_mut().flat_map(|to| &mut to.spill);
        messages * size_of::<T>() + spills.map(drop_empty_queue).sum::<usize>()
    }

    /// Batches that wait because a ring is full. While there are any, the caller reads from no
    /// publisher and calls [`Links::flush`] again soon.
    pub(crate) fn spilled(&self) -> usize {
        self.spilled
    }

    /// Whether so much was batched that it should be flushed before more is: a ring is bounded in
    /// batches, so batches have to be.
    pub(crate) fn at_batch_limit(&self, lane: Lane) -> bool {
        self.batched[lane as usize] >= BATCHED_MAX[lane as usize]
            || self.batched_bytes >= BATCHED_BYTES_MAX
    }
}

impl<T> Drop for Links<T> {
    fn drop(&mut self) {
        let inbox = &self.mesh.boxes[usize::from(self.me)];
        inbox.has_ended.store(true, Ordering::Release);
    }
}

/// The peer of this number.
fn peer_id(number: usize) -> ReactorId {
    ReactorId(u8::try_from(number).expect("at most SENDERS_MAX peers"))
}

/// Emptied batches kept for the next.
const SPARE_MAX: usize = 32;
/// Messages that one may have room for; larger ones are rare.
const SPARE_MESSAGES_MAX: usize = 256;

/// Messages batched in a loop iteration, after which nothing is read that might make more. Fewer in the lane
/// of publishes: so many are under way before the first word of a congestion can come back.
const BATCHED_MAX: [usize; LANES] = [4096, 256];
/// Bytes of them, after which the same is done.
const BATCHED_BYTES_MAX: usize = 256 << 10;
/// Bytes of messages that may be under way from one reactor to another, beside one message of the
/// greatest length for each of the two lanes.
pub const LINK_BYTES_MAX: usize = LANES * (RING_BYTES_MAX + BATCHED_BYTES_MAX);

/// The first sender that `unread` names, from `start` on and round to it.
fn first_from(unread: &[u64; SENDERS_MAX / 64], start: usize) -> Option<usize> {
    let words = unread.len();
    let from_start = !0 << (start % 64);
    (0..=words).find_map(|step| {
        let word = (start / 64 + step) % words;
        let bits = match step {
            0 => unread[word] & from_start,
            step if step == words => unread[word] & !from_start,
            _ => unread[word],
        };
        (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_net::Driver;
    use roost_net::sim::{SimFaults, SimNet, SimOptions};

    use crate::channels::ring::RING_BATCHES;

    struct Note(u32, Lane);
    impl LinkMessage for Note {
        fn lane(&self) -> Lane {
            self.1
        }

        fn bytes(&self) -> usize {
            self.0 as usize
        }
    }

    fn peers(n: u8) -> Vec<Links<Note>> {
        let net = SimNet::new(1, SimFaults::none());
        let mesh = Arc::new(Mesh::new(usize::from(n)));
        let waker = || net.driver(SimOptions::default()).waker();
        (0..n)
            .map(|me| Links::new(me, mesh.clone(), waker()))
            .collect()
    }

    fn read_all(links: &mut Links<Note>, with_publishes: bool) -> Vec<(u8, u32)> {
        let mut read = Vec::new();
        while let Some((from, batch)) = links.next_batch(with_publishes) {
            read.extend(batch.iter().map(|note| (from.0, note.0)));
        }
        read
    }

    #[test]
    fn full_rings_keep_order_and_lose_nothing() {
        let mut peers = peers(3);
        let sent = RING_BATCHES as u32 * 3;
        for n in 0..sent {
            peers[0].send(ReactorId(2), Note(n, Lane::Plain));
            peers[0].flush();
        }
        assert_eq!(peers[0].spilled(), RING_BATCHES * 2);
        let mut read = Vec::new();
        while read.len() < sent as usize {
            let got = read_all(&mut peers[2], false);
            assert!(!got.is_empty(), "messages stand still");
            read.extend(got);
            peers[0].flush();
        }
        assert_eq!(read, (0..sent).map(|n| (0, n)).collect::<Vec<_>>());
        assert_eq!(peers[0].spilled(), 0);
    }

    #[test]
    fn a_ring_is_full_of_bytes_too() {
        let mut peers = peers(2);
        let large = RING_BYTES_MAX as u32;
        for n in [large / 2, 1, 2 * large, 2, 3] {
            peers[0].send(ReactorId(1), Note(n, Lane::Plain));
            assert_eq!(peers[0].at_batch_limit(Lane::Publish), n > 100);
            peers[0].flush();
            assert!(!peers[0].at_batch_limit(Lane::Publish), "it has left");
        }
        assert_eq!(peers[0].spilled(), 2, "behind the one that is too long");
        let first = [large / 2, 1, 2 * large].map(|n| (0, n));
        assert_eq!(read_all(&mut peers[1], false), first);
        peers[0].flush();
        assert_eq!(read_all(&mut peers[1], false), [(0, 2), (0, 3)]);
        assert_eq!(peers[0].spilled(), 0);
    }

    #[test]
    fn what_is_for_a_peer_that_has_ended_waits_for_no_room() {
        let mut peers = peers(3);
        let ended = peers.pop().expect("three");
        for n in 0..2 * RING_BATCHES as u32 {
            for lane in [Lane::Plain, Lane::Publish] {
                peers[0].send(ReactorId(2), Note(n, lane));
            }
            peers[0].flush();
        }
        assert_eq!(peers[0].spilled(), 2 * RING_BATCHES, "it may read yet");
        drop(ended);
        peers[0].send(ReactorId(1), Note(1, Lane::Plain));
        peers[0].flush();
        assert_eq!(peers[0].spilled(), 0);
        peers[0].send(ReactorId(2), Note(2, Lane::Plain));
        peers[0].flush();
        assert_eq!(peers[0].spilled(), 0);
        assert_eq!(read_all(&mut peers[1], true), [(0, 1)]);
    }

    #[test]
    fn a_batch_that_was_read_is_used_again() {
        let mut peers = peers(2);
        for large in [false, true] {
            let notes = if large { SPARE_MESSAGES_MAX + 1 } else { 1 };
            (0..notes).for_each(|_| peers[0].send(ReactorId(1), Note(1, Lane::Plain)));
            peers[0].flush();
            let (_, mut messages) = peers[1].next_batch(true).expect("sent");
            messages.clear();
            let at = messages.as_ptr();
            peers[1].recycle(messages);
            // The first fills the batch that was begun, the second the one that was read.
            for _ in 0..2 {
                peers[1].send(ReactorId(0), Note(2, Lane::Plain));
                peers[1].flush();
            }
            let (_, first) = peers[0].next_batch(true).expect("sent");
            let (_, second) = peers[0].next_batch(true).expect("sent");
            assert_eq!([first, second].iter().any(|m| m.as_ptr() == at), !large);
        }
        assert!(peers[1].spare.is_empty(), "one is in use, one too large");
    }

    #[test]
    fn publishes_wait_while_the_lane_is_closed() {
        let mut peers = peers(2);
        peers[0].send(ReactorId(1), Note(1, Lane::Publish));
        peers[0].send(ReactorId(1), Note(2, Lane::Plain));
        peers[0].flush();
        assert_eq!(read_all(&mut peers[1], false), [(0, 2)]);
        assert!(
            peers[1].try_park(false),
            "only what may not be read is there"
        );
        peers[1].unpark();
        assert!(!peers[1].try_park(true));
        assert_eq!(read_all(&mut peers[1], true), [(0, 1)]);
    }

    #[test]
    fn only_a_sleeper_is_woken() {
        let mut peers = peers(2);
        peers[0].send(ReactorId(1), Note(1, Lane::Plain));
        peers[0].flush();
        assert_eq!(peers[0].wakes, 0, "an awake reactor needs no wake");
        assert!(!peers[1].try_park(true), "there is messages");
        read_all(&mut peers[1], true);
        assert!(peers[1].try_park(true));
        for n in 0..2 {
            peers[0].send(ReactorId(1), Note(n, Lane::Plain));
            peers[0].flush();
        }
        assert_eq!(peers[0].wakes, 1, "the second finds it woken already");
    }

    #[test]
    fn a_full_ring_returns_what_is_tried() {
        let mut peers = peers(2);
        let mut tried = 0;
        while peers[0]
            .try_send(ReactorId(1), Note(tried, Lane::Plain))
            .is_ok()
        {
            tried += 1;
        }
        assert_eq!(tried, RING_BATCHES as u32);
        assert_eq!(peers[0].spilled(), 0, "nothing is kept");
        let refused = peers[0].try_send(ReactorId(1), Note(99, Lane::Plain));
        assert_eq!(refused.map_err(|note| note.0), Err(99));
        let read = read_all(&mut peers[1], true);
        assert_eq!(read, (0..tried).map(|n| (0, n)).collect::<Vec<_>>());
        assert!(
            peers[0]
                .try_send(ReactorId(1), Note(1, Lane::Plain))
                .is_ok()
        );
    }

    #[test]
    fn senders_have_turns() {
        let mut peers = peers(3);
        for n in 0..3 {
            for sender in &mut peers[..2] {
                sender.send(ReactorId(2), Note(n, Lane::Plain));
                sender.flush();
            }
        }
        let read = read_all(&mut peers[2], true);
        assert_eq!(read, [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]);
    }

    #[test]
    fn turns_go_round() {
        let mut unread = [0; SENDERS_MAX / 64];
        assert_eq!(first_from(&unread, 70), None);
        unread[1] = 1 << 3 | 1 << 9;
        unread[3] = 1;
        assert_eq!(first_from(&unread, 0), Some(67));
        assert_eq!(first_from(&unread, 67), Some(67));
        assert_eq!(first_from(&unread, 68), Some(73));
        assert_eq!(first_from(&unread, 74), Some(192));
        assert_eq!(first_from(&unread, 193), Some(67));
        unread = [0; SENDERS_MAX / 64];
        unread[1] = 1 << 3;
        assert_eq!(first_from(&unread, 68), Some(67), "all the way round");
    }
}
