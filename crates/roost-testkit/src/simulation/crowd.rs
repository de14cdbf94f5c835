//! All peers of a simulation, on one simulated driver, and the script they follow.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseMode, ConnKey, ConnectOptions, Driver, Event, SendStatus};
use roost_reactor::Reactor;
use roost_wire::CloseCode;

use super::peer::{Kind, Manner, Peer, State};
use super::plan::{NAMESPACES, Plan};

pub(super) struct Crowd {
    driver: SimDriver,
    address: SocketAddr,
    pub(super) peers: Vec<Peer>,
    rng: SimRng,
    plan: Plan,
    /// What is to be done when: time, order of making, peer, action.
    agenda: BinaryHeap<Reverse<(u64, usize, usize, Action)>>,
    made: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Dial,
    Publish,
    Stall,
    Read,
    Vanish,
    HalfClose,
    Close,
    /// Publishes and says goodbye in one breath.
    LastWords,
    Misbehave,
    Ping,
    Unsubscribe,
    Subscribe,
    /// Several of the above in one breath.
    Burst,
    /// Says the rest of its request, or answers a ping.
    Rest,
    /// One of very many publications.
    Flood,
    /// One of very many publications to one channel, by all who may.
    Rush,
}

impl Crowd {
    pub(super) fn new(plan: &Plan, driver: SimDriver, address: SocketAddr, rng: SimRng) -> Crowd {
        let mut crowd = Crowd {
            driver,
            address,
            peers: Vec::new(),
            rng,
            plan: plan.clone(),
            agenda: BinaryHeap::new(),
            made: 0,
        };
        for channel in 0..plan.channels {
            for _ in 0..plan.witnesses {
                crowd.add(Kind::Raw(channel), Manner::Usual, true);
            }
        }
        for _ in 0..plan.peers {
            let kind = crowd.draw_kind();
            let manner = crowd.draw_manner();
            crowd.add(kind, manner, false);
        }
        for _ in 0..plan.hermits {
            crowd.add(Kind::Raw(plan.channels), Manner::Usual, false);
        }
        for n in 0..plan.hoarders {
            crowd.add(Kind::Raw(n % NAMESPACES.len()), Manner::Hoarder, false);
        }
        for _ in 0..plan.floods.len() * RELAYS {
            let kind = crowd.draw_kind();
            crowd.add(kind, Manner::Usual, false);
        }
        crowd
    }

    fn add(&mut self, kind: Kind, manner: Manner, witness: bool) -> usize {
        let index = self.peers.len();
        self.peers.push(Peer::new(index, kind, manner, witness));
        index
    }

    fn draw_manner(&mut self) -> Manner {
        match self.rng.below(1000) {
            0..60 => Manner::Eager,
            60..90 => Manner::Mute,
            90..100 => Manner::HalfHead,
            100..110 => Manner::Silent,
            110..120 => Manner::Deaf,
            _ => Manner::Usual,
        }
    }

    /// Nobody talks in a hermit's channel.
    fn is_hermit(&self, index: usize) -> bool {
        self.peers[index].kind == Kind::Raw(self.plan.channels)
    }

    fn draw_kind(&mut self) -> Kind {
        let channels = self.plan.channels as u64;
        if self.rng.per_mille(500) {
            return Kind::Raw(self.rng.below(channels) as usize);
        }
        let count = self.rng.between(1, channels.min(4));
        let mut all: Vec<usize> = (0..channels as usize).collect();
        self.rng.shuffle(&mut all);
        Kind::Wamp(all[..count as usize].to_vec())
    }

    // The script.

    pub(super) fn dial_witnesses(&mut self) {
        for index in 0..self.peers.len() {
            if self.peers[index].witness {
                self.plan_action(index, 0, Action::Dial);
            }
        }
        self.turn(); // the driver must learn of the agenda
    }

