//! Centrifugo's clients that get publications as deltas.

use roost_reactor::{ChannelPolicy, Delta, Recovery, Settings, SlowConsumer, policy_for_tests};
use roost_testkit::centrifugo::{Deltas, Encoding, Peer};
use roost_testkit::client::{Checked, Client, ConnectOptions, Failure, Request};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

use crate::slow::counted;
use crate::wamp_session::Session;

roost_testkit::in_each_encoding!(
    publications_come_as_deltas,
    a_late_subscriber_begins_with_a_whole_one,
    what_a_client_missed_comes_whole,
    a_cache_gives_a_whole_one,
    one_that_a_publication_is_not_for_gets_the_next_whole,
    without_deltas_nothing_is_other,
    a_slow_client_gets_nothing_against_what_was_dropped,
    many_subscribers_that_come_and_go_have_their_base,
    one_that_has_subscribed_keeps_its_form,
    a_reload_holds_for_subscriptions_begun_later,
);

/// Channels of `delta` have deltas, of `kept` and `cache` as well, which keep five messages.
fn start(backend: Backend) -> TestServer {
    with_policy(backend, |_| {})
}

fn with_policy(backend: Backend, change: impl Fn(&mut ChannelPolicy)) -> TestServer {
    TestServer::with(backend, 3, |settings| {
        let mut delta = ChannelPolicy {
            delta: Delta::Fossil,
            ..policy_for_tests()
        };
        change(&mut delta);
        let kept = ChannelPolicy {
            history_messages_max: 5,
            ..delta.clone()
        };
        let cache = ChannelPolicy {
            recovery: Recovery::Cache,
            ..kept.clone()
        };
        settings.limits.outbox_bytes_max = 64 << 20;
        settings.channels.namespaces = vec![
            ("delta".to_owned(), delta),
            ("kept".to_owned(), kept),
            ("cache".to_owned(), cache),
        ];
    })
}

/// A client that is subscribed to one channel.
struct Subscriber {
    peer: Peer,
    encoding: Encoding,
    deltas: Deltas,
}

impl Subscriber {
    fn of(mut peer: Peer, encoding: Encoding, subscribe: Value) -> Result<(Self, Value), Failure> {
        let result = peer.ask(&json!({"id": 2, "subscribe": subscribe}))?;
        let deltas = Deltas::default();
        let subscriber = Subscriber {
            peer,
            encoding,
            deltas,
        };
        Ok((subscriber, result))
    }

    fn new(server: &TestServer, encoding: Encoding, channel: &str) -> Result<Self, Failure> {
        let peer = Peer::connect(server, encoding)?;
        let subscribe = json!({"channel": channel, "delta": "fossil"});
        let (subscriber, result) = Subscriber::of(peer, encoding, subscribe)?;
        assert_eq!(result["delta"], true, "{result}");
        Ok(subscriber)
    }

    /// The next publication, and whether it was a delta.
    fn next(&mut self) -> Result<(Value, bool), Failure> {
        let reply = self.peer.reply()?;
        let publication = &reply["push"]["pub"];
        assert!(publication.is_object(), "{reply}");
        let data = self.deltas.read(self.encoding, publication);
        Ok((data.map_err(Failure::new)?, publication["delta"] == true))
    }

    fn expect(&mut self, number: u32, is_delta: bool) -> Checked {
        assert_eq!(self.next()?, (data(number), is_delta));
        Ok(())
    }
}

fn data(number: u32) -> Value {
    json!({"number": number, "same": "žluťoučký \u{1F40E} \"kůň\"\n".repeat(20)})
}

fn publish(peer: &mut Peer, channel: &str, data: &Value) -> Result<(), Failure> {
    peer.say(&json!({"id": 3, "publish": {"channel": channel, "data": data}}).to_string())
}

fn publish_acknowledged(peer: &mut Peer, channel: &str, number: u32) -> Checked {
    publish(peer, channel, &data(number))?;
    assert_eq!(peer.reply()?, json!({"id": 3, "publish": {}}));
    Ok(())
}

fn publications_come_as_deltas(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut publisher = Peer::connect(&server, encoding)?;
    let mut plain = Peer::connect(&server, encoding)?;
    let result = plain.ask(&json!({"id": 2, "subscribe": {"channel": "delta:a"}}))?;
    assert_eq!(result, json!({}), "it has not asked for deltas");
    let other = match encoding {
        Encoding::Json => Encoding::Protobuf,
        Encoding::Protobuf => Encoding::Json,
    };
    let all = [encoding, encoding, other];
    let all = all.map(|encoding| Subscriber::new(&server, encoding, "delta:a"));
    let mut all = all.into_iter().collect::<Result<Vec<_>, _>>()?;
    for number in 0..5 {
        publish_acknowledged(&mut publisher, "delta:a", number)?;
        for one in &mut all {
            one.expect(number, number > 0)?;
        }
        let push = plain.reply()?;
        assert_eq!(push["push"]["pub"]["data"], data(number));
    }
    // What has nothing of the one before is not a delta of it; one is against that as well.
    for (value, is_delta) in [(json!("other"), false), (data(7), false), (data(8), true)] {
        publish(&mut publisher, "delta:a", &value)?;
        for one in &mut all {
            assert_eq!(one.next()?, (value.clone(), is_delta));
        }
    }
    Ok(())
}

