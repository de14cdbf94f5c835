//! Scenarios and command lines, read as meant; mistakes named.

use std::time::Duration;

use clap::Parser;
use roost_load::cli::{self, Cli};
use roost_load::plan::{DriverChoice, Loss, Plan, Role, Step, Target};
use roost_load::scenario;

fn plan(arguments: &[&str]) -> Result<Plan, String> {
    let cli = Cli::try_parse_from(["roost-load"].iter().chain(arguments))
        .map_err(|error| error.to_string())?;
    cli::plan_of(&cli.command).map(|plan| plan.expect("a subcommand that runs").0)
}

#[test]
fn all_scenarios_of_the_repository_can_be_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let plan = plan(&["mixed", path.to_str().expect("UTF-8")]).expect("a scenario");
        plan.check()
            .unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert!(!plan.phases.is_empty());
        read += 1;
    }
    assert!(read >= 3);
}

#[test]
fn a_scenario_says_what_it_means() {
    let text = r#"
        name = "all of it"
        url = "ws://127.0.0.1:81"
        [[topic]]
        name = "news"
        channels = 3
        [[group]]
        name = "readers"
        count = 10
        subscribe = ["news"]
        [[group]]
        name = "writers"
        count = 2
        publish = { topic = "news", rate = 50.0, size = 300 }
        [[group]]
        name = "busy"
        count = 4
        dialect = "echo"
        echo = { in_flight = 2 }
        [[phase]]
        do = "open"
        [[phase]]
        do = "traffic"
        name = "storm"
        time = "1500ms"
        drop = { group = "readers", share = 0.5 }
        [[phase]]
        do = "close"
    "#;
    let scenario = scenario::parse(text).expect("a scenario");
    assert_eq!(scenario.topics[0].channel_name(2), "news2");
    let Role::Publish(publish) = scenario.groups[1].role else {
        panic!("writers publish");
    };
    assert_eq!(
        (publish.topic, publish.rate, publish.size),
        (0, Some(50.0), 300)
    );
    let Role::Echo(echo) = scenario.groups[2].role else {
        panic!("the busy echo");
    };
    assert_eq!((echo.in_flight, echo.rate, echo.size), (2, None, 125));
    let loss = Loss {
        group: 0,
        share: 0.5,
    };
    let storm = Step::Traffic(Duration::from_millis(1_500), Some(loss));
    assert_eq!(scenario.phases[1].name, "storm");
    assert_eq!(scenario.phases[1].step, storm);
}

#[test]
fn mistakes_are_named() {
    let with = |group: &str, phase: &str| {
        format!(
            "name = \"x\"\n[[topic]]\nname = \"t\"\n[[group]]\nname = \"g\"\ncount = 1\n{group}\n[[phase]]\n{phase}\n"
        )
    };
    let cases = [
        (with("subscribe = [\"u\"]", "do = \"open\""), "no topic u"),
        (
            with("dialect = \"smtp\"", "do = \"open\""),
            "unknown dialect smtp",
        ),
        (with("colour = 1", "do = \"open\""), "colour"),
        (with("", "do = \"dance\""), "dance"),
        (
            with("", "do = \"hold\"\ntime = \"3 weeks\""),
            "expected a time",
        ),
        (
            with("", "do = \"reconnect\"\ngroup = \"h\"\nshare = 0.1"),
            "no group h",
        ),
        (
            with("", "do = \"reconnect\"\ngroup = \"g\"\nshare = 1.5"),
            "expected 0 to 1",
        ),
    ];
    for (text, expected) in cases {
        let error = scenario::parse(&text).err().expect("a mistake");
        assert!(error.contains(expected), "{error}\n  lacks {expected}");
    }
}

