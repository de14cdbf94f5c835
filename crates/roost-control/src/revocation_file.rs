//! Revocations over a restart: a file with those that are in force, written anew after each, by a thread
//! that may wait for a disk.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roost_access::Revoked;
use roost_metrics::process::REVOCATIONS_UNKEPT;
use roost_reactor::Revocation;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// The file, and what stands in it or is to.
#[derive(Debug)]
pub struct RevocationFile {
    path: PathBuf,
    /// What stands there is not understood. It stays, so that each start refuses what it may have named.
    is_damaged: bool,
    /// Revocations at once, as on each reactor.
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: HashMap<Key, Ends>,
    /// A thread writes, and looks for what has come meanwhile.
    is_writing: bool,
    is_changed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Token([u8; 8]),
    User(String),
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    issued_before: u32,
    /// In seconds since 1970.
    expire_at: u64,
}

/// The document.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    revocations: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Of a token: 16 hexadecimal digits of a hash of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default)]
    issued_before: u32,
    expire_at: u64,
}

impl RevocationFile {
    /// Reads the file; one that does not exist has none. What has ended is left out.
    ///
    /// # Errors
    /// Why it cannot be read, for people. The file is left alone then, and nothing is kept.
    pub fn open(
        path: PathBuf,
        max: usize,
    ) -> (Arc<RevocationFile>, Result<Vec<Revocation>, String>) {
        let read = read(&path, max);
        let is_damaged = read.is_err();
        REVOCATIONS_UNKEPT.set(u64::from(is_damaged));
        let mut state = State::default();
        let now = unix_secs();
        let revocations = read.map(|lines| {
            state.kept = lines
                .into_iter()
                .filter(|(_, ends)| ends.expire_at > now)
                .collect();
            let kept = state.kept.iter();
            kept.map(|(key, ends)| revocation(key, *ends, now))
                .collect()
        });
        let file = RevocationFile {
            path,
            is_damaged,
            // As many as were there, if the limit has been lowered.
            max: max.max(state.kept.len()),
            state: Mutex::new(state),
        };
        (Arc::new(file), revocations)
    }

    /// All reactors have this one. It is written soon; what that comes to is in the log.
    pub(crate) fn keep(self: &Arc<RevocationFile>, revoked: &Revoked, expire_at: u64) {
        if self.is_damaged {
            return;
        }
        let (key, issued_before) = match revoked {
            Revoked::Token(id) => (Key::Token(*id), 0),
            Revoked::User {
                user,
                issued_before,
            } => (Key::User(user.to_string()), *issued_before),
        };
        let mut state = self.lock();
        if state.kept.len() >= self.max && !state.kept.contains_key(&key) {
            let now = unix_secs();
            state.kept.retain(|_, ends| ends.expire_at > now);
            if state.kept.len() >= self.max {
                return; // the reactors refuse it, too
            }
        }
        // As on the reactors: what says more holds in each respect.
        let known = state.kept.entry(key).or_insert(Ends {
            issued_before,
            expire_at,
        });
        known.issued_before = known.issued_before.max(issued_before);
        known.expire_at = known.expire_at.max(expire_at);
        state.is_changed = true;
        if !std::mem::replace(&mut state.is_writing, true) {
            // Not one of those that look names up, which a name server may hold.
            let file = self.clone();
            let writer = thread::Builder::new().name("revocations".to_owned());
            if writer.spawn(move || file.write_all()).is_err() {
                state.is_writing = false; // the next revocation tries again
                REVOCATIONS_UNKEPT.set(1);
            }
        }
    }

    /// Writes until nothing has changed meanwhile. A disk that fails is tried again.
    fn write_all(&self) {
        let mut has_failed = false;
        loop {
            let kept = {
                let mut state = self.lock();
                if !std::mem::take(&mut state.is_changed) {
                    state.is_writing = false;
                    break;
                }
                let now = unix_secs();
                state.kept.retain(|_, ends| ends.expire_at > now);
                state.kept.clone()
            };
            match write(&self.path, kept) {
                Ok(()) => REVOCATIONS_UNKEPT.set(0),
                Err(error) => {
                    REVOCATIONS_UNKEPT.set(1);
                    if !std::mem::replace(&mut has_failed, true) {
                        let file = self.path.display();
                        warn!(%file, %error, "revocations cannot be kept for the next start; it is tried again every second");
                    }
                    self.lock().is_changed = true;
                    thread::sleep(RETRY);
                    continue;
                }
            }
        }
        if has_failed {
            info!(file = %self.path.display(), "revocations are kept again");
        }
    }

