//! The daemon: command line, start order, signals, systemd. It joins the crates below and owns nothing
//! of what they do.
//!
//! In the order in which a message meets them:
//!
//! | crate | owns |
//! |---|---|
//! | [`roost_net`](../roost_net/index.html) | sockets in, events out: epoll, io_uring, the simulated network; all `unsafe` code |
//! | [`roost_reactor`](../roost_reactor/index.html) | the connections of one thread, and the loop that joins the crates around it |
//! | [`roost_wire`](../roost_wire/index.html) | bytes to WebSocket messages and back |
//! | [`roost_dialect`](../roost_dialect/index.html) | what a message means: raw, echo, WAMP, SOAP, Centrifugo |
//! | [`roost_hub`](../roost_hub/index.html) | channels: which subscribers receive what, in which order |
//!
//! Beside them:
//!
//! | crate | owns |
//! |---|---|
//! | [`roost_config`](../roost_config/index.html) | the configuration's keys, one row a key |
//! | [`roost_metrics`](../roost_metrics/index.html) | counters with one writer each |
//! | [`roost_control`](../roost_control/index.html) | the control thread and the admin listeners |
//! | [`roost_tokens`](../roost_tokens/index.html), [`roost_access`](../roost_access/index.html) | who a client is, and what it may |
//! | [`roost_hooks`](../roost_hooks/index.html) | questions to an application: when, how often, and what follows |
//! | [`roost_ctl`](../roost_ctl/index.html) | `roostctl`, which asks a running daemon |
//! | [`roost_testkit`](../roost_testkit/index.html) | the raw client, the conformance program and the simulator, for tests |
//! | [`roost_load`](../roost_load/index.html) | the load harness |
//!
//! `docs/architecture.md` draws how a message travels, `docs/development.md` what may happen to a
//! connection in each of its phases.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;
use std::process::ExitCode;
use std::thread;

use cli::{Cli, Command, ConfigSource, RunOptions};
use development::Development;
use roost_config::{Loaded, Overrides};
use secret::{Secret, hex};

mod admin;
mod api;
mod apps;
mod cli;
mod development;
mod driver;
mod events;
mod expiry;
mod hooks;
mod listeners;
mod logging;
mod notify;
mod operator;
mod output;
mod pace;
mod reload;
mod revocations;
mod run;
mod secret;
mod settings;
mod signals;
mod start_block;
mod tls;
mod token;
mod tokens;
mod users;
mod warnings;
mod watch;
mod worst;

impl ConfigSource {
    /// The error is a message for people, with every mistake.
    fn load(&self) -> Result<Loaded, String> {
        let mut overrides = Overrides::new();
        overrides.add_environment(std::env::vars_os());
        let named = [
            ("listener.address", &self.listen),
            ("listener.address", &self.listen_tls),
            ("listener.tls.certificate", &self.tls_certificate),
            ("listener.tls.key", &self.tls_key),
            ("server.driver", &self.driver),
            ("server.reactors", &self.reactors),
        ];
        for (key, value) in named {
            if let Some(value) = value {
                overrides.add_command_line(key, value);
            }
        }
        for pair in &self.set {
            overrides.add_pair(pair);
        }
        let loaded = match &self.config {
            Some(file) => roost_config::load(file, &overrides),
            None => Loaded::dev(&overrides),
        };
        let loaded = loaded.map_err(|errors| errors.to_string())?;
        if self.listen_tls.is_some() && !loaded.settings.listeners[0].tls.is_on() {
            return Err(NO_CERTIFICATE.to_owned());
        }
        Ok(loaded)
    }
}

const NO_CERTIFICATE: &str = "\
command line: --listen-tls: found no certificate, expected listener.tls.certificate and \
listener.tls.key; --tls-certificate FILE and --tls-key FILE name them, and roostd run --self-signed \
makes them for development
1 mistake";