    pub(super) fn schedule_script(&mut self) {
        let length = self.plan.end_ns - self.plan.start_ns;
        let first_relay = self.peers.len() - self.plan.floods.len() * RELAYS;
        for index in 0..first_relay {
            if self.peers[index].witness {
                continue;
            }
            if self.is_hermit(index) || self.peers[index].manner == Manner::Hoarder {
                self.plan_action(index, self.plan.start_ns, Action::Dial);
                if self.peers[index].manner == Manner::Hoarder {
                    // Much waits before its pong.
                    let late = self.plan.start_ns + RUSH_AFTER_NS + RUSH_GAP_NS * RUSH_MESSAGES;
                    self.plan_action(index, late, Action::Ping);
                }
                continue;
            }
            let at = self.plan.start_ns + self.rng.below(length * 2 / 3);
            self.plan_action(index, at, Action::Dial);
            if self.peers[index].manner == Manner::Deaf {
                continue;
            }
            for _ in 0..self.rng.below(8) {
                self.plan_some(index, Action::Publish);
            }
            for (action, rate) in [
                (Action::Ping, 100),
                (Action::Vanish, 120),
                (Action::Close, 100),
                (Action::LastWords, 30),
                (Action::HalfClose, 30),
                (Action::Misbehave, 20),
                (Action::Unsubscribe, 150),
                (Action::Subscribe, 150),
                (Action::Burst, 200),
            ] {
                if self.rng.per_mille(rate) {
                    self.plan_some(index, action);
                }
            }
            if self.rng.per_mille(150) {
                self.plan_some(index, Action::Stall);
                if self.rng.per_mille(500) {
                    self.plan_some(index, Action::Read);
                }
            }
        }
        self.schedule_rush(first_relay);
        for (flood, (at, _)) in self.plan.floods.clone().into_iter().enumerate() {
            self.schedule_flood(at, first_relay + flood * RELAYS);
        }
        self.turn();
    }

    /// All who may publish to a channel with hoarders, one by one.
    fn schedule_rush(&mut self, first_relay: usize) {
        for n in 0..RUSH_MESSAGES {
            let index = self.rng.below(first_relay as u64) as usize;
            let peer = &self.peers[index];
            let may = match peer.kind {
                Kind::Raw(channel) => channel < NAMESPACES.len(),
                Kind::Wamp(_) => true,
            };
            let talks = !matches!(peer.manner, Manner::Deaf | Manner::Hoarder);
            if may && talks && !peer.witness {
                let at = self.plan.start_ns + RUSH_AFTER_NS + n * RUSH_GAP_NS;
                self.plan_action(index, at, Action::Rush);
            }
        }
    }

    fn schedule_flood(&mut self, at: u64, first_relay: usize) {
        let any = |crowd: &mut Crowd| {
            let index = crowd.rng.below(first_relay as u64) as usize;
            let peer = &crowd.peers[index];
            let mute = matches!(peer.manner, Manner::Deaf | Manner::Hoarder);
            let talks = !peer.witness && !mute && !crowd.is_hermit(index);
            let may = match peer.kind {
                Kind::Raw(channel) => channel.is_multiple_of(NAMESPACES.len()),
                Kind::Wamp(_) => true,
            };
            (talks && may).then_some(index)
        };
        for _ in 0..FLOODERS {
            let Some(index) = any(self) else { continue };
            // One by one: each makes mail of its own, so that rings get full.
            for n in 0..FLOOD_MESSAGES {
                let later = self.plan.flood_ns * n / FLOOD_MESSAGES;
                self.plan_action(index, at + later, Action::Flood);
            }
        }
        // Some leave while their last messages wait for the reactor that does not run, and others
        // of their kind take their slots.
        for relay in first_relay..first_relay + RELAYS {
            if let Some(index) = any(self) {
                self.peers[relay].kind = self.peers[index].kind.clone();
                self.plan_action(index, at, Action::LastWords);
            }
            let later = self.rng.below(self.plan.flood_ns / 2);
            self.plan_action(relay, at + later, Action::Dial);
        }
    }

