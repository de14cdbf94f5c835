//! Reloads: the configuration is read again, on a thread that may wait for a disk. All that can fail is
//! done before the first thing changes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender, SyncSender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use roost_auth::PusherApp;
use roost_config::{self as config, Change, Loaded, Reload};
use roost_control::{ApiKey, ControlReloader, Hook, Reloaded, ReloadedKey};
use roost_metrics::process::{
    LAST_RELOAD_SECONDS, RELOADS, RELOADS_FAILED, TLS_RELOADS, TLS_RELOADS_FAILED,
};
use roost_reactor::{Configurer, NamespaceNumbers, OpenedListener, namespace_names};
use roost_tokens::Checker;
use tracing::{error, info, warn};

use crate::cli::ConfigSource;
use crate::listeners::{Listeners, Moves};
use crate::pace::Paces;
use crate::tls::{Tls, now};
use crate::{api, apps, hooks, logging, notify, settings, tokens, users};

/// What runs, and what it is loaded again from.
pub(crate) struct Running {
    pub(crate) source: ConfigSource,
    pub(crate) loaded: Loaded,
    pub(crate) numbers: NamespaceNumbers,
    pub(crate) tls: Arc<CurrentTls>,
    pub(crate) connections_max: u32,
    pub(crate) reactors: usize,
    pub(crate) listeners: Listeners,
    pub(crate) configurer: Configurer,
    /// How stops go.
    pub(crate) paces: Arc<Paces>,
    /// To the control thread, once it runs, if it does.
    pub(crate) control: Arc<OnceLock<ControlReloader>>,
    /// Of the API, made for this start.
    pub(crate) development_key: Option<ApiKey>,
}

/// What listeners speak TLS with.
pub(crate) struct CurrentTls(Mutex<Arc<Tls>>);

/// Asks for reloads.
#[derive(Clone)]
pub(crate) struct Reloader {
    jobs: Sender<Job>,
    /// A signal has not been obeyed yet: another one asks for the same.
    is_signalled: Arc<AtomicBool>,
}

enum Job {
    Signal,
    Asked {
        is_check: bool,
        answer: SyncSender<Reloaded>,
    },
}

/// All that a reload puts in place.
struct Prepared {
    loaded: Loaded,
    changes: Vec<Change>,
    numbers: NamespaceNumbers,
    tls: Tls,
    warnings: Vec<String>,
    settings: roost_reactor::Settings,
    listeners: Listeners,
    opened: Vec<OpenedListener>,
    served: Served,
}

/// What the control thread is given.
struct Served {
    api_keys: Vec<ApiKey>,
    apps: Vec<PusherApp>,
    checker: Checker,
    hooks: Vec<Hook>,
}

impl CurrentTls {
    pub(crate) fn new(tls: Tls) -> CurrentTls {
        CurrentTls(Mutex::new(Arc::new(tls)))
    }

    pub(crate) fn get(&self) -> Arc<Tls> {
        let tls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tls.clone()
    }

    fn set(&self, tls: Tls) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(tls);
    }
}

impl Reloader {
    /// Starts the thread. It ends with the process, or with the last of those that ask.
    pub(crate) fn start(mut running: Running) -> io::Result<Reloader> {
        let (jobs, asked) = mpsc::channel();
        let is_signalled = Arc::new(AtomicBool::new(false));
        let signalled = is_signalled.clone();
        let work = move || {
            while let Ok(job) = asked.recv() {
                match job {
                    Job::Signal => {
                        signalled.store(false, Ordering::Release);
                        log(&running.reload(false));
                    }
                    Job::Asked { is_check, answer } => {
                        let reloaded = running.reload(is_check);
                        if !is_check {
                            log(&reloaded);
                        }
                        let _ = answer.send(reloaded); // who asked may have ended
                    }
                }
            }
        };
        thread::Builder::new()
            .name("reload".to_owned())
            .spawn(work)?;
        Ok(Reloader { jobs, is_signalled })
    }

    /// Asks for one, without waiting for it.
    pub(crate) fn signal(&self) {
        if !self.is_signalled.swap(true, Ordering::AcqRel) {
            let _ = self.jobs.send(Job::Signal); // the thread runs as long as this does
        }
    }

    /// Reloads, or says what a reload would do, and waits for it.
    pub(crate) fn ask(&self, is_check: bool) -> Reloaded {
        let (answer, answered) = mpsc::sync_channel(1);
        let _ = self.jobs.send(Job::Asked { is_check, answer });
        answered.recv().unwrap_or_else(|_| Reloaded {
            errors: vec!["the thread that reloads has ended".to_owned()],
            ..Reloaded::default()
        })
    }
}

