//! Output that the kernel did not take yet.

mod state;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use roost_net::Chunk;

use crate::settings::{ChannelPolicy, SlowConsumer};

pub(crate) use state::OutboxState;

/// What waits behind the batch in flight of one connection: references, bounded in bytes.
///
/// Each namespace waits in a lane of its own, under its own limits and policy; what belongs to no
/// channel (answers, echoes, close frames) has a lane that no policy drops from. All lanes leave in
/// the order in which their messages came.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The connection's slot.
    owner: u32,
    lanes: Vec<Lane>,
    /// The place in the order that the next message gets.
    next: u64,
    bytes: usize,
    messages: usize,
    /// Messages dropped that the receiver has not been notified of.
    dropped: u64,
    /// Channels whose subscription ends with what was dropped. Nothing of them comes to wait behind that. Taken
    /// out in the flush.
    missed: Vec<u64>,
    /// Channels of which something was dropped, if that is to be told. Taken out in the flush.
    lost: Vec<u64>,
    tells_lost: bool,
    /// The newest pong owed. RFC 6455 §5.5.3: the answer to the last ping serves for those before.
    pong: Option<Chunk>,
}

/// What waits in one namespace.
#[derive(Debug)]
struct Lane {
    namespace: Option<u16>,
    queue: VecDeque<Waiting>,
    bytes: usize,
    /// Messages that have left by the front.
    left: u64,
    /// Policy `latest`: where each channel's message is, counted from the first that ever waited.
    newest: HashMap<u64, u64>,
    /// What may be dropped when all lanes together hold too much.
    droppable: Option<Droppable>,
    /// What of it ends a subscription.
    ending: Ending,
}

/// Which messages a receiver cannot be without: when one is dropped, its subscription to the channel ends. It
/// is then the newest that is dropped, so that what waits has no hole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// None.
    #[default]
    None,
    /// The last of a channel: what it replaces may be dropped.
    Newest,
    /// Any.
    Any,
}

/// From which end of a lane messages are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Droppable {
    Oldest,
    Newest,
}

#[derive(Debug)]
struct Waiting {
    chunk: Chunk,
    /// Place in the order of all lanes.
    place: u64,
    /// See [`Origin::channel`](super::output::Origin).
    channel: u64,
}

const _: () = assert!(size_of::<Waiting>() <= WAITING_BYTES);

/// What an outbox holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Bytes that wait.
    pub(crate) bytes: u64,
    /// The same, and what it takes to hold them.
    pub(crate) cost: u64,
}

impl Held {
    pub(crate) fn of(outbox: &Outbox) -> Held {
        let bytes = outbox.bytes as u64;
        // A queue may be half empty.
        let cost = bytes + queue_bytes(outbox.messages);
        Held { bytes, cost }
    }

    /// This sum, after a part of it has changed.
    pub(crate) fn replaced(self, before: Held, after: Held) -> Held {
        Held {
            bytes: self.bytes - before.bytes + after.bytes,
            cost: self.cost - before.cost + after.cost,
        }
    }

    /// What it takes to hold the bytes.
    pub(crate) fn queue_bytes(self) -> u64 {
        self.cost - self.bytes
    }
}

/// What it takes to hold so many messages.
pub(crate) fn queue_bytes(messages: usize) -> u64 {
    (messages * 2 * WAITING_BYTES) as u64
}

/// What became of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Older messages dropped for it.
    pub(crate) oldest: u64,
    /// Itself.
    pub(crate) newest: u64,
    /// The channel's message before it, which it replaces.
    pub(crate) replaced: u64,
}

