//! Settings that change while clients are served: none is dropped, and nothing is lost.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use roost_net::ListenAddr;
use roost_net::unix_socket::UnixOptions;
use roost_reactor::{ChannelPolicy, Listener, OpenedListener, Origins, Settings};
use roost_testkit::client::{Checked, Client, Failure, Request};
use roost_testkit::server::{Backend, TestServer, wait_until};

roost_testkit::on_each_backend!(
    a_hundred_reloads_lose_nothing,
    a_reload_need_not_wait_for_the_one_before,
    what_a_namespace_has_counted_goes_on_over_a_reload,
    listeners_come_and_go_and_their_connections_stay,
    a_publisher_that_waits_for_a_rate_goes_on_when_it_is_lifted,
    a_limit_that_is_lower_holds_for_connections_that_are_there,
);

/// The settings with one thing changed.
fn reload(server: &TestServer, change: impl FnOnce(&mut Settings)) {
    let mut settings = Settings::clone(&server.shared().settings());
    change(&mut settings);
    server.reload(settings);
}

/// Every subscriber gets every message, in order, while all that can change does; channels, namespaces
/// and connections come and go meanwhile.
fn a_hundred_reloads_lose_nothing(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 3, |settings| {
        let named = ("chat".to_owned(), ChannelPolicy::default());
        settings.channels.namespaces.push(named);
    });
    // One channel of the namespace that is there, some whose namespaces come with reloads.
    let names: Vec<String> = (0..8)
        .map(|n| match n {
            0 => "chat:a".to_owned(),
            n => format!("late{}:a", n * 12),
        })
        .collect();
    let open = |name: &String| {
        let opened = server.open(&format!("/raw/{name}"));
        opened.unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let mut publishers: Vec<Client> = names.iter().map(open).collect();
    let mut subscribers: Vec<Client> = names
        .iter()
        .flat_map(|name| [open(name), open(name)])
        .collect();
    for round in 0..100_u32 {
        for publisher in &mut publishers {
            publisher.send_text(&format!("before {round}"))?;
        }
        reload(&server, |settings| {
            let name = format!("late{round}");
            let policy = ChannelPolicy {
                outbox_messages_max: 1_000 + round,
                ..ChannelPolicy::default()
            };
            settings.channels.namespaces.push((name, policy));
            settings.channels.default.outbox_messages_max = 1_000 + round;
            settings.limits.message_bytes_max = 1024 + round as usize;
            settings.limits.patterns_max = 1_000 + round;
            settings.limits.buffered_bytes_max = (1 << 30) + u64::from(round);
            settings.listeners[0].origins = match round % 2 {
                0 => Origins::Listed(vec!["https://a.example".to_owned()]),
                _ => Origins::Any,
            };
        });
        for publisher in &mut publishers {
            publisher.send_text(&format!("after {round}"))?;
        }
        let expected = if round % 2 == 0 { 403 } else { 101 };
        let request = Request::websocket("h", "/echo").header("Origin: https://b.example");
        let mut client = Client::connect(server.address())?;
        client.send(&request.bytes())?;
        assert_eq!(client.read_response()?.status, expected, "round {round}");
    }
    for (at, subscriber) in subscribers.iter_mut().enumerate() {
        for round in 0..100 {
            for word in ["before", "after"] {
                let got = subscriber.expect_text(&format!("{word} {round}"));
                got.unwrap_or_else(|error| panic!("subscriber {at}: {error}"));
            }
        }
    }
    let registry = server.registry();
    assert_eq!(registry.sum("slow_consumers_total"), Some(0));
    assert_eq!(registry.sum("protocol_errors_total"), Some(0));
    assert_eq!(registry.namespace_names().len(), 102);
    server.wait_for_count("websockets_open", |open| open == 24);
    Ok(())
}

/// A reactor that takes one reload while the next is given has counters for all namespaces that it knows of.
fn a_reload_need_not_wait_for_the_one_before(backend: Backend) -> Checked {
    let server = TestServer::with(backend, REACTORS, |_| {});
    let mut publisher = server.open("/raw/late599:a")?;
    let mut subscriber = server.open("/raw/late599:a")?;
    let begin = server.registry().namespace_names().len();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 * REACTORS {
            // So that no reactor sleeps.
            let (address, is_over) = (server.address(), &is_over);
            scope.spawn(move || -> Result<(), Failure> {
                let mut client = Client::open(address, "/echo")?;
                while !is_over.load(Ordering::Relaxed) {
                    client.send_text("awake")?;
                    client.expect_text("awake")?;
                }
                Ok(())
            });
        }
        for round in 0..600 {
            let mut settings = Settings::clone(&server.shared().settings());
            let named = (format!("late{round}"), ChannelPolicy::default());
            settings.channels.namespaces.push(named);
            server.shared().reload(settings, Vec::new());
        }
        is_over.store(true, Ordering::Relaxed);
    });
    reload(&server, |_| {});
    publisher.send_text("last")?;
    subscriber.expect_text("last")?;
    assert_eq!(server.registry().namespace_names().len(), begin + 600);
    Ok(())
}

