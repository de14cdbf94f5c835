//! What the hub wants done: deliveries to connections, answers, messages to other reactors.

use roost_dialect::Publication;
use roost_dialect::dialect::Event;
use roost_hub::{
    ChannelId, Encoding, Frames, Item, Name, NamespaceId, Output, Publish, PublishError, PublishTo,
    ReactorId, Subscribe, SubscribeError, Subscriber,
};
use roost_net::ConnKey;
use roost_wire::Frozen;
use tracing::debug;

use crate::conn::Phase;
use crate::core::{Core, PeerMessage};
use crate::turn_output::Origin;

impl Core {
    /// Does all that the hub wants, and what follows from it.
    pub(crate) fn apply_pending(&mut self) {
        loop {
            self.apply_hub_outputs();
            // Only now: a message behind a handshake must not reach the hub while outputs from
            // before it wait, or it would overtake them.
            let Some((key, mut rest)) = self.early_data.pop() else {
                return;
            };
            self.handle_frame_bytes(key, &mut rest);
        }
    }

    /// Does what the hub wants, before it is told anything new: what it says of subscribers holds
    /// for the moment it says it.
    pub(crate) fn apply_hub_outputs(&mut self) {
        while !self.outputs.is_empty() {
            let mut outputs = std::mem::take(&mut self.outputs);
            for output in outputs.drain(..) {
                self.handle_output(output);
            }
            if self.outputs.is_empty() {
                self.outputs = outputs; // keep the larger allocation
            }
        }
    }

    fn handle_output(&mut self, output: Output<roost_dialect::Publication, Frozen>) {
        match output {
            Output::ToReactor(to, item) if self.is_control(to) => {
                self.send_to_control(PeerMessage::Hub(item));
            }
            Output::ToReactor(to, item) => self.links.send(to, PeerMessage::Hub(item)),
            Output::Subscribed {
                who,
                encoding: _,
                token,
                channel,
                topic,
                snapshot: _, // no dialect tells its clients of positions yet
            } => {
                self.on_subscribed(who.0, token, channel, topic);
            }
            Output::Published {
                publisher,
                token,
                publication,
            } => {
                self.on_published(ConnKey::from_bits(publisher), token, publication);
            }
            Output::Deliver {
                channel,
                namespace,
                ids: _,
                exclude,
                frames,
            } => {
                let namespace = namespace.0;
                let origin = Origin { channel, namespace };
                self.deliver(origin, exclude.map(ConnKey::from_bits), &frames);
            }
        }
    }

    fn on_subscribed(&mut self, slot: u32, token: u64, channel: ChannelId, topic: u64) {
        let Some(key) = self.table.key_at(slot) else {
            return;
        };
        if self
            .table
            .get(key)
            .is_some_and(|conn| conn.phase == Phase::Joining)
        {
            return self.on_joined(key);
        }
        let event = Event::Subscribed {
            token,
            channel,
            topic,
        };
        self.notify_dialect(key, event);
    }

    fn on_published(&mut self, key: ConnKey, token: u64, publication: u64) {
        self.notify_dialect(key, Event::Published { token, publication });
    }

    /// Gives a publication to this reactor's subscribers, in table order: to few at once, to many
    /// incrementally.
    fn deliver(&mut self, origin: Origin, exclude: Option<ConnKey>, frames: &Frames<Frozen>) {
        // A publisher that has gone excludes nobody: its slot may be another's by now.
        let exclude = exclude.filter(|&key| self.table.get(key).is_some());
        let channel = origin.channel;
        for (encoding, frame) in frames.iter() {
            let count = self.hub.subscriber_count(channel, encoding);
            let is_few = count <= self.settings.fan_out_at_once as usize;
            if is_few && !self.fanout.has(channel, encoding) {
                self.deliver_encoded(origin, exclude.map(ConnKey::slot), encoding, frame);
            } else if self.fanout.add(origin, encoding, frame.clone(), exclude) {
                self.congest(channel, encoding);
            }
        }
    }

    /// Gives the next piece of a fan-out to its subscribers.
    pub(crate) fn fan_out_piece(&mut self) {
        let piece = self.fanout.next_piece(
            &self.hub,
            &mut self.table,
            &mut self.turn_output,
            self.now,
            self.settings.fan_out_piece as usize,
        );
        self.counters.deliveries_total.add(piece.deliveries);
        self.relieve(piece.relieved);
    }

    /// A channel is published to faster than its fan-out goes: its publishers should wait.
    fn congest(&mut self, channel: ChannelId, encoding: Encoding) {
        let Some(name) = self.hub.channel_name(channel).map(Name::from) else {
            debug_assert!(false, "what is delivered has a channel");
            return;
        };
        self.counters.channel_backpressure_total.inc();
        let is_known = self.fanout.is_congested(&name);
        self.fanout.congest(channel, encoding, name.clone());
        if !is_known {
            debug!(channel = name.as_str(), "congested");
            self.notify_home(name, true);
        }
    }

