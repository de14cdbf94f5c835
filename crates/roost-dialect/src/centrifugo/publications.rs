//! Publications as they stand in the results of `subscribe` and `history`, in JSON.

use roost_wire::{Frozen, Opcode};

use crate::Publication;
use crate::json::push_string;
use crate::serial::push_number;

/// A publication as an object of its own, for the result of a subscribe.
///
/// `as_text`: its data as clients have it that get deltas.
pub(super) fn recovered(publication: &Publication, offset: u64, as_text: bool) -> Frozen {
    let mut out = Vec::with_capacity(publication.size() + OBJECT_BYTES);
    match as_text {
        false => write_publication(&mut out, publication, Some(offset)),
        true => {
            out.extend_from_slice(b"{\"data\":");
            push_text(&mut out, publication);
            write_tail(&mut out, publication, Some(offset));
            out.push(b'}');
        }
    }
    Frozen::message(Opcode::Text, &out)
}

/// `{"data":…,"info":…,"offset":…}`
pub(super) fn write_publication(out: &mut Vec<u8>, publication: &Publication, offset: Option<u64>) {
    out.extend_from_slice(b"{\"data\":");
    publication.with_json(|data| out.extend_from_slice(data));
    write_tail(out, publication, offset);
    out.push(b'}');
}

/// Its data as a string that has its JSON, as it stands for clients that get deltas.
pub(super) fn push_text(out: &mut Vec<u8>, publication: &Publication) {
    publication.with_json(|data| push_string(out, &String::from_utf8_lossy(data)));
}

/// What stands behind a publication's data.
pub(super) fn write_tail(out: &mut Vec<u8>, publication: &Publication, offset: Option<u64>) {
    let details = publication.details();
    if let Some(info) = details.and_then(|details| details.client_info.as_deref()) {
        out.extend_from_slice(b",\"info\":");
        out.extend_from_slice(info.as_bytes());
    }
    if let Some(offset) = offset {
        out.extend_from_slice(b",\"offset\":");
        push_number(out, offset);
    }
}

/// What stands in a publication's object beside the payload.
const OBJECT_BYTES: usize = 96;
