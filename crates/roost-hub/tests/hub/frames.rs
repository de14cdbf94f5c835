//! How hubs have frames written here: each says what it is, and the models are told.

use roost_hub::{Encoding, EventIds, Route};

use crate::model::{Check, Frame, Model};
use crate::pattern_model::PatternModel;

/// Writes a frame that is recovered at once.
pub(crate) fn recoverer(
    model: &Model,
) -> impl FnMut(&usize, Encoding, EventIds, Route<'_>) -> Frame {
    |&message, encoding, ids, route| {
        assert!(
            matches!(route, Route::Recovered(_) | Route::Retained(_)),
            "nothing else is written at once"
        );
        assert!(model.is_ordered(message), "only what has a place is kept");
        Frame {
            message,
            encoding,
            ids,
        }
    }
}

/// Writes a frame that says what it is, and tells the model.
pub(crate) fn encoder(
    model: &mut Model,
    patterns: &mut PatternModel,
    check: &mut Check,
) -> impl FnMut(&usize, Encoding, EventIds, Route<'_>) -> Frame {
    |&message, encoding, ids, route| {
        let seen = match route {
            Route::Recovered(_) | Route::Retained(_) if model.is_ordered(message) => Ok(()),
            Route::Recovered(_) | Route::Retained(_) => {
                Err("what is recovered has no place".into())
            }
            Route::Channel(_) | Route::Kept(_) => model.encode(message, encoding, ids),
            Route::Pattern(channel) => patterns.encode(message, encoding, ids, channel, model),
        };
        if check.is_ok() {
            *check = seen;
        }
        Frame {
            message,
            encoding,
            ids,
        }
    }
}
