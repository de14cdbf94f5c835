//! Pusher's signatures: of a client that subscribes or signs in, and of a request to the HTTP API. All are
//! HMAC-SHA-256 with the secret of an application, in hexadecimal.

use std::fmt::{self, Write as _};

use aws_lc_rs::hmac;
use roost_access::Secret;

use crate::keys::{BYTES, equal, from_hex, key, mac, to_hex};

/// An application: who signs what its clients and its servers may do.
#[derive(Debug, Clone)]
pub struct PusherApp {
    /// Its name in paths of the HTTP API.
    pub id: Box<str>,
    /// By which clients and servers name it. No secret.
    pub key: Box<str>,
    /// What it signs with.
    pub signing: PusherKey,
    /// What its channels begin with outside of it.
    pub prefix: Box<str>,
    /// Whether its clients may connect, and its requests are answered.
    pub enabled: bool,
    /// Whether its clients may publish.
    pub client_events: bool,
    /// Whether a client stays only if the application signs something for it in time.
    pub authorized_connections: bool,
}

/// What signatures of one application are made and checked with.
#[derive(Clone)]
pub struct PusherKey(hmac::Key);

impl PusherKey {
    /// Of the application's secret.
    pub fn new(secret: &Secret) -> PusherKey {
        PusherKey(key(secret.expose()))
    }

    /// Signs that the connection of this id may subscribe to a channel; `data` is the `channel_data` of a
    /// presence channel, as it is sent.
    pub fn sign_channel(&self, socket_id: &str, channel: &str, data: Option<&str>) -> String {
        to_hex(&self.channel(socket_id, channel, data))
    }

    /// Whether this is the signature of the same. Takes as long for a wrong one as for a right one.
    pub fn verifies_channel(
        &self,
        signature: &str,
        socket_id: &str,
        channel: &str,
        data: Option<&str>,
    ) -> bool {
        is_same(&self.channel(socket_id, channel, data), signature)
    }

    /// Signs that the connection of this id is that of a user; `data` is the `user_data`, as it is sent.
    pub fn sign_user(&self, socket_id: &str, data: &str) -> String {
        to_hex(&self.user(socket_id, data))
    }

    /// Whether this is the signature of the same.
    pub fn verifies_user(&self, signature: &str, socket_id: &str, data: &str) -> bool {
        is_same(&self.user(socket_id, data), signature)
    }

    /// Signs a request to the HTTP API. `query` are its parameters, decoded; an `auth_signature` among them
    /// is left out.
    pub fn sign_request(&self, method: &str, path: &str, query: &[(&str, &str)]) -> String {
        to_hex(&self.request(method, path, query))
    }

    /// Whether this is the signature of the same. Whether `body_md5` is the body's and `auth_timestamp` is
    /// of now are the caller's questions ([`body_md5`]).
    pub fn verifies_request(
        &self,
        signature: &str,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> bool {
        is_same(&self.request(method, path, query), signature)
    }

    /// Signs the body of a webhook.
    pub fn sign_body(&self, body: &[u8]) -> String {
        to_hex(&mac(&self.0, &[body]))
    }

    fn channel(&self, socket_id: &str, channel: &str, data: Option<&str>) -> [u8; BYTES] {
        let [socket_id, channel] = [socket_id, channel].map(str::as_bytes);
        match data {
            Some(data) => mac(&self.0, &[socket_id, b":", channel, b":", data.as_bytes()]),
            None => mac(&self.0, &[socket_id, b":", channel]),
        }
    }

    fn user(&self, socket_id: &str, data: &str) -> [u8; BYTES] {
        mac(
            &self.0,
            &[socket_id.as_bytes(), b"::user::", data.as_bytes()],
        )
    }

    /// Of the method, the path and the query: parameters by their names in lower case, which are sorted.
    fn request(&self, method: &str, path: &str, query: &[(&str, &str)]) -> [u8; BYTES] {
        let lower = query
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), *value));
        let mut pairs: Vec<(String, &str)> = lower.filter(|(name, _)| name != SIGNATURE).collect();
        pairs.sort_unstable();
        let mut text = format!("{}\n{path}\n", method.to_ascii_uppercase());
        for (at, (name, value)) in pairs.iter().enumerate() {
            let between = if at == 0 { "" } else { "&" };
            let written = write!(text, "{between}{name}={value}");
            written.expect("a string takes all");
        }
        mac(&self.0, &[text.as_bytes()])
    }
}

