//! Connections of administrators and of the API: a bounded number of them, each for a bounded time.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tower_service::Service;
use tracing::debug;

use crate::first_of::first_of;
use crate::head_timer::{Alarm, HeadTimer};
use crate::listen::{ApiListener, Bound, Listeners};
use crate::tail::Lasting;

/// Limits of listeners.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once of each listener. One more closes that which has asked nothing for
    /// longest, one without a request under way if there is one.
    pub connections_max: usize,
    /// Where all have a request under way: whether one of them is closed; else the new one is.
    pub closes_busy: bool,
    /// From the first moment of a connection, or the end of an answer, to the end of a head.
    pub head_timeout: Duration,
    /// Of a whole connection. Then it is closed, behind the answer under way.
    pub connection_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 128,
            closes_busy: true,
            head_timeout: Duration::from_secs(10),
            connection_timeout: Duration::from_secs(300),
        }
    }
}

/// What answers the requests of a listener.
pub(crate) trait Answers: Clone + Send + 'static {
    /// Answers one.
    fn answer(self, request: Request<Body>) -> impl Future<Output = Response> + Send;
}

impl Answers for Router {
    async fn answer(mut self, request: Request<Body>) -> Response {
        match self.call(request).await {
            Ok(response) => response,
            Err(never) => match never as Infallible {},
        }
    }
}

