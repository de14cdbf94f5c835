//! Whether a lane of a peer that reads can have been full.
//!
//! A client that reads is a slow consumer, too, when more comes at once than its namespace lets wait:
//! what is on its way to it fills the network for a round trip, and the rest waits. What a peer can
//! know of that is an upper bound: all that was published and had not come.

use super::behavior::Kind;
use super::peer::Peer;
use super::peers::Peers;
use super::plan::{NAMESPACES, Plan};
use super::records::{Sent, Window};
use super::reloads::changes_outboxes;

/// What has come to a peer in one namespace, and what was dropped in one of its channels.
pub(super) struct Lane {
    /// When it was published, when it came or the next one did, and bytes of its frame.
    received: Vec<(u64, u64, u64)>,
    /// `None` where reloads change it.
    bytes_max: Option<u64>,
    is_wamp: bool,
}

impl Lane {
    /// The lane through which the messages of `window` have come to `peer`.
    pub(super) fn of(peers: &Peers, peer: &Peer, window: &Window, plan: &Plan) -> Lane {
        let is_wamp = matches!(peer.kind, Kind::Wamp(_));
        let namespace = |channel| channel % NAMESPACES.len();
        let windows = peer.windows.iter();
        let windows = windows.filter(|one| namespace(one.channel) == namespace(window.channel));
        let received = windows.flat_map(|one| one.received.iter().zip(&one.times));
        let received = received.filter_map(|(&(from, n), &came)| {
            let sent = peers.all[from].sent.get(n as usize - 1)?;
            Some((sent.at, came, frame_bytes(sent, is_wamp)))
        });
        Lane {
            received: received.collect(),
            bytes_max: (!changes_outboxes(plan.seed))
                .then(|| plan.outbox_bytes_max_of(window.channel)),
            is_wamp,
        }
    }

    /// Others of the channel were dropped before the next message of it came: until then they may have
    /// waited, too. When each was published, when that came, and the message.
    pub(super) fn add_dropped(&mut self, at: u64, next: Option<u64>, sent: &Sent) {
        let until = next.unwrap_or(u64::MAX);
        self.received
            .push((at, until, frame_bytes(sent, self.is_wamp)));
    }

    /// Whether there was a time at which `dropped`, one of those added, found no room, or made room for what came behind it:
    /// when it had been published, and before the next message of its channel came at `next`.
    ///
    /// # Errors
    /// The most that can have waited, and how much may.
    pub(super) fn check_full(&self, dropped: &Sent, next: Option<u64>) -> Result<(), String> {
        let Some(bytes_max) = self.bytes_max else {
            return Ok(());
        };
        let next = next.unwrap_or(u64::MAX);
        // More waits only when something is published.
        let times = self.received.iter().map(|&(at, ..)| at);
        let times = times.filter(|&at| at > dropped.at && at <= next);
        let most = times.chain([dropped.at]).map(|time| self.waited_at(time));
        let most = most.max().unwrap_or(0);
        match most > bytes_max {
            true => Ok(()),
            false => Err(format!(
                "dropped with {most} bytes on their way, and {bytes_max} may wait"
            )),
        }
    }

    fn waited_at(&self, time: u64) -> u64 {
        let waited = self.received.iter();
        let waited = waited.filter(|&&(at, came, _)| at <= time && came >= time);
        waited.map(|&(.., bytes)| bytes).sum()
    }
}

/// Bytes of the frame in which a publication comes, at most.
fn frame_bytes(sent: &Sent, is_wamp: bool) -> u64 {
    match (is_wamp, sent.binary) {
        (false, _) => sent.frame_bytes,
        (true, false) => sent.frame_bytes + EVENT_BYTES_MAX,
        // In base64.
        (true, true) => sent.frame_bytes.div_ceil(3) * 4 + EVENT_BYTES_MAX,
    }
}

/// What a WAMP EVENT has around its payload: two numbers of up to 16 digits, brackets and quotes, the
/// channel's name, and six characters for a NUL in front of base64.
const EVENT_BYTES_MAX: u64 = 90;
