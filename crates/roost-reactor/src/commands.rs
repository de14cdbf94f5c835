//! What dialects command, carried out; and what becomes of it, told to them.

use std::borrow::Cow;

use roost_dialect::dialect::{
    Command, Context, Event, Input, Message, Next, Refusal, Request, Session, Target,
};
use roost_dialect::{DialectKind, Form, PayloadRef};
use roost_hub::{ChannelId, Publish as HubPublish, PublishTo, Subscriber};
use roost_net::ConnKey;
use roost_wire::CloseCode;

use crate::conn::{Flags, Phase};
use crate::core::Core;
use crate::settings::Publish;

/// A publication on its way to the hub.
struct Publication<'a> {
    payload: PayloadRef<'a>,
    exclude_publisher: bool,
    ack: Option<u64>,
}

impl Core {
    /// Has the connection's dialect draw its commands from a message, and carries them out.
    pub(crate) fn handle_data(&mut self, key: ConnKey, message: Message<'_>) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        let (dialect, session) = (conn.dialect, conn.session);
        if !conn.flags.has(Flags::HAS_REST) {
            let left = self.draw_commands(key, dialect, session, message);
            if !left.is_empty() {
                self.keep_rest(key, left.to_vec());
            }
            return;
        }
        let mut bytes = self.take_rest(key.slot()).unwrap_or_default();
        bytes.extend_from_slice(message.bytes());
        let message = Message::Binary(&bytes);
        let left = self.draw_commands(key, dialect, session, message).len();
        if left > 0 {
            bytes.drain(..bytes.len() - left);
            self.keep_rest(key, bytes);
        }
    }

