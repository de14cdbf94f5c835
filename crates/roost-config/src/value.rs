//! What a value may be: one [`ValueType`] per way of writing a value, which reads it from TOML,
//! writes it back, and says in words what it takes.

mod addresses;

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use crate::nearest::{containing, nearest};
use crate::units::{GIB, KIB, MIB};

pub(crate) use addresses::{Address, ListenerAddress, ListenerAddresses};

/// A way of writing a value.
pub(crate) trait ValueType {
    /// What it is read as.
    type Value: Clone + PartialEq + 'static;

    /// Reads a value, or says in `refusals` why not.
    fn read(
        &self,
        value: &Spanned<DeValue<'_>>,
        refusals: &mut Vec<Refusal>,
    ) -> Option<Self::Value>;

    /// The value as TOML, on one line.
    fn write(&self, value: &Self::Value) -> String;

    /// What is accepted, to stand after "expected".
    fn expected(&self) -> String;

    /// What is accepted, as short as a cell of the reference needs it, in Markdown.
    fn takes(&self) -> String;
}

/// A value that is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The bytes of the document it is about.
    pub(crate) span: Range<usize>,
    /// What stands there.
    pub(crate) found: String,
    /// What should.
    pub(crate) expected: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

/// `true` or `false`.
pub(crate) struct Flag;

impl ValueType for Flag {
    type Value = bool;

    fn read(&self, value: &Spanned<DeValue<'_>>, refusals: &mut Vec<Refusal>) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            DeValue::String(text) if matches!(text.as_ref(), "true" | "false") => {
                let hint = format!("write {text} without quotes");
                refuse(self, value, Some(hint), refusals)
            }
            _ => refuse(self, value, None, refusals),
        }
    }

    fn write(&self, value: &bool) -> String {
        value.to_string()
    }

    fn expected(&self) -> String {
        "true or false".to_owned()
    }

    fn takes(&self) -> String {
        "`true`, `false`".to_owned()
    }
}

/// A whole number in a range.
pub(crate) struct Count(pub(crate) RangeInclusive<u32>);

impl ValueType for Count {
    type Value = u32;

    fn read(&self, value: &Spanned<DeValue<'_>>, refusals: &mut Vec<Refusal>) -> Option<u32> {
        match integer(value.get_ref()).and_then(|n| u32::try_from(n).ok()) {
            Some(n) if self.0.contains(&n) => Some(n),
            _ => refuse(self, value, unquote_hint(value.get_ref()), refusals),
        }
    }

    fn write(&self, value: &u32) -> String {
        value.to_string()
    }

    fn expected(&self) -> String {
        let (min, max) = (self.0.start(), self.0.end());
        format!("a whole number from {min} to {max}")
    }

    fn takes(&self) -> String {
        format!("{} to {}", self.0.start(), self.0.end())
    }
}

/// A power of two in a range.
pub(crate) struct PowerOfTwo(pub(crate) RangeInclusive<u32>);

impl ValueType for PowerOfTwo {
    type Value = u32;

    fn read(&self, value: &Spanned<DeValue<'_>>, refusals: &mut Vec<Refusal>) -> Option<u32> {
        let Some(n) = integer(value.get_ref()).and_then(|n| u32::try_from(n).ok()) else {
            return refuse(self, value, unquote_hint(value.get_ref()), refusals);
        };
        if !self.0.contains(&n) {
            return refuse(self, value, None, refusals);
        }
        if !n.is_power_of_two() {
            let next = n.next_power_of_two().min(*self.0.end());
            let hint = format!("the next one is {next}");
            return refuse(self, value, Some(hint), refusals);
        }
        Some(n)
    }

    fn write(&self, value: &u32) -> String {
        value.to_string()
    }

    fn expected(&self) -> String {
        let (min, max) = (self.0.start(), self.0.end());
        format!("a power of two from {min} to {max}")
    }

    fn takes(&self) -> String {
        format!("power of two, {} to {}", self.0.start(), self.0.end())
    }
}

/// `"auto"`, read as `None`, or what another kind takes.
pub(crate) struct Auto<K>(pub(crate) K);

impl<K: ValueType> ValueType for Auto<K> {
    type Value = Option<K::Value>;

    fn read(
        &self,
        value: &Spanned<DeValue<'_>>,
        refusals: &mut Vec<Refusal>,
    ) -> Option<Self::Value> {
        read_or_word(self, ("auto", &self.0), value, refusals)
    }

