//! The daemon: command line, start order, signals, systemd. It joins the crates below and owns nothing
//! of what they do.
//!
//! In the order in which a message meets them:
//!
//! | crate | owns |
//! |---|---|
//! | [`roost_net`](../roost_net/index.html) | sockets in, events out: epoll, io_uring, the simulated network; all `unsafe` code |
//! | [`roost_reactor`](../roost_reactor/index.html) | the connections of one thread, and the loop that joins the crates around it |
//! | [`roost_wire`](../roost_wire/index.html) | bytes to WebSocket messages and back |
//! | [`roost_dialect`](../roost_dialect/index.html) | what a message means: raw, echo, WAMP |
//! | [`roost_hub`](../roost_hub/index.html) | channels: which subscribers receive what, in which order |
//!
//! Beside them:
//!
//! | crate | owns |
//! |---|---|
//! | [`roost_config`](../roost_config/index.html) | the configuration's keys, one row a key |
//! | [`roost_metrics`](../roost_metrics/index.html) | counters with one writer each |
//! | [`roost_control`](../roost_control/index.html) | the control thread and the admin listeners |
//! | [`roost_testkit`](../roost_testkit/index.html) | the raw client, the conformance program and the simulator, for tests |
//! | [`roost_load`](../roost_load/index.html) | the load harness |
//!
//! `docs/architecture.md` draws how a message travels, `docs/development.md` what may happen to a
//! connection in each of its phases.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::{Args, Parser, Subcommand};
use roost_config::{Loaded, Overrides};

mod admin;
mod driver;
mod logging;
mod notify;
mod output;
mod run;
mod settings;
mod signals;
mod start_block;
mod warnings;
mod watch;
mod worst;

/// Roost holds very many WebSocket connections and routes messages between them.
///
/// Without a command it runs on a built-in configuration for a first look: it listens on
/// 127.0.0.1:8080 and serves a page to try it out.
#[derive(Parser)]
#[command(
    name = "roostd",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    source: ConfigSource,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon (what happens without a command, too)
    Run(ConfigSource),
    /// Check a configuration and name every mistake in it; exit status 1 if there is one
    CheckConfig {
        /// The same as --config FILE
        #[arg(conflicts_with = "config")]
        file: Option<PathBuf>,
        #[command(flatten)]
        source: ConfigSource,
    },
    /// Print the effective configuration as TOML, each key with where it comes from
    PrintConfig(ConfigSource),
}

/// Where the settings come from. Environment variables such as ROOSTD__LIMITS__PING_INTERVAL come
/// between the file and the command line.
#[derive(Args, Default)]
struct ConfigSource {
    /// Configuration file, - for standard input; without one, the built-in configuration for a
    /// first look
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on, such as 0.0.0.0:80 or unix:/run/roost/clients.sock (listener.address, of
    /// the first listener)
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// auto, epoll or io_uring (server.driver)
    #[arg(long, value_name = "DRIVER")]
    driver: Option<String>,
    /// Number of reactors, or auto (server.reactors)
    #[arg(long, value_name = "N")]
    reactors: Option<String>,
    /// Any other key: --set limits.ping_interval=10s; the environment variable
    /// ROOSTD__LIMITS__PING_INTERVAL=10s does the same for every start
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ConfigSource {
    /// The error is a message for people, with every mistake.
    fn load(&self) -> Result<Loaded, String> {
        let mut overrides = Overrides::new();
        overrides.add_environment(std::env::vars_os());
        let named = [
            ("listener.address", &self.listen),
            ("server.driver", &self.driver),
            ("server.reactors", &self.reactors),
        ];
        for (key, value) in named {
            if let Some(value) = value {
                overrides.add_command_line(key, value);
            }
        }
        for pair in &self.set {
            overrides.add_pair(pair);
        }
        let loaded = match &self.config {
            Some(file) => roost_config::load(file, &overrides),
            None => Loaded::dev(&overrides),
        };
        loaded.map_err(|errors| errors.to_string())
    }
}

fn main() -> ExitCode {
    let cli: Cli = output::parse_command_line();
    match cli.command {
        None => run_with(&cli.source),
        Some(Command::Run(source)) => run_with(&source),
        Some(Command::CheckConfig { file, mut source }) => {
            source.config = file.or(source.config);
            match source.load() {
                Ok(loaded) => output::result(&format!("{}: no mistakes\n", loaded.file_name)),
                Err(message) => fail(&message),
            }
        }
        Some(Command::PrintConfig(source)) => match source.load() {
            Ok(loaded) => output::result(&roost_config::to_toml(&loaded)),
            Err(message) => fail(&message),
        },
    }
}

fn run_with(source: &ConfigSource) -> ExitCode {
    roost_net::memory::tune_allocator(
        thread::available_parallelism().map_or(1, |cores| cores.get()),
    );
    let loaded = match source.load() {
        Ok(loaded) => loaded,
        Err(message) => return fail(&message),
    };
    run::run(&loaded)
}

fn fail(message: &str) -> ExitCode {
    output::error(&format!("{}\n", message.trim_end()));
    ExitCode::FAILURE
}
