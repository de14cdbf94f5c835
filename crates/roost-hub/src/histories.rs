//! The histories of the channels whose home is here, within their limits.
//!
//! A history is a ring of publications without their offsets: those count without a gap up to the
//! channel's own, so the place in the ring says them. Histories stand in a list for each namespace, by
//! when they were touched last (published to, or left by the last subscriber): the first of a list is
//! the first to expire, and the oldest of the firsts goes when all together hold too much. One that
//! holds nothing, of a channel that has subscribers, stands in no list.

mod retained;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::encoding::Encoding;
use crate::history::{
    HistoryLimits, HistoryNamespace, HistoryOptions, Loss, Payload, Retained, Since, Tail,
};
use crate::ids::{HomeIndex, NamespaceId, Position};
use crate::state::HistoryState;
use crate::table::Table;

/// A history in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HistoryIndex(pub(crate) u32);

impl HistoryIndex {
    const NONE: HistoryIndex = HistoryIndex(u32::MAX);
}

/// The publications that a channel keeps, oldest first.
pub(crate) type Entries<P> = VecDeque<Entry<P>>;

#[derive(Debug)]
pub(crate) struct Entry<P> {
    pub(crate) payload: P,
    /// The tick.
    published: u32,
}

/// A channel's history, to look at.
#[derive(Debug)]
pub struct HistoryView<'a, P> {
    /// Where the channel stands: the last publication at or before this is the newest kept.
    pub position: Position,
    pub(crate) entries: Option<(&'a Entries<P>, usize)>,
}

impl<'a, P> HistoryView<'a, P> {
    /// How many publications are kept.
    pub fn len(&self) -> usize {
        self.entries
            .map_or(0, |(entries, expired)| entries.len() - expired)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The offset of the oldest that is kept; behind the newest if none is.
    pub fn first(&self) -> u64 {
        self.position.offset + 1 - self.len() as u64
    }

    /// The publication at an offset, if it is kept.
    pub fn get(&self, offset: u64) -> Option<&'a P> {
        let (entries, expired) = self.entries?;
        let at = offset.checked_sub(self.first())?;
        let at = usize::try_from(at).ok()?;
        Some(&entries.get(at + expired)?.payload)
    }

    /// The tick in which the newest was published, if one is kept.
    pub fn newest_published(&self) -> Option<u32> {
        let (entries, expired) = self.entries?;
        let newest = entries.back().filter(|_| entries.len() > expired)?;
        Some(newest.published)
    }
}

/// All histories of a home.
#[derive(Debug)]
pub(crate) struct Histories<P, F> {
    options: HistoryOptions,
    table: Table<History<P>>,
    /// By namespace.
    lists: Box<[List]>,
    messages: usize,
    /// What those in lists hold, and all their entries.
    bytes: u64,
    evicted: u64,
    /// What was encoded in the tick `tails_of`: clients that lost their network together come back
    /// together.
    tails: Vec<CachedTail<F>>,
    tails_of: u32,
}

#[derive(Debug)]
struct History<P> {
    home: HomeIndex,
    namespace: NamespaceId,
    is_listed: bool,
    entries: Entries<P>,
    /// Hardly any has one.
    retained: Option<Box<Retained<P>>>,
    /// Of the payloads, that which is retained included.
    bytes: u64,
    /// The tick of the last publication, or of the end of the last interest.
    touched: u32,
    older: HistoryIndex,
    newer: HistoryIndex,
}

/// The ends of a namespace's list.
#[derive(Debug, Clone, Copy)]
struct List {
    oldest: HistoryIndex,
    newest: HistoryIndex,
}

impl List {
    const EMPTY: List = List {
        oldest: HistoryIndex::NONE,
        newest: HistoryIndex::NONE,
    };
}

#[derive(Debug)]
struct CachedTail<F> {
    history: HistoryIndex,
    encoding: Encoding,
    /// The offset of the last.
    end: u64,
    /// Whether it is what is retained.
    is_retained: bool,
    frames: Arc<[F]>,
}

/// The part of a history that answers a subscription.
pub(crate) struct Wanted {
    history: HistoryIndex,
    len: usize,
    end: u64,
    bytes: u64,
}

impl<P, F> Histories<P, F> {
    pub(crate) fn new(options: HistoryOptions) -> Self {
        Histories {
            lists: vec![List::EMPTY; options.namespaces.len()].into(),
            options,
            table: Table::new(),
            messages: 0,
            bytes: 0,
            evicted: 0,
            tails: Vec::new(),
            tails_of: 0,
        }
    }

