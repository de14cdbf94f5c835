//! All reactors of a server, one thread each.

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use roost_metrics::Registry;
use roost_net::{Driver, ListenAddr, Waker, memory};
use tracing::error;

use crate::drain::Pace;
use crate::listening::OpenedListener;
use crate::reactor::Reactor;
use crate::settings::Settings;
use crate::shared::{ListenError, Shared};

/// A running server.
pub struct Server {
    shared: Shared,
    /// Of the listeners, in their order.
    addresses: Vec<ListenAddr>,
    threads: Vec<(Waker, JoinHandle<io::Result<()>>)>,
    /// Each thread says here that it ends, and whether with an error.
    ends: (mpsc::Sender<bool>, mpsc::Receiver<bool>),
}

/// Why a server has not started.
#[derive(Debug)]
pub enum StartError {
    /// The system allows no further thread, or has no memory for one.
    Thread(io::Error),
    /// A reactor's driver could not be made.
    Driver(io::Error),
    /// One of the addresses could not be listened on.
    Listen(ListenError),
}

/// Gives a server's reactors other settings, from any thread.
pub struct Configurer {
    shared: Shared,
    wakers: Vec<Waker>,
}

impl Configurer {
    /// As [`Shared::reload`], and wakes the reactors.
    pub fn reload(&self, settings: Settings, opened: Vec<OpenedListener>) {
        self.shared.reload(settings, opened);
        for waker in &self.wakers {
            waker.wake();
        }
    }

    /// The settings that hold, or will with each reactor's next loop iteration.
    pub fn settings(&self) -> Arc<Settings> {
        self.shared.settings()
    }

    /// As [`Shared::connections_by_listener`].
    pub fn connections_by_listener(&self, number: u8) -> u32 {
        self.shared.connections_by_listener(number)
    }

    /// Whether all reactors obey the last settings.
    pub fn is_reloaded(&self) -> bool {
        self.shared.is_reloaded()
    }
}

/// Stops a server from any thread.
pub struct Stopper {
    shared: Shared,
    wakers: Vec<Waker>,
}

impl Stopper {
    /// Starts to close all connections with 1001 and the reason; those left after `drain_ms` are
    /// cut.
    pub fn begin_stop(&self, drain_ms: u32) {
        self.begin_paced_stop(Pace::at_once(drain_ms));
    }

    /// Whether connections are to be closed already.
    pub fn is_stopping(&self) -> bool {
        self.shared.is_draining()
    }

    /// As [`Shared::is_watched`].
    pub fn is_watched(&self) -> bool {
        self.shared.is_watched()
    }

    /// The same at a pace. Where all is being stopped already, only the rate changes.
    pub fn begin_paced_stop(&self, pace: Pace) {
        self.shared.begin_paced_drain(pace);
        for waker in &self.wakers {
            waker.wake();
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Thread(error) => write!(f, "starting a thread: {error}"),
            StartError::Driver(error) => write!(f, "making a driver: {error}"),
            StartError::Listen(ListenError { listener, error }) => {
                write!(f, "listening with listener {listener}: {error}")
            }
        }
    }
}

impl Error for StartError {}

impl From<StartError> for io::Error {
    /// Of the same kind, with the step in its text.
    fn from(error: StartError) -> io::Error {
        let kind = match &error {
            StartError::Thread(why) | StartError::Driver(why) => why.kind(),
            StartError::Listen(ListenError { error: why, .. }) => why.kind(),
        };
        io::Error::new(kind, error)
    }
}

impl Server {
    /// Starts `reactors` reactors (1 to [`REACTORS_MAX`](crate::REACTORS_MAX)), each with a driver that `make_driver` makes on the
    /// reactor's own thread, for io_uring wants its ring used by the thread that made it. Returns
    /// when all of them listen.
    ///
    /// # Errors
    /// The first one; the reactors started before are stopped. [`StartError::Listen`] with
    /// `AddrInUse` also when another process listens there that would share its port.
    pub fn start<D, F>(
        settings: Settings,
        reactors: usize,
        make_driver: F,
    ) -> Result<Server, StartError>
    where
        D: Driver,
        F: Fn() -> io::Result<D> + Clone + Send + 'static,
    {
        let addresses = settings.listeners.iter().map(|one| one.address.clone());
        let addresses = addresses.collect();
        let shared = Shared::new(settings, reactors, secret());
        let mut server = Server {
            shared,
            addresses,
            threads: Vec::new(),
            ends: mpsc::channel(),
        };
        for id in 0..reactors {
            let id = u8::try_from(id).expect("at most REACTORS_MAX reactors");
            if let Err(error) = server.start_reactor(id, make_driver.clone()) {
                for _ in usize::from(id)..reactors {
                    server.shared.note_empty(); // none waits for those that have not begun
                }
                server.begin_stop(0);
                let _ = server.join();
                return Err(error);
            }
        }
        // The reactors hold the unix sockets; when all have stopped to listen, those go.
        let addresses = server.addresses.into_iter();
        server.addresses = addresses.map(ListenAddr::without_socket).collect();
        Ok(server)
    }