    /// The script is over: everybody reads, nobody does anything new.
    pub(super) fn rest(&mut self) {
        self.agenda
            .retain(|Reverse((_, _, _, action))| *action == Action::Rest);
        for index in 0..self.peers.len() {
            if self.peers[index].holds_socket {
                self.driver.resume(key_of(index));
            }
        }
    }

    /// Asks who is still there: a connection may have gone silent without either end's knowing.
    pub(super) fn roll_call(&mut self, now: u64) {
        for index in 0..self.peers.len() {
            self.peers[index].answer_roll_call();
            self.push_out(index, now);
        }
    }

    /// Newcomers take the places of some who have gone.
    pub(super) fn dial_latecomers(&mut self) {
        let gone = self.peers.iter().filter(|peer| peer.state == State::Gone);
        for _ in 0..gone.count() / 2 {
            let kind = self.draw_kind();
            let index = self.add(kind, Manner::Usual, false);
            self.peers[index].late = true;
            self.plan_action(index, self.driver.now(), Action::Dial);
        }
        self.turn();
    }

    /// How many that did not read were told that they are slow.
    pub(super) fn told_slow(&self) -> usize {
        let hoarders = self.peers.iter();
        let hoarders = hoarders.filter(|peer| peer.manner == Manner::Hoarder);
        let told = |peer: &&Peer| {
            let code = peer.close.as_ref().and_then(|(code, _)| *code);
            code == Some(CloseCode::TRY_AGAIN_LATER)
        };
        hoarders.filter(told).count()
    }

    /// Whether it is one of the crowd, who has always read, that dials from `address`.
    pub(super) fn reads(&self, address: SocketAddr) -> bool {
        let peer = index_at(address).and_then(|index| self.peers.get(index));
        peer.is_some_and(Peer::reads)
    }

    /// Takes note of whose connections are on a reactor.
    pub(super) fn note_reactor(&mut self, index: usize, reactor: &Reactor<SimDriver>) {
        for account in reactor.conn_costs() {
            let address = reactor.driver().peer_addr(account.key);
            let peer = address.and_then(index_at);
            if let Some(peer) = peer.and_then(|peer| self.peers.get_mut(peer)) {
                peer.reactor = Some(index);
            }
        }
    }

    /// Those whose WebSocket is open.
    pub(super) fn open(&self) -> Vec<usize> {
        let open = self.peers.iter().filter(|peer| peer.state == State::Open);
        open.map(|peer| peer.index).collect()
    }

    /// Ends what still hangs on the peers' side.
    pub(super) fn hang_up(&mut self) {
        for index in 0..self.peers.len() {
            self.close(index, CloseMode::Abort);
        }
    }

    fn close(&mut self, index: usize, mode: CloseMode) {
        if std::mem::take(&mut self.peers[index].holds_socket) {
            self.driver.close(key_of(index), mode);
        }
    }

    /// Some time before the script ends.
    fn plan_some(&mut self, peer: usize, action: Action) {
        let at = self.rng.between(self.plan.start_ns, self.plan.end_ns);
        self.plan_action(peer, at, action);
    }

    fn plan_action(&mut self, peer: usize, at: u64, action: Action) {
        self.made += 1;
        self.agenda.push(Reverse((at, self.made, peer, action)));
    }

