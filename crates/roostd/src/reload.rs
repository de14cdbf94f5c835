//! SIGHUP: certificates are read again, on a thread that may wait for a disk. Everything else of the
//! configuration stays as it was at the start.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use roost_metrics::process::{TLS_RELOADS, TLS_RELOADS_FAILED};
use tracing::{error, info, warn};

use crate::tls::{Lines, Tls};

/// Asks for reloads.
pub(crate) struct Reloader {
    /// Holds one: a reload that waits reads what there is when its turn comes, so a second is the same.
    wanted: SyncSender<()>,
}

impl Reloader {
    /// Starts the thread. It ends with the process, or when this is dropped. `reloaded` is called after
    /// each reload.
    pub(crate) fn start(
        tls: Arc<Tls>,
        reloaded: impl Fn(&Tls) + Send + 'static,
    ) -> io::Result<Reloader> {
        let (wanted, asked) = mpsc::sync_channel(1);
        let work = move || {
            while asked.recv().is_ok() {
                reload(&tls);
                reloaded(&tls);
            }
        };
        thread::Builder::new()
            .name("reload".to_owned())
            .spawn(work)?;
        Ok(Reloader { wanted })
    }

    /// Asks for one, without waiting for it.
    pub(crate) fn ask(&self) {
        let _ = self.wanted.try_send(()); // full: one is to come
    }
}

fn reload(tls: &Tls) {
    if tls.is_empty() {
        warn!(
            "SIGHUP reloads certificates, and no listener speaks TLS; a restart changes other settings"
        );
        return;
    }
    TLS_RELOADS.add(1);
    let Lines { errors, warnings } = tls.reload();
    for warning in &warnings {
        warn!("{warning}");
    }
    if errors.is_empty() {
        info!(
            "SIGHUP: new connections get the certificates that are in the files now; a restart changes \
             other settings"
        );
        return;
    }
    TLS_RELOADS_FAILED.add(1);
    for mistake in &errors {
        error!("SIGHUP: {mistake}");
    }
    error!("SIGHUP: the listeners with these mistakes keep the certificates that they had");
}
