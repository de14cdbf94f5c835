//! Planted causes, each with the verdict that must be found for it, over real sockets.

use std::thread;
use std::time::{Duration, Instant};

use roost_reactor::{
    ChannelPolicy, Forwarded, ForwardedHeader, Publish, Settings, SlowConsumer, policy_for_tests,
};
use roost_testkit::client::{Client, ConnectOptions, Failure, Frame, Request};
use roost_testkit::server::{Backend, DEADLINE};
use serde_json::Value;

use crate::harness::Daemon;

/// A daemon with a connection that something is wrong with.
struct Planted {
    /// What must go on meanwhile. Ended first: a server that drains waits for them.
    _clients: Vec<Client>,
    daemon: Daemon,
    key: String,
    /// The channel that is asked about.
    channel: Option<&'static str>,
}

/// The cause, what plants it, and words that the verdict must have.
type Case = (
    &'static str,
    fn(Backend) -> Result<Planted, Failure>,
    &'static str,
);

const CASES: [Case; 16] = [
    (
        "receive_window_shut",
        receive_window,
        "receive window is shut",
    ),
    ("publisher_paused", paused_publisher, "It is not read: "),
    ("rate_limited", rate, "as fast as it may be"),
    (
        "client_rate_limited",
        own_rate,
        "limits.client_messages_per_second_max",
    ),
    (
        "dropped_by_policy",
        dropped,
        "slow_consumer = \"drop_oldest\" of namespace x",
    ),
    ("no_permission", no_permission, "publish = \"nobody\""),
    (
        "wrong_channel",
        wrong_channel,
        "it is subscribed to \"news\"",
    ),
    (
        "nothing_published",
        nothing_published,
        "nothing was published",
    ),
    ("deflate_declined", deflate, "permessage-deflate"),
    ("proxy_cut", proxy_cut, "proxy, load balancer or NAT"),
    (
        "proxy_cut",
        forwarding_proxy_cut,
        "proxy, load balancer or NAT",
    ),
    ("client_gone", client_gone, "without a close frame"),
    ("ping_late", ping_late, "ping is unanswered"),
    ("draining", draining, "going down"),
    ("disconnected", kicked, "move on"),
    ("healthy", healthy, "Nothing is wrong"),
];

#[test]
fn each_planted_cause_has_its_verdict() {
    for backend in [Backend::Epoll, Backend::Uring] {
        for (cause, plant, words) in CASES {
            let planted = plant(backend);
            let planted = planted.unwrap_or_else(|error| panic!("{cause}: {error}"));
            let why = planted.wait_for(cause);
            let what = why["verdicts"][0]["what"].as_str().expect("words");
            assert!(what.contains(words), "{cause}: {what}");
            let screen = planted.wait_for_screen(cause);
            let mut lines = screen.lines();
            let first = lines.next().unwrap_or_default();
            assert!(first.starts_with(&planted.key), "{cause}: {screen}");
            assert!(first.contains(words), "{cause}: {screen}");
            let second = lines.next().unwrap_or_default();
            assert!(second.starts_with("    to do: "), "{cause}: {screen}");
        }
    }
}

#[test]
fn the_kernel_is_asked_about_every_kind_of_descriptor() {
    for backend in Backend::ALL {
        let planted = healthy(backend).expect("it opens");
        let why = planted.wait_for("healthy");
        let name = backend.name();
        assert!(
            why["tcp"]["rto_us"].as_u64() >= Some(1_000),
            "{name}: {why}"
        );
        assert!(
            why["tcp"]["received_bytes"].as_u64() > Some(0),
            "{name}: {why}"
        );
        let transport = why["transport"].as_str();
        let expected = if backend.has_tls() { "tls" } else { "plain" };
        assert_eq!(transport, Some(expected), "{name}");
        // The descriptor that was made for it is closed again: the client is not held open.
        let Planted {
            daemon, _clients, ..
        } = planted;
        drop(_clients);
        daemon
            .server
            .wait_for_count("connections_open", |open| open == 0);
    }
}

#[test]
fn one_that_was_never_there_is_said_to_be_gone() {
    let daemon = Daemon::start();
    let why = &daemon.json(&["why", "r0-5.7"])[0];
    assert_eq!(why["is_there"], false);
    assert_eq!(why["verdicts"][0]["cause"], "gone");
    let ran = daemon.ctl(&["why", "news"]);
    assert!(!ran.ok && ran.err.contains("r0-17.4"), "{ran:?}");
}

