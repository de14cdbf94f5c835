//! Subscriptions to patterns, through all reactors: by WAMP, and each kind by the toy dialect.

use std::sync::Arc;

use roost_reactor::{Access, ChannelPolicy, SlowConsumer, policy_for_tests};
use roost_testkit::client::{Checked, Client, Failure, Message, Request};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

use crate::slow::counted;

roost_testkit::on_each_backend!(
    each_subscription_gets_an_event_of_its_own,
    each_kind_matches_by_its_own_separator,
    a_pattern_gets_what_is_published_behind_its_answer_and_no_more,
    patterns_are_limited,
    a_closed_namespace_is_not_matched,
    latest_keeps_a_message_of_each_channel_that_matches,
    a_pattern_of_many_subscribers_is_served_in_order,
);

fn start(backend: Backend) -> TestServer {
    TestServer::with(backend, 3, |settings| {
        Arc::make_mut(&mut settings.dialects.toy).enabled = true;
    })
}

/// A client of the toy dialect.
struct Toy(Client);

impl Toy {
    fn open(server: &TestServer) -> Result<Toy, Failure> {
        Ok(Toy(Client::open(server.address(), "/toy")?))
    }

    fn say(&mut self, line: &str) -> Result<(), Failure> {
        self.0.send_binary(format!("{line}\n").as_bytes())
    }

    fn hear(&mut self) -> Result<String, Failure> {
        match self.0.receive()? {
            Message::Binary(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            other => Err(Failure::new(format!("not the toy's: {other:?}"))),
        }
    }

    fn ask(&mut self, line: &str) -> Result<String, Failure> {
        self.say(line)?;
        self.hear()
    }

    /// Subscribes to a pattern; returns its number.
    fn all(&mut self, pattern: &str) -> Result<String, Failure> {
        let answer = self.ask(&format!("ALL {pattern}"))?;
        let number = answer.strip_prefix("ALL ");
        number
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(format!("{pattern} is answered {answer}")))
    }

    /// What comes through a pattern: its number, the channel and the text.
    fn matched(&mut self) -> Result<(String, String, String), Failure> {
        let event = self.hear()?;
        let mut parts = event.splitn(4, ' ').map(str::to_owned);
        match [(); 4].map(|()| parts.next()) {
            [Some(number), Some(channel), Some(_), Some(text)] => Ok((number, channel, text)),
            _ => Err(Failure::new(format!("no event: {event}"))),
        }
    }
}

fn join_wamp(server: &TestServer) -> Result<Client, Failure> {
    let mut client = Client::connect(server.address())?;
    let request = Request::websocket("h", "/wamp").header("Sec-WebSocket-Protocol: wamp.2.json");
    client.shake_hands(&request)?;
    let roles = json!({"roles": {"publisher": {}, "subscriber": {}}});
    client.send_text(&json!([1, "realm1", roles]).to_string())?;
    let welcome = receive_json(&mut client)?;
    let features = &welcome[2]["roles"]["broker"]["features"];
    assert_eq!(features["pattern_based_subscription"], json!(true));
    Ok(client)
}

fn receive_json(client: &mut Client) -> Result<Value, Failure> {
    match client.receive()? {
        Message::Text(text) => {
            serde_json::from_str(&text).map_err(|error| Failure::new(error.to_string()))
        }
        other => Err(Failure::new(format!("expected JSON, received {other:?}"))),
    }
}

fn ask_wamp(client: &mut Client, message: &Value) -> Result<Value, Failure> {
    client.send_text(&message.to_string())?;
    receive_json(client)
}

/// A literal subscription and two patterns of one session that match: three events.
fn each_subscription_gets_an_event_of_its_own(backend: Backend) -> Checked {
    let server = start(backend);
    let mut subscriber = join_wamp(&server)?;
    let mut ids = Vec::new();
    for (request, options, topic) in [
        (1, json!({}), "com.a.x"),
        (2, json!({"match": "prefix"}), ""),
        (3, json!({"match": "wildcard"}), "com..x"),
        (4, json!({"match": "wildcard"}), "com..y"),
        (5, json!({"match": "prefix"}), ""),
    ] {
        let answer = ask_wamp(&mut subscriber, &json!([32, request, options, topic]))?;
        assert_eq!((&answer[0], &answer[1]), (&json!(33), &json!(request)));
        ids.push(answer[2].clone());
    }
    assert_eq!(ids[1], ids[4], "the same pattern is the same subscription");
    let mut publisher = join_wamp(&server)?;
    let publish = json!([16, 1, {"acknowledge": true}, "com.a.x", [7]]);
    let published = ask_wamp(&mut publisher, &publish)?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = receive_json(&mut subscriber)?;
        assert_eq!((&event[2], &event[4]), (&published[2], &json!([7])));
        seen.push((event[1].clone(), event[3].clone()));
    }
    let topic = json!({"topic": "com.a.x"});
    assert_eq!(
        seen[0],
        (ids[0].clone(), json!({})),
        "the literal one first"
    );
    for id in &ids[1..3] {
        assert!(seen.contains(&(id.clone(), topic.clone())), "{seen:?}");
    }
    // What the protocol reserves, and what WAMP cannot name, matches nothing.
    for path in ["/raw/wamp.session.x", "/raw/$x", "/raw/a%20b", "/raw/a..b"] {
        server.open(path)?.send_text("unseen")?;
    }
    let answer = ask_wamp(&mut subscriber, &json!([34, 9, ids[1]]))?;
    assert_eq!(answer, json!([35, 9]), "and nothing came before");
    let publish = json!([16, 2, {"acknowledge": true}, "com.b.y", [8]]);
    ask_wamp(&mut publisher, &publish)?;
    let event = receive_json(&mut subscriber)?;
    assert_eq!(
        (&event[1], &event[3]["topic"]),
        (&ids[3], &json!("com.b.y"))
    );
    server.wait_for_count("patterns", |count| count == 2);
    subscriber.close()?;
    server.wait_for_count("patterns", |count| count == 0);
    server.wait_for_count("subscriptions", |count| count == 0);
    Ok(())
}

