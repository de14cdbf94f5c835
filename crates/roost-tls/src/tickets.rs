//! Session tickets. Nothing is stored for a client: a ticket carries its session, encrypted by a key
//! that follows from one secret and the time. So all servers that share the secret take each other's
//! tickets, before and after a restart, and an old key cannot be computed from a new one's place.

use std::fmt;
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use crate::clock::Clock;
use crate::keys::crypto::{aead, digest, hkdf, rand};
use crate::keys::{Length, TAG_BYTES, expand};
use rand::SecureRandom as _;

/// Seconds for which a key makes tickets. It takes them for as long again.
pub const EPOCH_SECONDS: u64 = 6 * 60 * 60;

/// The fewest bytes that a secret is made of.
pub const SECRET_BYTES_MIN: usize = 32;

/// Which epoch's key, so that the other need not be tried.
const EPOCH_BYTES: usize = 1;

/// Makes the key of each ticket another one, so that no number of tickets wears a key out.
const SALT_BYTES: usize = 16;

const HEAD_BYTES: usize = EPOCH_BYTES + SALT_BYTES;

/// What ticket keys follow from. Servers with the same one take each other's tickets; a restart with
/// another one means full handshakes, nothing worse.
pub struct TicketSecret([u8; 32]);

impl TicketSecret {
    /// One of this process alone.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        fill_random(&mut bytes);
        Self(bytes)
    }

    /// One made of the bytes of a file. `None` if there are fewer than [`SECRET_BYTES_MIN`].
    pub fn from_file(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < SECRET_BYTES_MIN {
            return None;
        }
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"roost ticket secret").extract(bytes);
        let mut secret = [0; 32];
        expand(&prk, &[b"secret"], &mut secret);
        Some(Self(secret))
    }

    /// For a process that takes the connections over.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0)
    }

    /// What [`TicketSecret::to_bytes`] gave.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Drop for TicketSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSecret")
    }
}

/// Makes and takes tickets.
#[derive(Debug)]
pub(crate) struct Tickets {
    secret: Arc<TicketSecret>,
    /// What the tickets are for: a client that was let in by one set of certificate authorities is
    /// not let in by a ticket under another.
    context: [u8; 32],
    clock: Arc<Clock>,
}

impl Tickets {
    /// `contexts` is all that decides which clients are let in.
    pub(crate) fn new(secret: Arc<TicketSecret>, contexts: &[&[u8]], clock: Arc<Clock>) -> Self {
        Self {
            secret,
            context: hash(contexts),
            clock,
        }
    }

    pub(crate) fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
        let epoch = self.clock.now() / EPOCH_SECONDS;
        let mut ticket = Vec::with_capacity(HEAD_BYTES + session.len() + TAG_BYTES);
        ticket.resize(HEAD_BYTES, 0);
        ticket[0] = epoch as u8;
        fill_random(&mut ticket[EPOCH_BYTES..]);
        ticket.extend_from_slice(session);
        let (head, body) = ticket.split_at_mut(HEAD_BYTES);
        let (key, nonce) = self.key(epoch, &head[EPOCH_BYTES..]);
        let tag = key
            .seal_in_place_separate_tag(nonce, aead::Aad::from(head), body)
            .ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    /// `None` if the ticket is too old, of another server, or changed.
    pub(crate) fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (head, body) = ticket.split_at_checked(HEAD_BYTES)?;
        let now = self.clock.now() / EPOCH_SECONDS;
        let epoch = [Some(now), now.checked_sub(1)]
            .into_iter()
            .flatten()
            .find(|epoch| *epoch as u8 == head[0])?;
        let (key, nonce) = self.key(epoch, &head[EPOCH_BYTES..]);
        let mut session = body.to_vec();
        let len = key
            .open_in_place(nonce, aead::Aad::from(head), &mut session)
            .ok()?
            .len();
        session.truncate(len);
        Some(session)
    }

    /// The key and nonce of one ticket.
    fn key(&self, epoch: u64, salt: &[u8]) -> (aead::LessSafeKey, aead::Nonce) {
        let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &self.secret.0);
        let epoch = epoch.to_be_bytes();
        let info = [b"ticket", &self.context[..], &epoch, salt];
        let mut bytes = Zeroizing::new([0; 44]);
        prk.expand(&info, Length(bytes.len()))
            .and_then(|okm| okm.fill(&mut bytes[..]))
            .expect("HKDF gives 255 hashes");
        let (key, nonce) = bytes.split_at(32);
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, key).expect("32 bytes");
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).expect("12 bytes");
        (aead::LessSafeKey::new(key), nonce)
    }
}

fn fill_random(bytes: &mut [u8]) {
    rand::SystemRandom::new()
        .fill(bytes)
        .expect("a system that runs has random numbers");
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
