//! TCP sockets as Roost opens them: the options every kernel backend shares.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::{ConnectOptions, ListenOptions, sys};

/// A listening socket and the address it is bound to. Non-blocking.
///
/// The options of a connection are set here once: an accepted socket inherits them from its
/// listener, which saves system calls per connection.
pub(crate) fn listen(options: &ListenOptions) -> io::Result<(Socket, SocketAddr)> {
    let socket = nonblocking(options.addr)?;
    // A restarted server binds its port although old connections are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    set_connection_options(&socket)?;
    socket.bind(&SockAddr::from(options.addr))?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    let addr = socket.local_addr()?;
    let addr = addr
        .as_socket()
        .expect("a socket bound to an IP address has one");
    Ok((socket, addr))
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
    use super::*;

    fn listener() -> (Socket, SocketAddr) {
        let options = ListenOptions {
            addr: "127.0.0.1:0".parse().expect("an address"),
            backlog: 8,
            reuse_port: false,
            want_peer: false,
        };
        listen(&options).expect("loopback listens")
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
