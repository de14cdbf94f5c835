//! The subscribers' side: the channels and patterns with subscribers on this reactor. It is taken apart, and put
//! together again, in `local/state.rs`.

mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::encoding::{Encoding, EncodingSet};
use crate::error::{PatternRefusal, SubscribeError};
use crate::frames::Frames;
use crate::history::Recovered;
use crate::ids::{
    ChannelId, EventIds, HomeIndex, NamespaceId, Position, ReactorId, Snapshot, Subscriber,
};
use crate::item::{LocalRef, MatchedEvent, Output, Recoverer, Subscribe};
use crate::local_channel::{COOKIE_END, LocalChannel};
use crate::names::{Name, NameHash, NameHasher, Named, Names};
use crate::patterns::is_pattern;
use crate::to_home::ToHome;
use crate::waiting::WaitingList;

/// All channels and patterns with subscribers here; they share one space of numbers.
#[derive(Debug)]
pub(crate) struct Local {
    hasher: NameHasher,
    channels: Names<LocalChannel>,
    /// Who waits for a home's answer.
    waiting: WaitingList,
    /// Who waits for a home to say what was before: a subscriber only from then on.
    recovering: WaitingList,
    /// Patterns whose last interest some homes have not answered, and how many.
    rounds: BTreeMap<ChannelId, u16>,
    next_cookie: u32,
    patterns: usize,
    subscriptions: usize,
    stale_items: u64,
}

impl Local {
    /// See [`crate::Hub::set_namespaces`].
    pub(crate) fn set_namespaces(
        &mut self,
        from: u32,
        until: u32,
        number_of: impl Fn(&str) -> NamespaceId,
    ) -> bool {
        self.channels.change_some(from, until, |record| {
            if !is_pattern(record.name()) {
                record.set_namespace(number_of(record.name()));
            }
        })
    }

    pub(crate) fn new(hasher: NameHasher) -> Self {
        Local {
            hasher,
            channels: Names::new(hasher),
            waiting: WaitingList::default(),
            recovering: WaitingList::default(),
            rounds: BTreeMap::new(),
            next_cookie: 0,
            patterns: 0,
            subscriptions: 0,
            stale_items: 0,
        }
    }

    /// Subscribes to a channel, or to a pattern by the name of its record; `home` is the name's.
    /// See [`Hub::subscribe`](crate::Hub::subscribe).
    pub(crate) fn subscribe<P, F>(
        &mut self,
        subscribe: Subscribe<'_>,
        home: (NameHash, ReactorId),
        channels_max: u32,
        to_home: &mut ToHome<'_, P, F>,
    ) -> Result<ChannelId, SubscribeError> {
        let Subscribe {
            who,
            encoding,
            name,
            namespace,
            token,
        } = subscribe;
        let (hash, home) = home;
        let channel = match self.channels.find(hash, name) {
            Some(number) => {
                let channel = ChannelId(number);
                self.join(channel, encoding, who, to_home);
                channel
            }
            None if self.channels.len() >= channels_max as usize => {
                return Err(SubscribeError::ChannelsFull { channels_max });
            }
            None => {
                let cookie = self.next_cookie();
                let first = (encoding, who);
                let record = LocalChannel::new(Name::from(name), namespace, home, cookie, first);
                let channel = ChannelId(self.channels.insert(hash, record));
                self.subscriptions += 1;
                if is_pattern(name) {
                    self.patterns += 1;
                    self.register(channel, to_home)?;
                } else {
                    self.send_interest(channel, EncodingSet::of(encoding), to_home);
                }
                channel
            }
        };
        let record = self.record(channel);
        if record.acked().contains(encoding) {
            let (topic, snapshot) = self.snapshot_of(record).expect("acked is answered");
            to_home.out.push(Output::Subscribed {
                who,
                encoding,
                token,
                channel,
                topic,
                snapshot,
                recovery: None,
            });
        } else {
            self.waiting.insert(channel, who, encoding, token);
        }
        Ok(channel)
    }

