//! HELLO, CHALLENGE and AUTHENTICATE in the words of an [`Authenticator`], and back. What knows secrets
//! is not here.

use std::borrow::Cow;
use std::sync::Arc;

use roost_access::{
    Accepted, Answer, AuthError, Authenticator, Begun, Challenge, Derivation, Hello, Pending,
};

use super::dict::Sparse;
use super::message::WampMessage;
use super::options::{AuthExtra, HelloDetails};
use super::uri;

/// What knows the users. Two are equal if they are the same one.
#[derive(Debug, Clone)]
pub struct Users(pub Arc<dyn Authenticator>);

impl PartialEq for Users {
    fn eq(&self, other: &Users) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Users {}

/// A client has said HELLO for a realm that exists. Without users all sessions are anonymous.
pub(super) fn begin(
    users: Option<&Users>,
    (realm, session): (&str, u64),
    details: Option<&HelloDetails<'_>>,
) -> Result<Begun, AuthError> {
    let methods = details.and_then(|details| details.authmethods.as_ref());
    let methods = methods.map_or(&[][..], |methods| methods.as_slice());
    let methods: Vec<&str> = methods.iter().map(|method| &**method).collect();
    let role = details.and_then(|details| details.authrole.as_deref());
    let Some(Users(users)) = users else {
        return match (methods.is_empty() || methods.contains(&ANONYMOUS), role) {
            (false, _) => Err(AuthError::NoMatchingMethod),
            (true, None | Some(ANONYMOUS)) => Ok(Begun::Accepted(Accepted::default())),
            (true, Some(_)) => Err(AuthError::NoSuchRole),
        };
    };
    let user = details.and_then(|details| details.authid.as_deref());
    if user.is_some_and(|user| user.len() > USER_BYTES_MAX) {
        return Err(AuthError::Malformed("authid has at most 255 bytes."));
    }
    let extra = details.and_then(|details| details.authextra.as_ref());
    let extra = extra.and_then(Sparse::get);
    users.begin(&Hello {
        realm,
        session,
        user: user.filter(|user| !user.is_empty()),
        role,
        methods: &methods,
        nonce: extra.and_then(|extra| extra.nonce.as_deref()),
        public_key: extra.and_then(|extra| extra.pubkey.as_deref()),
        channel_binding: extra.and_then(|extra| extra.channel_binding.as_deref()),
    })
}

/// A client has said AUTHENTICATE.
pub(super) fn finish(
    users: Option<&Users>,
    pending: &Pending,
    signature: &str,
    extra: Option<&AuthExtra<'_>>,
) -> Result<Accepted, AuthError> {
    let Some(Users(users)) = users else {
        return Err(AuthError::Denied); // another process had some, and this one has none
    };
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

/// The method, and the role, of sessions that have no other.
pub(super) const ANONYMOUS: &str = "anonymous";
/// Longest name of a user: it is kept, and sent back in a challenge.
const USER_BYTES_MAX: usize = 255;
