//! The system calls that std, mio and socket2 do not offer in the form needed, and `recv` and `send`
//! without a call between, for each message passes through them.
#![expect(
    unsafe_code,
    reason = "system calls and descriptors as the kernel gives them"
)]

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use socket2::{SockAddr, Socket};

/// CLOCK_MONOTONIC in nanoseconds: 584 years fit.
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes to the live structure it is given.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    debug_assert_eq!(status, 0, "every Linux has this clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 // never below zero
}

/// A counter that becomes readable when it is written to: non-blocking, closed on exec.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: eventfd takes no pointers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Receives what a socket has, at most a buffer full, by recv(2): 0 at its end.
#[inline]
pub(crate) fn recv(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the descriptor is open while borrowed, and the kernel writes at most the buffer's length.
    let count = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Sends what a socket has room for, by send(2), which spares the kernel the copy of a message
/// header; to a peer that has gone as an error, not as a signal.
#[inline]
pub(crate) fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the descriptor is open while borrowed, and the kernel reads the live bytes.
    let count = unsafe {
        libc::send(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Accepts one connection: non-blocking, closed on exec. The peer's address is read only if
/// `want_peer`.
pub(crate) fn accept(
    listener: &Socket,
    want_peer: bool,
) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    if !want_peer {
        return Ok((accept4(listener, ptr::null_mut(), ptr::null_mut())?, None));
    }
    // SAFETY: accept4 fills the storage it is given and sets the length to what it filled.
    let (fd, addr) =
        unsafe { SockAddr::try_init(|storage, len| accept4(listener, storage.cast(), len)) }?;
    Ok((fd, addr.as_socket()))
}

/// Accepts what waits at a listener that is about to be closed, as far as a backlog goes: what comes
/// meanwhile may come for ever.
pub(crate) fn accept_waiting(
    listener: &Socket,
    want_peer: bool,
) -> Vec<(OwnedFd, Option<SocketAddr>)> {
    let next = |_| accept(listener, want_peer).ok();
    (0..WAITING_MAX).map_while(next).collect()
}

/// Some milliseconds of work; a backlog that holds more belongs to a flood.
const WAITING_MAX: usize = 1024;

/// `storage` and `len` are both null, or point to an address buffer and its length.
fn accept4(
    listener: &Socket,
    storage: *mut libc::sockaddr,
    len: *mut libc::socklen_t,
) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the descriptor is open for as long as `listener` is borrowed; both callers above
    // pass two nulls or a buffer with its true length.
    let fd = unsafe { libc::accept4(listener.as_raw_fd(), storage, len, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor; it is known nowhere else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has epoll tell of connections that come to a listener that other epolls hold as well: of each
/// connection the one that has waited longest, by edges (EPOLLEXCLUSIVE, Linux 4.5).
pub(crate) fn watch_exclusively(
    epoll: &impl AsRawFd,
    listener: &Socket,
    token: u64,
) -> io::Result<()> {
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | libc::EPOLLET | libc::EPOLLEXCLUSIVE) as u32,
        u64: token,
    };
    // SAFETY: both descriptors are open while borrowed, and the kernel reads the live event.
    let result = unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            listener.as_raw_fd(),
            &raw mut event,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sets IP_BIND_ADDRESS_NO_PORT (Linux 4.2), which IPv6 sockets take as well.
pub(crate) fn set_bind_address_no_port(socket: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open while borrowed; the option is an int, and we pass a live
    // int with its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Room for what kernels of today say of a TCP connection; a longer answer is cut.
pub(crate) const TCP_INFO_BYTES: usize = 256;

/// What the kernel says of a TCP connection, and how many bytes of it; `None` of any other socket.
pub(crate) fn tcp_info(fd: BorrowedFd<'_>, bytes: &mut [u8; TCP_INFO_BYTES]) -> Option<usize> {
    let mut len = TCP_INFO_BYTES as libc::socklen_t;
    // SAFETY: the descriptor is open while borrowed; the kernel writes at most `len` bytes, which
    // the buffer has, and then how many they are.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            bytes.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    (result == 0).then_some(len as usize)
}

/// Has new connections dealt at random to the `sharers` listeners of the port (Linux 4.5).
///
/// socket(7): the program answers with a place in the group, in the order of listen(2). While
/// fewer listen, a place without a socket falls back to the hash of the addresses; when one is
/// closed, the last takes its place. The program is the group's: the last one attached holds.
pub(crate) fn deal_at_random(listener: &impl AsFd, sharers: u16) -> io::Result<()> {
    let step = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let random = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, random),
        step(
            libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K,
            u32::from(sharers),
        ),
        step(libc::BPF_RET | libc::BPF_A, 0),
    ];
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the descriptor is open while borrowed; the option is a program that points to its
    // live steps, which the kernel checks and copies.
    let result = unsafe {
        libc::setsockopt(
            listener.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            ptr::from_ref(&program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
