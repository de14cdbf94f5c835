//! The kernels of all simulated machines and the wire between them, in one: listeners, links and
//! the clock. It knows no [`Driver`](crate::Driver); it tells each driver, as epoll would, which of
//! its sockets have news.

use std::collections::VecDeque;
use std::net::SocketAddr;

mod dial;
mod wire;

pub(super) use dial::errno;

use roost_random::SplitMix64;

use super::address::is_unix_addr;
use super::agenda::{Action, Agenda};
use super::faults::{SimCounts, SimFaults};
use super::ids::{DriverIndex, ListenerIndex, SockId};
use super::link::{Doom, End, Link, Listener, Owner, Pipe};
use crate::ConnKey;

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) now: u64,
    pub(super) rng: SplitMix64,
    pub(super) faults: SimFaults,
    pub(super) counts: SimCounts,
    agenda: Agenda,
    links: Vec<LinkSlot>,
    links_free: Vec<u32>,
    listeners: Vec<Option<Listener>>,
    machines: Vec<Machine>,
    hash_seed: u64,
    port_last: u16,
    /// Where what is said is random: see [`SimNet::trace_lengths_at`](super::SimNet::trace_lengths_at).
    lengths_at: Vec<SocketAddr>,
}

#[derive(Debug)]
struct LinkSlot {
    generation: u32,
    link: Option<Link>,
}

/// What the kernel keeps for one driver.
#[derive(Debug, Default)]
struct Machine {
    /// Sockets with news. One may stand here twice after it went to another owner and back.
    news: VecDeque<SockId>,
    /// Descriptors in use, listeners not counted.
    descriptors: usize,
}

/// How an attempt to connect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Underway,
    Established,
    Failed(i32),
}

impl Kernel {
    pub(super) fn new(seed: u64, faults: SimFaults) -> Kernel {
        let mut rng = SplitMix64::new(seed);
        Kernel {
            now: 0,
            hash_seed: rng.next_u64(),
            rng,
            faults,
            counts: SimCounts::default(),
            agenda: Agenda::default(),
            links: Vec::new(),
            links_free: Vec::new(),
            listeners: Vec::new(),
            machines: Vec::new(),
            port_last: PORT_FIRST,
            lengths_at: Vec::new(),
        }
    }

    pub(super) fn add_driver(&mut self) -> DriverIndex {
        self.machines.push(Machine::default());
        (self.machines.len() - 1) as DriverIndex
    }

    // Time.

    /// Lets everything happen that is due by `at`, then sets the clock there.
    pub(super) fn run_until(&mut self, at: u64) {
        while let Some((key, action)) = self.agenda.first()
            && key.at <= at
        {
            self.agenda.cancel(key);
            self.now = key.at;
            self.happen(action);
        }
        self.now = self.now.max(at);
    }

    /// When the network moves next.
    pub(super) fn next_due(&mut self) -> Option<u64> {
        while let Some((key, action)) = self.agenda.first() {
            if self.link(action.sock()).is_some() {
                return Some(key.at);
            }
            // What was under way on a link that is no more must not hold up the end.
            self.agenda.cancel(key);
        }
        None
    }

    fn happen(&mut self, action: Action) {
        if self.link(action.sock()).is_none() {
            return;
        }
        match action {
            Action::Syn(id, tried) => self.handle_syn(id, tried),
            Action::Arrive(id) => self.handle_arrival(id),
            Action::Window(id) => {
                let link = self.link_mut(id).expect("checked above");
                if !link.cut {
                    link.pipes[id.index()].open_window();
                    self.pump(id);
                }
            }
            Action::GiveUp(id) => self.handle_give_up(id),
        }
    }

    // What a program does with its socket.

    /// Bytes that a write would take now.
    pub(super) fn room(&self, id: SockId) -> usize {
        match self.link(id) {
            Some(link) if link.ends[id.index()].connected => link.pipes[id.index()].room(),
            _ => 0,
        }
    }

    /// Takes all of `bytes`; the caller has asked for [`Kernel::room`].
    pub(super) fn write(&mut self, id: SockId, bytes: &[u8]) {
        if let Some(link) = self.link_mut(id) {
            link.pipes[id.index()].push(bytes);
        }
        self.pump(id);
    }

    /// Asks for news when there is room: at once if there is.
    pub(super) fn want_write(&mut self, id: SockId) {
        let room = self.room(id);
        if let Some(end) = self.end_mut(id) {
            end.want_write = true;
        }
        if room > 0 {
            self.note_room(id);
        }
    }

