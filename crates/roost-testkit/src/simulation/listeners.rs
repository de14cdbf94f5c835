//! Several listeners, on some seeds, and which peers come by which.
//!
//! What is promised of a listener is its own: the dialects that it serves, the origins that it lets in,
//! the framings before RFC 6455. All else is the same by whichever a peer comes. On some seeds peers of one come
//! through a proxy that says whose requests it forwards.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use roost_net::ListenAddr;
use roost_net::sim::{SimRng, unix_addr};
use roost_net::unix_socket::UnixOptions;
use roost_reactor::{Forwarded, ForwardedHeader, Listener, Origins, Settings};
use roost_tls::testing::Endpoint;
use roost_tls::{ClientSetup, ServerSetup, SharedSetup};

/// On some seeds, adds two listeners to the first, which serves everything: one without the raw dialect,
/// and a unix socket with nothing but that. Each has origins of its own. Returns how many clients come
/// by a listener that does not serve them.
pub(super) fn add(seed: u64, settings: &mut Settings) -> usize {
    if !SimRng::new(seed ^ 0x11_57_e4).per_mille(SEVERAL_PER_MILLE) {
        return 0;
    }
    let listed = |origin: &str| Origins::Listed(vec![origin.to_owned()]);
    let mut without_raw = settings.dialects.clone();
    Arc::make_mut(&mut without_raw.raw).enabled = false;
    let mut only_raw = settings.dialects.clone();
    Arc::make_mut(&mut only_raw.wamp).enabled = false;
    Arc::make_mut(&mut only_raw.echo).enabled = false;
    let unix = UnixOptions {
        path: PathBuf::from("/run/roost/clients.sock"),
        mode: 0o660,
        group: None,
    };
    settings.listeners.push(Listener {
        address: SocketAddr::from(([10, 0, 0, 2], 80)).into(),
        origins: listed(ORIGIN_TCP),
        dialects: Some(without_raw),
        forwarded: is_forwarded(seed).then(|| Forwarded {
            header: ForwardedHeader::XForwardedFor,
            from: vec!["10.0.0.0/8".parse().expect("a network")],
        }),
        ..Listener::for_tests()
    });
    settings.listeners.push(Listener {
        address: ListenAddr::unix(unix),
        origins: listed(ORIGIN_UNIX),
        dialects: Some(only_raw),
        ..Listener::for_tests()
    });
    add_tls(seed, settings);
    STRANGERS
}

/// On half of those seeds adds a listener that serves everything over TLS; on half of these, behind a
/// PROXY header.
fn add_tls(seed: u64, settings: &mut Settings) {
    if !SimRng::new(seed ^ 0x715).per_mille(500) {
        return;
    }
    settings.listeners.push(Listener {
        address: SocketAddr::from(([10, 0, 0, 2], 443)).into(),
        tls: Some(Arc::new(SharedSetup::new(tls_setups().0.clone()))),
        proxies: has_headers(seed).then(|| vec!["10.0.0.0/8".parse().expect("a network")]),
        ..Listener::for_tests()
    });
}

/// A client's side, before its handshake; where headers are required, behind one that names `address`.
pub(super) fn tls_client(seed: u64, address: SocketAddr) -> Endpoint {
    let mut client = Endpoint::client(&tls_setups().1, "localhost");
    if has_headers(seed) {
        let (ip, port) = (address.ip(), address.port());
        let header = match port % 2 {
            0 => format!("PROXY TCP4 {ip} 10.0.0.2 {port} 443\r\n"),
            _ => "PROXY UNKNOWN\r\n".to_owned(),
        };
        client.out.splice(0..0, header.into_bytes());
    }
    client
}

/// Whether what comes by the listener [`TCP`] comes through a proxy.
pub(super) fn is_forwarded(seed: u64) -> bool {
    SimRng::new(seed ^ 0xf0_4a).per_mille(500)
}

/// A line of a request's head in which such a proxy says whose it is; some say nothing, or what is no
/// address.
pub(super) fn forwarded_line(index: usize) -> String {
    match index % 5 {
        0 => String::new(),
        1 => "X-Forwarded-For: 192.0.2.1, unknown\r\n".to_owned(),
        _ => format!(
            "X-Forwarded-For: 198.51.100.7, 192.0.2.{}, 10.9.9.9\r\n",
            index % 7
        ),
    }
}

fn has_headers(seed: u64) -> bool {
    SimRng::new(seed ^ 0x9908).per_mille(500)
}

/// What all simulated servers and clients do handshakes with. The lengths of all messages are fixed, so
/// that a seed runs the same way each time.
fn tls_setups() -> &'static (ServerSetup, ClientSetup) {
    static SETUPS: OnceLock<(ServerSetup, ClientSetup)> = OnceLock::new();
    SETUPS.get_or_init(roost_tls::testing::setups)
}

/// The listener of several by which a peer comes, and the origin that it names: one that serves its
/// dialect, raw or WAMP.
pub(super) fn of_peer(
    seed: u64,
    index: usize,
    is_raw: bool,
    has_tls: bool,
) -> (usize, Option<&'static str>) {
    let (other, origin) = match is_raw {
        true => (UNIX, ORIGIN_UNIX),
        false => (TCP, ORIGIN_TCP),
    };
    let mut rng = SimRng::new(seed ^ (index as u64) << 20);
    if rng.per_mille(400) {
        return (FIRST, rng.per_mille(500).then_some(ORIGIN_ELSEWHERE));
    }
    if has_tls && SimRng::new(!seed ^ (index as u64) << 20).per_mille(500) {
        return (ENCRYPTED, Some(ORIGIN_ELSEWHERE));
    }
    // Programs name none, and are let in.
    (other, rng.per_mille(500).then_some(origin))
}

/// Where a client dials to come by a listener.
pub(super) fn address_of(addr: &ListenAddr) -> SocketAddr {
    match (addr.tcp(), addr.path()) {
        (Some(addr), _) => addr,
        (None, path) => unix_addr(path.expect("a unix socket has a path")),
    }
}

/// The listeners, by number.
pub(super) const FIRST: usize = 0;
pub(super) const TCP: usize = 1;
pub(super) const UNIX: usize = 2;
pub(super) const ENCRYPTED: usize = 3;
/// The origin that each but the first lets in.
pub(super) const ORIGIN_TCP: &str = "https://tcp.example";
pub(super) const ORIGIN_UNIX: &str = "https://unix.example";
pub(super) const ORIGIN_ELSEWHERE: &str = "https://elsewhere.example";
/// Seeds with several listeners, of a thousand.
const SEVERAL_PER_MILLE: u32 = 500;
/// Clients that come by a wrong listener: each case twice.
const STRANGERS: usize = 14;
