//! What the thread that checks tokens is given.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use roost_reactor::TokenCheck;
use roost_tokens::{Checker, Key};

/// What the thread is given.
pub(crate) enum Job {
    /// Tokens that a reactor asks about.
    Check(usize, Vec<TokenCheck>),
    /// Those whose key was asked for: now they are good or refused.
    Recheck(Vec<Parked>),
    /// The JWKS has other keys.
    Keys(Vec<Arc<Key>>),
    /// Other rules, and other keys of files.
    Replace(Box<Checker>),
}

/// A token whose key may be in the JWKS by now.
pub(crate) struct Parked {
    pub(crate) reactor: usize,
    pub(crate) check: TokenCheck,
}

/// The way to the thread. What it has not judged yet is bounded: handshakes whose time is over are the
/// reactors' no longer, but their tokens are still here.
#[derive(Clone)]
pub(crate) struct ToThread {
    jobs: mpsc::Sender<Job>,
    under_way: UnderWay,
    checks_max: usize,
}

/// How many tokens there are without a verdict, those included that wait for keys.
#[derive(Clone, Default)]
pub(crate) struct UnderWay(Arc<AtomicUsize>);

impl ToThread {
    pub(crate) fn new(jobs: mpsc::Sender<Job>, under_way: UnderWay, checks_max: usize) -> ToThread {
        ToThread {
            jobs,
            under_way,
            checks_max,
        }
    }

    /// Tokens that a reactor asks about. Those for which there is no room get no verdict: their
    /// handshakes are answered when their time is over.
    pub(crate) fn check(&self, reactor: usize, mut checks: Vec<TokenCheck>) {
        let under_way = self.under_way.0.load(Ordering::Relaxed);
        checks.truncate(self.checks_max.saturating_sub(under_way));
        if !checks.is_empty() {
            self.under_way.0.fetch_add(checks.len(), Ordering::Relaxed);
            self.send(Job::Check(reactor, checks));
        }
    }

    pub(crate) fn send(&self, job: Job) {
        let _ = self.jobs.send(job); // it ends with the process
    }
}

impl UnderWay {
    /// So many have their verdict.
    pub(crate) fn end(&self, verdicts: usize) {
        self.0.fetch_sub(verdicts, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use roost_access::Secret;
    use roost_net::ConnKey;

    use super::*;

    #[test]
    fn tokens_without_a_verdict_are_bounded() {
        let (jobs, taken) = mpsc::channel();
        let under_way = UnderWay::default();
        let to_thread = ToThread::new(jobs, under_way.clone(), 5);
        let checks = |count| {
            let check = |slot| TokenCheck {
                key: ConnKey::new(slot, 1),
                token: Secret::from("t".to_owned()),
                channel: None,
            };
            (0..count).map(check).collect::<Vec<_>>()
        };
        let taken = || match taken.try_recv() {
            Ok(Job::Check(_, checks)) => checks.len(),
            Ok(_) => panic!("nothing else was sent"),
            Err(_) => 0,
        };
        to_thread.check(0, checks(3));
        to_thread.check(1, checks(4));
        to_thread.check(1, checks(1));
        assert_eq!([taken(), taken(), taken()], [3, 2, 0]);
        under_way.end(4);
        to_thread.check(0, checks(9));
        assert_eq!([taken(), taken()], [4, 0]);
    }
}