fn main() -> ExitCode {
    let cli: Cli = output::parse_command_line();
    match cli.command {
        None => run_with(cli.run),
        Some(Command::Run(options)) => run_with(options),
        Some(Command::CheckConfig { file, mut source }) => {
            source.config = file.or(source.config);
            check(&source)
        }
        Some(Command::Token {
            user,
            expires,
            allow,
            source,
        }) => {
            let made = source
                .load()
                .and_then(|loaded| token::make(&loaded, &user, expires, &allow));
            match made {
                Ok(token) => output::result(&format!("{token}\n")),
                Err(message) => fail(&message),
            }
        }
        Some(Command::PrintConfig(source)) => match source.load() {
            Ok(loaded) => output::result(&roost_config::to_toml(&loaded)),
            Err(message) => fail(&message),
        },
        Some(Command::HashKey { file, new }) => match hash_key(file.as_deref(), new) {
            Ok(lines) => output::result(&lines),
            Err(message) => fail(&message),
        },
    }
}

/// Lines for the configuration.
fn hash_key(file: Option<&Path>, is_new: bool) -> Result<String, String> {
    let key = match file {
        _ if is_new => Secret::random()?,
        Some(file) if file != Path::new("-") => Secret::of_file(file)?,
        _ => Secret::of_input()?,
    };
    let sha256 = format!("sha256 = \"{}\"\n", hex(&key.sha256()));
    if !is_new {
        return Ok(sha256);
    }
    let key = key.reveal();
    Ok(format!(
        "# The key, for the application; the server needs its hash alone: {key}\n\
         [[api.key]]\nname = \"application\"\n{sha256}allow = [\"publish\"]\n"
    ))
}

/// Finds what a start would find, without listening.
fn check(source: &ConfigSource) -> ExitCode {
    let loaded = match source.load() {
        Ok(loaded) => loaded,
        Err(message) => return fail(&message),
    };
    let loads = tls::Tls::load(&loaded).and_then(|(_, mut warnings)| {
        warnings.extend(users::load(&loaded)?.1);
        warnings.extend(apps::load(&loaded)?.1);
        Ok(warnings)
    });
    let warnings = match loads {
        Ok(warnings) => warnings,
        Err(lines) => return fail(&lines.to_string()),
    };
    if let Err(message) = api::keys(&loaded) {
        return fail(&message);
    }
    if let Err(lines) = hooks::load(&loaded) {
        return fail(&lines.to_string());
    }
    if let Err(lines) = apps::load(&loaded).and_then(|(apps, _)| events::load(&loaded, &apps)) {
        return fail(&lines.to_string());
    }
    if let Err(lines) = tokens::Tokens::load(&loaded) {
        return fail(&lines.to_string());
    }
    for warning in &warnings {
        output::error(&format!("warning: {warning}\n"));
    }
    let warnings = match warnings.len() {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        n => format!(", {n} warnings"),
    };
    output::result(&format!("{}: no mistakes{warnings}\n", loaded.file_name))
}

fn run_with(options: RunOptions) -> ExitCode {
    roost_net::memory::tune_allocator(
        thread::available_parallelism().map_or(1, |cores| cores.get()),
    );
    match start(options) {
        Ok(start) => run::run(start),
        Err(message) => fail(&message),
    }
}

/// Reads what the daemon needs. The error is a message for people, with every mistake.
fn start(options: RunOptions) -> Result<run::Start, String> {
    let RunOptions {
        mut source,
        self_signed,
    } = options;
    let development = match self_signed {
        true => Some(Development::make()?),
        false => None,
    };
    if let Some(development) = &development {
        let pair = development.pair.to_str().map(str::to_owned);
        source.tls_certificate.clone_from(&pair);
        source.tls_key = pair;
    }
    let loaded = source.load()?;
    let (tls, tls_warnings) = tls::Tls::load(&loaded).map_err(|lines| lines.to_string())?;
    let api_keys = api::keys(&loaded)?;
    let (users, users_warnings) = users::load(&loaded).map_err(|lines| lines.to_string())?;
    let tokens = tokens::Tokens::load(&loaded).map_err(|lines| lines.to_string())?;
    let hooks = hooks::load(&loaded).map_err(|lines| lines.to_string())?;
    let (apps, apps_warnings) = apps::load(&loaded).map_err(|lines| lines.to_string())?;
    let events = events::load(&loaded, &apps).map_err(|lines| lines.to_string())?;
    Ok(run::Start {
        source,
        tokens,
        hooks,
        events,
        apps,
        loaded,
        api_keys,
        tls,
        tls_warnings,
        users,
        users_warnings: [users_warnings, apps_warnings].concat(),
        development,
    })
}

fn fail(message: &str) -> ExitCode {
    output::error(&format!("{}\n", message.trim_end()));
    ExitCode::FAILURE
}
