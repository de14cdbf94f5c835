//! A program on a driver: connects, accepts, exchanges numbered streams, and checks every event.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions, SimRng, SimSocket};
use roost_net::{
    Chunk, CloseCause, CloseMode, ConnKey, ConnectOptions, Driver, Event, ListenAddr,
    ListenOptions, SendStatus,
};

/// Some programs on one network.
pub(crate) struct Network {
    pub(crate) net: SimNet,
    pub(crate) hosts: Vec<Host>,
}

/// A program: its driver and what it knows of its connections.
pub(crate) struct Host {
    pub(crate) driver: SimDriver,
    rng: SimRng,
    conns: BTreeMap<ConnKey, Conn>,
    free: Vec<ConnKey>,
    slots: u32,
    /// What each end sends before its FIN.
    stream_bytes: usize,
    /// How often, of a thousand occasions, an end closes before its time.
    pub(crate) quits_per_mille: u32,
    /// What became of the connections that are over.
    pub(crate) ended: Vec<Ended>,
    pub(crate) woken: u64,
}

#[derive(Debug, Clone, Default)]
struct Conn {
    /// The stream this end sends; None until the first bytes told the accepting end.
    stream: Option<u32>,
    /// First bytes received, while they are fewer than name a stream.
    head: Vec<u8>,
    connected: bool,
    sent: usize,
    in_flight: bool,
    fin_sent: bool,
    received: usize,
    read_closed: bool,
    paused: bool,
    releasing: bool,
    closing: bool,
    /// A send found it broken.
    gone: bool,
}

/// A connection that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) received: usize,
    pub(crate) read_closed: bool,
    pub(crate) cause: CloseCause,
}

impl Network {
    pub(crate) fn new(seed: u64, faults: SimFaults) -> Network {
        Network {
            net: SimNet::new(seed, faults),
            hosts: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, options: SimOptions, stream_bytes: usize) -> usize {
        self.hosts.push(Host {
            driver: self.net.driver(options),
            rng: self.net.rng(),
            conns: BTreeMap::new(),
            free: Vec::new(),
            slots: 0,
            stream_bytes,
            quits_per_mille: 0,
            ended: Vec::new(),
            woken: 0,
        });
        self.hosts.len() - 1
    }

    /// Calls the hosts that are due, in the net's order, until nothing happens any more.
    pub(crate) fn run(&mut self) {
        for step in 0.. {
            assert!(step < 2_000_000, "seed {}: never ends", self.net.seed());
            if !self.net.step() {
                break;
            }
            let due: Vec<usize> = (0..self.hosts.len())
                .filter(|&i| self.hosts[i].driver.is_due())
                .collect();
            let chosen = due[self.net.choose(due.len())];
            self.hosts[chosen].iterate();
            if step % 64 == 0 {
                self.net.check_invariants();
            }
        }
        self.net.check_invariants();
    }

    /// All has come to its end: nothing is left anywhere.
    pub(crate) fn finish(self) {
        let Network { net, hosts } = self;
        for host in &hosts {
            assert!(host.conns.is_empty(), "{:?} {:?}", net, host.conns);
            assert_eq!(host.driver.stats().open, 0, "{net:?}");
        }
        drop(hosts);
        net.run_to_end();
        net.check_invariants();
        assert!(net.leaks().is_none(), "{:?} {:?}", net, net.leaks());
    }
}

impl Host {
    pub(crate) fn listen(&mut self, addr: &str) -> SocketAddr {
        let options = ListenOptions {
            addr: ListenAddr::Tcp(addr.parse().expect("an address")),
            backlog: 64,
            reuse_port: true,
            exclusive: false,
            sharers: 0,
            want_peer: false,
        };
        let (_, addr) = self.driver.listen(&options).expect("a free address");
        addr.tcp().expect("a TCP address")
    }

    pub(crate) fn connect(&mut self, addr: SocketAddr, stream: u32) {
        let key = self.new_key();
        let options = ConnectOptions { addr, local: None };
        self.driver.connect(key, &options).expect("room");
        let conn = Conn {
            stream: Some(stream),
            ..Conn::default()
        };
        self.conns.insert(key, conn);
    }

