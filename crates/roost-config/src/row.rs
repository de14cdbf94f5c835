//! A row of the table of keys, and the macros that make a section's structure, its defaults and the
//! walk along its keys from rows.

use std::ops::RangeInclusive;

use crate::value::{Duration, ValueType};

/// When a changed value takes effect in a running daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// With a reload, for connections that exist too.
    Live,
    /// With a reload, for connections accepted from then on.
    NewConnections,
    /// With a reload, by a socket that is opened or closed for it: connections stay.
    Listener,
    /// At the next start.
    Restart,
}

impl Reload {
    /// The class's name, as the reference and reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Reload::Live => "live",
            Reload::NewConnections => "new connections",
            Reload::Listener => "listener added or removed",
            Reload::Restart => "restart",
        }
    }
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
    pub(crate) value: fn(&Leaders) -> V,
}

/// The values of the keys of `[limits]` that others follow.
pub(crate) struct Leaders {
    pub(crate) message_bytes_max: usize,
    pub(crate) outbox_bytes_max: usize,
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
    /// A section begins inside the one that is open, behind its keys. It has the outer one's name, a
    /// dot, and its own.
    fn open_nested(&mut self, section: Section);
    /// A key of the section that is open. `leader` is the field of the section it inherits from,
    /// where there is one.
    fn key<T: ValueType>(&mut self, row: Row<T>, field: &mut T::Value, leader: Option<&T::Value>);
    /// The section ends.
    fn close(&mut self);
}

/// Rows to the structure of a section, its defaults, and the walk along its keys:
/// `field: Type = default, type of value, reload, example` and, for a key that follows one of
/// `[limits]`, `, follows LEADER = VALUE`. Behind the keys may stand sections inside it.
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
        $(
            sections {
                $($(#[doc = $nested_doc:literal])+ $nested:ident: $Nested:ident,)+
            }
        )?
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $Section {
            $($(#[doc = $doc])+ pub $field: $Type,)+
            $($($(#[doc = $nested_doc])+ pub $nested: $Nested,)+)?
        }

        impl Default for $Section {
            fn default() -> $Section {
                $Section { $($field: $default,)+ $($($nested: $Nested::default(),)+)? }
            }
        }

        impl $Section {
            pub(crate) const SECTION: $crate::row::Section = $crate::row::Section {
                name: $name,
                doc: &[$($about),+],
            };

            /// Shows each key of the section to a visitor.
            pub(crate) fn visit_keys(
                &mut self,
                leader: Option<&$Section>,
                visitor: &mut impl $crate::row::Visitor,
            ) {
                $(
                    let row = $crate::row::Row {
                        name: $crate::row::key_of(stringify!($field)),
                        value_type: $value_type,
                        default: $default,
                        example: $example,
                        reload: $crate::row::Reload::$reload,
                        follows: $crate::row::section!(@follows $($leader = $follow)?),
                        doc: &[$($doc),+],
                    };
                    visitor.key(row, &mut self.$field, leader.map(|leader| &leader.$field));
                )+
                $($(
                    visitor.open_nested($Nested::SECTION);
                    self.$nested.visit_keys(leader.map(|leader| &leader.$nested), visitor);
                    visitor.close();
                )+)?
            }
        }
    };
    (@follows) => { None };
    (@follows $leader:ident = $value:expr) => {
        Some($crate::row::Follows { leader: stringify!($leader), value: $value })
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

pub(crate) use {section, words};

/// The key of a field.
pub(crate) fn key_of(field: &'static str) -> &'static str {
    let field = field.strip_suffix("_ms").unwrap_or(field);
    field.strip_suffix('_').unwrap_or(field) // a word of Rust
}

/// A time in a range.
pub(crate) fn time(range: RangeInclusive<u32>) -> Duration {
    Duration { zero: false, range }
}

/// A time in a range, or 0, which switches something off.
pub(crate) fn time_or_zero(range: RangeInclusive<u32>) -> Duration {
    Duration { zero: true, range }
}

pub(crate) const SECOND: u32 = 1_000;
pub(crate) const MINUTE: u32 = 60 * SECOND;
pub(crate) const HOUR: u32 = 3_600_000;
pub(crate) const DAY: u32 = 24 * HOUR;
pub(crate) const WEEK: u32 = 7 * DAY;
