//! Who the client is: `connect` and `refresh`.

use super::Settings;
use super::client::{Connected, Expiry};
use super::codes::{self, Disconnect};
use super::connecting::Connecting;
use super::reply::Lines;
use super::request::{Connect, Refresh};
use super::served;
use super::session::Session;
use super::step::Step;
use crate::dialect::{Admission, TokenRefusal};
use crate::json::Text;

/// A client connects: its token is checked first, and then what the server subscribes it to.
pub(super) fn handle_connect<'a>(
    session: &mut Session,
    id: u32,
    connect: Connect<'a>,
    settings: &Settings,
    (lines, new_id): (&mut Lines<'_>, &mut dyn FnMut() -> u64),
) -> Result<Step<'a>, Disconnect> {
    if session.is_connected() {
        return Err(codes::MALFORMED);
    }
    let Some(outcome) = session.take_outcome() else {
        let token = connect.token.map(|Text(token)| token);
        return Ok(Step::CheckToken(token.filter(|token| !token.is_empty())));
    };
    let admission = match outcome {
        Ok(admission) => admission,
        Err(refusal) => {
            lines.error(id, codes::after_refusal(refusal)?);
            return Ok(Step::Done);
        }
    };
    let Admission {
        user,
        expires_in_s,
        provider: _,
        subscriptions,
        info,
    } = admission;
    // Two draws of 53 bits: all 64 are random, and not all 0.
    let client = (new_id() << 11 ^ new_id()).max(1);
    let personal = (settings.personal_channels && !user.is_empty())
        .then(|| format!("{PERSONAL}{}", &*user).into_boxed_str());
    session.connect(client, user, info.as_ref());
    if !subscriptions.is_empty() || personal.is_some() {
        let names = personal.into_iter().chain(subscriptions.iter().cloned());
        let limits = (
            settings.subscriptions_per_connection_max,
            settings.channel_name_bytes_max,
        );
        let connecting = Connecting::new((id, expires_in_s), names, connect.subs, limits);
        session.set_connecting(Box::new(connecting));
        return Ok(served::next_step(session).unwrap_or(Step::Done));
    }
    let connected = Connected {
        client: &session.client_id(),
        expiry: &Expiry { in_s: expires_in_s },
        ping_s: settings.ping_interval_s,
        emulation: session.emulation(),
    };
    lines.connected(id, &connected, std::iter::empty());
    Ok(Step::Done)
}

/// A client shows another token.
pub(super) fn handle_refresh<'a>(
    session: &mut Session,
    id: u32,
    refresh: Refresh<'a>,
    lines: &mut Lines<'_>,
) -> Result<Step<'a>, Disconnect> {
    let token = refresh.token.map(|Text(token)| token);
    let token = token.filter(|token| !token.is_empty());
    let token = token.ok_or(codes::MALFORMED)?;
    match session.take_outcome() {
        None => return Ok(Step::CheckToken(Some(token))),
        Some(Ok(Admission { user, .. })) if user != session.user() => {
            return Err(codes::INVALID_TOKEN);
        }
        Some(Ok(Admission {
            expires_in_s, info, ..
        })) => {
            session.set_info(info.as_ref());
            let expiry = Expiry { in_s: expires_in_s };
            lines.refreshed(id, &session.client_id(), &expiry);
        }
        Some(Err(TokenRefusal::Expired)) => return Err(codes::EXPIRED),
        Some(Err(refusal)) => lines.error(id, codes::after_refusal(refusal)?),
    }
    Ok(Step::Done)
}

/// What stands before a user's name in that of the channel of its own.
const PERSONAL: char = '#';
