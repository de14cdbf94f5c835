//! A `connect` that waits for subscriptions that the server makes: how far each of them has come.

use roost_hub::{ChannelId, Position};

use super::reply::result_of;
use super::request::Positions;
use super::result::Subscribed;
use super::transport::Transport;
use crate::check_channel_name;
use crate::dialect::{Recovers, SubscribeTo};

/// A `connect` that is not answered yet.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) id: u32,
    pub(super) expires_in_s: Option<u32>,
    subscriptions: Vec<Served>,
    /// How often one of them has begun anew.
    begun_anew: u32,
    /// It is answered; its line is drawn once more.
    pub(super) is_answered: bool,
}

/// One of its subscriptions.
#[derive(Debug)]
struct Served {
    name: Box<str>,
    /// Where the client was: its epoch, if it knows it, and its offset.
    was_at: Option<(Option<u64>, u64)>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// To be asked for.
    Wanted,
    /// To end, and to be asked for again.
    Stale(ChannelId),
    /// Asked for; the channel's home has not answered.
    UnderWay,
    /// In force.
    InForce {
        channel: ChannelId,
        /// Where it has begun, if the client comes back to such a place.
        position: Option<Position>,
        /// Its result, as its client's encoding has it.
        result: Vec<u8>,
    },
    /// There is none.
    Refused,
}

/// What is to be done next.
pub(super) enum Action {
    /// Subscribe; it has this place among the subscriptions.
    Begin(SubscribeTo<'static>, u32),
    /// End a subscription.
    End(ChannelId),
}

impl Connecting {
    /// Of the client whose command has this number. Names that can be none are left out, and those for which
    /// there is no room.
    pub(super) fn new(
        (id, expires_in_s): (u32, Option<u32>),
        names: impl Iterator<Item = Box<str>>,
        mut positions: Positions<'_>,
        (subscriptions_max, name_bytes_max): (usize, usize),
    ) -> Connecting {
        let good = names.filter(|name| check_channel_name(name, name_bytes_max).is_ok());
        let served = good.take(subscriptions_max).map(|name| Served {
            was_at: positions.take(&name),
            name,
            state: State::Wanted,
        });
        Connecting {
            id,
            expires_in_s,
            subscriptions: served.collect(),
            begun_anew: 0,
            is_answered: false,
        }
    }

    /// What is to be done next; `None`: all is under way, or has been answered.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        for (place, one) in self.subscriptions.iter_mut().enumerate() {
            match one.state {
                State::Wanted => {
                    one.state = State::UnderWay;
                    let name = String::from(&*one.name).into();
                    let what = match one.was_at {
                        None => SubscribeTo::Channel(name),
                        Some((epoch, offset)) => SubscribeTo::Behind(name, epoch, offset),
                    };
                    return Some(Action::Begin(what, u32::try_from(place).expect("few")));
                }
                State::Stale(channel) => {
                    one.state = State::Wanted;
                    return Some(Action::End(channel));
                }
                State::UnderWay | State::InForce { .. } | State::Refused => {}
            }
        }
        None
    }

    /// Whether all have been answered, and the command has not.
    pub(super) fn can_answer(&self) -> bool {
        let mut states = self.subscriptions.iter().map(|one| &one.state);
        !self.is_answered
            && states.all(|state| matches!(state, State::InForce { .. } | State::Refused))
    }

    /// Whether a place is one of these subscriptions'.
    pub(super) fn has(&self, place: u32) -> bool {
        (place as usize) < self.subscriptions.len()
    }

    /// A subscription is in force.
    pub(super) fn confirm(
        &mut self,
        place: u32,
        subscribed: &Subscribed<'_>,
        transport: Transport,
    ) {
        let result = result_of(transport, subscribed);
        let is_kept = subscribed.recovers != Recovers::Nothing;
        if let Some(one) = self.subscriptions.get_mut(place as usize) {
            one.state = State::InForce {
                channel: subscribed.channel,
                position: is_kept.then_some(subscribed.snapshot.position),
                result,
            };
        }
    }

    /// There is no such subscription.
    pub(super) fn refuse(&mut self, place: u32) {
        if let Some(one) = self.subscriptions.get_mut(place as usize) {
            one.state = State::Refused;
        }
    }

    /// The subscriptions to channels that clients come back to, and that have moved on since they have answered,
    /// begin anew. False if there are none. One that has begun anew too often is told as it is: that it has
    /// missed something, if its client was there before.
    pub(super) fn begin_anew(
        &mut self,
        positions: &[(ChannelId, Position)],
        transport: Transport,
    ) -> bool {
        let is_over = self.begun_anew >= BEGUN_ANEW_MAX;
        let mut is_any = false;
        for one in &mut self.subscriptions {
            let State::InForce {
                channel,
                position: Some(position),
                result,
            } = &mut one.state
            else {
                continue;
            };
            let now = positions.iter().find(|(other, _)| other == channel);
            let Some((_, now)) = now.filter(|(_, now)| now != position) else {
                continue;
            };
            if is_over {
                let at = Subscribed::at(*now, one.was_at.is_some());
                *result = result_of(transport, &at);
                continue;
            }
            one.state = State::Stale(*channel);
            self.begun_anew += 1;
            is_any = true;
        }
        is_any
    }

    /// Those in force: the channel's name and the result of each.
    pub(super) fn in_force(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.subscriptions
            .iter()
            .filter_map(|one| match &one.state {
                State::InForce { result, .. } => Some((&*one.name, result.as_slice())),
                _ => None,
            })
    }
}

/// So often the subscriptions of one `connect` begin anew, together.
const BEGUN_ANEW_MAX: u32 = 64;
