//! What a client that comes back has seen, whatever it speaks.

use std::collections::HashMap;

use roost_reactor::Position;

/// How often clients came back, and how it was.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What came behind a position, before anything else.
    pub came_back: u64,
    /// They were told of a loss.
    pub lost: u64,
    /// Their subscription was ended, because they were too slow.
    pub interrupted: u64,
    /// Publications received.
    pub received: u64,
    /// Of these, deltas.
    pub deltas: u64,
}

/// A publisher's number, and the publication's with it.
pub(super) type Published = (usize, u32);
/// Notes what stands at a position; an error if that is something else.
pub(super) type Seen<'a> = &'a mut dyn FnMut(Position, Published) -> Result<(), String>;

#[derive(Default)]
pub(super) struct Client {
    /// The last it has seen.
    pub(super) at: Option<Position>,
    /// Its stream has begun, and nothing has come on it.
    pub(super) begins: bool,
    /// The last number of each publisher.
    last: HashMap<usize, u32>,
}

impl Client {
    /// What a publication is, which has to be behind those of its publisher that have come.
    pub(super) fn take(&mut self, text: &str) -> Result<Published, String> {
        let text = text.trim_end_matches('\n');
        let published = text
            .split_once('.')
            .and_then(|(publisher, number)| Some((publisher.parse().ok()?, number.parse().ok()?)));
        let (publisher, number): Published = published.ok_or("no publication")?;
        let last = self.last.insert(publisher, number).unwrap_or(0);
        if number <= last {
            return Err(format!("{publisher}.{number} behind {publisher}.{last}"));
        }
        Ok((publisher, number))
    }
}
