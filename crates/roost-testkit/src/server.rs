//! A server in this process, on a free port, for as long as its value lives.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use roost_metrics::Registry;
use roost_net::epoll::{EpollDriver, EpollOptions};
use roost_net::uring::{UringDriver, UringOptions};
use roost_net::{ListenAddr, limits};
use roost_reactor::{OpenedListener, Pace, Server, Settings, Shared};
use roost_tls::SharedSetup;
use roost_tls::testing::setups;

use crate::client::{Address, Client, Failure};

/// What a server runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// epoll.
    Epoll,
    /// io_uring with file descriptors.
    Uring,
    /// io_uring with direct descriptors.
    UringDirect,
    /// epoll, and TLS on every listener.
    EpollTls,
    /// io_uring, and TLS on every listener.
    UringTls,
}

impl Backend {
    /// All of them.
    pub const ALL: [Backend; 5] = [
        Backend::Epoll,
        Backend::Uring,
        Backend::UringDirect,
        Backend::EpollTls,
        Backend::UringTls,
    ];

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Epoll => "epoll",
            Backend::Uring => "io_uring",
            Backend::UringDirect => "io_uring direct",
            Backend::EpollTls => "epoll TLS",
            Backend::UringTls => "io_uring TLS",
        }
    }

    /// Whether its listeners speak TLS.
    pub fn has_tls(self) -> bool {
        matches!(self, Backend::EpollTls | Backend::UringTls)
    }

    fn start(self, settings: Settings, reactors: usize) -> io::Result<Server> {
        let (open_files, _) = limits::open_files()?;
        let slots = u32::try_from(open_files.saturating_sub(OPEN_FILES_RESERVED));
        let slots = slots.unwrap_or(u32::MAX).min(DIRECT_SLOTS_MAX);
        let uring = UringOptions {
            direct_slots: (self == Backend::UringDirect).then_some(slots),
            ..UringOptions::default()
        };
        let started = match self {
            Backend::Epoll | Backend::EpollTls => Server::start(settings, reactors, || {
                EpollDriver::new(&EpollOptions::default())
            }),
            Backend::Uring | Backend::UringDirect | Backend::UringTls => {
                Server::start(settings, reactors, move || UringDriver::new(&uring))
            }
        };
        Ok(started?)
    }
}

/// A running server. Dropping it stops it, and panics if it does not stop in time.
pub struct TestServer {
    server: Option<Server>,
    addresses: Vec<ListenAddr>,
    tls: bool,
    registry: Registry,
    shared: Shared,
}

impl TestServer {
    /// One reactor with [`Settings::for_tests`].
    ///
    /// # Panics
    /// When it cannot start.
    pub fn start(backend: Backend) -> TestServer {
        TestServer::with(backend, 1, |_| {})
    }

    /// So many reactors with [`Settings::for_tests`], changed. They send no pings, and wait
    /// a minute for the answer to a close frame, unless the change says otherwise: a client here answers
    /// only while it is asked for what it receives, and on a busy machine that may be later than the time
    /// to answer.
    ///
    /// # Panics
    /// When it cannot start.
    pub fn with(
        backend: Backend,
        reactors: usize,
        change: impl FnOnce(&mut Settings),
    ) -> TestServer {
        let mut settings = Settings::for_tests();
        settings.limits.ping_interval_ms = 0;
        settings.limits.close_timeout_ms = 60_000;
        if backend.has_tls() {
            let setup = Arc::new(SharedSetup::new(setups().0));
            for listener in &mut settings.listeners {
                listener.tls = Some(Arc::clone(&setup));
            }
        }
        change(&mut settings);
        let server = backend
            .start(settings, reactors)
            .unwrap_or_else(|error| panic!("no server on {}: {error}", backend.name()));
        TestServer {
            addresses: server.addresses().to_vec(),
            tls: backend.has_tls(),
            registry: server.registry().clone(),
            shared: server.shared().clone(),
            server: Some(server),
        }
    }

    /// Where its first listener that has a TCP port listens.
    ///
    /// # Panics
    /// When there is none.
    pub fn address(&self) -> Address {
        let tcp = self.addresses.iter().find_map(ListenAddr::tcp);
        Address {
            socket: tcp.expect("a listener with a TCP port"),
            tls: self.tls,
        }
    }

    /// Where its listeners listen.
    pub fn addresses(&self) -> &[ListenAddr] {
        &self.addresses
    }

