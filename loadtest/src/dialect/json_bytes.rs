//! Bytes in JSON as Roost writes them: a string of U+0000 and base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Appends what a JSON value stands for; nothing if it is none of ours, which is a corrupt payload.
pub(super) fn append_bytes(value: &str, out: &mut Vec<u8>) {
    let start = out.len();
    let base64 = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let base64 = base64.and_then(|value| value.strip_prefix(NUL));
    if base64.is_none_or(|base64| STANDARD.decode_vec(base64, out).is_err()) {
        out.truncate(start);
    }
}

/// U+0000 as JSON writes it.
pub(super) const NUL: &str = "\\u0000";
