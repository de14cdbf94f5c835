//! The backends under test, and what a case must know of them.

use std::net::SocketAddr;
use std::time::Duration;

use roost_net::epoll::{EpollDriver, EpollOptions};
use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions};
use roost_net::uring::{UringDriver, UringOptions};
use roost_net::{Driver, ListenOptions, OpenListener};

/// A family of drivers that can reach each other.
pub(crate) trait Backend: Sized {
    /// The drivers.
    type Driver: Driver;

    /// The module its tests stand in.
    const NAME: &'static str;

    /// More bytes than a connection takes whose peer does not read.
    const FLOOD_BYTES: usize;

    /// Whether every connection's peer can be asked for at any time.
    const KNOWS_PEERS: bool = true;

    /// Whether new connections are reset when no descriptor is free; else they may wait.
    const RESETS_AT_LIMIT: bool = true;

    /// What the drivers of one test share.
    fn new(seed: u64) -> Self;

    /// One more driver.
    fn driver(&mut self, options: &Options) -> Self::Driver;

    /// Where to listen: port 0 is free to choose.
    fn listen_addr(&self) -> SocketAddr {
        "127.0.0.1:0".parse().expect("an address")
    }

    /// A listening socket that no driver has.
    fn open_listener(&self, options: &ListenOptions) -> OpenListener {
        OpenListener::open(options).expect("a free port")
    }

    /// Lets a moment pass, now that no driver had anything to do.
    fn idle(&mut self, some_driver: &mut Self::Driver) {
        some_driver
            .wait(Some(Duration::from_millis(1)))
            .expect("wait");
    }
}

/// How a driver is to be made.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The largest piece of bytes an event may lend.
    pub(crate) read_buffer_bytes: usize,
    /// How many such buffers there are, where a backend has several.
    pub(crate) read_buffers: u16,
    /// Most sockets, where a backend has a table of its own for them.
    pub(crate) sockets_max: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            read_buffer_bytes: 65_536,
            read_buffers: 16,
            sockets_max: 2_048,
        }
    }
}

/// The epoll backend.
pub(crate) struct Epoll;

impl Backend for Epoll {
    type Driver = EpollDriver;
    const NAME: &'static str = "epoll";
    const FLOOD_BYTES: usize = KERNEL_FLOOD_BYTES;

    fn new(_seed: u64) -> Epoll {
        Epoll
    }

    fn driver(&mut self, options: &Options) -> EpollDriver {
        let read_buffer_bytes = options.read_buffer_bytes;
        EpollDriver::new(&EpollOptions {
            read_buffer_bytes,
            ..EpollOptions::default()
        })
        .expect("epoll is always there")
    }
}

/// io_uring with ordinary descriptors, or with slots of the ring's own.
pub(crate) struct Uring<const DIRECT: bool>;

impl<const DIRECT: bool> Backend for Uring<DIRECT> {
    type Driver = UringDriver;
    const NAME: &'static str = if DIRECT { "uring_direct" } else { "uring_fd" };
    const FLOOD_BYTES: usize = KERNEL_FLOOD_BYTES;
    const KNOWS_PEERS: bool = !DIRECT;
    const RESETS_AT_LIMIT: bool = !DIRECT;

    fn new(_seed: u64) -> Self {
        Uring
    }

    fn driver(&mut self, options: &Options) -> UringDriver {
        let made = UringDriver::new(&UringOptions {
            buffers: options.read_buffers,
            buffer_bytes: options.read_buffer_bytes as u32,
            direct_slots: DIRECT.then_some(options.sockets_max),
            ..UringOptions::default()
        });
        made.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// More than tcp_wmem and the part of tcp_rmem that a socket gets which is never read.
const KERNEL_FLOOD_BYTES: usize = 12 << 20;

/// The simulator on a bad day, but without resets of its own: the case says which side resets.
pub(crate) struct Sim(SimNet);

impl Backend for Sim {
    type Driver = SimDriver;
    const NAME: &'static str = "sim";
    const FLOOD_BYTES: usize = 1 << 20;

    fn new(seed: u64) -> Sim {
        // A few iterations are to be enough for what was sent to arrive, as on loopback.
        let latency_ns = 1_000..=20_000;
        Sim(SimNet::new(
            seed,
            SimFaults {
                latency_ns,
                ..SimFaults::lossless()
            },
        ))
    }

    fn driver(&mut self, options: &Options) -> SimDriver {
        self.0.driver(SimOptions {
            read_buffer_bytes: options.read_buffer_bytes,
            buffers: options.read_buffers.into(),
            sockets_max: options.sockets_max as usize,
            // Some cases make the caller's mistakes on purpose.
            strict: false,
            ..SimOptions::default()
        })
    }

    fn open_listener(&self, options: &ListenOptions) -> OpenListener {
        let addr = SocketAddr::from(([127, 0, 0, 1], 7)).into();
        OpenListener::unopened(ListenOptions {
            addr,
            ..options.clone()
        })
    }

    fn idle(&mut self, _: &mut SimDriver) {
        self.0.advance(Duration::from_micros(200));
    }
}
