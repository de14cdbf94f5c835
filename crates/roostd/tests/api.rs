//! The daemon's HTTP API: with the key of development and with keys of the configuration, which
//! stand in no log.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use roost_net::process::end_with_parent;

fn roostd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roostd"));
    command
        .args(arguments)
        .env_remove("RUNTIME_DIRECTORY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it to its end, with `input` on standard input.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = roostd(arguments);
    let mut child = end_with_parent(&mut command).spawn().expect("it starts");
    let _ = child
        .stdin
        .take()
        .expect("it is piped")
        .write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

/// An empty directory, removed with its content.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("roostd-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("makes a directory");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Killed if the test ends before it.
struct Daemon {
    child: Option<Child>,
    /// Lines of standard output up to the one that was waited for.
    said: String,
}

impl Daemon {
    /// Waits until standard output has a line with `wanted`.
    fn start(arguments: &[&str], wanted: &str) -> Daemon {
        let mut command = roostd(&["run", "--listen", "127.0.0.1:0", "--reactors", "2"]);
        command.args(arguments);
        let mut child = end_with_parent(&mut command).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut daemon = Daemon {
            child: Some(child),
            said: String::new(),
        };
        while !daemon.said.contains(wanted) {
            let read = lines
                .read_line(&mut daemon.said)
                .expect("it says something");
            assert_ne!(read, 0, "no {wanted:?} in {}", daemon.said);
        }
        daemon
    }

    /// What stands between two texts of its output.
    fn between(&self, before: &str, after: &str) -> &str {
        let behind = self.said.split(before).nth(1).expect("it says so");
        behind.split(after).next().expect("at least nothing")
    }

    /// Its log.
    fn stop(mut self) -> String {
        let child = self.child.take().expect("it runs");
        let status = Command::new("kill").arg(child.id().to_string()).status();
        assert!(status.expect("kill runs").success());
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn publish(stream: &mut (impl Read + Write), headers: &str) -> String {
    let body = r#"{"channel":"lobby","text":"hello"}"#;
    let length = body.len();
    let request = format!(
        "POST /v1/publish HTTP/1.1\r\nHost: api\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it is served");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// All connections and requests are logged.
const LOUD: [&str; 4] = [
    "--set",
    "log.level=trace",
    "--set",
    "api.listen=[\"127.0.0.1:0\"]",
];

#[test]
fn the_key_of_development_is_printed_and_in_no_log() {
    let daemon = Daemon::start(&LOUD, "--json");
    let address = daemon
        .between("curl http://", "/v1/publish")
        .parse()
        .expect("an address");
    let key = daemon.between("Authorization: Bearer ", "\"").to_owned();
    assert!(key.starts_with("roost_") && key.len() == 38, "{key}");
    let answer = publish(
        &mut connect(address),
        &format!("Authorization: Bearer {key}\r\n"),
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = publish(
        &mut connect(address),
        "Authorization: Bearer roost_wrong_key\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let log = daemon.stop();
    assert!(log.contains("API"), "it says where it listens: {log}");
    assert!(
        !log.contains(&key) && !log.contains("roost_wrong_key"),
        "{log}"
    );
    // Lines of JSON are kept, so they have no key either.
    let mut arguments = LOUD.to_vec();
    arguments.extend(["--set", "log.format=json"]);
    let daemon = Daemon::start(&arguments, "\"api\"");
    assert!(daemon.said.contains("http://127.0.0.1:"), "{}", daemon.said);
    assert!(!has_key(&daemon.said), "{}", daemon.said);
    assert!(!has_key(&daemon.stop()));
}

/// Whether a key of development stands in the text; names of crates begin like one.
fn has_key(text: &str) -> bool {
    let mut candidates = text.split("roost_").skip(1);
    candidates.any(|rest| rest.bytes().take_while(u8::is_ascii_hexdigit).count() == 32)
}

#[test]
fn in_development_a_taken_port_is_replaced() {
    let other = TcpListener::bind("127.0.0.1:0").expect("binds");
    let taken = other.local_addr().expect("it has a port");
    let setting = format!("api.listen=[\"{taken}\"]");
    let daemon = Daemon::start(&["--set", &setting], "--json");
    let address: SocketAddr = daemon
        .between("curl http://", "/v1/publish")
        .parse()
        .expect("one");
    assert_ne!(address, taken);
    drop(daemon);
    // Elsewhere it is an error.
    let directory = Directory::new("api-taken");
    let config = directory.0.join("roost.toml");
    let text = format!("[api]\nlisten = [\"{taken}\"]\n{KEY_SECTION}");
    fs::write(&config, text).expect("writes");
    let config = config.to_str().expect("UTF-8");
    let output = run(&["run", "--config", config, "--listen", "127.0.0.1:0"], "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("give api.listen another"), "{said}");
}

#[test]
fn keys_come_from_files_and_hashes() {
    let directory = Directory::new("api-keys");
    let (config, key) = (directory.0.join("roost.toml"), directory.0.join("shop.key"));
    fs::write(&key, "the-key-of-the-shop\n").expect("writes");
    let text = format!(
        "[log]\nlevel = \"trace\"\n[api]\nlisten = [\"127.0.0.1:0\"]\n{KEY_SECTION}\
         [[api.key]]\nname = \"file\"\nkey_file = \"shop.key\"\nallow = [\"publish:lobby\"]\n"
    );
    fs::write(&config, &text).expect("writes");
    let name = config.to_str().expect("UTF-8");
    let checked = run(&["check-config", name], "");
    assert!(checked.status.success(), "{checked:?}");
    let daemon = Daemon::start(&["--config", name], "\n  config ");
    let address = daemon
        .between("api         http://", "\n")
        .parse()
        .expect("an address");
    for key in ["the-key-of-the-hash", "the-key-of-the-shop"] {
        let answer = publish(&mut connect(address), &format!("X-API-Key: {key}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{key}: {answer}");
    }
    let log = daemon.stop();
    assert!(!log.contains("the-key-of"), "{log}");
    assert!(log.contains("every user of this machine can read"), "{log}");
    // A key that can be guessed, or is not there.
    for content in [Some("short"), None] {
        match content {
            Some(content) => fs::write(&key, content).expect("writes"),
            None => fs::remove_file(&key).expect("it is there"),
        }
        for command in ["check-config", "run"] {
            let output = run(&[command, "--config", name], "");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{command}: {said}");
            assert!(
                said.contains("api.key \"file\"") && said.contains("shop.key"),
                "{said}"
            );
        }
    }
}

#[test]
fn a_unix_socket_needs_no_key() {
    let directory = Directory::new("api-socket");
    let (config, socket) = (directory.0.join("roost.toml"), directory.0.join("api.sock"));
    fs::write(
        &config,
        format!("[api]\nlisten = [\"unix:{}\"]\n", socket.display()),
    )
    .expect("writes");
    let daemon = Daemon::start(
        &["--config", config.to_str().expect("UTF-8")],
        "\n  config ",
    );
    let answer = publish(&mut UnixStream::connect(&socket).expect("it is served"), "");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    daemon.stop();
    assert!(!Path::new(&socket).exists(), "the socket is left behind");
}

#[test]
fn a_key_is_hashed_for_the_configuration() {
    let output = run(&["hash-key"], "the-key-of-the-hash\n");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        KEY_SECTION.contains(line.trim_end()) && line.starts_with("sha256 = "),
        "{line}"
    );
    let output = run(&["hash-key"], "short\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        !String::from_utf8_lossy(&output.stderr).contains("short"),
        "{output:?}"
    );
    let output = run(&["hash-key", "--new"], "");
    let section = String::from_utf8_lossy(&output.stdout).into_owned();
    let config = format!("[api]\nlisten = [\"127.0.0.1:0\"]\n{section}");
    let output = run(&["check-config", "-"], &config);
    assert!(output.status.success(), "{section}: {output:?}");
}

/// The key is "the-key-of-the-hash".
const KEY_SECTION: &str = "[[api.key]]\nname = \"hash\"\n\
    sha256 = \"ab6e6306ca417a4fc20350810956151069517498b50ae279461c85f87d16a467\"\nallow = [\"publish\"]\n";
const DEADLINE: Duration = Duration::from_secs(30);
