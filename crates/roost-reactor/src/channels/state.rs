//! The channels of one reactor: the hub, and all that comes between it and the connections.

use std::collections::BTreeSet;
use std::sync::Arc;

use roost_dialect::{Publication, Receivers};
use roost_hub::{
    ChannelId, Encoding, Frames, Hub, HubOptions, Item, MatchedEvent, Name, NamespaceId, Output,
    PatternRefusal, Placement, Publish, PublishError, PublishTo, ReactorId, Recovery, Route, Since,
    Snapshot, Subscribe, SubscribeError, SubscribePattern, Subscriber, Tail,
};
use roost_metrics::{Counters, NamespaceCounters};
use roost_net::ConnKey;
use roost_wire::Frozen;
use tracing::debug;

use super::congestion::Congestion;
use super::fanout::Fanout;
use super::inflow::Inflow;
use super::links::{Lane, Links};
use super::paused::Paused;
use crate::clock::TICK_MS;
use crate::connections::{Codec, Connections, Origin, Phase};
use crate::control::{ChannelRecord, PausedFor, Refusal};
use crate::image::Image;
use crate::palette::FrameIndex;
use crate::peer_message::PeerMessage;
use crate::sessions::Sessions;
use crate::settings::{Settings, SlowConsumer};

/// All channels that connections of one reactor are subscribed to, and those whose home it is. The
/// only caller of the hub, and the only part that carries out what it says.
pub(crate) struct Channels {
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    /// By a namespace's number in the settings.
    namespaces: Arc<[NamespaceCounters]>,
    hub: Hub<Publication, Image>,
    links: Links<PeerMessage>,
    fanout: Fanout,
    congestion: Congestion,
    /// How much may be published, of all reactors together.
    inflow: Arc<Inflow>,
    /// Publishers that are not read for a while.
    paused: Paused,
    /// The control thread's number in the mesh.
    control: ReactorId,
    /// What the hub wants done next; reused.
    outputs: Vec<HubOutput>,
    /// What was recovered last in this loop iteration: clients that come back together share it.
    recovered: Option<SharedTail>,
}

/// Frames of this loop iteration that stand for a tail.
struct SharedTail {
    tail: Tail<Image>,
    frames: Vec<FrameIndex>,
    /// The iteration, by the flushes there were.
    flushes: u64,
}

/// A publication for the subscribers to a channel or a pattern.
struct Delivery<'a> {
    /// The number of either.
    to: ChannelId,
    origin: Origin,
    exclude: Option<ConnKey>,
    /// What was published, where `to` is a pattern.
    event: Option<&'a MatchedEvent>,
}

/// No channel's number is so high.
const ABOVE_CHANNELS: u64 = 1 << 63;

/// What the hub wants done.
pub(crate) type HubOutput = Output<Publication, Image>;

/// What the hub says to one connection.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The subscription of the connection in `slot` has its place in the channel's order.
    Subscribed {
        slot: u32,
        token: u64,
        channel: ChannelId,
        topic: u64,
        snapshot: Snapshot,
        /// What was before, if that was asked for.
        recovery: Option<Box<Recovery<Image>>>,
    },
    /// The subscription of the connection in `slot` to a pattern has ended before it began.
    Refused {
        slot: u32,
        token: u64,
        channel: ChannelId,
        refusal: PatternRefusal,
    },
    /// Its publication has.
    Published {
        publisher: ConnKey,
        token: u64,
        publication: u64,
    },
}

/// What a publisher that is not read waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The end of its channel's congestion.
    Congestion,
    /// A tick: its namespace has had as much as it may.
    Until(u32),
    /// Room for what it publishes, here or in another reactor's ring.
    Room,
}

