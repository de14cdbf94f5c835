//! XML as SOAP allows it, piece by piece and borrowed: well-formed, with namespaces, and without a
//! DTD or processing instructions. quick-xml finds the pieces; what it does not check is checked here.
//!
//! Work is linear in the document: elements deeper than allowed, attributes and namespaces beyond a
//! bound end it.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// Why a document is not read, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct XmlError {
    /// A sentence without its full stop.
    pub(super) reason: &'static str,
    /// How many bytes of the document were read before.
    pub(super) at: usize,
}

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// An element begins; one that is empty ends next.
    Start(Element<'a>),
    /// The innermost element ends.
    End,
    /// Text, references resolved. What stands between two tags may come in several pieces.
    Text(Cow<'a, str>),
    /// The document is over.
    Eof,
}

/// An element's name, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// Empty for none.
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
}

/// An attribute that declares no namespace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    /// As [`Element::prefix`].
    prefix: &'a str,
    local: &'a str,
    /// As written: references stand as they are.
    raw: &'a str,
}

/// A namespace's prefix, in the element at `depth` and those inside.
struct Binding<'a> {
    depth: usize,
    /// As [`Element::prefix`].
    prefix: &'a str,
    namespace: Cow<'a, str>,
}

/// Where in the document: by its one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Inside,
    Behind,
}

/// A document that is being read.
pub(super) struct Xml<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    place: Place,
    depth: usize,
    depth_max: usize,
    bindings: Vec<Binding<'a>>,
    attributes: Vec<Attribute<'a>>,
    /// Where the last piece begins.
    start: usize,
}

impl<'a> Xml<'a> {
    /// A document without a byte order mark. Elements may be nested so deep.
    pub(super) fn new(text: &'a str, depth_max: usize) -> Result<Xml<'a>, XmlError> {
        if let Some(at) = find_forbidden(text) {
            let reason = "The document has a character that XML does not allow";
            return Err(XmlError { reason, at });
        }
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.enable_all_checks(true);
        config.expand_empty_elements = true;
        Ok(Xml {
            text,
            reader,
            place: Place::Before,
            depth: 0,
            depth_max,
            bindings: Vec::new(),
            attributes: Vec::new(),
            start: 0,
        })
    }

    /// The next piece; comments and the XML declaration are passed over.
    pub(super) fn next(&mut self) -> Result<Piece<'a>, XmlError> {
        loop {
            self.start = self.at();
            let event = self.reader.read_event();
            match event.map_err(|_| self.error(NOT_WELL_FORMED))? {
                Event::Start(start) => return self.begin(&start).map(Piece::Start),
                Event::End(_) => {
                    self.end();
                    return Ok(Piece::End);
                }
                Event::Text(text) => {
                    let text = text.into_inner();
                    if text.contains("]]>") {
                        return Err(self.error("The text has ]]>, which must be written ]]&gt;"));
                    }
                    if self.place == Place::Inside {
                        return Ok(Piece::Text(text));
                    }
                    if !text.bytes().all(is_space) {
                        return Err(self.error("There is text outside of the document's element"));
                    }
                }
                Event::CData(text) if self.place == Place::Inside => {
                    return Ok(Piece::Text(text.into_inner()));
                }
                Event::GeneralRef(reference) if self.place == Place::Inside => {
                    let character = resolve(&reference).ok_or_else(|| self.error(ENTITY))?;
                    return Ok(Piece::Text(Cow::Owned(character.to_string())));
                }
                Event::CData(_) | Event::GeneralRef(_) => {
                    return Err(self.error("There is text outside of the document's element"));
                }
                Event::Comment(_) => {}
                Event::Decl(_) => self.check_declaration()?,
                Event::PI(_) => return Err(self.error(INSTRUCTION)),
                Event::DocType(_) => return Err(self.error(DTD)),
                Event::Eof if self.place == Place::Behind => return Ok(Piece::Eof),
                Event::Eof => return Err(self.error("The document ends too early")),
                // Expanded by the reader.
                Event::Empty(_) => return Err(self.error(NOT_WELL_FORMED)),
            }
        }
    }

