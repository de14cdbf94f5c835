//! The HTTP API for an application's servers.
//!
//! A request is let in here: known by its path, allowed by its key, one of a bounded number. What it
//! asks for is done in the files below. Errors are problems (RFC 9457) and nothing else.
//!
//! | to read about | look at |
//! |---|---|
//! | keys, and what they allow | `api/access.rs` |
//! | errors | `api/problem.rs` |
//! | paths | `api/paths.rs` |
//! | bodies | `api/body.rs` |
//! | connections, channels, and what runs | `api/connections.rs`, `api/channels.rs`, `api/info.rs` |
//! | what channels keep | `api/history.rs` |
//! | users, and tokens that are not taken any more | `api/users.rs`, `api/revoke.rs` |
//! | Centrifugo's API | `api/centrifugo.rs` |
//! | Pusher's API | `api/pusher.rs`, `api/pusher_apps.rs`, `api/replays.rs` |
//! | publishing | `api/publication.rs`, `api/publish.rs`, `api/broadcast.rs`, `api/stream.rs`, `api/many.rs` |

mod access;
mod body;
mod broadcast;
mod call;
mod centrifugo;
mod channels;
mod connections;
mod history;
mod info;
mod many;
mod paths;
mod presence;
mod problem;
mod publication;
mod publish;
mod pusher;
mod pusher_apps;
mod replays;
mod revoke;
mod stream;
mod users;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use roost_reactor::Shared;
use tokio::time::Instant;

use crate::listen::ApiListener;
use crate::metrics::Build;
use crate::peer::Peer;
use crate::revocation_file::RevocationFile;
use crate::serve::{Answers, Limits, serve_api};

use call::{Api, Call};
use paths::{Found, Operation};
use problem::Problem;

pub use access::ApiKey;
pub(crate) use access::ApiKeys;
pub use call::ApiLimits;
pub use paths::paths;
pub use problem::problems;
pub(crate) use pusher_apps::PusherApps;

/// What the API is served with.
pub struct ApiOptions {
    /// Where.
    pub listeners: Vec<ApiListener>,
    /// The keys; without any, only unix sockets may be listened on.
    pub keys: Vec<ApiKey>,
    /// Applications of Pusher's.
    pub pusher: Vec<roost_auth::PusherApp>,
    /// Its limits.
    pub limits: ApiLimits,
    /// Where revocations are kept for the next start, if anywhere.
    pub revocations: Option<Arc<RevocationFile>>,
}

/// Checks that no address is open without a key.
///
/// # Errors
/// When one is.
pub(crate) fn check(options: &ApiOptions) -> io::Result<()> {
    let tcp = options.listeners.iter().any(|one| one.address().is_some());
    if tcp && options.keys.is_empty() {
        return Err(io::Error::other(
            "the API listens on an address and has no key",
        ));
    }
    Ok(())
}

/// Serves the listeners, each by a task, until the runtime ends.
pub(crate) fn serve(
    options: ApiOptions,
    (keys, pusher): (ApiKeys, PusherApps),
    shared: &Shared,
    build: Build,
    peer: &Arc<Peer>,
) {
    let ApiOptions {
        listeners,
        keys: _,   // they are in `keys`, where a reload changes them
        pusher: _, // the same
        limits,
        revocations,
    } = options;
    let of_listeners = Limits {
        connections_max: limits.in_flight_max + CONNECTIONS_BESIDE,
        closes_busy: false,
        head_timeout: IDLE_TIMEOUT,
        connection_timeout: CONNECTION_TIMEOUT,
    };
    let api = Arc::new(Api {
        shared: shared.clone(),
        peer: peer.clone(),
        keys,
        pusher,
        limits,
        revocations,
        in_flight: AtomicUsize::new(0),
        held: AtomicUsize::new(0),
        build,
        started: Instant::now(),
    });
    for listener in listeners {
        tokio::spawn(serve_api(listener, Served(api.clone()), of_listeners));
    }
}

