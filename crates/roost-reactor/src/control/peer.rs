//! The control thread's place among the reactors: a peer of their mesh that is never a home.
//!
//! A [`ControlPeer`] puts requests into the reactors' rings and takes their answers out of its own.
//! Neither side keeps anything for the other: a request that finds a ring full is refused to its
//! caller, an answer that does is dropped and counted. So a control thread that hangs or has gone costs
//! the reactors nothing but the 32 batches that its rings hold.

use std::hash::Hasher as _;
use std::sync::Arc;

use roost_hub::{Homes, Item, Name, NamespaceId, ReactorId, Target};
use roost_net::Waker;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::messages::{Answer, ControlPublication, PUBLICATIONS_MAX, Request, Token, control_id};
use super::repeats::RepeatKey;
use super::taps::{Tap, Tapped, canary_name};
use crate::channels::{Links, Mesh, tap_at, tap_encodings};
use crate::events::EventBatch;
use crate::hook_calls::{HookAnswer, HookCall};
use crate::peer_message::PeerMessage;
use crate::token_checks::{TokenCheck, Verdict};

/// The ring of a reactor has no room: nothing was sent, and nothing is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingFull;

/// What has come from a reactor.
#[derive(Debug)]
pub enum FromReactor {
    /// An answer to a request.
    Answer(Answer),
    /// Tokens to be checked, and by which reactor they are asked about.
    TokenChecks(usize, Vec<TokenCheck>),
    /// A subscription of this number has begun: what is published from now on is heard.
    Listening(u32),
    /// What is heard as a subscriber.
    Tapped(Vec<Tapped>),
    /// Questions to the application, and which reactor's connections ask them.
    HookCalls(usize, Vec<HookCall>),
    /// What has happened, and on which reactor.
    Events(usize, Box<EventBatch>),
}

/// The control thread's end of the mesh.
pub struct ControlPeer {
    links: Links<PeerMessage>,
    homes: Homes,
    /// Of the same hash for other purposes.
    hash_key: [u8; 16],
    reactors: usize,
    last_token: u64,
    /// The rest of a batch that was taken out of a ring.
    unread: std::vec::IntoIter<PeerMessage>,
    /// Whose it is.
    unread_of: ReactorId,
}

