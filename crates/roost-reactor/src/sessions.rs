//! The dialects with the sessions of this reactor's connections, and what they write.

use std::sync::Arc;

use roost_access::{Identity, UserName};
use roost_dialect::dialect::{Command, Context, Event, Input, Member, Next, Session, Terms};
use roost_dialect::{DialectKind, Dialects, Form, Receivers, Replies, Settings};
use roost_hub::{ChannelId, MemberInfo};
use roost_random::SplitMix64;
use roost_wire::CloseCode;

/// All sessions of one reactor.
pub(crate) struct Sessions {
    dialects: Dialects,
    /// A dialect's answers, until they are framed; reused.
    replies: Replies,
    random: SplitMix64,
}

impl Sessions {
    /// `seed` makes the numbers of sessions differ between runs.
    pub(crate) fn new(settings: &Settings, seed: u64) -> Sessions {
        Sessions {
            dialects: Dialects::new(settings),
            replies: Replies::default(),
            random: SplitMix64::new(seed),
        }
    }

    /// New settings hold from now on.
    pub(crate) fn configure(&mut self, settings: &Settings) {
        self.dialects.configure(settings);
    }

    /// A connection has opened with this subprotocol, and with a subscription to `joined` if its
    /// request asked for one.
    pub(crate) fn open(
        &mut self,
        dialect: DialectKind,
        subprotocol: Option<&str>,
        terms: Terms,
        joined: Option<ChannelId>,
    ) -> Session {
        self.dialects.open(dialect, subprotocol, terms, joined)
    }

    /// Frees what the dialect keeps of a connection that has ended.
    pub(crate) fn close(&mut self, dialect: DialectKind, session: Session) {
        self.dialects.close(dialect, session);
    }

