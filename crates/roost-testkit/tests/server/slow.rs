//! Subscribers that read slower than is published: each policy, and what all together may hold.

use std::time::{Duration, Instant};

use roost_reactor::{ChannelPolicy, SlowConsumer, policy_for_tests};
use roost_testkit::client::{
    Address, Checked, Client, ConnectOptions, Failure, Frame, Message, Request,
};
use roost_testkit::server::{Backend, DEADLINE, TestServer};

roost_testkit::on_each_backend!(
    the_oldest_are_dropped_and_the_newest_arrive,
    the_newest_are_dropped_and_the_oldest_arrive,
    only_the_latest_arrives,
    messages_are_limited_as_well_as_bytes,
    a_namespace_that_drops_keeps_a_connection_that_another_would_close,
    incremental_fan_out_delivers_all_in_order,
    a_flood_into_a_large_channel_waits_at_its_source,
    one_that_never_reads_costs_the_many_nothing,
    one_that_reads_slowly_is_not_taken_for_dead,
    who_is_slow_can_be_seen,
    all_together_stay_within_the_budget,
    unfinished_messages_count_against_the_budget,
    a_message_that_waits_for_many_counts_once,
    a_wamp_session_is_told_what_was_dropped,
    a_slow_wamp_session_is_told_why_it_ends,
    a_namespace_takes_so_much_a_second,
    a_publisher_that_waits_can_close,
);

const BYTES: usize = 20_000;
const COUNT: u32 = 400;
/// When nothing has come for so long, nothing more comes: long enough for a busy machine.
const QUIET: Duration = Duration::from_secs(3);

fn narrow(address: Address, target: &str) -> Result<Client, Failure> {
    let receive_buffer_bytes = Some(4096);
    let options = ConnectOptions {
        receive_buffer_bytes,
        ..ConnectOptions::default()
    };
    let mut client = Client::connect_with(address, options)?;
    client.shake_hands(&Request::websocket("h", target))?;
    Ok(client)
}

/// A server where channels of the namespace `x` have this policy.
fn server_with(backend: Backend, slow_consumer: SlowConsumer, messages: u32) -> TestServer {
    TestServer::with(backend, 2, |settings| {
        settings.limits.outbox_bytes_max = 1 << 20;
        let policy = ChannelPolicy {
            slow_consumer,
            outbox_bytes_max: 10 * (BYTES + 10),
            outbox_messages_max: messages,
            ..policy_for_tests()
        };
        settings.channels.namespaces = vec![("x".to_owned(), policy)];
    })
}

fn numbered(number: u32) -> Vec<u8> {
    let mut payload = vec![7; BYTES];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

/// Publishes while `stalled` reads nothing; another subscriber receives everything.
fn publish(server: &TestServer, channel: &str) -> Checked {
    let target = format!("/raw/{channel}");
    let mut publisher = server.open(&target)?;
    let mut good = server.open(&target)?;
    for number in 0..COUNT {
        let payload = numbered(number);
        publisher.send_binary(&payload)?;
        good.expect_binary(&payload)?;
    }
    Ok(())
}

/// A ping stands behind what waits. Its time begins when that has been taken.
fn one_that_reads_slowly_is_not_taken_for_dead(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.ping_interval_ms = 300;
        settings.limits.ping_timeout_ms = 1_500;
    });
    let mut publisher = server.open("/raw/x")?;
    let mut slow = narrow(server.address(), "/raw/x")?;
    let begun = Instant::now();
    // 16 MB: more than socket buffers take, and below the outbox's limit. Meanwhile the other reads: a
    // machine that takes long for them must not make it silent.
    let published = std::thread::spawn(move || {
        let all = (0..2 * COUNT).try_for_each(|number| publisher.send_binary(&numbered(number)));
        all.and_then(|()| publisher.close())
    });
    for number in 0..2 * COUNT {
        // The next is taken 4 ms later: all together outlast the ping's interval and time by far.
        let due = begun + Duration::from_millis(4) * number;
        while let Some(rest) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(rest);
        }
        slow.expect_binary(&numbered(number))?;
    }
    published.join().expect("it does not panic")?;
    assert!(begun.elapsed() > Duration::from_millis(1_800));
    assert!(server.count("pings_sent_total") > 0, "it was silent");
    assert_eq!(server.count("ping_timeouts_total"), 0);
    Ok(())
}

