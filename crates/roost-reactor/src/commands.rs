//! Carries out what dialects command, and reports the outcome to them.

use std::mem;
use std::sync::Arc;

use roost_access::{Identity, Matching, Method, Operation, PatternRef};
use roost_dealer::{Answer, Call, Match, Register};
use roost_dialect::dialect::{
    Command, Event, Input, Message, Refusal, Request, RpcAnswer, Session, Target,
};
use roost_dialect::{CallBodyRef, DialectKind, PayloadRef, PublishDetails, check_channel_name};
use roost_hub::{ChannelId, Publish as HubPublish, PublishTo};
use roost_net::ConnKey;
use roost_wire::CloseCode;

use crate::authentication::TOO_MANY;
use crate::call_commands::{self, ticks_of_call};
use crate::calls::client;
use crate::closing::{fail, start_close};
use crate::connections::{Flags, Phase, TooMany};
use crate::core::Core;
use crate::dialogue::{notify, send_replies};
use crate::history_asks::AWAITS_SUBSCRIPTIONS;
use crate::hook_asks::ask_open;
use crate::hook_calls::{Request as HookRequest, Rest};
use crate::hub_outputs;
use crate::permissions::Barrier;
use crate::session_events::joined;
use crate::settings::Publish;
use crate::token_checks::RestKind;
use crate::{
    client_tokens, entry_scans, grants, history_reads, journal, logins, permissions, presence,
    session_scans, subscribe_commands, throttle,
};

/// A publication on its way to the hub.
struct Publication<'a> {
    payload: PayloadRef<'a>,
    /// `None`: as the channel's namespace says.
    exclude_me: Option<bool>,
    ack: Option<u64>,
    details: Option<Arc<PublishDetails>>,
}

/// Has the connection's dialect draw its commands from a message, and carries them out.
pub(crate) fn handle_data(core: &mut Core, key: ConnKey, message: Message<'_>) {
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    let (dialect, session) = (conn.dialect, conn.session);
    let has_rest = conn.flags.has(Flags::HAS_REST);
    let joined = has_rest.then(|| join_rest(core, key, message.bytes()));
    let message = joined.as_deref().map_or(message, Message::Binary);
    let left = draw_commands(core, key, dialect, session, message);
    if !left.is_empty() {
        keep_rest(core, key, left.to_vec());
    }
}

/// Carries out a message's commands, but for the hub's outputs of the last one. Returns what the
/// dialect wants before the next message.
#[inline(always)] // into the one that messages come to; what was kept comes by `draw_rest`
fn draw_commands<'a>(
    core: &mut Core,
    key: ConnKey,
    dialect: DialectKind,
    session: Session,
    message: Message<'a>,
) -> &'a [u8] {
    let mut input = Input::new(message);
    loop {
        let command = core.sessions.next(dialect, session, &mut input);
        send_replies(core, key);
        let Some(command) = command else {
            return input.bytes();
        };
        match command {
            Command::Send(message) => {
                core.connections.send_message(key, message);
                mem::forget(command); // it borrows: to look for what to drop would be all that is left
            }
            command => carry_out(core, key, command),
        }
        if input.is_empty() {
            return &[];
        }
        if let Some(left) = stop_behind_command(core, key, &mut input) {
            return left;
        }
    }
}

/// What is left of a message behind one of its commands, unless the next is drawn at once.
#[inline(never)]
fn stop_behind_command<'a>(
    core: &mut Core,
    key: ConnKey,
    input: &mut Input<'a>,
) -> Option<&'a [u8]> {
    hub_outputs::apply(core);
    let conn = core.connections.get(key);
    if conn.is_none_or(|conn| conn.phase != Phase::Open) {
        return Some(&[]); // the command has closed it
    }
    if core.hook_calls.waits(key.slot()) {
        if let Some(rest) = input.take() {
            core.hook_calls.keep_rest(key.slot(), rest);
        }
        return Some(&[]);
    }
    if core.history_asks.waits(key.slot()) {
        if let Some(rest) = input.take() {
            core.history_asks.keep_rest(key.slot(), rest.into());
        }
        return Some(&[]);
    }
    if !core.token_checks.awaits(key.slot()) {
        return None;
    }
    let left = input.bytes();
    let kind = match input.take() {
        Some(Message::Binary(_)) => RestKind::Binary,
        Some(Message::Text(_)) | None => RestKind::Text,
    };
    core.token_checks.note_rest(key.slot(), kind);
    Some(left)
}

