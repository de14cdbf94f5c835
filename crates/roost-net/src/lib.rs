//! Sockets in, events out: the [`Driver`] trait and its three backends, [`epoll`], [`uring`] and
//! [`sim`].
//!
//! This crate owns sockets, the memory the kernel reads into and writes from, and the clock. It
//! knows no WebSocket and keeps no queue for its caller. It is the only crate with `unsafe` code.
//!
//! # The contract
//!
//! The trait is completion-shaped: the caller asks, and events tell what happened. Every backend
//! keeps these rules, and `tests/conformance` asks each of them of every backend.
//!
//! 1. **Keys.** The caller names a connection by a [`ConnKey`] (slot and generation) when it
//!    adopts or connects it. A call with a key that names no live connection does nothing, is
//!    counted in [`DriverStats::stale`], and never touches the connection that now has the slot.
//!    At most one live connection has a given slot.
//! 2. **One end.** Each key that was adopted or connected yields exactly one [`Event::Closed`] (or
//!    one [`Event::Released`]), and it is the last event with that key. Until then the slot is
//!    taken; from then on the caller may use it again with another generation.
//! 3. **Bytes.** [`Event::Bytes`] lends memory for as long as the event lives. No connection owns
//!    a read buffer. Bytes come in order, without gap, in pieces of at most the read buffer's
//!    size. A busy connection is read in turn with the others, never to exhaustion. What was
//!    received before a FIN is delivered before [`Event::ReadClosed`]. What was received before a
//!    reset may be lost with it.
//! 4. **Send.** [`Driver::send`] and [`Driver::send_copy`] either finish at once
//!    ([`SendStatus::Done`]: the kernel took it all) or stay in flight ([`SendStatus::Pending`]):
//!    the driver holds the bytes, resumes after short writes by itself and says [`Event::Sent`]
//!    when the kernel has taken the last of them. One batch may be in flight per connection; to
//!    send while one is in flight is a caller's mistake (a `debug_assert`, and in release
//!    [`SendStatus::Gone`] with the connection aborted).
//! 5. **Shutdown.** [`Driver::shutdown_write`] sends FIN once the batch in flight has gone.
//!    Reading goes on. A send after it is [`SendStatus::Gone`] and sends nothing.
//! 6. **Close.** After [`Driver::close`] no event but `Closed` comes for the key.
//!    [`CloseMode::Graceful`] first lets the batch in flight go out; [`CloseMode::Abort`] drops it
//!    and sends RST. Memory lent to the kernel stays alive until the kernel has given it back.
//! 7. **Faults.** A peer that resets, or a send that fails, ends in `Closed` with its
//!    [`CloseCause`], without a call by the caller. Events that were waiting for that key
//!    (`Bytes`, `Sent`, `ReadClosed`) may be dropped.
//! 8. **Limits.** When no descriptor or table slot is free, accepting pauses: no busy loop, a
//!    counter, and new connections are reset (where the backend can) or wait in the backlog. Accepting
//!    goes on within 10 ms of a descriptor becoming free. When no receive buffer is free, the
//!    connection is read again as soon as one is.
//! 9. **Wake.** A [`Waker`] used from any thread makes the current or the next [`Driver::wait`]
//!    return and yields at least one [`Event::Woken`] after the wake; wakes in between coalesce.
//! 10. **Input before silence.** What arrived before [`Driver::polled_until`] has been reported, or
//!     [`Driver::has_unread`] is true for its key.

#![warn(clippy::print_stdout, clippy::print_stderr)]

#[cfg(not(target_os = "linux"))]
compile_error!("Roost runs on Linux");

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub mod clock;
pub mod epoll;
mod input_clock;
mod key;
pub mod limits;
mod listen_addr;
pub mod memory;
mod open_listener;
pub mod ports;
pub mod process;
pub mod sim;
mod socket;
mod sys;
mod tcp_info;
pub mod unix_socket;
pub mod uring;
mod wake_event;
mod waker;

