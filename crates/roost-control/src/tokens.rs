//! Tokens of handshakes: reactors ask, a thread of its own checks, and the verdicts go back.
//!
//! The control thread only moves them, so that a storm of tokens delays nothing else that it does. What
//! is under way is bounded by the reactors, each of which has so many handshakes that wait, and on the way
//! to the thread once more.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc as sync_mpsc};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roost_access::Provider;
use roost_reactor::{Denied, Login, TokenCheck, Verdict};
use roost_tokens::{Checker, Refusal, Verified};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::first_of::first_of;
use crate::jwks::{Input, Jwks, JwksOptions};
use crate::peer::Peer;
use crate::token_jobs::{Job, Parked, ToThread, UnderWay};

/// What tokens are checked with.
pub struct Tokens {
    /// Rules and the keys of files.
    pub checker: Checker,
    /// The JWKS, if there is one.
    pub jwks: Option<JwksOptions>,
    /// Tokens that have no verdict yet, at once.
    pub checks_max: usize,
}

/// What the thread has found out, for a reactor.
struct Checked {
    reactor: usize,
    verdicts: Vec<Verdict>,
}

/// What the control thread does for tokens.
pub(crate) struct TokenTasks {
    checked: mpsc::UnboundedReceiver<Checked>,
    jwks: Option<Jwks>,
}

/// The thread's state.
struct Thread {
    checker: Checker,
    answer: mpsc::UnboundedSender<Checked>,
    under_way: UnderWay,
    /// To the task that fetches keys.
    unknown: Option<mpsc::UnboundedSender<Input>>,
}

/// Starts the thread. It ends when what sends to it does.
pub(crate) fn start(tokens: Tokens) -> io::Result<(ToThread, TokenTasks)> {
    let Tokens {
        checker,
        jwks,
        checks_max,
    } = tokens;
    let (to_thread, jobs) = sync_mpsc::channel();
    let under_way = UnderWay::default();
    let to_thread = ToThread::new(to_thread, under_way.clone(), checks_max);
    let (answer, checked) = mpsc::unbounded_channel();
    let (input, inputs) = mpsc::unbounded_channel();
    let unknown = jwks.is_some().then(|| input.clone());
    let jwks = jwks.map(|options| Jwks::new(options, to_thread.clone(), input, inputs));
    let mut state = Thread {
        checker,
        answer,
        under_way,
        unknown,
    };
    thread::Builder::new()
        .name("tokens".to_owned())
        .spawn(move || {
            while let Ok(job) = jobs.recv() {
                if state.work(job).is_err() {
                    return; // the control thread has ended
                }
            }
        })?;
    Ok((to_thread, TokenTasks { checked, jwks }))
}

/// Nothing takes verdicts any more.
struct Ended;

impl Thread {
    fn work(&mut self, job: Job) -> Result<(), Ended> {
        match job {
            Job::Keys(keys) => self.checker.set_jwks(keys),
            Job::Replace(checker) => {
                let jwks = self.checker.keys().jwks.clone();
                self.checker = *checker;
                self.checker.set_jwks(jwks);
            }
            Job::Recheck(parked) => {
                for Parked { reactor, check } in parked {
                    let outcome = self.check(&check);
                    let outcome = outcome.map_err(|refusal| denied(&refusal));
                    let verdict = Verdict {
                        key: check.key,
                        outcome,
                    };
                    self.say(reactor, vec![verdict])?;
                }
            }
            Job::Check(reactor, checks) => {
                let mut checks = checks.into_iter().peekable();
                while checks.peek().is_some() {
                    let some = checks.by_ref().take(CHECKS_AT_ONCE);
                    let verdicts: Vec<Verdict> = some
                        .filter_map(|check| self.judge(reactor, check))
                        .collect();
                    self.say(reactor, verdicts)?;
                }
            }
        }
        Ok(())
    }

