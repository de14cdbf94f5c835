//! The journal of events: what has happened to connections and channels, told to an application in
//! numbered batches.
//!
//! What happens comes by [`Journal::push`], [`Journal::occupied`], [`Journal::vacated`] and
//! [`Journal::lost`]; the batch to send comes from [`Journal::poll`], and what became of it goes to
//! [`Journal::ended`]. One batch is under way at a time, and it is sent again, byte for byte, until it is
//! taken: the application gets every event at least once and in order. Numbers have no holes. What finds
//! no room is counted, and the count is an event of its own.
//!
//! An application of Pusher's is told the same in the words of Pusher's webhooks, which have no numbers.

use std::collections::VecDeque;
use std::sync::Arc;

mod event;
mod linger;
mod pusher;

use event::{Batch, Numbered};
pub use event::{ClientSaid, JournalEvent};
use linger::{Linger, Vacated};
pub use pusher::WebhookValues;

/// What a journal obeys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRules {
    /// Events in one batch.
    pub batch_max: usize,
    /// How long an event waits for others to come with it.
    pub batch_wait_ms: u64,
    /// Events that wait to be taken, those under way included.
    pub queue_max: usize,
    /// How long a channel has to be without subscribers until that is told; one that has some again by
    /// then was never without. 0: at once.
    pub linger_ms: u64,
    /// Whether it is told that a channel has its first subscriber.
    pub tells_occupied: bool,
    /// Whether it is told that it has lost its last.
    pub tells_vacated: bool,
    /// The same of a user's first connection in a channel, and its last.
    pub tells_joined: bool,
    /// See [`JournalRules::tells_joined`].
    pub tells_left: bool,
}

/// In which words an application is told.
#[derive(Debug)]
enum Voice {
    /// As `docs/events.md` has it.
    Own { node: Box<str>, epoch: Box<str> },
    /// As Pusher's webhooks: without numbers, without a word of the node, or of what is lost.
    Pusher(WebhookValues),
}

/// A batch to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The number of its first event, which names it.
    pub from: u64,
    /// The number of its last.
    pub to: u64,
    /// JSON. The same whenever it is sent again.
    pub body: Arc<[u8]>,
}

/// What a journal has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalCounts {
    /// Events that have a number.
    pub events: u64,
    /// Of those, the ones that the application has taken.
    pub delivered: u64,
    /// Events that found no room in the queue.
    pub lost: u64,
    /// Times that a batch was sent.
    pub batches: u64,
    /// Of those, the ones in vain.
    pub failed: u64,
}

/// What is to be told to one application.
#[derive(Debug)]
pub struct Journal {
    rules: JournalRules,
    voice: Voice,
    /// Those that the application has not taken, in order.
    queue: VecDeque<Numbered>,
    /// Bytes of what clients have said among those.
    said_bytes: usize,
    /// The number of the next event.
    next_number: u64,
    flight: Option<Flight>,
    /// How long the last pause was before a batch was sent again.
    pause_ms: u64,
    /// Not told yet: how many found no room, and when the last did.
    untold: u64,
    untold_at_ms: u64,
    linger: Linger,
    /// Nothing waits for anything else any more.
    is_ending: bool,
    counts: JournalCounts,
}

/// A batch that was made.
#[derive(Debug)]
struct Flight {
    batch: Outgoing,
    events: usize,
    /// `None` while it is being sent.
    again_at_ms: Option<u64>,
}

impl Journal {
    /// Begins with `node_started`. `node` names the process's place among others, `epoch` this run of it;
    /// numbers count within that. `unix_ms` is the time in milliseconds since 1970.
    pub fn new(
        rules: JournalRules,
        node: &str,
        epoch: &str,
        (now_ms, unix_ms): (u64, u64),
    ) -> Journal {
        let voice = Voice::Own {
            node: node.into(),
            epoch: epoch.into(),
        };
        let mut journal = Journal::speaking(rules, voice);
        let mut started = JournalEvent::new("node_started", unix_ms);
        started.epoch = Some(epoch.into());
        journal.enqueue(started, now_ms);
        journal
    }

    /// One that tells in the words of Pusher's webhooks.
    pub fn for_pusher(rules: JournalRules, values: WebhookValues) -> Journal {
        Journal::speaking(rules, Voice::Pusher(values))
    }

    fn speaking(rules: JournalRules, voice: Voice) -> Journal {
        Journal {
            rules,
            voice,
            queue: VecDeque::new(),
            said_bytes: 0,
            next_number: 1,
            flight: None,
            pause_ms: 0,
            untold: 0,
            untold_at_ms: 0,
            linger: Linger::default(),
            is_ending: false,
            counts: JournalCounts::default(),
        }
    }

    /// Something has happened to a connection or a subscription.
    pub fn push(&mut self, event: JournalEvent, now_ms: u64) {
        self.tell_untold(now_ms);
        let said_bytes = self.said_bytes + event.said_bytes();
        let is_full = self.queue.len() >= self.rules.queue_max || said_bytes > SAID_BYTES_MAX;
        if self.untold > 0 || is_full {
            return self.drop_some(1, event.time_ms);
        }
        self.enqueue(event, now_ms);
    }

