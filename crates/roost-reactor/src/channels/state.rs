//! The channels of one reactor: the hub, and all that comes between it and the connections.

use std::sync::Arc;

use roost_dialect::Publication;
use roost_hub::{
    ChannelId, Encoding, Frames, HubLimits, HubOptions, Item, MatchedEvent, NamespaceId, Output,
    Placement, Publish, PublishError, PublishTo, ReactorId, Route, Since, Subscribe,
    SubscribeError, SubscribePattern, Subscriber, Tail,
};
use roost_metrics::{Counters, NamespaceCounters};
use roost_net::ConnKey;

use super::congestion::Congestion;
use super::delivery::{self, Recipients};
use super::deltas::Deltas;
use super::expiries::Expiries;
use super::fanout::Fanout;
use super::inflow::Inflow;
use super::links::Links;
use super::notice::{HubOutput, Notice, notice_of};
use super::paused::Paused;
use super::reactor_hub::{ReactorHub, told_by};
use super::recovered::{RecoveredFrames, is_receiver};
use super::taps::{TappedItem, Taps, Travels, is_canary, next_tick};
use crate::clock::TICK_MS;
use crate::connections::{Codec, Connections, Origin};
use crate::control::Refusal;
use crate::image::Image;
use crate::peer_message::PeerMessage;
use crate::sessions::Sessions;
use crate::settings::{Settings, SlowConsumer};