/// Accepts and serves until a listener fails.
pub(crate) async fn serve(
    listeners: Listeners,
    [full, read_only]: [Router; 2],
    limits: Limits,
) -> io::Result<()> {
    let Listeners { unix, tcp } = listeners;
    let (unix, _file) = unix.unzip(); // the file goes when this does
    let unix = unix.map(UnixListener::from_std).transpose()?;
    let tcp = tcp.map(TcpListener::from_std).transpose()?;
    // Each listener has its own: clients of one must not use up the connections of the other.
    let mut over_unix = Connections::new(limits);
    let mut over_tcp = Connections::new(limits);
    loop {
        let accepted = first_of(accept_unix(unix.as_ref()), accept_tcp(tcp.as_ref()));
        match accepted.await {
            Ok(Accepted::Unix(stream)) => over_unix.serve(stream, full.clone()),
            Ok(Accepted::Tcp(stream)) => over_tcp.serve(stream, read_only.clone()),
            Err(error) => {
                // No descriptor left, or the connection has ended: both pass.
                debug!(%error, "accept failed on an admin listener");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Accepts and serves what one listener of the API accepts.
pub(crate) async fn serve_api(
    listener: ApiListener,
    answers: impl Answers,
    limits: Limits,
) -> io::Result<()> {
    let (unix, tcp, _file) = match listener.0 {
        Bound::Unix(listener, file) => (Some(UnixListener::from_std(listener)?), None, Some(file)),
        Bound::Tcp(listener) => (None, Some(TcpListener::from_std(listener)?), None),
    };
    let mut connections = Connections::new(limits);
    loop {
        let accepted = first_of(accept_unix(unix.as_ref()), accept_tcp(tcp.as_ref()));
        match accepted.await {
            Ok(Accepted::Unix(stream)) => connections.serve(stream, answers.clone()),
            Ok(Accepted::Tcp(stream)) => {
                let _ = stream.set_nodelay(true); // answers are small; it may have ended
                connections.serve(stream, answers.clone());
            }
            Err(error) => {
                debug!(%error, "accept failed on a listener of the API");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

enum Accepted {
    Unix(tokio::net::UnixStream),
    Tcp(tokio::net::TcpStream),
}

async fn accept_unix(listener: Option<&UnixListener>) -> io::Result<Accepted> {
    match listener {
        Some(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        None => std::future::pending().await,
    }
}

async fn accept_tcp(listener: Option<&TcpListener>) -> io::Result<Accepted> {
    match listener {
        Some(listener) => Ok(Accepted::Tcp(listener.accept().await?.0)),
        None => std::future::pending().await,
    }
}

/// The connections of one listener.
struct Connections {
    limits: Limits,
    /// Counts connections and requests: what orders them.
    count: Arc<AtomicU64>,
    open: Vec<Connection>,
}

struct Connection {
    task: AbortHandle,
    activity: Arc<Activity>,
}

/// What a connection does.
#[derive(Default)]
struct Activity {
    /// The count at its last request, or at its begin.
    last: AtomicU64,
    /// A request is under way.
    is_busy: AtomicBool,
    /// Its answer lasts.
    lasting: Mutex<Option<Lasting>>,
}

impl Connections {
    fn new(limits: Limits) -> Connections {
        Connections {
            limits,
            count: Arc::default(),
            open: Vec::new(),
        }
    }

    fn serve<S>(&mut self, stream: S, answers: impl Answers)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if !self.make_room() {
            debug!("a connection is closed: as many as may be have a request under way");
            return;
        }
        let (count, activity) = (self.count.clone(), Arc::new(Activity::default()));
        activity.begin(&count);
        let of_service = activity.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (answers, activity) = (answers.clone(), of_service.clone());
            activity.begin(&count);
            activity.is_busy.store(true, Ordering::Relaxed);
            async move {
                let response = answers.answer(request.map(Body::new)).await;
                let lasting = response.extensions().get().cloned();
                *activity
                    .lasting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = lasting;
                activity.is_busy.store(false, Ordering::Relaxed);
                Ok::<_, Infallible>(response)
            }
        });
        let (limits, of_task) = (self.limits, activity.clone());
        let task = tokio::spawn(async move {
            let heads = HeadTimer::default();
            let mut alarm = heads.alarm(limits.head_timeout);
            let connection = http1::Builder::new()
                .timer(heads)
                .header_read_timeout(limits.head_timeout)
                .max_buf_size(HEAD_BYTES_MAX)
                .writev(false)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = pin!(connection);
            loop {
                let served = look_after(connection.as_mut(), &mut alarm);
                if timeout(limits.connection_timeout, served).await.is_ok() {
                    return;
                }
                if !of_task.lasts() {
                    connection.as_mut().graceful_shutdown();
                    let _ = timeout(LAST_ANSWER_TIMEOUT, connection).await;
                    return;
                }
            }
        });
        self.open.push(Connection {
            task: task.abort_handle(),
            activity,
        });
    }

    /// Closes a connection, if there are too many. Whether there is room for another.
    fn make_room(&mut self) -> bool {
        if self.open.len() < self.limits.connections_max {
            return true;
        }
        self.open
            .retain(|connection| !connection.task.is_finished());
        if self.open.len() < self.limits.connections_max {
            return true;
        }
        let ranks = self
            .open
            .iter()
            .map(|connection| connection.activity.rank());
        let lowest = ranks.enumerate().min_by_key(|&(_, rank)| rank);
        let Some((at, (is_busy, _))) = lowest else {
            return true;
        };
        if is_busy && !self.limits.closes_busy {
            return false;
        }
        self.open.swap_remove(at).task.abort();
        true
    }
}

/// Serves a connection until it ends; hyper looks when a head may be late.
async fn look_after(mut connection: Pin<&mut impl Future>, alarm: &mut Alarm) {
    poll_fn(|context| {
        loop {
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            ready!(alarm.poll(context));
        }
    })
    .await;
}

impl Activity {
    /// It has just begun, or asks something.
    fn begin(&self, count: &AtomicU64) {
        let now = count.fetch_add(1, Ordering::Relaxed);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Whether an answer is being written for as long as something happens.
    fn lasts(&self) -> bool {
        let lasting = self.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        lasting
            .as_ref()
            .is_some_and(|Lasting(lasts)| lasts.load(Ordering::Relaxed))
    }

    /// Lower ranks are closed first.
    fn rank(&self) -> (bool, u64) {
        let is_busy = self.is_busy.load(Ordering::Relaxed) || self.lasts();
        (is_busy, self.last.load(Ordering::Relaxed))
    }
}

/// What a connection may send before it is understood: a head, or a piece of a body. hyper's least.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// For the answer under way when a connection's time is over.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon accepting is tried again after an error.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
