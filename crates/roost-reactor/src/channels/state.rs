//! The channels of one reactor: the hub, and all that comes between it and the connections.

use std::sync::Arc;

use roost_dialect::Publication;
use roost_hub::{
    ChannelId, Encoding, EncodingSet, EventIds, Frames, HistoryView, HomeEntries, Hub, HubLimits,
    HubOptions, Item, MatchedEvent, Member, Name, NameError, NamespaceId, Output, Placement,
    Position, PresenceQuery, PresenceView, Publish, PublishError, PublishTo, ReactorId, Route,
    Since, Subscribe, SubscribeError, SubscribePattern, Subscriber, SubscriberIter, Tail,
};
use roost_metrics::{Counters, NamespaceCounters};
use roost_net::ConnKey;

use super::congestion::Congestion;
use super::expiries::Expiries;
use super::fanout::Fanout;
use super::inflow::Inflow;
use super::links::Links;
use super::notice::{HubOutput, Notice, notice_of};
use super::paused::Paused;
use super::recovered::{RecoveredFrames, is_receiver};
use super::taps::{TappedItem, Taps, Travels, is_canary, next_tick};
use crate::clock::TICK_MS;
use crate::connections::{Codec, Connections, Origin};
use crate::control::{ChannelRecord, Refusal};
use crate::image::Image;
use crate::peer_message::PeerMessage;
use crate::sessions::Sessions;
use crate::settings::{Settings, SlowConsumer};
use crate::watched::Watched;

