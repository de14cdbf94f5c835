//! The body of the fuzz target, which ordinary tests run too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roost_access::Secret;
use roost_auth::{PusherApp, PusherKey};
use roost_hub::{
    ChannelId, EventIds, Member, MemberInfo, Position, PresenceCounts, PresenceView, ReactorId,
    Snapshot, Subscriber,
};
use serde_json::Value;

use super::request::{self, Request};
use super::{EventLimits, Kind, Pusher, Settings, parse_socket_id, socket_id};
use crate::dialect::{
    Command, Context, Dialect, Event, Input, Message, Next, Recovered, Recovers, Session,
    SubscribeTo, Target, Terms,
};
use crate::{Form, PayloadRef, Replies, check_channel_name};

/// A session of each of two applications fed with `data`; a model of a broker answers its commands. U+0001
/// stands between messages. Where a signature is `@`, the right one takes its place.
pub fn session(data: &[u8]) {
    for app in [0, 1] {
        let mut peer = Peer::new(app);
        match str::from_utf8(data) {
            Ok(text) => {
                for message in text.split('\u{1}') {
                    let signed = peer.sign(message);
                    peer.feed(Message::Text(&signed));
                }
            }
            Err(_) => peer.feed(Message::Binary(data)),
        }
        peer.end();
    }
}

struct Peer {
    dialect: Pusher,
    app: PusherApp,
    session: Session,
    client: u64,
    channels: BTreeMap<String, ChannelId>,
    subscribed: BTreeSet<ChannelId>,
    replies: Replies,
    ids: u64,
    /// What the session was told of last.
    told: Vec<Value>,
    is_closed: bool,
}

impl Peer {
    fn new(app: u8) -> Peer {
        let apps = apps();
        let mut dialect = Pusher::new(Arc::new(Settings {
            enabled: true,
            apps: apps.clone().into(),
            activity_timeout_s: 120,
            client_events_per_second_max: 10,
            client_event_bytes_max: 64,
            members_per_channel_max: 2,
            member_bytes_max: 64,
            subscriptions_per_connection_max: 4,
            channel_name_bytes_max: NAME_BYTES_MAX,
            events: EventLimits::default(),
        }));
        let terms = Terms {
            number: app,
            header: None,
        };
        let session = dialect.open(None, terms, None);
        let mut peer = Peer {
            dialect,
            app: apps[usize::from(app)].clone(),
            session,
            client: 0,
            channels: BTreeMap::new(),
            subscribed: BTreeSet::new(),
            replies: Replies::default(),
            ids: u64::from(app) << 30,
            told: Vec::new(),
            is_closed: false,
        };
        peer.tell(Event::Greeting);
        let established: Value = data_of(&peer.told[0]);
        let id = established["socket_id"].as_str().expect("a socket id");
        peer.client = parse_socket_id(id).expect("a number");
        assert_eq!(peer.dialect.client(session), Some(peer.client));
        peer
    }

    /// A message with the signature that it wants.
    fn sign(&self, message: &str) -> String {
        let id = socket_id(self.client);
        let (key, signing) = (&self.app.key, &self.app.signing);
        match request::parse(message) {
            Ok(Request::Subscribe(one)) if one.auth.as_deref() == Some("@") => {
                let data = one.channel_data.as_deref();
                let signature = signing.sign_channel(&id, &one.channel, data);
                message.replace("\"@\"", &format!("\"{key}:{signature}\""))
            }
            Ok(Request::SignIn(one)) if one.auth == "@" => {
                let signature = signing.sign_user(&id, &one.user_data);
                message.replace("\"@\"", &format!("\"{key}:{signature}\""))
            }
            _ => message.to_owned(),
        }
    }

    fn feed(&mut self, message: Message<'_>) {
        if self.is_closed {
            return;
        }
        let mut input = Input::new(message);
        let (ids, replies) = (&mut self.ids, &mut self.replies);
        let mut context = Context {
            replies,
            new_id: &mut || next_id(ids),
        };
        let command = self.dialect.next(self.session, &mut input, &mut context);
        assert!(input.is_empty(), "a message is one command at most");
        self.check_replies();
        if let Some(command) = command {
            self.carry_out(command);
        }
    }