/// What comes until nothing more does.
fn read_numbers(client: &mut Client) -> Result<Vec<u32>, Failure> {
    client.set_timeout(QUIET);
    let mut numbers = Vec::new();
    while let Ok(Message::Binary(payload)) = client.receive() {
        assert_eq!(payload.len(), BYTES);
        let number = payload[..4].try_into().expect("four bytes");
        numbers.push(u32::from_be_bytes(number));
    }
    Ok(numbers)
}

pub(crate) fn counted(server: &TestServer, namespace: &str, name: &str) -> u64 {
    let sum = server.registry().namespace_sum(namespace, name);
    sum.unwrap_or_else(|| panic!("no {name} of namespace {namespace:?}"))
}

fn the_oldest_are_dropped_and_the_newest_arrive(backend: Backend) -> Checked {
    let server = server_with(backend, SlowConsumer::DropOldest, 0);
    let mut stalled = narrow(server.address(), "/raw/x:1")?;
    publish(&server, "x:1")?;
    let numbers = read_numbers(&mut stalled)?;
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let newest: Vec<u32> = (COUNT - 10..COUNT).collect();
    assert!(numbers.ends_with(&newest), "{numbers:?}");
    let dropped = counted(&server, "x", "dropped_oldest_total");
    assert_eq!(dropped, u64::from(COUNT) - numbers.len() as u64);
    assert_eq!(server.count("slow_consumers_total"), 0);
    assert_eq!(counted(&server, "", "dropped_oldest_total"), 0);
    Ok(())
}

fn the_newest_are_dropped_and_the_oldest_arrive(backend: Backend) -> Checked {
    let server = server_with(backend, SlowConsumer::DropNewest, 0);
    let mut stalled = narrow(server.address(), "/raw/x:1")?;
    publish(&server, "x:1")?;
    let numbers = read_numbers(&mut stalled)?;
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    // What is held makes no room for newer ones. (Where the machine is busy the kernel takes some
    // late, and others come in behind what is held then.)
    let oldest: Vec<u32> = (0..10).collect();
    assert!(numbers.starts_with(&oldest), "{numbers:?}");
    let dropped = counted(&server, "x", "dropped_newest_total");
    assert_eq!(dropped, u64::from(COUNT) - numbers.len() as u64);
    assert!(dropped > 0);
    Ok(())
}

fn only_the_latest_arrives(backend: Backend) -> Checked {
    let server = server_with(backend, SlowConsumer::Latest, 0);
    let mut stalled = narrow(server.address(), "/raw/x:1")?;
    publish(&server, "x:1")?;
    let numbers = read_numbers(&mut stalled)?;
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&(COUNT - 1)));
    // One waits while the others come. (Which of them the kernel has taken before is its affair.)
    let before = numbers[numbers.len() - 2];
    assert!(before + 1 < COUNT - 1, "{numbers:?}");
    let replaced = counted(&server, "x", "replaced_total");
    assert_eq!(replaced, u64::from(COUNT) - numbers.len() as u64);
    Ok(())
}

fn messages_are_limited_as_well_as_bytes(backend: Backend) -> Checked {
    let server = server_with(backend, SlowConsumer::DropOldest, 3);
    let mut stalled = narrow(server.address(), "/raw/x:1")?;
    publish(&server, "x:1")?;
    let numbers = read_numbers(&mut stalled)?;
    // The last gap: where the machine is busy the kernel takes some late, and there are others.
    let gap = numbers.windows(2).rposition(|pair| pair[1] != pair[0] + 1);
    let gap = gap.expect("something was dropped");
    assert_eq!(numbers[gap + 1..], [COUNT - 3, COUNT - 2, COUNT - 1]);
    Ok(())
}

