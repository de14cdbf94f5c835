//! A publication in one encoding, on its way from its home to the reactors of its subscribers.

use std::sync::Arc;

use roost_dialect::{Publication, PublishDetails, Receivers};
use roost_wire::{Frozen, Opcode};

/// The frame, and which subscribers it is for. A clone is one reference count.
#[derive(Debug, Clone)]
pub(crate) enum Image {
    /// For all of them.
    Open(Frozen),
    /// Not for all of them, or not the same for all.
    Special(Arc<Special>),
}

/// Few publications name their receivers or have a delta: it costs no others a byte.
const _: () = assert!(size_of::<Image>() == size_of::<Frozen>());

/// What is not the same for all subscribers.
#[derive(Debug)]
pub(crate) struct Special {
    /// The whole publication.
    frame: Frozen,
    /// Of one that names its receivers.
    details: Option<Arc<PublishDetails>>,
    /// For subscribers that get deltas.
    delta: Option<Delta>,
}

/// What subscribers get that get deltas and have the publication before.
#[derive(Debug, Clone)]
pub(crate) enum Delta {
    /// The publication as well: there is none before, or no delta that is worth it.
    Whole,
    /// This.
    Frame(Frozen),
}

impl Image {
    /// Of a publication, with its frame.
    pub(crate) fn new(frame: Frozen, publication: &Publication) -> Image {
        match restricted(publication) {
            None => Image::Open(frame),
            details => Image::Special(Arc::new(Special {
                frame,
                details,
                delta: None,
            })),
        }
    }

    /// The same for subscribers that get deltas.
    pub(crate) fn with_delta(frame: Frozen, delta: Delta, publication: &Publication) -> Image {
        Image::Special(Arc::new(Special {
            frame,
            details: restricted(publication),
            delta: Some(delta),
        }))
    }

    /// Of a publication that the subscribers' dialect cannot write: for none of them.
    pub(crate) fn for_none() -> Image {
        let receivers = Receivers::default().only(Some(&[]), None::<&[&str]>, None::<&[&str]>);
        let details = PublishDetails {
            receivers: Some(receivers),
            ..PublishDetails::default()
        };
        Image::Special(Arc::new(Special {
            frame: Frozen::message(Opcode::Text, b""),
            details: Some(Arc::new(details)),
            delta: None,
        }))
    }

    /// The same for subscribers of which none has the publication before.
    pub(crate) fn whole(&self) -> Image {
        match self.special() {
            Some(special) if matches!(special.delta, Some(Delta::Frame(_))) => {
                Image::Special(Arc::new(Special {
                    frame: special.frame.clone(),
                    details: special.details.clone(),
                    delta: Some(Delta::Whole),
                }))
            }
            _ => self.clone(),
        }
    }

    /// The whole publication.
    pub(crate) fn frame(&self) -> &Frozen {
        match self {
            Image::Open(frame) => frame,
            Image::Special(special) => &special.frame,
        }
    }

    /// What is not the same for all subscribers.
    #[inline]
    pub(crate) fn special(&self) -> Option<&Special> {
        match self {
            Image::Open(_) => None,
            Image::Special(special) => Some(special),
        }
    }

    /// The subscribers that it is for; `None`: all.
    pub(crate) fn receivers(&self) -> Option<&Receivers> {
        self.special()?.receivers()
    }

    /// Bytes that wait with it.
    pub(crate) fn len(&self) -> usize {
        let delta = match self.special().and_then(Special::delta) {
            Some(Delta::Frame(frame)) => frame.len(),
            Some(Delta::Whole) | None => 0,
        };
        self.frame().len() + delta + self.receivers().map_or(0, Receivers::bytes)
    }
}

impl Special {
    /// The whole publication.
    pub(crate) fn frame(&self) -> &Frozen {
        &self.frame
    }

    /// The subscribers that it is for; `None`: all.
    pub(crate) fn receivers(&self) -> Option<&Receivers> {
        self.details.as_ref()?.receivers.as_ref()
    }

    /// What subscribers get that have the publication before; `None`: there are no deltas in this encoding.
    pub(crate) fn delta(&self) -> Option<&Delta> {
        self.delta.as_ref()
    }
}

/// The details of a publication that names its receivers.
fn restricted(publication: &Publication) -> Option<Arc<PublishDetails>> {
    let details = publication.details()?;
    details.receivers.is_some().then(|| details.clone())
}