impl fmt::Debug for PusherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PusherKey(..)")
    }
}

/// The MD5 of a request's body, as its parameter `body_md5` has it. It protects nothing by itself; it is
/// what is signed of the body.
pub fn body_md5(body: &[u8]) -> String {
    to_hex(&md5::compute(body).0)
}

/// Whether a parameter `body_md5` is of this body. Its digits may be in upper case.
pub fn is_body_md5(given: &str, body: &[u8]) -> bool {
    from_hex::<16>(given).is_some_and(|given| equal(&given, &md5::compute(body).0))
}

fn is_same(expected: &[u8; BYTES], signature: &str) -> bool {
    let given = from_hex::<BYTES>(signature);
    equal(expected, &given.unwrap_or_default()) && given.is_some()
}

/// The parameter that is the signature itself.
const SIGNATURE: &str = "auth_signature";

#[cfg(test)]
mod tests {
    use super::*;

    fn documented() -> PusherKey {
        PusherKey::new(&Secret::from("7ad3773142a6692b25b8".to_owned()))
    }

    /// The examples of Pusher's documentation ("Auth signatures").
    #[test]
    fn subscriptions_are_signed_as_the_documentation_has_it() {
        let (key, socket) = (documented(), "1234.1234");
        let private = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        assert_eq!(key.sign_channel(socket, "private-foobar", None), private);
        assert!(key.verifies_channel(private, socket, "private-foobar", None));
        let data = r#"{"user_id":10,"user_info":{"name":"Mr. Pusher"}}"#;
        let presence = "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c";
        assert_eq!(
            key.sign_channel(socket, "presence-foobar", Some(data)),
            presence
        );
        assert!(key.verifies_channel(presence, socket, "presence-foobar", Some(data)));
        for (socket, channel, data) in [
            ("1234.1235", "presence-foobar", Some(data)),
            (socket, "presence-foobaz", Some(data)),
            (socket, "presence-foobar", Some("{}")),
            (socket, "presence-foobar", None),
        ] {
            assert!(
                !key.verifies_channel(presence, socket, channel, data),
                "{socket} {channel}"
            );
        }
    }

    #[test]
    fn users_are_signed_as_the_documentation_has_it() {
        let (key, socket, data) = (documented(), "1234.1234", r#"{"id":"12345"}"#);
        let signature = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba";
        assert_eq!(key.sign_user(socket, data), signature);
        assert!(key.verifies_user(signature, socket, data));
        assert!(!key.verifies_user(signature, socket, r#"{"id":"12346"}"#));
        assert!(!key.verifies_user(signature, "1234.1235", data));
    }

    /// The example of Pusher's documentation ("HTTP API: authentication").
    #[test]
    fn requests_are_signed_as_the_documentation_has_it() {
        let key = documented();
        let body = br#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
        let md5 = "ec365a775a4cd0599faeb73354201b6f";
        assert_eq!(body_md5(body), md5);
        assert!(is_body_md5(&md5.to_ascii_uppercase(), body));
        assert!(!is_body_md5(md5, b"{}") && !is_body_md5("ec36", body));
        let query = [
            ("body_md5", md5),
            ("auth_version", "1.0"),
            ("Auth_Key", "278d425bdf160c739803"),
            ("auth_timestamp", "1353088179"),
            ("auth_signature", "whatever it is"),
        ];
        let signature = "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";
        assert_eq!(
            key.sign_request("post", "/apps/3/events", &query),
            signature
        );
        assert!(key.verifies_request(signature, "POST", "/apps/3/events", &query));
        for (method, path, query) in [
            ("GET", "/apps/3/events", &query[..]),
            ("POST", "/apps/4/events", &query[..]),
            ("POST", "/apps/3/events", &query[1..]),
        ] {
            assert!(
                !key.verifies_request(signature, method, path, query),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let key = documented();
        let right = key.sign_channel("1.1", "private-a", None);
        assert!(key.verifies_channel(&right.to_ascii_uppercase(), "1.1", "private-a", None));
        let zeros = "0".repeat(64);
        for bad in ["", "x", &zeros, &right[..62], &format!("{right}00"), "ä"] {
            assert!(
                !key.verifies_channel(bad, "1.1", "private-a", None),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_key_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", documented()), "PusherKey(..)");
    }
}