    /// Begins a subscription that wants to know what was before. Its home is to be asked for the
    /// returned one; none if it subscribes already, and is answered as by [`Local::subscribe`].
    ///
    /// What comes meanwhile is for others: it becomes a subscriber with the home's answer, which comes
    /// in order with deliveries. What was ordered before is in the answer, what is ordered later
    /// follows it.
    pub(crate) fn recover<P, F>(
        &mut self,
        subscribe: Subscribe<'_>,
        home: (NameHash, ReactorId),
        channels_max: u32,
        to_home: &mut ToHome<'_, P, F>,
    ) -> Result<(ChannelId, Option<Recoverer>), SubscribeError> {
        let Subscribe {
            who,
            encoding,
            name,
            namespace,
            token,
        } = subscribe;
        let channel = match self.channels.find(home.0, name) {
            Some(number) => {
                let channel = ChannelId(number);
                // Answers come in the order of asking.
                let is_waiting = self.recovering.has(channel, who, encoding);
                if !is_waiting && self.is_subscribed(channel, who, encoding) {
                    let channel = self.subscribe(subscribe, home, channels_max, to_home)?;
                    return Ok((channel, None));
                }
                let record = self.record_mut(channel);
                record.hold(record.held_encodings().union(EncodingSet::of(encoding)));
                let announced = record.announced();
                if !announced.contains(encoding) {
                    let wider = announced.union(EncodingSet::of(encoding));
                    self.announce(channel, wider, to_home);
                }
                channel
            }
            None if self.channels.len() >= channels_max as usize => {
                return Err(SubscribeError::ChannelsFull { channels_max });
            }
            None => {
                let cookie = self.next_cookie();
                let name = Name::from(name);
                let record = LocalChannel::held(name, namespace, home.1, cookie, encoding);
                let channel = ChannelId(self.channels.insert(home.0, record));
                self.send_interest(channel, EncodingSet::of(encoding), to_home);
                channel
            }
        };
        let ticket = self
            .recovering
            .insert_numbered(channel, who, encoding, token);
        let recoverer = Recoverer {
            local: self.record(channel).as_ref(channel),
            who,
            encoding,
            ticket,
        };
        Ok((channel, Some(recoverer)))
    }

    /// A home has said what was before.
    pub(crate) fn handle_recovered<P, F>(
        &mut self,
        (recoverer, answer): (Recoverer, Recovered<F>),
        to_home: &mut ToHome<'_, P, F>,
    ) {
        let Recoverer {
            local,
            who,
            encoding,
            ticket,
        } = recoverer;
        let channel = local.channel;
        if self.living(local).is_none() {
            return;
        }
        let Some(token) = self.recovering.take(channel, who, encoding, ticket) else {
            self.stale_items += 1; // it has gone
            return;
        };
        // One that asked twice has got what was before.
        let is_new = !self.is_subscribed(channel, who, encoding);
        let held = self.recovering.encodings(channel);
        let record = self.record_mut(channel);
        debug_assert!(
            record.acked().contains(encoding),
            "its interest went before it, and was answered before it"
        );
        if is_new {
            record.insert(encoding, who);
        }
        record.hold(held);
        let topic = record.topic().expect("an acked channel has its topic");
        self.subscriptions += usize::from(is_new);
        to_home.out.push(Output::Subscribed {
            who,
            encoding,
            token,
            channel,
            topic,
            snapshot: answer.snapshot,
            recovery: answer.recovery.filter(|_| is_new).map(Box::new),
        });
        self.narrow(channel, to_home);
    }

    /// Whether one that subscribes waits to recover.
    pub(crate) fn is_recovering(&self, hash: NameHash, subscribe: &Subscribe<'_>) -> bool {
        if self.recovering.len() == 0 {
            return false;
        }
        let channel = self.find(hash, subscribe.name);
        channel.is_some_and(|channel| {
            self.recovering
                .has(channel, subscribe.who, subscribe.encoding)
        })
    }

    /// Whether one subscribes to a channel, or waits to recover in it.
    pub(crate) fn has(&self, channel: ChannelId, who: Subscriber, encoding: Encoding) -> bool {
        self.is_subscribed(channel, who, encoding) || self.recovering.has(channel, who, encoding)
    }

