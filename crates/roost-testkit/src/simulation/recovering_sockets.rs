//! Centrifugo's clients among those of [`super::recovering`]: what they say, and what they are told.

use roost_reactor::Position;
use roost_wire::Opcode;
use roost_wire::frame::split_frame;
use serde_json::{Value, json};

use super::recovering_client::{Client, Published, Seen, Told};
use super::web_socket::append_frame;
use crate::centrifugo::{Deltas, Encoding};

/// A connection of such a client.
#[derive(Default)]
pub(super) struct Socket {
    /// The number of the last command.
    last_id: u32,
    /// Its subscribe is not answered yet.
    is_subscribing: bool,
    /// What it knew when it asked.
    asked: Option<Position>,
    /// What it has of the channel, if its publications come as deltas.
    deltas: Option<Deltas>,
}

/// The handshake.
pub(super) const REQUEST: &str = "GET /connection/websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

impl Socket {
    /// It has connected: what it says first.
    pub(super) fn begin(&mut self, channel: &str, at: Option<Position>, out: &mut Vec<u8>) {
        *self = Socket::default();
        say(out, &json!({"id": self.next_id(), "connect": {}}));
        self.subscribe(channel, at, out);
    }

    fn subscribe(&mut self, channel: &str, at: Option<Position>, out: &mut Vec<u8>) {
        let id = self.next_id();
        let mut subscribe =
            json!({"channel": channel, "recoverable": true, "flag": 1, "delta": "fossil"});
        if let Some(Position { epoch, offset }) = at {
            subscribe["recover"] = json!(true);
            subscribe["epoch"] = json!(format!("{epoch:016x}"));
            subscribe["offset"] = json!(offset);
        }
        say(out, &json!({"id": id, "subscribe": subscribe}));
        (self.is_subscribing, self.asked) = (true, at);
    }

    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    /// Reads what has come whole, and answers. False if the connection is of no use any more.
    pub(super) fn read(
        &mut self,
        (unread, out): (&mut Vec<u8>, &mut Vec<u8>),
        channel: &str,
        client: &mut Client,
        (told, seen): (&mut Told, Seen<'_>),
    ) -> Result<bool, String> {
        while let Some((header, payload, rest)) = split_frame(unread) {
            match header.opcode {
                Opcode::Close => return Ok(false),
                Opcode::Ping => append_frame(out, Opcode::Pong, payload),
                Opcode::Text => {
                    let text = str::from_utf8(payload).map_err(|error| error.to_string())?;
                    for line in text.split('\n') {
                        let line: Value =
                            serde_json::from_str(line).map_err(|error| error.to_string())?;
                        self.handle(&line, (channel, out), client, (told, seen))?;
                    }
                }
                other => return Err(format!("a frame {other:?}")),
            }
            let used = unread.len() - rest.len();
            unread.drain(..used);
        }
        Ok(true)
    }

    fn handle(
        &mut self,
        line: &Value,
        (channel, out): (&str, &mut Vec<u8>),
        client: &mut Client,
        (told, seen): (&mut Told, Seen<'_>),
    ) -> Result<(), String> {
        if *line == json!({}) {
            say(out, line); // a pong
            return Ok(());
        }
        if line["error"]["code"] == 100 && self.is_subscribing {
            self.subscribe(channel, client.at, out); // no room now
            return Ok(());
        }
        if let Some(result) = line.get("subscribe") {
            return self.handle_subscribed(result, client, (told, seen));
        }
        let push = &line["push"];
        if push["unsubscribe"]["code"] == 2500 {
            told.interrupted += 1;
            self.subscribe(channel, client.at, out);
            return Ok(());
        }
        if let Some(publication) = push.get("pub") {
            if self.is_subscribing {
                return Err(format!("before its answer: {line}"));
            }
            return next(publication, &mut self.deltas, client, (told, seen));
        }
        match line.get("connect") {
            Some(_) => Ok(()),
            None => Err(format!("a line {line}")),
        }
    }

    fn handle_subscribed(
        &mut self,
        result: &Value,
        client: &mut Client,
        (told, seen): (&mut Told, Seen<'_>),
    ) -> Result<(), String> {
        let epoch = result["epoch"].as_str().unwrap_or_default();
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| format!("no epoch: {result}"))?;
        let offset = result["offset"].as_u64().ok_or("no offset")?;
        let position = Position { epoch, offset };
        self.is_subscribing = false;
        self.deltas = (result["delta"] == true).then(Deltas::default);
        let was_recovering = result["was_recovering"] == true;
        if was_recovering != self.asked.is_some() {
            return Err(format!("it asked for {:?}: {result}", self.asked));
        }
        if result["recovered"] != true {
            told.lost += u64::from(was_recovering);
            client.at = Some(position);
            return Ok(());
        }
        if self.asked != Some(position) {
            return Err(format!("it was at {:?}: {result}", self.asked));
        }
        told.came_back += 1;
        for publication in result["publications"].as_array().into_iter().flatten() {
            next(publication, &mut self.deltas, client, (told, seen))?;
        }
        Ok(())
    }
}

/// A publication, which has to be the next.
fn next(
    publication: &Value,
    deltas: &mut Option<Deltas>,
    client: &mut Client,
    (told, seen): (&mut Told, Seen<'_>),
) -> Result<(), String> {
    let before = client.at.ok_or("it is not subscribed")?;
    let id = Position {
        offset: publication["offset"].as_u64().ok_or("no offset")?,
        ..before
    };
    if id.offset != before.offset + 1 {
        return Err(format!("{publication} behind {before:?}"));
    }
    client.at = Some(id);
    let data = match deltas {
        None => publication["data"].clone(),
        Some(deltas) => deltas.read(Encoding::Json, publication)?,
    };
    told.deltas += u64::from(publication["delta"] == true);
    let text = data.as_str().unwrap_or_default();
    let published: Published = client.take(text)?;
    told.received += 1;
    seen(id, published)
}

fn say(out: &mut Vec<u8>, line: &Value) {
    append_frame(out, Opcode::Text, line.to_string().as_bytes());
}
