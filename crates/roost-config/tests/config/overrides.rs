//! Settings from the environment and the command line.

use roost_config::{Driver, Errors, Loaded, Overrides, Place, Source, parse_with};

fn arguments(pairs: &[(&str, &str)]) -> Overrides {
    let mut overrides = Overrides::new();
    for (key, value) in pairs {
        overrides.add_command_line(key, value);
    }
    overrides
}

fn environment(variables: &[(&str, &str)]) -> Overrides {
    let mut overrides = Overrides::new();
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    overrides.add_environment(variables);
    overrides
}

fn lines(errors: &Errors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn they_win_over_the_file_and_say_so() {
    let text = "[server]\ndriver = \"epoll\"\nreactors = 2\n";
    let overrides = arguments(&[
        ("server.driver", "io_uring"),
        ("listener.address", "[::1]:9000"),
        ("limits.idle_timeout", "30s"),
        ("listener.allowed_origins", "[\"https://a.example\"]"),
        ("listener.demo_page", "true"),
        ("log.level", "\"warn\""),
    ]);
    let loaded = parse_with(text, "t", &overrides).unwrap_or_else(|errors| panic!("{errors}"));
    let settings = &loaded.settings;
    assert_eq!(settings.server.driver, Driver::IoUring);
    assert_eq!(settings.server.reactors, Some(2));
    assert_eq!(settings.listeners[0].address.to_string(), "[::1]:9000");
    assert_eq!(settings.limits.idle_timeout_ms, 30_000);
    assert!(settings.listeners[0].demo_page);
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
            "listener.demo_page",
            "log.level",
            "server.driver",
            "server.reactors"
        ]
    );
}

#[test]
fn all_mistakes_together() {
    let mut overrides = arguments(&[
        ("server.reactors", "2"),
        ("server.driver", "uring"),
        ("server.drivr", "epoll"),
        ("idle_timeout", "5s"),
        ("listener.address", "nowhere"),
        ("", ""),
    ]);
    overrides.add_pair("log.level");
    let text = "[server]\nreactors = 0\n";
    let errors = parse_with(text, "t", &overrides).expect_err("seven mistakes");
    let lines = lines(&errors);
    assert_eq!(lines.len(), 7, "{errors}");
    assert!(
        lines[0].starts_with("t:2:12: server.reactors: "),
        "{}",
        lines[0]
    );
    let elsewhere = errors
        .iter()
        .skip(1)
        .all(|one| one.place == Place::CommandLine);
    assert!(elsewhere, "{errors}");
    assert_eq!(
        lines[1],
        "command line: found \"log.level\", expected KEY=VALUE, such as limits.ping_interval=10s"
    );
    assert!(lines[2].starts_with("command line: server.driver: found \"uring\", expected "));
    assert!(
        lines[3].ends_with("did you mean `server.driver`?"),
        "{}",
        lines[3]
    );
    assert!(
        lines[4].ends_with("did you mean `limits.idle_timeout`?"),
        "{}",
        lines[4]
    );
    assert!(
        lines[5].starts_with("command line: listener.address: "),
        "{}",
        lines[5]
    );
    assert!(Loaded::dev(&overrides).is_err());
}

#[test]
fn they_are_checked_against_the_file_and_each_other() {
    let text = "[limits]\nframe_bytes_max = \"64KiB\"\n";
    let parse = |overrides: &Overrides| parse_with(text, "my.toml", overrides);
    let errors = parse(&arguments(&[("limits.message_bytes_max", "4KiB")]))
        .expect_err("the frame is longer than the message");
    assert_eq!(
        lines(&errors),
        [
            "my.toml:2:1: limits.frame_bytes_max: found \"64KiB\", expected at most \
             limits.message_bytes_max, which is \"4KiB\"; a frame is never longer than its message"
        ]
    );
    // Together they fit, in whichever order they stand.
    parse(&arguments(&[
        ("limits.message_bytes_max", "4KiB"),
        ("limits.frame_bytes_max", "1KiB"),
    ]))
    .unwrap_or_else(|errors| panic!("{errors}"));
    let errors = parse(&arguments(&[("limits.outbox_bytes_max", "2KiB")]))
        .expect_err("the outbox is smaller than the message");
    assert_eq!(errors.iter().next().expect("one").place, Place::CommandLine);
    let errors = parse(&environment(&[(
        "ROOSTD__LIMITS__OUTBOX_BYTES_MAX",
        "2KiB",
    )]))
    .expect_err("the outbox is smaller than the message");
    let line = &lines(&errors)[0];
    let start =
        "environment variable ROOSTD__LIMITS__OUTBOX_BYTES_MAX: limits.outbox_bytes_max: found";
    assert!(line.starts_with(start), "{line}");
}