/// All channels that connections of one reactor are subscribed to, and those whose home it is. The
/// only caller of the hub, and the only part that carries out what it says.
pub(crate) struct Channels {
    settings: Arc<Settings>,
    pub(super) counters: Arc<Counters>,
    /// By a namespace's number in the settings.
    pub(super) namespaces: Arc<[NamespaceCounters]>,
    pub(super) hub: ReactorHub,
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
    recovered: RecoveredFrames,
    expiries: Expiries,
    deltas: Deltas,
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
            hub: ReactorHub::new(hub, settings),
            links,
            fanout: Fanout::default(),
            congestion: Congestion::default(),
            inflow: inflow.clone(),
            paused: Paused::default(),
            control: crate::control::control_id(reactors),
            taps: Taps::default(),
            canaries: 0,
            recovered: RecoveredFrames::default(),
            expiries: Expiries::default(),
            deltas: Deltas::default(),
        }
    }

    /// New settings hold from now on. Channels whose namespace has just been added are of it as soon as
    /// [`ReactorHub::number_some`] has come to them.
    pub(crate) fn configure(
        &mut self,
        settings: &Arc<Settings>,
        namespaces: &Arc<[NamespaceCounters]>,
        limits: HubLimits,
        inflow: &Arc<Inflow>,
    ) {
        self.settings = settings.clone();
        self.namespaces = namespaces.clone();
        self.inflow = inflow.clone();
        self.hub.configure(settings, limits);
        self.paused.wake_all();
    }

    /// The hub, to look at.
    #[inline]
    pub(crate) fn hub(&self) -> &ReactorHub {
        &self.hub
    }

    /// The hub, to be asked, and told of members.
    #[inline]
    pub(crate) fn hub_mut(&mut self) -> &mut ReactorHub {
        &mut self.hub
    }

    /// [`ReactorHub::find`]
    pub(crate) fn find(&self, name: &str) -> Option<ChannelId> {
        self.hub.find(name)
    }

    /// [`ReactorHub::namespace_of`]
    pub(crate) fn namespace_of(&self, to: PublishTo<'_>) -> u16 {
        self.hub.namespace_of(to)
    }

    /// [`ReactorHub::name_of`]
    pub(crate) fn name_of<'a>(&'a self, to: PublishTo<'a>) -> Option<&'a str> {
        self.hub.name_of(to)
    }

    /// [`ReactorHub::home_of`]
    pub(crate) fn home_of(&self, name: &str) -> ReactorId {
        self.hub.home_of(name)
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
        let known = self.hub.inner.channel(name);
        let is_new = !self.fanout.is_empty()
            && !known.is_some_and(|channel| self.hub.inner.is_subscribed(who, encoding, channel));
        let namespace = match known {
            Some(channel) => self.hub.inner.namespace(channel).unwrap_or_default(),
            None => NamespaceId(self.settings.channels.number_of(name)),
        };
        let subscribe = Subscribe {
            who,
            encoding,
            name,
            namespace,
            token,
        };
        let channel = self
            .hub
            .inner
            .subscribe(subscribe, now, &mut self.hub.outputs)?;
        if is_new {
            self.fanout.join(channel, encoding, who.0);
        }
        self.deltas.join(channel, encoding, who.0);
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
        let known = self.hub.inner.channel(name);
        let known = known.and_then(|channel| self.hub.inner.namespace(channel));
        let number = || NamespaceId(self.settings.channels.number_of(name));
        let subscribe = Subscribe {
            who,
            encoding,
            name,
            namespace: known.unwrap_or_else(number),
            token,
        };
        let encode = &mut told_by(codec);
        self.hub
            .inner
            .subscribe_since(subscribe, since, now, encode, &mut self.hub.outputs)
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
            namespace: self.hub.inner.namespace(channel).unwrap_or_default().0,
        };
        let recovered = &mut self.recovered;
        let deliveries = recovered.deliver(slot, (tail, origin), connections, sessions);
        self.counters.deliveries_total.add(deliveries);
    }

    /// Forgets what channels have kept for long enough.
    pub(crate) fn expire_histories(&mut self, now: u32) {
        self.recovered.clear();
        if self.hub.history_due() <= now {
            self.hub.inner.expire(now);
        }
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
            let known = self.hub.inner.pattern(pattern);
            !known.is_some_and(|number| self.hub.inner.is_subscribed(who, encoding, number))
        };
        let number = self
            .hub
            .inner
            .subscribe_pattern(subscribe, now, &mut self.hub.outputs)?;
        if is_new {
            self.fanout.join(number, encoding, who.0);
        }
        Ok(number)
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
        self.hub.inner.set_time(now);
        self.expiries.forget(who.0, channel);
        self.hub
            .inner
            .unsubscribe(who, encoding, channel, &mut self.hub.outputs);
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
        self.hub.inner.set_time(now);
        self.expiries.forget(who.0, channel);
        self.hub
            .inner
            .end(who, encoding, channel, &mut self.hub.outputs);
        self.end_delivery(who, encoding, channel);
    }

    fn end_delivery(&mut self, who: Subscriber, encoding: Encoding, channel: ChannelId) {
        if self.fanout.is_empty() && self.deltas.is_empty() {
            return;
        }
        let is_last = self.hub.inner.subscriber_count(channel, encoding) == 0;
        self.deltas.leave(channel, encoding, who.0, is_last);
        self.fanout.leave(channel, encoding, who.0);
        if is_last {
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
            codec.encode(payload, encoding, ids, route)
        };
        self.hub
            .inner
            .publish(publish, now, encode, &mut self.hub.outputs)
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
        let encode =
            &mut |payload: &_, to, ids, route: Route<'_>| codec.encode(payload, to, ids, route);
        let hub = &mut self.hub.inner;
        Ok(hub.publish_at_home(name, payload, now, encode, &mut self.hub.outputs))
    }

    /// Whether the hub wants something done.
    #[inline]
    pub(crate) fn has_outputs(&self) -> bool {
        !self.hub.outputs.is_empty()
    }

    /// Takes out what the hub wants done; give the list back with [`Channels::return_outputs`].
    pub(crate) fn take_outputs(&mut self) -> Vec<HubOutput> {
        std::mem::take(&mut self.hub.outputs)
    }

    /// Takes the list back, empty by now.
    pub(crate) fn return_outputs(&mut self, outputs: Vec<HubOutput>) {
        if self.hub.outputs.is_empty() {
            self.hub.outputs = outputs; // keep the larger allocation
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
                self.deltas.join(channel, encoding, who.0);
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
            self.hub.inner.hash_matched(pattern, &event.channel)
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
            let count = self.hub.inner.subscriber_count(channel, encoding);
            let is_few = count <= self.settings.fan_out_at_once as usize;
            if is_few && !self.fanout.has(channel, encoding) {
                let to = Recipients {
                    channel,
                    encoding,
                    origin,
                    exclude: exclude.map(ConnKey::slot),
                };
                let (hub, deltas) = (&self.hub.inner, &mut self.deltas);
                let given = delivery::deliver(hub, &to, image, connections, sessions, deltas);
                self.counters.deliveries_total.add(given);
                continue;
            }
            let key = (channel, encoding);
            let image = delivery::for_fanout(image, key, count, &mut self.deltas);
            if self.fanout.add(key, origin, image, exclude) {
                self.congest(key, event, connections);
            }
        }
    }

    /// These connections have not got something of these channels: what they get next of them is whole.
    #[cold]
    pub(crate) fn note_lost(&mut self, lost: &[(ConnKey, u64)], connections: &Connections) {
        self.deltas.note_lost(lost, &self.hub.inner, connections);
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
        let (hub, deltas) = (&self.hub.inner, &mut self.deltas);
        let piece = self
            .fanout
            .next_piece(hub, connections, deltas, visits_max, is_receiver);
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
            codec.encode(payload, encoding, ids, route)
        };
        self.hub
            .inner
            .handle(from, item, now, encode, &mut self.hub.outputs);
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
    #[inline]
    pub(crate) fn publish_gauges(&mut self) {
        let counters = &self.counters;
        let links = &self.links;
        counters.cross_reactor_batches_total.set(links.batches_sent);
        counters.cross_reactor_wakeups_total.set(links.wakes);
        let backlog = links.spilled() as u64;
        counters.cross_reactor_backlog.set(backlog);
        if self.hub.inner.take_changed() {
            self.hub.publish_gauges(counters, self.canaries);
        }
    }

    /// Drops memory that is only kept for the next loop iteration; returns the bytes.
    pub(crate) fn shrink_scratch(&mut self) -> usize {
        crate::memory::drop_empty(&mut self.hub.outputs)
            + self.paused.shrink()
            + self.links.shrink()
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
