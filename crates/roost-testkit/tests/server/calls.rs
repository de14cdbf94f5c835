//! Procedures and calls in WAMP, across reactors.

use roost_testkit::client::{Checked, Client, ConnectOptions, Failure};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

use crate::wamp_session;

roost_testkit::on_each_backend!(
    calls_are_answered_across_reactors,
    calls_reach_a_callee_in_their_order,
    errors_and_progressive_results_pass,
    what_cannot_be_called_is_an_error,
    a_callee_that_leaves_ends_its_calls,
    a_caller_that_leaves_interrupts_its_callee,
    calls_are_canceled,
    calls_time_out,
    patterns_and_shared_registrations,
    a_caller_is_named_when_it_wants_to_be,
    answers_that_are_late_are_no_mistake,
    serializers_meet,
    the_limits_hold,
    a_callee_that_never_reads_is_closed_and_its_calls_end,
    a_caller_that_never_reads_is_closed,
    a_drain_ends_open_calls,
);

/// A session that has been welcomed.
struct Session(wamp_session::Session);

impl std::ops::Deref for Session {
    type Target = wamp_session::Session;

    fn deref(&self) -> &wamp_session::Session {
        &self.0
    }
}

impl std::ops::DerefMut for Session {
    fn deref_mut(&mut self) -> &mut wamp_session::Session {
        &mut self.0
    }
}

impl Session {
    fn join(server: &TestServer) -> Result<Session, Failure> {
        let features = json!({"call_canceling": true, "progressive_call_results": true});
        Session::join_with(server, "wamp.2.json", json!({"features": features}))
    }

    fn join_with(
        server: &TestServer,
        subprotocol: &str,
        callee: Value,
    ) -> Result<Session, Failure> {
        let client = Client::connect(server.address())?;
        Session::welcomed(client, subprotocol, callee)
    }

    /// One for which the kernel receives little.
    fn join_narrow(server: &TestServer) -> Result<Session, Failure> {
        let receive_buffer_bytes = Some(4096);
        let options = ConnectOptions {
            receive_buffer_bytes,
            ..ConnectOptions::default()
        };
        let client = Client::connect_with(server.address(), options)?;
        Session::welcomed(client, "wamp.2.json", json!({}))
    }

    fn welcomed(client: Client, subprotocol: &str, callee: Value) -> Result<Session, Failure> {
        let mut session = wamp_session::Session::over(client, subprotocol)?;
        if subprotocol == "wamp.2.json" {
            let roles = json!({"roles": {"caller": {}, "callee": callee}});
            let welcome = session.greet("realm1", &roles)?;
            let features = &welcome[2]["roles"]["dealer"]["features"];
            assert_eq!(features["call_canceling"], true, "{welcome}");
        }
        Ok(Session(session)) // others speak in bytes
    }

    /// Calls; gives the request.
    fn call(&mut self, procedure: &str, options: Value, args: Value) -> Result<u64, Failure> {
        self.requests += 1;
        let request = self.requests;
        self.send(&json!([48, request, options, procedure, args]))?;
        Ok(request)
    }

    fn expect(&mut self, message: &Value) -> Checked {
        assert_eq!(&self.hear()?, message);
        Ok(())
    }

    fn expect_error(&mut self, request: u64, error: &str) -> Checked {
        let answer = self.hear()?;
        assert_eq!(
            (&answer[0], &answer[1], &answer[2], &answer[4]),
            (&json!(8), &json!(48), &json!(request), &json!(error)),
            "{answer}"
        );
        Ok(())
    }

    /// Nothing has come that was not read: what is asked now is answered next.
    fn expect_nothing(&mut self) -> Checked {
        self.requests += 1;
        let request = self.requests;
        let answer = self.ask(&json!([66, request, 1]))?;
        assert_eq!(
            (&answer[0], &answer[1]),
            (&json!(8), &json!(66)),
            "{answer}"
        );
        Ok(())
    }
}

/// So many sessions, on any of the reactors.
fn sessions<const N: usize>(server: &TestServer) -> Result<[Session; N], Failure> {
    let sessions: Result<Vec<_>, _> = (0..N).map(|_| Session::join(server)).collect();
    Ok(sessions?.try_into().ok().expect("as many"))
}

