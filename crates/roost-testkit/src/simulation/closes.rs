//! Checks how connections ended, and what the server holds for those that are open.
//!
//! On a reliable network each close has a cause in the script or a reason in a close frame, and the
//! server's gauges equal what its peers count.

use std::collections::BTreeSet;

use roost_wire::CloseCode;

use super::behavior::{Behavior, Kind, State};
use super::calls::CallId;
use super::costs::PINNED_BYTES_BASE;
use super::peer::{CROSSING_NS, Peer};
use super::peers::Peers;
use super::plan::{Plan, SWEEP_SLACK_NS};

/// Each call of a peer whose connection works has its answer, unless it may take any time and, on a
/// reliable network, a callee whose connection works has it. That there were not two answers, the
/// peers see themselves. Returns the number of answers.
pub(super) fn check_calls(peers: &Peers, reliable: bool) -> Result<u64, String> {
    let working = |peer: &&Peer| peer.alive && peer.state == State::Open;
    let held = peers.all.iter().filter(working);
    let held: BTreeSet<CallId> = held.flat_map(|peer| peer.calls.held()).collect();
    for peer in peers.all.iter().filter(working) {
        let index = peer.index;
        let (overdue, mut unlimited) = peer.calls.open();
        unlimited.retain(|&request| reliable && !held.contains(&(index, request)));
        if !overdue.is_empty() || !unlimited.is_empty() {
            return Err(format!(
                "calls of peer {index} are not answered: {overdue:?} with a limit, {unlimited:?} of \
                 callees that are gone"
            ));
        }
    }
    Ok(peers.all.iter().map(|peer| peer.calls.answered()).sum())
}

/// Checks after the final pings, on a reliable network, that each closed peer has a cause and that
/// the others answer.
pub(super) fn check(peers: &Peers, plan: &Plan, now: u64) -> Result<(), String> {
    for peer in &peers.all {
        check_end(peer, plan, now).map_err(|what| {
            let code = peer.close.as_ref().map(|(code, reason)| (code, reason));
            format!(
                "peer {} ({:?}, {:?}, {:?}, closed with {code:?}): {what}",
                peer.index, peer.kind, peer.behavior, peer.state
            )
        })?;
    }
    Ok(())
}

fn check_end(peer: &Peer, plan: &Plan, now: u64) -> Result<(), String> {
    if peer.vanished {
        return Ok(());
    }
    if peer.stalled {
        return check_stalled(peer);
    }
    match peer.behavior {
        Behavior::Silent if peer.holds_socket => err("sent nothing and is still connected"),
        Behavior::PartialRequest if peer.refused != Some(408) => {
            err("its partial request was not refused")
        }
        Behavior::Silent | Behavior::PartialRequest => Ok(()),
        Behavior::NoPong => check_ping_timeout(peer, plan, now),
        Behavior::Normal
        | Behavior::EarlyPublish
        | Behavior::NoCloseReply
        | Behavior::NeverReads => {
            // It may also be refused or cut without a close frame.
            let over_budget = peer.closed_holding.is_some() && peer.state != State::Open;
            if !peer.opened {
                return if over_budget {
                    Ok(())
                } else {
                    err("never opened")
                };
            }
            check_ping_time(peer, plan)?;
            match peer.state {
                State::Open => check_open(peer, plan, now),
                _ => check_close(peer, plan, over_budget, now),
            }
        }
    }
}

/// A peer that does not read may be closed at any time; a stated reason must be true.
fn check_stalled(peer: &Peer) -> Result<(), String> {
    if peer.state == State::Open && peer.alive && peer.ponged < peer.pings {
        return err("a ping sent while it did not read was not answered");
    }
    let close = peer.close.as_ref();
    match close.map(|(code, reason)| (code.map(CloseCode::get), reason.as_str())) {
        None | Some((Some(1000..=1002), _)) => Ok(()),
        Some((Some(1013), "slow consumer: outbox full")) => Ok(()),
        Some((Some(1013), OVER_BUDGET)) if peer.closed_holding.is_some() => Ok(()),
        Some(_) => err("did not read, and was closed for no good reason"),
    }
}

