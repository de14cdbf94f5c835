//! The daemon's admin listeners: served while it runs, gone when it has stopped, and an error at its
//! start where they cannot be.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use roost_net::process::end_with_parent;

fn roostd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roostd"));
    command
        .args(["run", "--listen", "127.0.0.1:0", "--reactors", "2"])
        .args(arguments)
        .env_remove("RUNTIME_DIRECTORY")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
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

/// Killed if the test ends before it, however that happens.
struct Daemon(Option<Child>);

impl Daemon {
    fn start(mut command: Command) -> Daemon {
        let child = end_with_parent(&mut command).spawn();
        Daemon(Some(child.expect("starts")))
    }

    fn stop(mut self) -> Output {
        let child = self.0.take().expect("it runs");
        let status = Command::new("kill").arg(child.id().to_string()).status();
        assert!(status.expect("kill runs").success());
        child.wait_with_output().expect("it ends")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn get(socket: &Path, path: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: roost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    Some(answer)
}

fn wait_until_ready(socket: &Path) {
    let until = Instant::now() + DEADLINE;
    while !get(socket, "/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        assert!(Instant::now() < until, "it does not become ready");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_socket_is_served_and_goes_with_the_daemon() {
    let directory = Directory::new("admin-served");
    let socket = directory.0.join("admin.sock");
    for in_runtime_directory in [false, true] {
        let setting = format!("admin.socket={}", socket.display());
        let command = if in_runtime_directory {
            let mut command = roostd(&[]);
            command.env("RUNTIME_DIRECTORY", &directory.0);
            command
        } else {
            roostd(&["--set", &setting])
        };
        let daemon = Daemon::start(command);
        wait_until_ready(&socket);
        let metrics = get(&socket, "/metrics").expect("it is served");
        let version = format!(
            "roost_build_info{{version=\"{}\"",
            env!("CARGO_PKG_VERSION")
        );
        assert!(metrics.contains(&version), "{metrics}");
        let output = daemon.stop();
        assert!(output.status.success(), "{output:?}");
        assert!(!socket.exists(), "the socket is left behind");
    }
}

#[test]
fn what_cannot_be_bound_is_an_error_at_the_start() {
    let directory = Directory::new("admin-refused");
    let socket = directory.0.join("admin.sock");
    let _other = UnixListener::bind(&socket).expect("binds");
    let taken = format!("admin.socket={}", socket.display());
    for (setting, expected) in [
        (taken.as_str(), "another process serves it"),
        ("admin.socket=/nowhere/admin.sock", "make its directory"),
        (
            "admin.listen=192.0.2.1:9090",
            "no interface here has this address",
        ),
    ] {
        let output = roostd(&["--set", setting])
            .output()
            .expect("it ends by itself");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{setting}: {output:?}");
        assert!(
            said.contains(expected) && said.contains("Remedy"),
            "{setting}: {said}"
        );
        assert!(output.stdout.is_empty(), "it has listened: {output:?}");
    }
}

const DEADLINE: Duration = Duration::from_secs(30);
