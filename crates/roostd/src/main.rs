//! The daemon: command line, start order, signals, systemd. It joins the rooms and owns nothing of
//! what they do.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::{Args, Parser, Subcommand};
use roost_config::{Errors, Loaded};

mod logging;
mod notify;
mod run;
mod settings;
mod worst;

/// Roost holds very many WebSocket connections and routes messages between them.
///
/// Without a command it runs on a built-in configuration for a first look: it listens on
/// 127.0.0.1:8080 and serves a page to try it out.
#[derive(Parser)]
#[command(name = "roostd", version, max_term_width = 100)]
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
    /// Check a configuration file and name every mistake in it; exit status 1 if there is one
    CheckConfig {
        /// The file to check
        file: PathBuf,
    },
    /// Print the settings in force as TOML, each with where it comes from
    PrintConfig(ConfigSource),
}

/// Where the settings come from.
#[derive(Args, Default)]
struct ConfigSource {
    /// Configuration file; without one, the built-in configuration for a first look
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on, such as 0.0.0.0:80 (listener.address)
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// auto, epoll or io_uring (server.driver)
    #[arg(long, value_name = "DRIVER")]
    driver: Option<String>,
    /// Number of reactors, or auto (server.reactors)
    #[arg(long, value_name = "N")]
    reactors: Option<String>,
    /// Any other key: --set limits.ping_interval=10s
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ConfigSource {
    fn load(&self) -> Result<Loaded, String> {
        let shown = |errors: Errors| errors.to_string();
        let mut loaded = match &self.config {
            Some(file) => roost_config::load(file).map_err(shown)?,
            None => Loaded::dev(),
        };
        let named = [
            ("listener.address", &self.listen),
            ("server.driver", &self.driver),
            ("server.reactors", &self.reactors),
        ];
        let mut overrides: Vec<(&str, &str)> = Vec::new();
        for (key, value) in named {
            overrides.extend(value.as_deref().map(|value| (key, value)));
        }
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(format!("command line: --set {pair}: expected KEY=VALUE\n"));
            };
            overrides.push((key.trim(), value.trim()));
        }
        loaded.set_from_command_line(&overrides).map_err(shown)?;
        Ok(loaded)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => run_with(&cli.source),
        Some(Command::Run(source)) => run_with(&source),
        Some(Command::CheckConfig { file }) => match roost_config::load(&file) {
            Ok(_) => {
                println!("{}: no mistakes", file.display());
                ExitCode::SUCCESS
            }
            Err(errors) => fail(&errors.to_string()),
        },
        Some(Command::PrintConfig(source)) => match source.load() {
            Ok(loaded) => {
                print!("{}", roost_config::to_toml(&loaded));
                ExitCode::SUCCESS
            }
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
    match run::run(&loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&format!("roostd: {message}")),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("{}", message.trim_end());
    ExitCode::FAILURE
}
