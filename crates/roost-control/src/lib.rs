//! Owns the control thread and what it serves: the admin listeners, a unix socket and a TCP address,
//! and the HTTP API for an application's servers, on addresses and unix sockets of its own.
//!
//! The thread runs tokio beside the reactors and is one more peer of their mesh. It never touches a
//! client's connection: it sends requests to the reactors through bounded rings, which refuse when
//! they are full. If the thread hangs or ends, the reactors go on.
//!
//! | to read about | look at |
//! |---|---|
//! | sockets, their modes, and sockets left behind | `listen.rs` |
//! | connections: how many, for how long | `serve.rs`, `head_timer.rs` |
//! | what administrators are answered | `routes.rs`, `routes/` |
//! | what they ask of the process itself | `operator.rs` |
//! | the API | `api.rs` |
//! | channels with their subscribers | `channels.rs` |
//! | requests to reactors, their answers and deadlines | `peer.rs`, `ask_error.rs`; `gathered.rs`: single publications |
//! | tokens of handshakes | `tokens.rs`, `token_jobs.rs` |
//! | keys of tokens, fetched | `jwks.rs` |
//! | hooks: questions to applications | `hook.rs`, `hooks.rs`, `hook_inputs.rs`, `hook_client.rs`, `hook_outcomes.rs` |
//! | keys and hooks that a reload changes | `reloads.rs` |
//! | the journal of events, and Pusher's webhooks | `events.rs`, `event_destination.rs`, `event_inputs.rs` |
//! | whether reactors run, and deliver | `health.rs`, `canary.rs` |
//! | what is heard as a subscriber | `taps.rs`, `tail.rs` |
//! | the text that Prometheus reads | `metrics.rs` |

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use roost_net::wake_event;
use roost_reactor::Shared;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;
use tracing::warn;

mod api;
mod ask_error;
mod canary;
mod channels;
mod clock;
mod event_destination;
mod event_inputs;
mod events;
mod first_of;
mod gathered;
mod head_timer;
mod health;
mod hook;
mod hook_client;
mod hook_inputs;
mod hook_outcomes;
mod hooks;
mod jwks;
mod listen;
mod metrics;
mod operator;
mod pauses;
mod peer;
mod reloads;
mod revocation_file;
mod routes;
mod serve;
mod signature;
mod tail;
mod taps;
mod token_jobs;
mod tokens;

use api::{ApiKeys, PusherApps};
use canary::CanaryTask;
use events::EventTasks;
use first_of::first_of;
use hooks::HookTasks;
use routes::{Access, Checked, router};
use tokens::TokenTasks;

pub use api::{ApiKey, ApiLimits, ApiOptions};
#[doc(hidden)]
pub use api::{paths, problems};
pub use event_destination::{EventsTo, Teller, Webhook};
pub use hook::Hook;
pub use hook_client::HookUrl;
pub use jwks::{JwksOptions, JwksUrl};
pub use listen::{ApiListener, BindError, Listeners, Options, Socket};
pub use metrics::Build;
pub use operator::{DrainAsked, Operator, Reloaded, ReloadedKey};
pub use reloads::ControlReloader;
pub use revocation_file::RevocationFile;
pub use serve::Limits;
pub use tail::{TAIL_BYTES_MAX, TAILS_MAX};
pub use tokens::Tokens;

/// The running thread. Dropping it stops it, without waiting for that.
pub struct Control {
    reloader: ControlReloader,
    /// With how long events have to be told.
    stop: oneshot::Sender<Duration>,
    ended: mpsc::Receiver<()>,
}

/// What the thread serves.
pub struct Served {
    /// The admin listeners.
    pub admin: Listeners,
    /// Their limits.
    pub limits: Limits,
    /// The API, if it is on.
    pub api: Option<ApiOptions>,
    /// What tokens are checked with that reactors ask about; without it they get no answer.
    pub tokens: Option<Tokens>,
    /// What applications are asked; without any, questions get no answer.
    pub hooks: Vec<Hook>,
    /// How often it is looked whether each reactor delivers; `None`: never.
    pub canary_interval: Option<Duration>,
    /// Where applications are told what happens.
    pub events: Vec<EventsTo>,
    /// What the process does for administrators; without it, what they ask of it is refused.
    pub operator: Option<Arc<dyn Operator>>,
}