fn a_late_subscriber_begins_with_a_whole_one(backend: Backend, encoding: Encoding) -> Checked {
    // To few subscribers at once, and incrementally.
    for fan_out_at_once in [512, 0] {
        late_subscribers_begin_with_whole_ones(backend, encoding, fan_out_at_once)?;
    }
    Ok(())
}

fn late_subscribers_begin_with_whole_ones(
    backend: Backend,
    encoding: Encoding,
    fan_out_at_once: u32,
) -> Checked {
    let server = TestServer::with(backend, 3, |settings| {
        settings.fan_out_at_once = fan_out_at_once;
        settings.channels.default.delta = Delta::Fossil;
    });
    let mut publisher = Peer::connect(&server, encoding)?;
    let mut first = Subscriber::new(&server, encoding, "a")?;
    for number in 0..2 {
        publish_acknowledged(&mut publisher, "a", number)?;
        first.expect(number, number > 0)?;
    }
    // On each reactor, beside the first and without it.
    for round in 0..6 {
        let mut late = Subscriber::new(&server, encoding, "a")?;
        for (number, is_delta) in [(10 + 2 * round, false), (11 + 2 * round, true)] {
            publish_acknowledged(&mut publisher, "a", number)?;
            late.expect(number, is_delta)?;
            first.expect(number, true)?;
        }
        // It goes, and comes again.
        let unsubscribed = json!({"id": 4, "unsubscribe": {"channel": "a"}});
        assert_eq!(late.peer.ask(&unsubscribed)?, json!({}));
        publish_acknowledged(&mut publisher, "a", 50 + round)?;
        first.expect(50 + round, true)?;
        let subscribe = json!({"channel": "a", "delta": "fossil"});
        let (mut late, _) = Subscriber::of(late.peer, encoding, subscribe)?;
        publish_acknowledged(&mut publisher, "a", 60 + round)?;
        late.expect(60 + round, false)?;
        first.expect(60 + round, true)?;
    }
    Ok(())
}

fn what_a_client_missed_comes_whole(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut publisher = Peer::connect(&server, encoding)?;
    for channel in ["kept:a", "kept:b", "kept:c"] {
        let peer = Peer::connect(&server, encoding)?;
        let subscribe = json!({"channel": channel, "delta": "fossil"});
        let (mut client, begun) = Subscriber::of(peer, encoding, subscribe)?;
        assert_eq!(
            (&begun["delta"], &begun["recoverable"]),
            (&json!(true), &json!(true))
        );
        let mut stays = Subscriber::new(&server, encoding, channel)?;
        publish_acknowledged(&mut publisher, channel, 0)?;
        client.expect(0, false)?;
        stays.expect(0, false)?;
        client.peer.client.close()?;
        for number in 1..4 {
            publish_acknowledged(&mut publisher, channel, number)?;
            stays.expect(number, true)?;
        }
        let subscribe = json!({
            "channel": channel,
            "delta": "fossil",
            "recover": true,
            "offset": begun["offset"].as_u64().expect("an offset") + 1,
            "epoch": begun["epoch"],
        });
        let peer = Peer::connect(&server, encoding)?;
        let (mut client, back) = Subscriber::of(peer, encoding, subscribe)?;
        assert_eq!(
            (&back["delta"], &back["recovered"]),
            (&json!(true), &json!(true))
        );
        let missed = back["publications"].as_array().expect("a list");
        let missed = missed.iter().map(|one| client.deltas.read(encoding, one));
        let missed: Vec<_> = missed.collect();
        assert_eq!(missed, [1, 2, 3].map(|number| Ok(data(number))));
        for number in 4..6 {
            publish_acknowledged(&mut publisher, channel, number)?;
            client.expect(number, number > 4)?;
            stays.expect(number, true)?;
        }
    }
    Ok(())
}

fn a_cache_gives_a_whole_one(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut publisher = Peer::connect(&server, encoding)?;
    for number in 0..3 {
        publish_acknowledged(&mut publisher, "cache:a", number)?;
    }
    let peer = Peer::connect(&server, encoding)?;
    let subscribe = json!({"channel": "cache:a", "delta": "fossil", "recover": true});
    let (mut client, result) = Subscriber::of(peer, encoding, subscribe)?;
    assert_eq!(result["recovered"], true, "{result}");
    let last = client.deltas.read(encoding, &result["publications"][0]);
    assert_eq!(last, Ok(data(2)));
    for number in 3..5 {
        publish_acknowledged(&mut publisher, "cache:a", number)?;
        client.expect(number, number > 3)?;
    }
    Ok(())
}

