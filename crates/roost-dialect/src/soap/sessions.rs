//! SOAP as a [`Dialect`]: the sessions of one reactor.

use std::borrow::Cow;
use std::sync::Arc;

use roost_dealer::{Answer, CallError, Notice};
use roost_hub::{ChannelId, EventIds};
use roost_wire::{Frozen, Opcode};
use slab::Slab;

use super::accept::{self, Takes};
use super::addressing::{NO_NAME, Order};
use super::answers::{envelope_of, text_of};
use super::envelope::{Envelope, Limits};
use super::fault::{Code, Mistake, Style, Subcode};
use super::names::Version;
use super::requests::{OpenRequest, OpenRequests, RequestState};
use super::{DEPTH_CEILING, Settings};
use crate::dialect::{
    self, Accept, Command, Context, Dialect, Event, Input, Message, Next, Offer, Refusal, Request,
    Target, Terms,
};
use crate::{CallBody, CallBodyRef, Form, PayloadRef, Publication};

/// The sessions here.
pub struct Soap {
    settings: Arc<Settings>,
    sessions: Slab<Session>,
    /// Of sessions that have some.
    open: Slab<OpenRequests>,
    /// The next request's.
    number: u32,
    /// How the sender of the last message is written to.
    style: Style,
}

/// What a session keeps beside what it [`Takes`], which its word in the connection's record has.
#[derive(Debug, Clone, Copy)]
struct Session {
    /// The channel it is subscribed to, or [`NONE`].
    joined: u32,
    /// Its place in [`Soap::open`], or [`NONE`].
    open: u32,
}

const _: () = assert!(size_of::<Session>() <= 8);

/// A session as plain values.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionState {
    takes: u8,
    joined: Option<ChannelId>,
    requests: Vec<RequestState>,
}

