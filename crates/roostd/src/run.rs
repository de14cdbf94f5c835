//! Starting, saying what was started, and stopping.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::thread;

use roost_config::{self as config, Loaded};
use roost_net::epoll::{EpollDriver, EpollOptions};
use roost_net::limits;
use roost_net::uring::{UringDriver, UringOptions};
use roost_reactor::{Server, Stopper};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{info, warn};

use crate::worst::WorstCase;
use crate::{logging, notify, settings};

/// Runs the daemon until it is told to stop. The error is a message for people.
pub(crate) fn run(loaded: &Loaded) -> Result<(), String> {
    let from = &loaded.settings;
    logging::init(&from.log);
    let mut signals =
        Signals::new([SIGINT, SIGTERM]).map_err(|error| format!("signals: {error}"))?;
    let open_files =
        limits::raise_open_files().map_err(|error| format!("limit on open files: {error}"))?;
    let reactors = match from.server.reactors {
        Some(reactors) => reactors as usize,
        None => thread::available_parallelism().map_or(1, |cores| cores.get().min(256)),
    };
    let choice = choose_driver(from, open_files)?;
    let allowed = choice.connections_allowed(open_files, reactors);
    let connections_max = match from.server.connections_max {
        Some(max) if u64::from(max) > allowed => {
            warn!(
                connections_max = max,
                allowed, "more connections wanted than can be open"
            );
            max
        }
        Some(max) => max,
        None => u32::try_from(allowed).unwrap_or(u32::MAX),
    };
    let server = start(from, &choice, reactors, connections_max)
        .map_err(|error| start_error(from, &error))?;
    let banner = banner(
        loaded,
        &server,
        &choice,
        reactors,
        open_files,
        connections_max,
    );
    // A closed standard output is no reason to stop serving.
    let _ = io::stdout()
        .write_all(banner.as_bytes())
        .and_then(|()| io::stdout().flush());
    info!(address = %server.address(), driver = choice.name(), reactors, "ready");
    notify::notify("READY=1");

    let stopper = server.stopper();
    let drain_ms = from.server.drain_timeout_ms;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || stop_on_signals(&mut signals, &stopper, drain_ms))
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let ended = server
        .join()
        .map_err(|error| format!("a reactor ended: {error}"));
    info!("stopped");
    ended
}

/// The first signal drains, the second ends the process at once.
fn stop_on_signals(signals: &mut Signals, stopper: &Stopper, drain_ms: u32) {
    let mut draining = false;
    for _ in signals.forever() {
        if draining {
            std::process::exit(EXIT_SECOND_SIGNAL);
        }
        draining = true;
        info!(drain_ms, "stopping; once more to stop at once");
        notify::notify("STOPPING=1");
        stopper.begin_stop(drain_ms);
    }
}

/// The driver to use, and why.
struct Choice {
    driver: Chosen,
    reason: String,
}

pub(crate) enum Chosen {
    Epoll(EpollOptions),
    Uring(UringOptions),
}

impl Choice {
    fn name(&self) -> &'static str {
        match self.driver {
            Chosen::Epoll(_) => "epoll",
            Chosen::Uring(_) => "io_uring",
        }
    }

    /// How many connections the limit on open files allows.
    fn connections_allowed(&self, open_files: u64, reactors: usize) -> u64 {
        match &self.driver {
            Chosen::Uring(UringOptions {
                direct_slots: Some(slots),
                ..
            }) => u64::from(*slots) * reactors as u64,
            Chosen::Epoll(_) | Chosen::Uring(_) => {
                let reserved = OPEN_FILES_BASE + OPEN_FILES_PER_REACTOR * reactors as u64;
                open_files.saturating_sub(reserved)
            }
        }
    }
}

