//! Starting, saying what was started, and stopping.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use roost_auth::PusherApp;
use roost_config::{self as config, Loaded};
use roost_control::{ApiKey, ApiOptions, Control, EventsTo, Hook, RevocationFile};
use roost_dialect::wamp::Users;
use roost_metrics::About;
use roost_net::epoll::EpollDriver;
use roost_net::limits;
use roost_net::process::ignore_stray_signals;
use roost_net::uring::UringDriver;
use roost_reactor::{
    ListenError, NamespaceNumbers, REACTORS_MAX, Server, Settings, StartError, namespace_names,
};
use signal_hook::iterator::Signals;
use tracing::{info, warn};

use crate::api::{self, Api, Shown};
use crate::cli::ConfigSource;
use crate::development::Development;
use crate::driver::{self, Choice, Chosen};
use crate::expiry::Expiry;
use crate::listeners::{Listeners, cannot_listen};
use crate::operator::Daemon;
use crate::pace::Paces;
use crate::reload::{CurrentTls, Reloader, Running};
use crate::start_block::StartBlock;
use crate::tls::Tls;
use crate::tokens::Tokens;
use crate::watch::Watch;
use crate::{admin, hooks, logging, notify, output, revocations, settings, signals, warnings};

/// What the daemon runs with.
pub(crate) struct Start {
    /// What `loaded` was loaded from.
    pub(crate) source: ConfigSource,
    pub(crate) loaded: Loaded,
    pub(crate) api_keys: Vec<ApiKey>,
    pub(crate) tls: Tls,
    /// What was found while `tls` was read, for the log.
    pub(crate) tls_warnings: Vec<String>,
    pub(crate) users: Option<Users>,
    /// What was found while `users` were read, for the log.
    pub(crate) users_warnings: Vec<String>,
    pub(crate) development: Option<Development>,
    /// What tokens are checked with.
    pub(crate) tokens: Option<Tokens>,
    /// What applications are asked.
    pub(crate) hooks: Vec<Hook>,
    /// Where events are told.
    pub(crate) events: Vec<EventsTo>,
    /// Applications of Pusher's.
    pub(crate) apps: Vec<PusherApp>,
}