    /// The next command in a message. Look at [`Sessions::replies`] after each call.
    #[inline(always)] // it is a part of the way of each message, and called there alone
    pub(crate) fn next<'a>(
        &mut self,
        dialect: DialectKind,
        session: Session,
        input: &mut Input<'a>,
    ) -> Option<Command<'a>> {
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut || next_id(&mut self.random),
        };
        self.dialects.next(dialect, session, input, &mut cx)
    }

    /// Something has happened to a connection. Look at [`Sessions::replies`] after each call.
    pub(crate) fn on(&mut self, dialect: DialectKind, session: Session, event: Event<'_>) -> Next {
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut || next_id(&mut self.random),
        };
        self.dialects.on(dialect, session, event, &mut cx)
    }

    /// A random number from 1 to 2^53, which is not secret.
    pub(crate) fn new_id(&mut self) -> u64 {
        next_id(&mut self.random)
    }

    /// What was written since they were last drained.
    #[inline]
    pub(crate) fn replies(&mut self) -> &mut Replies {
        &mut self.replies
    }

    /// Whether the client has not opened its session yet.
    pub(crate) fn awaits_opening(&self, dialect: DialectKind, session: Session) -> bool {
        self.dialects.awaits_opening(dialect, session)
    }

    /// Whether the session is subscribed to the channel.
    pub(crate) fn is_subscribed(
        &self,
        dialect: DialectKind,
        session: Session,
        channel: ChannelId,
    ) -> bool {
        self.dialects.is_subscribed(dialect, session, channel)
    }

    /// Whether the session is subscribed to the channel, and has been told so.
    pub(crate) fn is_confirmed(
        &self,
        dialect: DialectKind,
        session: Session,
        channel: ChannelId,
    ) -> bool {
        self.dialects.is_confirmed(dialect, session, channel)
    }

    /// The form of a session's subscription to a channel, where not all have the same.
    pub(crate) fn form_of(
        &self,
        dialect: DialectKind,
        session: Session,
        channel: ChannelId,
    ) -> Option<Form> {
        self.dialects.form_of(dialect, session, channel)
    }

    /// The realm that a session is in.
    pub(crate) fn realm(&self, dialect: DialectKind, session: Session) -> Option<u16> {
        self.dialects.realm(dialect, session)
    }

    /// The open session with its realm.
    pub(crate) fn member(&self, dialect: DialectKind, session: Session) -> Option<Member> {
        self.dialects.member(dialect, session)
    }

    /// The same once, when the session leaves its realm.
    pub(crate) fn leave(&mut self, dialect: DialectKind, session: Session) -> Option<Member> {
        self.dialects.leave(dialect, session)
    }

    /// Names what a session is subscribed to.
    pub(crate) fn each_subscription(
        &self,
        dialect: DialectKind,
        session: Session,
        visit: &mut dyn FnMut(ChannelId),
    ) {
        self.dialects.each_subscription(dialect, session, visit);
    }

    /// Whether a publication for these receivers is for the session.
    pub(crate) fn is_receiver(
        &self,
        dialect: DialectKind,
        session: Session,
        identity: Option<&Identity>,
        receivers: &Receivers,
    ) -> bool {
        self.dialects
            .is_receiver(dialect, session, identity, receivers)
    }

    /// The client's number, by which other clients know it, where its dialect has one.
    pub(crate) fn client(&self, dialect: DialectKind, session: Session) -> Option<u64> {
        self.dialects.client(dialect, session)
    }

    /// Whether the session has asked to be told who comes to a channel and who leaves it.
    pub(crate) fn is_told_of_members(
        &self,
        dialect: DialectKind,
        session: Session,
        channel: ChannelId,
    ) -> bool {
        self.dialects.is_told_of_members(dialect, session, channel)
    }

    /// The server subscribes a session to a channel.
    pub(crate) fn begin_subscription(
        &mut self,
        dialect: DialectKind,
        session: Session,
        name: &str,
    ) -> Option<(Form, u64)> {
        self.dialects.begin_subscription(dialect, session, name)
    }

    /// By what name the client of a session sends, if it has no WebSocket.
    pub(crate) fn emulation(&self, dialect: DialectKind, session: Session) -> Option<&str> {
        self.dialects.emulation(dialect, session)
    }

    /// The connection ends without a close frame. Look at [`Sessions::replies`] after each call.
    pub(crate) fn say_close(
        &mut self,
        dialect: DialectKind,
        session: Session,
        close: (CloseCode, &str),
    ) {
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut || next_id(&mut self.random),
        };
        self.dialects.say_close(dialect, session, close, &mut cx);
    }

    /// The same of one user, where subscribers are told of users.
    pub(crate) fn is_told_of_user(
        &self,
        dialect: DialectKind,
        session: Session,
        channel: ChannelId,
        change: (&str, u64),
    ) -> bool {
        self.dialects
            .is_told_of_user(dialect, session, channel, change)
    }

    /// As whom a session joins the channel that it is about to subscribe to, if not as its client's user.
    pub(crate) fn joins_as(
        &self,
        dialect: DialectKind,
        session: Session,
    ) -> Option<(UserName, Option<Arc<MemberInfo>>)> {
        self.dialects.joins_as(dialect, session)
    }

    /// Ends a subscription of a session. Look at [`Sessions::replies`] after each call.
    pub(crate) fn end_subscription(
        &mut self,
        dialect: DialectKind,
        session: Session,
        channel: (ChannelId, &str),
    ) -> Option<Form> {
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut || next_id(&mut self.random),
        };
        self.dialects
            .end_subscription(dialect, session, channel, &mut cx)
    }

    /// Takes one of its subscriptions out of a session.
    pub(crate) fn pop_subscription(
        &mut self,
        dialect: DialectKind,
        session: &mut Session,
    ) -> Option<(ChannelId, Form)> {
        self.dialects.pop_subscription(dialect, session)
    }

    /// Cuts the tables down to what is needed; returns the bytes that were freed.
    pub(crate) fn shrink(&mut self) -> usize {
        self.dialects.shrink()
    }
}

/// A number for a session id, from 1 to 2^53. Not secret; WAMP wants them spread, not unguessable.
fn next_id(random: &mut SplitMix64) -> u64 {
    (random.next_u64() & ((1 << 53) - 1)) + 1
}
