//! Answers of tests: an echo of the body, a long answer, and streams that a test goes on with.

use roost_net::ConnKey;
use roost_wire::handshake::Request;

use crate::core::Core;
use crate::responses::{Asked, NOT_FOUND, Response, TEXT, answer, answer_refused};
use crate::streams;

/// The paths that are answered here.
pub(super) const PREFIX: &str = "/test/";

pub(super) fn handle(
    core: &mut Core,
    key: ConnKey,
    request: &Request<'_>,
    asked: Asked,
    body: &[u8],
) {
    let path = request.path().strip_prefix(PREFIX).unwrap_or_default();
    let long: Option<usize> = path.strip_prefix("long/").and_then(|n| n.parse().ok());
    match (path, long) {
        ("echo", _) => answer(core, key, asked, &Response::text(200, body)),
        ("stream", _) => {
            streams::begin(core, key, asked, TEXT, &[("Cache-Control", "no-store")]);
        }
        (_, Some(bytes)) => {
            answer(core, key, asked, &Response::text(200, &vec![b'x'; bytes]));
        }
        _ => answer_refused(core, key, asked, 404, NOT_FOUND),
    }
}
