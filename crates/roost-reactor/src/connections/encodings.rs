//! The encodings there are: which forms of dialects are written in which framings, and by what numbers. Not every
//! form has every framing, so that all of them have room in one set.

use roost_dialect::{FORMS, Form};
use roost_hub::{ENCODINGS_MAX, Encoding, EncodingSet};

/// RFC 6455 without extensions, and the bytes of a stream.
pub(super) const PLAIN: u8 = 0;
/// RFC 6455 with permessage-deflate.
pub(super) const DEFLATE: u8 = 1;
/// The early drafts.
pub(super) const EARLY: u8 = 2;
/// Beside one of these: subscribers get deltas.
pub(super) const DELTA: u8 = 4;

const FRAMINGS: usize = 3;

/// Numbers of forms and framings, and back.
struct Table {
    numbers: [[u8; FORMS]; FRAMINGS],
    forms: [u8; ENCODINGS_MAX],
    ways: [u8; ENCODINGS_MAX],
    len: usize,
}

static TABLE: Table = Table::new();

const _: () = assert!(Table::new().len <= ENCODINGS_MAX);

/// No encoding has this number.
const NONE: u8 = u8::MAX;

impl Table {
    #[expect(clippy::cast_possible_truncation, reason = "there are few forms")]
    const fn new() -> Table {
        let mut table = Table {
            numbers: [[NONE; FORMS]; FRAMINGS],
            forms: [0; ENCODINGS_MAX],
            ways: [PLAIN; ENCODINGS_MAX],
            len: 0,
        };
        let mut framing = PLAIN;
        while (framing as usize) < FRAMINGS {
            let mut number = 0;
            while number < FORMS {
                let form = Form(number as u8);
                if exists(form, framing) {
                    table.numbers[framing as usize][number] = table.len as u8;
                    table.forms[table.len] = form.0;
                    table.ways[table.len] = if form.has_deltas() {
                        framing | DELTA
                    } else {
                        framing
                    };
                    table.len += 1;
                }
                number += 1;
            }
            framing += 1;
        }
        table
    }
}

/// Whether a form is written in a framing. Clients of the early drafts get no deltas.
const fn exists(form: Form, framing: u8) -> bool {
    framing == PLAIN || !(form.is_streamed() || (framing == EARLY && form.has_deltas()))
}

/// The number of a form in a framing that it is written in.
pub(super) fn number_of(form: Form, framing: u8) -> Encoding {
    let number = TABLE.numbers[usize::from(framing)][usize::from(form.0)];
    debug_assert_ne!(number, NONE, "{form:?} is written in framing {framing}");
    Encoding(number)
}

/// Its form.
#[inline]
pub(super) fn form_of(encoding: Encoding) -> Form {
    Form(TABLE.forms[usize::from(encoding.0) % ENCODINGS_MAX])
}

/// Its framing, and [`DELTA`].
#[inline]
pub(super) fn way_of(encoding: Encoding) -> u8 {
    TABLE.ways[usize::from(encoding.0) % ENCODINGS_MAX]
}

/// Whether its subscribers get deltas.
pub(crate) fn has_deltas(encoding: Encoding) -> bool {
    way_of(encoding) & DELTA != 0
}

/// The encodings of some forms.
pub(super) fn all_of(is_one: impl Fn(Form) -> bool) -> EncodingSet {
    #[expect(clippy::cast_possible_truncation, reason = "at most ENCODINGS_MAX")]
    let all = (0..TABLE.len as u8).map(Encoding);
    all.filter(|&encoding| is_one(form_of(encoding))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_encoding_has_one_number() {
        let mut known = EncodingSet::EMPTY;
        for form in (0..FORMS as u8).map(Form) {
            for framing in [PLAIN, DEFLATE, EARLY] {
                if exists(form, framing) {
                    let encoding = number_of(form, framing);
                    assert_eq!(form_of(encoding), form);
                    assert_eq!(way_of(encoding) & !DELTA, framing);
                    assert_eq!(has_deltas(encoding), form.has_deltas());
                    assert!(!known.contains(encoding), "{encoding:?}");
                    known = known.union(EncodingSet::of(encoding));
                }
            }
        }
        assert_eq!(known, all_of(|_| true));
        assert_eq!(all_of(|form| form == Form::RAW).len(), 3);
    }
}
