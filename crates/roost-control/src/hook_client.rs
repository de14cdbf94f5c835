//! Sends questions to one application over HTTP, on connections that are kept for the next.
//!
//! Redirects are not followed, an answer is bounded, and nothing is sent twice but where a kept
//! connection dies without a byte of an answer: its server may have closed it just before.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// A URL that questions may be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookUrl {
    is_https: bool,
    host: String,
    port: u16,
    /// For the header Host.
    authority: String,
    /// Path and query, with `{event}` as written.
    target: String,
}

impl HookUrl {
    /// `http://…` or `https://…`; `{event}` may stand in path and query.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(url: &str) -> Result<HookUrl, &'static str> {
        let uri: Uri = url
            .replace(PLACE, MARK)
            .parse()
            .map_err(|_| "it is no URL")?;
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("a user in it is not understood");
        }
        if authority.as_str().contains(MARK) {
            return Err("{event} stands in path and query alone");
        }
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it begins neither with https:// nor http://"),
        };
        let target = uri.path_and_query().map_or("/", |both| both.as_str());
        Ok(HookUrl {
            is_https,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority
                .port_u16()
                .unwrap_or(if is_https { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            target: target.replace(MARK, PLACE),
        })
    }

    /// Whether what is said there can be read and changed on its way.
    pub fn is_open_to_others(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        let is_here = self.host == "localhost" || address.is_ok_and(|one| one.is_loopback());
        !self.is_https && !is_here
    }

    /// For the log: without path and query.
    pub(crate) fn label(&self) -> &str {
        &self.authority
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallError {
    /// No connection could be made, or it was lost.
    Connection,
    /// No answer in time.
    Late,
    /// Another status than 200, or, where any success will do, none of those.
    Status(u16),
    /// The answer is too long, or ends early.
    Body,
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallError::Connection => f.write_str("there is no connection to it"),
            CallError::Late => f.write_str("it has not answered in time"),
            CallError::Status(status) => {
                write!(f, "it has answered with status {status} and not with 200")
            }
            CallError::Body => {
                f.write_str("its answer is longer than answer_bytes_max, or ends early")
            }
        }
    }
}

/// One question, as it is sent.
pub(crate) struct Call {
    /// What stands for `{event}` in the URL.
    pub(crate) place: &'static str,
    pub(crate) body: Bytes,
    /// Those of the signature, and those of the client's handshake.
    pub(crate) headers: HeaderMap,
    /// Whether every status from 200 to 299 is an answer, and not 200 alone.
    pub(crate) any_success: bool,
}

/// The way to one application.
pub(crate) struct Client {
    url: HookUrl,
    tls: TlsConnector,
    answer_bytes_max: usize,
    /// Never held over an `await`.
    idle: Mutex<Vec<Connection>>,
}

