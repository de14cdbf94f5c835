//! Pusher's protocol as a [`Dialect`]: the sessions of one reactor, and what messages and events do.

use std::sync::Arc;

use roost_access::{Identity, Method, PermissionSet, Provider, TokenMark, UserName};
use roost_auth::PusherApp;
use roost_hub::{ChannelId, EventIds, MemberInfo, PresenceView};
use roost_wire::{Frozen, Opcode};
use slab::Slab;

use super::codes::{self, Fault};
use super::request::{self, Publish, Request, SignIn, Subscribe};
use super::session::{Membership, Pending, Session};
use super::socket_id::socket_id;
use super::{Kind, SessionState, Settings, accept, encode, reply, subscribe};
use crate::dialect::{
    self, Accept, Command, Context, Dialect, Event, Input, Message, Next, Offer, Recovered,
    Refusal, Request as Asked, Target, Terms,
};
use crate::{Form, PayloadRef, Publication, PublishDetails, Receivers};

/// The sessions here.
pub struct Pusher {
    settings: Arc<Settings>,
    sessions: Slab<Session>,
    /// Of the subscription that was asked for last.
    token: u64,
    /// As whom it joins.
    joining: Option<(UserName, Option<Arc<MemberInfo>>)>,
    /// What clients that have signed in may do by that.
    role: Arc<PermissionSet>,
}

