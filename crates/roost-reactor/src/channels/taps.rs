//! What the control thread hears as a subscriber.
//!
//! It takes part in the mesh as reactors do: it sends a channel's home its interest, and is sent what is
//! published, once and in order. Two things are different. What it does not take is dropped, for no
//! reactor waits for it. And what an administrator looks on at goes to it at most once a tick, so that a
//! busy channel takes no room from answers; what is too much for that is dropped. Offsets have no gaps,
//! so it knows what it has missed.

use roost_dialect::Form;
use roost_hub::{ChannelId, Encoding, EncodingSet, EventIds, Frames, LocalRef};

use crate::clock::NEVER;
use crate::connections::Framing;
use crate::image::Image;

/// How the names of the channels begin that the control thread publishes on to see whether they deliver.
/// No client can name one in any dialect: names with control characters are refused, and no wildcard
/// matches what begins so.
pub(crate) const CANARY_PREFIX: &str = "$\u{7f}canary:";

/// Whether a channel is the control thread's own.
pub(crate) fn is_canary(name: &str) -> bool {
    name.starts_with(CANARY_PREFIX)
}

/// A subscription of the control thread, as homes know it: the cookie says how its deliveries travel.
pub(crate) fn tap_at(number: u32, travels: Travels) -> LocalRef {
    LocalRef {
        channel: ChannelId(number),
        cookie: travels as u32,
    }
}

/// In which form the control thread hears: as raw subscribers do.
pub(crate) fn tap_encodings() -> EncodingSet {
    EncodingSet::of(tap_encoding())
}

fn tap_encoding() -> Encoding {
    Framing::Rfc6455.encoding(Form::RAW)
}

/// How deliveries to a subscription of the control thread travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Travels {
    /// At once, one by one.
    AtOnce = 0,
    /// Once a tick, together.
    Together = 1,
}

/// One delivery.
#[derive(Debug, Clone)]
pub(crate) struct TappedItem {
    pub(crate) tap: u32,
    pub(crate) ids: EventIds,
    pub(crate) image: Image,
}

impl TappedItem {
    /// Of a delivery; none if it has no frame in the control thread's form.
    pub(crate) fn new(
        local: LocalRef,
        ids: EventIds,
        frames: &Frames<Image>,
    ) -> Option<TappedItem> {
        let own = tap_encoding();
        let mut frames = frames.iter();
        let (_, image) = frames.find(|(encoding, _)| *encoding == own)?;
        Some(TappedItem {
            tap: local.channel.0,
            ids,
            image: image.clone(),
        })
    }

    /// Memory that it keeps.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<TappedItem>() + self.image.len()
    }
}

/// Deliveries that leave together.
#[derive(Default)]
pub(crate) struct Taps {
    waiting: Vec<TappedItem>,
    bytes: usize,
}

impl Taps {
    /// Adds one, or drops it where too much waits. True if it is the first: they leave at the next tick.
    pub(crate) fn push(&mut self, item: TappedItem) -> bool {
        if self.waiting.len() >= WAITING_MAX || self.bytes >= WAITING_BYTES_MAX {
            return false;
        }
        self.bytes += item.bytes();
        self.waiting.push(item);
        self.waiting.len() == 1
    }

    /// All that wait.
    pub(crate) fn take(&mut self) -> Vec<TappedItem> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

/// The tick after this one.
pub(crate) fn next_tick(now: u32) -> u32 {
    now.saturating_add(1).min(NEVER - 1)
}

/// Deliveries that wait for a tick, and bytes of them after which no further one is added: of a channel
/// with more than 10,000 publications in a second, or 2.5 MB, not all are shown.
const WAITING_MAX: usize = 1024;
const WAITING_BYTES_MAX: usize = 256 << 10;