    fn new_key(&mut self) -> ConnKey {
        self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            ConnKey::new(self.slots - 1, 0)
        })
    }

    fn adopt(&mut self, conn: Conn, socket: SimSocket) {
        let key = self.new_key();
        // The table may be full for another's socket; then it is closed, and that is its end.
        if self.driver.adopt(key, socket).is_ok() {
            self.conns.insert(key, conn);
        } else {
            self.free.push(next_generation(key));
        }
    }

    pub(crate) fn iterate(&mut self) {
        // With something to resume it looks again soon.
        let paused = self.conns.values().any(|conn| conn.paused);
        let timeout = paused.then_some(Duration::from_millis(1));
        let started = self.driver.now();
        self.driver.wait(timeout).expect("wait");
        assert!(self.driver.now() >= started, "time went back");
        // Now and then it leaves events for the next iteration.
        let budget = self.rng.between(1, 4);
        let mut adopted = Vec::new();
        for _ in 0..budget {
            match self.driver.next_event() {
                None => break,
                Some(Event::Woken) => self.woken += 1,
                Some(Event::Accepted { socket, peer, .. }) => {
                    assert_eq!(peer, None, "it was not asked for");
                    let conn = Conn {
                        connected: true,
                        ..Conn::default()
                    };
                    adopted.push((conn, socket));
                }
                Some(Event::Released(key, socket)) => {
                    let conn = self.conns.remove(&key).expect("a live key");
                    self.free.push(next_generation(key));
                    assert!(!conn.in_flight, "released with a batch in flight");
                    let told_again = Conn {
                        read_closed: false,
                        releasing: false,
                        paused: false,
                        ..conn
                    };
                    adopted.push((told_again, socket));
                }
                Some(Event::Closed(key, cause)) => {
                    let conn = self.conns.remove(&key).expect("a live key");
                    self.free.push(next_generation(key));
                    self.ended.push(Ended {
                        received: conn.received,
                        read_closed: conn.read_closed,
                        cause,
                    });
                }
                Some(Event::Connected(key)) => {
                    let conn = self.conns.get_mut(&key).expect("a live key");
                    assert!(!std::mem::replace(&mut conn.connected, true));
                }
                Some(Event::Bytes(key, bytes)) => {
                    let conn = self.conns.get_mut(&key).expect("a live key");
                    assert!(conn.connected && !conn.closing && !conn.read_closed);
                    conn.take(bytes);
                    bytes.fill(0xee);
                }
                Some(Event::ReadClosed(key)) => {
                    let conn = self.conns.get_mut(&key).expect("a live key");
                    assert!(!conn.closing && !conn.read_closed && !conn.paused);
                    conn.read_closed = true;
                }
                Some(Event::Sent(key)) => {
                    let conn = self.conns.get_mut(&key).expect("a live key");
                    assert!(std::mem::take(&mut conn.in_flight) && !conn.closing);
                    assert_eq!(self.driver.unsent_bytes(key), 0);
                }
            }
        }
        for (conn, socket) in adopted {
            self.adopt(conn, socket);
        }
        let keys: Vec<ConnKey> = self.conns.keys().copied().collect();
        for key in keys {
            self.act(key);
        }
    }

    /// The next thing to do on a connection, in an order and in pieces of chance.
    fn act(&mut self, key: ConnKey) {
        let conn = self.conns.get_mut(&key).expect("a live key");
        if self.rng.per_mille(self.quits_per_mille) && !conn.closing && !conn.gone {
            conn.closing = true;
            // Two that close with full windows wait for each other: only an empty-handed one does.
            let mode = match conn.in_flight || self.rng.per_mille(500) {
                true => CloseMode::Abort,
                false => CloseMode::Graceful,
            };
            return self.driver.close(key, mode);
        }
        if !conn.connected || conn.closing || conn.releasing || conn.gone {
            return;
        }
        if conn.paused {
            if self.rng.per_mille(300) {
                conn.paused = false;
                self.driver.resume(key);
            }
            return;
        }
        match self.rng.below(100) {
            0..3 => {
                conn.paused = true;
                self.driver.pause(key);
                return;
            }
            3..5 => {
                // Comes back in Released under another key.
                conn.releasing = true;
                self.driver.release(key);
                return;
            }
            _ => {}
        }
        let Some(stream) = conn.stream else {
            if conn.read_closed {
                // The other end went before it said anything.
                conn.closing = true;
                self.driver.close(key, CloseMode::Graceful);
            }
            return;
        };
        if conn.in_flight || conn.fin_sent {
            if conn.fin_sent && conn.read_closed {
                conn.closing = true;
                self.driver.close(key, CloseMode::Graceful);
            }
            return;
        }
        let left = self.stream_bytes - conn.sent;
        if left == 0 {
            conn.fin_sent = true;
            self.driver.shutdown_write(key);
            return;
        }
        let n = self.rng.between(1, left.min(20_000) as u64) as usize;
        let bytes = stream_bytes(stream, conn.sent, n);
        let status = if self.rng.per_mille(500) {
            self.driver.send_copy(key, &bytes)
        } else {
            let cut = self.rng.below(n as u64 + 1) as usize;
            let shared: Arc<[u8]> = bytes.into();
            let chunks = [
                Chunk::slice(shared.clone(), 0..cut),
                Chunk::slice(shared, cut..n),
            ];
            self.driver.send(key, &chunks)
        };
        match status {
            SendStatus::Done => assert_eq!(self.driver.unsent_bytes(key), 0),
            SendStatus::Pending => {
                assert!((1..=n).contains(&self.driver.unsent_bytes(key)));
                conn.in_flight = true;
            }
            // Closed follows, or it stays in the table and `finish` sees it.
            SendStatus::Gone => conn.gone = true,
        }
        conn.sent += n;
    }
}

