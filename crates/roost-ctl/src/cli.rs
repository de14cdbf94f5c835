//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Asks a running roostd what it does, and changes it.
///
/// It speaks to the admin socket, which is for root unless the configuration says otherwise
/// (admin.socket_mode, admin.socket_group).
#[derive(Parser)]
#[command(name = "roostctl", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The daemon's admin socket [default: $ROOST_ADMIN_SOCKET, or /run/roost/admin.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Print JSON, for scripts: an object, or an object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List connections
    Conns(Conns),
    /// Show one connection
    Conn {
        /// Its name, such as r0-17.4, as lists and the log have it
        key: String,
    },
    /// Say why a connection is as it is, or is no more
    Why {
        /// Its name, such as r0-17.4
        key: String,
        /// A channel of which it misses messages, or on which it cannot publish
        channel: Option<String>,
    },
    /// List channels that have subscribers
    Channels(Channels),
    /// Show one channel, and who subscribes to it
    Channel {
        /// Its name
        name: String,
    },
    /// Say whether a user may do something with a channel, and which rule decides
    May {
        /// The user's name, or a connection (r0-17.4); "" is a client that is not known
        user: String,
        /// subscribe, publish, call, register or presence
        operation: String,
        /// The channel or procedure
        channel: String,
    },
    /// Show what the daemon does, brought up to date every two seconds
    Top {
        /// Show it once, over one second, and end
        #[arg(long)]
        once: bool,
    },
    /// Close a connection; its client is told the code and the reason
    Kick {
        /// Its name, such as r0-17.4
        key: String,
        /// Close code: 1000, 1001, 1008, 1011 to 1013, or 3000 to 4999
        #[arg(long, default_value_t = 1000)]
        code: u16,
        /// Close reason, at most 123 bytes
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Publish on a channel, whatever its namespace allows clients
    Publish {
        /// The channel
        channel: String,
        /// What to publish; - is standard input
        data: String,
        /// Publish a binary message
        #[arg(long)]
        binary: bool,
    },
    /// Change what is logged, until the daemon ends
    Log {
        /// off, error, warn, info, debug or trace
        level: String,
    },
    /// Read the configuration again and obey it, as SIGHUP does; a mistake changes nothing
    ///
    /// Says what has changed, a line a key. What needs a restart is named, and keeps its running value.
    Reload {
        /// Say what would change, and change nothing
        #[arg(long)]
        check: bool,
    },
    /// Look on at what is published on a channel, until Ctrl-C
    ///
    /// Nothing waits for it: of a busy channel not all are shown, and how many were missed is said.
    /// What clients are sent is theirs: without --payload only sizes are shown.
    Tail {
        /// The channel
        channel: String,
        /// Show what is published: text, or base64 of what is binary
        #[arg(long)]
        payload: bool,
    },
    /// Close all connections with 1001 and end the daemon, as SIGTERM does
    ///
    /// Clients are expected to come back elsewhere, or here once the daemon is started again: under
    /// systemd an orderly end is not followed by a start. First /ready and the health path say 503 for
    /// a while. While it drains already, --rate changes the rate.
    Drain(Drain),
    /// Print a token for trying out (as roostd token, which this starts)
    Token {
        /// Whose it is
        #[arg(long)]
        user: String,
        /// How long it is good, such as 90s, 15m or 12h
        #[arg(long, default_value = "1h")]
        expires: String,
        /// What it grants, such as sub:chat:1 or pub:chat:*
        #[arg(long, value_name = "sub|pub:CHANNEL")]
        allow: Vec<String>,
        /// The configuration, with auth.jwt.hmac_secrets_file
        #[arg(long, value_name = "FILE", default_value = "/etc/roost/roost.toml")]
        config: PathBuf,
    },
    /// Print the hash of a key of the API (as roostd hash-key, which this starts)
    HashKey {
        /// The file with the key; without one, standard input
        file: Option<PathBuf>,
        /// Make a new key and print it with its hash
        #[arg(long, conflicts_with = "file")]
        new: bool,
    },
}

/// How to drain.
#[derive(Args)]
pub(crate) struct Drain {
    /// Connections to close in a second, such as 500/s; 0 closes all at once [default:
    /// server.drain_connections_per_second_max]
    #[arg(long, value_name = "N/s", value_parser = rate_of)]
    pub(crate) rate: Option<u32>,
    /// Seconds in which clients are still served while /ready says 503 [default: server.drain_delay]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) delay: Option<u32>,
    /// Seconds after which connections that are left are cut [default: server.drain_timeout]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u32>,
    /// Say how far it has come, each second, until the daemon has ended
    #[arg(long)]
    pub(crate) watch: bool,
    /// Say how far it has come, and change nothing
    #[arg(long, conflicts_with_all = ["rate", "delay", "timeout", "watch"])]
    pub(crate) status: bool,
}

/// `500`, or `500/s`.
fn rate_of(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate = number.parse();
    rate.map_err(|_| format!("\"{text}\" is no number of connections a second: write 500/s"))
}

/// Which channels.
#[derive(Args)]
pub(crate) struct Channels {
    /// How their names begin
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// How many, at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,
    /// All of them
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Go on where an earlier list ended, as it has said
    #[arg(long)]
    pub(crate) cursor: Option<String>,
}

/// Which connections.
#[derive(Args)]
pub(crate) struct Conns {
    /// Those authenticated as this user; "" are those that are not
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Those subscribed to this channel
    #[arg(long)]
    pub(crate) channel: Option<String>,
    /// Those of clients with this address, or of this network (10.0.0.0/8)
    #[arg(long)]
    pub(crate) address: Option<String>,
    /// Those of this dialect
    #[arg(long)]
    pub(crate) dialect: Option<String>,
    /// Those for which something waits to be sent
    #[arg(long)]
    pub(crate) waiting: bool,
    /// The N for which most waits, the slowest first
    #[arg(long, value_name = "N", conflicts_with_all = ["limit", "all", "cursor"])]
    pub(crate) slowest: Option<u32>,
    /// How many, at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,
    /// All of them
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Go on where an earlier list ended, as it has said
    #[arg(long)]
    pub(crate) cursor: Option<String>,
}
