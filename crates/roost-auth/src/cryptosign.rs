//! `cryptosign`: a challenge of 32 bytes is signed with an Ed25519 key. Without channel binding.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use crate::keys::{BYTES, from_hex};

/// A user's public key.
pub(crate) type PublicKey = [u8; BYTES];

/// A key in hexadecimal digits.
pub(crate) fn public_key(text: &str) -> Option<PublicKey> {
    from_hex(text)
}

/// Whether the answer is the signature of the challenge, with the challenge behind it, both in hexadecimal
/// digits.
pub(crate) fn verifies(key: &PublicKey, challenge: &str, answer: &str) -> bool {
    let challenge = from_hex::<BYTES>(challenge);
    let answer = from_hex::<{ SIGNATURE_BYTES + BYTES }>(answer);
    let (Some(challenge), Some(answer)) = (challenge, answer) else {
        return false;
    };
    let (signature, signed) = answer.split_at(SIGNATURE_BYTES);
    signed == challenge
        && UnparsedPublicKey::new(&ED25519, key)
            .verify(signed, signature)
            .is_ok()
}

const SIGNATURE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    /// Of the specification, "Test Vectors".
    #[test]
    fn signatures_of_the_specification() {
        for (private, answer) in [
            (
                "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510",
                "b32675b221f08593213737bef8240e7c15228b07028e19595294678c90d11c0c\
                 ae80a357331bfc5cc9fb71081464e6e75013517c2cf067ad566a6b7b728e5d03\
                 ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            ),
            (
                "d511fe78e23934b3dadb52fcd022974b80bd92bccc7c5cf404e46cc0a8a2f5cd",
                "d4209ad10d5aff6bfbc009d7e924795de138a63515efc7afc6b01b7fe5201372\
                 190374886a70207b042294af5bd64ce725cd8dceb344e6d11c09d1aaaf4d660f\
                 b26c1f87c13fc1da14997f1b5a71995dff8fbe0a62fae8473c7bdbd05bfb607d",
            ),
        ] {
            let seed = from_hex::<BYTES>(private).expect("32 bytes");
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key");
            let key: PublicKey = pair.public_key().as_ref().try_into().expect("32 bytes");
            let challenge = &answer[2 * SIGNATURE_BYTES..];
            assert!(verifies(&key, challenge, answer));
            assert!(
                !verifies(&key, &"0".repeat(64), answer),
                "another challenge"
            );
            assert!(!verifies(&[7; BYTES], challenge, answer), "another key");
            let altered = answer.replacen(|_| true, "0", 1);
            assert!(!verifies(&key, challenge, &altered), "another signature");
            assert!(!verifies(&key, challenge, &answer[..2 * SIGNATURE_BYTES]));
        }
    }
}
