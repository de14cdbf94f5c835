//! What the kernel knows of one TCP connection (tcp(7), TCP_INFO): asked for a connection that
//! somebody looks at, and never on the data path.

use std::os::fd::BorrowedFd;

use crate::sys;

/// What stands between us and one peer. Times are as the kernel has them: since the connection began,
/// or since the last packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// The connection's state by its number in the kernel's `tcp_states.h`; 1 is established.
    pub state: u8,
    /// Retransmissions in a row of what is unacknowledged now.
    pub retransmits: u8,
    /// Probes in a row of a window that is shut, or keep-alives.
    pub probes: u8,
    /// Until the next retransmission, in microseconds.
    pub rto_us: u32,
    /// Smoothed round-trip time, in microseconds.
    pub rtt_us: u32,
    /// Its variation.
    pub rttvar_us: u32,
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// Segments taken for lost.
    pub lost: u32,
    /// Retransmissions in all.
    pub retransmits_total: u32,
    /// Milliseconds since data was sent.
    pub last_sent_ms: u32,
    /// Milliseconds since data was received.
    pub last_received_ms: u32,
    /// Milliseconds since anything was acknowledged.
    pub last_ack_ms: u32,
    /// Bytes in the socket's buffer that were never sent (Linux 4.6).
    pub notsent_bytes: u32,
    /// Microseconds during which the peer's receive window held up sending (Linux 4.10).
    pub rwnd_limited_us: u64,
    /// Microseconds during which there was something to send (Linux 4.10).
    pub busy_us: u64,
    /// The window that the peer has advertised, in bytes; `None` before Linux 5.4.
    pub peer_window_bytes: Option<u32>,
    /// Bytes that the peer has acknowledged (Linux 4.1).
    pub acked_bytes: u64,
    /// Bytes received (Linux 4.1).
    pub received_bytes: u64,
    /// The largest segment sent.
    pub segment_bytes: u32,
}

/// Of a socket; `None` if it is no TCP socket.
pub(crate) fn tcp_info_of(fd: BorrowedFd<'_>) -> Option<TcpInfo> {
    let mut bytes = [0; sys::TCP_INFO_BYTES];
    let len = sys::tcp_info(fd, &mut bytes)?;
    Some(TcpInfo::parse(&bytes[..len.min(bytes.len())]))
}

impl TcpInfo {
    /// By the offsets of `struct tcp_info` (linux/tcp.h), which only grows. What a kernel does not have yet
    /// is 0.
    fn parse(bytes: &[u8]) -> TcpInfo {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let word = |at: usize| {
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
            word.map(u32::from_ne_bytes)
        };
        let long = |at: usize| {
            let long = bytes.get(at..at + 8).and_then(|long| long.try_into().ok());
            long.map(u64::from_ne_bytes).unwrap_or_default()
        };
        let known = |at: usize| word(at).unwrap_or_default();
        TcpInfo {
            state: byte(0),
            retransmits: byte(2),
            probes: byte(3),
            rto_us: known(8),
            segment_bytes: known(16),
            unacked: known(24),
            lost: known(32),
            last_sent_ms: known(44),
            last_received_ms: known(52),
            last_ack_ms: known(56),
            rtt_us: known(68),
            rttvar_us: known(72),
            retransmits_total: known(100),
            acked_bytes: long(120),
            received_bytes: long(128),
            notsent_bytes: known(144),
            busy_us: long(168),
            rwnd_limited_us: long(176),
            peer_window_bytes: word(228),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_connection_tells_what_it_has_sent_and_received() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
        let address = listener.local_addr().expect("it is bound");
        let mut one = TcpStream::connect(address).expect("connects");
        let (mut other, _) = listener.accept().expect("accepts");
        one.write_all(&[1; 1000]).expect("writes");
        other.read_exact(&mut [0; 1000]).expect("reads");
        other.write_all(&[2; 10]).expect("writes");
        one.read_exact(&mut [0; 10]).expect("reads");
        let info = tcp_info_of(one.as_fd()).expect("a TCP socket");
        assert_eq!((info.state, info.retransmits_total), (1, 0), "{info:?}");
        assert_eq!(
            (info.acked_bytes, info.received_bytes),
            (1001, 10),
            "{info:?}"
        ); // and the SYN
        assert!(info.rto_us >= 1_000 && info.segment_bytes > 500, "{info:?}");
        assert!(
            info.peer_window_bytes.is_none_or(|bytes| bytes > 1_000),
            "{info:?}"
        );
        let (unix, _other) = UnixStream::pair().expect("a pair");
        assert_eq!(tcp_info_of(unix.as_fd()), None);
    }

    #[test]
    fn an_older_kernel_leaves_out_the_rest() {
        let mut bytes = [0; 104];
        bytes[68..72].copy_from_slice(&1234_u32.to_ne_bytes());
        let info = TcpInfo::parse(&bytes);
        assert_eq!((info.rtt_us, info.peer_window_bytes), (1234, None));
        assert_eq!(info.rwnd_limited_us, 0);
    }
}
