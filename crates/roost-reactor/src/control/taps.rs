//! The control thread as a subscriber.

use roost_hub::Name;
use roost_wire::{Frozen, Opcode};

use crate::channels::{CANARY_PREFIX, TappedItem, Travels};

/// A subscription of the control thread. It chooses the number; a channel has one of them at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tap {
    /// No other subscription of this control thread has it, or had it.
    pub number: u32,
    /// Deliveries come within a tick (100 ms), together, and not all of a busy channel: those that do not
    /// leave a gap in the offsets. Else each comes by itself and at once.
    pub is_gathered: bool,
}

/// A publication that the control thread hears.
#[derive(Debug, Clone)]
pub struct Tapped {
    /// The number of its [`Tap`].
    pub tap: u32,
    /// Its place in the channel's order: without a gap, unless one was dropped on its way.
    pub offset: u64,
    /// The publication, as [`super::super::Placement::publication`].
    pub publication: u64,
    /// Its publisher has named its receivers.
    pub is_restricted: bool,
    message: Frozen,
}

impl Tapped {
    pub(super) fn new(item: &TappedItem) -> Tapped {
        Tapped {
            tap: item.tap,
            offset: item.ids.offset,
            publication: item.ids.publication,
            is_restricted: item.image.receivers().is_some(),
            message: item.image.frame().clone(),
        }
    }

    /// What raw subscribers are sent; `None` where the message is in fragments.
    pub fn payload(&self) -> Option<&[u8]> {
        self.message.payload()
    }

    /// Whether that is text.
    pub fn is_text(&self) -> bool {
        self.message.opcode() == Opcode::Text
    }

    /// Memory that it keeps, be it alone or with others.
    pub fn bytes(&self) -> usize {
        size_of::<Tapped>() + self.message.len()
    }
}

impl Tap {
    pub(super) fn travels(self) -> Travels {
        match self.is_gathered {
            true => Travels::Together,
            false => Travels::AtOnce,
        }
    }
}

/// The channel that shows whether a reactor delivers: the first name of its kind whose home it is.
pub(super) fn canary_name(home: usize, home_of: impl Fn(&str) -> usize) -> Name {
    let names = (0u32..).map(|n| format!("{CANARY_PREFIX}{home}.{n}"));
    let own = names.into_iter().find(|name| home_of(name) == home);
    Name::from(own.expect("a hash that has no such name is none").as_str())
}