fn each_kind_matches_by_its_own_separator(backend: Backend) -> Checked {
    let server = start(backend);
    let mut publisher = Toy::open(&server)?;
    for (pattern, matching, others) in [
        ("prefix a.b", &["a.b", "a.bc.d"][..], &["a", "b.a.b"][..]),
        ("components a..c", &["a.b.c"], &["a.c", "a.b.c.d", "$a.b.c"]),
        ("tokens a.*.>", &["a.b.c", "a.b.c.d"], &["a.b", "a", "a..c"]),
        ("levels a/+/#", &["a/b", "a/b/c/d", "a/"], &["a", "b/b"]),
        ("levels #", &["a/b", "a.b"], &["$SYS/x", "wamp.x"]),
        ("levels $SYS/#", &["$SYS/x", "$SYS"], &["a"]),
    ] {
        let mut subscriber = Toy::open(&server)?;
        let number = subscriber.all(pattern)?;
        // Hears all of them by name, so that none is still on its way when the next pattern comes.
        let mut witness = Toy::open(&server)?;
        for name in others.iter().chain(matching) {
            assert!(witness.ask(&format!("SUB {name}"))?.starts_with("AT "));
        }
        for name in others.iter().chain(matching) {
            publisher.say(&format!("PUB {name} to {name}"))?;
        }
        for _ in others.iter().chain(matching) {
            witness.hear()?;
        }
        let mut seen = Vec::new();
        for _ in matching {
            let (from, channel, text) = subscriber.matched()?;
            assert_eq!((from, text), (number.clone(), format!("to {channel}")));
            seen.push(channel);
        }
        seen.sort_unstable();
        let mut expected: Vec<&str> = matching.to_vec();
        expected.sort_unstable();
        assert_eq!(seen, expected, "{pattern}");
        assert_eq!(subscriber.ask("END")?, "END", "{pattern} matched no more");
        subscriber.0.close()?;
    }
    Ok(())
}

fn a_pattern_gets_what_is_published_behind_its_answer_and_no_more(backend: Backend) -> Checked {
    let server = start(backend);
    let mut publisher = Toy::open(&server)?;
    for round in 0..20 {
        // New channels and old ones, on all homes, with a subscriber of their own and without.
        let mut literal = Toy::open(&server)?;
        assert!(literal.ask(&format!("SUB r/{round}"))?.starts_with("AT "));
        publisher.say(&format!("PUB r/{round} old"))?;
        assert!(literal.hear()?.ends_with(" old"));
        let mut subscriber = Toy::open(&server)?;
        subscriber.all("levels r/+")?;
        for n in 0..4 {
            publisher.say(&format!("PUB r/{round} {n}"))?;
            publisher.say(&format!("PUB r/x{round} {n}"))?;
        }
        let mut seen = [0, 0];
        while seen != [4, 4] {
            let (_, channel, text) = subscriber.matched()?;
            let at = usize::from(channel.contains('x'));
            assert_eq!(text, seen[at].to_string(), "{channel}");
            seen[at] += 1;
        }
        for n in 0..4 {
            assert!(literal.hear()?.ends_with(&format!(" {n}")));
        }
        subscriber.0.close()?;
        literal.0.close()?;
    }
    Ok(())
}

