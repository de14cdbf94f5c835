//! Event streams, and what a client gets that was away.

use std::sync::Arc;

use roost_reactor::{Access, ChannelPolicy, Origins, policy_for_tests};
use roost_testkit::client::{Checked, Client, Failure, Message, Request, Response};
use roost_testkit::server::{Backend, TestServer};

roost_testkit::on_each_backend!(
    publications_are_events,
    a_client_that_was_away_gets_what_it_missed,
    a_loss_is_told,
    without_history_a_client_that_missed_nothing_is_told_so,
    the_last_publications_can_be_asked_for,
    many_that_come_back_get_the_same,
    what_was_published_without_subscribers_is_kept,
    what_is_too_much_for_one_answer_is_a_loss,
    requests_are_refused_with_reasons,
    pages_of_other_origins_may_not_read,
    a_quiet_stream_gets_comments,
    a_drain_tells_when_to_come_back,
    what_the_client_sends_is_dropped,
    streams_are_counted,
    a_stream_is_served_incrementally_and_in_order,
);

/// Channels of `kept` keep five messages; those of `other`, none.
pub(crate) fn start(backend: Backend) -> TestServer {
    start_with(backend, |settings| {
        for (_, policy) in &mut settings.channels.namespaces {
            policy.receive_own = true; // for `publish`
        }
    })
}

pub(crate) fn start_with(
    backend: Backend,
    change: impl FnOnce(&mut roost_reactor::Settings),
) -> TestServer {
    TestServer::with(backend, 3, |settings| {
        let kept = ChannelPolicy {
            history_messages_max: 5,
            ..policy_for_tests()
        };
        let closed = ChannelPolicy {
            subscribe: Access::Nobody,
            ..policy_for_tests()
        };
        settings.channels.namespaces = vec![
            ("kept".to_owned(), kept),
            ("other".to_owned(), policy_for_tests()),
            ("closed".to_owned(), closed),
        ];
        change(settings);
    })
}

/// A client of an event stream.
pub(crate) struct Stream {
    pub(crate) client: Client,
    pub(crate) response: Response,
}

/// An event as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) data: Vec<String>,
    pub(crate) retry: Option<u64>,
    pub(crate) comments: usize,
}

impl Stream {
    pub(crate) fn open(
        server: &TestServer,
        path: &str,
        id: Option<&str>,
    ) -> Result<Stream, Failure> {
        let mut request = Request::get("h", path);
        if let Some(id) = id {
            request = request.header(format!("Last-Event-ID: {id}"));
        }
        Stream::ask(server, &request)
    }

    pub(crate) fn ask(server: &TestServer, request: &Request) -> Result<Stream, Failure> {
        let mut client = Client::connect(server.address())?;
        client.send(&request.bytes())?;
        let response = client.read_response()?;
        Ok(Stream { client, response })
    }

    /// The next block of lines.
    pub(crate) fn next(&mut self) -> Result<Event, Failure> {
        let mut event = Event::default();
        loop {
            let mut line = Vec::new();
            loop {
                match self.client.read_exact(1)?[0] {
                    b'\n' => break,
                    byte => line.push(byte),
                }
            }
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.is_empty() {
                return Ok(event);
            }
            if line.starts_with(':') {
                event.comments += 1;
                continue;
            }
            match line.split_once(": ").unwrap_or((&line, "")) {
                ("id", id) => event.id = Some(id.to_owned()),
                ("event", name) => event.name = Some(name.to_owned()),
                ("data", data) => event.data.push(data.to_owned()),
                ("retry", ms) => event.retry = ms.parse().ok(),
                (other, _) => return Err(Failure::new(format!("a line {other:?}"))),
            }
        }
    }

    /// The position where the stream begins.
    fn begin(&mut self) -> Result<String, Failure> {
        let event = self.next()?;
        assert!(event.data.is_empty() && event.retry.is_some(), "{event:?}");
        Ok(event.id.unwrap_or_default())
    }

