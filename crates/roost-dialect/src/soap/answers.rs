//! What a service says to a request, as an envelope for the client.

use std::borrow::Cow;

use roost_dealer::{Answer, Failure};
use roost_wire::{Frozen, Opcode};

use super::envelope::{Envelope, Limits};
use super::fault::{Code, Mistake, Subcode, relates_to_block};
use super::names::Addresses;
use super::requests::OpenRequest;
use crate::CallBody;

/// The envelope that answers a request, or the fault that does.
pub(super) fn envelope_of(
    request: &OpenRequest,
    answer: &Answer<CallBody>,
    limits: Limits,
) -> Result<Vec<u8>, Mistake> {
    match answer {
        Answer::Result(body) => result(request, body, limits),
        Answer::Error(body) => error(request, body, limits),
        Answer::Failed(failure) => Err(failed(*failure, request.is_action)),
        Answer::Progress(_) => {
            debug_assert!(false, "no progressive result was asked for");
            Err(no_envelope("it is in parts."))
        }
    }
}

/// As SOAP's messages travel: a text message.
pub(super) fn text_of(raw: &Frozen) -> Option<&str> {
    if raw.opcode() != Opcode::Text {
        return None;
    }
    str::from_utf8(raw.payload()?).ok()
}

/// The service's envelope, which says whose answer it is.
fn result(request: &OpenRequest, body: &CallBody, limits: Limits) -> Result<Vec<u8>, Mistake> {
    let raw = body.payload.to_raw();
    let text = text_of(&raw).ok_or_else(|| no_envelope("it is bytes."))?;
    let envelope = Envelope::read(text, limits);
    let envelope = envelope.map_err(|rejected| no_envelope(&rejected.mistake.reason))?;
    if envelope.version != request.style.version {
        return Err(no_envelope("it is of another version of SOAP."));
    }
    if envelope.addressing.relates_to(&request.message_id) {
        return Ok(envelope.text.as_bytes().to_vec());
    }
    if envelope.addressing.is_reply() {
        return Err(no_envelope("it relates to another message."));
    }
    let addresses = request.style.addresses.unwrap_or(Addresses::V10);
    let block = relates_to_block(addresses, &request.message_id);
    let mut out = Vec::with_capacity(envelope.text.len() + block.len() + HEADER_TAGS_BYTES);
    envelope.append_with(&block, &mut out);
    Ok(out)
}

/// The service's error: a fault of its own if it says one, or else one that tells its name.
fn error(request: &OpenRequest, body: &CallBody, limits: Limits) -> Result<Vec<u8>, Mistake> {
    if let Ok(envelope) = result(request, body, limits) {
        return Ok(envelope);
    }
    let name = body.error.as_deref().unwrap_or("wamp.error.runtime_error");
    let raw = body.payload.to_raw();
    // What is no single text reads as JSON, which is for no person.
    let said = text_of(&raw).filter(|text| !text.is_empty() && !text.starts_with("{\"args\":"));
    let reason = match said {
        Some(said) => said.to_owned(),
        None => format!("The service failed with {name}."),
    };
    let code = match name {
        "wamp.error.invalid_argument" => Code::Sender,
        _ => Code::Receiver,
    };
    Err(Mistake {
        error: Some(name.to_owned()),
        ..Mistake::new(code, Cow::Owned(reason))
    })
}

fn failed(failure: Failure, is_action: bool) -> Mistake {
    let reason = match failure {
        Failure::NoSuchProcedure if is_action => {
            let reason = "No service is registered for this Action.";
            return Mistake::about(Subcode::ActionNotSupported, reason);
        }
        Failure::NoSuchProcedure => {
            let reason = "No service is registered for the address in To.";
            return Mistake::about(Subcode::DestinationUnreachable, reason);
        }
        Failure::TimedOut => {
            let reason = Cow::Borrowed("The service did not answer in time.");
            return Mistake::new(Code::Receiver, reason);
        }
        Failure::Canceled => "The request was canceled.",
        Failure::CalleeLeft => "The service has gone before it answered.",
        Failure::CalleeBusy => "The service has as many open requests as it may have.",
    };
    Mistake::about(Subcode::EndpointUnavailable, reason)
}

fn no_envelope(why: &str) -> Mistake {
    let reason = format!("The service's answer is no envelope for this request: {why}");
    Mistake::new(Code::Receiver, Cow::Owned(reason))
}

/// Tags of a header that is put into an answer, mostly.
const HEADER_TAGS_BYTES: usize = 64;
