//! Which requests for a WebSocket are Centrifugo's.

use super::Settings;
use super::codes;
use crate::dialect::{Accept, Offer, Terms};

/// Where it is served.
pub const PATH: &str = "/connection/websocket";
/// The subprotocol of JSON. Most clients offer none.
pub const SUBPROTOCOL_JSON: &str = "centrifuge-json";
/// The subprotocol of Protobuf, which is not spoken.
const SUBPROTOCOL_PROTOBUF: &str = "centrifuge-protobuf";

pub(super) fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
    if !settings.enabled || offer.path != PATH {
        return Accept::NotMine;
    }
    let mut offered = offer.subprotocols.iter().copied();
    let json = offered.find(|&name| name == SUBPROTOCOL_JSON);
    if json.is_none() && offer.offers(SUBPROTOCOL_PROTOBUF) {
        let close = codes::INAPPROPRIATE_PROTOCOL;
        return Accept::OpenAndClose(close.code, close.reason);
    }
    Accept::Open {
        subprotocol: json,
        join: None,
        terms: Terms::default(),
    }
}
