//! What the broker says.

use std::borrow::Cow;

use roost_access::{Accepted, Method, TOKEN_ROLE};

use crate::Arguments;
use crate::dialect::Admission;
use crate::wamp::auth::{ANONYMOUS, welcome_extra};
use crate::wamp::dict::Sparse;
use crate::wamp::message::WampMessage;
use crate::wamp::options::{Features, Reasons, RevokedDetails, Roles, WelcomeDetails};

pub(super) fn welcome(session: u64, accepted: &Accepted) -> WampMessage<'_> {
    let identity = accepted.identity.as_deref();
    let method = identity.map_or(Method::Anonymous, |identity| identity.method);
    let role = identity.map_or(ANONYMOUS, |identity| identity.permissions.role());
    let details = WelcomeDetails {
        authprovider: identity.map(|identity| Cow::Borrowed(identity.provider.name())),
        authextra: welcome_extra(accepted),
        ..welcome_details(method, role)
    };
    welcome_as(session, identity.map(|identity| &*identity.user), details)
}

/// Of a session whose ticket is a token.
pub(super) fn welcome_by_token(session: u64, admission: &Admission) -> WampMessage<'_> {
    let details = WelcomeDetails {
        authprovider: Some(Cow::Borrowed(admission.provider.name())),
        ..welcome_details(Method::Ticket, TOKEN_ROLE)
    };
    welcome_as(session, Some(&admission.user), details)
}

/// One without a name is known by its number.
fn welcome_as<'a>(
    session: u64,
    user: Option<&'a str>,
    mut details: WelcomeDetails<'a>,
) -> WampMessage<'a> {
    let user = user.filter(|user| !user.is_empty());
    details.authid = Some(user.map_or_else(|| Cow::Owned(session.to_string()), Cow::Borrowed));
    WampMessage::Welcome {
        session,
        details: Sparse::of(details),
    }
}

/// Only what works is announced.
fn welcome_details(method: Method, role: &str) -> WelcomeDetails<'_> {
    let broker = Features::PUBLISHER_EXCLUSION
        .with(Features::PUBLISHER_IDENTIFICATION)
        .with(Features::PATTERN_BASED_SUBSCRIPTION)
        .with(Features::SUBSCRIBER_BLACKWHITE_LISTING)
        .with(Features::SUBSCRIPTION_REVOCATION)
        .with(Features::EVENT_RETENTION)
        .with(Features::SESSION_META_API)
        .with(Features::SUBSCRIPTION_META_API);
    let dealer = Features::CALLER_IDENTIFICATION
        .with(Features::CALL_CANCELING)
        .with(Features::CALL_TIMEOUT)
        .with(Features::PROGRESSIVE_CALL_RESULTS)
        .with(Features::PATTERN_BASED_REGISTRATION)
        .with(Features::SHARED_REGISTRATION)
        .with(Features::SESSION_META_API)
        .with(Features::REGISTRATION_META_API);
    WelcomeDetails {
        agent: Some(Cow::Borrowed(AGENT)),
        authrole: Some(Cow::Borrowed(role)),
        authmethod: Some(Cow::Borrowed(method.name())),
        roles: Some(Roles {
            broker: Some(broker),
            dealer: Some(dealer),
            ..Roles::default()
        }),
        ..WelcomeDetails::default()
    }
}

/// `message` is for a person.
pub(super) fn abort<'a>(reason: &'a str, message: &'a str) -> WampMessage<'a> {
    WampMessage::Abort {
        details: reasons(message),
        reason: Cow::Borrowed(reason),
    }
}

/// `message` is for a person.
pub(super) fn goodbye<'a>(reason: &'a str, message: Option<&'a str>) -> WampMessage<'a> {
    WampMessage::Goodbye {
        details: message.map_or_else(Sparse::default, reasons),
        reason: Cow::Borrowed(reason),
    }
}

fn reasons(message: &str) -> Sparse<Reasons<'_>> {
    Sparse::of(Reasons {
        message: Some(Cow::Borrowed(message)),
        ..Reasons::default()
    })
}

/// An EVENT without Details.
pub(super) fn event(
    subscription: u64,
    publication: u64,
    arguments: Arguments<'_>,
) -> WampMessage<'_> {
    WampMessage::Event {
        subscription,
        publication,
        details: Sparse::default(),
        arguments,
    }
}

/// The answer to the request of this type and id.
pub(super) fn error<'a>(
    (request_type, request): (u64, u64),
    error: &'a str,
    arguments: Arguments<'a>,
) -> WampMessage<'a> {
    WampMessage::Error {
        request_type,
        request,
        details: Sparse::default(),
        error: Cow::Borrowed(error),
        arguments,
    }
}

pub(super) fn subscribed(request: u64, subscription: u64) -> WampMessage<'static> {
    WampMessage::Subscribed {
        request,
        subscription,
    }
}

pub(super) fn unsubscribed(request: u64) -> WampMessage<'static> {
    WampMessage::Unsubscribed {
        request,
        details: Sparse::default(),
    }
}

/// The router has ended a subscription.
pub(super) fn revoked(subscription: u64, reason: &str) -> WampMessage<'_> {
    WampMessage::Unsubscribed {
        request: 0,
        details: Sparse::of(RevokedDetails {
            subscription: Some(subscription),
            reason: Some(Cow::Borrowed(reason)),
            ..RevokedDetails::default()
        }),
    }
}

pub(super) fn published(request: u64, publication: u64) -> WampMessage<'static> {
    WampMessage::Published {
        request,
        publication,
    }
}

const AGENT: &str = concat!("Roost-", env!("CARGO_PKG_VERSION"));
