//! What publishers wait for before they are read again: the end of a channel's congestion, a rate, or room.

use std::collections::BTreeSet;

use roost_hub::{ChannelId, Encoding, MatchedEvent, Name, PublishTo, ReactorId};
use roost_net::ConnKey;
use tracing::debug;

use super::links::Lane;
use super::paused::Paused;
use super::state::Channels;
use crate::clock::TICK_MS;
use crate::connections::{Connections, Phase};
use crate::control::PausedFor;
use crate::peer_message::PeerMessage;

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

impl Channels {
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
                    PublishTo::Channel(channel) => self.hub.inner.channel_name(channel),
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
    #[inline]
    pub(crate) fn has_paused_to_read(&self, now: u32) -> bool {
        self.paused.is_due(now) && self.has_room()
    }

    /// Paused publishers that can be read again.
    pub(crate) fn paused(&mut self) -> &mut Paused {
        &mut self.paused
    }

    /// The tick at which the first paused publisher is due.
    #[inline]
    pub(crate) fn paused_due(&self) -> u32 {
        self.paused.due()
    }

    /// A channel is published to faster than its fan-out goes, or that of a pattern it matches: its
    /// publishers should wait.
    pub(super) fn congest(
        &mut self,
        key: (ChannelId, Encoding),
        event: Option<&MatchedEvent>,
        connections: &mut Connections,
    ) {
        let own = self.hub.inner.channel_name(key.0);
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
    pub(super) fn relieve(&mut self, names: BTreeSet<Name>) {
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
}

/// The key of the control thread as a publisher, which cannot be made to wait.
const NO_PUBLISHER: u64 = 0;
