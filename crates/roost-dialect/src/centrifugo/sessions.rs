//! Centrifugo's protocol as a [`Dialect`]: the sessions of one reactor, and what commands and events do.

use std::borrow::Cow;
use std::sync::Arc;

use roost_access::{Operation, UserName, is_protected};
use roost_hub::{ChannelId, EventIds, MemberInfo, PresenceView};
use roost_wire::{CloseCode, Frozen};
use slab::Slab;

use super::codes::{self, Disconnect};
use super::connect;
use super::grants::{self, Shown};
use super::protobuf::commands;
use super::protobuf::wire::take_delimited;
use super::push::{has_words, part, push};
use super::recovery;
use super::reply::Lines;
use super::request::{self, Malformed, Publish, Request as Asked, Subscribe, named};
use super::result::{Method, Subscribed};
use super::rpc;
use super::served;
use super::session::{SESSION_BYTES, Session};
use super::step::Step;
use super::subscriptions::CONFIRMED;
use super::token::{self, number as number_of};
use super::transport::Transport;
use super::{SessionState, Settings, accept};
use crate::dialect::{
    self, Accept, Command, Context, Dialect, Event, Grant, Input, Message, Next, Offer, Target,
    Terms, TokenText,
};
use crate::json::Text;
use crate::{Form, Publication, check_channel_name};

/// The sessions here.
pub struct Centrifugo {
    settings: Arc<Settings>,
    sessions: Slab<Session>,
}

