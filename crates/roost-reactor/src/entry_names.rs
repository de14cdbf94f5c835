//! Registrations and subscriptions as clients are told of them: the names of the hub's and the dealer's records as
//! WAMP writes them.

use roost_dealer::{Match, Registration};
use roost_dialect::dialect::Entry;
use roost_hub::{Pattern, PatternKind};

use crate::clock::TICK_MS;
use crate::core::Core;
use crate::events::unix_ms;

/// A registration as it is told.
pub(crate) fn entry_of(core: &Core, registration: Registration) -> Entry {
    let prefixes = core.settings.dialects.wamp.own_realms.prefixes();
    let age_ms = u64::from(core.now().saturating_sub(registration.created)) * u64::from(TICK_MS);
    let created = roost_access::timestamp(unix_ms().saturating_sub(age_ms));
    Entry {
        number: registration.number,
        uri: prefixes.strip(&registration.procedure.name).into(),
        matching: registration.procedure.matching,
        policy: Some(registration.policy),
        created: Some(created.into()),
    }
}

/// How a record's name is matched, and its name or the pattern's text.
pub(crate) fn read_record(record: &str) -> (Match, &str) {
    match Pattern::of_name(record) {
        None => (Match::Exact, record),
        Some(pattern) => match pattern.kind() {
            PatternKind::Prefix => (Match::Prefix, pattern.text()),
            PatternKind::Components | PatternKind::Tokens | PatternKind::Levels => {
                (Match::Wildcard, pattern.text())
            }
        },
    }
}

/// The reverse. `None`: there is none of that name.
pub(crate) fn record_name(matching: Match, text: &str) -> Option<String> {
    let kind = match matching {
        Match::Exact => return Pattern::of_name(text).is_none().then(|| text.to_owned()),
        Match::Prefix => PatternKind::Prefix,
        Match::Wildcard => PatternKind::Components,
    };
    let pattern = Pattern::new(kind, text, u32::MAX).ok()?;
    Some(pattern.to_name().as_str().to_owned())
}