    fn carry_out(&mut self, command: Command<'_>) {
        match command {
            Command::Subscribe {
                what,
                form,
                token,
                grant,
            } => self.subscribe(what, form, token, grant.is_some()),
            Command::UnsubscribeFrom { channel, form, .. } => {
                assert_eq!(form, self.form());
                self.check_name(&channel);
                let channel = self.channels.get(&*channel).copied();
                let channel = channel.filter(|channel| self.subscribed.remove(channel));
                self.tell(Event::UnsubscribedFrom { token: 0, channel });
            }
            Command::Publish {
                channel,
                payload,
                exclude_me,
                details,
                ..
            } => {
                let Target::Subscribed(channel) = channel else {
                    panic!("it publishes where it is subscribed");
                };
                let kind = self.check_name(&channel);
                assert!(kind.takes_client_events() && self.app.client_events);
                assert_eq!(exclude_me, Some(true), "a client never gets its own event");
                assert!(payload.size() <= 64);
                let details = details.expect("it has a name");
                let event = details.event.as_deref().expect("it has a name");
                assert!(event.starts_with("client-"));
                let publication = payload.freeze().with_details(Some(details.clone()));
                let frame = Pusher::encode(self.place(), &publication, IDS, &channel);
                let written = frame.payload().expect("one frame");
                let written: Value = serde_json::from_slice(written).expect("JSON");
                assert_eq!(written["event"], event);
                assert_eq!(written["channel"], channel[self.app.prefix.len()..]);
                assert!(written["data"].is_string());
            }
            Command::Identify(identity) => {
                let user = identity.user.strip_prefix(&*self.app.prefix);
                assert!(user.is_some_and(|user| !user.is_empty()));
            }
            Command::Close { code, reason } => {
                assert!((4000..4300).contains(&code.get()) && reason.len() <= 123);
                self.is_closed = true;
            }
            other => panic!("it does not ask for {other:?}"),
        }
    }

    fn subscribe(&mut self, what: SubscribeTo<'_>, form: Form, token: u64, is_granted: bool) {
        assert_eq!(form, self.form());
        let (name, wants) = match what {
            SubscribeTo::Channel(name) => (name, false),
            SubscribeTo::Since(name, _) => (name, true),
            other => panic!("it does not ask for {other:?}"),
        };
        let kind = self.check_name(&name);
        assert!(is_granted || !kind.is_private, "{name} wants a signature");
        assert_eq!(wants, kind.is_cached || kind.has_members);
        assert!(self.subscribed.len() < 4, "there is a limit");
        let joins = self.dialect.joins_as(self.session);
        assert_eq!(joins.is_some(), kind.has_members);
        let next = ChannelId(u32::try_from(self.channels.len()).expect("few"));
        let known = self.channels.entry(name.clone().into_owned());
        let channel = *known.or_insert(next);
        let is_new = self.subscribed.insert(channel);
        self.tell(Event::Subscribing {
            token,
            channel,
            form,
        });
        let recovered = self.recovered(&name);
        let recovery = (wants && is_new).then_some(Recovered::Publications(&recovered));
        self.tell(Event::Subscribed {
            token,
            channel,
            topic: 1,
            snapshot: SNAPSHOT,
            recovers: Recovers::default(),
            recovery,
        });
        if kind.has_members {
            let view = view_of(&name);
            let view = &view;
            self.tell(Event::Presence { token, view });
        }
        if kind.has_members || !self.dialect.is_subscribed(self.session, channel) {
            let told = |number| {
                let change = ("42", number);
                self.dialect.is_told_of_user(self.session, channel, change)
            };
            let is_in = self.dialect.is_subscribed(self.session, channel);
            assert!(
                is_in || !told(8),
                "it is told of those alone that it is with"
            );
            assert!(!told(7), "what it was answered with has that");
        }
        if self.dialect.is_told_of_members(self.session, channel) {
            let is_in = self.dialect.is_subscribed(self.session, channel);
            assert!(
                is_in && !kind.has_members,
                "it counts those that are with it"
            );
        }
    }

    /// What a channel remembers: some remember nothing.
    fn recovered(&self, name: &str) -> Vec<(u64, roost_wire::Frozen)> {
        if name.len().is_multiple_of(2) {
            return Vec::new();
        }
        let publication = PayloadRef::Text("last").freeze();
        vec![(1, Pusher::encode_recovered(self.place(), &publication, IDS))]
    }

