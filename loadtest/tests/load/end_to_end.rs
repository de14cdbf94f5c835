//! Every subcommand's plan against a server in this process.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use clap::Parser;
use roost_load::cli::{self, Cli};
use roost_load::output::Document;
use roost_load::progress::Progress;
use roost_load::run;
use roost_net::epoll::{EpollDriver, EpollOptions};
use roost_reactor::{Server, Settings};

use crate::compare::wait_until;

struct House {
    server: Server,
}

impl House {
    fn open() -> House {
        House::open_with(Settings::for_tests())
    }

    fn open_with(settings: Settings) -> House {
        let server = Server::start(settings, 2, || EpollDriver::new(&EpollOptions::default()));
        House {
            server: server.expect("a free port"),
        }
    }

    /// An address that answers `GET /stats` with the server's counters, as an admin listener does.
    fn admin(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let registry = self.server.registry().clone();
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut line = String::new();
                let _ = BufReader::new(&stream).read_line(&mut line);
                assert!(line.starts_with("GET /stats "), "{line}");
                let _ = write!(stream, "HTTP/1.1 200 OK\r\n\r\n{}", registry.to_json());
            }
        });
        address
    }

    fn run(&self, command: &str) -> Document {
        let url = format!("ws://{}", self.server.address());
        let mut arguments: Vec<&str> = std::iter::once("roost-load")
            .chain(command.split(' '))
            .collect();
        arguments.extend([url.as_str(), "--memory-wait", "0s", "--quiet"]);
        let cli = Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}"));
        let plan = cli::plan_of(&cli.command).expect("a plan");
        let (plan, _) = plan.expect("a subcommand that runs");
        let document = run::run(&plan, &mut Progress::new(true));
        document.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// A run in which nothing may go wrong.
    fn clean(&self, command: &str) -> Document {
        let document = self.run(command);
        assert_eq!(document.problems, Vec::<String>::new(), "{command}");
        let last = document.phases.last().expect("a phase");
        assert_eq!(last.held, 0, "{command}");
        document
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.server.begin_stop(0);
    }
}

#[test]
fn idle_opens_holds_and_closes() {
    let house = House::open();
    let document = house.clean(&format!(
        "idle -n 300 --hold 100ms --server-stats {}",
        house.admin()
    ));
    assert_eq!(document.phases[0].held, 300);
    assert_eq!(document.phases[0].latencies["connect"].count, 300);
    assert_eq!(document.phases[2].closed, 300);
    let counter = |phase: usize| {
        let counters = document.phases[phase].counters.as_ref();
        counters.expect("the server tells")["websockets_open"]
    };
    assert_eq!(counter(0), 300);
    // The last has closed when the server may still have to count it.
    assert!(counter(2) <= 300);
    let registry = house.server.registry();
    wait_until("the server has counted all ends", || {
        registry.sum("websockets_open") == Some(0)
    });
}

#[test]
fn idle_stops_at_steps_and_knows_the_slope() {
    let house = House::open();
    let pid = std::process::id();
    let document = house.clean(&format!(
        "idle --steps 100,200,400 --own-channels --hold 0s --server-pid {pid}"
    ));
    let held: Vec<_> = document.phases.iter().map(|phase| phase.held).collect();
    assert_eq!(held, [100, 0, 100, 200, 400, 400, 0]);
    let slope = document.slope.expect("there were steps");
    assert_eq!(slope.points.len(), 3);
    let (first, last) = (slope.points[0], slope.points[2]);
    let expected = (last.1 as f64 - first.1 as f64) / 300.0;
    assert!((slope.bytes_per_connection - expected).abs() < 1e-6);
}

#[test]
fn echo_comes_back_at_full_speed_and_by_a_schedule() {
    let house = House::open();
    let document = house.clean("echo -n 20 -m 3 --size 200 --time 200ms --warm-up 0s --beside 30");
    let traffic = &document.phases[1];
    assert_eq!(traffic.held, 50);
    assert!(traffic.received > 60 && traffic.received == traffic.sent);
    assert_eq!(traffic.latencies["echo"].count, traffic.received);

    let document = house.clean("echo -n 10 --rate 500 --time 400ms --warm-up 0s");
    let sent = document.phases[1].sent;
    assert!((150..=205).contains(&sent), "{sent} of 200 were due");
}

