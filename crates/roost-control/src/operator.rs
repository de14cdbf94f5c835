//! What administrators ask of the daemon itself, beside its reactors.

/// What the daemon does for administrators.
pub trait Operator: Send + Sync {
    /// Logs lines of this level and above it from now on. Returns the level before.
    ///
    /// # Errors
    /// A sentence, if there is no such level or the log takes none.
    fn set_log_level(&self, level: &str) -> Result<String, String>;

    /// Begins to close all connections; what is left after `timeout_ms` is cut, and the daemon ends.
    /// `None`: after the configured time. Returns the time.
    fn drain(&self, timeout_ms: Option<u32>) -> u32;
}