/// A WAMP session publishes for a session that is not there.
fn one_that_a_publication_is_not_for_gets_the_next_whole(
    backend: Backend,
    encoding: Encoding,
) -> Checked {
    let server = start(backend);
    let mut wamp = Session::join(&server, "realm1")?;
    let mut client = Subscriber::new(&server, encoding, "delta:a")?;
    let mut publisher = Peer::connect(&server, encoding)?;
    for number in 0..3 {
        publish_acknowledged(&mut publisher, "delta:a", number)?;
        client.expect(number, number > 0)?;
    }
    let options = json!({"acknowledge": true, "eligible": [1]});
    let published = wamp.ask(&json!([16, 9, options, "delta:a", [data(9).to_string()]]))?;
    assert_eq!(published[0], 17, "{published}");
    for number in 3..5 {
        publish_acknowledged(&mut publisher, "delta:a", number)?;
        client.expect(number, number > 3)?;
    }
    // A raw message is for all, and is a string in JSON.
    let mut raw = server.open("/raw/delta:a")?;
    raw.send_text(&data(5).to_string())?;
    let text = match encoding {
        Encoding::Json => json!(data(5).to_string()),
        Encoding::Protobuf => data(5),
    };
    assert_eq!(client.next()?.0, text);
    Ok(())
}

fn without_deltas_nothing_is_other(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut publisher = Peer::connect(&server, encoding)?;
    let mut peer = Peer::connect(&server, encoding)?;
    let asked = json!({"id": 2, "subscribe": {"channel": "other", "delta": "fossil"}});
    assert_eq!(
        peer.ask(&asked)?,
        json!({}),
        "there are none in this namespace"
    );
    for number in 0..2 {
        publish_acknowledged(&mut publisher, "other", number)?;
        let push = peer.reply()?;
        assert_eq!(push["push"]["pub"]["data"], data(number));
        assert_eq!(push["push"]["pub"]["delta"], Value::Null);
    }
    let unsubscribe = json!({"id": 4, "unsubscribe": {"channel": "other"}});
    assert_eq!(peer.ask(&unsubscribe)?, json!({}));
    server.wait_for_count("subscriptions", |count| count == 0);
    let asked = json!({"id": 2, "subscribe": {"channel": "delta:a", "delta": "other"}});
    assert_eq!(peer.ask(&asked)?["code"], 107, "no such kind");
    Ok(())
}

fn one_that_has_subscribed_keeps_its_form(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut publisher = Peer::connect(&server, encoding)?;
    let mut client = Subscriber::new(&server, encoding, "delta:a")?;
    for again in [
        json!({"channel": "delta:a"}),
        json!({"channel": "delta:a", "delta": "fossil"}),
    ] {
        let refused = client.peer.ask(&json!({"id": 5, "subscribe": again}))?;
        assert_eq!(refused["code"], 105, "{refused}");
    }
    for number in 0..3 {
        publish_acknowledged(&mut publisher, "delta:a", number)?;
        client.expect(number, number > 0)?;
    }
    let unsubscribe = json!({"id": 4, "unsubscribe": {"channel": "delta:a"}});
    assert_eq!(client.peer.ask(&unsubscribe)?, json!({}));
    server.wait_for_count("subscriptions", |count| count == 0);
    Ok(())
}

fn publish_as(publisher: &mut Peer, data: &Value) -> Checked {
    publish(publisher, "delta:a", data)?;
    assert_eq!(publisher.reply()?, json!({"id": 3, "publish": {}}));
    Ok(())
}

fn a_reload_holds_for_subscriptions_begun_later(backend: Backend, encoding: Encoding) -> Checked {
    let server = start(backend);
    let mut publisher = Peer::connect(&server, encoding)?;
    let mut before = Subscriber::new(&server, encoding, "delta:a")?;
    publish_acknowledged(&mut publisher, "delta:a", 0)?;
    before.expect(0, false)?;
    let reload = |delta| {
        let mut settings = Settings::clone(&server.shared().settings());
        settings.channels.namespaces[0].1.delta = delta;
        server.reload(settings);
    };
    reload(Delta::Off);
    let mut plain = Peer::connect(&server, encoding)?;
    let subscribe = json!({"channel": "delta:a", "delta": "fossil"});
    let result = plain.ask(&json!({"id": 2, "subscribe": subscribe}))?;
    assert_eq!(result, json!({}));
    publish_acknowledged(&mut publisher, "delta:a", 1)?;
    before.expect(1, true)?;
    assert_eq!(plain.reply()?["push"]["pub"]["data"], data(1));
    reload(Delta::Fossil);
    let mut after = Subscriber::new(&server, encoding, "delta:a")?;
    publish_acknowledged(&mut publisher, "delta:a", 2)?;
    before.expect(2, true)?;
    after.expect(2, false)?;
    assert_eq!(plain.reply()?["push"]["pub"]["data"], data(2));
    Ok(())
}

