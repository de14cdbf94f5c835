//! What is said of users, tokens and certificates, and cannot hold together.

use std::collections::HashSet;

use crate::conflict::{Conflict, size};
use crate::pattern::GRANT;
use crate::row::{Row, Section, Visitor};
use crate::table::{ClientAuth, ClientUser, Listener, Settings, Tls, WampUser, entry_path};
use crate::value::{Patterns, ValueType, shortened};

/// A user has something to log in with, and what each of its methods needs; no realm has two of a name.
pub(crate) fn check_users(settings: &Settings, found: &mut Vec<Conflict>) {
    let mut names = HashSet::new();
    for (index, user) in settings.wamp_users.iter().enumerate() {
        let path = entry_path(WampUser::SECTION.name, index);
        let mut wrong = |key: &str, other: &str, value: String, expected: &str| {
            found.push(Conflict {
                key: format!("{path}.{key}"),
                other: format!("{path}.{other}"),
                found: value,
                expected: expected.to_owned(),
                hint: None,
            });
        };
        if !user.authid.is_empty() && !names.insert((&user.realm, &user.authid)) {
            let value = format!("\"{}\" a second time in its realm", shortened(&user.authid));
            wrong("authid", "realm", value, "another name");
        }
        if user.public_keys.iter().any(|key| key == "*") {
            let expected = "keys of 64 hexadecimal digits";
            wrong("public_keys", "methods", "\"*\"".to_owned(), expected);
        }
        let has = |file: &String| !file.is_empty();
        let has_keys = !user.public_keys.is_empty();
        for method in &user.methods {
            let (has, key) = match method.as_str() {
                "ticket" => (has(&user.ticket_file), "ticket_file"),
                "wampcra" | "scram" => (has(&user.secret_file), "secret_file"),
                "cryptosign" => (has_keys, "public_keys"),
                _ => {
                    let has_any = has(&user.ticket_file) || has(&user.secret_file) || has_keys;
                    (has_any, "ticket_file, secret_file or public_keys")
                }
            };
            if !has {
                let expected = format!("the key {key} beside it");
                wrong("methods", "authid", format!("\"{method}\""), &expected);
            }
        }
    }
}

/// A token must fit in a handshake, there must be a key for it, and a cookie must be of pages that are
/// listed: a browser sends it from all.
pub(crate) fn check_auth(settings: &Settings, found: &mut Vec<Conflict>) {
    let auth = &settings.auth;
    let asks_connect = settings.hooks.iter().any(|hook| hook.names("connect"));
    let mut listeners = settings.listeners.iter();
    let has_certificates = listeners.any(|one| one.tls.client_user != ClientUser::None);
    if auth.required && !auth.is_on() && !asks_connect && !has_certificates {
        found.push(Conflict {
            key: "auth.required".to_owned(),
            other: "auth.jwt.hmac_secrets_file".to_owned(),
            found: "true".to_owned(),
            expected: "a key in [auth.jwt] beside it".to_owned(),
            hint: Some(
                "hmac_secrets_file or public_keys_file, a [[hook]] that is asked about connect, or client_user \
                 in [listener.tls]; nothing can connect as it is",
            ),
        });
    }
    for (name, party) in [
        ("audience", &auth.jwt.audience),
        ("issuer", &auth.jwt.issuer),
    ] {
        if let (Some(url), None) = (&auth.jwt.jwks_url, party) {
            found.push(Conflict {
                key: "auth.jwt.jwks_url".to_owned(),
                other: format!("auth.jwt.{name}"),
                found: format!("\"{}\"", shortened(url)),
                expected: format!("the key {name} beside it"),
                hint: Some("an issuer signs tokens for others with the same keys"),
            });
        }
    }
    let handshake = settings.limits.handshake_bytes_max;
    if auth.is_on() && auth.token_bytes_max >= handshake {
        found.push(Conflict {
            key: "auth.token_bytes_max".to_owned(),
            other: "limits.handshake_bytes_max".to_owned(),
            found: size(auth.token_bytes_max as u64),
            expected: format!(
                "less than limits.handshake_bytes_max, which is {}",
                size(handshake as u64)
            ),
            hint: Some("the token stands in the handshake's head"),
        });
    }
    let Some(cookie) = auth.cookie.as_ref().filter(|_| auth.is_on()) else {
        return;
    };
    for (index, listener) in settings.listeners.iter().enumerate() {
        if listener.allowed_origins.iter().any(|origin| origin == "*") {
            let path = entry_path(Listener::SECTION.name, index);
            found.push(Conflict {
                key: "auth.cookie".to_owned(),
                other: format!("{path}.allowed_origins"),
                found: format!("\"{cookie}\""),
                expected: format!("a list of origins in {path}.allowed_origins"),
                hint: Some("a browser sends the cookie from every page, also from one that wants to act for its visitor"),
            });
        }
    }
}

