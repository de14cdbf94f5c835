//! The body of the fuzz target, which ordinary tests run too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roost_access::Provider;
use roost_hub::{
    ChannelId, EventIds, Loss, Member, Position, PresenceCounts, PresenceView, ReactorId, Snapshot,
    Subscriber,
};
use roost_wire::Opcode;
use serde_json::Value;

use super::protobuf::wire::{Value as Field, each_field, take_delimited};
use super::{Centrifugo, Settings, Transport, emulation};
use crate::dialect::{
    Admission, Command, Context, Dialect, Event, HistoryPage, HistoryRefusal, Input, Message, Next,
    Recovered, Recovers, RpcAnswer, Session, SubscribeTo, Target, Terms, TokenOutcome,
    TokenRefusal,
};
use crate::fuzz::records;
use crate::{Form, PayloadRef, Replies, check_channel_name};

/// A session fed with `data`, once from the start and once after it has connected; a model of a
/// broker answers its commands. U+0001 stands between messages. The length says what the session is told by.
/// The same as what a client without a WebSocket sends.
pub fn session(data: &[u8]) {
    said(data);
    let transport = [Transport::WebSocket, Transport::HttpStream, Transport::Sse][data.len() % 3];
    let Ok(text) = str::from_utf8(data) else {
        let mut peer = Peer::new(transport);
        peer.feed(Message::Binary(data));
        return;
    };
    for prelude in [None, Some(CONNECT)] {
        let mut peer = Peer::new(transport);
        for message in prelude.into_iter().chain(text.split('\u{1}')) {
            peer.feed(Message::Text(message));
        }
        peer.end();
    }
}

/// The same in Protobuf; each message has its length, of two bytes, before it.
pub fn protobuf_session(data: &[u8]) {
    said(data);
    let transport = [Transport::Protobuf, Transport::ProtobufStream][data.len() % 2];
    for prelude in [None, Some(CONNECT_PROTOBUF)] {
        let mut peer = Peer::new(transport);
        for message in prelude.into_iter().chain(records(data)) {
            peer.feed(Message::Binary(message));
        }
        peer.end();
    }
}

/// What was read of a body says the same when it is written and read again.
fn said(data: &[u8]) {
    if let Some(said) = emulation::parse(data) {
        let Message::Text(lines) = said.message() else {
            panic!("JSON is text");
        };
        let body = serde_json::json!({"session": said.session(), "data": lines});
        let body = body.to_string();
        let again = emulation::parse(body.as_bytes()).expect("it is one");
        assert_eq!(
            (again.session(), again.message()),
            (said.session(), said.message())
        );
    }
    if let Some(said) = emulation::parse_protobuf(data) {
        let (session, message) = (said.session(), said.message().bytes());
        assert!(session.len() + message.len() <= data.len());
    }
}

struct Peer {
    transport: Transport,
    /// Commands in a row that took nothing of the input.
    redrawn: u32,
    dialect: Centrifugo,
    session: Session,
    /// The channels' numbers.
    channels: BTreeMap<String, ChannelId>,
    /// What is subscribed to, and what is about to be: with the command's token.
    subscribed: BTreeMap<ChannelId, Vec<u64>>,
    /// Tokens of those that want what was before.
    recovering: BTreeSet<u64>,
    replies: Replies,
    ids: u64,
    is_closed: bool,
}

impl Peer {
    fn new(transport: Transport) -> Peer {
        let mut dialect = Centrifugo::new(Arc::new(Settings {
            enabled: true,
            subscriptions_per_connection_max: 4,
            channel_name_bytes_max: NAME_BYTES_MAX,
            ping_interval_s: 25,
            personal_channels: false,
        }));
        let terms = Terms {
            number: transport.number(),
            header: None,
        };
        let session = dialect.open(None, terms, None);
        Peer {
            transport,
            redrawn: 0,
            dialect,
            session,
            channels: BTreeMap::new(),
            subscribed: BTreeMap::new(),
            recovering: BTreeSet::new(),
            replies: Replies::default(),
            ids: 0,
            is_closed: false,
        }
    }

