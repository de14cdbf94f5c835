//! One connection as the network sees it: two ends and a pipe in each direction. Pure state; the
//! [`Kernel`](super::kernel::Kernel) moves it through time.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::agenda::AgendaKey;
use super::ids::{DriverIndex, ListenerIndex, SockId};
use crate::ConnKey;

/// Who holds an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Closed, or (on the listener's side) not yet open.
    Unowned,
    /// A listener's accept queue.
    Backlog(ListenerIndex),
    /// A driver's [`SimSocket`](super::SimSocket), given to the caller or about to be.
    Handle(DriverIndex),
    /// A driver's table.
    Conn(DriverIndex, ConnKey),
}

impl Owner {
    /// The driver whose descriptor this is.
    pub(super) fn driver(self) -> Option<DriverIndex> {
        match self {
            Owner::Handle(driver) | Owner::Conn(driver, _) => Some(driver),
            Owner::Unowned | Owner::Backlog(_) => None,
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) driver: DriverIndex,
    pub(super) addr: SocketAddr,
    pub(super) reuse_port: bool,
    pub(super) want_peer: bool,
    pub(super) backlog_max: usize,
    pub(super) backlog: VecDeque<SockId>,
}

/// Both ends and both directions. `pipes[i]` carries from `ends[i]` to `ends[1 - i]`.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) ends: [End; 2],
    pub(super) pipes: [Pipe; 2],
    pub(super) doom: Option<Doom>,
    pub(super) cut: bool,
}

/// What the seed holds ready for a connection, and after how many segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doom {
    pub(super) segments_left: u64,
    pub(super) cut: bool,
}

/// A socket as its kernel sees it.
#[derive(Debug)]
pub(super) struct End {
    pub(super) owner: Owner,
    pub(super) addr: SocketAddr,
    pub(super) connected: bool,
    /// The peer's FIN has arrived, hence all its bytes.
    pub(super) fin_arrived: bool,
    /// What reads and writes answer: an errno.
    pub(super) error: Option<i32>,
    /// Waits for room: the owner is told when there is some.
    pub(super) want_write: bool,
    /// Already on its driver's list of news.
    pub(super) noted: bool,
    /// Neither sends nor receives any more, and has no owner.
    pub(super) dead: bool,
    /// RST has been sent.
    pub(super) rst_sent: bool,
    /// The give-up timer: of an orphan, or of bytes on a cut link.
    pub(super) timer: Option<AgendaKey>,
}

impl End {
    pub(super) fn new(owner: Owner, addr: SocketAddr) -> End {
        End {
            owner,
            addr,
            connected: false,
            fin_arrived: false,
            error: None,
            want_write: false,
            noted: false,
            dead: owner == Owner::Unowned,
            rst_sent: false,
            timer: None,
        }
    }
}

/// What travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment {
    SynAck,
    Data(usize),
    Fin,
    Rst,
}

/// One direction: all bytes from the sender's buffer to the receiver's, in one queue whose parts
/// are counted: `[readable | flying | unsent]`.
#[derive(Debug)]
pub(super) struct Pipe {
    data: VecDeque<u8>,
    readable: usize,
    flying: usize,
    /// Bytes the receiver is known to have room for.
    credit: usize,
    /// Room made by reading that the sender does not know of yet.
    freed: usize,
    pub(super) window_update_flying: bool,
    send_bytes_max: usize,
    receive_bytes_max: usize,
    pub(super) flight: VecDeque<Segment>,
    /// When the last segment sent arrives: none overtakes it.
    pub(super) last_arrival: u64,
    pub(super) fin_wanted: bool,
    pub(super) fin_sent: bool,
    pub(super) fin_arrived: bool,
    /// Nothing more will be sent: after RST.
    pub(super) over: bool,
}

impl Pipe {
    pub(super) fn new(send_bytes_max: usize, receive_bytes_max: usize) -> Pipe {
        Pipe {
            data: VecDeque::new(),
            readable: 0,
            flying: 0,
            credit: receive_bytes_max,
            freed: 0,
            window_update_flying: false,
            send_bytes_max,
            receive_bytes_max,
            flight: VecDeque::new(),
            last_arrival: 0,
            fin_wanted: false,
            fin_sent: false,
            fin_arrived: false,
            over: false,
        }
    }

    /// The sender's kernel takes `bytes`, for which it has room.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.room(), "written past the send buffer");
        self.data.extend(bytes);
    }

    /// Up to `segment_bytes_max` bytes set out, as many as the receiver has room for. 0: none may.
    pub(super) fn launch(&mut self, segment_bytes_max: usize) -> usize {
        let n = self.unsent().min(self.credit).min(segment_bytes_max);
        self.flying += n;
        self.credit -= n;
        n
    }

    /// The next `n` flying bytes are there.
    pub(super) fn land(&mut self, n: usize) {
        self.flying -= n;
        self.readable += n;
    }

    /// The next `n` flying bytes found no owner.
    pub(super) fn lose(&mut self, n: usize) {
        self.flying -= n;
        self.data.drain(self.readable..self.readable + n);
        self.credit += n;
    }

    /// The receiver reads as much as fits into `into`.
    pub(super) fn take(&mut self, into: &mut [u8]) -> usize {
        let n = self.readable.min(into.len());
        let (front, back) = self.data.as_slices();
        let from_front = n.min(front.len());
        into[..from_front].copy_from_slice(&front[..from_front]);
        into[from_front..n].copy_from_slice(&back[..n - from_front]);
        self.data.drain(..n);
        self.readable -= n;
        self.freed += n;
        n
    }

    /// The sender learns of the room that reading has made.
    pub(super) fn open_window(&mut self) {
        self.credit += std::mem::take(&mut self.freed);
        self.window_update_flying = false;
    }

    /// The sender's kernel forgets what it has not sent.
    pub(super) fn drop_unsent(&mut self) {
        self.data.truncate(self.readable + self.flying);
    }

    /// The receiver's kernel forgets what has arrived.
    pub(super) fn drop_readable(&mut self) {
        self.data.drain(..self.readable);
        self.freed += std::mem::take(&mut self.readable);
    }

    pub(super) fn readable(&self) -> usize {
        self.readable
    }

    pub(super) fn unsent(&self) -> usize {
        self.data.len() - self.readable - self.flying
    }

    /// Bytes the sender's buffer still takes.
    pub(super) fn room(&self) -> usize {
        self.send_bytes_max - self.unsent()
    }

    /// Bytes anywhere between the two programs.
    pub(super) fn held(&self) -> usize {
        self.data.len()
    }

    pub(super) fn check_invariants(&self) {
        assert!(
            self.readable + self.flying <= self.data.len(),
            "a pipe counts bytes it does not have"
        );
        assert!(self.unsent() <= self.send_bytes_max, "send buffer overrun");
        assert_eq!(
            self.credit + self.flying + self.readable + self.freed,
            self.receive_bytes_max,
            "a pipe's window does not add up"
        );
        let in_flight: usize = self
            .flight
            .iter()
            .map(|segment| match segment {
                Segment::Data(n) => *n,
                Segment::SynAck | Segment::Fin | Segment::Rst => 0,
            })
            .sum();
        assert_eq!(in_flight, self.flying, "segments and bytes disagree");
    }
}