    /// `None` if the token has to wait for keys.
    fn judge(&mut self, reactor: usize, check: TokenCheck) -> Option<Verdict> {
        let outcome = match self.check(&check) {
            Ok(login) => Ok(login),
            Err(Refusal::MaybeInJwks(_)) if self.unknown.is_some() => {
                let parked = Parked { reactor, check };
                if let Some(unknown) = &self.unknown {
                    let _ = unknown.send(Input::Unknown(parked)); // the control thread may have ended
                }
                return None;
            }
            Err(refusal) => Err(denied(&refusal)),
        };
        Some(Verdict {
            key: check.key,
            outcome,
        })
    }

    fn check(&mut self, check: &TokenCheck) -> Result<Login, Refusal> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let (token, channel) = (check.token.expose(), check.channel.as_deref());
        let verified = self.checker.check_for(token, channel, now.as_secs())?;
        Ok(login(&verified, now))
    }

    fn say(&self, reactor: usize, verdicts: Vec<Verdict>) -> Result<(), Ended> {
        if verdicts.is_empty() {
            return Ok(());
        }
        self.under_way.end(verdicts.len());
        let said = self.answer.send(Checked { reactor, verdicts });
        said.map_err(|_| Ended)
    }
}

fn login(verified: &Verified, now: Duration) -> Login {
    let expires_in_ms = verified.expires_at.map(|at| {
        let left = Duration::from_secs(at).saturating_sub(now);
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    });
    Login {
        user: verified.user.clone(),
        permissions: verified.permissions.clone(),
        expires_in_ms,
        provider: match verified.key {
            Some(_) => Provider::Jwt,
            None => Provider::Static,
        },
        token: verified.mark,
    }
}

fn denied(refusal: &Refusal) -> Denied {
    match refusal {
        Refusal::Expired => Denied::Expired(sentence(refusal)),
        _ => Denied::Refused(sentence(refusal)),
    }
}

/// For the client. RFC 6750 §3: an error_description has no quotes.
fn sentence(refusal: &Refusal) -> std::borrow::Cow<'static, str> {
    let mut sentence = refusal.to_string().replace('"', "'");
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    sentence.push('.');
    sentence.into()
}

impl TokenTasks {
    /// Whether there are keys of the issuer; `None` if none are fetched.
    pub(crate) fn has_keys(&self) -> Option<Arc<AtomicBool>> {
        self.jwks.as_ref().map(Jwks::has_keys)
    }

    /// Runs until the thread ends, or fails.
    pub(crate) async fn run(self, peer: Arc<Peer>) -> io::Result<()> {
        let TokenTasks { checked, jwks } = self;
        let fetches = async {
            match jwks {
                Some(jwks) => jwks.run().await,
                None => std::future::pending().await,
            }
        };
        first_of(deliver(checked, peer), fetches).await
    }
}

/// Sends verdicts to the reactors until the thread ends. One whose ring is full takes them a little
/// later; others do not wait for it.
async fn deliver(
    mut from_thread: mpsc::UnboundedReceiver<Checked>,
    peer: Arc<Peer>,
) -> io::Result<()> {
    let mut unsent: VecDeque<Checked> = VecDeque::new();
    loop {
        if unsent.is_empty() {
            match from_thread.recv().await {
                Some(checked) => unsent.push_back(checked),
                None => return Err(io::Error::other("the thread that checks tokens has ended")),
            }
        }
        while let Ok(checked) = from_thread.try_recv() {
            unsent.push_back(checked);
        }
        for _ in 0..unsent.len() {
            let Some(Checked { reactor, verdicts }) = unsent.pop_front() else {
                break;
            };
            if let Err(verdicts) = peer.send_verdicts(reactor, verdicts) {
                unsent.push_back(Checked { reactor, verdicts });
            }
        }
        if !unsent.is_empty() {
            sleep(RETRY).await;
        }
    }
}

/// Verdicts in one message: some milliseconds of signatures.
const CHECKS_AT_ONCE: usize = 64;
/// How soon a ring that was full is tried again.
const RETRY: Duration = Duration::from_millis(2);