/// Serves what listeners accept, on a thread of its own, until it is stopped.
///
/// # Errors
/// When the server already has such a thread, the API an address without a key, or the system no
/// thread or descriptor left.
pub fn start(mut served: Served, shared: Shared, build: Build) -> io::Result<Control> {
    served.api.as_ref().map_or(Ok(()), api::check)?;
    let (waker, woken) = wake_event()?;
    let peer = shared
        .control_peer(waker)
        .ok_or_else(|| io::Error::other("this server has a control thread already"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()?;
    let (to_thread, tasks) = served.tokens.take().map(tokens::start).transpose()?.unzip();
    let bytes_max = shared.settings().limits.message_bytes_max;
    let hooks = std::mem::take(&mut served.hooks);
    let (to_hooks, hooks) = hooks::start(hooks, peer.reactors(), bytes_max)?;
    let keys = served.api.as_mut().map(|api| std::mem::take(&mut api.keys));
    let keys = ApiKeys::new(keys.unwrap_or_default());
    let apps = served
        .api
        .as_mut()
        .map(|api| std::mem::take(&mut api.pusher));
    let apps = PusherApps::new(apps.unwrap_or_default());
    let admits = (keys, apps);
    let reloader = ControlReloader::new(admits.clone(), to_thread.clone(), to_hooks.clone());
    let told = std::mem::take(&mut served.events);
    let told = (!told.is_empty()).then(|| events::start(told));
    let (to_events, mut events) = told.transpose()?.unzip();
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = mpsc::channel();
    thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            let peer = Arc::new(peer::Peer::new(peer, to_thread, Some(to_hooks), to_events));
            let has_keys = tasks.as_ref().and_then(TokenTasks::has_keys);
            let tasks = run_tasks(tasks, hooks, peer.clone());
            let work = work(
                served,
                admits,
                (shared, build),
                (peer.clone(), has_keys),
                woken,
            );
            let work = first_of(work, tasks);
            runtime.block_on(run(work, &mut events, &peer, stopped));
            runtime.shutdown_background();
            drop(end);
        })?;
    Ok(Control {
        reloader,
        stop,
        ended,
    })
}

impl Control {
    /// Puts other keys and hooks in place.
    pub fn reloader(&self) -> ControlReloader {
        self.reloader.clone()
    }

    /// Closes the listeners and removes their sockets, and waits for that so long at most.
    pub fn stop(self, wait: Duration) {
        self.finish(wait, Duration::ZERO);
    }

    /// The same; before that, events that are left are told, which may take `events_wait`. To be called when the reactors have
    /// stopped.
    pub fn finish(self, wait: Duration, events_wait: Duration) {
        let _ = self.stop.send(events_wait); // it may have ended
        let _ = self.ended.recv_timeout(wait + events_wait); // nothing is sent: the other end is dropped
    }
}

/// Works until it is stopped, and then tells what events are left.
async fn run(
    work: impl Future<Output = io::Result<()>>,
    events: &mut Option<EventTasks>,
    peer: &peer::Peer,
    stopped: oneshot::Receiver<Duration>,
) {
    let telling = async {
        match events {
            Some(events) => events.run().await,
            None => std::future::pending().await,
        }
    };
    let work = async { first_of(work, telling).await.map(|()| Duration::ZERO) };
    let stopped = async { Ok(stopped.await.unwrap_or_default()) }; // or `Control` was dropped
    match (first_of(work, stopped).await, events) {
        (Err(error), _) => {
            warn!(%error, "the admin listeners and the API are closed; clients are served as before");
        }
        (Ok(wait), Some(events)) if !wait.is_zero() => events.finish(peer, wait).await,
        (Ok(_), _) => {}
    }
}

async fn work(
    served: Served,
    admits: (ApiKeys, PusherApps),
    (shared, build): (Shared, Build),
    (peer, has_keys): (Arc<peer::Peer>, Option<Arc<AtomicBool>>),
    woken: OwnedFd,
) -> io::Result<()> {
    if let Some(options) = served.api {
        api::serve(options, admits, &shared, build, &peer);
    }
    let canary = served.canary_interval;
    let canary = canary.map(|interval| CanaryTask::new(shared.clone(), &peer, interval));
    let state = Arc::new(routes::State::new(
        shared,
        build,
        peer.clone(),
        Checked {
            has_keys,
            canary: canary.clone(),
        },
        served.operator,
    ));
    let answers = peer.clone().run(Receiver::from_owned_fd_unchecked(woken)?);
    let answers = first_of(answers, async {
        match canary {
            Some(canary) => canary.run(peer.clone()).await,
            None => std::future::pending().await,
        }
    });
    let routers = [Access::Full, Access::ReadOnly].map(|access| router(state.clone(), access));
    let served = serve::serve(served.admin, routers, served.limits);
    first_of(answers, served).await
}

async fn run_tasks(
    tokens: Option<TokenTasks>,
    hooks: HookTasks,
    peer: Arc<peer::Peer>,
) -> io::Result<()> {
    let tokens = async {
        match tokens {
            Some(tasks) => tasks.run(peer.clone()).await,
            None => std::future::pending().await,
        }
    };
    first_of(tokens, hooks.run(peer.clone())).await
}

/// Threads that look up names of hosts and write files: a name server that hangs keeps so many of them,
/// and calls that wait behind are given up in their time.
const BLOCKING_THREADS_MAX: usize = 8;
