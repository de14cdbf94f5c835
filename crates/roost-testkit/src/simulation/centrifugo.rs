//! Peers that speak Centrifugo's protocol: they subscribe and unsubscribe without waiting for answers, publish,
//! and ask for what there is not. Where tokens are checked some show one, and some a wrong one. Some vanish.
//!
//! What is promised: each command has exactly one answer, which is the one that the peer's permissions and
//! subscriptions call for, or the connection ends; publications come on channels that are subscribed to
//! alone, each publisher's in order and under its name, and a publisher that stays subscribed gets its own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseMode, ConnKey, ConnectOptions, Driver, Event, SendStatus};
use roost_wire::Opcode;

use super::centrifugo_peer::CentrifugoPeer;
use super::plan::Plan;
use super::presence::CHANNEL;

type SimEvent<'a> = Event<'a, <SimDriver as Driver>::Socket>;

/// All of them, on one simulated driver.
pub(super) struct CentrifugoPeers {
    driver: SimDriver,
    address: SocketAddr,
    peers: Vec<CentrifugoPeer>,
    rng: SimRng,
    /// When which peer goes on.
    agenda: BinaryHeap<Reverse<(u64, usize)>>,
    end_ns: u64,
}

impl CentrifugoPeers {
    pub(super) fn new(
        plan: &Plan,
        driver: SimDriver,
        address: SocketAddr,
        mut rng: SimRng,
    ) -> CentrifugoPeers {
        let mut agenda = BinaryHeap::new();
        let mut peers = Vec::new();
        let length = plan.end_ns - plan.start_ns;
        for index in 0..plan.centrifugo_peers {
            peers.push(CentrifugoPeer::new(index, plan));
            agenda.push(Reverse((plan.start_ns + rng.below(length / 3), index)));
        }
        let mut peers = CentrifugoPeers {
            driver,
            address,
            peers,
            rng,
            agenda,
            end_ns: plan.end_ns,
        };
        peers.run_once(); // the driver must know the next due time
        peers
    }

    pub(super) fn is_due(&self) -> bool {
        self.driver.is_due()
    }

    /// All of them vanish.
    pub(super) fn abort_all(&mut self) {
        self.agenda.clear();
        for index in 0..self.peers.len() {
            self.close(index);
        }
    }

    /// How many subscriptions there are to channels that keep presence; `None` if that is not sure.
    pub(super) fn members(&self) -> Option<u64> {
        let mut sum = 0;
        for peer in &self.peers {
            if peer.is_unsure || !peer.open.is_empty() {
                return None;
            }
            if peer.is_over || !peer.watch.is_on() {
                continue;
            }
            let present = peer.active.iter().filter(|name| name.starts_with(CHANNEL));
            sum += present.count() as u64;
        }
        Some(sum)
    }

    /// How many commands were answered, and how many publications received.
    ///
    /// # Errors
    /// What came and was not expected, or is missing on a connection that works.
    pub(super) fn check(&self, plan: &Plan) -> Result<(u64, u64), String> {
        let (mut answered, mut received) = (0, 0);
        for peer in &self.peers {
            let err = |what: &str| Err(format!("Centrifugo peer {}: {what}", peer.index));
            if let Some(failure) = &peer.failure {
                return err(failure);
            }
            answered += peer.answered;
            received += peer.received;
            if !plan.reliable {
                continue;
            }
            if peer.is_over {
                continue;
            }
            for (channel, number) in &peer.awaited {
                let newest = peer.newest.get(&(channel.clone(), peer.index as u64));
                if newest.is_none_or(|newest| newest < number) {
                    return err(&format!("{number} on {channel} is not there: {newest:?}"));
                }
            }
            if peer.is_connected && !peer.open.is_empty() {
                return err(&format!("no answer to {:?}", peer.open));
            }
        }
        Ok((answered, received))
    }

    pub(super) fn run_once(&mut self) {
        let mut changed = Vec::new();
        while let Some(event) = self.driver.next_event() {
            let event = match handle_sender(&mut self.peers, event) {
                Ok(index) => {
                    changed.push(index);
                    continue;
                }
                Err(event) => event,
            };
            let index = match event {
                Event::Connected(key) => {
                    self.peers[index_of(key)].send_request();
                    index_of(key)
                }
                Event::Sent(key) => {
                    self.peers[index_of(key)].in_flight = false;
                    index_of(key)
                }
                Event::Bytes(key, bytes) => {
                    self.peers[index_of(key)].handle_bytes(bytes);
                    index_of(key)
                }
                Event::ReadClosed(key) => {
                    self.peers[index_of(key)].is_over = true;
                    index_of(key)
                }
                Event::Closed(key, _) => {
                    let peer = &mut self.peers[index_of(key)];
                    peer.is_over = true;
                    peer.holds_socket = false;
                    continue;
                }
                Event::Woken | Event::Accepted { .. } | Event::Released(..) => continue,
            };
            changed.push(index);
        }
        for index in changed {
            self.flush(index);
        }
        let now = self.driver.now();
        while let Some(&Reverse((at, index))) = self.agenda.peek()
            && at <= now
        {
            self.agenda.pop();
            self.go_on(index);
            let next = now + self.rng.between(20_000_000, 400_000_000);
            if next < self.end_ns && !self.peers[index].is_over {
                self.agenda.push(Reverse((next, index)));
            }
        }
        let next = self.agenda.peek().map(|Reverse((at, _))| *at);
        let timeout = next.map(|at| Duration::from_nanos(at.saturating_sub(now)));
        let waited = self.driver.wait(timeout);
        waited.expect("a simulated wait does not fail");
    }

