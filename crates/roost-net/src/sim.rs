//! Sockets without a kernel: a TCP-like network in memory, on a seeded scheduler with a virtual
//! clock. It owns no thread, no descriptor and no wall clock, and never blocks.
//!
//! Equal seeds, options and calls give equal events: a failure found at a seed is found again. The
//! network does what a real one does on a bad day ([`SimFaults`]), and since the reactor's mistakes
//! are to be found here, a caller that breaks the [`Driver`](crate::Driver) contract panics with
//! the rule's number ([`SimOptions::strict`]).
//!
//! A runner owns the drivers' users and calls those that are due. [`Driver::wait`] returns at once;
//! between two iterations the driver's user is taken to be asleep in the last `wait` that had nothing to
//! tell, and the first call after news or the timeout finds that it returns now. So an iteration may
//! begin with `wait`, as here, or end with it. It must end with it if others save themselves the
//! wake of a user that is not asleep: only then does that user look asleep between its iterations.
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
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

mod address;
mod agenda;
mod driver;
mod faults;
mod ids;
mod kernel;
mod link;
mod options;
mod port;
mod world;

pub use address::unix_addr;
pub use driver::{SimDriver, SimSocket};
pub use faults::{SimCounts, SimFaults};
pub use options::SimOptions;
pub use roost_random::SplitMix64 as SimRng;

pub use world::{SimDriverId, SimLeaks};

use kernel::Kernel;
use port::Port;
use world::World;

/// A simulated network. A clone is a handle to the same one.
#[derive(Clone)]
pub struct SimNet(Rc<RefCell<World>>);

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

    /// A driver on this network: all addresses are local, any driver reaches any listener.
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
    pub fn run_to_end(&self) {
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

    /// What is said on connections to this address is random, as what TLS says is: of their bytes the lengths
    /// alone are in the trace.
    pub fn trace_lengths_at(&self, address: SocketAddr) {
        self.0.borrow_mut().kernel.trace_lengths_at(address);
    }

    /// A hash over all events taken from all drivers so far, with their times and bytes. Two runs from one seed
    /// have the same.
    pub fn trace_hash(&self) -> u64 {
        self.0.borrow().trace
    }

    /// What is held now.
    pub fn leaks(&self) -> SimLeaks {
        self.0.borrow().leaks()
    }

    /// Checks the network's accounting. Costs time in proportion to all it holds.
    ///
    /// # Panics
    /// When it is wrong: a mistake in the simulator.
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
