//! HELLO, CHALLENGE and AUTHENTICATE in the words of an [`Authenticator`], and back. What knows secrets
//! is not here.

use std::borrow::Cow;
use std::sync::Arc;

use roost_access::{
    Accepted, Answer, AuthError, Authenticator, Begun, Challenge, Derivation, Hello, Method,
    Pending, TOKEN_ROLE,
};

use super::dict::Sparse;
use super::message::WampMessage;
use super::options::{AuthExtra, HelloDetails};
use super::settings::{Settings, Users};
use super::uri;

/// What follows AUTHENTICATE.
pub(super) enum Finished {
    /// The client is let in.
    Accepted(Accepted),
    /// Its ticket is no user's, and may be a token.
    Token,
}

/// A client has said HELLO for a realm that exists.
pub(super) fn begin(
    settings: &Settings,
    (realm, number, session): (&str, u16, u64),
    details: Option<&HelloDetails<'_>>,
) -> Result<Begun, AuthError> {
    let own = settings.own_realms.get(number);
    let methods = details.and_then(|details| details.authmethods.as_ref());
    let methods = methods.map_or(&[][..], |methods| methods.as_slice());
    let mut methods: Vec<&str> = methods.iter().map(|method| &**method).collect();
    if own.is_some_and(|realm| !realm.anonymous) {
        if methods.is_empty() {
            return Err(AuthError::Required);
        }
        methods.retain(|method| *method != ANONYMOUS);
        if methods.is_empty() {
            return Err(AuthError::NoMatchingMethod);
        }
    }
    let role = details.and_then(|details| details.authrole.as_deref());
    let user = details.and_then(|details| details.authid.as_deref());
    if user.is_some_and(|user| user.len() > USER_BYTES_MAX) {
        return Err(AuthError::Malformed("authid has at most 255 bytes."));
    }
    let extra = details.and_then(|details| details.authextra.as_ref());
    let extra = extra.and_then(Sparse::get);
    let hello = Hello {
        realm,
        session,
        user: user.filter(|user| !user.is_empty()),
        role,
        methods: &methods,
        nonce: extra.and_then(|extra| extra.nonce.as_deref()),
        public_key: extra.and_then(|extra| extra.pubkey.as_deref()),
        channel_binding: extra.and_then(|extra| extra.channel_binding.as_deref()),
    };
    match settings.takes_tokens && own.is_none_or(|realm| realm.tokens) {
        true => begin_with_tokens(settings.users.as_ref(), &hello),
        false => begin_with_users(settings.users.as_ref(), &hello),
    }
}

/// Without users all sessions are anonymous.
fn begin_with_users(users: Option<&Users>, hello: &Hello<'_>) -> Result<Begun, AuthError> {
    if let Some(Users(users)) = users {
        return users.begin(hello);
    }
    let is_anonymous = hello.methods.is_empty() || hello.methods.contains(&ANONYMOUS);
    match (is_anonymous, hello.role) {
        (false, _) => Err(AuthError::NoMatchingMethod),
        (true, None | Some(ANONYMOUS)) => Ok(Begun::Accepted(Accepted::default())),
        (true, Some(_)) => Err(AuthError::NoSuchRole),
    }
}

/// A ticket is served to all then, at its place among the client's methods, for each may have a token. What the
/// client cannot tell is whether a user has a ticket of the configuration.
fn begin_with_tokens(users: Option<&Users>, hello: &Hello<'_>) -> Result<Begun, AuthError> {
    let ticket = Method::Ticket.name();
    let place = hello.methods.iter().position(|method| *method == ticket);
    let is_role = hello.role.is_none_or(|role| role == TOKEN_ROLE);
    let (Some(place), true) = (place, is_role) else {
        return begin_with_users(users, hello);
    };
    let until_ticket = Hello {
        methods: &hello.methods[..=place],
        ..*hello
    };
    match begin_with_users(users, &until_ticket) {
        Ok(Begun::Challenge(challenge, mut pending)) if pending.method == Method::Ticket => {
            pending.said = claim(hello.user);
            Ok(Begun::Challenge(challenge, pending))
        }
        Err(AuthError::NoMatchingMethod | AuthError::NoSuchRole) => {
            let challenge = Challenge {
                method: ticket,
                ..Challenge::default()
            };
            let pending = Pending {
                session: hello.session,
                method: Method::Ticket,
                user: NO_USER,
                is_known: false,
                said: claim(hello.user),
            };
            Ok(Begun::Challenge(challenge, Box::new(pending)))
        }
        begun => begun,
    }
}

/// What is kept of a challenge whose answer may be a token: as whom the client wants in. Of a ticket that may
/// be none, nothing is kept.
fn claim(user: Option<&str>) -> Box<str> {
    format!("{CLAIM}{}", user.unwrap_or_default()).into()
}