    /// Carries out a message's commands, but for the hub's outputs of the last one. Returns what the
    /// dialect wants before the next message.
    fn draw_commands<'a>(
        &mut self,
        key: ConnKey,
        dialect: DialectKind,
        session: Session,
        message: Message<'a>,
    ) -> &'a [u8] {
        let mut input = Input::new(message);
        loop {
            let mut cx = Context {
                replies: &mut self.replies,
                new_id: &mut || self.rng.next_id(),
            };
            let command = self.dialects.next(dialect, session, &mut input, &mut cx);
            if !self.replies.is_empty() {
                self.send_replies(key.slot());
            }
            let Some(command) = command else {
                return input.bytes();
            };
            self.carry_out(key, command);
            if input.is_empty() {
                return &[];
            }
            self.apply_hub_outputs();
            let conn = self.table.get(key);
            if conn.is_none_or(|conn| conn.phase != Phase::Open) {
                return &[]; // the command has closed it
            }
        }
    }

    /// Keeps what is not a whole command yet.
    fn keep_rest(&mut self, key: ConnKey, rest: Vec<u8>) {
        if rest.len() > self.settings.limits.message_bytes_max {
            return self.fail(key, CloseCode::TOO_BIG, "command too long");
        }
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        if conn.phase != Phase::Open {
            return;
        }
        self.inputs.keep_rest(key.slot(), conn, rest);
    }

    fn carry_out(&mut self, key: ConnKey, command: Command<'_>) {
        match command {
            Command::Send(message) => self.send_back(key, message),
            Command::Publish {
                channel,
                payload,
                exclude_me,
                ack,
            } => match channel {
                Target::Joined(channel) => {
                    self.publish_joined(key, channel, payload, exclude_me, ack);
                }
                Target::Name(name) => self.publish_named(key, &name, payload, exclude_me, ack),
            },
            Command::Subscribe {
                channel,
                form,
                token,
            } => self.subscribe(key, channel, form, token),
            Command::Unsubscribe {
                channel,
                form,
                token,
            } => {
                if let Some(conn) = self.table.get(key) {
                    let encoding = conn.framing.encoding(form);
                    self.unsubscribe(Subscriber(key.slot()), encoding, channel);
                }
                self.notify_dialect(key, Event::Unsubscribed { token });
            }
            Command::Close { code, reason } => self.start_close(key, code, reason),
        }
    }

    fn send_back(&mut self, key: ConnKey, message: Message<'_>) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        let (opcode, payload) = (message.opcode(), message.bytes());
        let (framing, codec) = (conn.framing, &mut self.codec);
        if payload.len() <= COPY_BYTES_MAX {
            self.turn_output.enqueue_owned(key.slot(), conn, |arena| {
                codec.append_message(arena, framing, opcode, payload);
            });
        } else {
            let frame = codec.freeze_for(framing, opcode, payload);
            let frame = self.turn_output.share(&frame, None);
            self.turn_output.enqueue(key.slot(), conn, frame);
        }
    }

    /// Publishes on the channel that the connection joined when it was accepted.
    fn publish_joined(
        &mut self,
        key: ConnKey,
        channel: ChannelId,
        payload: PayloadRef<'_>,
        exclude_me: Option<bool>,
        ack: Option<u64>,
    ) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        let flags = conn.flags;
        if !flags.has(Flags::MAY_PUBLISH) {
            return self.refuse_publish(key, ack, Refusal::NotAllowed);
        }
        let publication = Publication {
            payload,
            exclude_publisher: exclude_me.unwrap_or(!flags.has(Flags::RECEIVES_OWN)),
            ack,
        };
        self.publish(key, PublishTo::Channel(channel), publication);
    }

    fn publish_named(
        &mut self,
        key: ConnKey,
        name: &str,
        payload: PayloadRef<'_>,
        exclude_me: Option<bool>,
        ack: Option<u64>,
    ) {
        // Where it is subscribed to here, its record knows the rest.
        let known = self.hub.channel(name);
        let target = known.map_or(PublishTo::Name(name), PublishTo::Channel);
        let policy = self.settings.channels.policy(self.namespace_of(target));
        let is_allowed = match policy.publish {
            Publish::Anyone => true,
            Publish::Nobody => false,
            Publish::Subscribers => known.is_some_and(|channel| self.is_subscribed(key, channel)),
        };
        if !is_allowed {
            return self.refuse_publish(key, ack, Refusal::NotAllowed);
        }
        let publication = Publication {
            payload,
            exclude_publisher: exclude_me.unwrap_or(!policy.receive_own),
            ack,
        };
        self.publish(key, target, publication);
    }

    fn publish(&mut self, key: ConnKey, target: PublishTo<'_>, publication: Publication<'_>) {
        let publish = HubPublish {
            target,
            publisher: key.to_bits(),
            exclude_publisher: publication.exclude_publisher,
            ack: publication.ack,
            payload: publication.payload.freeze(),
        };
        match self.hub_publish(publish) {
            Ok(()) => self.after_publish(key, target, publication.payload.size()),
            Err(error) => {
                debug_assert!(
                    matches!(target, PublishTo::Name(_)),
                    "{error:?}: an open connection is subscribed to the channel it joined"
                );
                self.refuse_publish(key, publication.ack, Refusal::InvalidName);
            }
        }
    }

    fn refuse_publish(&mut self, key: ConnKey, token: Option<u64>, refusal: Refusal) {
        self.counters.publishes_refused_total.inc();
        let request = Request::Publish;
        self.notify_dialect(
            key,
            Event::Refused {
                request,
                token,
                refusal,
            },
        );
    }

    fn is_subscribed(&self, key: ConnKey, channel: ChannelId) -> bool {
        let conn = self.table.get(key);
        conn.is_some_and(|conn| {
            self.dialects
                .is_subscribed(conn.dialect, conn.session, channel)
        })
    }

    fn subscribe(&mut self, key: ConnKey, channel: Cow<'_, str>, form: Form, token: u64) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        let (who, encoding) = (Subscriber(key.slot()), conn.framing.encoding(form));
        let subscribed = if self.settings.channels.of(&channel).subscribe {
            self.hub_subscribe(who, encoding, &channel, token)
                .map_err(|_| Refusal::NoRoom)
        } else {
            Err(Refusal::NotAllowed)
        };
        let event = match subscribed {
            Ok(channel) => Event::Subscribing { channel, form },
            Err(refusal) => {
                self.counters.subscriptions_refused_total.inc();
                Event::Refused {
                    request: Request::Subscribe,
                    token: Some(token),
                    refusal,
                }
            }
        };
        self.notify_dialect(key, event);
    }

    /// Tells a connection's dialect what has happened, and sends what it says to that.
    pub(crate) fn notify_dialect(&mut self, key: ConnKey, event: Event<'_>) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        let (dialect, session) = (conn.dialect, conn.session);
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut || self.rng.next_id(),
        };
        let next = self.dialects.on(dialect, session, event, &mut cx);
        self.send_replies(key.slot());
        if let Next::Close { code, reason } = next {
            self.start_close(key, code, reason);
        }
    }

    /// Sends what a dialect has written.
    fn send_replies(&mut self, slot: u32) {
        if self.replies.is_empty() {
            return;
        }
        // Behind a close frame or a FIN nothing is said any more: an answer may come late.
        let Some(conn) = self
            .table
            .at_mut(slot)
            .filter(|conn| conn.phase == Phase::Open)
        else {
            return self.replies.clear();
        };
        conn.last_message = self.now;
        let (framing, codec, tick) = (conn.framing, &mut self.codec, &mut self.turn_output);
        self.replies.drain(|opcode, payload| {
            tick.enqueue_owned(slot, conn, |arena| {
                codec.append_message(arena, framing, opcode, payload);
            });
        });
    }

    /// What a connection's dialect says to an event, framed, for a connection whose output is
    /// blocked: it goes behind what waits. Empty, if it says nothing.
    pub(crate) fn framed_replies(&mut self, key: ConnKey, event: Event<'_>) -> Vec<u8> {
        let mut framed = Vec::new();
        let Some(conn) = self.table.get(key) else {
            return framed;
        };
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut || self.rng.next_id(),
        };
        self.dialects.on(conn.dialect, conn.session, event, &mut cx);
        let (framing, codec) = (conn.framing, &mut self.codec);
        self.replies.drain(|opcode, payload| {
            codec.append_message(&mut framed, framing, opcode, payload);
        });
        framed
    }

    /// Ends all subscriptions of a connection.
    pub(crate) fn leave_channels(&mut self, slot: u32) {
        let Some(conn) = self.table.at_mut(slot) else {
            return;
        };
        let (dialect, framing, mut session) = (conn.dialect, conn.framing, conn.session);
        while let Some((channel, form)) = self.dialects.pop_subscription(dialect, &mut session) {
            self.unsubscribe(Subscriber(slot), framing.encoding(form), channel);
        }
        if let Some(conn) = self.table.at_mut(slot) {
            conn.session = session;
        }
    }

    /// Frees what its dialect keeps of a connection that has ended.
    pub(crate) fn close_session(&mut self, slot: u32) {
        if let Some(conn) = self.table.at_mut(slot) {
            let session = std::mem::replace(&mut conn.session, Session::NONE);
            self.dialects.close(conn.dialect, session);
        }
    }
}

/// Longer messages are sent back from memory of their own, which the driver can hold by reference: a
/// copy less where it must hold on to them.
const COPY_BYTES_MAX: usize = 4 << 10;