fn calls_are_answered_across_reactors(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 3, |_| {});
    let mut sessions = sessions::<6>(&server)?;
    for (callee, procedure) in ["com.a", "com.b", "com.c", "com.d", "com.e", "com.f"]
        .into_iter()
        .enumerate()
    {
        let registration = sessions[callee].register(procedure, json!({}))?;
        for caller in 0..6 {
            let request =
                sessions[caller].call(procedure, json!({}), json!([caller, {"é": null}]))?;
            let invocation = sessions[callee].hear()?;
            assert_eq!(invocation[0], 68, "{invocation}");
            assert_eq!(invocation[2], registration);
            assert_eq!(invocation[3], json!({}), "no detail that was not asked for");
            assert_eq!(invocation[4], json!([caller, {"é": null}]));
            sessions[callee].send(&json!([70, invocation[1], {}, [], {"sum": caller}]))?;
            sessions[caller].expect(&json!([50, request, {}, [], {"sum": caller}]))?;
        }
        sessions[callee].requests += 1;
        let request = sessions[callee].requests;
        let answer = sessions[callee].ask(&json!([66, request, registration]))?;
        assert_eq!(answer, json!([67, request]));
        let request = sessions[0].call(procedure, json!({}), json!([]))?;
        sessions[0].expect_error(request, "wamp.error.no_such_procedure")?;
    }
    Ok(())
}

/// WAMP, "Remote Procedure Call Ordering"
fn calls_reach_a_callee_in_their_order(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 4, |_| {});
    let [mut caller, mut callee] = sessions(&server)?;
    let mut registrations = Vec::new();
    for procedure in 0..8 {
        let name = format!("com.procedure{procedure}");
        registrations.push(callee.register(&name, json!({}))?);
    }
    for round in 0..10 {
        for procedure in 0..8 {
            caller.call(
                &format!("com.procedure{procedure}"),
                json!({}),
                json!([round]),
            )?;
        }
        for registration in &registrations {
            let invocation = callee.hear()?;
            assert_eq!(
                (&invocation[2], &invocation[4]),
                (&json!(registration), &json!([round]))
            );
            callee.send(&json!([70, invocation[1], {}]))?;
            caller.hear()?;
        }
    }
    Ok(())
}

fn errors_and_progressive_results_pass(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let [mut caller, mut callee] = sessions(&server)?;
    callee.register("com.p", json!({}))?;
    for is_wanted in [true, false] {
        let options = match is_wanted {
            true => json!({"receive_progress": true}),
            false => json!({}),
        };
        let request = caller.call("com.p", options.clone(), json!([1]))?;
        let invocation = callee.hear()?;
        assert_eq!(invocation[3], options);
        for part in 0..3 {
            callee.send(&json!([70, invocation[1], {"progress": true}, [part]]))?;
            if is_wanted {
                caller.expect(&json!([50, request, {"progress": true}, [part]]))?;
            }
        }
        callee.send(&json!([8, 68, invocation[1], {}, "com.app.bad", ["why"], {"a": 1}]))?;
        caller.expect(&json!([8, 48, request, {}, "com.app.bad", ["why"], {"a": 1}]))?;
    }
    // Not of a callee that does not announce them.
    let mut plain = Session::join_with(&server, "wamp.2.json", json!({}))?;
    plain.register("com.plain", json!({}))?;
    caller.call("com.plain", json!({"receive_progress": true}), json!([]))?;
    assert_eq!(plain.hear()?[3], json!({}));
    Ok(())
}

fn what_cannot_be_called_is_an_error(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let [mut caller, mut callee, mut other] = sessions(&server)?;
    let request = caller.call("com.nobody", json!({}), json!([]))?;
    caller.expect_error(request, "wamp.error.no_such_procedure")?;
    callee.register("com.p", json!({}))?;
    let answer = other.ask(&json!([64, 1, {}, "com.p"]))?;
    assert_eq!(answer[4], "wamp.error.procedure_already_exists", "{answer}");
    callee.register("com.shared", json!({"invoke": "first"}))?;
    let answer = other.ask(&json!([64, 2, {"invoke": "last"}, "com.shared"]))?;
    let expected = "wamp.error.procedure_exists_with_different_invocation_policy";
    assert_eq!(answer[4], expected, "{answer}");
    let answer = other.ask(&json!([66, 3, 12345]))?;
    assert_eq!(
        answer,
        json!([8, 66, 3, {}, "wamp.error.no_such_registration"])
    );
    Ok(())
}