impl Dialect for Pusher {
    const NAME: &'static str = "pusher";
    const FORMS: &'static [&'static str] = &encode::FORMS;
    const PINGS: bool = true;
    const GREETS: bool = true;
    const ANSWERS_WITH_RECOVERED: bool = true;
    const ANSWERS_WITH_MEMBERS: bool = true;
    type Settings = Settings;
    type State = SessionState;

    fn new(settings: Arc<Settings>) -> Pusher {
        Pusher {
            settings,
            sessions: Slab::new(),
            token: 0,
            joining: None,
            role: Arc::new(PermissionSet::of_role(ROLE, Vec::new())),
        }
    }

    fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
        accept::accept(settings, offer)
    }

    fn open(
        &mut self,
        _: Option<&str>,
        terms: Terms,
        joined: Option<ChannelId>,
    ) -> dialect::Session {
        debug_assert_eq!(joined, None, "it joins no channel");
        dialect::Session::at(self.sessions.insert(Session::new(terms.number)))
    }

    fn next<'a>(
        &mut self,
        session: dialect::Session,
        input: &mut Input<'a>,
        cx: &mut Context<'_>,
    ) -> Option<Command<'a>> {
        self.joining = None;
        let message = input.take()?;
        cx.replies.message(Opcode::Text, |out| {
            let Message::Text(text) = message else {
                reply::error(out, codes::MALFORMED);
                return None;
            };
            match request::parse(text) {
                Ok(request) => self.handle(session, request, out),
                Err(request::Malformed) => {
                    reply::error(out, codes::MALFORMED);
                    None
                }
            }
        })
    }

    fn on(&mut self, session: dialect::Session, event: Event<'_>, cx: &mut Context<'_>) -> Next {
        let settings = &*self.settings;
        let Some(session) = self.sessions.get_mut(session.index()) else {
            return Next::Continue;
        };
        match event {
            Event::Greeting => greet(session, settings, cx),
            Event::Subscribed {
                token, recovery, ..
            } => on_subscribed((session, settings), token, recovery, cx),
            Event::Presence { token, view } => on_members(session, settings, (token, view), cx),
            Event::GrantExpired { channel, .. } | Event::Missed { channel, .. } => {
                session.remove(channel);
                let form = form_of(settings, session);
                Next::Unsubscribe { channel, form }
            }
            Event::AuthenticationOver(_) if !session.is_authorized => {
                end(codes::NOT_AUTHORIZED, cx)
            }
            Event::PingDue => {
                let replies = &mut *cx.replies;
                replies.message(Opcode::Text, |out| reply::bare(out, "pusher:ping"));
                Next::Continue
            }
            _ => match fault_of(&event) {
                Some(fault) => end(fault, cx),
                None => {
                    on_answer((session, settings), &event, cx);
                    Next::Continue
                }
            },
        }
    }

    fn pop_subscription(&mut self, session: &mut dialect::Session) -> Option<(ChannelId, Form)> {
        // The session stays, to answer what still comes.
        let session = self.sessions.get_mut(session.index())?;
        let channel = session.any()?;
        session.remove(channel);
        Some((channel, form_of(&self.settings, session)))
    }

    fn is_subscribed(&self, session: dialect::Session, channel: ChannelId) -> bool {
        let session = self.sessions.get(session.index());
        session.is_some_and(|session| session.has(channel))
    }

    fn end_subscription(
        &mut self,
        session: dialect::Session,
        (channel, name): (ChannelId, &str),
        cx: &mut Context<'_>,
    ) -> Option<Form> {
        let session = self.sessions.get_mut(session.index())?;
        if !session.has(channel) {
            return None;
        }
        session.remove(channel);
        let channel = shown(&self.settings, session, name);
        cx.replies.message(Opcode::Text, |out| {
            let ended = "the application has ended this subscription";
            reply::denied(out, channel, ("AuthError", 401), ended);
        });
        Some(form_of(&self.settings, session))
    }

    fn each_subscription(&self, session: dialect::Session, visit: &mut dyn FnMut(ChannelId)) {
        if let Some(session) = self.sessions.get(session.index()) {
            session.each(visit);
        }
    }

    fn is_receiver(
        &self,
        session: dialect::Session,
        _: Option<&Identity>,
        receivers: &Receivers,
    ) -> bool {
        let client = self.client(session);
        let is_excluded = client.is_some_and(|client| receivers.excludes_session(client));
        // It is no session of WAMP's, whose lists say who may.
        !is_excluded && receivers.admits(None)
    }

    fn client(&self, session: dialect::Session) -> Option<u64> {
        let client = self.sessions.get(session.index())?.client;
        (client > 0).then_some(client)
    }

    fn is_told_of_members(&self, session: dialect::Session, channel: ChannelId) -> bool {
        // How many subscribe, once it is told that it does; where there are members, of users.
        let session = self.sessions.get(session.index());
        session.is_some_and(|session| session.is_plain(channel))
    }

    fn is_told_of_user(
        &self,
        session: dialect::Session,
        channel: ChannelId,
        (user, number): (&str, u64),
    ) -> bool {
        let session = self.sessions.get(session.index());
        // Before it is told who is there, it is told of nobody; and of itself, never.
        let own = session.and_then(|session| session.membership(channel));
        // What was told before its answer is in that, also where it is given to it only now.
        own.is_some_and(|own| own.user_id != user && number > own.told)
    }

    fn joins_as(&self, _: dialect::Session) -> Option<(UserName, Option<Arc<MemberInfo>>)> {
        self.joining.clone()
    }

    fn close(&mut self, session: dialect::Session) {
        self.take(session);
    }

    fn export(&mut self, session: dialect::Session) -> SessionState {
        let session = self.take(session);
        session.unwrap_or_else(|| Session::new(0)).into_state()
    }

    fn import(&mut self, state: SessionState) -> dialect::Session {
        dialect::Session::at(self.sessions.insert(Session::from_state(state)))
    }

    fn carries(_: u8, publication: &Publication) -> bool {
        encode::carries(publication)
    }

    fn encode(form: u8, publication: &Publication, _: EventIds, channel: &str) -> Frozen {
        encode::encode(form, publication, channel)
    }

    fn encode_recovered(_: u8, publication: &Publication, _: EventIds) -> Frozen {
        encode::recovered(publication)
    }

    fn memory_bytes(&self) -> usize {
        let sessions = self.sessions.iter();
        let heap = sessions.map(|(_, session)| session.heap_bytes());
        self.sessions.capacity() * SESSION_BYTES + heap.sum::<usize>()
    }

    fn shrink(&mut self) -> usize {
        let before = self.sessions.capacity();
        if before > SESSIONS_KEPT && before / 4 > self.sessions.len() {
            self.sessions.shrink_to_fit(); // as far as the last session
        }
        (before - self.sessions.capacity()) * SESSION_BYTES
    }
}

impl Pusher {
    fn take(&mut self, session: dialect::Session) -> Option<Session> {
        let session = self.sessions.try_remove(session.index());
        if self.sessions.is_empty() && self.sessions.capacity() > SESSIONS_KEPT {
            self.sessions = Slab::new();
        }
        session
    }

