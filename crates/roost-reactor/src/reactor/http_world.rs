//! A reactor, or several, and their clients on a simulated network, for tests.

use std::net::SocketAddr;
use std::time::Duration;

use roost_access::{Identity, Method};
use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions};
use roost_net::{CloseCause, CloseMode, ConnKey, ConnectOptions, Driver, Event, SendStatus};

use crate::connections::Phase;
use crate::{ControlPeer, Iteration, Reactor, Settings, Shared};

pub(super) struct World {
    pub(super) net: SimNet,
    pub(super) reactor: Reactor<SimDriver>,
    /// Those behind the first.
    others: Vec<Reactor<SimDriver>>,
    shared: Shared,
    /// Of each reactor.
    addresses: Vec<SocketAddr>,
    client: SimDriver,
    /// By slot.
    peers: Vec<Peer>,
    /// Which reactors are drained.
    stopped: Vec<bool>,
}

#[derive(Default)]
struct Peer {
    received: Vec<u8>,
    /// What the network has not taken.
    unsent: Vec<u8>,
    in_flight: bool,
    has_fin: bool,
    closed: Option<CloseCause>,
}

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client(u32);

/// A response, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl World {
    pub(super) fn new(settings: Settings) -> World {
        World::on(settings, SimFaults::none())
    }

    pub(super) fn on(settings: Settings, faults: SimFaults) -> World {
        World::of_reactors(1, settings, faults)
    }

    /// The same of so many reactors. Each has an address of its own.
    pub(super) fn of_reactors(count: usize, settings: Settings, faults: SimFaults) -> World {
        let net = SimNet::new(11, faults);
        let shared = Shared::new(settings, count, 11);
        let mut addresses = Vec::new();
        let all = (0..count).map(|id| {
            let driver = net.driver(SimOptions::default());
            let mut reactor = Reactor::new(driver, id as u8, shared.clone());
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            addresses.push(super::listen_at(&mut reactor, any));
            reactor
        });
        let mut all = all.collect::<Vec<_>>().into_iter();
        World {
            client: net.driver(SimOptions::default()),
            net,
            reactor: all.next().expect("one at least"),
            others: all.collect(),
            shared,
            addresses,
            peers: Vec::new(),
            stopped: vec![false; count],
        }
    }

    /// A new client. The slots of the reactor are the clients' numbers while none has gone.
    pub(super) fn connect(&mut self) -> Client {
        self.connect_to(0)
    }

    /// A new client of a reactor.
    pub(super) fn connect_to(&mut self, reactor: usize) -> Client {
        let client = Client(self.peers.len() as u32);
        let options = ConnectOptions {
            addr: self.addresses[reactor],
            local: None,
        };
        let connected = self.client.connect(key_of(client), &options);
        connected.expect("a free slot");
        self.peers.push(Peer::default());
        self.run(10);
        client
    }

    pub(super) fn send(&mut self, client: Client, bytes: impl AsRef<[u8]>) {
        self.post(client, bytes);
        self.run(10);
    }

    /// Sends, and no time passes: it leaves with [`World::run_clients`], and what becomes of it is seen with
    /// [`World::step`].
    pub(super) fn post(&mut self, client: Client, bytes: impl AsRef<[u8]>) {
        let peer = &mut self.peers[client.0 as usize];
        peer.unsent.extend_from_slice(bytes.as_ref());
        self.flush(client);
    }

    fn flush(&mut self, client: Client) {
        let peer = &mut self.peers[client.0 as usize];
        if !peer.in_flight && !peer.unsent.is_empty() {
            let bytes = std::mem::take(&mut peer.unsent);
            let status = self.client.send_copy(key_of(client), &bytes);
            peer.in_flight = status == SendStatus::Pending;
        }
    }

    /// Sends and takes what is answered.
    pub(super) fn ask(&mut self, client: Client, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        self.send(client, bytes);
        self.take(client)
    }

    pub(super) fn send_fin(&mut self, client: Client) {
        self.client.shutdown_write(key_of(client));
        self.run(10);
    }

    pub(super) fn abort(&mut self, client: Client) {
        self.vanish(client);
        self.run(10);
    }

    /// The same, and no time passes.
    pub(super) fn vanish(&mut self, client: Client) {
        self.client.close(key_of(client), CloseMode::Abort);
    }

    pub(super) fn set_reading(&mut self, client: Client, is_reading: bool) {
        match is_reading {
            true => self.client.resume(key_of(client)),
            false => self.client.pause(key_of(client)),
        }
        self.run(10);
    }

    /// Lets `ms` pass.
    pub(super) fn run(&mut self, ms: u64) {
        let until = self.net.now() + ms * 1_000_000;
        while self.net.now() < until {
            while (0..self.addresses.len()).any(|reactor| self.step(reactor)) {}
            self.run_clients();
            self.net.advance(Duration::from_millis(1));
        }
    }

    /// One loop iteration of a reactor. False if it has nothing to do.
    pub(super) fn step(&mut self, reactor: usize) -> bool {
        let of = match reactor {
            0 => &mut self.reactor,
            other => &mut self.others[other - 1],
        };
        if self.stopped[reactor] || !of.driver.is_due() {
            return false;
        }
        let iteration = of.run_once().expect("a simulated wait does not fail");
        self.stopped[reactor] = iteration == Iteration::Stopped;
        true
    }

    /// Whether a fan-out goes on on a reactor.
    pub(super) fn fans_out(&self, reactor: usize) -> bool {
        let of = match reactor {
            0 => &self.reactor,
            other => &self.others[other - 1],
        };
        of.core.channels.is_fanning_out()
    }

    /// Clients take what has come, and send what they have not sent.
    pub(super) fn run_clients(&mut self) {
        self.client.wait(Some(Duration::ZERO)).expect("simulated");
        let mut sent = Vec::new();
        while let Some(event) = self.client.next_event() {
            match event {
                Event::Sent(key) => {
                    self.peers[key.slot() as usize].in_flight = false;
                    sent.push(Client(key.slot()));
                }
                Event::Bytes(key, bytes) => {
                    let peer = &mut self.peers[key.slot() as usize];
                    peer.received.extend_from_slice(bytes);
                }
                Event::ReadClosed(key) => self.peers[key.slot() as usize].has_fin = true,
                Event::Closed(key, cause) => {
                    self.peers[key.slot() as usize].closed = Some(cause);
                }
                _ => {}
            }
        }
        sent.into_iter().for_each(|client| self.flush(client));
    }

    /// What has come since the last call.
    pub(super) fn take(&mut self, client: Client) -> Vec<u8> {
        std::mem::take(&mut self.peers[client.0 as usize].received)
    }

    /// The server has ended the connection in order.
    pub(super) fn has_fin(&self, client: Client) -> bool {
        let peer = &self.peers[client.0 as usize];
        peer.has_fin && peer.closed.is_none()
    }

    /// The server has reset the connection.
    pub(super) fn is_reset(&self, client: Client) -> bool {
        self.peers[client.0 as usize].closed.is_some()
    }

    /// The server's key of the client's connection.
    pub(super) fn key(&self, client: Client) -> ConnKey {
        let key = self.reactor.core.connections.key_at(client.0);
        key.expect("it is connected")
    }

    /// It is let in by what it is now, as if it had shown a certificate.
    pub(super) fn show_certificate(&mut self, client: Client) {
        let connections = &mut self.reactor.core.connections;
        let key = connections.key_at(client.0).expect("it is connected");
        let identity = connections.identities().get(client.0);
        let identity = Identity {
            method: Method::Certificate,
            ..identity.expect("it was let in").clone()
        };
        connections.identify(key, identity).expect("there is room");
    }

    /// Its phase at the server.
    pub(super) fn phase(&self, client: Client) -> Option<Phase> {
        let connections = &self.reactor.core.connections;
        let key = connections.key_at(client.0)?;
        connections.get(key).map(|conn| conn.phase)
    }

    /// The time, in ticks.
    pub(super) fn tick(&self) -> u32 {
        self.reactor.core.now()
    }

    /// Makes a client known as this, as if it had come so.
    pub(super) fn identify(&mut self, client: Client, identity: Identity) {
        let key = self.key(client);
        let identified = self.reactor.core.connections.identify(key, identity);
        identified.expect("users have any number of connections");
    }

    pub(super) fn count(&self, name: &str) -> u64 {
        let sum = self.shared.registry().sum(name);
        sum.expect("a counter of this name")
    }

    /// The control thread's end of the mesh.
    pub(super) fn control(&self) -> ControlPeer {
        let waker = self.net.driver(SimOptions::default()).waker();
        let peer = self.shared.control_peer(waker);
        peer.expect("the only one")
    }

    /// Whether a drain is over.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped[0]
    }

    /// The server obeys other settings from now on.
    pub(super) fn reload(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings::clone(&self.shared.settings());
        change(&mut settings);
        self.shared.reload(settings, Vec::new());
        self.connect(); // wakes the reactor
        self.run(20);
    }

    pub(super) fn begin_paced_drain(&mut self, pace: crate::Pace) {
        self.shared.begin_paced_drain(pace);
        self.reactor.waker().wake();
    }

    /// The server goes down.
    pub(super) fn begin_drain(&mut self) {
        self.shared.begin_drain(5_000);
        self.reactor.waker().wake();
    }
}

fn key_of(client: Client) -> ConnKey {
    ConnKey::new(client.0, 0)
}

/// Takes whole responses apart, to requests with these methods; what is left is no response.
pub(super) fn answers<'b>(mut bytes: &'b [u8], methods: &[&str]) -> (Vec<Answer>, &'b [u8]) {
    let mut answers = Vec::new();
    for method in methods {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            break;
        };
        let head = String::from_utf8_lossy(&bytes[..end + 4]).into_owned();
        let length = head.split("\r\n").find_map(|line| {
            let value = line.strip_prefix("Content-Length: ")?;
            value.parse::<usize>().ok()
        });
        let length = match *method {
            "HEAD" => 0,
            _ => length.unwrap_or_else(|| panic!("no length: {head}")),
        };
        let body = &bytes[end + 4..];
        if body.len() < length {
            break;
        }
        answers.push(Answer {
            status: head[9..12].parse().expect("a status"),
            head,
            body: body[..length].to_vec(),
        });
        bytes = &body[length..];
    }
    (answers, bytes)
}
