//! Reactors that do not run: requests to them fail within the deadline.

use std::thread;
use std::time::{Duration, Instant};

use roost_net::epoll::{EpollDriver, EpollOptions};
use roost_reactor::{Reactor, Settings, Shared};

use crate::harness::{Admin, SOON};

/// Runs the first reactor of two on a thread of its own; the second never runs.
pub(crate) struct HalfServer {
    pub(crate) shared: Shared,
    first: Option<thread::JoinHandle<()>>,
    waker: roost_net::Waker,
}

impl HalfServer {
    pub(crate) fn start() -> HalfServer {
        let shared = Shared::new(Settings::for_tests(), 2, 1);
        let (send, receive) = std::sync::mpsc::channel();
        let of_thread = shared.clone();
        let first = thread::spawn(move || {
            let driver = EpollDriver::new(&EpollOptions::default()).expect("epoll");
            let mut reactor = Reactor::new(driver, 0, of_thread);
            send.send(reactor.waker()).expect("the test waits");
            reactor.run().expect("it runs");
        });
        HalfServer {
            shared,
            first: Some(first),
            waker: receive.recv().expect("it starts"),
        }
    }
}

impl Drop for HalfServer {
    fn drop(&mut self) {
        self.shared.begin_drain(0);
        self.waker.wake();
        if let Some(first) = self.first.take() {
            first.join().expect("it ends");
        }
    }
}

#[test]
fn a_reactor_that_stands_still_is_named() {
    let server = HalfServer::start();
    let admin = Admin::of(&server.shared);
    // The first has nothing to do and sleeps: it is alive all the same, and not named.
    let begin = Instant::now();
    let live = admin.get("/live");
    assert_eq!(
        (live.status, &*live.body),
        (503, "reactor 1: its loop stands still for 2 s\n")
    );
    assert!(begin.elapsed() >= Duration::from_secs(2) && begin.elapsed() < SOON);
    let ready = admin.get("/ready");
    assert_eq!(
        (ready.status, &*ready.body),
        (503, "reactor 1: no answer within 2 s\n")
    );
    // What needs no reactor is answered.
    assert_eq!(admin.get("/stats").status, 200);
    assert_eq!(admin.get("/metrics").status, 200);
}

#[test]
fn a_request_to_it_has_a_deadline_and_its_ring_an_end() {
    let server = HalfServer::start();
    let admin = Admin::of(&server.shared);
    let begin = Instant::now();
    let answer = admin.get("/connections");
    assert_eq!(answer.status, 504, "{answer:?}");
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    // Its ring takes 32 in all; further requests are refused at once and may be repeated.
    let begin = Instant::now();
    let answers: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = (0..64)
            .map(|_| scope.spawn(|| admin.get("/connections?cursor=1.0")))
            .collect();
        let joined = asked
            .into_iter()
            .map(|asked| asked.join().expect("it is answered"));
        joined.collect()
    });
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 503)
        .collect();
    assert_eq!(refused.len(), 64 - 31, "one was there before");
    for answer in refused {
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.status, 503 | 504))
    );
    // The publish lane is another ring: publications to its channels wait there, no more than 32.
    let channel = (0..).map(|n| format!("c{n}")).find(|name| {
        let begin = Instant::now();
        let answer = admin.post(&format!("/publish?channel={name}"), "", b"x");
        assert!(begin.elapsed() < SOON);
        answer.status == 504
    });
    assert!(channel.is_some());
    // The other reactor is asked as before.
    let answer = admin.get("/connections?cursor=0.0&limit=1");
    assert!(
        matches!(answer.status, 503 | 504),
        "it goes on to the second: {answer:?}"
    );
}
