//! Event streams: a request over HTTP/1.1, the head of its response, and the body behind it, in chunks or
//! until the connection's end (RFC 9112 §6.3, §7.1).

use roost_net::CloseMode;

use super::chunks::{Chunks, Piece};
use super::conn::{CHUNKED, EXPECTED, SAID_GOODBYE, STREAM, State};
use super::request::path_of;
use super::{Core, DriverOp};

/// Asks for an event stream, from the client's position if it has one.
pub(super) fn send_request(core: &mut Core, slot: u32) {
    core.conns[slot as usize].flags |= STREAM;
    let (target, host) = (path_of(core, slot), &core.plan.target.authority);
    let mut request = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nCache-Control: no-store\r\n"
    );
    let position = core.recovery.positions_of(core.place_of(slot)).first();
    if let Some(id) = position.and_then(|position| position.to_id())
        // An id that no header could hold was none.
        && !id.is_empty()
        && !id.contains(['\r', '\n'])
    {
        request.push_str(&format!("Last-Event-ID: {id}\r\n"));
    }
    request.push_str("\r\n");
    let start = core.scratch.len();
    core.scratch.extend_from_slice(request.as_bytes());
    core.queue_send(slot, start);
}

/// The response's head is whole; `rest` is what came behind it.
pub(super) fn handle_head(core: &mut Core, slot: u32, head: &[u8], rest: &[u8]) {
    match read_head(head) {
        Ok(is_chunked) => {
            if is_chunked {
                core.conns[slot as usize].flags |= CHUNKED;
            }
            core.open_dialect(slot);
            handle_body(core, slot, rest);
        }
        Err(why) => core.give_up(slot, why),
    }
}

/// Whether the body comes in chunks.
fn read_head(head: &[u8]) -> Result<bool, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    if !matches!(response.parse(head), Ok(httparse::Status::Complete(_))) {
        return Err("malformed response head".to_owned());
    }
    match response.code {
        Some(200) => {}
        code => return Err(format!("status {} instead of 200", code.unwrap_or(0))),
    }
    let value = |name: &str| {
        let mut headers = response.headers.iter();
        let header = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(header.value).ok()
    };
    let content_type = value("Content-Type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("text/event-stream") {
        return Err(format!(
            "content type {content_type:?} instead of text/event-stream"
        ));
    }
    let coding = value("Transfer-Encoding").map(str::trim);
    match coding {
        None => Ok(false),
        Some(coding) if coding.eq_ignore_ascii_case("chunked") => Ok(true),
        Some(coding) => Err(format!("transfer coding {coding}, which was not asked for")),
    }
}

/// Bytes of the body.
pub(super) fn handle_body(core: &mut Core, slot: u32, mut bytes: &[u8]) {
    if !matches!(
        core.conns[slot as usize].state,
        State::Opening | State::Held
    ) {
        return; // it is being closed
    }
    if !core.conns[slot as usize].has(CHUNKED) {
        core.on_binary(slot, bytes);
        return;
    }
    let rare = core.rare.get_mut(&slot);
    let mut chunks = rare.map_or_else(Chunks::default, |rare| std::mem::take(&mut rare.chunks));
    loop {
        match chunks.next(&mut bytes) {
            Ok(Piece::Data(data)) => {
                if !core.on_binary(slot, data) {
                    return;
                }
            }
            Ok(Piece::Missing) => break,
            Ok(Piece::End) => return core.give_up(slot, "the stream's last chunk".to_owned()),
            Err(why) => return core.give_up(slot, why),
        }
    }
    if chunks != Chunks::default() {
        core.rare.entry(slot).or_default().chunks = chunks;
    }
}

/// Ends a stream from here: there is no way to say so but the end of TCP.
pub(super) fn close(core: &mut Core, slot: u32) {
    core.conns[slot as usize].flags |= EXPECTED | SAID_GOODBYE;
    core.driver_ops
        .push(DriverOp::Close(slot, CloseMode::Graceful));
}

const HEADERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_event_stream_is_taken() {
        let head = |lines: &str| read_head(format!("HTTP/1.1 {lines}\r\n\r\n").as_bytes());
        assert_eq!(head("200 OK\r\nContent-Type: text/event-stream"), Ok(false));
        let chunked = "200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: Chunked";
        assert_eq!(head(chunked), Ok(true));
        for wrong in [
            "404 Not Found\r\nContent-Type: text/event-stream",
            "200 OK\r\nContent-Type: text/html",
            "200 OK",
            "200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: gzip, chunked",
        ] {
            assert!(head(wrong).is_err(), "{wrong}");
        }
    }
}
