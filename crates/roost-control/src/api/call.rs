//! A request that was let in, and what all requests have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roost_reactor::Shared;
use tokio::time::Instant;

use super::access::{ApiKeys, Caller};
use super::problem::{Kind, Problem};
use super::pusher_apps::PusherApps;
use crate::metrics::Build;
use crate::peer::Peer;
use crate::revocation_file::RevocationFile;

/// Limits of the API.
#[derive(Debug, Clone, Copy)]
pub struct ApiLimits {
    /// Requests under way at once.
    pub in_flight_max: usize,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// Of all bodies that are being read or worked on.
    pub bodies_bytes_max: usize,
    /// Of a request: for its body to come, and for the reactors to answer.
    pub timeout: Duration,
    /// How long a token that was issued by now may still be good; `None`: for ever.
    pub token_lifetime: Option<Duration>,
    /// Whether Centrifugo's methods refuse channels of namespaces that are not in the configuration.
    pub strict_namespaces: bool,
}

/// What all answers are made from.
pub(super) struct Api {
    pub(super) shared: Shared,
    pub(super) peer: Arc<Peer>,
    pub(super) keys: ApiKeys,
    pub(super) pusher: PusherApps,
    pub(super) limits: ApiLimits,
    pub(super) revocations: Option<Arc<RevocationFile>>,
    pub(super) in_flight: AtomicUsize,
    /// Bytes of bodies.
    pub(super) held: AtomicUsize,
    pub(super) build: Build,
    pub(super) started: Instant,
}

/// A request that was let in.
pub(super) struct Call {
    pub(super) api: Arc<Api>,
    pub(super) caller: Caller,
    pub(super) deadline: Instant,
    /// Of the header; for each channel of the request.
    pub(super) idempotency_key: Option<String>,
    pub(super) _under_way: UnderWay,
}

impl Api {
    /// Counts the request until what is returned is dropped.
    pub(super) fn enter(self: &Arc<Api>) -> Result<UnderWay, Problem> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay(self.clone());
        let most = self.limits.in_flight_max;
        if before >= most {
            let detail = format!("{most} requests are under way (api.in_flight_max)");
            return Err(Problem::new(Kind::Overloaded, detail));
        }
        Ok(under_way)
    }
}

/// Room for bytes of a request, until it is dropped.
pub(super) struct Held {
    api: Arc<Api>,
    bytes: usize,
}

impl Held {
    /// None yet.
    pub(super) fn new(api: &Arc<Api>) -> Held {
        Held {
            api: api.clone(),
            bytes: 0,
        }
    }

    /// Makes it so many, if all together may be.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Problem> {
        let more = bytes.saturating_sub(self.bytes);
        let before = self.api.held.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        let limits = &self.api.limits;
        // One body has room, whatever the limits are.
        let most = limits.bodies_bytes_max.max(limits.body_bytes_max);
        if before + more > most {
            let detail = format!("bodies of {most} bytes are under way (api.bodies_bytes_max)");
            return Err(Problem::new(Kind::Overloaded, detail));
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.api.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One of the requests under way.
pub(super) struct UnderWay(Arc<Api>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
