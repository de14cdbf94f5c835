//! Who a client is, by the token in its handshake. It is found here; the control thread has it checked,
//! and the handshake waits: a check may take as long as a signature does, or a fetch of keys.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roost_access::{Identity, Method, Secret};
use roost_dialect::DialectKind;
use roost_net::ConnKey;
use roost_tls::ClientName;
use roost_wire::handshake::Request;
use tracing::debug;

use crate::client_certificates;
use crate::clock::tick_in;
use crate::connections::{Partial, PendingCheck, Phase, TooMany};
use crate::core::Core;
use crate::hook_asks::ask_connect;
use crate::peer_message::PeerMessage;
use crate::responses::{refuse, refuse_naming};
use crate::token_checks::{Denied, Login, TokenCheck, Verdict};

/// Whether a handshake may go on now. If not, it waits for its token's check, or was refused.
pub(crate) fn admits(
    core: &mut Core,
    key: ConnKey,
    request: &Request<'_>,
    dialect: DialectKind,
    (head, rest): (&[u8], &[u8]),
) -> bool {
    let (auth, hooks) = (&core.settings.auth, &core.settings.hooks);
    let is_asked = auth.is_on || auth.is_required || hooks.asks_connect;
    if !(is_asked || core.connections.has_client_names())
        || core.connections.identities().get(key.slot()).is_some()
    {
        return true; // no token is asked for, or it was checked, or the application was asked
    }
    let found = match auth.is_on {
        true => find_token(request, &auth.cookie),
        false => Ok(None),
    };
    let token = match found {
        Ok(token) => token,
        Err(reason) => {
            core.counters.tokens_refused_total.inc();
            refuse(core, key, 400, reason);
            return false;
        }
    };
    // These have a place of their own for credentials, behind the handshake.
    let logs_in = match dialect {
        DialectKind::Wamp => auth.wamp_logs_in,
        DialectKind::Centrifugo => true,
        _ => false,
    };
    let is_needed = auth.is_required && !logs_in;
    match token {
        // What a token says is more than what a certificate does.
        Some(token) => await_check(core, key, token, (head, rest)),
        None if core.connections.has_client_names()
            && let Some(name) = core.connections.take_client_name(key.slot()) =>
        {
            return admits_certificate(core, key, name);
        }
        None if hooks.asks_connect => {
            ask_connect(core, key, request, dialect.name(), (head, rest));
        }
        None if is_needed => {
            core.counters.tokens_refused_total.inc();
            let challenge = ("WWW-Authenticate", "Bearer");
            let reason =
                "This server wants a token: Authorization: Bearer, or a subprotocol roost.bearer.";
            refuse_naming(core, key, 401, reason, &[challenge]);
        }
        None => return true,
    }
    false
}

/// Whether the handshake of a client that its certificate names may go on. If not, it was refused.
fn admits_certificate(core: &mut Core, key: ConnKey, name: ClientName) -> bool {
    let identity = match client_certificates::identity(core, key, name) {
        Ok(identity) => identity,
        Err(reason) => {
            refuse(core, key, 403, reason);
            return false;
        }
    };
    let identified = core.connections.identify(key, identity);
    if let Err(TooMany) = identified {
        refuse(core, key, 429, TOO_MANY);
    }
    identified.is_ok()
}

/// The handshake is kept as it came, and gone through again once the token is known to be good.
fn await_check(core: &mut Core, key: ConnKey, token: Secret, (head, rest): (&[u8], &[u8])) {
    if is_too_long(core, token.expose().len()) {
        return refuse_token(core, key, TOO_LONG);
    }
    if is_busy(core) {
        return refuse_busy(core, key, "Too many clients log in at once; try again.");
    }
    let bytes = [head, rest].concat();
    core.connections.work(key.slot(), bytes.len() as u64);
    let pending = PendingCheck {
        bytes,
        head_len: head.len(),
        is_hook: false,
    };
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    conn.phase = Phase::Joining;
    core.connections
        .keep_partial(key.slot(), Partial::PendingCheck(Box::new(pending)));
    core.connections.pause(key);
    let wait_ms = core.settings.auth.wait_ms;
    core.connections.set_deadline(key.slot(), wait_ms);
    core.token_checks.push(TokenCheck {
        key,
        token,
        channel: None,
    });
    core.has_for_control = true;
}

/// Whether a token is longer than any that is taken.
pub(crate) fn is_too_long(core: &Core, bytes: usize) -> bool {
    let bytes_max = core.settings.auth.token_bytes_max;
    bytes_max > 0 && bytes > bytes_max
}