/// One connection. Its task ends with it.
struct Connection {
    sender: SendRequest<Body>,
    /// Bytes that have come.
    received: Arc<AtomicU64>,
    task: JoinHandle<()>,
    idle_since: Instant,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A call has failed on a connection.
enum Lost {
    /// Without a byte of an answer.
    BeforeAnswer,
    Later(CallError),
}

impl Client {
    pub(crate) fn new(url: HookUrl, tls: Arc<ClientConfig>, answer_bytes_max: usize) -> Client {
        Client {
            url,
            tls: TlsConnector::from(tls),
            answer_bytes_max,
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn url(&self) -> &HookUrl {
        &self.url
    }

    /// Sends a question; returns the body of the answer.
    pub(crate) async fn call(&self, call: &Call) -> Result<Bytes, CallError> {
        if let Some(kept) = self.take_idle() {
            match self.exchange(kept, call).await {
                Err(Lost::BeforeAnswer) => {}
                Err(Lost::Later(error)) => return Err(error),
                Ok(body) => return Ok(body),
            }
        }
        let connection = self.connect().await.map_err(|_| CallError::Connection)?;
        self.exchange(connection, call)
            .await
            .map_err(|lost| match lost {
                Lost::BeforeAnswer => CallError::Connection,
                Lost::Later(error) => error,
            })
    }

    async fn exchange(&self, mut connection: Connection, call: &Call) -> Result<Bytes, Lost> {
        let before = connection.received.load(Ordering::Relaxed);
        let request = self.request(call).map_err(Lost::Later)?;
        let answer = match connection.sender.send_request(request).await {
            Ok(answer) => answer,
            Err(_) if connection.received.load(Ordering::Relaxed) == before => {
                return Err(Lost::BeforeAnswer);
            }
            Err(_) => return Err(Lost::Later(CallError::Connection)),
        };
        let status = answer.status();
        if status != StatusCode::OK && !(call.any_success && status.is_success()) {
            return Err(Lost::Later(CallError::Status(status.as_u16())));
        }
        let body = to_bytes(Body::new(answer.into_body()), self.answer_bytes_max).await;
        let body = body.map_err(|_| Lost::Later(CallError::Body))?;
        self.keep(connection).await;
        Ok(body)
    }

    fn request(&self, call: &Call) -> Result<Request<Body>, CallError> {
        let target = self.url.target.replace(PLACE, call.place);
        let mut request = Request::post(target)
            .header(HOST, &self.url.authority)
            .header(USER_AGENT, concat!("roostd/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(call.body.clone()))
            .map_err(|_| CallError::Connection)?;
        let headers = call.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), value.clone()));
        request
            .headers_mut()
            .extend(headers.map(|(n, v)| (Some(n), v)));
        Ok(request)
    }

    async fn connect(&self) -> io::Result<Connection> {
        let address = (self.url.host.as_str(), self.url.port);
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if !self.url.is_https {
            return begin(stream).await;
        }
        let name = ServerName::try_from(self.url.host.clone()).map_err(io::Error::other)?;
        begin(self.tls.connect(name, stream).await?).await
    }

    /// A connection that is as good as new, as far as can be told.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.lock();
        while let Some(connection) = idle.pop() {
            let is_fresh = connection.idle_since.elapsed() < IDLE_MAX;
            if is_fresh && connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection, unless its server ends it, or there are enough.
    async fn keep(&self, mut connection: Connection) {
        if connection.sender.ready().await.is_err() {
            return;
        }
        connection.idle_since = Instant::now();
        let mut idle = self.lock();
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(connection);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn begin<S>(stream: S) -> io::Result<Connection>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let received = Arc::<AtomicU64>::default();
    let counted = Counted {
        stream,
        received: received.clone(),
    };
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(counted))
        .await
        .map_err(io::Error::other)?;
    let task = tokio::spawn(async move {
        let _ = connection.await; // the call that it serves has the error too
    });
    Ok(Connection {
        sender,
        received,
        task,
        idle_since: Instant::now(),
    })
}

/// A name and a value as header, if they are such.
pub(crate) fn header(name: &str, value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    Some((name, HeaderValue::from_bytes(value).ok()?))
}

/// A stream whose bytes are counted as they come.
struct Counted<S> {
    stream: S,
    received: Arc<AtomicU64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let bytes = (buffer.filled().len() - before) as u64;
        self.received.fetch_add(bytes, Ordering::Relaxed);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

const PLACE: &str = "{event}";
/// What stands for it while a URL is parsed, which braces are not allowed in.
const MARK: &str = "~event~";
/// An answer's head, and what is read at once.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Connections that wait for their next question. A burst of more makes new ones.
const IDLE_CONNECTIONS_MAX: usize = 32;
/// Most servers end a connection that is idle for longer.
const IDLE_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_event_in_its_path() {
        let url = HookUrl::parse("http://app:3000/roost/{event}?a={event}").expect("a URL");
        assert_eq!((url.host.as_str(), url.port), ("app", 3000));
        assert_eq!(url.target, "/roost/{event}?a={event}");
        assert!(url.is_open_to_others());
        for (text, is_open) in [
            ("https://app.example.org", false),
            ("http://127.0.0.1:3000/", false),
            ("http://[::1]:3000/", false),
            ("http://localhost", false),
            ("http://10.0.0.7/x", true),
        ] {
            let url = HookUrl::parse(text).expect(text);
            assert_eq!(url.is_open_to_others(), is_open, "{text}");
        }
        for bad in [
            "",
            "app:3000",
            "ftp://app/",
            "http://{event}.app/",
            "http://a@app/",
            "/x",
        ] {
            assert!(HookUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
