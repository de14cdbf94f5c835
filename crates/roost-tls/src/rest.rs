//! What an established connection is: 208 plain bytes.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::control::Control;
use crate::keys::{Keys, Receiving, Sending, Side, Suite, Version};

/// An established TLS connection at rest: secrets, keys, IVs and record numbers of both directions,
/// and six bytes of counters. No pointer and nothing of the library that did the handshake.
///
/// It is neither `Clone` nor `Copy`: two copies that both seal would use a nonce twice. A slot for it
/// may stand anywhere. All bits zero are a vacant slot, so that a page of zeros is a page of vacant
/// slots. Keys are wiped when it is dropped, released or moved out.
#[repr(C, align(8))]
pub struct Rest {
    tx: Sending,
    rx: Receiving,
    control: Control,
    /// `Suite`, 0 if vacant.
    suite: u8,
    flags: u8,
}

const _: () = assert!(size_of::<Rest>() == 208);

/// Bits of `Rest::flags`.
mod flag {
    pub(super) const CLIENT: u8 = 1;
    /// The peer asked for a KeyUpdate that has not been sent.
    pub(super) const OWES_UPDATE: u8 = 2;
    /// The peer is to be asked for a KeyUpdate.
    pub(super) const WANTS_UPDATE: u8 = 4;
    /// It has been asked.
    pub(super) const ASKED_UPDATE: u8 = 8;
    pub(super) const CLOSE_SENT: u8 = 16;
    pub(super) const CLOSE_RECEIVED: u8 = 32;
    /// A record of the peer was refused; no other is looked at.
    pub(super) const FAILED: u8 = 64;
    pub(super) const ALL: u8 = 127;
}

/// Records under one key of AES-GCM after which the key is changed (1.3), half of where rustls and
/// BoringSSL stop; RFC 8446 §5.5 says 2^24.5.
pub const REKEY_AFTER: u64 = 1 << 23;

/// TLS 1.2 cannot change its keys. Connections with AES-GCM are to be closed after so many records.
pub const CLOSE_AFTER: u64 = 1 << 24;

/// RFC 8446 §5.5: 2^24.5, beyond which nothing is sealed.
pub(crate) const SEALED_MAX: u64 = 23_726_566;

/// Keys that a handshake has come to, for one direction.
pub(crate) enum Material<'a> {
    /// TLS 1.3: the traffic secret.
    Secret { secret: &'a [u8], seq: u64 },
    /// TLS 1.2: what was made of the key block.
    Key {
        key: &'a [u8],
        iv: &'a [u8; 12],
        seq: u64,
    },
}

impl Rest {
    /// A slot without a connection.
    pub const VACANT: Self = Self {
        tx: Sending(Keys::VACANT),
        rx: Receiving(Keys::VACANT),
        control: Control::NEW,
        suite: 0,
        flags: 0,
    };

    /// Begins a connection here. The two directions are told apart in this function alone.
    pub(crate) fn establish(
        &mut self,
        side: Side,
        suite: Suite,
        client: &Material<'_>,
        server: &Material<'_>,
    ) {
        self.release();
        let (tx, rx) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        tx.put(&mut self.tx.0, suite);
        rx.put(&mut self.rx.0, suite);
        self.suite = suite as u8;
        if side == Side::Client {
            self.flags = flag::CLIENT;
        }
    }

    /// Whether there is no connection.
    #[inline]
    pub fn is_vacant(&self) -> bool {
        self.suite == 0
    }

    /// Its suite. `None` if vacant.
    #[inline]
    pub fn suite(&self) -> Option<Suite> {
        Suite::from_place(self.suite)
    }

    /// Its version. `None` if vacant.
    pub fn version(&self) -> Option<Version> {
        Some(self.suite()?.version())
    }

    /// Which end it is.
    pub fn side(&self) -> Side {
        match self.has(flag::CLIENT) {
            true => Side::Client,
            false => Side::Server,
        }
    }

    /// Records that were sealed under the present key.
    pub fn sealed(&self) -> u64 {
        self.tx.0.seq()
    }

    /// Records that were opened under the present key.
    pub fn opened(&self) -> u64 {
        self.rx.0.seq()
    }