/// A WAMP session subscribes in two namespaces: what waits from the one that drops makes room.
fn a_namespace_that_drops_keeps_a_connection_that_another_would_close(backend: Backend) -> Checked {
    let server = server_with(backend, SlowConsumer::DropOldest, 0);
    let stalled = narrow_session(&server, &["x:1", "y:1"])?;
    // Beyond this the namespace of y is closed, x is not.
    publish(&server, "x:1")?;
    assert!(counted(&server, "x", "dropped_oldest_total") > 0);
    assert_eq!(server.count("slow_consumers_total"), 0);
    publish(&server, "y:1")?;
    server.wait_for_count("slow_consumers_total", |count| count == 1);
    drop(stalled);
    Ok(())
}

/// A WAMP session with a small receive buffer, subscribed to these topics.
fn narrow_session(server: &TestServer, topics: &[&str]) -> Result<Client, Failure> {
    let options = ConnectOptions {
        receive_buffer_bytes: Some(4096),
        ..ConnectOptions::default()
    };
    let mut session = Client::connect_with(server.address(), options)?;
    let request = Request::websocket("h", "/");
    session.shake_hands(&request.header("Sec-WebSocket-Protocol: wamp.2.json"))?;
    session.send_text(r#"[1,"realm1",{"roles":{"subscriber":{}}}]"#)?;
    session.receive()?;
    for topic in topics {
        session.send_text(&format!(r#"[32,1,{{}},"{topic}"]"#))?;
        session.receive()?;
    }
    Ok(session)
}

/// Behind the events that were not dropped, one says how many were.
fn a_wamp_session_is_told_what_was_dropped(backend: Backend) -> Checked {
    for policy in [SlowConsumer::DropOldest, SlowConsumer::DropNewest] {
        let server = server_with(backend, policy, 0);
        let mut stalled = narrow_session(&server, &["x:1", "roost.session.dropped"])?;
        let mut unaware = narrow_session(&server, &["x:1"])?;
        publish(&server, "x:1")?;
        for (session, is_subscribed) in [(&mut stalled, true), (&mut unaware, false)] {
            session.set_timeout(QUIET);
            let (mut events, mut dropped) = (0, Vec::new());
            while let Ok(Message::Text(text)) = session.receive() {
                match text.strip_prefix("[36,1125899906842624,") {
                    None => events += 1,
                    Some(rest) => {
                        let count = rest.rsplit_once(",{},[").and_then(|(_, count)| {
                            count.strip_suffix("]]").and_then(|n| n.parse::<u32>().ok())
                        });
                        dropped.push(count.unwrap_or_else(|| panic!("no number: {text}")));
                    }
                }
            }
            assert!(events < COUNT, "nothing was dropped");
            assert_eq!(!dropped.is_empty(), is_subscribed, "{policy:?}");
            if is_subscribed {
                assert_eq!(dropped.iter().sum::<u32>(), COUNT - events, "{policy:?}");
            }
        }
    }
    Ok(())
}

/// A WAMP session that is closed for being slow gets GOODBYE first.
fn a_slow_wamp_session_is_told_why_it_ends(backend: Backend) -> Checked {
    let server = server_with(backend, SlowConsumer::Close, 0);
    let mut stalled = narrow_session(&server, &["x:1"])?;
    publish(&server, "x:1")?;
    server.wait_for_count("slow_consumers_total", |count| count == 1);
    let mut last = String::new();
    loop {
        match stalled.receive()? {
            Message::Text(text) => last = text,
            Message::Close(code, reason) => {
                assert_eq!(code, Some(1013));
                assert_eq!(reason, "slow consumer: outbox full");
                break;
            }
            other => panic!("received {other:?}"),
        }
    }
    let goodbye = r#"[6,{"message":"slow consumer: outbox full"},"roost.close.slow_consumer"]"#;
    assert_eq!(last, goodbye);
    Ok(())
}

/// Beyond what may be published in a second publishers wait, and lose nothing; others do not.
fn a_namespace_takes_so_much_a_second(backend: Backend) -> Checked {
    const PER_SECOND: u32 = 100;
    const MESSAGES: u32 = 200;
    for per_byte in [false, true] {
        let server = TestServer::with(backend, 2, |settings| {
            let mut policy = policy_for_tests();
            match per_byte {
                false => policy.publish_messages_per_second_max = PER_SECOND,
                true => policy.publish_bytes_per_second_max = u64::from(PER_SECOND) * 4,
            }
            settings.channels.namespaces = vec![("few".to_owned(), policy)];
        });
        let mut subscriber = server.open("/raw/few:1")?;
        let mut publishers = [server.open("/raw/few:1")?, server.open("/raw/few:1")?];
        let mut other = [server.open("/raw/many:1")?, server.open("/raw/many:1")?];
        let begun = Instant::now();
        for publisher in &mut publishers {
            let all: Vec<u8> = (0..MESSAGES / 2)
                .flat_map(|number| Frame::binary(number.to_be_bytes()).bytes())
                .collect();
            publisher.send(&all)?;
        }
        for number in 0..1_000u32 {
            other[0].send_binary(&number.to_be_bytes())?;
            other[1].expect_binary(&number.to_be_bytes())?;
        }
        let mut next = [0u32; 2];
        for _ in 0..MESSAGES {
            let Message::Binary(number) = subscriber.receive()? else {
                panic!("expected a number");
            };
            let number = u32::from_be_bytes(number[..].try_into().expect("four bytes"));
            let from = next.iter().position(|&next| next == number);
            next[from.expect("in each publisher's order")] += 1;
        }
        // What may come at once is 0.4 s' worth, and time is counted in tenths.
        let least_s = f64::from(MESSAGES) / f64::from(PER_SECOND) - 0.6;
        let seconds = begun.elapsed().as_secs_f64();
        assert!(seconds >= least_s, "{MESSAGES} messages in {seconds} s");
        assert!(counted(&server, "few", "publish_rate_limited_total") > 0);
        assert_eq!(counted(&server, "", "publish_rate_limited_total"), 0);
        // And they are read again.
        for publisher in &mut publishers {
            publisher.send_text("after")?;
            subscriber.expect_text("after")?;
        }
    }
    Ok(())
}

/// A client that closes while its messages wait gets them first, and an orderly close.
fn a_publisher_that_waits_can_close(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        let mut policy = policy_for_tests();
        policy.publish_messages_per_second_max = 50;
        settings.channels.namespaces = vec![("few".to_owned(), policy)];
    });
    let mut subscriber = server.open("/raw/few:1")?;
    let mut publisher = server.open("/raw/few:1")?;
    let mut all: Vec<u8> = (0..60u32)
        .flat_map(|number| Frame::binary(number.to_be_bytes()).bytes())
        .collect();
    all.extend(Frame::close(1000, b"").bytes());
    publisher.send(&all)?;
    for number in 0..60u32 {
        subscriber.expect_binary(&number.to_be_bytes())?;
    }
    publisher.expect_close(1000)?;
    Ok(())
}

/// More subscribers than a piece of a fan-out has, and several publishers at once.
fn incremental_fan_out_delivers_all_in_order(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.fan_out_piece = 3;
        settings.fan_out_at_once = 3;
    });
    let mut subscribers = (0..40)
        .map(|_| server.open("/raw/many"))
        .collect::<Result<Vec<_>, _>>()?;
    let mut publishers = (0..3)
        .map(|_| server.open("/raw/many"))
        .collect::<Result<Vec<_>, _>>()?;
    for number in 0..50 {
        for (from, publisher) in publishers.iter_mut().enumerate() {
            publisher.send_text(&format!("{from} {number}"))?;
        }
    }
    let mut first: Option<Vec<String>> = None;
    for subscriber in &mut subscribers {
        let mut received = Vec::new();
        let mut next = [0; 3];
        for _ in 0..150 {
            let Message::Text(text) = subscriber.receive()? else {
                panic!("expected text");
            };
            let (from, number) = text.split_once(' ').expect("two numbers");
            let from: usize = from.parse().expect("a number");
            assert_eq!(number, next[from].to_string(), "of publisher {from}");
            next[from] += 1;
            received.push(text);
        }
        // All receive the channel's one order.
        assert_eq!(first.get_or_insert_with(|| received.clone()), &received);
    }
    Ok(())
}

