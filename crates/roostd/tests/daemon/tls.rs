//! TLS before a client comes: mistakes in files, what the start says, and SIGHUP.

use crate::daemon::{Daemon, Ended, Log, ROOSTD, dying_with_us, run};
use crate::tls_files::{ECDSA, RSA, TlsFiles};

/// Runs a command of the program, which is to end.
fn roostd(args: &[&str]) -> Ended {
    let mut command = dying_with_us();
    command.arg(ROOSTD).args(args);
    run(command)
}

/// A plain listener, for `Daemon`, and one with TLS that has these further lines.
fn with_tls(lines: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\nname = \"public\"\n\
         address = \"127.0.0.1:0\"\ndemo_page = true\n[listener.tls]\n{lines}[echo]\nenabled = true\n"
    )
}

const PAIR: &str = "certificate = \"a.pem\"\nkey = \"a.key\"\n";

/// Both find the same: `check-config`, and a start before it listens.
#[test]
fn every_mistake_in_the_files_is_found_before_the_start() {
    let files = TlsFiles::new();
    files.sign("a", 60, ECDSA);
    files.sign("b", 60, ECDSA);
    files.sign("old", -1, ECDSA);
    let chain = files.read("a.pem");
    let second = chain.rfind("-----BEGIN").expect("two certificates");
    let turned = format!("{}{}", &chain[second..], &chain[..second]);
    files.write("turned.pem", &turned);
    files.write("short", "too short");
    let pair = |certificate: &str, key: &str| {
        format!("certificate = \"{certificate}\"\nkey = \"{key}\"\n")
    };
    let and = |lines: &str| format!("{PAIR}{lines}\n");
    let more = "more_certificates = [{ certificate = \"b.pem\", key = \"none.key\" }]";
    let authority = "client_auth = \"required\"\nclient_ca = \"b.key\"";
    let crl = "client_auth = \"optional\"\nclient_ca = \"ca.pem\"\nclient_crl = \"b.pem\"";
    for (lines, key, file, what) in [
        (
            pair("a.pem", "b.key"),
            "key",
            "b.key",
            "does not belong to the certificate",
        ),
        (
            pair("old.pem", "old.key"),
            "certificate",
            "old.pem",
            "has expired on",
        ),
        (
            pair("turned.pem", "a.key"),
            "certificate",
            "turned.pem",
            "wrong order",
        ),
        (
            pair("none.pem", "a.key"),
            "certificate",
            "none.pem",
            "No such file",
        ),
        (pair("a.pem", "ca.pem"), "key", "ca.pem", "interchanged"),
        (and("ocsp = \"short\""), "ocsp", "short", "no OCSP response"),
        (
            and("tickets_secret_file = \"short\""),
            "tickets_secret_file",
            "short",
            "at least 32",
        ),
        (and(authority), "client_ca", "b.key", "no certificate in it"),
        (and(crl), "client_crl", "b.pem", "no revocation list in it"),
        (and(more), "more_certificates", "none.key", "No such file"),
    ] {
        let text = with_tls(&lines);
        let config = files.config(&text);
        let row = text
            .lines()
            .position(|line| line.starts_with(&format!("{key} = ")));
        let row = row.expect("the key is written") + 1;
        for args in [
            &["check-config", &config][..],
            &["run", "--config", &config],
        ] {
            let ended = roostd(args);
            let said = &ended.stderr;
            assert_eq!(ended.status.code(), Some(1), "{args:?}: {said}");
            assert_eq!(ended.stdout, "", "{args:?}");
            let line = said.lines().find(|line| line.contains(what));
            let line = line.unwrap_or_else(|| panic!("no {what:?} in\n{said}"));
            assert!(line.contains(&format!(".tls.{key}: ")), "{line}");
            assert!(line.contains(&format!("/{file}: ")), "{line}");
            let place = format!("{config}:{row}:1: listener \"public\".tls.");
            assert!(line.starts_with(&place), "{line}\nis not {place}");
            assert!(said.ends_with("1 mistake\n"), "{said}");
        }
    }
}

