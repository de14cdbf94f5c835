//! Channel names in a request's path.

use std::borrow::Cow;

use crate::{ChannelNameError, check_channel_name};

/// Why a path names no channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// The decoded name cannot be a channel's.
    Name(ChannelNameError),
    /// A `%` is not followed by two hexadecimal digits (RFC 3986 §2.1).
    PercentEncoding,
    /// The decoded bytes are not UTF-8.
    Utf8,
}

impl PathError {
    /// A sentence for the body of the 400.
    pub fn reason(self) -> &'static str {
        match self {
            PathError::Name(error) => error.reason(),
            PathError::PercentEncoding => {
                "In the channel's name each % must be followed by two hexadecimal digits; % itself is %25."
            }
            PathError::Utf8 => "The channel's name must be UTF-8 once it is percent-decoded.",
        }
    }
}

/// The channel a path's rest names: all of it, `/` included.
pub(crate) fn channel_from_path(
    encoded: &str,
    bytes_max: usize,
) -> Result<Cow<'_, str>, PathError> {
    let name = percent_decode(encoded)?;
    check_channel_name(&name, bytes_max).map_err(PathError::Name)?;
    Ok(name)
}

/// RFC 3986 §2.1. A `+` stands for itself: this is a path, not a form.
pub fn percent_decode(encoded: &str) -> Result<Cow<'_, str>, PathError> {
    if !encoded.contains('%') {
        return Ok(Cow::Borrowed(encoded));
    }
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else {
            return Err(PathError::PercentEncoding);
        };
        let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low)) else {
            return Err(PathError::PercentEncoding);
        };
        decoded.push(high << 4 | low);
        rest = tail;
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| PathError::Utf8)
}

/// As a form writes it (WHATWG URL, "application/x-www-form-urlencoded parsing"): a `+` is a space.
pub(crate) fn form_decode(encoded: &str) -> Result<Cow<'_, str>, PathError> {
    if !encoded.contains('+') {
        return percent_decode(encoded);
    }
    let decoded = percent_decode(&encoded.replace('+', "%20"))?.into_owned();
    Ok(Cow::Owned(decoded))
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}
