//! What a client is told: replies with the number of their command, and pushes. One a line.

use std::fmt::Write as _;

use super::codes::Error;
use super::transport::Transport;
use crate::json::push_string;
use crate::publication::in_one_line;
use crate::serial::push_number;

/// Lines of one message.
pub(super) struct Lines<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    transport: Transport,
}

/// What a client is told when it has connected.
pub(super) struct Connected<'a> {
    /// Its id.
    pub(super) client: &'a str,
    pub(super) expiry: &'a Expiry,
    /// In how many seconds the next ping comes; 0: none comes.
    pub(super) ping_s: u32,
    /// By what name it sends, if that is by requests of their own.
    pub(super) emulation: Option<&'a str>,
}

/// What is said of the time that something ends.
pub(super) struct Expiry {
    /// In so many seconds; `None`: never.
    pub(super) in_s: Option<u32>,
}

impl<'o> Lines<'o> {
    /// Behind what stands in `out`, as a message of its own.
    pub(super) fn new(out: &'o mut Vec<u8>, transport: Transport) -> Lines<'o> {
        let start = out.len();
        Lines {
            out,
            start,
            transport,
        }
    }

    /// `{"id":1,"error":{…}}`
    pub(super) fn error(&mut self, id: u32, error: Error) {
        let Error {
            code,
            message,
            is_temporary,
        } = error;
        self.error_of_application(id, (u32::from(code), message), is_temporary);
    }

    /// The same with what an application says.
    pub(super) fn error_of_application(
        &mut self,
        id: u32,
        (code, message): (u32, &str),
        is_temporary: bool,
    ) {
        self.begin(id);
        self.out.extend_from_slice(b"\"error\":{\"code\":");
        push_number(self.out, u64::from(code));
        self.member("message");
        push_string(self.out, message);
        if is_temporary {
            self.member("temporary");
            self.out.extend_from_slice(b"true");
        }
        self.out.extend_from_slice(b"}}");
    }

    /// `{"id":1,"publish":{}}`, for methods whose result says nothing.
    pub(super) fn done(&mut self, id: u32, method: &str) {
        self.begin(id);
        push_string(self.out, method);
        self.out.extend_from_slice(b":{}}");
    }

    /// The same with the members that `write` writes.
    pub(super) fn result(&mut self, id: u32, method: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.begin(id);
        push_string(self.out, method);
        self.out.extend_from_slice(b":{");
        write(self.out);
        self.out.extend_from_slice(b"}}");
    }

    /// The result of `rpc`.
    pub(super) fn called(&mut self, id: u32, data: Option<&str>) {
        self.begin(id);
        self.out.extend_from_slice(b"\"rpc\":{");
        if let Some(data) = data {
            self.out.extend_from_slice(b"\"data\":");
            self.out.extend_from_slice(&in_one_line(data.as_bytes()));
        }
        self.out.extend_from_slice(b"}}");
    }

    /// The result of `connect`, with subscriptions that the server has made: each the channel's name and the
    /// members of its result.
    pub(super) fn connected<'s>(
        &mut self,
        id: u32,
        connected: &Connected<'_>,
        subscriptions: impl Iterator<Item = (&'s str, &'s [u8])>,
    ) {
        let Connected {
            client,
            expiry,
            ping_s,
            emulation,
        } = *connected;
        self.begin(id);
        self.out.extend_from_slice(b"\"connect\":{\"client\":");
        push_string(self.out, client);
        self.member("version");
        push_string(self.out, VERSION);
        self.expiry(expiry);
        self.served(subscriptions);
        if let Some(name) = emulation {
            self.member("session");
            push_string(self.out, name);
            self.member("node");
            push_string(self.out, NODE);
        }
        if ping_s > 0 {
            self.member("ping");
            push_number(self.out, u64::from(ping_s));
            self.member("pong");
            self.out.extend_from_slice(b"true");
        }
        self.out.extend_from_slice(b"}}");
    }

    /// The result of `refresh`.
    pub(super) fn refreshed(&mut self, id: u32, client: &str, expiry: &Expiry) {
        self.begin(id);
        self.out.extend_from_slice(b"\"refresh\":{\"client\":");
        push_string(self.out, client);
        self.member("version");
        push_string(self.out, VERSION);
        self.expiry(expiry);
        self.out.extend_from_slice(b"}}");
    }

    /// `{"push":{"channel":…,"unsubscribe":{"code":…,"reason":…}}}`: the server has ended a subscription.
    pub(super) fn unsubscribed(&mut self, channel: &str, (code, reason): (u16, &str)) {
        self.line();
        self.out.extend_from_slice(b"{\"push\":{\"channel\":");
        push_string(self.out, channel);
        self.member("unsubscribe");
        self.out.extend_from_slice(b"{\"code\":");
        push_number(self.out, u64::from(code));
        self.member("reason");
        push_string(self.out, reason);
        self.out.extend_from_slice(b"}}}");
    }

