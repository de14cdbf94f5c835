//! The interface of a dialect: what a protocol on top of WebSocket must say of itself, and nothing
//! of connections, sockets or channels' subscribers.
//!
//! A message goes in as an [`Input`], from which the dialect draws one [`Command`] after the other.
//! What the commands lead to comes back as [`Event`]s. Answers are written to [`Replies`]. A
//! publication is encoded once for each [`Form`] that has a subscriber.
//!
//! A dialect keeps the state of its sessions in a table of its own. The record of a connection
//! holds one word for it ([`Session`]), which only the dialect understands.

use std::fmt::Debug;
use std::sync::Arc;

use roost_access::{Identity, UserName};
use roost_hub::{ChannelId, EventIds, MemberInfo};
use roost_wire::{CloseCode, Frozen};

use crate::{Form, Publication, Receivers, Replies};

mod command;
mod entries;
mod event;
mod input;
mod offer;
mod sessions;

pub use command::{
    Admission, Command, Grant, ReadHistory, RpcAnswer, SubscribeTo, Target, TokenOutcome,
    TokenRefusal, TokenText,
};
pub use entries::{Entry, EntryAsk, EntryKind, EntryQuery};
pub use event::{Event, HistoryPage, HistoryRefusal, Next, Recovered, Recovers, Refusal, Request};
pub use input::{Input, Message};
pub use offer::{Accept, Emulated, Headers, Join, Offer, Terms};
pub use sessions::{Member, SessionAct, SessionQuery, SessionSelect};

