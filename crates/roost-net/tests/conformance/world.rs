//! Several hosts in one test, turned one after another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roost_net::{
    Chunk, CloseCause, CloseMode, ConnKey, Driver, ListenOptions, ListenerId, SendStatus,
};

use crate::backend::{Backend, Options};
use crate::host::{Conn, Host};
use crate::stream::{Rng, Stream, seed};

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(30);

/// The hosts of a test.
pub(crate) struct World<B: Backend> {
    pub(crate) backend: B,
    pub(crate) hosts: Vec<Host<B::Driver>>,
    pub(crate) rng: Rng,
    /// In the order of `listen`.
    pub(crate) listeners: Vec<ListenerId>,
    options: Options,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct End {
    pub(crate) host: usize,
    pub(crate) key: ConnKey,
}

/// The host that connects, by custom of this suite.
pub(crate) const CLIENT: usize = 0;
/// The host that listens.
pub(crate) const SERVER: usize = 1;

type SocketOf<B> = <<B as Backend>::Driver as Driver>::Socket;

impl<B: Backend> World<B> {
    /// Two hosts with the usual options.
    pub(crate) fn new() -> World<B> {
        World::with(&Options::default(), 2)
    }

    pub(crate) fn with(options: &Options, hosts: usize) -> World<B> {
        let seed = seed();
        let mut backend = B::new(seed);
        let host = |_| Host::new(backend.driver(options), options.read_buffer_bytes);
        World {
            hosts: (0..hosts).map(host).collect(),
            backend,
            listeners: Vec::new(),
            rng: Rng::new(seed),
            options: options.clone(),
        }
    }

