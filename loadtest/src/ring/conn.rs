//! One client connection: a small plain value, and what it needs beside it only at times.

use roost_net::ConnKey;
use roost_wire::Inbound;
use roost_wire::handshake::HeadScanner;

use super::chunks::Chunks;

/// A connection's record. Its slot says which group and member it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conn {
    pub(super) generation: u16,
    pub(super) state: State,
    pub(super) flags: u16,
    /// Index of the ring's share it belongs to.
    pub(super) share: u8,
    /// How far the dialect has come with opening.
    pub(super) stage: u8,
}

const _: () = assert!(size_of::<Conn>() <= 8);

/// A batch is in flight.
pub(super) const WRITING: u16 = 1;
/// Open again once it is closed.
pub(super) const REOPEN: u16 = 2;
/// It is over by our own doing.
pub(super) const EXPECTED: u16 = 4;
/// It fell to [`REOPEN`] and is not back yet.
pub(super) const RETURNING: u16 = 8;
/// A close frame was answered: what follows is the end of TCP.
pub(super) const SAID_GOODBYE: u16 = 16;
/// It was dropped in this phase.
pub(super) const DROPPED: u16 = 32;
/// FIN follows what waits for the batch in flight.
pub(super) const FIN_OWED: u16 = 64;
/// It comes back to go on from its positions, and is not back yet.
pub(super) const RESUMING: u16 = 128;
/// An event stream over HTTP instead of a WebSocket.
pub(super) const STREAM: u16 = 256;
/// Its body comes in chunks.
pub(super) const CHUNKED: u16 = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The slot is free.
    Free,
    /// TCP is connecting.
    Connecting,
    /// TLS is being negotiated.
    TlsHandshaking,
    /// The request is sent.
    Handshaking,
    /// The dialect opens.
    Opening,
    /// Open and subscribed.
    Held,
    /// A close frame is sent, or the socket closed.
    Closing,
}

impl Conn {
    pub(super) fn new(share: u8) -> Conn {
        Conn {
            generation: 0,
            state: State::Free,
            flags: 0,
            share,
            stage: 0,
        }
    }

    pub(super) fn key(&self, slot: u32) -> ConnKey {
        ConnKey::new(slot, self.generation)
    }

    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn is_opening(&self) -> bool {
        matches!(
            self.state,
            State::Connecting | State::TlsHandshaking | State::Handshaking | State::Opening
        )
    }
}

/// What a connection needs only at times.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// When it began to open, or to close.
    pub(super) since_ns: u64,
    /// The response's head as far as it has come.
    pub(super) head: Vec<u8>,
    pub(super) scanner: HeadScanner,
    /// A message cut by the end of a lease.
    pub(super) inbound: Option<Inbound>,
    /// The beginning of a message that the dialect cuts itself.
    pub(super) piece: Vec<u8>,
    /// In a chunked body, within a chunk.
    pub(super) chunks: Chunks,
    /// Waits for the batch in flight.
    pub(super) outbox: Vec<u8>,
}
