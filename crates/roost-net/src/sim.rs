//! Sockets without a kernel: a TCP-like network in memory, on a seeded scheduler with a virtual
//! clock. It owns no thread, no descriptor and no wall clock, and never blocks.
//!
//! Equal seeds, options and calls give equal events: a failure found at a seed is found again. The
//! network does what a real one does on a bad day ([`SimFaults`]), and since the reactor's mistakes
//! are to be found here, a caller that breaks the [`Driver`](crate::Driver) contract panics with
//! the rule's number ([`SimOptions::strict`]).
//!
//! A runner owns the drivers' users and calls those that are due. [`Driver::wait`] returns at once;
//! between two turns the driver's user is taken to be asleep in the last `wait` that had nothing to
//! tell, and the first call after news or the timeout finds that it returns now. So a turn may
//! begin with `wait`, as here, or end with it. It must end with it if others save themselves the
//! wake of a user that is not asleep: only then does that user look asleep between its turns.
//!
//! [`Driver::wait`]: crate::Driver::wait
//!
//! ```
//! use roost_net::sim::{SimFaults, SimNet, SimOptions};
//! use roost_net::{ConnKey, ConnectOptions, Driver, Event, ListenAddr, ListenOptions};
//!
//! let net = SimNet::new(7, SimFaults::lossless());
//! let mut drivers = [SimOptions::default(), SimOptions::default()].map(|o| net.driver(o));
//! let addr = "10.0.0.1:80".parse().unwrap();
//! let listen = ListenOptions { addr: ListenAddr::Tcp(addr), backlog: 16, reuse_port: false, exclusive: false, sharers: 0, want_peer: true };
//! drivers[0].listen(&listen).unwrap();
//! drivers[1].connect(ConnKey::new(0, 0), &ConnectOptions { addr, local: None }).unwrap();
//!
//! let mut accepted = 0;
//! while net.step() {
//!     let due: Vec<usize> = (0..2).filter(|&i| drivers[i].is_due()).collect();
//!     let driver = &mut drivers[due[net.choose(due.len())]];
//!     driver.wait(None).unwrap();
//!     while let Some(event) = driver.next_event() {
//!         accepted += u32::from(matches!(event, Event::Accepted { .. }));
//!     }
//! }
//! assert_eq!(accepted, 1);
//! net.check_invariants();
//! ```

use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

mod agenda;
mod driver;
mod faults;
mod kernel;
mod link;
mod port;

pub use driver::{SimDriver, SimSocket};
pub use faults::{SimCounts, SimFaults};
pub use roost_random::SplitMix64 as SimRng;

use roost_random::mix;

use crate::ConnKey;
use kernel::Kernel;
use link::Owner;
use port::{Port, Queued};

/// A simulated network. A clone is a handle to the same one.
#[derive(Clone)]
pub struct SimNet(Rc<RefCell<World>>);

/// Names a driver of a [`SimNet`], in the order of their making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SimDriverId(pub u32);

/// What one simulated driver may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimOptions {
    /// Size of a receive buffer: the longest [`Event::Bytes`](crate::Event::Bytes).
    pub read_buffer_bytes: usize,
    /// Receive buffers; each event that waits holds one.
    pub buffers: usize,
    /// Descriptors for connections, the accepted and not yet adopted included.
    pub sockets_max: usize,
    /// Whether newcomers beyond `sockets_max` are reset; else they wait in the accept queue.
    pub reset_at_limit: bool,
    /// Connections looked at in one turn; the others come first in the next.
    pub events_max: usize,
    /// Whether a caller's breach of the contract panics. Off, it has the consequence that the
    /// contract states.
    pub strict: bool,
}

impl Default for SimOptions {
    fn default() -> SimOptions {
        SimOptions {
            read_buffer_bytes: 4096,
            buffers: 16,
            sockets_max: 10_000,
            reset_at_limit: false,
            events_max: 128,
            strict: true,
        }
    }
}

/// What the net still holds. At the end of a simulation, when all is closed and
/// [`SimNet::settle`] has run, there must be nothing ([`SimLeaks::is_none`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SimLeaks {
    /// Connections in drivers' tables.
    pub connections: usize,
    /// Sockets accepted or released that nobody adopted, refused or dropped.
    pub sockets: usize,
    /// Connections in accept queues.
    pub backlog: usize,
    /// Closed sockets that the kernel still keeps for their last bytes.
    pub orphans: usize,
    /// Listening sockets.
    pub listeners: usize,
    /// Bytes sent and not yet received.
    pub wire_bytes: usize,
    /// Batches that drivers hold.
    pub batches: usize,
    /// Bytes of them that the kernel has not taken.
    pub batch_bytes: usize,
}