    /// How many bytes were read.
    pub(super) fn at(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX)
    }

    /// The last piece as it is written.
    pub(super) fn written(&self) -> (usize, &'a str) {
        let text = self.text.get(self.start..self.at());
        (self.start, text.unwrap_or_default())
    }

    /// The namespace of the element that began last; empty for none.
    pub(super) fn namespace(&self, element: &Element<'_>) -> &str {
        self.resolve_prefix(element.prefix).unwrap_or_default()
    }

    /// Whether the element that began last has this name.
    pub(super) fn is(&self, element: &Element<'_>, namespace: &str, local: &str) -> bool {
        element.local == local && self.namespace(element) == namespace
    }

    /// The value of an attribute of the element that began last; `namespace` is empty for none.
    pub(super) fn attribute(&self, namespace: &str, local: &str) -> Option<Cow<'a, str>> {
        let attribute = self.attributes.iter().find(|attribute| {
            attribute.local == local && self.namespace_of(attribute) == Some(namespace)
        })?;
        value(attribute.raw) // checked when it was read
    }

    /// What went wrong with the last piece.
    pub(super) fn error(&self, reason: &'static str) -> XmlError {
        XmlError {
            reason,
            at: self.start,
        }
    }

    fn begin(&mut self, start: &BytesStart<'_>) -> Result<Element<'a>, XmlError> {
        match self.place {
            Place::Before => self.place = Place::Inside,
            Place::Inside => {}
            Place::Behind => return Err(self.error("There is more than one document")),
        }
        self.depth += 1;
        if self.depth > self.depth_max {
            return Err(self.error("Elements are nested deeper than this server allows"));
        }
        self.read_attributes(start)?;
        self.check_unique()?;
        let name = self.borrow(start.name().into_inner());
        let (prefix, local) = split(name).ok_or_else(|| self.error(NAME))?;
        match self.resolve_prefix(prefix) {
            Some(_) => Ok(Element { prefix, local }),
            None => Err(self.error(UNBOUND)),
        }
    }

    fn end(&mut self) {
        while self
            .bindings
            .last()
            .is_some_and(|last| last.depth == self.depth)
        {
            self.bindings.pop();
        }
        self.depth -= 1;
        if self.depth == 0 {
            self.place = Place::Behind;
        }
    }

    /// Reads attributes and declarations of namespaces.
    fn read_attributes(&mut self, start: &BytesStart<'_>) -> Result<(), XmlError> {
        self.attributes.clear();
        let mut count = 0;
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| self.error(ATTRIBUTE))?;
            count += 1;
            if count > ATTRIBUTES_MAX {
                return Err(self.error("An element has more attributes than this server allows"));
            }
            let name = self.borrow(attribute.key.into_inner());
            let raw = match attribute.value {
                Cow::Borrowed(raw) => self.borrow(raw),
                Cow::Owned(_) => return Err(self.error(ATTRIBUTE)), // quick-xml borrows them
            };
            if !self.stands_apart(name) || raw.contains('<') {
                return Err(self.error(ATTRIBUTE));
            }
            let value = value(raw).ok_or_else(|| self.error(ENTITY))?;
            let (prefix, local) = split(name).ok_or_else(|| self.error(NAME))?;
            match (prefix, local) {
                ("", "xmlns") => self.bind("", value)?,
                ("xmlns", _) => self.bind(local, value)?,
                _ => self.attributes.push(Attribute { prefix, local, raw }),
            }
        }
        Ok(())
    }

    /// Namespaces in XML 1.0 §3 and §5.
    fn bind(&mut self, prefix: &'a str, namespace: Cow<'a, str>) -> Result<(), XmlError> {
        let is_xml = prefix == "xml";
        if prefix == "xmlns" || namespace == XMLNS || is_xml != (namespace == XML) {
            return Err(self.error("A declaration of a namespace is reserved by XML"));
        }
        if !prefix.is_empty() && namespace.is_empty() {
            return Err(self.error("A prefix is declared without a namespace"));
        }
        if self.bindings.len() >= NAMESPACES_MAX || namespace.len() > NAMESPACE_BYTES_MAX {
            return Err(
                self.error("More or longer namespaces are declared than this server allows")
            );
        }
        self.bindings.push(Binding {
            depth: self.depth,
            prefix,
            namespace,
        });
        Ok(())
    }

    /// Namespaces in XML 1.0 §6.3: no two attributes have one name in one namespace.
    fn check_unique(&self) -> Result<(), XmlError> {
        for (at, one) in self.attributes.iter().enumerate() {
            let namespace = self.namespace_of(one);
            let namespace = namespace.ok_or_else(|| self.error(UNBOUND))?;
            let mut before = self.attributes[..at].iter();
            let is_twice = |other: &Attribute<'_>| {
                other.local == one.local && self.namespace_of(other) == Some(namespace)
            };
            if before.any(is_twice) {
                return Err(self.error("An attribute stands twice"));
            }
        }
        Ok(())
    }

    /// Namespaces in XML 1.0 §6.2: the default is not an attribute's.
    fn namespace_of(&self, attribute: &Attribute<'_>) -> Option<&str> {
        match attribute.prefix {
            "" => Some(""),
            prefix => self.resolve_prefix(prefix),
        }
    }

    fn resolve_prefix(&self, prefix: &str) -> Option<&str> {
        let mut bindings = self.bindings.iter().rev();
        match bindings.find(|binding| binding.prefix == prefix) {
            Some(binding) => Some(&binding.namespace),
            None => match prefix {
                "" => Some(""),
                "xml" => Some(XML),
                _ => None,
            },
        }
    }

    /// XML 1.0 §2.8, of a document that is UTF-8.
    fn check_declaration(&self) -> Result<(), XmlError> {
        let (start, written) = self.written();
        if start != 0 {
            return Err(self.error("The XML declaration does not stand first"));
        }
        let inside = written
            .strip_prefix("<?")
            .and_then(|rest| rest.strip_suffix("?>"));
        let inside = BytesStart::from_content(inside.unwrap_or_default(), "xml".len());
        let mut parts = Vec::with_capacity(3);
        for part in inside.attributes() {
            let part = part.map_err(|_| self.error(DECLARATION))?;
            if !self.stands_apart(part.key.into_inner()) {
                return Err(self.error(DECLARATION));
            }
            parts.push((part.key.into_inner().to_owned(), part.value.into_owned()));
            if parts.len() > 3 {
                return Err(self.error(DECLARATION));
            }
        }
        let mut parts = parts.iter().map(|(name, value)| (&**name, &**value));
        if parts.next() != Some(("version", "1.0")) {
            return Err(self.error("The document must be XML 1.0"));
        }
        let mut rest = parts.next();
        if let Some(("encoding", encoding)) = rest {
            if !encoding.eq_ignore_ascii_case("utf-8") {
                return Err(self.error("The document must be declared as UTF-8, or not at all"));
            }
            rest = parts.next();
        }
        if let Some(("standalone", "yes" | "no")) = rest {
            rest = parts.next();
        }
        match rest {
            None => Ok(()),
            Some(_) => Err(self.error(DECLARATION)),
        }
    }

    /// XML 1.0 §2.8 and §3.1: white space stands before each attribute. quick-xml does without.
    fn stands_apart(&self, name: &str) -> bool {
        let before = self.offset(name).checked_sub(1);
        let before = before.and_then(|at| self.text.as_bytes().get(at));
        before.is_some_and(|&byte| is_space(byte))
    }

    /// Where a part of the document stands.
    fn offset(&self, part: &str) -> usize {
        let (part, text) = (part.as_ptr() as usize, self.text.as_ptr() as usize);
        part.wrapping_sub(text)
    }

    /// A part of the document, for as long as that lives.
    fn borrow(&self, part: &str) -> &'a str {
        let start = self.offset(part);
        let end = start.checked_add(part.len());
        let found = end.and_then(|end| self.text.get(start..end));
        debug_assert_eq!(found, Some(part), "quick-xml borrows from the document");
        found.unwrap_or_default()
    }
}