    fn start_reactor<D, F>(&mut self, id: u8, make_driver: F) -> Result<(), StartError>
    where
        D: Driver,
        F: Fn() -> io::Result<D> + Send + 'static,
    {
        let (started, start) = mpsc::channel();
        let (shared, addresses) = (self.shared.clone(), self.addresses.clone());
        let ends = self.ends.0.clone();
        let thread = thread::Builder::new()
            .name(format!("reactor-{id}"))
            .spawn(move || {
                let begin = move || {
                    let driver = make_driver().map_err(StartError::Driver)?;
                    let mut reactor = Reactor::new(driver, id, shared);
                    reactor.trim_heap_by(memory::trim_heap);
                    let bound = reactor.listen(addresses).map_err(StartError::Listen)?;
                    Ok((reactor, bound))
                };
                match begin() {
                    Ok((mut reactor, bound)) => {
                        let _ = started.send(Ok((reactor.waker(), bound)));
                        let ended = reactor.run();
                        if let Err(error) = &ended {
                            error!(reactor = id, %error, "a reactor ended: the others stop");
                        }
                        let _ = ends.send(ended.is_err());
                        ended
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                        Ok(())
                    }
                }
            })
            .map_err(StartError::Thread)?;
        let ended = |_| StartError::Thread(io::Error::other("it ended at its start"));
        let (waker, bound) = start.recv().map_err(ended)??;
        self.addresses = bound; // by the first reactor: port 0 is resolved
        self.threads.push((waker, thread));
        Ok(())
    }

    /// The addresses clients connect to, in the order of the listeners.
    pub fn addresses(&self) -> &[ListenAddr] {
        &self.addresses
    }

    /// The first TCP address among them, for tests.
    ///
    /// # Panics
    /// When no listener is a TCP port.
    pub fn address(&self) -> SocketAddr {
        let tcp = self.addresses.iter().find_map(ListenAddr::tcp);
        tcp.expect("a listener with a TCP port")
    }

    /// The counters.
    pub fn registry(&self) -> &Registry {
        self.shared.registry()
    }

    /// What the reactors have in common.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// A handle to give the reactors other settings.
    pub fn configurer(&self) -> Configurer {
        Configurer {
            shared: self.shared.clone(),
            wakers: self.wakers(),
        }
    }

    fn wakers(&self) -> Vec<Waker> {
        let wakers = self.threads.iter().map(|(waker, _)| waker.clone());
        wakers.collect()
    }

    /// A handle to stop the server from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            shared: self.shared.clone(),
            wakers: self.wakers(),
        }
    }

    /// As [`Stopper::begin_stop`].
    pub fn begin_stop(&self, drain_ms: u32) {
        self.stopper().begin_stop(drain_ms);
    }

    /// Whether all reactors have stopped.
    pub fn is_stopped(&self) -> bool {
        self.threads.iter().all(|(_, thread)| thread.is_finished())
    }

    /// Waits until all reactors have stopped. When one has ended with an error, the others are
    /// stopped: a server that serves a part of its clients is worse than one that is started anew.
    ///
    /// # Errors
    /// The first error that ended a reactor.
    pub fn join(self) -> io::Result<()> {
        let stopper = self.stopper();
        let (sender, ends) = self.ends;
        drop(sender); // the threads' own remain, and go with them
        while let Ok(has_failed) = ends.recv() {
            if has_failed {
                stopper.begin_stop(FAILED_DRAIN_MS);
            }
        }
        let mut first = Ok(());
        for (_, thread) in self.threads {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a reactor panicked")));
            first = first.and(ended);
        }
        first
    }
}

/// How long the others' clients have to answer a close frame when a reactor has ended.
const FAILED_DRAIN_MS: u32 = 1_000;

/// A number that cannot be guessed from outside, from the same source as the standard library's hash keys.
fn secret() -> u64 {
    RandomState::new().build_hasher().finish()
}
