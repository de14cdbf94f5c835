//! What a client is told: replies with the number of their command, and pushes. In JSON one a line; in Protobuf
//! (`protobuf/replies.rs`) each behind its length.

use super::client::{Connected, Expiry, NODE, VERSION};
use super::codes::Error;
use super::protobuf::replies as protobuf;
use super::publications::write_publication;
use super::result::{Method, Subscribed, write_expiry, write_position, write_result};
use super::transport::Transport;
use crate::dialect::HistoryPage;
use crate::json::push_string;
use crate::publication::in_one_line;
use crate::serial::push_number;

/// Lines of one message, or what stands for them in Protobuf.
pub(super) struct Lines<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    transport: Transport,
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
        if let Some(out) = self.protobuf() {
            return protobuf::error(out, id, (code, message), is_temporary);
        }
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
    pub(super) fn done(&mut self, id: u32, method: Method) {
        if let Some(out) = self.protobuf() {
            return protobuf::done(out, id, method);
        }
        self.begin(id);
        push_string(self.out, method.name());
        self.out.extend_from_slice(b":{}}");
    }

    /// The same in JSON with the members that `write` writes.
    pub(super) fn result(&mut self, id: u32, method: &str, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(!self.transport.is_protobuf(), "its results have no members");
        self.begin(id);
        push_string(self.out, method);
        self.out.extend_from_slice(b":{");
        write(self.out);
        self.out.extend_from_slice(b"}}");
    }

    /// The result of `subscribe`; what allows it may expire.
    pub(super) fn subscribe_result(
        &mut self,
        id: u32,
        subscribed: &Subscribed<'_>,
        expires_in_s: Option<u32>,
    ) {
        if let Some(out) = self.protobuf() {
            return protobuf::subscribe_result(out, id, subscribed, expires_in_s);
        }
        self.result(id, "subscribe", |out| {
            write_result(out, subscribed);
            if let Some(seconds) = expires_in_s {
                if !out.ends_with(b"{") {
                    out.push(b',');
                }
                write_expiry(out, seconds);
            }
        });
    }

    /// The result of `sub_refresh`.
    pub(super) fn subscription_refreshed(&mut self, id: u32, expires_in_s: Option<u32>) {
        if let Some(out) = self.protobuf() {
            return protobuf::subscription_refreshed(out, id, expires_in_s);
        }
        self.result(id, "sub_refresh", |out| {
            if let Some(seconds) = expires_in_s {
                write_expiry(out, seconds);
            }
        });
    }

    /// The result of `history`.
    pub(super) fn history(&mut self, id: u32, page: &HistoryPage) {
        if let Some(out) = self.protobuf() {
            return protobuf::history(out, id, page);
        }
        self.result(id, "history", |out| {
            out.extend_from_slice(b"\"publications\":[");
            for (at, (offset, publication)) in page.publications.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_publication(out, publication, Some(*offset));
            }
            out.extend_from_slice(b"],");
            write_position(out, page.position);
        });
    }

    /// The result of `rpc`.
    pub(super) fn called(&mut self, id: u32, data: Option<&str>) {
        if let Some(out) = self.protobuf() {
            return protobuf::called(out, id, data);
        }
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
        if let Some(out) = self.protobuf() {
            return protobuf::connected(out, id, connected, subscriptions);
        }
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
        if let Some(out) = self.protobuf() {
            return protobuf::refreshed(out, id, client, expiry);
        }
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
        if let Some(out) = self.protobuf() {
            return protobuf::unsubscribed(out, channel, (code, reason));
        }
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

    /// `{"push":{"channel":…,"subscribe":{…}}}`: the server has made a subscription.
    pub(super) fn subscribed(&mut self, channel: &str, subscribed: &Subscribed<'_>) {
        if let Some(out) = self.protobuf() {
            return protobuf::subscribed(out, channel, subscribed);
        }
        self.line();
        self.out.extend_from_slice(b"{\"push\":{\"channel\":");
        push_string(self.out, channel);
        self.member("subscribe");
        self.out.push(b'{');
        write_result(self.out, subscribed);
        self.out.extend_from_slice(b"}}}");
    }

    /// `{"push":{"disconnect":{"code":…,"reason":…}}}`: the connection ends, and no close frame says so.
    pub(super) fn disconnected(&mut self, code: u16, reason: &str) {
        if let Some(out) = self.protobuf() {
            return protobuf::disconnected(out, code, reason);
        }
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
        if let Some(out) = self.protobuf() {
            return protobuf::ping(out);
        }
        self.line();
        self.out.extend_from_slice(b"{}");
    }

    /// Where it is written, if it is Protobuf.
    pub(super) fn protobuf(&mut self) -> Option<&mut Vec<u8>> {
        self.transport.is_protobuf().then_some(&mut *self.out)
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

/// What a client is told of one of the subscriptions that come with its `connect`, to stand in that result.
pub(super) fn result_of(transport: Transport, subscribed: &Subscribed<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match transport.is_protobuf() {
        true => protobuf::write_result(&mut out, subscribed),
        false => write_result(&mut out, subscribed),
    }
    out
}