    fn feed(&mut self, message: Message<'_>) {
        let mut input = Input::new(message);
        let mut left = input.bytes().len() + 1;
        while !self.is_closed && !input.is_empty() {
            let (ids, mut cx) = (&mut self.ids, Vec::new());
            let mut new_id = || {
                *ids += 1;
                *ids
            };
            let mut context = Context {
                replies: &mut self.replies,
                new_id: &mut new_id,
            };
            let command = self.dialect.next(self.session, &mut input, &mut context);
            self.check_replies(&mut cx);
            let is_check = matches!(
                command,
                Some(
                    Command::CheckToken(_)
                        | Command::CheckSubscription(..)
                        | Command::AwaitSubscriptions
                        | Command::Unsubscribe { .. }
                        | Command::Subscribe { grant: Some(_), .. }
                )
            );
            self.redrawn = if is_check { self.redrawn + 1 } else { 0 };
            assert!(self.redrawn < 1000, "a command is over some time");
            let now_left = input.bytes().len();
            assert!(
                now_left < left || is_check,
                "each command takes of the input"
            );
            left = if is_check { now_left + 1 } else { now_left };
            match command {
                Some(command) => self.carry_out(command),
                None => assert!(input.is_empty() || cx.is_empty(), "the message is used up"),
            }
        }
    }

    fn carry_out(&mut self, command: Command<'_>) {
        match command {
            Command::CheckToken(token) => {
                let token = token.map(|token| token.0.into_owned());
                self.tell(Event::TokenChecked(&outcome_of(token.as_deref())));
            }
            Command::Rpc {
                method,
                data,
                token,
            } => {
                self.answer_rpc(&method, data.as_deref(), token);
            }
            Command::AskPresence {
                channel,
                counts_only,
                token,
            } => {
                assert_eq!(check_channel_name(&channel, NAME_BYTES_MAX), Ok(()));
                let view = &view_of(&channel, counts_only);
                self.tell(Event::Presence { token, view });
            }
            Command::AwaitSubscriptions => self.end_wait(),
            Command::Unsubscribe { channel, token, .. } => {
                self.subscribed.remove(&channel);
                self.tell(Event::Unsubscribed { token });
            }
            Command::Publish { .. } => self.publish(command),
            Command::CheckSubscription(token, channel) => {
                assert_eq!(check_channel_name(&channel, NAME_BYTES_MAX), Ok(()));
                self.tell(Event::TokenChecked(&outcome_of(Some(&token.0))));
            }
            Command::RefreshGrant {
                channel,
                grant,
                token,
            } => {
                let existed = self.channels.contains_key(&*channel);
                self.tell(Event::GrantRefreshed {
                    token,
                    existed,
                    grant,
                });
            }
            Command::Subscribe {
                what, form, token, ..
            } => self.subscribe(what, form, token),
            Command::UnsubscribeFrom { channel, token, .. } => self.unsubscribe(&channel, token),
            Command::ReadHistory(read) => {
                assert_eq!(check_channel_name(&read.channel, NAME_BYTES_MAX), Ok(()));
                self.answer_history(read.limit == 0, read.token);
            }
            Command::Close { reason, .. } => {
                assert!(
                    reason.len() <= 123,
                    "RFC 6455 §5.5: a close reason is short"
                );
                self.is_closed = true;
            }
            other => panic!("it does not ask for {other:?}"),
        }
    }

    /// Subscribes, and confirms it unless the channel's home answers late.
    fn subscribe(&mut self, what: SubscribeTo<'_>, form: Form, token: u64) {
        let (name, recovers) = match what {
            SubscribeTo::Channel(name) => (name, false),
            SubscribeTo::Behind(name, _, _) => (name, true),
            _ => panic!("there are no patterns"),
        };
        assert_eq!(check_channel_name(&name, NAME_BYTES_MAX), Ok(()));
        let next = u32::try_from(self.channels.len()).expect("few");
        let known = self.channels.entry(name.clone().into_owned());
        let channel = *known.or_insert(ChannelId(next));
        self.subscribed.entry(channel).or_default().push(token);
        if recovers {
            self.recovering.insert(token);
        }
        self.tell(Event::Subscribing {
            token,
            channel,
            form,
        });
        // Some homes answer late.
        if !name.starts_with('l') {
            self.confirm(channel);
        }
    }

    /// All homes answer that have not yet, and the session's channels are told where they stand.
    fn end_wait(&mut self) {
        self.tell(Event::SubscriptionsAwaited);
        let channels: Vec<ChannelId> = self.subscribed.keys().copied().collect();
        for &channel in &channels {
            self.confirm(channel);
        }
        // Every other time one has moved on.
        let offset = POSITION.offset + u64::from(self.redrawn % 2);
        let at = Position { offset, ..POSITION };
        let positions: Vec<_> = channels.into_iter().map(|channel| (channel, at)).collect();
        let positions = &positions;
        self.tell(Event::WaitEnded { positions });
    }

    /// The dialect and this model have the same subscriptions: one of them ends, if there is one.
    fn unsubscribe(&mut self, channel: &str, token: u64) {
        let channel = self.channels.get(channel).copied();
        let channel = channel.filter(|&it| self.dialect.is_subscribed(self.session, it));
        let known = channel.and_then(|channel| self.subscribed.remove(&channel));
        assert_eq!(
            known.is_some(),
            channel.is_some(),
            "the same is subscribed to"
        );
        self.tell(Event::UnsubscribedFrom { token, channel });
    }