impl Running {
    fn reload(&mut self, is_check: bool) -> Reloaded {
        if is_check {
            return match self.prepare(is_check) {
                Ok(prepared) => prepared.report(),
                Err(errors) => Reloaded::failed(errors),
            };
        }
        notify::notify_reloading(NOTIFY_WAIT);
        let prepared = self.prepare(is_check);
        let report = self.reload_now(prepared);
        notify::notify("READY=1", NOTIFY_WAIT);
        report
    }

    fn reload_now(&mut self, prepared: Result<Prepared, Vec<String>>) -> Reloaded {
        RELOADS.add(1);
        let speaks_tls = !self.tls.get().is_empty();
        TLS_RELOADS.add(u64::from(speaks_tls));
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(errors) => {
                RELOADS_FAILED.add(1);
                TLS_RELOADS_FAILED.add(u64::from(speaks_tls));
                return Reloaded::failed(errors);
            }
        };
        let mut report = prepared.report();
        if !self.commit(prepared) {
            let late = "a reactor has not taken the settings yet: it will when it runs again";
            report.warnings.push(late.to_owned());
        }
        LAST_RELOAD_SECONDS.set(now());
        report
    }

    /// Reads and checks all that there is, and opens listeners that are new, but for a check; nothing
    /// changes. The errors are lines for people.
    fn prepare(&self, is_check: bool) -> Result<Prepared, Vec<String>> {
        if self
            .source
            .config
            .as_deref()
            .is_some_and(|file| file.as_os_str() == "-")
        {
            return Err(vec![FROM_INPUT.to_owned()]);
        }
        let next = self.source.load().map_err(lines)?;
        check_files(&next)?;
        let (loaded, changes) = config::reload(&self.loaded, next).map_err(|errors| {
            let mistakes = errors.iter().map(ToString::to_string);
            mistakes.collect::<Vec<String>>()
        })?;
        let from = &loaded.settings;
        let running = &self.loaded.settings;
        let origins = config::origins(&running.listeners, &from.listeners);
        let tls = self.tls.get().next(&loaded, &origins);
        let (tls, warnings) = tls.map_err(|found| found.errors)?;
        let names = namespace_names(from);
        let numbers = self.numbers.reload(names.iter().map(String::as_str));
        let numbers = numbers.map_err(|error| vec![format!("{error}. Remedy: restart.")])?;
        let (users, found) = users::load(&loaded).map_err(|found| found.errors)?;
        let (apps, own) = apps::load(&loaded).map_err(|found| found.errors)?;
        let warnings = [warnings, found, own].concat();
        let served = self.serve_from(&loaded)?;
        let mut settings = settings::for_reactors(
            from,
            self.connections_max,
            &numbers,
            &tls,
            (users, apps),
            self.reactors,
        )
        .map_err(|error| vec![error])?;
        let is_unused = |number| self.configurer.connections_by_listener(number) == 0;
        let listeners = self.listeners.next(&origins, is_unused, &settings);
        let mut listeners = listeners.map_err(|error| vec![error])?;
        listeners.arrange(&mut settings, &self.configurer.settings());
        let opened = listeners.open(&loaded, running, &settings, self.reactors, is_check)?;
        Ok(Prepared {
            loaded,
            changes,
            numbers,
            tls,
            warnings,
            settings,
            listeners,
            opened,
            served,
        })
    }

    /// What the control thread is to be given. The errors are lines for people.
    fn serve_from(&self, loaded: &Loaded) -> Result<Served, Vec<String>> {
        let from = &loaded.settings;
        if self.control.get().is_none() && (from.auth.is_on() || !from.hooks.is_empty()) {
            return Err(vec![NO_CONTROL.to_owned()]);
        }
        let mut api_keys = api::keys(loaded).map_err(lines)?;
        api_keys.extend(self.development_key.clone());
        let (apps, _) = apps::load(loaded).map_err(|found| found.errors)?;
        let tokens = tokens::Tokens::load(loaded).map_err(|found| found.errors)?;
        let tokens = tokens.unwrap_or_default().for_control(&from.auth);
        Ok(Served {
            api_keys,
            apps,
            checker: tokens.checker,
            hooks: hooks::load(loaded).map_err(|found| found.errors)?,
        })
    }

    /// Puts it in place. Nothing here can fail. Whether all reactors have it.
    fn commit(&mut self, prepared: Prepared) -> bool {
        let Prepared {
            loaded,
            changes: _,
            numbers,
            tls,
            warnings: _,
            settings,
            listeners,
            opened,
            served,
        } = prepared;
        // First: reactors ask what is new.
        if let Some(control) = self.control.get() {
            control.set_api_keys(served.api_keys);
            control.set_pusher_apps(served.apps);
            control.set_tokens(served.checker);
            control.set_hooks(served.hooks);
        }
        self.configurer.reload(settings, opened);
        let (before, after) = (&self.loaded.settings, &loaded.settings);
        log_moves(&listeners.moves(after, (&self.listeners, before)));
        self.listeners = listeners.all_open();
        if before.log.level != after.log.level {
            logging::set_configured(after.log.level);
        }
        self.paces.set(&after.server);
        tls.publish_expiry(&self.listeners.addresses(), after);
        self.tls.set(tls);
        self.loaded = loaded;
        self.numbers = numbers;
        self.wait_for_reactors()
    }

    fn wait_for_reactors(&self) -> bool {
        let deadline = Instant::now() + OBEYED_WAIT;
        while !self.configurer.is_reloaded() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(OBEYED_LOOK);
        }
        true
    }
}