    /// The id of the next event, whose data this is.
    fn expect(&mut self, data: &str) -> Result<String, Failure> {
        let event = self.next()?;
        assert_eq!(event.data, [data], "{event:?}");
        assert_eq!(event.name, None, "{event:?}");
        Ok(event.id.unwrap_or_default())
    }

    fn expect_lost(&mut self, reason: &str) -> Checked {
        let event = self.next()?;
        assert_eq!(event.name.as_deref(), Some("roost.lost"), "{event:?}");
        let expected = format!(r#"{{"reason":"{reason}","#);
        assert!(event.data[0].starts_with(&expected), "{event:?}");
        Ok(())
    }
}

/// A publisher on a channel, which has subscribed by now.
pub(crate) fn publisher(server: &TestServer, channel: &str) -> Result<Client, Failure> {
    Client::open(server.address(), &format!("/raw/{channel}"))
}

/// Publishes, and waits until it is ordered: the publisher receives its own messages, and the home
/// sends them. A counter of the publisher's reactor would not do: a subscription that begins then may reach
/// the home before the publication.
pub(crate) fn publish(client: &mut Client, texts: &[&str]) -> Checked {
    for text in texts {
        client.send_text(text)?;
    }
    let mut awaited = texts.iter().peekable();
    while let Some(&&text) = awaited.peek() {
        match client.receive()? {
            Message::Text(own) if own == text => drop(awaited.next()),
            Message::Text(_) => {} // sent before
            other => panic!("{text:?} was published, and {other:?} came"),
        }
    }
    Ok(())
}

fn publications_are_events(backend: Backend) -> Checked {
    let server = start(backend);
    for channel in ["kept:a", "other:a", "plain"] {
        let mut stream = Stream::open(&server, &format!("/sse/{channel}"), None)?;
        let response = &stream.response;
        assert_eq!(response.status, 200);
        for (name, value) in [
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-store"),
            ("X-Accel-Buffering", "no"),
            ("Connection", "close"),
            ("Access-Control-Allow-Origin", "*"),
        ] {
            assert_eq!(response.header(name), Some(value), "{name}");
        }
        let start = stream.begin()?;
        let mut publisher = publisher(&server, channel)?;
        publisher.send_text("one")?;
        let first = stream.expect("one")?;
        publisher.send_text("two\nlines")?;
        publisher.send_binary(&[0, 255])?;
        let second = stream.next()?;
        assert_eq!(second.data, ["two", "lines"]);
        let third = stream.next()?;
        assert_eq!(
            (third.name.as_deref(), &third.data[..]),
            (Some("binary"), &["AP8=".to_owned()][..])
        );
        let number = |id: &str| id.rsplit_once('-').map(|(_, n)| n.parse::<u64>());
        let at = |id: &str| number(id).expect("a dash").expect("a number");
        assert_eq!(at(&first), at(&start) + 1);
        assert_eq!(at(&third.id.unwrap_or_default()), at(&first) + 2);
    }
    Ok(())
}

fn a_client_that_was_away_gets_what_it_missed(backend: Backend) -> Checked {
    let server = start(backend);
    for n in 0..8 {
        let path = format!("/sse/kept:{n}"); // at each home
        let mut publisher = publisher(&server, &format!("kept:{n}"))?;
        let mut stream = Stream::open(&server, &path, None)?;
        let start = stream.begin()?;
        publisher.send_text("one")?;
        let one = stream.expect("one")?;
        drop(stream);
        publish(&mut publisher, &["two", "three"])?;
        for (id, missed) in [
            (&start, &["one", "two", "three"][..]),
            (&one, &["two", "three"]),
        ] {
            let mut stream = Stream::open(&server, &path, Some(id))?;
            assert_eq!(stream.begin()?, *id);
            let mut last = String::new();
            for text in missed {
                last = stream.expect(text)?;
            }
            let mut again = Stream::open(&server, &path, Some(&last))?;
            assert_eq!(again.begin()?, last, "it has missed nothing");
        }
        let mut stream = Stream::open(&server, &path, Some(&one))?;
        publisher.send_text("four")?;
        stream.begin()?;
        for text in ["two", "three", "four"] {
            stream.expect(text)?;
        }
    }
    Ok(())
}

fn a_loss_is_told(backend: Backend) -> Checked {
    let server = start(backend);
    let mut publisher = publisher(&server, "kept:a")?;
    let mut stream = Stream::open(&server, "/sse/kept:a", None)?;
    let start = stream.begin()?;
    publish(&mut publisher, &["1", "2", "3", "4", "5", "6"])?;
    (1..=6).try_for_each(|n| stream.expect(&n.to_string()).map(drop))?;
    let (epoch, offset) = start.split_once('-').expect("a dash");
    let later = format!("{epoch}-{}", offset.parse::<u64>().expect("a number") + 100);
    let other = format!("0123456789abcdef-{offset}");
    for (id, reason) in [
        (start.as_str(), "too_old"),
        (&later, "ahead"),
        (&other, "epoch"),
        ("someone else's", "epoch"),
    ] {
        let mut stream = Stream::open(&server, "/sse/kept:a", Some(id))?;
        stream.begin()?;
        stream.expect_lost(reason)?;
        publisher.send_text(reason)?;
        let id = stream.expect(reason)?;
        let mut again = Stream::open(&server, "/sse/kept:a", Some(&id))?;
        assert_eq!(again.begin()?, id, "and it goes on from there");
    }
    assert_eq!(server.count("recoveries_lost_total"), 4);
    Ok(())
}

fn without_history_a_client_that_missed_nothing_is_told_so(backend: Backend) -> Checked {
    let server = start(backend);
    let mut publisher = publisher(&server, "other:a")?;
    let mut stream = Stream::open(&server, "/sse/other:a", None)?;
    stream.begin()?;
    publisher.send_text("one")?;
    let one = stream.expect("one")?;
    let mut again = Stream::open(&server, "/sse/other:a", Some(&one))?;
    assert_eq!(again.begin()?, one);
    publisher.send_text("two")?;
    again.expect("two")?;
    stream.expect("two")?;
    let mut late = Stream::open(&server, "/sse/other:a", Some(&one))?;
    late.begin()?;
    late.expect_lost("too_old")
}

fn the_last_publications_can_be_asked_for(backend: Backend) -> Checked {
    let server = start(backend);
    let mut publisher = publisher(&server, "kept:a")?;
    let mut all = Stream::open(&server, "/sse/kept:a", None)?;
    all.begin()?;
    publish(&mut publisher, &["1", "2", "3", "4", "5", "6", "7"])?;
    (1..=7).try_for_each(|n| all.expect(&n.to_string()).map(drop))?;
    for (count, first) in [(0, 8), (2, 6), (5, 3), (100, 3)] {
        let path = format!("/sse/kept:a?history={count}");
        let mut stream = Stream::open(&server, &path, None)?;
        stream.begin()?;
        (first..8).try_for_each(|n| stream.expect(&n.to_string()).map(drop))?;
    }
    // A client says where it is where it can: the first request has the query, the next both.
    let mut stream = Stream::open(&server, "/sse/kept:a?history=2", None)?;
    stream.begin()?;
    let six = stream.expect("6")?;
    let mut stream = Stream::open(&server, "/sse/kept:a?history=2", Some(&six))?;
    stream.begin()?;
    stream.expect("7")?;
    let path = format!("/sse/kept:a?last_event_id={six}");
    let mut stream = Stream::open(&server, &path, None)?;
    assert_eq!(stream.begin()?, six);
    stream.expect("7")?;
    Ok(())
}

fn many_that_come_back_get_the_same(backend: Backend) -> Checked {
    let server = start(backend);
    let mut publisher = publisher(&server, "kept:a")?;
    let mut first = Stream::open(&server, "/sse/kept:a", None)?;
    let start = first.begin()?;
    publish(&mut publisher, &["1", "2", "3"])?;
    (1..=3).try_for_each(|n| first.expect(&n.to_string()).map(drop))?;
    let mut streams = Vec::new();
    for _ in 0..40 {
        streams.push(Stream::open(&server, "/sse/kept:a", Some(&start))?);
    }
    publisher.send_text("4")?;
    for stream in &mut streams {
        stream.begin()?;
        (1..=4).try_for_each(|n| stream.expect(&n.to_string()).map(drop))?;
    }
    assert_eq!(server.count("recoveries_total"), 40);
    Ok(())
}

fn what_was_published_without_subscribers_is_kept(backend: Backend) -> Checked {
    let server = start(backend);
    let mut publisher = publisher(&server, "kept:a")?;
    let mut stream = Stream::open(&server, "/sse/kept:a", None)?;
    let start = stream.begin()?;
    drop(stream);
    publish(&mut publisher, &["1"])?;
    publisher.close()?;
    server.wait_for_count("subscriptions", |count| count == 0);
    let mut stream = Stream::open(&server, "/sse/kept:a", Some(&start))?;
    stream.begin()?;
    stream.expect("1")?;
    Ok(())
}

fn what_is_too_much_for_one_answer_is_a_loss(backend: Backend) -> Checked {
    let server = start_with(backend, |settings| {
        settings.channels.namespaces[0].1.outbox_bytes_max = 10_000;
    });
    let mut publisher = publisher(&server, "kept:a")?;
    let mut stream = Stream::open(&server, "/sse/kept:a", None)?;
    let start = stream.begin()?;
    let text = "x".repeat(2_000);
    for _ in 0..3 {
        publisher.send_text(&text)?;
        stream.expect(&text)?;
    }
    let mut stream = Stream::open(&server, "/sse/kept:a", Some(&start))?;
    stream.begin()?;
    stream.expect_lost("too_large")
}

fn requests_are_refused_with_reasons(backend: Backend) -> Checked {
    let server = start(backend);
    for (path, status) in [
        ("/sse", 400),
        ("/sse/", 400),
        ("/sse/%zz", 400),
        ("/sse/a?history=many", 400),
        ("/sse/closed:a", 403),
        ("/sseq", 404),
    ] {
        let stream = Stream::open(&server, path, None)?;
        assert_eq!(stream.response.status, status, "{path}");
    }
    let mut client = Client::connect(server.address())?;
    client.send(&Request::websocket("h", "/sse/a").bytes())?;
    assert_eq!(client.read_response()?.status, 400);
    let post = Request::get("h", "/sse/a").line("POST /sse/a HTTP/1.1");
    assert_eq!(Stream::ask(&server, &post)?.response.status, 405);
    let mut head = Stream::ask(
        &server,
        &Request::get("h", "/sse/a").line("HEAD /sse/a HTTP/1.1"),
    )?;
    assert_eq!(head.response.status, 200);
    head.client.expect_end()?;
    Ok(())
}

fn pages_of_other_origins_may_not_read(backend: Backend) -> Checked {
    let server = start_with(backend, |settings| {
        settings.listeners[0].origins = Origins::Listed(vec!["https://a.example".to_owned()]);
    });
    let from = |origin: &str| Request::get("h", "/sse/a").header(format!("Origin: {origin}"));
    let stream = Stream::ask(&server, &from("https://a.example"))?;
    assert_eq!(stream.response.status, 200);
    let allowed = stream.response.header("Access-Control-Allow-Origin");
    assert_eq!(allowed, Some("https://a.example"));
    let credentials = stream.response.header("Access-Control-Allow-Credentials");
    assert_eq!(credentials, Some("true"));
    assert_eq!(stream.response.header("Vary"), Some("Origin"));
    assert_eq!(
        Stream::ask(&server, &from("https://b.example"))?
            .response
            .status,
        403
    );
    let preflight = from("https://a.example")
        .line("OPTIONS /sse/a HTTP/1.1")
        .header("Access-Control-Request-Method: GET")
        .header("Access-Control-Request-Headers: authorization");
    let answer = Stream::ask(&server, &preflight)?.response;
    let allowed = answer.header("Access-Control-Allow-Origin");
    assert_eq!((answer.status, allowed), (200, Some("https://a.example")));
    let headers = answer.header("Access-Control-Allow-Headers");
    assert_eq!(headers, Some("Authorization, Content-Type, Last-Event-ID"));
    Ok(())
}

fn a_quiet_stream_gets_comments(backend: Backend) -> Checked {
    let server = start_with(backend, |settings| {
        settings.limits.ping_interval_ms = 200;
        settings.limits.ping_timeout_ms = 10_000;
    });
    let mut stream = Stream::open(&server, "/sse/a", None)?;
    stream.begin()?;
    for _ in 0..3 {
        assert_eq!(stream.next()?.comments, 1);
    }
    let mut publisher = publisher(&server, "a")?;
    publisher.send_text("one")?;
    loop {
        let event = stream.next()?;
        if event.comments == 0 {
            assert_eq!(event.data, ["one"]);
            return Ok(());
        }
    }
}

fn a_drain_tells_when_to_come_back(backend: Backend) -> Checked {
    let server = start(backend);
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = Stream::open(&server, "/sse/a", None)?;
        stream.begin()?;
        streams.push(stream);
    }
    server.begin_stop(5_000);
    let mut times = Vec::new();
    for stream in &mut streams {
        let event = stream.next()?;
        times.extend(event.retry);
        stream.client.expect_end()?;
    }
    assert_eq!(times.len(), 3);
    assert!(times.iter().any(|&time| time != times[0]), "{times:?}");
    drop(streams);
    server.wait_stopped();
    Ok(())
}

