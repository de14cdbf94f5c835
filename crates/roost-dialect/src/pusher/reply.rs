//! What a client is told. What the protocol's `data` says is JSON in a string, but for errors.

use roost_hub::Member;

use super::codes::{Error, Fault, Refused};
use super::session::Membership;
use super::socket_id::socket_id;
use crate::json::push_string;
use crate::serial::push_number;

/// `pusher:connection_established`
pub(super) fn established(out: &mut Vec<u8>, client: u64, activity_timeout_s: u32) {
    let mut data = b"{\"socket_id\":\"".to_vec();
    data.extend_from_slice(socket_id(client).as_bytes());
    data.extend_from_slice(b"\",\"activity_timeout\":");
    push_number(&mut data, u64::from(activity_timeout_s));
    data.push(b'}');
    event(out, "pusher:connection_established", None, &data);
}

/// `pusher:ping` or `pusher:pong`
pub(super) fn bare(out: &mut Vec<u8>, name: &str) {
    event(out, name, None, b"{}");
}

/// `pusher:error`
pub(super) fn error(out: &mut Vec<u8>, error: Error) {
    error_of(out, None, error);
}

/// The same of what was published on a channel, whose callbacks are told too.
pub(super) fn error_on(out: &mut Vec<u8>, channel: &str, error: Error) {
    error_of(out, Some(channel), error);
}

fn error_of(out: &mut Vec<u8>, channel: Option<&str>, error: Error) {
    let Error { code, message } = error;
    out.extend_from_slice(b"{\"event\":\"pusher:error\",");
    if let Some(channel) = channel {
        out.extend_from_slice(b"\"channel\":");
        push_string(out, channel);
        out.push(b',');
    }
    out.extend_from_slice(b"\"data\":{\"code\":");
    match code {
        Some(code) => push_number(out, u64::from(code)),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"message\":");
    push_string(out, message);
    out.extend_from_slice(b"}}");
}

/// The same before a close frame.
pub(super) fn fault(out: &mut Vec<u8>, fault: Fault) {
    let Fault { code, reason } = fault;
    error(
        out,
        Error {
            code: Some(code.get()),
            message: reason,
        },
    );
}

/// `pusher:subscription_error`
pub(super) fn subscription_error(out: &mut Vec<u8>, channel: &str, refused: Refused) {
    let Refused {
        kind,
        message,
        status,
    } = refused;
    denied(out, channel, (kind, status), message);
}

/// The same with another sentence.
pub(super) fn denied(out: &mut Vec<u8>, channel: &str, (kind, status): (&str, u16), message: &str) {
    out.extend_from_slice(b"{\"event\":\"pusher:subscription_error\",\"channel\":");
    push_string(out, channel);
    out.extend_from_slice(b",\"data\":{\"type\":");
    push_string(out, kind);
    out.extend_from_slice(b",\"error\":");
    push_string(out, message);
    out.extend_from_slice(b",\"status\":");
    push_number(out, u64::from(status));
    out.extend_from_slice(b"}}");
}

/// `pusher_internal:subscription_succeeded` of a channel without members.
pub(super) fn subscribed(out: &mut Vec<u8>, channel: &str) {
    event(out, SUCCEEDED, Some(channel), b"{}");
}

/// The same of a presence channel: the users that its subscribers were told of, and the client itself.
pub(super) fn subscribed_with(
    out: &mut Vec<u8>,
    channel: &str,
    members: &[Member],
    own: &Membership,
) {
    let mut users: Vec<(&str, Option<&str>)> = Vec::with_capacity(members.len() + 1);
    let others = members.iter().filter(|member| !member.user.is_empty());
    users.extend(others.map(|member| (member.user.as_str(), info_of(member))));
    users.push((own.user_id.as_str(), own.info()));
    // Of one user, what its first connection has said: that comes first, and the sort keeps it there.
    users.sort_by_key(|(user, _)| *user);
    users.dedup_by_key(|(user, _)| *user);
    let mut data = b"{\"presence\":{\"count\":".to_vec();
    push_number(&mut data, users.len() as u64);
    data.extend_from_slice(b",\"ids\":[");
    for (at, (user, _)) in users.iter().enumerate() {
        separate(&mut data, at);
        push_string(&mut data, user);
    }
    data.extend_from_slice(b"],\"hash\":{");
    for (at, (user, info)) in users.iter().enumerate() {
        separate(&mut data, at);
        push_string(&mut data, user);
        data.push(b':');
        data.extend_from_slice(info.unwrap_or("{}").as_bytes());
    }
    data.extend_from_slice(b"}}}");
    event(out, SUCCEEDED, Some(channel), &data);
}

/// `pusher:cache_miss`, which has no data.
pub(super) fn cache_miss(out: &mut Vec<u8>, channel: &str) {
    out.extend_from_slice(b"{\"event\":\"pusher:cache_miss\",\"channel\":");
    push_string(out, channel);
    out.push(b'}');
}

/// `pusher:signin_success`
pub(super) fn signed_in(out: &mut Vec<u8>, user_data: &str) {
    let mut data = b"{\"user_data\":".to_vec();
    push_string(&mut data, user_data);
    data.push(b'}');
    event(out, "pusher:signin_success", None, &data);
}

/// What subscribers are told of a user that has come or gone.
pub(super) fn member(channel: &str, member: &Member, has_joined: bool) -> Vec<u8> {
    let mut data = b"{\"user_id\":".to_vec();
    let has_number = member.info.as_ref().is_some_and(|info| info.has_number);
    push_user(&mut data, &member.user, has_number);
    let name = match has_joined {
        true => {
            data.extend_from_slice(b",\"user_info\":");
            data.extend_from_slice(info_of(member).unwrap_or("{}").as_bytes());
            "pusher_internal:member_added"
        }
        false => "pusher_internal:member_removed",
    };
    data.push(b'}');
    let mut out = Vec::with_capacity(data.len() * 2 + channel.len() + 96);
    event(&mut out, name, Some(channel), &data);
    out
}

/// What subscribers are told of how many they are.
pub(super) fn subscriptions(channel: &str, count: u32) -> Vec<u8> {
    let mut data = b"{\"subscription_count\":".to_vec();
    push_number(&mut data, u64::from(count));
    data.push(b'}');
    let mut out = Vec::with_capacity(data.len() + channel.len() + 96);
    let name = "pusher_internal:subscription_count";
    event(&mut out, name, Some(channel), &data);
    out
}

/// What is known of a user beside its id.
fn info_of(member: &Member) -> Option<&str> {
    let info = member.info.as_ref()?;
    info.channel.as_deref()
}

/// `{"event":…,"channel":…,"data":"…"}`
fn event(out: &mut Vec<u8>, name: &str, channel: Option<&str>, data: &[u8]) {
    out.extend_from_slice(b"{\"event\":");
    push_string(out, name);
    if let Some(channel) = channel {
        out.extend_from_slice(b",\"channel\":");
        push_string(out, channel);
    }
    out.extend_from_slice(b",\"data\":");
    let data = str::from_utf8(data).expect("it is JSON of strings");
    push_string(out, data);
    out.push(b'}');
}

/// A user as the application has named it: some name it by a number, and compare.
pub(super) fn push_user(out: &mut Vec<u8>, user: &str, is_number: bool) {
    match is_number {
        true => out.extend_from_slice(user.as_bytes()),
        false => push_string(out, user),
    }
}

fn separate(out: &mut Vec<u8>, at: usize) {
    if at > 0 {
        out.push(b',');
    }
}

const SUCCEEDED: &str = "pusher_internal:subscription_succeeded";
