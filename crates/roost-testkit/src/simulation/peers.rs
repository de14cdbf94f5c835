//! All peers of a simulation, on one simulated driver, and their script.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseMode, ConnKey, ConnectOptions, Driver, Event, SendStatus};
use roost_reactor::Reactor;
use roost_wire::CloseCode;

use super::behavior::{Behavior, Kind, State};
use super::encrypted::Encrypted;
use super::listeners;
use super::peer::Peer;
use super::plan::{NAMESPACES, Plan, REPLACEMENTS_PER_FLOOD};

pub(super) struct Peers {
    driver: SimDriver,
    /// Where each listener is reached.
    addresses: Vec<SocketAddr>,
    /// Of a listener like the first, for a while.
    extra: Option<SocketAddr>,
    pub(super) all: Vec<Peer>,
    rng: SimRng,
    plan: Plan,
    /// What is due when: time, order of scheduling, peer, action.
    agenda: BinaryHeap<Reverse<(u64, usize, usize, Action)>>,
    made: usize,
    /// Those that come by the listener with TLS.
    encrypted: Encrypted,
    /// The peer that has a slot of a reactor.
    slots: HashMap<(usize, u32), usize>,
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
    /// Publishes and closes in one write.
    PublishAndClose,
    ViolateProtocol,
    Ping,
    Unsubscribe,
    Subscribe,
    /// Several of the above in one write.
    Burst,
    /// Sends the rest of its request, or a pong.
    SendDeferred,
    /// One of very many publications.
    Flood,
    /// One of very many publications to the channels with stalled readers.
    Load,
}

impl Peers {
    pub(super) fn new(
        plan: &Plan,
        driver: SimDriver,
        addresses: Vec<SocketAddr>,
        rng: SimRng,
    ) -> Peers {
        let mut peers = Peers {
            driver,
            addresses,
            extra: None,
            all: Vec::new(),
            rng,
            plan: plan.clone(),
            agenda: BinaryHeap::new(),
            made: 0,
            encrypted: Encrypted::new(plan.seed),
            slots: HashMap::new(),
        };
        for channel in 0..plan.channels {
            for _ in 0..plan.witnesses {
                peers.add(Kind::Raw(channel), Behavior::Normal, true);
            }
        }
        for _ in 0..plan.peers {
            let kind = peers.draw_kind();
            let behavior = peers.draw_behavior();
            peers.add(kind, behavior, false);
        }
        for _ in 0..plan.quiet_peers {
            peers.add(Kind::Raw(plan.channels), Behavior::Normal, false);
        }
        for n in 0..plan.non_readers {
            peers.add(Kind::Raw(n % NAMESPACES.len()), Behavior::NeverReads, false);
        }
        for _ in 0..plan.floods.len() * REPLACEMENTS_PER_FLOOD {
            let kind = peers.draw_kind();
            peers.add(kind, Behavior::Normal, false);
        }
        peers
    }

    fn add(&mut self, kind: Kind, behavior: Behavior, witness: bool) -> usize {
        let index = self.all.len();
        let mut peer = Peer::new(index, kind, behavior, witness);
        peer.channels = self.plan.channels;
        peer.pattern = Plan::pattern_of(index);
        self.all.push(peer);
        index
    }

    fn draw_behavior(&mut self) -> Behavior {
        match self.rng.below(1000) {
            0..60 => Behavior::EarlyPublish,
            60..90 => Behavior::NoCloseReply,
            90..100 => Behavior::PartialRequest,
            100..110 => Behavior::Silent,
            110..120 => Behavior::NoPong,
            _ => Behavior::Normal,
        }
    }

    /// Whether the peer is in the channel without publications.
    fn is_quiet(&self, index: usize) -> bool {
        self.all[index].kind == Kind::Raw(self.plan.channels)
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
        for index in 0..self.all.len() {
            if self.all[index].witness {
                self.schedule(index, 0, Action::Dial);
            }
        }
        self.run_once(); // the driver must know the next due time
    }