/// An attribute's value: references resolved, white space normalised (XML 1.0 §3.3.3). `None` when
/// a reference is not one of XML's own.
fn value(raw: &str) -> Option<Cow<'_, str>> {
    let mut rest = raw;
    let mut value = String::new();
    while let Some(at) = rest.find(['&', '\t', '\n', '\r']) {
        value.push_str(&rest[..at]);
        let found = &rest[at..];
        if !found.starts_with('&') {
            value.push(' ');
            rest = &found[1..];
            continue;
        }
        let (reference, behind) = found[1..].split_once(';')?;
        value.push(resolve(&BytesRef::new(reference))?);
        rest = behind;
    }
    if value.is_empty() && rest.len() == raw.len() {
        return Some(Cow::Borrowed(raw));
    }
    value.push_str(rest);
    Some(Cow::Owned(value))
}

/// The character of one of the five entities, or of a reference by number.
fn resolve(reference: &BytesRef<'_>) -> Option<char> {
    if reference.is_char_ref() {
        let character = reference.resolve_char_ref().ok()??;
        return is_allowed(character).then_some(character);
    }
    match &**reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

/// Prefix and local part: both are names without a colon (Namespaces in XML 1.0 §4).
fn split(name: &str) -> Option<(&str, &str)> {
    let (prefix, local) = match name.split_once(':') {
        Some((prefix, local)) if is_name(prefix) => (prefix, local),
        Some(_) => return None,
        None => ("", name),
    };
    is_name(local).then_some((prefix, local))
}

/// XML 1.0 §2.3, without the colon.
fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(begins_name) && characters.all(continues_name)
}

fn begins_name(c: char) -> bool {
    matches!(c,
        'A'..='Z' | '_' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}'
        | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}'
        | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}')
}

fn continues_name(c: char) -> bool {
    begins_name(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// Where a character stands that is none of XML's (§2.2).
fn find_forbidden(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().find_map(|(at, &byte)| {
        let is_control = byte < b' ' && !is_space(byte);
        // U+FFFE and U+FFFF.
        let is_no_character = byte == 0xEF && matches!(bytes[at + 1..], [0xBF, 0xBE | 0xBF, ..]);
        (is_control || is_no_character).then_some(at)
    })
}

/// XML 1.0 §2.2.
pub(super) fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

/// XML 1.0 §2.3.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// An element has no more attributes: each is compared with those before it.
const ATTRIBUTES_MAX: usize = 64;
/// No more namespaces are in force at once: each name's is looked for.
const NAMESPACES_MAX: usize = 64;
/// Names are compared with theirs.
const NAMESPACE_BYTES_MAX: usize = 512;

const XML: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

const NOT_WELL_FORMED: &str = "The document is not well-formed XML";
const ATTRIBUTE: &str = "An attribute is not well-formed";
const NAME: &str = "A name is none that XML allows";
const UNBOUND: &str = "A prefix has no namespace";
const ENTITY: &str =
    "A reference is none of &amp; &lt; &gt; &quot; &apos; and characters by number";
const INSTRUCTION: &str = "SOAP allows no processing instruction";
const DTD: &str = "SOAP allows no DTD";
const DECLARATION: &str = "The XML declaration is not well-formed";
