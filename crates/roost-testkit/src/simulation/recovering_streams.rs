//! Clients of event streams of several channels that lose their connections and come back.

use roost_dialect::sse::{Mark, Positions};
use roost_reactor::Position;
use serde_json::Value;

use super::recovering_client::{Client, Published, Told};

/// A client of one stream of several channels.
pub(super) struct Several {
    /// Their numbers and names, and what is known of each.
    channels: Vec<(usize, String, Client)>,
    /// As the last block had it.
    id: Option<String>,
    /// Its stream has begun, and nothing has come on it.
    begins: bool,
}

/// Notes what stands at a position of a channel; an error if that is something else.
pub(super) type SeenOf<'a> = &'a mut dyn FnMut(usize, Position, Published) -> Result<(), String>;

/// Lines up to an empty one.
#[derive(Debug, Default)]
struct Block<'a> {
    id: Option<&'a str>,
    name: &'a str,
    data: String,
}

impl Several {
    pub(super) fn of(channels: impl Iterator<Item = (usize, String)>) -> Several {
        Several {
            channels: channels
                .map(|(channel, name)| (channel, name, Client::default()))
                .collect(),
            id: None,
            begins: false,
        }
    }

    pub(super) fn request(&self) -> String {
        let names = self.channels.iter();
        let names: Vec<String> = names
            .map(|(_, name, _)| format!("channel={name}"))
            .collect();
        let id = self.id.as_ref();
        let id = id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        format!(
            "GET /sse?{} HTTP/1.1\r\nHost: h\r\n{id}\r\n",
            names.join("&")
        )
    }

    /// The head of its answer has come.
    pub(super) fn begin(&mut self) {
        self.begins = true;
    }

    /// Where it stands in each channel.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, Option<Position>)> {
        self.channels
            .iter()
            .map(|(channel, _, client)| (*channel, client.at))
    }

    /// Reads what has come whole. False if a channel is missing: the client comes back for it.
    pub(super) fn read(
        &mut self,
        unread: &mut Vec<u8>,
        (told, seen): (&mut Told, SeenOf<'_>),
    ) -> Result<bool, String> {
        while let Some(end) = unread.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = unread.drain(..end + 2).collect();
            let block = String::from_utf8(block).map_err(|error| error.to_string())?;
            let block = Block::parse(&block)?;
            if block.name == "roost.refused" {
                return Ok(false);
            }
            self.handle(&block, told, seen)?;
        }
        Ok(true)
    }

    fn handle(
        &mut self,
        block: &Block<'_>,
        told: &mut Told,
        seen: SeenOf<'_>,
    ) -> Result<(), String> {
        if std::mem::take(&mut self.begins) {
            if block.id.is_none() && block.data.is_empty() {
                return Ok(()); // it knows no place, or the server goes down
            }
            // The first block has where it was, and nothing has come before.
            if block.id != self.id.as_deref() || !block.data.is_empty() {
                return Err(format!("{block:?} begins where it was at {:?}", self.id));
            }
            told.came_back += 1;
            return Ok(());
        }
        let Some(id) = block.id else {
            return match block.name {
                "" => Ok(()), // a comment, or when to come back
                name => Err(format!("an event {name:?}")),
            };
        };
        let positions = Positions::parse(id).ok_or_else(|| format!("an id {id:?}"))?;
        self.id = Some(id.to_owned());
        let lost = match block.name {
            "roost.lost" => Some(channel_of(&block.data)?),
            _ => None,
        };
        let mut is_known = block.name.is_empty() || lost.is_some();
        for (channel, name, client) in &mut self.channels {
            let at = positions.of(Mark::of(name));
            let before = std::mem::replace(&mut client.at, at);
            if lost.as_deref() == Some(name.as_str()) {
                told.lost += 1;
                continue;
            }
            if block.name != name.as_str() {
                // It may have begun with this block, and stays where it was otherwise.
                if before.is_some() && before != at {
                    return Err(format!("{name} is moved from {before:?} by {block:?}"));
                }
                continue;
            }
            is_known = true;
            let expected = before.map(|before| Position {
                offset: before.offset + 1,
                ..before
            });
            let Some(at) = at.filter(|_| at == expected) else {
                return Err(format!("{block:?} behind {before:?}"));
            };
            let published = client.take(&block.data)?;
            told.received += 1;
            seen(*channel, at, published)?;
        }
        match is_known {
            true => Ok(()),
            false => Err(format!("an event {:?}", block.name)),
        }
    }
}

fn channel_of(data: &str) -> Result<String, String> {
    let data: Value = serde_json::from_str(data).map_err(|error| format!("{error}: {data}"))?;
    let channel = data["channel"].as_str();
    channel
        .map(str::to_owned)
        .ok_or_else(|| format!("no channel: {data}"))
}

impl Block<'_> {
    fn parse(text: &str) -> Result<Block<'_>, String> {
        let mut block = Block::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.split_once(':') {
                Some(("", _)) | Some(("retry", _)) => {}
                Some(("id", id)) => block.id = Some(id.trim_start()),
                Some(("event", name)) => block.name = name.trim_start(),
                Some(("data", data)) => {
                    block.data.push_str(data.strip_prefix(' ').unwrap_or(data));
                    block.data.push('\n');
                }
                _ => return Err(format!("a line {line:?}")),
            }
        }
        Ok(block)
    }
}
