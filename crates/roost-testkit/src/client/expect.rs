//! What must come next: anything else is a failure that says what came instead.

use std::time::Duration;

use super::{Client, Failure, Message, Received};

impl Client {
    /// Requires this text message next.
    ///
    /// # Errors
    /// When something else comes.
    pub fn expect_text(&mut self, expected: &str) -> Result<(), Failure> {
        self.expect(&Message::Text(expected.to_owned()))
    }

    /// Requires this binary message next.
    ///
    /// # Errors
    /// When something else comes.
    pub fn expect_binary(&mut self, expected: &[u8]) -> Result<(), Failure> {
        self.expect(&Message::Binary(expected.to_vec()))
    }

    /// Requires this pong next.
    ///
    /// # Errors
    /// When something else comes.
    pub fn expect_pong(&mut self, expected: &[u8]) -> Result<(), Failure> {
        self.expect(&Message::Pong(expected.to_vec()))
    }

    fn expect(&mut self, expected: &Message) -> Result<(), Failure> {
        let received = self.receive()?;
        if received == *expected {
            return Ok(());
        }
        Err(Failure::new(format!(
            "expected {}, received {}",
            brief(expected),
            brief(&received)
        )))
    }

    /// Requires a close frame with this code next; returns its reason.
    ///
    /// # Errors
    /// When something else comes.
    pub fn expect_close(&mut self, code: u16) -> Result<String, Failure> {
        match self.receive()? {
            Message::Close(Some(received), reason) if received == code => Ok(reason),
            received => Err(Failure::new(format!(
                "expected a close frame with {code}, received {}",
                brief(&received)
            ))),
        }
    }

    /// Requires FIN next.
    ///
    /// # Errors
    /// When something else comes.
    pub fn expect_fin(&mut self) -> Result<(), Failure> {
        match self.receive_any()? {
            Received::Fin => Ok(()),
            received => Err(Failure::new(format!("expected FIN, received {received:?}"))),
        }
    }

    /// Requires RST next.
    ///
    /// # Errors
    /// When something else comes.
    pub fn expect_reset(&mut self) -> Result<(), Failure> {
        match self.receive_any()? {
            Received::Reset => Ok(()),
            received => Err(Failure::new(format!("expected RST, received {received:?}"))),
        }
    }

    /// Requires FIN or RST next.
    ///
    /// # Errors
    /// When something else comes.
    pub fn expect_end(&mut self) -> Result<(), Failure> {
        match self.receive_any()? {
            Received::Fin | Received::Reset => Ok(()),
            received => Err(Failure::new(format!(
                "expected the end, received {received:?}"
            ))),
        }
    }

    /// Requires that nothing comes for so long.
    ///
    /// # Errors
    /// When something comes.
    pub fn expect_silence(&mut self, wait: Duration) -> Result<(), Failure> {
        let timeout = std::mem::replace(&mut self.timeout, wait);
        let received = self.receive_any();
        self.timeout = timeout;
        match received? {
            Received::Silence => Ok(()),
            received => Err(Failure::new(format!(
                "expected silence, received {received:?}"
            ))),
        }
    }

    /// Closes with 1000 and requires the server's close frame with the same, then its FIN.
    ///
    /// # Errors
    /// When something else comes.
    pub fn close(mut self) -> Result<(), Failure> {
        self.send_close(1000, "")?;
        self.expect_close(1000)?;
        self.expect_fin()
    }
}

/// A message in a few words, however long it is.
fn brief(message: &Message) -> String {
    let shortened = |kind: &str, bytes: &[u8]| {
        let some = &bytes[..bytes.len().min(48)];
        let more = if some.len() < bytes.len() { "…" } else { "" };
        format!(
            "{kind} of {} bytes \"{}{more}\"",
            bytes.len(),
            some.escape_ascii()
        )
    };
    match message {
        Message::Text(text) => shortened("text", text.as_bytes()),
        Message::Binary(bytes) => shortened("binary", bytes),
        Message::Pong(bytes) => shortened("pong", bytes),
        Message::Close(code, reason) => format!("close {code:?} {reason:?}"),
    }
}
