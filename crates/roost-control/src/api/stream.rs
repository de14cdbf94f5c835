//! Publications without end: a line of JSON for each, and a line for what has become of it.
//!
//! A window of lines is published, its results are written, and only then are more lines read: a
//! reactor that is behind, or a client that does not read its results, holds up the client's writes.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Request};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame};
use roost_reactor::{ControlPublication, Name, PUBLICATIONS_BYTES_MAX, PUBLICATIONS_MAX, Settings};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::body::{check_type, parse};
use super::call::{Call, Held};
use super::many::{Outcome, publish_many};
use super::problem::{Kind, Problem};
use super::publication::{Wanted, epoch_text};
use crate::peer::Until;

/// `POST /v1/publications`.
pub(super) fn publications(call: Call, request: Request<Body>) -> Result<Response, Problem> {
    check_type(request.headers(), NDJSON)?;
    if call.idempotency_key.is_some() {
        let detail = "each line has an idempotency_key of its own, the request has none";
        return Err(Problem::invalid(detail));
    }
    let shows_all = match request.uri().query() {
        None | Some("" | "results=all") => true,
        Some("results=errors") => false,
        Some(_) => {
            let detail = "the query is results=all or results=errors";
            return Err(Problem::invalid(detail));
        }
    };
    let (results, answered) = mpsc::channel(1);
    let peer = &call.api.peer;
    let epochs = (0..peer.reactors()).map(|home| epoch_text(peer.epoch_at(home)));
    let stream = Stream {
        held: Held::new(&call.api),
        epochs: epochs.collect(),
        settings: call.api.shared.settings(),
        call,
        results,
        shows_all,
        text: Vec::new(),
        line: 0,
        window: Vec::new(),
        publications: Vec::new(),
        bytes: 0,
    };
    tokio::spawn(stream.run(request.into_body()));
    let mut response = Response::new(Body::new(Results(answered)));
    let ndjson = HeaderValue::from_static(NDJSON);
    response.headers_mut().insert(CONTENT_TYPE, ndjson);
    Ok(response)
}

struct Stream {
    call: Call,
    held: Held,
    results: mpsc::Sender<io::Result<Bytes>>,
    /// Else those of refused lines alone.
    shows_all: bool,
    /// By home.
    epochs: Box<[String]>,
    /// As they are at the begin of a window.
    settings: Arc<Settings>,
    /// Results that are not sent yet.
    text: Vec<u8>,
    /// The number of the last line read, from 1.
    line: u64,
    window: Vec<Line>,
    /// Those of the window's lines that are wanted, in their order.
    publications: Vec<ControlPublication>,
    /// Of these.
    bytes: usize,
}

/// A line of the window.
struct Line {
    number: u64,
    /// The channel that it publishes on.
    channel: Result<Name, Problem>,
}

/// Why a stream ends before its body does.
struct Ended;

#[derive(Serialize)]
struct Placed<'a> {
    line: u64,
    channel: &'a str,
    offset: u64,
    epoch: &'a str,
}

#[derive(Serialize)]
struct Refused {
    line: u64,
    error: serde_json::Value,
}

impl Stream {
    async fn run(mut self, mut body: Body) {
        let mut rest: Vec<u8> = Vec::new();
        loop {
            let data = match self.next_data(&mut body).await {
                Ok(Some(data)) => data,
                Ok(None) => break,
                Err(Ended) => return,
            };
            if self.read(&mut rest, &data).await.is_err() {
                return;
            }
        }
        if !rest.trim_ascii().is_empty() {
            self.add_line(&rest);
        }
        let _ = self.publish_window().await; // or the client has gone
    }

    /// The next piece of the body; `None` at its end. What is in the window is published before it is
    /// waited for: the client may wait for the results before it sends more.
    async fn next_data(&mut self, body: &mut Body) -> Result<Option<Bytes>, Ended> {
        let mut frame = pin!(poll_fn(|context| Pin::new(&mut *body).poll_frame(context)));
        let mut received = None;
        for is_last_try in [false, true] {
            received = poll_fn(|context| match frame.as_mut().poll(context) {
                Poll::Ready(received) => Poll::Ready(Some(received)),
                Poll::Pending => Poll::Ready(None),
            })
            .await;
            if received.is_some() || is_last_try {
                break;
            }
            // The connection's task reads what has come.
            tokio::task::yield_now().await;
        }
        let received = match received {
            Some(received) => received,
            None => {
                self.publish_window().await?;
                match timeout(IDLE_TIMEOUT, frame).await {
                    Ok(received) => received,
                    Err(_) => {
                        // The connection is closed without a last chunk, so that the results are not
                        // taken for those of all.
                        let idle = io::Error::from(io::ErrorKind::TimedOut);
                        let _ = timeout(IDLE_TIMEOUT, self.results.send(Err(idle))).await;
                        return Err(Ended);
                    }
                }
            }
        };
        match received {
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
            Some(Err(_)) => Err(Ended), // the connection has ended
            None => Ok(None),
        }
    }