impl Planted {
    fn of(daemon: Daemon, key: String, clients: Vec<Client>) -> Result<Planted, Failure> {
        Ok(Planted {
            daemon,
            key,
            channel: None,
            _clients: clients,
        })
    }

    /// The screen once the first verdict is this cause: some come and go.
    fn wait_for_screen(&self, cause: &str) -> String {
        let until = Instant::now() + DEADLINE;
        let arguments = [&["why", &self.key][..], self.channel.as_slice()].concat();
        loop {
            let screen = self.daemon.ctl(&arguments);
            assert!(screen.ok, "{cause}: {screen:?}");
            let first = screen.out.lines().next().unwrap_or_default();
            if first.ends_with(&format!(" ({cause})")) {
                return screen.out;
            }
            assert!(Instant::now() < until, "{cause} is not found: {screen:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What is said once the first verdict is this cause.
    fn wait_for(&self, cause: &str) -> Value {
        let until = Instant::now() + DEADLINE;
        let arguments = [&["why", &self.key][..], self.channel.as_slice()].concat();
        loop {
            let mut said = self.daemon.json(&arguments);
            let why = said.pop().expect("an object");
            if why["verdicts"][0]["cause"] == cause {
                return why;
            }
            assert!(Instant::now() < until, "{cause} is not found: {why:#}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A subscriber with a small window that never reads.
fn narrow(daemon: &Daemon, channel: &str) -> Result<Client, Failure> {
    let options = ConnectOptions {
        receive_buffer_bytes: Some(4096),
        ..ConnectOptions::default()
    };
    let mut client = Client::connect_with(daemon.server.address(), options)?;
    client.shake_hands(&Request::websocket("h", &format!("/raw/{channel}")))?;
    Ok(client)
}

/// Publishes 8 MB, more than a socket holds; another subscriber receives all of it.
fn publish_much(daemon: &Daemon, channel: &str) -> Result<Client, Failure> {
    let mut publisher = daemon.raw(channel);
    let mut good = daemon.raw(channel);
    let text = "x".repeat(20_000);
    for _ in 0..400 {
        publisher.send_text(&text)?;
        good.expect_text(&text)?;
    }
    Ok(publisher)
}

fn namespace(settings: &mut Settings, policy: ChannelPolicy) {
    settings.channels.namespaces = vec![("x".to_owned(), policy)];
}

fn receive_window(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |_| {});
    let client = narrow(&daemon, "c")?;
    let key = daemon.key_of("c");
    let publisher = publish_much(&daemon, "c")?;
    Planted::of(daemon, key, vec![client, publisher])
}

fn paused_publisher(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |settings| {
        settings.fan_out_piece = 1;
        settings.fan_out_at_once = 1;
    });
    let mut clients: Vec<Client> = (0..20).map(|_| daemon.raw("many")).collect();
    let taken: Vec<Value> = daemon.json(&["conns", "--all"]);
    let mut publisher = daemon.raw("many");
    let all = daemon.json(&["conns", "--all"]);
    let own = all.iter().find(|one| !taken.contains_key(one));
    let key = name_of(own.expect("one more"));
    let flood: Vec<u8> = (0..200_000_u32)
        .flat_map(|number| Frame::binary(number.to_be_bytes()).bytes())
        .collect();
    publisher.push(&flood, Duration::from_millis(100));
    clients.push(publisher);
    Planted::of(daemon, key, clients)
}

/// Whether a list has the connection of a record.
trait ContainsKey {
    fn contains_key(&self, record: &Value) -> bool;
}

impl ContainsKey for Vec<Value> {
    fn contains_key(&self, record: &Value) -> bool {
        self.iter()
            .any(|one| one["connection"] == record["connection"])
    }
}

fn name_of(record: &Value) -> String {
    record["connection"].as_str().expect("a name").to_owned()
}

fn rate(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |settings| {
        let policy = ChannelPolicy {
            publish_messages_per_second_max: 1,
            ..policy_for_tests()
        };
        namespace(settings, policy);
    });
    let mut publisher = daemon.raw("x:a");
    let key = daemon.key_of("x:a");
    for _ in 0..100 {
        publisher.send_text("too often")?;
    }
    Planted::of(daemon, key, vec![publisher])
}

fn own_rate(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |settings| {
        settings.limits.client_messages_per_second_max = 1;
        settings.limits.client_burst_ms = 100;
    });
    let mut client = daemon.raw("a");
    let key = daemon.key_of("a");
    for _ in 0..100 {
        client.send_text("too often")?;
    }
    Planted::of(daemon, key, vec![client])
}

fn dropped(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |settings| {
        let policy = ChannelPolicy {
            slow_consumer: SlowConsumer::DropOldest,
            outbox_messages_max: 10,
            ..policy_for_tests()
        };
        namespace(settings, policy);
    });
    let client = narrow(&daemon, "x:a")?;
    let key = daemon.key_of("x:a");
    let publisher = publish_much(&daemon, "x:a")?;
    Planted::of(daemon, key, vec![client, publisher])
}

fn no_permission(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |settings| {
        let policy = ChannelPolicy {
            publish: Publish::Nobody,
            ..policy_for_tests()
        };
        namespace(settings, policy);
    });
    let mut client = daemon.raw("x:a");
    let key = daemon.key_of("x:a");
    client.send_text("may I?")?;
    Planted::of(daemon, key, vec![client])
}

fn wrong_channel(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |_| {});
    let client = daemon.raw("news");
    let key = daemon.key_of("news");
    Ok(Planted {
        channel: Some("News"),
        ..Planted::of(daemon, key, vec![client])?
    })
}