    /// A channel has its first subscriber.
    pub fn occupied(&mut self, channel: &str, time_ms: u64, now_ms: u64) {
        self.begun(channel, false, time_ms, now_ms);
    }

    /// A channel has lost its last subscriber.
    pub fn vacated(&mut self, channel: &str, time_ms: u64, now_ms: u64) {
        self.ended_of(channel, false, time_ms, now_ms);
    }

    /// A user, and whether the application has named it by a number, has its first connection in a channel.
    pub fn joined(
        &mut self,
        channel: &str,
        (user, has_number): (&str, bool),
        time_ms: u64,
        now_ms: u64,
    ) {
        self.begun(&place_of(channel, user), has_number, time_ms, now_ms);
    }

    /// A user has no connection in a channel any more.
    pub fn left(
        &mut self,
        channel: &str,
        (user, has_number): (&str, bool),
        time_ms: u64,
        now_ms: u64,
    ) {
        self.ended_of(&place_of(channel, user), has_number, time_ms, now_ms);
    }

    /// What may linger is there: a channel's subscribers, or a user in a channel.
    fn begun(&mut self, place: &str, has_number: bool, time_ms: u64, now_ms: u64) {
        if !self.linger.cancel(place) {
            self.tell(place, (true, has_number), time_ms, now_ms);
        }
    }

    /// It is there no longer.
    fn ended_of(&mut self, place: &str, has_number: bool, time_ms: u64, now_ms: u64) {
        let vacated = Vacated {
            due_ms: now_ms.saturating_add(self.rules.linger_ms),
            time_ms,
            has_number,
        };
        let lingers = self.rules.linger_ms > 0 && !self.is_ending;
        if !lingers || self.linger.len() >= self.rules.queue_max {
            return self.tell(place, (false, has_number), time_ms, now_ms);
        }
        self.linger.begin(place, vacated);
    }

    /// So many events never came this far.
    pub fn lost(&mut self, count: u64, time_ms: u64, now_ms: u64) {
        self.drop_some(count, time_ms);
        self.tell_untold(now_ms);
    }

    /// The batch to send now. `None` until [`Journal::wake_at`], an event, or the end of the one under way.
    pub fn poll(&mut self, now_ms: u64) -> Option<Outgoing> {
        self.expire(now_ms);
        self.tell_untold(now_ms);
        if let Some(flight) = &mut self.flight {
            let is_due = flight.again_at_ms.is_some_and(|at| at <= now_ms);
            if !is_due {
                return None;
            }
            flight.again_at_ms = None;
            self.counts.batches += 1;
            return Some(flight.batch.clone());
        }
        let is_due = self.batch_due().is_some_and(|at| at <= now_ms);
        is_due.then(|| self.begin_batch())
    }

    /// What became of the batch under way: whether the application has taken it.
    pub fn ended(&mut self, is_taken: bool, now_ms: u64) {
        let Some(flight) = &mut self.flight else {
            return;
        };
        if flight.again_at_ms.is_some() {
            return; // it is not under way
        }
        if is_taken {
            let taken = self.queue.drain(..flight.events);
            let said_bytes: usize = taken.map(|one| one.event.said_bytes()).sum();
            self.said_bytes -= said_bytes;
            self.counts.delivered += flight.events as u64;
            self.pause_ms = 0;
            self.flight = None;
            return;
        }
        self.counts.failed += 1;
        let doubled = (2 * self.pause_ms).clamp(PAUSE_MIN_MS, PAUSE_MAX_MS);
        self.pause_ms = doubled;
        flight.again_at_ms = Some(now_ms.saturating_add(doubled));
    }

    /// When [`Journal::poll`] has something to do without anything happening.
    pub fn wake_at(&self) -> Option<u64> {
        let batch = match &self.flight {
            Some(flight) => flight.again_at_ms,
            None => self.batch_due(),
        };
        batch.into_iter().chain(self.linger.due()).min()
    }

    /// The process ends: channels without subscribers are told at once, and behind all that came stands
    /// `node_stopped`. What is left is sent without waiting for more.
    pub fn end(&mut self, now_ms: u64, unix_ms: u64) {
        if self.is_ending {
            return;
        }
        self.is_ending = true;
        while let Some((place, vacated)) = self.linger.pop() {
            self.tell_ended(&place, vacated, now_ms);
        }
        self.tell_all_untold(now_ms);
        if matches!(self.voice, Voice::Own { .. }) {
            self.enqueue(JournalEvent::new("node_stopped", unix_ms), now_ms);
        }
        // The last chance: it is not put off to when the process is gone.
        if let Some(flight) = &mut self.flight
            && let Some(at) = &mut flight.again_at_ms
        {
            *at = now_ms.min(*at);
        }
        self.pause_ms = 0;
    }