/// As [`draw_commands`], of what was kept of a message.
#[inline(never)]
fn draw_rest<'a>(
    core: &mut Core,
    key: ConnKey,
    dialect: DialectKind,
    session: Session,
    message: Message<'a>,
) -> &'a [u8] {
    draw_commands(core, key, dialect, session, message)
}

/// Goes on with what stands behind a command that had to wait.
pub(crate) fn go_on(core: &mut Core, key: ConnKey, rest: &Rest) {
    hub_outputs::apply(core);
    let conn = core.connections.get(key);
    let Some(conn) = conn.filter(|conn| conn.phase == Phase::Open) else {
        return;
    };
    let (dialect, session) = (conn.dialect, conn.session);
    let left = draw_rest(core, key, dialect, session, rest.message());
    if !left.is_empty() {
        keep_rest(core, key, left.to_vec());
    }
}

/// Goes on with a message of which something was left: the token in it was checked.
pub(crate) fn handle_rest(core: &mut Core, key: ConnKey, kind: RestKind) {
    let Some(rest) = core.connections.take_rest(key.slot()) else {
        return;
    };
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    let (dialect, session) = (conn.dialect, conn.session);
    let message = match kind {
        RestKind::Binary => Message::Binary(&rest),
        RestKind::Text => {
            let Ok(text) = str::from_utf8(&rest) else {
                debug_assert!(
                    false,
                    "it is the end of a text message, from a character on"
                );
                return;
            };
            Message::Text(text)
        }
    };
    let left = draw_rest(core, key, dialect, session, message);
    if !left.is_empty() {
        keep_rest(core, key, left.to_vec());
    }
}

/// What was kept of a command, with the bytes behind it.
fn join_rest(core: &mut Core, key: ConnKey, bytes: &[u8]) -> Vec<u8> {
    let mut joined = core.connections.take_rest(key.slot()).unwrap_or_default();
    joined.extend_from_slice(bytes);
    joined
}

/// Keeps what is not a whole command yet.
fn keep_rest(core: &mut Core, key: ConnKey, rest: Vec<u8>) {
    if !core.connections.keep_rest(key, rest) {
        fail(core, key, CloseCode::TOO_BIG, "command too long");
    }
}

#[inline(never)]
fn carry_out(core: &mut Core, key: ConnKey, command: Command<'_>) {
    match command {
        Command::Send(message) => core.connections.send_message(key, message),
        Command::Publish {
            channel,
            payload,
            exclude_me,
            ack,
            details,
        } => {
            let publication = Publication {
                payload,
                exclude_me,
                ack,
                details,
            };
            publish_to(core, key, &channel, publication);
        }
        Command::Subscribe {
            what,
            form,
            token,
            grant,
        } => subscribe_commands::subscribe(core, key, what, (form, token), grant),
        Command::RefreshGrant {
            channel,
            grant,
            token,
        } => grants::refresh(core, key, &channel, grant, token),
        Command::CheckSubscription(token, channel) => {
            client_tokens::begin_subscription(core, key, token, &channel);
        }
        Command::Unsubscribe {
            channel,
            form,
            token,
        } => subscribe_commands::unsubscribe(core, key, channel, form, token),
        Command::AskPresence {
            channel,
            counts_only,
            token,
        } => presence::ask(core, key, (channel, counts_only), token),
        Command::Register { .. }
        | Command::Unregister { .. }
        | Command::Call { .. }
        | Command::CancelCall { .. }
        | Command::AskSessions { .. }
        | Command::AskEntries { .. }
        | Command::Answer { .. } => carry_out_of_call(core, key, command),
        Command::UnsubscribeFrom {
            channel,
            form,
            token,
        } => subscribe_commands::unsubscribe_from(core, key, &channel, form, token),
        Command::CheckToken(token) => client_tokens::begin(core, key, token),
        Command::Rpc {
            method,
            data,
            token,
        } => rpc(core, key, (&method, data.as_deref()), token),
        Command::AwaitSubscriptions => await_subscriptions(core, key),
        Command::ReadHistory(read) => history_reads::read_history(core, key, read),
        Command::AwaitAuthentication => logins::begin(core, key),
        Command::Identify(identity) => {
            identify(core, key, *identity);
            joined(core, key);
        }
        Command::Opened => joined(core, key),
        Command::Close { code, reason } => start_close(core, key, code, reason),
    }
}