/// The connection holds more than it may, and nothing in it may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Outbox {
    /// An empty one for the connection in this slot.
    pub(crate) fn of(owner: u32) -> Outbox {
        Outbox {
            owner,
            ..Outbox::default()
        }
    }

    /// So many messages for the connection were dropped.
    pub(crate) fn note_dropped(&mut self, messages: u64) {
        self.dropped += messages;
    }

    /// A message of this channel was dropped, without which its subscription ends.
    pub(crate) fn note_missed(&mut self, channel: u64) {
        if !self.missed.contains(&channel) {
            self.missed.push(channel);
        }
    }

    /// Whether it is to be told from now on of which channels something is dropped.
    pub(crate) fn note_lost_from_now(&mut self, tells_lost: bool) {
        self.tells_lost = tells_lost;
    }

    /// A message of this channel was dropped.
    pub(crate) fn note_lost(&mut self, channel: u64) {
        if self.tells_lost && self.lost.last() != Some(&channel) {
            self.lost.push(channel);
        }
    }

    /// Takes out the channels of which something was dropped; some may stand there more than once.
    pub(crate) fn take_lost(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.lost)
    }

    /// Takes out the channels whose subscription ends.
    pub(crate) fn take_missed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.missed)
    }

    /// Whether there are such channels.
    pub(crate) fn has_missed(&self) -> bool {
        !self.missed.is_empty()
    }

    /// How many were dropped since the last call.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// How many were dropped that the receiver has not been notified of.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The lanes in which something waits: their namespace, bytes and messages.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (Option<u16>, usize, usize)> {
        let lanes = self.lanes.iter().filter(|lane| !lane.queue.is_empty());
        lanes.map(|lane| (lane.namespace, lane.bytes, lane.queue.len()))
    }

    /// The connection's slot.
    pub(crate) fn owner(&self) -> u32 {
        self.owner
    }

    /// Queues a frame that belongs to no channel; never dropped. Small ones are joined: an answer of
    /// three bytes would take forty times its size to hold, and a peer may make one of seven bytes.
    pub(crate) fn push(&mut self, frame: Chunk) {
        let lane = self.lane(None);
        self.append(lane, 0, frame);
        while self.join_last_two(lane) {}
    }

    /// Queues a publication under its namespace's limits.
    ///
    /// One message always fits into an empty lane, whatever its header adds to the largest.
    ///
    /// # Errors
    /// [`Full`] when the policy is to close.
    pub(crate) fn push_published(
        &mut self,
        namespace: u16,
        (policy, ending): (&ChannelPolicy, Ending),
        channel: u64,
        frame: Chunk,
    ) -> Result<Dropped, Full> {
        let mut dropped = Dropped::default();
        if !self.missed.is_empty() && self.missed.contains(&channel) {
            dropped.newest = 1;
            self.note_lost(channel);
            return Ok(dropped);
        }
        let at = self.lane(Some(namespace));
        self.lanes[at].ending = ending;
        if policy.slow_consumer != SlowConsumer::Latest && !self.lanes[at].newest.is_empty() {
            self.lanes[at].newest = HashMap::new(); // a reload has changed the policy
        }
        self.lanes[at].droppable = match policy.slow_consumer {
            SlowConsumer::Close => None,
            SlowConsumer::DropNewest => Some(Droppable::Newest),
            _ if ending == Ending::Any => Some(Droppable::Newest),
            SlowConsumer::DropOldest | SlowConsumer::Latest => Some(Droppable::Oldest),
        };
        let waits = match policy.slow_consumer {
            SlowConsumer::Latest => self.lanes[at].index_of(channel),
            _ => None,
        };
        let drops_newest = self.lanes[at].droppable == Some(Droppable::Newest);
        let is_full = !self.lanes[at].has_room(frame.len(), policy);
        if drops_newest && (is_full || waits.is_some()) {
            dropped.newest = 1;
            self.note_lost(channel);
            if ending != Ending::None {
                self.note_missed(channel);
            }
            return Ok(dropped);
        } else if let Some(index) = waits {
            self.replace(at, index, frame);
            dropped.replaced = 1;
        } else {
            self.append(at, channel, frame);
            if policy.slow_consumer == SlowConsumer::Latest {
                let lane = &mut self.lanes[at];
                lane.newest
                    .insert(channel, lane.left + lane.queue.len() as u64 - 1);
            }
        }
        while self.lanes[at].holds_too_much(policy) {
            match policy.slow_consumer {
                SlowConsumer::Close | SlowConsumer::DropNewest => return Err(Full),
                SlowConsumer::DropOldest | SlowConsumer::Latest if ending == Ending::Any => {
                    self.drop_back(at);
                    dropped.newest += 1;
                }
                SlowConsumer::DropOldest | SlowConsumer::Latest => {
                    self.drop_front(at);
                    dropped.oldest += 1;
                }
            }
        }
        Ok(dropped)
    }

    /// Drops what may be dropped, from the lane that holds most, until all lanes together hold at
    /// most `bytes_max`. Tells the namespace of each message dropped, and which end it was of.
    ///
    /// # Errors
    /// [`Full`] when that is not enough.
    pub(crate) fn shrink_to(
        &mut self,
        bytes_max: usize,
        mut on_drop: impl FnMut(u16, Droppable),
    ) -> Result<(), Full> {
        while self.bytes > bytes_max && self.messages > 1 {
            let droppable = self.lanes.iter().enumerate().filter(|(_, lane)| {
                lane.droppable.is_some() && lane.namespace.is_some() && !lane.queue.is_empty()
            });
            let (at, _) = droppable.max_by_key(|(_, lane)| lane.bytes).ok_or(Full)?;
            let lane = &self.lanes[at];
            let (namespace, end) = (lane.namespace.zip(lane.droppable)).expect("chosen for both");
            match end {
                Droppable::Oldest => self.drop_front(at),
                Droppable::Newest => self.drop_back(at),
            }
            on_drop(namespace, end);
        }
        Ok(())
    }

    /// Owes a pong; true if it replaces one that was still owed.
    pub(crate) fn owe_pong(&mut self, pong: Chunk) -> bool {
        self.bytes += pong.len();
        match self.pong.replace(pong) {
            Some(old) => {
                self.bytes -= old.len();
                true
            }
            None => false,
        }
    }

    /// Takes the next batch: at most [`BATCH_CHUNKS_MAX`] frames and, beyond the first,
    /// [`BATCH_BYTES_MAX`] bytes.
    pub(crate) fn take_batch(&mut self, batch: &mut Vec<Chunk>) {
        batch.clear();
        if let Some(pong) = self.pong.take() {
            self.bytes -= pong.len();
            batch.push(pong);
        }
        let mut bytes: usize = batch.iter().map(Chunk::len).sum();
        while batch.len() < BATCH_CHUNKS_MAX
            && let Some((at, len)) = self.first()
            && (batch.is_empty() || bytes + len <= BATCH_BYTES_MAX)
        {
            bytes += len;
            batch.push(self.take_front(at));
        }
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        *self = Outbox::of(self.owner);
    }

    /// All that waits.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        let queued = self.lanes.iter().flat_map(|lane| &lane.queue);
        queued.map(|waiting| &waiting.chunk).chain(&self.pong)
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that wait; a pong is none.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages == 0 && self.pong.is_none()
    }

    /// The lane of a namespace, made if there is none.
    fn lane(&mut self, namespace: Option<u16>) -> usize {
        let found = self.lanes.iter().position(|l| l.namespace == namespace);
        found.unwrap_or_else(|| {
            self.lanes.push(Lane::new(namespace));
            self.lanes.len() - 1
        })
    }

    fn append(&mut self, at: usize, channel: u64, chunk: Chunk) {
        let place = self.next;
        self.next += 1;
        self.bytes += chunk.len();
        self.messages += 1;
        let lane = &mut self.lanes[at];
        lane.bytes += chunk.len();
        lane.queue.push_back(Waiting {
            chunk,
            place,
            channel,
        });
    }

    /// Joins the two newest messages of a lane if that is worth while: nothing of another lane is
    /// between them, and the older is no more than twice as long, so that few are left apart and a
    /// byte is copied a few times only. The newest is the newest of all lanes.
    fn join_last_two(&mut self, at: usize) -> bool {
        let queue = &mut self.lanes[at].queue;
        let Some(older) = queue.len().checked_sub(2) else {
            return false;
        };
        let (a, b) = (&queue[older], &queue[older + 1]);
        let joined = a.chunk.len() + b.chunk.len();
        let apart = a.place + 1 != b.place || a.chunk.len() > 2 * b.chunk.len();
        if apart || joined > JOINED_BYTES_MAX {
            return false;
        }
        let both = [a.chunk.as_slice(), b.chunk.as_slice()].concat();
        queue.pop_back();
        queue[older].chunk = Chunk::new(both.into());
        self.next -= 1;
        self.messages -= 1;
        true
    }

    /// Puts `chunk` in the place of an older message of its channel.
    fn replace(&mut self, at: usize, index: usize, chunk: Chunk) {
        let lane = &mut self.lanes[at];
        let old = std::mem::replace(&mut lane.queue[index].chunk, chunk);
        let new_bytes = lane.queue[index].chunk.len();
        lane.bytes = lane.bytes + new_bytes - old.len();
        self.bytes = self.bytes + new_bytes - old.len();
    }

    /// The lane whose front came first, and that message's length. There are few lanes.
    fn first(&self) -> Option<(usize, usize)> {
        let fronts = self.lanes.iter().enumerate();
        let fronts = fronts.filter_map(|(at, lane)| Some((at, lane.queue.front()?)));
        let (at, front) = fronts.min_by_key(|(_, front)| front.place)?;
        Some((at, front.chunk.len()))
    }

    /// Drops the newest of a lane.
    fn drop_back(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        let back = lane.queue.pop_back().expect("the caller has seen it");
        lane.bytes -= back.chunk.len();
        self.bytes -= back.chunk.len();
        self.messages -= 1;
        if !lane.newest.is_empty() {
            lane.newest.remove(&back.channel);
        }
        if lane.ending != Ending::None {
            self.note_missed(back.channel);
        }
        self.note_lost(back.channel);
    }

    /// Drops the oldest of a lane.
    fn drop_front(&mut self, at: usize) {
        let front = self.lanes[at].queue.front();
        let channel = front.expect("the caller has seen it").channel;
        self.take_front(at);
        self.note_lost(channel);
    }

    fn take_front(&mut self, at: usize) -> Chunk {
        let lane = &mut self.lanes[at];
        let front = lane.queue.pop_front().expect("the caller has seen it");
        lane.left += 1;
        lane.bytes -= front.chunk.len();
        if !lane.newest.is_empty() {
            lane.newest.remove(&front.channel);
        }
        self.bytes -= front.chunk.len();
        self.messages -= 1;
        front.chunk
    }
}