/// What is published faster than a round lasts is not piled up: its publisher is not read.
fn a_flood_into_a_large_channel_waits_at_its_source(backend: Backend) -> Checked {
    const MESSAGES: u32 = 3_000;
    let server = TestServer::with(backend, 1, |settings| {
        settings.fan_out_piece = 1;
        settings.fan_out_at_once = 1;
    });
    let mut subscribers = (0..20)
        .map(|_| server.open("/raw/many"))
        .collect::<Result<Vec<_>, _>>()?;
    let mut publisher = server.open("/raw/many")?;
    let flood: Vec<u8> = (0..MESSAGES)
        .flat_map(|number| Frame::binary(number.to_be_bytes()).bytes())
        .collect();
    publisher.send(&flood)?;
    for number in 0..MESSAGES {
        for subscriber in &mut subscribers {
            subscriber.expect_binary(&number.to_be_bytes())?;
        }
    }
    assert!(server.count("publishers_paused_total") > 0);
    // And it is read again.
    publisher.send_text("after")?;
    subscribers[0].expect_text("after")?;
    Ok(())
}

fn one_that_never_reads_costs_the_many_nothing(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.fan_out_piece = 3;
        settings.fan_out_at_once = 3;
        settings.limits.outbox_bytes_max = 1 << 20;
    });
    let stalled = narrow(server.address(), "/raw/x")?;
    let mut others = (0..10)
        .map(|_| server.open("/raw/x"))
        .collect::<Result<Vec<_>, _>>()?;
    let mut publisher = server.open("/raw/x")?;
    for number in 0..COUNT {
        let payload = numbered(number);
        publisher.send_binary(&payload)?;
        for other in &mut others {
            other.expect_binary(&payload)?;
        }
    }
    server.wait_for_count("slow_consumers_total", |count| count == 1);
    drop(stalled);
    Ok(())
}

