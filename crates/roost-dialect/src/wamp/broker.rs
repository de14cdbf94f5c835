//! The broker's side of a session: its subscriptions, and what it publishes.

use std::borrow::Cow;
use std::sync::Arc;

use roost_hub::{ChannelId, PatternKind, Since};

use super::answers::Answers;
use super::message::Request;
use super::options::{Match, PublishMore, PublishOptions, SubscribeOptions};
use super::settings::{Names, Settings};
use super::subscriptions::Subscriptions;
use super::topics::{check_pattern, check_topic};
use super::{meta, reply, uri};
use crate::dialect::{Command, SubscribeTo, Target};
use crate::serial::{Token, list_of};
use crate::{Arguments, PayloadRef, PublishDetails};

/// What an open session is subscribed to.
#[derive(Debug, Default)]
pub(super) struct Broker {
    subscriptions: Subscriptions,
    /// Subscribed to [`uri::DROPPED`].
    is_told_of_drops: bool,
}

impl Broker {
    /// What [`Broker::into_state`] took apart.
    pub(super) fn from_state((listed, is_told_of_drops): (Vec<(ChannelId, u64)>, bool)) -> Broker {
        Broker {
            subscriptions: Subscriptions::from_list(listed),
            is_told_of_drops,
        }
    }

    /// Its channels with their topics' numbers, 0 while a subscribe is under way, and whether it is
    /// subscribed to [`uri::DROPPED`].
    pub(super) fn into_state(self) -> (Vec<(ChannelId, u64)>, bool) {
        let Broker {
            subscriptions,
            is_told_of_drops,
        } = self;
        (subscriptions.into_list(), is_told_of_drops)
    }

    /// SUBSCRIBE.
    pub(super) fn subscribe<'a>(
        &mut self,
        request: u64,
        options: Option<&SubscribeOptions<'_>>,
        topic: Cow<'a, str>,
        answers: &mut Answers<'_>,
        (settings, names): (&Settings, Names<'_>),
    ) -> Option<Command<'a>> {
        let kind = match options.and_then(|options| options.matching) {
            None | Some(Match::Exact) => None,
            Some(Match::Prefix) => Some(PatternKind::Prefix),
            Some(Match::Wildcard) => Some(PatternKind::Components),
        };
        let checked = match kind {
            None if meta::is_topic(&topic) => names.check(&topic),
            None => check_topic(&topic, names),
            Some(kind) => check_pattern(kind, &topic, names),
        };
        let refusal = if let Err(message) = checked {
            Some((uri::INVALID_URI, message))
        } else if self.subscriptions.len() >= settings.subscriptions_per_connection_max {
            Some((
                uri::NOT_AUTHORIZED,
                "The session has as many subscriptions as it may have; end one first.",
            ))
        } else {
            None
        };
        if let Some((error, message)) = refusal {
            answers.say_error((Request::Subscribe as u64, request), error, message);
            return None;
        }
        let what = match kind {
            Some(kind) => SubscribeTo::Pattern(kind, names.full(topic)),
            None if topic == uri::DROPPED => {
                self.is_told_of_drops = true;
                answers.say(&reply::subscribed(request, DROPPED_SUBSCRIPTION));
                return None;
            }
            // "Event Retention": of one topic; a pattern has none.
            None if options.is_some_and(|options| options.get_retained == Some(true)) => {
                SubscribeTo::Since(names.full(topic), Since::Retained)
            }
            None => SubscribeTo::Channel(names.full(topic)),
        };
        Some(Command::Subscribe {
            what,
            form: answers.form(),
            token: request,
            grant: None,
        })
    }

    /// UNSUBSCRIBE.
    pub(super) fn unsubscribe(
        &mut self,
        request: u64,
        subscription: u64,
        answers: &mut Answers<'_>,
    ) -> Option<Command<'static>> {
        if subscription == DROPPED_SUBSCRIPTION && std::mem::take(&mut self.is_told_of_drops) {
            answers.say(&reply::unsubscribed(request));
            return None;
        }
        let Some(channel) = self.subscriptions.remove_topic(subscription) else {
            let request = (Request::Unsubscribe as u64, request);
            let error = reply::error(request, uri::NO_SUCH_SUBSCRIPTION, Arguments::NONE);
            answers.say(&error);
            return None;
        };
        Some(Command::Unsubscribe {
            channel,
            form: answers.form(),
            token: request,
        })
    }

    /// The subscriptions, those under way included.
    pub(super) fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// The same, to change them as the hub says.
    pub(super) fn subscriptions_mut(&mut self) -> &mut Subscriptions {
        &mut self.subscriptions
    }

    /// So many messages were dropped for this session: writes EVENT if it has subscribed to
    /// [`uri::DROPPED`]. `new_id` draws the publication's id.
    pub(super) fn on_dropped(
        &self,
        messages: u64,
        new_id: &mut dyn FnMut() -> u64,
        answers: &mut Answers<'_>,
    ) {
        if !self.is_told_of_drops {
            return;
        }
        let serializer = answers.serializer();
        let list = list_of(&Token::Unsigned(messages), serializer);
        let arguments = Arguments {
            serializer,
            args: Some(&list),
            kwargs: None,
        };
        answers.say(&reply::event(DROPPED_SUBSCRIPTION, new_id(), arguments));
    }
}

