//! What subcommands have in common.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use roost_tls::Trust;

use crate::dialect::{self, Dialect};
use crate::plan::{DriverChoice, Group, Phase, Role, Settings, Step, Topic};
use crate::scenario;

/// Where and how to connect.
#[derive(Args)]
pub struct Common {
    /// The server, such as ws://127.0.0.1:8080 or wss://host/chat/{channel}
    #[arg(value_name = "URL", default_value = "ws://127.0.0.1:8080")]
    pub url: String,
    /// With wss://, trust servers that these certificate authorities vouch for (PEM), or whose own
    /// certificate this is [default: the system's authorities]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// With wss://, trust any server
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// Dial this address, or range of IPv4 addresses, instead of the URL's; several in turn
    #[arg(long, value_name = "IP[-IP]")]
    pub address: Vec<String>,
    /// Driver of the clients' sockets
    #[arg(long, value_enum, default_value_t = CliDriver::Auto)]
    pub driver: CliDriver,
    /// Threads with a driver each [default: as many as are needed]
    #[arg(long, value_name = "N")]
    pub rings: Option<usize>,
    /// New connections a second [default: as fast as the server takes them]
    #[arg(long, value_name = "PER_SECOND")]
    pub connect_rate: Option<f64>,
    /// Handshakes in flight at once [default: 1024; 64 with wss://, where more would wait for each
    /// other here]
    #[arg(long, value_name = "N")]
    pub connects_in_flight: Option<u32>,
    /// A handshake that takes longer has failed
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = scenario::duration)]
    pub connect_timeout: Duration,
    /// Watch memory and CPU time of this process
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Read the server's counters from GET /stats of its admin listener: a unix socket's path, or
    /// an address and port
    #[arg(long, value_name = "ADMIN")]
    pub server_stats: Option<String>,
    /// How long to wait at the end of a phase before memory is read
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = scenario::duration)]
    pub memory_wait: Duration,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Run although the machine does not allow it
    #[arg(long)]
    pub force: bool,
    /// Seed of masks and keys
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Say nothing but the results
    #[arg(long, short)]
    pub quiet: bool,
}

/// `--driver`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CliDriver {
    /// epoll where it suffices
    Auto,
    /// epoll
    Epoll,
    /// io_uring with direct descriptors
    #[value(name = "io_uring")]
    Uring,
}

impl CliDriver {
    pub(super) fn choice(self) -> DriverChoice {
        match self {
            CliDriver::Auto => DriverChoice::Auto,
            CliDriver::Epoll => DriverChoice::Epoll,
            CliDriver::Uring => DriverChoice::Uring,
        }
    }
}

impl Common {
    pub(super) fn settings(&self) -> Settings {
        let authorities = self.ca.clone().map(Trust::Authorities);
        Settings {
            trust: if self.insecure {
                Some(Trust::Any)
            } else {
                authorities
            },
            driver: self.driver.choice(),
            rings: self.rings,
            connect_rate: self.connect_rate,
            connects_in_flight_max: self.connects_in_flight,
            connect_timeout: self.connect_timeout,
            bare: false,
            server_pid: self.server_pid,
            server_stats: self.server_stats.clone(),
            memory_wait: self.memory_wait,
            force: self.force,
            seed: self.seed,
        }
    }
}

pub(super) fn phase(name: &str, step: Step) -> Phase {
    Phase {
        name: name.to_owned(),
        step,
    }
}

pub(super) fn one_topic(channels: u32) -> Topic {
    Topic {
        name: "load".to_owned(),
        channels,
    }
}

pub(super) fn listeners(name: &str, count: u32, dialect: &'static dyn Dialect) -> Group {
    Group {
        name: name.to_owned(),
        count,
        dialect,
        subscribe: vec![0],
        recovers: false,
        role: Role::Listen,
    }
}

pub(super) fn named(name: &str) -> Result<&'static dyn Dialect, String> {
    dialect::by_name(name).ok_or_else(|| scenario::unknown(name))
}

pub(super) const DEFAULT_URL: &str = "ws://127.0.0.1:8080";