pub use key::ConnKey;
pub use listen_addr::{ListenAddr, ListenOptions, UnixAddr};
pub use open_listener::OpenListener;
pub use tcp_info::TcpInfo;
pub use wake_event::wake_event;
pub use waker::Waker;

/// The sockets of one reactor. See the crate's documentation for the rules every backend keeps.
pub trait Driver {
    /// A socket without a driver: just accepted, or released. Dropping it closes it.
    type Socket;

    /// The backend's name as the configuration spells it: `epoll`, `io_uring`, `sim`.
    fn name(&self) -> &'static str;

    /// Opens a listening socket and starts to accept. Returns the bound address, on which other
    /// drivers may listen too: port 0 is resolved, and a unix socket is held by it.
    fn listen(&mut self, options: &ListenOptions) -> io::Result<(ListenerId, ListenAddr)>;

    /// Starts to accept from a socket that listens already.
    ///
    /// # Errors
    /// Where the kernel has no memory for it: then it is closed.
    fn adopt_listener(&mut self, listener: OpenListener) -> io::Result<ListenerId>;

    /// Closes one listener. What waits to be accepted still arrives as [`Event::Accepted`], as far as
    /// a backlog goes; later connections are refused. An id is not used again.
    fn close_listener(&mut self, id: ListenerId);

    /// Whether [`Event::Accepted`] of a listener must carry the peer's address from now on, as
    /// [`ListenOptions::want_peer`].
    fn set_want_peer(&mut self, id: ListenerId, want_peer: bool);

    /// Pauses (`false`) or resumes (`true`) accepting on all listeners. Connections already
    /// accepted by the kernel wait in the backlog.
    fn set_accepting(&mut self, accepting: bool);

    /// Closes all listeners. Sockets already accepted but not yet seen by the caller still arrive
    /// as [`Event::Accepted`].
    fn stop_listening(&mut self);

    /// A handle that interrupts [`Driver::wait`] from any thread.
    fn waker(&self) -> Waker;

    /// Gathers what has happened, waiting up to `timeout` (`None`: without limit) if nothing has.
    /// Returns at once when events or half-read connections are left from before. Submits all
    /// that was asked since the last call. Updates [`Driver::now`].
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// The next event of those gathered, at most one lease at a time. `None` ends the batch; a
    /// caller may also stop earlier and finds the rest after the next `wait`.
    fn next_event(&mut self) -> Option<Event<'_, Self::Socket>>;

    /// Nanoseconds since an arbitrary start, read when the last `wait` returned. Never goes back.
    fn now(&self) -> u64;

    /// The same read now. It costs tens of nanoseconds.
    fn read_clock(&self) -> u64;

    /// Until when input is known: what had arrived at a socket before, and is wanted (see
    /// [`Driver::pause`]), has been reported as an event, or [`Driver::has_unread`] says that it will
    /// be. In nanoseconds as [`Driver::now`], and not after it: a wait that a signal ended, or that
    /// came back with more left in the kernel, leaves it where it was. Silence is to be judged by
    /// this and not by the time, which a pause of the process moves on without a read.
    fn polled_until(&self) -> u64;

    /// [`Driver::now`] as it was when the process or this thread had last been held up: a wait that
    /// came back a quarter of a second late or more, or was ended by a signal after as long; 0
    /// before the first time. The peers may have been held up as well.
    fn resumed_at(&self) -> u64;

    /// Whether input of the connection, or its end, is known and not yet reported as an event. May be
    /// true for nothing. False for a paused connection and for a key that names none.
    fn has_unread(&self, key: ConnKey) -> bool;

    /// Gives an accepted or released socket to the driver under `key`; reading starts. After an
    /// error the socket is closed and the key names nothing; a taken slot is such an error.
    fn adopt(&mut self, key: ConnKey, socket: Self::Socket) -> io::Result<()>;

