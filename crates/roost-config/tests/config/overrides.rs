//! Settings from the command line.

use roost_config::{Driver, Loaded, Place, Source, parse};

#[test]
fn they_win_over_the_file_and_say_so() {
    let text = "[server]\ndriver = \"epoll\"\nreactors = 2\n";
    let mut loaded = parse(text, "t").unwrap_or_else(|errors| panic!("{errors}"));
    loaded
        .set_from_command_line(&[
            ("server.driver", "io_uring"),
            ("listener.address", "[::1]:9000"),
            ("limits.idle_timeout", "30s"),
            ("listener.allowed_origins", "[\"https://a.example\"]"),
            ("listener.page", "true"),
            ("log.level", "\"warn\""),
        ])
        .unwrap_or_else(|errors| panic!("{errors}"));
    let settings = &loaded.settings;
    assert_eq!(settings.server.driver, Driver::IoUring);
    assert_eq!(settings.server.reactors, Some(2));
    assert_eq!(settings.listener.address.to_string(), "[::1]:9000");
    assert_eq!(settings.limits.idle_timeout_ms, 30_000);
    assert!(settings.listener.page);
    assert_eq!(loaded.source("server.driver"), Source::CommandLine);
    assert_eq!(
        loaded.source("server.reactors"),
        Source::File { line: 3, column: 1 }
    );
    let listed: Vec<&str> = loaded.sources().map(|(key, _)| key).collect();
    assert_eq!(
        listed,
        [
            "limits.idle_timeout",
            "listener.address",
            "listener.allowed_origins",
            "listener.page",
            "log.level",
            "server.driver",
            "server.reactors"
        ]
    );
}

#[test]
fn all_mistakes_together_and_nothing_changed() {
    let mut loaded = Loaded::dev();
    let before = loaded.clone();
    let errors = loaded
        .set_from_command_line(&[
            ("server.reactors", "2"),
            ("server.driver", "uring"),
            ("server.drivr", "epoll"),
            ("idle_timeout", "5s"),
            ("listener.address", "nowhere"),
            ("", ""),
        ])
        .expect_err("five mistakes");
    assert_eq!(loaded, before);
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 5, "{errors}");
    assert!(
        errors
            .iter()
            .all(|mistake| mistake.place == Place::CommandLine),
        "{errors}"
    );
    assert!(lines[0].starts_with("command line: server.driver: found \"uring\", expected "));
    assert!(
        lines[1].ends_with("did you mean `server.driver`?"),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].ends_with("did you mean `limits.idle_timeout`?"),
        "{}",
        lines[2]
    );
    assert!(
        lines[3].starts_with("command line: listener.address: "),
        "{}",
        lines[3]
    );
}

#[test]
fn they_are_checked_against_the_file_and_each_other() {
    let text = "[limits]\nframe_size_max = \"64KiB\"\n";
    let mut loaded = parse(text, "my.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let errors = loaded
        .set_from_command_line(&[("limits.message_size_max", "4KiB")])
        .expect_err("the frame is longer than the message");
    assert_eq!(
        errors.iter().next().expect("one").to_string(),
        "my.toml:2:1: limits.frame_size_max: found \"64KiB\", expected at most \
         limits.message_size_max, which is \"4KiB\"; a frame is never longer than its message"
    );
    // Together they fit, in whichever order they stand.
    loaded
        .set_from_command_line(&[
            ("limits.message_size_max", "4KiB"),
            ("limits.frame_size_max", "1KiB"),
        ])
        .unwrap_or_else(|errors| panic!("{errors}"));
    let errors = loaded
        .set_from_command_line(&[("limits.outbox_size_max", "2KiB")])
        .expect_err("the outbox is smaller than the message");
    assert!(matches!(
        errors.iter().next().expect("one").place,
        Place::CommandLine
    ));
}