impl Dialect for Centrifugo {
    const NAME: &'static str = "centrifugo";
    const FORMS: &'static [&'static str] = &[
        "centrifugo.json",
        "centrifugo.lines",
        "centrifugo.events",
        "centrifugo.protobuf",
        "centrifugo.protobuf-stream",
        "centrifugo.json.delta",
        "centrifugo.lines.delta",
        "centrifugo.events.delta",
        "centrifugo.protobuf.delta",
        "centrifugo.protobuf-stream.delta",
    ];
    const PINGS: bool = true;
    const ANSWERS_WITH_RECOVERED: bool = true;
    const HOLDS_POSITIONS: bool = true;
    type Settings = Settings;
    type State = SessionState;

    fn new(settings: Arc<Settings>) -> Centrifugo {
        Centrifugo {
            settings,
            sessions: Slab::new(),
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
        let transport = Transport::of_terms(terms.number);
        dialect::Session::at(self.sessions.insert(Session::of(transport)))
    }

    fn next<'a>(
        &mut self,
        session: dialect::Session,
        input: &mut Input<'a>,
        cx: &mut Context<'_>,
    ) -> Option<Command<'a>> {
        let new_id = &mut *cx.new_id;
        let transport = self.transport(session);
        cx.replies.message(transport.opcode(), |out| {
            let mut lines = Lines::new(out, transport);
            loop {
                let before = *input;
                let said = take(input, transport);
                let step = said.and_then(|said| match self.next_of_connect(session) {
                    Some(step) => Ok(step),
                    None => self.handle(session, said, &mut lines, new_id),
                });
                match step {
                    Ok(Step::Done) => {}
                    Ok(Step::Command(command)) => return Some(command),
                    Ok(Step::Redraw(command)) => {
                        *input = before;
                        return Some(command);
                    }
                    Ok(Step::CheckToken(token)) => {
                        *input = before;
                        return Some(Command::CheckToken(token.map(TokenText)));
                    }
                    Ok(Step::CheckSubscription(token, channel)) => {
                        *input = before;
                        return Some(Command::CheckSubscription(TokenText(token), channel));
                    }
                    Err(disconnect) => return Some(close(disconnect)),
                }
                if input.is_empty() {
                    return None;
                }
            }
        })
    }

    fn on(&mut self, session: dialect::Session, event: Event<'_>, cx: &mut Context<'_>) -> Next {
        let ping_s = self.settings.ping_interval_s;
        let Some(session) = self.sessions.get_mut(session.index()) else {
            return Next::Continue;
        };
        let transport = session.transport();
        cx.replies.message(transport.opcode(), |out| {
            on_event(session, &event, ping_s, &mut Lines::new(out, transport))
        })
    }

    fn pop_subscription(&mut self, session: &mut dialect::Session) -> Option<(ChannelId, Form)> {
        // The session stays, to answer what still comes.
        let session = self.sessions.get_mut(session.index())?;
        let channel = session.subscriptions.pop()?;
        let form = session.form_of(channel);
        session.unsubscribed(channel);
        Some((channel, form))
    }

    fn is_subscribed(&self, session: dialect::Session, channel: ChannelId) -> bool {
        let session = self.sessions.get(session.index());
        session.is_some_and(|session| session.subscriptions.pending(channel).is_some())
    }

    fn end_subscription(
        &mut self,
        session: dialect::Session,
        (channel, name): (ChannelId, &str),
        cx: &mut Context<'_>,
    ) -> Option<Form> {
        let session = self.sessions.get_mut(session.index())?;
        if session.subscriptions.pending(channel) != Some(CONFIRMED) {
            return None;
        }
        session.subscriptions.remove(channel);
        let form = session.form_of(channel);
        session.unsubscribed(channel);
        let transport = session.transport();
        cx.replies.message(transport.opcode(), |out| {
            Lines::new(out, transport).unsubscribed(name, codes::SERVER_UNSUBSCRIBE);
        });
        Some(form)
    }

    fn form_of(&self, session: dialect::Session, channel: ChannelId) -> Option<Form> {
        let session = self.sessions.get(session.index())?;
        Some(session.form_of(channel))
    }

    fn each_subscription(&self, session: dialect::Session, visit: &mut dyn FnMut(ChannelId)) {
        if let Some(session) = self.sessions.get(session.index()) {
            session.subscriptions.each(visit);
        }
    }

    fn client(&self, session: dialect::Session) -> Option<u64> {
        self.sessions.get(session.index())?.client()
    }

    fn joins_as(&self, session: dialect::Session) -> Option<(UserName, Option<Arc<MemberInfo>>)> {
        self.sessions.get(session.index())?.joins_as()
    }

    fn is_told_of_members(&self, session: dialect::Session, channel: ChannelId) -> bool {
        let session = self.sessions.get(session.index());
        session.is_some_and(|session| session.is_told(channel))
    }

    fn close(&mut self, session: dialect::Session) {
        self.take(session);
    }

    fn export(&mut self, session: dialect::Session) -> SessionState {
        self.take(session).unwrap_or_default().into_state()
    }

    fn import(&mut self, state: SessionState) -> dialect::Session {
        dialect::Session::at(self.sessions.insert(Session::from_state(state)))
    }

    fn begin_subscription(&mut self, session: dialect::Session, name: &str) -> Option<(Form, u64)> {
        let subscriptions_max = self.settings.subscriptions_per_connection_max;
        let session = self.sessions.get_mut(session.index())?;
        if session.subscriptions.len() >= subscriptions_max {
            return None;
        }
        let number = session.announce(name)?;
        session.subscribes_with(None);
        Some((session.transport().form(), token::of_served(Some(number))))
    }

    fn emulation(&self, session: dialect::Session) -> Option<&str> {
        self.sessions.get(session.index())?.emulation()
    }

    fn say_close(
        &mut self,
        session: dialect::Session,
        (code, reason): (CloseCode, &str),
        cx: &mut Context<'_>,
    ) {
        let transport = self.transport(session);
        cx.replies.message(transport.opcode(), |out| {
            Lines::new(out, transport).disconnected(code.get(), reason);
        });
    }

    /// `{"push":{"channel":…,"pub":{"data":…,"info":…}}}`, or the same in Protobuf; the parts copied once.
    fn encode(form: u8, publication: &Publication, _: EventIds, channel: &str) -> Frozen {
        push(Transport::of_form(form), publication, channel, None)
    }

    /// The same with `"offset":…`.
    fn encode_kept(
        form: u8,
        publication: &Publication,
        ids: EventIds,
        channel: &str,
        _: u64,
    ) -> Frozen {
        push(
            Transport::of_form(form),
            publication,
            channel,
            Some(ids.offset),
        )
    }

    fn encode_recovered(form: u8, publication: &Publication, ids: EventIds) -> Frozen {
        part(Transport::of_form(form), publication, ids.offset)
    }

    fn carries(form: u8, publication: &Publication) -> bool {
        has_words(Transport::of_form(form).0, publication)
    }

    fn memory_bytes(&self) -> usize {
        let heap = self
            .sessions
            .iter()
            .map(|(_, session)| session.heap_bytes());
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

impl Centrifugo {
    fn transport(&self, session: dialect::Session) -> Transport {
        let session = self.sessions.get(session.index());
        session.map_or_else(Transport::default, Session::transport)
    }

    fn take(&mut self, session: dialect::Session) -> Option<Session> {
        let session = self.sessions.try_remove(session.index());
        if self.sessions.is_empty() && self.sessions.capacity() > SESSIONS_KEPT {
            self.sessions = Slab::new();
        }
        session
    }

    /// What the line of a `connect` asks for next that waits for subscriptions.
    fn next_of_connect<'a>(&mut self, session: dialect::Session) -> Option<Step<'a>> {
        served::next_step(self.sessions.get_mut(session.index())?)
    }

    /// Carries out one command, as far as that is done here.
    fn handle<'a>(
        &mut self,
        session: dialect::Session,
        said: Said<'a>,
        lines: &mut Lines<'_>,
        new_id: &mut dyn FnMut() -> u64,
    ) -> Result<Step<'a>, Disconnect> {
        let Some(session) = self.sessions.get_mut(session.index()) else {
            return Ok(Step::Done);
        };
        let (id, request) = match said {
            Said::Line(line) => request::parse(line)?,
            Said::Message(message) => commands::parse(message)?,
        };
        if !session.is_connected() && !matches!(request, Asked::Connect(_)) {
            return Err(codes::MALFORMED);
        }
        match request {
            Asked::Pong => Ok(Step::Done),
            Asked::Connect(connect) => {
                connect::handle_connect(session, id, connect, &self.settings, (lines, new_id))
            }
            Asked::Subscribe(subscribe) => {
                handle_subscribe(session, id, subscribe, &self.settings, lines)
            }
            Asked::Unsubscribe(Text(channel)) => Ok(Step::Command(Command::UnsubscribeFrom {
                channel,
                form: session.transport().form(),
                token: u64::from(id),
            })),
            Asked::Publish(publish) => handle_publish(session, id, publish, &self.settings, lines),
            Asked::Refresh(refresh) => connect::handle_refresh(session, id, refresh, lines),
            Asked::Presence {
                channel: Text(channel),
                counts_only,
            } => Ok(handle_presence(
                id,
                (channel, counts_only),
                &self.settings,
                lines,
            )),
            Asked::Rpc(rpc) => rpc::handle_rpc(id, rpc, lines),
            Asked::History(history) => recovery::handle_history(id, history, &self.settings, lines),
            Asked::SubRefresh(refresh) => {
                grants::handle_sub_refresh(session, id, refresh, &self.settings, lines)
            }
            Asked::Send => Err(codes::SEND_NOT_AVAILABLE),
            Asked::Unavailable => {
                lines.error(id, codes::NOT_AVAILABLE);
                Ok(Step::Done)
            }
        }
    }
}

