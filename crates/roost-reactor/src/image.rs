//! A publication in one encoding, on its way from its home to the reactors of its subscribers.

use std::sync::Arc;

use roost_dialect::{Publication, PublishDetails, Receivers};
use roost_wire::{Frozen, Opcode};

/// The frame, and which subscribers it is for. A clone is one reference count.
#[derive(Debug, Clone)]
pub(crate) enum Image {
    /// For all of them.
    Open(Frozen),
    /// For those that the publisher named.
    Restricted(Arc<Restricted>),
}

/// Few publications name their receivers: it costs no others a byte.
const _: () = assert!(size_of::<Image>() == size_of::<Frozen>());

#[derive(Debug)]
pub(crate) struct Restricted {
    frame: Frozen,
    details: Arc<PublishDetails>,
}

impl Image {
    /// Of a publication, with its frame.
    pub(crate) fn new(frame: Frozen, publication: &Publication) -> Image {
        match publication.details() {
            Some(details) if details.receivers.is_some() => {
                let details = details.clone();
                Image::Restricted(Arc::new(Restricted { frame, details }))
            }
            _ => Image::Open(frame),
        }
    }

    /// Of a publication that the subscribers' dialect cannot write: for none of them.
    pub(crate) fn for_none() -> Image {
        let receivers = Receivers::default().only(Some(&[]), None::<&[&str]>, None::<&[&str]>);
        let details = PublishDetails {
            receivers: Some(receivers),
            ..PublishDetails::default()
        };
        Image::Restricted(Arc::new(Restricted {
            frame: Frozen::message(Opcode::Text, b""),
            details: Arc::new(details),
        }))
    }

    pub(crate) fn frame(&self) -> &Frozen {
        match self {
            Image::Open(frame) => frame,
            Image::Restricted(restricted) => &restricted.frame,
        }
    }

    /// The subscribers that it is for; `None`: all.
    pub(crate) fn receivers(&self) -> Option<&Receivers> {
        match self {
            Image::Open(_) => None,
            Image::Restricted(restricted) => restricted.details.receivers.as_ref(),
        }
    }

    /// Bytes that wait with it.
    pub(crate) fn len(&self) -> usize {
        self.frame().len() + self.receivers().map_or(0, Receivers::bytes)
    }
}