    /// Refuses an accepted socket with RST, at the least cost there is.
    fn refuse(&mut self, socket: Self::Socket);

    /// Starts to connect. Ends in [`Event::Connected`] (reading has started) or in
    /// [`Event::Closed`] with [`CloseCause::ConnectFailed`]. After an error nothing has started
    /// and the key names nothing; a taken slot is such an error.
    fn connect(&mut self, key: ConnKey, options: &ConnectOptions) -> io::Result<()>;

    /// Sends chunks by reference, in order, as one batch (`writev`). See rule 4. An empty batch is
    /// `Done`.
    fn send(&mut self, key: ConnKey, chunks: &[Chunk]) -> SendStatus;

    /// Sends `bytes` as one batch; what the kernel does not take at once is copied. See rule 4.
    fn send_copy(&mut self, key: ConnKey, bytes: &[u8]) -> SendStatus;

    /// Bytes of the batch in flight that the kernel has not taken yet.
    fn unsent_bytes(&self, key: ConnKey) -> usize;

    /// Bytes that the batch in flight holds: at least [`Driver::unsent_bytes`], at most all of it.
    /// See [`DriverStats::pinned_bytes`].
    fn pinned_bytes(&self, key: ConnKey) -> usize;

    /// Names all memory that batches in flight hold, by its address, with its length in bytes: once
    /// for each batch that holds it.
    fn each_pinned(&self, visit: &mut dyn FnMut(usize, usize));

    /// Stops reading from the connection: the peer's TCP window closes in time. Bytes already
    /// gathered may still come. `ReadClosed` waits for [`Driver::resume`]; a reset does not.
    fn pause(&mut self, key: ConnKey);

    /// Reads again.
    fn resume(&mut self, key: ConnKey);

    /// Sends FIN after the batch in flight. Reading goes on.
    fn shutdown_write(&mut self, key: ConnKey);

    /// Closes. [`Event::Closed`] follows, also when the connection was already broken.
    ///
    /// To close while received bytes are unread makes the kernel send RST, which may destroy what
    /// is still on its way to the peer (RFC 1122 §4.2.2.13). A caller that cares calls
    /// [`Driver::shutdown_write`] first and closes after [`Event::ReadClosed`].
    fn close(&mut self, key: ConnKey, mode: CloseMode);

    /// Takes the socket out of the driver without closing it, for another reactor or another
    /// process. Ends in [`Event::Released`]; no byte is lost: what was read was delivered before.
    /// A batch in flight is finished first.
    fn release(&mut self, key: ConnKey);

    /// The peer's address, if it has one and the kernel still knows it.
    fn peer_addr(&self, key: ConnKey) -> Option<SocketAddr>;

    /// What the kernel knows of the connection, for people who look at it: a system call or two. `None`
    /// of what is no TCP connection, or where the kernel does not say.
    fn tcp_info(&mut self, key: ConnKey) -> Option<TcpInfo> {
        let _ = key;
        None
    }

    /// Gives memory back that was not needed since the last call, with what the table of sockets
    /// no longer needs; returns how many bytes. Not for the data path: to be called every few
    /// seconds while something happens.
    fn shrink(&mut self) -> usize {
        0
    }

    /// Counters since the start, by value.
    fn stats(&self) -> DriverStats;
}