/// One protocol. Its instance lives on one reactor and holds the sessions there.
///
/// All methods are pure: no clock, no randomness, no system call. Work and memory of each are
/// linear in the bytes passed in, but for [`Dialect::pop_subscription`], which is one of a series.
pub trait Dialect: Sized {
    /// What counters, `/stats/slow` and logs call it.
    const NAME: &'static str;
    /// The forms in which it writes deliveries, by name; [`Form`] counts through those of all
    /// dialects.
    const FORMS: &'static [&'static str];
    /// Whether it may send back what it receives ([`Command::Send`]): output that waits may then be
    /// as large as the input.
    const SENDS_BACK: bool = false;
    /// Whether it pings clients itself ([`Event::PingDue`]), each in every interval and whether it is
    /// quiet or not, in place of WebSocket's pings.
    const PINGS: bool = false;
    /// Whether it writes what a subscription has recovered into its own answer
    /// ([`Event::Subscribed`]). Otherwise that follows its answer as deliveries do.
    const ANSWERS_WITH_RECOVERED: bool = false;
    /// Whether its clients take a publication's position for a sign that they have all before it: what is
    /// dropped of a channel whose namespace recovers must then end the subscription ([`Event::Missed`]).
    const HOLDS_POSITIONS: bool = false;
    /// Whether its clients open a session with a message of their own: one that does not in time is told
    /// so ([`Event::OpeningMissing`]).
    const OPENED_BY_CLIENT: bool = false;
    /// Whether it speaks first ([`Event::Greeting`]).
    const GREETS: bool = false;
    /// Whether who is in a channel belongs to the answer to a subscription, where the channel keeps that:
    /// [`Event::Presence`] follows each [`Event::Subscribed`] with its token, and tells what subscribers
    /// were told until then.
    const ANSWERS_WITH_MEMBERS: bool = false;
    /// What it obeys. Shared by all reactors.
    type Settings;
    /// What it keeps of a session, as plain values: what is handed over to another process.
    type State: Debug + Clone + PartialEq;

    /// An instance without sessions.
    fn new(settings: Arc<Self::Settings>) -> Self;

    /// Takes settings that are new. Sessions that are open go on under them.
    fn configure(&mut self, settings: Arc<Self::Settings>);

    /// Whether a request for a WebSocket is this dialect's, and what becomes of it. The first
    /// dialect of the list that does not answer [`Accept::NotMine`] has it.
    fn accept<'a>(settings: &Self::Settings, offer: &Offer<'a>) -> Accept<'a>;

    /// The connection is open. `joined` is the channel that [`Accept::Open`] named, `subprotocol`
    /// what it selected, and `terms` are its terms.
    fn open(
        &mut self,
        subprotocol: Option<&str>,
        terms: Terms,
        joined: Option<ChannelId>,
    ) -> Session;

    /// Draws the next command from a message. `None`: the message asks for nothing more. It is asked
    /// again only while something is left in the input.
    ///
    /// Bytes that it leaves there stand before the next message's (a command may span messages);
    /// they are bounded by `limits.message_bytes_max`. They are looked at again with the next
    /// message: how much is missing must be seen from a bounded prefix, or work is not linear.
    fn next<'a>(
        &mut self,
        session: Session,
        input: &mut Input<'a>,
        cx: &mut Context<'_>,
    ) -> Option<Command<'a>>;

    /// Something happened to the session.
    fn on(&mut self, session: Session, event: Event<'_>, cx: &mut Context<'_>) -> Next;

    /// Takes one subscription out, until there is none: the connection leaves its channels. Those
    /// that are not yet confirmed count. Nothing is written.
    fn pop_subscription(&mut self, session: &mut Session) -> Option<(ChannelId, Form)>;

    /// Whether the client has not sent what opens the session yet ([`Dialect::OPENED_BY_CLIENT`]).
    fn awaits_opening(&self, session: Session) -> bool {
        let _ = session;
        false
    }

    /// Whether the session is subscribed to a channel, or about to be.
    fn is_subscribed(&self, session: Session, channel: ChannelId) -> bool;

    /// The realm of the session, by its number; 0 is that of names that belong to none. `None`: the dialect
    /// has no realms.
    fn realm(&self, session: Session) -> Option<u16> {
        let _ = session;
        None
    }

    /// The open session with its realm, if its dialect has realms.
    fn member(&self, session: Session) -> Option<Member> {
        let _ = session;
        None
    }

    /// The same once, when the session leaves its realm: it may have been closed by then.
    fn leave(&mut self, session: Session) -> Option<Member> {
        let _ = session;
        None
    }

    /// The application ends a subscription that is in force; the replies say so, where the client is told.
    /// Its form; `None` if there is none, or the session cannot be without it.
    fn end_subscription(
        &mut self,
        session: Session,
        channel: (ChannelId, &str),
        cx: &mut Context<'_>,
    ) -> Option<Form> {
        let _ = (session, channel, cx);
        None
    }

    /// The server subscribes the session to a channel: the form and the token of the subscription, whose events
    /// follow as of [`Command::Subscribe`]. `None` if it cannot be now, or the dialect has no words for it.
    fn begin_subscription(&mut self, session: Session, name: &str) -> Option<(Form, u64)> {
        let _ = (session, name);
        None
    }

    /// By what name the client sends, if it has no WebSocket ([`Event::Emulated`]).
    fn emulation(&self, session: Session) -> Option<&str> {
        let _ = session;
        None
    }

    /// The connection ends, and has no close frame that says so; the replies say it instead.
    fn say_close(&mut self, session: Session, close: (CloseCode, &str), cx: &mut Context<'_>) {
        let _ = (session, close, cx);
    }

    /// Names each channel or pattern that the session is subscribed to, or about to be, once: for people
    /// who look at it.
    fn each_subscription(&self, session: Session, visit: &mut dyn FnMut(ChannelId));

    /// Whether a publication for these receivers is for the session, which is known as `identity`.
    /// Those that are no session of the publisher's dialect are on no list.
    fn is_receiver(
        &self,
        session: Session,
        identity: Option<&Identity>,
        receivers: &Receivers,
    ) -> bool {
        let _ = (session, identity);
        receivers.admits(None)
    }

    /// The client's number, by which other clients know it; `None` where the dialect has none.
    fn client(&self, session: Session) -> Option<u64> {
        let _ = session;
        None
    }

    /// Whether the session has asked to be told who comes to a channel and who leaves it.
    fn is_told_of_members(&self, session: Session, channel: ChannelId) -> bool {
        let _ = (session, channel);
        false
    }

    /// Whether the session is subscribed to a channel, and has been told so.
    fn is_confirmed(&self, session: Session, channel: ChannelId) -> bool {
        self.is_subscribed(session, channel)
    }

    /// The form of a session's subscription to a channel, where not all of its subscriptions have the same.
    fn form_of(&self, session: Session, channel: ChannelId) -> Option<Form> {
        let _ = (session, channel);
        None
    }

    /// The same of one user, where a channel's subscribers are told of users, and of which of the channel's
    /// changes ([`roost_hub::PresenceChange::number`]).
    fn is_told_of_user(&self, session: Session, channel: ChannelId, change: (&str, u64)) -> bool {
        let _ = change;
        self.is_told_of_members(session, channel)
    }

    /// As whom the session joins the channel that it has just asked to subscribe to, where that is not the
    /// client's identity.
    fn joins_as(&self, session: Session) -> Option<(UserName, Option<Arc<MemberInfo>>)> {
        let _ = session;
        None
    }

    /// Frees the session; the connection has ended. Its subscriptions have been taken out.
    fn close(&mut self, session: Session);

    /// Takes a session apart, by exhaustive destructuring: a field that is added must be said to
    /// stay or to go. The session ends here. Channels are those of the reactor's hub, which is
    /// handed over with it.
    fn export(&mut self, session: Session) -> Self::State;

    /// Begins a session where the one of this state stopped.
    fn import(&mut self, state: Self::State) -> Session;

    /// Whether a publication can be written in one of [`Dialect::FORMS`], by its place there. One that
    /// cannot is delivered to no subscriber with that form.
    fn carries(form: u8, publication: &Publication) -> bool {
        let _ = (form, publication);
        true
    }

    /// Encodes a publication in one of [`Dialect::FORMS`], by its place there: one unfragmented
    /// text or binary message. `channel` is the name of the one that it was published on.
    fn encode(form: u8, publication: &Publication, ids: EventIds, channel: &str) -> Frozen;

    /// The same where the epoch is told in which `ids.offset` counts: both together are the position
    /// behind the publication.
    fn encode_at(
        form: u8,
        publication: &Publication,
        ids: EventIds,
        channel: &str,
        epoch: u64,
    ) -> Frozen {
        let _ = epoch;
        Self::encode(form, publication, ids, channel)
    }

    /// The same of a channel that keeps history.
    fn encode_kept(
        form: u8,
        publication: &Publication,
        ids: EventIds,
        channel: &str,
        epoch: u64,
    ) -> Frozen {
        Self::encode_at(form, publication, ids, channel, epoch)
    }

    /// A publication that its channel retains, for a subscription that has asked for it.
    fn encode_retained(
        form: u8,
        publication: &Publication,
        ids: EventIds,
        channel: &str,
        epoch: u64,
    ) -> Frozen {
        Self::encode_kept(form, publication, ids, channel, epoch)
    }

    /// A publication of before, as a part of the answer to a subscription, where
    /// [`Dialect::ANSWERS_WITH_RECOVERED`]: a message of its own for no other reason than to have one shape.
    fn encode_recovered(form: u8, publication: &Publication, ids: EventIds) -> Frozen {
        Self::encode(form, publication, ids, "")
    }

    /// The same for subscribers to a pattern that matches `channel`: `ids.topic` is the pattern's number.
    fn encode_matched(form: u8, publication: &Publication, ids: EventIds, channel: &str) -> Frozen {
        Self::encode(form, publication, ids, channel)
    }

    /// Bytes of the sessions' table, for the accounting of memory.
    fn memory_bytes(&self) -> usize;

    /// Cuts the sessions' table down to what is needed; returns the bytes that were freed.
    fn shrink(&mut self) -> usize;
}

/// A word in a connection's record, which only its dialect understands: an index into the dialect's
/// table, or all there is to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session(pub u32);

impl Session {
    /// Of a connection that has none, or of a dialect that keeps nothing.
    pub const NONE: Session = Session(u32::MAX);

    /// For the entry `index` of a dialect's table.
    ///
    /// # Panics
    /// At 2^32 - 1.
    pub fn at(index: usize) -> Session {
        let session = Session(u32::try_from(index).expect("a table has fewer than 2^32 entries"));
        assert_ne!(
            session,
            Session::NONE,
            "a table has fewer than 2^32 - 1 entries"
        );
        session
    }

    /// The entry of the dialect's table.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether there is one.
    pub fn is_some(self) -> bool {
        self != Session::NONE
    }
}

/// What a dialect is lent while it is called.
pub struct Context<'a> {
    /// What the client is told.
    pub replies: &'a mut Replies,
    /// Draws a number from 1 to 2^53, uniformly.
    pub new_id: &'a mut dyn FnMut() -> u64,
}