    /// Which channels keep history.
    pub(crate) fn options(&self) -> &HistoryOptions {
        &self.options
    }

    /// The history of a channel whose namespace keeps some: empty.
    pub(crate) fn insert(&mut self, home: HomeIndex, namespace: NamespaceId) -> HistoryIndex {
        HistoryIndex(self.table.insert(History {
            home,
            namespace,
            is_listed: false,
            entries: VecDeque::new(),
            retained: None,
            bytes: 0,
            touched: 0,
            older: HistoryIndex::NONE,
            newer: HistoryIndex::NONE,
        }))
    }

    /// The channel that a history is of.
    pub(crate) fn home_of(&self, index: HistoryIndex) -> HomeIndex {
        self.get(index).home
    }

    /// The last interest in the channel has ended: it is remembered for its lifetime.
    pub(crate) fn touch(&mut self, index: HistoryIndex, now: u32) {
        self.unlist(index);
        let list = usize::from(self.get(index).namespace.0);
        let older = self.lists[list].newest;
        // A hub that goes on where another was may not have been told the time yet.
        let now = match older {
            HistoryIndex::NONE => now,
            older => now.max(self.get(older).touched),
        };
        let history = self.get_mut(index);
        history.is_listed = true;
        history.touched = now;
        history.older = older;
        history.newer = HistoryIndex::NONE;
        match older {
            HistoryIndex::NONE => self.lists[list].oldest = index,
            older => self.get_mut(older).newer = index,
        }
        self.lists[list].newest = index;
        self.bytes += RECORD_BYTES;
    }

    /// Drops all that is kept.
    pub(crate) fn clear(&mut self, index: HistoryIndex) {
        self.unlist(index);
        let history = self.get_mut(index);
        let entries = std::mem::take(&mut history.entries);
        let retained = history.retained.take();
        let bytes = std::mem::take(&mut history.bytes);
        let kept = entries.len() + usize::from(retained.is_some());
        self.messages -= kept;
        self.bytes -= bytes + kept as u64 * Self::ENTRY_BYTES;
        self.tails.retain(|tail| tail.history != index);
    }

    /// The channel has gone, and its history, which is empty.
    pub(crate) fn remove(&mut self, index: HistoryIndex) {
        self.clear(index);
        let removed = self.table.remove(index.0);
        debug_assert!(removed.is_some(), "a history is removed once");
    }

    fn oldest(&self) -> impl Iterator<Item = HistoryIndex> {
        let firsts = self.lists.iter().map(|list| list.oldest);
        firsts.filter(|&first| first != HistoryIndex::NONE)
    }

    fn expires(&self, index: HistoryIndex) -> u32 {
        let touched = self.get(index).touched;
        touched.saturating_add(self.limits(index).lifetime)
    }

    /// The namespaces have these names now; those that are new keep what the first one keeps.
    pub(crate) fn name_namespaces(&mut self, names: &[String]) {
        let own = &self.options.namespaces;
        let (Some(first), true) = (own.first(), names.len() > own.len()) else {
            return; // nothing is kept, or there are no new ones
        };
        let added = names[own.len()..].iter().map(|name| HistoryNamespace {
            name: name.clone(),
            limits: first.limits,
        });
        self.options.namespaces = own.iter().cloned().chain(added).collect();
        let mut lists = std::mem::take(&mut self.lists).into_vec();
        lists.resize(names.len(), List::EMPTY);
        self.lists = lists.into();
    }

    fn limits(&self, index: HistoryIndex) -> HistoryLimits {
        let namespace = self.get(index).namespace;
        let limits = self.options.limits(namespace);
        limits.expect("only channels of such namespaces have a history")
    }

    /// Takes a history out of its list.
    fn unlist(&mut self, index: HistoryIndex) {
        let history = self.get_mut(index);
        if !std::mem::take(&mut history.is_listed) {
            return;
        }
        let (older, newer) = (history.older, history.newer);
        let list = usize::from(history.namespace.0);
        match older {
            HistoryIndex::NONE => self.lists[list].oldest = newer,
            older => self.get_mut(older).newer = newer,
        }
        match newer {
            HistoryIndex::NONE => self.lists[list].newest = older,
            newer => self.get_mut(newer).older = older,
        }
        self.bytes -= RECORD_BYTES;
    }

    fn get(&self, index: HistoryIndex) -> &History<P> {
        let history = self.table.get(index.0);
        history.expect("a channel's history is there as long as the channel")
    }

