//! What must be in no log.

use zeroize::Zeroizing;

/// Bytes that cannot be printed and are wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Of bytes; wiped where they came from is the caller's matter.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// The secret of a text file: without the line's end behind it.
    ///
    /// # Errors
    /// What is wrong with it: it is empty.
    pub fn of_text(mut text: Vec<u8>) -> Result<Secret, &'static str> {
        while text
            .last()
            .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
        {
            text.pop();
        }
        match text.is_empty() {
            true => Err("it is empty"),
            false => Ok(Secret::new(text)),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        let secret = Secret::of_text(b"hunter2\r\n".to_vec()).expect("it is not empty");
        assert_eq!(secret.bytes(), b"hunter2");
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret Secret");
        assert!(Secret::of_text(b"\n".to_vec()).is_err());
    }
}
