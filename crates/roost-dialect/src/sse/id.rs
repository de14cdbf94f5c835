//! The id of an event: a position, as `EPOCH-OFFSET`, the epoch in 16 hexadecimal digits.

use std::io::Write;

use roost_hub::Position;

/// Appends an id.
pub fn write_id(out: &mut Vec<u8>, position: Position) {
    let Position { epoch, offset } = position;
    let _ = write!(out, "{epoch:016x}-{offset}"); // a Vec takes everything
}

/// The position that an id stands for; `None` if it is no id of this server.
pub fn parse_id(id: &str) -> Option<Position> {
    let (epoch, offset) = id.split_once('-')?;
    if epoch.len() != 16 || !epoch.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    // Not "+1", which Rust would read.
    if !offset.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Position {
        epoch: u64::from_str_radix(epoch, 16).ok()?,
        offset: offset.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written() {
        for (epoch, offset) in [(0, 0), (1, 7), (u64::MAX, u64::MAX), (0xabc, 1 << 47)] {
            let position = Position { epoch, offset };
            let mut id = Vec::new();
            write_id(&mut id, position);
            let id = String::from_utf8(id).expect("ASCII");
            assert_eq!(parse_id(&id), Some(position), "{id}");
        }
    }

    #[test]
    fn other_ids_are_none() {
        for id in [
            "",
            "-",
            "7",
            "0000000000000001-",
            "0000000000000001-+1",
            "0000000000000001--1",
            "1-1",
            "+000000000000001-1",
            "000000000000000g-1",
            "0000000000000001-1 ",
            "0000000000000001-18446744073709551616",
            "é00000000000001-1",
        ] {
            assert_eq!(parse_id(id), None, "{id:?}");
        }
    }
}