    pub(super) fn schedule_script(&mut self) {
        let length = self.plan.end_ns - self.plan.start_ns;
        let first_replacement = self.all.len() - self.plan.floods.len() * REPLACEMENTS_PER_FLOOD;
        for index in 0..first_replacement {
            if self.all[index].witness {
                continue;
            }
            if self.is_quiet(index) || self.all[index].behavior == Behavior::NeverReads {
                self.schedule(index, self.plan.start_ns, Action::Dial);
                if self.all[index].behavior == Behavior::NeverReads {
                    // Much waits before its pong.
                    let late = self.plan.start_ns + LOAD_AFTER_NS + LOAD_GAP_NS * LOAD_MESSAGES;
                    self.schedule(index, late, Action::Ping);
                }
                continue;
            }
            let at = self.plan.start_ns + self.rng.below(length * 2 / 3);
            self.schedule(index, at, Action::Dial);
            if self.all[index].behavior == Behavior::NoPong {
                continue;
            }
            for _ in 0..self.rng.below(8) {
                self.schedule_random(index, Action::Publish);
            }
            for (action, rate) in [
                (Action::Ping, 100),
                (Action::Vanish, 120),
                (Action::Close, 100),
                (Action::PublishAndClose, 30),
                (Action::HalfClose, 30),
                (Action::ViolateProtocol, 20),
                (Action::Unsubscribe, 150),
                (Action::Subscribe, 150),
                (Action::Burst, 200),
            ] {
                if self.rng.per_mille(rate) {
                    self.schedule_random(index, action);
                }
            }
            if self.rng.per_mille(150) {
                self.schedule_random(index, Action::Stall);
                if self.rng.per_mille(500) {
                    self.schedule_random(index, Action::Read);
                }
            }
        }
        self.schedule_load(first_replacement);
        for (flood, (at, _)) in self.plan.floods.clone().into_iter().enumerate() {
            self.schedule_flood(at, first_replacement + flood * REPLACEMENTS_PER_FLOOD);
        }
        self.run_once();
    }

    /// Publications to the channels of the peers that never read, one at a time.
    fn schedule_load(&mut self, first_replacement: usize) {
        for n in 0..LOAD_MESSAGES {
            let index = self.rng.below(first_replacement as u64) as usize;
            let peer = &self.all[index];
            let may = match peer.kind {
                Kind::Raw(channel) => channel < NAMESPACES.len(),
                Kind::Wamp(_) => true,
            };
            let talks = !matches!(peer.behavior, Behavior::NoPong | Behavior::NeverReads);
            if may && talks && !peer.witness {
                let at = self.plan.start_ns + LOAD_AFTER_NS + n * LOAD_GAP_NS;
                self.schedule(index, at, Action::Load);
            }
        }
    }

    fn schedule_flood(&mut self, at: u64, first_replacement: usize) {
        let any = |peers: &mut Peers| {
            let index = peers.rng.below(first_replacement as u64) as usize;
            let peer = &peers.all[index];
            let is_silent = matches!(peer.behavior, Behavior::NoPong | Behavior::NeverReads);
            let talks = !peer.witness && !is_silent && !peers.is_quiet(index);
            let may = match peer.kind {
                Kind::Raw(channel) => channel.is_multiple_of(NAMESPACES.len()),
                Kind::Wamp(_) => true,
            };
            (talks && may).then_some(index)
        };
        for _ in 0..FLOODERS {
            let Some(index) = any(self) else { continue };
            // One at a time: each makes a batch of its own, so that rings get full.
            for n in 0..FLOOD_MESSAGES {
                let later = self.plan.flood_ns * n / FLOOD_MESSAGES;
                self.schedule(index, at + later, Action::Flood);
            }
        }
        // Some close while their last messages wait for the suspended reactor, and new connections
        // of the same kind take their slots.
        for replacement in first_replacement..first_replacement + REPLACEMENTS_PER_FLOOD {
            if let Some(index) = any(self) {
                self.all[replacement].kind = self.all[index].kind.clone();
                self.schedule(index, at, Action::PublishAndClose);
            }
            let later = self.rng.below(self.plan.flood_ns / 2);
            self.schedule(replacement, at + later, Action::Dial);
        }
    }

    /// The script is over: all peers read, and none does anything new.
    pub(super) fn end_script(&mut self) {
        self.agenda
            .retain(|Reverse((_, _, _, action))| *action == Action::SendDeferred);
        for index in 0..self.all.len() {
            if self.all[index].holds_socket {
                self.driver.resume(key_of(index));
            }
        }
    }

    /// Pings from all peers: a connection may have gone silent without either end knowing.
    pub(super) fn send_final_pings(&mut self, now: u64) {
        for index in 0..self.all.len() {
            self.all[index].send_final_ping();
            self.flush(index, now);
        }
    }

