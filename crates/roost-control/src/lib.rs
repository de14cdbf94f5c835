//! Owns the control thread and the admin listeners it serves: a unix socket and a TCP address.
//!
//! The thread runs tokio beside the reactors and is one more peer of their mesh. It never touches a
//! client's connection: it sends requests to the reactors through bounded rings, which refuse when
//! they are full. If the thread hangs or ends, the reactors go on.
//!
//! | to read about | look at |
//! |---|---|
//! | sockets, their modes, and sockets left behind | `listen.rs` |
//! | connections: how many, for how long | `serve.rs` |
//! | what is answered to which request | `routes.rs` |
//! | requests to reactors, their answers and deadlines | `peer.rs` |
//! | whether reactors run | `health.rs` |
//! | the text that Prometheus reads | `metrics.rs` |

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use roost_net::wake_socket;
use roost_reactor::{ControlPeer, Shared};
use tokio::sync::oneshot;
use tracing::warn;

mod first_of;
mod health;
mod listen;
mod metrics;
mod peer;
mod routes;
mod serve;

use first_of::first_of;
use routes::{Access, router};

pub use listen::{BindError, Listeners, Options, Socket};
pub use metrics::Build;
pub use serve::Limits;

/// The running thread. Dropping it stops it, without waiting for that.
pub struct Control {
    stop: oneshot::Sender<()>,
    ended: mpsc::Receiver<()>,
}

/// Serves what `listeners` accept, on a thread of its own, until it is stopped.
///
/// # Errors
/// When the server already has such a thread, or the system has no thread or descriptor left.
pub fn start(
    listeners: Listeners,
    shared: Shared,
    build: Build,
    limits: Limits,
) -> io::Result<Control> {
    let (waker, woken) = wake_socket()?;
    let peer = shared
        .control_peer(waker)
        .ok_or_else(|| io::Error::other("this server has a control thread already"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = mpsc::channel();
    thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            let work = work(listeners, shared, build, limits, peer, woken);
            let outcome = runtime.block_on(async {
                let stopped = async {
                    let _ = stopped.await; // or `Control` was dropped
                    Ok(())
                };
                first_of(work, stopped).await
            });
            if let Err(error) = outcome {
                warn!(%error, "the admin listeners are closed; clients are served as before");
            }
            runtime.shutdown_background();
            drop(end);
        })?;
    Ok(Control { stop, ended })
}

impl Control {
    /// Closes the admin listeners and removes the socket, and waits for that so long at most.
    pub fn stop(self, wait: Duration) {
        let _ = self.stop.send(()); // it may have ended
        let _ = self.ended.recv_timeout(wait); // nothing is sent: the other end is dropped
    }
}

async fn work(
    listeners: Listeners,
    shared: Shared,
    build: Build,
    limits: Limits,
    peer: ControlPeer,
    woken: UnixStream,
) -> io::Result<()> {
    let peer = Arc::new(peer::Peer::new(peer));
    let state = Arc::new(routes::State::new(shared, build, peer.clone()));
    let answers = peer.clone().run(tokio::net::UnixStream::from_std(woken)?);
    let routers = [Access::Full, Access::ReadOnly].map(|access| router(state.clone(), access));
    let served = serve::serve(listeners, routers, limits);
    first_of(answers, served).await
}