    /// Waits, at the end of the process, until what was revoked is in the file, or `wait` is over.
    pub fn finish(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while self.lock().is_writing && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn revocation(key: &Key, ends: Ends, now: u64) -> Revocation {
    let revoked = match key {
        Key::Token(id) => Revoked::Token(*id),
        Key::User(user) => Revoked::User {
            user: user.as_str().into(),
            issued_before: ends.issued_before,
        },
    };
    Revocation {
        revoked,
        ends_in_ms: ends.expire_at.saturating_sub(now).saturating_mul(1000),
    }
}

fn read(path: &Path, max: usize) -> Result<Vec<(Key, Ends)>, String> {
    let mut bytes = Vec::new();
    let bytes_max = (max.max(LINES_MIN) as u64).saturating_mul(LINE_BYTES_MAX);
    let read = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
        Ok(_) if bytes.len() as u64 > bytes_max => return Err("it is too long".to_owned()),
        Ok(_) => {}
    }
    let document: Document = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if document.version != VERSION {
        return Err(format!("it is of version {}", document.version));
    }
    let lines = document.revocations.into_iter();
    let lines: Option<Vec<(Key, Ends)>> = lines.map(entry).collect();
    lines.ok_or_else(|| "a revocation in it has neither a token nor a user".to_owned())
}

fn entry(line: Line) -> Option<(Key, Ends)> {
    let Line {
        token,
        user,
        issued_before,
        expire_at,
    } = line;
    let key = match (token, user) {
        (Some(token), None) if token.len() == 16 => {
            Key::Token(u64::from_str_radix(&token, 16).ok()?.to_be_bytes())
        }
        (None, Some(user)) => Key::User(user),
        _ => return None,
    };
    let ends = Ends {
        issued_before,
        expire_at,
    };
    Some((key, ends))
}

/// As a whole, or not at all.
fn write(path: &Path, kept: HashMap<Key, Ends>) -> io::Result<()> {
    let revocations = kept.into_iter().map(|(key, ends)| {
        let (token, user) = match key {
            Key::Token(id) => (Some(format!("{:016x}", u64::from_be_bytes(id))), None),
            Key::User(user) => (None, Some(user)),
        };
        Line {
            token,
            user,
            issued_before: ends.issued_before,
            expire_at: ends.expire_at,
        }
    });
    let document = Document {
        version: VERSION,
        revocations: revocations.collect(),
    };
    let bytes = serde_json::to_vec(&document)?;
    let unfinished = path.with_extension("tmp");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    // The name as well outlives a loss of power.
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn unix_secs() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

const VERSION: u32 = 1;
/// A user's name has 255 bytes, each written as six at most.
const LINE_BYTES_MAX: u64 = 2 << 10;
/// A file that was written under a higher limit is read too.
const LINES_MIN: usize = 100_000;
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        let name = format!("roost-revocations-{name}-{}.json", std::process::id());
        std::env::temp_dir().join(name)
    }

    #[test]
    fn what_is_in_force_is_read_back_and_nothing_else() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let path = path("kept");
            let _ = fs::remove_file(&path);
            let (file, first) = RevocationFile::open(path.clone(), 10);
            assert_eq!(first.expect("no file is no mistake").len(), 0);
            let now = unix_secs();
            let user = |issued_before| Revoked::User {
                user: "al\"ice".into(),
                issued_before,
            };
            file.keep(&Revoked::Token([0, 1, 2, 3, 4, 5, 6, 255]), now + 100);
            file.keep(&user(9), now + 50);
            file.keep(&user(7), now + 200);
            file.keep(&Revoked::Token([7; 8]), now);
            while file.lock().is_writing {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let (_, read) = RevocationFile::open(path.clone(), 10);
            let mut read = read.expect("it was written");
            read.sort_by_key(|one| one.ends_in_ms);
            let revoked: Vec<_> = read.iter().map(|one| one.revoked.clone()).collect();
            assert_eq!(
                revoked,
                [Revoked::Token([0, 1, 2, 3, 4, 5, 6, 255]), user(9)]
            );
            assert!(read[1].ends_in_ms > 190_000, "{read:?}");
            fs::remove_file(&path).expect("it is there");
        });
    }

    #[test]
    fn what_is_not_understood_is_a_mistake() {
        let path = path("damaged");
        for text in [
            "",
            "{}",
            r#"{"version":1,"revocations":[{"expire_at":1}]}"#,
            r#"{"version":1,"revocations":[{"token":"zz","expire_at":1}]}"#,
            r#"{"version":1,"revocations":[{"user":"a","expire_at":1}"#,
            r#"{"version":2,"revocations":[]}"#,
        ] {
            fs::write(&path, text).expect("a file");
            let (_, read) = RevocationFile::open(path.clone(), 10);
            assert!(read.is_err(), "{text}");
        }
        fs::remove_file(&path).expect("it is there");
    }
}
