//! Which names belong to a realm, and which connections may use them.

use roost_access::{Operation, is_protected};
use roost_dialect::wamp::OwnRealms;

/// Whether a connection in a realm may name something; it is in none if its dialect has no realms.
pub(crate) fn may_name(
    realms: &OwnRealms,
    own: Option<u16>,
    operation: Operation,
    name: &str,
) -> bool {
    let Some((prefix, realm)) = realms.prefixes().of(name) else {
        return true;
    };
    match own {
        Some(own) => own == realm,
        // What belongs to the protocol stays its own behind the prefix.
        None => {
            realms.get(realm).is_some_and(|realm| realm.other_dialects)
                && !is_protected(operation, &name[prefix.len()..])
        }
    }
}

/// Whether a name or a pattern is one of a realm's: those without a prefix share the names without one.
pub(crate) fn belongs(realms: &OwnRealms, realm: u16, name: &str) -> bool {
    match realms.prefixes().of(name) {
        Some((_, owner)) => owner == realm,
        None => realms.get(realm).is_none_or(|own| own.prefix.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use roost_dialect::wamp::OwnRealm;

    use super::*;

    #[test]
    fn names_of_a_realm_are_its_own() {
        let realm = |prefix: &str, other_dialects| OwnRealm {
            name: prefix.into(),
            prefix: prefix.into(),
            anonymous: true,
            tokens: true,
            other_dialects,
        };
        let realms = OwnRealms::new(vec![
            realm("a.", false),
            realm("", false),
            realm("b.", true),
        ]);
        for (own, name, [subscribes, publishes]) in [
            (Some(1), "a.x", [true; 2]),
            (Some(0), "a.x", [false; 2]),
            (Some(2), "a.x", [false; 2]),
            (Some(3), "a.x", [false; 2]),
            (None, "a.x", [false; 2]),
            (Some(3), "b.x", [true; 2]),
            (Some(1), "b.x", [false; 2]),
            (None, "b.x", [true; 2]),
            (None, "b.wamp.session.on_join", [true, false]),
            (None, "b.wampum", [true; 2]),
            (None, "c.x", [true; 2]),
            (Some(0), "c.x", [true; 2]),
            (Some(2), "a", [true; 2]),
        ] {
            for (operation, expected) in [
                (Operation::Subscribe, subscribes),
                (Operation::Publish, publishes),
                (Operation::Call, subscribes),
                (Operation::Register, publishes),
            ] {
                let may = may_name(&realms, own, operation, name);
                assert_eq!(may, expected, "{own:?} {operation:?} {name}");
            }
        }
    }
}