    /// A client with an open WebSocket to `target`.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn open(&self, target: &str) -> Result<Client, Failure> {
        Client::open(self.address(), target)
    }

    /// The counters.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What the reactors have in common.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The counter of this name, over all reactors.
    ///
    /// # Panics
    /// When there is none.
    pub fn count(&self, name: &str) -> u64 {
        let sum = self.registry.sum(name);
        sum.unwrap_or_else(|| panic!("a counter called {name}"))
    }

    /// Waits until the counter of this name is as it should be.
    ///
    /// # Panics
    /// When that does not come to pass within [`DEADLINE`].
    #[track_caller]
    pub fn wait_for_count(&self, name: &str, good: impl Fn(u64) -> bool) -> u64 {
        wait_until(
            || good(self.count(name)),
            || format!("{name} is {}", self.count(name)),
        );
        self.count(name)
    }

    /// Gives the reactors other settings, and waits until all obey.
    ///
    /// # Panics
    /// When they do not within [`DEADLINE`].
    #[track_caller]
    pub fn reload(&self, settings: Settings) {
        self.reload_with(settings, Vec::new());
    }

    /// The same with listeners that have been opened.
    ///
    /// # Panics
    /// As [`TestServer::reload`].
    #[track_caller]
    pub fn reload_with(&self, settings: Settings, opened: Vec<OpenedListener>) {
        let server = self.server.as_ref().expect("it runs");
        let configurer = server.configurer();
        configurer.reload(settings, opened);
        wait_until(
            || configurer.is_reloaded(),
            || "a reactor does not obey".to_owned(),
        );
    }

    /// Begins the drain.
    pub fn begin_stop(&self, drain_ms: u32) {
        if let Some(server) = &self.server {
            server.begin_stop(drain_ms);
        }
    }

    /// The same at a pace.
    pub fn begin_paced_stop(&self, pace: Pace) {
        if let Some(server) = &self.server {
            server.stopper().begin_paced_stop(pace);
        }
    }

    /// Waits until it has stopped by itself, after [`TestServer::begin_stop`].
    ///
    /// # Panics
    /// When it does not within [`DEADLINE`], or a reactor ended with an error.
    pub fn wait_stopped(mut self) {
        self.join();
    }

    fn join(&mut self) {
        let Some(server) = self.server.take() else {
            return;
        };
        let until = Instant::now() + DEADLINE;
        while !server.is_stopped() {
            if Instant::now() >= until {
                if thread::panicking() {
                    return;
                }
                panic!("the server does not stop");
            }
            thread::sleep(POLL);
        }
        let ended = server.join();
        if !thread::panicking() {
            ended.expect("the reactors end well");
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.begin_stop(0);
        self.join();
    }
}

/// Waits until a condition holds.
///
/// # Panics
/// With what `otherwise` says, when it does not hold within [`DEADLINE`].
#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "waited in vain: {}", otherwise());
        thread::sleep(POLL);
    }
}

/// Makes a test of each case for each backend: `epoll::case`, `io_uring::case`,
/// `io_uring_direct::case`. A case is a function of a [`Backend`] that gives a
/// [`Checked`](crate::client::Checked).
#[macro_export]
macro_rules! on_each_backend {
    ($($case:ident),+ $(,)?) => {
        $crate::on_backend!(epoll, Epoll, $($case),+);
        $crate::on_backend!(io_uring, Uring, $($case),+);
        $crate::on_backend!(io_uring_direct, UringDirect, $($case),+);
    };
}

/// As [`on_each_backend`], and besides over TLS: `epoll_tls::case`, `io_uring_tls::case`.
#[macro_export]
macro_rules! on_each_backend_and_over_tls {
    ($($case:ident),+ $(,)?) => {
        $crate::on_each_backend!($($case),+);
        $crate::on_each_backend_over_tls!($($case),+);
    };
}

/// Only over TLS: `epoll_tls::case`, `io_uring_tls::case`.
#[macro_export]
macro_rules! on_each_backend_over_tls {
    ($($case:ident),+ $(,)?) => {
        $crate::on_backend!(epoll_tls, EpollTls, $($case),+);
        $crate::on_backend!(io_uring_tls, UringTls, $($case),+);
    };
}

/// The part of [`on_each_backend`] for one backend.
#[macro_export]
macro_rules! on_backend {
    ($module:ident, $backend:ident, $($case:ident),+) => {
        mod $module {
            $(
                #[test]
                fn $case() -> $crate::client::Checked {
                    super::$case($crate::server::Backend::$backend)
                }
            )+
        }
    };
}

/// How long to wait for what must happen. Generous: machines that test are busy.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// How often to look.
const POLL: Duration = Duration::from_millis(2);
/// Connections at once of a reactor on direct descriptors, at most.
const DIRECT_SLOTS_MAX: u32 = 4096;
/// Open files that are not connections.
const OPEN_FILES_RESERVED: u64 = 24;