    fn act(&mut self, index: usize, action: Action) {
        let now = self.driver.now();
        let key = key_of(index);
        let peer = &mut self.peers[index];
        if !peer.holds_socket && action != Action::Dial {
            return;
        }
        match action {
            Action::Dial => {
                let local = address_of(index);
                let options = ConnectOptions {
                    addr: self.address,
                    local: Some(local),
                };
                if let Err(error) = self.driver.connect(key, &options) {
                    peer.failure = Some(format!("cannot connect: {error}"));
                } else {
                    peer.holds_socket = true;
                }
                return;
            }
            Action::Publish => self.publish_some(index, now),
            Action::Flood => {
                let channel = match self.peers[index].kind {
                    Kind::Raw(channel) => channel,
                    Kind::Wamp(_) => {
                        let all = self.plan.channels.div_ceil(NAMESPACES.len());
                        self.rng.below(all as u64) as usize * NAMESPACES.len()
                    }
                };
                let bytes = if self.rng.per_mille(50) { 500 } else { 40 };
                let bytes = self.rng.below(bytes) as usize;
                self.peers[index].publish(channel, now, bytes, false, false);
            }
            Action::Rush => {
                let channel = match self.peers[index].kind {
                    Kind::Raw(channel) => channel,
                    Kind::Wamp(_) => self.rng.below(NAMESPACES.len() as u64) as usize,
                };
                let bytes = self.rng.below(2_000) as usize;
                self.peers[index].publish(channel, now, bytes, false, false);
            }
            Action::Burst => {
                for _ in 0..self.rng.between(2, 6) {
                    match self.rng.below(4) {
                        0 => self.subscribe_some(index, now),
                        1 => self.peers[index].unsubscribe_first(),
                        _ => self.publish_some(index, now),
                    }
                }
            }
            Action::Stall => {
                peer.stall(now);
                self.driver.pause(key);
            }
            Action::Read => self.driver.resume(key),
            Action::Rest => peer.say_rest(),
            Action::Vanish => {
                peer.vanished = true;
                peer.gone();
                return self.close(index, CloseMode::Abort);
            }
            Action::HalfClose => {
                if peer.state == State::Open && peer.manner != Manner::Mute {
                    match peer.index % 2 {
                        0 => peer.say_close(), // FIN right behind the close frame
                        _ => peer.end_without_close(),
                    }
                    self.peers[index].fin_is_next = true;
                }
            }
            Action::Close => peer.say_close(),
            Action::LastWords => {
                self.publish_some(index, now);
                self.peers[index].say_close();
            }
            Action::Misbehave => peer.misbehave(),
            Action::Ping => peer.ping(),
            Action::Unsubscribe => peer.unsubscribe_first(),
            Action::Subscribe => self.subscribe_some(index, now),
        }
        self.push_out(index, now);
    }

    fn channel_for(&mut self, index: usize) -> usize {
        match self.peers[index].kind {
            Kind::Raw(channel) => channel,
            Kind::Wamp(_) => self.rng.below(self.plan.channels as u64) as usize,
        }
    }

    fn publish_some(&mut self, index: usize, now: u64) {
        let channel = self.channel_for(index);
        for _ in 0..self.rng.between(1, 4) {
            let large = self.plan.message_bytes_max;
            let bytes = if self.rng.per_mille(30) { large } else { 100 };
            let bytes = self.rng.below(bytes) as usize;
            let (ack, hears_own) = (self.rng.per_mille(500), self.rng.per_mille(300));
            self.peers[index].publish(channel, now, bytes, ack, hears_own);
        }
    }

    fn subscribe_some(&mut self, index: usize, now: u64) {
        let channel = self.rng.below(self.plan.channels as u64) as usize;
        if matches!(self.peers[index].kind, Kind::Wamp(_)) {
            self.peers[index].subscribe(channel, now);
        }
    }

    // Its turns.

    pub(super) fn is_due(&self) -> bool {
        self.driver.is_due()
    }