/// Nothing more is read until the client's subscriptions have been answered.
fn await_subscriptions(core: &mut Core, key: ConnKey) {
    core.history_asks.begin(key, AWAITS_SUBSCRIPTIONS);
    core.connections.pause(key);
    notify(core, key, Event::SubscriptionsAwaited);
}

/// A client asks the application for something by a method of its own.
fn rpc(core: &mut Core, key: ConnKey, (method, data): (&str, Option<&str>), token: u64) {
    let answer = match core.settings.hooks.asks_rpc {
        false => RpcAnswer::NotServed,
        true => {
            let request = HookRequest::Rpc {
                method: method.into(),
                data: data.map(Arc::from),
                token,
            };
            match ask_open(core, key, request) {
                Ok(()) => return,
                Err(_) => RpcAnswer::Unavailable,
            }
        }
    };
    let answer = &answer;
    notify(core, key, Event::RpcAnswered { token, answer });
}

/// The same of a callee or a caller.
fn carry_out_of_call(core: &mut Core, key: ConnKey, command: Command<'_>) {
    match command {
        Command::Register {
            procedure,
            matching,
            policy,
            features,
            session,
            token,
        } => {
            let register = Register {
                callee: client(key),
                name: &procedure,
                matching,
                policy,
                features,
                session,
                token,
            };
            register_if_allowed(core, key, register);
        }
        Command::Unregister {
            registration,
            token,
        } => call_commands::unregister(core, key, registration, token),
        Command::Call {
            procedure,
            request,
            wants_progress,
            timeout_ms,
            mut body,
        } => {
            if may_call(core, key, &procedure, request) {
                disclose(core, key, &mut body);
                let call = Call {
                    caller: client(key),
                    request,
                    procedure: &procedure,
                    wants_progress,
                    timeout: ticks_of_call(timeout_ms),
                    payload: body.freeze(),
                };
                call_commands::call(core, key, call);
            }
        }
        Command::AskSessions {
            procedure,
            takes_permission,
            request,
            query,
        } => {
            let asked = (&*procedure, takes_permission);
            session_scans::ask(core, key, asked, request, *query);
        }
        Command::AskEntries {
            procedure,
            request,
            query,
        } => entry_scans::ask(core, key, &procedure, request, *query),
        Command::CancelCall { request, mode } => core.calls.cancel(client(key), request, mode),
        Command::Answer { invocation, answer } => answer_call(core, key, invocation, answer),
        _ => debug_assert!(false, "it is about no call"),
    }
}

/// A session has opened as this. One that is anonymous stays what its handshake's token has made it.
fn identify(core: &mut Core, key: ConnKey, identity: Identity) {
    let is_known = core.connections.identities().get(key.slot()).is_some();
    let before = journal::before_login(core, key);
    if (identity.method != Method::Anonymous || !is_known)
        && let Err(TooMany) = core.connections.identify(key, identity)
    {
        let reason = TOO_MANY;
        notify(core, key, Event::Disconnected { reason });
        start_close(core, key, CloseCode::POLICY_VIOLATION, reason);
    }
    journal::logged_in(core, key, before);
}

/// What a callee asks to be called for.
fn pattern_of<'a>(register: &Register<'a>) -> PatternRef<'a> {
    let matching = match register.matching {
        Match::Exact => Matching::Exact,
        Match::Prefix => Matching::Prefix,
        Match::Wildcard => Matching::Wildcard,
    };
    PatternRef {
        matching,
        text: register.name,
    }
}