/// A peer that answers no ping is closed in time. The time to answer begins anew when the network takes
/// some of what stands before the ping, or behind it. One over TLS may want new keys: its bytes count.
fn check_ping_timeout(peer: &Peer, plan: &Plan, now: u64) -> Result<(), String> {
    let limits = &plan.settings.limits;
    let heard_at = peer.sends.last().map_or(0, |&at| at).max(peer.opened_at);
    let pinged_by = plan.over_by(heard_at, limits.ping_interval_ms);
    let from = pinged_by.max(peer.backlogged_at);
    let closed_by = plan.over_by(from, limits.ping_timeout_ms) + SWEEP_SLACK_NS;
    let is_due = peer.opened && limits.ping_interval_ms > 0 && closed_by < now;
    if is_due && peer.holds_socket {
        return err("answers no ping and is still connected");
    }
    Ok(())
}

/// Each connection has its own time in the interval, and is skipped if it sent something just before.
fn check_ping_time(peer: &Peer, plan: &Plan) -> Result<(), String> {
    let least_ns = u64::from(plan.settings.limits.ping_interval_ms) * 1_000_000 / 4;
    // Behind a pause, a ping may leave that was due before it.
    let in_order = plan.pauses.is_empty();
    if in_order && peer.pinged_after.saturating_add(TICK_SLACK_NS) < least_ns {
        let ms = peer.pinged_after / 1_000_000;
        return Err(format!("was pinged {ms} ms after it had sent something"));
    }
    Ok(())
}

fn check_open(peer: &Peer, plan: &Plan, now: u64) -> Result<(), String> {
    if !peer.alive && !peer.late {
        return err("did not answer the final ping");
    }
    let idle_timeout_ms = plan.settings.limits.idle_timeout_ms;
    let idle_by = plan.over_by(peer.last_message, idle_timeout_ms) + SWEEP_SLACK_NS;
    if idle_timeout_ms > 0 && now > idle_by {
        return err("was not closed although idle");
    }
    if peer.ponged < peer.pings {
        return err("a ping was not answered");
    }
    Ok(())
}

/// The connection of a peer that reads and answers has ended for a reason, and in order.
fn check_close(peer: &Peer, plan: &Plan, over_budget: bool, now: u64) -> Result<(), String> {
    if peer.only_fin && peer.saw_fin {
        return Ok(()); // RFC 6455 §7.1.5: closed with 1006; no close frame is due
    }
    let Some((code, reason)) = &peer.close else {
        return if over_budget {
            Ok(())
        } else {
            err("ended without a close frame")
        };
    };
    let idle_ns = u64::from(plan.settings.limits.idle_timeout_ms) * 1_000_000;
    match (code.map(CloseCode::get), reason.as_str()) {
        (Some(1000), "") if peer.sent_close => {}
        (Some(1002), reason) if peer.violated_protocol && !reason.is_empty() => {}
        (Some(1013), OVER_BUDGET) if over_budget => {}
        (Some(1001), "idle for too long") if idle_ns > 0 => {
            if peer.idle_at_close + SWEEP_SLACK_NS < idle_ns {
                return err("was closed as idle and was not");
            }
        }
        _ => return err("closed for no good reason"),
    }
    // An idle time may have ended a moment ago.
    let is_under_way = peer.last_message + peer.idle_at_close + TICK_SLACK_NS > now;
    if !peer.saw_fin && peer.behavior != Behavior::NoCloseReply && !is_under_way {
        return err("its connection did not end in order");
    }
    Ok(())
}

fn err(what: &str) -> Result<(), String> {
    Err(what.to_owned())
}

