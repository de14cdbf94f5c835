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

    fn token(n: u8) -> Revoked {
        Revoked::Token([n; 8])
    }

    /// A file of this name that has what is revoked here.
    fn written(name: &str, max: usize, revoked: &[(Revoked, u64)]) -> PathBuf {
        let path = path(name);
        let _ = fs::remove_file(&path);
        let (file, _) = RevocationFile::open(path.clone(), max);
        for (one, expire_at) in revoked {
            file.keep(one, *expire_at);
        }
        file.finish(WAIT);
        path
    }

    fn tokens(path: &Path) -> Vec<Revoked> {
        let (_, read) = RevocationFile::open(path.to_owned(), 1_000);
        let read = read.expect("it can be read").into_iter();
        let mut tokens: Vec<Revoked> = read.map(|one| one.revoked).collect();
        tokens.sort_by_key(|one| format!("{one:?}"));
        tokens
    }

    #[test]
    fn at_the_end_of_the_process_the_last_one_is_in_the_file() {
        let ends = unix_secs() + 100;
        let all: Vec<Revoked> = (0..200).map(token).collect();
        let revoked: Vec<_> = all.iter().map(|one| (one.clone(), ends)).collect();
        let path = written("last", 1_000, &revoked);
        assert_eq!(tokens(&path).len(), 200);
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).expect("it is there"));
        assert_eq!(mode & 0o777, 0o600, "it says who has an account");
        fs::remove_file(&path).expect("it is there");
    }

    #[test]
    fn no_more_are_kept_than_may_be_and_one_that_has_ended_makes_room() {
        let path = path("bound");
        let _ = fs::remove_file(&path);
        let (file, _) = RevocationFile::open(path.clone(), 2);
        file.lock().is_writing = true; // so that what has ended is forgotten here alone
        let now = unix_secs();
        let kept = || {
            let mut kept: Vec<Key> = file.lock().kept.keys().cloned().collect();
            kept.sort_by_key(|key| format!("{key:?}"));
            kept
        };
        file.keep(&token(1), now);
        file.keep(&token(2), now + 100);
        file.keep(&token(3), now + 100);
        let both = [Key::Token([2; 8]), Key::Token([3; 8])];
        assert_eq!(kept(), both, "the first one has ended");
        file.keep(&token(4), now + 100);
        assert_eq!(kept(), both);
        file.keep(&token(3), now + 200);
        let ends = file.lock().kept[&Key::Token([3; 8])].expire_at;
        assert_eq!(ends, now + 200, "one that is known needs no room");
    }

    /// What was revoked under a higher limit is not forgotten, and takes the room of no more than there were.
    #[test]
    fn a_lower_limit_forgets_nothing() {
        let now = unix_secs();
        let revoked = [1, 2, 3].map(|n| (token(n), now + 100));
        let path = written("lower", 10, &revoked);
        let (file, read) = RevocationFile::open(path.clone(), 1);
        assert_eq!(read.expect("it can be read").len(), 3);
        file.keep(&token(4), now + 100);
        if let Some(ends) = file.lock().kept.get_mut(&Key::Token([1; 8])) {
            ends.expire_at = now;
        }
        file.keep(&token(5), now + 100);
        file.finish(WAIT);
        assert_eq!(tokens(&path), [2, 3, 5].map(token));
        fs::remove_file(&path).expect("it is there");
    }

    #[test]
    fn what_has_ended_since_it_was_written_is_left_out() {
        let path = path("ended");
        let lines =
            [1, unix_secs() + 100].map(|at| format!(r#"{{"user":"u{at}","expire_at":{at}}}"#));
        let text = format!(r#"{{"version":1,"revocations":[{}]}}"#, lines.join(","));
        fs::write(&path, text).expect("a file");
        assert_eq!(tokens(&path).len(), 1);
        fs::remove_file(&path).expect("it is there");
    }

    #[test]
    fn what_is_not_understood_is_not_written_over() {
        let path = path("kept-damage");
        fs::write(&path, "{").expect("a file");
        let (file, read) = RevocationFile::open(path.clone(), 10);
        assert!(read.is_err());
        file.keep(&token(1), unix_secs() + 100);
        file.finish(WAIT);
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "{");
        fs::remove_file(&path).expect("it is there");
    }

    const WAIT: Duration = Duration::from_secs(60);
}
