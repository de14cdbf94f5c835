//! The slow side's place among the reactors: a peer of their mesh that is never a home.
//!
//! A [`ControlPeer`] puts requests into the reactors' rings and takes their answers out of its own.
//! Neither side keeps anything for the other: a request that finds a ring full is refused to its
//! caller, an answer that does is dropped and counted. So a slow side that hangs or has gone costs
//! the reactors nothing but the 32 batches that its rings hold.

use std::sync::Arc;

use roost_dialect::Publication;
use roost_hub::{Homes, Item, Name, ReactorId};
use roost_net::{ConnKey, Waker};

use crate::conn::Phase;
use crate::core::PeerMessage;
use crate::links::{Links, Mesh};

/// What a reactor is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// To answer: its loop runs.
    Ping,
    /// For its connections.
    Connections {
        /// Slots from this one on.
        from_slot: u32,
        /// Records in the answer, at most [`CONNECTIONS_MAX`].
        limit: u32,
    },
}

/// Which request an answer belongs to. New for each request of a [`ControlPeer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u64);

/// One answer, or a part of one.
#[derive(Debug)]
pub struct Answer {
    /// As [`ControlPeer::ask`] or [`ControlPeer::publish`] gave it.
    pub token: Token,
    /// What the reactor says.
    pub part: Part,
}

/// What a reactor answers.
#[derive(Debug)]
pub enum Part {
    /// To [`Request::Ping`].
    Pong,
    /// To [`Request::Connections`]: some of the records, in order of their slots. More parts follow
    /// unless it is the last.
    Connections(Vec<ConnectionRecord>),
    /// The last part of the answer to [`Request::Connections`].
    ConnectionsEnd {
        /// The last records.
        records: Vec<ConnectionRecord>,
        /// Where to go on; `None` behind the table's end.
        next_slot: Option<u32>,
    },
    /// To a publication: it has its place in its channel's order.
    Published {
        /// Its number.
        publication: u64,
    },
    /// The reactor does not do it now.
    Refused(Refusal),
}

/// Why a reactor does not do what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It answers as many listings as it does at once, [`LISTINGS_MAX`].
    Busy,
    /// The channel is published to faster than it is delivered; its other publishers wait.
    Congested,
}

/// One connection as its reactor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// Its reactor.
    pub reactor: u8,
    /// Its slot and generation.
    pub key: ConnKey,
    /// `handshake`, `joining`, `open`, `closing`, `lingering` or `closed`.
    pub phase: &'static str,
    /// `raw`, `echo` or `wamp.2.json`; `raw` before the handshake's end.
    pub dialect: &'static str,
    /// Bytes of unfinished input.
    pub input_buffered_bytes: usize,
    /// Bytes that wait for its socket.
    pub outbox_bytes: usize,
    /// The messages of them.
    pub outbox_messages: usize,
    /// Bytes of the batch with the kernel that it has not taken.
    pub in_flight_bytes: usize,
    /// Whether it is not read for the time being, as a publisher.
    pub is_paused: bool,
    /// Seconds since a byte was received.
    pub silent_seconds: u32,
}

/// The ring of a reactor has no room: nothing was sent, and nothing is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingFull;

/// The slow side's end of the mesh.
pub struct ControlPeer {
    links: Links<PeerMessage>,
    homes: Homes,
    reactors: usize,
    last_token: u64,
    /// The rest of a batch that was taken out of a ring.
    unread: std::vec::IntoIter<PeerMessage>,
}

impl ControlPeer {
    pub(crate) fn new(
        mesh: Arc<Mesh<PeerMessage>>,
        reactors: usize,
        homes: Homes,
        waker: Waker,
    ) -> ControlPeer {
        ControlPeer {
            links: Links::new(control_id(reactors).0, mesh, waker),
            homes,
            reactors,
            last_token: 0,
            unread: Vec::new().into_iter(),
        }
    }

    /// How many reactors there are.
    pub fn reactors(&self) -> usize {
        self.reactors
    }

