//! Clients that each do something now and then, on one simulated driver: their sockets, and when which goes on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseMode, ConnKey, ConnectOptions, Driver, Event, SendStatus};

/// The socket of one.
#[derive(Default)]
pub(super) struct Socket {
    /// Bytes that wait for the driver to take them.
    pub(super) outgoing: Vec<u8>,
    /// Its connection has ended, or is ending.
    pub(super) is_over: bool,
    /// Since when.
    pub(super) over_at: Option<u64>,
    /// The time of what is done now.
    pub(super) now: u64,
    in_flight: bool,
    is_held: bool,
}

/// What comes of what a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing: it is not as far yet.
    Wait,
    /// It vanishes.
    Close,
    /// What it has to say is sent.
    Send,
}

/// One of them.
pub(super) trait Client {
    fn socket(&self) -> &Socket;
    fn socket_mut(&mut self) -> &mut Socket;
    /// It is connected.
    fn send_request(&mut self);
    fn handle_bytes(&mut self, bytes: &mut [u8]);
    /// It does something.
    fn act(&mut self, rng: &mut SimRng) -> Act;
}

/// Where clients connect from, where to, and how long each pauses at most.
pub(super) struct Way {
    pub(super) driver: SimDriver,
    pub(super) to: SocketAddr,
    /// The first one's address; each has a port of its own.
    pub(super) from: ([u8; 4], u16),
    pub(super) pause_ns_max: u64,
}

/// All of a kind.
pub(super) struct Clients<C> {
    way: Way,
    all: Vec<C>,
    rng: SimRng,
    /// When which goes on.
    agenda: BinaryHeap<Reverse<(u64, usize)>>,
    end_ns: u64,
}

impl<C: Client> Clients<C> {
    /// They connect in the first third of this time, and do nothing new behind it.
    pub(super) fn begin(way: Way, all: Vec<C>, time: Range<u64>, mut rng: SimRng) -> Clients<C> {
        let mut agenda = BinaryHeap::new();
        for index in 0..all.len() {
            let at = time.start + rng.below((time.end - time.start) / 3);
            agenda.push(Reverse((at, index)));
        }
        let mut clients = Clients {
            way,
            all,
            rng,
            agenda,
            end_ns: time.end,
        };
        clients.run_once(); // the driver must know the next due time
        clients
    }

    pub(super) fn all(&self) -> &[C] {
        &self.all
    }

    pub(super) fn is_due(&self) -> bool {
        self.way.driver.is_due()
    }

    pub(super) fn now(&self) -> u64 {
        self.way.driver.now()
    }

    /// All of them vanish.
    pub(super) fn abort_all(&mut self) {
        self.agenda.clear();
        for index in 0..self.all.len() {
            self.close(index);
        }
    }

    pub(super) fn run_once(&mut self) {
        let now = self.way.driver.now();
        for client in &mut self.all {
            client.socket_mut().now = now;
        }
        let mut changed = Vec::new();
        while let Some(event) = self.way.driver.next_event() {
            let index = match event {
                Event::Connected(key) => {
                    self.all[index_of(key)].send_request();
                    index_of(key)
                }
                Event::Sent(key) => {
                    self.all[index_of(key)].socket_mut().in_flight = false;
                    index_of(key)
                }
                Event::Bytes(key, bytes) => {
                    self.all[index_of(key)].handle_bytes(bytes);
                    index_of(key)
                }
                Event::ReadClosed(key) => {
                    self.all[index_of(key)].socket_mut().is_over = true;
                    index_of(key)
                }
                Event::Closed(key, _) => {
                    let socket = self.all[index_of(key)].socket_mut();
                    socket.is_over = true;
                    socket.is_held = false;
                    continue;
                }
                Event::Woken | Event::Accepted { .. } | Event::Released(..) => continue,
            };
            changed.push(index);
        }
        for index in changed {
            self.flush(index);
        }
        while let Some(&Reverse((at, index))) = self.agenda.peek()
            && at <= now
        {
            self.agenda.pop();
            self.go_on(index);
            let next = now + self.rng.between(PAUSE_NS_MIN, self.way.pause_ns_max);
            if next < self.end_ns && !self.all[index].socket().is_over {
                self.agenda.push(Reverse((next, index)));
            }
        }
        for client in &mut self.all {
            let socket = client.socket_mut();
            if socket.is_over {
                socket.over_at.get_or_insert(now);
            }
        }
        let next = self.agenda.peek().map(|Reverse((at, _))| *at);
        let timeout = next.map(|at| Duration::from_nanos(at.saturating_sub(now)));
        let waited = self.way.driver.wait(timeout);
        waited.expect("a simulated wait does not fail");
    }

    /// Dials, or does something.
    fn go_on(&mut self, index: usize) {
        let client = &mut self.all[index];
        let socket = client.socket_mut();
        if socket.is_over {
            return;
        }
        if !socket.is_held {
            let (ip, port_first) = self.way.from;
            let options = ConnectOptions {
                addr: self.way.to,
                local: Some(SocketAddr::from((ip, port_first + index as u16))),
            };
            let connected = self.way.driver.connect(key_of(index), &options);
            socket.is_held = connected.is_ok();
            socket.is_over = !socket.is_held;
            return;
        }
        match client.act(&mut self.rng) {
            Act::Wait => {}
            Act::Close => self.close(index),
            Act::Send => self.flush(index),
        }
    }

    fn close(&mut self, index: usize) {
        let socket = self.all[index].socket_mut();
        socket.is_over = true;
        if std::mem::take(&mut socket.is_held) {
            self.way.driver.close(key_of(index), CloseMode::Abort);
        }
    }

    fn flush(&mut self, index: usize) {
        let socket = self.all[index].socket_mut();
        if socket.is_over && socket.outgoing.is_empty() {
            return self.close(index);
        }
        if socket.in_flight || !socket.is_held || socket.outgoing.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut socket.outgoing);
        match self.way.driver.send_copy(key_of(index), &bytes) {
            SendStatus::Done => {}
            SendStatus::Pending => socket.in_flight = true,
            SendStatus::Gone => socket.is_over = true,
        }
    }
}

fn key_of(index: usize) -> ConnKey {
    ConnKey::new(index as u32, 1)
}

fn index_of(key: ConnKey) -> usize {
    key.slot() as usize
}

/// How long each pauses at least.
const PAUSE_NS_MIN: u64 = 20_000_000;
