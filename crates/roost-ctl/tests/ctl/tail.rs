//! `roostctl tail`, and how far a drain has come.

use roost_testkit::client::Checked;

use crate::harness::Daemon;

#[test]
fn a_channel_is_looked_on_at_until_the_daemon_drains() -> Checked {
    let daemon = Daemon::start();
    let people = daemon.begin(&["tail", "news", "--payload"]);
    let scripts = daemon.begin(&["--json", "tail", "sport"]);
    daemon
        .server
        .wait_for_count("home_channels", |count| count == 2);
    for channel in ["news", "sport"] {
        assert!(daemon.ctl(&["publish", channel, "hello"]).ok);
    }
    let client = daemon.server.open("/echo")?;
    daemon.server.begin_stop(20_000);
    let (people, scripts) = (people(), scripts());
    drop(client);
    assert!(people.ok && scripts.ok, "{people:?} {scripts:?}");
    assert!(people.out.contains("text  hello"), "{people:?}");
    assert!(
        people.err.contains("Ctrl-C") && people.err.contains("drained"),
        "{people:?}"
    );
    let last = scripts.out.lines().last();
    assert_eq!(last, Some("{\"end\":\"the server is drained\"}"));
    assert!(scripts.out.contains("\"bytes\":5") && !scripts.out.contains("hello"));
    Ok(())
}

#[test]
fn a_tail_that_cannot_begin_says_why() {
    let daemon = Daemon::start();
    let ran = daemon.ctl(&["tail", ""]);
    assert!(!ran.ok && ran.err.contains("channel has 1 to"), "{ran:?}");
}

#[test]
fn a_drain_is_asked_for_at_a_rate_and_shown() {
    let daemon = Daemon::start();
    let ran = daemon.ctl(&["drain", "--status"]);
    assert!(ran.ok && ran.out.contains("does not drain"), "{ran:?}");
    assert!(daemon.asked.take().is_empty(), "nothing has changed");
    let ran = daemon.ctl(&["drain", "--rate", "500/s", "--delay", "2"]);
    assert!(ran.ok && ran.out.contains("500 a second"), "{ran:?}");
    assert_eq!(daemon.asked.take(), ["drain Some(2000) None Some(500)"]);
    let ran = daemon.ctl(&["drain", "--rate", "fast"]);
    assert!(!ran.ok && ran.err.contains("500/s"), "{ran:?}");
    let client = daemon.server.open("/echo").expect("it opens");
    daemon.server.begin_stop(20_000);
    let ran = daemon.ctl(&["drain", "--timeout", "5"]);
    assert!(!ran.ok && ran.err.contains("draining already"), "{ran:?}");
    let ran = daemon.ctl(&["drain", "--rate", "7"]);
    assert!(ran.ok, "{ran:?}");
    drop(client);
}
