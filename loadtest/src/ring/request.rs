//! What a client asks for first: the path, and the key of a WebSocket.

use roost_wire::handshake::{ClientRequest, encode_key};

use crate::dialect::{self, Random};
use crate::plan::Role;

use super::Core;

/// Asks for a WebSocket.
pub(super) fn send(core: &mut Core, slot: u32) {
    let key = handshake_key(core, slot);
    let target = path_of(core, slot);
    let request = ClientRequest {
        host: &core.plan.target.authority,
        target: &target,
        key: &key,
        protocols: core.dialect_of(slot).protocols(),
        extensions: None,
        origin: None,
    };
    let start = core.scratch.len();
    request.write(&mut core.scratch);
    core.queue_send(slot, start);
}

/// Made again when the answer comes instead of being kept.
pub(super) fn handshake_key(core: &Core, slot: u32) -> String {
    let generation = u64::from(core.conns[slot as usize].generation);
    let place = (core.id as u64) << 48 | generation << 32 | u64::from(slot);
    let mut random = Random::new(core.plan.settings.seed.rotate_left(17) ^ place);
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&random.draw().to_le_bytes());
    nonce[8..].copy_from_slice(&random.draw().to_le_bytes());
    encode_key(nonce)
}

/// The path of the URL, or the dialect's own.
pub(super) fn path_of(core: &Core, slot: u32) -> String {
    let all: Vec<_> = core.plan.groups.iter().map(|group| group.dialect).collect();
    let path = dialect::target(&core.plan.target.path, core.dialect_of(slot), &all);
    if !path.contains("{channel}") {
        return path;
    }
    let share = core.share_of(slot);
    let group = &core.plan.groups[share.group];
    let member = share.member + (slot - share.slot);
    let topic = match group.role {
        Role::Publish(publish) => Some(publish.topic),
        Role::Listen | Role::Echo(_) => group.subscribe.first().copied(),
    };
    let name = topic.map_or_else(String::new, |topic| {
        let topic = &core.plan.topics[topic];
        topic.channel_name(member % topic.channels)
    });
    path.replace("{channel}", &percent_encode(&name))
}

/// RFC 3986 §2.1, for everything that is not unreserved or usual in a path.
fn percent_encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for &byte in name.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
