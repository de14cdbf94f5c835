//! What one client receives from another: asked where [`Target::raw`] names a path that connects them.

use std::sync::atomic::{AtomicU32, Ordering};

use super::case::{Case, case};
use super::target::{Target, closes, failed, pass, skip};
use super::verdict::Outcome;
use crate::client::{Client, Failure, Frame};

pub(super) const CASES: &[Case] = &[
    case(
        "channel.text",
        "text of one client reaches another as text",
        "6455 §5.6",
        |t| {
            between(t, |from, to| {
                from.send_text("from one to the other")?;
                to.expect_text("from one to the other")
            })
        },
    ),
    case(
        "channel.binary",
        "bytes of one client reach another as bytes",
        "6455 §5.6",
        |t| {
            between(t, |from, to| {
                from.send_binary(&[0, 255, 128])?;
                to.expect_binary(&[0, 255, 128])
            })
        },
    ),
    case(
        "channel.empty",
        "an empty message reaches another",
        "6455 §5.6",
        |t| {
            between(t, |from, to| {
                from.send_text("")?;
                to.expect_text("")
            })
        },
    ),
    case(
        "channel.large",
        "300,000 bytes of one client reach another",
        "6455 §5.6",
        |t| {
            between(t, |from, to| {
                from.send_binary(&vec![5; 300_000])?;
                to.expect_binary(&vec![5; 300_000])
            })
        },
    ),
    case(
        "channel.fragments",
        "a fragmented message reaches another whole",
        "6455 §5.4",
        |t| {
            between(t, |from, to| {
                from.send_frames(&[
                    Frame::text("frag").unfinished(),
                    Frame::ping(""),
                    Frame::continuation("ments"),
                ])?;
                from.expect_pong(b"")?;
                to.expect_text("fragments")
            })
        },
    ),
    case(
        "channel.order",
        "a hundred messages of one client reach another in order",
        "6455 §5.4",
        |t| {
            between(t, |from, to| {
                let texts: Vec<Frame> = (0..100).map(|n| Frame::text(n.to_string())).collect();
                from.send_frames(&texts)?;
                (0..100).try_for_each(|n: u32| to.expect_text(&n.to_string()))
            })
        },
    ),
    case(
        "channel.both_ways",
        "two clients receive each other's messages",
        "6455 §1.1",
        |t| {
            between(t, |from, to| {
                from.send_text("ping")?;
                to.expect_text("ping")?;
                to.send_text("pong")?;
                from.expect_text("pong")
            })
        },
    ),
    case(
        "channel.invalid_text",
        "text that is not UTF-8 reaches no client",
        "6455 §8.1",
        |t| broken(t, &[Frame::text("ok then"), Frame::text(b"\xff")], &[1007]),
    ),
    case(
        "channel.unfinished",
        "a message that is never finished reaches no client",
        "6455 §5.4",
        |t| {
            broken(
                t,
                &[
                    Frame::text("ok then"),
                    Frame::text("never").unfinished(),
                    Frame::new(3, ""),
                ],
                &[1002],
            )
        },
    ),
    case(
        "channel.close_is_private",
        "one client's close frame is not another's",
        "6455 §5.5.1",
        |t| {
            let Some(path) = fresh_path(t) else {
                return unknown();
            };
            let (first, mut second) = (t.open_path(&path)?, t.open_path(&path)?);
            closes(first)?;
            let mut third = t.open_path(&path)?;
            third.send_text("still open")?;
            second.expect_text("still open")?;
            closes(second)
        },
    ),
];

/// A path that connects clients, and that no other case uses: cases run side by side.
fn fresh_path(t: &Target) -> Option<String> {
    let number = FRESH.fetch_add(1, Ordering::Relaxed);
    t.raw.as_ref().map(|path| format!("{path}-{number}"))
}

fn pair(t: &Target) -> Result<Option<(Client, Client)>, Failure> {
    match fresh_path(t) {
        Some(path) => Ok(Some((t.open_path(&path)?, t.open_path(&path)?))),
        None => Ok(None),
    }
}

fn unknown() -> Outcome {
    skip("no path is known that connects clients")
}

fn between(t: &Target, talk: fn(&mut Client, &mut Client) -> Result<(), Failure>) -> Outcome {
    let Some((mut from, mut to)) = pair(t)? else {
        return unknown();
    };
    talk(&mut from, &mut to)?;
    closes(from)?;
    closes(to)
}

/// The first frame reaches the other client, the mistake behind it does not.
fn broken(t: &Target, frames: &[Frame], codes: &[u16]) -> Outcome {
    let Some((mut from, mut to)) = pair(t)? else {
        return unknown();
    };
    from.send_frames(frames)?;
    to.expect_text("ok then")?;
    match failed(&mut from, codes)? {
        super::verdict::Verdict::Pass => {}
        other => return Ok(other),
    }
    to.send_frame(&Frame::ping("anything else?"))?;
    to.expect_pong(b"anything else?")?;
    closes(to)?;
    pass()
}

static FRESH: AtomicU32 = AtomicU32::new(0);
