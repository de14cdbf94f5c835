//! The table of keys, one row a key: its type with its bounds, its default, an example, whether a
//! reload can change it, which key it follows where it is not written, and its explanation. The
//! structures of the effective configuration are made from the rows, and so is everything that
//! reads, writes, inherits or documents keys.
//!
//! A key has the name of its field, without `_ms`: a time is written with its unit.

use std::ops::RangeInclusive;

use crate::value::{Duration, ValueType};

/// When a changed value could take effect in a running daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// At once, for connections that exist too.
    Live,
    /// For connections accepted from then on.
    NewConnections,
    /// At the next start.
    Restart,
}

/// What the table says about one key.
pub(crate) struct Row<T: ValueType> {
    pub(crate) name: &'static str,
    pub(crate) value_type: T,
    /// The built-in default.
    pub(crate) default: T::Value,
    /// Another value, as TOML.
    pub(crate) example: &'static str,
    pub(crate) reload: Reload,
    pub(crate) follows: Option<Follows<T::Value>>,
    /// The explanation, line by line as written.
    pub(crate) doc: &'static [&'static str],
}

/// The value of a key that is not written, where that is not a constant.
#[derive(Clone, Copy)]
pub(crate) struct Follows<V> {
    /// The key of `[limits]` that leads.
    pub(crate) leader: &'static str,
    pub(crate) value: fn(&Limits) -> V,
}

/// What the table says about one section.
#[derive(Clone, Copy)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    /// The explanation, line by line as written.
    pub(crate) doc: &'static [&'static str],
}

/// Is shown every key in turn.
pub(crate) trait Visitor {
    /// A section begins.
    fn open(&mut self, section: Section);
    /// A section begins of which there may be several: the one at `index`, from 0.
    fn open_entry(&mut self, section: Section, index: usize);
    /// A key of the section that is open. `leader` is the field of the section it inherits from,
    /// where there is one.
    fn key<T: ValueType>(&mut self, row: Row<T>, field: &mut T::Value, leader: Option<&T::Value>);
    /// The section ends.
    fn close(&mut self);
}

