//! Plain HTTP responses: each ends its connection.

use roost_net::ConnKey;
use roost_wire::handshake::{HandshakeError, write_response};
use tracing::debug;

use crate::closing::linger;
use crate::core::Core;

/// A response to a request that opens no WebSocket.
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
    /// Of the body, only its length is sent: the request was HEAD.
    pub(crate) head_only: bool,
}

impl<'a> Response<'a> {
    /// A line of text.
    pub(crate) fn text(status: u16, body: &'a [u8]) -> Response<'a> {
        Response {
            status,
            content_type: TEXT,
            headers: &[],
            body,
            head_only: false,
        }
    }
}

/// Answers with plain HTTP, then ends the connection.
pub(crate) fn respond(core: &mut Core, key: ConnKey, response: &Response<'_>) {
    let connections = &mut core.connections;
    connections.end_handshake(key.slot());
    connections.release_contexts(key.slot()); // reserved for the WebSocket that it does not become
    let Response {
        status,
        content_type,
        headers,
        body,
        head_only,
    } = *response;
    connections.send_bytes(key, |arena| {
        write_response(arena, status, content_type, headers, body);
        if head_only {
            arena.truncate(arena.len() - body.len());
        }
    });
    linger(core, key);
}

/// Refuses a handshake that breaks a rule.
pub(crate) fn refuse_handshake(core: &mut Core, key: ConnKey, error: HandshakeError) {
    let reason = format!("{}\n", error.reason());
    debug!(
        connection = %core.id(key),
        status = error.status(),
        reason = error.reason(),
        "handshake refused"
    );
    core.counters.handshakes_refused_total.inc();
    let response = Response {
        headers: error.extra_headers(),
        ..Response::text(error.status(), reason.as_bytes())
    };
    respond(core, key, &response);
}

/// Refuses a request for a reason of the server's.
pub(crate) fn refuse(core: &mut Core, key: ConnKey, status: u16, reason: &str) {
    debug!(connection = %core.id(key), status, reason, "refused");
    core.counters.handshakes_refused_total.inc();
    let body = format!("{reason}\n");
    respond(core, key, &Response::text(status, body.as_bytes()));
}

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const NOT_FOUND: &str = "This server has nothing at this path.";
