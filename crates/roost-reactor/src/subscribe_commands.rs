//! Carries out what dialects command of subscriptions.

use std::borrow::Cow;

use roost_access::{Operation, PatternRef, Question, decide};
use roost_dialect::Form;
use roost_dialect::dialect::{Event, Grant, Recovers, Refusal, Request, SubscribeTo};
use roost_hub::{
    ChannelId, Pattern, PatternKind, Position, Since, SubscribeError, SubscribePattern, Subscriber,
};
use roost_net::ConnKey;

use crate::core::Core;
use crate::dialogue::notify;
use crate::hook_asks::ask_open;
use crate::hook_calls::Request as HookRequest;
use crate::hub_outputs::refusal_of;
use crate::permissions::Barrier;
use crate::session_events::{begin_cause, end_cause, note_subscription, unsubscribing};
use crate::settings::{Delta, recovers, requirement};
use crate::{call_commands, grants, journal, permissions, presence, throttle};

/// Subscribes to what the dialect names, if that is allowed.
pub(crate) fn subscribe(
    core: &mut Core,
    key: ConnKey,
    what: SubscribeTo<'_>,
    (form, token): (Form, u64),
    grant: Option<Grant>,
) {
    match what {
        SubscribeTo::Channel(channel) => {
            subscribe_to(core, key, (channel, None), (form, token), grant);
        }
        SubscribeTo::Since(channel, since) => {
            subscribe_to(core, key, (channel, Some(since)), (form, token), grant);
        }
        SubscribeTo::Behind(channel, epoch, offset) => {
            let since = since_behind(core, &channel, epoch, offset);
            subscribe_to(core, key, (channel, since), (form, token), grant);
        }
        SubscribeTo::Pattern(kind, text) => {
            subscribe_pattern(core, key, (kind, &text), form, token);
        }
    }
    throttle::note_subscribe(core, key);
}

/// What a client gets that comes back to a channel, as the channel's namespace has it.
fn since_behind(core: &Core, channel: &str, epoch: Option<u64>, offset: u64) -> Option<Since> {
    let position = epoch.map(|epoch| Position { epoch, offset });
    match recovers(core.settings.channels.of(channel)) {
        Recovers::Nothing => None,
        Recovers::Latest => Some(Since::Latest(position)),
        Recovers::Stream => Some(position.map_or(Since::Offset(offset), Since::Position)),
    }
}

