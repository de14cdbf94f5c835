//! The control thread's place among the reactors: a peer of their mesh that is never a home.
//!
//! A [`ControlPeer`] puts requests into the reactors' rings and takes their answers out of its own.
//! Neither side keeps anything for the other: a request that finds a ring full is refused to its
//! caller, an answer that does is dropped and counted. So a control thread that hangs or has gone costs
//! the reactors nothing but the 32 batches that its rings hold.

use std::sync::Arc;

use roost_dialect::Publication;
use roost_hub::{Homes, Item, Name, ReactorId};
use roost_net::Waker;

use super::messages::{Answer, Part, Request, Token, control_id};
use crate::channels::{Links, Mesh};
use crate::peer_message::PeerMessage;

/// The ring of a reactor has no room: nothing was sent, and nothing is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingFull;

/// The control thread's end of the mesh.
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
        let reactor = u8::try_from(reactor).expect("at most REACTORS_MAX reactors");
        self.send(ReactorId(reactor), message)?;
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
            ack: Some(token.to_ack()),
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
                            token: Token::from_ack(token),
                            part: Part::Published { publication },
                        });
                    }
                    PeerMessage::Hub(_)
                    | PeerMessage::Call(_)
                    | PeerMessage::Congested { .. }
                    | PeerMessage::Relieved { .. }
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
        Token::new(self.last_token)
    }

    fn send(&mut self, to: ReactorId, message: PeerMessage) -> Result<(), RingFull> {
        self.links.try_send(to, message).map_err(|_| RingFull)
    }
}
