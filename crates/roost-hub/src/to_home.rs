//! What a reactor's own side says to a channel's home, wherever that is.

use crate::encoding::EncodingSet;
use crate::home::Home;
use crate::home_channel::Interest;
use crate::ids::{HomeIndex, ReactorId, Snapshot};
use crate::item::{Item, LocalRef, Output, Target};
use crate::local_channel::LocalChannel;
use crate::names::Named;

/// The way to all homes: one of them is beside, the others are reached by items.
pub(crate) struct ToHome<'a, P, F> {
    pub(crate) me: ReactorId,
    pub(crate) home: &'a mut Home,
    pub(crate) out: &'a mut Vec<Output<P, F>>,
}

impl<P, F> ToHome<'_, P, F> {
    /// A channel is wanted in exactly these encodings. The home that is beside answers at once.
    pub(crate) fn interest(
        &mut self,
        record: &LocalChannel,
        local: LocalRef,
        encodings: EncodingSet,
    ) -> Option<(HomeIndex, Snapshot)> {
        let (name, namespace) = (record.name(), record.namespace());
        if record.home() == self.me {
            let interest = Interest {
                local,
                reactor: self.me,
                encodings,
            };
            return Some(self.home.interest(name, namespace, interest));
        }
        let item = Item::Interest {
            name: name.clone(),
            namespace,
            local,
            encodings,
        };
        self.out.push(Output::ToReactor(record.home(), item));
        None
    }

    /// A channel is wanted no more.
    pub(crate) fn uninterest(&mut self, to: ReactorId, target: Target, local: LocalRef) {
        if to == self.me {
            let removed = self.home.uninterest(to, &target, local);
            debug_assert!(removed, "interest ends once");
        } else {
            let item = Item::Uninterest { target, local };
            self.out.push(Output::ToReactor(to, item));
        }
    }
}