/// Subscribes to a channel, if that is allowed, or asks the application.
fn subscribe_to(
    core: &mut Core,
    key: ConnKey,
    (channel, since): (Cow<'_, str>, Option<Since>),
    (form, token): (Form, u64),
    grant: Option<Grant>,
) {
    if let Some(grant) = grant
        && grants::suffices(core, &channel)
        && !permissions::is_foreign(core, key, Operation::Subscribe, &channel)
    {
        return subscribe_granted(core, key, (&channel, since), (form, token), grant);
    }
    let denial = match permissions::barrier_of_subscribe(core, key, &channel) {
        None => return subscribe_allowed(core, key, (&channel, since), form, token),
        Some(Barrier::Denied(denial)) => {
            permissions::note_denial(core, key, Operation::Subscribe, &channel, denial);
            denial
        }
        Some(Barrier::Hook) => {
            let request = HookRequest::Subscribe {
                channel: channel.into(),
                since,
                form,
                token,
            };
            match ask_open(core, key, request) {
                Ok(()) => return,
                Err(denial) => denial,
            }
        }
    };
    answer_subscribe(core, key, Err(Refusal::NotAllowed(denial)), form, token);
}

/// Subscribes to a channel, which a token allows.
fn subscribe_granted(
    core: &mut Core,
    key: ConnKey,
    (name, since): (&str, Option<Since>),
    (form, token): (Form, u64),
    grant: Grant,
) {
    let known = core.channels.find(name);
    let was_subscribed = known.is_some_and(|channel| grants::is_subscribed(core, key, channel));
    subscribe_allowed(core, key, (name, since), form, token);
    // One that was subscribed already is told so, and nothing changes.
    let channel = core.channels.find(name).filter(|_| !was_subscribed);
    if let Some(channel) = channel.filter(|&channel| grants::is_subscribed(core, key, channel)) {
        grants::set(core, key, channel, grant);
    }
}

fn subscribe_pattern(
    core: &mut Core,
    key: ConnKey,
    (kind, text): (PatternKind, &str),
    form: Form,
    token: u64,
) {
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    let (who, encoding) = (Subscriber(key.slot()), conn.framing.encoding(form));
    let now = core.now();
    let subscribed = check_pattern(core, key, kind, text).and_then(|pattern| {
        let subscribe = SubscribePattern {
            who,
            encoding,
            pattern,
            token,
        };
        begin_cause(core, key);
        let subscribed = core.channels.subscribe_pattern(subscribe, now);
        end_cause(core);
        subscribed.map_err(|error| match error {
            SubscribeError::Pattern(refusal) => refusal_of(refusal),
            SubscribeError::Name(_) | SubscribeError::ChannelsFull { .. } => Refusal::NoRoom,
        })
    });
    answer_subscribe(core, key, subscribed, form, token);
    // All reactors are told of a pattern, however short the message that asked for it.
    call_commands::pause_if_needed(core, key);
}

/// A subscription is allowed, by the application or without it.
pub(crate) fn subscribe_allowed(
    core: &mut Core,
    key: ConnKey,
    (channel, since): (&str, Option<Since>),
    form: Form,
    token: u64,
) {
    note_subscription(core, channel);
    let form = granted_form(core, key, channel, form);
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    let (who, encoding) = (Subscriber(key.slot()), conn.framing.encoding(form));
    let dialect = conn.dialect;
    let now = core.now();
    let member = presence::member_of(core, key, encoding, channel);
    begin_cause(core, key);
    let channels = &mut core.channels;
    let subscribed = match since {
        None => channels.subscribe(who, encoding, channel, token, now),
        Some(since) => {
            let codec = core.connections.codec();
            channels.subscribe_since((who, encoding, channel, token), since, codec, now)
        }
    };
    end_cause(core);
    if let (Ok(number), Some(member)) = (&subscribed, member) {
        core.channels.hub_mut().join(*number, member, now);
        if dialect.answers_with_members() {
            presence::answer_with_members(core, key, channel, token);
        }
    }
    let subscribed = subscribed.map_err(|_| Refusal::NoRoom);
    answer_subscribe(core, key, subscribed, form, token);
}

/// The form in which a connection gets a channel's publications that has asked for this one: that of the
/// subscription which it has, or without deltas where there are none.
fn granted_form(core: &Core, key: ConnKey, channel: &str, form: Form) -> Form {
    let Some(conn) = core.connections.get(key) else {
        return form;
    };
    if let Some(known) = core.channels.find(channel)
        && core
            .sessions
            .is_subscribed(conn.dialect, conn.session, known)
        && let Some(form) = core.sessions.form_of(conn.dialect, conn.session, known)
    {
        return form;
    }
    let allows = || core.settings.channels.of(channel).delta == Delta::Fossil;
    match form.has_deltas() && conn.framing.takes_deltas() && allows() {
        true => form,
        false => form.without_deltas(),
    }
}

fn answer_subscribe(
    core: &mut Core,
    key: ConnKey,
    subscribed: Result<ChannelId, Refusal>,
    form: Form,
    token: u64,
) {
    let is_refused = subscribed.is_err();
    let event = match subscribed {
        Ok(channel) => {
            journal::subscribing(core, key, channel);
            Event::Subscribing {
                token,
                channel,
                form,
            }
        }
        Err(refusal) => {
            core.counters.subscriptions_refused_total.inc();
            Event::Refused {
                request: Request::Subscribe,
                token: Some(token),
                refusal,
            }
        }
    };
    notify(core, key, event);
    if is_refused {
        throttle::note_refusal(core, key);
    }
}

/// Ends a subscription.
pub(crate) fn unsubscribe(
    core: &mut Core,
    key: ConnKey,
    channel: ChannelId,
    form: Form,
    token: u64,
) {
    let is_pattern = core.channels.hub().is_pattern(channel);
    let now = core.now();
    journal::unsubscribing(core, key, channel, "");
    unsubscribing(core, key, channel);
    if let Some(conn) = core.connections.get(key) {
        let encoding = conn.framing.encoding(form);
        core.channels
            .unsubscribe(Subscriber(key.slot()), encoding, channel, now);
    }
    end_cause(core);
    notify(core, key, Event::Unsubscribed { token });
    if is_pattern {
        call_commands::pause_if_needed(core, key);
    }
}

/// Ends one to a channel of this name, if there is one.
pub(crate) fn unsubscribe_from(core: &mut Core, key: ConnKey, name: &str, form: Form, token: u64) {
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    let channel = core.channels.find(name).filter(|&channel| {
        core.sessions
            .is_subscribed(conn.dialect, conn.session, channel)
    });
    if let Some(channel) = channel {
        let now = core.now();
        let granted = core.sessions.form_of(conn.dialect, conn.session, channel);
        let encoding = conn.framing.encoding(granted.unwrap_or(form));
        journal::unsubscribing(core, key, channel, "");
        core.channels
            .unsubscribe(Subscriber(key.slot()), encoding, channel, now);
    }
    notify(core, key, Event::UnsubscribedFrom { token, channel });
}

/// A pattern is allowed if its literal beginning is for anyone: what it matches in namespaces that are
/// not open to anyone is left out by the homes, whatever the subscriber may.
fn check_pattern<'a>(
    core: &Core,
    key: ConnKey,
    kind: PatternKind,
    text: &'a str,
) -> Result<Pattern<'a>, Refusal> {
    let bytes_max = core.settings.limits.channel_name_bytes_max;
    let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
    let pattern = Pattern::new(kind, text, bytes_max).map_err(|_| Refusal::InvalidPattern)?;
    let head = pattern.literal_head();
    let policy = core.settings.channels.of(head);
    let question = Question {
        operation: Operation::Subscribe,
        asked: PatternRef::name(head),
        requirement: requirement(policy, Operation::Subscribe),
        is_subscribed: false,
        is_foreign: permissions::is_foreign(core, key, Operation::Subscribe, head),
    };
    match decide(None, &question, core.now()).denial() {
        Some(denial) => Err(Refusal::NotAllowed(denial)),
        None => Ok(pattern),
    }
}
