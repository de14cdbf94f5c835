//! The half of the contract that the caller starts: each method of the
//! [`Driver`](crate::Driver) trait that asks for something.

use std::io;
use std::net::SocketAddr;

use super::conn::{Batch, Conn, Phase, Shutdown, Slot};
use super::{Port, Queued, cause_of};
use crate::sim::ids::SockId;
use crate::sim::kernel::{Kernel, errno};
use crate::sim::link::Owner;
use crate::{
    Chunk, CloseCause, CloseMode, ConnKey, ConnectOptions, ListenAddr, ListenOptions, ListenerId,
    SendStatus,
};

impl Port {
    pub(in crate::sim) fn listen(
        &mut self,
        k: &mut Kernel,
        options: &ListenOptions,
    ) -> io::Result<(ListenerId, ListenAddr)> {
        let (listener, addr) = k.listen(self.index, options)?;
        self.listeners.push(listener);
        Ok((ListenerId((self.listeners.len() - 1) as u32), addr))
    }

    pub(in crate::sim) fn set_accepting(&mut self, accepting: bool) {
        self.accepting = accepting;
    }

    /// Closes one listener; what waits at it arrives.
    pub(in crate::sim) fn close_listener(&mut self, k: &mut Kernel, id: ListenerId) {
        let Some(&listener) = self.listeners.get(id.0 as usize) else {
            return;
        };
        while let Some((sock, peer)) = k.accept(listener) {
            self.stats.accepted += 1;
            self.queue.push_back(Queued::Accepted(id, sock, peer));
        }
        k.unlisten(listener);
    }

    pub(in crate::sim) fn set_want_peer(&mut self, k: &mut Kernel, id: ListenerId, want: bool) {
        if let Some(&listener) = self.listeners.get(id.0 as usize) {
            k.set_want_peer(listener, want);
        }
    }

    pub(in crate::sim) fn stop_listening(&mut self, k: &mut Kernel) {
        for &listener in &self.listeners {
            k.unlisten(listener);
        }
    }

    pub(in crate::sim) fn adopt(
        &mut self,
        k: &mut Kernel,
        key: ConnKey,
        sock: SockId,
    ) -> io::Result<()> {
        let full = k.descriptors(self.index) >= self.options.sockets_max;
        let ours = k.owner(sock).and_then(Owner::driver) == Some(self.index);
        let admitted = match full && !ours {
            true => Err(errno(libc::EMFILE)),
            false => self.insert(key, sock, Phase::Open),
        };
        match admitted {
            Ok(()) => {
                k.set_owner(sock, Owner::Conn(self.index, key));
                self.make_ready(key);
            }
            Err(_) => k.close(sock),
        }
        admitted
    }

    pub(in crate::sim) fn connect(
        &mut self,
        k: &mut Kernel,
        key: ConnKey,
        options: &ConnectOptions,
    ) -> io::Result<()> {
        if k.descriptors(self.index) >= self.options.sockets_max {
            return Err(errno(libc::EMFILE));
        }
        let sock = k.connect(self.index, key, options)?;
        let admitted = self.insert(key, sock, Phase::Connecting);
        if admitted.is_err() {
            k.abort(sock);
        }
        admitted
    }

    pub(in crate::sim) fn send(
        &mut self,
        k: &mut Kernel,
        key: ConnKey,
        chunks: &[Chunk],
    ) -> SendStatus {
        let total = chunks.iter().map(Chunk::len).sum();
        let Some(taken) = self.send_start(k, key, total) else {
            return SendStatus::Gone;
        };
        if total == 0 {
            return SendStatus::Done;
        }
        let mut batch = Batch {
            chunks: chunks.iter().cloned().collect(),
            offset: 0,
            unsent: total,
        };
        self.send_rest(k, key, &mut batch, taken)
    }

    pub(in crate::sim) fn send_copy(
        &mut self,
        k: &mut Kernel,
        key: ConnKey,
        bytes: &[u8],
    ) -> SendStatus {
        match bytes {
            [] => self.send(k, key, &[]),
            bytes => self.send(k, key, &[Chunk::new(bytes.into())]),
        }
    }

