//! Event streams of several channels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roost_testkit::client::{Checked, Client, Failure, Request};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

use crate::sse::{Event, Stream, publish, publisher, start, start_with};

roost_testkit::on_each_backend!(
    several_channels_come_in_one_stream,
    a_client_that_was_away_gets_what_it_missed_of_each,
    an_id_from_the_middle_goes_on_from_there,
    a_loss_is_told_of_the_channel_that_has_it,
    a_channel_that_is_new_begins_now,
    the_last_publications_of_each_can_be_asked_for,
    one_that_is_refused_does_not_stop_the_others,
    requests_are_refused_with_reasons,
    a_stream_has_no_more_channels_than_a_connection_may_have,
    a_client_that_reads_late_gets_all_with_their_ids,
    many_streams_are_served_incrementally,
    a_drain_tells_when_to_come_back,
    streams_are_counted,
);

/// A stream of several channels, and what it has seen.
struct Several {
    stream: Stream,
    /// The last id.
    id: String,
}

impl Several {
    fn open(server: &TestServer, path: &str, id: Option<&str>) -> Result<Several, Failure> {
        let mut stream = Stream::open(server, path, id)?;
        assert_eq!(stream.response.status, 200, "{path}");
        let first = stream.next()?;
        assert!(first.retry.is_some() && first.data.is_empty(), "{first:?}");
        let id = first.id.unwrap_or_default();
        Ok(Several { stream, id })
    }

    /// One of so many channels.
    fn of(server: &TestServer, names: &[String], id: Option<&str>) -> Result<Several, Failure> {
        Several::open(server, &path_of(names), id)
    }

    fn next(&mut self) -> Result<Event, Failure> {
        loop {
            let event = self.stream.next()?;
            if event.comments > 0 {
                continue;
            }
            if let Some(id) = &event.id {
                self.id.clone_from(id);
            }
            return Ok(event);
        }
    }

    /// So many channels have begun; what else has come by then.
    fn begin(&mut self, channels: usize) -> Result<Vec<Event>, Failure> {
        let (mut begun, mut others) = (0, Vec::new());
        while begun < channels {
            let event = self.next()?;
            match event.data.is_empty() {
                true => begun += 1,
                false => others.push(event),
            }
        }
        Ok(others)
    }

    /// The next event that has data: its name, and its data.
    fn event(&mut self) -> Result<(String, String), Failure> {
        loop {
            let event = self.next()?;
            if !event.data.is_empty() {
                assert!(event.id.is_some(), "{event:?}");
                return Ok(named(&event));
            }
        }
    }

    /// The data of the next so many events, by their names.
    fn events(&mut self, count: usize) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for _ in 0..count {
            let (name, data) = self.event()?;
            all.entry(name).or_default().push(data);
        }
        Ok(all)
    }
}

fn named(event: &Event) -> (String, String) {
    let name = event.name.clone().unwrap_or_default();
    (name, event.data.join("\n"))
}

fn path_of(names: &[String]) -> String {
    let all: Vec<String> = names.iter().map(|name| format!("channel={name}")).collect();
    format!("/sse?{}", all.join("&"))
}

/// Of several homes.
fn kept(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("kept:{n}")).collect()
}

/// Each channel has this.
fn all_with(names: &[String], texts: &[&str]) -> BTreeMap<String, Vec<String>> {
    let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
    names
        .iter()
        .map(|name| (name.clone(), texts.clone()))
        .collect()
}

fn publishers(server: &TestServer, names: &[String]) -> Result<Vec<Client>, Failure> {
    names.iter().map(|name| publisher(server, name)).collect()
}

fn several_channels_come_in_one_stream(backend: Backend) -> Checked {
    let server = start(backend);
    let path = "/sse?channel=kept:a&channel=other%3Ab+c&channel=kept:a&channel=plain";
    let mut stream = Several::open(&server, path, None)?;
    let head = &stream.stream.response;
    assert_eq!(head.header("Content-Type"), Some("text/event-stream"));
    assert_eq!(head.header("Access-Control-Allow-Origin"), Some("*"));
    assert_eq!(stream.begin(3)?, []);
    for (channel, name) in [
        ("kept:a", "kept:a"),
        ("other:b%20c", "other:b c"),
        ("plain", "plain"),
    ] {
        let mut publisher = publisher(&server, channel)?;
        publisher.send_text("one\nlines")?;
        let before = stream.id.clone();
        assert_eq!(stream.event()?, (name.to_owned(), "one\nlines".to_owned()));
        assert_ne!(stream.id, before);
        publisher.send_binary(&[0, 255])?;
        let (event, data) = stream.event()?;
        let data: Value = serde_json::from_str(&data).expect("JSON");
        let expected = json!({"channel": name, "base64": "AP8="});
        assert_eq!((event.as_str(), data), ("binary", expected));
        // One position for each channel, whichever the event was of.
        let places = stream.id.matches('-').count();
        assert_eq!(places, 3, "{}", stream.id);
    }
    Ok(())
}

