//! `--self-signed`: a certificate for this machine, for development. It is kept from start to start, so
//! that what was told to trust it still does.
//!
//! The directory is `$XDG_STATE_HOME/roost`, or `~/.local/state/roost`. `localhost.pem` has the
//! certificate and its key, for the owner alone; `localhost.crt` the certificate, for clients. Never in
//! a directory that all users share: another could be there first.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use roost_tls::certs::{CertificateFiles, EXPIRES_SOON_SECONDS};
use roost_tls::{ClientAuth, Clock, ServerOptions, ServerSetup, Version, self_signed};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::tls::now;

/// The certificate, where it is.
pub(crate) struct Development {
    /// Certificate and key.
    pub(crate) pair: PathBuf,
    /// The certificate alone.
    certificate: PathBuf,
    /// SHA-256 of it, as browsers show it.
    fingerprint: String,
}

impl Development {
    /// The one that is there, or another if that expires soon. The error is a message for people.
    pub(crate) fn make() -> Result<Development, String> {
        let directory = directory(env::var_os("XDG_STATE_HOME"), env::var_os("HOME")).ok_or(
            "--self-signed: neither XDG_STATE_HOME nor HOME names a directory to keep the \
             certificate in. Remedy: set one, or give --tls-certificate and --tls-key",
        )?;
        Development::make_in(&directory).map_err(|error| {
            let directory = directory.display();
            format!("--self-signed: cannot keep the certificate in {directory}: {error}")
        })
    }

    fn make_in(directory: &Path) -> io::Result<Development> {
        let (pair, certificate) = (
            directory.join("localhost.pem"),
            directory.join("localhost.crt"),
        );
        if !is_good(&pair) {
            let made = self_signed(now()).map_err(io::Error::other)?;
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
            // One file, put there whole: certificate and key always fit, also when two processes start at once.
            let both = format!("{}{}", made.certificate, made.key);
            replace(&pair, &both, 0o600)?;
        }
        let both = fs::read_to_string(&pair)?;
        let end = both.find(KEY_BEGINS).unwrap_or(both.len());
        let public = &both[..end];
        if fs::read_to_string(&certificate).ok().as_deref() != Some(public) {
            replace(&certificate, public, 0o644)?;
        }
        let der = CertificateDer::from_pem_slice(public.as_bytes()).map_err(io::Error::other)?;
        Ok(Development {
            fingerprint: fingerprint(&der),
            pair,
            certificate,
        })
    }

    /// How clients come to trust it, for the end of the start block.
    pub(crate) fn hint(&self) -> String {
        let (file, fingerprint) = (self.certificate.display(), &self.fingerprint);
        format!(
            "The certificate is for development; a browser asks before it goes on. To trust it:\n\
             \x20 file         {file}\n\
             \x20 SHA-256      {fingerprint}\n\
             \x20 curl         curl --cacert {file} …\n\
             \x20 Node         NODE_EXTRA_CA_CERTS={file} node …\n\
             \x20 Python       ssl.create_default_context(cafile=\"{file}\")"
        )
    }

    /// The same as fields of a log line.
    pub(crate) fn fields(&self) -> serde_json::Value {
        serde_json::json!({
            "file": self.certificate.to_string_lossy(),
            "sha256": self.fingerprint,
        })
    }
}

/// XDG Base Directory Specification 0.8: a path that is not absolute is ignored.
fn directory(
    state: Option<std::ffi::OsString>,
    home: Option<std::ffi::OsString>,
) -> Option<PathBuf> {
    let absolute = |path: std::ffi::OsString| Some(PathBuf::from(path)).filter(|p| p.is_absolute());
    let state = state.and_then(absolute);
    let state = state.or_else(|| Some(home.and_then(absolute)?.join(".local/state")));
    Some(state?.join("roost"))
}

/// Whether the pair can be served for a while.
fn is_good(pair: &Path) -> bool {
    let now = now();
    let options = ServerOptions {
        certificates: vec![CertificateFiles {
            certificate: pair.to_owned(),
            key: pair.to_owned(),
            ocsp: None,
        }],
        min_version: Version::Tls12,
        client_auth: ClientAuth::Off,
        client_name: None,
        tickets: None,
    };
    let loaded = ServerSetup::load(&options, &Arc::new(Clock::new(now)));
    loaded.is_ok_and(|(setup, _)| setup.expires() > now.saturating_add(EXPIRES_SOON_SECONDS))
}

/// Writes a file and puts it in the place of what was there.
fn replace(file: &Path, content: &str, mode: u32) -> io::Result<()> {
    let unfinished = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&unfinished)?;
    out.write_all(content.as_bytes())
        .and_then(|()| fs::rename(&unfinished, file))
        .inspect_err(|_| {
            let _ = fs::remove_file(&unfinished);
        })
}

fn fingerprint(der: &[u8]) -> String {
    let mut text = String::new();
    for (place, byte) in digest(&SHA256, der).as_ref().iter().enumerate() {
        let colon = if place == 0 { "" } else { ":" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

const KEY_BEGINS: &str = "-----BEGIN PRIVATE KEY";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_directory_is_the_users_own() {
        let of = |state: Option<&str>, home: Option<&str>| {
            directory(state.map(Into::into), home.map(Into::into))
        };
        assert_eq!(of(Some("/s"), Some("/h")), Some("/s/roost".into()));
        let at_home = Some(PathBuf::from("/h/.local/state/roost"));
        assert_eq!(of(None, Some("/h")), at_home);
        assert_eq!(of(Some("relative"), Some("/h")), at_home);
        assert_eq!(of(Some(""), None), None);
        assert_eq!(of(None, Some("")), None);
    }

    #[test]
    fn a_certificate_is_kept_until_it_is_broken() {
        let directory = env::temp_dir().join(format!("roostd-self-signed-{}", std::process::id()));
        let first = Development::make_in(&directory).expect("it is made");
        let again = Development::make_in(&directory).expect("it is there");
        assert_eq!(again.fingerprint, first.fingerprint, "kept");
        assert_eq!(first.fingerprint.len(), 32 * 3 - 1);
        let mode = |file: &Path| {
            fs::metadata(file)
                .expect("it is there")
                .permissions()
                .mode()
        };
        assert_eq!(mode(&first.pair) & 0o777, 0o600);
        assert_eq!(mode(&directory) & 0o777, 0o700);
        let public = fs::read_to_string(&first.certificate).expect("text");
        assert!(public.contains("CERTIFICATE") && !public.contains("PRIVATE KEY"));
        fs::write(&first.pair, "broken").expect("writes");
        let third = Development::make_in(&directory).expect("another is made");
        assert_ne!(third.fingerprint, first.fingerprint);
        let files = fs::read_dir(&directory).expect("it is there").count();
        assert_eq!(files, 2, "nothing unfinished is left");
        fs::remove_dir_all(&directory).expect("ours");
    }
}