    /// Carries out a message, as far as that is done here.
    fn handle<'a>(
        &mut self,
        session: dialect::Session,
        request: Request<'a>,
        out: &mut Vec<u8>,
    ) -> Option<Command<'a>> {
        let session = self.sessions.get_mut(session.index())?;
        let settings = &*self.settings;
        let app = app_of(settings, session)?;
        match request {
            Request::Ping => {
                reply::bare(out, "pusher:pong");
                None
            }
            Request::Pong | Request::Unknown => None,
            Request::Subscribe(asked) => {
                self.token += 1;
                let asked = (&asked, self.token);
                let (command, joining) = handle_subscribe(session, (settings, app), asked, out)?;
                self.joining = joining;
                Some(command)
            }
            Request::Unsubscribe(channel) => {
                let name = subscribe::whole_name(settings, app, &channel)?;
                Some(Command::UnsubscribeFrom {
                    channel: name.into(),
                    form: form_of(settings, session),
                    token: 0,
                })
            }
            Request::SignIn(sign_in) => {
                Some(handle_sign_in(session, app, &sign_in, (&self.role, out)))
            }
            Request::Publish(publish) => handle_publish(session, (settings, app), publish, out),
        }
    }
}

/// The application of a session that has one.
fn app_of<'a>(settings: &'a Settings, session: &Session) -> Option<&'a PusherApp> {
    settings.apps.get(accept::app_of(session.app).ok()?)
}

/// How its events are written.
fn form_of(settings: &Settings, session: &Session) -> Form {
    match app_of(settings, session) {
        Some(app) if !app.prefix.is_empty() => Form::PUSHER_PREFIXED,
        _ => Form::PUSHER,
    }
}

/// A channel's name as the client knows it.
fn shown<'a>(settings: &Settings, session: &Session, name: &'a str) -> &'a str {
    let prefix = app_of(settings, session).map_or("", |app| &app.prefix);
    name.strip_prefix(prefix).unwrap_or(name)
}

fn greet(session: &mut Session, settings: &Settings, cx: &mut Context<'_>) -> Next {
    let fault = match accept::app_of(session.app) {
        Ok(app) if app < settings.apps.len() => None,
        Ok(_) => Some(codes::NO_APP),
        Err(fault) => Some(fault),
    };
    if let Some(fault) = fault {
        return end(fault, cx);
    }
    session.client = (cx.new_id)();
    cx.replies.message(Opcode::Text, |out| {
        reply::established(out, session.client, settings.activity_timeout_s);
    });
    match app_of(settings, session) {
        Some(app) if app.authorized_connections => Next::AwaitAuthentication,
        _ => Next::Continue,
    }
}

/// The client is told why, and then the connection ends.
fn end(fault: Fault, cx: &mut Context<'_>) -> Next {
    let replies = &mut *cx.replies;
    replies.message(Opcode::Text, |out| reply::fault(out, fault));
    fault.next()
}

/// With what an event ends the connection, if it does.
fn fault_of(event: &Event<'_>) -> Option<Fault> {
    Some(match event {
        Event::PongMissing => codes::NO_PONG,
        Event::SlowConsumer { .. } => codes::SLOW,
        Event::OverLimit {
            is_refusals: true, ..
        } => codes::TOO_MANY_ERRORS,
        Event::OverLimit { .. } => codes::OVER_LIMIT,
        Event::Expired { .. } | Event::Revoked { .. } => codes::UNAUTHORIZED,
        Event::Disconnected { .. } | Event::Killed { .. } => codes::DISCONNECTED,
        Event::Draining => codes::DRAINING,
        _ => return None,
    })
}

type Joining = Option<(UserName, Option<Arc<MemberInfo>>)>;

fn handle_subscribe<'a>(
    session: &mut Session,
    (settings, app): (&Settings, &PusherApp),
    (asked, token): (&Subscribe, u64),
    out: &mut Vec<u8>,
) -> Option<(Command<'a>, Joining)> {
    let asked = match subscribe::ask(session, (settings, app), asked, token) {
        Ok(asked) => asked,
        Err(refused) => {
            reply::subscription_error(out, &asked.channel, refused);
            return None;
        }
    };
    session.is_authorized |= asked.pending.kind.is_private;
    let joining = asked.pending.member.clone();
    session.begin(asked.pending);
    let command = Command::Subscribe {
        what: asked.what,
        form: form_of(settings, session),
        token,
        grant: asked.grant,
    };
    Some((command, joining))
}