    /// Takes the lines out of what has come; `rest` is the begin of one.
    async fn read(&mut self, rest: &mut Vec<u8>, mut data: &[u8]) -> Result<(), Ended> {
        while let Some(end) = data.iter().position(|&byte| byte == b'\n') {
            let (line, behind) = data.split_at(end);
            data = &behind[1..];
            if rest.is_empty() {
                self.add_line(line);
            } else {
                rest.extend_from_slice(line);
                self.add_line(rest);
                rest.clear();
            }
            if self.window.len() >= PUBLICATIONS_MAX || self.bytes >= PUBLICATIONS_BYTES_MAX {
                self.publish_window().await?;
            }
        }
        rest.extend_from_slice(data);
        if let Err(problem) = self.held.grow_to(rest.len()) {
            return self.end_with(problem).await;
        }
        let bytes_max = self.call.api.limits.body_bytes_max;
        if rest.len() > bytes_max {
            let detail = format!("the line has more than {bytes_max} bytes (api.body_bytes_max)");
            return self.end_with(Problem::new(Kind::TooLarge, detail)).await;
        }
        Ok(())
    }

    /// The line that has begun is refused, and no more is read.
    async fn end_with(&mut self, problem: Problem) -> Result<(), Ended> {
        self.line += 1;
        self.window.push(Line {
            number: self.line,
            channel: Err(problem.and("what follows is not read")),
        });
        self.publish_window().await?;
        Err(Ended)
    }

    /// An empty line is none.
    fn add_line(&mut self, line: &[u8]) {
        self.line += 1;
        if line.trim_ascii().is_empty() {
            return;
        }
        let limits = &self.settings.limits;
        let wanted = parse::<Wanted<'_>>(line).and_then(|wanted| {
            match wanted.check(&self.call, limits)? {
                (publication, Until::Placed) => Ok(publication),
                (_, Until::Sent) => Err(Problem::invalid("ack is for /v1/publish alone")),
            }
        });
        let channel = wanted.map(|publication| {
            self.bytes += publication.bytes();
            let channel = publication.channel.clone();
            self.publications.push(publication);
            channel
        });
        self.window.push(Line {
            number: self.line,
            channel,
        });
    }

    async fn publish_window(&mut self) -> Result<(), Ended> {
        if self.window.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let publications = std::mem::take(&mut self.publications);
        let peer = &self.call.api.peer;
        let deadline = Instant::now() + self.call.api.limits.timeout;
        let outcomes = publish_many(peer, publications, deadline).await;
        let mut outcomes = outcomes.into_iter();
        let mut lines = std::mem::take(&mut self.window);
        for Line { number, channel } in lines.drain(..) {
            match channel {
                Ok(channel) => {
                    if let Some(outcome) = outcomes.next() {
                        self.write(number, &channel, outcome);
                    }
                }
                Err(problem) => self.write_problem(number, &problem),
            }
        }
        self.window = lines; // empty, for the next ones
        self.settings = self.call.api.shared.settings();
        if self.text.is_empty() {
            return Ok(());
        }
        let text = Bytes::from(std::mem::take(&mut self.text));
        match timeout(IDLE_TIMEOUT, self.results.send(Ok(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended), // the client has gone, or reads nothing
        }
    }

    fn write(&mut self, line: u64, channel: &str, outcome: Outcome) {
        match outcome {
            Ok(_) if !self.shows_all => {}
            Ok(place) => {
                let placed = Placed {
                    line,
                    channel,
                    offset: place.offset,
                    epoch: &self.epochs[place.home],
                };
                write_line(&mut self.text, &placed);
            }
            Err(error) => self.write_problem(line, &error.into()),
        }
    }

    fn write_problem(&mut self, line: u64, problem: &Problem) {
        let error = problem.to_value();
        write_line(&mut self.text, &Refused { line, error });
    }
}

fn write_line(text: &mut Vec<u8>, value: &impl Serialize) {
    let written = serde_json::to_writer(&mut *text, value);
    debug_assert!(written.is_ok(), "results are plain values");
    text.push(b'\n');
}

/// The body of the answer.
struct Results(mpsc::Receiver<io::Result<Bytes>>);

impl HttpBody for Results {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let received = self.0.poll_recv(context);
        received.map(|text| text.map(|text| text.map(Frame::data)))
    }
}

const NDJSON: &str = "application/x-ndjson";
/// For the client to send, or to take its results.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
