//! Plain HTTP responses: those behind which the connection goes on, and those that end it.

use roost_dialect::sse::retry_ms;
use roost_net::{CloseMode, ConnKey};
use roost_wire::handshake::{HandshakeError, Request};
use roost_wire::http::{BodyError, ResponseBody, ResponseHead, wants_keep_alive, write_head};
use tracing::debug;

use crate::closing::{cut, linger};
use crate::core::Core;

/// A response to a request that opens no WebSocket.
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// What a request says of how it is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// 0 for HTTP/1.0.
    pub(crate) minor_version: u8,
    /// The client wants another request answered on the connection.
    pub(crate) keep_alive: bool,
    /// Of the body, only its length is sent.
    pub(crate) is_head: bool,
}

impl<'a> Response<'a> {
    /// A line of text.
    pub(crate) fn text(status: u16, body: &'a [u8]) -> Response<'a> {
        Response {
            status,
            content_type: TEXT,
            headers: &[],
            body,
        }
    }

    fn write(&self, out: &mut Vec<u8>, asked: Asked, keep_alive: bool) {
        let head = ResponseHead {
            status: self.status,
            headers: &with_type(self.content_type, self.headers),
            body: match self.status {
                204 => ResponseBody::None,
                _ => ResponseBody::Length(self.body.len() as u64),
            },
            keep_alive,
            minor_version: asked.minor_version,
        };
        write_head(out, &head);
        if !asked.is_head {
            out.extend_from_slice(self.body);
        }
    }
}

impl Asked {
    pub(crate) fn by(request: &Request<'_>) -> Asked {
        Asked {
            minor_version: request.minor_version(),
            keep_alive: wants_keep_alive(request),
            is_head: request.method() == "HEAD",
        }
    }
}

/// Headers with the Content-Type before them.
pub(crate) fn with_type<'a>(
    content_type: &'a str,
    headers: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let first = [("Content-Type", content_type)];
    first.iter().chain(headers).copied().collect()
}

/// Answers a plain request. The connection goes on behind it where client and server are willing, and
/// else ends.
pub(crate) fn answer(core: &mut Core, key: ConnKey, asked: Asked, response: &Response<'_>) {
    let goes_on = asked.keep_alive && may_go_on(core, key);
    count(core, response.status);
    core.connections
        .send_bytes(key, |arena| response.write(arena, asked, goes_on));
    match goes_on {
        true => core.connections.end_exchange(key),
        false => linger(core, key),
    }
}

/// Answers a plain request that breaks a rule, but not one of how requests are told apart.
pub(crate) fn answer_error(core: &mut Core, key: ConnKey, asked: Asked, error: HandshakeError) {
    note_refused(core, key, error.status(), error.reason());
    let body = format!("{}\n", error.reason());
    let response = Response {
        headers: error.extra_headers(),
        ..Response::text(error.status(), body.as_bytes())
    };
    answer(core, key, asked, &response);
}

/// Answers a plain request that is refused for a reason of the server's.
pub(crate) fn answer_refused(
    core: &mut Core,
    key: ConnKey,
    asked: Asked,
    status: u16,
    reason: &str,
) {
    note_refused(core, key, status, reason);
    let body = format!("{reason}\n");
    answer(core, key, asked, &Response::text(status, body.as_bytes()));
}

/// Whether the server is willing to answer another request on the connection.
pub(crate) fn may_go_on(core: &Core, key: ConnKey) -> bool {
    let limits = &core.settings.limits;
    let answered = core.connections.exchanges().get(key.slot()).answered;
    // Who the client is was found out for one request: a proxy's next may be of somebody else.
    let is_anonymous = core.connections.identities().get(key.slot()).is_none();
    !core.is_draining
        && is_anonymous
        && limits.http_keep_alive_timeout_ms > 0
        && answered.saturating_add(1) < limits.http_requests_per_connection_max
}