    /// Whether the application has taken all that there was.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.untold == 0 && self.linger.is_empty()
    }

    /// Which run of the process it is; empty where that is not told.
    pub fn epoch(&self) -> &str {
        match &self.voice {
            Voice::Own { epoch, .. } => epoch,
            Voice::Pusher(_) => "",
        }
    }

    /// Events that wait to be taken.
    pub fn depth(&self) -> usize {
        self.queue.len()
    }

    /// What was done so far.
    pub fn counts(&self) -> JournalCounts {
        self.counts
    }

    /// When the first that waits has waited for others for long enough.
    fn batch_due(&self) -> Option<u64> {
        let first = self.queue.front()?;
        let is_full = self.is_ending || self.queue.len() >= self.rules.batch_max;
        let wait_ms = if is_full { 0 } else { self.rules.batch_wait_ms };
        Some(first.at_ms.saturating_add(wait_ms))
    }

    /// How many events the next batch has: of those with much in them, fewer.
    fn batch_len(&self) -> usize {
        let most = self.queue.len().min(self.rules.batch_max);
        if self.said_bytes <= BATCH_SAID_BYTES_MAX {
            return most;
        }
        let sums = self.queue.iter().take(most).scan(0, |sum, one| {
            *sum += one.event.said_bytes();
            Some(*sum)
        });
        let fitting = sums.take_while(|&sum| sum <= BATCH_SAID_BYTES_MAX);
        fitting.count().max(1)
    }

    fn begin_batch(&mut self) -> Outgoing {
        let events = self.batch_len();
        let first = self.queue.front().map_or(self.next_number, |one| one.n);
        let batch = Outgoing {
            from: first,
            to: first + events as u64 - 1,
            body: match &self.voice {
                Voice::Own { node, epoch } => {
                    Batch::body((node, epoch), self.queue.range(..events)).into()
                }
                Voice::Pusher(values) => pusher::body(self.queue.range(..events), *values).into(),
            },
        };
        self.flight = Some(Flight {
            batch: batch.clone(),
            events,
            again_at_ms: None,
        });
        self.counts.batches += 1;
        batch
    }

    fn expire(&mut self, now_ms: u64) {
        while let Some((place, vacated)) = self.linger.pop_due(now_ms) {
            self.tell_ended(&place, vacated, now_ms);
        }
    }

    fn tell_ended(&mut self, place: &str, vacated: Vacated, now_ms: u64) {
        let Vacated {
            due_ms: _,
            time_ms,
            has_number,
        } = vacated;
        self.tell(place, (false, has_number), time_ms, now_ms);
    }

    /// Tells of a channel, or of a user in one, if that is asked for.
    fn tell(
        &mut self,
        place: &str,
        (is_there, has_number): (bool, bool),
        time_ms: u64,
        now_ms: u64,
    ) {
        let (channel, user) = match place.split_once(BETWEEN) {
            Some((channel, user)) => (channel, Some(user)),
            None => (place, None),
        };
        let rules = &self.rules;
        let (kind, is_told) = match (user, is_there) {
            (None, true) => ("occupied", rules.tells_occupied),
            (None, false) => ("vacated", rules.tells_vacated),
            (Some(_), true) => ("user_joined", rules.tells_joined),
            (Some(_), false) => ("user_left", rules.tells_left),
        };
        if is_told {
            let event = JournalEvent {
                user: user.map(Into::into),
                has_number,
                ..JournalEvent::of_channel(kind, time_ms, channel)
            };
            self.push(event, now_ms);
        }
    }

    fn drop_some(&mut self, count: u64, time_ms: u64) {
        self.untold += count;
        self.untold_at_ms = time_ms;
        self.counts.lost += count;
    }

    /// Says how many are missing, before anything that came later: once there is room for both.
    fn tell_untold(&mut self, now_ms: u64) {
        if self.untold > 0 && self.queue.len() + 1 < self.rules.queue_max {
            self.tell_all_untold(now_ms);
        }
    }

    fn tell_all_untold(&mut self, now_ms: u64) {
        let count = std::mem::take(&mut self.untold);
        if count > 0 && matches!(self.voice, Voice::Own { .. }) {
            let mut lost = JournalEvent::new("lost", self.untold_at_ms);
            lost.count = Some(count);
            self.enqueue(lost, now_ms);
        }
    }

    fn enqueue(&mut self, event: JournalEvent, at_ms: u64) {
        let n = self.next_number;
        self.next_number += 1;
        self.counts.events += 1;
        self.said_bytes += event.said_bytes();
        self.queue.push_back(Numbered { n, at_ms, event });
    }
}

/// A user in a channel.
fn place_of(channel: &str, user: &str) -> String {
    format!("{channel}{BETWEEN}{user}")
}

/// Between a channel and a user in it: no channel has it in its name.
const BETWEEN: char = '\0';
/// Bytes of what clients have said that wait to be taken, beside what each event takes otherwise.
pub const SAID_BYTES_MAX: usize = 16 << 20;
/// The same in one batch, but for an event that has more by itself.
const BATCH_SAID_BYTES_MAX: usize = 1 << 20;
/// Before a batch is sent again. Doubled each time, up to [`PAUSE_MAX_MS`].
const PAUSE_MIN_MS: u64 = 250;
const PAUSE_MAX_MS: u64 = 30_000;
