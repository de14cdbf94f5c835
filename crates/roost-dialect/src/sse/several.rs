//! Several channels in one stream: what a request asks for, and what the stream's session keeps.

use std::borrow::Cow;

use roost_hub::{ChannelId, Position, Since};

use super::positions::{Mark, Positions, STREAM_CHANNELS_MAX};
use super::request::{history, last_event_id};
use super::settings::Settings;
use crate::check_channel_name;
use crate::dialect::{Input, Offer};
use crate::path::form_decode;

/// The channels of one stream.
#[derive(Debug, Default)]
pub(super) struct Several {
    channels: Vec<Channel>,
    /// Its client has been told when to come back.
    pub(super) has_begun: bool,
}

#[derive(Debug)]
struct Channel {
    /// Until its home has answered.
    name: Box<str>,
    /// While the stream is subscribed to it, or about to be.
    number: Option<ChannelId>,
}

impl Several {
    /// One more is asked for; returns its place.
    pub(super) fn add(&mut self, name: &str) -> usize {
        self.channels.push(Channel {
            name: name.into(),
            number: None,
        });
        self.channels.len() - 1
    }

    /// The name of the channel at a place, which is told now and not needed again.
    pub(super) fn take_name(&mut self, place: usize) -> Option<Box<str>> {
        let one = self.channels.get_mut(place)?;
        Some(std::mem::take(&mut one.name)).filter(|name| !name.is_empty())
    }

    /// The channel at a place has this number, or the stream is not subscribed to it.
    pub(super) fn set_number(&mut self, place: usize, number: Option<ChannelId>) {
        if let Some(one) = self.channels.get_mut(place) {
            one.number = number;
        }
    }

    /// Takes one subscription out.
    pub(super) fn pop(&mut self) -> Option<ChannelId> {
        self.channels.iter_mut().find_map(|one| one.number.take())
    }

    /// Takes this one out. False if there is none.
    pub(super) fn remove(&mut self, number: ChannelId) -> bool {
        let mut all = self.channels.iter_mut();
        let found = all.find(|one| one.number == Some(number));
        found.is_some_and(|one| one.number.take().is_some())
    }

    pub(super) fn has(&self, number: ChannelId) -> bool {
        self.channels.iter().any(|one| one.number == Some(number))
    }

    pub(super) fn each(&self, visit: &mut dyn FnMut(ChannelId)) {
        self.channels
            .iter()
            .filter_map(|one| one.number)
            .for_each(visit);
    }

    /// Heap bytes, nearly.
    pub(super) fn heap_bytes(&self) -> usize {
        let names = self.channels.iter().map(|one| one.name.len());
        self.channels.capacity() * size_of::<Channel>() + names.sum::<usize>()
    }

    /// All channels, as plain values.
    pub(super) fn into_list(self) -> Vec<(Box<str>, Option<ChannelId>)> {
        let Several {
            channels,
            has_begun: _, // nothing more is drawn
        } = self;
        let channels = channels.into_iter();
        channels
            .map(|Channel { name, number }| (name, number))
            .collect()
    }

    /// Of such a list.
    pub(super) fn from_list(list: Vec<(Box<str>, Option<ChannelId>)>) -> Several {
        let channels = list.into_iter();
        Several {
            channels: channels
                .map(|(name, number)| Channel { name, number })
                .collect(),
            has_begun: true,
        }
    }
}

/// Whether a request asks for several channels.
pub(super) fn is_asked(offer: &Offer<'_>) -> bool {
    parameters(offer).next().is_some()
}