    fn get_mut(&mut self, index: HistoryIndex) -> &mut History<P> {
        let history = self.table.get_mut(index.0);
        history.expect("a channel's history is there as long as the channel")
    }

    /// What an entry costs beside its payload: its place in the ring, and the two counts before a
    /// payload that is shared.
    const ENTRY_BYTES: u64 = (size_of::<Entry<P>>() + 2 * size_of::<usize>()) as u64;
}

impl<P: Payload, F: Clone> Histories<P, F> {
    /// Keeps a publication, the channel's next.
    pub(crate) fn push(&mut self, index: HistoryIndex, payload: P, now: u32) {
        self.touch(index, now);
        let limits = self.limits(index);
        let history = self.get_mut(index);
        // At the limit the ring has room for as many as there may be, and for no more.
        let (len, capacity) = (history.entries.len(), history.entries.capacity());
        let messages_max = limits.messages_max as usize;
        if len == capacity && len < messages_max {
            let more = (len / 2).max(GROWTH_MIN).min(messages_max - len);
            history.entries.reserve_exact(more);
        } else if len >= messages_max {
            self.pop(index);
        }
        let bytes = payload.bytes() as u64;
        let entry = Entry {
            payload,
            published: now,
        };
        let history = self.get_mut(index);
        history.entries.push_back(entry);
        history.bytes += bytes;
        self.messages += 1;
        self.bytes += bytes + Self::ENTRY_BYTES;
        self.pop_expired(index, now);
        self.shorten(index, limits.bytes_max);
    }

    /// Drops the oldest of a ring as long as there are more bytes, and what is retained if nothing else is
    /// left.
    fn shorten(&mut self, index: HistoryIndex, bytes_max: u64) {
        while self.get(index).bytes > bytes_max {
            match self.get(index).entries.is_empty() {
                false => self.pop(index),
                true => self.release(index),
            }
        }
    }

    fn drop_old_tails(&mut self, now: u32) {
        if self.tails_of != now {
            self.tails.clear();
            self.tails_of = now;
        }
    }

    fn remember(&mut self, tail: CachedTail<F>) {
        if self.tails.len() >= TAILS_MAX {
            self.tails.remove(0);
        }
        self.tails.push(tail);
    }

    /// All together hold too much after a publication for `pushed`: the history that is to be forgotten.
    pub(crate) fn take_excess(&mut self, pushed: HistoryIndex) -> Option<HistoryIndex> {
        while self.bytes > self.options.bytes_max {
            self.tails.clear();
            let firsts = self.lists.iter().map(|list| list.oldest);
            let firsts = firsts.filter(|&first| first != HistoryIndex::NONE);
            let oldest = firsts.min_by_key(|&first| self.get(first).touched)?;
            if oldest != pushed {
                self.evicted += 1;
                return Some(oldest);
            }
            if !self.get(pushed).entries.is_empty() {
                self.pop(pushed);
            } else if self.get(pushed).retained.is_some() {
                self.release(pushed);
            } else {
                return None; // its record alone is more than all may hold
            }
        }
        None
    }

    /// The next history that has expired: nothing in it is kept any longer.
    pub(crate) fn next_expired(&self, now: u32) -> Option<HistoryIndex> {
        let is_over = |&index: &HistoryIndex| self.expires(index) <= now;
        self.oldest().find(is_over)
    }

    /// The tick at which the next expires.
    pub(crate) fn due(&self) -> u32 {
        let due = self.oldest().map(|index| self.expires(index)).min();
        let tails = match self.tails.is_empty() {
            true => u32::MAX,
            false => self.tails_of.saturating_add(1),
        };
        due.unwrap_or(u32::MAX).min(tails)
    }

    /// Drops what was encoded in earlier ticks.
    pub(crate) fn drop_tails(&mut self, now: u32) {
        if self.tails_of != now {
            self.tails = Vec::new();
        }
    }