/// Runs the daemon until it is told to stop, and says why if it cannot.
pub(crate) fn run(start: Start) -> ExitCode {
    let log = start.loaded.settings.log.clone();
    let ended = match logging::init(&log) {
        Ok(()) => serve(start),
        Err(error) => Err(thread_error(&error)),
    };
    if let Err(message) = &ended {
        logging::error_line(log.format, message);
    }
    logging::finish(LOG_WAIT);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The error is a message for people.
fn serve(start_with: Start) -> Result<(), String> {
    let Start {
        source,
        loaded,
        api_keys,
        tls,
        tls_warnings,
        users,
        users_warnings,
        development,
        tokens,
        hooks: asked,
        events: told,
        apps,
    } = start_with;
    let from = &loaded.settings;
    ignore_stray_signals();
    let signals = signals::catch().map_err(|error| format!("signals: {error}"))?;
    let (open_files, reactors, choice, connections_max) = room_of(from)?;
    warn_of(&[users_warnings, tls_warnings].concat());
    let listeners = admin::bind(&from.admin)?;
    let (mut api, api_shown) = bind_api(&loaded, api_keys, &apps)?;
    let (numbers, who) = (numbers_of(from)?, (users, apps));
    let mut settings =
        settings::for_reactors(from, connections_max, &numbers, &tls, who, reactors)?;
    let revocations = keep_revocations(&loaded, &mut settings, api.as_mut());
    let server = start(settings, &choice, reactors).map_err(|error| start_error(from, &error))?;
    describe(&server, &choice, connections_max, open_files);
    let has_tokens = tokens.is_some();
    let tokens = tokens.unwrap_or_default().for_control(&from.auth);
    tls.publish_expiry(server.addresses(), from);
    let tls = Arc::new(CurrentTls::new(tls));
    let to_control = Arc::new(OnceLock::new());
    let paces = Arc::new(Paces::new(&from.server));
    let reloader = Reloader::start(Running {
        source,
        loaded: loaded.clone(),
        numbers,
        tls: tls.clone(),
        connections_max,
        reactors,
        listeners: Listeners::at_start(server.addresses()),
        configurer: server.configurer(),
        paces: paces.clone(),
        control: to_control.clone(),
        development_key: api_shown.as_ref().and_then(Shown::development_key),
    });
    let reloader = reloader.map_err(|error| thread_error(&error))?;
    let operator = Daemon::of(&server, paces.clone(), reloader.clone());
    let events_wait = events_wait(&told);
    let asked = (tokens, has_tokens, asked, told);
    let (name, own) = (choice.name(), (operator, from.admin.canary_interval_ms));
    let control = admin::start(listeners, api, server.shared(), name, asked, own)?;
    let reloaders = control.iter().map(Control::reloader);
    reloaders.for_each(|one| _ = to_control.set(one)); // the first
    let block = StartBlock {
        loaded: &loaded,
        addresses: server.addresses(),
        choice: &choice,
        reactors,
        open_files,
        connections_max,
        tls: &tls.get(),
        development: development.as_ref(),
        api: api_shown.as_ref(),
    };
    output::within(START_BLOCK_WAIT, block.in_format(from.log.format));

    handle_signals(signals, &server, reloader, paces)?;
    info!(address = %addresses_of(&server), driver = choice.name(), reactors, "ready");
    let control = control.map(|control| (control, events_wait));
    run_until_stopped(server, Expiry::new(tls), control, revocations)
}

/// The API, and what of it is shown at the start; both if there is one.
fn bind_api(
    loaded: &Loaded,
    keys: Vec<ApiKey>,
    apps: &[PusherApp],
) -> Result<(Option<ApiOptions>, Option<Shown>), String> {
    let api = api::bind(loaded, keys, apps.to_vec())?;
    Ok(api.map(Api::split).unzip())
}

/// How long a stop waits for those who are told of events.
fn events_wait(told: &[EventsTo]) -> Duration {
    match told.is_empty() {
        true => Duration::ZERO,
        false => EVENTS_WAIT,
    }
}

fn warn_of(warnings: &[String]) {
    warnings.iter().for_each(|warning| warn!("{warning}"));
}

/// Says that the daemon is ready, and what becomes of it.
fn run_until_stopped(
    server: Server,
    expiry: Expiry,
    control: Option<(Control, Duration)>,
    revocations: Option<Arc<RevocationFile>>,
) -> Result<(), String> {
    let (ended, end) = mpsc::channel();
    let watch = Watch::new(server.registry().clone(), expiry);
    let watch = spawn("watch", move || watch.run(&end))?;
    notify::notify("READY=1", NOTIFY_WAIT);

    let outcome = server
        .join()
        .map_err(|error| format!("a reactor ended: {error}"));
    drop(ended);
    let _ = watch.join(); // it has said what it had not said yet
    if let Some((control, events_wait)) = control {
        control.finish(CONTROL_WAIT, events_wait);
    }
    outcome?;
    if let Some(file) = revocations {
        file.finish(REVOCATIONS_WAIT);
    }
    info!("stopped");
    Ok(())
}

/// Open files, reactors, the driver, and how many connections that is room for.
fn room_of(from: &config::Settings) -> Result<(u64, usize, Choice, u32), String> {
    let open_files =
        limits::raise_open_files().map_err(|error| format!("limit on open files: {error}"))?;
    let reactors = reactors_of(from);
    driver::check_open_files(from, open_files, reactors)?;
    let choice = Choice::of(from, open_files)?;
    let connections_max = connections_max(from, &choice, open_files, reactors);
    warnings::warn_of_settings(from, reactors, connections_max);
    Ok((open_files, reactors, choice, connections_max))
}

/// What was revoked before the start; the API keeps in the file what is revoked from now on.
fn keep_revocations(
    loaded: &Loaded,
    settings: &mut Settings,
    api: Option<&mut ApiOptions>,
) -> Option<Arc<RevocationFile>> {
    let (file, revoked) = revocations::open(loaded).unzip();
    settings.auth.revoked = revoked.unwrap_or_default();
    if let Some(api) = api {
        api.revocations.clone_from(&file);
    }
    file
}

/// Says in metrics what runs.
fn describe(server: &Server, choice: &Choice, connections_max: u32, open_files: u64) {
    server.registry().describe(About {
        version: env!("CARGO_PKG_VERSION"),
        driver: choice.name(),
        started: Instant::now(),
        connections_max,
        open_files,
    });
}

/// Stops, drains and reloads as signals say, on a thread of its own.
fn handle_signals(
    mut signals: Signals,
    server: &Server,
    reloader: Reloader,
    paces: Arc<Paces>,
) -> Result<(), String> {
    let (stopper, registry) = (server.stopper(), server.registry().clone());
    spawn("signals", move || {
        signals::handle(&mut signals, &stopper, &registry, &reloader, &paces);
    })?;
    Ok(())
}

fn numbers_of(from: &config::Settings) -> Result<NamespaceNumbers, String> {
    let names = namespace_names(from);
    let numbers = NamespaceNumbers::default().reload(names.iter().map(String::as_str));
    numbers.map_err(|error| format!("{error}. Remedy: list fewer [[namespace]]."))
}

fn reactors_of(from: &config::Settings) -> usize {
    match from.server.reactors {
        Some(reactors) => reactors as usize,
        None => thread::available_parallelism().map_or(1, |cores| cores.get().min(REACTORS_MAX)),
    }
}

/// Connections of clients: as configured, as far as open files allow.
fn connections_max(
    from: &config::Settings,
    choice: &Choice,
    open_files: u64,
    reactors: usize,
) -> u32 {
    let for_others =
        api::descriptors(&from.api, open_files) + hooks::descriptors(&from.hooks, open_files);
    let for_clients = open_files - for_others;
    let allowed = choice.connections_allowed(for_clients, reactors, from.listeners.len());
    let allowed = u32::try_from(allowed).unwrap_or(u32::MAX);
    from.server.connections_max.unwrap_or(allowed).min(allowed)
}

/// Where it listens, in words.
fn addresses_of(server: &Server) -> String {
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    addresses.join(", ")
}

fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, String> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| thread_error(&error))
}