    fn write(&self, value: &Self::Value) -> String {
        match value {
            None => quoted("auto"),
            Some(value) => self.0.write(value),
        }
    }

    fn expected(&self) -> String {
        format!("\"auto\" or {}", self.0.expected())
    }

    fn takes(&self) -> String {
        format!("`\"auto\"`, {}", self.0.takes())
    }
}

/// `""`, read as `None`, or what another kind takes.
pub(crate) struct OrNone<K>(pub(crate) K);

impl<K: ValueType> ValueType for OrNone<K> {
    type Value = Option<K::Value>;

    fn read(
        &self,
        value: &Spanned<DeValue<'_>>,
        refusals: &mut Vec<Refusal>,
    ) -> Option<Self::Value> {
        read_or_word(self, ("", &self.0), value, refusals)
    }

    fn write(&self, value: &Self::Value) -> String {
        match value {
            None => quoted(""),
            Some(value) => self.0.write(value),
        }
    }

    fn expected(&self) -> String {
        format!("{}, or \"\" for none", self.0.expected())
    }

    fn takes(&self) -> String {
        format!("{}, `\"\"`", self.0.takes())
    }
}

/// A number of bytes: `"64KiB"`, or an integer.
pub(crate) struct Size(pub(crate) RangeInclusive<usize>);

impl ValueType for Size {
    type Value = usize;

    fn read(&self, value: &Spanned<DeValue<'_>>, refusals: &mut Vec<Refusal>) -> Option<usize> {
        let bytes = match value.get_ref() {
            DeValue::String(text) => match measure(text, &SIZE_UNITS) {
                Ok(bytes) => Some(bytes),
                Err(unit) => {
                    let hint = size_hint(unit);
                    return refuse(self, value, hint, refusals);
                }
            },
            other => integer(other).and_then(|n| u64::try_from(n).ok()),
        };
        match bytes.and_then(|n| usize::try_from(n).ok()) {
            Some(bytes) if self.0.contains(&bytes) => Some(bytes),
            _ => refuse(self, value, None, refusals),
        }
    }

    fn write(&self, value: &usize) -> String {
        quoted(&with_unit(*value as u64, &SIZE_UNITS))
    }

    fn expected(&self) -> String {
        let [min, max] =
            [self.0.start(), self.0.end()].map(|bytes| with_unit(*bytes as u64, &SIZE_UNITS));
        format!("a size from \"{min}\" to \"{max}\" (a whole number with B, KiB, MiB or GiB)")
    }

    fn takes(&self) -> String {
        let [min, max] = [self.0.start(), self.0.end()].map(|bytes| self.write(bytes));
        format!("`{min}` to `{max}`")
    }
}

/// A number of bytes that many connections share: the same, in 64 bits on every machine.
pub(crate) struct SharedSize(pub(crate) RangeInclusive<usize>);

impl ValueType for SharedSize {
    type Value = u64;

    fn read(&self, value: &Spanned<DeValue<'_>>, refusals: &mut Vec<Refusal>) -> Option<u64> {
        let bytes = Size(self.0.clone()).read(value, refusals);
        bytes.map(|bytes| bytes as u64)
    }

    fn write(&self, value: &u64) -> String {
        quoted(&with_unit(*value, &SIZE_UNITS))
    }

    fn expected(&self) -> String {
        Size(self.0.clone()).expected()
    }

    fn takes(&self) -> String {
        Size(self.0.clone()).takes()
    }
}

/// A length of time, read as milliseconds: `"30s"`. The integer 0 is the only one without a unit.
pub(crate) struct Duration {
    /// Whether 0 is accepted beside the range; then it switches something off.
    pub(crate) zero: bool,
    /// In milliseconds.
    pub(crate) range: RangeInclusive<u32>,
}

impl ValueType for Duration {
    type Value = u32;

    fn read(&self, value: &Spanned<DeValue<'_>>, refusals: &mut Vec<Refusal>) -> Option<u32> {
        let millis = match value.get_ref() {
            DeValue::String(text) => match measure(text, &TIME_UNITS) {
                Ok(millis) => Some(millis),
                Err(unit) => return refuse(self, value, time_hint(unit), refusals),
            },
            other => match integer(other) {
                Some(0) => Some(0),
                Some(n) if n > 0 => {
                    let hint = format!("name the unit: \"{n}s\" or \"{n}ms\"");
                    return refuse(self, value, Some(hint), refusals);
                }
                _ => None,
            },
        };
        match millis.and_then(|n| u32::try_from(n).ok()) {
            Some(0) if self.zero => Some(0),
            Some(millis) if self.range.contains(&millis) => Some(millis),
            _ => refuse(self, value, None, refusals),
        }
    }