/// A certificate and its key go together, and with them what else is said of TLS.
pub(crate) fn check_tls(path: &str, tls: &Tls, found: &mut Vec<Conflict>) {
    let mut need = |key: &str, value: String, other: &str, expected: &str, hint| {
        found.push(Conflict {
            key: format!("{path}.{key}"),
            other: format!("{path}.{other}"),
            found: value,
            expected: expected.to_owned(),
            hint,
        });
    };
    let file = |file: &String| format!("\"{}\"", shortened(file));
    match (tls.certificate.as_str(), tls.key.as_str()) {
        ("", "") => {
            if let Some((name, value)) = first_changed(tls) {
                let expected = "the keys certificate and key beside it: there is no TLS without";
                need(name, value, "certificate", expected, None);
                return;
            }
        }
        ("", _) => {
            let expected = "the key certificate beside it";
            let hint = Some("it names the certificate that this private key belongs to");
            need("key", file(&tls.key), "certificate", expected, hint);
        }
        (_, "") => {
            let expected = "the key `key` beside it";
            let hint = Some("it names the file with the certificate's private key");
            need("certificate", file(&tls.certificate), "key", expected, hint);
        }
        _ => {}
    }
    let auth = ClientAuth::WORDS.write(&tls.client_auth);
    if tls.client_auth != ClientAuth::Off && tls.client_ca.is_empty() {
        let expected = "the key client_ca beside it";
        let hint = Some("it names the authorities that sign clients' certificates");
        need("client_auth", auth, "client_ca", expected, hint);
    } else if tls.client_auth == ClientAuth::Off {
        let expected = "client_auth = \"optional\" or \"required\" beside it";
        if tls.client_user != ClientUser::None {
            let user = ClientUser::WORDS.write(&tls.client_user);
            let hint = Some("clients are not asked for certificates as it is");
            need("client_user", user, "client_auth", expected, hint);
        }
        let hint = Some("clients are not asked for certificates as it is");
        for (name, value) in [
            ("client_ca", &tls.client_ca),
            ("client_crl", &tls.client_crl),
        ] {
            if !value.is_empty() {
                need(name, file(value), "client_auth", expected, hint);
            }
        }
    }
    if !tls.client_allow.is_empty() && tls.client_user == ClientUser::None {
        let expected = "client_user beside it";
        let hint = Some("without it no certificate names a user");
        let value = Patterns(GRANT).write(&tls.client_allow);
        need("client_allow", value, "client_user", expected, hint);
    }
    if !tls.tickets_secret_file.is_empty() && !tls.gives_tickets() {
        let expected = match tls.tickets {
            Some(_) => "tickets that are not false",
            None if tls.client_auth == ClientAuth::Required => {
                "tickets = true beside it, for client_auth is \"required\""
            }
            None => "tickets = true beside it, for there is a client_user",
        };
        let value = file(&tls.tickets_secret_file);
        let hint = Some("without tickets nothing is made of the secret");
        need("tickets_secret_file", value, "tickets", expected, hint);
    }
}

/// The first key that has not its default, with its value.
fn first_changed(tls: &Tls) -> Option<(&'static str, String)> {
    struct Changed(Option<(&'static str, String)>);
    impl Visitor for Changed {
        fn open(&mut self, _: Section) {}
        fn open_entry(&mut self, _: Section, _: usize) {}
        fn open_nested(&mut self, _: Section) {}
        fn key<T: ValueType>(&mut self, row: Row<T>, field: &mut T::Value, _: Option<&T::Value>) {
            if self.0.is_none() && *field != row.default {
                self.0 = Some((row.name, row.value_type.write(field)));
            }
        }
        fn close(&mut self) {}
    }
    let mut changed = Changed(None);
    tls.clone().visit_keys(None, &mut changed);
    changed.0
}