fn who_is_slow_can_be_seen(backend: Backend) -> Checked {
    let server = server_with(backend, SlowConsumer::DropOldest, 0);
    let stalled = narrow(server.address(), "/raw/x:1")?;
    publish(&server, "x:1")?;
    let list = || server.shared().slow_to_json();
    let begun = Instant::now();
    let full = |text: &str| text.contains("\"outbox_messages\":10,");
    while !full(&list()) {
        assert!(begun.elapsed() < DEADLINE, "{}", list());
    }
    let text = list();
    assert!(text.contains("\"dialect\":\"raw\""), "{text}");
    assert!(
        text.contains(&format!("\"outbox_bytes\":{},", 10 * (BYTES + 4))),
        "{text}"
    );
    drop(stalled);
    while list() != "[\n]\n" {
        assert!(begun.elapsed() < DEADLINE, "{}", list());
    }
    Ok(())
}

fn all_together_stay_within_the_budget(backend: Backend) -> Checked {
    const BUDGET: u64 = 8 << 20;
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.outbox_bytes_max = 4 << 20;
        settings.limits.buffered_bytes_max = BUDGET;
    });
    // A channel each: what waits for one waits for no other.
    let channels: Vec<String> = (0..20).map(|n| format!("/raw/{n}")).collect();
    let stalled = (channels
        .iter()
        .map(|channel| narrow(server.address(), channel)))
    .collect::<Result<Vec<_>, _>>()?;
    let mut good = server.open("/raw/0")?;
    let mut publishers =
        (channels.iter().map(|channel| server.open(channel))).collect::<Result<Vec<_>, _>>()?;
    let mut most = 0;
    for number in 0..COUNT {
        let payload = numbered(number);
        for publisher in publishers.iter_mut().rev() {
            publisher.send_binary(&payload)?;
        }
        good.expect_binary(&payload)?;
        most = most.max(server.count("outbox_bytes") + server.count("in_flight_bytes"));
    }
    assert!(most > BUDGET / 2 && most <= BUDGET, "{most} bytes held");
    assert!(server.count("closed_memory_limit_total") > 0);
    drop(stalled);
    server.wait_for_count("outbox_bytes", |bytes| bytes == 0);
    server.wait_for_count("in_flight_bytes", |bytes| bytes == 0);
    Ok(())
}

