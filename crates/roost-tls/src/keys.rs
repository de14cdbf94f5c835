//! Suites, and the key of one direction: what it is derived from, its nonce and its place in the row
//! of records. This file alone says which library encrypts.

use zeroize::Zeroize;

use self::crypto::{aead, hkdf};

/// The library that encrypts: ring has the same names.
pub(crate) mod crypto {
    pub(crate) use aws_lc_rs::{aead, digest, hkdf, rand};
}

/// Bytes of an authentication tag, in every suite.
pub(crate) const TAG_BYTES: usize = 16;

/// Bytes of the explicit nonce of a TLS 1.2 record with GCM.
pub(crate) const EXPLICIT_NONCE_BYTES: usize = 8;

/// A suite that a connection can have: those of rustls, all of them with an AEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are IANA's")]
#[repr(u8)]
pub enum Suite {
    Aes128GcmSha256 = 1,
    Aes256GcmSha384,
    Chacha20Poly1305Sha256,
    EcdheEcdsaAes128GcmSha256,
    EcdheEcdsaAes256GcmSha384,
    EcdheEcdsaChacha20Poly1305Sha256,
    EcdheRsaAes128GcmSha256,
    EcdheRsaAes256GcmSha384,
    EcdheRsaChacha20Poly1305Sha256,
}

/// The version of the protocol that a connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// TLS 1.2, RFC 5246
    Tls12,
    /// TLS 1.3, RFC 8446
    Tls13,
}

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The end that was connected to.
    Server,
    /// The end that connected.
    Client,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aead {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

impl Suite {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Aes128GcmSha256,
        Self::Aes256GcmSha384,
        Self::Chacha20Poly1305Sha256,
        Self::EcdheEcdsaAes128GcmSha256,
        Self::EcdheEcdsaAes256GcmSha384,
        Self::EcdheEcdsaChacha20Poly1305Sha256,
        Self::EcdheRsaAes128GcmSha256,
        Self::EcdheRsaAes256GcmSha384,
        Self::EcdheRsaChacha20Poly1305Sha256,
    ];

    /// The suite with this number in IANA's registry.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.id() == id)
    }

    pub(crate) fn from_place(place: u8) -> Option<Self> {
        Self::ALL.get(usize::from(place).checked_sub(1)?).copied()
    }

    /// Its number in IANA's registry.
    pub fn id(self) -> u16 {
        match self {
            Self::Aes128GcmSha256 => 0x1301,
            Self::Aes256GcmSha384 => 0x1302,
            Self::Chacha20Poly1305Sha256 => 0x1303,
            Self::EcdheEcdsaAes128GcmSha256 => 0xc02b,
            Self::EcdheEcdsaAes256GcmSha384 => 0xc02c,
            Self::EcdheRsaAes128GcmSha256 => 0xc02f,
            Self::EcdheRsaAes256GcmSha384 => 0xc030,
            Self::EcdheRsaChacha20Poly1305Sha256 => 0xcca8,
            Self::EcdheEcdsaChacha20Poly1305Sha256 => 0xcca9,
        }
    }

    /// Its name in IANA's registry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128GcmSha256 => "TLS_AES_128_GCM_SHA256",
            Self::Aes256GcmSha384 => "TLS_AES_256_GCM_SHA384",
            Self::Chacha20Poly1305Sha256 => "TLS_CHACHA20_POLY1305_SHA256",
            Self::EcdheEcdsaAes128GcmSha256 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            Self::EcdheEcdsaAes256GcmSha384 => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            Self::EcdheEcdsaChacha20Poly1305Sha256 => {
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
            }
            Self::EcdheRsaAes128GcmSha256 => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            Self::EcdheRsaAes256GcmSha384 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            Self::EcdheRsaChacha20Poly1305Sha256 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        }
    }

    /// The version that it belongs to.
    pub fn version(self) -> Version {
        match self {
            Self::Aes128GcmSha256 | Self::Aes256GcmSha384 | Self::Chacha20Poly1305Sha256 => {
                Version::Tls13
            }
            _ => Version::Tls12,
        }
    }

    pub(crate) fn aead(self) -> Aead {
        match self {
            Self::Aes128GcmSha256
            | Self::EcdheEcdsaAes128GcmSha256
            | Self::EcdheRsaAes128GcmSha256 => Aead::Aes128Gcm,
            Self::Aes256GcmSha384
            | Self::EcdheEcdsaAes256GcmSha384
            | Self::EcdheRsaAes256GcmSha384 => Aead::Aes256Gcm,
            Self::Chacha20Poly1305Sha256
            | Self::EcdheEcdsaChacha20Poly1305Sha256
            | Self::EcdheRsaChacha20Poly1305Sha256 => Aead::Chacha20Poly1305,
        }
    }

    /// Bytes of the nonce that a record carries.
    pub(crate) fn explicit_nonce_bytes(self) -> usize {
        match (self.version(), self.aead()) {
            (Version::Tls13, _) | (_, Aead::Chacha20Poly1305) => 0,
            (Version::Tls12, _) => EXPLICIT_NONCE_BYTES,
        }
    }

    /// Whether a key may be used only so often. ChaCha20-Poly1305 may be for all 2^64 records.
    pub(crate) fn wears_out(self) -> bool {
        self.aead() != Aead::Chacha20Poly1305
    }

    pub(crate) fn key_bytes(self) -> usize {
        self.aead().algorithm().key_len()
    }

    pub(crate) fn secret_bytes(self) -> usize {
        match self {
            Self::Aes256GcmSha384 => 48,
            _ => 32,
        }
    }

    fn hkdf(self) -> hkdf::Algorithm {
        match self {
            Self::Aes256GcmSha384 => hkdf::HKDF_SHA384,
            _ => hkdf::HKDF_SHA256,
        }
    }
}