impl Lane {
    fn new(namespace: Option<u16>) -> Lane {
        Lane {
            namespace,
            queue: VecDeque::new(),
            bytes: 0,
            left: 0,
            newest: HashMap::new(),
            droppable: None,
            ending: Ending::None,
        }
    }

    /// Where a channel's message waits, under policy `latest`.
    fn index_of(&self, channel: u64) -> Option<usize> {
        let place = self.newest.get(&channel)?;
        usize::try_from(place - self.left).ok()
    }

    fn has_room(&self, bytes: usize, policy: &ChannelPolicy) -> bool {
        self.queue.is_empty()
            || self.bytes + bytes <= policy.outbox_bytes_max
                && self.queue.len() < messages_max(policy)
    }

    fn holds_too_much(&self, policy: &ChannelPolicy) -> bool {
        self.queue.len() > 1
            && (self.bytes > policy.outbox_bytes_max || self.queue.len() > messages_max(policy))
    }
}

/// Most frames in one batch; well below the kernel's IOV_MAX of 1,024.
pub(crate) const BATCH_CHUNKS_MAX: usize = 64;
/// Most bytes in one batch, so that a policy can still act on what is behind it.
pub(crate) const BATCH_BYTES_MAX: usize = 256 << 10;
/// Most bytes of small messages joined. What it takes to hold them is then little beside them.
const JOINED_BYTES_MAX: usize = 1 << 10;
/// What it takes to hold one message in a lane.
const WAITING_BYTES: usize = 40;

/// Most messages that may wait for one subscriber in a namespace.
fn messages_max(policy: &ChannelPolicy) -> usize {
    match policy.outbox_messages_max {
        0 => usize::MAX,
        max => max as usize,
    }
}
