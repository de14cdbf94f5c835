//! Whether a connection may do what it asks for: the one place where commands meet [`decide`].
//!
//! Where a namespace lets in anyone, callers have seen that before, and nothing here runs.

use roost_access::{Denial, Operation, PatternRef, Question, Requirement, decide};
use roost_dialect::dialect::{Event, Refusal, Request};
use roost_hub::{ChannelId, PublishTo};
use roost_net::ConnKey;

use crate::core::Core;
use crate::dialogue::notify;
use crate::incidents::IncidentKind;
use crate::realms::may_name;
use crate::settings::requirement;
use crate::throttle;

/// Why a connection may not do what is asked; `None`: it may.
pub(crate) fn denial(core: &Core, key: ConnKey, question: &Question<'_>) -> Option<Denial> {
    let identity = core.connections.identities().get(key.slot());
    decide(identity, question, core.now()).denial()
}

/// Whether a name belongs to a realm that a connection is not in, or is the own channel of another user.
#[inline]
pub(crate) fn is_foreign(core: &Core, key: ConnKey, operation: Operation, name: &str) -> bool {
    core.has_realms && is_in_other_realm(core, key, operation, name)
}

#[cold]
fn is_in_other_realm(core: &Core, key: ConnKey, operation: Operation, name: &str) -> bool {
    let has_own = core.settings.dialects.centrifugo.personal_channels;
    if has_own
        && matches!(operation, Operation::Subscribe | Operation::ReadPresence)
        && let Some(owner) = name.strip_prefix('#')
    {
        let identity = core.connections.identities().get(key.slot());
        return owner.is_empty() || identity.is_none_or(|one| *one.user != *owner);
    }
    let conn = core.connections.get(key);
    let realm = conn.and_then(|conn| core.sessions.realm(conn.dialect, conn.session));
    let realms = &core.settings.dialects.wamp.own_realms;
    !may_name(realms, realm, operation, name)
}

/// Notes that a connection was refused, for administrators who ask.
pub(crate) fn note_denial(
    core: &mut Core,
    key: ConnKey,
    operation: Operation,
    name: &str,
    denial: Denial,
) {
    let kind = IncidentKind::denied(operation.name(), name, denial.message());
    core.note_incident(key, kind, 1);
}

/// Whether the application has to be asked.
#[cold]
pub(crate) fn asks_hook(core: &Core, key: ConnKey, question: &Question<'_>) -> bool {
    matches!(barrier(core, key, question), Some(Barrier::Hook))
}

/// What keeps a connection from something with a name that its namespace requires something for.
pub(crate) fn barrier_of_name(
    core: &Core,
    key: ConnKey,
    operation: Operation,
    name: &str,
    requirement: Requirement,
) -> Option<Barrier> {
    let question = Question {
        operation,
        asked: PatternRef::name(name),
        requirement,
        is_subscribed: false,
        is_foreign: is_foreign(core, key, operation, name),
    };
    barrier(core, key, &question)
}

/// What keeps a connection from subscribing to a channel.
pub(crate) fn barrier_of_subscribe(core: &Core, key: ConnKey, channel: &str) -> Option<Barrier> {
    let policy = core.settings.channels.of(channel);
    match requirement(policy, Operation::Subscribe) {
        Requirement::Anyone if !core.has_realms => None,
        requires => barrier_of_name(core, key, Operation::Subscribe, channel, requires),
    }
}

/// Why something is not done at once.
pub(crate) enum Barrier {
    /// It may not be done.
    Denied(Denial),
    /// The application has to be asked.
    Hook,
}

/// What keeps a connection from publishing; `known` is the channel, if one is subscribed to here.
#[cold]
pub(crate) fn barrier_of_publish(
    core: &Core,
    key: ConnKey,
    target: PublishTo<'_>,
    known: Option<ChannelId>,
) -> Option<Barrier> {
    let policy = core
        .settings
        .channels
        .policy(core.channels.namespace_of(target));
    let name = core.channels.name_of(target).unwrap_or_default();
    let question = Question {
        operation: Operation::Publish,
        asked: PatternRef::name(name),
        requirement: requirement(policy, Operation::Publish),
        is_subscribed: known.is_some_and(|channel| is_subscribed(core, key, channel)),
        is_foreign: is_foreign(core, key, Operation::Publish, name),
    };
    barrier(core, key, &question)
}

fn barrier(core: &Core, key: ConnKey, question: &Question<'_>) -> Option<Barrier> {
    let identity = core.connections.identities().get(key.slot());
    let decision = decide(identity, question, core.now());
    let denial = decision.denial()?;
    Some(match decision.asks_hook() {
        true => Barrier::Hook,
        false => Barrier::Denied(denial),
    })
}

/// Whether a connection has a permission to call what it asks for, also where the namespace lets in all;
/// if not, its dialect is told.
pub(crate) fn is_granted(core: &mut Core, key: ConnKey, procedure: &str, token: u64) -> bool {
    let asked = PatternRef::name(procedure);
    let requirement = core.settings.channels.requires(Operation::Call, asked);
    let requirement = requirement.max(Requirement::Granted);
    allows_by(core, key, (Operation::Call, asked), requirement, token)
}

/// Whether a connection may call or register what it asks for; if not, its dialect is told.
#[cold]
pub(crate) fn allows(
    core: &mut Core,
    key: ConnKey,
    operation: Operation,
    asked: PatternRef<'_>,
    token: u64,
) -> bool {
    let requirement = core.settings.channels.requires(operation, asked);
    allows_by(core, key, (operation, asked), requirement, token)
}

fn allows_by(
    core: &mut Core,
    key: ConnKey,
    (operation, asked): (Operation, PatternRef<'_>),
    requirement: Requirement,
    token: u64,
) -> bool {
    let question = Question {
        operation,
        asked,
        requirement,
        is_subscribed: false,
        is_foreign: is_foreign(core, key, operation, asked.text),
    };
    let Some(denial) = denial(core, key, &question) else {
        return true;
    };
    let request = match operation {
        Operation::Subscribe => Request::Subscribe,
        Operation::Publish => Request::Publish,
        Operation::Call => Request::Call,
        Operation::Register => Request::Register,
        Operation::ReadPresence => Request::Presence,
    };
    note_denial(core, key, operation, asked.text, denial);
    let (token, refusal) = (Some(token), Refusal::NotAllowed(denial));
    match operation {
        Operation::Register => core.counters.registrations_denied_total.inc(),
        _ => core.counters.calls_refused_total.inc(),
    }
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
    false
}

pub(crate) fn is_subscribed(core: &Core, key: ConnKey, channel: ChannelId) -> bool {
    let conn = core.connections.get(key);
    conn.is_some_and(|conn| {
        core.sessions
            .is_subscribed(conn.dialect, conn.session, channel)
    })
}
