//! One rule of the queue each.

use roost_hooks::{Answer, Changed, Failure, OnFailure, Order, Outcome, Queue, Rules};

fn rules() -> Rules {
    Rules {
        timeout_ms: 1_000,
        in_flight_max: 2,
        queue_max: 3,
        on_failure: OnFailure::Deny,
        cache_ms: 0,
        cache_stale_max_ms: 0,
    }
}

fn queue(change: impl FnOnce(&mut Rules)) -> Queue<u32, &'static str> {
    let mut rules = rules();
    change(&mut rules);
    Queue::new(rules)
}

/// All that is to be done now: numbers of calls, numbers given up.
fn poll(queue: &mut Queue<u32, &'static str>, now: u64) -> (Vec<u64>, Vec<u64>) {
    let (mut calls, mut cancelled) = (Vec::new(), Vec::new());
    while let Some(order) = queue.poll(now) {
        match order {
            Order::Call { number, .. } => calls.push(number),
            Order::Cancel(number) => cancelled.push(number),
        }
        queue.check_invariants();
    }
    (calls, cancelled)
}

fn told(queue: &mut Queue<u32, &'static str>) -> Vec<(u32, Outcome)> {
    queue.take_told()
}

fn failed(waiter: u32, failure: Failure) -> (u32, Outcome) {
    (waiter, Outcome::Failed(failure))
}

fn allowed(waiter: u32) -> (u32, Outcome) {
    (waiter, Outcome::Answered(Answer::Subscribe))
}

#[test]
fn so_many_are_in_flight_so_many_wait_and_the_rest_is_refused_at_once() {
    let mut queue = queue(|_| {});
    for waiter in 0..7 {
        queue.ask(waiter, None, "q", 0);
        if waiter == 1 {
            assert_eq!(poll(&mut queue, 0), (vec![1, 2], vec![]));
        }
    }
    assert_eq!(poll(&mut queue, 0), (vec![], vec![]));
    assert_eq!(queue.depth(), (2, 3));
    let full = [failed(5, Failure::Full), failed(6, Failure::Full)];
    assert_eq!(told(&mut queue), full);
    queue.answer(2, Ok(Answer::Subscribe), 10);
    assert_eq!(told(&mut queue), [allowed(1)]);
    assert_eq!(poll(&mut queue, 10), (vec![3], vec![]));
    assert_eq!(queue.counts().full, 2);
}

#[test]
fn the_timeout_counts_from_the_question_also_for_what_was_never_sent() {
    let mut queue = queue(|rules| rules.in_flight_max = 1);
    queue.ask(0, None, "q", 0);
    queue.ask(1, None, "q", 400);
    assert_eq!(poll(&mut queue, 400), (vec![1], vec![]));
    assert_eq!(queue.wake_at(), Some(1_000));
    assert_eq!(poll(&mut queue, 999), (vec![], vec![]));
    // The first is given up, and the second goes out with what is left of its time.
    let orders: Vec<_> = std::iter::from_fn(|| queue.poll(1_000)).collect();
    let (number, question, until_ms) = (2, "q", 1_400);
    let call = Order::Call {
        number,
        question,
        until_ms,
    };
    assert_eq!(orders, [Order::Cancel(1), call]);
    assert_eq!(told(&mut queue), [failed(0, Failure::Timeout)]);
    assert_eq!(poll(&mut queue, 1_400), (vec![], vec![2]));
    assert_eq!(told(&mut queue), [failed(1, Failure::Timeout)]);
    queue.answer(1, Ok(Answer::Subscribe), 1_500); // too late
    assert_eq!(told(&mut queue), []);
}

#[test]
fn equal_questions_share_a_call_and_its_answer_for_a_while() {
    let mut queue = queue(|rules| rules.cache_ms = 500);
    for waiter in 0..100 {
        queue.ask(waiter, Some("alice chat:1"), "q", 0);
    }
    queue.ask(100, Some("bob chat:1"), "q", 0);
    assert_eq!(poll(&mut queue, 0), (vec![1, 2], vec![]));
    queue.answer(1, Ok(Answer::Subscribe), 50);
    assert_eq!(told(&mut queue), (0..100).map(allowed).collect::<Vec<_>>());
    queue.ask(101, Some("alice chat:1"), "q", 550);
    assert_eq!(told(&mut queue), [allowed(101)]);
    queue.ask(102, Some("alice chat:1"), "q", 551);
    assert_eq!(told(&mut queue), []);
    assert_eq!(poll(&mut queue, 551), (vec![3], vec![]));
    let counts = queue.counts();
    assert_eq!((counts.calls, counts.merged, counts.cached), (3, 99, 1));
}

