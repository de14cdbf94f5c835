//! Checks that the reactors run: each is asked through its ring, and its loop counter is watched.

use std::sync::Arc;
use std::time::Duration;

use roost_metrics::Registry;
use roost_reactor::Request;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::peer::Peer;

/// The health of one reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reactor {
    /// It has answered.
    Answers,
    /// It has not answered, but its loop has run.
    Runs,
    /// Neither.
    Hangs,
}

/// Asks the reactors on behalf of all callers: concurrent checks share one round of requests.
#[derive(Default)]
pub(crate) struct Health {
    last: Mutex<Option<(Instant, Arc<[Reactor]>)>>,
}

impl Health {
    /// Every reactor's health, at most [`FRESH`] old.
    pub(crate) async fn check(&self, peer: &Peer, registry: &Registry) -> Arc<[Reactor]> {
        // While one caller asks, the others wait here, and use its answer.
        let mut last = self.last.lock().await;
        if let Some((at, reactors)) = &*last
            && at.elapsed() < FRESH
        {
            return reactors.clone();
        }
        let reactors = ask_all(peer, registry).await;
        *last = Some((Instant::now(), reactors.clone()));
        reactors
    }
}

async fn ask_all(peer: &Peer, registry: &Registry) -> Arc<[Reactor]> {
    let deadline = Instant::now() + ALIVE_WITHIN;
    let loops = |reactor| registry.reactor(reactor).loop_iterations_total.get();
    let before: Vec<u64> = (0..registry.reactors()).map(loops).collect();
    let sent: Vec<_> = (0..registry.reactors())
        .map(|reactor| peer.ask(reactor, Request::Ping))
        .collect();
    let mut answers = Vec::new();
    for sent in sent {
        answers.push(match sent {
            Ok(sent) => sent.answer_by(deadline).await.is_ok(),
            Err(_) => false,
        });
    }
    if answers.iter().any(|&answers| !answers) {
        sleep_until(deadline).await; // a full ring does not show whether the loop runs
    }
    let state = |(reactor, answers): (usize, bool)| match answers {
        true => Reactor::Answers,
        false if loops(reactor) != before[reactor] => Reactor::Runs,
        false => Reactor::Hangs,
    };
    answers.into_iter().enumerate().map(state).collect()
}

/// A reactor that does nothing for so long hangs.
pub(crate) const ALIVE_WITHIN: Duration = Duration::from_secs(2);
/// How long an answer is used for later checks.
const FRESH: Duration = Duration::from_millis(200);
