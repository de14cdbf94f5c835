//! Records that carry no data: handshake messages after the handshake, and alerts. What must be
//! remembered of them from one record to the next takes six bytes.

use crate::fault::{Alert, Fault};
use crate::keys::{Side, Version};

/// Empty records in a row, as in rustls.
pub const EMPTY_RECORDS_MAX: u8 = 32;

/// KeyUpdates, and tickets, without data between, as in BoringSSL and rustls.
pub const KEY_UPDATES_MAX: u8 = 32;

/// Warnings in the life of a connection, as in rustls.
pub const WARNINGS_MAX: u8 = 4;

const NEW_SESSION_TICKET: u8 = 4;

const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];

/// Where a connection is among its messages. All zero at the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Control {
    /// What is left of a ticket's body; while its length is being read, the length's middle byte.
    skip: u16,
    /// How far the header of a message has been read.
    progress: u8,
    empty_records: u8,
    key_updates: u8,
    warnings: u8,
}

/// Values of `Control::progress`. A KeyUpdate's are the number of bytes that have matched.
const KEY_UPDATE_HEADER: u8 = 4;
const TICKET: u8 = 5;
const TICKET_HIGH: u8 = 6;
const TICKET_MIDDLE: u8 = 7;
const TICKET_BODY: u8 = 8;

/// A KeyUpdate that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyUpdate {
    /// The peer wants one in return.
    pub(crate) requested: bool,
}

/// What an alert means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The peer will send no more.
    CloseNotify,
    Nothing,
}

impl Control {
    pub(crate) const BYTES: usize = 6;

    pub(crate) const NEW: Self = Self {
        skip: 0,
        progress: 0,
        empty_records: 0,
        key_updates: 0,
        warnings: 0,
    };

    /// A record of application data with `len` bytes.
    pub(crate) fn handle_data(&mut self, len: usize) -> Result<(), Fault> {
        self.check_between_messages()?;
        if len > 0 {
            self.empty_records = 0;
            self.key_updates = 0;
            return Ok(());
        }
        count(&mut self.empty_records, EMPTY_RECORDS_MAX)
    }

    /// The plaintext of an alert record.
    pub(crate) fn handle_alert(&mut self, bytes: &[u8], version: Version) -> Result<Told, Fault> {
        self.check_between_messages()?;
        // RFC 8446 §5.1: an alert has a record of its own, and records of it are not empty.
        let &[level, description] = bytes else {
            return Err(match bytes {
                [] => Fault::UnexpectedMessage,
                _ => Fault::DecodeError,
            });
        };
        if description == Alert::CloseNotify as u8 {
            return Ok(Told::CloseNotify);
        }
        // RFC 8446 §6: the level says nothing in 1.3. In 1.2 a warning may be ignored.
        let is_warning = match version {
            Version::Tls13 => description == Alert::UserCanceled as u8,
            Version::Tls12 => level == 1,
        };
        if !is_warning {
            return Err(Fault::PeerAlert(description));
        }
        count(&mut self.warnings, WARNINGS_MAX)?;
        Ok(Told::Nothing)
    }

    /// The plaintext of a handshake record. A KeyUpdate, always the last message of its record, may
    /// come in pieces; so may the tickets that a server sends and we have no use for.
    pub(crate) fn handle_handshake(
        &mut self,
        bytes: &[u8],
        side: Side,
    ) -> Result<Option<KeyUpdate>, Fault> {
        if bytes.is_empty() {
            return Err(Fault::UnexpectedMessage); // RFC 8446 §5.1: no empty handshake fragments
        }
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.progress == TICKET_BODY {
                let skipped = usize::from(self.skip).min(bytes.len() - at);
                self.skip -= skipped as u16;
                at += skipped;
                if self.skip == 0 {
                    self.progress = 0;
                }
                continue;
            }
            at += 1;
            if let Some(update) = self.handle_header_byte(byte, side)? {
                // RFC 8446 §5.1: a message right before a change of keys ends its record.
                return match at == bytes.len() {
                    true => Ok(Some(update)),
                    false => Err(Fault::UnexpectedMessage),
                };
            }
        }
        Ok(None)
    }

    fn handle_header_byte(&mut self, byte: u8, side: Side) -> Result<Option<KeyUpdate>, Fault> {
        match (self.progress, byte) {
            (0, NEW_SESSION_TICKET) if side == Side::Client => self.progress = TICKET,
            (0..KEY_UPDATE_HEADER, _) => {
                if byte != KEY_UPDATE[usize::from(self.progress)] {
                    return Err(match self.progress {
                        0 => Fault::UnexpectedMessage,
                        _ => Fault::DecodeError,
                    });
                }
                self.progress += 1;
            }
            (KEY_UPDATE_HEADER, 0 | 1) => {
                self.progress = 0;
                count(&mut self.key_updates, KEY_UPDATES_MAX)?;
                return Ok(Some(KeyUpdate {
                    requested: byte == 1,
                }));
            }
            (KEY_UPDATE_HEADER, _) => return Err(Fault::IllegalParameter),
            (TICKET, 0) => self.progress = TICKET_HIGH,
            (TICKET_HIGH, _) => {
                self.skip = u16::from(byte) << 8;
                self.progress = TICKET_MIDDLE;
            }
            (TICKET_MIDDLE, _) => {
                self.skip |= u16::from(byte);
                self.progress = TICKET_BODY;
                if self.skip == 0 {
                    return Err(Fault::DecodeError);
                }
                count(&mut self.key_updates, KEY_UPDATES_MAX)?;
            }
            (_, _) => return Err(Fault::DecodeError), // a ticket of 64 KiB and more
        }
        Ok(None)
    }

    /// RFC 8446 §5.1: no other record comes between the pieces of a handshake message.
    fn check_between_messages(&self) -> Result<(), Fault> {
        match self.progress {
            0 => Ok(()),
            _ => Err(Fault::UnexpectedMessage),
        }
    }

    pub(crate) fn write(&self, out: &mut [u8; Self::BYTES]) {
        let Self {
            skip,
            progress,
            empty_records,
            key_updates,
            warnings,
        } = self;
        let [low, high] = skip.to_le_bytes();
        *out = [
            low,
            high,
            *progress,
            *empty_records,
            *key_updates,
            *warnings,
        ];
    }

    pub(crate) fn read(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let [low, high, progress, empty_records, key_updates, warnings] = bytes;
        let skip = u16::from_le_bytes([low, high]);
        let is_valid = progress <= TICKET_BODY
            && (progress == TICKET_BODY) <= (skip > 0)
            && empty_records <= EMPTY_RECORDS_MAX
            && key_updates <= KEY_UPDATES_MAX
            && warnings <= WARNINGS_MAX;
        is_valid.then_some(Self {
            skip,
            progress,
            empty_records,
            key_updates,
            warnings,
        })
    }
}

fn count(counter: &mut u8, max: u8) -> Result<(), Fault> {
    if *counter == max {
        return Err(Fault::Flood);
    }
    *counter += 1;
    Ok(())
}
