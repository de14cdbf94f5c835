//! A daemon that cannot do what it was asked for says so before it says that it is ready.

use std::path::PathBuf;
use std::process::Command;

use roost_testkit::client::{Client, Request};

use crate::daemon::{Daemon, Ended, Log, ROOSTD, dying_with_us, run};

/// Starts one that is to fail.
#[track_caller]
fn fails(command: Command) -> Ended {
    let ended = run(command);
    assert_eq!(
        ended.status.code(),
        Some(1),
        "{}{}",
        ended.stdout,
        ended.stderr
    );
    assert!(!ended.stderr.contains(": ready "), "{}", ended.stderr);
    ended
}

#[test]
fn a_second_start_on_one_address_fails() {
    for driver in ["epoll", "io_uring"] {
        for reactors in ["1", "2"] {
            let args = ["--driver", driver, "--reactors", reactors];
            let first = Daemon::start(&args, Log::Read);
            let port = first.address.port();
            for host in ["127.0.0.1", "0.0.0.0", "[::]"] {
                let mut second = dying_with_us();
                second.arg(ROOSTD).args(args);
                second.args(["--listen", &format!("{host}:{port}")]);
                let said = fails(second).stderr;
                assert!(said.contains("another process has this address"), "{said}");
            }
            first.check_it_serves();
        }
    }
}

/// A configuration with a TCP port and a unix socket, and their paths; gone with the value.
struct TwoListeners {
    config: PathBuf,
    socket: PathBuf,
}

impl TwoListeners {
    fn new(name: &str) -> TwoListeners {
        let base = std::env::temp_dir().join(format!("roostd-{name}-{}", std::process::id()));
        let (config, socket) = (base.with_extension("toml"), base.with_extension("sock"));
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\nname = \"inside\"\n\
             address = \"unix:{}\"\nsocket_mode = \"0600\"\n[echo]\nenabled = true\n",
            socket.display()
        );
        std::fs::write(&config, text).expect("writes");
        TwoListeners { config, socket }
    }

    fn args(&self) -> [&str; 4] {
        let config = self.config.to_str().expect("UTF-8");
        ["--config", config, "--reactors", "2"]
    }
}

impl Drop for TwoListeners {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.config);
    }
}

#[test]
fn all_listeners_are_served_and_named() {
    for driver in ["epoll", "io_uring"] {
        let two = TwoListeners::new(&format!("named-{driver}"));
        let mut args = two.args().to_vec();
        args.extend(["--driver", driver]);
        let mut daemon = Daemon::start(&args, Log::Read);
        daemon.check_it_serves();
        let block = daemon.stdout.wait_for("  address     unix:");
        let line = format!("  address     unix:{} (inside)", two.socket.display());
        assert!(block.lines().any(|one| one == line), "{block}");
        let mut client = Client::connect_unix(&two.socket).expect("it listens");
        let request = Request::websocket("h", "/echo");
        client.shake_hands(&request).expect("a WebSocket opens");
        client.send_text("inside").expect("it is read");
        client.expect_text("inside").expect("an echo");
        daemon.signal("TERM");
        client.expect_close(1001).expect("it is told");
        client.send_close(1001, "").expect("it is read");
        assert!(daemon.wait().success());
        assert!(!two.socket.exists(), "the file goes with the daemon");
    }
}

#[test]
fn a_socket_that_is_served_is_an_error_and_one_left_behind_is_replaced() {
    let two = TwoListeners::new("served");
    let mut first = Daemon::start(&two.args(), Log::Read);
    let mut second = dying_with_us();
    second.arg(ROOSTD).args(two.args());
    let said = fails(second).stderr;
    for part in [
        "unix:",
        "(listener inside)",
        "another process serves it",
        "Remedy",
    ] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    first.check_it_serves();
    first.signal("KILL");
    first.wait();
    assert!(two.socket.exists(), "it could not remove it");
    let mut third = Daemon::start(&two.args(), Log::Read);
    Client::connect_unix(&two.socket).expect("it listens");
    third.signal("TERM");
    assert!(third.wait().success());
    assert!(!two.socket.exists());
    // Other files stay, and say so.
    std::fs::write(&two.socket, "precious").expect("writes");
    let mut fourth = dying_with_us();
    fourth.arg(ROOSTD).args(two.args());
    let said = fails(fourth).stderr;
    assert!(said.contains("a file that is no socket is there"), "{said}");
    std::fs::remove_file(&two.socket).expect("it is still there");
}

