//! Looking on at a channel.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State as Shown};
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::CONNECTION;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::body::{Body as HttpBody, Frame};
use roost_reactor::{Name, Tapped};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::answers::{
    ANSWER_TIMEOUT, NDJSON, State, TEXT, bad_request, check_name, not_answered, pairs, respond,
    write_line,
};
use crate::peer::{AskError, Peer};
use crate::tail::{Lasting, Next, TAILS_MAX, Tail};
use crate::taps::Listener;

/// A line for each publication.
#[derive(Serialize)]
struct Line {
    offset: u64,
    publication: u64,
    /// Of what raw subscribers are sent.
    bytes: usize,
    kind: &'static str,
    /// Its publisher has named its receivers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_restricted: bool,
    /// Text as it is, binary as base64; the first [`SHOWN_BYTES_MAX`] bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

/// The first line.
#[derive(Serialize)]
struct Begin<'a> {
    channel: &'a str,
}

/// Before a publication.
#[derive(Serialize)]
struct Missed {
    missed: u64,
}

/// The last line.
#[derive(Serialize)]
struct End {
    end: &'static str,
}

/// `GET /tail?channel=&payload=1`: publications from now on, a line each, until the client leaves.
pub(super) async fn tail(Shown(state): Shown<Arc<State>>, RawQuery(query): RawQuery) -> Response {
    let (mut channel, mut shows_payload) = (String::new(), false);
    for (key, value) in pairs(query.as_deref()) {
        match (&*key, &*value) {
            ("channel", _) => channel = value.into_owned(),
            ("payload", "1") => shows_payload = true,
            ("payload", "0") => shows_payload = false,
            _ => return bad_request("/tail takes channel, and payload=1\n"),
        }
    }
    let bytes_max = state.shared.settings().limits.channel_name_bytes_max;
    if let Err(response) = check_name(&channel, bytes_max) {
        return *response;
    }
    if state.shared.is_draining() {
        return respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n");
    }
    let slot = Arc::clone(&state.tails);
    let Ok(slot) = slot.try_acquire_owned() else {
        let reason = format!("{TAILS_MAX} channels are looked on at already\n");
        return respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason);
    };
    if shows_payload {
        warn!(target: "audit", channel, "an administrator reads a channel");
    }
    let tail = Arc::new(Tail::new());
    let channel = Name::from(&*channel);
    let listening = Listening {
        tail: tail.clone(),
        channel: channel.clone(),
        peer: state.peer.clone(),
    };
    if let Err(error) = state.peer.listen(&channel, true, tail.clone()) {
        return not_answered(error);
    }
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    if timeout_at(deadline, tail.wait_for_home()).await.is_err() {
        return not_answered(AskError::Deadline);
    }
    tokio::spawn(end_when_draining(state, tail.clone()));
    let mut begin = Vec::new();
    let name: &str = &channel;
    write_line(&mut begin, &Begin { channel: name });
    let lasting = Lasting(tail.lasts.clone());
    let lines = Lines {
        listening,
        shows_payload,
        text: begin,
        has_ended: false,
        _slot: slot,
    };
    let mut response = respond(StatusCode::OK, NDJSON, Body::new(lines));
    response.extensions_mut().insert(lasting);
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

async fn end_when_draining(state: Arc<State>, tail: Arc<Tail>) {
    while !state.shared.is_draining() {
        if tail.has_ended() {
            return;
        }
        sleep(DRAINING_EVERY).await;
    }
    sleep(LAST_WAIT).await;
    tail.end("the server is drained");
}

/// Ends with its drop, however that comes.
struct Listening {
    tail: Arc<Tail>,
    channel: Name,
    peer: Arc<Peer>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.tail.end("its reader has left");
        let listener: Arc<dyn Listener> = self.tail.clone();
        self.peer.stop_listening(&self.channel, &listener);
    }
}

/// The body: lines as they come.
struct Lines {
    listening: Listening,
    shows_payload: bool,
    /// Not yet given out.
    text: Vec<u8>,
    has_ended: bool,
    _slot: tokio::sync::OwnedSemaphorePermit,
}

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let lines = &mut *self;
        while !lines.has_ended && lines.text.len() < FRAME_BYTES {
            match lines.listening.tail.poll_next(context) {
                Poll::Pending => break,
                Poll::Ready(Next::Publication(heard, missed)) => {
                    if missed > 0 {
                        write_line(&mut lines.text, &Missed { missed });
                    }
                    write_line(&mut lines.text, &line_of(&heard, lines.shows_payload));
                }
                Poll::Ready(Next::End(end)) => {
                    write_line(&mut lines.text, &End { end });
                    lines.has_ended = true;
                }
            }
        }
        match (lines.text.is_empty(), lines.has_ended) {
            (false, _) => {
                let text = std::mem::take(&mut lines.text);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
            }
            (true, true) => Poll::Ready(None),
            (true, false) => Poll::Pending,
        }
    }
}

fn line_of(heard: &Tapped, shows_payload: bool) -> Line {
    let payload = heard.payload().unwrap_or_default();
    let text = heard.is_text().then(|| std::str::from_utf8(payload).ok());
    let text = text.flatten();
    let data = || match text {
        Some(text) => beginning(text, SHOWN_BYTES_MAX).to_owned(),
        None => BASE64_STANDARD.encode(&payload[..payload.len().min(SHOWN_BYTES_MAX)]),
    };
    Line {
        offset: heard.offset,
        publication: heard.publication,
        bytes: payload.len(),
        kind: if text.is_some() { "text" } else { "binary" },
        is_restricted: heard.is_restricted,
        data: shows_payload.then(data),
    }
}

/// At most so many bytes of it, and no part of a character.
fn beginning(text: &str, bytes_max: usize) -> &str {
    let ends = (0..=bytes_max.min(text.len())).rev();
    let end = ends.into_iter().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or_default()]
}

/// Of a payload.
const SHOWN_BYTES_MAX: usize = 64 << 10;
/// Of lines that are written together.
const FRAME_BYTES: usize = 64 << 10;
/// How soon a drain is seen.
const DRAINING_EVERY: Duration = Duration::from_millis(250);
/// For what was published before it.
const LAST_WAIT: Duration = Duration::from_secs(1);
