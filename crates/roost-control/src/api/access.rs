//! Which requests may do what: the keys, their hashes, and what they allow.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use roost_config::{ApiScope, ChannelPattern};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::problem::{Kind, Problem};

/// A key of the API. The key itself is nowhere in the process but in requests.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// What messages call it.
    pub name: String,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// What may be done with it.
    pub allow: Vec<ApiScope>,
}

/// The keys of the API. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct ApiKeys(Arc<RwLock<Arc<KeySet>>>);

/// The keys that hold at a time, and what is known of them from requests that carried them.
#[derive(Default)]
pub(super) struct KeySet {
    keys: Box<[KnownKey]>,
    /// Random, and of this set alone; without it keys are hashed with each request.
    tag_key: Option<[u8; 16]>,
}

struct KnownKey {
    key: Arc<ApiKey>,
    /// A keyed hash of the key itself, once a request has carried it: cheaper than the SHA-256, and of no use
    /// to anyone without `tag_key`.
    tag: OnceLock<[u8; 16]>,
}

impl ApiKeys {
    pub(crate) fn new(keys: Vec<ApiKey>) -> ApiKeys {
        let all = ApiKeys::default();
        all.set(keys);
        all
    }

    /// Requests that come from now on have to carry one of these.
    pub(crate) fn set(&self, keys: Vec<ApiKey>) {
        let keys = Arc::new(KeySet::new(keys));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    pub(super) fn get(&self) -> Arc<KeySet> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }
}

impl KeySet {
    fn new(keys: Vec<ApiKey>) -> KeySet {
        let known = keys.into_iter().map(|key| KnownKey {
            key: Arc::new(key),
            tag: OnceLock::new(),
        });
        let mut tag_key = [0; 16];
        KeySet {
            keys: known.collect(),
            tag_key: rand::fill(&mut tag_key).is_ok().then_some(tag_key),
        }
    }

    /// The key that a request has carried.
    fn find(&self, shown: &[u8]) -> Option<&Arc<ApiKey>> {
        let tag = self.tag_key.map(|tag_key| tag_of(&tag_key, shown));
        if let Some(tag) = &tag {
            let known = self.only(|one| one.tag.get().is_some_and(|own| is_same(own, tag)));
            if let Some(known) = known {
                return Some(&known.key);
            }
        }
        let hash = digest(&SHA256, shown);
        let found = self.only(|one| is_same(hash.as_ref(), &one.key.sha256))?;
        if let Some(tag) = tag {
            let _ = found.tag.set(tag); // another key with the same hash would be the same key
        }
        Some(&found.key)
    }

    /// All are compared, whichever is found: the time says nothing of their order.
    fn only(&self, is_it: impl Fn(&KnownKey) -> bool) -> Option<&KnownKey> {
        let keys = self.keys.iter();
        keys.fold(
            None,
            |found, one| if is_it(one) { Some(one) } else { found },
        )
    }
}

fn tag_of(tag_key: &[u8; 16], shown: &[u8]) -> [u8; 16] {
    let mut hasher = SipHasher24::new_with_key(tag_key);
    hasher.write(shown);
    hasher.finish128().as_bytes()
}

/// In a time that says nothing of where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

/// On whose behalf a request is made.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// The key's.
    Key(Arc<ApiKey>),
    /// Of a process that may write to the unix socket, where there are no keys.
    Socket,
    /// An application of Pusher's, whose requests name its own channels and users alone.
    App,
}

