//! Who is in a channel, who comes and who leaves, as clients are told; and which of them are told.

use std::collections::BTreeSet;

use roost_hub::{ChannelId, Member, PresenceChange, PresenceCounts, PresenceView};

use super::client::client_id;
use super::protobuf::replies as protobuf;
use super::reply::Lines;
use crate::json::push_string;
use crate::publication::in_one_line;
use crate::serial::push_number;

/// The channels of which a session has asked to be told who comes and who leaves.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Commands that asked for it and whose subscriptions are under way.
    pending: BTreeSet<u32>,
    channels: BTreeSet<ChannelId>,
}

impl Told {
    /// A command that subscribes asks for it.
    pub(super) fn ask(&mut self, command: u32) {
        self.pending.insert(command);
    }

    /// The command is answered: it has subscribed to a channel, or to none.
    pub(super) fn answer(&mut self, command: u32, channel: Option<ChannelId>) {
        if self.pending.remove(&command) {
            self.channels.extend(channel);
        }
    }

    /// The session is not subscribed to a channel any more.
    pub(super) fn remove(&mut self, channel: ChannelId) {
        self.channels.remove(&channel);
    }

    /// Whether it is told of none, and has not asked.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.channels.is_empty()
    }

    pub(super) fn has(&self, channel: ChannelId) -> bool {
        self.channels.contains(&channel)
    }

    /// Those that are in force.
    pub(super) fn into_list(self) -> Vec<ChannelId> {
        self.channels.into_iter().collect()
    }

    /// Of such a list.
    pub(super) fn from_list(list: Vec<ChannelId>) -> Told {
        Told {
            pending: BTreeSet::new(),
            channels: list.into_iter().collect(),
        }
    }

    /// Heap bytes, nearly.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.pending.len() + self.channels.len()) * size_of::<ChannelId>() * 4 / 3
    }
}

impl Lines<'_> {
    /// The result of `presence`: the members by the ids of their clients.
    pub(super) fn presence(&mut self, id: u32, view: &PresenceView) {
        if let Some(out) = self.protobuf() {
            return protobuf::presence(out, id, view);
        }
        self.result(id, "presence", |out| {
            out.extend_from_slice(b"\"presence\":{");
            for (at, member) in view.members.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                push_string(out, &client_id(member.client));
                out.push(b':');
                push_info(out, member);
            }
            out.push(b'}');
            if view.is_truncated {
                out.extend_from_slice(b",\"truncated\":true,");
                push_counts(out, view.counts);
            }
        });
    }

    /// The result of `presence_stats`.
    pub(super) fn presence_stats(&mut self, id: u32, counts: PresenceCounts) {
        if let Some(out) = self.protobuf() {
            return protobuf::presence_stats(out, id, counts);
        }
        self.result(id, "presence_stats", |out| push_counts(out, counts));
    }
}

/// What subscribers are told of a change: a push for each join and leave, one a line, and how many there
/// are if not all is told.
pub(super) fn change_of_members(change: &PresenceChange, channel: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (what, members) in [("join", &change.joined), ("leave", &change.left)] {
        for member in members {
            begin_push(&mut out, channel);
            push_string(&mut out, what);
            out.extend_from_slice(b":{\"info\":");
            push_info(&mut out, member);
            out.extend_from_slice(b"}}}");
        }
    }
    if let Some(counts) = change.counts {
        begin_push(&mut out, channel);
        out.extend_from_slice(b"\"presence_stats\":{");
        push_counts(&mut out, counts);
        out.extend_from_slice(b"}}}");
    }
    out
}

fn begin_push(out: &mut Vec<u8>, channel: &str) {
    if !out.is_empty() {
        out.push(b'\n');
    }
    out.extend_from_slice(b"{\"push\":{\"channel\":");
    push_string(out, channel);
    out.push(b',');
}

fn push_counts(out: &mut Vec<u8>, counts: PresenceCounts) {
    let PresenceCounts {
        clients,
        users,
        has_anonymous,
    } = counts;
    out.extend_from_slice(b"\"num_clients\":");
    push_number(out, u64::from(clients));
    out.extend_from_slice(b",\"num_users\":");
    // To clients of this protocol all that are anonymous are one user.
    push_number(out, u64::from(users) + u64::from(has_anonymous));
}

/// `{"user":…,"client":…,"conn_info":…,"chan_info":…}`
fn push_info(out: &mut Vec<u8>, member: &Member) {
    out.extend_from_slice(b"{\"user\":");
    push_string(out, &member.user);
    out.extend_from_slice(b",\"client\":");
    push_string(out, &client_id(member.client));
    if let Some(info) = &member.info {
        for (name, value) in [
            ("conn_info", &info.connection),
            ("chan_info", &info.channel),
        ] {
            if let Some(value) = value {
                out.push(b',');
                push_string(out, name);
                out.push(b':');
                out.extend_from_slice(&in_one_line(value.as_bytes()));
            }
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roost_hub::{MemberInfo, ReactorId, Subscriber};

    use super::*;

    fn member(client: u64, user: &str, info: Option<&str>) -> Member {
        Member {
            client,
            user: user.into(),
            info: info.map(|info| {
                Arc::new(MemberInfo {
                    connection: Some(info.into()),
                    channel: None,
                    has_number: false,
                })
            }),
            who: Subscriber(1),
            generation: 0,
            reactor: ReactorId(0),
        }
    }

    #[test]
    fn each_join_and_leave_is_a_line_of_its_own() {
        let change = PresenceChange {
            joined: vec![member(1, "a\"b", Some("{\n\"x\":1}")), member(2, "", None)],
            left: vec![member(3, "c", None)],
            counts: Some(PresenceCounts {
                clients: 7,
                users: 4,
                has_anonymous: true,
            }),
            is_for_all: false,
            tells_counts: false,
            is_of_user: false,
            number: 0,
        };
        let text = String::from_utf8(change_of_members(&change, "a:b")).expect("JSON");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("each is JSON"))
            .collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines.iter().all(|line| line["push"]["channel"] == "a:b"));
        let first = &lines[0]["push"]["join"]["info"];
        assert_eq!(first["user"], "a\"b");
        assert_eq!(first["client"], client_id(1).as_str());
        assert_eq!(first["conn_info"]["x"], 1);
        assert_eq!(lines[1]["push"]["join"]["info"]["user"], "");
        assert_eq!(
            lines[2]["push"]["leave"]["info"]["client"],
            client_id(3).as_str()
        );
        assert_eq!(lines[3]["push"]["presence_stats"]["num_clients"], 7);
        assert_eq!(lines[3]["push"]["presence_stats"]["num_users"], 5);
    }

    #[test]
    fn only_subscriptions_that_ask_for_it_are_told() {
        let mut told = Told::default();
        told.ask(3);
        told.answer(2, Some(ChannelId(7)));
        assert!(!told.has(ChannelId(7)));
        told.answer(3, Some(ChannelId(8)));
        assert!(told.has(ChannelId(8)) && !told.has(ChannelId(7)));
        told.ask(4);
        told.answer(4, None);
        told.remove(ChannelId(8));
        assert_eq!(told.heap_bytes(), 0);
    }
}
