//! Fetches the JWKS when `roost_tokens` says so, and keeps the last good one in a file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CACHE_CONTROL, ETAG, HOST, IF_NONE_MATCH, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use roost_metrics::process::{JWKS_AGE_SECONDS, JWKS_FETCHES, JWKS_FETCHES_FAILED};
use roost_tokens::{FetchError, Fetched, JwksError, Key, Order, Refresh, RefreshRules, UnknownKid};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tracing::{info, warn};

use crate::token_jobs::{Job, Parked, ToThread};

/// Where the JWKS is, and how it is fetched.
pub struct JwksOptions {
    /// When it is fetched.
    pub rules: RefreshRules,
    /// Its parts, as [`JwksUrl::parse`] has made them.
    pub url: JwksUrl,
    /// Whom `https` trusts.
    pub tls: Arc<ClientConfig>,
    /// Where the last good one is kept, if anywhere.
    pub file: Option<PathBuf>,
}

/// A URL that may be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksUrl {
    is_https: bool,
    host: String,
    port: u16,
    /// For the header Host.
    authority: String,
    /// Path and query.
    target: String,
}

impl JwksUrl {
    /// `https://…`, or `http://` on this machine.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(url: &str) -> Result<JwksUrl, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "it is no URL")?;
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("a user in it is not understood");
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            // What is read on the way must not be changed on it.
            Some("http") if is_loopback(&host) => false,
            Some("http") => return Err("http is for this machine alone; write https"),
            _ => return Err("it begins neither with https:// nor http://"),
        };
        let port = authority.port_u16();
        Ok(JwksUrl {
            is_https,
            port: port.unwrap_or(if is_https { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            target: uri
                .path_and_query()
                .map_or("/", |both| both.as_str())
                .to_owned(),
            host,
        })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// What the task is told.
pub(crate) enum Input {
    /// A token has a kid that is not among the keys.
    Unknown(Parked),
    /// A fetch is over.
    Fetched(u64, Fetched),
}

/// The task.
pub(crate) struct Jwks {
    options: JwksOptions,
    refresh: Refresh,
    begin: Instant,
    /// Checks that wait for the fetch that is under way or due; bounded by the reactors.
    parked: Vec<Parked>,
    to_thread: ToThread,
    inputs: mpsc::UnboundedReceiver<Input>,
    /// For the outcome of fetches.
    input: mpsc::UnboundedSender<Input>,
    /// The keys that the thread has.
    sent: Vec<Arc<Key>>,
    /// Whether these are any, for whom readiness is asked.
    has_keys: Arc<AtomicBool>,
}

impl Jwks {
    pub(crate) fn new(
        options: JwksOptions,
        to_thread: ToThread,
        input: mpsc::UnboundedSender<Input>,
        inputs: mpsc::UnboundedReceiver<Input>,
    ) -> Jwks {
        Jwks {
            refresh: Refresh::new(options.rules.clone(), 0),
            options,
            begin: Instant::now(),
            parked: Vec::new(),
            to_thread,
            inputs,
            input,
            sent: Vec::new(),
            has_keys: Arc::default(),
        }
    }

    /// Whether there are keys at the time it is read.
    pub(crate) fn has_keys(&self) -> Arc<AtomicBool> {
        self.has_keys.clone()
    }

    /// Runs for as long as there is something that uses keys.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        self.restore();
        loop {
            let now = self.now();
            if let Some(order) = self.refresh.poll(now) {
                self.fetch(order);
            } else if !self.refresh.is_fetching() {
                self.release(); // a fetch was given up
            }
            self.send_keys();
            let wake = self.begin + Duration::from_millis(self.refresh.wake_at(now).max(now + 1));
            match timeout_at(wake, self.inputs.recv()).await {
                Err(_) => {}
                Ok(None) => return Err(io::Error::other("no token is checked any more")),
                Ok(Some(Input::Unknown(parked))) => self.park(parked),
                Ok(Some(Input::Fetched(number, fetched))) => self.answer(number, fetched),
            }
        }
    }

    /// Milliseconds of a clock that does not jump.
    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn restore(&mut self) {
        let Some(file) = &self.options.file else {
            return;
        };
        match fs::read(file) {
            Ok(kept) if self.refresh.restore(&kept, self.now(), unix_secs()) => {
                let keys = self.refresh.keys(self.now()).len();
                info!(file = %file.display(), keys, "the JWKS of the last run is used until there is another");
            }
            Ok(_) => {
                info!(file = %file.display(), "a JWKS was kept that is of another URL or too old")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                warn!(file = %file.display(), %error, "the JWKS that was kept cannot be read")
            }
        }
    }

    fn fetch(&self, order: Order) {
        JWKS_FETCHES.add(1);
        let (url, tls) = (self.options.url.clone(), self.options.tls.clone());
        let rules = &self.options.rules;
        let (bytes_max, within) = (
            rules.document_bytes_max,
            Duration::from_millis(rules.timeout_ms),
        );
        let input = self.input.clone();
        tokio::spawn(async move {
            let fetch = fetch(&url, tls, order.etag, bytes_max);
            let fetched = match timeout(within, fetch).await {
                Ok(Ok(fetched)) => fetched,
                Ok(Err(error)) => Fetched::Failed(error),
                Err(_) => Fetched::Failed(FetchError::Timeout),
            };
            let _ = input.send(Input::Fetched(order.number, fetched)); // the task may have ended
        });
    }

    fn park(&mut self, parked: Parked) {
        match self.refresh.unknown_kid(self.now()) {
            UnknownKid::Wait => self.parked.push(parked),
            UnknownKid::Refuse => self.send(Job::Recheck(vec![parked])),
        }
    }

    fn answer(&mut self, number: u64, fetched: Fetched) {
        let now = self.now();
        self.refresh.answer(number, fetched, now);
        self.send_keys();
        self.release();
        match self.refresh.last_failure() {
            Some(error) => {
                JWKS_FETCHES_FAILED.add(1);
                let age = self.refresh.age_ms(now).map(|ms| ms / 1000);
                warn!(%error, age_seconds = age, "the JWKS could not be fetched; the keys that are there serve on");
            }
            None => self.keep(now),
        }
    }

    /// Those who wait are checked once more, with the keys that there are now.
    fn release(&mut self) {
        if !self.parked.is_empty() {
            let parked = std::mem::take(&mut self.parked);
            self.send(Job::Recheck(parked));
        }
    }

    fn send_keys(&mut self) {
        let now = self.now();
        let age = self.refresh.age_ms(now).map_or(0, |ms| ms / 1000);
        JWKS_AGE_SECONDS.set(age);
        let keys = self.refresh.keys(now);
        let is_same = keys.len() == self.sent.len()
            && keys.iter().zip(&self.sent).all(|(a, b)| Arc::ptr_eq(a, b));
        if !is_same {
            self.sent = keys.to_vec();
            let has_keys = !self.sent.is_empty();
            self.has_keys.store(has_keys, Ordering::Relaxed);
            info!(
                keys = self.sent.len(),
                skipped = self.refresh.skipped(),
                "keys of the JWKS"
            );
            self.send(Job::Keys(self.sent.clone()));
        }
    }

    fn send(&self, job: Job) {
        self.to_thread.send(job);
    }

    fn keep(&self, now: u64) {
        let kept = self.refresh.to_keep(now, unix_secs());
        if let (Some(file), Some(kept)) = (self.options.file.clone(), kept) {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = write(&file, &kept) {
                    warn!(file = %file.display(), %error, "the JWKS cannot be kept for the next start");
                }
            });
        }
    }
}

