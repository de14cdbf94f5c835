//! All peers of a simulation, on one simulated driver, and the script they follow.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseMode, ConnKey, ConnectOptions, Driver, Event, SendStatus};

use super::peer::{Kind, Peer, State};
use super::plan::Plan;

pub(super) struct Crowd {
    driver: SimDriver,
    address: SocketAddr,
    pub(super) peers: Vec<Peer>,
    rng: SimRng,
    plan: Plan,
    /// What is to be done when: time, order of making, peer, action.
    agenda: BinaryHeap<Reverse<(u64, usize, usize, Action)>>,
    made: usize,
    /// From now on every close must be the drain's.
    pub(super) draining: bool,
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
    Misbehave,
    Ping,
    Unsubscribe,
    Subscribe,
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
            draining: false,
        };
        for channel in 0..plan.channels {
            for _ in 0..plan.witnesses {
                crowd.add(Kind::Raw(channel), true);
            }
        }
        for _ in 0..plan.peers {
            let kind = crowd.draw_kind();
            crowd.add(kind, false);
        }
        crowd
    }

    fn add(&mut self, kind: Kind, witness: bool) {
        self.peers.push(Peer::new(self.peers.len(), kind, witness));
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
        for index in 0..self.peers.len() {
            if self.peers[index].witness {
                continue;
            }
            let at = self.plan.start_ns + self.rng.below(length * 2 / 3);
            self.plan_action(index, at, Action::Dial);
            for _ in 0..self.rng.below(8) {
                self.plan_some(index, Action::Publish);
            }
            for (action, rate) in [
                (Action::Ping, 100),
                (Action::Vanish, 120),
                (Action::Close, 100),
                (Action::HalfClose, 30),
                (Action::Misbehave, 20),
                (Action::Unsubscribe, 150),
                (Action::Subscribe, 150),
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
        self.turn();
    }

    /// The script is over: everybody reads, nobody does anything new.
    pub(super) fn rest(&mut self) {
        self.agenda.clear();
        for index in 0..self.peers.len() {
            if self.peers[index].holds_socket {
                self.driver.resume(key_of(index));
            }
        }
    }

    /// Asks who is still there: a connection may have gone silent without either end's knowing.
    pub(super) fn roll_call(&mut self) {
        for index in 0..self.peers.len() {
            self.peers[index].answer_roll_call();
            self.push_out(index);
        }
    }

    pub(super) fn expect_drain(&mut self) {
        self.draining = true;
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
                let local = SocketAddr::from(([10, 0, 1, (index % 250) as u8], 0));
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
            Action::Publish => {
                let channel = match &peer.kind {
                    Kind::Raw(channel) => *channel,
                    Kind::Wamp(_) => self.rng.below(self.plan.channels as u64) as usize,
                };
                for _ in 0..self.rng.between(1, 4) {
                    let bytes = if self.rng.per_mille(30) { 5_000 } else { 100 };
                    let bytes = self.rng.below(bytes) as usize;
                    let ack = self.rng.per_mille(500);
                    peer.publish(channel, now, bytes, ack);
                }
            }
            Action::Stall => self.driver.pause(key),
            Action::Read => self.driver.resume(key),
            Action::Vanish => {
                peer.gone();
                return self.close(index, CloseMode::Abort);
            }
            Action::HalfClose => {
                if peer.state == State::Open {
                    peer.say_close(); // FIN right behind the close frame
                    self.push_out(index);
                    if self.peers[index].holds_socket {
                        self.driver.shutdown_write(key);
                    }
                }
                return;
            }
            Action::Close => peer.say_close(),
            Action::Misbehave => peer.misbehave(),
            Action::Ping => peer.ping(),
            Action::Unsubscribe => peer.unsubscribe_first(),
            Action::Subscribe => {
                if matches!(peer.kind, Kind::Wamp(_)) {
                    let channel = self.rng.below(self.plan.channels as u64) as usize;
                    peer.subscribe(channel);
                }
            }
        }
        self.push_out(index);
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
                    self.peers[index].say_hello();
                    self.push_out(index);
                }
                Event::Bytes(key, bytes) => {
                    let index = index_of(key);
                    self.peers[index].handle_bytes(bytes, now);
                    self.push_out(index);
                }
                Event::Sent(key) => {
                    let index = index_of(key);
                    self.peers[index].in_flight = false;
                    self.push_out(index);
                }
                Event::ReadClosed(key) => {
                    self.peers[index_of(key)].state = State::Closing;
                    self.close(index_of(key), CloseMode::Graceful);
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
    fn push_out(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        if peer.in_flight || peer.outgoing.is_empty() || !peer.holds_socket {
            return;
        }
        let bytes = std::mem::take(&mut peer.outgoing);
        match self.driver.send_copy(key_of(index), &bytes) {
            SendStatus::Done => {}
            SendStatus::Pending => peer.in_flight = true,
            SendStatus::Gone => peer.gone(),
        }
    }
}

fn key_of(index: usize) -> ConnKey {
    ConnKey::new(index as u32, 1)
}

fn index_of(key: ConnKey) -> usize {
    key.slot() as usize
}
