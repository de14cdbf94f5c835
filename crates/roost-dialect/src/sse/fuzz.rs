//! The body of the fuzz target, which an ordinary test runs too.

use roost_hub::Position;
use roost_wire::handshake::Request;

use super::positions::{Positions, STREAM_CHANNELS_MAX};
use super::settings::Settings;
use super::several;
use super::{parse_id, write_id};
use crate::dialect::{Headers, Input, Message, Offer};

/// `data` as an id, as a request for several channels, and as what a stream sends: each takes anything, and what
/// was read is written as it was.
pub fn event_stream(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.lines() {
        check_id(line);
        check_request(line);
    }
    check_stamp(&text);
}

fn check_id(id: &str) {
    if let Some(position) = parse_id(id) {
        let mut again = Vec::new();
        write_id(&mut again, position);
        let again = String::from_utf8(again).expect("ASCII");
        assert_eq!(parse_id(&again), Some(position));
    }
    if let Some(positions) = Positions::parse(id) {
        assert!((1..=STREAM_CHANNELS_MAX).contains(&positions.len()));
        let mut again = Vec::new();
        positions.write(&mut again);
        let again = String::from_utf8(again).expect("ASCII");
        assert_eq!(Positions::parse(&again), Some(positions));
    }
}

fn check_request(query: &str) {
    let head = format!("GET /sse?{query} HTTP/1.1\r\nHost: h\r\nLast-Event-ID: {query}\r\n\r\n");
    let Ok(request) = Request::parse(head.as_bytes(), 16) else {
        return;
    };
    let offer = Offer {
        path: "/sse",
        subprotocols: &[],
        headers: Headers::of(&request),
        channel_name_bytes_max: 40,
    };
    let settings = Settings {
        enabled: true,
        channels_max: 5,
    };
    let Ok(lines) = several::asked(&settings, &offer) else {
        return;
    };
    let mut names = Vec::new();
    for line in lines.lines() {
        let (name, _) = several::read_line(line).expect("it was written here");
        assert!((1..=40).contains(&name.len()), "{line:?}");
        assert!(!name.contains(char::is_control), "{line:?}");
        assert!(!names.contains(&name), "{line:?} comes twice");
        names.push(name);
    }
    assert!(names.len() <= 5);
    let known = several::known(Input::new(Message::Text(&lines)));
    assert!(known.count() <= names.len());
}

/// Nothing but places changes, and each block with one has one id.
fn check_stamp(text: &str) {
    let mut positions = Positions::default();
    let mut out = Vec::new();
    positions.stamp(text.as_bytes(), &mut out);
    let out = String::from_utf8(out).expect("UTF-8 stays UTF-8");
    let ids = text.matches("id: ").count();
    let bytes_max = text.len() + ids * (STREAM_CHANNELS_MAX * 60 + 8);
    assert!(out.len() <= bytes_max, "{} of {}", out.len(), text.len());
    if positions.is_empty() {
        assert_eq!(out, text, "there was no place");
    }
    // What has no place any more stays as it is.
    let mut again = Vec::new();
    let mut none = Positions::default();
    none.stamp(out.as_bytes(), &mut again);
    if none.is_empty() {
        assert_eq!(again, out.as_bytes());
    }
    let position = Position {
        epoch: 1,
        offset: 2,
    };
    positions.set(super::Mark::of("a"), position);
    let is_full = positions.len() == STREAM_CHANNELS_MAX;
    assert!(is_full || positions.of(super::Mark::of("a")) == Some(position));
}
