//! The one block that says what runs.

use std::fmt::Write as _;
use std::net::SocketAddr;

use roost_config::{self as config, Loaded, LogFormat};
use roost_net::ListenAddr;
use serde_json::{Value, json};

use crate::api::Shown;
use crate::development::Development;
use crate::driver::Choice;
use crate::logging;
use crate::tls::{self, Tls};
use crate::worst::WorstCase;

/// What it says.
pub(crate) struct StartBlock<'a> {
    pub(crate) loaded: &'a Loaded,
    pub(crate) addresses: &'a [ListenAddr],
    pub(crate) choice: &'a Choice,
    pub(crate) reactors: usize,
    pub(crate) open_files: u64,
    pub(crate) connections_max: u32,
    pub(crate) tls: &'a Tls,
    pub(crate) development: Option<&'a Development>,
    pub(crate) api: Option<&'a Shown>,
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
        for (number, (listener, address)) in self.listeners().enumerate() {
            let name = match listener.name.as_str() {
                "" => String::new(),
                name => format!(" ({name})"),
            };
            let _ = writeln!(out, "  address     {address}{name}");
            if let Some(expires) = self.tls.expires(number) {
                let urls = match address.tcp() {
                    Some(address) => {
                        let address = browsable(address);
                        format!("https://{address}, wss://{address}")
                    }
                    None => "TLS".to_owned(),
                };
                let date = tls::date(expires);
                let _ = writeln!(
                    out,
                    "  tls         {urls}; the certificate is valid until {date}"
                );
            }
        }
        for address in self.api_addresses() {
            let _ = writeln!(out, "  api         {address}");
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
        if let Some(hint) = self.api.and_then(Shown::hint) {
            let _ = writeln!(out, "\n{hint}");
        }
        if let Some(development) = self.development {
            let _ = writeln!(out, "\n{}", development.hint());
        }
        out
    }

    /// The key made for this start is not among them: these lines are kept.
    fn as_fields(&self) -> [(&'static str, Value); 12] {
        [
            ("version", json!(VERSION)),
            ("addresses", json!(self.addresses_as_text())),
            ("tls", json!(self.tls_as_fields())),
            (
                "self_signed",
                json!(self.development.map(Development::fields)),
            ),
            ("api", json!(self.api_addresses())),
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

    fn api_addresses(&self) -> &[String] {
        self.api.map_or(&[], |api| &api.addresses)
    }

    fn addresses_as_text(&self) -> Vec<String> {
        self.addresses.iter().map(ToString::to_string).collect()
    }

    /// The listeners with TLS.
    fn tls_as_fields(&self) -> Vec<Value> {
        let all = self.addresses.iter().enumerate();
        let encrypted = all.filter_map(|(number, address)| {
            let date = tls::date(self.tls.expires(number)?);
            Some(json!({"address": address.to_string(), "certificate_valid_until": date}))
        });
        encrypted.collect()
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
        let s = |listener: &config::Listener| if listener.tls.is_on() { "s" } else { "" };
        if let Some((listener, address)) = tcp.find(|(listener, _)| listener.demo_page) {
            let s = s(listener);
            return Some(format!("Open http{s}://{address}/ in a browser, twice."));
        }
        let (listener, address) = first.filter(|_| settings.raw.enabled)?;
        let s = s(listener);
        Some(format!("Connect to ws{s}://{address}/raw/CHANNEL."))
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