/// What answers requests: without a router, for [`paths`] is one, and axum's would box each request on its
/// way through.
#[derive(Clone)]
struct Served(Arc<Api>);

impl Answers for Served {
    async fn answer(self, request: Request<Body>) -> Response {
        let mut response = match pusher::has_path(request.uri().path()) {
            true => pusher::answer(self.0, request).await,
            false => match admit(self.0, request).await {
                Ok(response) => response,
                Err(problem) => problem.into_response(),
            },
        };
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(CACHE_CONTROL, no_store);
        response
    }
}

/// Lets a request in, and does what it asks for.
async fn admit(api: Arc<Api>, request: Request<Body>) -> Result<Response, Problem> {
    let path = request.uri().path().to_owned();
    let (operation, segment) = match paths::find(&path, request.method()) {
        Found::Operation(operation, segment) => (operation, segment),
        Found::Methods(allowed) if request.method() == Method::OPTIONS => {
            return Ok(options(&allowed));
        }
        Found::Methods(allowed) => return Err(Problem::method(request.method(), &allowed)),
        Found::Nothing => return Err(Problem::path(&path)),
    };
    let caller = access::authenticate(&api.keys.get(), request.headers())?;
    let call = Call {
        caller,
        deadline: Instant::now() + api.limits.timeout,
        idempotency_key: idempotency_key(request.headers())?,
        _under_way: api.enter()?,
        api,
    };
    match operation {
        Operation::Publish => publish::publish(&call, request).await,
        Operation::Broadcast => broadcast::broadcast(&call, request).await,
        Operation::Publications => stream::publications(call, request),
        Operation::Connections => {
            let query = request.uri().query().map(str::to_owned);
            drop(request);
            connections::list(&call, query.as_deref()).await
        }
        Operation::Connection => connections::one(&call, segment).await,
        Operation::DeleteConnection => connections::delete(&call, segment, request).await,
        Operation::Disconnect => users::disconnect(&call, request).await,
        Operation::Subscribe => users::subscribe(&call, request).await,
        Operation::Unsubscribe => users::unsubscribe(&call, request).await,
        Operation::Refresh => users::refresh(&call, request).await,
        Operation::Revoke => revoke::revoke(&call, request).await,
        Operation::Channels => {
            let query = request.uri().query().map(str::to_owned);
            drop(request);
            channels::list(&call, query.as_deref()).await
        }
        Operation::Info => info::info(&call),
        Operation::History => {
            let query = request.uri().query().map(str::to_owned);
            drop(request);
            history::read(&call, query.as_deref()).await
        }
        Operation::RemoveHistory => {
            let query = request.uri().query().map(str::to_owned);
            drop(request);
            history::remove(&call, query.as_deref()).await
        }
        Operation::Presence | Operation::PresenceStats => {
            let query = request.uri().query().map(str::to_owned);
            drop(request);
            let counts_only = operation == Operation::PresenceStats;
            presence::read(&call, query.as_deref(), counts_only).await
        }
        Operation::Centrifugo(method) => centrifugo::answer(&call, method, request).await,
    }
}

/// As draft-ietf-httpapi-idempotency-key-header has it, in quotes, or as most clients send it, without.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let wrong = |what| Problem::invalid(format!("the header Idempotency-Key {what}"));
    let text = value.to_str().ok().filter(|text| !text.contains('\t'));
    let text = text.ok_or_else(|| wrong("has other than visible ASCII characters"))?;
    let key = match text.strip_prefix('"') {
        Some(rest) => rest
            .strip_suffix('"')
            .ok_or_else(|| wrong("begins with a quote and does not end with another"))?,
        None => text,
    };
    Ok(Some(publication::check_key(key)?.to_owned()))
}

fn options(allowed: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Connections beside those with a request under way: so many may be answered that there are too many.
const CONNECTIONS_BESIDE: usize = 64;
/// Between requests of a connection. Longer than that of most clients' pools, so that those close it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Of a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(3600);