fn a_callee_that_leaves_ends_its_calls(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let [mut caller, mut callee] = sessions(&server)?;
    callee.register("com.p", json!({}))?;
    let request = caller.call("com.p", json!({}), json!([]))?;
    callee.hear()?;
    drop(callee);
    caller.expect_error(request, "wamp.error.canceled")?;
    let request = caller.call("com.p", json!({}), json!([]))?;
    caller.expect_error(request, "wamp.error.no_such_procedure")?;
    Ok(())
}

fn a_caller_that_leaves_interrupts_its_callee(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let [mut caller, mut callee] = sessions(&server)?;
    callee.register("com.p", json!({}))?;
    caller.call("com.p", json!({}), json!([]))?;
    let invocation = callee.hear()?;
    drop(caller);
    callee.expect(&json!([69, invocation[1], {"mode": "killnowait"}]))?;
    callee.send(&json!([70, invocation[1], {}]))?;
    callee.expect_nothing()
}

fn calls_are_canceled(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let [mut caller, mut callee] = sessions(&server)?;
    let mut deaf = Session::join_with(&server, "wamp.2.json", json!({}))?;
    callee.register("com.p", json!({}))?;
    deaf.register("com.deaf", json!({}))?;
    for (mode, interrupt) in [
        (json!({"mode": "skip"}), None),
        (json!({"mode": "killnowait"}), Some("killnowait")),
        (json!({}), Some("killnowait")),
        (json!({"mode": "kill"}), Some("kill")),
    ] {
        let request = caller.call("com.p", json!({}), json!([]))?;
        let invocation = callee.hear()?;
        caller.send(&json!([49, request, mode]))?;
        if let Some(interrupt) = interrupt {
            callee.expect(&json!([69, invocation[1], {"mode": interrupt}]))?;
        }
        if interrupt == Some("kill") {
            caller.expect_nothing()?;
            callee.send(&json!([8, 68, invocation[1], {}, "com.app.stopped", [7]]))?;
            caller.expect(&json!([8, 48, request, {}, "com.app.stopped", [7]]))?;
        } else {
            caller.expect_error(request, "wamp.error.canceled")?;
            callee.send(&json!([70, invocation[1], {}, ["late"]]))?;
        }
        callee.expect_nothing()?;
        caller.send(&json!([49, request, mode]))?; // it is answered
        caller.expect_nothing()?;
        // A callee that cannot be interrupted is not.
        let request = caller.call("com.deaf", json!({}), json!([]))?;
        let invocation = deaf.hear()?;
        caller.send(&json!([49, request, mode]))?;
        caller.expect_error(request, "wamp.error.canceled")?;
        deaf.expect_nothing()?;
        deaf.send(&json!([70, invocation[1], {}]))?;
    }
    Ok(())
}

fn calls_time_out(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let [mut caller, mut callee] = sessions(&server)?;
    callee.register("com.p", json!({}))?;
    let request = caller.call("com.p", json!({"timeout": 100}), json!([]))?;
    let invocation = callee.hear()?;
    caller.expect_error(request, "wamp.error.timeout")?;
    callee.expect(&json!([69, invocation[1], {"mode": "killnowait"}]))?;
    callee.send(&json!([70, invocation[1], {}, ["late"]]))?;
    let request = caller.call("com.p", json!({"timeout": 60_000}), json!([]))?;
    let invocation = callee.hear()?;
    callee.send(&json!([70, invocation[1], {}, ["in time"]]))?;
    caller.expect(&json!([50, request, {}, ["in time"]]))
}

