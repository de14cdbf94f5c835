//! Responses whose body comes in pieces over time.
//!
//! A stream begins with [`begin`] instead of an answer. Its pieces go out like all output: at the end
//! of the loop iteration, through the connection's outbox, whose limit closes a slow consumer. It ends
//! with [`end`], or when its client leaves: then [`write`] says so, and the session of the connection's
//! dialect is closed like that of a WebSocket ([`crate::closing`]). A client that takes nothing of what
//! waits for `limits.ping_timeout` is cut; between two pieces that are far apart nothing is asked of it.
#![cfg_attr(
    not(test),
    expect(dead_code, reason = "no path is answered by a stream yet")
)]

use roost_net::{CloseMode, ConnKey, Driver};
use roost_wire::http::{ResponseBody, ResponseHead, write_chunk, write_head, write_last_chunk};

use crate::closing::{cut, linger};
use crate::connections::{Flags, Index, Stream};
use crate::core::Core;
use crate::responses::{Asked, count, may_go_on, with_type};

/// Answers a plain request by a stream. False if nothing of it is to be written: the request was HEAD.
pub(crate) fn begin(
    core: &mut Core,
    key: ConnKey,
    asked: Asked,
    content_type: &str,
    headers: &[(&str, &str)],
) -> bool {
    let head = ResponseHead {
        status: 200,
        headers: &with_type(content_type, headers),
        body: ResponseBody::Stream,
        keep_alive: asked.keep_alive && may_go_on(core, key),
        minor_version: asked.minor_version,
    };
    let stream = Stream {
        is_chunked: head.is_chunked(),
        keep_alive: head.keeps_alive(),
    };
    count(core, head.status);
    core.connections
        .send_bytes(key, |arena| write_head(arena, &head));
    if asked.is_head {
        finish(core, key, stream);
        return false;
    }
    core.connections.begin_stream(key, stream);
    true
}

/// Sends a piece of a stream. False if the connection has no stream: it is over.
pub(crate) fn write(core: &mut Core, key: ConnKey, piece: &[u8]) -> bool {
    let Some(stream) = stream_of(core, key) else {
        return false;
    };
    if !piece.is_empty() {
        core.connections
            .send_bytes(key, |arena| match stream.is_chunked {
                true => write_chunk(arena, piece),
                false => arena.extend_from_slice(piece),
            });
    }
    true
}

/// Ends a stream; the connection goes on if it may.
pub(crate) fn end(core: &mut Core, key: ConnKey) {
    let Some(stream) = core.connections.end_stream(key) else {
        return;
    };
    if stream.is_chunked {
        core.connections.send_bytes(key, write_last_chunk);
    }
    finish(core, key, stream);
}

fn finish(core: &mut Core, key: ConnKey, stream: Stream) {
    match stream.keep_alive {
        true => core.connections.end_exchange(key),
        false => linger(core, key),
    }
}

/// The stream of a connection, if it has one.
fn stream_of(core: &Core, key: ConnKey) -> Option<Stream> {
    core.connections.get(key)?;
    core.connections.exchanges().get(key.slot()).stream
}

/// A stream's deadline is over: of what waited when it was last over, its client must have taken some.
pub(crate) fn check<D: Driver>(core: &mut Core, driver: &D, key: ConnKey) {
    let ping_timeout_ms = core.settings.limits.ping_timeout_ms.max(1);
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    if conn.outbox == Index::NONE && !conn.flags.has(Flags::IN_FLIGHT) {
        conn.flags.clear(Flags::PING_SENT);
    } else if conn.flags.has(Flags::PING_SENT) {
        if core
            .connections
            .overdue()
            .is_silent(driver, key, ping_timeout_ms)
        {
            core.counters.http_stream_timeouts_total.inc();
            cut(core, key, CloseMode::Abort);
        }
        return;
    } else {
        conn.flags.set(Flags::PING_SENT);
    }
    core.connections.set_deadline(key.slot(), ping_timeout_ms);
}
