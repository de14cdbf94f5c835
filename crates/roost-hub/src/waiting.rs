//! Who waits for a home's answer to be subscribed. Empty in quiet times.

use std::collections::BTreeMap;

use crate::encoding::{Encoding, EncodingSet};
use crate::ids::{ChannelId, Subscriber};
use crate::state::RequestState;

/// Requests without an answer, and the tokens to answer with.
#[derive(Debug, Default)]
pub(crate) struct WaitingList {
    requests: BTreeMap<Request, u64>,
    next_sequence: u64,
}

/// Ordered so that a channel's requests stand together, and within it a subscriber's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) channel: ChannelId,
    pub(crate) who: Subscriber,
    pub(crate) encoding: Encoding,
    /// Tells apart, in the order of asking, the requests of one subscriber.
    sequence: u64,
}

impl WaitingList {
    pub(crate) fn insert(
        &mut self,
        channel: ChannelId,
        who: Subscriber,
        encoding: Encoding,
        token: u64,
    ) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let request = Request {
            channel,
            who,
            encoding,
            sequence,
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
                sequence: request.sequence + 1,
                ..request
            };
        }
    }

    /// Forgets what a subscriber waited for. True if it did.
    pub(crate) fn cancel(
        &mut self,
        channel: ChannelId,
        who: Subscriber,
        encoding: Encoding,
    ) -> bool {
        let mut has_waited = false;
        while let Some(found) = self.first_of(channel, who, encoding) {
            self.requests.remove(&found);
            has_waited = true;
        }
        has_waited
    }

    /// Whether a subscriber waits.
    pub(crate) fn has(&self, channel: ChannelId, who: Subscriber, encoding: Encoding) -> bool {
        self.first_of(channel, who, encoding).is_some()
    }

    /// Which encodings of a channel are waited for.
    pub(crate) fn encodings(&self, channel: ChannelId) -> EncodingSet {
        let all = self.requests.range(Request::first(channel)..);
        let all = all.take_while(|(request, _)| request.channel == channel);
        all.map(|(request, _)| request.encoding).collect()
    }

    /// As [`WaitingList::insert`], under a number that no other has; returns it.
    pub(crate) fn insert_numbered(
        &mut self,
        channel: ChannelId,
        who: Subscriber,
        encoding: Encoding,
        token: u64,
    ) -> u64 {
        self.insert(channel, who, encoding, token);
        self.next_sequence - 1
    }

    /// Takes out the one of this number, if it waits yet; returns its token.
    pub(crate) fn take(
        &mut self,
        channel: ChannelId,
        who: Subscriber,
        encoding: Encoding,
        sequence: u64,
    ) -> Option<u64> {
        self.requests.remove(&Request {
            channel,
            who,
            encoding,
            sequence,
        })
    }

    fn first_of(&self, channel: ChannelId, who: Subscriber, encoding: Encoding) -> Option<Request> {
        let request = |sequence| Request {
            channel,
            who,
            encoding,
            sequence,
        };
        let mut all = self.requests.range(request(0)..=request(u64::MAX));
        all.next().map(|(&request, _)| request)
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
            next_sequence: _, // counted again
        } = self;
        let apart = |(request, token)| {
            let Request {
                channel,
                who,
                encoding,
                sequence: _, // their order says it
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

    /// As [`WaitingList::into_state`], with the numbers, and the next one.
    pub(crate) fn into_numbered_state(self) -> (Vec<(u64, RequestState)>, u64) {
        let next_sequence = self.next_sequence;
        let sequences: Vec<u64> = self
            .requests
            .keys()
            .map(|request| request.sequence)
            .collect();
        (
            sequences.into_iter().zip(self.into_state()).collect(),
            next_sequence,
        )
    }

    /// The list of such a state.
    pub(crate) fn from_numbered_state(requests: Vec<(u64, RequestState)>, next: u64) -> Self {
        let mut list = WaitingList::default();
        for (sequence, request) in requests {
            let RequestState {
                channel,
                who,
                encoding,
                token,
            } = request;
            list.next_sequence = sequence;
            list.insert(channel, who, encoding, token);
        }
        list.next_sequence = next;
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
            sequence: 0,
        }
    }
}