fn handle_sign_in<'a>(
    session: &mut Session,
    app: &PusherApp,
    sign_in: &SignIn,
    (role, out): (&Arc<PermissionSet>, &mut Vec<u8>),
) -> Command<'a> {
    let SignIn { auth, user_data } = sign_in;
    let socket_id = socket_id(session.client);
    let signature = subscribe::signature(app, auth)
        .filter(|signature| app.signing.verifies_user(signature, &socket_id, user_data));
    let user = signature.and_then(|_| request::user_id(user_data));
    let user = user.filter(|user| session.user().is_empty() || session.user() == user.as_str());
    let Some(user) = user else {
        let Fault { code, reason } = codes::UNAUTHORIZED;
        reply::fault(out, codes::UNAUTHORIZED);
        return Command::Close { code, reason };
    };
    reply::signed_in(out, user_data);
    let identity = Identity {
        user: format!("{}{user}", app.prefix).into(),
        permissions: role.clone(),
        expires: None,
        method: Method::Signature,
        provider: Provider::Static,
        token: TokenMark::default(),
    };
    session.is_authorized = true;
    session.sign_in(user.into());
    Command::Identify(Box::new(identity))
}

fn handle_publish<'a>(
    session: &Session,
    (settings, app): (&Settings, &PusherApp),
    publish: Publish<'a>,
    out: &mut Vec<u8>,
) -> Option<Command<'a>> {
    let Publish {
        event,
        channel,
        data,
    } = publish;
    let kind = Kind::of(&channel);
    let name = subscribe::whole_name(settings, app, &channel);
    let is_name = name.is_some();
    let error = if !event.starts_with(CLIENT_EVENT) {
        codes::UNKNOWN_EVENT
    } else if event.chars().count() > settings.events.name_chars_max
        || event.contains(char::is_control)
    {
        codes::EVENT_NAME
    } else if !app.client_events {
        codes::NO_CLIENT_EVENTS
    } else if !kind.takes_client_events() {
        codes::WRONG_KIND
    } else if data.len() > settings.client_event_bytes_max {
        codes::EVENT_SIZE
    } else if let Some(name) = name {
        let own = session.membership_of(&name);
        return Some(Command::Publish {
            channel: Target::Subscribed(name.into()),
            payload: PayloadRef::Json(data),
            exclude_me: Some(true),
            ack: None,
            details: Some(Arc::new(PublishDetails {
                event: Some(event.into()),
                user_id: own.map(|own| own.user_id.as_str().into()),
                has_number: own.is_some_and(|own| own.has_number()),
                ..PublishDetails::default()
            })),
        });
    } else {
        codes::NOT_SUBSCRIBED
    };
    match is_name {
        true => reply::error_on(out, &channel, error),
        false => reply::error(out, error),
    }
    None
}

/// The subscription is in force: it is answered, or waits for who is there.
fn on_subscribed(
    (session, settings): (&mut Session, &Settings),
    token: u64,
    recovery: Option<Recovered<'_>>,
    cx: &mut Context<'_>,
) -> Next {
    let Some(pending) = session.pending(token) else {
        return Next::Continue; // it has ended meanwhile
    };
    if let Some(Recovered::Publications(publications)) = recovery {
        let last = publications.last().and_then(|(_, frozen)| frozen.payload());
        pending.cached = last.map(Into::into);
    }
    if pending.member.is_some() {
        return Next::Continue;
    }
    let name = pending.name.clone();
    let (number, is_cached) = (pending.channel, pending.kind.is_cached);
    let cached = pending.cached.take();
    session.end(token);
    let channel = shown(settings, session, &name);
    cx.replies
        .message(Opcode::Text, |out| reply::subscribed(out, channel));
    match number.filter(|_| is_cached) {
        Some(number) => tell_cached((channel, number), cached.as_deref(), cx),
        None => Next::Continue,
    }
}

/// The last event of a channel that keeps one, or that there is none.
fn tell_cached(
    (channel, number): (&str, ChannelId),
    cached: Option<&[u8]>,
    cx: &mut Context<'_>,
) -> Next {
    cx.replies.message(Opcode::Text, |out| match cached {
        Some(cached) => encode::write_recovered(out, channel, cached),
        None => reply::cache_miss(out, channel),
    });
    match cached {
        Some(_) => Next::Continue,
        None => Next::CacheMissed { channel: number },
    }
}