impl SimLeaks {
    /// Nothing is left.
    pub fn is_none(&self) -> bool {
        *self == SimLeaks::default()
    }
}

impl SimNet {
    /// A network without drivers whose every choice follows from `seed`.
    ///
    /// # Panics
    /// When a range of `faults` is empty, or a rate leaves no progress.
    pub fn new(seed: u64, faults: SimFaults) -> SimNet {
        faults.check();
        let mut rng = SimRng::new(seed);
        SimNet(Rc::new(RefCell::new(World {
            seed,
            chooser: rng.fork(),
            kernel: Kernel::new(rng.next_u64(), faults),
            ports: Vec::new(),
            trace: 0,
        })))
    }

    /// A driver on this network: all addresses are everybody's, any driver reaches any listener.
    ///
    /// # Panics
    /// When an option is 0.
    pub fn driver(&self, options: SimOptions) -> SimDriver {
        let sizes = [
            options.read_buffer_bytes,
            options.buffers,
            options.events_max,
        ];
        assert!(!sizes.contains(&0), "a driver needs buffers and events");
        let mut world = self.0.borrow_mut();
        let index = world.kernel.add_driver();
        let rng = world.kernel.rng.fork();
        world.ports.push(Some(Port::new(index, options, rng)));
        SimDriver::new(self.0.clone(), SimDriverId(index))
    }

    // Running.

    /// Goes on until a driver is due, and returns `true`: the caller must let one of the due
    /// drivers [`wait`](crate::Driver::wait) before the clock moves again. `false` when nothing
    /// will ever happen again.
    pub fn step(&self) -> bool {
        let mut world = self.0.borrow_mut();
        loop {
            if world.any_due() {
                return true;
            }
            match world.next_due() {
                Some(at) => world.kernel.run_until(at),
                None => return false,
            }
        }
    }

    /// Lets time pass whether drivers are due or not, as when all of them are busy.
    pub fn advance(&self, time: Duration) {
        let mut world = self.0.borrow_mut();
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = world.kernel.now.saturating_add(ns);
        world.kernel.run_until(at);
    }

    /// Stops the user of `driver`, as SIGSTOP does: a wait that blocks ends without a look at the
    /// network, or as it was about to end anyway. The runner does not call the user for as long as
    /// it likes; the first call then finds the wait returned, and the time passed.
    pub fn stop(&self, driver: SimDriverId) {
        let World { kernel, ports, .. } = &mut *self.0.borrow_mut();
        if let Some(port) = &mut ports[driver.0 as usize] {
            port.stop(kernel);
        }
    }

    /// Lets the network finish by itself, without the drivers: last bytes arrive, orphans give up.
    pub fn settle(&self) {
        let mut world = self.0.borrow_mut();
        while let Some(at) = world.kernel.next_due() {
            world.kernel.run_until(at);
        }
    }

    /// One of `0..n`, by the seed: which of the due drivers to call, which peer acts next.
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn choose(&self, n: usize) -> usize {
        self.0.borrow_mut().chooser.below(n as u64) as usize
    }

    /// A generator for a test's script, seeded by the net's seed and the calls before.
    pub fn rng(&self) -> SimRng {
        self.0.borrow_mut().chooser.fork()
    }

    // Looking.

    /// The seed, for the message of a failing test.
    pub fn seed(&self) -> u64 {
        self.0.borrow().seed
    }

    /// Nanoseconds since the start of the simulation.
    pub fn now(&self) -> u64 {
        self.0.borrow().kernel.now
    }

    /// When something happens next: now, if a driver is due.
    pub fn next_due(&self) -> Option<u64> {
        let mut world = self.0.borrow_mut();
        match world.any_due() {
            true => Some(world.kernel.now),
            false => world.next_due(),
        }
    }

    /// Whether `driver` has something to do. A driver that was dropped has not.
    pub fn is_due(&self, driver: SimDriverId) -> bool {
        self.0.borrow().is_due(driver)
    }

    /// The drivers that have something to do, in the order of their making.
    pub fn due(&self) -> Vec<SimDriverId> {
        self.0.borrow().due().collect()
    }

    /// How often which fault has happened.
    pub fn counts(&self) -> SimCounts {
        self.0.borrow().kernel.counts
    }

