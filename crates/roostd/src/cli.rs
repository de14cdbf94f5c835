//! The command line. What it means stands beside it; manual pages and completions are made of this file
//! alone (`loadtest/examples/pages.rs`).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::token;

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
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunOptions,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the daemon (what happens without a command, too)
    Run(RunOptions),
    /// Check a configuration and name every mistake in it; exit status 1 if there is one
    CheckConfig {
        /// The same as --config FILE
        #[arg(conflicts_with = "config")]
        file: Option<PathBuf>,
        #[command(flatten)]
        source: ConfigSource,
    },
    /// Print a token for trying out, signed with the first secret of auth.jwt.hmac_secrets_file
    Token {
        /// Whose it is (claim sub)
        #[arg(long)]
        user: String,
        /// How long it is good, such as 90s, 15m or 12h
        #[arg(long, default_value = "1h", value_parser = token::parse_seconds)]
        expires: u64,
        /// What it grants, such as sub:chat:1 or pub:chat:*
        #[arg(long, value_name = "sub|pub:CHANNEL")]
        allow: Vec<String>,
        #[command(flatten)]
        source: ConfigSource,
    },
    /// Print the effective configuration as TOML, each key with where it comes from
    PrintConfig(ConfigSource),
    /// Print the hash of a key of the API, for sha256 in [[api.key]]
    HashKey {
        /// The file with the key; without one, standard input
        file: Option<PathBuf>,
        /// Make a new key and print it with its hash
        #[arg(long, conflicts_with = "file")]
        new: bool,
    },
}

/// What the daemon is started with.
#[derive(Args, Default)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) source: ConfigSource,
    /// For development: serve TLS with a certificate for localhost, made here and kept in
    /// $XDG_STATE_HOME/roost or ~/.local/state/roost; clients refuse it until they are told to trust it
    #[arg(long, requires = "listen_tls", conflicts_with_all = ["tls_certificate", "tls_key"])]
    pub(crate) self_signed: bool,
}

/// Where the settings come from. Environment variables such as ROOSTD__LIMITS__PING_INTERVAL come
/// between the file and the command line.
#[derive(Args, Default)]
pub(crate) struct ConfigSource {
    /// Configuration file, - for standard input; without one, the built-in configuration for a
    /// first look
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address to listen on, such as 0.0.0.0:80 or unix:/run/roost/clients.sock (listener.address, of
    /// the first listener)
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// The same with TLS; it needs --tls-certificate and --tls-key, listener.tls in the configuration,
    /// or (to run) --self-signed
    #[arg(long, value_name = "ADDR", conflicts_with = "listen")]
    pub(crate) listen_tls: Option<String>,
    /// PEM file with the certificate and its chain (listener.tls.certificate)
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_certificate: Option<String>,
    /// PEM file with the certificate's private key (listener.tls.key)
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<String>,
    /// auto, epoll or io_uring (server.driver)
    #[arg(long, value_name = "DRIVER")]
    pub(crate) driver: Option<String>,
    /// Number of reactors, or auto (server.reactors)
    #[arg(long, value_name = "N")]
    pub(crate) reactors: Option<String>,
    /// Any other key: --set limits.ping_interval=10s; the environment variable
    /// ROOSTD__LIMITS__PING_INTERVAL=10s does the same for every start
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}
