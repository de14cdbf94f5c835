//! The calls of one hook: so many in flight, so many behind them, and no more.
//!
//! A question is asked for a waiter ([`Queue::ask`]); the calls to make come from [`Queue::poll`], their
//! answers go to [`Queue::answer`], and what waiters are told comes from [`Queue::take_told`]. A call's
//! time counts from when it was asked for, so that a waiter never waits longer than the timeout, whatever
//! stands before it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::answer::Answer;
use crate::breaker::{Breaker, Permit};
use crate::cache::Cache;

/// What a hook's calls obey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// From the question to its answer.
    pub timeout_ms: u64,
    /// Calls under way.
    pub in_flight_max: usize,
    /// Calls that wait for those.
    pub queue_max: usize,
    /// What waiters are told when a call brings no answer.
    pub on_failure: OnFailure,
    /// How long an answer is used for equal questions; 0: not at all.
    pub cache_ms: u64,
    /// How old an answer may be that is used because there is no other.
    pub cache_stale_max_ms: u64,
}

/// What waiters are told when a call brings no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// That they may not, for now.
    Deny,
    /// That they may.
    Allow,
    /// What the last answer to an equal question was; without one, that they may not.
    Last,
}

/// What a waiter is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What the application says, or has said.
    Answered(Answer),
    /// It said nothing, and the rules allow it.
    Allowed,
    /// It said nothing.
    Failed(Failure),
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It has not come in time.
    Timeout,
    /// The call has failed, or what came is no answer.
    Call,
    /// As many calls wait as may.
    Full,
    /// So many have failed that none is made for a while.
    Broken,
}

/// What [`Queue::poll`] wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Order<Q> {
    /// Make this call; it is given up at the time.
    Call {
        /// To be given back with its answer.
        number: u64,
        /// What is asked.
        question: Q,
        /// On the queue's clock.
        until_ms: u64,
    },
    /// Give this one up: nothing waits for it any longer.
    Cancel(u64),
}

/// What a hook's calls have come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls made.
    pub calls: u64,
    /// Of those, the ones without an answer.
    pub failed: u64,
    /// Questions that another's call has answered.
    pub merged: u64,
    /// Questions that a remembered answer has answered.
    pub cached: u64,
    /// Questions that were not asked: the queue was full.
    pub full: u64,
    /// The same, because too many calls have failed.
    pub broken: u64,
    /// Times that calls were stopped.
    pub opened: u64,
}

impl std::ops::Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts {
            calls: self.calls + other.calls,
            failed: self.failed + other.failed,
            merged: self.merged + other.merged,
            cached: self.cached + other.cached,
            full: self.full + other.full,
            broken: self.broken + other.broken,
            opened: self.opened + other.opened,
        }
    }
}

/// The calls of one hook. `W` is what waits, `Q` what is asked.
#[derive(Debug)]
pub struct Queue<W, Q> {
    rules: Rules,
    breaker: Breaker,
    cache: Cache,
    calls: HashMap<u64, Call<W, Q>>,
    /// By what equal questions have in common: those under way, and queued.
    by_key: HashMap<Arc<str>, u64>,
    /// Numbers in order; some may be gone.
    queued: VecDeque<u64>,
    /// Those in `queued` that are not gone.
    queued_len: usize,
    in_flight: usize,
    /// All have the same time, so the first is due first; some may be gone.
    deadlines: VecDeque<(u64, u64)>,
    cancelled: Vec<u64>,
    told: Vec<(W, Outcome)>,
    last_number: u64,
    counts: Counts,
}

#[derive(Debug)]
struct Call<W, Q> {
    key: Option<Arc<str>>,
    /// Until it is made.
    question: Option<Q>,
    until_ms: u64,
    is_probe: bool,
    waiters: Vec<W>,
}

impl<W, Q> Queue<W, Q> {
    /// Nothing is asked yet.
    pub fn new(rules: Rules) -> Queue<W, Q> {
        Queue {
            rules,
            breaker: Breaker::new(),
            cache: Cache::default(),
            calls: HashMap::new(),
            by_key: HashMap::new(),
            queued: VecDeque::new(),
            queued_len: 0,
            in_flight: 0,
            deadlines: VecDeque::new(),
            cancelled: Vec::new(),
            told: Vec::new(),
            last_number: 0,
            counts: Counts::default(),
        }
    }

