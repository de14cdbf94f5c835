//! Sockets as Roost opens them: the options every kernel backend shares.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tracing::debug;

use crate::unix_socket::{UnixSocket, check_path};
use crate::{ConnectOptions, ListenAddr, ListenOptions, OpenListener, UnixAddr, ports, sys};

impl OpenListener {
    /// Listens.
    ///
    /// # Errors
    /// As [`Driver::listen`](crate::Driver::listen).
    pub fn open(options: &ListenOptions) -> io::Result<OpenListener> {
        let (socket, addr) = listen(options)?;
        Ok(OpenListener {
            socket: Some(socket),
            options: ListenOptions {
                addr,
                ..options.clone()
            },
        })
    }

    /// Whether [`OpenListener::open`] would succeed, as far as can be told without listening: an address
    /// of TCP is bound and let go.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn check(options: &ListenOptions) -> io::Result<()> {
        match &options.addr {
            ListenAddr::Tcp(addr) => bind_tcp(options, *addr).map(drop),
            ListenAddr::Unix(addr) => check_path(&addr.options().path),
        }
    }

    /// The socket, opened if it was not, with its bound address.
    pub(crate) fn into_socket(self) -> io::Result<(Socket, ListenAddr)> {
        match self.socket {
            Some(socket) => Ok((socket, self.options.addr)),
            None => listen(&self.options),
        }
    }
}

/// A listening socket and the address it is bound to. Non-blocking. The address is kept as long as
/// the socket.
pub(crate) fn listen(options: &ListenOptions) -> io::Result<(Socket, ListenAddr)> {
    match &options.addr {
        ListenAddr::Tcp(addr) => {
            let (socket, addr) = listen_tcp(options, *addr)?;
            Ok((socket, ListenAddr::Tcp(addr)))
        }
        ListenAddr::Unix(addr) => {
            let (socket, addr) = listen_unix(addr, options.backlog)?;
            Ok((socket, ListenAddr::Unix(addr)))
        }
    }
}

/// A descriptor of the socket that the address holds, or else of a new one.
fn listen_unix(addr: &UnixAddr, backlog: u32) -> io::Result<(Socket, UnixAddr)> {
    let socket = match addr.socket() {
        Some(socket) => Arc::clone(socket),
        None => Arc::new(UnixSocket::bind(addr.options(), backlog)?),
    };
    Ok((socket.share()?, addr.holding(socket)))
}

/// The options of a connection are set here once: an accepted socket inherits them from its
/// listener, which saves system calls per connection.
fn listen_tcp(options: &ListenOptions, addr: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = bind_tcp(options, addr)?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    if options.reuse_port && options.exclusive {
        // From now on others of this process may share the port. A listener that tries without the
        // option, as this one has, is refused while any other listens: two processes that start at
        // the same moment cannot both get the port.
        socket.set_reuse_port(true)?;
    }
    // The first shares with no other yet: the second makes the group, and this one is in it.
    if options.reuse_port
        && !options.exclusive
        && options.sharers > 1
        && let Err(error) = sys::deal_at_random(&socket, options.sharers)
    {
        debug!(%error, "new connections are dealt to listeners by the hash of their addresses");
    }
    let addr = bound_to(&socket)?;
    Ok((socket, addr))
}

fn bound_to(socket: &Socket) -> io::Result<SocketAddr> {
    let addr = socket.local_addr()?;
    Ok(addr
        .as_socket()
        .expect("a socket bound to an IP address has one"))
}

fn bind_tcp(options: &ListenOptions, addr: SocketAddr) -> io::Result<Socket> {
    ports::bind(addr, || bind_once(options, addr), bound_to)
}

fn bind_once(options: &ListenOptions, addr: SocketAddr) -> io::Result<Socket> {
    let socket = nonblocking(addr)?;
    // A restarted server binds its port although old connections are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if options.reuse_port && !options.exclusive {
        socket.set_reuse_port(true)?;
    }
    set_connection_options(&socket)?;
    socket.bind(&SockAddr::from(addr))?;
    Ok(socket)
}

/// A socket ready to connect to `options.addr`: bound to the local address asked for, not yet
/// connecting. Non-blocking.
pub(crate) fn for_connect(options: &ConnectOptions) -> io::Result<Socket> {
    let socket = nonblocking(options.addr)?;
    set_connection_options(&socket)?;
    if let Some(local) = options.local {
        if local.port() == 0 {
            // Linux 4.2: the port is chosen at connect, when the other end is known, so that one
            // local address can use a port once per destination instead of once.
            sys::set_bind_address_no_port(&socket)?;
        }
        socket.bind(&SockAddr::from(local))?;
    }
    Ok(socket)
}

/// A descriptor to be closed when no other is left. A socket, because it needs no file: /dev may be
/// missing.
pub(crate) fn spare_descriptor() -> io::Result<OwnedFd> {
    Socket::new(Domain::UNIX, Type::DGRAM, None).map(OwnedFd::from)
}

