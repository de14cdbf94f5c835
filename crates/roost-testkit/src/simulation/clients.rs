//! Clients that each do something now and then, on one simulated driver: their sockets, and when which goes on.
//! Some have a second connection, by which they send requests of their own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseMode, ConnKey, ConnectOptions, Driver, Event, SendStatus};

type SimEvent<'a> = Event<'a, <SimDriver as Driver>::Socket>;

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
    is_connected: bool,
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
    /// Its second connection, once it wants one.
    fn second_mut(&mut self) -> Option<&mut Socket> {
        None
    }
    /// Bytes have come on that.
    fn handle_second_bytes(&mut self, _: &[u8]) {}
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
            changed.extend(handle(&mut self.all, event));
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
            self.dial(index, index);
            return;
        }
        if client.second_mut().is_some_and(|second| !second.is_held) {
            self.dial(index, SECONDS_FIRST + index);
        }
        let client = &mut self.all[index];
        match client.act(&mut self.rng) {
            Act::Wait => {}
            Act::Close => self.close(index),
            Act::Send => self.flush(index),
        }
    }

    /// The connection of this number, which is the client's first or second.
    fn dial(&mut self, index: usize, number: usize) {
        let (ip, port_first) = self.way.from;
        let options = ConnectOptions {
            addr: self.way.to,
            local: Some(SocketAddr::from((ip, port_first + number as u16))),
        };
        let is_held = self.way.driver.connect(key_of(number), &options).is_ok();
        let client = &mut self.all[index];
        client.socket_mut().is_over |= !is_held;
        let socket = match number == index {
            true => Some(client.socket_mut()),
            false => client.second_mut(),
        };
        if let Some(socket) = socket {
            socket.is_held = is_held;
        }
    }

    fn close(&mut self, index: usize) {
        let client = &mut self.all[index];
        client.socket_mut().is_over = true;
        if std::mem::take(&mut client.socket_mut().is_held) {
            self.way.driver.close(key_of(index), CloseMode::Abort);
        }
        let second = client.second_mut();
        if second.is_some_and(|second| std::mem::take(&mut second.is_held)) {
            let key = key_of(SECONDS_FIRST + index);
            self.way.driver.close(key, CloseMode::Abort);
        }
    }

    fn flush(&mut self, index: usize) {
        let client = &mut self.all[index];
        let socket = client.socket_mut();
        if socket.is_over && socket.outgoing.is_empty() {
            return self.close(index);
        }
        let driver = &mut self.way.driver;
        if let Some(second) = client.second_mut()
            && !second.flush(driver, SECONDS_FIRST + index)
        {
            client.socket_mut().is_over = true;
        }
        let socket = client.socket_mut();
        if !socket.flush(driver, index) {
            socket.is_over = true;
        }
    }
}

impl Socket {
    /// False if the connection has gone.
    fn flush(&mut self, driver: &mut SimDriver, number: usize) -> bool {
        let may_send = self.is_connected && self.is_held && !self.in_flight;
        if !may_send || self.outgoing.is_empty() {
            return true;
        }
        let bytes = std::mem::take(&mut self.outgoing);
        let sent = driver.send_copy(key_of(number), &bytes);
        self.in_flight = sent == SendStatus::Pending;
        sent != SendStatus::Gone
    }
}

/// Has a client take what has happened to it. Which it is, if it may have something to send.
fn handle<C: Client>(all: &mut [C], event: SimEvent<'_>) -> Option<usize> {
    let key = match &event {
        Event::Connected(key)
        | Event::Sent(key)
        | Event::Bytes(key, _)
        | Event::ReadClosed(key)
        | Event::Closed(key, _) => *key,
        Event::Woken | Event::Accepted { .. } | Event::Released(..) => return None,
    };
    if let Some(index) = index_of(key).checked_sub(SECONDS_FIRST) {
        handle_second(&mut all[index], event);
        return Some(index);
    }
    let client = &mut all[index_of(key)];
    let socket = client.socket_mut();
    match event {
        Event::Connected(_) => {
            socket.is_connected = true;
            client.send_request();
        }
        Event::Sent(_) => socket.in_flight = false,
        Event::Bytes(_, bytes) => client.handle_bytes(bytes),
        Event::Closed(..) => {
            socket.is_over = true;
            socket.is_held = false;
            return None;
        }
        _ => socket.is_over = true,
    }
    Some(index_of(key))
}

/// With its second connection the client is over.
fn handle_second(client: &mut impl Client, event: SimEvent<'_>) {
    if let Event::Bytes(_, bytes) = event {
        return client.handle_second_bytes(bytes);
    }
    let Some(second) = client.second_mut() else {
        return;
    };
    match event {
        Event::Connected(_) => second.is_connected = true,
        Event::Sent(_) => second.in_flight = false,
        Event::Closed(..) => {
            second.is_held = false;
            client.socket_mut().is_over = true;
        }
        _ => client.socket_mut().is_over = true,
    }
}

fn key_of(index: usize) -> ConnKey {
    ConnKey::new(index as u32, 1)
}

fn index_of(key: ConnKey) -> usize {
    key.slot() as usize
}

/// Second connections are behind all others.
const SECONDS_FIRST: usize = 64;
/// How long each pauses at least.
const PAUSE_NS_MIN: u64 = 20_000_000;
