//! Ports that browsers refuse to connect to, and how none of them is chosen for port 0.

use std::io;
use std::net::SocketAddr;

/// The bad ports of the Fetch Standard's port blocking ("Bad port"), in ascending order: other
/// protocols' own, to whose servers no web page shall speak.
const BLOCKED: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427,
    465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990,
    993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667,
    6668, 6669, 6679, 6697, 10080,
];

/// Whether browsers, and the `fetch` of Node, refuse to connect to a port (Fetch Standard, "port
/// blocking"). It holds for WebSockets too.
pub fn is_blocked(port: u16) -> bool {
    BLOCKED.binary_search(&port).is_ok()
}

/// Binds a socket to `addr` by `bind`; `bound` tells its address. Where port 0 leaves the choice to the
/// kernel, one that browsers refuse is not taken while there are others: `net.ipv4.ip_local_port_range` may
/// have some in it.
///
/// # Errors
/// Those of `bind` and `bound`.
pub fn bind<S>(
    addr: SocketAddr,
    bind: impl Fn() -> io::Result<S>,
    bound: impl Fn(&S) -> io::Result<SocketAddr>,
) -> io::Result<S> {
    let mut refused = Vec::new(); // held, so that the kernel chooses another
    loop {
        let is_choice = addr.port() == 0 && refused.len() < BLOCKED.len();
        match bind() {
            Ok(socket) if is_choice && is_blocked(bound(&socket)?.port()) => {
                refused.push(socket);
            }
            Ok(socket) => return Ok(socket),
            Err(error) => return refused.pop().ok_or(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn chosen(asked: u16, kernel: &[u16]) -> (u16, usize) {
        let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let left = RefCell::new(kernel.iter().copied());
        let next = || {
            left.borrow_mut()
                .next()
                .ok_or(io::ErrorKind::AddrInUse.into())
        };
        let port = bind(addr(asked), next, |port| Ok(addr(*port))).expect("binds");
        (port, left.into_inner().len())
    }

    #[test]
    fn the_kernel_is_asked_again_for_a_port_that_browsers_refuse() {
        assert_eq!(chosen(0, &[6_669, 6_000, 10_080, 6_670, 1]), (6_670, 1));
        assert_eq!(chosen(0, &[8_080, 1]), (8_080, 1));
    }

    #[test]
    fn a_port_that_was_asked_for_is_taken_and_so_is_the_last_there_is() {
        assert_eq!(chosen(6_000, &[6_000, 1]), (6_000, 1));
        assert_eq!(chosen(0, &[6_000, 6_667]), (6_667, 0));
    }

    #[test]
    fn the_list_can_be_searched() {
        assert!(BLOCKED.is_sorted_by(|one, next| one < next));
        assert!(is_blocked(10_080) && is_blocked(22));
        assert!(!is_blocked(80) && !is_blocked(443) && !is_blocked(8_080) && !is_blocked(9_090));
    }
}
