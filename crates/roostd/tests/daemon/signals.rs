//! What each signal does.

use std::time::{Duration, Instant};

use roost_testkit::client::Client;

use crate::daemon::Daemon;

#[test]
fn signals_to_stop_drain_and_end_with_status_0() {
    for signal in ["TERM", "INT", "QUIT"] {
        let mut daemon = Daemon::start_logging("info", "text", &[]);
        let mut client = daemon.open();
        daemon.signal(signal);
        let reason = client.expect_close(1001).expect("it is told");
        assert_eq!(reason, "server is going down", "{signal}");
        client.send_close(1001, "").expect("it is read");
        let status = daemon.wait();
        assert!(status.success(), "{signal}: {status}");
        daemon.stderr.wait_for("stopped");
    }
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "QUIT"), ("QUIT", "TERM")] {
        let mut daemon = Daemon::start_logging("info", "text", &[]);
        let mut client = daemon.open();
        daemon.signal(first);
        client.expect_close(1001).expect("it is told");
        daemon.signal(second);
        assert_eq!(daemon.wait().code(), Some(130), "{first}, {second}");
    }
}

#[test]
fn other_signals_do_not_end_it() {
    let daemon = Daemon::start_logging("info", "text", &[]);
    let mut client = daemon.open();
    let named = [
        "HUP", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "XCPU", "XFSZ", "IO", "PWR", "STKFLT",
        "PIPE", "CHLD", "URG", "WINCH", "CONT", "TTOU", "TTIN",
    ];
    let real_time = (34..=64).map(|number: u32| number.to_string());
    for signal in named.map(str::to_owned).into_iter().chain(real_time) {
        daemon.signal(&signal);
        client.send_text(&signal).expect("it is read");
        client
            .expect_text(&signal)
            .unwrap_or_else(|e| panic!("after {signal}: {e}"));
    }
    daemon
        .stderr
        .wait_for("reloaded: certificates are those that are in the files now");
    let log = daemon.stderr.wait_for(" counters ");
    let line = log
        .lines()
        .find(|line| line.contains(" counters "))
        .expect("waited for");
    for part in [
        "websockets_open=1",
        "connections_open=1",
        "log_lines_dropped_total=0",
    ] {
        assert!(line.contains(part), "no {part} in {line}");
    }
}

/// A client that never sent a byte waits for no answer, so its end is not waited for.
#[test]
fn a_client_that_never_sent_a_byte_does_not_hold_the_stop() {
    for driver in ["epoll", "io_uring"] {
        let mut daemon = Daemon::start_logging(
            "info",
            "text",
            &[
                "--driver",
                driver,
                "--set",
                "server.drain_timeout=2m",
                "--set",
                "limits.close_timeout=1m",
            ],
        );
        let mut silent: Vec<Client> = (0..3)
            .map(|_| Client::connect(daemon.address).expect("it accepts"))
            .collect();
        daemon.check_it_serves(); // behind them in the backlog
        let began = Instant::now();
        daemon.signal("TERM");
        for client in &mut silent {
            client.expect_end().expect("it is closed");
        }
        assert!(daemon.wait().success());
        assert!(
            began.elapsed() < Duration::from_secs(40),
            "{driver}: it lingered"
        );
    }
}
