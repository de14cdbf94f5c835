//! Connections: found, shown and closed; what is published, and what is asked of the process.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use roost_reactor::{Forwarded, ForwardedHeader};
use roost_testkit::client::{Checked, Client, Request};
use roost_testkit::server::Backend;

use crate::harness::Daemon;

#[test]
fn connections_are_found_by_channel_address_and_dialect() -> Checked {
    let daemon = Daemon::start();
    let _news: Vec<_> = (0..3).map(|_| daemon.raw("news")).collect();
    let _other = daemon.raw("other");
    let _echo = daemon.server.open("/echo")?;
    let count = |arguments: &[&str]| daemon.json(&[&["conns"], arguments].concat()).len();
    for (arguments, expected) in [
        (&[][..], 5),
        (&["--channel", "news"], 3),
        (&["--channel", "nothing"], 0),
        (&["--dialect", "echo"], 1),
        (&["--channel", "news", "--dialect", "echo"], 0),
        (&["--address", "127.0.0.1"], 5),
        (&["--address", "127.0.0.0/8", "--channel", "other"], 1),
        (&["--address", "10.0.0.0/8"], 0),
        (&["--user", ""], 5),
        (&["--user", "alice"], 0),
        (&["--waiting"], 0),
        (&["--slowest", "3"], 0),
    ] {
        assert_eq!(count(arguments), expected, "{arguments:?}");
    }
    let table = daemon.ctl(&["conns", "--channel", "news"]);
    assert!(table.ok && table.out.starts_with("CONNECTION"), "{table:?}");
    assert_eq!(table.out.lines().count(), 4, "{table:?}");
    assert!(table.out.contains("127.0.0.1"), "{table:?}");
    let none = daemon.ctl(&["conns", "--user", "alice"]);
    assert_eq!((none.ok, &*none.err), (true, "no such connection\n"));
    Ok(())
}

/// A proxy's own address says nothing, and is no client's.
#[test]
fn clients_of_a_proxy_are_found_by_the_address_that_it_names() -> Checked {
    for backend in Backend::ALL {
        let daemon = Daemon::on(backend, |settings| {
            settings.limits.connections_per_address_max = 100;
            settings.listeners[0].forwarded = Some(Forwarded {
                header: ForwardedHeader::Forwarded,
                from: vec!["127.0.0.0/8".parse().expect("a network")],
            });
        });
        let mut clients = Vec::new();
        for headers in [
            "Forwarded: for=127.0.0.9, for=192.0.2.1",
            "Forwarded: for=192.0.2.1",
            "Forwarded: for=\"[2001:db8:0:1::7]:443\"",
            "X-Forwarded-For: 192.0.2.1",
        ] {
            let mut client = Client::connect(daemon.server.address())?;
            client.shake_hands(&Request::websocket("h", "/echo").header(headers))?;
            clients.push(client);
        }
        for (address, expected) in [
            ("192.0.2.0/24", 2),
            ("192.0.2.1", 2),
            ("2001:db8:0:1::/64", 1),
            ("127.0.0.0/8", 0),
        ] {
            let found = daemon.json(&["conns", "--address", address]).len();
            assert_eq!(found, expected, "{address}");
        }
        assert_eq!(daemon.json(&["conns"]).len(), 4);
    }
    Ok(())
}