    /// Asks. Questions with one key are equal: a call that is under way, or an answer that is remembered,
    /// does for all of them.
    pub fn ask(&mut self, waiter: W, key: Option<&str>, question: Q, now_ms: u64) {
        if let Some(key) = key {
            if let Some(answer) = self.remembered(key, self.rules.cache_ms, now_ms) {
                self.counts.cached += 1;
                self.told.push((waiter, Outcome::Answered(answer)));
                return;
            }
            let same = self.by_key.get(key).copied();
            if let Some(call) = same.and_then(|number| self.calls.get_mut(&number)) {
                self.counts.merged += 1;
                call.waiters.push(waiter);
                return;
            }
        }
        let held_max = self.rules.in_flight_max + self.rules.queue_max;
        let failure = if self.breaker.is_open(now_ms) {
            self.counts.broken += 1;
            Failure::Broken
        } else if self.in_flight + self.queued_len >= held_max {
            self.counts.full += 1;
            Failure::Full
        } else {
            return self.enqueue(waiter, key, question, now_ms);
        };
        let outcome = self.outcome_of(failure, key, now_ms);
        self.told.push((waiter, outcome));
    }

    /// The next thing to do; `None` until [`Queue::wake_at`], a question or an answer.
    pub fn poll(&mut self, now_ms: u64) -> Option<Order<Q>> {
        self.expire(now_ms);
        if let Some(number) = self.cancelled.pop() {
            return Some(Order::Cancel(number));
        }
        while self.in_flight < self.rules.in_flight_max {
            let number = *self.queued.front()?;
            if !self.calls.contains_key(&number) {
                self.queued.pop_front();
                continue;
            }
            let permit = self.breaker.permit(now_ms);
            if permit == Permit::No {
                // It has opened behind them. They are told so now, for they would wait in vain.
                self.fail_queued(now_ms);
                return None;
            }
            self.queued.pop_front();
            self.queued_len -= 1;
            self.in_flight += 1;
            self.counts.calls += 1;
            let call = self.calls.get_mut(&number)?;
            call.is_probe = permit == Permit::Probe;
            let question = call.question.take()?;
            return Some(Order::Call {
                number,
                question,
                until_ms: call.until_ms,
            });
        }
        None
    }

    /// A call has ended. One that was given up is ignored.
    pub fn answer(&mut self, number: u64, answer: Result<Answer, Failure>, now_ms: u64) {
        let is_in_flight = self
            .calls
            .get(&number)
            .is_some_and(|call| call.question.is_none());
        if is_in_flight {
            self.end(number, answer, now_ms);
        }
    }

    /// What waiters are to be told.
    pub fn take_told(&mut self) -> Vec<(W, Outcome)> {
        std::mem::take(&mut self.told)
    }

    /// When [`Queue::poll`] has something to do if nothing happens.
    pub fn wake_at(&self) -> Option<u64> {
        self.deadlines.front().map(|&(at, _)| at)
    }

    /// Calls under way, and calls that wait for those.
    pub fn depth(&self) -> (usize, usize) {
        (self.in_flight, self.queued_len)
    }

    /// Whether calls are made.
    pub fn is_broken(&self) -> bool {
        !self.breaker.is_closed()
    }

    /// What it has come to.
    pub fn counts(&self) -> Counts {
        Counts {
            opened: self.breaker.opened(),
            ..self.counts
        }
    }