/// Whether so many wait for their token's check that no more may.
pub(crate) fn is_busy(core: &Core) -> bool {
    let waiting = core.connections.inputs().checks() + core.token_checks.open();
    waiting >= core.settings.auth.checks_max as usize
}

/// Sends the checks of this loop iteration in one message; those for which the ring has no room stay
/// for the next.
#[inline(never)]
pub(crate) fn send_checks(core: &mut Core) {
    let Core {
        token_checks,
        connections,
        channels,
        ..
    } = core;
    // Nobody waits for those that were given up, or whose connection has ended.
    let mut checks = token_checks.take();
    checks.retain(|check| match connections.get(check.key) {
        Some(conn) => conn.phase == Phase::Joining || token_checks.awaits(check.key.slot()),
        None => false,
    });
    if checks.is_empty() {
        return;
    }
    if let Err(PeerMessage::TokenChecks(checks)) =
        channels.send_to_control(PeerMessage::TokenChecks(checks))
    {
        token_checks.put_back(checks);
    }
}

/// The control thread has had a token checked. Returns the handshake to go on with, if it was good and
/// is still awaited.
pub(crate) fn handle_verdict(core: &mut Core, verdict: Verdict) -> Option<Box<PendingCheck>> {
    let Verdict { key, outcome } = verdict;
    let pending = match core
        .connections
        .take_partial(key_if_joining(core, key)?.slot())?
    {
        Partial::PendingCheck(pending) if !pending.is_hook => pending,
        other => {
            core.connections.keep_partial(key.slot(), other);
            return None;
        }
    };
    match outcome {
        Ok(login) => {
            let identity = identity_of(core.now(), login, Method::Token, 0);
            if core.revocations.is_revoked(&identity, core.now()) {
                refuse_token(core, key, REVOKED);
                return None;
            }
            if let Err(TooMany) = core.connections.identify(key, identity) {
                refuse(core, key, 429, TOO_MANY);
                return None;
            }
            core.counters.tokens_accepted_total.inc();
            core.connections.resume(key);
            return Some(pending);
        }
        Err(Denied::Refused(reason) | Denied::Expired(reason)) => refuse_token(core, key, &reason),
        Err(Denied::Unavailable(reason)) => refuse_busy(core, key, &reason),
    }
    None
}

/// As it is said of one that is looked at.
const TOO_LONG: &str = "The token is larger than auth.token_bytes_max.";

/// A token is not taken, for a reason without a quote in it.
fn refuse_token(core: &mut Core, key: ConnKey, reason: &str) {
    core.counters.tokens_refused_total.inc();
    debug_assert!(!reason.contains('"'), "{reason}");
    // RFC 6750 §3.1.
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{reason}\"");
    refuse_naming(core, key, 401, reason, &[("WWW-Authenticate", &challenge)]);
}

/// What a client is known as from now on; by this method, if it has an account. It ends so many
/// milliseconds later than what it was found out by.
pub(crate) fn identity_of(now: u32, login: Login, method: Method, grace_ms: u64) -> Identity {
    let ends = |ms: u64| tick_in(now, ms.saturating_add(grace_ms));
    Identity {
        method: match login.user.is_empty() {
            true => Method::Anonymous,
            false => method,
        },
        expires: login.expires_in_ms.map(ends),
        user: (&*login.user).into(),
        permissions: login.permissions,
        provider: login.provider,
        token: login.token,
    }
}

/// A handshake has waited for its check for too long.
pub(crate) fn on_check_timeout(core: &mut Core, key: ConnKey) {
    debug!(connection = %core.id(key), "the token was not checked in time");
    refuse_busy(
        core,
        key,
        "The token could not be checked in time; try again.",
    );
}

fn refuse_busy(core: &mut Core, key: ConnKey, reason: &str) {
    core.counters.tokens_unchecked_total.inc();
    refuse_naming(core, key, 503, reason, &[("Retry-After", "1")]);
}

fn key_if_joining(core: &Core, key: ConnKey) -> Option<ConnKey> {
    let conn = core.connections.get(key)?;
    (conn.phase == Phase::Joining).then_some(key)
}

/// The token that a request has: in the header, among the subprotocols, or in the cookie.
fn find_token(request: &Request<'_>, cookie: &str) -> Result<Option<Secret>, &'static str> {
    let mut found: Option<Secret> = None;
    let mut values = request.values("Authorization");
    if let Some(value) = values.next() {
        if values.next().is_some() {
            return Err("The request has more than one Authorization header.");
        }
        found = bearer(value).map(|token| Secret::from(token.to_vec()));
    }
    for value in request.values("Sec-WebSocket-Protocol") {
        let names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for encoded in names.filter_map(|name| name.strip_prefix(BEARER_PREFIX.as_bytes())) {
            let Ok(token) = URL_SAFE_NO_PAD.decode(encoded) else {
                return Err("Behind roost.bearer. stands no base64url without padding.");
            };
            if found.replace(Secret::from(token)).is_some() {
                return Err("The request has more than one token.");
            }
        }
    }
    if found.is_none() && !cookie.is_empty() {
        found = find_cookie(request, cookie)?;
    }
    Ok(found)
}

/// RFC 6750 §2.1; RFC 9110 §11.1: the scheme in any case. Other schemes are a proxy's affair.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ")).then(|| token.trim_ascii())
}

