//! Which servers are trusted, with `wss://`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use roost_tls::certs::Findings;
use roost_tls::{ClientOptions, ClientSetup, Clock, Trust, Version};

use crate::plan::{Plan, Settings};

/// What the handshakes of a plan are done with; `None`: there are none.
pub(crate) fn client_setup(plan: &Plan) -> Result<Option<ClientSetup>, String> {
    if !plan.target.tls || plan.settings.bare {
        return Ok(None);
    }
    let options = ClientOptions {
        trust: trust(&plan.settings).ok_or(NO_AUTHORITIES)?,
        certificate: None,
        min_version: Version::Tls12,
        max_version: Version::Tls13,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let clock = Arc::new(Clock::new(now.map_or(0, |since| since.as_secs())));
    match ClientSetup::load(&options, &clock) {
        Ok((setup, _)) => Ok(Some(setup)),
        Err(findings) => Err(text_of(&findings)),
    }
}

/// Which servers are trusted, for people.
pub(crate) fn text(settings: &Settings) -> String {
    match trust(settings) {
        Some(Trust::Authorities(file)) => format!("authorities of {}", file.display()),
        Some(Trust::Any) => "any server is trusted".to_owned(),
        None => "no authorities".to_owned(),
    }
}

fn trust(settings: &Settings) -> Option<Trust> {
    settings.trust.clone().or_else(|| {
        let file = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let systems = SYSTEM_AUTHORITIES.iter().map(PathBuf::from);
        let file = file.or_else(|| systems.into_iter().find(|file| Path::new(file).is_file()));
        file.map(Trust::Authorities)
    })
}

fn text_of(findings: &Findings) -> String {
    let errors = findings.errors.iter().map(ToString::to_string);
    errors.collect::<Vec<_>>().join("\n")
}

/// Where systems keep them: Debian and Arch, Fedora, openSUSE, Alpine.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const NO_AUTHORITIES: &str = "wss: this system has no file of certificate authorities where they are \
    looked for: name one (--ca FILE, SSL_CERT_FILE), or trust any server (--insecure)";