/// What a request wants to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action<'a> {
    /// To publish on this channel.
    Publish(&'a str),
    /// To see what runs, and connections.
    Read,
    /// To disconnect clients.
    Disconnect,
    /// To subscribe connections to this channel.
    Subscribe(&'a str),
    /// To revoke tokens.
    Revoke,
    /// To let connections end at another time.
    Refresh,
    /// To read what this channel keeps, or to have it forgotten.
    History(&'a str),
    /// To read who is in this channel.
    Presence(&'a str),
}

/// What allowed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule<'a> {
    /// The permissions of the unix socket, where there are no keys.
    Socket,
    /// The signature of an application of Pusher's.
    App,
    /// This word of the key.
    Scope(&'a ApiScope),
}

/// That nothing did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Denied<'a> {
    key: &'a ApiKey,
    action: Action<'a>,
}

/// Whether a caller may do something, and which rule decided.
pub(super) fn decide<'a>(caller: &'a Caller, action: Action<'a>) -> Result<Rule<'a>, Denied<'a>> {
    let key = match caller {
        Caller::Socket => return Ok(Rule::Socket),
        Caller::App => return Ok(Rule::App),
        Caller::Key(key) => key,
    };
    let mut scopes = key.allow.iter();
    let found = scopes.find(|scope| match (scope, action) {
        (ApiScope::Publish(pattern), Action::Publish(channel))
        | (ApiScope::Subscribe(pattern), Action::Subscribe(channel))
        | (ApiScope::History(pattern), Action::History(channel))
        | (ApiScope::Presence(pattern), Action::Presence(channel)) => matches(pattern, channel),
        (ApiScope::Read, Action::Read)
        | (ApiScope::Disconnect, Action::Disconnect)
        | (ApiScope::Revoke, Action::Revoke)
        | (ApiScope::Refresh, Action::Refresh) => true,
        (
            ApiScope::Publish(_)
            | ApiScope::Read
            | ApiScope::Disconnect
            | ApiScope::Subscribe(_)
            | ApiScope::Revoke
            | ApiScope::Refresh
            | ApiScope::History(_)
            | ApiScope::Presence(_),
            _,
        ) => false,
    });
    found.map(Rule::Scope).ok_or(Denied { key, action })
}

fn matches(pattern: &ChannelPattern, channel: &str) -> bool {
    match pattern {
        ChannelPattern::Any => true,
        ChannelPattern::Exact(name) => name == channel,
        ChannelPattern::Prefix(prefix) => channel.starts_with(prefix.as_str()),
    }
}

impl fmt::Display for Denied<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.key.name;
        write!(f, "the key \"{name}\" does not allow to ")?;
        match self.action {
            Action::Publish(channel) => write!(f, "publish on {channel:?}")?,
            Action::Read => f.write_str("read")?,
            Action::Disconnect => f.write_str("disconnect")?,
            Action::Subscribe(channel) => write!(f, "subscribe connections to {channel:?}")?,
            Action::Revoke => f.write_str("revoke tokens")?,
            Action::Refresh => f.write_str("refresh connections")?,
            Action::History(channel) => write!(f, "read the history of {channel:?}")?,
            Action::Presence(channel) => write!(f, "read who is in {channel:?}")?,
        }
        let allow: Vec<String> = self.key.allow.iter().map(ToString::to_string).collect();
        write!(f, ": it allows {} (api.key.allow)", allow.join(", "))
    }
}

impl From<Denied<'_>> for Problem {
    fn from(denied: Denied<'_>) -> Problem {
        Problem::new(Kind::Forbidden, denied.to_string())
    }
}

/// On whose behalf a request is made, by the key it carries.
pub(super) fn authenticate(keys: &KeySet, headers: &HeaderMap) -> Result<Caller, Problem> {
    if keys.keys.is_empty() {
        return Ok(Caller::Socket);
    }
    let Some(shown) = shown_key(headers) else {
        let detail = "the request has no key: send Authorization: Bearer KEY, or X-API-Key: KEY";
        return Err(Problem::new(Kind::Unauthorized, detail));
    };
    let found = keys.find(shown).cloned();
    found.map(Caller::Key).ok_or_else(|| {
        let detail = "the request's key is none of this server's (api.key)";
        Problem::new(Kind::Unauthorized, detail)
    })
}

/// RFC 6750 §2.1, or the header that many APIs have. Never out of the URL, which ends up in logs.
fn shown_key(headers: &HeaderMap) -> Option<&[u8]> {
    let Some(authorization) = headers.get(AUTHORIZATION) else {
        return Some(headers.get("x-api-key")?.as_bytes());
    };
    // RFC 9110 §11.1: the scheme in any case.
    let (scheme, key) = authorization.as_bytes().split_at_checked(BEARER.len())?;
    scheme
        .eq_ignore_ascii_case(BEARER)
        .then(|| key.trim_ascii())
}