    /// One page of a channel's history, or a refusal.
    fn answer_history(&mut self, is_refused: bool, token: u64) {
        let page = HistoryPage {
            position: POSITION,
            publications: vec![(7, PayloadRef::Text("x").freeze())],
            has_more: false,
            newest_ends_in_ms: None,
        };
        let answer = match is_refused {
            true => Err(HistoryRefusal::NotKept),
            false => Ok(&page),
        };
        self.tell(Event::History { token, answer });
    }

    fn publish(&mut self, command: Command<'_>) {
        let Command::Publish {
            channel,
            payload,
            ack,
            ..
        } = command
        else {
            return;
        };
        let Target::Name(channel) = channel else {
            panic!("a publish names its channel");
        };
        assert_eq!(check_channel_name(&channel, NAME_BYTES_MAX), Ok(()));
        match payload {
            PayloadRef::Json(data) => {
                let value = serde_json::from_str::<Value>(data);
                assert!(value.is_ok() || data.len() > 256, "{data:?} is a value");
            }
            PayloadRef::Binary(data) => {
                assert!(self.transport.is_protobuf(), "{data:?} is no JSON");
                assert!(!data.is_empty() && serde_json::from_slice::<Value>(data).is_err());
            }
            other => panic!("it publishes {other:?}"),
        }
        let token = ack.expect("each publish is answered");
        self.tell(Event::Published {
            token,
            publication: 1,
        });
    }

    fn answer_rpc(&mut self, method: &str, data: Option<&str>, token: u64) {
        assert!(method.len() <= 255);
        let is_json = |data| serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok();
        assert!(data.is_none_or(|data| is_json(data) || data.len() > 256));
        let answer = match data {
            Some(data) if data.len() < 64 => RpcAnswer::Result(Some(data.into())),
            Some(_) => RpcAnswer::Unavailable,
            None => RpcAnswer::Result(None),
        };
        self.tell(Event::RpcAnswered {
            token,
            answer: &answer,
        });
    }

    fn confirm(&mut self, channel: ChannelId) {
        let waiting = self.subscribed.get_mut(&channel).map(std::mem::take);
        for token in waiting.into_iter().flatten() {
            let publication = PayloadRef::Json("[1]").freeze();
            let ids = EventIds {
                topic: 1,
                publication: 1,
                offset: 7,
            };
            let form = self.transport.number();
            let missed = [(7, Centrifugo::encode_recovered(form, &publication, ids))];
            let recovery = match token % 3 {
                _ if !self.recovering.remove(&token) => None,
                0 => Some(Recovered::Lost(Loss::TooOld)),
                1 => Some(Recovered::Publications(&[])),
                _ => Some(Recovered::Publications(&missed)),
            };
            let recovers = match recovery {
                Some(_) => Recovers::Stream,
                None => Recovers::Nothing,
            };
            self.tell(Event::Subscribed {
                token,
                channel,
                topic: 1,
                snapshot: Snapshot { position: POSITION },
                recovers,
                recovery,
            });
            // It was too slow, now and then.
            if token % 5 == 4 {
                let name = "x";
                self.tell(Event::Missed { channel, name });
            }
        }
    }