/// All channels that connections of one reactor are subscribed to, and those whose home it is. The
/// only caller of the hub, and the only part that carries out what it says.
pub(crate) struct Channels {
    settings: Arc<Settings>,
    pub(super) counters: Arc<Counters>,
    /// By a namespace's number in the settings.
    pub(super) namespaces: Arc<[NamespaceCounters]>,
    pub(super) hub: Watched<Hub<Publication, Image>>,
    pub(super) links: Links<PeerMessage>,
    pub(super) fanout: Fanout,
    pub(super) congestion: Congestion,
    /// How much may be published, of all reactors together.
    pub(super) inflow: Arc<Inflow>,
    /// Publishers that are not read for a while.
    pub(super) paused: Paused,
    /// The control thread's number in the mesh.
    control: ReactorId,
    /// What it hears as a subscriber.
    taps: Taps,
    /// Channels whose home is here and that it publishes on itself.
    canaries: usize,
    /// What the hub wants done next; reused.
    outputs: Vec<HubOutput>,
    recovered: RecoveredFrames,
    expiries: Expiries,
    /// From which place on channels are still given the namespaces that a reload has added.
    unnumbered: Option<u32>,
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

/// An empty hub.
fn hub_of(options: HubOptions, settings: &Settings) -> Hub<Publication, Image> {
    let mut hub = Hub::new(options);
    hub.set_reports_occupancy(settings.events.kinds.has_occupancy());
    hub.set_reports_users(settings.events.kinds.has_users());
    hub
}

/// Channels that are given their namespace in one loop iteration: of each some 50 ns, and as much
/// again for each ten namespaces.
const CHANNELS_NUMBERED: u32 = 4096;
/// No namespace has this number: its channels keep no history.
const NO_NAMESPACE: NamespaceId = NamespaceId(u16::MAX);
/// No channel's number is so high.
const ABOVE_CHANNELS: u64 = 1 << 63;

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
            hub: Watched::new(hub_of(hub, settings)),
            links,
            fanout: Fanout::default(),
            congestion: Congestion::default(),
            inflow: inflow.clone(),
            paused: Paused::default(),
            control: crate::control::control_id(reactors),
            taps: Taps::default(),
            canaries: 0,
            outputs: Vec::new(),
            recovered: RecoveredFrames::default(),
            expiries: Expiries::default(),
            unnumbered: None,
        }
    }

    /// New settings hold from now on. Channels whose namespace has just been added are of it as soon as
    /// [`Channels::number_some`] has come to them.
    pub(crate) fn configure(
        &mut self,
        settings: &Arc<Settings>,
        namespaces: &Arc<[NamespaceCounters]>,
        limits: HubLimits,
        inflow: &Arc<Inflow>,
    ) {
        let before = self.settings.channels.namespaces.len();
        if settings.channels.namespaces.len() > before {
            self.unnumbered = Some(0);
        }
        self.settings = settings.clone();
        self.namespaces = namespaces.clone();
        self.inflow = inflow.clone();
        self.hub.set_limits(limits);
        self.hub.name_namespaces(&settings.channels.names());
        self.paused.wake_all();
    }

    /// Whether there are channels without the namespace that they have now.
    #[inline]
    pub(crate) fn is_numbering(&self) -> bool {
        self.unnumbered.is_some()
    }

    /// Gives some channels the namespaces that they have now.
    #[cold]
    pub(crate) fn number_some(&mut self) {
        let Some(from) = self.unnumbered.take() else {
            return;
        };
        let until = from.saturating_add(CHANNELS_NUMBERED);
        let policies = &self.settings.channels;
        let number_of = |name: &str| NamespaceId(policies.number_of(name));
        if self.hub.set_namespaces(from, until, number_of) {
            self.unnumbered = Some(until);
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

    /// Gives the connection in `slot` what it has missed in a channel.
    pub(crate) fn deliver_recovered(
        &mut self,
        slot: u32,
        channel: ChannelId,
        tail: &Tail<Image>,
        connections: &mut Connections,
        sessions: &Sessions,
    ) {
        let origin = Origin {
            channel: u64::from(channel.0),
            namespace: self.hub.namespace(channel).unwrap_or_default().0,
        };
        let recovered = &mut self.recovered;
        let deliveries = recovered.deliver(slot, (tail, origin), connections, sessions);
        self.counters.deliveries_total.add(deliveries);
    }

    /// The reactor that orders a channel, by its name.
    pub(crate) fn home_of(&self, name: &str) -> ReactorId {
        self.hub.home_of(name)
    }

    /// What a channel keeps whose home is here.
    pub(crate) fn history(&self, name: &str, now: u32) -> HistoryView<'_, Publication> {
        self.hub.history(name, now)
    }

    /// Forgets it. False if the channel keeps nothing.
    pub(crate) fn remove_history(&mut self, name: &str, now: u32) -> bool {
        self.hub.remove_history(name, now)
    }

    /// Forgets what channels have kept for long enough.
    pub(crate) fn expire_histories(&mut self, now: u32) {
        self.recovered.clear();
        if self.hub.history_due() <= now {
            self.hub.expire(now);
        }
    }

    /// Whether a connection that subscribes to a channel becomes a member of it.
    pub(crate) fn takes_member(&self, who: Subscriber, encoding: Encoding, name: &str) -> bool {
        self.hub.takes_member(who, encoding, name, || {
            NamespaceId(self.settings.channels.number_of(name))
        })
    }

    /// It has subscribed.
    pub(crate) fn join(&mut self, channel: ChannelId, member: Member, now: u32) {
        self.hub.join(channel, member, now, &mut self.outputs);
    }

    /// Asks who is in a channel; [`Notice::Presence`] follows.
    pub(crate) fn ask_presence(
        &mut self,
        query: PresenceQuery,
        codec: &mut Codec,
        now: u32,
    ) -> Result<(), NameError> {
        let encode = &mut told_by(codec);
        self.hub.ask_presence(query, now, encode, &mut self.outputs)
    }

    /// Who is in a channel whose home is here.
    pub(crate) fn presence(&mut self, name: &str, counts_only: bool, now: u32) -> PresenceView {
        self.hub.presence(name, counts_only, now)
    }

    /// Tells subscribers who has come and gone.
    #[cold]
    pub(crate) fn tell_presence(&mut self, codec: &mut Codec, now: u32) {
        let encode = &mut told_by(codec);
        self.hub.tell_presence(now, encode, &mut self.outputs);
    }

    /// The tick at which there is something to tell.
    pub(crate) fn presence_due(&self) -> u32 {
        self.hub.presence_due()
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

    /// [`Hub::set_watched`]
    pub(crate) fn watch(&mut self, encodings: EncodingSet) {
        self.hub.set_watched(encodings);
    }

    /// [`Hub::set_cause`]
    pub(crate) fn set_cause(&mut self, cause: u64) {
        self.hub.set_cause(cause);
    }

    /// [`Hub::entries`]
    pub(crate) fn entries(&mut self) -> HomeEntries<'_> {
        self.hub.entries()
    }

    /// [`Hub::topic`]
    pub(crate) fn topic(&self, channel: ChannelId) -> Option<u64> {
        self.hub.topic(channel)
    }

    /// [`Hub::subscribers_from`]
    pub(crate) fn subscribers_from(
        &self,
        channel: ChannelId,
        encoding: Encoding,
        first: Subscriber,
    ) -> SubscriberIter<'_> {
        self.hub.subscribers_from(channel, encoding, first)
    }

    /// The name of a channel's or pattern's record.
    pub(crate) fn record_name(&self, channel: ChannelId) -> Option<&str> {
        self.hub.channel_name(channel)
    }

    /// The tick at which the next subscription ends that is to.
    #[inline]
    pub(crate) fn expiries_due(&self) -> u32 {
        self.expiries.due()
    }

    /// When subscriptions end, of those that do.
    pub(crate) fn expiries_mut(&mut self) -> &mut Expiries {
        &mut self.expiries
    }

    /// Ends a subscription, and what was on its way if it was the last.
    pub(crate) fn unsubscribe(
        &mut self,
        who: Subscriber,
        encoding: Encoding,
        channel: ChannelId,
        now: u32,
    ) {
        self.hub.set_time(now);
        self.expiries.forget(who.0, channel);
        self.hub
            .unsubscribe(who, encoding, channel, &mut self.outputs);
        self.end_delivery(who, encoding, channel);
    }

    /// The same, because the connection has ended.
    pub(crate) fn end_subscription(
        &mut self,
        who: Subscriber,
        encoding: Encoding,
        channel: ChannelId,
        now: u32,
    ) {
        self.hub.set_time(now);
        self.hub.end(who, encoding, channel, &mut self.outputs);
        self.end_delivery(who, encoding, channel);
    }

    fn end_delivery(&mut self, who: Subscriber, encoding: Encoding, channel: ChannelId) {
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
        if !is_canary(name) {
            self.counters.publishes_total.inc();
        }
        let encode = &mut |payload: &_, encoding, ids, route: Route<'_>| {
            Image::new(codec.encode(payload, encoding, ids, route), payload)
        };
        let hub = &mut self.hub;
        Ok(hub.publish_at_home(name, payload, now, encode, &mut self.outputs))
    }

    /// A channel's name, or a pattern's text and that it is one.
    pub(crate) fn shown_name(&self, channel: ChannelId) -> Option<(&str, bool)> {
        match self.hub.pattern_of(channel) {
            Some(pattern) => Some((pattern.text(), true)),
            None => Some((self.hub.channel_name(channel)?, false)),
        }
    }

    /// A channel's name; `None` of a pattern.
    pub(crate) fn full_name(&self, channel: ChannelId) -> Option<Name> {
        match self.hub.pattern_of(channel) {
            Some(_) => None,
            None => self.hub.channel_name(channel).map(Name::from),
        }
    }

    /// Above all places of channels whose home is here.
    pub(crate) fn home_end(&self) -> u32 {
        self.hub.home_end()
    }

    /// The channel at such a place.
    pub(crate) fn home_channel(&self, place: u32, now: u32) -> Option<ChannelRecord> {
        let (name, namespace, offset) = self.hub.home_channel(place)?;
        if is_canary(name) {
            return None;
        }
        let kept = self.hub.history(name, now).len();
        Some(ChannelRecord {
            name: name.clone(),
            namespace: namespace.0,
            offset,
            kept: u32::try_from(kept).unwrap_or(u32::MAX),
            presence: self.hub.presence_counts(name),
        })
    }

    /// The channel of this name, if its home is here.
    pub(crate) fn home_channel_named(&self, name: &str, now: u32) -> Option<ChannelRecord> {
        self.home_channel(self.hub.home_place(name)?, now)
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

    /// Where a channel stands, as it is known here.
    pub(crate) fn position(&self, channel: ChannelId) -> Option<Position> {
        self.hub.snapshot(channel).map(|snapshot| snapshot.position)
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
            Output::ToReactor(to, item) if to == self.control => {
                self.tell_control(item, connections.clock().now);
            }
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
            Output::Subscribed { .. }
            | Output::Refused { .. }
            | Output::Published { .. }
            | Output::Presence(_)
            | Output::Occupancy { .. }
            | Output::User { .. }
            | Output::Watched(_) => {
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
        // The home may have taken new settings before this reactor.
        let count = self.settings.channels.namespaces.len();
        let known = known.filter(|&number| usize::from(number) <= count);
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
                            is_receiver((slot, channel), receivers, connections, sessions)
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
        let is_receiver =
            |to, receivers: &_, connections: &_| is_receiver(to, receivers, connections, sessions);
        let hub = &self.hub;
        let piece = self
            .fanout
            .next_piece(hub, connections, visits_max, is_receiver);
        self.counters.deliveries_total.add(piece.deliveries);
        self.relieve(piece.relieved);
    }

    /// Handles what another reactor's hub says.
    pub(crate) fn receive(
        &mut self,
        from: ReactorId,
        mut item: Item<Publication, Image>,
        codec: &mut Codec,
        now: u32,
    ) {
        // Its sender may not have heard of a reload yet that has added the namespace.
        if let Item::Interest {
            name, namespace, ..
        } = &mut item
        {
            *namespace = NamespaceId(self.settings.channels.number_of(name));
            if is_canary(name) {
                (*namespace, self.canaries) = (NO_NAMESPACE, self.canaries + 1);
            }
        }
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
                if !payload.is_of_members() {
                    counters.publications_not_carried_total.inc();
                }
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

    /// The control thread hears something as a subscriber, or that it is one.
    #[cold]
    fn tell_control(&mut self, item: Item<Publication, Image>, now: u32) {
        let Item::Deliver {
            local, ids, frames, ..
        } = &item
        else {
            let _ = self.send_to_control(PeerMessage::Hub(item)); // if it is lost, it waits in vain
            return;
        };
        let Some(heard) = TappedItem::new(*local, *ids, frames) else {
            debug_assert!(false, "it subscribes in one form");
            return;
        };
        if local.cookie == Travels::AtOnce as u32 {
            self.send_heard_now(vec![heard]);
        } else if self.taps.push(heard) {
            self.paused.set_alarm(next_tick(now));
        }
    }

    /// Sends the control thread what it hears and what has waited for this tick.
    #[cold]
    pub(crate) fn send_heard(&mut self) {
        let heard = self.taps.take();
        if !heard.is_empty() {
            self.send_heard_now(heard);
        }
    }

    /// What its ring does not take is lost, and leaves a gap in the offsets.
    fn send_heard_now(&mut self, heard: Vec<TappedItem>) {
        let _ = self.send_to_control(PeerMessage::Tapped(heard));
    }

    /// The control thread's number in the mesh.
    #[inline]
    pub(crate) fn control(&self) -> ReactorId {
        self.control
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
    pub(crate) fn publish_gauges(&mut self) {
        let counters = &self.counters;
        let links = &self.links;
        counters.cross_reactor_batches_total.set(links.batches_sent);
        counters.cross_reactor_wakeups_total.set(links.wakes);
        let backlog = links.spilled() as u64;
        counters.cross_reactor_backlog.set(backlog);
        if self.hub.take_changed() {
            self.publish_hub_gauges();
        }
    }

    fn publish_hub_gauges(&self) {
        let counters = &self.counters;
        let hub = self.hub.counts();
        counters.channels.set(hub.local_channels as u64);
        let home_channels = hub.home_channels.saturating_sub(self.canaries);
        counters.home_channels.set(home_channels as u64);
        counters.subscriptions.set(hub.subscriptions as u64);
        counters.patterns.set(hub.local_patterns as u64);
        counters.pattern_matches_total.set(hub.matches);
        counters.history_channels.set(hub.history_channels as u64);
        counters.history_messages.set(hub.history_messages as u64);
        counters.history_bytes.set(hub.history_bytes);
        counters.histories_evicted_total.set(hub.histories_evicted);
        counters.presence_channels.set(hub.presence_channels as u64);
        counters.presence_members.set(hub.presence_members as u64);
        counters.presence_unlisted.set(hub.presence_unlisted);
        counters.presence_bytes.set(hub.presence_bytes);
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

/// Encodes what subscribers are told of members.
fn told_by(
    codec: &mut Codec,
) -> impl FnMut(&Publication, Encoding, EventIds, Route<'_>) -> Image + '_ {
    move |payload, encoding, ids, route| {
        if !Codec::carries(payload, encoding) {
            return Image::for_none();
        }
        Image::new(codec.encode(payload, encoding, ids, route), payload)
    }
}