fn a_client_that_was_away_gets_what_it_missed_of_each(backend: Backend) -> Checked {
    let server = start(backend);
    let names = kept(12);
    let mut publishers = publishers(&server, &names)?;
    let mut stream = Several::of(&server, &names, None)?;
    stream.begin(names.len())?;
    for publisher in &mut publishers {
        publisher.send_text("one")?;
    }
    assert_eq!(stream.events(names.len())?, all_with(&names, &["one"]));
    let last = stream.id.clone();
    drop(stream);
    for publisher in &mut publishers {
        publish(publisher, &["two", "three"])?;
    }
    let missed = all_with(&names, &["two", "three"]);
    // In another order of the channels, too.
    let reversed: Vec<String> = names.iter().rev().cloned().collect();
    for names in [&names, &reversed] {
        let mut stream = Several::of(&server, names, Some(&last))?;
        assert_eq!(stream.id, last, "before any home has answered");
        assert_eq!(stream.events(2 * names.len())?, missed);
        let mut again = Several::of(&server, names, Some(&stream.id))?;
        assert_eq!(again.begin(names.len())?, [], "it has missed nothing");
    }
    let mut stream = Several::of(&server, &names, Some(&last))?;
    publishers[3].send_text("four")?;
    let mut expected = missed;
    expected
        .get_mut("kept:3")
        .expect("it is one")
        .push("four".to_owned());
    assert_eq!(stream.events(2 * names.len() + 1)?, expected);
    Ok(())
}

fn an_id_from_the_middle_goes_on_from_there(backend: Backend) -> Checked {
    let server = start(backend);
    let names = kept(5);
    let mut publishers = publishers(&server, &names)?;
    let mut stream = Several::of(&server, &names, None)?;
    stream.begin(names.len())?;
    let all = ["1", "2", "3", "4"];
    for publisher in &mut publishers {
        publish(publisher, &all)?;
    }
    let mut ids = vec![(stream.id.clone(), BTreeMap::new())];
    let mut got: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..names.len() * all.len() {
        let (name, data) = stream.event()?;
        got.entry(name).or_default().push(data);
        ids.push((stream.id.clone(), got.clone()));
    }
    assert_eq!(got, all_with(&names, &all));
    for (id, mut got) in ids {
        let had: usize = got.values().map(Vec::len).sum();
        let mut stream = Several::of(&server, &names, Some(&id))?;
        for (name, data) in stream.events(names.len() * all.len() - had)? {
            got.entry(name).or_default().extend(data);
        }
        assert_eq!(got, all_with(&names, &all), "behind {id}");
    }
    Ok(())
}

fn a_loss_is_told_of_the_channel_that_has_it(backend: Backend) -> Checked {
    let server = start(backend);
    let names = kept(2);
    let mut publishers = publishers(&server, &names)?;
    let mut stream = Several::of(&server, &names, None)?;
    stream.begin(2)?;
    let start = stream.id.clone();
    publish(&mut publishers[0], &["1", "2", "3", "4", "5", "6"])?;
    publish(&mut publishers[1], &["x"])?;
    stream.events(7)?;
    let mut stream = Several::of(&server, &names, Some(&start))?;
    let got = stream.events(2)?;
    let lost: Value = serde_json::from_str(&got["roost.lost"][0]).expect("JSON");
    assert_eq!(lost, json!({"channel": "kept:0", "reason": "too_old"}));
    assert_eq!(got["kept:1"], ["x"]);
    publishers[0].send_text("7")?;
    assert_eq!(stream.event()?, ("kept:0".to_owned(), "7".to_owned()));
    let mut again = Several::of(&server, &names, Some(&stream.id))?;
    assert_eq!(again.begin(2)?, [], "and it goes on from there");
    for foreign in [
        "someone else's",
        "0123456789abcdef-7",
        "0123456789abcdef.00",
    ] {
        let mut stream = Several::of(&server, &names, Some(foreign))?;
        let got = stream.events(2)?;
        let reasons = got["roost.lost"].iter().map(|data| {
            let lost: Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(lost["reason"], "epoch", "{lost}");
            lost["channel"].as_str().expect("a name").to_owned()
        });
        let channels: BTreeSet<String> = reasons.collect();
        assert_eq!(channels, names.iter().cloned().collect(), "{foreign}");
    }
    Ok(())
}