/// A client that does not read for a while decodes all that it gets then.
fn a_slow_client_gets_nothing_against_what_was_dropped(
    backend: Backend,
    encoding: Encoding,
) -> Checked {
    for slow_consumer in [
        SlowConsumer::DropOldest,
        SlowConsumer::DropNewest,
        SlowConsumer::Latest,
    ] {
        let server = with_policy(backend, |policy| {
            policy.slow_consumer = slow_consumer;
            policy.outbox_bytes_max = 32 << 20;
            policy.outbox_messages_max = 5;
        });
        let options = ConnectOptions {
            receive_buffer_bytes: Some(4096),
            ..ConnectOptions::default()
        };
        let mut slow = Client::connect_with(server.address(), options)?;
        slow.shake_hands(&Request::websocket("h", encoding.target()))?;
        let mut slow = Peer::of(slow, encoding);
        slow.ask(&json!({"id": 1, "connect": {}}))?;
        let subscribe = json!({"channel": "delta:a", "delta": "fossil"});
        let (mut slow, _) = Subscriber::of(slow, encoding, subscribe)?;
        let mut publisher = Peer::connect(&server, encoding)?;
        // Half of it is other each time: the delta is half as long.
        let long = |number: u32| {
            let other = number.to_string().repeat(30_000);
            json!({"number": number, "other": other, "same": "x".repeat(100_000)})
        };
        let drops = || {
            let sums = [
                "dropped_oldest_total",
                "dropped_newest_total",
                "replaced_total",
            ];
            sums.map(|name| counted(&server, "delta", name))
                .iter()
                .sum::<u64>()
        };
        let mut number = 0;
        while drops() < 20 {
            publish_as(&mut publisher, &long(number))?;
            number += 1;
        }
        // It reads what waited, and is answered behind that; of some policies the last was dropped, and
        // what was on its way from another reactor comes later.
        slow.peer.say(&json!({"id": 9, "rpc": {}}).to_string())?;
        let mut last = None;
        loop {
            let reply = slow.peer.reply()?;
            if reply["id"] == 9 {
                break;
            }
            let data = slow.deltas.read(encoding, &reply["push"]["pub"]);
            let got = data.map_err(Failure::new)?["number"].as_u64();
            assert!(last < got, "{got:?} behind {last:?}");
            last = got;
        }
        for _ in 0..3 {
            publish_as(&mut publisher, &long(number))?;
            while last < Some(number.into()) {
                let (got, _) = slow.next()?;
                assert!(last < got["number"].as_u64(), "{got} behind {last:?}");
                last = got["number"].as_u64();
            }
            assert_eq!(last, Some(number.into()));
            number += 1;
        }
        let Deltas { deltas, whole, .. } = slow.deltas;
        assert!(deltas > 0 && whole > 1, "{deltas} deltas, {whole} whole");
    }
    Ok(())
}

/// With an incremental fan-out of a few subscribers at a time.
fn many_subscribers_that_come_and_go_have_their_base(
    backend: Backend,
    encoding: Encoding,
) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.fan_out_at_once = 2;
        settings.fan_out_piece = 3;
        settings.channels.default.delta = Delta::Fossil;
    });
    let mut publisher = Peer::connect(&server, encoding)?;
    let mut all = Vec::new();
    for number in 0..30 {
        let mut client = Subscriber::new(&server, encoding, "c")?;
        // Some are told before the next comes, some behind it.
        if number % 3 == 0 {
            all.push((client, number));
        } else {
            publish_acknowledged(&mut publisher, "c", number)?;
            client.expect(number, false)?;
            all.push((client, number + 1));
        }
        if number % 7 == 6 {
            drop(all.remove(2));
        }
    }
    publish_acknowledged(&mut publisher, "c", 100)?;
    for (client, first) in &mut all {
        let mut expected = (*first..30).filter(|number| number % 3 != 0).chain([100]);
        loop {
            let (got, is_delta) = client.next()?;
            let number = expected.next().expect("no more was published");
            assert_eq!(got, data(number));
            let is_first = client.deltas.whole + client.deltas.deltas == 1;
            assert!(!(is_first && is_delta), "the first is whole");
            if number == 100 {
                break;
            }
        }
    }
    let deltas: u64 = all.iter().map(|(client, _)| client.deltas.deltas).sum();
    assert!(deltas > 100, "{deltas} deltas");
    Ok(())
}