/// What happened. `S` is the backend's [`Driver::Socket`].
#[derive(Debug)]
pub enum Event<'a, S> {
    /// A new connection: adopt it or refuse it (dropping it closes it).
    Accepted {
        /// The listener it came through.
        listener: ListenerId,
        /// The socket, without a driver yet.
        socket: S,
        /// The other end; `None` where [`ListenOptions::want_peer`] was off and asking costs, and
        /// on a unix socket, whose clients have no address.
        peer: Option<SocketAddr>,
    },
    /// [`Driver::connect`] succeeded.
    Connected(ConnKey),
    /// Bytes received, lent until the next call; the caller may overwrite them (unmasking).
    Bytes(ConnKey, &'a mut [u8]),
    /// The peer sent FIN: no more bytes will come. Sending is still possible.
    ReadClosed(ConnKey),
    /// The batch in flight has been taken by the kernel to its last byte.
    Sent(ConnKey),
    /// The connection is over and its slot free. The last event of its key.
    Closed(ConnKey, CloseCause),
    /// The socket asked for by [`Driver::release`]. The last event of its key.
    Released(ConnKey, S),
    /// A [`Waker`] was used.
    Woken,
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCause {
    /// [`Driver::close`] was called.
    Requested,
    /// The peer reset it, or a write found it gone (ECONNRESET, EPIPE, ECONNABORTED).
    Reset,
    /// The kernel gave another error; the errno.
    Error(i32),
    /// [`Driver::connect`] did not succeed; the errno.
    ConnectFailed(i32),
}

/// How to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseMode {
    /// Let the batch in flight go out, then close.
    Graceful,
    /// Drop what is in flight and send RST, where the transport has one: on a unix socket the peer
    /// finds the end.
    Abort,
}

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendStatus {
    /// The kernel has taken all of it.
    Done,
    /// In flight; [`Event::Sent`] or [`Event::Closed`] follows.
    Pending,
    /// The connection is gone (stale key, closing, or broken: then [`Event::Closed`] follows).
    Gone,
}

/// A piece of a send: a range of shared, immutable bytes.
#[derive(Debug, Clone)]
pub struct Chunk {
    bytes: Arc<[u8]>,
    start: u32,
    end: u32,
}

impl Chunk {
    /// All of `bytes`.
    ///
    /// # Panics
    /// When `bytes` is longer than 4 GiB - 1.
    pub fn new(bytes: Arc<[u8]>) -> Chunk {
        let end = u32::try_from(bytes.len()).expect("a chunk is shorter than 4 GiB");
        Chunk {
            bytes,
            start: 0,
            end,
        }
    }

    /// A part of `bytes`.
    ///
    /// # Panics
    /// When `range` is not inside `bytes`.
    pub fn slice(bytes: Arc<[u8]>, range: Range<usize>) -> Chunk {
        assert!(
            range.start <= range.end && range.end <= bytes.len(),
            "chunk range outside bytes"
        );
        let narrow = |n: usize| u32::try_from(n).expect("a chunk ends below 4 GiB");
        Chunk {
            start: narrow(range.start),
            end: narrow(range.end),
            bytes,
        }
    }

    /// The bytes themselves.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start as usize..self.end as usize]
    }

    /// Where the memory is that it holds, of which its bytes may be a part: the same for all chunks
    /// that share it.
    pub fn address(&self) -> usize {
        self.bytes.as_ptr().addr()
    }

    /// Bytes of that memory.
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// True when there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// Which of a driver's listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u32);

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Where to.
    pub addr: SocketAddr,
    /// Local address to bind first; with `IP_BIND_ADDRESS_NO_PORT` (Linux 4.2) when its port is 0.
    pub local: Option<SocketAddr>,
}

/// Counters of one driver since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DriverStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Accepts refused by the kernel for want of a descriptor or table slot (EMFILE, ENFILE).
    pub accept_limit: u64,
    /// New connections reset at that limit.
    pub accept_reset: u64,
    /// Receives that found no buffer free (ENOBUFS).
    pub buffers_exhausted: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes the kernel took from us.
    pub sent_bytes: u64,
    /// Send system calls or requests.
    pub sends: u64,
    /// Receive system calls or requests.
    pub receives: u64,
    /// Calls and completions whose key named no live connection.
    pub stale: u64,
    /// Connections the driver holds now.
    pub open: u64,
    /// Bytes of the batches in flight now: held until the kernel has taken a batch to its end.
    pub pinned_bytes: u64,
}
