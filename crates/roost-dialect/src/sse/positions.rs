//! Where a client stands in several channels: the id of each event of a stream of several.
//!
//! One image of a publication serves all streams, but the id behind it is each stream's own. So an image
//! says where its own channel stands, in a form that goes to no client, and [`Positions::stamp`] writes
//! the stream's id in its place when it is sent: what was dropped on the way is in no id.

use std::io::Write;

use roost_hub::Position;

use super::id::{parse_id, write_id};

/// Where a client stands in channels, each by a hash of its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions {
    /// By epoch and then by channel, so that an epoch stands in an id once.
    list: Vec<(Position, Mark)>,
}

/// 48 bits that stand for a channel's name in an id. The channels of one stream differ in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

impl Mark {
    /// Of a channel.
    pub fn of(channel: &str) -> Mark {
        // FNV-1a, and SplitMix64's output function behind it.
        let hash = channel
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Mark((mixed ^ (mixed >> 31)) >> 16)
    }

    fn parse(text: &str) -> Option<Mark> {
        let is_mark =
            text.len() == MARK_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_mark
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten();
        number.map(Mark)
    }

    fn write(self, out: &mut Vec<u8>) {
        let Mark(mark) = self;
        let _ = write!(out, "{mark:012x}"); // a Vec takes everything
    }
}

impl Positions {
    /// Those of an id; `None` if it is none of this server's streams of several channels.
    pub fn parse(id: &str) -> Option<Positions> {
        let mut positions = Positions::default();
        for group in id.split('~') {
            let (epoch, behind) = group.split_once('.')?;
            for entry in behind.split('.') {
                let (mark, offset) = entry.split_once('-')?;
                let mark = Mark::parse(mark)?;
                if positions.list.len() == STREAM_CHANNELS_MAX || positions.of(mark).is_some() {
                    return None;
                }
                positions.set(mark, parse_id(&format!("{epoch}-{offset}"))?);
            }
        }
        Some(positions)
    }

    /// Where the client stands in a channel, if it is known there.
    pub fn of(&self, channel: Mark) -> Option<Position> {
        let found = self.list.iter().find(|(_, mark)| *mark == channel);
        found.map(|(position, _)| *position)
    }

    /// It has got what a channel has up to here.
    pub fn set(&mut self, channel: Mark, position: Position) {
        let before = self.list.iter().position(|(_, mark)| *mark == channel);
        match before {
            Some(at) if self.list[at].0.epoch == position.epoch => {
                self.list[at].0 = position;
                return;
            }
            Some(at) => _ = self.list.remove(at),
            None if self.list.len() == STREAM_CHANNELS_MAX => return, // no stream has more channels
            None => {}
        }
        let key = (position.epoch, channel);
        let behind = |(other, mark): &(Position, Mark)| (other.epoch, *mark) < key;
        let at = self.list.partition_point(behind);
        self.list.insert(at, (position, channel));
    }

    /// Appends the id: `EPOCH.CHANNEL-OFFSET.CHANNEL-OFFSET~EPOCH.…`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut last = None;
        for (Position { epoch, offset }, mark) in &self.list {
            if last != Some(*epoch) {
                if last.is_some() {
                    out.push(b'~');
                }
                let _ = write!(out, "{epoch:016x}");
                last = Some(*epoch);
            }
            out.push(b'.');
            mark.write(out);
            let _ = write!(out, "-{offset}");
        }
    }

    /// Appends what the client is sent in place of `image`, which is whole blocks of lines, or the head of
    /// a response and such blocks: each place of a channel becomes the id of all.
    pub fn stamp(&mut self, image: &[u8], out: &mut Vec<u8>) {
        let Ok(text) = str::from_utf8(image) else {
            debug_assert!(false, "an event stream is UTF-8");
            return out.extend_from_slice(image);
        };
        let mut rest = text;
        if rest.starts_with("HTTP/") {
            let (head, behind) =
                rest.split_at(rest.find("\r\n\r\n").map_or(rest.len(), |at| at + 4));
            out.extend_from_slice(head.as_bytes());
            rest = behind;
        }
        while !rest.is_empty() {
            let (block, behind) = rest.split_at(block_len(rest));
            let mut fields = block;
            while let Some((position, mark, behind)) = read_place(fields) {
                self.set(mark, position);
                fields = behind;
            }
            if fields.len() < block.len() {
                out.extend_from_slice(b"id: ");
                self.write(out);
                out.push(b'\n');
            }
            out.extend_from_slice(fields.as_bytes());
            rest = behind;
        }
    }

    /// How many channels.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether it is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Appends the line that says where a channel stands behind its block, which goes to no client. A block may begin
/// with several.
pub(super) fn push_place(out: &mut Vec<u8>, position: Position, channel: &str) {
    out.extend_from_slice(b"id: ");
    write_id(out, position);
    out.push(b' ');
    Mark::of(channel).write(out);
    out.push(b'\n');
}