    fn tell(&mut self, event: Event<'_>) {
        let mut new_id = || 1;
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut new_id,
        };
        let next = self.dialect.on(self.session, event, &mut cx);
        match next {
            Next::Continue => {}
            Next::Unsubscribe { channel, .. } => drop(self.subscribed.remove(&channel)),
            Next::EndWait => {}
            Next::CacheMissed { .. } | Next::AwaitAuthentication => panic!("that is Pusher's"),
            // The server has made the subscription that has missed something.
            Next::Close { code, .. } if code.get() == 3010 => self.is_closed = true,
            Next::Close { .. } => panic!("no answer of the broker closes"),
        }
        self.check_replies(&mut Vec::new());
    }

    /// Replies are objects, one a line, or messages, each behind its length.
    fn check_replies(&mut self, said: &mut Vec<u64>) {
        if self.transport.is_protobuf() {
            return self.check_messages(said);
        }
        self.replies.drain(|opcode, bytes| {
            assert_eq!(opcode, Opcode::Text);
            let text = str::from_utf8(bytes).expect("a text message is UTF-8");
            let end = str::from_utf8(self.transport.end()).expect("ASCII");
            let separator = str::from_utf8(self.transport.separator()).expect("ASCII");
            let prefix = str::from_utf8(self.transport.prefix()).expect("ASCII");
            let lines = text
                .strip_suffix(end)
                .expect("it ends as the stream has it");
            for line in lines.split(separator) {
                let line = line.strip_prefix(prefix).expect("it begins so");
                assert!(!line.contains('\n'), "{line:?} is one line");
                assert!(line.len() <= LINE_BYTES_MAX, "{line}");
                let reply: Value = serde_json::from_str(line).expect("a reply is JSON");
                if reply["push"]["unsubscribe"]["code"] == 2500 {
                    continue;
                }
                let id = reply["id"].as_u64().expect("a reply has a number");
                assert!((1..u64::from(u32::MAX)).contains(&id), "{line}");
                said.push(id);
            }
        });
    }

    fn check_messages(&mut self, said: &mut Vec<u64>) {
        self.replies.drain(|opcode, mut bytes| {
            assert_eq!(opcode, Opcode::Binary);
            assert!(!bytes.is_empty(), "a message has replies");
            while !bytes.is_empty() {
                let reply = take_delimited(&mut bytes).expect("replies are whole");
                assert!(reply.len() <= LINE_BYTES_MAX, "{reply:?}");
                let (mut id, mut results) = (0, Vec::new());
                let read = each_field(reply, |field, value| {
                    match value {
                        Field::Varint(number) if field == 1 => id = number,
                        Field::Bytes(_) => results.push(field),
                        other => panic!("field {field} is {other:?}"),
                    }
                    Ok(())
                });
                assert_eq!(read, Ok(()), "{reply:?}");
                let [result] = results[..] else {
                    panic!("{results:?} in {reply:?}");
                };
                match result {
                    4 => assert_eq!(id, 0, "a push"),
                    2 | 5..=11 | 13..=15 => said.push(id),
                    other => panic!("there is no result {other}"),
                }
                assert!((result == 4) == (id == 0) && id < u64::from(u32::MAX));
            }
        });
    }

    /// Late homes answer, and the connection ends.
    fn end(&mut self) {
        let channels: Vec<ChannelId> = self.subscribed.keys().copied().collect();
        for channel in channels {
            self.confirm(channel);
        }
        let state = self.dialect.export(self.session);
        self.session = self.dialect.import(state.clone());
        assert_eq!(self.dialect.export(self.session), state);
        self.session = self.dialect.import(state);
        let mut popped = Vec::new();
        while let Some((channel, _)) = self.dialect.pop_subscription(&mut self.session) {
            popped.push(channel);
        }
        popped.sort_unstable();
        let expected: Vec<ChannelId> = self.subscribed.keys().copied().collect();
        assert_eq!(popped, expected, "all is left that was subscribed to");
        self.dialect.close(self.session);
    }
}

const CONNECT: &str = r#"{"id":1,"connect":{}}"#;
const CONNECT_PROTOBUF: &[u8] = b"\x04\x08\x01\x22\x00";
const NAME_BYTES_MAX: usize = 64;
const POSITION: Position = Position {
    epoch: 1,
    offset: 7,
};
/// A reply does not grow with what is asked; that to `connect` has some subscriptions.
const LINE_BYTES_MAX: usize = 1024;

/// What a model of a channel's home says: one member, of every other channel.
fn view_of(channel: &str, counts_only: bool) -> PresenceView {
    let counts = PresenceCounts {
        clients: 1,
        users: 1,
        has_anonymous: false,
    };
    let member = Member {
        client: 7,
        user: "u\"".into(),
        info: None,
        who: Subscriber(1),
        generation: 0,
        reactor: ReactorId(0),
    };
    PresenceView {
        counts,
        is_truncated: channel.len() % 2 == 1,
        members: match counts_only || channel.len() % 2 == 1 {
            true => [].into(),
            false => [member].into(),
        },
        told: 0,
    }
}

/// What a model of the token's check says.
fn outcome_of(token: Option<&str>) -> TokenOutcome {
    match token {
        Some("bad") => Err(TokenRefusal::Invalid),
        Some("old") => Err(TokenRefusal::Expired),
        Some("late") => Err(TokenRefusal::Unavailable),
        Some("many") => Err(TokenRefusal::TooMany),
        Some(user) => Ok(Admission {
            user: user.into(),
            expires_in_s: Some(60),
            provider: Provider::Jwt,
            // One of them cannot be, and one home answers late.
            subscriptions: match user.starts_with("subs") {
                true => ["a", "late", ""].map(Into::into).into(),
                false => Arc::default(),
            },
            info: user.ends_with('i').then(|| r#"{"a":"b"}"#.into()),
        }),
        None => Ok(Admission {
            user: "".into(),
            expires_in_s: None,
            provider: Provider::Static,
            subscriptions: Arc::default(),
            info: None,
        }),
    }
}