    /// `,"subs":{"channel":{…}}`, if there are any.
    fn served<'s>(&mut self, subscriptions: impl Iterator<Item = (&'s str, &'s [u8])>) {
        let mut is_first = true;
        for (channel, result) in subscriptions {
            match is_first {
                true => {
                    self.member("subs");
                    self.out.push(b'{');
                }
                false => self.out.push(b','),
            }
            is_first = false;
            push_string(self.out, channel);
            self.out.extend_from_slice(b":{");
            self.out.extend_from_slice(result);
            self.out.push(b'}');
        }
        if !is_first {
            self.out.push(b'}');
        }
    }

    /// `{"push":{"channel":…,"subscribe":{…}}}`, with the members that `write` writes: the server has made a
    /// subscription.
    pub(super) fn subscribed(&mut self, channel: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.line();
        self.out.extend_from_slice(b"{\"push\":{\"channel\":");
        push_string(self.out, channel);
        self.member("subscribe");
        self.out.push(b'{');
        write(self.out);
        self.out.extend_from_slice(b"}}}");
    }

    /// `{"push":{"disconnect":{"code":…,"reason":…}}}`: the connection ends, and no close frame says so.
    pub(super) fn disconnected(&mut self, code: u16, reason: &str) {
        self.line();
        self.out
            .extend_from_slice(b"{\"push\":{\"disconnect\":{\"code\":");
        push_number(self.out, u64::from(code));
        self.member("reason");
        push_string(self.out, reason);
        self.out.extend_from_slice(b"}}}");
    }

    /// A ping: an object without anything.
    pub(super) fn ping(&mut self) {
        self.line();
        self.out.extend_from_slice(b"{}");
    }

    fn expiry(&mut self, expiry: &Expiry) {
        if let Some(seconds) = expiry.in_s {
            self.member("expires");
            self.out.extend_from_slice(b"true");
            self.member("ttl");
            push_number(self.out, u64::from(seconds));
        }
    }

    fn line(&mut self) {
        if self.out.len() > self.start {
            self.out.extend_from_slice(self.transport.separator());
        }
        self.out.extend_from_slice(self.transport.prefix());
    }

    fn begin(&mut self, id: u32) {
        self.line();
        self.out.extend_from_slice(b"{\"id\":");
        push_number(self.out, u64::from(id));
        self.out.push(b',');
    }

    fn member(&mut self, name: &str) {
        self.out.push(b',');
        push_string(self.out, name);
        self.out.push(b':');
    }
}

impl Drop for Lines<'_> {
    fn drop(&mut self) {
        if self.out.len() > self.start {
            self.out.extend_from_slice(self.transport.end());
        }
    }
}

/// A client's id as it is told: a UUID (RFC 9562, version 4) that the number is spread over.
pub(super) fn client_id(number: u64) -> String {
    let high = mix(number) & !0xf000 | 0x4000;
    let low = mix(number ^ SECOND_HALF) & !(3 << 62) | 2 << 62;
    let mut text = String::with_capacity(36);
    let _ = write!(
        text,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    );
    text
}

/// A publisher as subscribers are told of it.
pub(super) fn client_info(user: &str, client: &str, connection: Option<&str>) -> Box<str> {
    let mut info = b"{\"user\":".to_vec();
    push_string(&mut info, user);
    info.extend_from_slice(b",\"client\":");
    push_string(&mut info, client);
    if let Some(connection) = connection {
        info.extend_from_slice(b",\"conn_info\":");
        info.extend_from_slice(&in_one_line(connection.as_bytes()));
    }
    info.push(b'}');
    String::from_utf8(info)
        .expect("it is written of texts")
        .into()
}

/// SplitMix64's output function: a bijection whose bits all depend on all.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Makes the halves of an id two functions of its number.
const SECOND_HALF: u64 = 0x5555_5555_5555_5555;
/// A client gives it back with what it sends; the session's name says it all.
const NODE: &str = "roost";
/// What clients are told that they have connected to.
const VERSION: &str = concat!("Roost ", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_uuids_and_differ() {
        let mut seen = BTreeSet::new();
        for number in 1..10_000u64 {
            let id = client_id(number);
            assert_eq!(id.len(), 36, "{id}");
            let dashes = id.match_indices('-').map(|(at, _)| at);
            assert_eq!(dashes.collect::<Vec<_>>(), [8, 13, 18, 23], "{id}");
            assert_eq!(&id[14..15], "4", "the version of {id}");
            assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
            assert!(seen.insert(id), "{number}");
        }
    }
}