    fn is_subscribed(&self, channel: ChannelId, who: Subscriber, encoding: Encoding) -> bool {
        let set = self.get(channel).and_then(|record| record.set(encoding));
        set.is_some_and(|set| set.contains(who))
    }

    fn next_cookie(&mut self) -> u32 {
        let cookie = self.next_cookie;
        self.next_cookie = (cookie + 1) % COOKIE_END;
        cookie
    }

    /// Adds a subscriber to a channel that is here.
    fn join<P, F>(
        &mut self,
        channel: ChannelId,
        encoding: Encoding,
        who: Subscriber,
        to_home: &mut ToHome<'_, P, F>,
    ) {
        let record = self.record_mut(channel);
        let added = record.insert(encoding, who);
        let announced = record.announced();
        let must_wait = record.is_pattern() && record.unacked() > 0;
        self.subscriptions += usize::from(added);
        if !announced.contains(encoding) && !must_wait {
            self.announce(channel, announced.union(EncodingSet::of(encoding)), to_home);
        }
    }

    /// Ends a subscription; false if there was none.
    pub(crate) fn unsubscribe<P, F>(
        &mut self,
        who: Subscriber,
        encoding: Encoding,
        channel: ChannelId,
        to_home: &mut ToHome<'_, P, F>,
    ) -> bool {
        let Some(record) = self.channels.get_mut(channel.0) else {
            return false;
        };
        let was_subscribed = record.remove(encoding, who);
        if was_subscribed && record.unacked() > 0 {
            self.waiting.cancel(channel, who, encoding);
        }
        self.subscriptions -= usize::from(was_subscribed);
        if !self.cancel_recovery(channel, who, encoding) && !was_subscribed {
            return false;
        }
        self.narrow(channel, to_home);
        true
    }

    /// Ends what waits to recover. False if nothing does.
    fn cancel_recovery(&mut self, channel: ChannelId, who: Subscriber, encoding: Encoding) -> bool {
        if self.recovering.len() == 0 || !self.recovering.cancel(channel, who, encoding) {
            return false;
        }
        let held = self.recovering.encodings(channel);
        self.record_mut(channel).hold(held);
        true
    }

    /// A home has answered.
    pub(crate) fn handle_ack<P, F>(
        &mut self,
        local: LocalRef,
        home: HomeIndex,
        encodings: EncodingSet,
        snapshot: Snapshot,
        to_home: &mut ToHome<'_, P, F>,
    ) {
        let channel = local.channel;
        let Some(record) = self.living(local) else {
            // All have unsubscribed meanwhile; the home will hear of it, or has.
            return;
        };
        if record.is_pattern() {
            return self.spread(channel, home, to_home);
        }
        record.answered(home, encodings, snapshot.position.offset);
        let topic = record.topic().expect("an acked channel has its topic");
        self.waiting.answer(channel, encodings, |request, token| {
            to_home.out.push(Output::Subscribed {
                who: request.who,
                encoding: request.encoding,
                token,
                channel,
                topic,
                snapshot,
                recovery: None,
            });
        });
        self.narrow(channel, to_home);
    }

    /// The register has no place for a pattern.
    pub(crate) fn handle_refusal<P, F>(
        &mut self,
        local: LocalRef,
        refusal: PatternRefusal,
        out: &mut Vec<Output<P, F>>,
    ) {
        let channel = local.channel;
        let Some(record) = self.living(local) else {
            return;
        };
        let wanted = record.wanted();
        self.waiting.answer(channel, wanted, |request, token| {
            out.push(Output::Refused {
                who: request.who,
                encoding: request.encoding,
                token,
                channel,
                refusal,
            });
        });
        self.drop_record(channel);
    }

    /// A home has answered for a pattern.
    pub(crate) fn handle_pattern_ack<P, F>(
        &mut self,
        local: LocalRef,
        to_home: &mut ToHome<'_, P, F>,
    ) {
        if self.living(local).is_some() {
            self.count_answer(local.channel, to_home);
        }
    }

    /// The record that another reactor means, if it still lives.
    fn living(&mut self, local: LocalRef) -> Option<&mut LocalChannel> {
        let record = self.channels.get_mut(local.channel.0);
        let record = record.filter(|record| record.cookie() == local.cookie);
        if record.is_none() {
            self.stale_items += 1;
        }
        record
    }