    /// A hash over all events taken from all drivers so far, with their times and bytes.
    pub fn trace_hash(&self) -> u64 {
        self.0.borrow().trace
    }

    /// What is held now.
    pub fn leaks(&self) -> SimLeaks {
        self.0.borrow().leaks()
    }

    /// Checks that the net's books balance. Costs time in proportion to all it holds.
    ///
    /// # Panics
    /// When they do not: a mistake in the simulator.
    pub fn check_invariants(&self) {
        let world = self.0.borrow();
        world.kernel.check_invariants();
        for port in world.ports.iter().flatten() {
            port.check_invariants(&world.kernel);
        }
    }
}

impl fmt::Debug for SimNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimNet")
            .field("seed", &self.seed())
            .finish_non_exhaustive()
    }
}

/// Everything there is.
#[derive(Debug)]
struct World {
    seed: u64,
    /// For the runner and its scripts, apart from the network's own choices.
    chooser: SimRng,
    kernel: Kernel,
    /// By [`SimDriverId`]; `None` when dropped.
    ports: Vec<Option<Port>>,
    trace: u64,
}

impl World {
    fn is_due(&self, id: SimDriverId) -> bool {
        let port = self.ports[id.0 as usize].as_ref();
        port.is_some_and(|port| port.is_due(&self.kernel))
    }

    fn due(&self) -> impl Iterator<Item = SimDriverId> {
        (0..self.ports.len() as u32)
            .map(SimDriverId)
            .filter(|id| self.is_due(*id))
    }

    fn any_due(&self) -> bool {
        self.due().next().is_some()
    }

    fn next_due(&mut self) -> Option<u64> {
        let network = self.kernel.next_due();
        let ports = self.ports.iter().flatten();
        let drivers = ports.filter_map(|port| port.next_due(&self.kernel));
        drivers.chain(network).min()
    }

    /// Writes an event that a caller takes into the trace.
    fn trace(&mut self, id: SimDriverId, event: &Queued) {
        let (kind, detail) = match event {
            Queued::Accepted(listener, ..) => (1, u64::from(listener.0)),
            Queued::Connected(_) => (2, 0),
            Queued::Bytes(_, buffer, n) => (3, hash_bytes(&buffer[..*n])),
            Queued::ReadClosed(_) => (4, 0),
            Queued::Sent(_) => (5, 0),
            Queued::Closed(_, cause) => (6, hash_bytes(format!("{cause:?}").as_bytes())),
            Queued::Released(..) => (7, 0),
            Queued::Woken => (8, 0),
        };
        let key = event.key().map_or(u64::MAX, ConnKey::to_bits);
        for word in [self.kernel.now, u64::from(id.0), kind, key, detail] {
            self.trace = mix(self.trace.wrapping_add(1) ^ word);
        }
    }

    fn leaks(&self) -> SimLeaks {
        let mut leaks = SimLeaks {
            listeners: self.kernel.listeners().count(),
            ..SimLeaks::default()
        };
        for link in self.kernel.links() {
            for end in &link.ends {
                match end.owner {
                    Owner::Conn(..) => leaks.connections += 1,
                    Owner::Handle(_) => leaks.sockets += 1,
                    Owner::Backlog(_) => leaks.backlog += 1,
                    Owner::Nobody => leaks.orphans += usize::from(!end.dead),
                }
            }
            leaks.wire_bytes += link.pipes.iter().map(|pipe| pipe.held()).sum::<usize>();
        }
        for port in self.ports.iter().flatten() {
            let (batches, bytes) = port.batches();
            leaks.batches += batches;
            leaks.batch_bytes += bytes;
        }
        leaks
    }
}

/// Where a simulated client connects to reach the unix socket at a path: an address of its own,
/// which no TCP listener has.
pub fn unix_addr(path: &Path) -> SocketAddr {
    // RFC 4193 §3.1: a local prefix.
    let ip = (0xfd_u128 << 120) | u128::from(hash_bytes(path.as_os_str().as_bytes()));
    SocketAddr::from((Ipv6Addr::from_bits(ip), 1))
}

/// Whether an address is a unix socket's: then its peer has none.
fn is_unix_addr(addr: SocketAddr) -> bool {
    matches!(addr.ip(), IpAddr::V6(ip) if ip.to_bits() >> 64 == 0xfd << 56)
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let start = bytes.len() as u64 ^ u64::from_le_bytes(last);
    words.iter().fold(mix(start), |hash, word| {
        mix(hash.rotate_left(5) ^ u64::from_le_bytes(*word))
    })
}
