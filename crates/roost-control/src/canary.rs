//! Keeps the canary: publishes its probes through the ordinary way of the API, and hears them.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use roost_dialect::PayloadRef;
use roost_reactor::{Canary, CanaryStep, ControlPublication, Shared, Tapped};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::first_of::first_of;
use crate::peer::{AskError, Peer, Until};
use crate::taps::Listener;

/// The canary of the server.
pub(crate) struct CanaryTask {
    state: Mutex<Canary>,
    /// From when its clock counts.
    began: Instant,
    shared: Shared,
    /// Something has happened that may be waited for.
    changed: Notify,
}

/// Hears the probes of one reactor.
struct OfHome {
    home: usize,
    task: Weak<CanaryTask>,
}

impl CanaryTask {
    pub(crate) fn new(shared: Shared, peer: &Peer, interval: Duration) -> Arc<CanaryTask> {
        let channels = (0..peer.reactors()).map(|home| peer.canary_of(home));
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Arc::new(CanaryTask {
            state: Mutex::new(Canary::new(channels.collect(), interval_ns, 0)),
            began: Instant::now(),
            shared,
            changed: Notify::new(),
        })
    }

    /// A sentence for each reactor that does not deliver.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.lock().problems()
    }

    /// Probes until the server is drained.
    pub(crate) async fn run(self: Arc<Self>, peer: Arc<Peer>) -> io::Result<()> {
        let mut broken = vec![false; peer.reactors()];
        while !self.shared.is_draining() {
            while let Some(step) = self.next_step() {
                self.clone().take(step, &peer);
            }
            self.tell(&mut broken);
            let due = self.began + Duration::from_nanos(self.lock().due_ns());
            first_of(sleep_until(due), self.changed.notified()).await;
        }
        pending().await
    }

    fn next_step(&self) -> Option<CanaryStep> {
        let now = self.now_ns();
        self.lock().next_step(now, self.shared.registry())
    }

    fn take(self: Arc<Self>, step: CanaryStep, peer: &Arc<Peer>) {
        match step {
            CanaryStep::Listen { home } => {
                let task = Arc::downgrade(&self);
                let listener = Arc::new(OfHome { home, task });
                let channel = self.lock().channel(home).clone();
                let begun = peer.listen(&channel, false, listener);
                self.lock().sent(step, begun.is_ok());
            }
            CanaryStep::Publish { home, number } => {
                let peer = peer.clone();
                tokio::spawn(async move { self.publish((home, number), &peer).await });
            }
        }
    }

    async fn publish(&self, (home, number): (usize, u64), peer: &Peer) {
        let publication = ControlPublication {
            channel: self.lock().channel(home).clone(),
            payload: PayloadRef::Text(&number.to_string()).freeze(),
            is_limited: false,
            repeat_key: None,
        };
        let deadline = Instant::now() + PLACE_TIMEOUT;
        let placed = peer.publish(publication, Until::Placed, deadline).await;
        let mut state = self.lock();
        match placed {
            Ok(_) => state.placed(home, number, Ok(())),
            Err(AskError::Refused(refusal)) => state.placed(home, number, Err(refusal)),
            Err(AskError::RingFull | AskError::TooManyWaiting) => {
                state.sent(CanaryStep::Publish { home, number }, false);
            }
            Err(AskError::Deadline) => {} // it has been missed
        }
    }

    /// Shows what was found, and logs what has changed.
    fn tell(&self, broken: &mut [bool]) {
        let state = self.lock();
        for (home, was_broken) in broken.iter_mut().enumerate() {
            let (misses, misses_total) = state.misses(home);
            let timings = self.shared.registry().timings(home);
            timings.canary_misses.set(u64::from(misses));
            timings.canary_misses_total.set(misses_total);
            let hop = state.broken_hop(home);
            match (hop, *was_broken) {
                (Some(hop), false) => {
                    warn!(reactor = home, %hop, "not ready: {}", hop.explain(home));
                }
                (None, true) => info!(reactor = home, "it delivers again"),
                _ => {}
            }
            *was_broken = hop.is_some();
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Canary> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for OfHome {
    fn listening(&self) {
        if let Some(task) = self.task.upgrade() {
            let now = task.now_ns();
            task.lock().listening(self.home, now);
            task.changed.notify_one();
        }
    }

    fn hear(&self, heard: &Tapped) {
        let Some(task) = self.task.upgrade() else {
            return;
        };
        let now = task.now_ns();
        let payload = heard.payload().unwrap_or_default();
        let latency = task.lock().heard(self.home, payload, now);
        if let Some(latency_ns) = latency {
            let timings = task.shared.registry().timings(self.home);
            timings.publish.record(latency_ns);
            timings.canary_ns.set(latency_ns);
            task.changed.notify_one();
        }
    }
}

/// For the answer to a probe: longer than one is waited for.
const PLACE_TIMEOUT: Duration = Duration::from_secs(30);