fn a_channel_that_is_new_begins_now(backend: Backend) -> Checked {
    let server = start(backend);
    let names = kept(3);
    let mut publishers = publishers(&server, &names)?;
    let mut stream = Several::of(&server, &names[..2], None)?;
    stream.begin(2)?;
    for publisher in &mut publishers {
        publish(publisher, &["one"])?;
    }
    let mut other = Several::of(&server, &names[1..], Some(&stream.id))?;
    // Both begin, in any order, and of the new one nothing comes.
    let blocks = [other.next()?, other.next()?, other.next()?];
    let events = blocks.iter().filter(|block| !block.data.is_empty());
    let events: Vec<(String, String)> = events.map(named).collect();
    assert_eq!(events, [("kept:1".to_owned(), "one".to_owned())]);
    publishers[2].send_text("two")?;
    assert_eq!(other.event()?, ("kept:2".to_owned(), "two".to_owned()));
    Ok(())
}

fn the_last_publications_of_each_can_be_asked_for(backend: Backend) -> Checked {
    let server = start(backend);
    let names = kept(4);
    let mut publishers = publishers(&server, &names)?;
    for publisher in &mut publishers {
        publish(publisher, &["1", "2", "3"])?;
    }
    let path = format!("{}&history=2", path_of(&names));
    let mut stream = Several::open(&server, &path, None)?;
    assert_eq!(stream.events(8)?, all_with(&names, &["2", "3"]));
    // Where it is known where a client was, that counts.
    let path = format!("{path}&last_event_id={}", stream.id);
    let mut again = Several::open(&server, &path, None)?;
    assert_eq!(again.begin(4)?, []);
    Ok(())
}

fn one_that_is_refused_does_not_stop_the_others(backend: Backend) -> Checked {
    let server = start(backend);
    let names = ["closed:a", "kept:a", "closed:b"].map(str::to_owned);
    let mut stream = Several::of(&server, &names, None)?;
    let events = [stream.next()?, stream.next()?, stream.next()?];
    let refused = events.iter().filter(|event| !event.data.is_empty());
    let refused: BTreeSet<String> = refused
        .map(|event| {
            let (name, data) = named(event);
            assert_eq!((name.as_str(), &event.id), ("roost.refused", &None));
            let data: Value = serde_json::from_str(&data).expect("JSON");
            let reason = data["reason"].as_str().expect("a reason");
            assert!(reason.contains("subscribe = \"nobody\""), "{reason}");
            data["channel"].as_str().expect("a name").to_owned()
        })
        .collect();
    assert_eq!(refused, ["closed:a", "closed:b"].map(str::to_owned).into());
    let mut publisher = publisher(&server, "kept:a")?;
    publisher.send_text("one")?;
    assert_eq!(stream.event()?, ("kept:a".to_owned(), "one".to_owned()));
    assert_eq!(server.count("subscriptions_refused_total"), 2);
    Ok(())
}

fn requests_are_refused_with_reasons(backend: Backend) -> Checked {
    let server = start(backend);
    let many = path_of(&kept(17));
    for (path, status) in [
        (many.as_str(), 400),
        (path_of(&kept(16)).as_str(), 200),
        ("/sse?channel=", 400),
        ("/sse?channel=a&channel=%zz", 400),
        ("/sse?channel=a%0a", 400),
        ("/sse?channel=a&channel=error", 400),
        ("/sse?channel=open", 400),
        ("/sse?channel=binary", 400),
        ("/sse?channel=roost.lost", 400),
        ("/sse?channel=a&history=many", 400),
        ("/sse?channels=a", 400),
    ] {
        let stream = Stream::open(&server, path, None)?;
        assert_eq!(stream.response.status, status, "{path}");
    }
    let mut client = Client::connect(server.address())?;
    client.send(&Request::websocket("h", "/sse?channel=a").bytes())?;
    assert_eq!(client.read_response()?.status, 400);
    let line = |method: &str| {
        let request = Request::get("h", "/sse?channel=a");
        request.line(format!("{method} /sse?channel=a HTTP/1.1"))
    };
    assert_eq!(Stream::ask(&server, &line("POST"))?.response.status, 405);
    let mut head = Stream::ask(&server, &line("HEAD"))?;
    assert_eq!(head.response.status, 200);
    head.client.expect_end()?;
    Ok(())
}

