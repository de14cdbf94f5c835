//! Dictionaries of messages: which keys are known, what their values must be, and the same written.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::json::Text;
use crate::serial::{Sink, Token};

/// Deserializes a dictionary by handing each key to [`FromDict::entry`]. A derived struct would
/// take an array as well.
pub(super) trait FromDict<'de>: Sized {
    fn start() -> Self;

    /// Takes the value of `key` from `map`, whatever it does with it.
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

struct DictVisitor<T>(PhantomData<T>);

impl<'de, T: FromDict<'de>> Visitor<'de> for DictVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut value = T::start();
        while let Some(Text(key)) = map.next_key()? {
            value.entry(&key, &mut map)?;
        }
        Ok(value)
    }
}

pub(super) fn dict<'de, T: FromDict<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_map(DictVisitor(PhantomData))
}

pub(super) fn skip_value<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

/// The value of a key, `None` being null; the error says what the key wants.
pub(super) fn value<'de, T: Field<'de>, A: MapAccess<'de>>(
    key: &str,
    map: &mut A,
) -> Result<Option<T>, A::Error> {
    let value = map.next_value::<Option<Read<T>>>();
    let value = value.map_err(|_| de::Error::custom(format_args!("{key} must be {}", T::FORM)))?;
    Ok(value.map(|Read(value)| value))
}

/// A value that a known key may have.
pub(super) trait Field<'a>: Sized {
    /// What it must be, behind "must be".
    const FORM: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// When it is something else.
    fn read<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error>;

    /// Writes it.
    fn write<S: Sink>(&self, sink: &mut S);
}

struct Read<T>(T);

impl<'de, T: Field<'de>> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Read)
    }
}

impl<'a> Field<'a> for bool {
    const FORM: &'static str = "true or false";

    fn read<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        bool::deserialize(deserializer)
    }

    fn write<S: Sink>(&self, sink: &mut S) {
        sink.scalar(&Token::Bool(*self));
    }
}

impl<'a> Field<'a> for u64 {
    const FORM: &'static str = "an integer from 0 on";

    fn read<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer)
    }

    fn write<S: Sink>(&self, sink: &mut S) {
        sink.scalar(&Token::Unsigned(*self));
    }
}

impl<'a> Field<'a> for Cow<'a, str> {
    const FORM: &'static str = "a string";

    fn read<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|Text(text)| text)
    }

    fn write<S: Sink>(&self, sink: &mut S) {
        text(sink, self);
    }
}

/// At most so many elements of a list in a dictionary are kept, and one more to tell.
pub const LIST_MAX: usize = 1024;

/// A list in a dictionary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<T> List<T> {
    /// Its elements.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// Whether it had more elements than are kept.
    pub fn is_too_long(&self) -> bool {
        self.0.len() > LIST_MAX
    }
}

impl<'a, T: Element<'a>> Field<'a> for List<T> {
    const FORM: &'static str = T::LIST_FORM;

    fn read<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);

        impl<'de, T: Element<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::LIST_FORM)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(Read(element)) = seq.next_element::<Read<T>>()? {
                    if list.len() <= LIST_MAX {
                        list.push(element);
                    }
                }
                Ok(List(list))
            }
        }

        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }

    fn write<S: Sink>(&self, sink: &mut S) {
        sink.begin_array(Some(self.0.len() as u64));
        for element in &self.0 {
            sink.element();
            element.write(sink);
        }
        sink.end_array();
    }
}

/// What a [`List`] may hold.
pub(super) trait Element<'a>: Field<'a> {
    /// What the list must be, behind "must be".
    const LIST_FORM: &'static str;
}

impl<'a> Element<'a> for u64 {
    const LIST_FORM: &'static str = "an array of integers";
}

impl<'a> Element<'a> for Cow<'a, str> {
    const LIST_FORM: &'static str = "an array of strings";
}

pub(super) fn text<S: Sink>(sink: &mut S, text: &str) {
    sink.scalar(&Token::Text(Cow::Borrowed(text)));
}

pub(super) fn key<S: Sink>(sink: &mut S, key: &str) {
    sink.key(&Token::Text(Cow::Borrowed(key)));
}

/// A dictionary of known keys, of which few messages have any: without one it is a word.
#[derive(Debug, Clone, PartialEq)]
pub struct Sparse<T>(pub Option<Box<T>>);