    fn write(&self, value: &u32) -> String {
        if *value == 0 {
            return quoted("0s");
        }
        quoted(&with_unit(u64::from(*value), &TIME_UNITS))
    }

    fn expected(&self) -> String {
        let [min, max] = [self.range.start(), self.range.end()]
            .map(|millis| with_unit(u64::from(*millis), &TIME_UNITS));
        let zero = if self.zero { "\"0s\", or " } else { "" };
        format!("{zero}a time from \"{min}\" to \"{max}\" (a whole number with ms, s, m or h)")
    }

    fn takes(&self) -> String {
        let [min, max] = [self.range.start(), self.range.end()].map(|millis| self.write(millis));
        let zero = if self.zero { "`\"0s\"`, " } else { "" };
        format!("{zero}`{min}` to `{max}`")
    }
}

/// One of a few words.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> ValueType for Choice<T> {
    type Value = T;

    fn read(&self, value: &Spanned<DeValue<'_>>, refusals: &mut Vec<Refusal>) -> Option<T> {
        let word = value.get_ref().as_str();
        match self.0.iter().find(|(name, _)| Some(*name) == word) {
            Some((_, choice)) => Some(*choice),
            None => {
                let names = || self.0.iter().map(|(name, _)| *name);
                let hint = word
                    .and_then(|word| nearest(word, names()).or_else(|| containing(word, names())))
                    .map(|name| format!("did you mean \"{name}\"?"));
                refuse(self, value, hint, refusals)
            }
        }
    }

    fn write(&self, value: &T) -> String {
        let found = self.0.iter().find(|(_, choice)| choice == value);
        quoted(found.expect("every value of the enum has a word").0)
    }

    fn expected(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(name, _)| quoted(name)).collect();
        match words.as_slice() {
            [head @ .., last] if !head.is_empty() => format!("{} or {last}", head.join(", ")),
            _ => words.join(", "),
        }
    }

    fn takes(&self) -> String {
        let words: Vec<String> = self
            .0
            .iter()
            .map(|(name, _)| format!("`\"{name}\"`"))
            .collect();
        words.join(", ")
    }
}

/// A word that a check accepts.
pub(crate) struct Pattern {
    /// What it is, with its article and an example.
    pub(crate) expected: &'static str,
    /// The same in a word or two.
    pub(crate) takes: &'static str,
    /// Refuses with a hint, which may be empty.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

impl ValueType for Pattern {
    type Value = String;

    fn read(&self, value: &Spanned<DeValue<'_>>, refusals: &mut Vec<Refusal>) -> Option<String> {
        let Some(text) = value.get_ref().as_str() else {
            return refuse(self, value, None, refusals);
        };
        match (self.check)(text) {
            Ok(()) => Some(text.to_owned()),
            Err(hint) => refuse(self, value, Some(hint).filter(|h| !h.is_empty()), refusals),
        }
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }

    fn expected(&self) -> String {
        self.expected.to_owned()
    }

    fn takes(&self) -> String {
        self.takes.to_owned()
    }
}

/// A list of such words, or the single entry `"*"` for any.
pub(crate) struct Patterns(pub(crate) Pattern);

impl ValueType for Patterns {
    type Value = Vec<String>;

    fn read(
        &self,
        value: &Spanned<DeValue<'_>>,
        refusals: &mut Vec<Refusal>,
    ) -> Option<Vec<String>> {
        let array = entries_of(self, value, refusals)?;
        let start = refusals.len();
        let mut words = Vec::with_capacity(array.len());
        for entry in array.iter() {
            if entry.get_ref().as_str() == Some("*") {
                if array.len() > 1 {
                    let hint = Some("\"*\" stands for any and stands alone".to_owned());
                    refuse::<_, ()>(&self.0, entry, hint, refusals);
                }
                words.push("*".to_owned());
            } else {
                words.extend(self.0.read(entry, refusals));
            }
        }
        (refusals.len() == start).then_some(words)
    }