    /// Whether something must be sent though there is no data: a key update. Sealing nothing sends
    /// it. It need not be at once, and one answer serves all requests before it.
    #[inline]
    pub fn owes_output(&self) -> bool {
        self.has(flag::OWES_UPDATE | flag::WANTS_UPDATE) && !self.has(flag::CLOSE_SENT)
    }

    /// Asks for new keys in both directions, with the next record that is sealed. Only in 1.3; it is
    /// done without being asked for when a key has been used long enough.
    pub fn request_key_update(&mut self) {
        if self.version() == Some(Version::Tls13) {
            self.flags |= flag::WANTS_UPDATE;
        }
    }

    /// Whether its keys have been used as often as may be and cannot be changed (TLS 1.2): the
    /// connection is to be closed. There is time for a close frame and more.
    pub fn is_worn_out(&self) -> bool {
        self.suite().is_some_and(|suite| {
            suite.version() == Version::Tls12
                && suite.wears_out()
                && self.sealed().max(self.opened()) >= CLOSE_AFTER
        })
    }

    /// Whether close_notify or another alert has been sealed: nothing is sealed behind it.
    pub fn is_send_closed(&self) -> bool {
        self.has(flag::CLOSE_SENT)
    }

    /// Whether the peer's close_notify has come: its FIN.
    pub fn is_receive_closed(&self) -> bool {
        self.has(flag::CLOSE_RECEIVED)
    }

    /// Whether a record of the peer was refused.
    pub fn has_failed(&self) -> bool {
        self.has(flag::FAILED)
    }

    /// Wipes the slot, which is vacant then: all zero.
    pub fn release(&mut self) {
        let Self {
            tx,
            rx,
            control,
            suite,
            flags,
        } = self;
        tx.0.wipe();
        rx.0.wipe();
        *control = Control::NEW;
        suite.zeroize();
        flags.zeroize();
    }

    /// Moves the connection into `slot`, and leaves no copy of its keys behind in this one.
    pub fn move_to(&mut self, slot: &mut Self) {
        slot.release();
        let Self {
            tx,
            rx,
            control,
            suite,
            flags,
        } = self;
        slot.tx.0.copy_from(&tx.0);
        slot.rx.0.copy_from(&rx.0);
        slot.control = control.clone();
        (slot.suite, slot.flags) = (*suite, *flags);
        self.release();
    }
}

/// A connection written down, for another process.
impl Rest {
    /// Bytes of [`Rest::into_bytes`].
    pub const EXPORT_BYTES: usize = 4 + Control::BYTES + 2 * Keys::BYTES;

    const EXPORT_VERSION: u8 = 1;

    /// Writes the connection down and wipes it. It must not seal anything more here: the bytes are
    /// the connection now, and key material. What the peer still needs beside them is ciphertext that
    /// was sealed and not sent, and the beginning of a record that is not whole.
    pub fn into_bytes(self) -> Zeroizing<[u8; Self::EXPORT_BYTES]> {
        let mut bytes = Zeroizing::new([0; Self::EXPORT_BYTES]);
        let Self {
            tx,
            rx,
            control,
            suite: _,
            flags,
        } = &self;
        let suite = self.suite().map_or(0, Suite::id).to_le_bytes();
        let (head, rest) = bytes.split_at_mut(4);
        head.copy_from_slice(&[Self::EXPORT_VERSION, *flags, suite[0], suite[1]]);
        let (counts, keys) = rest
            .split_first_chunk_mut()
            .expect("EXPORT_BYTES is their sum");
        control.write(counts);
        let (sending, receiving) = keys
            .split_first_chunk_mut()
            .expect("EXPORT_BYTES is their sum");
        tx.0.write(sending);
        let receiving = receiving.first_chunk_mut();
        rx.0.write(receiving.expect("EXPORT_BYTES is their sum"));
        bytes // self is wiped
    }