#[test]
fn fanout_reaches_every_subscriber_of_the_channel_and_no_other() {
    let house = House::open();
    for dialect in ["raw", "wamp.2.json", "centrifugo", "sse"] {
        let document = house.clean(&format!(
            "fanout -n 90 -c 3 -p 6 --rate 300 --time 300ms --warm-up 0s --dialect {dialect}"
        ));
        let traffic = &document.phases[1];
        assert!(traffic.sent > 30, "{dialect}: {}", traffic.sent);
        assert_eq!(traffic.deliveries.received, traffic.sent * 30, "{dialect}");
        assert_eq!(traffic.latencies["last_receipt"].count, traffic.sent);
    }
}

#[test]
fn fanout_at_full_speed_keeps_its_window() {
    let house = House::open();
    let document = house.clean("fanout -n 50 -p 2 --time 300ms --warm-up 0s --rings 3");
    let traffic = &document.phases[1];
    assert_eq!(traffic.stalls, 0);
    assert_eq!(traffic.deliveries.received, traffic.sent * 50);
}

#[test]
fn a_window_together_is_sent_whole_or_not_at_all() {
    let house = House::open();
    let command = "fanout -n 30 --window 7 --together --time 300ms --warm-up 0s";
    let traffic = &house.clean(command).phases[1];
    assert!(traffic.sent > 7, "{}", traffic.sent);
    assert_eq!((traffic.sent % 7, traffic.stalls), (0, 0));
    assert_eq!(traffic.deliveries.received, traffic.sent * 30);
}

#[test]
fn storm_drops_some_and_they_come_again() {
    let house = House::open();
    let document = house.clean("storm -n 100 --share 0.25 --rate 100 --time 300ms");
    let storm = &document.phases[2];
    assert_eq!((storm.dropped, storm.held), (25, 101));
    assert_eq!(storm.latencies["recover"].count, 25);
    assert!(storm.deliveries.received > 0);
}

#[test]
fn echoes_come_back_in_a_channel_of_their_own() {
    let house = House::open();
    let command = "echo -n 20 -m 3 --size 200 --time 200ms --warm-up 0s --dialect centrifugo";
    let traffic = &house.clean(command).phases[1];
    assert!(traffic.sent > 60, "{}", traffic.sent);
    assert_eq!(traffic.received, traffic.sent);
    assert_eq!(traffic.acknowledged, traffic.sent);
}

/// A server that keeps what is published.
fn open_with_history() -> House {
    let mut settings = Settings::for_tests();
    settings.channels.default.history_messages_max = 1_000;
    House::open_with(settings)
}

#[test]
fn a_storm_with_recovery_loses_nothing() {
    let house = open_with_history();
    let command =
        "storm -n 100 -c 2 -p 2 --share 0.25 --rate 200 --time 300ms --recover --dialect sse";
    let storm = &house.clean(command).phases[2];
    assert_eq!((storm.dropped, storm.recovered, storm.told), (25, 25, 0));
    assert_eq!(storm.latencies["caught_up"].count, 25);
    // Nothing that was published in the phase is excused.
    assert_eq!(storm.deliveries.received, storm.sent * 50);
}

#[test]
fn all_that_leave_recover_and_what_it_takes_is_told() {
    let house = open_with_history();
    let pid = std::process::id();
    let document = house.clean(&format!(
        "recover -n 60 -c 3 --rate 300 --away 200ms --rounds 2 --dialect sse --server-pid {pid}"
    ));
    let recovery = document.recovery.as_ref().expect("they came back");
    assert_eq!((recovery.connections, recovery.told), (120, 0));
    let sent = document.phases[6].sent + document.phases[14].sent;
    assert_eq!(recovery.messages, 20 * sent);
    let measured = [
        &recovery.cpu_seconds,
        &recovery.nothing_missed_cpu_seconds,
        &recovery.publish_cpu_seconds,
        &recovery.all_back_seconds,
    ];
    for values in measured {
        assert!(values.len() == 2 && values.iter().all(|&value| value > 0.0));
    }
    assert!(recovery.ratio().is_some());
    let table = document.table();
    assert!(
        table.contains("a publish of the same bytes to all"),
        "{table}"
    );
}