/// Connections that the first one closed are in TIME_WAIT, which is no reason not to start.
#[test]
fn a_restart_on_one_address_succeeds_at_once() {
    let mut first = Daemon::start(&["--reactors", "2"], Log::Read);
    let mut client = first.open();
    first.signal("TERM");
    client.expect_close(1001).expect("it is told");
    client.send_close(1001, "").expect("it is read");
    client.expect_fin().expect("the server ends it first");
    drop(client);
    assert!(first.wait().success());
    let address = first.address.to_string();
    let second = Daemon::start(&["--reactors", "2", "--listen", &address], Log::Read);
    assert_eq!(second.address, first.address);
    second.check_it_serves();
}

#[test]
fn too_few_open_files_are_an_error_with_the_remedy() {
    for (open_files, reactors, remedy) in [
        ("20", "1", "at least 56"),
        ("30", "2", "at least 64"),
        ("64", "8", "at most 2 reactors"),
        ("100", "64", "at most 6 reactors"),
    ] {
        let script = format!(
            "ulimit -n {open_files}; exec {ROOSTD} --listen 127.0.0.1:0 --reactors {reactors}"
        );
        let mut shell = dying_with_us();
        shell.args(["sh", "-c", &script]);
        let said = fails(shell).stderr;
        assert!(
            said.contains(remedy) && said.contains("ulimit -n"),
            "{said}"
        );
    }
}

#[test]
fn what_cannot_be_held_is_said_in_the_block_and_the_log() {
    let script = format!(
        "ulimit -n 200; exec {ROOSTD} --listen 127.0.0.1:0 --reactors 2 --driver epoll \
         --set server.connections_max=5000"
    );
    let mut shell = dying_with_us();
    shell.args(["sh", "-c", &script]);
    let daemon = Daemon::start_as(shell, Log::Read);
    let block = daemon.stdout.wait_for("connections (");
    let line = "200 allowed: up to 140 connections (server.connections_max asks for 5000)";
    assert!(block.contains(line), "{block}");
    daemon
        .stderr
        .wait_for("asks for 5000, and the limit on open files allows 140");
}

#[test]
fn what_is_open_to_all_is_said_once() {
    let daemon = Daemon::start(
        &["--listen", "0.0.0.0:0", "--set", "echo.enabled=true"],
        Log::Read,
    );
    let log = daemon.stderr.wait_for("ready");
    assert_eq!(
        log.matches("open to any client that reaches it").count(),
        1,
        "{log}"
    );
    for part in ["listener.demo_page", "echo.enabled", "publish = "] {
        assert!(log.contains(part), "no {part}: {log}");
    }
    let daemon = Daemon::start(&[], Log::Read);
    let log = daemon.stderr.wait_for("ready");
    assert!(!log.contains("WARN"), "{log}");
}

/// The kernel may choose of six ports, and browsers refuse the first five.
#[test]
fn a_port_that_is_left_to_the_kernel_is_one_that_browsers_connect_to() {
    let narrow = "echo 6665 6670 >/proc/sys/net/ipv4/ip_local_port_range";
    for daemon in in_namespaces("--net", narrow, "0.0.0.0:0") {
        assert_eq!(daemon.address.port(), 6670);
    }
}

