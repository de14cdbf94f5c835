//! The one block that says what runs.

use std::fmt::Write as _;
use std::net::SocketAddr;

use roost_config::{self as config, Loaded, LogFormat};
use roost_net::ListenAddr;
use serde_json::{Value, json};

use crate::driver::Choice;
use crate::logging;
use crate::worst::WorstCase;

/// What it says.
pub(crate) struct StartBlock<'a> {
    pub(crate) loaded: &'a Loaded,
    pub(crate) addresses: &'a [ListenAddr],
    pub(crate) choice: &'a Choice,
    pub(crate) reactors: usize,
    pub(crate) open_files: u64,
    pub(crate) connections_max: u32,
}

impl StartBlock<'_> {
    /// Lines for people, or one object.
    pub(crate) fn in_format(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Text => self.as_text(),
            LogFormat::Json => logging::json_line("INFO", "start", &self.as_fields()),
        }
    }

    fn as_text(&self) -> String {
        let asked = self.loaded.settings.server.connections_max;
        let less = match asked {
            Some(asked) if asked > self.connections_max => {
                format!(" (server.connections_max asks for {asked})")
            }
            _ => String::new(),
        };
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "Roost {VERSION}");
        for (listener, address) in self.listeners() {
            let name = match listener.name.as_str() {
                "" => String::new(),
                name => format!(" ({name})"),
            };
            let _ = writeln!(out, "  address     {address}{name}");
        }
        let (driver, reason) = (self.choice.name(), &self.choice.reason);
        let _ = writeln!(out, "  driver      {driver} ({reason})");
        let _ = writeln!(out, "  reactors    {}", self.reactors);
        let _ = writeln!(
            out,
            "  open files  {} allowed: up to {} connections{less}",
            self.open_files, self.connections_max
        );
        let _ = writeln!(out, "  memory      {}", self.memory());
        let _ = writeln!(out, "  config      {}", self.config());
        if let Some(hint) = self.hint() {
            let _ = writeln!(out, "\n{hint}");
        }
        out
    }

    fn as_fields(&self) -> [(&'static str, Value); 9] {
        [
            ("version", json!(VERSION)),
            ("addresses", json!(self.addresses_as_text())),
            ("driver", json!(self.choice.name())),
            ("driver_reason", json!(self.choice.reason)),
            ("reactors", json!(self.reactors)),
            ("open_files", json!(self.open_files)),
            ("connections_max", json!(self.connections_max)),
            ("memory", json!(self.memory().to_string())),
            ("config", json!(self.config())),
        ]
    }

    /// The listeners as configured, and where they listen.
    fn listeners(&self) -> impl Iterator<Item = (&config::Listener, &ListenAddr)> + Clone {
        self.loaded.settings.listeners.iter().zip(self.addresses)
    }

    fn addresses_as_text(&self) -> Vec<String> {
        self.addresses.iter().map(ToString::to_string).collect()
    }

    fn memory(&self) -> WorstCase {
        WorstCase::of(
            &self.loaded.settings,
            &self.choice.driver,
            self.reactors as u64,
            u64::from(self.connections_max),
        )
    }

    fn config(&self) -> &str {
        match self.loaded.file_name.as_str() {
            "" => "built-in defaults",
            name => name,
        }
    }

    fn hint(&self) -> Option<String> {
        let settings = &self.loaded.settings;
        let mut tcp = self
            .listeners()
            .filter_map(|(listener, address)| Some((listener, browsable(address.tcp()?))));
        let first = tcp.clone().find(|(one, _)| one.serves("raw"));
        if let Some((_, address)) = tcp.find(|(listener, _)| listener.demo_page) {
            return Some(format!("Open http://{address}/ in a browser, twice."));
        }
        let (_, address) = first.filter(|_| settings.raw.enabled)?;
        Some(format!("Connect to ws://{address}/raw/CHANNEL."))
    }
}

/// An address that a browser on this machine can open.
fn browsable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