#[test]
fn a_file_that_two_keys_name_is_blamed_on_both() {
    let files = TlsFiles::new();
    files.write("both.pem", "nothing");
    let config = files.config(&with_tls(
        "certificate = \"both.pem\"\nkey = \"both.pem\"\n",
    ));
    let said = roostd(&["check-config", &config]).stderr;
    let keys = "listener \"public\".tls.certificate and listener \"public\".tls.key: ";
    assert!(said.contains(keys), "{said}");
}

#[test]
fn mistakes_of_all_listeners_are_told_at_once() {
    let files = TlsFiles::new();
    files.sign("a", 60, ECDSA);
    let config = files.config(
        "[[listener]]\ntls = { certificate = \"a.pem\", key = \"none.key\" }\n[[listener]]\naddress = \
         \"127.0.0.1:1\"\ntls = { certificate = \"none.pem\", key = \"a.key\" }\n",
    );
    let said = roostd(&["check-config", &config]).stderr;
    for part in [
        "roost.toml:2:32: listener.tls.key: ",
        "roost.toml:5:9: listener[1].tls.certificate: ",
        "\n2 mistakes\n",
    ] {
        assert!(said.contains(part), "no {part} in\n{said}");
    }
}

#[test]
fn what_should_be_put_right_is_a_warning() {
    let files = TlsFiles::new();
    files.sign("soon", 5, ECDSA);
    files.sign("rsa", 60, RSA);
    files.set_mode("rsa.key", 0o644);
    let config = files.config(&format!(
        "[[listener]]\naddress = \"unix:{}\"\n[listener.tls]\ncertificate = \"soon.pem\"\nkey = \
         \"soon.key\"\nmore_certificates = [{{ certificate = \"rsa.pem\", key = \"rsa.key\" }}]\n",
        files.path("clients.sock").display()
    ));
    let ended = roostd(&["check-config", &config]);
    let said = &ended.stderr;
    assert!(ended.status.success(), "{said}");
    assert_eq!(
        ended.stdout,
        format!("{config}: no mistakes, 4 warnings\n"),
        "{said}"
    );
    for part in [
        "TLS on a unix socket",
        "soon.pem: certificate 1 of the chain expires on",
        "rsa.key: the private key can be read by every user",
        "RSA",
    ] {
        let line = said.lines().find(|line| line.contains(part));
        let line = line.unwrap_or_else(|| panic!("no {part} in\n{said}"));
        assert!(
            line.starts_with("warning: ") && line.contains(": listener.tls."),
            "{line}"
        );
    }
}

#[test]
fn the_start_says_where_tls_is_and_until_when() {
    let files = TlsFiles::new();
    files.sign("a", 60, ECDSA);
    files.sign("soon", 5, ECDSA);
    let config = files.config(&with_tls(PAIR));
    let daemon = Daemon::start(&["--config", &config], Log::Read);
    let block = daemon.stdout.wait_for("wss://127.0.0.1:");
    assert!(
        block.contains("; the certificate is valid until 20"),
        "{block}"
    );
    daemon.stdout.wait_for("Open https://127.0.0.1:");
    daemon.check_it_serves(); // the plain one
    let log = daemon.stderr.wait_for(" ready ");
    assert!(!log.contains("WARN"), "{log}");
    let left = daemon.count("tls_certificate_expires_seconds");
    assert!((59 * 86_400..=60 * 86_400).contains(&left), "{left}");
    let stats = daemon.admin("/metrics");
    let sample = "\nroost_tls_certificate_expires_seconds{listener=\"public\"} ";
    assert!(stats.contains(sample), "{stats}");

    let config = files.config(&with_tls(
        "certificate = \"soon.pem\"\nkey = \"soon.key\"\n",
    ));
    let daemon = Daemon::start_logging("info", "json", &["--config", &config]);
    let block = daemon.stdout.wait_for("certificate_valid_until");
    assert!(block.contains("\"tls\":[{"), "{block}");
    let log = daemon.stderr.wait_for("\"ready\"");
    assert!(
        log.contains("\"WARN\"") && log.contains("expires on"),
        "{log}"
    );
}