/// Tries the wanted driver. Only `auto` falls back, and says so.
fn choose_driver(from: &config::Settings, open_files: u64) -> Result<Choice, String> {
    let epoll = Chosen::Epoll(EpollOptions {
        read_buffer_bytes: from.epoll.read_buffer_bytes,
        ..EpollOptions::default()
    });
    let uring = uring_options(&from.io_uring, open_files);
    let works = || UringDriver::new(&uring).map(drop);
    match from.server.driver {
        config::Driver::Epoll => Ok(Choice {
            driver: epoll,
            reason: "as configured".to_owned(),
        }),
        config::Driver::IoUring => match works() {
            Ok(()) => Ok(Choice {
                driver: Chosen::Uring(uring),
                reason: "as configured".to_owned(),
            }),
            Err(error) => Err(format!(
                "server.driver is io_uring, which does not run here: {error}. \
                 Remedy: what it names, or driver = \"epoll\" (or \"auto\")."
            )),
        },
        config::Driver::Auto => match works() {
            Ok(()) => {
                let reason = "auto: this kernel has all it needs".to_owned();
                Ok(Choice {
                    driver: Chosen::Uring(uring),
                    reason,
                })
            }
            Err(error) => {
                warn!(%error, "io_uring does not run here; using epoll");
                let reason = format!("auto: io_uring does not run here: {error}");
                Ok(Choice {
                    driver: epoll,
                    reason,
                })
            }
        },
    }
}

fn uring_options(from: &config::IoUring, open_files: u64) -> UringOptions {
    let auto_slots = u32::try_from(open_files.saturating_sub(DIRECT_SLOTS_RESERVED));
    let direct_slots = from
        .direct_descriptors
        .then(|| from.direct_slots.unwrap_or(auto_slots.unwrap_or(u32::MAX)));
    UringOptions {
        entries: from.entries,
        cq_entries: from.entries * 4,
        buffers: u16::try_from(from.buffers).unwrap_or(u16::MAX),
        buffer_bytes: u32::try_from(from.buffer_bytes).unwrap_or(u32::MAX),
        direct_slots,
    }
}

fn start(
    from: &config::Settings,
    choice: &Choice,
    reactors: usize,
    connections_max: u32,
) -> io::Result<Server> {
    let settings = settings::for_reactors(from, connections_max);
    match &choice.driver {
        Chosen::Epoll(options) => {
            let options = options.clone();
            Server::start(settings, reactors, move || EpollDriver::new(&options))
        }
        Chosen::Uring(options) => {
            let options = options.clone();
            Server::start(settings, reactors, move || UringDriver::new(&options))
        }
    }
}

fn start_error(from: &config::Settings, error: &io::Error) -> String {
    let address = from.listener.address;
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process has this address: stop it, or give another with --listen"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE, or another with --listen"
        }
        io::ErrorKind::AddrNotAvailable => "no interface here has this address",
        _ => "see the error",
    };
    format!("cannot listen on {address}: {error}. Remedy: {remedy}.")
}

/// One short block that says what runs.
fn banner(
    loaded: &Loaded,
    server: &Server,
    choice: &Choice,
    reactors: usize,
    open_files: u64,
    connections_max: u32,
) -> String {
    let address = server.address();
    let config = if loaded.file_name.is_empty() {
        "built-in defaults"
    } else {
        &loaded.file_name
    };
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "Roost {}", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "  address     {address}");
    let _ = writeln!(out, "  driver      {} ({})", choice.name(), choice.reason);
    let _ = writeln!(out, "  reactors    {reactors}");
    let _ = writeln!(
        out,
        "  open files  {open_files} allowed: up to {connections_max} connections"
    );
    let worst = WorstCase::of(
        &loaded.settings,
        &choice.driver,
        reactors as u64,
        u64::from(connections_max),
    );
    let _ = writeln!(out, "  memory      {worst}");
    let _ = writeln!(out, "  config      {config}");
    if loaded.settings.listener.demo_page {
        let _ = writeln!(
            out,
            "\nOpen http://{}/ in a browser, twice.",
            browsable(address)
        );
    } else if loaded.settings.raw.enabled {
        let _ = writeln!(out, "\nConnect to ws://{}/raw/CHANNEL.", browsable(address));
    }
    out
}

/// An address that a browser on this machine can open.
fn browsable(address: std::net::SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

/// Descriptors the process needs for itself: standard streams, libraries, a reserve.
const OPEN_FILES_BASE: u64 = 32;
/// Descriptors a reactor needs: its listener, its queue, its wake-up, a reserve for refusals.
const OPEN_FILES_PER_REACTOR: u64 = 8;
/// Below the limit on open files that the kernel also sets to a ring's table.
const DIRECT_SLOTS_RESERVED: u64 = 10;
const EXIT_SECOND_SIGNAL: i32 = 130;
