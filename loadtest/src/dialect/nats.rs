//! NATS over WebSocket: the client protocol's lines in binary messages, which may hold several of
//! them or a part of one.
//!
//! CONNECT, a SUB for each channel and a PING are said at once; the PONG says that all of it is
//! done. A channel's name is the subject: without spaces, and not with a wildcard.

use roost_wire::Message;

use super::interface::{Dialect, MESSAGE_BYTES_MAX, Received, Say, Session};

pub(super) struct Nats;

impl Dialect for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn path(&self) -> &'static str {
        "/"
    }

    fn channels_max(&self) -> usize {
        usize::from(u8::MAX)
    }

    fn first_len(&self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let searched = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
        let Some(line_len) = searched.windows(2).position(|two| two == END) else {
            if bytes.len() > LINE_BYTES_MAX {
                return Err("a line of NATS without an end".to_owned());
            }
            return Ok(None);
        };
        let mut len = line_len + END.len();
        if bytes.starts_with(MSG) {
            let payload_len = payload_len(&bytes[..line_len])
                .ok_or_else(|| format!("not a MSG: {}", shown(&bytes[..line_len])))?;
            len += payload_len + END.len();
        }
        if len > bytes.len() {
            return Ok(None);
        }
        match bytes[..len].ends_with(END) {
            true => Ok(Some(len)),
            false => Err("a payload of NATS without an end".to_owned()),
        }
    }

    fn open(&self, session: &mut Session<'_>) -> bool {
        let mut lines = CONNECT.to_owned();
        let channels = session.channels;
        for (sid, channel) in (0..).map_while(channels).enumerate() {
            lines.push_str(&format!("SUB {channel} {}\r\n", sid + 1));
        }
        lines.push_str("PING\r\n");
        session.say.binary(lines.as_bytes());
        false
    }

    fn handle<'m>(
        &self,
        session: &mut Session<'_>,
        message: Message<'m>,
        _: &'m mut Vec<u8>,
    ) -> Received<'m> {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(_) => return Received::Refused("text from NATS".to_owned()),
            Message::Ping(_) | Message::Pong(_) | Message::Close(..) => return Received::Progress,
        };
        let line_len = bytes.windows(2).position(|two| two == END);
        let line = &bytes[..line_len.unwrap_or(bytes.len())];
        if line.starts_with(MSG) {
            let rest = bytes.get(line.len() + END.len()..).unwrap_or_default();
            return Received::Payload(rest.strip_suffix(END).unwrap_or_default());
        }
        match line.split(|&byte| byte == b' ').next() {
            Some(b"PING") => {
                session.say.binary(b"PONG\r\n");
                Received::Progress
            }
            Some(b"PONG") => Received::Ready,
            Some(b"INFO" | b"+OK") => Received::Progress,
            _ => Received::Refused(shown(line)),
        }
    }

    fn publish(&self, say: &mut Say<'_>, channel: &str, _: u64, payload: &[u8]) {
        let mut message = format!("PUB {channel} {}\r\n", payload.len()).into_bytes();
        message.extend_from_slice(payload);
        message.extend_from_slice(END);
        say.binary(&message);
    }
}

/// `MSG subject sid [reply-to] bytes`: the last of four or five words.
fn payload_len(line: &[u8]) -> Option<usize> {
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let ([_, _, _, len] | [_, _, _, _, len]) = words[..] else {
        return None;
    };
    let len: usize = std::str::from_utf8(len).ok()?.parse().ok()?;
    (len <= MESSAGE_BYTES_MAX).then_some(len)
}

fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\
                       \"name\":\"roost-load\",\"lang\":\"rust\",\"version\":\"1\",\"protocol\":1}\r\n";
const MSG: &[u8] = b"MSG ";
const END: &[u8] = b"\r\n";
/// An INFO names all servers of a cluster.
const LINE_BYTES_MAX: usize = 64 << 10;
const SHOWN_CHARS_MAX: usize = 120;