/// Who is in a presence channel: the subscription is answered, or refused after all.
fn on_members(
    session: &mut Session,
    settings: &Settings,
    (token, view): (u64, &PresenceView),
    cx: &mut Context<'_>,
) -> Next {
    let Some(pending) = session.end(token) else {
        return Next::Continue;
    };
    let Pending {
        token: _,
        name,
        channel: Some(channel),
        kind,
        member: Some((user_id, info)),
        cached,
    } = pending
    else {
        debug_assert!(false, "it is a subscription to a presence channel");
        return Next::Continue;
    };
    let shown = shown(settings, session, &name);
    let is_there = view
        .members
        .iter()
        .any(|member| member.user.as_str() == user_id.as_str());
    let is_full = !is_there && view.counts.users > settings.members_per_channel_max;
    if is_full || view.is_truncated {
        let refused = match is_full {
            true => codes::TOO_MANY_MEMBERS,
            false => codes::NO_ROOM,
        };
        cx.replies.message(Opcode::Text, |out| {
            reply::subscription_error(out, shown, refused);
        });
        session.remove(channel);
        let form = form_of(settings, session);
        return Next::Unsubscribe { channel, form };
    }
    let own = Membership {
        channel,
        name: name.clone(),
        user_id,
        info,
        told: view.told,
    };
    cx.replies.message(Opcode::Text, |out| {
        reply::subscribed_with(out, shown, &view.members, &own);
    });
    let next = match kind.is_cached {
        true => tell_cached((shown, channel), cached.as_deref(), cx),
        false => Next::Continue,
    };
    session.join(own);
    next
}

/// A message is answered, and nothing ends.
fn on_answer(
    (session, settings): (&mut Session, &Settings),
    event: &Event<'_>,
    cx: &mut Context<'_>,
) {
    match *event {
        Event::Subscribing {
            token,
            channel,
            form: _,
        } => {
            if session.pending(token).is_none() {
                return;
            }
            if session.add(channel) {
                if let Some(pending) = session.pending(token) {
                    pending.channel = Some(channel);
                }
                return;
            }
            session.end(token);
            cx.replies
                .message(Opcode::Text, |out| reply::error(out, codes::EXISTING));
        }
        Event::UnsubscribedFrom {
            channel: Some(channel),
            ..
        } => session.remove(channel),
        Event::SubscriptionRefused {
            token,
            channel,
            refusal,
        } => {
            refuse((session, settings), token, refusal, cx);
            session.remove(channel);
        }
        Event::Refused {
            request: Asked::Subscribe | Asked::Presence,
            token: Some(token),
            refusal,
        } => refuse((session, settings), token, refusal, cx),
        Event::Refused {
            request: Asked::Publish,
            refusal,
            ..
        } => {
            let error = match refusal {
                Refusal::TooOften => codes::RATE,
                _ => codes::NOT_SUBSCRIBED,
            };
            cx.replies
                .message(Opcode::Text, |out| reply::error(out, error));
        }
        _ => {} // it asks for none of the others, or is told of none
    }
}

/// A subscription is not to be.
fn refuse(
    (session, settings): (&mut Session, &Settings),
    token: u64,
    refusal: Refusal,
    cx: &mut Context<'_>,
) {
    let Some(pending) = session.end(token) else {
        return;
    };
    let channel = shown(settings, session, &pending.name);
    cx.replies.message(Opcode::Text, |out| match refusal {
        Refusal::NotAllowed(denial) => {
            reply::denied(out, channel, ("AuthError", 401), denial.message());
        }
        Refusal::InvalidName => reply::subscription_error(out, channel, codes::BAD_NAME),
        _ => reply::subscription_error(out, channel, codes::NO_ROOM),
    });
}

/// The role of clients that have signed in.
const ROLE: &str = "pusher";
/// With what events of clients begin.
const CLIENT_EVENT: &str = "client-";
/// An entry of the sessions' table.
const SESSION_BYTES: usize = size_of::<Session>() + size_of::<usize>();
/// Room for so many sessions is kept when the last has ended.
const SESSIONS_KEPT: usize = 64;
