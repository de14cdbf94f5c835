//! Who waits for a home's answer to be subscribed. Empty in quiet times.

use std::collections::BTreeMap;

use crate::encoding::{Encoding, EncodingSet};
use crate::ids::{ChannelId, Subscriber};
use crate::state::RequestState;

/// Requests without an answer, and the tokens to answer with.
#[derive(Debug, Default)]
pub(crate) struct WaitingList {
    requests: BTreeMap<Request, u64>,
    next_turn: u64,
}

/// Ordered so that a channel's requests stand together, and within it a subscriber's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) channel: ChannelId,
    pub(crate) who: Subscriber,
    pub(crate) encoding: Encoding,
    /// Tells apart, in the order of asking, the requests of one subscriber.
    turn: u64,
}

impl WaitingList {
    pub(crate) fn insert(
        &mut self,
        channel: ChannelId,
        who: Subscriber,
        encoding: Encoding,
        token: u64,
    ) {
        let turn = self.next_turn;
        self.next_turn += 1;
        let request = Request {
            channel,
            who,
            encoding,
            turn,
        };
        self.requests.insert(request, token);
    }

    /// Takes out those who waited for one of these encodings of a channel, and hands each with its
    /// token to `answer`.
    pub(crate) fn answer(
        &mut self,
        channel: ChannelId,
        encodings: EncodingSet,
        mut answer: impl FnMut(Request, u64),
    ) {
        let mut at = Request::first(channel);
        loop {
            let next = self.requests.range(at..).next();
            let next = next.map(|(&request, &token)| (request, token));
            let Some((request, token)) = next.filter(|(request, _)| request.channel == channel)
            else {
                return;
            };
            if encodings.contains(request.encoding) {
                self.requests.remove(&request);
                answer(request, token);
            }
            at = Request {
                turn: request.turn + 1,
                ..request
            };
        }
    }

    /// Forgets what a subscriber waited for.
    pub(crate) fn cancel(&mut self, channel: ChannelId, who: Subscriber, encoding: Encoding) {
        let request = |turn| Request {
            channel,
            who,
            encoding,
            turn,
        };
        let all = request(0)..=request(u64::MAX);
        while let Some((&found, _)) = self.requests.range(all.clone()).next() {
            self.requests.remove(&found);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Request> {
        self.requests.keys()
    }

    /// Takes the list apart, in the order in which requests are answered.
    pub(crate) fn into_state(self) -> Vec<RequestState> {
        let WaitingList {
            requests,
            next_turn: _, // counted again
        } = self;
        let apart = |(request, token)| {
            let Request {
                channel,
                who,
                encoding,
                turn: _, // their order says it
            } = request;
            RequestState {
                channel,
                who,
                encoding,
                token,
            }
        };
        requests.into_iter().map(apart).collect()
    }

    /// The list of a state.
    pub(crate) fn from_state(requests: Vec<RequestState>) -> Self {
        let mut list = WaitingList::default();
        for request in requests {
            let RequestState {
                channel,
                who,
                encoding,
                token,
            } = request;
            list.insert(channel, who, encoding, token);
        }
        list
    }

    /// Heap bytes, nearly: nodes of a B-tree are three quarters full at a guess.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.requests.len() * (size_of::<Request>() + size_of::<u64>()) * 4 / 3
    }
}

impl Request {
    /// Not after any that waits for the channel.
    fn first(channel: ChannelId) -> Request {
        Request {
            channel,
            who: Subscriber(0),
            encoding: Encoding(0),
            turn: 0,
        }
    }
}