#[test]
fn what_a_server_does_not_keep_is_told_as_lost() {
    let house = House::open();
    let command = "recover -n 10 --rate 100 --away 200ms --rounds 1 --dialect sse";
    let document = house.clean(command);
    let (away, back) = (&document.phases[6], &document.phases[8]);
    assert_eq!((back.recovered, back.told), (0, 10));
    assert_eq!(back.told_messages, 10 * away.sent);
}

#[test]
fn those_who_stay_in_a_storm_have_latencies_of_their_own() {
    let house = House::open();
    let document = house.clean("storm -n 100 --share 0.25 --rate 100 --time 300ms");
    let count = |phase: usize, name: &str| {
        let latencies = document.phases[phase].latencies.get(name);
        latencies.map_or(0, |latencies| latencies.count)
    };
    let storm = &document.phases[2];
    let (rest, returned) = (count(2, "delivery_rest"), count(2, "delivery_returned"));
    // What came before the drop is of neither.
    assert!(
        (75 * (storm.sent - 3)..=75 * storm.sent).contains(&rest),
        "{rest}"
    );
    assert!(returned > 0 && returned <= 25 * storm.sent, "{returned}");
    assert!(rest + returned <= count(2, "delivery"));
    let table = document.table();
    assert!(table.contains("  delivery rest  "), "{table}");
    for calm in [1, 3] {
        assert!(count(calm, "delivery") > 0);
        assert_eq!(
            count(calm, "delivery_rest") + count(calm, "delivery_returned"),
            0
        );
    }
}

#[test]
fn every_ping_of_the_server_is_answered() {
    let mut settings = Settings::for_tests();
    settings.limits.ping_interval_ms = 1_000;
    settings.limits.ping_timeout_ms = 1_000;
    let house = House::open_with(settings);
    let document = house.clean(&format!(
        "idle -n 40 --hold 4500ms --server-stats {}",
        house.admin()
    ));
    let hold = &document.phases[1];
    assert_eq!((hold.held_before, hold.held), (Some(40), 40));
    // A client that is silent is cut after two seconds; one that answers is pinged each second.
    assert!((3 * 40..=5 * 40).contains(&hold.pings), "{}", hold.pings);
    let counters = hold.counters.as_ref().expect("the server tells");
    assert_eq!(counters["ping_timeouts_total"], 0);
    assert!(counters["pongs_received_total"] >= 3 * 40);
    // The samples show when.
    let rising: Vec<u64> = document.samples.iter().map(|sample| sample.pings).collect();
    assert!(rising.is_sorted(), "{rising:?}");
    let different: std::collections::BTreeSet<_> = rising.iter().collect();
    assert!(different.len() >= 3, "{rising:?}");
    assert!(rising.last() >= Some(&hold.pings), "{rising:?}");
}

#[test]
fn io_uring_clients_see_the_same() {
    let house = House::open();
    let command = "fanout -n 60 -c 2 -p 2 --rate 200 --time 200ms --warm-up 0s \
                   --driver io_uring --rings 2";
    let document = house.clean(command);
    let traffic = &document.phases[1];
    assert_eq!(traffic.deliveries.received, traffic.sent * 30);
}