    /// In debug builds: what is counted is what is there.
    pub fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let queued = self.calls.values().filter(|call| call.question.is_some());
            let queued = queued.count();
            assert_eq!(queued, self.queued_len, "queued calls");
            assert_eq!(self.calls.len() - queued, self.in_flight, "calls in flight");
            assert!(self.in_flight <= self.rules.in_flight_max);
            assert!(self.queued_len <= self.rules.queue_max + self.rules.in_flight_max);
            for (key, number) in &self.by_key {
                assert_eq!(self.calls[number].key.as_ref(), Some(key));
            }
        }
    }

    fn enqueue(&mut self, waiter: W, key: Option<&str>, question: Q, now_ms: u64) {
        self.last_number += 1;
        let (number, until_ms) = (self.last_number, now_ms + self.rules.timeout_ms);
        let key: Option<Arc<str>> = key.map(Into::into);
        if let Some(key) = &key {
            self.by_key.insert(key.clone(), number);
        }
        let call = Call {
            key,
            question: Some(question),
            until_ms,
            is_probe: false,
            waiters: vec![waiter],
        };
        self.calls.insert(number, call);
        self.queued.push_back(number);
        self.queued_len += 1;
        self.deadlines.push_back((until_ms, number));
    }

    /// Gives up what is late.
    fn expire(&mut self, now_ms: u64) {
        while let Some(&(at, number)) = self.deadlines.front()
            && (at <= now_ms || !self.calls.contains_key(&number))
        {
            self.deadlines.pop_front();
            let Some(call) = self.calls.get(&number) else {
                continue;
            };
            if call.question.is_none() {
                self.cancelled.push(number);
            }
            self.end(number, Err(Failure::Timeout), now_ms);
        }
        let age_max_ms = self.rules.cache_ms.max(self.stale_max_ms());
        self.cache.expire(age_max_ms, now_ms);
    }

    fn fail_queued(&mut self, now_ms: u64) {
        for number in std::mem::take(&mut self.queued) {
            if self.calls.contains_key(&number) {
                self.counts.broken += 1;
                self.end(number, Err(Failure::Broken), now_ms);
            }
        }
    }

    /// Ends a call, in flight or queued.
    fn end(&mut self, number: u64, answer: Result<Answer, Failure>, now_ms: u64) {
        let Some(call) = self.calls.remove(&number) else {
            return;
        };
        match call.question {
            Some(_) => self.queued_len -= 1,
            None => {
                self.in_flight -= 1;
                self.counts.failed += u64::from(answer.is_err());
                self.breaker
                    .on_ended(call.is_probe, answer.is_err(), now_ms);
            }
        }
        if let Some(key) = &call.key {
            self.by_key.remove(key);
        }
        let outcome = match answer {
            Ok(answer) => {
                self.remember(call.key.as_deref(), &answer, now_ms);
                Outcome::Answered(answer)
            }
            Err(failure) => self.outcome_of(failure, call.key.as_deref(), now_ms),
        };
        let told = call.waiters.into_iter();
        self.told
            .extend(told.map(|waiter| (waiter, outcome.clone())));
    }

    fn outcome_of(&self, failure: Failure, key: Option<&str>, now_ms: u64) -> Outcome {
        match self.rules.on_failure {
            OnFailure::Allow => Outcome::Allowed,
            OnFailure::Deny => Outcome::Failed(failure),
            OnFailure::Last => {
                let last = key.and_then(|key| self.remembered(key, self.stale_max_ms(), now_ms));
                last.map_or(Outcome::Failed(failure), Outcome::Answered)
            }
        }
    }

    /// How long answers are kept for failures.
    fn stale_max_ms(&self) -> u64 {
        match self.rules.on_failure {
            OnFailure::Last => self.rules.cache_stale_max_ms,
            OnFailure::Deny | OnFailure::Allow => 0,
        }
    }

    fn remembered(&self, key: &str, age_max_ms: u64, now_ms: u64) -> Option<Answer> {
        if age_max_ms == 0 {
            return None;
        }
        self.cache.get(key, age_max_ms, now_ms).cloned()
    }

    /// What holds for a while is remembered. A disconnect is for the one connection that asked.
    fn remember(&mut self, key: Option<&str>, answer: &Answer, now_ms: u64) {
        let lasts = match answer {
            Answer::Connect(_) | Answer::Subscribe | Answer::Publish(_) => true,
            Answer::Error { is_temporary, .. } => !is_temporary,
            // Of a method nothing is asked twice.
            Answer::Rpc(_) | Answer::Disconnect { .. } => false,
        };
        let keeps = self.rules.cache_ms.max(self.stale_max_ms()) > 0;
        if let Some(key) = key.filter(|_| lasts && keeps) {
            self.cache.insert(key, answer.clone(), now_ms);
        }
    }
}
