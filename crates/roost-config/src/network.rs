//! Networks, as `10.0.0.0/8`: which addresses something is allowed to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether an address is one of them. An IPv4 address that came by an IPv6 socket is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, bits) = bits_of(self.address);
        let (other, other_bits) = bits_of(address.to_canonical());
        bits == other_bits && shifted(own ^ other, bits - self.prefix_bits) == 0
    }
}

impl FromStr for Network {
    type Err = String;

    /// `ADDRESS/BITS`, or one address. The error is a hint, which may be empty.
    fn from_str(word: &str) -> Result<Network, String> {
        let (address, prefix) = match word.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (word, None),
        };
        let address: IpAddr = address.parse().map_err(|_| match word.parse() {
            Ok(std::net::SocketAddr::V4(_) | std::net::SocketAddr::V6(_)) => {
                "without the port".to_owned()
            }
            Err(_) => String::new(),
        })?;
        let (own, bits) = bits_of(address);
        let prefix_bits = match prefix {
            None => bits,
            Some(prefix) => {
                let parsed = prefix.parse().ok().filter(|&prefix: &u8| prefix <= bits);
                parsed.ok_or_else(|| format!("behind the slash stands a number up to {bits}"))?
            }
        };
        let host_bits = bits - prefix_bits;
        if host_bits > 0 && own & !(u128::MAX.checked_shl(host_bits.into()).unwrap_or(0)) != 0 {
            return Err(format!(
                "bits behind the first {prefix_bits} are 0 in a network"
            ));
        }
        Ok(Network {
            address,
            prefix_bits,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// The address as a number, and how many bits that has.
fn bits_of(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// What is left without the last bits.
fn shifted(number: u128, bits: u8) -> u128 {
    number.checked_shr(bits.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        for (network, inside, outside) in [
            ("127.0.0.0/8", "127.255.0.1", "128.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("192.0.2.128/25", "192.0.2.129", "192.0.2.127"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::ffff:128.0.0.1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("::1/128", "::1", "::2"),
        ] {
            let network: Network = network.parse().expect(network);
            let contains = |address: &str| network.contains(address.parse().expect(address));
            assert!(contains(inside), "{inside} in {network}");
            assert!(!contains(outside), "{outside} in {network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in [
            "",
            "localhost",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.1/8",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "10.0.0.0:80",
            "[::1]:80",
            "::1/0",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