const BEARER: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, secret: &str, allow: &[&str]) -> ApiKey {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
        let scopes = allow
            .iter()
            .map(|word| ApiScope::parse(word).expect("a scope"));
        ApiKey {
            name: name.to_owned(),
            sha256,
            allow: scopes.collect(),
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|&(name, value)| {
            let value = value.parse().expect("a header's value");
            (axum::http::HeaderName::from_static(name), value)
        });
        pairs.collect()
    }

    #[test]
    fn a_scope_allows_what_it_names() {
        let one = Arc::new(key("one", "x", &["publish:order:*", "publish:news"]));
        let of_one = Caller::Key(one.clone());
        let may = |channel| decide(&of_one, Action::Publish(channel));
        assert_eq!(may("order:1").ok(), Some(Rule::Scope(&one.allow[0])));
        assert_eq!(may("news").ok(), Some(Rule::Scope(&one.allow[1])));
        for other in ["order", "orders:1", "news:1", "new", "xorder:1"] {
            let denied = may(other).expect_err("no scope names it").to_string();
            assert!(
                denied.contains(other) && denied.contains("publish:order:*"),
                "{denied}"
            );
        }
        let all = Caller::Key(Arc::new(key("all", "x", &["publish"])));
        assert!(decide(&all, Action::Publish("any:thing")).is_ok());
        let socket = decide(&Caller::Socket, Action::Publish("c"));
        assert_eq!(socket.ok(), Some(Rule::Socket));
    }

    fn name_of(keys: &KeySet, pairs: &[(&'static str, &str)]) -> Option<String> {
        match authenticate(keys, &headers(pairs)) {
            Ok(Caller::Key(key)) => Some(key.name.clone()),
            Ok(Caller::Socket | Caller::App) => panic!("there are keys"),
            Err(_) => None,
        }
    }

    #[test]
    fn a_key_is_known_by_its_hash_in_either_header() {
        let mut keys = KeySet::new(vec![
            key("old", "first", &["publish"]),
            key("new", "second", &["publish"]),
        ]);
        assert!(keys.tag_key.is_some(), "there is randomness");
        for is_tagged in [true, false] {
            if !is_tagged {
                keys.tag_key = None;
            }
            // The second time keys are known by their tags.
            for _ in 0..2 {
                for (pairs, name) in [
                    (&[("authorization", "Bearer first")], "old"),
                    (&[("authorization", "bearer second")], "new"),
                    (&[("x-api-key", "second")], "new"),
                ] {
                    assert_eq!(name_of(&keys, pairs).as_deref(), Some(name), "{pairs:?}");
                }
                for bad in [
                    &[][..],
                    &[("authorization", "Bearer third")],
                    &[("authorization", "Bearer")],
                    &[("authorization", "Basic first")],
                    &[("authorization", "Digest first")],
                    &[("authorization", "first")],
                    &[("x-api-key", "")],
                    &[("x-api-key", "first ")],
                    &[("authorization", "Bearer third"), ("x-api-key", "first")],
                ] {
                    assert_eq!(name_of(&keys, bad), None, "{bad:?}");
                }
            }
        }
        assert!(keys.keys.iter().all(|one| one.tag.get().is_some()));
    }

    #[test]
    fn a_tag_opens_nothing_once_its_key_is_gone() {
        let all = ApiKeys::new(vec![key("old", "first", &["publish"])]);
        let first = [("x-api-key", "first")];
        assert_eq!(name_of(&all.get(), &first).as_deref(), Some("old"));
        let before = all.get();
        all.set(vec![key("new", "second", &["publish"])]);
        assert_eq!(name_of(&all.get(), &first), None);
        assert_ne!(all.get().tag_key, before.tag_key);
    }

    /// One that allowed more would open what the key's owner was not given.
    #[test]
    fn a_scope_allows_its_own_action_and_no_other() {
        let actions = [
            ("publish", Action::Publish("order:1")),
            ("read", Action::Read),
            ("disconnect", Action::Disconnect),
            ("subscribe", Action::Subscribe("order:1")),
            ("revoke", Action::Revoke),
            ("refresh", Action::Refresh),
            ("history", Action::History("order:1")),
            ("presence", Action::Presence("order:1")),
        ];
        let words = actions.map(|(word, _)| word);
        for scope in ApiScope::all() {
            let word = scope.to_string();
            assert!(words.contains(&word.as_str()), "{word} is missing here");
        }
        for word in words {
            let mut scopes = vec![word.to_owned()];
            for channels in ["order:*", "order:1"] {
                let scope = format!("{word}:{channels}");
                scopes.extend(ApiScope::parse(&scope).is_ok().then_some(scope));
            }
            for scope in scopes {
                let caller = Caller::Key(Arc::new(key("one", "x", &[&scope])));
                for (other, action) in actions {
                    let is_allowed = decide(&caller, action).is_ok();
                    assert_eq!(is_allowed, other == word, "{scope}: {action:?}");
                }
            }
        }
    }
}