/// One command, in the session's encoding.
#[derive(Debug, Clone, Copy)]
enum Said<'a> {
    Line(&'a str),
    Message(&'a [u8]),
}

/// Takes the next command.
fn take<'a>(input: &mut Input<'a>, transport: Transport) -> Result<Said<'a>, Disconnect> {
    if !transport.is_protobuf() {
        let line = input.take_text_until('\n').map(Said::Line);
        return line.ok_or(codes::INAPPROPRIATE_PROTOCOL);
    }
    let Some(Message::Binary(mut rest)) = input.take() else {
        return Err(codes::INAPPROPRIATE_PROTOCOL);
    };
    // What is cut off is not awaited: a message has whole commands.
    let message = take_delimited(&mut rest)?;
    if !rest.is_empty() {
        *input = Input::new(Message::Binary(rest));
    }
    Ok(Said::Message(message))
}

impl From<Malformed> for Disconnect {
    fn from(Malformed: Malformed) -> Disconnect {
        codes::MALFORMED
    }
}

fn handle_presence<'a>(
    id: u32,
    (channel, counts_only): (Cow<'a, str>, bool),
    settings: &Settings,
    lines: &mut Lines<'_>,
) -> Step<'a> {
    if check_channel_name(&channel, settings.channel_name_bytes_max).is_err() {
        lines.error(id, codes::BAD_REQUEST);
        return Step::Done;
    }
    // Which of the two it is, its answer has to say.
    let token = u64::from(id) | if counts_only { STATS } else { 0 };
    Step::Command(Command::AskPresence {
        channel,
        counts_only,
        token,
    })
}

fn on_presence(token: u64, view: &PresenceView, lines: &mut Lines<'_>) {
    match token & STATS {
        0 => lines.presence(number_of(token), view),
        _ => lines.presence_stats(number_of(token & !STATS), view.counts),
    }
}