impl ControlPeer {
    pub(crate) fn new(
        mesh: Arc<Mesh<PeerMessage>>,
        reactors: usize,
        homes: Homes,
        hash_key: [u8; 16],
        waker: Waker,
    ) -> ControlPeer {
        ControlPeer {
            links: Links::new(control_id(reactors).0, mesh, waker),
            homes,
            hash_key,
            reactors,
            last_token: 0,
            unread: Vec::new().into_iter(),
            unread_of: ReactorId(0),
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
        let reactor = self.reactor(reactor);
        let token = self.next_token();
        let message = PeerMessage::Request(Box::new((token, request)));
        self.send(reactor, message)?;
        Ok(token)
    }

    /// The reactor that orders a channel.
    pub fn home_of(&self, channel: &str) -> usize {
        usize::from(self.homes.home_of(channel).0)
    }

    /// Within which the offsets of that reactor's channels count: another in each process.
    ///
    /// # Panics
    /// When there is no such reactor.
    pub fn epoch_of(&self, home: usize) -> u64 {
        self.homes.epoch_of(self.reactor(home))
    }

    /// What an idempotency key for a channel comes to.
    pub fn repeat_key(&self, channel: &str, key: &str) -> RepeatKey {
        let mut hasher = SipHasher13::new_with_key(&self.hash_key);
        hasher.write(channel.as_bytes());
        hasher.write_u8(0xff); // in no UTF-8: where one ends, and the other begins
        hasher.write(key.as_bytes());
        let hash = hasher.finish128();
        RepeatKey([hash.h1, hash.h2])
    }

    /// Publishes on channels whose home is one reactor, in this order; answered with
    /// [`super::Part::Published`]. A batch has [`super::PUBLICATIONS_MAX`] publications at most.
    ///
    /// # Errors
    /// When the reactor's ring is full: they are returned, and none is published.
    ///
    /// # Panics
    /// When there is no such reactor.
    pub fn publish(
        &mut self,
        home: usize,
        publications: Vec<ControlPublication>,
    ) -> Result<Token, Vec<ControlPublication>> {
        debug_assert!(publications.len() <= PUBLICATIONS_MAX, "a bounded batch");
        let token = self.next_token();
        let message = PeerMessage::Publications(Box::new((token, publications)));
        match self.links.try_send(self.reactor(home), message) {
            Ok(()) => Ok(token),
            Err(PeerMessage::Publications(batch)) => Err(batch.1),
            Err(_) => unreachable!("what was not sent is returned"),
        }
    }

    /// The channel that shows whether this reactor delivers what it is the home of. No client can name it.
    ///
    /// # Panics
    /// When there is no such reactor.
    pub fn canary_of(&self, home: usize) -> Name {
        let home = usize::from(self.reactor(home).0);
        canary_name(home, |name| self.home_of(name))
    }

    /// Subscribes to a channel; [`FromReactor::Listening`] follows. A channel is listened to once.
    ///
    /// # Errors
    /// When its home's ring is full.
    pub fn listen(&mut self, channel: &Name, tap: Tap) -> Result<(), RingFull> {
        let item = Item::Interest {
            name: channel.clone(),
            namespace: NamespaceId::default(), // its home knows it
            local: tap_at(tap.number, tap.travels()),
            encodings: tap_encodings(),
            cause: 0,
        };
        self.send(self.homes.home_of(channel), PeerMessage::Hub(item))
    }

    /// Ends a subscription that [`ControlPeer::listen`] has begun. What is on its way still comes.
    ///
    /// # Errors
    /// When its home's ring is full: it goes on.
    pub fn stop_listening(&mut self, channel: &Name, tap: Tap) -> Result<(), RingFull> {
        let item = Item::Uninterest {
            target: Target::Name(channel.clone()),
            local: tap_at(tap.number, tap.travels()),
            cause: 0,
        };
        self.send(self.homes.home_of(channel), PeerMessage::Hub(item))
    }

    /// Says what has become of tokens that a reactor has asked about.
    ///
    /// # Errors
    /// When the reactor's ring is full: the verdicts are returned.
    ///
    /// # Panics
    /// When there is no such reactor.
    pub fn send_verdicts(
        &mut self,
        reactor: usize,
        verdicts: Vec<Verdict>,
    ) -> Result<(), Vec<Verdict>> {
        let message = PeerMessage::Verdicts(verdicts);
        match self.links.try_send(self.reactor(reactor), message) {
            Ok(()) => Ok(()),
            Err(PeerMessage::Verdicts(verdicts)) => Err(verdicts),
            Err(_) => unreachable!("what was not sent is returned"),
        }
    }

    /// Says what the application has answered to what a reactor's connections have asked.
    ///
    /// # Errors
    /// When the reactor's ring is full: the answers are returned.
    ///
    /// # Panics
    /// When there is no such reactor.
    pub fn send_hook_answers(
        &mut self,
        reactor: usize,
        answers: Vec<HookAnswer>,
    ) -> Result<(), Vec<HookAnswer>> {
        let message = PeerMessage::HookAnswers(answers);
        match self.links.try_send(self.reactor(reactor), message) {
            Ok(()) => Ok(()),
            Err(PeerMessage::HookAnswers(answers)) => Err(answers),
            Err(_) => unreachable!("what was not sent is returned"),
        }
    }

    /// What has come next. Answers to requests whose caller has gone come too.
    pub fn next_message(&mut self) -> Option<FromReactor> {
        loop {
            for message in self.unread.by_ref() {
                match message {
                    PeerMessage::Answer(answer) => return Some(FromReactor::Answer(*answer)),
                    PeerMessage::TokenChecks(checks) => {
                        let reactor = usize::from(self.unread_of.0);
                        return Some(FromReactor::TokenChecks(reactor, checks));
                    }
                    PeerMessage::HookCalls(calls) => {
                        let reactor = usize::from(self.unread_of.0);
                        return Some(FromReactor::HookCalls(reactor, calls));
                    }
                    PeerMessage::Events(batch) => {
                        let reactor = usize::from(self.unread_of.0);
                        return Some(FromReactor::Events(reactor, batch));
                    }
                    PeerMessage::Tapped(items) => {
                        let heard = items.iter().map(Tapped::new).collect();
                        return Some(FromReactor::Tapped(heard));
                    }
                    PeerMessage::Hub(Item::InterestAck { local, .. }) => {
                        return Some(FromReactor::Listening(local.channel.0));
                    }
                    PeerMessage::Hub(_)
                    | PeerMessage::Call(_)
                    | PeerMessage::Congested { .. }
                    | PeerMessage::Relieved { .. }
                    | PeerMessage::Request(_)
                    | PeerMessage::Publications(_)
                    | PeerMessage::HistoryAsk(_)
                    | PeerMessage::HistoryAnswer(_)
                    | PeerMessage::Relay(_)
                    | PeerMessage::RelayAnswer { .. }
                    | PeerMessage::SessionQuery(_)
                    | PeerMessage::SessionsFound(_)
                    | PeerMessage::EntryQuery(_)
                    | PeerMessage::EntriesFound(_)
                    | PeerMessage::Verdicts(_)
                    | PeerMessage::HookAnswers(_) => {
                        debug_assert!(
                            false,
                            "reactors send nothing else to a peer without channels"
                        );
                    }
                }
            }
            let (from, batch) = self.links.next_batch(true)?;
            self.unread_of = from;
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

    fn reactor(&self, number: usize) -> ReactorId {
        let reactors = self.reactors;
        assert!(number < reactors, "reactor {number} of {reactors}");
        ReactorId(u8::try_from(number).expect("at most REACTORS_MAX reactors"))
    }

    fn next_token(&mut self) -> Token {
        self.last_token += 1;
        Token::new(self.last_token)
    }

    fn send(&mut self, to: ReactorId, message: PeerMessage) -> Result<(), RingFull> {
        self.links.try_send(to, message).map_err(|_| RingFull)
    }
}
