//! `[[listener]]`: where clients connect, and what they find there.

use std::net::{Ipv4Addr, SocketAddr};

use crate::address::ListenAddress;
use crate::pattern::{DIALECT, GROUP, LISTENER_NAME, NETWORK, ORIGIN, PATH, SUBPROTOCOL};
use crate::row::{section, words};
use crate::table::tls::Tls;
use crate::value::{Auto, Count, Flag, ListenerAddress, Patterns};

section! {
    /// Where clients connect, and what they find. There may be several, each with a section of its
    /// own; the double brackets are TOML's for "one of several". Without any there is one with the
    /// defaults, and `[listener]` is read as the only one. The command line and the environment set
    /// the keys of the first (`--listen`, `--set listener.hixie=true`).
    "listener" Listener
    /// What messages and logs call it; no two have the same. `""`: its address.
    name: String = String::new(), LISTENER_NAME, NewConnections, r#""public""#;
    /// The IP address and port to listen on, or a unix socket. `127.0.0.1` is this machine alone,
    /// `"0.0.0.0:8080"` every IPv4 address it has, `"[::]:8080"` every IPv6 address (and IPv4 too,
    /// where `net.ipv6.bindv6only` is 0). Port 0 lets the kernel choose one that browsers connect to; they
    /// refuse [some](https://fetch.spec.whatwg.org/#port-blocking). On a public address without
    /// `[listener.tls]` all traffic can be read and changed on its way, unless a TLS proxy is before it.
    /// `"unix:/run/roost/clients.sock"` is for a proxy on this machine: all reactors accept from that
    /// socket, its clients have no address to be limited by, a socket that a process has left behind
    /// is replaced, one that is served is an error, and the file goes when the daemon stops. No two
    /// listeners have the same; the second and further ones must have one. A reload with another
    /// address opens that first, and then closes the old one, whose connections stay.
    address: ListenAddress =
        ListenAddress::Tcp(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080)),
        ListenerAddress, Listener, r#""0.0.0.0:8080""#;
    /// The permissions of a unix socket's file: who may write to it may connect.
    socket_mode: ClientSocketMode =
        ClientSocketMode::Group, ClientSocketMode::WORDS, Restart, r#""0666""#;
    /// The group of a unix socket's file: a number, or a name in `/etc/group`. `""` leaves it to the
    /// system. The daemon's user must be in it; under systemd set `Group=` in the unit instead.
    socket_group: String = String::new(), GROUP, Restart, r#""www-data""#;
    /// Connections that may wait to be accepted, per reactor (on a unix socket: in all). The kernel
    /// caps it at `net.core.somaxconn`, and above it drops the attempt; the client tries again.
    backlog: u32 = 4096, Count(1..=65_535), Restart, "1024";
    /// Whether connections begin with a header of the PROXY protocol, version 1 or 2, by which a proxy
    /// says whose connection it forwards ([proxy.md](proxy.md)); TLS comes behind it. `"required"`: a
    /// connection without one is reset and counted in `proxy_headers_refused_total`. The client's address
    /// is that of the header wherever one counts: in `limits.connections_per_address_max` and in logs.
    proxy_protocol: ProxyProtocol =
        ProxyProtocol::Off, ProxyProtocol::WORDS, NewConnections, r#""required""#;
    /// Which addresses may say so, as networks; by default this machine's. A connection from elsewhere
    /// is reset and counted in `refused_proxy_source_total`, for it could claim any address. `["*"]`: all,
    /// where nothing but proxies can connect. On a unix socket its permissions decide.
    proxy_protocol_from: Vec<String> =
        vec!["127.0.0.0/8".to_owned(), "::1".to_owned()], Patterns(NETWORK), NewConnections, r#"["10.0.0.0/8"]"#;
    /// The header by which an HTTP proxy says whose requests it forwards ([proxy.md](proxy.md)):
    /// `"x-forwarded-for"`, or `"forwarded"` (RFC 7239). The client's address is then that of the request that
    /// becomes a WebSocket or an event stream, wherever one counts: in `limits.connections_per_address_max`,
    /// `limits.connects_per_address_per_second_max` and in logs. Name the one that your proxy writes: it
    /// forwards the other as the client sent it.
    forwarded: ForwardedBy = ForwardedBy::Off, ForwardedBy::WORDS, NewConnections, r#""x-forwarded-for""#;
    /// Which addresses may say so, as networks; by default this machine's. The header is read from its end: an
    /// address that stands here is a proxy's, and the first that does not is the client's. A connection from
    /// elsewhere is its own client's, and what it says is not looked at. List proxies alone: what is listed may
    /// claim any address. On a unix socket all who may write to it may say so.
    forwarded_from: Vec<String> =
        vec!["127.0.0.0/8".to_owned(), "::1".to_owned()], Patterns(NETWORK), NewConnections, r#"["10.0.0.7"]"#;
    /// Which dialects are served here: `"raw"`, `"echo"`, `"wamp"`, `"soap"`, `"centrifugo"`, `"pusher"`,
    /// `"sse"`. The path of another is 404.
    /// `["*"]`: all that are enabled, each in its own section; one that is not enabled cannot be listed. An
    /// empty list leaves the page and the health path.
    dialects: Vec<String> = vec!["*".to_owned()], Patterns(DIALECT), NewConnections, r#"["raw"]"#;
    /// The subprotocols that the raw dialect selects here. `"auto"`: those of `raw.subprotocols`.
    raw_subprotocols: Option<Vec<String>> =
        None, Auto(Patterns(SUBPROTOCOL)), NewConnections, r#"["chat.v1"]"#;
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
    sections {
        /// `[listener.tls]`, `tls = { … }`.
        tls: Tls,
    }
}

impl Listener {
    /// What messages call it: its name, or its address.
    pub fn label(&self) -> String {
        match self.name.as_str() {
            "" => self.address.to_string(),
            name => name.to_owned(),
        }
    }

    /// Whether a dialect is served here where it is enabled.
    pub fn serves(&self, dialect: &str) -> bool {
        self.dialects.iter().any(|one| one == "*" || one == dialect)
    }
}

words! {
    /// `listener.socket_mode`.
    ClientSocketMode
    /// Its owner may connect, and root.
    Owner = "0600",
    /// Its group, too.
    Group = "0660",
    /// Every user of the machine.
    All = "0666",
}

words! {
    /// `listener.proxy_protocol`.
    ProxyProtocol
    /// Connections begin with the client's own bytes.
    Off = "off",
    /// Connections begin with a header.
    Required = "required",
}

words! {
    /// `listener.forwarded`.
    ForwardedBy
    /// No header says whose a request is.
    Off = "off",
    /// `X-Forwarded-For`.
    XForwardedFor = "x-forwarded-for",
    /// `Forwarded`.
    Forwarded = "forwarded",
}

/// Most listeners: each reactor has a socket for each.
pub(crate) const LISTENERS_MAX: usize = 64;
