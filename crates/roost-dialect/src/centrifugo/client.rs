//! What clients are told of themselves and of each other.

use std::fmt::Write as _;

use crate::json::push_string;
use crate::publication::in_one_line;

/// What a client is told when it has connected.
pub(super) struct Connected<'a> {
    /// Its id.
    pub(super) client: &'a str,
    pub(super) expiry: &'a Expiry,
    /// In how many seconds the next ping comes; 0: none comes.
    pub(super) ping_s: u32,
    /// By what name it sends, if that is by requests of their own.
    pub(super) emulation: Option<&'a str>,
}

/// What is said of the time that something ends.
pub(super) struct Expiry {
    /// In so many seconds; `None`: never.
    pub(super) in_s: Option<u32>,
}

/// A client's id as it is told: a UUID (RFC 9562, version 4) that the number is spread over.
pub(super) fn client_id(number: u64) -> String {
    let high = mix(number) & !0xf000 | 0x4000;
    let low = mix(number ^ SECOND_HALF) & !(3 << 62) | 2 << 62;
    let mut text = String::with_capacity(36);
    let _ = write!(
        text,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    );
    text
}

/// A publisher as subscribers are told of it, in JSON.
pub(super) fn client_info(user: &str, client: &str, connection: Option<&str>) -> Box<str> {
    let mut info = b"{\"user\":".to_vec();
    push_string(&mut info, user);
    info.extend_from_slice(b",\"client\":");
    push_string(&mut info, client);
    if let Some(connection) = connection {
        info.extend_from_slice(b",\"conn_info\":");
        info.extend_from_slice(&in_one_line(connection.as_bytes()));
    }
    info.push(b'}');
    String::from_utf8(info)
        .expect("it is written of texts")
        .into()
}

/// SplitMix64's output function: a bijection whose bits all depend on all.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Makes the halves of an id two functions of its number.
const SECOND_HALF: u64 = 0x5555_5555_5555_5555;
/// A client gives it back with what it sends; the session's name says it all.
pub(super) const NODE: &str = "roost";
/// What clients are told that they have connected to.
pub(super) const VERSION: &str = concat!("Roost ", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_uuids_and_differ() {
        let mut seen = BTreeSet::new();
        for number in 1..10_000u64 {
            let id = client_id(number);
            assert_eq!(id.len(), 36, "{id}");
            let dashes = id.match_indices('-').map(|(at, _)| at);
            assert_eq!(dashes.collect::<Vec<_>>(), [8, 13, 18, 23], "{id}");
            assert_eq!(&id[14..15], "4", "the version of {id}");
            assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
            assert!(seen.insert(id), "{number}");
        }
    }
}
