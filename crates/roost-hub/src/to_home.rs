//! What a reactor's own side says to a channel's home, wherever that is.

use crate::encoding::EncodingSet;
use crate::error::PatternRefusal;
use crate::histories::Histories;
use crate::home::Home;
use crate::home_channel::Interest;
use crate::ids::{HomeIndex, ReactorId, Snapshot};
use crate::item::{Item, LocalRef, Output, Target};
use crate::keeping;
use crate::local_channel::LocalChannel;
use crate::names::{Name, Named};
use crate::patterns::{Pattern, PatternInterest};

/// The way to all homes: one of them is beside, the others are reached by items.
pub(crate) struct ToHome<'a, P, F> {
    pub(crate) me: ReactorId,
    /// How many homes there are.
    pub(crate) reactors: u16,
    pub(crate) home: &'a mut Home,
    pub(crate) histories: &'a mut Histories<P, F>,
    pub(crate) now: u32,
    /// As in [`crate::Hub::set_cause`].
    pub(crate) cause: u64,
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
            self.home.set_cause(self.cause);
            let (home, histories) = (&mut *self.home, &mut *self.histories);
            let answer = keeping::interest(home, histories, name, namespace, interest);
            self.home.report_occupancy(self.out);
            return Some(answer);
        }
        let item = Item::Interest {
            name: name.clone(),
            namespace,
            local,
            encodings,
            cause: self.cause,
        };
        self.out.push(Output::ToReactor(record.home(), item));
        None
    }

    /// A pattern has its first subscriber on this reactor. The register that is beside answers at
    /// once.
    pub(crate) fn register(
        &mut self,
        record: &LocalChannel,
        local: LocalRef,
        encodings: EncodingSet,
    ) -> Option<Result<HomeIndex, PatternRefusal>> {
        let (name, namespace) = (record.name(), record.namespace());
        if record.home() == self.me {
            let interest = Interest {
                local,
                reactor: self.me,
                encodings,
            };
            self.home.set_cause(self.cause);
            let answer = self.home.register(name, namespace, interest);
            self.home.report_occupancy(self.out);
            return Some(answer);
        }
        let item = Item::Interest {
            name: name.clone(),
            namespace,
            local,
            encodings,
            cause: self.cause,
        };
        self.out.push(Output::ToReactor(record.home(), item));
        None
    }

    /// A pattern is wanted in exactly these encodings: tells all homes. The one that is beside
    /// has answered by then.
    pub(crate) fn pattern_interest(
        &mut self,
        name: &Name,
        number: HomeIndex,
        local: LocalRef,
        encodings: EncodingSet,
    ) {
        for home in self.homes() {
            if home == self.me {
                let pattern = Pattern::of_name(name).expect("the record stands for a pattern");
                let interest = PatternInterest {
                    local,
                    number,
                    reactor: home,
                    encodings,
                };
                self.home.pattern_interest(pattern, interest);
            } else {
                let item = Item::PatternInterest {
                    name: name.clone(),
                    number,
                    local,
                    encodings,
                };
                self.out.push(Output::ToReactor(home, item));
            }
        }
    }

    /// A pattern is wanted no more: tells all homes.
    pub(crate) fn pattern_uninterest(&mut self, name: &Name, local: LocalRef) {
        for home in self.homes() {
            if home == self.me {
                let removed = self.home.pattern_uninterest(name, home, local);
                debug_assert!(removed, "interest ends once");
            } else {
                let name = name.clone();
                let item = Item::PatternUninterest { name, local };
                self.out.push(Output::ToReactor(home, item));
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "there are 256 at most")]
    fn homes(&self) -> impl Iterator<Item = ReactorId> + use<P, F> {
        (0..self.reactors).map(|home| ReactorId(home as u8))
    }

    /// A channel is wanted no more.
    pub(crate) fn uninterest(&mut self, to: ReactorId, target: Target, local: LocalRef) {
        if to == self.me {
            self.home.set_cause(self.cause);
            let (home, histories) = (&mut *self.home, &mut *self.histories);
            let removed = keeping::uninterest(home, histories, (to, &target, local), self.now);
            debug_assert!(removed, "interest ends once");
            self.home.report_occupancy(self.out);
        } else {
            let cause = self.cause;
            let item = Item::Uninterest {
                target,
                local,
                cause,
            };
            self.out.push(Output::ToReactor(to, item));
        }
    }
}
