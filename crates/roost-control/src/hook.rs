//! A hook, as it is configured.

use std::sync::Arc;

use roost_hooks::{Event, Keys, Rules};
use rustls::ClientConfig;

use crate::hook_client::HookUrl;

/// One hook.
pub struct Hook {
    /// About what it is asked.
    pub events: Vec<Event>,
    /// The namespaces it is asked about; `*`: all channels.
    pub namespaces: Vec<String>,
    /// What its calls obey.
    pub rules: Rules,
    /// Where questions are sent to.
    pub url: HookUrl,
    /// Whom `https` trusts.
    pub tls: Arc<ClientConfig>,
    /// What questions are signed with; none: not at all.
    pub keys: Keys,
    /// Of all of this with the contents of its files: a hook with the same one is the same.
    pub identity: [u8; 32],
    /// An answer, in bytes.
    pub answer_bytes_max: usize,
}
