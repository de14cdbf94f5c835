//! The interface of a client's dialect, and what it is lent.

use roost_random::SplitMix64;
use roost_wire::Message;

use super::position::{Position, Recovered};

/// A dialect, from the client's side. One value serves all connections: what a connection is in
/// the midst of is a number that the caller keeps.
pub trait Dialect: Send + Sync {
    /// The name on the command line and in scenarios.
    fn name(&self) -> &'static str;

    /// Subprotocols to offer.
    fn protocols(&self) -> &'static [&'static str] {
        &[]
    }

    /// The path to ask for where the URL names none. `{channel}` stands for the channel's name.
    fn path(&self) -> &'static str;

    /// What to ask for where the URL names a path that is this dialect's alone, such as one with a key in
    /// it: groups that speak another dialect then ask for a path of their own. `None`: it is not.
    fn target_of(&self, path: &str) -> Option<String> {
        let _ = path;
        None
    }

    /// How many channels a connection can be subscribed to.
    fn channels_max(&self) -> usize;

    /// True when what is sent comes back to its sender.
    fn echoes(&self) -> bool {
        false
    }

    /// True when a publisher receives what it publishes in a channel that it is subscribed to.
    fn receives_own(&self) -> bool {
        false
    }

    /// Whether it can publish.
    fn publishes(&self) -> bool {
        self.channels_max() > 0
    }

    /// Whether each publish is answered by a [`Received::Acknowledged`].
    fn acknowledges(&self) -> bool {
        false
    }

    /// Whether a client that was away can go on from a position.
    fn recovers(&self) -> bool {
        false
    }

    /// True for an event stream over HTTP/1.1 (WHATWG HTML, "Server-sent events") instead of a WebSocket:
    /// the body comes to [`Dialect::first_len`] as a binary message would.
    fn is_event_stream(&self) -> bool {
        false
    }

    /// Whether a text message holds several of the dialect's, one a line.
    fn has_lines(&self) -> bool {
        false
    }

    /// The length of the first of the dialect's messages in `bytes`, which are not empty; `None`
    /// while it is not whole. For a dialect whose messages may be cut anywhere by WebSocket's, or
    /// stand several in one; for the others a WebSocket message is one.
    ///
    /// # Errors
    /// Why it cannot be a message.
    fn first_len(&self, bytes: &[u8]) -> Result<Option<usize>, String> {
        Ok(Some(bytes.len()))
    }

    /// The WebSocket is open: says what is to be said first. Returns true if nothing needs to be
    /// waited for.
    fn open(&self, session: &mut Session<'_>) -> bool;

    /// A message has come, as [`Dialect::first_len`] cuts them; text only where it is WebSocket's. `buffer` is for what has to be decoded.
    fn handle<'m>(
        &self,
        session: &mut Session<'_>,
        message: Message<'m>,
        buffer: &'m mut Vec<u8>,
    ) -> Received<'m>;

    /// Says `payload` in `channel`. `number` is another for each publish of a connection, from 0.
    fn publish(&self, say: &mut Say<'_>, channel: &str, number: u64, payload: &[u8]);
}

/// A connection, as far as a dialect has to do with it.
pub struct Session<'a> {
    /// How far the opening has come; 0 at first. The dialect's own.
    pub stage: &'a mut u8,
    /// The channels to subscribe to.
    pub channels: &'a dyn Fn(usize) -> Option<String>,
    /// How far the client has come in each of them; empty if it does not recover.
    pub positions: &'a mut [Position],
    /// What a position brought.
    pub recovered: &'a mut Recovered,
    /// What is said.
    pub say: Say<'a>,
}

impl Session<'_> {
    /// The next channel to subscribe to, and which of them it is; `None` behind the last. For dialects that
    /// ask for one after the other: the stage is the number of those asked for.
    pub(super) fn next_channel(&mut self) -> Option<(usize, String)> {
        let index = usize::from(*self.stage);
        let channel = (self.channels)(index)?;
        *self.stage += 1;
        Some((index, channel))
    }
}

/// Messages on their way out: masked frames in a buffer.
pub struct Say<'a> {
    /// Frames are appended here.
    pub out: &'a mut Vec<u8>,
    /// Where masks come from.
    pub random: &'a mut Random,
}

impl Say<'_> {
    /// A text message.
    pub fn text(&mut self, text: &str) {
        let mask = self.random.mask();
        roost_wire::frame::append_masked_frame(
            self.out,
            roost_wire::Opcode::Text,
            text.as_bytes(),
            mask,
        );
    }

    /// A binary message.
    pub fn binary(&mut self, bytes: &[u8]) {
        let mask = self.random.mask();
        roost_wire::frame::append_masked_frame(self.out, roost_wire::Opcode::Binary, bytes, mask);
    }
}

/// What a message meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'m> {
    /// A payload, published by somebody or sent back.
    Payload(&'m [u8]),
    /// The opening goes on, or it means nothing to this client.
    Progress,
    /// A sign of life of the server's; an answer is said where one is due.
    Ping,
    /// A publish has its place in the channel's order.
    Acknowledged,
    /// The opening is over: all subscriptions are acknowledged.
    Ready,
    /// The server refuses, and why.
    Refused(String),
}

/// Gives each whole message in `bytes` to `hear`, until that returns false, and keeps what is not
/// whole in `kept` for the next call. False when `hear` said so.
///
/// # Errors
/// As [`Dialect::first_len`].
pub fn each_message(
    dialect: &dyn Dialect,
    kept: &mut Vec<u8>,
    bytes: &[u8],
    mut hear: impl FnMut(&[u8]) -> bool,
) -> Result<bool, String> {
    let mut joined = std::mem::take(kept);
    let mut left = bytes;
    if !joined.is_empty() {
        joined.extend_from_slice(bytes);
        left = &joined;
    }
    while !left.is_empty() {
        let Some(len) = dialect.first_len(left)? else {
            *kept = left.to_vec();
            break;
        };
        let (message, rest) = left.split_at(len);
        if !hear(message) {
            return Ok(false);
        }
        left = rest;
    }
    Ok(true)
}

/// The longest message of a dialect that cuts them itself, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Random numbers for masks and keys: quick and seeded, not secret. A mask protects proxies from
/// clients' scripts; here is no script.
#[derive(Debug, Clone)]
pub struct Random(SplitMix64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(SplitMix64::new(seed))
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn mask(&mut self) -> [u8; 4] {
        (self.draw() as u32).to_le_bytes()
    }
}
