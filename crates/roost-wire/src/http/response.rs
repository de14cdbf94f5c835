//! What is answered: heads, and bodies that are streams.

use std::io::Write;

use crate::handshake::{reason_phrase, write_header};

/// Tells a client that has asked for it to send its body (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How a response's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is none, and none can be: 204, 304.
    None,
    /// So many bytes, or as many would follow were it no answer to HEAD.
    Length(u64),
    /// As many as come: in chunks, or to a client of HTTP/1.0 until the connection closes.
    Stream,
}

/// The head of a response.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'a> {
    /// The status, from 200 on.
    pub status: u16,
    /// Whose values hold no line ends: they are ours, never a peer's.
    pub headers: &'a [(&'a str, &'a str)],
    /// How its body is framed.
    pub body: ResponseBody,
    /// Whether another request may follow: [`super::wants_keep_alive`], and the server is willing.
    pub keep_alive: bool,
    /// The request's: 0 for HTTP/1.0.
    pub minor_version: u8,
}

impl ResponseHead<'_> {
    /// Whether the connection goes on behind the response: a body without an end of its own needs the
    /// connection's.
    pub fn keeps_alive(&self) -> bool {
        self.keep_alive && !(self.body == ResponseBody::Stream && self.minor_version == 0)
    }

    /// Whether the body goes out in chunks.
    pub fn is_chunked(&self) -> bool {
        // RFC 9112 §6.1: never to a client of HTTP/1.0.
        self.body == ResponseBody::Stream && self.minor_version >= 1
    }
}

/// Appends a response's head.
pub fn write_head(out: &mut Vec<u8>, head: &ResponseHead<'_>) {
    debug_assert!(
        head.status >= 200,
        "an interim response has no head like this"
    );
    let (status, phrase) = (head.status, reason_phrase(head.status));
    // Writing to a Vec cannot fail.
    let _ = write!(out, "HTTP/1.1 {status} {phrase}\r\n");
    match head.body {
        // RFC 9110 §8.6: no Content-Length with 204.
        ResponseBody::None => {}
        ResponseBody::Length(length) => {
            let _ = write!(out, "Content-Length: {length}\r\n");
        }
        ResponseBody::Stream if head.is_chunked() => {
            write_header(out, "Transfer-Encoding", "chunked");
        }
        ResponseBody::Stream => {}
    }
    match (head.keeps_alive(), head.minor_version) {
        (false, _) => write_header(out, "Connection", "close"),
        // RFC 9112 §9.3: what a client of HTTP/1.1 takes for granted.
        (true, 0) => write_header(out, "Connection", "keep-alive"),
        (true, _) => {}
    }
    for (name, value) in head.headers {
        write_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a chunk of a stream. Nothing where there is nothing, for an empty chunk is the last.
pub fn write_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    write_chunk_head(out, bytes.len());
    out.extend_from_slice(bytes);
    write_chunk_end(out);
}

/// Appends what stands before a chunk of `len` bytes, at least one, for a caller that sends those
/// from where they lie; [`write_chunk_end`] follows them.
pub fn write_chunk_head(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len > 0, "an empty chunk is the last");
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{len:x}\r\n");
}

/// Appends what stands behind a chunk's bytes.
pub fn write_chunk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk, which is empty, and no trailers.
pub fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}
