//! Addresses of unix sockets on the simulated network.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use roost_random::mix;

/// Where a simulated client connects to reach the unix socket at a path: an address of its own,
/// which no TCP listener has.
pub fn unix_addr(path: &Path) -> SocketAddr {
    // RFC 4193 §3.1: a local prefix.
    let ip = (0xfd_u128 << 120) | u128::from(hash_bytes(path.as_os_str().as_bytes()));
    SocketAddr::from((Ipv6Addr::from_bits(ip), 1))
}

/// Whether an address is a unix socket's: then its peer has none.
pub(super) fn is_unix_addr(addr: SocketAddr) -> bool {
    matches!(addr.ip(), IpAddr::V6(ip) if ip.to_bits() >> 64 == 0xfd << 56)
}

pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let start = bytes.len() as u64 ^ u64::from_le_bytes(last);
    words.iter().fold(mix(start), |hash, word| {
        mix(hash.rotate_left(5) ^ u64::from_le_bytes(*word))
    })
}
