//! Listeners, accept queues and attempts to connect.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use roost_random::mix;

use super::{Attempt, Kernel, PORT_FIRST};
use crate::sim::address::{is_unix_addr, unix_addr};
use crate::sim::agenda::Action;
use crate::sim::ids::{DriverIndex, ListenerIndex, SockId};
use crate::sim::link::{Doom, End, Link, Listener, Owner, Segment};
use crate::{ConnKey, ConnectOptions, ListenAddr, ListenOptions};

impl Kernel {
    // Listening.

    pub(in crate::sim) fn listen(
        &mut self,
        driver: DriverIndex,
        options: &ListenOptions,
    ) -> io::Result<(ListenerIndex, ListenAddr)> {
        let mut bound = options.addr.clone();
        let addr = match &mut bound {
            ListenAddr::Tcp(addr) => {
                if addr.port() == 0 {
                    addr.set_port(self.free_port());
                }
                *addr
            }
            ListenAddr::Unix(addr) => unix_addr(&addr.options().path),
        };
        let is_unix = bound.path().is_some();
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
            want_peer: options.want_peer && !is_unix,
            backlog_max: options.backlog.min(BACKLOG_MAX) as usize,
            backlog: VecDeque::new(),
        }));
        Ok(((self.listeners.len() - 1) as ListenerIndex, bound))
    }

    /// Closes a listener and resets what is not accepted.
    pub(in crate::sim) fn unlisten(&mut self, listener: ListenerIndex) {
        if let Some(listener) = self.listeners[listener as usize].take() {
            for id in listener.backlog {
                self.abort(id);
            }
        }
    }

    pub(in crate::sim) fn set_want_peer(&mut self, listener: ListenerIndex, want_peer: bool) {
        if let Some(listener) = &mut self.listeners[listener as usize] {
            listener.want_peer = want_peer && !is_unix_addr(listener.addr);
        }
    }

    pub(in crate::sim) fn has_backlog(&self, listener: ListenerIndex) -> bool {
        self.listeners[listener as usize]
            .as_ref()
            .is_some_and(|l| !l.backlog.is_empty())
    }

    /// Takes the oldest connection that waits, for its driver to own. With it the peer's address,
    /// if that was wanted.
    pub(in crate::sim) fn accept(
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

    pub(in crate::sim) fn connect(
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
        let mut client = End::new(Owner::Unowned, local);
        client.dead = false;
        let link = Link {
            ends: [client, End::new(Owner::Unowned, remote)],
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

    pub(in crate::sim) fn attempt(&self, id: SockId) -> Attempt {
        let end = self.end(id).expect("a held socket exists");
        match end.error {
            // Even if it broke since: that is told next.
            _ if end.connected => Attempt::Established,
            Some(errno) => Attempt::Failed(errno),
            None => Attempt::Underway,
        }
    }

    pub(super) fn handle_syn(&mut self, client: SockId, tried: u32) {
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

pub(in crate::sim) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// `net.core.somaxconn`.
const BACKLOG_MAX: u32 = 4096;
/// Linux repeats an unanswered SYN after 1, 2, 4, … seconds, six times (`tcp_syn_retries`).
const SYN_RETRY_NS: u64 = 1_000_000_000;
const SYN_RETRIES_MAX: u32 = 6;
/// Refused instead of accepted.
const DOOM_AT_ONCE: Doom = Doom {
    segments_left: 0,
    cut: false,
};
