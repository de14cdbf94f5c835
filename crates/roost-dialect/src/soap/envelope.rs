//! Reads an envelope: all of it for its form, and of what it says only the headers of WS-Addressing.
//! The body passes through.

use std::borrow::Cow;

use super::addressing::{Addressing, ReplyTo};
use super::fault::{Code, Mistake, NotUnderstood};
use super::names::{Addresses, Version};
use super::xml::{Element, Piece, Xml, XmlError, is_space};

/// Which envelopes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Elements may be nested so deep.
    pub(super) depth_max: usize,
    /// The header, with its tags.
    pub(super) header_bytes_max: usize,
}

/// An envelope that is as SOAP wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    /// All of it, without a byte order mark.
    pub(super) text: &'a str,
    pub(super) version: Version,
    pub(super) addressing: Addressing<'a>,
    room: Room<'a>,
}

/// A document that is no such envelope, with what was understood of it before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected<'a> {
    pub(super) version: Option<Version>,
    pub(super) addressing: Addressing<'a>,
    pub(super) mistake: Mistake,
}

/// Where a header can be put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room<'a> {
    /// Behind the header's tag.
    Header { at: usize },
    /// For the header's tag, which is an empty element.
    EmptyHeader { start: usize, end: usize },
    /// Behind the envelope's tag: there is no header. The envelope's prefix is its own.
    Envelope { at: usize, prefix: &'a str },
}

impl<'a> Envelope<'a> {
    /// Reads a document.
    pub(super) fn read(text: &'a str, limits: Limits) -> Result<Envelope<'a>, Box<Rejected<'a>>> {
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let mut reading = Reading {
            limits,
            version: None,
            addressing: Addressing::default(),
        };
        let room = Xml::new(text, limits.depth_max)
            .map_err(Mistake::from)
            .and_then(|mut xml| reading.envelope(&mut xml));
        let Reading {
            version,
            addressing,
            ..
        } = reading;
        match (room, version) {
            (Ok(room), Some(version)) => Ok(Envelope {
                text,
                version,
                addressing,
                room,
            }),
            (Ok(_), None) => unreachable!("the version is known before the envelope is read"),
            (Err(mistake), version) => Err(Box::new(Rejected {
                version,
                addressing,
                mistake,
            })),
        }
    }

    /// Appends the envelope with one more header block, which declares its own prefixes.
    pub(super) fn append_with(&self, block: &str, out: &mut Vec<u8>) {
        let text = self.text.as_bytes();
        let mut put = |before: usize, parts: &[&str], behind: usize| {
            out.extend_from_slice(&text[..before]);
            for part in parts {
                out.extend_from_slice(part.as_bytes());
            }
            out.extend_from_slice(&text[behind..]);
        };
        match self.room {
            Room::Header { at } => put(at, &[block], at),
            Room::EmptyHeader { start, end } => {
                let tag = &self.text[start..end];
                let tag = tag.strip_suffix("/>").unwrap_or(tag);
                let name = tag.trim_start_matches('<');
                let name = name.split(|c: char| c.is_ascii_whitespace());
                let name = name.into_iter().next().unwrap_or_default();
                put(start, &[tag, ">", block, "</", name, ">"], end);
            }
            Room::Envelope { at, prefix } => {
                let colon = if prefix.is_empty() { "" } else { ":" };
                let parts = [
                    "<", prefix, colon, "Header>", block, "</", prefix, colon, "Header>",
                ];
                put(at, &parts, at);
            }
        }
    }
}

impl From<XmlError> for Mistake {
    fn from(error: XmlError) -> Mistake {
        let XmlError { reason, at } = error;
        Mistake::new(Code::Sender, Cow::Owned(format!("{reason}, at byte {at}.")))
    }
}

/// An envelope while it is read.
struct Reading<'a> {
    limits: Limits,
    version: Option<Version>,
    addressing: Addressing<'a>,
}

