//! What rustls tells about a handshake while it is under way and hands out nowhere else: the traffic
//! secrets, and the name that the client asked for. Both are told on the calling thread, inside of a
//! call, so a slot of the thread takes them and is empty between calls.

use std::cell::RefCell;

use rustls::KeyLog;
use zeroize::Zeroize;

use crate::keys::Suite;

thread_local! {
    static SLOT: RefCell<Logged> = const { RefCell::new(Logged::EMPTY) };
}

/// What has been told.
pub(crate) struct Logged {
    client: Secret,
    server: Secret,
    pub(super) server_name: Option<Box<str>>,
}

/// A traffic secret and its length.
struct Secret {
    bytes: [u8; 48],
    len: usize,
}

impl Logged {
    const EMPTY: Self = Self {
        client: Secret::EMPTY,
        server: Secret::EMPTY,
        server_name: None,
    };

    /// The client's and the server's application traffic secret.
    pub(super) fn both(&self, suite: Suite) -> Option<(&[u8], &[u8])> {
        let len = suite.secret_bytes();
        (self.client.len == len && self.server.len == len)
            .then(|| (&self.client.bytes[..len], &self.server.bytes[..len]))
    }
}

impl Default for Logged {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Secret {
    const EMPTY: Self = Self {
        bytes: [0; 48],
        len: 0,
    };

    fn put(&mut self, secret: &[u8]) {
        if let Some(bytes) = self.bytes.get_mut(..secret.len()) {
            bytes.copy_from_slice(secret);
            self.len = secret.len();
        }
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// Calls rustls, and adds what it tells meanwhile to `logged`.
pub(super) fn collect<T>(logged: &mut Logged, call: impl FnOnce() -> T) -> T {
    SLOT.with_borrow_mut(|slot| std::mem::swap(slot, logged));
    let result = call();
    SLOT.with_borrow_mut(|slot| std::mem::swap(slot, logged));
    result
}

/// The client has asked for this name.
pub(super) fn note_server_name(name: &str) {
    SLOT.with_borrow_mut(|slot| slot.server_name = Some(name.into()));
}

/// Takes the two application traffic secrets and lets no other one out.
#[derive(Debug)]
pub(super) struct TrafficSecrets;

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

impl KeyLog for TrafficSecrets {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        SLOT.with_borrow_mut(|slot| match label {
            CLIENT => slot.client.put(secret),
            SERVER => slot.server.put(secret),
            _ => {}
        });
    }

    fn will_log(&self, label: &str) -> bool {
        label == CLIENT || label == SERVER
    }
}
