//! `[server]`, `[admin]`, `[log]`: the process, where administrators ask, and what is logged.

use std::net::SocketAddr;

use crate::pattern::{GROUP, SOCKET};
use crate::row::{HOUR, MINUTE, time_or_zero};
use crate::row::{section, words};
use crate::value::{Address, Auto, Count, OrNone};

section! {
    /// The process.
    "server" Server
    /// Threads, each with a listener, a connection table and a share of the channels. `"auto"`: one
    /// per core. More than cores is legal.
    reactors: Option<u32> = None, Auto(Count(1..=255)), Restart, "4";
    /// How sockets are read and written. `"auto"` takes io_uring where the kernel offers what is
    /// needed, else epoll, and says so. A driver named here that cannot run stops the daemon with
    /// the remedy.
    driver: Driver = Driver::Auto, Driver::WORDS, Restart, r#""epoll""#;
    /// At a stop every client is sent close code 1001. Connections that have not answered after this
    /// time are cut. `"0s"`: at once.
    drain_timeout_ms: u32 = 10_000, time_or_zero(100..=HOUR), Live, r#""30s""#;
    /// How long before that clients are still served while `/ready` and `listener.health_path` already
    /// answer 503, so that a balancer sends new ones elsewhere first. Not waited for where neither was
    /// asked since the start, nor after SIGINT and SIGQUIT. `"0s"`: never.
    drain_delay_ms: u32 = 5_000, time_or_zero(100..=HOUR), Live, r#""15s""#;
    /// How many connections are sent close code 1001 in a second at a stop, so that they do not all
    /// come back at once. More are, where they would not all be within three quarters of
    /// `drain_timeout`. `0`: all at once.
    drain_connections_per_second_max: u32 = 0, Count(0..=10_000_000), Live, "2000";
    /// Connections held at once by the process. A new connection above it is reset and counted in
    /// `refused_connections_max_total`. `"auto"`: as many as the limit on open files leaves room
    /// for (`LimitNOFILE` in the systemd unit, `ulimit -n` in a shell).
    connections_max: Option<u32> = None, Auto(Count(1..=100_000_000)), Restart, "50000";
}

section! {
    /// Where administrators ask, apart from clients: `GET /` lists what, and is a page in a browser. A
    /// thread of its own serves them.
    "admin" Admin
    /// The path of a unix socket. `"auto"`: `admin.sock` in the directory that systemd makes for the
    /// service (`RuntimeDirectory=`), and none without it. `""`: none. One that a process has left
    /// behind is replaced; one that is served is an error. Who may write to the file can publish
    /// anything and see every connection.
    socket: Option<String> = None, Auto(SOCKET), Restart, r#""/run/roost/admin.sock""#;
    /// The permissions of the socket's file: for its owner, or for its group too.
    socket_mode: SocketMode = SocketMode::Owner, SocketMode::WORDS, Restart, r#""0660""#;
    /// The group of the socket's file: a number, or a name in `/etc/group`. `""` leaves it to the
    /// system. The daemon's user must be in it; under systemd set `Group=` in the unit instead.
    socket_group: String = String::new(), GROUP, Restart, r#""adm""#;
    /// An IP address and port to listen on, such as for Prometheus. `""`: none. There is neither a
    /// password nor TLS: who reaches it reads counters and connections, but changes nothing. A
    /// warning says so where it is not a loopback address.
    listen: Option<SocketAddr> = None, OrNone(Address), Restart, r#""127.0.0.1:9090""#;
    /// How often something is published at each reactor, on a channel that no client can name, to see
    /// whether it is delivered. Two that are not, each within half of this time, make `/ready` answer
    /// 503 with what is wrong. A reactor that has nothing to do is woken for it. `"0s"`: never.
    canary_interval_ms: u32 = 2_000, time_or_zero(500..=MINUTE), Restart, r#""10s""#;
}

section! {
    /// What is logged, and how.
    "log" Log
    /// The least important level that is logged. A connection's begin and end are `"debug"`; single
    /// messages are never logged.
    level: LogLevel = LogLevel::Info, LogLevel::WORDS, Live, r#""warn""#;
    /// A line for people or a JSON object a line.
    format: LogFormat = LogFormat::Text, LogFormat::WORDS, Restart, r#""json""#;
}

words! {
    /// `server.driver`.
    Driver
    /// io_uring where it runs, else epoll; the daemon says which and why.
    Auto = "auto",
    /// epoll, or an error at start.
    Epoll = "epoll",
    /// io_uring, or an error at start.
    IoUring = "io_uring",
}

words! {
    /// `admin.socket_mode`.
    SocketMode
    /// Its owner may connect, and root.
    Owner = "0600",
    /// Its group, too.
    Group = "0660",
}

words! {
    /// `log.level`.
    LogLevel
    /// Nothing.
    Off = "off",
    /// What stops the daemon or loses data.
    Error = "error",
    /// What an operator should look at.
    Warn = "warn",
    /// Start, stop, and changes of state of the whole.
    Info = "info",
    /// Each connection's begin and end.
    Debug = "debug",
    /// Steps in between.
    Trace = "trace",
}

words! {
    /// `log.format`.
    LogFormat
    /// A line for people.
    Text = "text",
    /// A JSON object a line.
    Json = "json",
}