fn what_a_namespace_has_counted_goes_on_over_a_reload(backend: Backend) -> Checked {
    let slow = |name: &str| {
        let policy = ChannelPolicy {
            publish_messages_per_second_max: 10,
            ..ChannelPolicy::default()
        };
        (name.to_owned(), policy)
    };
    let server = TestServer::with(backend, REACTORS, |settings| {
        settings.channels.namespaces = vec![slow("chat")];
    });
    let limited = |number: usize| {
        let registry = server.registry();
        let all = (0..REACTORS).map(|at| registry.namespaces(at));
        all.map(|one| one[number].publish_rate_limited_total.get())
            .sum::<u64>()
    };
    let mut chat = server.open("/raw/chat:a")?;
    let mut late = server.open("/raw/late:a")?;
    let flood = |client: &mut Client| -> Checked {
        for _ in 0..20 {
            client.send_text("x")?;
        }
        Ok(())
    };
    flood(&mut chat)?;
    flood(&mut late)?;
    wait_until(|| limited(1) > 2, || format!("{} of chat", limited(1)));
    let before = limited(1);
    reload(&server, |settings| {
        settings.channels.namespaces.push(slow("late"));
    });
    assert!(limited(1) >= before, "{} after {before}", limited(1));
    // A channel that was there before is of the new namespace from now on.
    flood(&mut late)?;
    wait_until(|| limited(2) > 2, || format!("{} of late", limited(2)));
    assert_eq!(limited(0), 0);
    Ok(())
}

/// The settings with another listener, and its sockets.
fn with_listener(server: &TestServer, address: ListenAddr) -> (Settings, OpenedListener) {
    let mut settings = Settings::clone(&server.shared().settings());
    let number = u8::try_from(settings.listeners.len()).expect("few");
    settings.listeners.push(Listener {
        address,
        ..Listener::for_tests()
    });
    let opened = OpenedListener::open(&settings, number, REACTORS, false);
    (settings, opened.expect("it is free"))
}

const REACTORS: usize = 3;

/// A TCP port and a unix socket come with each reload and go with the next; a channel is the same on
/// all.
fn listeners_come_and_go_and_their_connections_stay(backend: Backend) -> Checked {
    let server = TestServer::with(backend, REACTORS, |_| {});
    let mut publisher = server.open("/raw/a")?;
    let mut subscribers = vec![server.open("/raw/a")?];
    for round in 0..10 {
        let is_unix = round % 2 == 1;
        let path = std::env::temp_dir().join(format!(
            "roost-{}-{}-{round}.sock",
            backend.name().replace(' ', "-"),
            std::process::id()
        ));
        let address = match is_unix {
            false => SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            true => ListenAddr::unix(UnixOptions {
                path: path.clone(),
                mode: 0o600,
                group: None,
            }),
        };
        let (settings, opened) = with_listener(&server, address);
        let number = usize::from(opened.number);
        let address = opened.address();
        let connect = || match address.tcp() {
            Some(address) => Client::connect(address),
            None => Client::connect_unix(&path),
        };
        // One that is early waits until the reactors have it.
        let mut early = connect()?;
        server.reload_with(settings, vec![opened]);
        early.shake_hands(&Request::websocket("h", "/raw/a"))?;
        subscribers.push(early);
        for _ in 0..2 * REACTORS {
            let mut client = connect()?;
            client.shake_hands(&Request::websocket("h", "/raw/a"))?;
            subscribers.push(client);
        }
        reload(&server, |settings| {
            settings.listeners[number].is_open = false;
        });
        // io_uring closes a listener when the kernel has let go of its accepts.
        wait_until(
            || connect().is_err(),
            || format!("{round}: it still listens"),
        );
        assert!(!path.exists(), "the socket's file is left");
        publisher.send_text(&format!("{round}"))?;
        // Who comes later subscribes behind it only once the channel's home has it.
        subscribers[0].expect_text(&format!("{round}"))?;
    }
    for (at, subscriber) in subscribers.iter_mut().enumerate().skip(1) {
        let first = (at - 1) / (1 + 2 * REACTORS);
        for round in first..10 {
            subscriber.expect_text(&format!("{round}"))?;
        }
    }
    assert_eq!(server.count("abnormal_closes_total"), 0);
    let shared = server.shared();
    assert_eq!(shared.connections_by_listener(3), 1 + 2 * REACTORS as u32);
    drop(subscribers);
    wait_until(
        || (1..11).all(|number| shared.connections_by_listener(number) == 0),
        || "a listener is still used".to_owned(),
    );
    Ok(())
}

/// One message uses up the rate for a thousand years.
fn a_publisher_that_waits_for_a_rate_goes_on_when_it_is_lifted(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.channels.default.publish_bytes_per_second_max = 1;
    });
    let mut subscriber = server.open("/raw/a")?;
    let mut publisher = server.open("/raw/a")?;
    for n in 0..4 {
        publisher.send_text(&format!("{n}{}", " ".repeat(1_000)))?;
    }
    subscriber.expect_text(&format!("0{}", " ".repeat(1_000)))?;
    server.wait_for_count("publishers_paused_total", |paused| paused >= 1);
    reload(&server, |settings| {
        settings.channels.default.publish_bytes_per_second_max = 0;
    });
    for n in 1..4 {
        let text = format!("{n}{}", " ".repeat(1_000));
        subscriber.expect_text(&text)?;
    }
    // What was counted is counted on.
    let limited = server
        .registry()
        .namespace_sum("", "publish_rate_limited_total");
    assert!(limited >= Some(1), "{limited:?}");
    Ok(())
}

fn a_limit_that_is_lower_holds_for_connections_that_are_there(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut client = server.open("/echo")?;
    let long = "x".repeat(2_000);
    client.send_text(&long)?;
    client.expect_text(&long)?;
    reload(&server, |settings| {
        settings.limits.message_bytes_max = 1_000;
        settings.limits.frame_bytes_max = 1_000;
    });
    let mut fresh = server.open("/echo")?;
    for client in [&mut client, &mut fresh] {
        client.send_text(&long[..1_000])?;
        client.expect_text(&long[..1_000])?;
        client.send_text(&long)?;
        client.expect_close(1009)?;
    }
    Ok(())
}