#[test]
fn mistakes_are_told_together_with_their_places() {
    let text = "name = \"x\"\n[[group]]\nname = \"g\"\ncuont = 1\n[[phase]]\ndo = \"open\"\n";
    let error = scenario::parse(text).err().expect("a mistake");
    assert!(error.starts_with("4:1: unknown field `cuont`"), "{error}");
    assert!(error.ends_with("(did you mean `count`?)"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");

    // What can be read by itself tells of its own mistake.
    let text = "nmae = \"x\"\n[[group]]\nname = \"g\"\ncount = \"one\"\n[[topic]]\nname = 1\n\
                [[phase]]\ndo = \"open\"\n[[phase]]\ndo = \"dance\"\n\
                [[phase]]\ndo = \"open\"\ntime = \"1s\"\n";
    let error = scenario::parse(text).err().expect("mistakes");
    let places: Vec<_> = error.lines().map(place).collect();
    assert_eq!(places, ["1:1", "4:9", "6:8", "10:6", "13:1"], "{error}");

    let text = "name = \"x\"\n= 1\n[[group]]\nname =\n";
    let error = scenario::parse(text).err().expect("mistakes");
    let lines: Vec<_> = error.lines().map(|line| &line[..2]).collect();
    assert_eq!(lines, ["2:", "4:"], "{error}");

    let text = "name = \"x\"\n[[topic]]\nname = \"u\"\n\
                [[group]]\nname = \"g\"\ncount = 1\nsubscribe = [\"u\",\n  \"t\", \"v\"]\n\
                dialect = \"smtp\"\npublish = { topic = \"w\" }\necho = {}\n\
                [[phase]]\ndo = \"hold\"\ntime = \"soon\"\n\
                [[phase]]\ndo = \"reconnect\"\ngroup = \"h\"\nshare = 2.5\n\
                [[phase]]\ndo = \"traffic\"\ntime = \"now\"\ndrop = { group = \"i\", share = 0.5 }\n\
                [after]\nmemory_within = 0.5\nwithin = \"a while\"\n";
    let error = scenario::parse(text).err().expect("mistakes");
    let expected = [
        "8:3: group g: there is no topic t",
        "8:8: group g: there is no topic v",
        "9:11: group g: unknown dialect smtp",
        "10:21: group g: there is no topic w",
        "11:8: group g: publish or echo, not both",
        "14:8: phase 1: soon: ",
        "17:9: phase 2: there is no group h",
        "18:9: phase 2: share 2.5: expected 0 to 1",
        "21:8: phase 3: now: ",
        "22:18: phase 3: there is no group i",
        "25:10: after: a while: ",
    ];
    assert_eq!(error.lines().count(), expected.len(), "{error}");
    for (line, expected) in error.lines().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n  lacks {expected}");
    }
    let file = std::env::temp_dir().join(format!("roost-load-wrong-{}.toml", std::process::id()));
    std::fs::write(&file, text).expect("it is written");
    let error = scenario::read(&file).err().expect("mistakes");
    std::fs::remove_file(&file).expect("it was written");
    let name = file.display().to_string();
    let begin = format!("{name}:8:3: ");
    assert!(error.starts_with(&begin), "{error}");
    assert!(error.lines().all(|line| line.starts_with(&name)), "{error}");
}

/// `LINE:COLUMN` of a mistake.
fn place(line: &str) -> &str {
    let end = line.match_indices(':').nth(1).expect("a place").0;
    &line[..end]
}

#[test]
fn contradictions_are_named_before_anything_is_opened() {
    let cases: [(&[&str], &str); 4] = [
        (&["idle", "-n", "0"], "no connections"),
        (&["fanout", "--dialect", "echo"], "at most 0 channels"),
        (&["fanout", "--rate", "0"], "rate must be positive"),
        (&["echo", "-m", "0"], "nothing in flight"),
    ];
    for (arguments, expected) in cases {
        let error = plan(arguments)
            .expect("a plan")
            .check()
            .expect_err("a contradiction");
        assert!(error.contains(expected), "{error}\n  lacks {expected}");
    }
}

#[test]
fn steps_and_channels_make_a_plan() {
    let steps = plan(&[
        "idle",
        "--steps",
        "10,5,20",
        "--own-channels",
        "--driver",
        "epoll",
    ]);
    let Ok(Plan {
        topics,
        groups,
        phases,
        settings,
        ..
    }) = steps
    else {
        panic!("a plan");
    };
    // The channels are as many as the connections.
    assert_eq!((groups[0].count, topics[0].channels), (20, 20));
    assert_eq!(settings.driver, DriverChoice::Epoll);
    let opened: Vec<_> = phases.iter().map(|phase| phase.step).take(5).collect();
    let steps = [5, 10, 20].map(|upto| Step::Open(Some(upto)));
    assert_eq!(opened[..2], [Step::Open(Some(5)), Step::Close]);
    assert_eq!(opened[2..], steps);
}

#[test]
fn urls_and_addresses_are_read() {
    let target = Target::parse("ws://127.0.0.1:90/chat/{channel}", &[]).expect("a target");
    assert_eq!(target.path, "/chat/{channel}");
    assert_eq!(target.addresses[0].to_string(), "127.0.0.1:90");
    let range = ["127.0.0.1-127.0.0.3".to_owned(), "127.9.0.1".to_owned()];
    let target = Target::parse("ws://localhost:90/", &range).expect("a target");
    assert_eq!(target.path, "");
    assert_eq!(target.addresses.len(), 4);
    assert_eq!(target.addresses[3].to_string(), "127.9.0.1:90");
    for wrong in [
        "http://127.0.0.1",
        "https://127.0.0.1",
        "127.0.0.1:90",
        "ws://",
        "wss://",
    ] {
        assert!(Target::parse(wrong, &[]).is_err(), "{wrong}");
    }
    assert!(Target::parse("ws://127.0.0.1:1", &["127.0.0.9-127.0.0.1".to_owned()]).is_err());
}

#[test]
fn urls_over_tls_name_whom_the_certificate_must_be_for() {
    for (url, dials, host) in [
        ("wss://127.0.0.1", "127.0.0.1:443", "127.0.0.1"),
        ("wss://127.0.0.1:90/x", "127.0.0.1:90", "127.0.0.1"),
        ("wss://[::1]", "[::1]:443", "::1"),
        ("wss://[::1]:90", "[::1]:90", "::1"),
    ] {
        let target = Target::parse(url, &[]).expect("a target");
        assert!(target.tls);
        assert_eq!(target.addresses[0].to_string(), dials);
        assert_eq!(target.host, host);
    }
    let address = ["127.0.0.1".to_owned()];
    let target = Target::parse("wss://localhost:90", &address).expect("a target");
    assert_eq!((target.tls, target.host.as_str()), (true, "localhost"));
    let target = Target::parse("ws://127.0.0.1", &[]).expect("a target");
    assert_eq!(target.addresses[0].to_string(), "127.0.0.1:80");
    assert!(!target.tls);
}

#[test]
fn a_million_is_spread_so_that_ports_are_quickly_found() {
    let mut target = Target::parse("ws://127.0.0.1:90", &[]).expect("a target");
    target.spread(1_000_000, 64_512);
    let each = 1_000_000 / target.addresses.len() as u64;
    // Half of the ports are tried before the other half is thought of.
    assert!(each < 64_512 / 2, "{each} connections to one address");
    let mut elsewhere = Target::parse("ws://192.0.2.1:90", &[]).expect("a target");
    elsewhere.spread(1_000_000, 64_512);
    assert_eq!(elsewhere.addresses.len(), 1);
}
