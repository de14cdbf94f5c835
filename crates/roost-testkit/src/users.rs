//! Users of realms, for tests.

use std::num::NonZeroU32;
use std::sync::Arc;

use roost_access::{Matching, Operation, Operations, Pattern, Permission, PermissionSet, Secret};
use roost_auth::{Credentials, Directory, Options, Realm, Salted, User};
use roost_dialect::wamp::Users;
use roost_reactor::Settings;

/// A permission.
pub fn permission(matching: Matching, text: &str, allow: &[Operation]) -> Permission {
    Permission {
        pattern: Pattern::new(matching, text),
        allow: Operations::from_iter(allow.iter().copied()),
    }
}

/// A user that logs in by a ticket or, with the same secret, by any other method but with a key.
pub fn user(realm: &str, name: &str, secret: &str, role: Arc<PermissionSet>) -> User {
    let secret = || Secret::from(secret.as_bytes().to_vec());
    let salted = Salted {
        salt: roost_auth::salt_of(realm, name),
        iterations: NonZeroU32::new(1_000).expect("not zero"),
        key_bytes: 32,
    };
    User {
        realm: realm.to_owned(),
        name: name.to_owned(),
        role,
        credentials: Credentials {
            ticket: Some(secret()),
            wampcra: Some((secret(), None)),
            scram: Some((secret(), salted)),
            public_keys: Vec::new(),
        },
    }
}

/// A role.
pub fn role(name: &str, permissions: Vec<Permission>) -> Arc<PermissionSet> {
    Arc::new(PermissionSet::of_role(name, permissions))
}

/// Has a server know these users. `anonymous` is what anonymous sessions of realms may do.
///
/// # Panics
/// When they cannot be.
pub fn set(settings: &mut Settings, users: Vec<User>, anonymous: Vec<Realm>) {
    set_with(settings, users, anonymous, true);
}

/// The same, with anonymous sessions or without.
///
/// # Panics
/// When they cannot be.
pub fn set_with(
    settings: &mut Settings,
    users: Vec<User>,
    anonymous: Vec<Realm>,
    lets_in_anonymous: bool,
) {
    let options = Options {
        seed: [7; 32],
        clock: || 1_800_000_000_000,
        lets_in_anonymous,
    };
    let directory = Directory::new(options, anonymous, users);
    let directory = directory.expect("users that can be");
    let wamp = Arc::make_mut(&mut settings.dialects.wamp);
    wamp.users = Some(Users(Arc::new(directory)));
}