fn handle_subscribe<'a>(
    session: &mut Session,
    id: u32,
    mut subscribe: Subscribe<'a>,
    settings: &Settings,
    lines: &mut Lines<'_>,
) -> Result<Step<'a>, Disconnect> {
    let Text(channel) = named(subscribe.channel.take())?;
    let token = subscribe.token.take().map(|Text(token)| token);
    let delta = subscribe.delta.as_ref().map_or("", |Text(delta)| delta);
    let wants_deltas = delta == FOSSIL;
    let error = if check_channel_name(&channel, settings.channel_name_bytes_max).is_err()
        || subscribe.filter.is_some()
        || !(wants_deltas || delta.is_empty())
    {
        codes::BAD_REQUEST
    } else if subscribe.kind != 0 {
        codes::NOT_AVAILABLE
    } else if session.subscriptions.len() >= settings.subscriptions_per_connection_max {
        codes::LIMIT_EXCEEDED
    } else {
        let token = token.filter(|token| !token.is_empty());
        let grant = match token.map(|token| grants::look(session, token)) {
            None => Ok((None, None)),
            Some(Shown::Granted(grant, info)) => Ok((Some(grant), info)),
            Some(Shown::Unchecked(token)) => return Ok(Step::CheckSubscription(token, channel)),
            Some(Shown::Refused(error)) => Err(error),
        };
        match grant {
            Ok((grant, info)) => {
                session.subscribes_with(info);
                if subscribe.join_leave {
                    session.ask_to_be_told(id);
                }
                let form = match wants_deltas {
                    true => session.transport().delta_form(),
                    false => session.transport().form(),
                };
                return Ok(subscribe_step(id, form, &subscribe, channel, grant));
            }
            Err(error) => error,
        }
    };
    session.take_outcome(); // of a token that no longer counts
    lines.error(id, error);
    Ok(Step::Done)
}

fn subscribe_step<'a>(
    id: u32,
    form: Form,
    subscribe: &Subscribe<'a>,
    channel: Cow<'a, str>,
    grant: Option<Grant>,
) -> Step<'a> {
    let (what, token) = recovery::asked(id, subscribe, channel, grant);
    Step::Command(Command::Subscribe {
        what,
        form,
        token,
        grant,
    })
}

fn handle_publish<'a>(
    session: &mut Session,
    id: u32,
    publish: Publish<'a>,
    settings: &Settings,
    lines: &mut Lines<'_>,
) -> Result<Step<'a>, Disconnect> {
    let Publish {
        channel,
        data,
        kind,
    } = publish;
    let Text(channel) = named(channel)?;
    let is_good = check_channel_name(&channel, settings.channel_name_bytes_max).is_ok();
    let error = match data {
        _ if kind != 0 => codes::NOT_AVAILABLE,
        _ if is_protected(Operation::Publish, &channel) => codes::PERMISSION_DENIED,
        Some(data) if is_good => {
            return Ok(Step::Command(Command::Publish {
                channel: Target::Name(channel),
                payload: data.payload(),
                // A publisher gets what it publishes, if it subscribes.
                exclude_me: Some(false),
                ack: Some(u64::from(id)),
                details: Some(session.details()),
            }));
        }
        _ => codes::BAD_REQUEST,
    };
    lines.error(id, error);
    Ok(Step::Done)
}

/// The answer to an unsubscribe, behind that to a subscribe that is under way.
fn on_unsubscribed(
    session: &mut Session,
    id: u32,
    channel: Option<ChannelId>,
    lines: &mut Lines<'_>,
) {
    if let Some(channel) = channel {
        session.unsubscribed(channel);
    }
    let pending = channel.and_then(|channel| session.subscriptions.remove(channel));
    // What was under way is over: both are answered, in their order.
    if let Some(pending) = pending.filter(|&pending| pending != CONFIRMED) {
        session.subscribed(pending, None);
        lines.done(pending, Method::Subscribe);
    }
    lines.done(id, Method::Unsubscribe);
}

/// Something happened, and may end a subscription or the connection.
fn on_event(session: &mut Session, event: &Event<'_>, ping_s: u32, lines: &mut Lines<'_>) -> Next {
    match *event {
        Event::Subscribed {
            token,
            channel,
            topic: _,
            snapshot,
            recovers,
            recovery,
        } => {
            let subscribed = Subscribed {
                channel,
                snapshot,
                recovers,
                recovery,
                has_deltas: session.form_of(channel).has_deltas(),
            };
            match token::served(token) {
                None => recovery::on_subscribed(session, token, &subscribed, lines),
                Some(place) => served::on_subscribed(session, place, &subscribed, lines),
            }
        }
        Event::Missed { channel, name } => {
            recovery::end(session, channel, name, codes::INSUFFICIENT, lines)
        }
        Event::GrantExpired { channel, name } => {
            recovery::end(session, channel, name, codes::SUBSCRIPTION_EXPIRED, lines)
        }
        Event::PingDue if session.is_connected() => {
            lines.ping();
            Next::Continue
        }
        Event::PingDue => codes::STALE.next(),
        Event::PongMissing => codes::NO_PONG.next(),
        Event::SlowConsumer { .. } => codes::SLOW.next(),
        Event::OverLimit { is_refusals, .. } => match is_refusals {
            true => codes::TOO_MANY_ERRORS.next(),
            false => codes::RATE_LIMITED.next(),
        },
        Event::AuthenticationOver(_) => codes::SERVER_ERROR.next(),
        Event::Expired { .. } => codes::EXPIRED.next(),
        Event::Revoked { .. } => codes::INVALID_TOKEN.next(),
        Event::Draining => codes::SHUTDOWN.next(),
        Event::SubscriptionsAwaited => served::on_awaited(session),
        Event::WaitEnded { positions } => {
            served::on_wait_ended(session, positions, ping_s, lines);
            Next::Continue
        }
        Event::SubscriptionRefused { token, channel, .. } if token::served(token).is_some() => {
            let place = token::served(token).flatten();
            served::on_refused(session, place, Some(channel))
        }
        Event::Refused {
            token: Some(token), ..
        } if token::served(token).is_some() => {
            served::on_refused(session, token::served(token).flatten(), None)
        }
        _ => {
            on_answer(session, event, lines);
            Next::Continue
        }
    }
}