/// A few messages to many clients that read late: little is in memory, whatever the counters say.
fn a_message_that_waits_for_many_counts_once(backend: Backend) -> Checked {
    const BUDGET: u64 = 8 << 20;
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.buffered_bytes_max = BUDGET;
        // The last client answers nothing until all before it have been read, which takes longer on
        // a busy machine than a ping may wait.
        settings.limits.ping_interval_ms = 0;
    });
    let mut many = (0..100)
        .map(|_| narrow(server.address(), "/raw/x"))
        .collect::<Result<Vec<_>, _>>()?;
    let mut publisher = server.open("/raw/x")?;
    let payload = vec![3; 1 << 20];
    for _ in 0..4 {
        publisher.send_binary(&payload)?;
    }
    // By the accounting, hundreds of megabytes wait for all together.
    let accounted = || server.count("outbox_bytes") + server.count("in_flight_bytes");
    let begun = Instant::now();
    while accounted() < 4 * BUDGET {
        assert!(begun.elapsed() < DEADLINE, "{} bytes wait", accounted());
    }
    for client in &mut many {
        for _ in 0..4 {
            client.expect_binary(&payload)?;
        }
    }
    assert_eq!(server.count("closed_memory_limit_total"), 0);
    assert_eq!(server.count("slow_consumers_total"), 0);
    Ok(())
}

fn unfinished_messages_count_against_the_budget(backend: Backend) -> Checked {
    // At seven eighths connections are closed, at the end of a loop iteration; in one, each reactor's
    // buffers may grow by half a message. There is room for that between the two.
    const BUDGET: u64 = 16 << 20;
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.buffered_bytes_max = BUDGET;
    });
    let mut small = server.open("/echo")?;
    // A header that declares 1 MiB, a mask of zeros, and nearly all of it.
    let mut frame = vec![0x82, 0xff];
    frame.extend_from_slice(&(1u64 << 20).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.resize(900_000, b'x');
    let mut echo_clients = Vec::new();
    let begun = Instant::now();
    let mut most = 0;
    while server.count("closed_memory_limit_total") == 0 {
        assert!(begun.elapsed() < DEADLINE, "{most} bytes held");
        let mut echo_client = server.open("/echo")?;
        echo_client.push(&frame, Duration::from_millis(200));
        echo_clients.push(echo_client);
        most = most.max(server.count("input_buffered_bytes"));
    }
    assert!(most <= BUDGET, "{most} bytes held");
    // The others are served on, also with a message of some size.
    small.send_binary(&[1; 100_000])?;
    small.expect_binary(&[1; 100_000])?;
    let closed = echo_clients.iter_mut().any(|echo_client| {
        echo_client.set_timeout(Duration::from_millis(50));
        echo_client.expect_close(1013).is_ok()
    });
    assert!(closed, "one of them receives the reason");
    Ok(())
}