    fn check_name(&self, name: &str) -> Kind {
        assert_eq!(check_channel_name(name, NAME_BYTES_MAX), Ok(()));
        let channel = name.strip_prefix(&*self.app.prefix);
        let channel = channel.expect("its own channels, and no others");
        let is_others = self.app.prefix.is_empty() && channel.starts_with("shop:");
        assert!(!is_others, "{name} is another application's");
        Kind::of(channel)
    }

    fn form(&self) -> Form {
        match self.app.prefix.is_empty() {
            true => Form::PUSHER,
            false => Form::PUSHER_PREFIXED,
        }
    }

    fn place(&self) -> u8 {
        u8::from(!self.app.prefix.is_empty())
    }

    fn tell(&mut self, event: Event<'_>) {
        let (ids, replies) = (&mut self.ids, &mut self.replies);
        let mut context = Context {
            replies,
            new_id: &mut || next_id(ids),
        };
        let next = self.dialect.on(self.session, event, &mut context);
        self.check_replies();
        match next {
            Next::Continue | Next::EndWait | Next::AwaitAuthentication => {}
            Next::CacheMissed { channel } => assert!(self.subscribed.contains(&channel)),
            Next::Close { .. } => self.is_closed = true,
            Next::Unsubscribe { channel, .. } => {
                assert!(self.subscribed.remove(&channel), "it was subscribed");
            }
        }
    }

    /// Each answer is a JSON object with an event; its data is a string, but for errors and `cache_miss`.
    fn check_replies(&mut self) {
        let told = &mut self.told;
        told.clear();
        self.replies.drain(|_, bytes| {
            let value: Value = serde_json::from_slice(bytes).expect("JSON");
            let event = value["event"].as_str().expect("an event");
            let has_none = event.ends_with("error") || event == "pusher:cache_miss";
            assert_eq!(value["data"].is_string(), !has_none);
            told.push(value);
        });
    }

    /// The dialect and this model have the same subscriptions; what is handed over goes on.
    fn end(&mut self) {
        let state = self.dialect.export(self.session);
        self.session = self.dialect.import(state.clone());
        assert_eq!(self.dialect.export(self.session), state);
        self.session = self.dialect.import(state);
        let mut own = BTreeSet::new();
        self.dialect
            .each_subscription(self.session, &mut |channel| _ = own.insert(channel));
        assert_eq!(own, self.subscribed);
        let mut session = self.session;
        while let Some((channel, form)) = self.dialect.pop_subscription(&mut session) {
            assert_eq!(form, self.form());
            assert!(self.subscribed.remove(&channel), "each is taken out once");
        }
        assert!(self.subscribed.is_empty());
        self.dialect.close(session);
        self.dialect.shrink();
    }
}

fn next_id(ids: &mut u64) -> u64 {
    *ids += 1;
    *ids
}

fn apps() -> [PusherApp; 2] {
    [("key", ""), ("other", "shop:")].map(|(key, prefix)| PusherApp {
        id: key.into(),
        key: key.into(),
        signing: PusherKey::new(&Secret::from("secret".to_owned())),
        prefix: prefix.into(),
        enabled: true,
        client_events: true,
        authorized_connections: false,
    })
}

/// What is said of an event, of a message that has it in a string.
fn data_of(told: &Value) -> Value {
    let data = told["data"].as_str().expect("a string");
    serde_json::from_str(data).expect("JSON in it")
}

/// A few are there, or more than may be.
fn view_of(name: &str) -> PresenceView {
    let member = |client: u64, user: &str| Member {
        client,
        user: user.into(),
        info: Some(Arc::new(MemberInfo {
            connection: None,
            channel: Some("{\"a\":1}".into()),
            has_number: client.is_multiple_of(2),
        })),
        who: Subscriber(1),
        generation: 0,
        reactor: ReactorId(0),
    };
    let users = u32::try_from(name.len() % 4).expect("few");
    PresenceView {
        counts: PresenceCounts {
            clients: 2,
            users,
            has_anonymous: true,
        },
        is_truncated: name.ends_with('t'),
        members: [
            member(1, "10"),
            member(2, "11"),
            member(3, "10"),
            member(4, ""),
        ]
        .into(),
        told: 7,
    }
}

const IDS: EventIds = EventIds {
    topic: 1,
    publication: 1,
    offset: 1,
};
const SNAPSHOT: Snapshot = Snapshot {
    position: Position {
        epoch: 1,
        offset: 1,
    },
};
const NAME_BYTES_MAX: usize = 40;