/// What a stream's session draws its subscriptions from: a line for each channel, with its name, a tab, and
/// where it begins. A name has neither.
///
/// # Errors
/// A sentence for the client.
pub(super) fn asked(settings: &Settings, offer: &Offer<'_>) -> Result<String, &'static str> {
    let mut names: Vec<Cow<'_, str>> = Vec::new();
    for value in parameters(offer) {
        let name = form_decode(value).map_err(|error| error.reason())?;
        check_channel_name(&name, offer.channel_name_bytes_max).map_err(|error| error.reason())?;
        if is_reserved(&name) {
            return Err(RESERVED);
        }
        if names.contains(&name) {
            continue;
        }
        if names.iter().any(|other| Mark::of(other) == Mark::of(&name)) {
            return Err(ALIKE);
        }
        names.push(name);
    }
    if names.len() > settings.channels_max.min(STREAM_CHANNELS_MAX) {
        return Err(TOO_MANY);
    }
    let id = last_event_id(offer).filter(|id| !id.is_empty());
    // An id that is none of ours is that of another server: its client is told of a loss in each channel.
    let known = id.map(|id| Positions::parse(&id));
    let history = history(offer)?;
    let mut lines = String::new();
    for name in &names {
        let position = match &known {
            None => None,
            Some(None) => Some(UNKNOWN),
            // A channel that the client has not had before begins now.
            Some(Some(positions)) => positions.of(Mark::of(name)),
        };
        let begin = match (position, history) {
            (Some(Position { epoch, offset }), _) => format!("{epoch:016x}-{offset}"),
            (None, Some(count)) => format!("={count}"),
            (None, None) => String::new(),
        };
        lines.extend([name.as_ref(), "\t", begin.as_str(), "\n"]);
    }
    lines.pop();
    Ok(lines)
}

/// What a line of [`asked`] says.
pub(super) fn read_line(line: &str) -> Option<(&str, Option<Since>)> {
    let (name, begin) = line.split_once('\t')?;
    let since = match begin.strip_prefix('=') {
        _ if begin.is_empty() => None,
        Some(count) => Some(Since::Last(count.parse().ok()?)),
        None => Some(Since::Position(super::id::parse_id(begin)?)),
    };
    Some((name, since))
}

/// Where the client stands in the channels that it knows, of all lines of [`asked`].
pub(super) fn known<'a>(mut lines: Input<'a>) -> impl Iterator<Item = (&'a str, Position)> {
    let lines = std::iter::from_fn(move || lines.take_text_until('\n'));
    lines.filter_map(|line| match read_line(line)? {
        (name, Some(Since::Position(position))) => Some((name, position)),
        _ => None,
    })
}

fn parameters<'a>(offer: &Offer<'a>) -> impl Iterator<Item = &'a str> {
    let all = offer.headers.query().unwrap_or_default().split('&');
    all.filter_map(|one| one.strip_prefix("channel="))
}

/// An event of such a channel would look like another one: like one that a browser makes itself, or like one
/// that the server tells.
fn is_reserved(name: &str) -> bool {
    matches!(name, "open" | "error" | "binary") || name.starts_with("roost.")
}

/// No channel is there: an epoch is a hash of a secret.
const UNKNOWN: Position = Position {
    epoch: 0,
    offset: u64::MAX,
};
const RESERVED: &str = "Events are named by their channel, and open, error, binary, and what begins with \
     roost., are names of other events: read such a channel by /sse/CHANNEL.";
const ALIKE: &str = "Two of these channels cannot be read in one stream: their names are too much alike to \
     the server. Read one of them by another stream.";
const TOO_MANY: &str = "A stream has at most 16 channels, or limits.subscriptions_per_connection_max if that \
     is less: read the others by another stream.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let position = Position {
            epoch: 0xab,
            offset: 7,
        };
        for (line, expected) in [
            ("a b\t", Some(("a b", None))),
            ("a\t=3", Some(("a", Some(Since::Last(3))))),
            (
                "a\t00000000000000ab-7",
                Some(("a", Some(Since::Position(position)))),
            ),
            ("a", None),
            ("a\t=x", None),
            ("a\t7", None),
        ] {
            assert_eq!(read_line(line), expected, "{line:?}");
        }
    }
}
