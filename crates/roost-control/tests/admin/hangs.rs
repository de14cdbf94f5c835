//! What hangs in the control thread's neighbourhood, and that thread itself: clients notice nothing.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use roost_control::{DrainAsked, Limits, Operator, Reloaded};
use roost_net::wake_event;
use roost_reactor::{Auth, EventKinds, Events, Pace};
use roost_testkit::client::{Client, Request};
use roost_testkit::server::{Backend, TestServer, wait_until};

use crate::harness::{Admin, SOON, server};

/// It never returns, until it is let go.
#[derive(Default)]
struct Hanging {
    asked: Mutex<usize>,
    is_let_go: Mutex<bool>,
    let_go: Condvar,
}

impl Hanging {
    fn hang(&self) {
        *self.asked.lock().expect("no test panics with it") += 1;
        let mut is_let_go = self.is_let_go.lock().expect("no test panics with it");
        while !*is_let_go {
            is_let_go = self.let_go.wait(is_let_go).expect("no test panics with it");
        }
    }

    fn asked(&self) -> usize {
        *self.asked.lock().expect("no test panics with it")
    }
}

impl Operator for Hanging {
    fn set_log_level(&self, _: &str) -> Result<String, String> {
        self.hang();
        Ok("info".to_owned())
    }

    fn reload(&self, _: bool) -> Reloaded {
        panic!("an operator that dies");
    }

    fn drain(&self, _: DrainAsked) -> Pace {
        self.hang();
        Pace {
            delay_ms: 0,
            timeout_ms: 7,
            per_second: 0,
        }
    }
}

fn echoes(server: &TestServer) {
    let mut client = Client::open(server.address(), "/echo").expect("a WebSocket opens");
    client.send_text("still there?").expect("it is read");
    client.expect_text("still there?").expect("an echo");
}

#[test]
fn an_operator_that_never_returns_holds_up_no_other_request() {
    let server = server();
    let operator = Arc::new(Hanging::default());
    let admin = Admin::operated(server.shared(), Limits::default(), Some(operator.clone()));
    assert_eq!(admin.post("/reload", "", b"").status, 500, "it has died");
    thread::scope(|scope| {
        let log = scope.spawn(|| admin.post("/log?level=debug", "", b""));
        let drain = scope.spawn(|| admin.post("/drain", "", b""));
        wait_until(
            || operator.asked() == 2,
            || format!("{} asked", operator.asked()),
        );
        let begin = Instant::now();
        assert_eq!(admin.get("/live").status, 200);
        let refused = admin.post("/log?level=info", "", b"");
        assert_eq!(
            (refused.status, refused.header("retry-after")),
            (503, Some("1"))
        );
        echoes(&server);
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        // Those that wait are told in time.
        assert_eq!(log.join().expect("it is answered").status, 504);
        assert_eq!(drain.join().expect("it is answered").status, 504);
    });
    *operator.is_let_go.lock().expect("no test panics with it") = true;
    operator.let_go.notify_all();
    wait_until(
        || admin.post("/log?level=info", "", b"").status == 200,
        || "it returns, and is asked again".to_owned(),
    );
}

/// Its place in the mesh is taken, and nothing is ever read there.
#[test]
fn a_control_thread_that_stands_still_changes_nothing_for_clients() {
    let server = TestServer::with(Backend::Epoll, 2, |settings| {
        settings.auth = Auth {
            is_on: true,
            wait_ms: 300,
            checks_max: 1_000,
            revocations_max: 10,
            ..Auth::default()
        };
        settings.events = Events {
            kinds: EventKinds::of(|_| true),
            namespaces: vec!["*".to_owned()],
        };
    });
    let (waker, _woken) = wake_event().expect("two descriptors");
    let _peer = server.shared().control_peer(waker).expect("the only one");
    let mut subscriber = Client::open(server.address(), "/raw/lobby").expect("a WebSocket opens");
    let mut publisher = Client::open(server.address(), "/raw/lobby").expect("a WebSocket opens");
    // More events than its ring holds, and more tokens.
    for n in 0..100 {
        echoes(&server);
        let mut client = Client::connect(server.address()).expect("it accepts");
        let request = Request::websocket("h", "/echo").header("Authorization: Bearer x");
        client.send(&request.bytes()).expect("it reads");
        if n % 10 == 0 {
            let status = client.read_response().expect("it is told in time").status;
            assert_eq!(status, 503);
        }
        let text = n.to_string();
        publisher.send_text(&text).expect("it is read");
        subscriber.expect_text(&text).expect("it is delivered");
    }
    // And then the reactors sleep: what they could not say wakes them ten times a second.
    drop((subscriber, publisher));
    let count = |name: &str| server.shared().registry().sum(name).expect("a counter");
    wait_until(
        || count("connections_open") == 0,
        || format!("{} connections", count("connections_open")),
    );
    let begin = count("loop_iterations_total");
    thread::sleep(Duration::from_secs(1));
    let iterations = count("loop_iterations_total") - begin;
    assert!(
        iterations < 200,
        "{iterations} iterations in a second with nothing to do"
    );
}