fn what_the_client_sends_is_dropped(backend: Backend) -> Checked {
    let server = start(backend);
    let mut stream = Stream::open(&server, "/sse/a", None)?;
    stream.begin()?;
    stream
        .client
        .send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n\x81\x01x")?;
    let mut publisher = publisher(&server, "a")?;
    publisher.send_text("one")?;
    stream.expect("one")?;
    stream.client.half_close()?;
    stream.client.expect_end()?;
    server.wait_for_count("event_streams_open", |open| open == 0);
    Ok(())
}

fn streams_are_counted(backend: Backend) -> Checked {
    let server = start(backend);
    let mut stream = Stream::open(&server, "/sse/a", None)?;
    stream.begin()?;
    server.wait_for_count("event_streams_open", |count| count == 1);
    server.wait_for_count("websockets_open", |count| count == 0);
    drop(stream);
    server.wait_for_count("event_streams_open", |open| open == 0);
    server.wait_for_count("subscriptions", |left| left == 0);
    Ok(())
}

fn a_stream_is_served_incrementally_and_in_order(backend: Backend) -> Checked {
    let server = start_with(backend, |settings| {
        settings.fan_out_at_once = 2;
        settings.fan_out_piece = 2;
        settings.channels.namespaces[0].1.history_messages_max = 1_000;
        Arc::make_mut(&mut settings.dialects.echo).enabled = false;
    });
    let mut publisher = publisher(&server, "kept:a")?;
    let mut streams = Vec::new();
    let mut first = Stream::open(&server, "/sse/kept:a", None)?;
    let start = first.begin()?;
    let mut next = 0;
    for _ in 0..12 {
        for _ in 0..20 {
            publisher.send_text(&next.to_string())?;
            next += 1;
        }
        streams.push(Stream::open(&server, "/sse/kept:a", Some(&start))?);
    }
    for stream in &mut streams {
        stream.begin()?;
        (0..next).try_for_each(|n| stream.expect(&n.to_string()).map(drop))?;
    }
    Ok(())
}
