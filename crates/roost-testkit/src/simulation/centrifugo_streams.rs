//! Peers of Centrifugo's protocol without a WebSocket: a response that goes on, and a second connection by which
//! they send.

use roost_dialect::centrifugo::{EMULATION_PATH, HTTP_STREAM_PATH, SSE_PATH};
use roost_wire::handshake::HeadScanner;
use serde_json::{Value, json};

use super::clients::Socket;
use crate::centrifugo::{Encoding, commands as protobuf, emulation_request, take_replies};

/// What such a peer has beside what all have.
pub(super) struct StreamClient {
    is_sse: bool,
    pub(super) encoding: Encoding,
    /// The head of the response, until it is whole.
    head: Option<(HeadScanner, Vec<u8>)>,
    /// What has come of its stream and is no whole line.
    unread: Vec<u8>,
    /// By what name it sends; empty before it has connected.
    pub(super) session: String,
    /// By which its requests are sent.
    pub(super) sender: Socket,
    /// What has come of the answers.
    answers: Vec<u8>,
}

impl StreamClient {
    /// Of some of the peers.
    pub(super) fn of(index: usize, seed: u64) -> Option<StreamClient> {
        let is_sse = match index % 6 {
            2 => false,
            5 => true,
            _ => return None,
        };
        Some(StreamClient {
            is_sse,
            encoding: match is_sse {
                true => Encoding::Json,
                false => Encoding::ALL[(seed % 2) as usize],
            },
            head: Some(Default::default()),
            unread: Vec::new(),
            session: String::new(),
            sender: Socket::default(),
            answers: Vec::new(),
        })
    }

    /// The request for the stream, with its first commands.
    pub(super) fn request(&self, commands: &str) -> Vec<u8> {
        if self.encoding == Encoding::Protobuf {
            return post(HTTP_STREAM_PATH, BYTES, &protobuf(commands));
        }
        if !self.is_sse {
            return post(HTTP_STREAM_PATH, JSON, commands.as_bytes());
        }
        let encoded: String = commands
            .bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect();
        format!("GET {SSE_PATH}?cf_connect={encoded} HTTP/1.1\r\nHost: roost.test\r\n\r\n")
            .into_bytes()
    }

    /// Says something, by a request behind those before it.
    pub(super) fn say(&mut self, commands: &[u8]) {
        let commands = String::from_utf8_lossy(commands);
        if self.encoding == Encoding::Protobuf {
            let body = emulation_request(&self.session, &commands);
            return self
                .sender
                .outgoing
                .extend(post(EMULATION_PATH, BYTES, &body));
        }
        let body = json!({"session": self.session, "node": "sim", "data": commands});
        let request = post(EMULATION_PATH, JSON, body.to_string().as_bytes());
        self.sender.outgoing.extend(request);
    }

    /// Takes bytes of the response; what it is told, line by line. `None` if the server has no room.
    ///
    /// # Errors
    /// What is no such response.
    pub(super) fn lines(&mut self, bytes: &[u8]) -> Result<Option<Vec<String>>, String> {
        let Some((scanner, head)) = &mut self.head else {
            return self.lines_of_body(bytes).map(Some);
        };
        head.extend_from_slice(bytes);
        let Some(len) = scanner.scan(head) else {
            return Ok(Some(Vec::new()));
        };
        let body = head.split_off(len);
        if head.starts_with(b"HTTP/1.1 503") {
            return Ok(None);
        }
        if !head.starts_with(b"HTTP/1.1 200") {
            return Err(format!("no stream: {}", String::from_utf8_lossy(head)));
        }
        self.head = None;
        self.lines_of_body(&body).map(Some)
    }

    fn lines_of_body(&mut self, bytes: &[u8]) -> Result<Vec<String>, String> {
        self.unread.extend_from_slice(bytes);
        if self.encoding == Encoding::Protobuf {
            let replies = take_replies(&mut self.unread)?;
            return Ok(replies.iter().map(Value::to_string).collect());
        }
        let mut lines = Vec::new();
        let end: &[u8] = if self.is_sse { b"\n\n" } else { b"\n" };
        while let Some(at) = self.unread.windows(end.len()).position(|some| some == end) {
            let rest = self.unread.split_off(at + end.len());
            let mut line = std::mem::replace(&mut self.unread, rest);
            line.truncate(at);
            let line = String::from_utf8(line).map_err(|_| "no UTF-8")?;
            let data = match self.is_sse {
                true => line.strip_prefix("data: ").map(str::to_owned),
                false => Some(line.clone()),
            };
            lines.push(data.ok_or(format!("no event: {line}"))?);
        }
        Ok(lines)
    }

    /// Takes bytes of the answers to its requests. False once one was not taken: the session is over, or the
    /// server is busy.
    ///
    /// # Errors
    /// What is none of these.
    pub(super) fn answered(&mut self, bytes: &[u8]) -> Result<bool, String> {
        self.answers.extend_from_slice(bytes);
        while let Some(at) = self.answers.windows(4).position(|some| some == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&self.answers[..at]).into_owned();
            match head.split(' ').nth(1) {
                Some("204") => drop(self.answers.drain(..at + 4)),
                Some("404" | "408" | "503") => return Ok(false),
                _ => return Err(format!("an emulation request is answered with {head}")),
            }
        }
        Ok(true)
    }
}

fn post(path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: roost.test\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
