//! TLS as OpenSSL's client sees it: which certificate, which clients, and what a reload changes.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::daemon::{Daemon, Log, ROOSTD, Text, dying_with_us};
use crate::tls_files::{ECDSA, TlsFiles};

const REQUEST: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const PAIR: &str = "certificate = \"a.pem\"\nkey = \"a.key\"\n";

/// Whether openssl(1) is there. These tests are about its client; a machine without it, which has all
/// that Roost needs, is told that they did not run. CI installs it.
fn has_openssl() -> bool {
    let version = Command::new("openssl").arg("version").output();
    let is_there = version.is_ok_and(|output| output.status.success());
    if !is_there {
        println!("did not run: openssl(1) is not installed");
    }
    is_there
}

/// A plain listener, for `Daemon`, and one with TLS that has these lines.
fn start(files: &TlsFiles, lines: &str) -> (Daemon, SocketAddr) {
    let config = files.config(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [listener.tls]\n{lines}[echo]\nenabled = true\n"
    ));
    let daemon = Daemon::start(&["--config", &config], Log::Read);
    let address = tls_address(&daemon);
    (daemon, address)
}

fn tls_address(daemon: &Daemon) -> SocketAddr {
    let block = daemon.stdout.wait_for("wss://");
    let url = block.split("wss://").nth(1).expect("waited for");
    let end = url.find([';', '/', '\n']).expect("the line goes on");
    url[..end].parse().expect("an address")
}

fn s_client(address: SocketAddr, args: &[&str]) -> Command {
    let mut command = dying_with_us();
    command.args([
        "timeout", "20", "openssl", "s_client", "-ign_eof", "-connect",
    ]);
    command.arg(address.to_string()).args(args);
    command
}