    /// Dials the connection by which a peer without a WebSocket sends.
    fn dial_sender(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        let Some(stream) = &mut peer.stream else {
            return;
        };
        if !stream.holds_socket {
            let port = PORT_FIRST + (SENDERS_FIRST + index) as u16;
            let options = ConnectOptions {
                addr: self.address,
                local: Some(SocketAddr::from(([10, 0, 5, 1], port))),
            };
            let dialed = self.driver.connect(key_of(SENDERS_FIRST + index), &options);
            stream.holds_socket = dialed.is_ok();
            peer.is_over = !stream.holds_socket;
        }
    }

    /// Dials, or does something.
    fn go_on(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        if peer.is_over {
            return;
        }
        if !peer.holds_socket {
            let port = PORT_FIRST + index as u16;
            let options = ConnectOptions {
                addr: self.address,
                local: Some(SocketAddr::from(([10, 0, 5, 1], port))),
            };
            peer.holds_socket = self.driver.connect(key_of(index), &options).is_ok();
            peer.is_over = !peer.holds_socket;
            return;
        }
        if !peer.is_open {
            return;
        }
        if !peer.is_connected {
            return; // the token is being checked, or was refused
        }
        self.dial_sender(index);
        let peer = &mut self.peers[index];
        if self.rng.per_mille(20) {
            return self.close(index);
        }
        let lines = self.rng.between(1, 5);
        let lines: Vec<String> = (0..lines).map(|_| peer.command(&mut self.rng)).collect();
        peer.frame(Opcode::Text, lines.join("\n").as_bytes());
        self.flush(index);
    }

    fn close(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        peer.is_over = true;
        if std::mem::take(&mut peer.holds_socket) {
            self.driver.close(key_of(index), CloseMode::Abort);
        }
        let stream = peer.stream.as_mut();
        if stream.is_some_and(|stream| std::mem::take(&mut stream.holds_socket)) {
            let key = key_of(SENDERS_FIRST + index);
            self.driver.close(key, CloseMode::Abort);
        }
    }

    fn flush(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        if peer.is_over && peer.outgoing.is_empty() {
            return self.close(index);
        }
        if let Some(stream) = &mut peer.stream
            && stream.is_open
            && stream.holds_socket
            && !stream.in_flight
            && !stream.outgoing.is_empty()
        {
            let bytes = std::mem::take(&mut stream.outgoing);
            let key = key_of(SENDERS_FIRST + index);
            match self.driver.send_copy(key, &bytes) {
                SendStatus::Done => {}
                SendStatus::Pending => stream.in_flight = true,
                SendStatus::Gone => peer.is_over = true,
            }
        }
        if peer.in_flight || !peer.holds_socket || peer.outgoing.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut peer.outgoing);
        match self.driver.send_copy(key_of(index), &bytes) {
            SendStatus::Done => {}
            SendStatus::Pending => peer.in_flight = true,
            SendStatus::Gone => peer.is_over = true,
        }
    }
}

/// What happens to the connection by which a peer without a WebSocket sends.
fn handle_sender<'e>(
    peers: &mut [CentrifugoPeer],
    event: SimEvent<'e>,
) -> Result<usize, SimEvent<'e>> {
    let key = match &event {
        Event::Connected(key)
        | Event::Sent(key)
        | Event::Bytes(key, _)
        | Event::ReadClosed(key)
        | Event::Closed(key, _) => *key,
        _ => return Err(event),
    };
    let Some(index) = index_of(key).checked_sub(SENDERS_FIRST) else {
        return Err(event);
    };
    let peer = &mut peers[index];
    let Some(stream) = &mut peer.stream else {
        return Ok(index);
    };
    match event {
        Event::Connected(_) => stream.is_open = true,
        Event::Sent(_) => stream.in_flight = false,
        Event::Bytes(_, bytes) => match stream.answered(bytes) {
            Ok(is_taken) => peer.is_over |= !is_taken,
            Err(error) => peer.fail(error),
        },
        Event::Closed(..) => {
            stream.holds_socket = false;
            peer.is_over = true;
        }
        _ => peer.is_over = true,
    }
    Ok(index)
}

fn key_of(index: usize) -> ConnKey {
    ConnKey::new(index as u32, 1)
}

fn index_of(key: ConnKey) -> usize {
    key.slot() as usize
}

/// The connections by which peers without a WebSocket send are behind all others.
const SENDERS_FIRST: usize = 64;
/// The port of the first.
const PORT_FIRST: u16 = 41_000;