impl<'a> Reading<'a> {
    fn envelope(&mut self, xml: &mut Xml<'a>) -> Result<Room<'a>, Mistake> {
        // Before the first element nothing else comes out.
        let Piece::Start(root) = xml.next()? else {
            return Err(sender("The document has no element."));
        };
        let version = self.check_root(xml, &root)?;
        let mut room = Room::Envelope {
            at: xml.at(),
            prefix: root.prefix,
        };
        let mut child = self.child(xml)?;
        if let Some(element) = child
            && xml.is(&element, version.namespace(), "Header")
        {
            room = header_room(xml);
            self.header(xml, version)?;
            child = self.child(xml)?;
        }
        match child {
            Some(element) if xml.is(&element, version.namespace(), "Body") => skip(xml)?,
            _ => return Err(sender("The envelope has no Body where one must stand.")),
        }
        if self.child(xml)?.is_some() {
            return Err(sender("The envelope has an element behind its Body."));
        }
        match xml.next()? {
            Piece::Eof => Ok(room),
            _ => Err(sender("There is something behind the envelope.")),
        }
    }

    fn check_root(&mut self, xml: &Xml<'a>, root: &Element<'a>) -> Result<Version, Mistake> {
        if root.local != "Envelope" {
            return Err(sender("The document is no SOAP envelope."));
        }
        let namespace = xml.namespace(root);
        let known = Version::ALL
            .into_iter()
            .find(|version| version.namespace() == namespace);
        let reason = "The envelope is neither of SOAP 1.2 nor of SOAP 1.1.";
        let version =
            known.ok_or_else(|| Mistake::new(Code::VersionMismatch, Cow::Borrowed(reason)))?;
        self.version = Some(version);
        Ok(version)
    }

    /// The next element of those that stand side by side, or `None` at their end.
    fn child(&self, xml: &mut Xml<'a>) -> Result<Option<Element<'a>>, Mistake> {
        loop {
            match xml.next()? {
                Piece::Start(element) => return Ok(Some(element)),
                Piece::End => return Ok(None),
                Piece::Text(text) if text.bytes().all(is_space) => {}
                Piece::Text(_) => {
                    return Err(sender(
                        "There is text between the elements of the envelope.",
                    ));
                }
                Piece::Eof => return Err(sender("The envelope ends too early.")),
            }
        }
    }

    /// The blocks of the header, whose tag was the last piece.
    fn header(&mut self, xml: &mut Xml<'a>, version: Version) -> Result<(), Mistake> {
        let (start, _) = xml.written();
        while let Some(block) = self.child(xml)? {
            self.block(xml, version, &block, start)?;
        }
        self.check_header_size(xml, start)
    }

    fn block(
        &mut self,
        xml: &mut Xml<'a>,
        version: Version,
        block: &Element<'a>,
        start: usize,
    ) -> Result<(), Mistake> {
        self.check_header_size(xml, start)?;
        let flag = xml.attribute(version.namespace(), "mustUnderstand");
        let must_understand = match flag.as_deref().map(str::trim) {
            None | Some("0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => return Err(sender("mustUnderstand must be true, false, 1 or 0.")),
        };
        let role = xml.attribute(version.namespace(), version.role_name());
        let is_ours = role.is_none_or(|role| version.is_own_role(role.trim()));
        let addresses = Addresses::of_namespace(xml.namespace(block));
        if let (Some(addresses), true) = (addresses, is_ours)
            && Addressing::takes(block.local)
        {
            self.addressing.begin(addresses)?;
            return self.address(xml, addresses, block.local, start);
        }
        if must_understand && is_ours {
            return Err(not_understood(xml, block));
        }
        self.skip_in_header(xml, start)
    }

    /// A header of WS-Addressing.
    fn address(
        &mut self,
        xml: &mut Xml<'a>,
        addresses: Addresses,
        local: &str,
        start: usize,
    ) -> Result<(), Mistake> {
        if matches!(local, "ReplyTo" | "FaultTo" | "From") {
            let address = self.endpoint(xml, addresses, start)?;
            let address = address.as_deref().map(str::trim);
            let reply_to = ReplyTo::of_address(addresses, address);
            return self.addressing.set_endpoint(local, reply_to);
        }
        let value = self.text(xml, start)?;
        self.addressing.set(local, trim(value))
    }

    /// The Address of an endpoint reference; what else it has is passed over.
    fn endpoint(
        &mut self,
        xml: &mut Xml<'a>,
        addresses: Addresses,
        start: usize,
    ) -> Result<Option<Cow<'a, str>>, Mistake> {
        let mut address = None;
        while let Some(element) = self.child(xml)? {
            if xml.is(&element, addresses.namespace(), "Address") && address.is_none() {
                address = Some(self.text(xml, start)?);
            } else {
                self.skip_in_header(xml, start)?;
            }
        }
        Ok(address)
    }

    /// The text of an element without others in it, to its end.
    fn text(&self, xml: &mut Xml<'a>, start: usize) -> Result<Cow<'a, str>, Mistake> {
        let mut whole = Cow::Borrowed("");
        loop {
            let piece = xml.next()?;
            self.check_header_size(xml, start)?;
            match piece {
                Piece::Text(text) if whole.is_empty() => whole = text,
                Piece::Text(text) => whole.to_mut().push_str(&text),
                Piece::End => return Ok(whole),
                Piece::Start(_) | Piece::Eof => {
                    return Err(sender("A header of WS-Addressing must have text alone."));
                }
            }
        }
    }

    /// Passes over the rest of a block.
    fn skip_in_header(&self, xml: &mut Xml<'a>, start: usize) -> Result<(), Mistake> {
        skip(xml)?;
        self.check_header_size(xml, start)
    }

    fn check_header_size(&self, xml: &Xml<'a>, start: usize) -> Result<(), Mistake> {
        if xml.at() - start > self.limits.header_bytes_max {
            return Err(sender(
                "The envelope's Header is longer than this server allows.",
            ));
        }
        Ok(())
    }
}

/// Passes over the rest of the element that began last.
fn skip(xml: &mut Xml<'_>) -> Result<(), Mistake> {
    let mut depth = 1;
    while depth > 0 {
        match xml.next()? {
            Piece::Start(_) => depth += 1,
            Piece::End => depth -= 1,
            Piece::Text(_) => {}
            Piece::Eof => return Err(sender("The envelope ends too early.")),
        }
    }
    Ok(())
}

/// Behind the tag of the header, which was the last piece.
fn header_room<'a>(xml: &Xml<'a>) -> Room<'a> {
    let (start, tag) = xml.written();
    match tag.ends_with("/>") {
        true => Room::EmptyHeader {
            start,
            end: start + tag.len(),
        },
        false => Room::Header { at: xml.at() },
    }
}

fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

fn sender(reason: &'static str) -> Mistake {
    Mistake::new(Code::Sender, Cow::Borrowed(reason))
}

fn not_understood(xml: &Xml<'_>, block: &Element<'_>) -> Mistake {
    let namespace = xml.namespace(block);
    let reason = format!(
        "This server does not understand the header {} of {namespace:?}, which it must.",
        block.local
    );
    let mut mistake = Mistake::new(Code::MustUnderstand, Cow::Owned(reason));
    mistake.not_understood = Some(NotUnderstood {
        namespace: namespace.to_owned(),
        local: block.local.to_owned(),
    });
    mistake
}