/// What a dialect is told.
fn notice_of(output: HubOutput) -> Notice {
    match output {
        Output::Subscribed {
            who,
            encoding: _,
            token,
            channel,
            topic,
            snapshot,
            recovery,
        } => Notice::Subscribed {
            slot: who.0,
            token,
            channel,
            topic,
            snapshot,
            recovery,
        },
        Output::Refused {
            who,
            encoding: _,
            token,
            channel,
            refusal,
        } => Notice::Refused {
            slot: who.0,
            token,
            channel,
            refusal,
        },
        Output::Published {
            publisher,
            token,
            publication,
        } => Notice::Published {
            publisher: ConnKey::from_bits(publisher),
            token,
            publication,
        },
        Output::ToReactor(..) | Output::Deliver { .. } | Output::DeliverMatched { .. } => {
            unreachable!("no dialect is told of it")
        }
    }
}

impl Channels {
    /// None yet.
    pub(crate) fn new(
        settings: &Arc<Settings>,
        counters: &Arc<Counters>,
        namespaces: &Arc<[NamespaceCounters]>,
        hub: HubOptions,
        links: Links<PeerMessage>,
        inflow: &Arc<Inflow>,
    ) -> Channels {
        let reactors = usize::from(hub.reactors);
        Channels {
            settings: settings.clone(),
            counters: counters.clone(),
            namespaces: namespaces.clone(),
            hub: Hub::new(hub),
            links,
            fanout: Fanout::default(),
            congestion: Congestion::default(),
            inflow: inflow.clone(),
            paused: Paused::default(),
            control: crate::control::control_id(reactors),
            outputs: Vec::new(),
            recovered: None,
        }
    }

    /// The channel of this name, if one is subscribed to here.
    pub(crate) fn find(&self, name: &str) -> Option<ChannelId> {
        self.hub.channel(name)
    }

    /// The namespace of the channel that is published to: searched for by name only where no
    /// record here knows it.
    pub(crate) fn namespace_of(&self, to: PublishTo<'_>) -> u16 {
        match to {
            PublishTo::Channel(channel) => self.hub.namespace(channel).unwrap_or_default().0,
            PublishTo::Name(name) => self.settings.channels.number_of(name),
        }
    }

    /// Begins a subscription behind all that is on its way here.
    pub(crate) fn subscribe(
        &mut self,
        who: Subscriber,
        encoding: Encoding,
        name: &str,
        token: u64,
        now: u32,
    ) -> Result<ChannelId, SubscribeError> {
        let known = self.hub.channel(name);
        let is_new = !self.fanout.is_empty()
            && !known.is_some_and(|channel| self.hub.is_subscribed(who, encoding, channel));
        let namespace = match known {
            Some(channel) => self.hub.namespace(channel).unwrap_or_default(),
            None => NamespaceId(self.settings.channels.number_of(name)),
        };
        let subscribe = Subscribe {
            who,
            encoding,
            name,
            namespace,
            token,
        };
        let channel = self.hub.subscribe(subscribe, now, &mut self.outputs)?;
        if is_new {
            self.fanout.join(channel, encoding, who.0);
        }
        Ok(channel)
    }

