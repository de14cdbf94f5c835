//! MQTT 3.1.1 over WebSocket, QoS 0: control packets in binary messages, which may hold several of
//! them or a part of one (section 6, MQTT-6.0.0-2).
//!
//! CONNECT with a clean session and no client identifier, one SUBSCRIBE for all channels. The keep
//! alive is 0, so no PINGREQ is due. A channel's name is the topic: not with a wildcard.

use roost_wire::Message;

use super::interface::{Dialect, MESSAGE_BYTES_MAX, Received, Say, Session};

pub(super) struct Mqtt;

impl Dialect for Mqtt {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn protocols(&self) -> &'static [&'static str] {
        &["mqtt"]
    }

    fn path(&self) -> &'static str {
        "/mqtt"
    }

    fn channels_max(&self) -> usize {
        usize::from(u8::MAX)
    }

    fn first_len(&self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let Some((header_len, remaining)) = fixed_header(bytes)? else {
            return Ok(None);
        };
        let len = header_len + remaining;
        if len > MESSAGE_BYTES_MAX {
            return Err(format!("a packet of MQTT of {len} bytes"));
        }
        Ok((len <= bytes.len()).then_some(len))
    }

    fn open(&self, session: &mut Session<'_>) -> bool {
        // Section 3.1: protocol name, level 4, flags: clean session; keep alive 0; no identifier.
        let connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
        session.say.binary(connect);
        false
    }

    fn handle<'m>(
        &self,
        session: &mut Session<'_>,
        message: Message<'m>,
        _: &'m mut Vec<u8>,
    ) -> Received<'m> {
        let packet = match message {
            Message::Binary(packet) => packet,
            // MQTT-6.0.0-1: only binary messages.
            Message::Text(_) => return Received::Refused("text from MQTT".to_owned()),
            Message::Ping(_) | Message::Pong(_) | Message::Close(..) => return Received::Progress,
        };
        let Ok(Some((header_len, _))) = fixed_header(packet) else {
            return Received::Refused("not a packet of MQTT".to_owned());
        };
        let (kind, body) = (packet[0] >> 4, &packet[header_len..]);
        match (kind, body) {
            (CONNACK, [_, 0]) => subscribe(session),
            (CONNACK, [_, code]) => Received::Refused(format!("CONNACK {code}")),
            // Section 3.9.3: a packet identifier and a code for each topic.
            (SUBACK, [_, _, codes @ ..]) => match codes.iter().find(|&&code| code == NOT_GRANTED) {
                None => Received::Ready,
                Some(code) => Received::Refused(format!("SUBACK {code}")),
            },
            (PUBLISH, body) => Received::Payload(payload_of(packet[0], body).unwrap_or_default()),
            (PINGRESP, _) => Received::Progress,
            (kind, _) => Received::Refused(format!("a packet of MQTT of type {kind}")),
        }
    }

    fn publish(&self, say: &mut Say<'_>, channel: &str, _: u64, payload: &[u8]) {
        let mut body = Vec::with_capacity(2 + channel.len() + payload.len());
        append_string(&mut body, channel);
        body.extend_from_slice(payload);
        say.binary(&packet(PUBLISH << 4, &body));
    }
}

fn subscribe(session: &mut Session<'_>) -> Received<'static> {
    let mut body = vec![0, 1];
    let channels = session.channels;
    for channel in (0..).map_while(channels) {
        append_string(&mut body, &channel);
        body.push(0);
    }
    if body.len() == 2 {
        return Received::Ready;
    }
    // Section 3.8.1: bits 3 to 0 MUST be 0010.
    session.say.binary(&packet(SUBSCRIBE << 4 | 2, &body));
    Received::Progress
}

/// The fixed header's length and the remaining length; `None` while it is not whole.
fn fixed_header(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut remaining = 0;
    // Section 2.2.3: seven bits a byte, the least first, at most four bytes.
    for (at, &byte) in bytes.iter().skip(1).take(LENGTH_BYTES_MAX).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((at + 2, remaining)));
        }
    }
    match bytes.len() > LENGTH_BYTES_MAX {
        true => Err("a remaining length of MQTT of more than four bytes".to_owned()),
        false => Ok(None),
    }
}

/// What stands behind the topic of a PUBLISH, if its QoS is the one that was asked for: 0.
fn payload_of(flags: u8, body: &[u8]) -> Option<&[u8]> {
    let (len, rest) = body.split_first_chunk::<2>()?;
    let topic_len = usize::from(u16::from_be_bytes(*len));
    (flags & QOS_BITS == 0).then(|| rest.get(topic_len..))?
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + LENGTH_BYTES_MAX + body.len());
    out.push(first);
    let mut left = body.len();
    while left > 0x7F {
        out.push((left & 0x7F) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out.extend_from_slice(body);
    out
}

/// Section 1.5.3: two bytes of length before it.
fn append_string(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..usize::from(len)]);
}

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;
const SUBACK: u8 = 9;
const PINGRESP: u8 = 13;
const NOT_GRANTED: u8 = 0x80;
const QOS_BITS: u8 = 0b0110;
const LENGTH_BYTES_MAX: usize = 4;