/// A subscription is under way, unless it is one that there is.
fn on_subscribing(
    session: &mut Session,
    (token, channel, form): (u64, ChannelId, Form),
    lines: &mut Lines<'_>,
) {
    if let Some(place) = token::served(token) {
        return served::on_subscribing(session, channel, place);
    }
    let id = number_of(token);
    if !session.subscriptions.add(channel, id) {
        session.subscribed(id, None);
        lines.error(id, codes::ALREADY_SUBSCRIBED);
    } else if form.has_deltas() {
        session.gets_deltas(channel);
    }
}

/// A command is answered, and nothing ends.
fn on_answer(session: &mut Session, event: &Event<'_>, lines: &mut Lines<'_>) {
    match *event {
        Event::Subscribing {
            token,
            channel,
            form,
        } => on_subscribing(session, (token, channel, form), lines),
        Event::GrantRefreshed {
            token,
            existed,
            grant,
        } => grants::on_refreshed(number_of(token), existed, grant, lines),
        Event::History { token, answer } => recovery::on_history(number_of(token), answer, lines),
        Event::SubscriptionRefused {
            token,
            channel,
            refusal,
        } => {
            session.subscriptions.remove(channel);
            session.unsubscribed(channel);
            session.subscribed(number_of(token), None);
            lines.error(number_of(token), codes::error_of(refusal));
        }
        Event::Presence { token, view } => on_presence(token, view, lines),
        Event::UnsubscribedFrom { token, channel } => {
            on_unsubscribed(session, number_of(token), channel, lines);
        }
        Event::RpcAnswered { token, answer } => rpc::on_rpc(number_of(token), answer, lines),
        Event::Published { token, .. } => lines.done(number_of(token), Method::Publish),
        Event::Refused {
            token: Some(token),
            refusal,
            ..
        } => {
            let id = number_of(token & !STATS);
            session.subscribed(id, None);
            lines.error(id, codes::error_of(refusal));
        }
        Event::TokenChecked(outcome) => session.keep_outcome(outcome.clone()),
        Event::Emulated { name } => session.set_emulation(name),
        Event::Subscribed { .. } // `on_event` has handled it, and those behind it
        | Event::Missed { .. }
        | Event::GrantExpired { .. }
        | Event::PingDue
        | Event::PongMissing
        | Event::SlowConsumer { .. }
        | Event::OverLimit { .. }
        | Event::AuthenticationOver(_)
        | Event::Expired { .. }
        | Event::Revoked { .. }
        | Event::SubscriptionsAwaited
        | Event::WaitEnded { .. }
        | Event::Draining => {}
        Event::Refused { token: None, .. }
        | Event::Greeting
        | Event::Unsubscribed { .. }
        | Event::OpeningMissing // a ping that is due says it
        | Event::Dealer(_)
        | Event::Unregistered { .. }
        | Event::CallRefused { .. }
        | Event::NeverInvoked(_)
        | Event::Killed { .. }
        | Event::Disconnected { .. } // the close frame says it
        | Event::Dropped { .. } => {} // it asks for none of these, or is told of none
    }
}

fn close(disconnect: Disconnect) -> Command<'static> {
    let Disconnect { code, reason } = disconnect;
    Command::Close { code, reason }
}

/// The only kind of deltas that there is, as clients ask for it.
const FOSSIL: &str = "fossil";
/// In the token of a command: `presence_stats` is asked, and not `presence`.
const STATS: u64 = 1 << 32;
/// Room for so many sessions is kept when the last has ended.
const SESSIONS_KEPT: usize = 64;