impl Aead {
    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::Chacha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}

/// The keys of one direction, plain. All zero if there are none.
#[repr(C)]
pub(crate) struct Keys {
    /// The application traffic secret; zero in TLS 1.2, which derives nothing from it.
    secret: [u8; 48],
    key: [u8; 32],
    iv: [u8; 12],
    /// The number of the next record, big-endian as in its nonce.
    seq: [u8; 8],
}

/// The keys that seal what is sent.
#[repr(transparent)]
pub(crate) struct Sending(pub(crate) Keys);

/// The keys that open what is received.
#[repr(transparent)]
pub(crate) struct Receiving(pub(crate) Keys);

impl Keys {
    pub(crate) const BYTES: usize = size_of::<Self>();

    pub(crate) const VACANT: Self = Self {
        secret: [0; 48],
        key: [0; 32],
        iv: [0; 12],
        seq: [0; 8],
    };

    /// TLS 1.3: derives key and IV of a new traffic secret, for records from `seq` on. Key, IV and
    /// number change together, here and in `install` only.
    pub(crate) fn derive(&mut self, suite: Suite, secret: &[u8], seq: u64) {
        let prk = hkdf::Prk::new_less_safe(suite.hkdf(), secret);
        self.wipe();
        self.secret[..secret.len()].copy_from_slice(secret);
        expand_label(&prk, b"key", &mut self.key[..suite.key_bytes()]);
        expand_label(&prk, b"iv", &mut self.iv);
        self.seq = seq.to_be_bytes();
    }

    /// TLS 1.2: takes key and IV as they are.
    pub(crate) fn install(&mut self, key: &[u8], iv: &[u8; 12], seq: u64) {
        self.wipe();
        self.key[..key.len()].copy_from_slice(key);
        self.iv = *iv;
        self.seq = seq.to_be_bytes();
    }

    /// RFC 8446 §7.2: the next secret, and with it the next key, IV and number.
    pub(crate) fn update(&mut self, suite: Suite) {
        let mut next = [0; 48];
        let next = &mut next[..suite.secret_bytes()];
        let secret = &self.secret[..suite.secret_bytes()];
        let prk = hkdf::Prk::new_less_safe(suite.hkdf(), secret);
        expand_label(&prk, b"traffic upd", next);
        self.derive(suite, next, 0);
        next.zeroize();
    }

    /// Whether key and IV are these.
    pub(crate) fn are(&self, suite: Suite, key: &[u8], iv: &[u8]) -> bool {
        self.key[..suite.key_bytes()] == *key && self.iv == *iv
    }

    /// The key made ready. It is made for one burst of records and dropped: to make it takes less
    /// time than a cache of them would save.
    pub(crate) fn cipher(&self, suite: Suite) -> Cipher {
        let key = &self.key[..suite.key_bytes()];
        let key = aead::UnboundKey::new(suite.aead().algorithm(), key);
        Cipher(aead::LessSafeKey::new(
            key.expect("the key has the suite's length"),
        ))
    }

    /// The number of the next record.
    #[inline]
    pub(crate) fn seq(&self) -> u64 {
        u64::from_be_bytes(self.seq)
    }

    /// For tests.
    pub(crate) fn set_seq(&mut self, seq: u64) {
        self.seq = seq.to_be_bytes();
    }