    /// Asks a reactor. Its answer carries the token.
    ///
    /// # Errors
    /// When the reactor's ring is full.
    ///
    /// # Panics
    /// When there is no such reactor.
    pub fn ask(&mut self, reactor: usize, request: Request) -> Result<Token, RingFull> {
        assert!(
            reactor < self.reactors,
            "reactor {reactor} of {}",
            self.reactors
        );
        let token = self.next_token();
        let message = PeerMessage::Request(Box::new((token, request)));
        self.send(ReactorId(reactor as u8), message)?;
        Ok(token)
    }

    /// Publishes as a connection would whose namespace lets it and does not limit it; answered with
    /// [`Part::Published`] once the publication has its place. The caller has checked the length of
    /// the name and of the payload against the settings' limits.
    ///
    /// # Errors
    /// When the ring of the channel's home is full.
    pub fn publish(&mut self, channel: &str, payload: Publication) -> Result<Token, RingFull> {
        let token = self.next_token();
        let item = Item::Publish {
            name: Name::from(channel),
            publisher: 0,
            exclude_publisher: false,
            ack: Some(token.0),
            payload,
        };
        self.send(self.homes.home_of(channel), PeerMessage::Hub(item))?;
        Ok(token)
    }

    /// The next answer that has come. Answers to requests whose caller has gone come too.
    pub fn next_answer(&mut self) -> Option<Answer> {
        loop {
            for message in self.unread.by_ref() {
                match message {
                    PeerMessage::Answer(answer) => return Some(*answer),
                    PeerMessage::Hub(Item::Published {
                        token, publication, ..
                    }) => {
                        return Some(Answer {
                            token: Token(token),
                            part: Part::Published { publication },
                        });
                    }
                    PeerMessage::Hub(_)
                    | PeerMessage::Congestion { .. }
                    | PeerMessage::Request(_) => {
                        debug_assert!(
                            false,
                            "reactors send nothing else to a peer without channels"
                        );
                    }
                }
            }
            let (_, batch) = self.links.next_batch(true)?;
            self.unread = batch.into_iter();
        }
    }

    /// Whether the caller may sleep until its waker is used: no answer has come. It ends its sleep
    /// with [`ControlPeer::wake_up`].
    pub fn may_sleep(&mut self) -> bool {
        self.unread.as_slice().is_empty() && self.links.try_park(true)
    }

    /// Ends what [`ControlPeer::may_sleep`] began.
    pub fn wake_up(&self) {
        self.links.unpark();
    }

    fn next_token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    fn send(&mut self, to: ReactorId, message: PeerMessage) -> Result<(), RingFull> {
        self.links.try_send(to, message).map_err(|_| RingFull)
    }
}

impl Token {
    /// As a publication carries it.
    pub(crate) fn from_ack(ack: u64) -> Token {
        Token(ack)
    }
}

impl Answer {
    /// Memory that it keeps.
    pub(crate) fn bytes(&self) -> usize {
        let records = match &self.part {
            Part::Connections(records) | Part::ConnectionsEnd { records, .. } => records.len(),
            Part::Pong | Part::Published { .. } | Part::Refused(_) => 0,
        };
        size_of::<Answer>() + records * size_of::<ConnectionRecord>()
    }
}

/// The slow side's number in the mesh: behind all reactors, so that none of them takes it for a
/// home.
pub(crate) fn control_id(reactors: usize) -> ReactorId {
    ReactorId(u8::try_from(reactors).expect("at most REACTORS_MAX reactors"))
}

pub(crate) fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Handshake => "handshake",
        Phase::Joining => "joining",
        Phase::Open => "open",
        Phase::Closing => "closing",
        Phase::Lingering => "lingering",
        Phase::Closed => "closed",
    }
}

/// Reactors of a server, at most: their numbers and that of the slow side are one byte.
pub const REACTORS_MAX: usize = 255;
/// Records in the answer to one request.
pub const CONNECTIONS_MAX: u32 = 4096;
/// Listings that a reactor answers at once.
pub const LISTINGS_MAX: usize = 4;
