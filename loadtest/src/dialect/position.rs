//! How far a client has come in a channel, and what the server made of that when it came back.

use std::fmt::Write as _;
use std::sync::Arc;

/// The last message that a client has received in a channel: an epoch, which is the server's, and an offset.
/// The epoch is the same for nearly all clients, and shared with the last one that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    epoch: Option<Arc<str>>,
    offset: u64,
}

const _: () = assert!(size_of::<Position>() == 24);

impl Position {
    /// Whether there is one.
    pub fn is_known(&self) -> bool {
        self.epoch.is_some()
    }

    /// The server's epoch; empty if there is none.
    pub fn epoch(&self) -> &str {
        self.epoch.as_deref().unwrap_or_default()
    }

    /// The offset in it.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes to an offset of an epoch. `recovered` knows the epoch that was read last.
    pub fn set(&mut self, epoch: &str, offset: u64, recovered: &mut Recovered) {
        self.offset = offset;
        if self.epoch.as_deref() != Some(epoch) {
            self.epoch = Some(recovered.shared(epoch));
        }
    }

    /// Goes to another offset of the same epoch.
    pub fn advance(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Goes to an event's id: the number at its end is taken for the offset, what stands before for the
    /// epoch, so that the id of the next event costs no memory. To a client, an id has no parts.
    pub fn set_id(&mut self, id: &str, recovered: &mut Recovered) {
        let digits = id.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (epoch, number) = id.split_at(id.len() - digits);
        match number.parse::<u64>() {
            // The id must read the same when it is written again.
            Ok(offset) if offset != NO_OFFSET && (number == "0" || !number.starts_with('0')) => {
                self.set(epoch, offset, recovered);
            }
            _ => self.set(id, NO_OFFSET, recovered),
        }
    }

    /// The id that was set; `None` if there is none.
    pub fn to_id(&self) -> Option<String> {
        let mut id = self.epoch.as_deref()?.to_owned();
        if self.offset != NO_OFFSET {
            let _ = write!(id, "{}", self.offset); // a String takes everything
        }
        Some(id)
    }
}

/// What a server made of positions: messages that were missed, in their order, and channels of which
/// it says that some are lost.
#[derive(Debug, Default)]
pub struct Recovered {
    bytes: Vec<u8>,
    /// Where each payload ends in `bytes`.
    ends: Vec<usize>,
    lost: Vec<usize>,
    epoch: Option<Arc<str>>,
}

impl Recovered {
    /// A payload; `append` puts it behind what there is.
    pub fn push(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        append(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Of this channel of the connection's, by its number among them, messages are lost, and the server
    /// says so.
    pub fn tell_loss(&mut self, channel: usize) {
        self.lost.push(channel);
    }

    /// The payloads, in the order of the messages.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.bytes[start..end])
    }

    /// The channels of which the server says that messages are lost.
    pub fn lost(&self) -> &[usize] {
        &self.lost
    }

    /// Whether the last message said nothing of positions.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.lost.is_empty()
    }

    /// Forgets all but the epoch.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.lost.clear();
    }

    /// An epoch, shared with the last one if that is the same.
    fn shared(&mut self, epoch: &str) -> Arc<str> {
        match &self.epoch {
            Some(last) if **last == *epoch => Arc::clone(last),
            _ => {
                let new: Arc<str> = epoch.into();
                Arc::clone(self.epoch.insert(new))
            }
        }
    }
}

/// An id that does not end in a number.
const NO_OFFSET: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_it_was_read() {
        let mut recovered = Recovered::default();
        let mut position = Position::default();
        assert_eq!(position.to_id(), None);
        for id in [
            "a-7",
            "7",
            "0",
            "00",
            "a-007",
            "",
            "x",
            "18446744073709551615",
            "a18446744073709551616",
            "é9",
        ] {
            position.set_id(id, &mut recovered);
            assert_eq!(position.to_id().as_deref(), Some(id));
        }
    }

    #[test]
    fn clients_of_one_epoch_share_it() {
        let mut recovered = Recovered::default();
        let mut positions = [Position::default(), Position::default()];
        for (offset, position) in (1..).zip(&mut positions) {
            position.set_id(&format!("epoch-{offset}"), &mut recovered);
        }
        let epochs = positions.each_ref().map(|position| position.epoch.as_ref());
        let [Some(one), Some(other)] = epochs else {
            panic!("{epochs:?}")
        };
        assert!(Arc::ptr_eq(one, other));
    }
}