fn register_if_allowed(core: &mut Core, key: ConnKey, register: Register<'_>) {
    let (asked, token) = (pattern_of(&register), register.token);
    if !core.restricts_procedures
        || permissions::allows(core, key, Operation::Register, asked, token)
    {
        call_commands::register(core, key, register);
    }
}

fn may_call(core: &mut Core, key: ConnKey, procedure: &str, request: u64) -> bool {
    let asked = PatternRef::name(procedure);
    !core.restricts_procedures || permissions::allows(core, key, Operation::Call, asked, request)
}

/// Says as whom the caller has been authenticated, and in which role, where it is to be said.
fn disclose(core: &Core, key: ConnKey, body: &mut CallBodyRef<'_>) {
    let (Some(caller), Some(identity)) = (
        &mut body.caller,
        core.connections.identities().get(key.slot()),
    ) else {
        return;
    };
    identity.permissions.role().clone_into(&mut caller.authrole);
    if !identity.user.is_empty() {
        identity.user.as_str().clone_into(&mut caller.authid);
    }
}

fn answer_call(core: &mut Core, key: ConnKey, invocation: u64, answer: Answer<CallBodyRef<'_>>) {
    call_commands::answer(core, key, invocation, answer.map(CallBodyRef::freeze));
}

fn publish_to(core: &mut Core, key: ConnKey, channel: &Target<'_>, publication: Publication<'_>) {
    match channel {
        Target::Joined(channel) => publish_joined(core, key, *channel, publication),
        Target::Name(name) => publish_named(core, key, name, publication),
        Target::Subscribed(name) => publish_subscribed(core, key, name, publication),
    }
}

/// Publishes on the channel that the connection joined when it was accepted.
fn publish_joined(core: &mut Core, key: ConnKey, channel: ChannelId, publication: Publication<'_>) {
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    let flags = conn.flags;
    if !flags.has(Flags::MAY_PUBLISH) {
        let target = PublishTo::Channel(channel);
        return match permissions::barrier_of_publish(core, key, target, Some(channel)) {
            Some(Barrier::Hook) => {
                let name = core.channels.name_of(target).unwrap_or_default().into();
                let excludes = !flags.has(Flags::RECEIVES_OWN);
                ask_publish(core, key, name, excludes, publication);
            }
            Some(Barrier::Denied(denial)) => {
                let name = core.channels.name_of(target).unwrap_or_default().to_owned();
                permissions::note_denial(core, key, Operation::Publish, &name, denial);
                refuse_publish(core, key, publication.ack, Refusal::NotAllowed(denial));
            }
            None => refuse_publish(core, key, publication.ack, Refusal::NoRoom),
        };
    }
    let excludes = !flags.has(Flags::RECEIVES_OWN);
    publish(
        core,
        key,
        PublishTo::Channel(channel),
        excludes,
        publication,
    );
}

fn publish_named(core: &mut Core, key: ConnKey, name: &str, publication: Publication<'_>) {
    // Where it is subscribed to here, its record knows the rest.
    let known = core.channels.find(name);
    let target = known.map_or(PublishTo::Name(name), PublishTo::Channel);
    let policy = core
        .settings
        .channels
        .policy(core.channels.namespace_of(target));
    let excludes = !policy.receive_own;
    if (policy.publish != Publish::Anyone || core.has_realms)
        && let Some(barrier) = permissions::barrier_of_publish(core, key, target, known)
    {
        return match barrier {
            Barrier::Hook => ask_publish(core, key, name.into(), excludes, publication),
            Barrier::Denied(denial) => {
                permissions::note_denial(core, key, Operation::Publish, name, denial);
                refuse_publish(core, key, publication.ack, Refusal::NotAllowed(denial));
            }
        };
    }
    publish(core, key, target, excludes, publication);
}