fn a_stream_has_no_more_channels_than_a_connection_may_have(backend: Backend) -> Checked {
    let server = start_with(backend, |settings| {
        Arc::make_mut(&mut settings.dialects.sse).channels_max = 3;
    });
    for (channels, status) in [(3, 200), (4, 400)] {
        let stream = Stream::open(&server, &path_of(&kept(channels)), None)?;
        assert_eq!(stream.response.status, status, "{channels}");
    }
    Ok(())
}

fn a_client_that_reads_late_gets_all_with_their_ids(backend: Backend) -> Checked {
    let server = start_with(backend, |settings| {
        settings.channels.namespaces[0].1.history_messages_max = 1_000;
        settings.channels.namespaces[0].1.history_bytes_max = 64 << 20;
    });
    let names = kept(2);
    let mut publishers = publishers(&server, &names)?;
    let mut stream = Several::of(&server, &names, None)?;
    stream.begin(2)?;
    let text = |n: usize| format!("{n}.{}", "x".repeat(40_000));
    for n in 0..300 {
        publishers[n % 2].send_text(&text(n))?;
    }
    server.wait_for_count("connections_backlogged", |count| count > 0);
    let mut middle = String::new();
    let mut next = [0, 1];
    for n in 0..300 {
        let (name, data) = stream.event()?;
        let at = usize::from(name == "kept:1");
        assert_eq!(data, text(next[at]), "of {name}");
        next[at] += 2;
        if n == 77 {
            middle.clone_from(&stream.id);
        }
    }
    assert_eq!(next, [300, 301]);
    let mut again = Several::of(&server, &names, Some(&middle))?;
    let rest = again.events(300 - 78)?;
    let rest: usize = rest.values().map(Vec::len).sum();
    assert_eq!(rest, 222);
    assert_eq!(again.id, stream.id);
    Ok(())
}

fn many_streams_are_served_incrementally(backend: Backend) -> Checked {
    let server = start_with(backend, |settings| {
        settings.fan_out_at_once = 2;
        settings.fan_out_piece = 2;
        settings.channels.namespaces[0].1.history_messages_max = 1_000;
        Arc::make_mut(&mut settings.dialects.echo).enabled = false;
    });
    let names = kept(2);
    let mut publishers = publishers(&server, &names)?;
    let mut first = Several::of(&server, &names, None)?;
    first.begin(2)?;
    let start = first.id.clone();
    let mut streams = Vec::new();
    let mut sent = Vec::new();
    for round in 0..12 {
        for n in 0..10 {
            let text = format!("{round}.{n}");
            for publisher in &mut publishers {
                publisher.send_text(&text)?;
            }
            sent.push(text);
        }
        streams.push(Several::of(&server, &names, Some(&start))?);
    }
    let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
    let expected = all_with(&names, &sent);
    streams.push(first);
    for stream in &mut streams {
        assert_eq!(stream.events(240)?, expected);
    }
    assert!(streams.iter().all(|stream| stream.id == streams[0].id));
    Ok(())
}

fn a_drain_tells_when_to_come_back(backend: Backend) -> Checked {
    let server = start(backend);
    let mut stream = Several::of(&server, &kept(3), None)?;
    stream.begin(3)?;
    server.begin_stop(5_000);
    assert!(stream.stream.next()?.retry.is_some());
    stream.stream.client.expect_end()?;
    drop(stream);
    server.wait_stopped();
    Ok(())
}

fn streams_are_counted(backend: Backend) -> Checked {
    let server = start(backend);
    let mut stream = Several::of(&server, &kept(3), None)?;
    stream.begin(3)?;
    server.wait_for_count("event_streams_open", |count| count == 1);
    server.wait_for_count("subscriptions", |count| count == 3);
    drop(stream);
    server.wait_for_count("event_streams_open", |open| open == 0);
    server.wait_for_count("subscriptions", |left| left == 0);
    Ok(())
}
