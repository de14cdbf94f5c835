//! Which names a channel may have, whatever dialect names it.

/// Why a name cannot be a channel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelNameError {
    /// It has no character.
    Empty,
    /// It has more bytes of UTF-8 than `channel_name_bytes_max`.
    TooLong,
    /// It has a control character (Unicode category Cc: U+0000 to U+001F, U+007F to U+009F).
    Control,
}

impl ChannelNameError {
    /// A sentence for a person.
    pub fn reason(self) -> &'static str {
        match self {
            ChannelNameError::Empty => {
                "The channel's name is empty; it needs a character at least."
            }
            ChannelNameError::TooLong => {
                "The channel's name has more bytes than this server allows."
            }
            ChannelNameError::Control => {
                "The channel's name has a control character, which none may have."
            }
        }
    }
}

/// Checks the rules all dialects share: at least one character, at most `bytes_max` bytes of
/// UTF-8, no control character (names end up in logs and terminals).
pub fn check_channel_name(name: &str, bytes_max: usize) -> Result<(), ChannelNameError> {
    if name.is_empty() {
        return Err(ChannelNameError::Empty);
    }
    if name.len() > bytes_max {
        return Err(ChannelNameError::TooLong);
    }
    if name.chars().any(char::is_control) {
        return Err(ChannelNameError::Control);
    }
    Ok(())
}
