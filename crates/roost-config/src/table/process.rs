//! `[server]`, `[listener]`, `[log]`: the process, where clients connect, and what is logged.

use std::net::{Ipv4Addr, SocketAddr};

use crate::pattern::{GROUP, ORIGIN, PATH, SOCKET};
use crate::table::{HOUR, time_or_zero};
use crate::value::{Address, Auto, Count, Flag, OrNone, Patterns};

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
    /// Connections held at once by the process. A new connection above it is reset and counted in
    /// `refused_connections_max_total`. `"auto"`: as many as the limit on open files leaves room
    /// for (`LimitNOFILE` in the systemd unit, `ulimit -n` in a shell).
    connections_max: Option<u32> = None, Auto(Count(1..=100_000_000)), Live, "50000";
}

section! {
    /// Where clients connect, and what they find.
    "listener" Listener
    /// The IP address and port to listen on. `127.0.0.1` is this machine alone, `"0.0.0.0:8080"`
    /// every IPv4 address it has, `"[::]:8080"` every IPv6 address (and IPv4 too, where
    /// `net.ipv6.bindv6only` is 0). Port 0 lets the kernel choose. There is no TLS here: on a public
    /// address all traffic can be read and changed on its way, so put a TLS proxy before it.
    address: SocketAddr =
        SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), Address, Restart, r#""0.0.0.0:8080""#;
    /// Connections that may wait to be accepted, per reactor. The kernel caps it at
    /// `net.core.somaxconn`, and above it drops the attempt; the client tries again.
    backlog: u32 = 4096, Count(1..=65_535), Restart, "1024";
    /// Whether clients of draft-hixie-75 and -76 (browsers of 2010) are served too. Otherwise 426,
    /// as for any version other than 13. These drafts have no masking, which protects careless
    /// proxies from scripts in a page, and no pings, so that only `limits.idle_timeout` finds
    /// clients that vanish: leave it off unless you have such clients.
    hixie: bool = false, Flag, NewConnections, "true";
    /// Whether `GET /` answers with the demonstration page, which talks through any channel.
    /// Otherwise it is a line of text.
    demo_page: bool = false, Flag, NewConnections, "true";
    /// Where load balancers ask whether this server takes new connections: GET and HEAD get 200 and
    /// `ok`, or 503 and `draining` once the daemon is being stopped (new connections are refused
    /// then, which says the same). Everyone who can connect may ask. Counted in
    /// `health_checks_total`, never as a refused handshake. It needs a connection like any other: at
    /// `server.connections_max` it is reset with the rest. `""`: there is none. The path of
    /// something else that is on is an error. OPTIONS is answered on every path.
    health_path: String = "/health".to_owned(), PATH, NewConnections, r#""/up""#;
    /// From which sites a browser may connect. A browser always sends the site's origin, and sends
    /// cookies along with a connection that any page opens: list your own sites as soon as anything
    /// depends on who is connected. An entry matches exactly, as it is sent:
    /// `"https://example.org"` in lower case, without path and default port; `"null"` from
    /// sandboxed frames; `"file://"` from pages opened as files and from Electron and Cordova;
    /// `"app://…"`, `"capacitor://localhost"`, `"ionic://localhost"`, `"tauri://localhost"`,
    /// `"vscode-webview://…"`, `"chrome-extension://…"`, `"moz-extension://…"` from apps and
    /// extensions. `"*"` alone allows every origin, an empty list none; another origin gets 403. A
    /// client that sends no `Origin` is not asked. Most programs send none, some do: Python's
    /// websocket-client sends that of the URL it connects to, unless it is given
    /// `suppress_origin=True`, and gets 403 where that is not listed.
    allowed_origins: Vec<String> =
        vec!["*".to_owned()], Patterns(ORIGIN), NewConnections, r#"["https://example.org", "file://"]"#;
}

section! {
    /// Where administrators ask, apart from clients: `GET /` lists what. A thread of its own serves
    /// them.
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