fn start(settings: Settings, choice: &Choice, reactors: usize) -> Result<Server, StartError> {
    match &choice.driver {
        Chosen::Epoll(options) => {
            let options = options.clone();
            Server::start(settings, reactors, move || EpollDriver::new(&options))
        }
        Chosen::Uring(options) => {
            let options = options.clone();
            Server::start(settings, reactors, move || UringDriver::new(&options))
        }
    }
}

fn start_error(from: &config::Settings, error: &StartError) -> String {
    match error {
        StartError::Thread(error) => thread_error(error),
        StartError::Driver(error) => format!("cannot start a reactor's driver: {error}."),
        StartError::Listen(ListenError { listener, error }) => {
            cannot_listen(&from.listeners[*listener], error)
        }
    }
}

fn thread_error(error: &std::io::Error) -> String {
    format!(
        "cannot start a thread: {error}. Remedy: allow this user more processes and threads \
         (ulimit -u, TasksMax= in the unit), or the process more memory; or take fewer reactors \
         with --reactors."
    )
}

/// How long the end waits for revocations to be written.
const REVOCATIONS_WAIT: Duration = Duration::from_secs(2);
/// How long the end waits for the log to be written.
const LOG_WAIT: Duration = Duration::from_secs(1);
/// How long the end waits for the admin listeners.
const CONTROL_WAIT: Duration = Duration::from_secs(1);
/// How long the end waits for the application to take the last events.
const EVENTS_WAIT: Duration = Duration::from_secs(3);
/// How long the start waits for standard output to take its block.
const START_BLOCK_WAIT: Duration = Duration::from_secs(1);
/// How long the start waits for a service manager whose socket is full.
const NOTIFY_WAIT: Duration = Duration::from_secs(1);
