//! Who may log in: users and permissions of the configuration, and the files with their secrets, read and
//! checked at the start.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use roost_access::{
    Matching, Method, Operation, Operations, Pattern, Permission, PermissionSet, PermissionSets,
    Secret,
};
use roost_auth::{Credentials, Directory, Options, Realm, Salted, User};
use roost_config::{self as config, Loaded};
use roost_dialect::wamp::Users;

use crate::tls::Lines;

/// Reads what all users name. `None`: sessions are anonymous, and may do what namespaces allow anyone. The
/// warnings are for the log, or for people.
pub(crate) fn load(loaded: &Loaded) -> Result<(Option<Users>, Vec<String>), Lines> {
    let settings = &loaded.settings;
    let lets_in_anonymous = settings.wamp.anonymous;
    let mut lines = Lines {
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    if settings.wamp_users.is_empty() && settings.wamp_permissions.is_empty() && lets_in_anonymous {
        return Ok((None, lines.warnings));
    }
    let mut roles = Roles::of(settings);
    let realms = roles.anonymous();
    let users = settings.wamp_users.iter().enumerate();
    let users = users.map(|(at, user)| load_user(loaded, at, user, &mut roles, &mut lines));
    let users: Vec<User> = users.collect();
    if !lines.errors.is_empty() {
        return Err(lines);
    }
    let mut seed = [0; 32];
    if aws_lc_rs::rand::fill(&mut seed).is_err() {
        lines.errors.push("no random numbers can be had".to_owned());
        return Err(lines);
    }
    let options = Options {
        seed,
        clock: unix_ms,
        lets_in_anonymous,
    };
    warn_of_permissions(settings, &mut lines);
    match Directory::new(options, realms, users) {
        Ok(directory) => Ok((Some(Users(Arc::new(directory))), lines.warnings)),
        Err(error) => {
            let place = loaded.user_place(error.user, "authid");
            lines.errors.push(format!("{place}: {}", error.what));
            Err(lines)
        }
    }
}

/// The roles of all realms.
struct Roles {
    sets: PermissionSets,
    permissions: HashMap<(String, String), Vec<Permission>>,
}

impl Roles {
    fn of(settings: &config::Settings) -> Roles {
        let realms = settings.wamp_realms.iter();
        let prefixes: HashMap<&str, &str> = realms
            .map(|realm| (realm.name.as_str(), realm.prefix.as_str()))
            .collect();
        let mut permissions: HashMap<_, Vec<_>> = HashMap::new();
        for one in &settings.wamp_permissions {
            let role = (one.realm.clone(), one.role.clone());
            let prefix = prefixes.get(one.realm.as_str()).copied();
            let permission = permission(one, prefix.unwrap_or_default());
            permissions.entry(role).or_default().push(permission);
        }
        Roles {
            sets: PermissionSets::default(),
            permissions,
        }
    }

    /// What a role may do; one without permissions, what namespaces allow all who are authenticated.
    fn get(&mut self, realm: &str, role: &str) -> Arc<PermissionSet> {
        let key = (realm.to_owned(), role.to_owned());
        let permissions = self.permissions.get(&key).cloned().unwrap_or_default();
        self.sets.intern(PermissionSet::of_role(role, permissions))
    }

    fn anonymous(&mut self) -> Vec<Realm> {
        let roles = self.permissions.keys();
        let of_anonymous = roles.filter(|(_, role)| role == Method::Anonymous.name());
        let realms: Vec<String> = of_anonymous.map(|(realm, _)| realm.clone()).collect();
        let realm = |name: String| Realm {
            anonymous: self.get(&name, Method::Anonymous.name()),
            name,
        };
        realms.into_iter().map(realm).collect()
    }
}

/// What is allowed on names as they are outside of the realm, where they begin with its prefix.
fn permission(from: &config::WampPermission, prefix: &str) -> Permission {
    // Every key is named, so that one that is not obeyed does not compile.
    let config::WampPermission {
        realm: _, // the role's
        role: _,
        uri,
        match_,
        allow,
    } = from;
    let matching = match match_ {
        config::Matching::Exact => Matching::Exact,
        config::Matching::Prefix => Matching::Prefix,
        config::Matching::Wildcard => Matching::Wildcard,
    };
    let is_allowed = |operation: &Operation| {
        allow
            .iter()
            .any(|word| word == "*" || word == operation.name())
    };
    Permission {
        pattern: Pattern::new(matching, [prefix, uri.as_str()].concat()),
        allow: Operations::from_iter(Operation::ALL.into_iter().filter(is_allowed)),
    }
}

fn load_user(
    loaded: &Loaded,
    at: usize,
    from: &config::WampUser,
    roles: &mut Roles,
    lines: &mut Lines,
) -> User {
    let config::WampUser {
        authid,
        realm,
        role,
        ticket_file,
        secret_file,
        salt,
        iterations,
        public_keys,
        methods,
    } = from;
    let uses = |method: Method| {
        methods
            .iter()
            .any(|word| word == "*" || word == method.name())
    };
    let mut secret = |key, path: &str| {
        let path = (!path.is_empty()).then(|| loaded.user_file(at, key, path))?;
        match read_secret(&path, lines) {
            Ok(secret) => Some(secret),
            Err(what) => {
                let (place, path) = (loaded.user_place(at, key), path.display());
                lines.errors.push(format!("{place}: {path}: {what}"));
                None
            }
        }
    };
    let ticket = secret("ticket_file", ticket_file).filter(|_| uses(Method::Ticket));
    let password = secret("secret_file", secret_file);
    let iterations = NonZeroU32::new(*iterations).expect("the configuration takes 1,000 and more");
    let salted = |salt: String| Salted {
        salt,
        iterations,
        key_bytes: KEY_BYTES,
    };
    let wampcra = password.clone().filter(|_| uses(Method::WampCra));
    let wampcra = wampcra.map(|password| (password, salt.clone().map(salted)));
    let scram = password.filter(|_| uses(Method::Scram)).map(|password| {
        let salt = salt.clone();
        let salt = salt.unwrap_or_else(|| roost_auth::salt_of(realm, authid));
        (password, salted(salt))
    });
    User {
        realm: realm.clone(),
        name: authid.clone(),
        role: roles.get(realm, role),
        credentials: Credentials {
            ticket,
            wampcra,
            scram,
            public_keys: match uses(Method::CryptoSign) {
                true => public_keys.clone(),
                false => Vec::new(),
            },
        },
    }
}

pub(crate) fn read_secret(path: &Path, lines: &mut Lines) -> Result<Secret, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut file = File::open(path).map_err(text)?;
    if file.metadata().map_err(text)?.permissions().mode() & READABLE_BY_ALL != 0 {
        let path = path.display();
        lines.warnings.push(format!(
            "{path}: a secret that every user of this machine can read. Remedy: chmod o-r {path}"
        ));
    }
    // With room for all of it, so that no copy is left behind by growing.
    let mut bytes = Vec::with_capacity(SECRET_BYTES_MAX + 1);
    let mut start = (&mut file).take(SECRET_BYTES_MAX as u64 + 1);
    start.read_to_end(&mut bytes).map_err(text)?;
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(format!("it has more than {SECRET_BYTES_MAX} bytes"));
    }
    Ok(Secret::of_text(bytes)?)
}

/// Permissions do something only where a namespace asks for them.
fn warn_of_permissions(settings: &config::Settings, lines: &mut Lines) {
    let asks = |policy: &config::ChannelPolicy| {
        policy.publish == config::Publish::Granted
            || policy.presence_read == config::Readers::Granted
            || [policy.subscribe, policy.call, policy.register].contains(&config::Access::Granted)
    };
    let namespaces = settings.namespaces.iter().map(|one| &one.policy);
    let mut policies = std::iter::once(&settings.channels).chain(namespaces);
    if !settings.wamp_permissions.is_empty() && !policies.any(asks) {
        let warning = "[[wamp.permission]]: no namespace asks for permissions. Remedy: \"granted\" for \
                       publish, subscribe, call, register or presence_read in [channels] or [[namespace]]";
        lines.warnings.push(warning.to_owned());
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

const READABLE_BY_ALL: u32 = 0o004;
const SECRET_BYTES_MAX: usize = 4096;
/// `wampcra`: bytes of the key that is derived from a password.
const KEY_BYTES: u32 = 32;