/// Reads such a line, if a block begins with it; the other lines of the block stand behind.
fn read_place(block: &str) -> Option<(Position, Mark, &str)> {
    let (line, fields) = block.strip_prefix("id: ")?.split_once('\n')?;
    let (id, mark) = line.split_once(' ')?;
    Some((parse_id(id)?, Mark::parse(mark)?, fields))
}

/// How long the first block is: up to an empty line, or all.
fn block_len(text: &str) -> usize {
    let mut at = 0;
    while let Some(line) = text[at..].find('\n') {
        at += line + 1;
        if line == 0 {
            return at;
        }
    }
    text.len()
}

/// Most channels of one stream: an id has them all, goes along with each event, and comes back as one header.
pub const STREAM_CHANNELS_MAX: usize = 16;
const MARK_DIGITS: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn positions() -> impl Strategy<Value = Vec<(u8, Position)>> {
        let position = (0..3u64, 0..1_000u64);
        let position = position.prop_map(|(epoch, offset)| Position { epoch, offset });
        prop::collection::vec((0..20u8, position), 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_id_has_the_last_position_of_each_channel(steps in positions()) {
            let mut positions = Positions::default();
            let mut model = std::collections::BTreeMap::new();
            for (channel, position) in steps {
                let name = format!("channel {channel}");
                positions.set(Mark::of(&name), position);
                if model.len() < STREAM_CHANNELS_MAX || model.contains_key(&name) {
                    model.insert(name, position);
                }
                let mut id = Vec::new();
                positions.write(&mut id);
                let id = String::from_utf8(id).expect("ASCII");
                prop_assert_eq!(Positions::parse(&id), Some(positions.clone()), "{}", id);
                prop_assert!(id.len() <= (17 + 1 + MARK_DIGITS + 21) * STREAM_CHANNELS_MAX);
                for (name, position) in &model {
                    prop_assert_eq!(positions.of(Mark::of(name)), Some(*position), "{}", id);
                }
                prop_assert_eq!(positions.len(), model.len());
            }
        }

        #[test]
        fn what_is_read_of_an_id_is_written_as_it_was(id in "[0-9a-f.~-]{0,80}") {
            if let Some(positions) = Positions::parse(&id) {
                let mut again = Vec::new();
                positions.write(&mut again);
                let again = String::from_utf8(again).expect("ASCII");
                prop_assert_eq!(Positions::parse(&again), Some(positions));
            }
        }
    }

    #[test]
    fn other_ids_are_none() {
        let good = "0000000000000001.00000000000a-7";
        assert!(Positions::parse(good).is_some());
        for bad in [
            "",
            "0000000000000001-7",
            "0000000000000001",
            "0000000000000001.",
            "0000000000000001.00000000000a",
            "0000000000000001.00000000000a-",
            "0000000000000001.00000000000a-+7",
            "0000000000000001.0000000000a-7",
            "0000000000000001.00000000000a-7.00000000000a-8",
            "0000000000000001.00000000000a-7~",
            "000000000000001.00000000000a-7",
        ] {
            assert_eq!(Positions::parse(bad), None, "{bad:?}");
        }
        let entry = |n: usize| format!(".{n:012x}-1");
        let many = |count| (0..count).map(entry).collect::<String>();
        let id = |count| format!("0000000000000001{}", many(count));
        assert!(Positions::parse(&id(STREAM_CHANNELS_MAX)).is_some());
        assert_eq!(Positions::parse(&id(STREAM_CHANNELS_MAX + 1)), None);
    }

    #[test]
    fn each_place_becomes_the_id_of_all() {
        let mut positions = Positions::default();
        let mut out = Vec::new();
        let position = |epoch, offset| Position { epoch, offset };
        let mut image = b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n".to_vec();
        push_place(&mut image, position(3, 1), "b");
        push_place(&mut image, position(1, 4), "a");
        image.extend_from_slice(b"retry: 7\n\n");
        push_place(&mut image, position(1, 5), "a");
        image.extend_from_slice(b"\n:\n\n");
        positions.stamp(&image, &mut out);
        image.clear();
        push_place(&mut image, position(2, 8), "b");
        image.extend_from_slice(b"event: b\ndata: id: x\n\n");
        positions.stamp(&image, &mut out);
        image.clear();
        push_place(&mut image, position(1, 6), "a");
        image.extend_from_slice(b"event: a\ndata: one\ndata: \n\n");
        positions.stamp(&image, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        let Mark(a) = Mark::of("a");
        let Mark(b) = Mark::of("b");
        let expected = format!(
            "HTTP/1.0 200 OK\r\nA: b\r\n\r\n\
             id: 0000000000000001.{a:012x}-4~0000000000000003.{b:012x}-1\nretry: 7\n\n\
             id: 0000000000000001.{a:012x}-5~0000000000000003.{b:012x}-1\n\n:\n\n\
             id: 0000000000000001.{a:012x}-5~0000000000000002.{b:012x}-8\nevent: b\ndata: id: x\n\n\
             id: 0000000000000001.{a:012x}-6~0000000000000002.{b:012x}-8\nevent: a\ndata: one\ndata: \n\n"
        );
        assert_eq!(text, expected);
    }
}
