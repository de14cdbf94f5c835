//! Centrifugo's protocol: what a client is answered, line by line.

mod commands;
mod protobuf;
mod recovery;
mod served;
mod streams;

use std::sync::Arc;

use roost_access::{Denial, Operation, Provider};
use roost_dialect::centrifugo::{Centrifugo, PATH, Settings};
use roost_dialect::dialect::{
    Accept, Admission, Command, Context, Dialect, Event, Headers, HistoryPage, HistoryRefusal,
    Input, Message, Next, Offer, ReadHistory, Recovered, Recovers, Refusal, Request, RpcAnswer,
    Session, SubscribeTo, Terms, TokenOutcome, TokenRefusal,
};
use roost_dialect::{Arguments, Form, PayloadRef, Publication, PublishDetails, Replies, encode};
use roost_hub::{ChannelId, EventIds, Loss, Position, Snapshot};
use roost_wire::Opcode;

/// A session, and what it has said.
struct Client {
    dialect: Centrifugo,
    session: Session,
    replies: Replies,
    ids: u64,
    /// What the server thinks of tokens.
    outcome: TokenOutcome,
}

impl Client {
    fn new() -> Client {
        let mut dialect = Centrifugo::new(Arc::new(settings()));
        let session = dialect.open(None, Terms::default(), None);
        Client {
            dialect,
            session,
            replies: Replies::default(),
            ids: 0,
            outcome: Ok(anonymous()),
        }
    }

    /// One that has connected, as number 1.
    fn connected() -> Client {
        let mut client = Client::new();
        client.say(r#"{"id":1,"connect":{}}"#);
        client
    }

    /// Sends a message; returns what is asked for, and the lines of the answer. Tokens are checked.
    fn say(&mut self, text: &str) -> (Vec<String>, Vec<String>) {
        let (mut asked, mut said) = (Vec::new(), Vec::new());
        let mut input = Input::new(Message::Text(text));
        while !input.is_empty() {
            let command = self.next(&mut input, &mut said);
            match command {
                None => break,
                Some(Command::CheckToken(_)) => {
                    let outcome = self.outcome.clone();
                    let (next, _) = self.tell(Event::TokenChecked(&outcome));
                    assert_eq!(next, Next::Continue);
                }
                Some(command) => {
                    let closes = matches!(command, Command::Close { .. });
                    asked.push(shown(&command));
                    if closes {
                        break;
                    }
                }
            }
        }
        (asked, said)
    }

    fn next<'a>(&mut self, input: &mut Input<'a>, said: &mut Vec<String>) -> Option<Command<'a>> {
        let ids = &mut self.ids;
        let mut new_id = || {
            *ids += 1;
            *ids
        };
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut new_id,
        };
        let command = self.dialect.next(self.session, input, &mut cx);
        said.extend(lines(&mut self.replies));
        command
    }

    fn tell(&mut self, event: Event<'_>) -> (Next, Vec<String>) {
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut || 1,
        };
        let next = self.dialect.on(self.session, event, &mut cx);
        (next, lines(&mut self.replies))
    }

    /// The lines of the answer to a message that asks for nothing.
    fn answer(&mut self, text: &str) -> Vec<String> {
        let (asked, said) = self.say(text);
        assert_eq!(asked, [""; 0], "{text}");
        said
    }

    fn subscribing(&mut self, id: u32, channel: u32) -> Vec<String> {
        self.say(&format!(
            r#"{{"id":{id},"subscribe":{{"channel":"c{channel}"}}}}"#
        ));
        let (channel, form) = (ChannelId(channel), Form::CENTRIFUGO);
        let token = u64::from(id);
        self.tell(Event::Subscribing {
            token,
            channel,
            form,
        })
        .1
    }

    /// The application ends the subscription to this channel. Its form, and what the client is told.
    fn end(&mut self, channel: u32) -> (Option<Form>, Vec<String>) {
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut || 1,
        };
        let named = (ChannelId(channel), &*format!("c{channel}"));
        let form = self.dialect.end_subscription(self.session, named, &mut cx);
        (form, lines(&mut self.replies))
    }

    fn channels(&self) -> Vec<u32> {
        let mut channels = Vec::new();
        self.dialect
            .each_subscription(self.session, &mut |channel| channels.push(channel.0));
        channels
    }

    fn subscribed(&mut self, id: u32, channel: u32) -> Vec<String> {
        let (next, said) = self.recovered(id.into(), channel, (Recovers::Nothing, None));
        assert_eq!(next, Next::Continue);
        said
    }

    fn recovered(
        &mut self,
        token: u64,
        channel: u32,
        (recovers, recovery): (Recovers, Option<Recovered<'_>>),
    ) -> (Next, Vec<String>) {
        self.tell(Event::Subscribed {
            token,
            channel: ChannelId(channel),
            topic: 5,
            snapshot: Snapshot {
                position: Position {
                    epoch: 0xab,
                    offset: 9,
                },
            },
            recovers,
            recovery,
        })
    }
}

fn settings() -> Settings {
    Settings {
        enabled: true,
        subscriptions_per_connection_max: 2,
        channel_name_bytes_max: 16,
        ping_interval_s: 25,
        personal_channels: false,
    }
}

fn anonymous() -> Admission {
    Admission {
        user: "".into(),
        expires_in_s: None,
        provider: Provider::Static,
        subscriptions: Arc::default(),
        info: None,
    }
}

fn lines(replies: &mut Replies) -> Vec<String> {
    let mut lines = Vec::new();
    replies.drain(|opcode, bytes| {
        assert_eq!(opcode, Opcode::Text);
        let text = str::from_utf8(bytes).expect("a text message is UTF-8");
        lines.extend(text.split('\n').map(str::to_owned));
    });
    lines
}

/// A command in a few words.
fn shown(command: &Command<'_>) -> String {
    match command {
        Command::Subscribe { what, token, .. } => match what {
            SubscribeTo::Channel(channel) => format!("subscribe {channel} {token}"),
            SubscribeTo::Behind(channel, epoch, offset) => {
                let epoch = epoch.map_or("any".to_owned(), |epoch| format!("{epoch:x}"));
                format!("subscribe {channel} behind {epoch}-{offset} {token}")
            }
            SubscribeTo::Since(..) | SubscribeTo::Pattern(..) => panic!("it asks for neither"),
        },
        Command::UnsubscribeFrom { channel, token, .. } => format!("unsubscribe {channel} {token}"),
        Command::Publish {
            channel,
            payload,
            exclude_me,
            ack,
            details,
        } => {
            assert_eq!(*exclude_me, Some(false), "a publisher gets its own");
            let details = details.as_ref().expect("the publisher is told of");
            let info = details.client_info.as_deref().expect("by its info");
            let info: serde_json::Value = serde_json::from_str(info).expect("an object");
            let user = info["user"].as_str().expect("a name");
            format!("publish {channel:?} {payload:?} {ack:?} by {user:?}")
        }
        Command::ReadHistory(ReadHistory {
            channel,
            since,
            limit,
            is_reverse,
            token,
        }) => format!("history {channel} {since:?} {limit} {is_reverse} {token}"),
        Command::Rpc {
            method,
            data,
            token,
        } => format!("rpc {method} {data:?} {token}"),
        Command::Close { code, reason } => format!("close {code} {reason}"),
        other => format!("{other:?}"),
    }
}

fn error(id: u32, code: u16, message: &str) -> String {
    format!(r#"{{"id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#)
}