impl Dialect for Soap {
    const NAME: &'static str = "soap";
    const FORMS: &'static [&'static str] = &Takes::FORMS;
    type Settings = Settings;
    type State = SessionState;

    fn new(settings: Arc<Settings>) -> Soap {
        Soap {
            settings,
            sessions: Slab::new(),
            open: Slab::new(),
            number: 0,
            style: style_of(Takes::Any, false),
        }
    }

    fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
        accept::accept(settings, offer)
    }

    fn open(
        &mut self,
        _: Option<&str>,
        terms: Terms,
        joined: Option<ChannelId>,
    ) -> dialect::Session {
        self.insert(Takes::from_number(terms.number), joined)
    }

    fn next<'a>(
        &mut self,
        session: dialect::Session,
        input: &mut Input<'a>,
        cx: &mut Context<'_>,
    ) -> Option<Command<'a>> {
        let message = input.take()?;
        let takes = takes_of(session);
        self.style = style_of(takes, matches!(message, Message::Binary(_)));
        let text = match message {
            Message::Text(text) => Ok(text),
            Message::Binary(bytes) => str::from_utf8(bytes).map_err(|_| NOT_UTF8),
        };
        let text = match text {
            Ok(text) => text,
            Err(reason) => {
                let mistake = Mistake::new(Code::Sender, Cow::Borrowed(reason));
                return self.refuse(&mistake, None, cx);
            }
        };
        let envelope = match Envelope::read(text, self.limits()) {
            Ok(envelope) => envelope,
            Err(rejected) => {
                if let (Takes::Any, Some(version)) = (takes, rejected.version) {
                    self.style.version = version;
                }
                self.style.addresses = rejected.addressing.addresses;
                let message_id = rejected.addressing.message_id();
                return self.refuse(&rejected.mistake, message_id, cx);
            }
        };
        self.style.addresses = envelope.addressing.addresses;
        if !takes.admits(envelope.version) {
            let mistake = Mistake::new(Code::VersionMismatch, Cow::Borrowed(OTHER_VERSION));
            return self.refuse(&mistake, envelope.addressing.message_id(), cx);
        }
        self.style.version = envelope.version;
        match self.carry_out(session, &envelope) {
            Ok(command) => Some(command),
            Err(mistake) => self.refuse(&mistake, envelope.addressing.message_id(), cx),
        }
    }

    fn on(&mut self, session: dialect::Session, event: Event<'_>, cx: &mut Context<'_>) -> Next {
        match event {
            Event::Dealer(Notice::Answer { request, answer }) => {
                if let Some(request) = self.take_request(session, *request) {
                    self.answer(&request, answer, cx);
                }
            }
            Event::CallRefused { request, error } => {
                if let Some(request) = self.take_request(session, request) {
                    let reason = match error {
                        CallError::TooMany => {
                            "The connection has as many open requests as it may have."
                        }
                        CallError::RequestInUse => {
                            "The server has run out of numbers for requests."
                        }
                    };
                    let mistake = Mistake::about(Subcode::EndpointUnavailable, reason);
                    fault(&mistake, request.style, Some(&request.message_id), cx);
                }
            }
            Event::Refused {
                request: Request::Call,
                token: Some(token),
                ..
            } => {
                if let Some(request) = self.take_request(session, token) {
                    let reason = "This operation may not be called.";
                    let mistake = Mistake::about(Subcode::DestinationUnreachable, reason);
                    fault(&mistake, request.style, Some(&request.message_id), cx);
                }
            }
            // Of the message that was drawn last: a publish is refused at once or never.
            Event::Refused {
                request: Request::Publish,
                refusal,
                ..
            } => {
                let reason = match refusal {
                    Refusal::NotAllowed(denial) if denial.is_temporary() => {
                        let mistake =
                            Mistake::about(Subcode::EndpointUnavailable, denial.message());
                        fault(&mistake, self.style, None, cx);
                        return Next::Continue;
                    }
                    Refusal::NotAllowed(_) => "This channel may not be published to.",
                    Refusal::NoRoom => "There is no room for another channel.",
                    Refusal::InvalidName
                    | Refusal::InvalidPattern
                    | Refusal::NotKept
                    | Refusal::TooOften
                    | Refusal::PatternShape => "The address cannot be a channel's name.",
                };
                let mistake = Mistake::about(Subcode::DestinationUnreachable, reason);
                fault(&mistake, self.style, None, cx);
            }
            _ => {}
        }
        Next::Continue
    }

    fn pop_subscription(&mut self, session: &mut dialect::Session) -> Option<(ChannelId, Form)> {
        let record = self.sessions.get_mut(index_of(*session))?;
        let joined = std::mem::replace(&mut record.joined, NONE);
        (joined != NONE).then_some((ChannelId(joined), takes_of(*session).form()))
    }

    fn is_subscribed(&self, session: dialect::Session, channel: ChannelId) -> bool {
        let record = self.sessions.get(index_of(session));
        record.is_some_and(|record| record.joined == channel.0)
    }

    fn each_subscription(&self, session: dialect::Session, visit: &mut dyn FnMut(ChannelId)) {
        let record = self.sessions.get(index_of(session));
        if let Some(record) = record.filter(|record| record.joined != NONE) {
            visit(ChannelId(record.joined));
        }
    }

    fn close(&mut self, session: dialect::Session) {
        self.remove(session);
    }

    fn export(&mut self, session: dialect::Session) -> SessionState {
        let (joined, requests) = match self.remove(session) {
            Some((Session { joined, open: _ }, requests)) => {
                let joined = (joined != NONE).then_some(ChannelId(joined));
                (joined, requests.into_state())
            }
            None => (None, Vec::new()),
        };
        SessionState {
            takes: takes_of(session) as u8,
            joined,
            requests,
        }
    }

    fn import(&mut self, state: SessionState) -> dialect::Session {
        let SessionState {
            takes,
            joined,
            requests,
        } = state;
        let session = self.insert(Takes::from_number(takes), joined);
        let requests = OpenRequests::from_state(requests);
        if let Some(newest) = requests.newest() {
            self.number = self.number.max(newest.wrapping_add(1));
            self.sessions[index_of(session)].open = place(self.open.insert(requests));
        }
        session
    }

    fn carries(form: u8, publication: &Publication) -> bool {
        let raw = publication.to_raw();
        let takes = Takes::from_number(form);
        let envelope = text_of(&raw).and_then(|text| Envelope::read(text, ANY).ok());
        envelope.is_some_and(|envelope| takes.admits(envelope.version))
    }

    fn encode(_: u8, publication: &Publication, _: EventIds, _: &str) -> Frozen {
        publication.to_raw()
    }

    fn memory_bytes(&self) -> usize {
        let requests = self.open.iter().map(|(_, requests)| requests.bytes());
        self.sessions.capacity() * SESSION_BYTES
            + self.open.capacity() * size_of::<OpenRequests>()
            + requests.sum::<usize>()
    }

    fn shrink(&mut self) -> usize {
        let before = self.memory_bytes();
        shrink(&mut self.sessions);
        shrink(&mut self.open);
        before.saturating_sub(self.memory_bytes())
    }
}

impl Soap {
    fn insert(&mut self, takes: Takes, joined: Option<ChannelId>) -> dialect::Session {
        let joined = joined.map_or(NONE, |channel| channel.0);
        let index = self.sessions.insert(Session { joined, open: NONE });
        assert!(
            index < 1 << (u32::BITS - TAKES_BITS),
            "a reactor has fewer than 2^30 connections"
        );
        dialect::Session::at(index << TAKES_BITS | takes as usize)
    }

    fn remove(&mut self, session: dialect::Session) -> Option<(Session, OpenRequests)> {
        if !session.is_some() {
            return None;
        }
        let record = self.sessions.try_remove(index_of(session))?;
        let requests = self.open.try_remove(record.open as usize);
        if self.sessions.is_empty() {
            shrink(&mut self.sessions);
        }
        Some((record, requests.unwrap_or_default()))
    }

    fn limits(&self) -> Limits {
        Limits {
            depth_max: self.settings.depth_max,
            header_bytes_max: self.settings.header_bytes_max,
        }
    }