    /// A channel's fan-out has caught up, or has no subscribers any more.
    fn relieve(&mut self, name: Option<Name>) {
        if let Some(name) = name.filter(|name| !self.fanout.is_congested(name)) {
            self.notify_home(name, false);
        }
    }

    fn notify_home(&mut self, name: Name, is_congested: bool) {
        let (home, me) = (self.hub.home_of(&name), self.me());
        if home == me {
            self.on_congestion(me, name, is_congested);
        } else {
            self.links
                .send(home, PeerMessage::Congestion { name, is_congested });
        }
    }

    /// The subscribers' reactor, or to publishers the home, says how it stands with a channel.
    fn on_congestion(&mut self, from: ReactorId, name: Name, is_congested: bool) {
        if is_congested {
            self.congestion.begin(name, from);
        } else if let Some(cleared) = self.congestion.end(&name, from) {
            for reactor in cleared.notify.iter() {
                let name = name.clone();
                self.links
                    .send(reactor, PeerMessage::Congestion { name, is_congested });
            }
            self.paused.extend(cleared.parked);
        }
    }

    fn me(&self) -> ReactorId {
        ReactorId(self.links.me() as u8)
    }

    /// Begins a subscription behind all that is on its way here.
    pub(crate) fn hub_subscribe(
        &mut self,
        who: Subscriber,
        encoding: Encoding,
        name: &str,
        token: u64,
    ) -> Result<ChannelId, SubscribeError> {
        let has_it = |core: &Core| {
            let channel = core.hub.channel(name);
            channel.is_some_and(|channel| core.hub.is_subscribed(who, encoding, channel))
        };
        let is_new = !self.fanout.is_empty() && !has_it(self);
        let namespace = match self.hub.channel(name) {
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
        let channel = self.hub.subscribe(subscribe, self.now, &mut self.outputs)?;
        if is_new {
            self.fanout.join(channel, encoding, who.0);
        }
        Ok(channel)
    }

    /// Publishes.
    pub(crate) fn hub_publish(
        &mut self,
        publish: Publish<'_, Publication>,
    ) -> Result<(), PublishError> {
        let codec = &mut self.codec;
        let encode = &mut |payload: &_, encoding, ids| codec.encode(payload, encoding, ids);
        self.hub
            .publish(publish, self.now, encode, &mut self.outputs)
    }

    /// The namespace of the channel that is published to: searched for by name only where no
    /// record here knows it.
    pub(crate) fn namespace_of(&self, to: PublishTo<'_>) -> u16 {
        match to {
            PublishTo::Channel(channel) => self.hub.namespace(channel).unwrap_or_default().0,
            PublishTo::Name(name) => self.settings.channels.number_of(name),
        }
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

    fn deliver_encoded(
        &mut self,
        origin: Origin,
        exclude: Option<u32>,
        encoding: Encoding,
        frame: &Frozen,
    ) {
        let frame = self.turn_output.share(frame, Some(origin));
        let mut deliveries = 0;
        for subscriber in self.hub.subscribers(origin.channel, encoding) {
            if exclude == Some(subscriber.0) {
                continue;
            }
            let Some(conn) = self.table.at_mut(subscriber.0) else {
                debug_assert!(false, "a subscriber is in the table");
                continue;
            };
            conn.last_message = self.now;
            self.turn_output.enqueue(subscriber.0, conn, frame);
            deliveries += 1;
        }
        self.counters.deliveries_total.add(deliveries);
    }

    /// Handles a batch from another reactor.
    pub(crate) fn handle_peer_messages(&mut self, from: ReactorId, mut batch: Vec<PeerMessage>) {
        for message in batch.drain(..) {
            let item = match message {
                PeerMessage::Hub(item) => item,
                PeerMessage::Congestion { name, is_congested } => {
                    self.on_congestion(from, name, is_congested);
                    continue;
                }
                PeerMessage::Request(request) => {
                    self.handle_request(request.0, request.1);
                    continue;
                }
                PeerMessage::Answer(_) => {
                    debug_assert!(false, "reactors do not ask each other");
                    continue;
                }
            };
            if self.is_control(from) && !self.admit_from_control(&item) {
                continue;
            }
            if let Item::Publish { name, .. } = &item
                && !self.congestion.is_empty()
                && self.congestion.notify_once(name, from)
            {
                let (name, is_congested) = (name.clone(), true);
                self.links
                    .send(from, PeerMessage::Congestion { name, is_congested });
            }
            let codec = &mut self.codec;
            self.hub.handle(
                from,
                item,
                self.now,
                &mut |publication, encoding, ids| codec.encode(publication, encoding, ids),
                &mut self.outputs,
            );
            self.apply_pending();
        }
        self.links.recycle(batch);
    }
}
