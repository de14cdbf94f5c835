//! Subscriptions that a token of their own allows: the token is checked before the command is carried out, and
//! another one is shown before it has expired.

use std::borrow::Cow;
use std::sync::Arc;

use super::Settings;
use super::codes::{self, Disconnect, Error};
use super::reply::Lines;
use super::request::{SubRefresh, named};
use super::session::Session;
use super::step::Step;
use crate::check_channel_name;
use crate::dialect::{Command, Grant, TokenRefusal};
use crate::json::Text;

/// What is known of the token that a command shows.
pub(super) enum Shown<'a> {
    /// It is to be checked first.
    Unchecked(Cow<'a, str>),
    /// It is good, and others are told this of the subscription.
    Granted(Grant, Option<Arc<str>>),
    Refused(Error),
}

/// Looks for what has become of a token.
pub(super) fn look<'a>(session: &mut Session, token: Cow<'a, str>) -> Shown<'a> {
    match session.take_outcome() {
        None => Shown::Unchecked(token),
        Some(Ok(admission)) => {
            let expires_in_s = admission.expires_in_s;
            Shown::Granted(Grant { expires_in_s }, admission.info)
        }
        Some(Err(refusal)) => Shown::Refused(error_of(refusal)),
    }
}

/// After an error that is not temporary a client gives the subscription up, but for 109: it shows another token.
fn error_of(refusal: TokenRefusal) -> Error {
    match refusal {
        TokenRefusal::Expired => codes::TOKEN_EXPIRED,
        TokenRefusal::Unavailable => codes::INTERNAL,
        TokenRefusal::Missing | TokenRefusal::Invalid | TokenRefusal::TooMany => {
            codes::PERMISSION_DENIED
        }
    }
}

/// A client shows another token for a subscription.
pub(super) fn handle_sub_refresh<'a>(
    session: &mut Session,
    id: u32,
    refresh: SubRefresh<'a>,
    settings: &Settings,
    lines: &mut Lines<'_>,
) -> Result<Step<'a>, Disconnect> {
    let Text(channel) = named(refresh.channel)?;
    let token = refresh.token.map(|Text(token)| token);
    let is_good = check_channel_name(&channel, settings.channel_name_bytes_max).is_ok();
    let error = match token.filter(|token| is_good && !token.is_empty()) {
        None => codes::BAD_REQUEST,
        Some(token) => match look(session, token) {
            Shown::Unchecked(token) => return Ok(Step::CheckSubscription(token, channel)),
            Shown::Granted(grant, _) => {
                return Ok(Step::Command(Command::RefreshGrant {
                    channel,
                    grant,
                    token: u64::from(id),
                }));
            }
            Shown::Refused(error) => error,
        },
    };
    lines.error(id, error);
    Ok(Step::Done)
}

/// What it is told.
pub(super) fn on_refreshed(id: u32, existed: bool, grant: Grant, lines: &mut Lines<'_>) {
    if !existed {
        return lines.error(id, codes::PERMISSION_DENIED);
    }
    lines.subscription_refreshed(id, grant.expires_in_s);
}
