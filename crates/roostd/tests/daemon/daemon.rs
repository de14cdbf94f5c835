//! A daemon on a free port, for as long as its value lives.

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use roost_testkit::client::{Client, Request};
pub(crate) use roost_testkit::server::wait_until;

/// The program under test.
pub(crate) const ROOSTD: &str = env!("CARGO_BIN_EXE_roostd");

/// What the daemon's standard error is.
pub(crate) enum Log {
    /// A pipe that is read to its end.
    Read,
    /// A pipe whose reader has gone.
    Gone,
    /// A pipe that is not read.
    Stalled,
    /// A disk without room.
    DiskFull,
}

/// A running daemon. Dropping it kills it; it also dies with the thread that started it.
pub(crate) struct Daemon {
    /// The admin listener's socket.
    admin: PathBuf,
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it has written to standard output and, with [`Log::Read`], to standard error.
    pub(crate) stdout: Text,
    pub(crate) stderr: Text,
    /// The other end of a pipe that is not read yet.
    stalled: Option<PipeReader>,
}

/// What a pipe has brought until now.
#[derive(Clone, Default)]
pub(crate) struct Text(Arc<Mutex<String>>);

impl Text {
    pub(crate) fn get(&self) -> String {
        self.0.lock().expect("no thread panics with it").clone()
    }

    /// Reads in a thread of its own, until the pipe ends.
    pub(crate) fn read(&self, pipe: impl Read + Send + 'static) {
        let text = self.0.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut text = text.lock().expect("no thread panics with it");
                text.push_str(&line);
                text.push('\n');
            }
        });
    }

    /// Waits until something has been written.
    #[track_caller]
    pub(crate) fn wait_for(&self, wanted: &str) -> String {
        wait_until(
            || self.get().contains(wanted),
            || format!("no {wanted:?} in:\n{}", self.get()),
        );
        self.get()
    }
}

impl Daemon {
    /// Starts one with these arguments and waits until it says where it listens.
    #[track_caller]
    pub(crate) fn start(args: &[&str], log: Log) -> Daemon {
        Daemon::start_as(command(ROOSTD, args), log)
    }

    /// Starts one that keeps its log, in this format at this level.
    #[track_caller]
    pub(crate) fn start_logging(level: &str, format: &str, args: &[&str]) -> Daemon {
        let (level, format) = (format!("log.level={level}"), format!("log.format={format}"));
        let mut all = vec!["--set", level.as_str(), "--set", format.as_str()];
        all.extend(args);
        Daemon::start(&all, Log::Read)
    }

    #[track_caller]
    pub(crate) fn start_as(mut command: Command, log: Log) -> Daemon {
        let admin = admin_socket();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.env("ROOSTD__ADMIN__SOCKET", &admin);
        let mut stalled = None;
        match log {
            Log::Read => command.stderr(Stdio::piped()),
            Log::Gone => {
                let (reader, writer) = io::pipe().expect("a pipe");
                drop(reader);
                command.stderr(writer)
            }
            Log::Stalled => {
                let (reader, writer) = io::pipe().expect("a pipe");
                stalled = Some(reader);
                command.stderr(writer)
            }
            Log::DiskFull => {
                let full = File::options().write(true).open("/dev/full");
                command.stderr(full.expect("Linux has it"))
            }
        };
        let mut child = command.spawn().expect("the program starts");
        drop(command); // with its ends of the pipes
        let (stdout, stderr) = (Text::default(), Text::default());
        stdout.read(child.stdout.take().expect("it is piped"));
        if let Some(pipe) = child.stderr.take() {
            stderr.read(pipe);
        }
        let mut daemon = Daemon {
            child,
            admin,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            stdout,
            stderr,
            stalled,
        };
        daemon.address = daemon.wait_for_address();
        daemon
    }

    #[track_caller]
    fn wait_for_address(&mut self) -> SocketAddr {
        let address = |stdout: &str| {
            let text = stdout
                .lines()
                .find_map(|line| line.strip_prefix("  address "));
            let json = || stdout.split("\"addresses\":[\"").nth(1)?.split('"').next();
            text.or_else(json)?.split_whitespace().next()?.parse().ok()
        };
        wait_until(
            || address(&self.stdout.get()).is_some(),
            || format!("no address: {}{}", self.stdout.get(), self.stderr.get()),
        );
        address(&self.stdout.get()).expect("it is there")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name or number.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(status.expect("kill runs").success(), "no signal {signal}");
    }

    /// A client with an open WebSocket on the echo path.
    #[track_caller]
    pub(crate) fn open(&self) -> Client {
        Client::open(self.address, "/echo").expect("a WebSocket opens")
    }

    /// A new client is served.
    #[track_caller]
    pub(crate) fn check_it_serves(&self) {
        let mut client = self.open();
        client.send_text("still there?").expect("it is read");
        client.expect_text("still there?").expect("an echo");
        client.close().expect("a closing handshake");
    }

    /// What `GET /stats` says of a counter.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        let stats = self.admin("/stats");
        let value = stats.split(&format!("\"{name}\":")).nth(1);
        let value = value.and_then(|rest| rest.split([',', '}']).next());
        let value = value.unwrap_or_else(|| panic!("no {name} in {stats}"));
        value.trim().parse().expect("a number")
    }

    /// What the admin listener answers, its head too.
    #[track_caller]
    pub(crate) fn admin(&self, path: &str) -> String {
        self.ask_admin("GET", path)
    }

    /// The same of what changes something.
    #[track_caller]
    pub(crate) fn post(&self, path: &str) -> String {
        self.ask_admin("POST", path)
    }

    #[track_caller]
    fn ask_admin(&self, method: &str, path: &str) -> String {
        let mut admin = UnixStream::connect(&self.admin).expect("the admin socket is served");
        let request = format!("{method} {path} HTTP/1.0\r\n\r\n");
        admin.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        admin.read_to_string(&mut answer).expect("it answers");
        answer
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> String {
        let mut client = Client::connect(self.address).expect("it accepts");
        client.send(&Request::get("h", path).bytes()).expect("sent");
        let response = client.read_response().expect("an answer");
        let body = client.read_body(&response).expect("a body");
        String::from_utf8(body).expect("text")
    }

    /// Reads the log from now on.
    pub(crate) fn read_stalled_log(&mut self) {
        self.stderr
            .read(self.stalled.take().expect("it was stalled"));
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for(&mut self.child, DEADLINE)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.admin);
    }
}

/// A program that dies with the thread that starts it, on a free port unless its arguments name one.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = dying_with_us();
    command.arg(program).args(args);
    if !args.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command
}

/// setpriv(1) starts what follows as the same process.
pub(crate) fn dying_with_us() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    command
}

/// What became of a program that ends by itself.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end.
#[track_caller]
pub(crate) fn run(mut command: Command) -> Ended {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    let mut guard = KillOnDrop(child);
    let (stdout, stderr) = (Text::default(), Text::default());
    stdout.read(guard.0.stdout.take().expect("it is piped"));
    stderr.read(guard.0.stderr.take().expect("it is piped"));
    let status = wait_for(&mut guard.0, DEADLINE);
    thread::sleep(Duration::from_millis(50)); // for the last line
    Ended {
        status,
        stdout: stdout.get(),
        stderr: stderr.get(),
    }
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
pub(crate) fn wait_for(child: &mut Child, within: Duration) -> ExitStatus {
    let until = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return status;
        }
        assert!(Instant::now() < until, "it does not end");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How long to wait for what must happen. Machines that test are busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A path that no other daemon has.
fn admin_socket() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("roostd-test-{}-{number}.sock", std::process::id());
    std::env::temp_dir().join(name)
}