#[test]
fn a_scenario_warms_up_and_leaves_the_server_as_it_was() {
    let house = House::open();
    let file = std::env::temp_dir().join(format!("roost-load-{}.toml", std::process::id()));
    let scenario = r#"
        name = "small million"
        [[topic]]
        name = "common"
        [[topic]]
        name = "own"
        channels = 200
        [[group]]
        name = "publisher"
        count = 1
        dialect = "wamp.2.json"
        publish = { topic = "common" }
        [[group]]
        name = "quiet"
        count = 200
        dialect = "wamp.2.json"
        subscribe = ["own", "common"]
        [[phase]]
        do = "open"
        upto = 50
        [[phase]]
        do = "close"
        name = "warm"
        [[phase]]
        do = "open"
        [[phase]]
        do = "publish"
        each = 3
        [[phase]]
        do = "reconnect"
        group = "quiet"
        share = 0.1
        [[phase]]
        do = "publish"
        [[phase]]
        do = "close"
        [after]
        memory_within = 0.05
        memory_of = "warm"
        within = "10s"
        counters_return = ["connections_open", "subscriptions", "channels"]
    "#;
    std::fs::write(&file, scenario).expect("a temporary file");
    let path = file.to_str().expect("UTF-8");
    let document = house.clean(&format!("mixed {path} --server-stats {}", house.admin()));
    std::fs::remove_file(&file).expect("it was written");
    let received: Vec<_> = document
        .phases
        .iter()
        .map(|phase| phase.deliveries.received)
        .collect();
    assert_eq!(received, [0, 0, 0, 600, 0, 200, 0]);
    assert_eq!(document.phases[4].dropped, 20);
    assert_eq!(document.after.expect("looked after").counters.len(), 3);
}

#[test]
fn a_refusal_is_told_with_its_status() {
    let house = House::open();
    let url = format!("ws://{}/nowhere", house.server.address());
    let arguments = [
        "roost-load",
        "idle",
        "-n",
        "3",
        "--hold",
        "0s",
        "--memory-wait",
        "0s",
    ];
    let cli = Cli::try_parse_from(arguments.into_iter().chain([url.as_str()])).expect("arguments");
    let (plan, _) = cli::plan_of(&cli.command)
        .expect("a plan")
        .expect("it runs");
    let error = run::run(&plan, &mut Progress::new(true)).expect_err("none opens");
    assert!(error.contains("none of 3 connections"), "{error}");
    assert!(error.contains("404"), "{error}");
}

#[test]
fn a_run_that_cannot_fit_is_refused_and_told_the_remedy() {
    let house = House::open();
    let url = format!("ws://{}", house.server.address());
    let arguments = ["roost-load", "idle", "-n", "900000", "--driver", "epoll"];
    let cli = Cli::try_parse_from(arguments.into_iter().chain([url.as_str()])).expect("arguments");
    let (plan, _) = cli::plan_of(&cli.command)
        .expect("a plan")
        .expect("it runs");
    let error = run::run(&plan, &mut Progress::new(true)).expect_err("epoll cannot hold that here");
    assert!(
        error.contains("ulimit -n") && error.contains("--force"),
        "{error}"
    );
}

#[test]
fn the_bare_floor_holds_connections_without_a_handshake() {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let address = "127.0.0.1:0".parse().expect("an address");
        // Runs until the test's process ends.
        roost_load::bare::accept_loop(address, 1, None, move |address| {
            tell.send(address).expect("the test listens");
        })
    });
    let address = told
        .recv_timeout(Duration::from_secs(10))
        .expect("it listens");
    let url = format!("ws://{address}");
    let arguments = [
        "roost-load",
        "idle",
        "--bare",
        "-n",
        "50",
        "--hold",
        "0s",
        "--memory-wait",
        "0s",
    ];
    let cli = Cli::try_parse_from(arguments.into_iter().chain([url.as_str()])).expect("arguments");
    let (plan, _) = cli::plan_of(&cli.command)
        .expect("a plan")
        .expect("it runs");
    let document = run::run(&plan, &mut Progress::new(true)).expect("the plan fits");
    assert_eq!(document.problems, Vec::<String>::new());
    assert_eq!(document.phases[0].held, 50);
}

#[test]
fn a_run_that_opens_nothing_ends_with_the_reason() {
    // Below 1024 no outgoing connection takes it, and nothing serves tcpmux.
    let arguments = [
        "roost-load",
        "idle",
        "-n",
        "5",
        "--quiet",
        "ws://127.0.0.1:1",
    ];
    let cli = Cli::try_parse_from(arguments).expect("a command");
    let (plan, _) = cli::plan_of(&cli.command)
        .expect("a plan")
        .expect("it runs");
    let error = run::run(&plan, &mut Progress::new(true)).expect_err("nothing listens");
    assert!(
        error.starts_with("none of 5 connections to 127.0.0.1:1 opened:\n  5 × "),
        "{error}"
    );
    assert!(error.to_lowercase().contains("refused"), "{error}");
}
