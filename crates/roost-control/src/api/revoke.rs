//! Tokens that are not taken any more, and the end of the connections that came by them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use roost_access::Revoked;
use roost_reactor::{Request as ReactorRequest, Revocation};
use serde::{Deserialize, Serialize};

use super::access::{Action, decide};
use super::body::{Whole, answer_json, parse, present, read_json};
use super::call::Call;
use super::problem::Problem;
use super::users::{AHEAD_SECS_MAX, check_user, do_at_all};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jti: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    user: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "present")]
    issued_before: Option<Whole>,
    #[serde(default, deserialize_with = "present")]
    expire_at: Option<Whole>,
}

#[derive(Serialize)]
struct Answer {
    /// Connections that came by such tokens.
    disconnected: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_before: Option<u32>,
    expire_at: u64,
}

/// `POST /v1/revoke`.
pub(super) async fn revoke(call: &Call, request: Request<Body>) -> Result<Response, Problem> {
    decide(&call.caller, Action::Revoke)?;
    let body = read_json(call, request).await?;
    let wanted: Wanted<'_> = parse(&body)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let revoked = wanted.revoked(now.as_secs())?;
    let expire_at = wanted.expire_at(now.as_secs(), call.api.limits.token_lifetime)?;
    let ends_in = Duration::from_secs(expire_at).saturating_sub(now);
    let revocation = Revocation {
        revoked,
        // The tick in which it ends is counted in full.
        ends_in_ms: u64::try_from(ends_in.as_millis()).unwrap_or(u64::MAX) + 100,
    };
    let issued_before = match &revocation.revoked {
        Revoked::User { issued_before, .. } => Some(*issued_before),
        Revoked::Token(_) => None,
    };
    // What one reactor may have is kept, whether all answer or not.
    if let Some(file) = &call.api.revocations {
        file.keep(&revocation.revoked, expire_at);
    }
    let request = ReactorRequest::Revoke(Box::new(revocation));
    let disconnected = do_at_all(call, |_| request.clone()).await?;
    let answer = Answer {
        disconnected,
        issued_before,
        expire_at,
    };
    answer_json(StatusCode::OK, &answer)
}

impl Wanted<'_> {
    fn revoked(&self, now: u64) -> Result<Revoked, Problem> {
        match (self.jti.as_deref(), self.user.as_deref()) {
            (Some(_), None) if self.issued_before.is_some() => {
                let detail = "issued_before is for a user's tokens; a jti is of one token";
                Err(Problem::invalid(detail))
            }
            (Some(jti), None) if (1..=JTI_BYTES_MAX).contains(&jti.len()) => {
                Ok(Revoked::Token(roost_tokens::id_of(jti)))
            }
            (Some(_), None) => {
                let detail = format!("a jti has 1 to {JTI_BYTES_MAX} bytes");
                Err(Problem::invalid(detail))
            }
            (None, Some(user)) => {
                // Of those issued in this second some may be older than the request.
                let before = self.issued_before.map_or(now + 1, |before| before.0);
                Ok(Revoked::User {
                    user: check_user(user)?.into(),
                    issued_before: u32::try_from(before).unwrap_or(u32::MAX),
                })
            }
            _ => Err(Problem::invalid(
                "give jti or user: a token, or all of a user",
            )),
        }
    }

    fn expire_at(&self, now: u64, token_lifetime: Option<Duration>) -> Result<u64, Problem> {
        let at = match (self.expire_at, token_lifetime) {
            (Some(at), _) => at.0,
            (None, Some(lifetime)) => now + lifetime.as_secs() + 1,
            (None, None) => {
                let detail = "tokens have no longest life here (auth.jwt.lifetime_max): give expire_at, \
                     the second from which on no such token is good any more";
                return Err(Problem::invalid(detail));
            }
        };
        if at > now + AHEAD_SECS_MAX {
            let detail = "expire_at is more than 400 days ahead";
            return Err(Problem::invalid(detail));
        }
        Ok(at)
    }
}

/// Of tokens.
const JTI_BYTES_MAX: usize = 255;