    pub(super) fn readable(&self, id: SockId) -> usize {
        self.link(id)
            .map_or(0, |link| link.pipes[id.peer().index()].readable())
    }

    /// True when all was read and no more will come.
    pub(super) fn at_end(&self, id: SockId) -> bool {
        self.readable(id) == 0 && self.end(id).is_some_and(|end| end.fin_arrived)
    }

    /// What is wrong with the socket: an errno.
    pub(super) fn error(&self, id: SockId) -> Option<i32> {
        self.end(id).and_then(|end| end.error)
    }

    pub(super) fn read(&mut self, id: SockId, into: &mut [u8]) -> usize {
        let sender = id.peer();
        let latency = self.draw_latency();
        let at = self.now + latency;
        let Some(link) = self.link_mut(id) else {
            return 0;
        };
        let pipe = &mut link.pipes[sender.index()];
        let n = pipe.take(into);
        if n > 0 && !pipe.window_update_flying {
            pipe.window_update_flying = true;
            self.agenda.add(at, Action::Window(sender));
        }
        n
    }

    /// FIN after all that was written.
    pub(super) fn shutdown(&mut self, id: SockId) {
        if let Some(link) = self.link_mut(id) {
            link.pipes[id.index()].fin_wanted = true;
        }
        self.pump(id);
    }

    /// `close(2)`: what was written still goes out, unless received bytes are unread:
    /// then RST.
    pub(super) fn close(&mut self, id: SockId) {
        let Some(end) = self.end(id) else { return };
        if !end.connected || end.error.is_some() || self.readable(id) > 0 {
            self.abort(id);
            return;
        }
        self.set_owner(id, Owner::Unowned);
        self.shutdown(id);
        self.start_give_up(id);
        self.end_if_delivered(id);
    }

    /// `close(2)` with `SO_LINGER` 0: RST.
    pub(super) fn abort(&mut self, id: SockId) {
        let Some(link) = self.link(id) else { return };
        // A refused or unanswered attempt has no peer to reset.
        let embryonic = !link.ends[1].connected;
        self.set_owner(id, Owner::Unowned);
        if !embryonic && self.error(id).is_none() {
            self.send_rst(id);
        }
        self.die(id);
    }

    pub(super) fn set_owner(&mut self, id: SockId, owner: Owner) {
        let Some(end) = self.end_mut(id) else { return };
        let before = std::mem::replace(&mut end.owner, owner);
        // News under way was for the old owner.
        end.noted = false;
        if let Some(driver) = before.driver() {
            self.machines[driver as usize].descriptors -= 1;
        }
        if let Some(driver) = owner.driver() {
            self.machines[driver as usize].descriptors += 1;
        }
    }

    pub(super) fn owner(&self, id: SockId) -> Option<Owner> {
        self.end(id).map(|end| end.owner)
    }

    pub(super) fn descriptors(&self, driver: DriverIndex) -> usize {
        self.machines[driver as usize].descriptors
    }

    /// The other end's address, while the connection stands; unix sockets tell none.
    pub(super) fn peer_addr(&self, id: SockId) -> Option<SocketAddr> {
        let is_unix = is_unix_addr(self.end(id)?.addr);
        let peer = self.other_end(id);
        peer.filter(|&addr| !is_unix && !is_unix_addr(addr))
    }

    /// The other end's address, while the connection stands, unix socket or not.
    pub(super) fn other_end(&self, id: SockId) -> Option<SocketAddr> {
        let end = self.end(id)?;
        let stands = end.connected && end.error.is_none();
        let peer = self.end(id.peer()).map(|peer| peer.addr);
        peer.filter(|_| stands)
    }

    pub(super) fn trace_lengths_at(&mut self, address: SocketAddr) {
        self.lengths_at.push(address);
    }

    /// Whether the bytes of a connection are in no trace.
    pub(super) fn has_random_bytes(&self, id: SockId) -> bool {
        let ends = self.link(id).map_or(&[][..], |link| &link.ends);
        let mut addresses = ends.iter().map(|end| end.addr);
        addresses.any(|address| self.lengths_at.contains(&address))
    }

    // News.

    pub(super) fn has_news(&self, driver: DriverIndex) -> bool {
        !self.machines[driver as usize].news.is_empty()
    }