/// Answers with plain HTTP, then ends the connection.
pub(crate) fn respond(core: &mut Core, key: ConnKey, response: &Response<'_>) {
    let connections = &mut core.connections;
    if connections.exchanges().get(key.slot()).stream.is_some() {
        // The answer under way has no place for another in it.
        return cut(core, key, CloseMode::Abort);
    }
    if connections.is_handshaking(key.slot()) {
        return cut(core, key, CloseMode::Abort); // it cannot read an answer yet
    }
    connections.end_handshake(key.slot());
    connections.release_contexts(key.slot()); // reserved for the WebSocket that it does not become
    count(core, response.status);
    core.connections
        .send_bytes(key, |arena| response.write(arena, LAST, false));
    linger(core, key);
}

/// Answers a request for an event stream by one that ends with its beginning, and tells its client to come
/// back: it takes any status but 200 as final.
pub(crate) fn come_back(core: &mut Core, key: ConnKey, head: &[u8]) {
    let retry_ms = retry_ms(core.sessions.new_id());
    let body = format!(": this server cannot serve the stream now\nretry: {retry_ms}\n\n");
    end_with_head(core, key, &[head, body.as_bytes()].concat());
}

/// Answers with these bytes, a head at least, and ends the connection.
pub(crate) fn end_with_head(core: &mut Core, key: ConnKey, answer: &[u8]) {
    count(core, 200);
    core.connections
        .send_bytes(key, |arena| arena.extend_from_slice(answer));
    linger(core, key);
}

/// Refuses a handshake that breaks a rule.
pub(crate) fn refuse_handshake(core: &mut Core, key: ConnKey, error: HandshakeError) {
    note_refused(core, key, error.status(), error.reason());
    let reason = format!("{}\n", error.reason());
    let response = Response {
        headers: error.extra_headers(),
        ..Response::text(error.status(), reason.as_bytes())
    };
    respond(core, key, &response);
}

/// Refuses a request for a reason of the server's.
pub(crate) fn refuse(core: &mut Core, key: ConnKey, status: u16, reason: &str) {
    note_refused(core, key, status, reason);
    let body = format!("{reason}\n");
    respond(core, key, &Response::text(status, body.as_bytes()));
}

/// Refuses a connection whose address begins too many: it may come back in so many seconds, and some
/// more, so that they do not all come together. The request may not have come.
pub(crate) fn refuse_too_often(core: &mut Core, key: ConnKey, seconds: u32) {
    core.counters.refused_connect_rate_total.inc();
    let jitter = core.sessions.new_id() % RETRY_JITTER_S;
    let seconds = (u64::from(seconds) + jitter).to_string();
    let headers = [("Retry-After", seconds.as_str())];
    refuse_naming(core, key, 429, TOO_OFTEN, &headers);
}

/// The same with headers, by which a client's program can tell.
pub(crate) fn refuse_naming(
    core: &mut Core,
    key: ConnKey,
    status: u16,
    reason: &str,
    headers: &[(&str, &str)],
) {
    note_refused(core, key, status, reason);
    let body = format!("{reason}\n");
    let response = Response {
        headers,
        ..Response::text(status, body.as_bytes())
    };
    respond(core, key, &response);
}

/// Refuses a body. RFC 9112 §6.3, §11.2: where the next request begins is not known any more.
pub(crate) fn refuse_body(core: &mut Core, key: ConnKey, error: BodyError) {
    refuse(core, key, error.status(), error.reason());
}

fn note_refused(core: &Core, key: ConnKey, status: u16, reason: &str) {
    debug!(connection = %core.id(key), status, reason, "refused");
    core.counters.handshakes_refused_total.inc();
}

/// Counts a response that is no 101.
pub(crate) fn count(core: &Core, status: u16) {
    let counters = &core.counters;
    let class = match status {
        ..400 => &counters.http_responses_2xx_total,
        400..500 => &counters.http_responses_4xx_total,
        500.. => &counters.http_responses_5xx_total,
    };
    class.inc();
}

/// Of a request that may not be whole, or not HTTP.
const LAST: Asked = Asked {
    minor_version: 1,
    keep_alive: false,
    is_head: false,
};
const TOO_OFTEN: &str = "Too many connections from this address.";
/// Seconds over which clients are spread that were told to come back.
const RETRY_JITTER_S: u64 = 10;
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const NOT_FOUND: &str = "This server has nothing at this path.";