    /// A delivery for a pattern's subscribers here.
    pub(crate) fn deliver_matched<P, F: Clone>(
        &mut self,
        local: LocalRef,
        event: Arc<MatchedEvent>,
        exclude: Option<u64>,
        mut frames: Frames<F>,
    ) -> Option<Output<P, F>> {
        let record = self.living(local)?;
        // Not before all homes have answered: see [`Local::deliver`].
        if !frames.narrow(record.acked()) {
            self.stale_items += 1;
            return None;
        }
        Some(Output::DeliverMatched {
            pattern: local.channel,
            event,
            exclude,
            frames,
        })
    }

    /// A delivery for the subscribers here, if the channel it is meant for still lives and wants
    /// it.
    #[inline]
    pub(crate) fn deliver<P, F: Clone>(
        &mut self,
        local: LocalRef,
        ids: EventIds,
        exclude: Option<u64>,
        mut frames: Frames<F>,
    ) -> Option<Output<P, F>> {
        let record = self.channels.get_mut(local.channel.0);
        let Some(record) = record.filter(|record| record.cookie() == local.cookie) else {
            self.stale_items += 1;
            return None;
        };
        // A frame that was on its way while its encoding went out of use and came back belongs to
        // nobody: those who asked again have not been answered yet.
        record.set_offset(ids.offset);
        if !frames.narrow(record.acked()) {
            self.stale_items += 1;
            return None;
        }
        Some(Output::Deliver {
            channel: local.channel,
            namespace: record.namespace(),
            ids,
            exclude,
            frames,
        })
    }

    /// A channel here, by name.
    pub(crate) fn find(&self, hash: NameHash, name: &str) -> Option<ChannelId> {
        self.channels.find(hash, name).map(ChannelId)
    }

    #[inline]
    pub(crate) fn get(&self, channel: ChannelId) -> Option<&LocalChannel> {
        self.channels.get(channel.0)
    }

    /// A channel's topic, and the channel as a subscription that begins here and now finds it,
    /// once its home has answered.
    pub(crate) fn snapshot(&self, channel: ChannelId) -> Option<(u64, Snapshot)> {
        self.snapshot_of(self.get(channel)?)
    }

    fn snapshot_of(&self, record: &LocalChannel) -> Option<(u64, Snapshot)> {
        let topic = record.topic()?;
        if record.is_pattern() {
            return Some((topic, Snapshot::OF_PATTERN));
        }
        let position = Position {
            epoch: self.hasher.epoch(record.home()),
            offset: record.offset(),
        };
        Some((topic, Snapshot { position }))
    }

    /// Channels and patterns together.
    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    pub(crate) fn patterns(&self) -> usize {
        self.patterns
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// Requests that wait for a home's answer.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len() + self.recovering.len()
    }

    pub(crate) fn stale_items(&self) -> u64 {
        self.stale_items
    }

    /// All channels.
    pub(crate) fn channels(&self) -> impl Iterator<Item = &LocalChannel> {
        self.channels.iter().map(|(_, record)| record)
    }

    /// Heap bytes, nearly.
    pub(crate) fn memory_bytes(&self) -> usize {
        let records = self.channels().map(LocalChannel::memory_bytes);
        let rounds = self.rounds.len() * size_of::<(ChannelId, u16)>() * 4 / 3;
        let waiting = self.waiting.memory_bytes() + self.recovering.memory_bytes();
        records.sum::<usize>() + waiting + self.channels.memory_bytes() + rounds
    }

    /// Brings the home to know no more than is wanted, after subscribers have gone.
    fn narrow<P, F>(&mut self, channel: ChannelId, to_home: &mut ToHome<'_, P, F>) {
        let record = self.record(channel);
        let wanted = record.wanted();
        if wanted.is_empty() {
            self.forget(channel, to_home);
        } else if record.unacked() == 0 && wanted != record.announced() {
            self.announce(channel, wanted, to_home);
        }
    }