/// RFC 6265 §4.2.1.
fn find_cookie(request: &Request<'_>, name: &str) -> Result<Option<Secret>, &'static str> {
    let mut found = None;
    for value in request.values("Cookie") {
        for pair in value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
            let Some(value) = pair
                .strip_prefix(name.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"="))
            else {
                continue;
            };
            if found.replace(Secret::from(value.to_vec())).is_some() {
                return Err("The request has the cookie of the token more than once.");
            }
        }
    }
    Ok(found)
}

/// Whether an element of Sec-WebSocket-Protocol is a token: it is no subprotocol, is never selected, and
/// stands in no log.
pub(crate) fn is_token(subprotocol: &str) -> bool {
    subprotocol.starts_with(BEARER_PREFIX)
}

/// What a client is told whose user has too many connections.
pub(crate) const TOO_MANY: &str =
    "The user has as many connections as it may have (auth.connections_per_user_max).";
/// What a client is told whose token is not taken any more.
pub(crate) const REVOKED: &str = "The token is revoked.";
/// Browsers let a page set no header of a handshake but this one.
const BEARER_PREFIX: &str = "roost.bearer.";

#[cfg(test)]
mod tests {
    use super::*;

    fn find(headers: &str, cookie: &str) -> Result<Option<Vec<u8>>, &'static str> {
        let head = format!("GET /raw HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let request = Request::parse(head.as_bytes(), 64).expect("a head");
        let token = find_token(&request, cookie)?;
        Ok(token.map(|token| token.expose().to_vec()))
    }

    #[test]
    fn a_token_is_found_in_its_places() {
        let encoded = URL_SAFE_NO_PAD.encode("abc.def");
        let subprotocol = format!("Sec-WebSocket-Protocol: roost.raw, roost.bearer.{encoded}\r\n");
        let second = format!("Sec-WebSocket-Protocol: roost.raw\r\n{subprotocol}");
        for (headers, cookie) in [
            ("Authorization: Bearer abc.def\r\n", ""),
            ("authorization: bEARER   abc.def \r\n", ""),
            (subprotocol.as_str(), ""),
            (second.as_str(), "t"),
            ("Cookie: a=b; t=abc.def; c=d\r\n", "t"),
            ("Cookie: a=b\r\nCookie: t=abc.def\r\n", "t"),
            ("Authorization: Bearer abc.def\r\nCookie: t=other\r\n", "t"),
            ("Authorization: Basic x\r\nCookie: t=abc.def\r\n", "t"),
        ] {
            let token = find(headers, cookie);
            assert_eq!(token, Ok(Some(b"abc.def".to_vec())), "{headers}");
        }
        for (headers, cookie) in [
            ("", "t"),
            ("Authorization: Basic abc\r\n", ""),
            ("Authorization: Bearer\r\n", ""),
            ("Sec-WebSocket-Protocol: roost.raw, roost.bearer\r\n", ""),
            ("Cookie: t=abc.def\r\n", ""),
            ("Cookie: tt=abc; at=abc\r\n", "t"),
        ] {
            assert_eq!(find(headers, cookie), Ok(None), "{headers}");
        }
    }

    #[test]
    fn two_tokens_are_a_mistake() {
        let encoded = URL_SAFE_NO_PAD.encode("abc");
        let twice = format!("Sec-WebSocket-Protocol: roost.bearer.{encoded}, roost.bearer.eA\r\n");
        let both = format!(
            "Authorization: Bearer abc\r\nSec-WebSocket-Protocol: roost.bearer.{encoded}\r\n"
        );
        for headers in [
            twice.as_str(),
            &both,
            "Authorization: Bearer a\r\nAuthorization: Bearer a\r\n",
            "Authorization: Basic a\r\nAuthorization: Bearer a\r\n",
            "Cookie: t=a; t=b\r\n",
            "Sec-WebSocket-Protocol: roost.bearer.====\r\n",
            "Sec-WebSocket-Protocol: roost.bearer.a+b/\r\n",
            "Sec-WebSocket-Protocol: roost.bearer.AB\r\n",
        ] {
            assert!(find(headers, "t").is_err(), "{headers}");
        }
    }
}
