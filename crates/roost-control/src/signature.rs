//! The headers by which an application knows that a request is its own server's (Standard Webhooks).

use hyper::HeaderMap;
use roost_hooks::Keys;

use crate::hook_client::header;

/// Adds them; none without a key.
pub(crate) fn sign(keys: &Keys, id: &str, secs: u64, body: &[u8], headers: &mut HeaderMap) {
    if keys.is_empty() {
        return;
    }
    let signature = keys.sign(id, secs, body);
    let secs = secs.to_string();
    for (name, value) in [
        ("webhook-id", id),
        ("webhook-timestamp", &secs),
        ("webhook-signature", &signature),
    ] {
        headers.extend(header(name, value.as_bytes()).map(|(name, value)| (Some(name), value)));
    }
}