fn patterns_are_limited(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 3, |settings| {
        Arc::make_mut(&mut settings.dialects.toy).enabled = true;
        settings.limits.patterns_max = 17;
    });
    let mut toy = Toy::open(&server)?;
    for invalid in ["levels a/#/b", "tokens a..b", "levels +/+/+/+/+"] {
        let answer = toy.ask(&format!("ALL {invalid}"))?;
        assert_eq!(answer, "NO InvalidPattern", "{invalid}");
    }
    // Sixteen arrangements of one depth.
    for bits in 0..16u32 {
        let levels = (0..4).map(|level| if bits >> level & 1 == 1 { "+" } else { "a" });
        toy.all(&format!(
            "levels {}/b",
            levels.collect::<Vec<_>>().join("/")
        ))?;
    }
    // On any reactor.
    for _ in 0..4 {
        let mut other = Toy::open(&server)?;
        assert_eq!(other.ask("ALL levels a/a/a/a/+")?, "NO PatternShape");
        other.0.close()?;
    }
    toy.all("levels x/+")?;
    for _ in 0..4 {
        let mut other = Toy::open(&server)?;
        let answer = other.ask("ALL prefix x")?;
        assert_eq!(answer, "NO NoRoom");
        other.0.close()?;
    }
    assert_eq!(toy.ask("END")?, "END");
    let mut other = Toy::open(&server)?;
    server.wait_for_count("patterns", |count| count == 16);
    // The register hears of the end behind the answer.
    while other.ask("ALL prefix x")? == "NO NoRoom" {}
    Ok(())
}

/// What no client may subscribe to is matched by no pattern, and one that begins there is refused.
fn a_closed_namespace_is_not_matched(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 3, |settings| {
        Arc::make_mut(&mut settings.dialects.toy).enabled = true;
        let closed = ChannelPolicy {
            subscribe: Access::Nobody,
            ..policy_for_tests()
        };
        let namespaces = &mut settings.channels.namespaces;
        namespaces.push(("secret".to_owned(), closed));
    });
    let mut toy = Toy::open(&server)?;
    assert!(toy.ask("ALL prefix secret:a")?.starts_with("NO NotAllowed"));
    assert!(
        toy.ask("ALL levels secret:a/+")?
            .starts_with("NO NotAllowed")
    );
    for pattern in ["prefix secret", "prefix ", "levels #", "tokens *"] {
        toy.all(pattern)?;
    }
    let mut publisher = Toy::open(&server)?;
    publisher.say("PUB secret:a unseen")?;
    publisher.say("PUB secretive seen")?;
    for _ in 0..4 {
        let (_, channel, text) = toy.matched()?;
        assert_eq!((channel.as_str(), text.as_str()), ("secretive", "seen"));
    }
    Ok(())
}

/// A client that does not read gets the last message of each channel, not one of all of them.
fn latest_keeps_a_message_of_each_channel_that_matches(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        Arc::make_mut(&mut settings.dialects.toy).enabled = true;
        let latest = ChannelPolicy {
            slow_consumer: SlowConsumer::Latest,
            ..policy_for_tests()
        };
        let namespaces = &mut settings.channels.namespaces;
        namespaces.push(("l".to_owned(), latest));
    });
    let mut slow = Toy::open(&server)?;
    slow.all("levels l:x/+")?;
    let mut publisher = Client::open(server.address(), "/raw/l:x%2F0")?;
    let mut other = Client::open(server.address(), "/raw/l:x%2F1")?;
    let filler = "x".repeat(64 << 10);
    let mut replaced = 0;
    for n in 0..2000 {
        publisher.send_text(&format!("0 {n} {filler}"))?;
        other.send_text(&format!("1 {n} {filler}"))?;
        replaced = counted(&server, "l", "replaced_total");
        if replaced > 20 {
            publisher.send_text("0 last ")?;
            other.send_text("1 last ")?;
            break;
        }
    }
    assert!(replaced > 20, "nothing was replaced");
    let mut last = [false; 2];
    while last != [true; 2] {
        let (_, channel, text) = slow.matched()?;
        let at = usize::from(channel == "l:x/1");
        assert!(text.starts_with(&format!("{at} ")), "{channel}");
        last[at] |= text.ends_with(" last ");
    }
    Ok(())
}

/// More subscribers than are served at once: an incremental fan-out, in which channels mix.
fn a_pattern_of_many_subscribers_is_served_in_order(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        Arc::make_mut(&mut settings.dialects.toy).enabled = true;
        (settings.fan_out_at_once, settings.fan_out_piece) = (2, 2);
    });
    let mut subscribers = Vec::new();
    for _ in 0..20 {
        let mut toy = Toy::open(&server)?;
        toy.all("prefix many.")?;
        subscribers.push(toy);
    }
    let mut publisher = Toy::open(&server)?;
    for n in 0..300 {
        publisher.say(&format!("PUB many.{} {n}", n % 3))?;
    }
    for toy in &mut subscribers {
        let mut next = [0, 1, 2];
        for _ in 0..300 {
            let (_, channel, text) = toy.matched()?;
            let at: usize = channel["many.".len()..].parse().expect("a number");
            assert_eq!(text, next[at].to_string(), "{channel}");
            next[at] += 3;
        }
    }
    server.wait_for_count("channel_backpressure_total", |count| count > 0);
    Ok(())
}