#[test]
fn sighup_takes_good_files_and_keeps_what_was_for_bad_ones() {
    let files = TlsFiles::new();
    files.sign("a", 20, ECDSA);
    let config = files.config(&with_tls(PAIR));
    let daemon = Daemon::start(&["--config", &config], Log::Read);
    let mut client = daemon.open();
    let days_left = || {
        daemon
            .count("tls_certificate_expires_seconds")
            .div_ceil(86_400)
    };
    let wait_for_days = |days| {
        // The line of the log may come before the date is known to the statistics.
        crate::daemon::wait_until(
            || days_left() == days,
            || format!("{} days are left: {}", days_left(), daemon.stderr.get()),
        );
    };
    wait_for_days(20);

    files.sign("a", 40, ECDSA);
    daemon.signal("HUP");
    daemon.stderr.wait_for("reloaded: certificates are those");
    wait_for_days(40);
    assert_eq!(daemon.count("tls_reloads_total"), 1);
    assert_eq!(daemon.count("tls_reloads_failed_total"), 0);

    files.write("a.key", "broken");
    daemon.signal("HUP");
    let log = daemon.stderr.wait_for("not reloaded: nothing has changed");
    let file = files.path("a.key");
    let line = log
        .lines()
        .find(|line| line.contains(file.to_str().expect("UTF-8")));
    let line = line.unwrap_or_else(|| panic!("the file is not named in\n{log}"));
    assert!(
        line.contains("ERROR") && line.contains("no private key in PEM"),
        "{line}"
    );
    assert_eq!(days_left(), 40, "it keeps what it had");
    assert_eq!(daemon.count("tls_reloads_total"), 2);
    assert_eq!(daemon.count("tls_reloads_failed_total"), 1);

    files.sign("a", 60, ECDSA);
    daemon.signal("HUP");
    wait_for_days(60);
    client.send_text("still there?").expect("it is read");
    client.expect_text("still there?").expect("an echo");
}

#[test]
fn tls_for_development_needs_no_file() {
    let files = TlsFiles::new();
    let state = files.path("state");
    let start = || {
        let mut command = dying_with_us();
        command.env("XDG_STATE_HOME", &state).arg(ROOSTD);
        command.args(["run", "--listen-tls", "127.0.0.1:0", "--self-signed"]);
        Daemon::start_as(command, Log::Read)
    };
    let fingerprint = |daemon: &Daemon| {
        let block = daemon.stdout.wait_for("  Python ");
        assert!(block.contains("Open https://127.0.0.1:"), "{block}");
        let line = block
            .lines()
            .find_map(|line| line.strip_prefix("  SHA-256      "));
        line.unwrap_or_else(|| panic!("no fingerprint in\n{block}"))
            .to_owned()
    };
    let first = fingerprint(&start());
    assert_eq!(fingerprint(&start()), first, "it is kept");
    let public = files.read("state/roost/localhost.crt");
    assert!(
        public.contains("CERTIFICATE") && !public.contains("KEY"),
        "{public}"
    );
}

#[test]
fn options_of_tls_that_do_not_go_together_say_so() {
    for (args, status, part) in [
        (&["--listen-tls", "127.0.0.1:0"][..], 1, "--self-signed"),
        (&["--self-signed"], 2, "--listen-tls"),
        (
            &["--listen-tls", "127.0.0.1:0", "--listen", "127.0.0.1:0"],
            2,
            "cannot be used with",
        ),
        (
            &["--listen-tls", "127.0.0.1:0", "--tls-certificate", "a"],
            1,
            "listener.tls.certificate: found \"a\"",
        ),
        (
            &["--listen-tls", "127.0.0.1:0", "--tls-key", "a"],
            1,
            "listener.tls.key: found \"a\"",
        ),
        (
            &[
                "--listen-tls",
                "127.0.0.1:0",
                "--self-signed",
                "--tls-certificate",
                "a",
            ],
            2,
            "cannot be used with",
        ),
    ] {
        let args = [&["run"], args].concat();
        let ended = roostd(&args);
        assert_eq!(
            ended.status.code(),
            Some(status),
            "{args:?}: {}",
            ended.stderr
        );
        assert!(ended.stderr.contains(part), "{args:?}: {}", ended.stderr);
    }
    let mut nowhere = dying_with_us();
    nowhere
        .env_remove("XDG_STATE_HOME")
        .env_remove("HOME")
        .arg(ROOSTD);
    nowhere.args(["run", "--listen-tls", "127.0.0.1:0", "--self-signed"]);
    let ended = run(nowhere);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("neither XDG_STATE_HOME nor HOME"),
        "{}",
        ended.stderr
    );
}