#[test]
fn the_environment_stands_between_file_and_command_line() {
    let text = "[server]\nreactors = 2\n[log]\nlevel = \"debug\"\n";
    let mut overrides = environment(&[
        ("ROOSTD__SERVER__REACTORS", "3"),
        ("ROOSTD__SERVER__DRIVER", "epoll"),
        ("ROOSTD__IO_URING__BUFFER_BYTES", "8KiB"),
        // Others, such as tests and orchestrators set them.
        ("ROOST_DRIVER", "nonsense"),
        ("ROOSTD_PORT", "tcp://10.0.0.1:80"),
        ("ROOSTD_", ""),
        ("PATH", "/bin"),
    ]);
    overrides.add_pair("server.driver=io_uring");
    let loaded = parse_with(text, "t", &overrides).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.settings.server.reactors, Some(3));
    assert_eq!(loaded.source("server.reactors"), Source::Environment);
    assert_eq!(loaded.settings.server.driver, Driver::IoUring);
    assert_eq!(loaded.source("server.driver"), Source::CommandLine);
    assert_eq!(loaded.settings.io_uring.buffer_bytes, 8192);
    assert_eq!(
        loaded.source("log.level"),
        Source::File { line: 4, column: 1 }
    );
    let written = roost_config::to_toml(&loaded);
    let line = format!("{:<44} # environment", "reactors = 3");
    assert!(written.lines().any(|l| l == line), "{written}");
}

#[test]
fn variables_that_are_no_keys() {
    for (variable, end) in [
        (
            "ROOSTD__SERVER__DRIVR",
            "did you mean ROOSTD__SERVER__DRIVER?",
        ),
        (
            "ROOSTD__SERVER_DRIVER",
            "did you mean ROOSTD__SERVER__DRIVER?",
        ),
        (
            "ROOSTD__IDLE_TIMEOUT",
            "did you mean ROOSTD__LIMITS__IDLE_TIMEOUT?",
        ),
        ("ROOSTD__LIMITS__PAGE", "such as ROOSTD__SERVER__DRIVER"),
        (
            "ROOSTD__LISTENER__PAGE",
            "it is called ROOSTD__LISTENER__DEMO_PAGE now",
        ),
        ("ROOSTD__server__driver", "write ROOSTD__SERVER__DRIVER"),
        ("roostd__SERVER__DRIVER", "write ROOSTD__SERVER__DRIVER"),
        ("ROOSTD__", "such as ROOSTD__SERVER__DRIVER"),
        (
            "ROOSTD__NAMESPACE__PUBLISH",
            "a [[namespace]] is written in a file",
        ),
    ] {
        let errors = parse_with("", "t", &environment(&[(variable, "1")])).expect_err(variable);
        let lines = lines(&errors);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let start = format!("environment variable {variable}: ");
        assert!(
            lines[0].starts_with(&start) && lines[0].ends_with(end),
            "{}",
            lines[0]
        );
    }
    let errors =
        parse_with("", "t", &environment(&[("ROOSTD__LOG__LEVEL", "")])).expect_err("empty");
    assert!(
        lines(&errors)[0].contains("log.level: found \"\", expected"),
        "{errors}"
    );
}

#[cfg(unix)]
#[test]
fn variables_that_are_no_text() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let mut overrides = Overrides::new();
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    overrides.add_environment([
        (bytes(b"ROOSTD__LOG__LEVEL"), bytes(b"\xFF\n")),
        (bytes(b"\xFF\xFF\xFF"), bytes(b"x")),
        (bytes(b"ROOSTD__\xFF\n"), bytes(b"x")),
    ]);
    let errors = parse_with("", "t", &overrides).expect_err("two mistakes");
    assert_eq!(errors.len(), 2, "{errors}");
    for line in lines(&errors) {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