fn nothing_published(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |_| {});
    let client = daemon.raw("news");
    let key = daemon.key_of("news");
    Ok(Planted {
        channel: Some("news"),
        ..Planted::of(daemon, key, vec![client])?
    })
}

fn deflate(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |settings| settings.deflate.enabled = true);
    let offer = "permessage-deflate; server_max_window_bits=99";
    let client = Client::open_deflating(daemon.server.address(), "/echo", offer)?;
    let all = daemon.json(&["conns"]);
    let key = name_of(&all[0]);
    Planted::of(daemon, key, vec![client])
}

fn proxy_cut(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |settings| {
        settings.listeners[0].proxies = Some(vec!["127.0.0.0/8".parse().expect("a network")]);
    });
    let mut client = Client::connect(daemon.server.address())?;
    client.send_before_tls(b"PROXY TCP4 192.0.2.1 192.0.2.200 5000 443\r\n")?;
    client.shake_hands(&Request::websocket("h", "/raw/c"))?;
    let key = daemon.key_of("c");
    drop(client);
    Planted::of(daemon, key, Vec::new())
}

/// An HTTP proxy, which names its clients.
fn forwarding_proxy_cut(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |settings| {
        settings.listeners[0].forwarded = Some(Forwarded {
            header: ForwardedHeader::XForwardedFor,
            from: vec!["127.0.0.0/8".parse().expect("a network")],
        });
    });
    let mut client = Client::connect(daemon.server.address())?;
    let request = Request::websocket("h", "/raw/c").header("X-Forwarded-For: 192.0.2.1");
    client.shake_hands(&request)?;
    let key = daemon.key_of("c");
    drop(client);
    Planted::of(daemon, key, Vec::new())
}

fn client_gone(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |_| {});
    let client = daemon.raw("c");
    let key = daemon.key_of("c");
    client.reset()?;
    Planted::of(daemon, key, Vec::new())
}

fn ping_late(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |settings| {
        settings.limits.ping_interval_ms = 200;
        settings.limits.ping_timeout_ms = 600_000;
    });
    let client = daemon.raw("c"); // which answers no ping, for it does not read
    let key = daemon.key_of("c");
    Planted::of(daemon, key, vec![client])
}

fn draining(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |settings| {
        settings.limits.close_timeout_ms = 600_000
    });
    let client = daemon.raw("c"); // which answers no close frame
    let key = daemon.key_of("c");
    daemon.server.begin_stop(600_000);
    Planted::of(daemon, key, vec![client])
}

fn kicked(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |_| {});
    let mut client = daemon.raw("c");
    let key = daemon.key_of("c");
    let ran = daemon.ctl(&["kick", &key, "--reason", "move on"]);
    assert!(ran.ok, "{ran:?}");
    client.expect_close(1000)?;
    drop(client);
    Planted::of(daemon, key, Vec::new())
}

fn healthy(backend: Backend) -> Result<Planted, Failure> {
    let daemon = Daemon::on(backend, |_| {});
    let mut client = daemon.server.open("/echo")?;
    client.send_text("hello")?;
    client.expect_text("hello")?;
    let key = name_of(&daemon.json(&["conns"])[0]);
    Planted::of(daemon, key, vec![client])
}
