//! Where clients connect, from one reload to the next: which number each listener has in the reactors,
//! and the sockets that a reload opens.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};

use roost_config::{self as config, Loaded, Origin};
use roost_net::ListenAddr;
use roost_reactor::{self as reactor, LISTENERS_MAX, OpenedListener};

/// The listeners of a configuration, as the reactors have them.
#[derive(Debug, Clone)]
pub(crate) struct Listeners {
    /// By their place in the configuration.
    places: Vec<Place>,
    /// Numbers of listeners that were removed, the first one first. Connections may still have them.
    retired: VecDeque<u8>,
}

#[derive(Debug, Clone)]
struct Place {
    number: u8,
    /// As it is bound; where it is to be bound, as configured.
    address: ListenAddr,
    is_new: bool,
}

/// What a reload opens and closes, with what logs call it.
pub(crate) struct Moves {
    pub(crate) opened: Vec<(String, ListenAddr)>,
    pub(crate) closed: Vec<(String, ListenAddr)>,
}

impl Listeners {
    /// Those of a start, with the addresses that they have been bound to.
    pub(crate) fn at_start(addresses: &[ListenAddr]) -> Listeners {
        let place = |(number, address): (usize, &ListenAddr)| Place {
            number: u8::try_from(number).expect("the configuration takes fewer"),
            address: address.clone(),
            is_new: false,
        };
        Listeners {
            places: addresses.iter().enumerate().map(place).collect(),
            retired: VecDeque::new(),
        }
    }

    /// Numbers for the listeners of the next configuration. A listener that goes on keeps its own; that
    /// of one that was removed is given away when `is_unused` says that no connection has it, and the
    /// longest ago first.
    ///
    /// The error is a sentence for people.
    pub(crate) fn next(
        &self,
        origins: &[Origin],
        is_unused: impl Fn(u8) -> bool,
        settings: &reactor::Settings,
    ) -> Result<Listeners, String> {
        let mut retired = self.retired.clone();
        let mut next_free = self.places.len() + self.retired.len();
        let mut places = Vec::with_capacity(origins.len());
        for (origin, listener) in origins.iter().zip(&settings.listeners) {
            if let Some(at) = origin.kept() {
                let is_new = false;
                let Place {
                    number, address, ..
                } = self.places[at].clone();
                places.push(Place {
                    number,
                    address,
                    is_new,
                });
                continue;
            }
            let number = match u8::try_from(next_free).ok() {
                Some(number) => {
                    next_free += 1;
                    number
                }
                None => {
                    let at = retired.iter().position(|&number| is_unused(number));
                    let number = at.and_then(|at| retired.remove(at));
                    number.ok_or_else(|| NO_NUMBER.to_owned())?
                }
            };
            places.push(Place {
                number,
                address: listener.address.clone(),
                is_new: true,
            });
        }
        let gone = (0..self.places.len())
            .filter(|&at| !origins.iter().any(|origin| origin.kept() == Some(at)));
        retired.extend(gone.map(|at| self.places[at].number));
        let next = Listeners { places, retired };
        Ok(next)
    }

    /// Puts the listeners of the settings, which stand in the order of the configuration, where their
    /// numbers say; those that were removed stay as they were in `before`, closed.
    pub(crate) fn arrange(&self, settings: &mut reactor::Settings, before: &reactor::Settings) {
        let listed = std::mem::take(&mut settings.listeners);
        let mut arranged: Vec<reactor::Listener> = before.listeners.clone();
        for old in &mut arranged {
            old.is_open = false;
        }
        let mut by_number: Vec<_> = self.places.iter().zip(listed).collect();
        by_number.sort_by_key(|(place, _)| place.number);
        for (place, listener) in by_number {
            match arranged.get_mut(usize::from(place.number)) {
                Some(old) => *old = listener,
                None => arranged.push(listener),
            }
        }
        debug_assert!(arranged.len() <= LISTENERS_MAX);
        settings.listeners = arranged;
    }

    /// Opens the sockets of those that are new, for so many reactors; with `is_check` only tries whether
    /// it can. The errors are lines for people.
    pub(crate) fn open(
        &mut self,
        loaded: &Loaded,
        before: &config::Settings,
        settings: &reactor::Settings,
        reactors: usize,
        is_check: bool,
    ) -> Result<Vec<OpenedListener>, Vec<String>> {
        let (mut opened, mut errors) = (Vec::new(), Vec::new());
        let configured = &loaded.settings.listeners;
        let new = self.places.iter_mut().zip(configured).enumerate();
        for (at, (place, listener)) in new.filter(|(_, (place, _))| place.is_new) {
            let mut own = before.listeners.iter();
            let beside_own = own.any(|old| old.address.clashes_with(&listener.address));
            let number = place.number;
            let tried = match is_check {
                true => OpenedListener::check(settings, number, beside_own),
                false => OpenedListener::open(settings, number, reactors, beside_own).map(|one| {
                    place.address = one.address();
                    opened.push(one);
                }),
            };
            if let Err(error) = tried {
                let key = loaded.listener_place(at, "address");
                let why = cannot_listen(listener, &error);
                errors.push(format!("{key}: {why}"));
            }
        }
        match errors.is_empty() {
            true => Ok(opened),
            false => Err(errors),
        }
    }