/// Makes the close of `socket` send RST and drop what is unsent, instead of FIN.
pub(crate) fn reset_on_close(socket: &impl AsFd) {
    // Fails only for what is no socket; then there is no connection to reset.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

fn set_connection_options(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // RFC 6093 §5: urgent data stays in its place among the other bytes. No byte is lost to the
    // stream because a peer, or something on the way, called it urgent.
    socket.set_out_of_band_inline(true)
}

fn nonblocking(addr: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    Socket::new_raw(Domain::for_address(addr), kind, Some(Protocol::TCP))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn listener() -> (Socket, SocketAddr) {
        let options = ListenOptions {
            addr: any_port().into(),
            backlog: 8,
            reuse_port: false,
            exclusive: false,
            sharers: 0,
            want_peer: false,
        };
        let (socket, addr) = listen(&options).expect("loopback listens");
        (socket, addr.tcp().expect("a TCP address"))
    }

    fn any_port() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// Listeners that share a port, as reactors do.
    fn group(listeners: u16, sharers: u16) -> (Vec<Socket>, SocketAddr) {
        let mut options = ListenOptions {
            addr: any_port().into(),
            backlog: 4_096,
            reuse_port: true,
            exclusive: true,
            sharers,
            want_peer: false,
        };
        let sockets = (0..listeners).map(|_| {
            let (socket, addr) = listen(&options).expect("loopback listens");
            options.addr = addr;
            options.exclusive = false;
            socket
        });
        let sockets: Vec<Socket> = sockets.collect();
        (sockets, options.addr.tcp().expect("a TCP address"))
    }

    /// Connects `count` times from one and the same address and port, which by the hash of the
    /// addresses is one and the same listener's, and tells how many each listener got.
    fn dealt(listeners: &[Socket], addr: SocketAddr, count: usize) -> Vec<usize> {
        let mut got = vec![0; listeners.len()];
        let mut from: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        for _ in 0..count {
            let client = nonblocking(addr).expect("a socket");
            client.set_reuse_address(true).expect("an option");
            client.bind(&from.into()).expect("the port is ours");
            from = client.local_addr().expect("bound").as_socket().expect("IP");
            client.set_nonblocking(false).expect("an option");
            client.connect(&addr.into()).expect("the backlog has room");
            let asked = Instant::now();
            let taken = || {
                let who = listeners.iter().position(|listener| {
                    sys::accept(listener, false).is_ok_and(|(socket, _)| {
                        reset_on_close(&socket); // so that the port is free at once
                        true
                    })
                });
                assert!(
                    asked.elapsed() < Duration::from_secs(10),
                    "nobody accepts {from}"
                );
                who
            };
            got[std::iter::repeat_with(taken)
                .flatten()
                .next()
                .expect("somebody does")] += 1;
        }
        println!("from {from} to {addr}: {got:?}");
        got
    }

    #[test]
    fn connections_are_dealt_at_random() {
        let (listeners, addr) = group(16, 16);
        let got = dealt(&listeners, addr, 1_600);
        // Chi-squared with 15 degrees of freedom: above 90 once in 10^12 runs. By the hash of the
        // addresses, all fall to one listener: 24,000.
        let square = |&n: &usize| (n as f64 - 100.0).powi(2) / 100.0;
        let chi_squared: f64 = got.iter().map(square).sum();
        assert!(chi_squared < 90.0, "{chi_squared:.1}: {got:?}");
    }

    #[test]
    fn connections_are_dealt_to_those_who_listen() {
        // More are expected: while they do not listen, the hash of the addresses decides.
        let (listeners, addr) = group(5, 16);
        let got = dealt(&listeners, addr, 1_600);
        assert!(
            got.iter().all(|&n| n > 20),
            "100 each, and 1,100 to one: {got:?}"
        );
        // One has closed: the last has its place now.
        let (mut listeners, addr) = group(4, 4);
        listeners.remove(1);
        let got = dealt(&listeners, addr, 400);
        assert!(
            got.iter().all(|&n| n > 20),
            "100 each, and 100 to one: {got:?}"
        );
    }

    #[test]
    fn the_first_listener_of_a_process_wants_the_port_for_itself() {
        let (listeners, addr) = group(2, 2);
        let mut second = ListenOptions {
            addr: addr.into(),
            backlog: 8,
            reuse_port: true,
            exclusive: true,
            sharers: 2,
            want_peer: false,
        };
        for ip in [
            addr.ip().to_string(),
            "0.0.0.0".to_owned(),
            "[::]".to_owned(),
        ] {
            let addr: SocketAddr = format!("{ip}:{}", addr.port()).parse().expect("an address");
            second.addr = addr.into();
            let error = listen(&second).expect_err("another listens there");
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{ip}");
        }
        // One connection that we closed first is in TIME_WAIT when the next process starts.
        let mut client = std::net::TcpStream::connect(addr).expect("the backlog has room");
        let began = Instant::now();
        while !listeners
            .iter()
            .any(|listener| sys::accept(listener, false).is_ok())
        {
            assert!(began.elapsed() < Duration::from_secs(10), "nobody accepts");
        }
        let end = std::io::Read::read(&mut client, &mut [0]);
        assert_eq!(end.expect("a FIN"), 0);
        drop((client, listeners));
        second.addr = addr.into();
        listen(&second).expect("nobody listens there any more");
    }

    #[test]
    fn accepted_sockets_inherit_their_options() {
        let (listener, addr) = listener();
        let client = std::net::TcpStream::connect(addr).expect("the backlog has room");
        let (accepted, _) = sys::accept(&listener, false).expect("one is waiting");
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().expect("a TCP socket"));
        assert!(accepted.out_of_band_inline().expect("a TCP socket"));
        drop(client);
    }

    #[test]
    fn a_local_address_without_port_is_bound() {
        let (_listener, addr) = listener();
        let options = ConnectOptions {
            addr,
            local: Some("127.0.0.77:0".parse().expect("an address")),
        };
        let socket = for_connect(&options).expect("all of 127/8 is local");
        assert!(socket.tcp_nodelay().expect("a TCP socket"));
        let bound = socket.local_addr().expect("bound").as_socket().expect("IP");
        assert_eq!(
            bound.to_string(),
            "127.0.0.77:0",
            "the port waits for connect"
        );
    }
}