    /// How many of `total` bytes the kernel takes at once; `None` when the connection is gone.
    fn send_start(&mut self, k: &mut Kernel, key: ConnKey, total: usize) -> Option<usize> {
        let strict = self.options.strict;
        let conn = self.live(key, "send")?;
        if !matches!(conn.phase, Phase::Open | Phase::Connecting) || conn.releasing {
            return None;
        }
        assert!(
            !strict || conn.phase != Phase::Connecting,
            "send({key:?}) before Connected"
        );
        if conn.shutdown != Shutdown::No {
            assert!(!strict, "send({key:?}) after shutdown_write (rule 5)");
            return None;
        }
        if conn.in_flight {
            assert!(
                !strict && !cfg!(debug_assertions),
                "send({key:?}) while a batch is in flight: wait for Sent (rule 4)"
            );
            self.close(k, key, CloseMode::Abort);
            return None;
        }
        let sock = conn.sock();
        if let Some(errno) = k.error(sock) {
            // The write itself finds the connection gone.
            let mut conn = self.take(key);
            self.end(k, &mut conn, cause_of(Phase::Open, errno));
            self.put_back(conn);
            return None;
        }
        if total == 0 {
            return Some(0);
        }
        self.stats.sends += 1;
        let room = k.room(sock);
        let n = total.min(room);
        k.counts.full_windows += u64::from(n < total);
        if room == 0 {
            return Some(0);
        }
        if self.rng.per_mille(k.faults.late_sends_per_mille) {
            k.counts.late_sends += 1;
            return Some(0);
        }
        if n > 1 && self.rng.per_mille(k.faults.short_writes_per_mille) {
            k.counts.short_writes += 1;
            return Some(self.rng.between(1, n as u64 - 1) as usize);
        }
        Some(n)
    }

    fn send_rest(
        &mut self,
        k: &mut Kernel,
        key: ConnKey,
        batch: &mut Batch,
        taken: usize,
    ) -> SendStatus {
        let conn = self.conn_mut(key).expect("send_start found it");
        let sock = conn.sock();
        batch.write(k, sock, taken);
        let done = batch.unsent == 0;
        if !done {
            conn.in_flight = true;
            conn.batch = Some(Batch {
                chunks: std::mem::take(&mut batch.chunks),
                ..*batch
            });
            k.want_write(sock);
        }
        self.stats.sent_bytes += taken as u64;
        match done {
            true => SendStatus::Done,
            false => SendStatus::Pending,
        }
    }

    pub(in crate::sim) fn unsent_bytes(&mut self, key: ConnKey) -> usize {
        let conn = self.live(key, "unsent_bytes");
        conn.and_then(|conn| conn.batch.as_ref())
            .map_or(0, |batch| batch.unsent)
    }

    pub(in crate::sim) fn pause(&mut self, key: ConnKey) {
        let Some(conn) = self.live(key, "pause") else {
            return;
        };
        conn.paused = true;
        // What was gathered may still come, but the end of it waits for resume.
        if conn.read_closed_reported {
            let before = self.queue.len();
            self.queue
                .retain(|event| !matches!(event, Queued::ReadClosed(of) if *of == key));
            let told = self.queue.len() == before;
            if let Some(conn) = self.conn_mut(key) {
                conn.read_closed_reported = told;
            }
        }
    }

    pub(in crate::sim) fn resume(&mut self, key: ConnKey) {
        if let Some(conn) = self.live(key, "resume") {
            conn.paused = false;
            self.make_ready(key);
        }
    }

    pub(in crate::sim) fn shutdown_write(&mut self, key: ConnKey) {
        if let Some(conn) = self.live(key, "shutdown_write")
            && conn.shutdown == Shutdown::No
        {
            conn.shutdown = Shutdown::Wanted;
            self.make_ready(key);
        }
    }

    pub(in crate::sim) fn close(&mut self, k: &mut Kernel, key: ConnKey, mode: CloseMode) {
        if self.live(key, "close").is_none() {
            return;
        }
        self.purge(key);
        let mut conn = self.take(key);
        match conn.phase {
            Phase::Ending(_) => {}
            Phase::Ended => self.close_released(k, key, mode),
            Phase::Open | Phase::Closing if mode == CloseMode::Graceful && conn.batch.is_some() => {
                conn.phase = Phase::Closing;
            }
            _ => {
                let sock = conn.sock.take().expect("not ended, so it has a socket");
                conn.batch = None;
                match mode {
                    CloseMode::Graceful => k.close(sock),
                    CloseMode::Abort => k.abort(sock),
                }
                // epoll tells it in this iteration, io_uring when the kernel has let go.
                if self.rng.per_mille(500) {
                    self.tell_closed(&mut conn, CloseCause::Requested);
                } else {
                    conn.phase = Phase::Ending(CloseCause::Requested);
                    self.ready_again(&mut conn);
                }
            }
        }
        self.put_back(conn);
    }

