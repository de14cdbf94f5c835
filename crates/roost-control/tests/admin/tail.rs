//! Looking on at a channel.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use roost_testkit::client::Checked;
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

use crate::harness::{Admin, ask, server};

/// One that looks on, behind the head and the first line.
struct Tail(BufReader<UnixStream>);

impl Tail {
    fn of(admin: &Admin, query: &str) -> Tail {
        let mut stream = admin.unix();
        write!(stream, "GET /tail?{query} HTTP/1.0\r\n\r\n").expect("it is read");
        let mut tail = Tail(BufReader::new(stream));
        while tail.line().trim() != "" {}
        assert!(tail.next()["channel"].is_string());
        tail
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it comes in time");
        line
    }

    fn next(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

#[test]
fn what_is_published_is_shown_as_it_comes_with_its_payload_only_if_that_is_wanted() -> Checked {
    for backend in Backend::ALL {
        let server = TestServer::with(backend, 2, |_| {});
        let admin = Admin::of(server.shared());
        let (mut sizes, mut all) = (
            Tail::of(&admin, "channel=news"),
            Tail::of(&admin, "channel=news&payload=1"),
        );
        let mut publisher = server.open("/raw/news")?;
        publisher.send_text("hello")?;
        publisher.send_binary(&[0xff, 0])?;
        let (text, binary) = (all.next(), all.next());
        assert_eq!(
            (&text["bytes"], &text["kind"], &text["data"]),
            (&json!(5), &json!("text"), &json!("hello"))
        );
        assert_eq!(
            (&binary["bytes"], &binary["kind"], &binary["data"]),
            (&json!(2), &json!("binary"), &json!("/wA="))
        );
        let first = text["offset"].as_u64().expect("a number");
        assert_eq!(binary["offset"].as_u64(), Some(first + 1));
        let size = sizes.next();
        assert_eq!((&size["bytes"], size.get("data")), (&json!(5), None));
        // Its record goes with the last that looks on.
        drop((sizes, all, publisher));
        server.wait_for_count("home_channels", |count| count == 0);
    }
    Ok(())
}

#[test]
fn only_the_unix_socket_shows_it_and_no_more_than_a_few_at_once() {
    let server = server();
    let admin = Admin::of(server.shared());
    let answer = ask(&mut admin.tcp(), "GET", "/tail?channel=c", "", b"");
    assert_eq!(answer.status, 403, "{answer:?}");
    for bad in ["", "?channel=", "?channel=c&payload=2", "?channel=%01"] {
        assert_eq!(admin.get(&format!("/tail{bad}")).status, 400, "{bad}");
    }
    let mut tails: Vec<Tail> = (0..16).map(|_| Tail::of(&admin, "channel=c")).collect();
    let answer = admin.get("/tail?channel=c");
    assert_eq!(answer.status, 503, "{answer:?}");
    tails.pop();
    roost_testkit::server::wait_until(
        || {
            let mut stream = admin.unix();
            write!(stream, "GET /tail?channel=c HTTP/1.0\r\n\r\n").expect("it is read");
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).expect("a head");
            line.contains(" 200 ")
        },
        || "the place of one that has left is taken again".to_owned(),
    );
}

#[test]
fn it_ends_when_the_server_is_drained() -> Checked {
    let server = server();
    let admin = Admin::of(server.shared());
    let mut tail = Tail::of(&admin, "channel=c");
    let client = server.open("/echo")?;
    server.begin_stop(20_000);
    assert_eq!(tail.next(), json!({"end": "the server is drained"}));
    assert_eq!(tail.line(), "", "nothing follows");
    drop(client);
    Ok(())
}

#[test]
fn one_that_does_not_read_holds_up_neither_publishers_nor_others() -> Checked {
    let server = server();
    let admin = Admin::of(server.shared());
    let stuck = Tail::of(&admin, "channel=busy&payload=1");
    let mut reader = Tail::of(&admin, "channel=busy");
    let payload = vec![b'x'; 20_000];
    for _ in 0..1_000 {
        let answer = admin.post("/publish?channel=busy", "", &payload);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let reads = thread::spawn(move || {
        let mut seen = 0;
        while seen < 1_000 {
            let line = reader.next();
            seen += line["missed"].as_u64().unwrap_or(1);
        }
    });
    // What is dropped is known with what follows it.
    while !reads.is_finished() {
        let answer = admin.post("/publish?channel=busy", "", b"one more");
        assert_eq!(answer.status, 200, "{answer:?}");
        thread::sleep(Duration::from_millis(20));
    }
    reads.join().expect("each is shown, or counted");
    drop(stuck);
    Ok(())
}

/// Its time is not that of other requests.
#[test]
fn it_lasts_longer_than_other_connections() -> Checked {
    let server = server();
    let limits = roost_control::Limits {
        connection_timeout: Duration::from_millis(50),
        ..roost_control::Limits::default()
    };
    let admin = Admin::with(server.shared(), limits);
    let mut tail = Tail::of(&admin, "channel=c");
    thread::sleep(Duration::from_millis(300)); // several of those times, and nothing may happen
    let mut publisher = server.open("/raw/c")?;
    publisher.send_text("late")?;
    assert_eq!(tail.next()["bytes"], json!(4));
    Ok(())
}