    fn write(&self, value: &Vec<String>) -> String {
        let words: Vec<String> = value.iter().map(|word| quoted(word)).collect();
        format!("[{}]", words.join(", "))
    }

    fn expected(&self) -> String {
        format!("[\"*\"] for any, or a list, each entry {}", self.0.expected)
    }

    fn takes(&self) -> String {
        format!("`[\"*\"]`, list of {}s", self.0.takes)
    }
}

/// What stands in the document, short and on one line.
pub(crate) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"", shortened(text)),
        DeValue::Integer(number) => format!("the number {}", shortened(&number.to_string())),
        DeValue::Float(number) => format!("the number {}", shortened(&number.to_string())),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Text without control characters, cut when it is long.
pub(crate) fn shortened(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// A TOML basic string of text without control characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push('"');
    quoted
}

/// `None` if the value is this word, or what another kind takes: of what that refuses, `kind` says what it
/// expects.
fn read_or_word<K, I: ValueType>(
    kind: &K,
    (word, other): (&str, &I),
    value: &Spanned<DeValue<'_>>,
    refusals: &mut Vec<Refusal>,
) -> Option<Option<I::Value>>
where
    K: ValueType<Value = Option<I::Value>>,
{
    if value.get_ref().as_str() == Some(word) {
        return Some(None);
    }
    let start = refusals.len();
    let read = other.read(value, refusals);
    for refusal in &mut refusals[start..] {
        refusal.expected = kind.expected();
    }
    read.map(Some)
}

/// The entries of a list. One that stands without brackets is refused, with how it is written.
fn entries_of<'a, 'b, K: ValueType>(
    kind: &K,
    value: &'a Spanned<DeValue<'b>>,
    refusals: &mut Vec<Refusal>,
) -> Option<&'a DeArray<'b>> {
    if let Some(array) = value.get_ref().as_array() {
        return Some(array);
    }
    let hint = value.get_ref().as_str().map(|text| {
        let entry = describe(&DeValue::String(text.into()));
        format!("put it in brackets: [{entry}]")
    });
    refuse(kind, value, hint, refusals)
}

fn refuse<K: ValueType, T>(
    kind: &K,
    value: &Spanned<DeValue<'_>>,
    hint: Option<String>,
    refusals: &mut Vec<Refusal>,
) -> Option<T> {
    refusals.push(Refusal {
        span: value.span(),
        found: describe(value.get_ref()),
        expected: kind.expected(),
        hint,
    });
    None
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn unquote_hint(value: &DeValue<'_>) -> Option<String> {
    let number: u32 = value.as_str()?.parse().ok()?;
    Some(format!("write {number} without quotes"))
}

/// Reads a whole number and a unit. `Err` has the unit that is not known, or nothing where there
/// is no number to begin with.
fn measure<'a>(text: &'a str, units: &[(&str, u64)]) -> Result<u64, &'a str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "")?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    match units.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => number.checked_mul(*factor).ok_or(""),
        None => Err(unit),
    }
}

/// The number with the largest unit that leaves it whole. Units stand from small to large.
fn with_unit(number: u64, units: &[(&str, u64)]) -> String {
    let fits = |&&(_, factor): &&(&str, u64)| number != 0 && number.is_multiple_of(factor);
    let (name, factor) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{}{name}", number / factor)
}

fn size_hint(unit: &str) -> Option<String> {
    let meant = match unit.to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => "KiB",
        "m" | "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        "b" => "B",
        _ => return None,
    };
    let factor = SIZE_UNITS.iter().find(|(name, _)| *name == meant)?.1;
    Some(format!("write {meant}, which is {factor} bytes"))
}

fn time_hint(unit: &str) -> Option<String> {
    let meant = match unit.to_ascii_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "milliseconds" => "ms for milliseconds",
        "s" | "sec" | "secs" | "second" | "seconds" => "s for seconds",
        "m" | "min" | "mins" | "minute" | "minutes" => "m for minutes",
        "h" | "hr" | "hour" | "hours" => "h for hours",
        "d" | "day" | "days" => "hours: a day has 24h",
        _ => return None,
    };
    Some(format!("write {meant}"))
}

const SIZE_UNITS: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", KIB as u64),
    ("MiB", MIB as u64),
    ("GiB", GIB as u64),
];
const TIME_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
/// Characters of a value that an error shows.
const SHOWN_CHARS_MAX: usize = 60;