/// Publishes where the connection is subscribed; its dialect has seen that it may.
fn publish_subscribed(core: &mut Core, key: ConnKey, name: &str, publication: Publication<'_>) {
    let channel = core.channels.find(name);
    let channel = channel.filter(|&channel| permissions::is_subscribed(core, key, channel));
    let Some(channel) = channel else {
        let refusal = Refusal::InvalidName;
        return refuse_publish(core, key, publication.ack, refusal);
    };
    let max = core.settings.dialects.pusher.client_events_per_second_max;
    let now = core.now();
    if !core.client_events.take(key, now, max) {
        return refuse_publish(core, key, publication.ack, Refusal::TooOften);
    }
    let details = publication.details.as_deref();
    journal::client_event(core, key, channel, (publication.payload, details));
    publish(core, key, PublishTo::Channel(channel), true, publication);
}

/// Asks the application whether a publication is allowed; a name that is none, it is not asked about.
fn ask_publish(
    core: &mut Core,
    key: ConnKey,
    channel: Box<str>,
    excludes: bool,
    publication: Publication<'_>,
) {
    let bytes_max = core.settings.limits.channel_name_bytes_max;
    if check_channel_name(&channel, bytes_max).is_err() {
        return refuse_publish(core, key, publication.ack, Refusal::InvalidName);
    }
    let payload = publication.payload.freeze();
    let request = HookRequest::Publish {
        channel,
        payload: payload.with_details(publication.details),
        excludes: publication.exclude_me.unwrap_or(excludes),
        ack: publication.ack,
    };
    if let Err(denial) = ask_open(core, key, request) {
        refuse_publish(core, key, publication.ack, Refusal::NotAllowed(denial));
    }
}

/// The application allows a publication.
pub(crate) fn publish_allowed(
    core: &mut Core,
    key: ConnKey,
    channel: &str,
    (payload, exclude_publisher, ack): (roost_dialect::Publication, bool, Option<u64>),
) {
    let known = core.channels.find(channel);
    let target = known.map_or(PublishTo::Name(channel), PublishTo::Channel);
    let bytes = payload.size();
    let publish = HubPublish {
        target,
        publisher: key.to_bits(),
        exclude_publisher,
        ack,
        payload,
    };
    send_to_hub(core, key, publish, bytes);
}

/// `excludes`: whether publishers of the channel are left out unless they say otherwise.
fn publish(
    core: &mut Core,
    key: ConnKey,
    target: PublishTo<'_>,
    excludes: bool,
    publication: Publication<'_>,
) {
    let payload = publication.payload.freeze();
    let publish = HubPublish {
        target,
        publisher: key.to_bits(),
        exclude_publisher: publication.exclude_me.unwrap_or(excludes),
        ack: publication.ack,
        payload: payload.with_details(publication.details),
    };
    send_to_hub(core, key, publish, publication.payload.size());
}

#[inline]
fn send_to_hub(
    core: &mut Core,
    key: ConnKey,
    publish: HubPublish<'_, roost_dialect::Publication>,
    bytes: usize,
) {
    let (target, ack, now) = (publish.target, publish.ack, core.now());
    let codec = core.connections.codec();
    match core.channels.publish(publish, codec, now) {
        Ok(()) => pause_if_needed(core, key, target, bytes),
        Err(error) => {
            debug_assert!(
                matches!(target, PublishTo::Name(_)),
                "{error:?}: an open connection is subscribed to the channel it joined"
            );
            refuse_publish(core, key, ack, Refusal::InvalidName);
        }
    }
}

/// Counts a publication, and stops reading from its publisher if that has to wait for something.
fn pause_if_needed(core: &mut Core, key: ConnKey, target: PublishTo<'_>, bytes: usize) {
    let now = core.now();
    let Some(wait) = core.channels.after_publish(target, bytes, now) else {
        return;
    };
    let conn = core.connections.get(key);
    let is_open = conn.is_some_and(|conn| conn.phase == Phase::Open);
    if is_open && core.connections.pause(key) {
        core.counters.publishers_paused_total.inc();
        core.channels.park(key, target, wait);
    }
}

fn refuse_publish(core: &mut Core, key: ConnKey, token: Option<u64>, refusal: Refusal) {
    core.counters.publishes_refused_total.inc();
    let request = Request::Publish;
    notify(
        core,
        key,
        Event::Refused {
            request,
            token,
            refusal,
        },
    );
    throttle::note_refusal(core, key);
}