/// Rows to the structure of a section, its defaults, and the walk along its keys:
/// `field: Type = default, type of value, reload, example` and, for a key that follows one of
/// `[limits]`, `, follows LEADER = VALUE`.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:literal $Section:ident
        $(
            $(#[doc = $doc:literal])+
            $field:ident: $Type:ty =
                $default:expr, $value_type:expr, $reload:ident, $example:literal
                $(, follows $leader:ident = $follow:expr)?;
        )+
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $Section {
            $($(#[doc = $doc])+ pub $field: $Type,)+
        }

        impl Default for $Section {
            fn default() -> $Section {
                $Section { $($field: $default,)+ }
            }
        }

        impl $Section {
            pub(crate) const SECTION: $crate::table::Section = $crate::table::Section {
                name: $name,
                doc: &[$($about),+],
            };

            /// Shows each key of the section to a visitor.
            pub(crate) fn visit_keys(
                &mut self,
                leader: Option<&$Section>,
                visitor: &mut impl $crate::table::Visitor,
            ) {
                $(
                    let row = $crate::table::Row {
                        name: $crate::table::key_of(stringify!($field)),
                        value_type: $value_type,
                        default: $default,
                        example: $example,
                        reload: $crate::table::Reload::$reload,
                        follows: section!(@follows $($leader = $follow)?),
                        doc: &[$($doc),+],
                    };
                    visitor.key(row, &mut self.$field, leader.map(|leader| &leader.$field));
                )+
            }
        }
    };
    (@follows) => { None };
    (@follows $leader:ident = $value:expr) => {
        Some($crate::table::Follows { leader: stringify!($leader), value: $value })
    };
}

/// An enumeration with the words that a configuration has for its values.
macro_rules! words {
    (
        $(#[doc = $about:literal])+
        $Enum:ident
        $($(#[doc = $doc:literal])+ $Value:ident = $word:literal,)+
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Enum {
            $($(#[doc = $doc])+ $Value,)+
        }

        impl $Enum {
            pub(crate) const WORDS: $crate::value::Choice<$Enum> =
                $crate::value::Choice(&[$(($word, $Enum::$Value),)+]);
        }
    };
}

mod channels;
mod dialects;
mod drivers;
mod limits;
mod listener;
mod process;

pub use channels::{ChannelPolicy, Namespace, Publish, SlowConsumer, Subscribe};
pub use dialects::{Deflate, Echo, Raw, Wamp};
pub use drivers::{Epoll, IoUring};
pub use limits::Limits;
pub use listener::{ClientSocketMode, ListenAddress, Listener};
pub use process::{Admin, Driver, Log, LogFormat, LogLevel, Server, SocketMode};

pub(crate) use channels::{NAMESPACE, visit_namespace};
pub(crate) use listener::LISTENERS_MAX;

/// The effective configuration: plain values, each with its unit in its name. `Default` gives the
/// defaults for production, which `config/roost.toml` repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `[server]`.
    pub server: Server,
    /// `[[listener]]`, in the order written: at least one. No two have the same name or address.
    pub listeners: Vec<Listener>,
    /// `[limits]`.
    pub limits: Limits,
    /// `[epoll]`.
    pub epoll: Epoll,
    /// `[io_uring]`.
    pub io_uring: IoUring,
    /// `[raw]`.
    pub raw: Raw,
    /// `[echo]`.
    pub echo: Echo,
    /// `[wamp]`.
    pub wamp: Wamp,
    /// `[deflate]`.
    pub deflate: Deflate,
    /// `[admin]`.
    pub admin: Admin,
    /// `[log]`.
    pub log: Log,
    /// `[channels]`.
    pub channels: ChannelPolicy,
    /// `[[namespace]]`, in the order written. No two have the same name.
    pub namespaces: Vec<Namespace>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            server: Server::default(),
            listeners: vec![Listener::default()],
            limits: Limits::default(),
            epoll: Epoll::default(),
            io_uring: IoUring::default(),
            raw: Raw::default(),
            echo: Echo::default(),
            wamp: Wamp::default(),
            deflate: Deflate::default(),
            admin: Admin::default(),
            log: Log::default(),
            channels: ChannelPolicy::default(),
            namespaces: Vec::new(),
        }
    }
}

/// What the keys of entry `index` are called before the dot: `listener` of the first, for it is the
/// one that the command line and the environment set; `listener[1]`.
pub(crate) fn entry_path(section: &str, index: usize) -> String {
    match index {
        0 => section.to_owned(),
        _ => format!("{section}[{index}]"),
    }
}

/// A section as its header is written.
pub(crate) fn header(section: &str) -> String {
    if section == Listener::SECTION.name || section == NAMESPACE.name {
        format!("[[{section}]]")
    } else {
        format!("[{section}]")
    }
}

/// Shows every section but the namespaces, which [`visit_namespace`] does one by one, in the order
/// of the documentation.
pub(crate) fn visit(settings: &mut Settings, visitor: &mut impl Visitor) {
    // Every field is named, so that a section that is not shown does not compile.
    let Settings {
        server,
        listeners,
        limits,
        epoll,
        io_uring,
        raw,
        echo,
        wamp,
        deflate,
        admin,
        log,
        channels,
        namespaces: _,
    } = settings;
    macro_rules! show {
        ($($field:ident: $Section:ident),+) => {$(
            visitor.open($Section::SECTION);
            $field.visit_keys(None, visitor);
            visitor.close();
        )+};
    }
    show!(server: Server);
    for (index, listener) in listeners.iter_mut().enumerate() {
        visitor.open_entry(Listener::SECTION, index);
        listener.visit_keys(None, visitor);
        visitor.close();
    }
    show!(
        limits: Limits,
        epoll: Epoll,
        io_uring: IoUring,
        raw: Raw,
        echo: Echo,
        wamp: Wamp,
        deflate: Deflate,
        admin: Admin,
        log: Log,
        channels: ChannelPolicy
    );
}

/// The key of a field.
pub(crate) fn key_of(field: &'static str) -> &'static str {
    field.strip_suffix("_ms").unwrap_or(field)
}

/// A time in a range.
fn time(range: RangeInclusive<u32>) -> Duration {
    Duration { zero: false, range }
}

/// A time in a range, or 0, which switches something off.
fn time_or_zero(range: RangeInclusive<u32>) -> Duration {
    Duration { zero: true, range }
}

const SECOND: u32 = 1_000;
const HOUR: u32 = 3_600_000;
const DAY: u32 = 24 * HOUR;
const WEEK: u32 = 7 * DAY;

/// 2^10 bytes.
pub(crate) const KIB: usize = 1 << 10;
/// 2^20 bytes.
pub(crate) const MIB: usize = 1 << 20;
/// 2^30 bytes.
pub(crate) const GIB: usize = 1 << 30;
