//! Channels, permissions, and the screen.

use std::collections::HashMap;

use roost_reactor::{ChannelPolicy, Publish, policy_for_tests};
use roost_testkit::client::Checked;
use roost_testkit::server::Backend;

use crate::harness::Daemon;

#[test]
fn channels_are_listed_with_the_subscribers_of_all_reactors() -> Checked {
    let daemon = Daemon::start();
    let mut clients = Vec::new();
    for number in 0..40 {
        // Of the first one there are ten, on both reactors.
        for _ in 0..(if number == 0 { 10 } else { 1 }) {
            clients.push(daemon.raw(&format!("room:{number}")));
        }
    }
    let _other = daemon.raw("other");
    let published = daemon.ctl(&["publish", "room:0", "hello"]);
    assert!(published.ok, "{published:?}");
    clients[0].expect_text("hello")?;

    let mut found = HashMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut arguments = vec!["channels", "room:", "--limit", "7", "--json"];
        if let Some(cursor) = &cursor {
            arguments.extend(["--cursor", cursor]);
        }
        let ran = daemon.ctl(&arguments);
        assert!(ran.ok, "{ran:?}");
        for line in ran.out.lines() {
            let one: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let name = one["channel"].as_str().expect("a name").to_owned();
            let before = found.insert(name, one["subscribers"].as_u64());
            assert_eq!(before, None, "{line} comes twice");
        }
        match ran.err.split("--cursor ").nth(1) {
            Some(next) => cursor = next.split(',').next().map(str::to_owned),
            None => break,
        }
    }
    assert_eq!(found.len(), 40);
    assert_eq!(found["room:0"], Some(10));
    assert_eq!(found["room:39"], Some(1));
    assert_eq!(daemon.json(&["channels", "--all"]).len(), 41);

    let one = daemon.ctl(&["channel", "room:0"]);
    assert!(one.ok && one.out.contains("subscribers"), "{one:?}");
    assert_eq!(one.out.matches("raw").count(), 10, "{one:?}");
    let none = daemon.ctl(&["channel", "Room:0"]);
    assert!(
        !none.ok && none.err.contains("nothing subscribes"),
        "{none:?}"
    );
    drop(clients);
    daemon
        .server
        .wait_for_count("subscriptions", |count| count == 1);
    assert_eq!(daemon.json(&["channels", "room:"]).len(), 0);
    Ok(())
}

#[test]
fn the_rule_that_decides_is_named() {
    let daemon = Daemon::on(Backend::Epoll, |settings| {
        let policy = ChannelPolicy {
            publish: Publish::Subscribers,
            ..policy_for_tests()
        };
        settings.channels.namespaces = vec![("x".to_owned(), policy)];
    });
    let _client = daemon.raw("x:a");
    let key = daemon.key_of("x:a");
    let ran = daemon.ctl(&["may", "", "publish", "x:a"]);
    assert!(
        ran.ok && ran.out.starts_with("denied: publish = \"subscribers\""),
        "{ran:?}"
    );
    let ran = daemon.ctl(&["may", &key, "publish", "x:a"]);
    assert!(
        ran.ok && ran.out.starts_with("allowed: publish = \"subscribers\""),
        "{ran:?}"
    );
    let ran = daemon.ctl(&["may", &key, "publish", "x:b"]);
    assert!(ran.ok && ran.out.starts_with("denied"), "{ran:?}");
    let ran = daemon.ctl(&["may", "", "register", "wamp.x"]);
    assert!(
        ran.ok && ran.out.contains("belongs to the protocol"),
        "{ran:?}"
    );
    let ran = daemon.ctl(&["may", "alice", "publish", "x:a"]);
    assert!(
        !ran.ok && ran.err.contains("no connection of user"),
        "{ran:?}"
    );
    let ran = daemon.ctl(&["may", "", "shout", "x:a"]);
    assert!(!ran.ok && ran.err.contains("subscribe, publish"), "{ran:?}");
}

#[test]
fn the_screen_has_sums_and_rates() {
    let daemon = Daemon::start();
    let _clients: Vec<_> = (0..3).map(|_| daemon.raw("c")).collect();
    let once = daemon.ctl(&["top", "--once"]);
    assert!(
        once.ok && once.out.contains("3 connections (3 WebSockets"),
        "{once:?}"
    );
    assert!(once.out.contains("no client is behind"), "{once:?}");
    let view = &daemon.json(&["top"])[0];
    assert_eq!(
        (&view["websockets"], &view["channels"]),
        (&3.into(), &1.into()),
        "{view}"
    );
    assert!(view["loop_iterations_per_second"].is_number(), "{view}");
}