    /// What a subscription that begins at `top` is to get.
    pub(crate) fn find(
        &mut self,
        index: HistoryIndex,
        top: Position,
        since: Since,
        now: u32,
    ) -> Result<Wanted, Loss> {
        self.pop_expired(index, now);
        let history = self.get(index);
        let kept = history.entries.len() as u64;
        let missing = match since {
            Since::Position(position) => missing(position, top)?,
            Since::Offset(offset) => missing(Position { offset, ..top }, top)?,
            Since::Latest(known) => u64::from(known != Some(top)),
            Since::Last(count) => kept.min(u64::from(count)),
            Since::Retained => 0, // it is not in the ring
        };
        if missing > kept {
            return Err(Loss::TooOld);
        }
        #[expect(clippy::cast_possible_truncation, reason = "no more than are kept")]
        let len = missing as usize;
        let limits = self.limits(index);
        // Before they are looked through: a short request makes no work for as many as there are.
        if len > 1
            && (missing > u64::from(limits.answer_messages_max)
                || missing.saturating_mul(BYTES_BESIDE) > limits.answer_bytes_max)
        {
            return Err(Loss::TooLarge);
        }
        let entries = history.entries.iter().rev().take(len);
        let bytes: u64 = entries.map(|entry| entry.payload.bytes() as u64).sum();
        if len > 1 && bytes + missing * BYTES_BESIDE > limits.answer_bytes_max {
            return Err(Loss::TooLarge);
        }
        Ok(Wanted {
            history: index,
            len,
            end: top.offset,
            bytes,
        })
    }

    /// Encodes it, if that was not done in this tick. Returns also how many bytes of payload that were.
    pub(crate) fn encode(
        &mut self,
        wanted: &Wanted,
        encoding: Encoding,
        now: u32,
        mut encode: impl FnMut(&P, u64) -> F,
    ) -> (Tail<F>, usize) {
        let Wanted {
            history,
            len,
            end,
            bytes,
        } = *wanted;
        self.drop_old_tails(now);
        let asked = (history, encoding, end, false);
        let found = self.tails.iter().position(|tail| tail.asked() == asked);
        if let Some(at) = found
            && self.tails[at].frames.len() >= len
        {
            return (Tail::new(self.tails[at].frames.clone(), len, end), 0);
        }
        let entries = &self.get(history).entries;
        let first = end + 1 - len as u64;
        let entries = (first..).zip(entries.iter().skip(entries.len() - len));
        let frames: Arc<[F]> = entries
            .map(|(offset, entry)| encode(&entry.payload, offset))
            .collect();
        if let Some(at) = found {
            self.tails[at].frames = frames.clone();
        } else {
            self.remember(CachedTail {
                history,
                encoding,
                end,
                is_retained: false,
                frames: frames.clone(),
            });
        }
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        (Tail::new(frames, len, end), bytes)
    }

