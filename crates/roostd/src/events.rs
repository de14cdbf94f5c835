//! Where events are told: `[events]` of the configuration, with its secrets.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use roost_config::{self as config, Loaded};
use roost_control::{EventsTo, HookUrl};
use roost_hooks::JournalRules;
use roost_reactor::{self as reactor, EventKinds};

use crate::hooks::{keys_of, line, tls_of};
use crate::tls::Lines;

/// Reads the files. The first mistake is told.
pub(crate) fn load(loaded: &Loaded) -> Result<Option<EventsTo>, Lines> {
    read(loaded).map_err(|line| Lines {
        errors: vec![line],
        warnings: Vec::new(),
    })
}

/// The error is a line for people.
fn read(loaded: &Loaded) -> Result<Option<EventsTo>, String> {
    // Every key is named, so that one that is not obeyed does not compile. `types` and `namespaces` are
    // obeyed by the reactors too.
    let from = &loaded.settings.events;
    let config::EventsTo {
        url,
        types: _,
        namespaces: _,
        node,
        ca_file,
        secrets_file,
        timeout_ms,
        batch_max,
        batch_wait_ms,
        queue_max,
        linger_ms,
    } = from;
    let Some(url) = url.as_deref() else {
        return Ok(None);
    };
    let place = |key: &str| format!("events.{key}");
    let mut unused = Context::new(&SHA256); // other files take a restart
    let parsed = HookUrl::parse(url).map_err(|what| line(loaded, &place("url"), None, what))?;
    Ok(Some(EventsTo {
        rules: JournalRules {
            batch_max: *batch_max as usize,
            batch_wait_ms: u64::from(*batch_wait_ms),
            queue_max: *queue_max as usize,
            linger_ms: u64::from(*linger_ms),
            tells_occupied: from.names("occupied"),
            tells_vacated: from.names("vacated"),
        },
        node: match node.as_str() {
            "" => machine(),
            name => name.to_owned(),
        },
        tls: Arc::new(tls_of(
            loaded,
            &place("ca_file"),
            ca_file,
            url.starts_with("https:"),
            &mut unused,
        )?),
        url: parsed,
        keys: keys_of(loaded, &place("secrets_file"), secrets_file, &mut unused)?,
        timeout: Duration::from_millis(u64::from(*timeout_ms)),
    }))
}

/// What the reactors obey of it. Of a channel both events are needed, if one is told: one that has
/// subscribers again is not vacated.
pub(crate) fn for_reactors(from: &config::EventsTo) -> reactor::Events {
    let has_occupancy = from.names("occupied") || from.names("vacated");
    reactor::Events {
        kinds: EventKinds::of(|kind| match kind {
            reactor::EventKind::Occupied | reactor::EventKind::Vacated => has_occupancy,
            kind => from.names(kind.name()),
        }),
        namespaces: from.namespaces.clone(),
    }
}

/// The machine's name.
fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "roost".to_owned(),
        name => name.to_owned(),
    }
}