    pub(super) fn turn(&mut self) {
        let now = self.driver.now();
        loop {
            let Some(event) = self.driver.next_event() else {
                break;
            };
            match event {
                Event::Connected(key) => {
                    let index = index_of(key);
                    self.peers[index].say_hello(now);
                    self.push_out(index, now);
                }
                Event::Bytes(key, bytes) => {
                    let index = index_of(key);
                    self.peers[index].handle_bytes(bytes, now);
                    self.push_out(index, now);
                    let peer = &mut self.peers[index];
                    if peer.manner == Manner::Hoarder && peer.opened && !peer.stalled {
                        peer.stall(now);
                        self.driver.pause(key);
                    }
                }
                Event::Sent(key) => {
                    let index = index_of(key);
                    self.peers[index].in_flight = false;
                    self.push_out(index, now);
                }
                Event::ReadClosed(key) => {
                    let peer = &mut self.peers[index_of(key)];
                    peer.state = State::Closing;
                    peer.saw_fin = true;
                    if peer.manner != Manner::Mute {
                        self.close(index_of(key), CloseMode::Graceful);
                    }
                }
                Event::Closed(key, _) => {
                    let peer = &mut self.peers[index_of(key)];
                    peer.holds_socket = false;
                    peer.gone();
                }
                Event::Woken | Event::Accepted { .. } | Event::Released(..) => {}
            }
        }
        while let Some(Reverse((at, _, peer, action))) = self.agenda.peek().copied() {
            if at > now {
                break;
            }
            self.agenda.pop();
            self.act(peer, action);
        }
        let next = self.agenda.peek().map(|Reverse((at, ..))| *at);
        let timeout = next.map(|at| Duration::from_nanos(at.saturating_sub(now)));
        self.driver
            .wait(timeout)
            .expect("a simulated wait does not fail");
    }

    /// Hands what a peer wants to say to the driver.
    fn push_out(&mut self, index: usize, now: u64) {
        let peer = &mut self.peers[index];
        if !peer.later.is_empty() && !peer.later_planned {
            peer.later_planned = true;
            let later = now + self.rng.between(ANSWER_NS_MIN, ANSWER_NS_MAX);
            self.plan_action(index, later, Action::Rest);
        }
        let peer = &mut self.peers[index];
        if !peer.in_flight && !peer.outgoing.is_empty() && peer.holds_socket {
            let bytes = std::mem::take(&mut peer.outgoing);
            peer.sends.push(now);
            match self.driver.send_copy(key_of(index), &bytes) {
                SendStatus::Done => {}
                SendStatus::Pending => peer.in_flight = true,
                SendStatus::Gone => peer.gone(),
            }
        }
        // Not before the rest has been handed over, which waits for what is in flight.
        if peer.fin_is_next && peer.outgoing.is_empty() && peer.holds_socket {
            peer.fin_is_next = false;
            self.driver.shutdown_write(key_of(index));
        }
    }
}

/// How long some take to finish a request or to answer a ping: less than any limit there is.
const ANSWER_NS_MIN: u64 = 50_000_000;
const ANSWER_NS_MAX: u64 = 700_000_000;
/// Peers asked to flood at once, if they are there.
const FLOODERS: usize = 8;
/// Publications of a rush, those included whose peer is not the right one.
const RUSH_MESSAGES: u64 = 600;
const RUSH_GAP_NS: u64 = 1_000_000;
/// When it begins, with most of the crowd there.
const RUSH_AFTER_NS: u64 = 2_500_000_000;
/// Newcomers at a flood.
pub(super) const RELAYS: usize = 8;
/// What each of them publishes.
const FLOOD_MESSAGES: u64 = 64;

fn key_of(index: usize) -> ConnKey {
    ConnKey::new(index as u32, 1)
}

/// Where a peer dials from: what waits for it is traced to it by this.
fn address_of(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 10 + (index / 250) as u8, (index % 250) as u8], 0))
}

/// The peer that dials from an address.
fn index_at(address: SocketAddr) -> Option<usize> {
    let IpAddr::V4(ip) = address.ip() else {
        return None;
    };
    let [10, 0, high @ 10..=255, low] = ip.octets() else {
        return None;
    };
    Some(usize::from(high - 10) * 250 + usize::from(low))
}

fn index_of(key: ConnKey) -> usize {
    key.slot() as usize
}
