//! Requests that want no WebSocket: pages, and what load balancers ask.

#[cfg(test)]
mod test_handler;

use roost_dialect::DialectKind;
use roost_dialect::dialect::{Accept, Headers};
use roost_net::ConnKey;
use roost_wire::handshake::{HandshakeError, Request};

use crate::core::Core;
use crate::responses::{Asked, NOT_FOUND, Response, TEXT, answer, answer_error, answer_refused};
use crate::settings::Page;
use crate::{emulation, event_streams};

fn answer_with_page(core: &mut Core, key: ConnKey, asked: Asked, page: &Page) {
    let response = Response {
        status: 200,
        content_type: page.content_type,
        headers: &[
            ("Cache-Control", "no-cache"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", page.content_security_policy),
        ],
        body: page.body,
    };
    answer(core, key, asked, &response);
}

/// Answers a request that wants no WebSocket. `body` is there where [`wants_body`] said so.
pub(crate) fn handle_plain(
    core: &mut Core,
    key: ConnKey,
    request: &Request<'_>,
    asked: Asked,
    body: Option<&[u8]>,
) {
    #[cfg(test)]
    if request.path().starts_with(test_handler::PREFIX) {
        return test_handler::handle(core, key, request, asked, body.unwrap_or_default());
    }
    let path = request.path();
    if request.method() == "OPTIONS" || path == core.listener(key).config.health_path {
        return handle_health_check(core, key, request, asked);
    }
    let settings = core.settings.clone();
    let listener = core.listener_number(key);
    let pages = &settings.listener(listener).pages;
    let page = pages.iter().find(|page| page.path == path);
    let offer = settings.offer(path, &[], Headers::of(request));
    let (dialect, accept) = match settings.accept(listener, &offer) {
        Some((dialect, accept)) => (Some(dialect), Some(accept)),
        None => (None, None),
    };
    if let (Some(dialect), Some(accept)) = (dialect, &accept)
        && handle_emulated(core, key, request, asked, (dialect, accept), body)
    {
        return;
    }
    match request.method() {
        "GET" | "HEAD" => {}
        _ if page.is_none() && path != "/" && accept.is_none() => {
            return answer_refused(core, key, asked, 404, NOT_FOUND);
        }
        _ => return answer_error(core, key, asked, HandshakeError::Method),
    }
    if let Some(page) = page {
        return answer_with_page(core, key, asked, page);
    }
    match accept {
        None | Some(Accept::NotMine) if path == "/" => {
            // What some balancers ask by default; and what a person tries first.
            let (status, body) = match core.is_leaving {
                false => (200, NO_PAGE),
                true => (503, DRAINING),
            };
            let response = Response {
                headers: NO_STORE,
                ..Response::text(status, body)
            };
            answer(core, key, asked, &response);
        }
        None | Some(Accept::NotMine) => answer_refused(core, key, asked, 404, NOT_FOUND),
        Some(Accept::Stream(join)) => {
            if let Some(dialect) = dialect {
                event_streams::begin(core, key, request, asked, (dialect, join));
            }
        }
        Some(Accept::Refused(reason)) => answer_refused(core, key, asked, 400, &reason),
        Some(Accept::RefusedNaming(reason, _)) => answer_refused(core, key, asked, 400, reason),
        Some(Accept::Emulated(_) | Accept::Relay) => {
            debug_assert!(false, "they were handled before");
        }
        Some(Accept::Open { .. } | Accept::OpenAndClose(..)) => {
            core.counters.handshakes_refused_total.inc();
            let response = Response {
                // RFC 9110 §15.5.22: 426 names the protocol to upgrade to; §7.8: Connection names it.
                headers: HandshakeError::VersionUnsupported.extra_headers(),
                ..Response::text(426, UPGRADE_REQUIRED)
            };
            answer(core, key, asked, &response);
        }
    }
}

/// Requests of clients without a WebSocket; false for others.
fn handle_emulated(
    core: &mut Core,
    key: ConnKey,
    request: &Request<'_>,
    asked: Asked,
    (dialect, accept): (DialectKind, &Accept<'_>),
    body: Option<&[u8]>,
) -> bool {
    let body = body.unwrap_or_default();
    let allowed = match accept {
        Accept::Relay if request.method() == "POST" => {
            emulation::relay(core, key, request, asked, body);
            return true;
        }
        Accept::Emulated(emulated) => {
            let method = match request.method() {
                "HEAD" => "GET",
                method => method,
            };
            if method == emulated.method() {
                let first = emulated.message.as_deref().map_or(body, str::as_bytes);
                emulation::begin(core, key, request, asked, (dialect, emulated), first);
                return true;
            }
            emulated.method()
        }
        Accept::Relay => "POST",
        _ => return false,
    };
    let reason = format!("This path takes {allowed}.\n");
    let response = Response {
        headers: &[("Allow", allowed)],
        ..Response::text(405, reason.as_bytes())
    };
    core.counters.handshakes_refused_total.inc();
    answer(core, key, asked, &response);
    true
}

/// Whether the body of a request is to be kept for [`handle_plain`]; otherwise it is read and dropped.
pub(crate) fn wants_body(core: &Core, key: ConnKey, request: &Request<'_>) -> bool {
    #[cfg(test)]
    if request.path().starts_with(test_handler::PREFIX) {
        return true;
    }
    if request.method() != "POST" {
        return false;
    }
    let offer = core
        .settings
        .offer(request.path(), &[], Headers::of(request));
    let accepted = core.settings.accept(core.listener_number(key), &offer);
    matches!(accepted, Some((_, Accept::Emulated(_) | Accept::Relay)))
}

/// A balancer asks whether to send clients here: on the health path, or with OPTIONS on any. While
/// draining it is refused, if its request came before the port was closed.
fn handle_health_check(core: &mut Core, key: ConnKey, request: &Request<'_>, asked: Asked) {
    let method = request.method();
    let body: &[u8] = match method {
        "GET" | "HEAD" => b"ok\n",
        "OPTIONS" => b"",
        _ => return answer_error(core, key, asked, HandshakeError::Method),
    };
    core.counters.health_checks_total.inc();
    let (status, body) = match core.is_leaving {
        false => (200, body),
        true => (503, DRAINING),
    };
    let mut headers = match method {
        // RFC 9110 §9.3.7.
        "OPTIONS" => HandshakeError::Method.extra_headers(),
        _ => NO_STORE,
    }
    .to_vec();
    if method == "OPTIONS" {
        headers.extend(preflight(core, key, request));
    }
    let response = Response {
        status,
        content_type: TEXT,
        headers: &headers,
        body,
    };
    answer(core, key, asked, &response);
}

/// What a page may ask for with headers of its own (Fetch, "CORS-preflight fetch"): streams, and what their
/// clients send.
fn preflight<'r>(core: &Core, key: ConnKey, request: &Request<'r>) -> Vec<(&'static str, &'r str)> {
    let method = request.header("Access-Control-Request-Method");
    if !matches!(method, Some("GET" | "POST")) {
        return Vec::new();
    }
    let mut headers =
        event_streams::allowed_origin(&core.listener(key).origins, request.header("Origin"));
    headers.push((
        "Access-Control-Allow-Headers",
        "Authorization, Content-Type, Last-Event-ID",
    ));
    headers.push(("Access-Control-Max-Age", "86400"));
    headers
}

const NO_STORE: &[(&str, &str)] = &[("Cache-Control", "no-store")];
const NO_PAGE: &[u8] = b"This server speaks WebSocket; there is no page here.\n";
const DRAINING: &[u8] = b"draining\n";
const UPGRADE_REQUIRED: &[u8] =
    b"This path speaks WebSocket: the request needs \"Upgrade: websocket\" and \"Connection: Upgrade\". \
      Behind a proxy, have it forward the headers Upgrade and Connection.\n";