    /// The next connection of `driver` that has news.
    pub(super) fn take_news(&mut self, driver: DriverIndex) -> Option<ConnKey> {
        loop {
            let id = self.machines[driver as usize].news.pop_front()?;
            let Some(end) = self.end_mut(id) else {
                continue;
            };
            if let Owner::Conn(owner, key) = end.owner
                && owner == driver
            {
                end.noted = false;
                return Some(key);
            }
        }
    }

    fn note(&mut self, id: SockId) {
        if let Some(end) = self.end_mut(id)
            && let Owner::Conn(driver, _) = end.owner
            && !end.noted
        {
            end.noted = true;
            self.machines[driver as usize].news.push_back(id);
        }
    }

    fn note_room(&mut self, id: SockId) {
        if let Some(end) = self.end_mut(id)
            && std::mem::take(&mut end.want_write)
        {
            self.note(id);
        }
    }

    // Looking up.

    fn insert(&mut self, link: Link) -> SockId {
        let index = self.links_free.pop().unwrap_or_else(|| {
            self.links.push(LinkSlot {
                generation: 0,
                link: None,
            });
            (self.links.len() - 1) as u32
        });
        let slot = &mut self.links[index as usize];
        slot.link = Some(link);
        SockId {
            link: index,
            generation: slot.generation,
            side: 0,
        }
    }

    fn link(&self, id: SockId) -> Option<&Link> {
        let slot = &self.links[id.link as usize];
        slot.link
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    fn link_mut(&mut self, id: SockId) -> Option<&mut Link> {
        let slot = &mut self.links[id.link as usize];
        let current = slot.generation == id.generation;
        slot.link.as_mut().filter(|_| current)
    }

    fn end(&self, id: SockId) -> Option<&End> {
        self.link(id).map(|link| &link.ends[id.index()])
    }

    fn end_mut(&mut self, id: SockId) -> Option<&mut End> {
        self.link_mut(id).map(|link| &mut link.ends[id.index()])
    }

    /// All links, for counting.
    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter_map(|slot| slot.link.as_ref())
    }

    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().flatten()
    }

    // Drawing lots.

    fn draw_latency(&mut self) -> u64 {
        let range = &self.faults.latency_ns;
        self.rng.between(*range.start(), *range.end())
    }

    fn new_pipe(&mut self) -> Pipe {
        let range = &self.faults.window_bytes;
        let (low, high) = (u64::from(*range.start()), u64::from(*range.end()));
        let send = self.rng.between(low, high) as usize;
        let receive = self.rng.between(low, high) as usize;
        Pipe::new(send, receive)
    }

    fn draw_doom(&mut self) -> Option<Doom> {
        let reset = self.rng.per_mille(self.faults.resets_per_mille);
        let cut = !reset && self.rng.per_mille(self.faults.cuts_per_mille);
        // A cut comes after the handshake, a reset also instead of it.
        let segments_left = self.rng.between(2 * u64::from(cut), DOOM_SEGMENTS_MAX);
        (reset || cut).then_some(Doom { segments_left, cut })
    }

    /// The network's own accounting is right.
    pub(super) fn check_invariants(&self) {
        let mut descriptors = vec![0; self.machines.len()];
        for link in self.links() {
            assert!(
                link.ends.iter().any(|end| !end.dead),
                "a dead link was kept"
            );
            for end in &link.ends {
                if let Some(driver) = end.owner.driver() {
                    descriptors[driver as usize] += 1;
                }
                assert!(
                    !end.dead || end.owner == Owner::Unowned,
                    "a dead socket has an owner"
                );
            }
            for pipe in &link.pipes {
                pipe.check_invariants();
            }
        }
        for (machine, counted) in self.machines.iter().zip(descriptors) {
            assert_eq!(machine.descriptors, counted, "descriptors miscounted");
        }
        for (index, listener) in self.listeners.iter().enumerate() {
            for id in listener.iter().flat_map(|l| &l.backlog) {
                assert_eq!(
                    self.owner(*id),
                    Some(Owner::Backlog(index as ListenerIndex)),
                    "an accept queue holds a socket that is elsewhere"
                );
            }
        }
    }
}

/// A doomed connection sees at most so many segments, of both directions.
const DOOM_SEGMENTS_MAX: u64 = 48;
/// The first of the ports given to sockets that ask for any.
const PORT_FIRST: u16 = 32_768;