    /// One more host, with options of its own.
    pub(crate) fn add_host(&mut self, options: &Options) -> usize {
        let driver = self.backend.driver(options);
        self.hosts
            .push(Host::new(driver, options.read_buffer_bytes));
        self.hosts.len() - 1
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Listens on a free port.
    pub(crate) fn listen(&mut self, host: usize) -> SocketAddr {
        let addr = self.backend.listen_addr();
        self.listen_on(host, addr, false)
    }

    pub(crate) fn listen_on(
        &mut self,
        host: usize,
        addr: SocketAddr,
        reuse_port: bool,
    ) -> SocketAddr {
        let options = ListenOptions {
            addr: addr.into(),
            backlog: 4_096,
            reuse_port,
            exclusive: false,
            sharers: 0,
            want_peer: true,
        };
        let (id, addr) = self.hosts[host].driver.listen(&options).expect("listen");
        self.listeners.push(id);
        addr.tcp().expect("a TCP address")
    }

    /// A connection from the client to the server's `addr`, both ends ready.
    pub(crate) fn pair(&mut self, addr: SocketAddr) -> (End, End) {
        let adopted = self.hosts[SERVER].adopted.len();
        let client = self.connect(CLIENT, addr);
        self.until("a connection", |w| {
            w.conn(client).connected && w.hosts[SERVER].adopted.len() > adopted
        });
        let key = self.hosts[SERVER].adopted[adopted];
        (client, End { host: SERVER, key })
    }

    /// A world with one connection.
    pub(crate) fn connected() -> (World<B>, End, End) {
        let mut world = World::new();
        let addr = world.listen(SERVER);
        let (client, server) = world.pair(addr);
        (world, client, server)
    }

    pub(crate) fn connect(&mut self, host: usize, addr: SocketAddr) -> End {
        End {
            host,
            key: self.hosts[host].connect(addr, None),
        }
    }

    pub(crate) fn connect_from(&mut self, host: usize, addr: SocketAddr, local: SocketAddr) -> End {
        End {
            host,
            key: self.hosts[host].connect(addr, Some(local)),
        }
    }

    pub(crate) fn conn(&self, end: End) -> &Conn<SocketOf<B>> {
        self.hosts[end.host].conn(end.key)
    }

    /// Says which stream must arrive at `end`.
    pub(crate) fn expect(&mut self, end: End, stream: Stream) {
        self.hosts[end.host].conn_mut(end.key).expect = Some(stream);
    }

    pub(crate) fn send(&mut self, end: End, chunks: &[Chunk]) -> SendStatus {
        self.hosts[end.host].send(end.key, chunks)
    }

    pub(crate) fn send_copy(&mut self, end: End, bytes: &[u8]) -> SendStatus {
        self.hosts[end.host].send_copy(end.key, bytes)
    }

    /// Sends more of `stream`, from its start, than a connection takes whose peer does not read.
    pub(crate) fn flood(&mut self, end: End, stream: Stream) {
        let chunks = stream.chunks(0, B::FLOOD_BYTES, 1 << 20);
        assert_eq!(
            self.send(end, &chunks),
            SendStatus::Pending,
            "nothing takes so much at once"
        );
    }

    pub(crate) fn unsent(&self, end: End) -> usize {
        self.hosts[end.host].driver.unsent_bytes(end.key)
    }

    pub(crate) fn pause(&mut self, end: End) {
        self.hosts[end.host].pause(end.key);
    }

    pub(crate) fn resume(&mut self, end: End) {
        self.hosts[end.host].resume(end.key);
    }

    pub(crate) fn shutdown_write(&mut self, end: End) {
        self.hosts[end.host].shutdown_write(end.key);
    }

    pub(crate) fn close(&mut self, end: End, mode: CloseMode) {
        self.hosts[end.host].close(end.key, mode);
    }

    pub(crate) fn release(&mut self, end: End) {
        self.hosts[end.host].release(end.key);
    }

    /// Waits for the socket of a release and adopts it at `host`.
    pub(crate) fn readopt(&mut self, end: End, host: usize) -> End {
        self.until("Released", |w| w.conn(end).ended);
        let conn = self.hosts[end.host].conn_mut(end.key);
        let socket = conn.released.take().expect("released, not closed");
        End {
            host,
            key: self.hosts[host].adopt(socket),
        }
    }

    /// One round: every driver gathers, every event is handled.
    pub(crate) fn iterate(&mut self) {
        let mut busy = false;
        for host in &mut self.hosts {
            host.driver.wait(Some(Duration::ZERO)).expect("wait");
            busy |= host.pump();
        }
        if !busy {
            self.backend.idle(&mut self.hosts[0].driver);
        }
    }

    /// `count` rounds: time for what must not happen.
    pub(crate) fn iterate_times(&mut self, count: usize) {
        (0..count).for_each(|_| self.iterate());
    }

    /// Turns until `done`.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut World<B>) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(
                Instant::now() < deadline,
                "{}: waited in vain for {what}",
                B::NAME
            );
            self.iterate();
        }
    }

    pub(crate) fn until_received(&mut self, end: End, bytes: usize) {
        self.until(&format!("{bytes} bytes"), |w| {
            w.conn(end).received_bytes >= bytes as u64
        });
        assert_eq!(
            self.conn(end).received_bytes,
            bytes as u64,
            "more than was sent"
        );
    }

    pub(crate) fn until_closed(&mut self, end: End) -> CloseCause {
        self.until("Closed", |w| w.conn(end).closed.is_some());
        self.conn(end).closed.expect("just seen")
    }

    /// Ends the test: closes what is open, and sees that nothing is left and nothing follows.
    pub(crate) fn finish(mut self) {
        for host in &mut self.hosts {
            host.driver.stop_listening();
            host.accepted.clear();
            for key in host.live_keys() {
                host.close(key, CloseMode::Abort);
            }
        }
        self.until("an end for every key", |w| {
            w.hosts.iter().all(|host| host.live_keys().is_empty())
        });
        // `Host::pump` stops the test at any event that comes now.
        self.iterate_times(5);
        for host in &self.hosts {
            assert_eq!(
                host.driver.stats().open,
                0,
                "connections the driver still counts"
            );
        }
    }
}