    /// New connections take the slots of some that have closed.
    pub(super) fn dial_late_peers(&mut self) {
        let closed = self.all.iter().filter(|peer| peer.state == State::Closed);
        for _ in 0..closed.count() / 2 {
            let kind = self.draw_kind();
            let index = self.add(kind, Behavior::Normal, false);
            self.all[index].late = true;
            self.schedule(index, self.driver.now(), Action::Dial);
        }
        self.run_once();
    }

    /// How many that never read received a close frame 1013.
    pub(super) fn slow_closes_received(&self) -> usize {
        let non_readers = self.all.iter();
        let non_readers = non_readers.filter(|peer| peer.behavior == Behavior::NeverReads);
        let is_slow_close = |peer: &&Peer| {
            let code = peer.close.as_ref().and_then(|(code, _)| *code);
            code == Some(CloseCode::TRY_AGAIN_LATER)
        };
        non_readers.filter(is_slow_close).count()
    }

    /// Whether the peer that dials from `address` has always read.
    pub(super) fn reads(&self, address: SocketAddr) -> bool {
        let peer = index_at(address).and_then(|index| self.all.get(index));
        peer.is_some_and(Peer::reads)
    }

    /// Notes which peers' connections are on a reactor.
    pub(super) fn note_reactor(&mut self, index: usize, reactor: &Reactor<SimDriver>) {
        for cost in reactor.conn_costs() {
            let address = reactor.driver().other_end(cost.key);
            let peer = address.and_then(index_at);
            let slot = (index, cost.key.slot());
            self.slots.remove(&slot); // a hostile peer may have it
            if let Some(peer) = peer.and_then(|peer| self.all.get_mut(peer)) {
                peer.reactor = Some(index);
                self.slots.insert(slot, peer.index);
            }
        }
    }

    /// Notes which peers' connections on a reactor were closed for the memory budget. Returns the least
    /// that one of those which are new held.
    pub(super) fn note_closed_holding(
        &mut self,
        index: usize,
        reactor: &Reactor<SimDriver>,
    ) -> Option<u64> {
        let mut least: Option<u64> = None;
        for (slot, held) in reactor.closed_holding() {
            let peer = self.slots.get(&(index, slot));
            let peer = peer.map(|&peer| &mut self.all[peer]);
            if let Some(peer) = peer
                && peer.closed_holding.replace(held).is_none()
            {
                least = Some(least.map_or(held, |least| least.min(held)));
            }
        }
        least
    }

    /// The peers whose WebSocket is open.
    pub(super) fn open(&self) -> Vec<usize> {
        let open = self.all.iter().filter(|peer| peer.state == State::Open);
        open.map(|peer| peer.index).collect()
    }

    /// Closes all sockets of the peers.
    pub(super) fn abort_all(&mut self) {
        for index in 0..self.all.len() {
            self.close(index, CloseMode::Abort);
        }
    }

    fn close(&mut self, index: usize, mode: CloseMode) {
        if std::mem::take(&mut self.all[index].holds_socket) {
            self.driver.close(key_of(index), mode);
        }
    }

    /// Some time before the script ends.
    fn schedule_random(&mut self, peer: usize, action: Action) {
        let at = self.rng.between(self.plan.start_ns, self.plan.end_ns);
        self.schedule(peer, at, action);
    }

    fn schedule(&mut self, peer: usize, at: u64, action: Action) {
        self.made += 1;
        self.agenda.push(Reverse((at, self.made, peer, action)));
    }

    fn act(&mut self, index: usize, action: Action) {
        let now = self.driver.now();
        let key = key_of(index);
        let peer = &mut self.all[index];
        if !peer.holds_socket && action != Action::Dial {
            return;
        }
        match action {
            Action::Dial => return self.dial(index),
            Action::Publish => self.publish_some(index, now),
            Action::Flood => self.publish_flood(index, now),
            Action::Load => self.publish_load(index, now),
            Action::Burst => self.send_burst(index, now),
            Action::Stall => {
                peer.stall(now);
                self.driver.pause(key);
            }
            Action::Read => self.driver.resume(key),
            Action::SendDeferred => peer.send_deferred(),
            Action::Vanish => {
                peer.vanished = true;
                peer.mark_closed();
                return self.close(index, CloseMode::Abort);
            }
            Action::HalfClose => return self.half_close(index, now),
            Action::Close => peer.send_close(),
            Action::PublishAndClose => {
                self.publish_some(index, now);
                self.all[index].send_close();
            }
            Action::ViolateProtocol => peer.violate_protocol(),
            Action::Ping => peer.ping(),
            Action::Unsubscribe => peer.unsubscribe_first(),
            Action::Subscribe => self.subscribe_some(index, now),
        }
        self.flush(index, now);
    }

