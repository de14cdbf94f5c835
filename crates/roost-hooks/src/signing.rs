//! Signatures of questions, by which an application knows that they are its own server's: those of
//! Standard Webhooks, for which there are verifiers in many languages.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The keys of one hook. All sign, so that the application may know any of them.
#[derive(Clone, Default)]
pub struct Keys(Vec<hmac::Key>);

/// What is wrong in a file of secrets. It never says what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong, and what to do.
    pub reason: &'static str,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(self.reason),
            line => write!(f, "line {line}: {}", self.reason),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

/// Reads `whsec_…`, one a line; `#` begins a comment, and empty lines are ignored.
///
/// # Errors
/// The first mistake: no secret of this form, a short or long one, too many, none.
pub fn parse_keys(text: &str) -> Result<Keys, FileError> {
    let mut keys = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mistake = |reason| FileError {
            line: at + 1,
            reason,
        };
        let encoded = line.strip_prefix(PREFIX).ok_or(mistake(
            "a secret begins with whsec_: echo whsec_$(openssl rand -base64 32)",
        ))?;
        let secret = STANDARD.decode(encoded).map(Zeroizing::new);
        let secret = secret.map_err(|_| mistake("behind whsec_ stands no base64"))?;
        if !SECRET_BYTES.contains(&secret.len()) {
            return Err(mistake("a secret has 24 to 64 bytes"));
        }
        keys.push(hmac::Key::new(hmac::HMAC_SHA256, &secret));
    }
    match keys.len() {
        0 => Err(FileError {
            line: 0,
            reason: "it has no secret: echo whsec_$(openssl rand -base64 32)",
        }),
        1..=KEYS_MAX => Ok(Keys(keys)),
        _ => Err(FileError {
            line: 0,
            reason: "it has more than 4 secrets; remove old ones",
        }),
    }
}

impl Keys {
    /// Whether nothing is signed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The header `webhook-signature` of a question with this `webhook-id` and `webhook-timestamp`.
    pub fn sign(&self, id: &str, timestamp_secs: u64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp_secs}.");
        let signatures = self.0.iter().map(|key| {
            let mut context = hmac::Context::with_key(key);
            context.update(head.as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

const PREFIX: &str = "whsec_";
/// As Standard Webhooks recommends them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Each question is signed with all of them.
const KEYS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// That of the libraries of Standard Webhooks.
    #[test]
    fn the_specifications_example_is_signed_as_there() {
        let keys = parse_keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signed = keys.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn all_secrets_sign_while_one_replaces_another() {
        let secret = |byte: u8| format!("whsec_{}", STANDARD.encode([byte; 32]));
        let both = format!("# new\n{}\n\n{}\n", secret(1), secret(2));
        let signed = parse_keys(&both).expect("two").sign("id", 7, b"body");
        let alone = |byte| {
            let keys = parse_keys(&secret(byte)).expect("one");
            keys.sign("id", 7, b"body")
        };
        assert_eq!(signed, format!("{} {}", alone(1), alone(2)));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_repeating_it() {
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        let five = format!("whsec_{}\n", STANDARD.encode([7; 32])).repeat(5);
        for (text, line) in [
            ("", 0),
            ("# none\n", 0),
            ("hunter2hunter2", 1),
            ("\nwhsec_hunter2!", 2),
            ("whsec_aHVudGVyMg==", 1),
            (&long, 1),
            (&five, 0),
        ] {
            let error = parse_keys(text).expect_err(text);
            assert_eq!(error.line, line, "{text}");
            assert!(!error.to_string().contains("hunter"), "{error}");
        }
    }
}
