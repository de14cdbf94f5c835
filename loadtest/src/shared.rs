//! What the rings tell each other and the coordinator while they run: counters with one writer
//! each, and the flow of messages in topics.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use roost_net::Waker;
use roost_tls::ClientSetup;

use crate::plan::Plan;

/// A count that one ring writes and all read.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn add(&self, n: u64) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_sub(n), Ordering::Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The state of one ring.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Connections begun, ever.
    pub(crate) begun: Gauge,
    /// Connections that are open and subscribed, now.
    pub(crate) held: Gauge,
    /// Connections between the two, now.
    pub(crate) opening: Gauge,
    /// Connections that did not open.
    pub(crate) failed: Gauge,
    /// Connections that ended unasked after they were held.
    pub(crate) lost: Gauge,
    /// Connections the driver has, now.
    pub(crate) live: Gauge,
    /// Connections that are still to begin.
    pub(crate) unfinished: Gauge,
    /// Messages sent by publishers and echoing connections.
    pub(crate) sent: Gauge,
    /// Messages received.
    pub(crate) received: Gauge,
    /// Pings answered.
    pub(crate) pings: Gauge,
}

/// The messages of one topic.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Deliveries that publishes so far amount to.
    expected: AtomicU64,
    /// Deliveries seen.
    seen: AtomicU64,
    /// A publisher waits for deliveries.
    waited_for: AtomicBool,
}

impl Flow {
    /// A publish that `subscribers` will receive.
    pub(crate) fn expect(&self, subscribers: u64) {
        self.expected.fetch_add(subscribers, Ordering::Relaxed);
    }

    /// Deliveries on their way.
    pub(crate) fn under_way(&self) -> u64 {
        let seen = self.seen.load(Ordering::Relaxed);
        self.expected.load(Ordering::Relaxed).saturating_sub(seen)
    }

    /// A publisher has stopped because of them.
    pub(crate) fn wait(&self) {
        self.waited_for.store(true, Ordering::SeqCst);
    }

    /// Deliveries seen. True when a publisher waits for them.
    pub(crate) fn see(&self, deliveries: u64) -> bool {
        self.seen.fetch_add(deliveries, Ordering::Relaxed);
        self.waited_for.swap(false, Ordering::SeqCst)
    }

    /// What is under way will not come: connections were lost.
    pub(crate) fn forget(&self) {
        let expected = self.expected.load(Ordering::Relaxed);
        self.seen.store(expected, Ordering::Relaxed);
    }
}

/// Everything that is shared.
pub(crate) struct Shared {
    pub(crate) gauges: Vec<Gauges>,
    /// Messages sent by each publisher, by its number among all connections.
    pub(crate) published: Vec<AtomicU64>,
    pub(crate) flows: Vec<Flow>,
    /// Subscribers are away on purpose: a publish is not waited for.
    away: AtomicBool,
    /// With `wss://`, what handshakes are done with.
    pub(crate) tls: Option<ClientSetup>,
    /// Of all rings, once they run.
    pub(crate) wakers: OnceLock<Vec<Waker>>,
}

impl Shared {
    pub(crate) fn new(plan: &Plan, rings: usize, tls: Option<ClientSetup>) -> Shared {
        Shared {
            tls,
            gauges: (0..rings).map(|_| Gauges::default()).collect(),
            published: (0..plan.publishers_end())
                .map(|_| AtomicU64::new(0))
                .collect(),
            flows: plan.topics.iter().map(|_| Flow::default()).collect(),
            away: AtomicBool::new(false),
            wakers: OnceLock::new(),
        }
    }

    /// Whether subscribers are away on purpose.
    pub(crate) fn some_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Subscribers leave.
    pub(crate) fn leave(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    /// They are back, and what was published meanwhile has come: deliveries are counted anew.
    pub(crate) fn come_back(&self) {
        for flow in &self.flows {
            flow.forget();
        }
        self.away.store(false, Ordering::Relaxed);
    }

    /// Messages that this publisher has sent or is about to send.
    pub(crate) fn published(&self, publisher: u32) -> u64 {
        self.published[publisher as usize].load(Ordering::Acquire)
    }

    pub(crate) fn wake_all(&self) {
        for waker in self.wakers.get().into_iter().flatten() {
            waker.wake();
        }
    }

    pub(crate) fn sum(&self, of: impl Fn(&Gauges) -> &Gauge) -> u64 {
        self.gauges.iter().map(|gauges| of(gauges).get()).sum()
    }
}