#[test]
fn refusals_are_remembered_unless_they_are_for_now() {
    let error = |is_temporary| Answer::Error {
        code: 1_000,
        message: "no".into(),
        is_temporary,
    };
    let disconnect = Answer::Disconnect {
        code: 4_500,
        reason: "no".into(),
    };
    for (answer, is_remembered) in [
        (error(false), true),
        (error(true), false),
        (disconnect, false),
    ] {
        let mut queue = queue(|rules| rules.cache_ms = 500);
        queue.ask(0, Some("k"), "q", 0);
        assert_eq!(poll(&mut queue, 0).0, [1]);
        queue.answer(1, Ok(answer.clone()), 0);
        queue.ask(1, Some("k"), "q", 1);
        assert_eq!(
            told(&mut queue).len(),
            1 + usize::from(is_remembered),
            "{answer:?}"
        );
    }
}

#[test]
fn a_failure_leads_to_what_the_rules_say() {
    let ask = |on_failure, stale_max_ms, now| {
        let mut queue = queue(|rules| {
            (rules.on_failure, rules.cache_stale_max_ms) = (on_failure, stale_max_ms);
        });
        queue.ask(0, Some("k"), "q", 0);
        assert_eq!(poll(&mut queue, 0).0, [1]);
        queue.answer(1, Ok(Answer::Subscribe), 0);
        queue.ask(1, Some("k"), "q", now);
        assert_eq!(poll(&mut queue, now).0, [2]);
        queue.answer(2, Err(Failure::Call), now);
        told(&mut queue).pop().expect("an outcome").1
    };
    let denied = Outcome::Failed(Failure::Call);
    assert_eq!(ask(OnFailure::Deny, 60_000, 10), denied);
    assert_eq!(ask(OnFailure::Allow, 0, 10), Outcome::Allowed);
    assert_eq!(ask(OnFailure::Last, 60_000, 10), allowed(0).1);
    assert_eq!(ask(OnFailure::Last, 60_000, 60_001), denied);
    assert_eq!(ask(OnFailure::Last, 0, 10), denied);
}

/// An application that is down is not asked by each client.
#[test]
fn when_calls_fail_questions_are_answered_without_one() {
    let mut queue = queue(|rules| (rules.in_flight_max, rules.queue_max) = (64, 64));
    for waiter in 0..20 {
        queue.ask(waiter, None, "q", 0);
    }
    for number in poll(&mut queue, 0).0 {
        queue.answer(number, Err(Failure::Call), 0);
    }
    assert!(queue.is_broken());
    told(&mut queue);
    queue.ask(20, None, "q", 999);
    assert_eq!(told(&mut queue), [failed(20, Failure::Broken)]);
    // One is tried; those that come meanwhile are not.
    queue.ask(21, None, "q", 1_000);
    queue.ask(22, None, "q", 1_000);
    assert_eq!(poll(&mut queue, 1_000).0, [21]);
    assert_eq!(told(&mut queue), [failed(22, Failure::Broken)]);
    queue.answer(21, Ok(Answer::Publish(Changed::Nothing)), 1_001);
    queue.ask(23, None, "q", 1_002);
    assert_eq!(poll(&mut queue, 1_002).0.len(), 1);
    assert_eq!(queue.counts().calls, 22);
}

/// A hook that hangs: whatever comes, no more than so many calls are under way, and each waiter is told
/// within the timeout.
#[test]
fn a_backend_that_hangs_costs_bounded_calls() {
    let mut queue = queue(|rules| (rules.in_flight_max, rules.queue_max) = (4, 16));
    let (mut asked, mut answered) = (0, 0);
    for now in (0..60_000).step_by(20) {
        for _ in 0..5 {
            queue.ask(now as u32, None, "q", now);
            asked += 1;
        }
        poll(&mut queue, now);
        assert!(queue.depth().0 <= 4 && queue.depth().1 <= 20);
        for (at, _) in told(&mut queue) {
            answered += 1;
            assert!(now - u64::from(at) <= 1_020, "{at} waits until {now}");
        }
    }
    assert!(asked - answered <= 20, "{asked} {answered}");
    // Twenty at first, then a probe every 1 to 30 seconds.
    assert!(queue.counts().calls <= 40, "{:?}", queue.counts());
}
