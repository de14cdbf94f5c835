//! What a client may say, in Protobuf: one Command, as the line that it would be in JSON.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::wire::{Malformed, Value, each_field};
use crate::centrifugo::request::{
    Channel, Connect, Data, Empty, History, Line, Publish, Refresh, Request, Rpc, Since,
    SubRefresh, Subscribe, WasAt,
};
use crate::json::Text;

/// Reads a Command. Work and memory are linear in its length.
pub(in crate::centrifugo) fn parse(command: &[u8]) -> Result<(u32, Request<'_>), Malformed> {
    let mut line = Line::default();
    each_field(command, |field, value| {
        match field {
            1 => line.id = value.number_32()?,
            4 => read_connect(line.connect.get_or_insert_default(), value.bytes()?)?,
            5 => read_subscribe(line.subscribe.get_or_insert_default(), value.bytes()?)?,
            6 => read_channel(line.unsubscribe.get_or_insert_default(), value.bytes()?)?,
            7 => read_publish(line.publish.get_or_insert_default(), value.bytes()?)?,
            8 => read_channel(line.presence.get_or_insert_default(), value.bytes()?)?,
            9 => read_channel(line.presence_stats.get_or_insert_default(), value.bytes()?)?,
            10 => read_history(line.history.get_or_insert_default(), value.bytes()?)?,
            11 => line.ping = value.bytes().map(|_| Some(Empty {}))?,
            12 => line.send = value.bytes().map(|_| Some(Empty {}))?,
            13 => read_rpc(line.rpc.get_or_insert_default(), value.bytes()?)?,
            14 => read_refresh(line.refresh.get_or_insert_default(), value.bytes()?)?,
            15 => read_sub_refresh(line.sub_refresh.get_or_insert_default(), value.bytes()?)?,
            _ => {}
        }
        Ok(())
    })?;
    line.into_request()
}

fn read_connect<'a>(connect: &mut Connect<'a>, message: &'a [u8]) -> Result<(), Malformed> {
    each_field(message, |field, value| {
        match field {
            1 => connect.token = text(value)?,
            3 => {
                let (channel, was_at) = read_entry(value.bytes()?)?;
                connect.subs.0.insert(Cow::Borrowed(channel), was_at);
            }
            _ => {} // data, and what the client says of itself
        }
        Ok(())
    })
}

/// An entry of a map: a channel, and where the client was there.
fn read_entry(message: &[u8]) -> Result<(&str, WasAt<'_>), Malformed> {
    let (mut channel, mut was_at) = ("", WasAt::default());
    each_field(message, |field, value| {
        match field {
            1 => channel = value.text()?,
            2 => read_was_at(&mut was_at, value.bytes()?)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((channel, was_at))
}

/// The same message as of a subscribe, of which this counts.
fn read_was_at<'a>(was_at: &mut WasAt<'a>, message: &'a [u8]) -> Result<(), Malformed> {
    each_field(message, |field, value| {
        match field {
            3 => was_at.recover = value.flag()?,
            6 => was_at.epoch = text(value)?,
            7 => was_at.offset = value.number()?,
            _ => {}
        }
        Ok(())
    })
}

fn read_subscribe<'a>(subscribe: &mut Subscribe<'a>, message: &'a [u8]) -> Result<(), Malformed> {
    each_field(message, |field, value| {
        match field {
            1 => subscribe.channel = text(value)?,
            2 => subscribe.token = text(value)?,
            3 => subscribe.recover = value.flag()?,
            6 => subscribe.epoch = text(value)?,
            7 => subscribe.offset = value.number()?,
            11 => subscribe.join_leave = value.flag()?,
            12 => subscribe.delta = text(value)?,
            // Nodes within nodes, which are not looked at.
            13 => subscribe.filter = value.bytes().map(|_| Some(IgnoredAny))?,
            14 => subscribe.flag = value.number()?,
            15 => subscribe.kind = value.signed_32()?,
            _ => {}
        }
        Ok(())
    })
}

fn read_channel<'a>(channel: &mut Channel<'a>, message: &'a [u8]) -> Result<(), Malformed> {
    each_field(message, |field, value| {
        if field == 1 {
            channel.channel = text(value)?;
        }
        Ok(())
    })
}

fn read_publish<'a>(publish: &mut Publish<'a>, message: &'a [u8]) -> Result<(), Malformed> {
    each_field(message, |field, value| {
        match field {
            1 => publish.channel = text(value)?,
            2 => publish.data = data(value)?,
            3 => publish.kind = value.signed_32()?,
            _ => {}
        }
        Ok(())
    })
}

fn read_history<'a>(history: &mut History<'a>, message: &'a [u8]) -> Result<(), Malformed> {
    each_field(message, |field, value| {
        match field {
            1 => history.channel = text(value)?,
            7 => history.limit = i64::from(value.signed_32()?),
            8 => read_since(history.since.get_or_insert_default(), value.bytes()?)?,
            9 => history.reverse = value.flag()?,
            _ => {}
        }
        Ok(())
    })
}

fn read_since<'a>(since: &mut Since<'a>, message: &'a [u8]) -> Result<(), Malformed> {
    each_field(message, |field, value| {
        match field {
            1 => since.offset = value.number()?,
            2 => since.epoch = text(value)?,
            _ => {}
        }
        Ok(())
    })
}

fn read_rpc<'a>(rpc: &mut Rpc<'a>, message: &'a [u8]) -> Result<(), Malformed> {
    each_field(message, |field, value| {
        match field {
            1 => rpc.data = data(value)?,
            2 => rpc.method = text(value)?,
            _ => {}
        }
        Ok(())
    })
}

fn read_refresh<'a>(refresh: &mut Refresh<'a>, message: &'a [u8]) -> Result<(), Malformed> {
    each_field(message, |field, value| {
        if field == 1 {
            refresh.token = text(value)?;
        }
        Ok(())
    })
}

fn read_sub_refresh<'a>(refresh: &mut SubRefresh<'a>, message: &'a [u8]) -> Result<(), Malformed> {
    each_field(message, |field, value| {
        match field {
            1 => refresh.channel = text(value)?,
            2 => refresh.token = text(value)?,
            _ => {}
        }
        Ok(())
    })
}

fn text(value: Value<'_>) -> Result<Option<Text<'_>>, Malformed> {
    Ok(Some(Text(Cow::Borrowed(value.text()?))))
}

/// Empty data is what is not there.
fn data(value: Value<'_>) -> Result<Option<Data<'_>>, Malformed> {
    let bytes = value.bytes()?;
    Ok((!bytes.is_empty()).then_some(Data::Bytes(bytes)))
}
