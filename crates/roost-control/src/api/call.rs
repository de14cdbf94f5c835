//! A request that was let in, and what all requests have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roost_reactor::Shared;
use tokio::time::Instant;

use super::access::{ApiKey, Caller};
use super::problem::{Kind, Problem};
use crate::metrics::Build;
use crate::peer::Peer;

/// Limits of the API.
#[derive(Debug, Clone, Copy)]
pub struct ApiLimits {
    /// Requests under way at once.
    pub in_flight_max: usize,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// Of a request: for its body to come, and for the reactors to answer.
    pub timeout: Duration,
    /// How long a token that was issued by now may still be good; `None`: for ever.
    pub token_lifetime: Option<Duration>,
}

/// What all answers are made from.
pub(super) struct Api {
    pub(super) shared: Shared,
    pub(super) peer: Arc<Peer>,
    pub(super) keys: Vec<Arc<ApiKey>>,
    pub(super) limits: ApiLimits,
    pub(super) in_flight: AtomicUsize,
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

/// One of the requests under way.
pub(super) struct UnderWay(Arc<Api>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
