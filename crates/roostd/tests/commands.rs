//! The commands take their settings alike: from a file, from standard input, from the environment
//! and from the command line.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use roost_net::process::end_with_parent;

/// Runs the daemon's program to its end, with `input` on standard input.
fn roostd(arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roostd"));
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = end_with_parent(&mut command)
        .spawn()
        .expect("the daemon's program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that does not read may have ended.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const GOOD: &str = "[server]\nreactors = 2\n";
const BAD: &str = "[server]\nreactors = 0\n";

#[test]
fn every_command_reads_standard_input() {
    for arguments in [
        &["check-config", "-"][..],
        &["check-config", "--config", "-"],
    ] {
        let output = roostd(arguments, &[], GOOD);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert_eq!(text(&output.stdout), "standard input: no mistakes\n");
    }
    let output = roostd(&["print-config", "--config", "-"], &[], GOOD);
    let line = format!("{:<44} # standard input:2", "reactors = 2");
    assert!(
        text(&output.stdout).lines().any(|l| l == line),
        "{output:?}"
    );

    for arguments in [
        &["check-config", "-"][..],
        &["check-config", "--config", "-"],
        &["print-config", "--config", "-"],
        &["run", "--config", "-"],
        &["--config", "-"],
    ] {
        let output = roostd(arguments, &[], BAD);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let errors = text(&output.stderr);
        assert!(
            errors.starts_with("standard input:2:12: server.reactors: "),
            "{errors}"
        );
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn every_command_takes_variables_and_set() {
    let variables = [
        ("ROOSTD__SERVER__DRIVR", "epoll"),
        ("ROOSTD__LOG__LEVEL", "loud"),
    ];
    for command in [&["run"][..], &["check-config"], &["print-config"], &[]] {
        let arguments = [
            command,
            &["--set", "limits.nothing=1", "--listen", "::1:8080"],
        ]
        .concat();
        let output = roostd(&arguments, &variables, "");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let errors = text(&output.stderr);
        for part in [
            "environment variable ROOSTD__LOG__LEVEL: log.level: found \"loud\"",
            "did you mean ROOSTD__SERVER__DRIVER?",
            "command line: limits.nothing: found an unknown key",
            "stands in brackets: \"[::1]:8080\"",
            "\n4 mistakes\n",
        ] {
            assert!(
                errors.contains(part),
                "{arguments:?}: {part} is not in\n{errors}"
            );
        }
    }
}

#[test]
fn the_command_line_wins_over_the_environment_over_the_file() {
    let variables = [
        ("ROOSTD__SERVER__REACTORS", "3"),
        ("ROOSTD__SERVER__DRIVER", "epoll"),
    ];
    let arguments = [
        "print-config",
        "--config",
        "-",
        "--set",
        "server.driver=auto",
    ];
    let output = roostd(&arguments, &variables, GOOD);
    let printed = text(&output.stdout);
    for (setting, source) in [
        ("reactors = 3", "environment"),
        ("driver = \"auto\"", "command line"),
        ("connections_max = \"auto\"", "default"),
    ] {
        let line = format!("{setting:<44} # {source}");
        assert!(
            printed.lines().any(|l| l == line),
            "{line} is not in\n{printed}"
        );
    }
}

#[test]
fn without_a_file_the_built_in_configuration_is_checked() {
    let output = roostd(&["check-config"], &[], "");
    assert_eq!(
        text(&output.stdout),
        "config/roost.dev.toml (built in): no mistakes\n"
    );
}

#[test]
fn settings_before_a_command_are_not_lost_in_silence() {
    let output = roostd(&["--config", "-", "check-config"], &[], BAD);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        text(&output.stderr).contains("cannot be used with"),
        "{output:?}"
    );
}