#[test]
fn lists_go_on_where_they_ended() {
    let daemon = Daemon::start();
    let clients: Vec<_> = (0..40).map(|_| daemon.raw("c")).collect();
    let mut names = HashSet::new();
    let mut cursor: Option<String> = None;
    let mut pages = 0;
    loop {
        let mut arguments = vec!["conns", "--limit", "7", "--json", "--channel", "c"];
        if let Some(cursor) = &cursor {
            arguments.extend(["--cursor", cursor]);
        }
        let ran = daemon.ctl(&arguments);
        assert!(ran.ok, "{ran:?}");
        pages += 1;
        assert!(ran.out.lines().count() <= 7, "{ran:?}");
        names.extend(ran.out.lines().map(str::to_owned));
        let next = ran.err.split("--cursor ").nth(1);
        match next.and_then(|next| next.split(',').next()) {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(names.len(), clients.len());
    assert!(pages >= 6, "{pages}");
    assert_eq!(daemon.json(&["conns", "--all"]).len(), clients.len());
}

#[test]
fn one_connection_is_shown_and_closed_on_every_driver() -> Checked {
    for backend in Backend::ALL {
        let daemon = Daemon::on(backend, |_| {});
        let mut client = daemon.raw("news");
        let key = daemon.key_of("news");
        let shown = daemon.ctl(&["conn", &key]);
        assert!(shown.ok && shown.out.contains(&key), "{shown:?}");
        // Of a direct descriptor the kernel does not tell.
        let knows_address = backend != Backend::UringDirect;
        assert_eq!(shown.out.contains("127.0.0.1"), knows_address, "{shown:?}");
        let kicked = daemon.ctl(&["kick", &key, "--code", "4001", "--reason", "move on"]);
        assert!(kicked.ok, "{kicked:?}");
        client.expect_close(4001)?;
        drop(client);
        daemon
            .server
            .wait_for_count("websockets_open", |open| open == 0);
        let again = daemon.ctl(&["kick", &key]);
        assert!(!again.ok && again.err.contains("no WebSocket"), "{again:?}");
    }
    Ok(())
}

#[test]
fn what_is_published_comes_to_subscribers() -> Checked {
    let daemon = Daemon::start();
    let mut client = daemon.raw("news");
    let ran = daemon.ctl(&["publish", "news", "hello"]);
    assert!(ran.ok, "{ran:?}");
    client.expect_text("hello")?;
    let ran = daemon.ctl(&["publish", "", "hello"]);
    assert!(!ran.ok && ran.err.contains("channel has 1 to"), "{ran:?}");
    Ok(())
}

#[test]
fn the_process_is_asked_for_its_log_and_its_end() {
    let daemon = Daemon::start();
    let ran = daemon.ctl(&["log", "debug"]);
    assert!(ran.ok && ran.out.contains("it was info"), "{ran:?}");
    let ran = daemon.ctl(&["log", "loud"]);
    assert!(!ran.ok && ran.err.contains("no level"), "{ran:?}");
    let ran = daemon.ctl(&["drain", "--timeout", "3"]);
    assert!(ran.ok && ran.out.contains("3 s"), "{ran:?}");
    assert_eq!(
        daemon.asked.take(),
        ["log debug", "drain None Some(3000) None"]
    );
}

#[test]
fn mistakes_are_said_with_what_to_do() {
    let daemon = Daemon::start();
    for (arguments, said) in [
        (&["conn", "7"][..], "r0-17.4"),
        (&["conn", "r99-1.1"], "numbers 0 to 1"),
        (&["conn", "r0-1.9"], "it has closed"),
        (&["kick", "r0-0.0", "--code", "1005"], "no close code"),
        (&["conns", "--address", "300.1.1.1"], "10.0.0.0/8"),
        (&["conns", "--cursor", "x"], "cursor"),
        (&["conns", "--slowest", "0"], "from 1 to"),
    ] {
        let ran = daemon.ctl(arguments);
        assert!(!ran.ok && ran.out.is_empty(), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(said), "{arguments:?}: {ran:?}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_roostctl"))
        .args(["conns"])
        .env("ROOST_ADMIN_SOCKET", Path::new("/nowhere/admin.sock"))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("roostd is not running"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_reload_is_told_a_line_a_key_and_a_mistake_is_an_error() {
    let daemon = Daemon::start();
    let ran = daemon.ctl(&["reload", "--check"]);
    assert!(ran.ok, "{ran:?}");
    let row = ran.out.lines().nth(1).expect("a row");
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        cells,
        [
            "limits.idle_timeout",
            "\"0s\"",
            "\"1h\"",
            "for",
            "new",
            "connections"
        ]
    );
    assert!(
        ran.err.contains("warning: a certificate expires soon"),
        "{ran:?}"
    );
    assert!(ran.err.contains("nothing has changed"), "{ran:?}");
    let told = &daemon.json(&["reload", "--check"])[0];
    assert_eq!(told["changes"][0]["class"], "new connections");
    let ran = daemon.ctl(&["reload"]);
    assert!(!ran.ok && ran.out.is_empty(), "{ran:?}");
    assert!(
        ran.err.contains("roost.toml:2:1: found no good value"),
        "{ran:?}"
    );
    assert_eq!(
        daemon.asked.take(),
        ["reload true", "reload true", "reload false"]
    );
}
