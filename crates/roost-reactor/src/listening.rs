//! Which of a driver's listeners is which of the settings, and listeners that a reload opens.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use roost_net::{Driver, ListenAddr, ListenOptions, ListenerId, OpenListener};
use tracing::error;

use crate::settings::{LISTENERS_MAX, Listener, Settings};

/// The sockets of a listener that no reactor accepts from yet: clients may connect, and wait.
#[derive(Debug)]
pub struct OpenedListener {
    /// Its number among those of the settings.
    pub number: u8,
    /// One for each reactor.
    pub sockets: Vec<OpenListener>,
}

impl OpenedListener {
    /// Opens a listener of the settings, for so many reactors.
    ///
    /// With `beside_own`, another listener of this process has its port on other addresses: then
    /// another process of this user that shares its ports is not found.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(
        settings: &Settings,
        number: u8,
        reactors: usize,
        beside_own: bool,
    ) -> io::Result<OpenedListener> {
        let listener = settings.listener(number);
        let mut options = options(settings, listener, reactors);
        options.exclusive = !beside_own;
        let mut sockets = Vec::with_capacity(reactors);
        for _ in 0..reactors {
            let socket = OpenListener::open(&options)?;
            options.addr = socket.addr().clone();
            options.exclusive = false;
            sockets.push(socket);
        }
        Ok(OpenedListener { number, sockets })
    }

    /// The same for simulated reactors, whose drivers open it.
    pub fn unopened(settings: &Settings, number: u8, reactors: usize) -> OpenedListener {
        let options = options(settings, settings.listener(number), reactors);
        let sockets = (0..reactors).map(|_| OpenListener::unopened(options.clone()));
        OpenedListener {
            number,
            sockets: sockets.collect(),
        }
    }

    /// Whether [`OpenedListener::open`] would succeed, as far as can be told without listening. No
    /// client can connect for it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn check(settings: &Settings, number: u8, beside_own: bool) -> io::Result<()> {
        let options = ListenOptions {
            exclusive: !beside_own,
            ..options(settings, settings.listener(number), 1)
        };
        OpenListener::check(&options)
    }

    /// The address that clients connect to: a unix socket is not held by it.
    ///
    /// # Panics
    /// When there is no socket.
    pub fn address(&self) -> ListenAddr {
        self.sockets[0].addr().clone().without_socket()
    }
}

/// How a listener listens on each of so many reactors.
pub(crate) fn options(settings: &Settings, listener: &Listener, reactors: usize) -> ListenOptions {
    ListenOptions {
        addr: listener.address.clone(),
        backlog: listener.config.backlog,
        reuse_port: true,
        exclusive: false,
        sharers: u16::try_from(reactors).unwrap_or(u16::MAX),
        want_peer: settings.wants_peer(listener),
    }
}

/// How many connections have come by each listener and are still there, of all reactors: the number of
/// one that was removed is given to another when there are none. Touched at a connection's edges only.
pub(crate) struct ListenerUses([AtomicU32; LISTENERS_MAX]);

impl Default for ListenerUses {
    fn default() -> ListenerUses {
        ListenerUses([const { AtomicU32::new(0) }; LISTENERS_MAX])
    }
}

impl ListenerUses {
    pub(crate) fn enter(&self, number: u8) {
        self.0[usize::from(number)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self, number: u8) {
        self.0[usize::from(number)].fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, number: u8) -> u32 {
        self.0[usize::from(number)].load(Ordering::Relaxed)
    }
}

/// The listeners of one driver.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    /// By [`ListenerId`], their numbers among those of the settings: also of those that are closed, for
    /// what they have accepted may come late.
    numbers: Vec<u8>,
    /// Those that are open.
    open: Vec<(u8, ListenerId)>,
}

impl Listening {
    /// Listens on one of the settings, of this number. Returns the bound address.
    ///
    /// # Errors
    /// What the driver says.
    pub(crate) fn listen<D: Driver>(
        &mut self,
        driver: &mut D,
        number: usize,
        options: &ListenOptions,
    ) -> io::Result<ListenAddr> {
        let (id, bound) = driver.listen(options)?;
        let number = u8::try_from(number).expect("at most LISTENERS_MAX listeners");
        self.add(number, id);
        Ok(bound)
    }

    /// Accepts from what a reload has opened for the reactor, and then no longer from what it has removed.
    #[cold]
    pub(crate) fn change<D: Driver>(
        &mut self,
        driver: &mut D,
        settings: &Settings,
        (reactor, opened): (usize, Vec<(u8, OpenListener)>),
    ) {
        for (number, listener) in opened {
            match driver.adopt_listener(listener) {
                Ok(id) => self.add(number, id),
                Err(error) => {
                    let listener = settings.listener(number).config.label();
                    error!(reactor, listener, %error, "a listener that was opened is not served");
                }
            }
        }
        while let Some(id) = self.take_closed(settings) {
            driver.close_listener(id);
        }
        for &(number, id) in &self.open {
            let wants_peer = settings.wants_peer(settings.listener(number));
            driver.set_want_peer(id, wants_peer);
        }
    }

    /// The driver has one more, which it calls by the id.
    ///
    /// # Panics
    /// When ids do not count up.
    fn add(&mut self, number: u8, id: ListenerId) {
        let place = u32::try_from(self.numbers.len()).expect("fewer listeners than ports");
        assert_eq!(id.0, place, "drivers number their listeners in order");
        self.numbers.push(number);
        self.open.push((number, id));
    }

    /// The number of the one that the driver calls by the id.
    #[inline]
    pub(crate) fn number(&self, id: ListenerId) -> u8 {
        self.numbers[id.0 as usize]
    }

    /// Takes one out that is to be closed: the settings have it no more.
    fn take_closed(&mut self, settings: &Settings) -> Option<ListenerId> {
        let is_closed = |&(number, _): &(u8, ListenerId)| !settings.listener(number).is_open;
        let at = self.open.iter().position(is_closed)?;
        Some(self.open.swap_remove(at).1)
    }
}
