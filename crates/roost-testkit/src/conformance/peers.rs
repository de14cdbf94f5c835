//! Floods, slow and silent peers, and what other clients notice (RFC 6455 §10).

use std::time::Duration;

use super::case::{Case, case};
use super::target::{Target, closes, fail, pass, works, works_and_closes};
use super::verdict::Outcome;
use crate::client::{Client, Failure, Frame, Message};

pub(super) const CASES: &[Case] = &[
    case(
        "peers.order",
        "a thousand messages come back in order",
        "6455 §5.4",
        |t| {
            let mut client = t.open()?;
            for hundred in 0..10 {
                let numbers = hundred * 100..(hundred + 1) * 100;
                let texts: Vec<Frame> = numbers
                    .clone()
                    .map(|n| Frame::text(format!("{n}")))
                    .collect();
                client.send_frames(&texts)?;
                for number in numbers {
                    client.expect_text(&number.to_string())?;
                }
            }
            works_and_closes(client)
        },
    ),
    case(
        "peers.kinds_mixed",
        "text and binary messages keep their kind and order",
        "6455 §5.6",
        |t| {
            let mut client = t.open()?;
            let pair = [Frame::text("text"), Frame::binary("text")];
            client.send_frames(&[pair.clone(), pair].concat())?;
            for _ in 0..2 {
                client.expect_text("text")?;
                client.expect_binary(b"text")?;
            }
            works_and_closes(client)
        },
    ),
    case(
        "peers.flood.empty_messages",
        "10,000 empty messages are all answered",
        "6455 §5.6",
        |t| {
            let mut client = t.open()?;
            for _ in 0..10 {
                client.send(&Frame::text("").bytes().repeat(1000))?;
                for _ in 0..1000 {
                    client.expect_text("")?;
                }
            }
            works_and_closes(client)
        },
    ),
    case(
        "peers.flood.pongs",
        "100,000 unsolicited pongs are ignored",
        "6455 §5.5.3",
        |t| {
            let mut client = t.open()?;
            client.send(&Frame::pong([1; 10]).bytes().repeat(100_000))?;
            works_and_closes(client)
        },
    ),
    case(
        "peers.flood.pings_unread",
        "20,000 pings without reading are survived, and the last is answered",
        "6455 §5.5.3",
        flood_unread,
    ),
    case(
        "peers.flood.fragments",
        "100,000 fragments of one byte are one message",
        "6455 §5.4",
        |t| {
            let mut client = t.open()?;
            let middle = Frame::continuation("b").unfinished().bytes().repeat(99_998);
            client.send(&Frame::binary("a").unfinished().bytes())?;
            client.send(&middle)?;
            client.send_frame(&Frame::continuation("c"))?;
            match client.receive()? {
                Message::Binary(bytes) if bytes.len() == 100_000 && bytes.ends_with(b"bc") => {
                    works_and_closes(client)
                }
                _ => fail("another message came back"),
            }
        },
    ),
    case(
        "peers.silent",
        "beside a hundred peers that say nothing a client is served",
        "6455 §10.4",
        |t| beside(t, |t| t.connect()),
    ),
    case(
        "peers.half_handshakes",
        "beside a hundred half handshakes a client is served",
        "6455 §10.4",
        |t| {
            beside(t, |t| {
                let mut peer = t.connect()?;
                let head = t.request().bytes();
                peer.send(&head[..head.len() - 3])?;
                Ok(peer)
            })
        },
    ),
    case(
        "peers.half_frames",
        "beside a hundred half frames a client is served",
        "6455 §10.4",
        |t| {
            beside(t, |t| {
                let mut peer = t.open()?;
                peer.send(&Frame::binary([0; 10]).declare(60_000).bytes())?;
                Ok(peer)
            })
        },
    ),
    case(
        "peers.never_reads",
        "beside ten peers that do not read their answers a client is served",
        "6455 §10.4",
        |t| {
            let mut peers = Vec::new();
            for _ in 0..10 {
                let mut peer = t.open()?;
                peer.push(
                    &Frame::binary(vec![1; 60_000]).bytes().repeat(20),
                    Duration::from_millis(50),
                );
                peers.push(peer);
            }
            let mut client = t.open()?;
            works(&mut client)?;
            drop(peers);
            works_and_closes(client)
        },
    ),
    case(
        "peers.half_open",
        "a peer that has closed its sending side is let go",
        "9293 §3.6",
        |t| {
            let mut client = t.open()?;
            client.half_close()?;
            client.read_to_end()?;
            pass()
        },
    ),
    case(
        "peers.drip",
        "a message that drips beside another's talk arrives",
        "6455 §10.4",
        |t| {
            let mut slow = t.open()?;
            let mut fast = t.open()?;
            for byte in Frame::text("drop by drop").bytes() {
                slow.send(&[byte])?;
                works(&mut fast)?;
            }
            slow.expect_text("drop by drop")?;
            closes(slow)?;
            closes(fast)
        },
    ),
    case(
        "peers.hundred_at_once",
        "a hundred open WebSockets are each their own",
        "6455 §4.1",
        |t| {
            let clients: Result<Vec<Client>, Failure> = (0..100).map(|_| t.open()).collect();
            let mut clients = clients?;
            for (number, client) in clients.iter_mut().enumerate() {
                client.send_text(&format!("I am {number}"))?;
            }
            for (number, client) in clients.iter_mut().enumerate() {
                client.expect_text(&format!("I am {number}"))?;
            }
            clients
                .into_iter()
                .try_for_each(|client| closes(client).map(drop))?;
            pass()
        },
    ),
];

fn beside(t: &Target, peer: fn(&Target) -> Result<Client, Failure>) -> Outcome {
    let peers: Result<Vec<Client>, Failure> = (0..100).map(|_| peer(t)).collect();
    let peers = peers?;
    let mut client = t.open()?;
    works(&mut client)?;
    drop(peers);
    works_and_closes(client)
}

fn flood_unread(t: &Target) -> Outcome {
    let mut client = t.open()?;
    for number in 0..20u32 {
        let mut payload = [0; 100];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        client.send(&Frame::ping(payload).bytes().repeat(1000))?;
    }
    client.send_frame(&Frame::ping("last"))?;
    let mut pongs = 0;
    loop {
        match client.receive()? {
            Message::Pong(payload) if payload == b"last" => break,
            Message::Pong(_) if pongs < 20_000 => pongs += 1,
            Message::Pong(_) => return fail("more pongs than pings"),
            other => return fail(format!("received {other:?}")),
        }
    }
    works_and_closes(client)
}
