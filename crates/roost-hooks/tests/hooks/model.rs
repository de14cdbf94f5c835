//! Random histories of one queue: each question is answered once and in time, no more calls are under
//! way than may be, and what is told was said about that very question.

use std::collections::{BTreeMap, HashMap};

use roost_hooks::{Answer, Failure, OnFailure, Order, Outcome, Queue, Rules};
use roost_random::SplitMix64;

const TIMEOUT_MS: u64 = 300;

/// What the application says about a key, always: an error code of its own for each.
fn truth(key: &str) -> Answer {
    Answer::Error {
        code: 400 + key.parse::<u32>().expect("a number"),
        message: "".into(),
        is_temporary: false,
    }
}

struct Run {
    queue: Queue<(u64, String), String>,
    rules: Rules,
    random: SplitMix64,
    /// Which question each call under way has.
    calls: BTreeMap<u64, String>,
    /// When each waiter has asked.
    asked: HashMap<u64, u64>,
    waiters: u64,
    now: u64,
    /// Whether most calls fail.
    is_down: bool,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = SplitMix64::new(seed);
        let mut below = |n: u64| random.next_u64() % n;
        let rules = Rules {
            timeout_ms: TIMEOUT_MS,
            in_flight_max: 1 + below(4) as usize,
            queue_max: below(6) as usize,
            on_failure: [OnFailure::Deny, OnFailure::Allow, OnFailure::Last][below(3) as usize],
            cache_ms: below(3) * 100,
            cache_stale_max_ms: below(3) * 400,
        };
        Run {
            queue: Queue::new(rules.clone()),
            rules,
            random,
            calls: BTreeMap::new(),
            asked: HashMap::new(),
            waiters: 0,
            now: 0,
            is_down: false,
        }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    fn step(&mut self) {
        match self.below(8) {
            0..4 => self.ask(),
            4 | 5 => self.answer(),
            6 => self.now += self.random.next_u64() % 120,
            _ => self.is_down = self.below(4) == 0,
        }
        self.go_on();
    }

    fn ask(&mut self) {
        let (key, has_key) = (self.below(5).to_string(), self.below(3) > 0);
        self.waiters += 1;
        self.asked.insert(self.waiters, self.now);
        let waiter = (self.waiters, key.clone());
        let asked = has_key.then_some(key.as_str());
        self.queue.ask(waiter, asked, key.clone(), self.now);
    }

    fn answer(&mut self) {
        let Some(&number) = self.calls.keys().next() else {
            return;
        };
        let key = self.calls.remove(&number).expect("it is there");
        let fails = self.below(10) < if self.is_down { 9 } else { 1 };
        let answer = if fails {
            Err(Failure::Call)
        } else {
            Ok(truth(&key))
        };
        self.queue.answer(number, answer, self.now);
    }

    fn go_on(&mut self) {
        while let Some(order) = self.queue.poll(self.now) {
            match order {
                Order::Call {
                    number,
                    question,
                    until_ms,
                } => {
                    assert!(until_ms > self.now && until_ms <= self.now + TIMEOUT_MS);
                    assert!(self.calls.insert(number, question).is_none());
                }
                Order::Cancel(number) => {
                    assert!(self.calls.remove(&number).is_some(), "it was under way");
                }
            }
            self.queue.check_invariants();
        }
        let (in_flight, queued) = self.queue.depth();
        assert_eq!(in_flight, self.calls.len());
        assert!(in_flight <= self.rules.in_flight_max);
        assert!(queued <= self.rules.queue_max + self.rules.in_flight_max);
        for ((waiter, key), outcome) in self.queue.take_told() {
            assert!(self.asked.remove(&waiter).is_some(), "told once");
            match outcome {
                Outcome::Answered(answer) => assert_eq!(answer, truth(&key), "another's answer"),
                Outcome::Allowed => assert_eq!(self.rules.on_failure, OnFailure::Allow),
                Outcome::Failed(_) => assert_ne!(self.rules.on_failure, OnFailure::Allow),
            }
        }
        for (waiter, at) in &self.asked {
            assert!(
                self.now < at + TIMEOUT_MS,
                "{waiter} waits since {at} at {}",
                self.now
            );
        }
    }
}

#[test]
fn each_question_is_answered_once_in_time_and_by_its_own_answer() {
    for seed in 0..400 {
        let run = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            for _ in 0..300 {
                run.step();
            }
            run.now += TIMEOUT_MS;
            run.go_on();
            assert!(run.asked.is_empty() && run.calls.is_empty());
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}