/// Compares, after the final pings on a reliable network, the server's counters with what its peers
/// count. `value` reads a counter.
pub(super) fn check_counters(
    peers: &Peers,
    plan: &Plan,
    now: u64,
    value: impl Fn(&str) -> u64,
) -> Result<(), String> {
    let peers = &peers.all;
    let is_sending = |peer: &&Peer| peer.sends.last().is_some_and(|at| at + CROSSING_NS > now);
    let sending = peers.iter().filter(is_sending).count() as u64;
    let count = |test: fn(&Peer) -> bool| peers.iter().filter(|peer| test(peer)).count();
    let subscriptions: usize = peers.iter().map(Peer::subscriptions).sum();
    let timed_out_max = count(|peer| {
        let may_time_out =
            peer.stalled || matches!(peer.behavior, Behavior::NoCloseReply | Behavior::NoPong);
        may_time_out && peer.state != State::Open
    });
    let violated_protocol = count(|peer| peer.violated_protocol);
    // One that stalls may do so before it opens its session.
    let half_open = count(|peer| {
        let is_half_open = matches!(peer.behavior, Behavior::Silent | Behavior::PartialRequest);
        is_half_open || (peer.stalled && peer.state != State::Open)
    });
    let equal = [
        ("connections_open", count(|peer| peer.holds_socket)),
        (
            "websockets_open",
            count(|peer| peer.holds_socket && peer.opened),
        ),
        ("subscriptions", subscriptions),
        ("handshakes_in_flight", 0),
        ("connections_backlogged", 0),
        ("outbox_bytes", 0),
        ("cross_reactor_backlog", 0),
        ("refused_connections_max_total", 0),
    ];
    let at_most = [
        ("ping_timeouts_total", timed_out_max),
        ("close_timeouts_total", timed_out_max),
        ("protocol_errors_total", violated_protocol),
        ("handshake_timeouts_total", half_open),
    ]
    .map(|(name, most)| (name, most + plan.hostiles));
    // Where the rest is longer for a pause, idle times end in it, and closings are under way.
    let is_at_rest = plan.pauses.is_empty() || plan.settings.limits.idle_timeout_ms == 0;
    for (name, expected) in equal {
        let value = value(name);
        if is_at_rest && value != expected as u64 {
            return Err(format!("{name} is {value}, its peers make it {expected}"));
        }
    }
    // A pong may have come in part.
    let (input, input_max) = (value("input_buffered_bytes"), sending * PINNED_BYTES_BASE);
    if is_at_rest && input > input_max {
        return Err(format!(
            "input_buffered_bytes is {input}, with cause for {input_max}"
        ));
    }
    for (name, most) in at_most {
        let value = value(name);
        if value > most as u64 {
            return Err(format!("{name} is {value}, with cause for {most}"));
        }
    }
    Ok(())
}

/// Checks that nothing took longer than the network and a full reactor can account for.
pub(super) fn check_delays(peers: &Peers) -> Result<u64, String> {
    let mut worst = 0;
    for peer in peers.all.iter().filter(|peer| !peer.stalled) {
        for window in &peer.windows {
            for (&(from, n), &came) in window.received.iter().zip(&window.times) {
                let publisher = &peers.all[from];
                let Some(sent) = publisher.sent.get(n as usize - 1) else {
                    continue;
                };
                if publisher.stalled {
                    continue;
                }
                let delay = came.saturating_sub(sent.at);
                worst = worst.max(delay);
                if delay > DELAY_NS_MAX {
                    return Err(format!(
                        "peer {} waited {} ms for {:?} in channel {}",
                        peer.index,
                        delay / 1_000_000,
                        (from, n),
                        window.channel
                    ));
                }
            }
        }
    }
    Ok(worst)
}

/// Checks that the drain reached every peer. `open` are those open before it, `cuts` counts the
/// connections that went silent meanwhile.
pub(super) fn check_drain(
    peers: &Peers,
    plan: &Plan,
    open: &[usize],
    cuts: u64,
) -> Result<(), String> {
    let mut unreached = Vec::new();
    for peer in &peers.all {
        if let Some(failure) = &peer.failure {
            return Err(format!("peer {} while draining: {failure}", peer.index));
        }
        if peer.alive && peer.state == State::Open {
            unreached.push(peer.index);
        }
    }
    if unreached.len() as u64 > cuts {
        return Err(format!(
            "peers {unreached:?} are still open after the drain"
        ));
    }
    if !plan.reliable {
        return Ok(());
    }
    for &index in open {
        let peer = &peers.all[index];
        if peer.behavior == Behavior::NoPong {
            continue; // it may time out at any time
        }
        let at = |what: &str| {
            let (kind, behavior) = (&peer.kind, peer.behavior);
            Err(format!("peer {index} ({kind:?}, {behavior:?}): {what}"))
        };
        match &peer.close {
            Some((Some(CloseCode::GOING_AWAY), reason)) if reason == "server is going down" => {}
            // Closed as idle just before.
            Some((Some(CloseCode::GOING_AWAY), _)) if plan.settings.limits.idle_timeout_ms > 0 => {
                continue;
            }
            other => return at(&format!("drained with {other:?}")),
        }
        if matches!(peer.kind, Kind::Wamp(_)) && !peer.goodbye {
            return at("drained without GOODBYE");
        }
        if !peer.saw_fin && peer.behavior != Behavior::NoCloseReply {
            return at("its connection did not end in order");
        }
    }
    Ok(())
}

/// The reason sent to the largest connections when the memory budget is exceeded.
pub(super) const OVER_BUDGET: &str = "server memory limit";
/// A tick, and the way from the peer.
const TICK_SLACK_NS: u64 = 300_000_000;
/// From a publisher to a subscriber, both reading.
const DELAY_NS_MAX: u64 = 250_000_000;
