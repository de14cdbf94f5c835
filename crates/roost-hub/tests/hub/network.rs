//! What is on its way between hubs: two queues for each pair (one for publications, which the others may
//! overtake), and what may go wrong with them.

use std::collections::VecDeque;
use std::iter;

use roost_hub::{Item, ReactorId};

use crate::model::{Check, Frame};

type Message = Item<usize, Frame>;

/// What may go wrong between two reactors, to see that the model notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    DropDeliver,
    DoubleDeliver,
    SwapDelivers,
    DropPublished,
    DropPublish,
    DropMatched,
    DoubleMatched,
    DropRecovered,
    /// What is published behind the answer comes before it.
    DelayRecovered,
}

pub(crate) struct Network {
    reactors: usize,
    /// Two by two, by `from * reactors + to`.
    queues: Vec<VecDeque<Message>>,
    fault: Option<Fault>,
    /// Items until the fault strikes.
    fault_in: u32,
}

impl Network {
    pub(crate) fn new(reactors: usize) -> Network {
        Network {
            reactors,
            queues: iter::repeat_with(VecDeque::new)
                .take(2 * reactors.pow(2))
                .collect(),
            fault: None,
            fault_in: 0,
        }
    }

    pub(crate) fn inject(&mut self, fault: Fault, after: u32) {
        self.fault = Some(fault);
        self.fault_in = after;
    }

    /// Whether the fault has struck.
    pub(crate) fn struck(&self) -> bool {
        self.fault.is_none()
    }

    /// How many queues have items under way.
    pub(crate) fn busy_pairs(&self) -> usize {
        self.queues.iter().filter(|queue| !queue.is_empty()).count()
    }

    /// Takes out the oldest item of the `nth` that is not empty: from whom, to whom, and what.
    pub(crate) fn take(&mut self, nth: usize) -> Option<(ReactorId, ReactorId, Message)> {
        let busy = |(_, queue): &(usize, &mut VecDeque<Message>)| !queue.is_empty();
        let (at, queue) = self.queues.iter_mut().enumerate().filter(busy).nth(nth)?;
        let item = queue.pop_front().expect("it is busy");
        let pair = at / 2;
        let id = |number: usize| ReactorId(number as u8);
        Some((id(pair / self.reactors), id(pair % self.reactors), item))
    }

    pub(crate) fn send(&mut self, from: ReactorId, to: ReactorId, item: Message) -> Check {
        if to == from {
            return Err("a hub sends to itself".to_owned());
        }
        let pair = usize::from(from.0) * self.reactors + usize::from(to.0);
        let lane = usize::from(matches!(item, Item::Publish { .. }));
        let queue = &mut self.queues[2 * pair + lane];
        let concerned = match (self.fault, &item) {
            (Some(Fault::DropPublished), Item::Published { .. })
            | (Some(Fault::DropRecovered), Item::Recovered(_))
            | (Some(Fault::DropPublish), Item::Publish { .. })
            | (Some(Fault::DropDeliver | Fault::DoubleDeliver), Item::Deliver { .. })
            | (Some(Fault::DropMatched | Fault::DoubleMatched), Item::DeliverMatched { .. }) => {
                true
            }
            (Some(Fault::DelayRecovered), Item::Deliver { .. }) => {
                matches!(queue.back(), Some(Item::Recovered(_)))
            }
            (Some(Fault::SwapDelivers), Item::Deliver { local, .. }) => {
                matches!(queue.back(), Some(Item::Deliver { local: before, .. }) if before == local)
            }
            _ => false,
        };
        let strikes = concerned && self.fault_in == 0;
        if concerned && !strikes {
            self.fault_in -= 1;
        }
        match self.fault.take_if(|_| strikes) {
            None => queue.push_back(item),
            Some(
                Fault::DropDeliver
                | Fault::DropPublished
                | Fault::DropPublish
                | Fault::DropMatched
                | Fault::DropRecovered,
            ) => {}
            Some(Fault::DoubleDeliver | Fault::DoubleMatched) => {
                queue.extend([item.clone(), item]);
            }
            Some(Fault::SwapDelivers | Fault::DelayRecovered) => {
                queue.insert(queue.len() - 1, item)
            }
        }
        Ok(())
    }
}