    /// The same, and what was before is asked for; the parts are those of [`Channels::subscribe`]. What
    /// is on its way here when the home answers is in its answer.
    pub(crate) fn subscribe_since(
        &mut self,
        (who, encoding, name, token): (Subscriber, Encoding, &str, u64),
        since: Since,
        codec: &mut Codec,
        now: u32,
    ) -> Result<ChannelId, SubscribeError> {
        let known = self.hub.channel(name);
        let known = known.and_then(|channel| self.hub.namespace(channel));
        let number = || NamespaceId(self.settings.channels.number_of(name));
        let subscribe = Subscribe {
            who,
            encoding,
            name,
            namespace: known.unwrap_or_else(number),
            token,
        };
        let encode = &mut |payload: &_, encoding, ids, route: Route<'_>| {
            if !Codec::carries(payload, encoding) {
                return Image::for_none();
            }
            Image::new(codec.encode(payload, encoding, ids, route), payload)
        };
        self.hub
            .subscribe_since(subscribe, since, now, encode, &mut self.outputs)
    }

    /// What of a tail is for the connection in `slot`.
    pub(crate) fn received_of(
        &self,
        slot: u32,
        tail: &Tail<Image>,
        connections: &Connections,
        sessions: &Sessions,
    ) -> Vec<(u64, Frozen)> {
        let received = tail.iter().filter(|(_, image)| {
            image
                .receivers()
                .is_none_or(|receivers| is_receiver(slot, receivers, connections, sessions))
        });
        received
            .map(|(offset, image)| (offset, image.frame().clone()))
            .collect()
    }

    /// Gives the connection in `slot` what it has missed in a channel: the same frames as others that
    /// come back in this loop iteration.
    pub(crate) fn deliver_recovered(
        &mut self,
        slot: u32,
        channel: ChannelId,
        tail: &Tail<Image>,
        connections: &mut Connections,
        sessions: &Sessions,
    ) {
        let flushes = connections.flushes();
        let shared = self.recovered.take();
        let shared = shared.filter(|one| one.flushes == flushes && one.tail.shares(tail));
        let shared = shared.unwrap_or_else(|| {
            let origin = Origin {
                channel: u64::from(channel.0),
                namespace: self.hub.namespace(channel).unwrap_or_default().0,
            };
            let frames = tail.frames().iter();
            let frames = frames.map(|image| connections.share(image.frame(), Some(origin)));
            SharedTail {
                tail: tail.clone(),
                frames: frames.collect(),
                flushes,
            }
        });
        let mut deliveries = 0;
        for (image, &frame) in tail.frames().iter().zip(&shared.frames) {
            let receivers = image.receivers();
            if receivers.is_none_or(|receivers| is_receiver(slot, receivers, connections, sessions))
            {
                connections.deliver(slot, frame);
                deliveries += 1;
            }
        }
        self.counters.deliveries_total.add(deliveries);
        self.recovered = Some(shared);
    }

    /// Forgets what channels have kept for long enough.
    pub(crate) fn expire_histories(&mut self, now: u32) {
        self.recovered = None;
        if self.hub.history_due() <= now {
            self.hub.expire(now);
        }
    }

    /// The tick at which something expires.
    pub(crate) fn history_due(&self) -> u32 {
        self.hub.history_due()
    }

    /// The same to a pattern. What the hub reports of its number is as of a channel's.
    pub(crate) fn subscribe_pattern(
        &mut self,
        subscribe: SubscribePattern<'_>,
        now: u32,
    ) -> Result<ChannelId, SubscribeError> {
        let SubscribePattern {
            who,
            encoding,
            pattern,
            token: _,
        } = subscribe;
        let is_new = !self.fanout.is_empty() && {
            let known = self.hub.pattern(pattern);
            !known.is_some_and(|number| self.hub.is_subscribed(who, encoding, number))
        };
        let number = self
            .hub
            .subscribe_pattern(subscribe, now, &mut self.outputs)?;
        if is_new {
            self.fanout.join(number, encoding, who.0);
        }
        Ok(number)
    }

    /// Whether this number is a pattern's.
    pub(crate) fn is_pattern(&self, channel: ChannelId) -> bool {
        self.hub.pattern_of(channel).is_some()
    }

    /// Ends a subscription, and what was on its way if it was the last.
    pub(crate) fn unsubscribe(&mut self, who: Subscriber, encoding: Encoding, channel: ChannelId) {
        self.hub
            .unsubscribe(who, encoding, channel, &mut self.outputs);
        if self.fanout.is_empty() {
            return;
        }
        self.fanout.leave(channel, encoding, who.0);
        if self.hub.subscriber_count(channel, encoding) == 0 {
            let congested = self.fanout.forget(channel, encoding);
            self.relieve(congested);
        }
    }

    /// Publishes.
    pub(crate) fn publish(
        &mut self,
        publish: Publish<'_, Publication>,
        codec: &mut Codec,
        now: u32,
    ) -> Result<(), PublishError> {
        let counters = &*self.counters;
        let encode = &mut |payload: &_, encoding, ids, route: Route<'_>| {
            if !Codec::carries(payload, encoding) {
                counters.publications_not_carried_total.inc();
                return Image::for_none();
            }
            Image::new(codec.encode(payload, encoding, ids, route), payload)
        };
        self.hub.publish(publish, now, encode, &mut self.outputs)
    }

    /// Publishes for the control thread on a channel whose home is here, if its publishers need not
    /// wait: this one cannot be made to. `is_limited`: whether the rates of the channel's namespace
    /// hold for it.
    pub(crate) fn publish_for_control(
        &mut self,
        name: &str,
        payload: Publication,
        is_limited: bool,
        codec: &mut Codec,
        now: u32,
    ) -> Result<Placement, Refusal> {
        if self.congestion.has(name) {
            return Err(Refusal::Congested);
        }
        if is_limited && self.inflow.has_limits() {
            let namespace = self.settings.channels.number_of(name);
            let taken = self.inflow.try_take(namespace, payload.size(), now);
            taken.map_err(|open_at| {
                let namespace = &self.namespaces[usize::from(namespace)];
                namespace.publish_rate_limited_total.inc();
                Refusal::RateLimited {
                    wait_ms: (open_at - now).saturating_mul(TICK_MS),
                }
            })?;
        }
        self.counters.publishes_total.inc();
        let encode = &mut |payload: &_, encoding, ids, route: Route<'_>| {
            Image::new(codec.encode(payload, encoding, ids, route), payload)
        };
        let hub = &mut self.hub;
        Ok(hub.publish_at_home(name, payload, now, encode, &mut self.outputs))
    }

    /// Counts a publication of so many bytes. Says what its publisher has to wait for: the channel is
    /// congested, its namespace gets more than it may, another reactor's ring is full, or too much
    /// is on its way to subscribers here.
    pub(crate) fn after_publish(
        &mut self,
        to: PublishTo<'_>,
        bytes: usize,
        now: u32,
    ) -> Option<Wait> {
        self.counters.publishes_total.inc();
        let mut resume_at = now;
        if self.inflow.has_limits() {
            let namespace = self.namespace_of(to);
            resume_at = self.inflow.take(namespace, bytes, now);
            if resume_at > now {
                let namespace = &self.namespaces[usize::from(namespace)];
                namespace.publish_rate_limited_total.inc();
            }
        }
        if !self.congestion.is_empty()
            && self
                .name_of(to)
                .is_some_and(|name| self.congestion.has(name))
        {
            return Some(Wait::Congestion);
        }
        if resume_at > now {
            return Some(Wait::Until(resume_at));
        }
        (!self.has_room()).then_some(Wait::Room)
    }

    /// A publisher is not read until what it waits for has come.
    pub(crate) fn park(&mut self, publisher: ConnKey, to: PublishTo<'_>, wait: Wait) {
        match wait {
            Wait::Congestion => {
                let name = match to {
                    PublishTo::Name(name) => Some(name),
                    PublishTo::Channel(channel) => self.hub.channel_name(channel),
                };
                if let Some(name) = name {
                    self.congestion.park(name, publisher);
                }
            }
            Wait::Until(tick) => self.paused.push_later(tick, publisher),
            Wait::Room => self.paused.push(publisher),
        }
    }

    /// Why a connection that is paused is not read. Looks at all that are: for people.
    pub(crate) fn paused_for(&self, key: ConnKey, now: u32) -> PausedFor {
        if let Some(name) = self.congestion.parked_for(key) {
            return PausedFor::Congestion(name.clone());
        }
        if let Some(due) = self.paused.due_of(key) {
            let wait_ms = due.saturating_sub(now).saturating_mul(TICK_MS);
            return PausedFor::Rate { wait_ms };
        }
        match self.paused.is_next(key) {
            true => PausedFor::Room,
            false => PausedFor::Other,
        }
    }

    /// A channel's name, or a pattern's text and that it is one.
    pub(crate) fn shown_name(&self, channel: ChannelId) -> Option<(&str, bool)> {
        match self.hub.pattern_of(channel) {
            Some(pattern) => Some((pattern.text(), true)),
            None => Some((self.hub.channel_name(channel)?, false)),
        }
    }

    /// Above all places of channels whose home is here.
    pub(crate) fn home_end(&self) -> u32 {
        self.hub.home_end()
    }

    /// The channel at such a place.
    pub(crate) fn home_channel(&self, place: u32) -> Option<ChannelRecord> {
        let (name, namespace, offset) = self.hub.home_channel(place)?;
        Some(ChannelRecord {
            name: name.clone(),
            namespace: namespace.0,
            offset,
        })
    }

    /// The channel of this name, if its home is here.
    pub(crate) fn home_channel_named(&self, name: &str) -> Option<ChannelRecord> {
        self.home_channel(self.hub.home_place(name)?)
    }

    /// How many subscribe here to a channel.
    pub(crate) fn subscriptions_to(&self, name: &str) -> u32 {
        u32::try_from(self.hub.subscriptions_to(name)).unwrap_or(u32::MAX)
    }

    /// The offset of the last publication that has come here.
    pub(crate) fn offset_of(&self, channel: ChannelId) -> u64 {
        let snapshot = self.hub.snapshot(channel);
        snapshot.map_or(0, |snapshot| snapshot.position.offset)
    }

    /// The name of the channel that is published to.
    pub(crate) fn name_of<'a>(&'a self, to: PublishTo<'a>) -> Option<&'a str> {
        match to {
            PublishTo::Name(name) => Some(name),
            PublishTo::Channel(channel) => self.hub.channel_name(channel),
        }
    }

    /// Whether a client's next message can wait for nothing: what its last one said to other reactors
    /// has gone into batches that are not full.
    pub(crate) fn has_room_for_calls(&self) -> bool {
        self.has_room() && !self.links.at_batch_limit(Lane::Plain)
    }

    /// A client is not read until there is room for what it says to another.
    pub(crate) fn wait_for_room(&mut self, key: ConnKey) {
        self.paused.push(key);
    }

    /// A connection that is closing is read to its end, whatever its messages had to wait for.
    pub(crate) fn unpark(&mut self, key: ConnKey) {
        self.paused.push(key);
    }

    /// Whether there is room for what paused publishers have to say.
    pub(crate) fn has_room(&self) -> bool {
        self.links.spilled() == 0
            && !self.links.at_batch_limit(Lane::Publish)
            && !self.fanout.is_full()
    }

    /// Whether paused publishers can be read now.
    pub(crate) fn has_paused_to_read(&self, now: u32) -> bool {
        self.paused.is_due(now) && self.has_room()
    }

    /// Paused publishers that can be read again.
    pub(crate) fn paused(&mut self) -> &mut Paused {
        &mut self.paused
    }

    /// The tick at which the first paused publisher is due.
    pub(crate) fn paused_due(&self) -> u32 {
        self.paused.due()
    }

    /// Whether the hub wants something done.
    #[inline]
    pub(crate) fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Takes out what the hub wants done; give the list back with [`Channels::return_outputs`].
    pub(crate) fn take_outputs(&mut self) -> Vec<HubOutput> {
        std::mem::take(&mut self.outputs)
    }

    /// Takes the list back, empty by now.
    pub(crate) fn return_outputs(&mut self, outputs: Vec<HubOutput>) {
        if self.outputs.is_empty() {
            self.outputs = outputs; // keep the larger allocation
        }
    }

    /// Does what the hub wants; what is left is for one connection's dialect to know.
    pub(crate) fn carry_out(
        &mut self,
        output: HubOutput,
        connections: &mut Connections,
        sessions: &Sessions,
    ) -> Option<Notice> {
        match output {
            Output::ToReactor(to, item) => self.links.send(to, PeerMessage::Hub(item)),
            Output::Subscribed {
                who,
                encoding,
                channel,
                recovery: Some(_),
                ..
            } => {
                // It became a subscriber with this, behind all that is on its way here.
                if !self.fanout.is_empty() {
                    self.fanout.join(channel, encoding, who.0);
                }
                return Some(notice_of(output));
            }
            Output::Subscribed { .. } | Output::Refused { .. } | Output::Published { .. } => {
                return Some(notice_of(output));
            }
            Output::Deliver {
                channel,
                namespace,
                ids: _,
                exclude,
                frames,
            } => {
                let delivery = Delivery {
                    to: channel,
                    origin: Origin {
                        channel: u64::from(channel.0),
                        namespace: namespace.0,
                    },
                    exclude: exclude.map(ConnKey::from_bits),
                    event: None,
                };
                self.deliver(delivery, &frames, connections, sessions);
            }
            Output::DeliverMatched {
                pattern,
                event,
                exclude,
                frames,
            } => {
                let delivery = Delivery {
                    to: pattern,
                    origin: self.origin_of(pattern, &event),
                    exclude: exclude.map(ConnKey::from_bits),
                    event: Some(&event),
                };
                self.deliver(delivery, &frames, connections, sessions);
            }
        }
        None
    }

    /// What outboxes know of a publication that came through a pattern: limits and policy are those
    /// of the channel, and `latest` keeps one message of each channel and pattern.
    fn origin_of(&self, pattern: ChannelId, event: &MatchedEvent) -> Origin {
        let known = event.namespace.map(|namespace| namespace.0);
        let channels = &self.settings.channels;
        let namespace = known.unwrap_or_else(|| channels.number_of(&event.channel));
        let is_latest = channels.policy(namespace).slow_consumer == SlowConsumer::Latest;
        let hash = if is_latest {
            self.hub.hash_matched(pattern, &event.channel)
        } else {
            0
        };
        Origin {
            channel: hash | ABOVE_CHANNELS,
            namespace,
        }
    }

    /// Gives a publication to this reactor's subscribers, in table order: to few at once, to many
    /// incrementally.
    fn deliver(
        &mut self,
        delivery: Delivery<'_>,
        frames: &Frames<Image>,
        connections: &mut Connections,
        sessions: &Sessions,
    ) {
        let Delivery {
            to: channel,
            origin,
            exclude,
            event,
        } = delivery;
        // A closed publisher excludes no subscriber: its slot may be another's by now.
        let exclude = exclude.filter(|&key| connections.get(key).is_some());
        for (encoding, image) in frames.iter() {
            let count = self.hub.subscriber_count(channel, encoding);
            let is_few = count <= self.settings.fan_out_at_once as usize;
            if is_few && !self.fanout.has(channel, encoding) {
                let frame = connections.share(image.frame(), Some(origin));
                let exclude = exclude.map(ConnKey::slot);
                let receivers = image.receivers();
                let mut deliveries = 0;
                for Subscriber(slot) in self.hub.subscribers(channel, encoding) {
                    if exclude != Some(slot)
                        && receivers.is_none_or(|receivers| {
                            is_receiver(slot, receivers, connections, sessions)
                        })
                    {
                        connections.deliver(slot, frame);
                        deliveries += 1;
                    }
                }
                self.counters.deliveries_total.add(deliveries);
                continue;
            }
            let key = (channel, encoding);
            if self.fanout.add(key, origin, image.clone(), exclude) {
                self.congest(key, event, connections);
            }
        }
    }

    /// Whether an incremental fan-out is under way.
    pub(crate) fn is_fanning_out(&self) -> bool {
        !self.fanout.is_empty()
    }

    /// Whether so much is being fanned out that no message of another reactor should be read.
    pub(crate) fn is_fan_out_full(&self) -> bool {
        self.fanout.is_full()
    }

    /// Gives the next piece of a fan-out to its subscribers.
    pub(crate) fn fan_out_piece(&mut self, connections: &mut Connections, sessions: &Sessions) {
        let visits_max = self.settings.fan_out_piece as usize;
        let is_receiver = |slot, receivers: &_, connections: &_| {
            is_receiver(slot, receivers, connections, sessions)
        };
        let hub = &self.hub;
        let piece = self
            .fanout
            .next_piece(hub, connections, visits_max, is_receiver);
        self.counters.deliveries_total.add(piece.deliveries);
        self.relieve(piece.relieved);
    }

    /// A channel is published to faster than its fan-out goes, or that of a pattern it matches: its
    /// publishers should wait.
    fn congest(
        &mut self,
        key: (ChannelId, Encoding),
        event: Option<&MatchedEvent>,
        connections: &mut Connections,
    ) {
        let own = self.hub.channel_name(key.0);
        let Some(name) = event.map(|event| event.channel.as_str()).or(own) else {
            debug_assert!(false, "what is delivered has a channel");
            return;
        };
        if self.fanout.congests(key, name) {
            return;
        }
        let name = Name::from(name);
        self.counters.channel_backpressure_total.inc();
        let is_known = self.fanout.is_congested(&name);
        self.fanout.congest(key, name.clone());
        if is_known {
            return;
        }
        debug!(channel = name.as_str(), "congested");
        let publisher = event.map(|event| event.publisher);
        let publisher = publisher.map(|(reactor, key)| (reactor, ConnKey::from_bits(key)));
        let (home, me) = (self.hub.home_of(&name), self.me());
        if home == me {
            self.begin_congestion(me, name, publisher, connections);
        } else {
            let message = PeerMessage::Congested { name, publisher };
            self.links.send(home, message);
        }
    }

    /// What congested these channels has caught up, or has no subscribers any more.
    fn relieve(&mut self, names: BTreeSet<Name>) {
        for name in names {
            if self.fanout.is_congested(&name) {
                continue;
            }
            let (home, me) = (self.hub.home_of(&name), self.me());
            if home == me {
                self.end_congestion(me, &name);
            } else {
                self.links.send(home, PeerMessage::Relieved { name });
            }
        }
    }

    /// The subscribers' reactor, or to publishers the home, says that a channel is congested, and
    /// may name a publisher that should wait at once.
    pub(crate) fn begin_congestion(
        &mut self,
        from: ReactorId,
        name: Name,
        publisher: Option<(ReactorId, ConnKey)>,
        connections: &mut Connections,
    ) {
        self.congestion.begin(name.clone(), from);
        let Some((reactor, key)) = publisher.filter(|(_, key)| key.to_bits() != NO_PUBLISHER)
        else {
            return;
        };
        if reactor == self.me() {
            let is_open = connections
                .get(key)
                .is_some_and(|conn| conn.phase == Phase::Open);
            if is_open && connections.pause(key) {
                self.counters.publishers_paused_total.inc();
                self.congestion.park(&name, key);
            }
        } else {
            self.congestion.notify_once(&name, reactor);
            let message = PeerMessage::Congested { name, publisher };
            self.links.send(reactor, message);
        }
    }

    /// The same, that it is no longer.
    pub(crate) fn end_congestion(&mut self, from: ReactorId, name: &Name) {
        if let Some(cleared) = self.congestion.end(name, from) {
            for reactor in cleared.notify.iter() {
                let name = name.clone();
                self.links.send(reactor, PeerMessage::Relieved { name });
            }
            self.paused.extend(cleared.parked);
        }
    }

    /// Handles what another reactor's hub says.
    pub(crate) fn receive(
        &mut self,
        from: ReactorId,
        item: Item<Publication, Image>,
        codec: &mut Codec,
        now: u32,
    ) {
        if let Item::Publish { name, .. } = &item
            && !self.congestion.is_empty()
            && self.congestion.notify_once(name, from)
        {
            let (name, publisher) = (name.clone(), None);
            self.links
                .send(from, PeerMessage::Congested { name, publisher });
        }
        let counters = &*self.counters;
        let encode = &mut |payload: &_, encoding, ids, route: Route<'_>| {
            if !Codec::carries(payload, encoding) {
                counters.publications_not_carried_total.inc();
                return Image::for_none();
            }
            Image::new(codec.encode(payload, encoding, ids, route), payload)
        };
        self.hub.handle(from, item, now, encode, &mut self.outputs);
    }

    /// This reactor's number in the mesh.
    pub(crate) fn me(&self) -> ReactorId {
        self.links.me()
    }

    /// Sends to the control thread. False if its ring is full: the message is dropped.
    pub(crate) fn try_send_to_control(&mut self, message: PeerMessage) -> bool {
        let is_sent = self.links.try_send(self.control, message).is_ok();
        if !is_sent {
            self.counters.control_answers_dropped_total.inc();
        }
        is_sent
    }

    /// The same; gives the message back if the ring is full.
    pub(crate) fn send_to_control(&mut self, message: PeerMessage) -> Result<(), PeerMessage> {
        self.links.try_send(self.control, message)
    }

    /// The links to other reactors.
    pub(crate) fn links(&self) -> &Links<PeerMessage> {
        &self.links
    }

    /// The same, to read and to flush.
    pub(crate) fn links_mut(&mut self) -> &mut Links<PeerMessage> {
        &mut self.links
    }

    /// Brings their gauges up to date.
    pub(crate) fn publish_gauges(&self) {
        let counters = &self.counters;
        let hub = self.hub.counts();
        counters.channels.set(hub.local_channels as u64);
        counters.home_channels.set(hub.home_channels as u64);
        counters.subscriptions.set(hub.subscriptions as u64);
        counters.patterns.set(hub.local_patterns as u64);
        counters.pattern_matches_total.set(hub.matches);
        counters.history_channels.set(hub.history_channels as u64);
        counters.history_messages.set(hub.history_messages as u64);
        counters.history_bytes.set(hub.history_bytes);
        counters.histories_evicted_total.set(hub.histories_evicted);
        let links = &self.links;
        counters.cross_reactor_batches_total.set(links.batches_sent);
        counters.cross_reactor_wakeups_total.set(links.wakes);
        let backlog = links.spilled() as u64;
        counters.cross_reactor_backlog.set(backlog);
    }

    /// Drops memory that is only kept for the next loop iteration; returns the bytes.
    pub(crate) fn shrink_scratch(&mut self) -> usize {
        crate::memory::drop_empty(&mut self.outputs) + self.paused.shrink() + self.links.shrink()
    }

    /// In tests: publications that incremental fan-outs hold.
    #[cfg(test)]
    pub(crate) fn held_publications(&self) -> usize {
        self.fanout.publications()
    }

    /// In tests: nothing is under way and no publisher waits.
    #[cfg(test)]
    pub(crate) fn is_quiet(&self) -> bool {
        self.congestion.is_empty() && self.fanout.is_empty() && self.paused.is_empty()
    }
}

/// The key of the control thread as a publisher, which cannot be made to wait.
const NO_PUBLISHER: u64 = 0;

/// Whether a publication for these receivers is for the connection in `slot`.
fn is_receiver(
    slot: u32,
    receivers: &Receivers,
    connections: &Connections,
    sessions: &Sessions,
) -> bool {
    let key = connections.key_at(slot);
    let conn = key.and_then(|key| connections.get(key));
    conn.is_some_and(|conn| {
        let identity = connections.identities().get(slot);
        sessions.is_receiver(conn.dialect, conn.session, identity, receivers)
    })
}
