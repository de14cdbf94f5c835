//! The servers of a comparison: how each is started, spoken to and ended.
//!
//! A directory holds them: `servers.toml` says what each speaks, `run NAME PORT` becomes the server
//! on 127.0.0.1:PORT, `run NAME version` prints a line.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use roost_net::process::end_with_parent;
use serde::Deserialize;

use crate::dialect::{self, Dialect};
use crate::scenario;

/// A directory of servers.
pub(super) struct Peers {
    dir: PathBuf,
    all: Vec<Peer>,
}

/// A server that can be started.
pub(super) struct Peer {
    /// Its name.
    pub(super) name: String,
    /// What it speaks where Roost speaks raw.
    channels: Option<&'static dyn Dialect>,
    echo: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    channels: Option<String>,
    #[serde(default)]
    echo: bool,
}

impl Peers {
    /// Reads `servers.toml` of a directory.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(dir: &Path) -> Result<Peers, String> {
        let file = dir.join("servers.toml");
        let wrong = |error: String| format!("{}: {error}", file.display());
        let text = fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
        let written: BTreeMap<String, Written> =
            toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let all = written.into_iter().map(|(name, written)| {
            let named = |of: &String| dialect::by_name(of).ok_or_else(|| scenario::unknown(of));
            Ok(Peer {
                channels: written.channels.as_ref().map(named).transpose()?,
                echo: written.echo,
                name,
            })
        });
        Ok(Peers {
            dir: fs::canonicalize(dir).map_err(|error| wrong(error.to_string()))?,
            all: all.collect::<Result<_, String>>().map_err(wrong)?,
        })
    }

    /// The server of that name.
    ///
    /// # Errors
    /// When there is none: those there are.
    pub(super) fn named(&self, name: &str) -> Result<&Peer, String> {
        let found = self.all.iter().find(|peer| peer.name == name);
        found.ok_or_else(|| {
            let all: Vec<_> = self.all.iter().map(|peer| peer.name.as_str()).collect();
            format!("unknown server {name}: there are {}", all.join(", "))
        })
    }

    /// What the server says of its version.
    ///
    /// # Errors
    /// When it says nothing: it may not be installed.
    pub(super) fn version(&self, peer: &Peer) -> Result<String, String> {
        let name = &peer.name;
        let output = end_with_parent(&mut self.command(peer, "version"))
            .output()
            .map_err(|error| format!("{name}: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        match said.lines().next() {
            Some(line) if output.status.success() => Ok(line.trim().to_owned()),
            _ => Err(format!(
                "{name}: {} version: {} (is it installed? {})",
                self.dir.join("run").display(),
                String::from_utf8_lossy(&output.stderr).trim(),
                self.dir.join("install.sh").display()
            )),
        }
    }

    /// Starts the server on a free port and waits until it takes connections.
    ///
    /// # Errors
    /// When it does not start in time: what it said.
    pub(super) fn start(&self, peer: &Peer) -> Result<Running, String> {
        let mut said = String::new();
        for _ in 0..STARTS_MAX {
            match self.start_once(peer) {
                // Another program may have taken the port in the meantime.
                Err(Failure::Ended(why)) => said = why,
                Err(Failure::Other(why)) => return Err(why),
                Ok(running) => return Ok(running),
            }
        }
        Err(said)
    }

    fn start_once(&self, peer: &Peer) -> Result<Running, Failure> {
        let port = free_port()?;
        let log = log_file();
        let file = fs::File::create(&log)?;
        let mut command = self.command(peer, &port.to_string());
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // Its children are ended with it.
            .process_group(0);
        // The keeper ends the whole group; until it runs, the server at least ends with us.
        let child = end_with_parent(&mut command).spawn()?;
        let mut running = Running {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            keeper: keep(child.id()),
            child,
            log,
        };
        running.wait_started()?;
        Ok(running)
    }

    fn command(&self, peer: &Peer, what: &str) -> Command {
        let mut command = Command::new(self.dir.join("run"));
        command.args([peer.name.as_str(), what]);
        // Where this binary is, the daemon is likely to be.
        if std::env::var_os("ROOST_BIN").is_none()
            && let Ok(own) = std::env::current_exe()
            && let Some(dir) = own.parent()
        {
            command.env("ROOST_BIN", dir);
        }
        command
    }
}

impl Peer {
    /// What this server speaks where a scenario has `dialect`: raw or echo.
    ///
    /// # Errors
    /// When it does not speak it.
    pub(super) fn dialect_for(
        &self,
        dialect: &'static dyn Dialect,
    ) -> Result<&'static dyn Dialect, String> {
        match dialect.name() {
            "raw" => self.channels.ok_or_else(|| "it has no channels".to_owned()),
            "echo" if self.echo => Ok(dialect),
            "echo" => Err("it does not echo".to_owned()),
            other => Err(format!("only raw and echo can be compared, not {other}")),
        }
    }
}

/// A server that runs; ended when this is dropped, or when this process ends in any way.
pub(super) struct Running {
    child: Child,
    keeper: io::Result<Child>,
    address: SocketAddr,
    log: PathBuf,
}

impl Running {
    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    fn wait_started(&mut self) -> Result<(), Failure> {
        if let Err(error) = &self.keeper {
            return Err(Failure::Other(format!("sh: {error}")));
        }
        let said = || fs::read_to_string(&self.log).unwrap_or_default();
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(Failure::Ended(format!("{status}\n{}", said().trim())));
            }
            if answers(self.address) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let said = format!("does not listen\n{}", said().trim());
                return Err(Failure::Other(said));
            }
            thread::sleep(START_TICK);
        }
    }
}

/// Why a server did not start.
enum Failure {
    /// It has ended by itself.
    Ended(String),
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Other(error.to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match &mut self.keeper {
            Ok(keeper) => {
                // The end of its standard input is what it waits for.
                drop(keeper.stdin.take());
                let _ = self.child.wait();
                let _ = keeper.wait();
            }
            Err(_) => {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        let _ = fs::remove_file(&self.log);
    }
}

/// Starts a process that ends the group of `pid` when its standard input ends. That happens when we
/// say so, and also when this process is interrupted or killed.
fn keep(pid: u32) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", KEEPER, "keeper", &pid.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Not interrupted with us.
        .process_group(0)
        .spawn()
}

/// Asks first, and insists after five seconds.
const KEEPER: &str = r#"
read -r _
kill -s TERM -- "-$1"
for _ in 1 2 3 4 5 6 7 8 9 10; do
    kill -s 0 -- "-$1" || exit 0
    sleep 0.5
done
kill -s KILL -- "-$1"
"#;

/// Taken from the kernel's choice and given back: another may take it before the server does, which
/// then says so.
fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

fn answers(address: SocketAddr) -> bool {
    // Where there is no listener, a connection may meet itself: its source port is the kernel's choice.
    TcpStream::connect_timeout(&address, START_MAX)
        .is_ok_and(|stream| stream.local_addr().is_ok_and(|own| own != address))
}

fn log_file() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("roost-load-{}-{number}.log", std::process::id());
    std::env::temp_dir().join(name)
}

const STARTS_MAX: usize = 3;
const START_MAX: Duration = Duration::from_secs(15);
const START_TICK: Duration = Duration::from_millis(20);