/// Whether a token of `user` is what the client has said it would show.
pub(super) fn is_claimed(pending: &Pending, user: &str) -> bool {
    let claimed = pending.said.strip_prefix(CLAIM);
    claimed.is_some_and(|claimed| claimed.is_empty() || claimed == user)
}

/// A client has said AUTHENTICATE.
pub(super) fn finish(
    settings: &Settings,
    pending: &Pending,
    signature: &str,
    extra: Option<&AuthExtra<'_>>,
) -> Result<Finished, AuthError> {
    let may_be_token = settings.takes_tokens
        && pending.method == Method::Ticket
        && pending.said.starts_with(CLAIM)
        && !signature.is_empty();
    let finished = match &settings.users {
        Some(Users(users)) => finish_with_users(users, pending, signature, extra),
        None => Err(AuthError::Denied),
    };
    match finished {
        Ok(accepted) => Ok(Finished::Accepted(accepted)),
        Err(AuthError::Denied) if may_be_token => Ok(Finished::Token),
        Err(error) => Err(error),
    }
}

fn finish_with_users(
    users: &Arc<dyn Authenticator>,
    pending: &Pending,
    signature: &str,
    extra: Option<&AuthExtra<'_>>,
) -> Result<Accepted, AuthError> {
    let answer = Answer {
        signature,
        nonce: extra.and_then(|extra| extra.nonce.as_deref()),
        channel_binding: extra.and_then(|extra| extra.channel_binding.as_deref()),
    };
    users.finish(pending, &answer)
}

/// CHALLENGE. Keys without a value are left out: stock clients refuse some that are null.
pub(super) fn challenge(challenge: Challenge) -> WampMessage<'static> {
    let Challenge {
        method,
        challenge,
        nonce,
        derivation,
    } = challenge;
    let mut extra = AuthExtra {
        challenge: challenge.map(Cow::Owned),
        nonce: nonce.map(Cow::Owned),
        ..AuthExtra::default()
    };
    if let Some(derivation) = derivation {
        let Derivation {
            function,
            salt,
            iterations,
            key_bytes,
        } = derivation;
        extra.kdf = function.map(Cow::Borrowed);
        extra.salt = Some(Cow::Owned(salt));
        extra.iterations = Some(iterations.into());
        extra.keylen = key_bytes.map(u64::from);
    }
    WampMessage::Challenge {
        method: Cow::Borrowed(method),
        extra: Sparse::of(extra),
    }
}

/// `WELCOME.Details.authextra`: the server's proof, under the specification's key and under the one that
/// stock clients look for.
pub(super) fn welcome_extra(accepted: &Accepted) -> Option<Sparse<AuthExtra<'_>>> {
    let signature = accepted.server_signature.as_deref()?;
    Some(Sparse::of(AuthExtra {
        scram_server_signature: Some(Cow::Borrowed(signature)),
        verifier: Some(Cow::Owned(format!("v={signature}"))),
        ..AuthExtra::default()
    }))
}

/// What ABORT says.
pub(super) fn refusal(error: AuthError) -> (&'static str, &'static str) {
    match error {
        AuthError::NoMatchingMethod => (
            uri::NO_MATCHING_AUTH_METHOD,
            "None of these authmethods is served for this realm, or none for this authid.",
        ),
        AuthError::Required => (
            uri::AUTHENTICATION_REQUIRED,
            "This realm has no anonymous sessions: HELLO must name authmethods and authid.",
        ),
        AuthError::NoSuchRole => (
            uri::NO_SUCH_ROLE,
            "There is no such role for this authid: authrole may be left out.",
        ),
        AuthError::Denied => (
            uri::AUTHENTICATION_DENIED,
            "The authid is not known, or what was answered to CHALLENGE is wrong.",
        ),
        AuthError::ChannelBinding => (
            uri::NO_MATCHING_AUTH_METHOD,
            "Channel binding is not served: authextra.channel_binding must be null or left out.",
        ),
        AuthError::Malformed(what) => (uri::AUTHENTICATION_FAILED, what),
    }
}

/// What ABORT says of a ticket that could not be checked.
pub(super) const UNCHECKED: (&str, &str) = (
    uri::AUTHENTICATION_FAILED,
    "The ticket could not be checked now; try again.",
);
/// The same of one whose user has as many connections as it may have.
pub(super) const TOO_MANY: (&str, &str) = (
    uri::KILLED,
    "The user has as many connections as it may have (auth.connections_per_user_max).",
);
/// The method, and the role, of sessions that have no other.
pub(super) const ANONYMOUS: &str = "anonymous";
/// Stands before the name in [`Pending::said`] of a ticket that may be a token.
const CLAIM: char = '+';
/// No user of the configuration has this number.
const NO_USER: u32 = u32::MAX;
/// Longest name of a user: it is kept, and sent back in a challenge.
const USER_BYTES_MAX: usize = 255;