/// A filter that allows io_uring_setup and refuses io_uring_enter: the daemon must not find that
/// out when it has said that it is ready.
#[test]
fn auto_falls_back_when_io_uring_enter_alone_is_refused() {
    let script = "
import ctypes, os, struct, sys
arch, enter = {'x86_64': (0xc000003e, 426), 'aarch64': (0xc00000b7, 426)}[os.uname().machine]
step = lambda code, jt, jf, k: struct.pack('HBBI', code, jt, jf, k)
steps = [step(0x20, 0, 0, 4), step(0x15, 0, 3, arch), step(0x20, 0, 0, 0),
         step(0x15, 0, 1, enter), step(0x06, 0, 0, 0x00050000 | 1), step(0x06, 0, 0, 0x7fff0000)]
filter = ctypes.create_string_buffer(b''.join(steps))
program = struct.pack('HxxxxxxP', len(steps), ctypes.addressof(filter))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[1], sys.argv[1:])
";
    let filtered = |driver: &str| {
        let mut python = dying_with_us();
        python.args(["python3", "-c", script, ROOSTD]);
        python.args(["--listen", "127.0.0.1:0", "--driver", driver]);
        python
    };
    let daemon = Daemon::start_as(filtered("auto"), Log::Read);
    let block = daemon.stdout.wait_for("reactors");
    assert!(block.contains("  driver      epoll (auto: "), "{block}");
    daemon.stderr.wait_for("allow io_uring_enter");
    daemon.check_it_serves();
    let said = fails(filtered("io_uring")).stderr;
    assert!(said.contains("allow io_uring_enter"), "{said}");
}

/// A thread that the system does not allow is no address that is taken.
#[test]
fn a_thread_that_cannot_be_started_is_reported_as_that() {
    // Root is not bound by the limit: as another user, which needs a program it may read.
    let directory = std::env::temp_dir().join(format!("roostd-threads-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let program = directory.join("roostd");
    // Copied by another process: see `disallowed-methods` in clippy.toml.
    let copied = Command::new("install")
        .args(["-m", "755", ROOSTD])
        .arg(&program)
        .status();
    assert!(copied.expect("install runs").success());
    let mut limited = Command::new("setpriv");
    limited.args(["--pdeathsig", "KILL"]);
    if is_root() {
        limited.args(["--reuid", "61234", "--regid", "61234", "--clear-groups"]);
    }
    limited.args(["--", "prlimit", "--nproc=2:2"]).arg(&program);
    limited.args(["--listen", "127.0.0.1:0", "--reactors", "16"]);
    let ended = run(limited);
    std::fs::remove_dir_all(&directory).expect("ours");
    let said = ended.stderr;
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot start a thread"), "{said}");
    assert!(said.contains("ulimit -u"), "{said}");
    assert!(!said.contains("cannot listen"), "{said}");
}

#[test]
fn io_uring_and_epoll_start_without_dev_and_proc() {
    let hide = "mount -t tmpfs none /proc && mount -t tmpfs none /sys";
    for daemon in in_namespaces("--mount", hide, "127.0.0.1:0") {
        daemon.check_it_serves();
    }
}

/// A daemon on each driver, one after the other, in a namespace of its own that a shell has prepared; none
/// where that cannot be had.
fn in_namespaces(namespace: &str, prepare: &str, listen: &str) -> impl Iterator<Item = Daemon> {
    let script = format!("{prepare} && exec {ROOSTD} --listen {listen} --driver \"$0\"");
    let namespace = namespace.to_owned();
    let drivers: &[&str] = match can_unshare(&namespace, prepare) {
        true => &["epoll", "io_uring"],
        false => &[],
    };
    drivers
        .iter()
        .map(move |driver| Daemon::start_as(unshared(&namespace, &script, driver), Log::Read))
}

/// A shell's script, which gets `argument` as `$0`, in a namespace of its own.
fn unshared(namespace: &str, script: &str, argument: &str) -> Command {
    let mut shell = dying_with_us();
    shell.args(["unshare", namespace]);
    if !is_root() {
        shell.arg("--map-root-user");
    }
    shell.args(["sh", "-c", script, argument]);
    shell
}

/// Whether that can be had here, and what the script needs done.
fn can_unshare(namespace: &str, script: &str) -> bool {
    let tried = run(unshared(namespace, script, ""));
    if !tried.status.success() {
        eprintln!("skipped: unshare {namespace}: {}", tried.stderr);
    }
    tried.status.success()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout == b"0\n"
}
