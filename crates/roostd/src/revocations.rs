//! What stays revoked over a restart.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use roost_config::Loaded;
use roost_control::RevocationFile;
use roost_reactor::RevokedAtStart;
use tracing::{error, info};

use crate::api::token_lifetime;
use crate::tokens::state_file;

/// The file, if revocations are kept, and what stands in it. One that cannot be read stops nothing, and lets
/// nothing in that it may have named.
pub(crate) fn open(loaded: &Loaded) -> Option<(Arc<RevocationFile>, RevokedAtStart)> {
    let auth = &loaded.settings.auth;
    let value = auth.revocations_state_file.as_deref();
    let path = state_file(loaded, KEY, value, "revocations.json")?;
    let shown = path.display().to_string();
    let (file, read) = RevocationFile::open(path, auth.revocations_max as usize);
    let revoked = match read {
        Ok(known) => {
            if !known.is_empty() {
                info!(
                    file = shown,
                    revocations = known.len(),
                    "revocations of before"
                );
            }
            RevokedAtStart {
                known: known.into(),
                unknown: None,
            }
        }
        Err(what) => {
            error!(
                file = shown,
                error = what,
                "{KEY} cannot be read: tokens and certificates that were issued before this start are refused, \
                 for it is not known which are revoked. Remedy: new tokens; or remove the file, restart, and \
                 revoke again what is to be"
            );
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |now| now.as_secs());
            let lifetime = token_lifetime(auth).map_or(FOR_EVER_MS, |lifetime| {
                u64::try_from(lifetime.as_millis()).unwrap_or(FOR_EVER_MS)
            });
            RevokedAtStart {
                known: Arc::default(),
                unknown: Some((u32::try_from(now).unwrap_or(u32::MAX), lifetime)),
            }
        }
    };
    Some((file, revoked))
}

const KEY: &str = "auth.revocations_state_file";
/// Where tokens have no longest life.
const FOR_EVER_MS: u64 = u64::MAX;
