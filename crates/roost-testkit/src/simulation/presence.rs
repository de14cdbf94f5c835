//! What the peers of Centrifugo's protocol are told of each other, in the seeds whose channels keep presence.
//!
//! What is promised: a client that is subscribed to a channel is among its members, and one that is not is
//! not among them; who comes and who leaves is told in turns, and only where it was asked for; when all have
//! left nothing of it is kept.

use std::collections::{BTreeMap, BTreeSet};

use roost_net::sim::SimRng;
use roost_reactor::{ChannelPolicy, JoinLeave, Presence, Readers, Settings, policy_for_tests};
use serde_json::Value;

/// The namespace of their channels keeps presence in some seeds.
pub(super) fn add(seed: u64, settings: &mut Settings) {
    let mut rng = SimRng::new(seed ^ 0x7072_6573);
    if rng.per_mille(400) {
        return;
    }
    let policy = ChannelPolicy {
        presence: [Presence::Members, Presence::Counts][usize::from(rng.per_mille(200))],
        presence_members_max: [2, 1000][rng.below(2) as usize],
        presence_linger_ms: [0, rng.between(200, 2_000) as u32][rng.below(2) as usize],
        presence_notify_ms: rng.between(100, 600) as u32,
        presence_notify_per_second_max: rng.between(2, 60) as u32,
        join_leave: [JoinLeave::Off, JoinLeave::Asked, JoinLeave::All][rng.below(3) as usize],
        presence_read: Readers::Anyone,
        ..policy_for_tests()
    };
    let namespaces = &mut settings.channels.namespaces;
    namespaces.push((NAMESPACE.to_owned(), policy));
    if rng.per_mille(200) {
        settings.limits.presence_bytes_max = 1_500;
    }
}

/// What a plan says of presence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    presence: Presence,
    join_leave: JoinLeave,
    /// Lists of members may be cut.
    pub(super) may_be_truncated: bool,
}

impl Rules {
    pub(super) fn of(settings: &Settings) -> Rules {
        let policy = settings.channels.of(CHANNEL);
        let are_few = policy.presence_members_max < 1000;
        let bytes_max = settings.limits.presence_bytes_max;
        Rules {
            presence: policy.presence,
            join_leave: policy.join_leave,
            may_be_truncated: policy.presence == Presence::Counts
                || are_few
                || bytes_max < MUCH_BYTES,
        }
    }

    pub(super) fn are_on(self) -> bool {
        self.presence != Presence::Off
    }
}

/// What one peer knows of the members of its channels.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) rules: Rules,
    /// Its own id.
    client: String,
    /// Subscribes that are under way and have asked to be told.
    asking: BTreeSet<u64>,
    told_of: BTreeSet<String>,
    /// By channel and client, whether the last that was told of it is that it came.
    known: BTreeMap<(String, String), bool>,
}

impl Watch {
    pub(super) fn new(rules: Rules) -> Watch {
        Watch {
            rules,
            client: String::new(),
            asking: BTreeSet::new(),
            told_of: BTreeSet::new(),
            known: BTreeMap::new(),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.rules.are_on()
    }

    /// The peer has connected.
    pub(super) fn connected(&mut self, reply: &Value) {
        let client = reply["connect"]["client"].as_str();
        client.unwrap_or_default().clone_into(&mut self.client);
    }

    /// A subscribe that asks to be told is sent.
    pub(super) fn ask(&mut self, id: u64) {
        self.asking.insert(id);
    }

    /// A subscribe is answered with success: what is known of the channel begins anew.
    pub(super) fn subscribed(&mut self, channel: &str, id: &Value) {
        self.known.retain(|(of, _), _| of != channel);
        match id.as_u64().is_some_and(|id| self.asking.remove(&id)) {
            true => self.told_of.insert(channel.to_owned()),
            false => self.told_of.remove(channel),
        };
    }

    /// A push about members.
    pub(super) fn told(&mut self, channel: &str, push: &Value) -> Result<(), String> {
        let may_be = match self.rules.join_leave {
            JoinLeave::Off => false,
            JoinLeave::Asked => self.told_of.contains(channel),
            JoinLeave::All => true,
        };
        if !may_be || !self.is_on() || !channel.starts_with(CHANNEL) {
            return Err("told of members, and has not asked".to_owned());
        }
        if push["presence_stats"].is_object() {
            return Ok(());
        }
        let has_come = push["join"].is_object();
        let info = &push[if has_come { "join" } else { "leave" }]["info"];
        let (Some(client), Some(_)) = (info["client"].as_str(), info["user"].as_str()) else {
            return Err("a push that says nothing".to_owned());
        };
        if self.rules.presence == Presence::Counts {
            return Err("a member, where only their number is known".to_owned());
        }
        let key = (channel.to_owned(), client.to_owned());
        match self.known.insert(key, has_come) {
            Some(before) if before == has_come => Err(format!("{client} twice: {has_come}")),
            _ => Ok(()),
        }
    }

    /// Who is in a channel: the peer itself, if it was subscribed when it asked.
    pub(super) fn check_members(
        &self,
        result: &Value,
        user: &str,
        was_subscribed: bool,
    ) -> Result<(), String> {
        let Some(members) = result["presence"].as_object() else {
            return Err("no members".to_owned());
        };
        if result["truncated"] == true {
            let count = result["num_clients"].as_u64();
            let is_right = members.is_empty() && count > Some(0);
            return is_right.then_some(()).ok_or("not truncated".to_owned());
        }
        // A user may be known by the client that it was before.
        let is_there = match user {
            "" => members.contains_key(&self.client),
            user => members.values().any(|info| info["user"] == user),
        };
        if members
            .iter()
            .any(|(client, info)| info["client"] != client.as_str())
        {
            return Err("a member under another's id".to_owned());
        }
        match was_subscribed {
            true if !is_there => Err(format!("{} is not a member", self.client)),
            false if is_there && user.is_empty() => Err(format!("{} is a member", self.client)),
            _ => Ok(()),
        }
    }
}

/// All members of all channels take less than this.
const MUCH_BYTES: u64 = 1 << 16;
/// The namespace of the channels that they have for themselves.
const NAMESPACE: &str = "cf";
/// How their names begin.
pub(super) const CHANNEL: &str = "cf:";
