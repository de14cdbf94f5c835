//! Which topics and patterns clients may name.

use roost_hub::{Pattern, PatternKind};

use super::settings::Names;
use super::uri;

/// "Pattern-based Subscriptions": the beginning of a topic, or a topic with empty components. One that
/// begins in the reserved namespace is refused, as a topic there is; no other matches there.
pub(super) fn check_pattern(
    kind: PatternKind,
    text: &str,
    names: Names<'_>,
) -> Result<(), &'static str> {
    let bytes_max = u32::try_from(names.bytes_max).unwrap_or(u32::MAX);
    if Pattern::new(kind, text, bytes_max).is_err() {
        return Err(
            "The pattern is too long, has more than 32 components or more than 4 empty ones, or a control character.",
        );
    }
    if text.contains(|c: char| c == '#' || c.is_whitespace()) {
        return Err("The pattern is not the beginning of a valid URI: it has # or spaces.");
    }
    if text.starts_with("wamp.") {
        return Err("Topics that begin with wamp. are reserved by the protocol.");
    }
    Ok(())
}

/// A topic is a channel's name that is also a loose URI outside the protocol's own namespace. The
/// reserved namespace is closed to subscribers too: a raw publisher could feign meta events there.
pub(super) fn check_topic(topic: &str, names: Names<'_>) -> Result<(), &'static str> {
    names.check(topic)?;
    if !uri::is_loose(topic) {
        return Err(
            "The topic is not a valid URI: it must be words with dots between, without # and spaces.",
        );
    }
    if uri::is_reserved(topic) {
        return Err("Topics that begin with wamp. are reserved by the protocol.");
    }
    Ok(())
}