impl<T> Default for Sparse<T> {
    fn default() -> Sparse<T> {
        Sparse(None)
    }
}

impl<T> Sparse<T> {
    /// With these keys.
    pub fn of(keys: T) -> Sparse<T> {
        Sparse(Some(Box::new(keys)))
    }

    /// The keys, if any of them is known.
    pub fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }
}

/// A dictionary's keys.
pub(super) trait Keys<'a>: Default {
    fn knows(key: &str) -> bool;

    /// Takes the value of `key`, which is known.
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;

    /// How many keys have a value.
    fn len(&self) -> u64;

    /// Writes the keys that have one.
    fn write<S: Sink>(&self, sink: &mut S);
}

impl<'de, T: Keys<'de>> FromDict<'de> for Sparse<T> {
    fn start() -> Self {
        Sparse(None)
    }

    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if !T::knows(key) {
            return skip_value(map);
        }
        self.0.get_or_insert_default().read(key, map)
    }
}

impl<'de, T: Keys<'de>> Deserialize<'de> for Sparse<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        dict(deserializer)
    }
}

/// Writes a dictionary of these keys.
pub(super) fn write_dict<'a, T: Keys<'a>, S: Sink>(keys: Option<&T>, sink: &mut S) {
    sink.begin_map(Some(keys.map_or(0, Keys::len)));
    if let Some(keys) = keys {
        keys.write(sink);
    }
    sink.end_map();
}

/// Declares dictionaries: each key, its field and the type of its value.
macro_rules! dicts {
    ($(
        $(#[$meta:meta])*
        $Name:ident $(<$a:lifetime>)? {
            $( $(#[$field_meta:meta])* $key:literal $field:ident : $Type:ty, )+
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $Name $(<$a>)? {
            $(
                $(#[$field_meta])*
                #[doc = concat!("`", $key, "`")]
                pub $field: Option<$Type>,
            )+
        }

        dicts!(@keys $Name [$($a)?] { $( $key $field : $Type, )+ });
    )+};
    (@keys $Name:ident [] { $( $key:literal $field:ident : $Type:ty, )+ }) => {
        impl<'a> $crate::wamp::dict::Keys<'a> for $Name {
            dicts!(@body $( $key $field, )+);
        }
    };
    (@keys $Name:ident [$a:lifetime] { $( $key:literal $field:ident : $Type:ty, )+ }) => {
        impl<$a> $crate::wamp::dict::Keys<$a> for $Name<$a> {
            dicts!(@body $( $key $field, )+);
        }
    };
    (@body $( $key:literal $field:ident, )+) => {
        fn knows(key: &str) -> bool {
            matches!(key, $( $key )|+)
        }

        fn read<A>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>
        where
            A: serde::de::MapAccess<'a>,
        {
            match key {
                $( $key => self.$field = $crate::wamp::dict::value(key, map)?, )+
                _ => $crate::wamp::dict::skip_value(map)?,
            }
            Ok(())
        }

        fn len(&self) -> u64 {
            0 $( + u64::from(self.$field.is_some()) )+
        }

        fn write<S: $crate::serial::Sink>(&self, sink: &mut S) {
            $(
                if let Some(value) = &self.$field {
                    $crate::wamp::dict::key(sink, $key);
                    $crate::wamp::dict::Field::write(value, sink);
                }
            )+
        }
    };
}

/// Declares values that are one of a few words.
macro_rules! words {
    ($(
        $(#[$meta:meta])*
        $Name:ident = $form:literal {
            $( $(#[$word_meta:meta])* $Word:ident = $word:literal, )+
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Name {
            $( $(#[$word_meta])* #[doc = concat!("`", $word, "`")] $Word, )+
        }

        impl<'a> $crate::wamp::dict::Field<'a> for $Name {
            const FORM: &'static str = $form;

            fn read<D: serde::de::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
                let $crate::json::Text(word) = serde::de::Deserialize::deserialize(deserializer)?;
                match word.as_ref() {
                    $( $word => Ok($Name::$Word), )+
                    _ => Err(serde::de::Error::custom(concat!("expected ", $form))),
                }
            }

            fn write<S: $crate::serial::Sink>(&self, sink: &mut S) {
                $crate::wamp::dict::text(sink, match self { $( $Name::$Word => $word, )+ });
            }
        }
    )+};
}

pub(super) use {dicts, words};