fn patterns_and_shared_registrations(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 3, |_| {});
    let [mut caller, mut one, mut two, mut three] = sessions(&server)?;
    one.register("com.app", json!({"match": "prefix"}))?;
    two.register("com..get", json!({"match": "wildcard"}))?;
    three.register("com.app.exact", json!({}))?;
    for (procedure, which) in [("com.app.x", 1), ("com.other.get", 2), ("com.app.exact", 3)] {
        let request = caller.call(procedure, json!({}), json!([]))?;
        let callee = [&mut one, &mut two, &mut three][which - 1].hear()?;
        let expected = match which {
            3 => json!({}),
            _ => json!({"procedure": procedure}),
        };
        assert_eq!(callee[3], expected, "{procedure}");
        [&mut one, &mut two, &mut three][which - 1].send(&json!([70, callee[1], {}, [which]]))?;
        caller.expect(&json!([50, request, {}, [which]]))?;
    }
    let shared = json!({"invoke": "roundrobin"});
    let registration = one.register("com.shared", shared.clone())?;
    assert_eq!(two.register("com.shared", shared.clone())?, registration);
    assert_eq!(three.register("com.shared", shared)?, registration);
    for round in 0..2 {
        for callee in [&mut one, &mut two, &mut three] {
            let request = caller.call("com.shared", json!({}), json!([round]))?;
            let invocation = callee.hear()?;
            callee.send(&json!([70, invocation[1], {}]))?;
            caller.expect(&json!([50, request, {}]))?;
        }
    }
    Ok(())
}

fn a_caller_is_named_when_it_wants_to_be(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let [mut caller, mut callee] = sessions(&server)?;
    callee.register("com.p", json!({}))?;
    caller.call("com.p", json!({"disclose_me": true}), json!([]))?;
    let details = callee.hear()?[3].clone();
    let expected = json!({
        "caller": caller.id,
        "caller_authid": caller.id.to_string(),
        "caller_authrole": "anonymous",
    });
    assert_eq!(details, expected);
    Ok(())
}

fn answers_that_are_late_are_no_mistake(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let [mut caller, mut callee] = sessions(&server)?;
    callee.register("com.p", json!({}))?;
    let request = caller.call("com.p", json!({}), json!([]))?;
    let invocation = callee.hear()?;
    callee.send(&json!([70, invocation[1], {}, [1]]))?;
    callee.send(&json!([70, invocation[1], {}, [2]]))?;
    caller.expect(&json!([50, request, {}, [1]]))?;
    callee.expect_nothing()?;
    callee.send(&json!([70, 99, {}, [2]]))?;
    assert_eq!(callee.hear()?[2], "wamp.error.protocol_violation");
    callee.client.expect_close(1002)?;
    let request = caller.call("com.q", json!({}), json!([]))?;
    caller.expect_error(request, "wamp.error.no_such_procedure")
}

fn serializers_meet(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let [mut callee] = sessions(&server)?;
    callee.register("p", json!({}))?;
    let mut caller = Session::join_with(&server, "wamp.2.cbor", json!({}))?;
    // [1, "r", {"roles": {"caller": {}}}]
    caller
        .client
        .send_binary(b"\x83\x01\x61r\xa1\x65roles\xa1\x66caller\xa0")?;
    caller.client.receive()?;
    // [48, 1, {}, "p", [h'010203', 7]]
    caller
        .client
        .send_binary(b"\x85\x18\x30\x01\xa0\x61p\x82\x43\x01\x02\x03\x07")?;
    let invocation = callee.hear()?;
    assert_eq!(invocation[4], json!(["\u{0}AQID", 7]));
    callee.send(&json!([70, invocation[1], {}, ["\u{0}AQID", {"a": null}]]))?;
    // [50, 1, {}, [h'010203', {"a": null}]]
    caller
        .client
        .expect_binary(b"\x84\x18\x32\x01\xa0\x82\x43\x01\x02\x03\xa1\x61a\xf6")?;
    Ok(())
}

