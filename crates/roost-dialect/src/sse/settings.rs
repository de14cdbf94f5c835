//! What event streams obey.

/// What event streams obey.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether `/sse/{channel}` exists.
    pub enabled: bool,
    /// Most channels of one stream; there are never more than 16.
    pub channels_max: usize,
}
