//! A value that cannot be printed.

use std::fmt;

use zeroize::Zeroizing;

/// A token, a password, or a key that signs. It has no `Display`, its `Debug` tells nothing, and its bytes are
/// overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
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
            false => Ok(Secret::from(text)),
        }
    }

    /// The bytes, for whom checks or sends them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret::from(text.into_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        let secret = Secret::of_text(b"hunter2\r\n".to_vec()).expect("it is not empty");
        assert_eq!(secret.expose(), b"hunter2");
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(..) Secret(..)");
        assert!(Secret::of_text(b"\n".to_vec()).is_err());
    }
}
