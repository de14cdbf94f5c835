//! What stays revoked over a restart.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use roost_config::Loaded;
use roost_control::RevocationFile;
use roost_reactor::RevokedAtStart;
use tracing::{error, info};

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
            RevokedAtStart {
                known: Arc::default(),
                unknown: Some((u32::try_from(now).unwrap_or(u32::MAX), REVOKED_AT_MOST_MS)),
            }
        }
    };
    Some((file, revoked))
}

const KEY: &str = "auth.revocations_state_file";
/// No revocation lasts longer than the API lets one ask for: 400 days.
const REVOKED_AT_MOST_MS: u64 = 400 * 24 * 3_600 * 1_000;