/// As a whole, or not at all.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = file.with_extension("tmp");
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, file)
}

fn unix_secs() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

async fn fetch(
    url: &JwksUrl,
    tls: Arc<ClientConfig>,
    etag: Option<String>,
    bytes_max: usize,
) -> Result<Fetched, FetchError> {
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await;
    let stream = stream.map_err(|_| FetchError::Connection)?;
    if !url.is_https {
        return ask(stream, url, etag, bytes_max).await;
    }
    let name = ServerName::try_from(url.host.clone()).map_err(|_| FetchError::Connection)?;
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    ask(
        stream.map_err(|_| FetchError::Connection)?,
        url,
        etag,
        bytes_max,
    )
    .await
}

async fn ask<S>(
    stream: S,
    url: &JwksUrl,
    etag: Option<String>,
    bytes_max: usize,
) -> Result<Fetched, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let lost = |_| FetchError::Connection;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(lost)?;
    let connection = tokio::spawn(connection);
    let mut request = Request::get(url.target.as_str())
        .header(HOST, &url.authority)
        .header(USER_AGENT, concat!("roostd/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/jwk-set+json, application/json");
    if let Some(etag) = etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    let request = request
        .body(Body::empty())
        .map_err(|_| FetchError::Connection)?;
    let answer = sender.send_request(request).await.map_err(lost)?;
    let text = |headers: &HeaderMap, name| {
        let value = headers.get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let cache_control = text(answer.headers(), CACHE_CONTROL);
    let etag = text(answer.headers(), ETAG);
    let fetched = match answer.status() {
        StatusCode::OK => {
            let body = to_bytes(Body::new(answer.into_body()), bytes_max).await;
            let body = body.map_err(|_| FetchError::Document(JwksError::TooLarge))?;
            Fetched::Document {
                body: body.to_vec(),
                etag,
                cache_control,
            }
        }
        StatusCode::NOT_MODIFIED => Fetched::NotModified { cache_control },
        status => Fetched::Failed(FetchError::Status(status.as_u16())),
    };
    connection.abort();
    Ok(fetched)
}

/// hyper's least.
const HEAD_BYTES_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_https_or_of_this_machine() {
        let url = JwksUrl::parse("https://id.example.org/keys?a=b").expect("a URL");
        assert_eq!((url.port, url.target.as_str()), (443, "/keys?a=b"));
        let local = JwksUrl::parse("http://[::1]:81/").expect("a URL");
        assert_eq!((local.port, local.host.as_str()), (81, "::1"));
        assert!(JwksUrl::parse("http://localhost/jwks").is_ok());
        for bad in [
            "",
            "id.example.org/keys",
            "/keys",
            "http://id.example.org/keys",
            "http://10.0.0.1/keys",
            "http://127.0.0.1.example.org/keys",
            "ftp://id.example.org/keys",
            "file:///etc/passwd",
            "https://user@id.example.org/keys",
        ] {
            assert!(JwksUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