    /// What is opened and closed to come from `before` to this.
    pub(crate) fn moves(
        &self,
        next: &config::Settings,
        (before, running): (&Listeners, &config::Settings),
    ) -> Moves {
        let has = |number| self.places.iter().any(|one| one.number == number);
        let named = |(place, listener): (&Place, &config::Listener)| {
            (listener.label(), place.address.clone())
        };
        let new = self.places.iter().zip(&next.listeners);
        let new = new.filter(|(place, _)| place.is_new);
        let old = before.places.iter().zip(&running.listeners);
        let old = old.filter(|(place, _)| !has(place.number));
        Moves {
            opened: new.map(named).collect(),
            closed: old.map(named).collect(),
        }
    }

    /// The same when all sockets are open.
    pub(crate) fn all_open(mut self) -> Listeners {
        for place in &mut self.places {
            place.is_new = false;
        }
        self
    }

    /// The addresses that clients connect to, by place.
    pub(crate) fn addresses(&self) -> Vec<ListenAddr> {
        self.places.iter().map(|one| one.address.clone()).collect()
    }
}

/// Why nothing can listen there, and what to do.
pub(crate) fn cannot_listen(listener: &config::Listener, error: &io::Error) -> String {
    let is_unix = matches!(listener.address, config::ListenAddress::Unix(_));
    let remedy = match (error.kind(), is_unix) {
        (ErrorKind::AddrInUse, false) => {
            "another process has this address: stop it, or give another with --listen"
        }
        (ErrorKind::AddrInUse, true) => "stop that process, or give another path with --listen",
        (ErrorKind::PermissionDenied, false) => {
            "ports below 1024 need CAP_NET_BIND_SERVICE, or another with --listen"
        }
        (ErrorKind::PermissionDenied, true) => {
            "let the daemon's user write to the socket's directory, and be in \
             listener.socket_group; or give another path with --listen"
        }
        (ErrorKind::AddrNotAvailable, _) => "no interface here has this address",
        (ErrorKind::AlreadyExists, _) => "move it away, or give another path",
        (ErrorKind::NotFound, true) => "make its directory, or give another path",
        _ => "see the error",
    };
    let name = match listener.name.as_str() {
        "" => String::new(),
        name => format!(" (listener {name})"),
    };
    let address = &listener.address;
    format!("cannot listen on {address}{name}: {error}. Remedy: {remedy}.")
}

const NO_NUMBER: &str = "so many listeners were added and removed that connections of the removed ones \
                         have all numbers. Remedy: restart, or close those connections";

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(count: usize) -> reactor::Settings {
        let mut settings = reactor::Settings::for_tests();
        let listener = settings.listeners[0].clone();
        settings.listeners = vec![listener; count];
        settings
    }

    fn addresses(count: u16) -> Vec<ListenAddr> {
        let address = |port| ListenAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        (1..=count).map(address).collect()
    }

    #[test]
    fn a_listener_that_goes_on_keeps_its_number_and_the_removed_ones_stay_closed() {
        let first = Listeners::at_start(&addresses(3));
        let (before, mut next) = (settings(3), settings(3));
        let origins = [Origin::New, Origin::Kept(2), Origin::Moved(1)];
        let second = first.next(&origins, |_| true, &next);
        let second = second.expect("there are numbers");
        let numbers: Vec<u8> = second.places.iter().map(|one| one.number).collect();
        assert_eq!(numbers, [3, 2, 4]);
        assert_eq!(second.retired, [0, 1]);
        second.arrange(&mut next, &before);
        let open: Vec<bool> = next.listeners.iter().map(|one| one.is_open).collect();
        assert_eq!(open, [false, false, true, true, true]);
    }

    #[test]
    fn a_number_is_given_again_when_no_connection_has_it_the_oldest_first() {
        let mut listeners = Listeners::at_start(&addresses(1));
        let mut given = Vec::new();
        for round in 0..600_u32 {
            // Number 0 is never free: a connection of the first listener has stayed.
            let is_unused = |number| number != 0;
            let next = listeners.next(&[Origin::New], is_unused, &settings(1));
            listeners = next.unwrap_or_else(|error| panic!("{round}: {error}"));
            given.push(listeners.places[0].number);
        }
        assert_eq!(given[..3], [1, 2, 3]);
        assert_eq!(given[254..258], [255, 1, 2, 3]);
        assert!(!given.contains(&0));
        let full = listeners.next(&[Origin::New], |_| false, &settings(1));
        assert!(full.expect_err("none is free").contains("restart"));
    }
}