    /// What a channel keeps that stands at `top`.
    pub(crate) fn view(&self, index: HistoryIndex, top: Position, now: u32) -> HistoryView<'_, P> {
        let history = self.get(index);
        let lifetime = self.limits(index).lifetime;
        let is_over = |entry: &&Entry<P>| entry.published.saturating_add(lifetime) <= now;
        let expired = history.entries.iter().take_while(is_over).count();
        HistoryView {
            position: top,
            entries: Some((&history.entries, expired)),
        }
    }

    pub(crate) fn channels(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// As the limit counts them.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Heap bytes without the payloads.
    pub(crate) fn memory_bytes(&self) -> usize {
        let histories = self.table.iter();
        let rings = histories.map(|(_, one)| one.entries.capacity() * size_of::<Entry<P>>());
        let tails = self.tails.capacity() * size_of::<CachedTail<F>>();
        rings.sum::<usize>() + self.table.memory_bytes() + tails
    }

    /// Takes all apart: those in lists in their order, then the others; and how many were evicted.
    pub(crate) fn into_state(mut self) -> (Vec<HistoryState<P>>, u64) {
        let mut order = Vec::new();
        for list in &self.lists {
            let mut next = list.oldest;
            while next != HistoryIndex::NONE {
                order.push(next.0);
                next = self.get(next).newer;
            }
        }
        let others = self.table.iter().filter(|(_, one)| !one.is_listed);
        order.extend(others.map(|(number, _)| number));
        let take = |number| {
            let History {
                home,
                namespace: _, // the channel's
                is_listed,
                entries,
                retained,
                bytes: _, // counted again
                touched,
                older: _, // their order says it
                newer: _,
            } = self.table.remove(number).expect("each is taken once");
            let entries = entries.into_iter().map(|entry| {
                let Entry { payload, published } = entry;
                (published, payload)
            });
            HistoryState {
                home,
                touched: is_listed.then_some(touched),
                entries: entries.collect(),
                retained: retained.map(|retained| *retained),
            }
        };
        let states = order.into_iter().map(take).collect();
        (states, self.evicted)
    }

    /// How many were evicted before.
    pub(crate) fn set_evicted(&mut self, evicted: u64) {
        self.evicted = evicted;
    }

    /// The history of a channel, of a state.
    pub(crate) fn insert_state(
        &mut self,
        namespace: NamespaceId,
        state: HistoryState<P>,
    ) -> HistoryIndex {
        let HistoryState {
            home,
            touched,
            entries,
            retained,
        } = state;
        let index = self.insert(home, namespace);
        if let Some(touched) = touched {
            self.touch(index, touched);
        }
        for (published, payload) in entries {
            let bytes = payload.bytes() as u64;
            let history = self.get_mut(index);
            history.bytes += bytes;
            history.entries.push_back(Entry { payload, published });
            self.messages += 1;
            self.bytes += bytes + Self::ENTRY_BYTES;
        }
        if let Some(retained) = retained {
            self.retain(index, retained);
        }
        index
    }

    pub(crate) fn check_invariants(&self) {
        let (mut messages, mut bytes, mut listed) = (0, 0, 0);
        for (_, history) in self.table.iter() {
            let retained = history.retained.iter().map(|one| &one.payload);
            let kept = history.entries.len() + usize::from(history.retained.is_some());
            messages += kept;
            let payloads = history.entries.iter().map(|entry| &entry.payload);
            let payloads = payloads.chain(retained);
            let payloads: u64 = payloads.map(|payload| payload.bytes() as u64).sum();
            assert_eq!(payloads, history.bytes, "bytes are counted");
            bytes += payloads + kept as u64 * Self::ENTRY_BYTES;
            bytes += if history.is_listed { RECORD_BYTES } else { 0 };
            listed += usize::from(history.is_listed);
            assert!(history.is_listed || kept == 0, "what is kept can expire");
            let ticks = history.entries.iter().map(|entry| entry.published);
            assert!(ticks.is_sorted(), "in the order of time");
        }
        assert_eq!((messages, bytes), (self.messages, self.bytes));
        let mut in_lists = 0;
        for list in &self.lists {
            let (mut next, mut older) = (list.oldest, HistoryIndex::NONE);
            let mut touched = 0;
            while next != HistoryIndex::NONE {
                let history = self.get(next);
                assert!(history.is_listed && history.older == older);
                assert!(history.touched >= touched, "a list is by time");
                touched = history.touched;
                (older, next) = (next, history.newer);
                in_lists += 1;
            }
            assert_eq!(list.newest, older);
        }
        assert_eq!(in_lists, listed);
    }

    fn pop_expired(&mut self, index: HistoryIndex, now: u32) {
        let lifetime = self.limits(index).lifetime;
        let is_over = |entry: &Entry<P>| entry.published.saturating_add(lifetime) <= now;
        while self.get(index).entries.front().is_some_and(is_over) {
            self.pop(index);
        }
        let retained = self.get(index).retained.as_ref();
        if retained.is_some_and(|one| one.published.saturating_add(lifetime) <= now) {
            self.release(index);
        }
    }

    fn pop(&mut self, index: HistoryIndex) {
        let history = self.get_mut(index);
        if let Some(entry) = history.entries.pop_front() {
            let bytes = entry.payload.bytes() as u64;
            history.bytes -= bytes;
            self.messages -= 1;
            self.bytes -= bytes + Self::ENTRY_BYTES;
        }
    }
}

impl<F> CachedTail<F> {
    /// What it answers.
    fn asked(&self) -> (HistoryIndex, Encoding, u64, bool) {
        (self.history, self.encoding, self.end, self.is_retained)
    }
}

/// How many publications are behind a position.
pub(crate) fn missing(position: Position, top: Position) -> Result<u64, Loss> {
    if position.epoch != top.epoch {
        return Err(Loss::Epoch);
    }
    top.offset.checked_sub(position.offset).ok_or(Loss::Ahead)
}

const _: () = assert!(size_of::<History<[u64; 4]>>() <= 72);
// With a payload of 32 bytes, as reactors publish.
const _: () = assert!(size_of::<Entry<[u64; 4]>>() <= 40);

/// What a publication has around its payload when it is delivered: a header, an id. A guess.
const BYTES_BESIDE: u64 = 64;
/// Room for so many publications is made at once.
const GROWTH_MIN: usize = 4;
/// What a channel costs that is remembered: its records, a short name, and its place in the index.
const RECORD_BYTES: u64 = 256;
/// Answers that are remembered for the length of a tick.
const TAILS_MAX: usize = 16;