    /// The record has had its number.
    #[inline]
    pub(crate) fn advance(&mut self) {
        let next = self.seq().checked_add(1);
        // RFC 8446 §5.3: a sequence number must not wrap. At a record each nanosecond that takes
        // 584 years.
        self.seq = next.expect("fewer than 2^64 records").to_be_bytes();
    }

    /// RFC 8446 §5.3: the IV, xor the number.
    #[inline]
    pub(crate) fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        nonce[4..]
            .iter_mut()
            .zip(self.seq)
            .for_each(|(byte, seq)| *byte ^= seq);
        nonce
    }

    /// RFC 5288 §3: what of the nonce the key exchange fixed, and what the record carries.
    #[inline]
    pub(crate) fn nonce_with(&self, explicit: [u8; EXPLICIT_NONCE_BYTES]) -> [u8; 12] {
        let mut nonce = self.iv;
        nonce[4..].copy_from_slice(&explicit);
        nonce
    }

    pub(crate) fn copy_from(&mut self, other: &Self) {
        let Self {
            secret,
            key,
            iv,
            seq,
        } = other;
        self.secret = *secret;
        self.key = *key;
        self.iv = *iv;
        self.seq = *seq;
    }

    pub(crate) fn wipe(&mut self) {
        let Self {
            secret,
            key,
            iv,
            seq,
        } = self;
        secret.zeroize();
        key.zeroize();
        iv.zeroize();
        seq.zeroize();
    }

    pub(crate) fn write(&self, out: &mut [u8; Self::BYTES]) {
        let Self {
            secret,
            key,
            iv,
            seq,
        } = self;
        out[..48].copy_from_slice(secret);
        out[48..80].copy_from_slice(key);
        out[80..92].copy_from_slice(iv);
        out[92..].copy_from_slice(seq);
    }

    pub(crate) fn read(&mut self, bytes: &[u8; Self::BYTES]) {
        self.secret.copy_from_slice(&bytes[..48]);
        self.key.copy_from_slice(&bytes[48..80]);
        self.iv.copy_from_slice(&bytes[80..92]);
        self.seq.copy_from_slice(&bytes[92..]);
    }

    /// Two keys are the same key if key and IV are.
    pub(crate) fn identity(&self) -> [u8; 44] {
        let mut identity = [0; 44];
        identity[..32].copy_from_slice(&self.key);
        identity[32..].copy_from_slice(&self.iv);
        identity
    }
}

/// A key that is ready to be used.
pub(crate) struct Cipher(aead::LessSafeKey);

/// The tag does not fit: a byte was changed, or the key or the number is another.
pub(crate) struct Forged;

impl Cipher {
    /// Opens `bytes[from..]`, ciphertext and tag, and moves the plaintext to the front of `bytes`, if it
    /// is not there. Returns its length.
    #[inline]
    pub(crate) fn open(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        bytes: &mut [u8],
        from: usize,
    ) -> Result<usize, Forged> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let (sealed, tag) = bytes[from..].split_last_chunk_mut().ok_or(Forged)?;
        let tag: &[u8; TAG_BYTES] = tag;
        let len = self
            .0
            .open_in_place_separate_tag(nonce, aead::Aad::from(aad), tag, sealed)
            .map_err(|_| Forged)?
            .len();
        if from > 0 {
            bytes.copy_within(from..from + len, 0);
        }
        Ok(len)
    }

    /// Seals `bytes` in place. Returns the tag that goes behind them.
    #[inline]
    pub(crate) fn seal(&self, nonce: [u8; 12], aad: &[u8], bytes: &mut [u8]) -> aead::Tag {
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_separate_tag(nonce, aead::Aad::from(aad), bytes)
            .expect("a record is shorter than the AEAD's limit")
    }
}

pub(crate) struct Length(pub(crate) usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// RFC 8446 §7.1: HKDF-Expand-Label with an empty context.
fn expand_label(prk: &hkdf::Prk, label: &[u8], out: &mut [u8]) {
    const PREFIX: &[u8] = b"tls13 ";
    let len = u16::try_from(out.len()).expect("a key is short");
    let label_len = u8::try_from(PREFIX.len() + label.len()).expect("our labels are short");
    let info = [&len.to_be_bytes()[..], &[label_len], PREFIX, label, &[0]];
    expand(prk, &info, out);
}

/// RFC 5869 §2.3
pub(crate) fn expand(prk: &hkdf::Prk, info: &[&[u8]], out: &mut [u8]) {
    prk.expand(info, Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("HKDF gives 255 hashes");
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