    /// Reads what [`Rest::into_bytes`] wrote, in this version of Roost or an older one.
    ///
    /// # Errors
    /// The bytes are of another format, or of a suite that this version does not know: the connection
    /// cannot go on here.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ImportError> {
        let bytes: &[u8; Self::EXPORT_BYTES] = bytes.try_into().map_err(|_| ImportError::Length)?;
        let [version, flags, low, high, ..] = *bytes;
        if version != Self::EXPORT_VERSION {
            return Err(ImportError::Version(version));
        }
        let mut rest = Self::VACANT;
        rest.suite = match u16::from_le_bytes([low, high]) {
            0 => 0,
            id => Suite::from_id(id).ok_or(ImportError::Suite(id))? as u8,
        };
        if flags & !flag::ALL != 0 {
            return Err(ImportError::State);
        }
        rest.flags = flags;
        let (counts, keys) = bytes[4..]
            .split_first_chunk()
            .expect("EXPORT_BYTES is their sum");
        rest.control = Control::read(*counts).ok_or(ImportError::State)?;
        let (sending, receiving) = keys.split_first_chunk().expect("EXPORT_BYTES is their sum");
        rest.tx.0.read(sending);
        let receiving = receiving.first_chunk();
        rest.rx
            .0
            .read(receiving.expect("EXPORT_BYTES is their sum"));
        Ok(rest)
    }
}

/// What opening and sealing do with it.
impl Rest {
    pub(crate) fn tx(&mut self) -> &mut Sending {
        &mut self.tx
    }

    pub(crate) fn rx(&mut self) -> &mut Receiving {
        &mut self.rx
    }

    pub(crate) fn control(&mut self) -> &mut Control {
        &mut self.control
    }

    /// The peer has changed the key that it seals with.
    pub(crate) fn handle_key_update(&mut self, suite: Suite, requested: bool) {
        self.rx.0.update(suite);
        self.flags &= !(flag::WANTS_UPDATE | flag::ASKED_UPDATE);
        if requested {
            self.flags |= flag::OWES_UPDATE;
        }
    }

    /// After a record was opened: a key that has been used long enough is to be changed by the peer.
    #[inline]
    pub(crate) fn check_received(&mut self, suite: Suite) {
        let is_due = self.opened() >= REKEY_AFTER
            && suite.wears_out()
            && suite.version() == Version::Tls13
            && !self.has(flag::ASKED_UPDATE);
        if is_due {
            self.flags |= flag::WANTS_UPDATE;
        }
    }

    /// Whether a KeyUpdate goes before the next record, and then whether it asks for another.
    #[inline]
    pub(crate) fn due_key_update(&self, suite: Suite) -> Option<bool> {
        let is_due = self.has(flag::OWES_UPDATE | flag::WANTS_UPDATE)
            || self.sealed() >= REKEY_AFTER && suite.wears_out();
        (is_due && suite.version() == Version::Tls13).then(|| self.has(flag::WANTS_UPDATE))
    }

    /// The KeyUpdate has been sealed.
    pub(crate) fn update_sent(&mut self, suite: Suite) {
        self.tx.0.update(suite);
        if self.has(flag::WANTS_UPDATE) {
            self.flags |= flag::ASKED_UPDATE;
        }
        self.flags &= !(flag::OWES_UPDATE | flag::WANTS_UPDATE);
    }

    pub(crate) fn close_sent(&mut self) {
        self.flags |= flag::CLOSE_SENT;
    }

    pub(crate) fn close_received(&mut self) {
        self.flags |= flag::CLOSE_RECEIVED;
    }

    pub(crate) fn failed(&mut self) {
        self.flags |= flag::FAILED;
    }

    fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

impl Material<'_> {
    fn put(&self, keys: &mut Keys, suite: Suite) {
        match *self {
            Self::Secret { secret, seq } => keys.derive(suite, secret, seq),
            Self::Key { key, iv, seq } => keys.install(key, iv, seq),
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suite = self.suite().map_or("vacant", Suite::name);
        f.debug_tuple("Rest").field(&suite).finish()
    }
}

/// Why [`Rest::from_bytes`] refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportError {
    /// They are more or fewer bytes than a connection has.
    Length,
    /// They are of a format that this version does not know.
    Version(u8),
    /// The connection has a suite, by IANA's number, that this version does not know.
    Suite(u16),
    /// Counters or flags have values that cannot be.
    State,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("not the length of a TLS connection"),
            Self::Version(version) => write!(f, "TLS connection in format {version}, not 1"),
            Self::Suite(id) => write!(f, "TLS connection with unknown suite {id:#06x}"),
            Self::State => f.write_str("TLS connection in an impossible state"),
        }
    }
}

impl std::error::Error for ImportError {}