/// All that OpenSSL's client says while it asks for `/health` and the connection ends.
fn ask(files: &TlsFiles, address: SocketAddr, args: &[&str]) -> String {
    files.write("request", REQUEST);
    let mut command = s_client(address, args);
    command.stdin(File::open(files.path("request")).expect("written"));
    let output = command.output().expect("openssl(1) runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The first certificate of a text.
fn first_certificate(text: &str) -> String {
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    let start = text
        .find(begin)
        .unwrap_or_else(|| panic!("no certificate in\n{text}"));
    let len = text[start..].find(end).expect("it ends");
    text[start..start + len].replace('\r', "")
}

#[track_caller]
fn expect_certificate(files: &TlsFiles, said: &str, file: &str) {
    assert!(said.contains("HTTP/1.1 200"), "{said}");
    assert_eq!(
        first_certificate(said),
        first_certificate(&files.read(file)),
        "not {file}"
    );
}

#[test]
fn new_connections_get_the_certificate_of_the_last_good_reload() {
    if !has_openssl() {
        return;
    }
    let files = TlsFiles::new();
    files.sign("a", 20, ECDSA);
    let (daemon, address) = start(&files, PAIR);
    expect_certificate(&files, &ask(&files, address, &[]), "a.pem");
    let mut before = Held::open(address);

    files.sign("a", 40, ECDSA);
    daemon.signal("HUP");
    daemon.stderr.wait_for("reloaded: certificates are those");
    expect_certificate(&files, &ask(&files, address, &[]), "a.pem");

    files.write("kept.pem", &files.read("a.pem"));
    files.sign("b", 40, ECDSA);
    files.write("a.key", &files.read("b.key"));
    daemon.signal("HUP");
    daemon.stderr.wait_for("not reloaded: nothing has changed");
    files.write("a.pem", "gone");
    expect_certificate(&files, &ask(&files, address, &[]), "kept.pem");

    before.ask_for_health();
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    if !has_openssl() {
        return;
    }
    let files = TlsFiles::new();
    for name in ["a", "b", "*.wide"] {
        files.sign(name, 60, ECDSA);
    }
    let more = "more_certificates = [{ certificate = \"b.pem\", key = \"b.key\" }, { certificate = \
                \"*.wide.pem\", key = \"*.wide.key\" }]\n";
    let (_daemon, address) = start(&files, &format!("{PAIR}{more}"));
    for (name, file) in [
        ("a.example", "a.pem"),
        ("b.example", "b.pem"),
        ("x.wide.example", "*.wide.pem"),
        ("x.y.wide.example", "a.pem"),
        ("unknown.example", "a.pem"),
    ] {
        let said = ask(&files, address, &["-servername", name]);
        expect_certificate(&files, &said, file);
    }
    expect_certificate(&files, &ask(&files, address, &["-noservername"]), "a.pem");
}

#[test]
fn versions_and_tickets_are_as_configured() {
    if !has_openssl() {
        return;
    }
    let files = TlsFiles::new();
    files.sign("a", 60, ECDSA);
    let ticket = "Post-Handshake New Session Ticket arrived";
    let (_daemon, address) = start(&files, PAIR);
    assert!(ask(&files, address, &["-tls1_2"]).contains("HTTP/1.1 200"));
    let said = ask(&files, address, &["-tls1_3"]);
    assert!(
        said.contains("HTTP/1.1 200") && said.contains(ticket),
        "{said}"
    );
    let (_daemon, address) = start(
        &files,
        &format!("{PAIR}min_version = \"1.3\"\ntickets = false\n"),
    );
    let said = ask(&files, address, &["-tls1_2"]);
    assert!(
        !said.contains("HTTP/1.1") && said.contains("protocol version"),
        "{said}"
    );
    let said = ask(&files, address, &["-tls1_3"]);
    assert!(
        said.contains("HTTP/1.1 200") && !said.contains(ticket),
        "{said}"
    );
}

#[test]
fn clients_are_served_as_client_auth_says() {
    if !has_openssl() {
        return;
    }
    let files = TlsFiles::new();
    let strangers = TlsFiles::new();
    files.sign("a", 60, ECDSA);
    files.sign("client", 60, ECDSA);
    strangers.sign("client", 60, ECDSA);
    let path = |files: &TlsFiles, name| files.path(name).to_str().expect("UTF-8").to_owned();
    let (own, key) = (path(&files, "client.pem"), path(&files, "client.key"));
    let own = ["-cert", own.as_str(), "-key", key.as_str()];
    let (other, key) = (
        path(&strangers, "client.pem"),
        path(&strangers, "client.key"),
    );
    let other = ["-cert", other.as_str(), "-key", key.as_str()];
    for (auth, without, with_other) in [("required", false, false), ("optional", true, false)] {
        let lines = format!("{PAIR}client_auth = \"{auth}\"\nclient_ca = \"ca.pem\"\n");
        let (_daemon, address) = start(&files, &lines);
        for (args, is_served) in [(&own[..], true), (&[], without), (&other, with_other)] {
            let said = ask(&files, address, args);
            assert_eq!(
                said.contains("HTTP/1.1 200"),
                is_served,
                "{auth}, {args:?}: {said}"
            );
        }
    }
}

#[test]
fn the_certificate_for_development_is_trusted_by_its_file() {
    if !has_openssl() {
        return;
    }
    let files = TlsFiles::new();
    let mut command = dying_with_us();
    command
        .env("XDG_STATE_HOME", files.path("state"))
        .arg(ROOSTD);
    command.args(["run", "--listen-tls", "127.0.0.1:0", "--self-signed"]);
    let daemon = Daemon::start_as(command, Log::Read);
    let trusted = files.path("state/roost/localhost.crt");
    let trusted = trusted.to_str().expect("UTF-8");
    let args = [
        "-CAfile",
        trusted,
        "-verify_return_error",
        "-verify_hostname",
        "localhost",
    ];
    let said = ask(&files, tls_address(&daemon), &args);
    assert!(said.contains("HTTP/1.1 200"), "{said}");
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
}

/// A connection that stays open until it is asked.
struct Held {
    client: std::process::Child,
    said: Text,
}

impl Held {
    fn open(address: SocketAddr) -> Held {
        let mut command = s_client(address, &[]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut client = command.spawn().expect("openssl(1) runs");
        let said = Text::default();
        said.read(client.stdout.take().expect("it is piped"));
        said.wait_for("Verify return code");
        Held { client, said }
    }

    fn ask_for_health(&mut self) {
        let stdin = self.client.stdin.as_mut().expect("it is piped");
        stdin.write_all(REQUEST.as_bytes()).expect("it reads");
        self.said.wait_for("HTTP/1.1 200");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