    /// What an envelope asks for.
    fn carry_out<'a>(
        &mut self,
        session: dialect::Session,
        envelope: &Envelope<'a>,
    ) -> Result<Command<'a>, Mistake> {
        let payload = PayloadRef::Text(envelope.text);
        let channel = match envelope.addressing.order(self.settings.name_bytes_max)? {
            Order::Publish(Some(name)) => Target::Name(Cow::Owned(name.to_owned())),
            Order::Publish(None) => match self.sessions[index_of(session)].joined {
                NONE => return Err(Mistake::about(Subcode::AddressingHeaderRequired, NO_NAME)),
                joined => Target::Joined(ChannelId(joined)),
            },
            Order::Request {
                name,
                is_action,
                message_id,
            } => {
                let number = self.begin_request(session, message_id, is_action);
                return Ok(Command::Call {
                    procedure: Cow::Owned(name.to_owned()),
                    request: u64::from(number),
                    wants_progress: false,
                    timeout_ms: u64::from(self.settings.request_timeout_ms),
                    body: CallBodyRef {
                        payload,
                        caller: None,
                        error: None,
                    },
                });
            }
        };
        Ok(Command::Publish {
            channel,
            payload,
            exclude_me: None,
            ack: None,
            details: None,
        })
    }

    fn begin_request(
        &mut self,
        session: dialect::Session,
        message_id: &str,
        is_action: bool,
    ) -> u32 {
        let number = self.number;
        self.number = self.number.wrapping_add(1);
        let record = &mut self.sessions[index_of(session)];
        if record.open == NONE {
            record.open = place(self.open.insert(OpenRequests::default()));
        }
        self.open[record.open as usize].add(OpenRequest {
            message_id: message_id.into(),
            number,
            style: self.style,
            is_action,
        });
        number
    }

    /// Takes out a request that has its answer.
    fn take_request(&mut self, session: dialect::Session, number: u64) -> Option<OpenRequest> {
        let record = self.sessions.get_mut(index_of(session))?;
        let requests = self.open.get_mut(record.open as usize)?;
        let request = requests.take(u32::try_from(number).ok()?);
        if requests.is_empty() {
            self.open.remove(record.open as usize);
            record.open = NONE;
        }
        request
    }

    fn answer(&self, request: &OpenRequest, answer: &Answer<CallBody>, cx: &mut Context<'_>) {
        match envelope_of(request, answer, self.limits()) {
            Ok(envelope) => {
                let opcode = opcode_of(request.style);
                cx.replies
                    .message(opcode, |out| out.extend_from_slice(&envelope));
            }
            Err(mistake) => fault(&mistake, request.style, Some(&request.message_id), cx),
        }
    }

    /// Answers a message that is not carried out.
    fn refuse<'a>(
        &self,
        mistake: &Mistake,
        message_id: Option<&str>,
        cx: &mut Context<'_>,
    ) -> Option<Command<'a>> {
        fault(mistake, self.style, message_id, cx);
        None
    }
}

fn fault(mistake: &Mistake, style: Style, message_id: Option<&str>, cx: &mut Context<'_>) {
    cx.replies.message(opcode_of(style), |out| {
        mistake.write(style, message_id, out);
    });
}

fn opcode_of(style: Style) -> Opcode {
    match style.is_binary {
        true => Opcode::Binary,
        false => Opcode::Text,
    }
}

/// Before a message was read.
fn style_of(takes: Takes, is_binary: bool) -> Style {
    Style {
        version: takes.version().unwrap_or(Version::V12),
        addresses: None,
        is_binary,
    }
}

fn takes_of(session: dialect::Session) -> Takes {
    Takes::from_number((session.0 & ((1 << TAKES_BITS) - 1)).to_le_bytes()[0])
}

fn index_of(session: dialect::Session) -> usize {
    session.index() >> TAKES_BITS
}

fn place(index: usize) -> u32 {
    u32::try_from(index).expect("there are fewer of them than sessions")
}

/// Keeps no room for the many there once were.
fn shrink<T>(slab: &mut Slab<T>) {
    if slab.capacity() > KEPT && slab.capacity() / 4 > slab.len() {
        slab.shrink_to_fit(); // as far as the last
    }
}

/// No channel, and no place.
const NONE: u32 = u32::MAX;
/// Of a session's word, below its index: what it takes.
const TAKES_BITS: u32 = 2;
/// An entry of the sessions' table.
const SESSION_BYTES: usize = size_of::<Session>() + size_of::<usize>();
/// Room for so many is kept.
const KEPT: usize = 64;
/// What subscribers are sent: it was published by a client of any dialect, under no limits but those
/// of messages.
const ANY: Limits = Limits {
    depth_max: DEPTH_CEILING,
    header_bytes_max: usize::MAX,
};
const NOT_UTF8: &str = "The message is not UTF-8.";
const OTHER_VERSION: &str =
    "The envelope is of another version of SOAP than soap-content-type said.";