fn the_limits_hold(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.registrations_per_connection_max = 2;
        settings.limits.calls_per_connection_max = 2;
        settings.limits.invocations_per_connection_max = 3;
    });
    let [mut caller, mut other, mut callee] = sessions(&server)?;
    callee.register("com.a", json!({}))?;
    callee.register("com.b", json!({}))?;
    let answer = callee.ask(&json!([64, 3, {}, "com.c"]))?;
    assert_eq!(answer[4], "wamp.error.not_authorized", "{answer}");
    callee.requests = 3;
    for _ in 0..2 {
        caller.call("com.a", json!({}), json!([]))?;
        callee.hear()?;
    }
    let request = caller.call("com.a", json!({}), json!([]))?;
    caller.expect_error(request, "wamp.error.unavailable")?;
    other.call("com.b", json!({}), json!([]))?;
    let last = callee.hear()?;
    let request = other.call("com.b", json!({}), json!([]))?;
    other.expect_error(request, "wamp.error.no_available_callee")?;
    callee.send(&json!([70, last[1], {}]))?;
    assert_eq!(other.hear()?[0], 50);
    // The number of an open call is not given again.
    caller.send(&json!([48, 1, {}, "com.a"]))?;
    assert_eq!(caller.hear()?[2], "wamp.error.protocol_violation");
    caller.client.expect_close(1002)?;
    callee.expect(&json!([69, 1, {"mode": "killnowait"}]))?;
    callee.expect(&json!([69, 2, {"mode": "killnowait"}]))
}

const LARGE: usize = 200_000;
const LARGE_COUNT: u64 = 100;

fn a_callee_that_never_reads_is_closed_and_its_calls_end(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.outbox_bytes_max = 1 << 20;
    });
    let [mut caller] = sessions(&server)?;
    let mut callee = Session::join_narrow(&server)?;
    callee.register("com.p", json!({}))?;
    let large = "x".repeat(LARGE);
    for _ in 0..LARGE_COUNT {
        caller.call("com.p", json!({}), json!([large]))?;
    }
    let mut answered = Vec::new();
    for _ in 0..LARGE_COUNT {
        let answer = caller.hear()?;
        let error = answer[4].as_str().unwrap_or_default();
        let expected = ["wamp.error.canceled", "wamp.error.no_such_procedure"];
        assert!(expected.contains(&error), "{answer}");
        answered.push(answer[2].as_u64().expect("a request"));
    }
    answered.sort_unstable();
    assert!(answered.into_iter().eq(1..=LARGE_COUNT), "one answer each");
    caller.expect_nothing()?;
    assert_eq!(server.count("slow_consumers_total"), 1);
    server.wait_for_count("invocations_open", |count| count == 0);
    server.wait_for_count("registrations", |count| count == 0);
    Ok(())
}

fn a_caller_that_never_reads_is_closed(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.outbox_bytes_max = 1 << 20;
    });
    let [mut callee] = sessions(&server)?;
    let mut caller = Session::join_narrow(&server)?;
    callee.register("com.p", json!({}))?;
    caller.call("com.p", json!({"receive_progress": true}), json!([]))?;
    let invocation = callee.hear()?;
    let large = "x".repeat(LARGE);
    for _ in 0..LARGE_COUNT {
        callee.send(&json!([70, invocation[1], {"progress": true}, [large]]))?;
    }
    // What it says later is dropped; the session goes on.
    callee.expect(&json!([69, invocation[1], {"mode": "killnowait"}]))?;
    callee.expect_nothing()?;
    assert_eq!(server.count("slow_consumers_total"), 1);
    server.wait_for_count("calls_open", |count| count == 0);
    Ok(())
}

fn a_drain_ends_open_calls(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let [mut caller, mut callee] = sessions(&server)?;
    callee.register("com.p", json!({}))?;
    caller.call("com.p", json!({}), json!([]))?;
    callee.hear()?;
    server.begin_stop(10_000);
    for session in [&mut caller, &mut callee] {
        let mut message = session.hear()?;
        // The other may have left before.
        if message[0] == 69 || message[0] == 8 {
            message = session.hear()?;
        }
        assert_eq!(message[2], "wamp.close.system_shutdown", "{message}");
        session.client.expect_close(1001)?;
    }
    drop((caller, callee));
    server.wait_stopped();
    Ok(())
}
