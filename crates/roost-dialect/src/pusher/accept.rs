//! Which requests for a WebSocket are Pusher's, and of which application.

use super::codes::{self, Fault};
use super::{PATH, Settings};
use crate::dialect::{Accept, Offer, Terms};

/// The key and the version decide before anything is said; what is wrong with them is told in the
/// WebSocket, where a browser's program sees it.
pub(super) fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
    let Some(key) = offer.path.strip_prefix(PATH).filter(|_| settings.enabled) else {
        return Accept::NotMine;
    };
    let query = offer.headers.query().unwrap_or_default();
    Accept::Open {
        subprotocol: None,
        join: None,
        terms: Terms {
            number: terms(settings, key, query),
            header: None,
        },
    }
}

/// The number of the application, or of what is wrong.
fn terms(settings: &Settings, key: &str, query: &str) -> u8 {
    let app = settings.apps.iter().position(|app| *app.key == *key);
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let version = pairs.find(|(name, _)| *name == "protocol");
    let fault = match (app, version.map(|(_, version)| version.parse::<u8>())) {
        (None, _) => 0,
        (Some(app), _) if !settings.apps[app].enabled => 4,
        (Some(_), None) => 3,
        (Some(_), Some(Err(_))) => 1,
        (Some(app), Some(Ok(version))) => match VERSIONS.contains(&version) {
            true => return u8::try_from(app).unwrap_or(FAULT),
            false => 2,
        },
    };
    FAULT + fault
}

/// The application of a session, or why there is none.
pub(super) fn app_of(number: u8) -> Result<usize, Fault> {
    match number.checked_sub(FAULT) {
        None => Ok(usize::from(number)),
        Some(fault) => Err(*FAULTS.get(usize::from(fault)).unwrap_or(&codes::NO_APP)),
    }
}

/// From here on a number stands for a fault; there are fewer applications.
const FAULT: u8 = 200;
const FAULTS: [Fault; 5] = [
    codes::NO_APP,
    codes::BAD_VERSION,
    codes::UNSUPPORTED,
    codes::NO_VERSION,
    codes::DISABLED,
];
/// Those whose messages are of this shape.
const VERSIONS: std::ops::RangeInclusive<u8> = 5..=7;