impl Prepared {
    fn report(&self) -> Reloaded {
        let changes = self.changes.iter().map(|change| ReloadedKey {
            key: change.key.clone(),
            before: change.before.clone(),
            after: change.after.clone(),
            class: change.reload.name(),
            effect: effect(change),
        });
        Reloaded {
            errors: Vec::new(),
            warnings: self.warnings.clone(),
            changes: changes.collect(),
        }
    }
}

/// Files that are named, with those that are read at the start alone: a mistake is told now and not at the
/// next start.
fn check_files(next: &Loaded) -> Result<(), Vec<String>> {
    let mut errors = Vec::new();
    errors.extend(api::keys(next).err().into_iter().flat_map(lines));
    let found = [
        users::load(next).err(),
        apps::load(next).err(),
        hooks::load(next).err(),
        tokens::Tokens::load(next).err(),
    ];
    errors.extend(found.into_iter().flatten().flat_map(|found| found.errors));
    match errors.is_empty() {
        true => Ok(()),
        false => Err(errors),
    }
}

/// Mistakes as they are told at a start, without the number of them at the end.
fn lines(message: String) -> Vec<String> {
    let is_number = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        matches!(words[..], [n, "mistake" | "mistakes"] if n.parse::<u32>().is_ok())
    };
    let lines = message.lines().filter(|line| !is_number(line));
    lines.map(str::to_owned).collect()
}

fn log(reloaded: &Reloaded) {
    let Reloaded {
        errors,
        warnings,
        changes,
    } = reloaded;
    if !errors.is_empty() {
        errors
            .iter()
            .for_each(|mistake| error!("reload: {mistake}"));
        error!(mistakes = errors.len(), "not reloaded: nothing has changed");
        return;
    }
    warnings.iter().for_each(|warning| warn!("{warning}"));
    let mut left = 0;
    for change in changes {
        match change.class == Reload::Restart.name() {
            true => {
                left += 1;
                warn!("reload: {change}");
            }
            false => info!("reload: {change}"),
        }
    }
    let changed = changes.len() - left;
    info!(
        changed,
        need_restart = left,
        "reloaded: certificates are those that are in the files now, and so are keys, tokens and secrets"
    );
}

fn log_moves(moves: &Moves) {
    for (listener, address) in &moves.opened {
        info!(listener, %address, "listening");
    }
    for (listener, address) in &moves.closed {
        info!(listener, %address, "no longer listening: its connections stay");
    }
}

fn effect(change: &Change) -> &'static str {
    match (change.reload, &change.before, &change.after) {
        (Reload::Live, ..) => "for all connections",
        (Reload::NewConnections, ..) => "for new connections",
        (Reload::Listener, None, _) => "it is opened",
        (Reload::Listener, _, None) => "it is closed; its connections stay",
        (Reload::Listener, ..) => "it is opened, and the old one closed; connections stay",
        (Reload::Restart, ..) => "at the next start; the running value stays",
    }
}

const FROM_INPUT: &str = "the configuration came from standard input, which cannot be read again. \
                          Remedy: --config FILE";
const NO_CONTROL: &str = "[auth] and [[hook]] need the control thread, which was not started: nothing needed it. \
                          Remedy: restart, or give admin.socket a path before the next start";
/// How long a reload waits for a service manager whose socket is full.
const NOTIFY_WAIT: Duration = Duration::from_millis(100);
/// How soon it is looked again whether all reactors obey.
const OBEYED_LOOK: Duration = Duration::from_millis(2);
/// How long a reload waits for reactors.
const OBEYED_WAIT: Duration = Duration::from_secs(5);