    /// `close` came before the caller saw `Released`.
    fn close_released(&mut self, k: &mut Kernel, key: ConnKey, mode: CloseMode) {
        for event in &mut self.queue {
            if let Queued::Released(released, sock) = event
                && *released == key
            {
                match mode {
                    CloseMode::Graceful => k.close(*sock),
                    CloseMode::Abort => k.abort(*sock),
                }
                *event = Queued::Closed(key, CloseCause::Requested);
            }
        }
    }

    pub(in crate::sim) fn release(&mut self, key: ConnKey) {
        let strict = self.options.strict;
        if let Some(conn) = self.live(key, "release") {
            assert!(
                !strict || conn.phase != Phase::Connecting,
                "release({key:?}) before Connected"
            );
            conn.releasing = true;
            self.make_ready(key);
        }
    }

    pub(in crate::sim) fn peer_addr(&mut self, k: &Kernel, key: ConnKey) -> Option<SocketAddr> {
        k.peer_addr(self.live(key, "peer_addr")?.sock?)
    }

    pub(in crate::sim) fn other_end(&mut self, k: &Kernel, key: ConnKey) -> Option<SocketAddr> {
        k.other_end(self.live(key, "other_end")?.sock?)
    }

    /// The socket of a connection that has one.
    pub(in crate::sim) fn sock_of(&self, key: ConnKey) -> Option<SockId> {
        self.conn(key)?.sock
    }

    /// The driver is dropped: its sockets close as at the end of a process.
    pub(in crate::sim) fn shut(&mut self, k: &mut Kernel) {
        self.stop_listening(k);
        for event in self.queue.drain(..) {
            if let Queued::Accepted(_, sock, _) | Queued::Released(_, sock) = event {
                k.close(sock);
            }
        }
        for conn in self.slots.iter().filter_map(|slot| slot.conn.as_ref()) {
            if let Some(sock) = conn.sock {
                k.close(sock);
            }
        }
    }

    // Keys.

    fn insert(&mut self, key: ConnKey, sock: SockId, phase: Phase) -> io::Result<()> {
        assert!(key.op() == 0, "{key:?} carries an operation");
        let index = key.slot() as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        let slot = &mut self.slots[index];
        if let Some(conn) = &slot.conn {
            assert!(
                !self.options.strict,
                "{key:?} given away while {:?} has the slot: wait for Closed (rule 2)",
                conn.key
            );
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        assert!(
            !self.options.strict || slot.generation != Some(key.generation()),
            "{key:?} given away twice: take another generation (rule 2)"
        );
        slot.generation = Some(key.generation());
        slot.conn = Some(Conn {
            key,
            sock: Some(sock),
            phase,
            paused: false,
            shutdown: Shutdown::No,
            releasing: false,
            read_closed_reported: false,
            batch: None,
            in_flight: false,
            ready: false,
            starved: false,
        });
        self.stats.open += 1;
        Ok(())
    }

    /// The connection a call is for. Rule 1: a stale key does nothing and is counted; here it may
    /// also be reported, since a caller that saw the last event has no reason to use the key.
    fn live(&mut self, key: ConnKey, call: &str) -> Option<&mut Conn> {
        if self.conn(key).is_none() {
            self.stats.stale += 1;
            assert!(
                !self.options.strict,
                "{call}({key:?}) names no live connection (rule 1)"
            );
            return None;
        }
        self.conn_mut(key)
    }

    fn take(&mut self, key: ConnKey) -> Conn {
        let slot = &mut self.slots[key.slot() as usize];
        slot.conn.take().expect("the caller looked it up")
    }

    fn put_back(&mut self, conn: Conn) {
        let slot = conn.key.slot() as usize;
        self.slots[slot].conn = Some(conn);
    }
}