impl Conn {
    fn take(&mut self, bytes: &[u8]) {
        let mut at = self.received;
        self.received += bytes.len();
        let incoming = match self.stream {
            Some(mine) => !mine,
            None => {
                self.head.extend_from_slice(bytes);
                if self.head.len() < 4 {
                    return;
                }
                let name = u32::from_be_bytes(self.head[..4].try_into().expect("four"));
                self.stream = Some(!name);
                at = 0;
                name
            }
        };
        let head = std::mem::take(&mut self.head);
        let bytes = if head.is_empty() { bytes } else { &head };
        let sent = stream_bytes(incoming, at, bytes.len());
        assert!(
            bytes == sent,
            "stream {incoming} is not itself after byte {at}"
        );
    }
}

/// The bytes of `stream` from `start` on; its first four name it.
fn stream_bytes(stream: u32, start: usize, len: usize) -> Vec<u8> {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| {
        let mut rng = SimRng::new(0);
        (0..NOISE_BYTES).map(|_| rng.next_u64() as u8).collect()
    });
    let mut bytes = Vec::with_capacity(len);
    let name = stream.to_be_bytes();
    bytes.extend_from_slice(&name[start.min(4)..(start + len).min(4)]);
    while bytes.len() < len {
        let at = (start + bytes.len() + stream as usize % 997 * 61) % NOISE_BYTES;
        let end = NOISE_BYTES.min(at + len - bytes.len());
        bytes.extend_from_slice(&noise[at..end]);
    }
    bytes
}

/// A prime, so that no round number of bytes brings the same again.
const NOISE_BYTES: usize = 65_521;

fn next_generation(key: ConnKey) -> ConnKey {
    ConnKey::new(key.slot(), key.generation().wrapping_add(1))
}

/// A network where `clients` connections go to two listeners that share an address.
pub(crate) fn busy_network(
    seed: u64,
    faults: SimFaults,
    clients: u32,
    stream_bytes: usize,
) -> Network {
    let mut network = Network::new(seed, faults);
    let small = SimOptions {
        read_buffer_bytes: 1 + network.net.rng().below(5_000) as usize,
        buffers: 4,
        events_max: 32,
        ..SimOptions::default()
    };
    for _ in 0..3 {
        network.add(small.clone(), stream_bytes);
    }
    let addr = network.hosts[1].listen("10.0.0.1:80");
    network.hosts[2].listen("10.0.0.1:80");
    for stream in 0..clients {
        network.hosts[0].connect(addr, stream);
    }
    network
}
