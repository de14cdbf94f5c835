//! Which requests are Centrifugo's.

use std::borrow::Cow;

use super::Settings;
use super::emulation;
use super::transport::Transport;
use crate::dialect::{Accept, Emulated, Offer, Terms};
use crate::path::form_decode;

/// Where it is served by WebSocket.
pub const PATH: &str = "/connection/websocket";
/// The same by a response that goes on, to a POST with the first commands.
pub const HTTP_STREAM_PATH: &str = "/connection/http_stream";
/// The same as an event stream, with the first commands in the query.
pub const SSE_PATH: &str = "/connection/sse";
/// Where clients without a WebSocket send commands to.
pub const EMULATION_PATH: &str = "/emulation";
/// The subprotocol of JSON. Most clients that speak it offer none.
pub const SUBPROTOCOL_JSON: &str = "centrifuge-json";
/// The subprotocol of Protobuf.
pub const SUBPROTOCOL_PROTOBUF: &str = "centrifuge-protobuf";

pub(super) fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
    if !settings.enabled {
        return Accept::NotMine;
    }
    match offer.path {
        PATH => accept_websocket(offer),
        HTTP_STREAM_PATH => {
            let is_protobuf = asks_for_protobuf(offer) || emulation::is_protobuf(offer.headers);
            let (content_type, transport) = match is_protobuf {
                true => ("application/octet-stream", Transport::ProtobufStream),
                false => ("application/x-ndjson", Transport::HttpStream),
            };
            Accept::Emulated(Emulated {
                message: None,
                content_type,
                terms: terms_of(transport),
                is_binary: is_protobuf,
                is_one_way: false,
            })
        }
        SSE_PATH => match first_commands(offer) {
            Ok(message) => Accept::Emulated(Emulated {
                message: Some(message),
                content_type: "text/event-stream",
                terms: terms_of(Transport::Sse),
                is_binary: false,
                is_one_way: false,
            }),
            Err(reason) => Accept::Refused(Cow::Borrowed(reason)),
        },
        EMULATION_PATH => Accept::Relay,
        _ => Accept::NotMine,
    }
}

/// The first of the two subprotocols that the client offers says the encoding; without one the query does.
fn accept_websocket<'a>(offer: &Offer<'a>) -> Accept<'a> {
    let mut offered = offer.subprotocols.iter().copied();
    let known = [SUBPROTOCOL_JSON, SUBPROTOCOL_PROTOBUF];
    let subprotocol = offered.find(|name| known.contains(name));
    let is_protobuf = match subprotocol {
        Some(name) => name == SUBPROTOCOL_PROTOBUF,
        None => asks_for_protobuf(offer),
    };
    let transport = match is_protobuf {
        true => Transport::Protobuf,
        false => Transport::WebSocket,
    };
    Accept::Open {
        subprotocol,
        join: None,
        terms: terms_of(transport),
    }
}

/// Whether the query says so, as clients do that can offer no subprotocol.
fn asks_for_protobuf(offer: &Offer<'_>) -> bool {
    let mut parameters = offer.headers.query().unwrap_or_default().split('&');
    parameters.any(|one| matches!(one, "cf_protocol=protobuf" | "format=protobuf"))
}

fn terms_of(transport: Transport) -> Terms {
    Terms {
        number: transport.number(),
        header: None,
    }
}

/// What the query's `cf_connect` says.
fn first_commands<'a>(offer: &Offer<'a>) -> Result<Cow<'a, str>, &'static str> {
    let mut parameters = offer.headers.query().unwrap_or_default().split('&');
    let value = parameters.find_map(|one| one.strip_prefix("cf_connect="));
    let value = value.ok_or("The query wants cf_connect, with the client's connect command.")?;
    form_decode(value).map_err(|_| "The query's cf_connect is no UTF-8, encoded as in a form.")
}
