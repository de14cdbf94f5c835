//! Plain HTTP on sockets, as browsers, proxies and balancers speak it: several requests on a connection.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::daemon::{Daemon, Log};

const DRIVERS: [&str; 2] = ["epoll", "io_uring"];

/// Requests of all kinds, the last of which says that it is.
const SESSION: &str = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n\
    HEAD /nothing HTTP/1.1\r\nHost: h\r\n\r\n\
    POST /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nGET /stat\
    PUT /health HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
    5\r\nhello\r\n10;a=b\r\n0123456789abcdef\r\n0\r\nT: t\r\n\r\n\
    OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const STATUSES: [&str; 5] = ["200", "404", "404", "405", "200"];

fn connect(daemon: &Daemon) -> TcpStream {
    let stream = TcpStream::connect(daemon.address).expect("it accepts");
    stream.set_nodelay(true).expect("an option of TCP");
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).expect("an option");
    stream
}

/// All that comes until the server ends the connection.
fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the end, in time");
    text
}

fn statuses(answers: &str) -> Vec<&str> {
    let lines = answers.split("HTTP/1.1 ").skip(1);
    lines.map(|rest| &rest[..3]).collect()
}

#[test]
fn a_session_is_answered_in_order_however_it_is_cut() {
    for driver in DRIVERS {
        let daemon = Daemon::start(&["--driver", driver, "--reactors", "2"], Log::Read);
        let mut sessions = 0;
        // In one segment; byte by byte; in two, cut at each byte.
        let cuts = (1..SESSION.len()).map(|cut| vec![cut, SESSION.len()]);
        let all = [vec![SESSION.len()], (1..=SESSION.len()).collect()];
        for ends in all.into_iter().chain(cuts) {
            let (mut stream, mut begin) = (connect(&daemon), 0);
            for &end in &ends {
                let piece = &SESSION.as_bytes()[begin..end];
                stream.write_all(piece).expect("it reads");
                begin = end;
            }
            let answers = read_all(stream);
            assert_eq!(
                statuses(&answers),
                STATUSES,
                "{driver}, {ends:?}: {answers}"
            );
            let closes = answers.matches("Connection: close\r\n").count();
            assert_eq!(closes, 1, "{driver}, {ends:?}: {answers}");
            sessions += 1;
        }
        assert_eq!(
            daemon.count("connections_accepted_total"),
            sessions,
            "{driver}"
        );
    }
}

#[test]
fn the_keys_of_keep_alive_are_obeyed() {
    for driver in DRIVERS {
        let get = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
        let limits = [
            "--set",
            "limits.http_keep_alive_timeout=1s",
            "--set",
            "limits.http_requests_per_connection_max=3",
            "--set",
            "limits.message_bytes_max=1KiB",
            "--driver",
            driver,
        ];
        let daemon = Daemon::start(&limits, Log::Read);
        let mut many = connect(&daemon);
        many.write_all(&get.repeat(5)).expect("it reads");
        assert_eq!(statuses(&read_all(many)), ["200"; 3], "{driver}");
        let mut idle = connect(&daemon);
        idle.write_all(get).expect("it reads");
        let answers = read_all(idle);
        assert_eq!(statuses(&answers), ["200"], "{driver}");
        assert!(
            !answers.contains("Connection: close"),
            "{driver}: {answers}"
        );
        assert_eq!(daemon.count("http_keep_alive_timeouts_total"), 1);
        let mut long = connect(&daemon);
        long.write_all(b"POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 1025\r\n\r\n")
            .expect("it reads");
        assert_eq!(statuses(&read_all(long)), ["413"], "{driver}");
        assert_eq!(daemon.count("http_responses_2xx_total"), 4);
        assert_eq!(daemon.count("http_responses_4xx_total"), 1);
        assert!(!daemon.stderr.get().contains("ERROR"), "{driver}");
    }
}

/// As curl does with a long body: no path takes one, which is said at once, and the body may come or
/// not. One that has come with the head is read.
#[test]
fn a_client_that_asks_before_it_sends_a_body_is_answered() {
    let head =
        "POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    for driver in DRIVERS {
        let daemon = Daemon::start(&["--driver", driver], Log::Read);
        let mut both = connect(&daemon);
        let get = "GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let asked = format!("{head}body{get}");
        both.write_all(asked.as_bytes()).expect("it reads");
        assert_eq!(statuses(&read_all(both)), ["405", "200"], "{driver}");
        let mut waits = connect(&daemon);
        waits.write_all(head.as_bytes()).expect("it reads");
        let answers = read_all(waits);
        assert_eq!(statuses(&answers), ["405"], "{driver}");
        assert!(
            answers.contains("Connection: close\r\n"),
            "{driver}: {answers}"
        );
    }
}

/// A client that is done sending still gets its answers.
#[test]
fn requests_before_a_fin_are_answered() {
    for driver in DRIVERS {
        let daemon = Daemon::start(&["--driver", driver], Log::Read);
        let mut stream = connect(&daemon);
        let get = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
        stream.write_all(&get.repeat(200)).expect("it reads");
        stream.shutdown(Shutdown::Write).expect("it is connected");
        assert_eq!(statuses(&read_all(stream)), ["200"; 200], "{driver}");
    }
}

#[test]
fn a_stop_ends_connections_between_two_requests() {
    for driver in DRIVERS {
        let mut daemon = Daemon::start(&["--driver", driver], Log::Read);
        let mut idle = connect(&daemon);
        idle.write_all(b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n")
            .expect("it reads");
        let mut first = [0; 12];
        idle.read_exact(&mut first).expect("an answer");
        daemon.signal("TERM");
        let rest = read_all(idle);
        assert!(!rest.contains("HTTP/1.1"), "{driver}: {rest}");
        assert!(daemon.wait().success(), "{driver}");
    }
}
