//! Channels of the whole server: those of each home, and how many subscribe to them on all reactors.

use roost_reactor::{CHANNELS_MAX, COUNTED_MAX, ChannelRecord, Name, Request};
use tokio::time::Instant;

use crate::peer::{AskError, Peer, Reply};

/// A channel with its subscribers.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) record: ChannelRecord,
    /// Of all reactors together. They are asked one behind the other: who subscribes or leaves meanwhile
    /// counts or does not.
    pub(crate) subscribers: u64,
}

/// Where a page of channels begins: `HOME.PLACE`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    home: usize,
    place: u32,
}

impl Cursor {
    pub(crate) fn parse(text: &str) -> Option<Cursor> {
        let (home, place) = text.split_once('.')?;
        Some(Cursor {
            home: home.parse().ok()?,
            place: place.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.home, self.place)
    }
}

/// The next channels whose names begin so, `limit` at most, and where to go on if there may be more.
pub(crate) async fn page(
    peer: &Peer,
    mut at: Cursor,
    limit: u32,
    prefix: &str,
    deadline: Instant,
) -> Result<(Vec<Channel>, Option<Cursor>), AskError> {
    let (mut found, mut left) = (Vec::new(), limit.min(CHANNELS_MAX));
    while left > 0 && at.home < peer.reactors() {
        let request = Request::Channels {
            from: at.place,
            limit: left,
            prefix: prefix.into(),
        };
        let sent = peer.ask(at.home, request)?;
        let Reply::Channels { records, next } = sent.answer_by(deadline).await? else {
            return Err(wrong_answer());
        };
        left = left.saturating_sub(u32::try_from(records.len()).unwrap_or(u32::MAX));
        found.extend(records);
        at = match next {
            Some(place) => Cursor { place, ..at },
            None => Cursor {
                home: at.home + 1,
                place: 0,
            },
        };
    }
    let has_more = at.home < peer.reactors();
    let channels = count(peer, found, deadline).await?;
    Ok((channels, has_more.then_some(at)))
}

/// The channel of this name; `None`: nothing subscribes to it.
pub(crate) async fn one(
    peer: &Peer,
    name: &str,
    deadline: Instant,
) -> Result<Option<Channel>, AskError> {
    let sent = peer.ask(peer.home_of(name), Request::Channel(name.into()))?;
    let Reply::Channels { records, .. } = sent.answer_by(deadline).await? else {
        return Err(wrong_answer());
    };
    Ok(count(peer, records, deadline).await?.pop())
}

/// Has all reactors count the subscribers.
async fn count(
    peer: &Peer,
    records: Vec<ChannelRecord>,
    deadline: Instant,
) -> Result<Vec<Channel>, AskError> {
    let channel = |record| Channel {
        record,
        subscribers: 0,
    };
    let mut channels: Vec<Channel> = records.into_iter().map(channel).collect();
    for some in channels.chunks_mut(COUNTED_MAX) {
        let names: Box<[Name]> = some.iter().map(|one| one.record.name.clone()).collect();
        let mut all_sent = Vec::new();
        for reactor in 0..peer.reactors() {
            all_sent.push(peer.ask(reactor, Request::CountSubscribers(names.clone()))?);
        }
        for sent in all_sent {
            let Reply::Subscribers(counts) = sent.answer_by(deadline).await? else {
                return Err(wrong_answer());
            };
            for (channel, count) in some.iter_mut().zip(counts) {
                channel.subscribers += u64::from(count);
            }
        }
    }
    Ok(channels)
}

/// A fault of ours, which must not end the thread.
fn wrong_answer() -> AskError {
    debug_assert!(false, "a reactor answers what it was asked");
    AskError::Deadline
}

/// Channels in a page, if none are asked for.
pub(crate) const LIMIT_DEFAULT: u32 = 100;
/// And at most.
pub(crate) const LIMIT_MAX: u32 = 1000;
