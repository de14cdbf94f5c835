//! The kernels of all simulated machines and the wire between them, in one: listeners, links and
//! the clock. It knows no [`Driver`](crate::Driver); it tells each driver, as epoll would, which of
//! its sockets have news.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::agenda::{Action, Agenda};
use super::faults::{SimCounts, SimFaults};
use super::link::{
    Doom, DriverIndex, End, Link, Listener, ListenerIndex, Owner, Pipe, Segment, SockId,
};
use super::rng::{SimRng, mix};
use crate::{ConnKey, ConnectOptions, ListenOptions};

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) now: u64,
    pub(super) rng: SimRng,
    pub(super) faults: SimFaults,
    pub(super) counts: SimCounts,
    agenda: Agenda,
    links: Vec<LinkSlot>,
    links_free: Vec<u32>,
    listeners: Vec<Option<Listener>>,
    machines: Vec<Machine>,
    hash_seed: u64,
    port_last: u16,
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
        let mut rng = SimRng::new(seed);
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

    // Listening.

    pub(super) fn listen(
        &mut self,
        driver: DriverIndex,
        options: &ListenOptions,
    ) -> io::Result<(ListenerIndex, SocketAddr)> {
        let mut addr = options.addr;
        if addr.port() == 0 {
            addr.set_port(self.free_port());
        }
        let clash = self.listeners.iter().flatten().any(|other| {
            let same_ip = other.addr.ip() == addr.ip()
                || other.addr.ip().is_unspecified()
                || addr.ip().is_unspecified();
            let shared = other.reuse_port && options.reuse_port;
            other.addr.port() == addr.port() && same_ip && !shared
        });
        if clash {
            return Err(errno(libc::EADDRINUSE));
        }
        self.listeners.push(Some(Listener {
            driver,
            addr,
            reuse_port: options.reuse_port,
            want_peer: options.want_peer,
            backlog_max: options.backlog.min(BACKLOG_MAX) as usize,
            backlog: VecDeque::new(),
        }));
        Ok(((self.listeners.len() - 1) as ListenerIndex, addr))
    }

    /// Closes a listener and resets what nobody has accepted.
    pub(super) fn unlisten(&mut self, listener: ListenerIndex) {
        if let Some(listener) = self.listeners[listener as usize].take() {
            for id in listener.backlog {
                self.abort(id);
            }
        }
    }

    pub(super) fn has_backlog(&self, listener: ListenerIndex) -> bool {
        self.listeners[listener as usize]
            .as_ref()
            .is_some_and(|l| !l.backlog.is_empty())
    }

    /// Takes the oldest connection that waits, for its driver to own. With it the peer's address,
    /// if that was wanted.
    pub(super) fn accept(
        &mut self,
        listener: ListenerIndex,
    ) -> Option<(SockId, Option<SocketAddr>)> {
        let listener = self.listeners[listener as usize].as_mut()?;
        let id = listener.backlog.pop_front()?;
        let (driver, want_peer) = (listener.driver, listener.want_peer);
        self.set_owner(id, Owner::Handle(driver));
        let peer = self.end(id.peer()).map(|end| end.addr);
        Some((id, peer.filter(|_| want_peer)))
    }

    fn free_port(&mut self) -> u16 {
        loop {
            self.port_last = self.port_last.checked_add(1).unwrap_or(PORT_FIRST);
            let port = self.port_last;
            if !self
                .listeners
                .iter()
                .flatten()
                .any(|l| l.addr.port() == port)
            {
                return port;
            }
        }
    }

    // Connecting.

    pub(super) fn connect(
        &mut self,
        driver: DriverIndex,
        key: ConnKey,
        options: &ConnectOptions,
    ) -> io::Result<SockId> {
        let mut remote = options.addr;
        if remote.port() == 0 {
            return Err(errno(libc::ECONNREFUSED));
        }
        if remote.ip().is_unspecified() {
            remote.set_ip(loopback(remote));
        }
        let mut local = options
            .local
            .unwrap_or_else(|| SocketAddr::new(loopback(remote), 0));
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(errno(libc::EINVAL));
        }
        if local.ip().is_unspecified() {
            local.set_ip(loopback(remote));
        }
        if local.port() == 0 {
            local.set_port(self.free_port());
        }
        let mut client = End::new(Owner::Nobody, local);
        client.dead = false;
        let link = Link {
            ends: [client, End::new(Owner::Nobody, remote)],
            pipes: [self.new_pipe(), self.new_pipe()],
            doom: self.draw_doom(),
            cut: false,
        };
        let id = self.insert(link);
        self.set_owner(id, Owner::Conn(driver, key));
        let at = self.now + self.draw_latency();
        self.agenda.add(at, Action::Syn(id, 0));
        Ok(id)
    }

    pub(super) fn attempt(&self, id: SockId) -> Attempt {
        let end = self.end(id).expect("a held socket exists");
        match end.error {
            Some(errno) => Attempt::Failed(errno),
            None if end.connected => Attempt::Established,
            None => Attempt::Underway,
        }
    }

    fn handle_syn(&mut self, client: SockId, tried: u32) {
        let link = self.link(client).expect("the caller looked it up");
        let (from, to) = (link.ends[0].addr, link.ends[1].addr);
        let doomed = link.doom == Some(DOOM_AT_ONCE);
        let listener = self.listener_for(from, to).filter(|_| !doomed);
        self.counts.resets += u64::from(doomed);
        let Some(listener) = listener else {
            self.send(client.peer(), Segment::Rst);
            return;
        };
        let queue = self.listeners[listener as usize]
            .as_mut()
            .expect("just found");
        // Linux admits one more than the backlog, and leaves further attempts unanswered.
        if queue.backlog.len() > queue.backlog_max {
            self.counts.syn_retries += 1;
            if tried >= SYN_RETRIES_MAX {
                self.fail(client, libc::ETIMEDOUT);
            } else {
                let at = self.now + (SYN_RETRY_NS << tried);
                self.agenda.add(at, Action::Syn(client, tried + 1));
            }
            return;
        }
        let server = client.peer();
        queue.backlog.push_back(server);
        let end = self.end_mut(server).expect("the caller looked it up");
        end.dead = false;
        end.connected = true;
        self.set_owner(server, Owner::Backlog(listener));
        self.send(server, Segment::SynAck);
    }

    /// An exact address before a wildcard; among equals the hash of both addresses decides, as it
    /// does for `SO_REUSEPORT`.
    fn listener_for(&self, from: SocketAddr, to: SocketAddr) -> Option<ListenerIndex> {
        let matching = |exact: bool| -> Vec<ListenerIndex> {
            let hears = |l: &Listener| match exact {
                true => l.addr == to,
                false => {
                    l.addr.port() == to.port()
                        && l.addr.ip().is_unspecified()
                        && l.addr.is_ipv4() == to.is_ipv4()
                }
            };
            (0..self.listeners.len())
                .filter(|&i| self.listeners[i].as_ref().is_some_and(hears))
                .map(|i| i as ListenerIndex)
                .collect()
        };
        let mut group = matching(true);
        if group.is_empty() {
            group = matching(false);
        }
        let hash = mix(self.hash_seed ^ hash_addr(from) ^ hash_addr(to).rotate_left(32));
        let n = group.len().max(1) as u64;
        group.get((hash % n) as usize).copied()
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

    /// `close(2)`: what was written still goes out, unless bytes were received that nobody read:
    /// then RST.
    pub(super) fn close(&mut self, id: SockId) {
        let Some(end) = self.end(id) else { return };
        if !end.connected || end.error.is_some() || self.readable(id) > 0 {
            self.abort(id);
            return;
        }
        self.set_owner(id, Owner::Nobody);
        self.shutdown(id);
        self.start_give_up(id);
        self.settle(id);
    }

    /// `close(2)` with `SO_LINGER` 0: RST.
    pub(super) fn abort(&mut self, id: SockId) {
        let Some(link) = self.link(id) else { return };
        // A refused or unanswered attempt has nobody to reset.
        let embryonic = !link.ends[1].connected;
        self.set_owner(id, Owner::Nobody);
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

    /// The other end's address, while the connection stands.
    pub(super) fn peer_addr(&self, id: SockId) -> Option<SocketAddr> {
        let end = self.end(id)?;
        let stands = end.connected && end.error.is_none();
        self.end(id.peer()).map(|peer| peer.addr).filter(|_| stands)
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

    // The wire.

    /// Sends as much as the window allows, then the FIN if it is time.
    fn pump(&mut self, id: SockId) {
        loop {
            let size = self.rng.between(
                u64::from(*self.faults.segment_bytes.start()),
                u64::from(*self.faults.segment_bytes.end()),
            ) as usize;
            let Some(link) = self.link_mut(id) else {
                return;
            };
            let pipe = &mut link.pipes[id.index()];
            if pipe.over || !link.ends[id.index()].connected {
                return;
            }
            if link.cut {
                if pipe.unsent() > 0 || (pipe.fin_wanted && !pipe.fin_sent) {
                    self.start_give_up(id);
                }
                return;
            }
            let n = pipe.launch(size);
            if n > 0 {
                self.send(id, Segment::Data(n));
                continue;
            }
            if pipe.fin_wanted && !pipe.fin_sent && pipe.unsent() == 0 {
                pipe.fin_sent = true;
                self.send(id, Segment::Fin);
            } else {
                break;
            }
        }
        if self.room(id) > 0 {
            self.note_room(id);
        }
    }

    fn send(&mut self, from: SockId, segment: Segment) {
        let at = self.now + self.draw_latency();
        let Some(link) = self.link_mut(from) else {
            return;
        };
        let pipe = &mut link.pipes[from.index()];
        pipe.flight.push_back(segment);
        pipe.last_arrival = at.max(pipe.last_arrival + 1);
        let at = pipe.last_arrival;
        let struck = match &mut link.doom {
            Some(doom) if segment != Segment::Rst => {
                doom.segments_left = doom.segments_left.saturating_sub(1);
                link.doom.take_if(|doom| doom.segments_left == 0)
            }
            _ => None,
        };
        self.agenda.add(at, Action::Arrive(from));
        match struck {
            Some(Doom { cut: true, .. }) => {
                self.counts.cuts += 1;
                self.link_mut(from).expect("just used").cut = true;
            }
            Some(Doom { cut: false, .. }) => {
                self.counts.resets += 1;
                self.send_rst(from);
                self.send_rst(from.peer());
            }
            None => {}
        }
    }

    fn send_rst(&mut self, from: SockId) {
        let Some(link) = self.link_mut(from) else {
            return;
        };
        let pipe = &mut link.pipes[from.index()];
        pipe.over = true;
        pipe.drop_unsent();
        if !std::mem::replace(&mut link.ends[from.index()].rst_sent, true) {
            self.send(from, Segment::Rst);
        }
    }

    fn handle_arrival(&mut self, from: SockId) {
        let to = from.peer();
        let link = self.link_mut(from).expect("the caller looked it up");
        let pipe = &mut link.pipes[from.index()];
        let segment = pipe
            .flight
            .pop_front()
            .expect("each arrival has its segment");
        let nobody = link.ends[to.index()].owner == Owner::Nobody;
        match segment {
            _ if link.cut => {
                if let Segment::Data(n) = segment {
                    pipe.lose(n);
                }
                self.start_give_up(from);
            }
            Segment::SynAck => {
                link.ends[to.index()].connected = true;
                self.counts.connections += 1;
                self.note(to);
                self.pump(to);
            }
            Segment::Data(n) if nobody => {
                pipe.lose(n);
                if link.ends[to.index()].error.is_none() {
                    self.send_rst(to);
                }
                self.die(to);
            }
            Segment::Data(n) => {
                pipe.land(n);
                self.counts.segments += 1;
                self.note(to);
            }
            Segment::Fin => {
                pipe.fin_arrived = true;
                link.ends[to.index()].fin_arrived = true;
                self.note(to);
                self.settle(from);
                self.settle(to);
            }
            Segment::Rst => {
                let connected = link.ends[to.index()].connected;
                let errno = match connected {
                    true => libc::ECONNRESET,
                    false => libc::ECONNREFUSED,
                };
                self.fail(to, errno);
            }
        }
    }

    /// The end is told that its connection broke; what it had not sent is lost, and perhaps what
    /// it had not read.
    fn fail(&mut self, id: SockId, errno: i32) {
        let keeps_received = self.rng.per_mille(500);
        let Some(link) = self.link_mut(id) else {
            return;
        };
        let end = &mut link.ends[id.index()];
        if end.error.is_none() {
            end.error = Some(errno);
            link.pipes[id.index()].over = true;
            link.pipes[id.index()].drop_unsent();
            if !keeps_received {
                link.pipes[id.peer().index()].drop_readable();
            }
        }
        if end.owner == Owner::Nobody {
            self.die(id);
        } else {
            self.note(id);
        }
    }

    // The end of a socket.

    fn start_give_up(&mut self, id: SockId) {
        if self.end(id).is_some_and(|e| e.timer.is_none() && !e.dead) {
            let timer = self.agenda.add(self.now + GIVE_UP_NS, Action::GiveUp(id));
            self.end_mut(id).expect("just seen").timer = Some(timer);
        }
    }

    fn handle_give_up(&mut self, id: SockId) {
        let end = self.end_mut(id).expect("the caller looked it up");
        end.timer = None;
        if end.owner == Owner::Nobody {
            self.send_rst(id);
            self.die(id);
        } else {
            self.fail(id, libc::ETIMEDOUT);
        }
    }

    /// An orphan is done when each FIN has reached the other side.
    fn settle(&mut self, id: SockId) {
        let Some(link) = self.link(id) else { return };
        let end = &link.ends[id.index()];
        if end.owner == Owner::Nobody && end.fin_arrived && link.pipes[id.index()].fin_arrived {
            self.die(id);
        }
    }

    fn die(&mut self, id: SockId) {
        let Some(link) = self.link_mut(id) else {
            return;
        };
        let end = &mut link.ends[id.index()];
        debug_assert!(end.owner == Owner::Nobody, "a held socket died");
        end.dead = true;
        let timer = end.timer.take();
        link.pipes[id.index()].drop_unsent();
        link.pipes[id.peer().index()].drop_readable();
        let over = link.ends.iter().all(|end| end.dead);
        if let Some(timer) = timer {
            self.agenda.cancel(timer);
        }
        if over {
            let slot = &mut self.links[id.link as usize];
            slot.link = None;
            slot.generation += 1;
            self.links_free.push(id.link);
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
        let segments_left = self.rng.between(u64::from(cut), DOOM_SEGMENTS_MAX);
        (reset || cut).then_some(Doom { segments_left, cut })
    }

    /// The net's own books balance.
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
                    !end.dead || end.owner == Owner::Nobody,
                    "somebody holds a dead socket"
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

fn hash_addr(addr: SocketAddr) -> u64 {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    mix(ip as u64 ^ mix((ip >> 64) as u64 ^ u64::from(addr.port())))
}

fn loopback(like: SocketAddr) -> IpAddr {
    match like {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

pub(super) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// The first of the ports given to those who ask for any.
const PORT_FIRST: u16 = 32_768;
/// `net.core.somaxconn`.
const BACKLOG_MAX: u32 = 4096;
/// Linux repeats an unanswered SYN after 1, 2, 4, … seconds, six times (`tcp_syn_retries`).
const SYN_RETRY_NS: u64 = 1_000_000_000;
const SYN_RETRIES_MAX: u32 = 6;
/// How long unanswered bytes and orphans are kept: `tcp_fin_timeout` is 60 s. Linux repeats data
/// for 15 minutes; a simulation need not wait that long to see it.
const GIVE_UP_NS: u64 = 60_000_000_000;
/// A doomed connection sees at most so many segments, of both directions.
const DOOM_SEGMENTS_MAX: u64 = 48;
/// Refused instead of accepted.
const DOOM_AT_ONCE: Doom = Doom {
    segments_left: 0,
    cut: false,
};
