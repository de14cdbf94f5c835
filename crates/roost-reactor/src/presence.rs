//! Presence: connections as members of the channels that they subscribe to, and their questions about it.

use roost_access::{Operation, PatternRef, Question, Requirement};
use roost_dialect::dialect::{Event, Refusal, Request};
use roost_hub::{AsTold, Encoding, Member, PresenceQuery, Subscriber};
use roost_net::ConnKey;
use roost_random::mix;

use crate::core::Core;
use crate::dialogue::notify;
use crate::permissions;
use crate::settings::{Presence, requirement};

/// A connection that is about to subscribe to a channel, if it becomes a member of it with that.
#[inline]
pub(crate) fn member_of(
    core: &Core,
    key: ConnKey,
    encoding: Encoding,
    channel: &str,
) -> Option<Member> {
    let who = Subscriber(key.slot());
    let takes_member = core.channels.hub().takes_member(who, encoding, channel);
    takes_member.then(|| member(core, key))?
}

#[cold]
fn member(core: &Core, key: ConnKey) -> Option<Member> {
    let conn = core.connections.get(key)?;
    let reactor = core.channels.me();
    let client = core.sessions.client(conn.dialect, conn.session);
    let identity = core.connections.identities().get(key.slot());
    let (user, info) = core
        .sessions
        .joins_as(conn.dialect, conn.session)
        .unwrap_or_else(|| {
            let user = identity.map(|identity| identity.user.clone());
            (user.unwrap_or_default(), None)
        });
    Some(Member {
        // One number for all channels, as a dialect's own is.
        client: client.unwrap_or_else(|| mix(key.to_bits() | u64::from(reactor.0) << 48)),
        user: user.as_str().into(),
        info,
        who: Subscriber(key.slot()),
        generation: key.generation(),
        reactor,
    })
}

/// A member has just subscribed, whose dialect answers with those that are there.
#[cold]
pub(crate) fn answer_with_members(core: &mut Core, key: ConnKey, channel: &str, token: u64) {
    let query = PresenceQuery {
        name: channel.into(),
        asker: key.to_bits(),
        token,
        counts_only: false,
        as_told: Some(AsTold {
            who: Subscriber(key.slot()),
            users_max: core.settings.dialects.pusher.members_per_channel_max,
        }),
    };
    let now = core.now();
    let codec = core.connections.codec();
    let asked = core.channels.hub_mut().ask_presence(query, codec, now);
    debug_assert!(asked.is_ok(), "it has subscribed to a channel of this name");
}

/// A client asks who is in a channel.
pub(crate) fn ask(
    core: &mut Core,
    key: ConnKey,
    (channel, counts_only): (impl AsRef<str>, bool),
    token: u64,
) {
    if let Err(refusal) = try_ask(core, key, (channel.as_ref(), counts_only), token) {
        let (request, token) = (Request::Presence, Some(token));
        let event = Event::Refused {
            request,
            token,
            refusal,
        };
        notify(core, key, event);
    }
}

fn try_ask(
    core: &mut Core,
    key: ConnKey,
    (channel, counts_only): (&str, bool),
    token: u64,
) -> Result<(), Refusal> {
    let operation = Operation::ReadPresence;
    let policy = core.settings.channels.of(channel);
    if policy.presence == Presence::Off {
        return Err(Refusal::NotKept);
    }
    let requirement = requirement(policy, operation);
    let is_subscribed = requirement == Requirement::Subscribers
        && core
            .channels
            .find(channel)
            .is_some_and(|channel| permissions::is_subscribed(core, key, channel));
    let question = Question {
        operation,
        asked: PatternRef::name(channel),
        requirement,
        is_subscribed,
        is_foreign: permissions::is_foreign(core, key, operation, channel),
    };
    if let Some(denial) = permissions::denial(core, key, &question) {
        permissions::note_denial(core, key, operation, channel, denial);
        return Err(Refusal::NotAllowed(denial));
    }
    let now = core.now();
    if !counts_only && !core.presence_asks.take(key, now) {
        return Err(Refusal::TooOften);
    }
    let query = PresenceQuery {
        name: channel.into(),
        asker: key.to_bits(),
        token,
        counts_only,
        as_told: None,
    };
    let codec = core.connections.codec();
    let asked = core.channels.hub_mut().ask_presence(query, codec, now);
    asked.map_err(|_| Refusal::InvalidName)
}

/// Tells subscribers who has come and gone, if it is time.
pub(crate) fn tell_if_due(core: &mut Core) {
    let now = core.now();
    if core.channels.hub().presence_due() <= now {
        let codec = core.connections.codec();
        core.channels.hub_mut().tell_presence(codec, now);
    }
}
