//! The id of a connection, `123.456`: a number from 1 to 2^53 in two parts.

use crate::serial::push_number;

/// As clients and applications have it.
pub fn socket_id(client: u64) -> String {
    let mut digits = Vec::with_capacity(20);
    push_number(&mut digits, client >> LOW_BITS);
    digits.push(b'.');
    push_number(&mut digits, client & LOW_MASK);
    String::from_utf8(digits).expect("digits are ASCII")
}

/// The number of an id; `None`: no connection has such an id.
pub fn parse_socket_id(id: &str) -> Option<u64> {
    let (high, low) = id.split_once('.')?;
    let digits = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().ok())?
    };
    let (high, low) = (digits(high)?, digits(low)?);
    let is_one = low <= LOW_MASK && high <= HIGH_MAX;
    let client = is_one.then_some(high << LOW_BITS | low)?;
    (client > 0 && socket_id(client) == id).then_some(client)
}

/// A half, so that both parts have as many digits.
const LOW_BITS: u32 = 27;
const LOW_MASK: u64 = (1 << LOW_BITS) - 1;
/// Of 2^53.
const HIGH_MAX: u64 = 1 << (53 - LOW_BITS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_number() {
        for client in [1, LOW_MASK, LOW_MASK + 1, 0x0012_3456_789a_bcde, 1 << 53] {
            assert_eq!(parse_socket_id(&socket_id(client)), Some(client));
        }
        assert_eq!(socket_id(123 << LOW_BITS | 456), "123.456");
        for bad in [
            "",
            ".",
            "1",
            "1.",
            ".1",
            "0.0",
            "01.1",
            "1.01",
            "1.1.1",
            "+1.1",
            "1.-1",
            "1.134217728",
            "99999999999999999999.1",
            "1 .1",
            "67108865.0",
            "a.b",
        ] {
            assert_eq!(parse_socket_id(bad), None, "{bad}");
        }
    }
}
