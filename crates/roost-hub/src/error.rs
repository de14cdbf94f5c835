//! Why a hub refuses: mistakes of a peer, and limits.

use std::error::Error;
use std::fmt;

use crate::ids::ChannelId;

/// A name that no channel may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// No bytes.
    Empty,
    /// More bytes than [`crate::HubOptions::channel_name_bytes_max`].
    TooLong {
        /// Length of the name.
        bytes: usize,
        /// The limit.
        bytes_max: u32,
    },
    /// It begins with a control character, as no channel's does.
    Control,
}

/// Why a subscription was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribeError {
    /// The peer's name cannot be one.
    Name(NameError),
    /// This reactor has no room for another channel.
    ChannelsFull {
        /// The limit, [`crate::HubOptions::channels_max`].
        channels_max: u32,
    },
    /// The register, which is here, has no place for the pattern.
    Pattern(PatternRefusal),
}

/// Why a pattern has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternRefusal {
    /// There are as many as there may be.
    Full,
    /// Its wildcards stand where those of no other pattern do, and there are as many arrangements
    /// as there may be.
    Shape,
}

/// Why a publication was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishError {
    /// The peer's name cannot be one.
    Name(NameError),
    /// No such channel here: the publisher does not subscribe to it.
    UnknownChannel(ChannelId),
}

/// Why a state makes no hub: it was not exported by one, or not by this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateError {
    /// Channels' numbers do not ascend.
    Number(u32),
    /// Two channels have this name.
    Name(String),
    /// A channel without interest.
    Empty(String),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("the channel's name is empty"),
            NameError::TooLong { bytes, bytes_max } => {
                write!(
                    f,
                    "the channel's name has {bytes} bytes, more than {bytes_max}"
                )
            }
            NameError::Control => f.write_str("the channel's name begins with a control character"),
        }
    }
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubscribeError::Name(error) => error.fmt(f),
            SubscribeError::ChannelsFull { channels_max } => {
                write!(f, "there are {channels_max} channels already")
            }
            SubscribeError::Pattern(refusal) => refusal.fmt(f),
        }
    }
}

impl fmt::Display for PatternRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PatternRefusal::Full => "there are as many patterns as there may be",
            PatternRefusal::Shape => {
                "there are as many arrangements of wildcards as there may be: put them where those \
                 of other patterns are"
            }
        })
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::Name(error) => error.fmt(f),
            PublishError::UnknownChannel(channel) => {
                write!(f, "there is no channel {} here", channel.0)
            }
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Number(number) => {
                write!(f, "the channel's number {number} is not behind the last")
            }
            StateError::Name(name) => write!(f, "two channels are named {name:?}"),
            StateError::Empty(name) => write!(f, "no reactor wants the channel {name:?}"),
        }
    }
}

impl Error for NameError {}
impl Error for SubscribeError {}
impl Error for PatternRefusal {}
impl Error for PublishError {}
impl Error for StateError {}

impl From<NameError> for SubscribeError {
    fn from(error: NameError) -> Self {
        SubscribeError::Name(error)
    }
}

impl From<NameError> for PublishError {
    fn from(error: NameError) -> Self {
        PublishError::Name(error)
    }
}
