//! How connections ended, and what is held of those that did not.
//!
//! On a calm day the network breaks nothing, so nothing is left to chance: each end has a reason
//! that somebody has stated, and the server's counts are those of its peers.

use roost_wire::CloseCode;

use super::crowd::Crowd;
use super::peer::{Kind, Manner, Peer, State};
use super::plan::Plan;

/// Checks, at the roll call of a calm day, why those are gone who are, and that the others are
/// well.
pub(super) fn on_calm(crowd: &Crowd, plan: &Plan, now: u64) -> Result<(), String> {
    for peer in &crowd.peers {
        check_end(peer, plan, now).map_err(|what| {
            let code = peer.close.as_ref().map(|(code, reason)| (code, reason));
            format!(
                "peer {} ({:?}, {:?}, {:?}, closed with {code:?}): {what}",
                peer.index, peer.kind, peer.manner, peer.state
            )
        })?;
    }
    Ok(())
}

fn check_end(peer: &Peer, plan: &Plan, now: u64) -> Result<(), String> {
    let err = |what: &str| Err(what.to_owned());
    let limits = &plan.settings.limits;
    if peer.stalled && !peer.vanished {
        if peer.state == State::Open && peer.present && peer.ponged < peer.pings {
            return err("a ping sent while it did not read was not answered");
        }
        // Who does not read may be given up at any time; if it is told why, then truly.
        let told = peer.close.as_ref();
        return match told.map(|(code, reason)| (code.map(CloseCode::get), reason.as_str())) {
            None | Some((Some(1000..=1002), _)) => Ok(()),
            Some((Some(1013), "slow consumer: outbox full")) => Ok(()),
            Some((Some(1013), OVER_BUDGET)) if plan.has_small_budget() => Ok(()),
            Some(_) => err("did not read, and was closed for no good reason"),
        };
    }
    if peer.vanished {
        return Ok(());
    }
    match peer.manner {
        Manner::Silent if peer.holds_socket => return err("says nothing and is still there"),
        Manner::HalfHead if peer.refused != Some(408) => {
            return err("its half head was not refused");
        }
        Manner::Silent | Manner::HalfHead => return Ok(()),
        Manner::Deaf => {
            // The time to answer begins anew when the network takes some of what stands before the
            // ping, or behind it.
            let pinged_by = plan.over_by(peer.opened_at, limits.ping_interval_ms);
            let from = pinged_by.max(peer.backlogged_at);
            let gone_by = plan.over_by(from, limits.ping_timeout_ms) + SWEEP_SLACK_NS;
            let due = peer.opened && limits.ping_interval_ms > 0 && gone_by < now;
            if due && peer.holds_socket {
                return err("answers no ping and is still there");
            }
            return Ok(());
        }
        Manner::Usual | Manner::Eager | Manner::Mute | Manner::Hoarder => {}
    }
    // It may be refused or cut, too, without a word.
    let over_budget = plan.may_close_readers() && peer.state != State::Open;
    if !peer.opened {
        return if over_budget {
            Ok(())
        } else {
            err("never opened")
        };
    }
    let interval_ns = u64::from(limits.ping_interval_ms) * 1_000_000;
    // Each has a moment of its own in the interval, and is passed over if it was heard just before.
    let least_ns = interval_ns / 4;
    // Behind a pause, a ping may leave that was due before it.
    let in_order = plan.pauses.is_empty();
    if in_order && peer.pinged_after.saturating_add(TICK_SLACK_NS) < least_ns {
        let ms = peer.pinged_after / 1_000_000;
        return Err(format!("was pinged {ms} ms after it had sent something"));
    }
    let idle_ns = u64::from(limits.idle_timeout_ms) * 1_000_000;
    if peer.state == State::Open {
        if !peer.present && !peer.late {
            return err("did not hear its name called");
        }
        let idle_by = plan.over_by(peer.last_message, limits.idle_timeout_ms) + SWEEP_SLACK_NS;
        if idle_ns > 0 && now > idle_by {
            return err("was not closed although idle");
        }
        if peer.ponged < peer.pings {
            return err("a ping was not answered");
        }
        return Ok(());
    }
    if peer.only_fin && peer.saw_fin {
        return Ok(()); // RFC 6455 §7.1.5: closed with 1006; there is nobody to send a code to
    }
    let Some((code, reason)) = &peer.close else {
        if over_budget {
            return Ok(());
        }
        return err("ended without a close frame");
    };
    match (code.map(CloseCode::get), reason.as_str()) {
        (Some(1000), "") if peer.said_close => {}
        (Some(1002), reason) if peer.misbehaved && !reason.is_empty() => {}
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
    if !peer.saw_fin && peer.manner != Manner::Mute && !is_under_way {
        return err("its connection did not end in order");
    }
    Ok(())
}

/// Compares, at the roll call of a calm day, the server's books with its peers'. `value` reads them.
pub(super) fn on_books(
    crowd: &Crowd,
    plan: &Plan,
    value: impl Fn(&str) -> u64,
) -> Result<(), String> {
    let peers = &crowd.peers;
    let count = |test: fn(&Peer) -> bool| peers.iter().filter(|peer| test(peer)).count();
    let subscriptions: usize = peers.iter().map(Peer::subscriptions).sum();
    let given_up = count(|peer| {
        let odd = peer.stalled || matches!(peer.manner, Manner::Mute | Manner::Deaf);
        odd && peer.state != State::Open
    });
    let misbehaved = count(|peer| peer.misbehaved);
    let half_open = count(|peer| matches!(peer.manner, Manner::Silent | Manner::HalfHead));
    let equal = [
        ("connections_open", count(|peer| peer.holds_socket)),
        (
            "websockets_open",
            count(|peer| peer.holds_socket && peer.opened),
        ),
        ("subscriptions", subscriptions),
        ("handshakes_in_flight", 0),
        ("input_buffered_bytes", 0),
        ("connections_backlogged", 0),
        ("outbox_bytes", 0),
        ("cross_reactor_backlog", 0),
        ("refused_connections_max_total", 0),
    ];
    let at_most = [
        ("ping_timeouts_total", given_up),
        ("close_timeouts_total", given_up),
        ("protocol_errors_total", misbehaved),
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
    for (name, most) in at_most {
        let value = value(name);
        if value > most as u64 {
            return Err(format!("{name} is {value}, with cause for {most}"));
        }
    }
    Ok(())
}

/// Checks that nothing took longer than the network and a full reactor can account for.
pub(super) fn on_delays(crowd: &Crowd) -> Result<u64, String> {
    let mut worst = 0;
    for peer in crowd.peers.iter().filter(|peer| !peer.stalled) {
        for window in &peer.windows {
            for (&(from, n), &came) in window.received.iter().zip(&window.times) {
                let publisher = &crowd.peers[from];
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

/// Checks that the drain reached everybody. `open` are those who were open before it, `cuts` the
/// connections that went silent meanwhile.
pub(super) fn on_drain(
    crowd: &Crowd,
    plan: &Plan,
    open: &[usize],
    cuts: u64,
) -> Result<(), String> {
    let mut unreached = Vec::new();
    for peer in &crowd.peers {
        if let Some(failure) = &peer.failure {
            return Err(format!("peer {} while draining: {failure}", peer.index));
        }
        if peer.present && peer.state == State::Open {
            unreached.push(peer.index);
        }
    }
    if unreached.len() as u64 > cuts {
        return Err(format!(
            "peers {unreached:?} are still open after the drain"
        ));
    }
    if !plan.calm {
        return Ok(());
    }
    for &index in open {
        let peer = &crowd.peers[index];
        if peer.manner == Manner::Deaf {
            continue; // it may be given up at any time
        }
        let at = |what: &str| {
            let (kind, manner) = (&peer.kind, peer.manner);
            Err(format!("peer {index} ({kind:?}, {manner:?}): {what}"))
        };
        match &peer.close {
            Some((Some(CloseCode::GOING_AWAY), reason)) if reason == "server is going down" => {}
            // It came in between.
            Some((Some(CloseCode::GOING_AWAY), _)) if plan.settings.limits.idle_timeout_ms > 0 => {
                continue;
            }
            other => return at(&format!("drained with {other:?}")),
        }
        if matches!(peer.kind, Kind::Wamp(_)) && !peer.goodbye {
            return at("drained without GOODBYE");
        }
        if !peer.saw_fin && peer.manner != Manner::Mute {
            return at("its connection did not end in order");
        }
    }
    Ok(())
}

/// What those are told who hold most when all together hold too much.
pub(super) const OVER_BUDGET: &str = "server memory limit";
/// The sweep's grain, a tick and the way to the peer.
pub(super) const SWEEP_SLACK_NS: u64 = 1_500_000_000;
/// A tick, and the way from the peer.
const TICK_SLACK_NS: u64 = 300_000_000;
/// From a publisher to a subscriber, both reading.
const DELAY_NS_MAX: u64 = 250_000_000;