/// PUBLISH by the session with this number.
pub(super) fn publish<'a>(
    session: u64,
    (request, topic, arguments): (u64, Cow<'a, str>, Arguments<'a>),
    options: &PublishOptions<'_>,
    answers: &mut Answers<'_>,
    names: Names<'_>,
) -> Option<Command<'a>> {
    let more = options.more.get();
    let refusal = if let Err(message) = check_topic(&topic, names) {
        Some((uri::INVALID_URI, message))
    } else if topic == uri::DROPPED {
        Some((
            uri::NOT_AUTHORIZED,
            "Only the broker publishes to roost.session.dropped.",
        ))
    } else if more.is_some_and(PublishMore::is_packed) {
        let message = "Packed payloads (ppt_, enc_) are not supported.";
        Some((uri::OPTION_NOT_ALLOWED, message))
    } else if more.is_some_and(PublishMore::has_too_long_list) {
        let message = "Lists of receivers (eligible, exclude) have at most 1024 entries each.";
        Some((uri::OPTION_NOT_ALLOWED, message))
    } else {
        None
    };
    let acknowledge = options.acknowledge == Some(true);
    let Some((error, message)) = refusal else {
        return Some(Command::Publish {
            channel: Target::Name(names.full(topic)),
            payload: PayloadRef::Wamp(arguments),
            // WAMP, "Publisher Exclusion": a publisher does not receive what it publishes
            // unless it says so.
            exclude_me: Some(options.exclude_me.unwrap_or(true)),
            ack: acknowledge.then_some(request),
            details: publish_details(session, options),
        });
    };
    // "Publish ERROR": sent only when the publisher asked for an acknowledgement.
    if acknowledge {
        answers.say_error((Request::Publish as u64, request), error, message);
    }
    None
}

/// Who is to get it, and whether they are told who published it.
fn publish_details(session: u64, options: &PublishOptions<'_>) -> Option<Arc<PublishDetails>> {
    // "Publisher Identification"
    let publisher = (options.disclose_me == Some(true)).then_some(session);
    let receivers = options.more.get().and_then(PublishMore::receivers);
    let retain = options.retain == Some(true);
    if publisher.is_none() && receivers.is_none() && !retain {
        return None;
    }
    Some(Arc::new(PublishDetails {
        receivers,
        publisher,
        retain,
        ..PublishDetails::default()
    }))
}

/// The id of a subscription to [`uri::DROPPED`]: no topic's, for those are below 2^41.
const DROPPED_SUBSCRIPTION: u64 = 1 << 50;