    /// Some of those that would dial the first listener dial another, where there is one.
    pub(super) fn set_extra(&mut self, extra: Option<SocketAddr>) {
        self.extra = extra;
    }

    fn dial(&mut self, index: usize) {
        // A replacement's kind is known only now.
        let is_raw = matches!(self.all[index].kind, Kind::Raw(_));
        let (listener, origin) = match self.addresses.len() {
            1 => (listeners::FIRST, None),
            count => {
                let has_tls = count > listeners::ENCRYPTED;
                listeners::of_peer(self.plan.seed, index, is_raw, has_tls)
            }
        };
        if listener == listeners::ENCRYPTED && self.all[index].behavior != Behavior::Silent {
            self.encrypted.dial(index);
        }
        let addr = match self.extra {
            Some(extra) if listener == listeners::FIRST && index.is_multiple_of(2) => extra,
            _ => self.addresses[listener],
        };
        let options = ConnectOptions {
            addr,
            local: Some(address_of(index, addr.is_ipv6())),
        };
        let connected = self.driver.connect(key_of(index), &options);
        let peer = &mut self.all[index];
        peer.origin = origin;
        peer.forwarded = match listener == listeners::TCP && listeners::is_forwarded(self.plan.seed)
        {
            true => listeners::forwarded_line(index),
            false => String::new(),
        };
        match connected {
            Ok(()) => peer.holds_socket = true,
            Err(error) => peer.failure = Some(format!("cannot connect: {error}")),
        }
    }

    /// To a channel of the first namespace.
    fn publish_flood(&mut self, index: usize, now: u64) {
        let channel = match self.all[index].kind {
            Kind::Raw(channel) => channel,
            Kind::Wamp(_) => {
                let all = self.plan.channels.div_ceil(NAMESPACES.len());
                self.rng.below(all as u64) as usize * NAMESPACES.len()
            }
        };
        let bytes = if self.rng.per_mille(50) { 500 } else { 40 };
        let bytes = self.rng.below(bytes) as usize;
        self.all[index].publish(channel, now, bytes, false, false);
    }

    /// To the first channel of a namespace, where peers that never read are.
    fn publish_load(&mut self, index: usize, now: u64) {
        let channel = match self.all[index].kind {
            Kind::Raw(channel) => channel,
            Kind::Wamp(_) => self.rng.below(NAMESPACES.len() as u64) as usize,
        };
        let bytes = self.rng.below(2_000) as usize;
        self.all[index].publish(channel, now, bytes, false, false);
    }

    fn send_burst(&mut self, index: usize, now: u64) {
        for _ in 0..self.rng.between(2, 6) {
            match self.rng.below(4) {
                0 => self.subscribe_some(index, now),
                1 => self.all[index].unsubscribe_first(),
                _ => self.publish_some(index, now),
            }
        }
    }

    /// Sends FIN, behind a close frame or without one.
    fn half_close(&mut self, index: usize, now: u64) {
        let peer = &mut self.all[index];
        if peer.state != State::Open || peer.behavior == Behavior::NoCloseReply {
            return;
        }
        match peer.index % 2 {
            0 => peer.send_close(),
            _ => peer.end_without_close(),
        }
        peer.fin_is_next = true;
        self.flush(index, now);
    }

    fn channel_for(&mut self, index: usize) -> usize {
        match self.all[index].kind {
            Kind::Raw(channel) => channel,
            Kind::Wamp(_) => self.rng.below(self.plan.channels as u64) as usize,
        }
    }

    fn publish_some(&mut self, index: usize, now: u64) {
        if matches!(self.all[index].kind, Kind::Wamp(_)) {
            self.all[index].call();
        }
        let channel = self.channel_for(index);
        for _ in 0..self.rng.between(1, 4) {
            let large = self.plan.message_bytes_max;
            let bytes = if self.rng.per_mille(30) { large } else { 100 };
            let bytes = self.rng.below(bytes) as usize;
            let (ack, receives_own) = (self.rng.per_mille(500), self.rng.per_mille(300));
            self.all[index].publish(channel, now, bytes, ack, receives_own);
        }
    }

