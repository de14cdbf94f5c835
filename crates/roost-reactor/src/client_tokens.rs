//! Who the client of an open connection is, where its dialect has a place for tokens of its own. The
//! connection is not read while a token is being checked, and what was left of its message is kept.

use std::sync::Arc;

use roost_access::{Identity, Method, Provider};
use roost_dialect::DialectKind;
use roost_dialect::dialect::{Admission, Event, TokenOutcome, TokenRefusal, TokenText};
use roost_net::ConnKey;

use crate::authentication::{identity_of, is_busy, is_too_long};
use crate::clock::{TICK_MS, ticks};
use crate::connections::{Phase, TooMany};
use crate::core::Core;
use crate::dialogue::notify;
use crate::journal;
use crate::session_events::joined;
use crate::token_checks::{Denied, Login, TokenCheck, Verdict};

/// A dialect asks who the client is. Without a token it is told at once.
pub(crate) fn begin(core: &mut Core, key: ConnKey, token: Option<TokenText<'_>>) {
    let outcome = match token {
        None => match without_token(core, key) {
            // Nothing was checked.
            Ok(admission) => return notify(core, key, Event::TokenChecked(&Ok(admission))),
            refused => refused,
        },
        Some(_) if !core.settings.auth.is_on => Err(TokenRefusal::Invalid),
        // It would be kept at its full length until it is looked at.
        Some(TokenText(token)) if is_too_long(core, token.len()) => Err(TokenRefusal::Invalid),
        Some(_) if is_busy(core) => Err(TokenRefusal::Unavailable),
        Some(token) => return ask(core, key, token, None),
    };
    tell(core, key, &outcome);
}

/// A dialect asks whether a client may subscribe to a channel by a token.
pub(crate) fn begin_subscription(
    core: &mut Core,
    key: ConnKey,
    token: TokenText<'_>,
    channel: &str,
) {
    let refusal = if !core.settings.auth.is_on {
        TokenRefusal::Invalid
    } else if is_busy(core) {
        TokenRefusal::Unavailable
    } else if is_too_long(core, token.0.len()) {
        TokenRefusal::Invalid
    } else {
        return ask(core, key, token, Some(channel.into()));
    };
    tell(core, key, &Err(refusal));
}

/// The control thread is asked, and the connection is not read until it has answered.
fn ask(core: &mut Core, key: ConnKey, token: TokenText<'_>, channel: Option<Box<str>>) {
    let TokenText(token) = token;
    let check = TokenCheck {
        key,
        token: token.into_owned().into(),
        channel,
    };
    let due = core.now() + ticks(core.settings.auth.wait_ms) + 1;
    core.token_checks.push_open(check, due);
    core.has_for_control = true;
    core.connections.pause(key);
}

/// The client shows no token: it is what its handshake's has made it.
fn without_token(core: &Core, key: ConnKey) -> TokenOutcome {
    match core.connections.identities().get(key.slot()) {
        Some(known) => {
            let left = known.expires.map(|at| at.get().saturating_sub(core.now()));
            Ok(Admission {
                user: known.user.clone(),
                expires_in_s: left.map(|ticks| seconds(u64::from(ticks) * u64::from(TICK_MS))),
                provider: known.provider,
                subscriptions: known.permissions.subscriptions().clone(),
                info: known.permissions.info().cloned(),
            })
        }
        None if core.settings.auth.is_required => Err(TokenRefusal::Missing),
        None => Ok(Admission {
            user: "".into(),
            expires_in_s: None,
            provider: Provider::Static,
            subscriptions: Arc::default(),
            info: None,
        }),
    }
}

/// The control thread has had a token checked that an open connection waited for.
pub(crate) fn handle_verdict(core: &mut Core, verdict: Verdict, is_subscription: bool) {
    let Verdict { key, outcome } = verdict;
    let outcome = match outcome {
        Ok(login) if is_subscription => grant(core, key, &login),
        Ok(login) => admit(core, key, login),
        Err(Denied::Refused(_)) => Err(TokenRefusal::Invalid),
        Err(Denied::Expired(_)) => Err(TokenRefusal::Expired),
        Err(Denied::Unavailable(_)) => Err(TokenRefusal::Unavailable),
    };
    tell(core, key, &outcome);
}

/// The token is good. One of another user than the handshake's is not, unless it is one to log in with: a WAMP
/// session that logs in is that user from then on, by whatever method. A token goes before a certificate.
fn admit(core: &mut Core, key: ConnKey, login: Login) -> TokenOutcome {
    let dialect = core.connections.get(key).map(|conn| conn.dialect);
    let logs_in = dialect == Some(DialectKind::Wamp);
    let known = core.connections.identities().get(key.slot());
    let is_other =
        |known: &Identity| known.user != *login.user && known.method != Method::Certificate;
    if !logs_in && known.is_some_and(is_other) {
        return Err(TokenRefusal::Invalid);
    }
    // WAMP has no message for another token.
    let grace_ms = if logs_in { 0 } else { GRACE_MS };
    let (expires_in_s, provider) = (login.expires_in_ms.map(seconds), login.provider);
    let identity = identity_of(core.now(), login, Method::Token, grace_ms);
    if core.revocations.is_revoked(&identity, core.now()) {
        return Err(TokenRefusal::Invalid);
    }
    let user = identity.user.clone();
    let subscriptions = identity.permissions.subscriptions().clone();
    let info = identity.permissions.info().cloned();
    let before = journal::before_login(core, key);
    let identified = core.connections.identify(key, identity);
    identified.map_err(|TooMany| TokenRefusal::TooMany)?;
    journal::logged_in(core, key, before);
    Ok(Admission {
        user,
        expires_in_s,
        provider,
        subscriptions,
        info,
    })
}

/// A token for a subscription is good, if it is one of the client's own user and not revoked.
fn grant(core: &Core, key: ConnKey, login: &Login) -> TokenOutcome {
    let known = core.connections.identities().get(key.slot());
    let user = known.map_or("", |known| known.user.as_str());
    let identity = identity_of(core.now(), login.clone(), Method::Token, GRACE_MS);
    if *login.user != *user || core.revocations.is_revoked(&identity, core.now()) {
        return Err(TokenRefusal::Invalid);
    }
    Ok(Admission {
        user: identity.user,
        expires_in_s: login.expires_in_ms.map(seconds),
        provider: login.provider,
        subscriptions: Arc::default(), // it is for one subscription
        info: login.permissions.info().cloned(),
    })
}

fn tell(core: &mut Core, key: ConnKey, outcome: &TokenOutcome) {
    let counter = match outcome {
        Ok(_) => &core.counters.tokens_accepted_total,
        Err(TokenRefusal::Unavailable) => &core.counters.tokens_unchecked_total,
        Err(_) => &core.counters.tokens_refused_total,
    };
    counter.inc();
    notify(core, key, Event::TokenChecked(outcome));
    if outcome.is_ok() {
        joined(core, key);
    }
}

/// Gives up checks that have taken too long.
pub(crate) fn keep_check_deadlines(core: &mut Core) {
    let until = core.connections.clock().input_until;
    while let Some(key) = core.token_checks.pop_due(until) {
        let conn = core.connections.get(key);
        if conn.is_some_and(|conn| conn.phase == Phase::Open) {
            core.counters.tokens_unchecked_total.inc();
            notify(core, key, Event::AuthenticationOver(TOO_LATE));
        }
    }
}

/// Whole seconds of what is left: none that is not.
fn seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}

/// How long a client may stay after its token has expired, so that it can show another one.
pub(crate) const GRACE_MS: u64 = 25_000;
const TOO_LATE: &str = "The token could not be checked in time.";