    /// Tells the home which encodings are wanted from now on.
    fn announce<P, F>(
        &mut self,
        channel: ChannelId,
        encodings: EncodingSet,
        to_home: &mut ToHome<'_, P, F>,
    ) {
        self.record_mut(channel).announce(encodings);
        if self.record(channel).is_pattern() {
            self.ask_homes(channel, encodings, to_home);
        } else {
            self.send_interest(channel, encodings, to_home);
        }
    }

    /// Asks the register for the number of a new pattern. Where that is beside, it may refuse at
    /// once; the pattern is not here then.
    fn register<P, F>(
        &mut self,
        channel: ChannelId,
        to_home: &mut ToHome<'_, P, F>,
    ) -> Result<(), SubscribeError> {
        let record = self.record(channel);
        match to_home.register(record, record.as_ref(channel), record.announced()) {
            None => {}
            Some(Ok(number)) => self.spread(channel, number, to_home),
            Some(Err(refusal)) => {
                self.drop_record(channel);
                return Err(SubscribeError::Pattern(refusal));
            }
        }
        Ok(())
    }

    /// A pattern has its number: all homes are told of it.
    fn spread<P, F>(
        &mut self,
        channel: ChannelId,
        number: HomeIndex,
        to_home: &mut ToHome<'_, P, F>,
    ) {
        let wanted = self.record_mut(channel).registered(number);
        self.ask_homes(channel, wanted, to_home);
    }

    fn ask_homes<P, F>(
        &mut self,
        channel: ChannelId,
        encodings: EncodingSet,
        to_home: &mut ToHome<'_, P, F>,
    ) {
        let record = self.record(channel);
        let number = record.home_index().expect("a pattern is registered first");
        let (name, local) = (record.name(), record.as_ref(channel));
        to_home.pattern_interest(name, number, local, encodings);
        self.rounds.insert(channel, to_home.reactors);
        self.count_answer(channel, to_home); // of the home beside
    }

    /// One more home has answered.
    fn count_answer<P, F>(&mut self, channel: ChannelId, to_home: &mut ToHome<'_, P, F>) {
        let missing = self.rounds.get_mut(&channel);
        let missing = missing.expect("each home answers once");
        *missing -= 1;
        if *missing > 0 {
            return;
        }
        self.rounds.remove(&channel);
        let record = self.record_mut(channel);
        let encodings = record.answered_by_all();
        let topic = record.topic().expect("the pattern is registered");
        self.waiting.answer(channel, encodings, |request, token| {
            to_home.out.push(Output::Subscribed {
                who: request.who,
                encoding: request.encoding,
                token,
                channel,
                topic,
                snapshot: Snapshot::OF_PATTERN,
                recovery: None,
            });
        });
        self.narrow(channel, to_home);
    }

    /// Sends what the record says is announced.
    fn send_interest<P, F>(
        &mut self,
        channel: ChannelId,
        encodings: EncodingSet,
        to_home: &mut ToHome<'_, P, F>,
    ) {
        let record = self.record_mut(channel);
        let local = record.as_ref(channel);
        if let Some((home, snapshot)) = to_home.interest(record, local, encodings) {
            record.answered(home, encodings, snapshot.position.offset);
        }
    }

    /// The last subscriber has gone.
    fn forget<P, F>(&mut self, channel: ChannelId, to_home: &mut ToHome<'_, P, F>) {
        let record = self.drop_record(channel);
        let local = record.as_ref(channel);
        if record.is_pattern() && record.home_index().is_some() {
            to_home.pattern_uninterest(record.name(), local);
        }
        to_home.uninterest(record.home(), record.target(), local);
    }

    fn drop_record(&mut self, channel: ChannelId) -> LocalChannel {
        let record = self.channels.remove(channel.0).expect("forgotten once");
        self.subscriptions -= record.subscriptions();
        if record.is_pattern() {
            self.patterns -= 1;
            self.rounds.remove(&channel);
        }
        record
    }

    fn record(&self, channel: ChannelId) -> &LocalChannel {
        let record = self.channels.get(channel.0);
        record.expect("the caller has found the channel")
    }

    fn record_mut(&mut self, channel: ChannelId) -> &mut LocalChannel {
        let record = self.channels.get_mut(channel.0);
        record.expect("the caller has found the channel")
    }
}