    fn subscribe_some(&mut self, index: usize, now: u64) {
        let channel = self.rng.below(self.plan.channels as u64) as usize;
        if matches!(self.all[index].kind, Kind::Wamp(_)) {
            self.all[index].subscribe(channel, now);
        }
    }

    // The loop.

    pub(super) fn is_due(&self) -> bool {
        self.driver.is_due()
    }

    pub(super) fn run_once(&mut self) {
        let now = self.driver.now();
        loop {
            let Some(event) = self.driver.next_event() else {
                break;
            };
            match event {
                Event::Connected(key) => {
                    let index = index_of(key);
                    self.encrypted.connected(index, address_of(index, false));
                    self.all[index].send_request(now);
                    self.flush(index, now);
                }
                Event::Bytes(key, bytes) => {
                    let index = index_of(key);
                    let peer = &mut self.all[index];
                    self.encrypted.open(peer, bytes, now, &mut self.rng);
                    self.flush(index, now);
                    let peer = &mut self.all[index];
                    if peer.behavior == Behavior::NeverReads && peer.opened && !peer.stalled {
                        peer.stall(now);
                        self.driver.pause(key);
                    }
                }
                Event::Sent(key) => {
                    let index = index_of(key);
                    self.all[index].in_flight = false;
                    self.flush(index, now);
                }
                Event::ReadClosed(key) => {
                    let peer = &mut self.all[index_of(key)];
                    if peer.opened && self.encrypted.is_open(peer.index) {
                        peer.failure = Some("FIN without close_notify before it".to_owned());
                    }
                    peer.state = State::Closing;
                    peer.saw_fin = true;
                    if peer.behavior != Behavior::NoCloseReply {
                        self.close(index_of(key), CloseMode::Graceful);
                    }
                }
                Event::Closed(key, _) => {
                    let peer = &mut self.all[index_of(key)];
                    peer.holds_socket = false;
                    peer.mark_closed();
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

    /// Hands a peer's outgoing bytes to the driver.
    fn flush(&mut self, index: usize, now: u64) {
        let peer = &mut self.all[index];
        if !peer.deferred.is_empty() && !peer.deferred_planned {
            peer.deferred_planned = true;
            let later = now + self.rng.between(ANSWER_NS_MIN, ANSWER_NS_MAX);
            self.schedule(index, later, Action::SendDeferred);
        }
        let peer = &mut self.all[index];
        if !peer.in_flight && peer.holds_socket {
            let bytes = self.encrypted.seal(peer);
            if !bytes.is_empty() {
                peer.sends.push(now);
                match self.driver.send_copy(key_of(index), &bytes) {
                    SendStatus::Done => {}
                    SendStatus::Pending => peer.in_flight = true,
                    SendStatus::Gone => peer.mark_closed(),
                }
            }
        }
        // Not before the rest has been handed over, which waits for what is in flight.
        if peer.fin_is_next && peer.outgoing.is_empty() && peer.holds_socket {
            peer.fin_is_next = false;
            peer.fin_sent = true;
            self.driver.shutdown_write(key_of(index));
        }
    }
}

/// How long some take to finish a request or to answer a ping: less than any limit there is.
const ANSWER_NS_MIN: u64 = 50_000_000;
const ANSWER_NS_MAX: u64 = 700_000_000;
/// Peers asked to flood at once, if they are there.
const FLOODERS: usize = 8;
/// Publications of the load, those included whose peer may not publish.
const LOAD_MESSAGES: u64 = 600;
const LOAD_GAP_NS: u64 = 1_000_000;
/// When the load begins, with most peers connected.
const LOAD_AFTER_NS: u64 = 2_500_000_000;
/// What each of them publishes.
const FLOOD_MESSAGES: u64 = 64;

fn key_of(index: usize) -> ConnKey {
    ConnKey::new(index as u32, 1)
}

/// Where a peer dials from: what waits for it is traced to it by this.
fn address_of(index: usize, is_ipv6: bool) -> SocketAddr {
    let ip = Ipv4Addr::new(10, 0, 10 + (index / 250) as u8, (index % 250) as u8);
    match is_ipv6 {
        false => SocketAddr::from((ip, 0)),
        true => SocketAddr::from((ip.to_ipv6_mapped(), 0)),
    }
}

/// The peer that dials from an address.
fn index_at(address: SocketAddr) -> Option<usize> {
    let IpAddr::V4(ip) = address.ip().to_canonical() else {
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
