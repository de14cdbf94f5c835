//! Byte offsets of a text to lines and columns.

use std::ops::Range;

/// The lines of one text.
pub(crate) struct Lines<'t> {
    text: &'t str,
    /// Where each line begins.
    starts: Vec<usize>,
    /// How many characters begin before each block: a column is a difference of two counts, so
    /// that a long line with many mistakes is not counted from its start for each.
    chars_before_block: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Lines<'t> {
        let bytes = text.as_bytes();
        let breaks = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
        let starts = std::iter::once(0)
            .chain(breaks.map(|(at, _)| at + 1))
            .collect();
        let mut before = 0;
        let mut chars_before_block = Vec::with_capacity(bytes.len() / BLOCK_BYTES + 1);
        for block in bytes.chunks(BLOCK_BYTES) {
            chars_before_block.push(before);
            before += chars_begun(block);
        }
        chars_before_block.push(before);
        Lines {
            text,
            starts,
            chars_before_block,
        }
    }

    /// Line and column of an offset, both from 1, the column in characters. An offset past the
    /// end or inside a character is moved back.
    pub(crate) fn position(&self, offset: usize) -> (u32, u32) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.index(offset);
        let column = self.chars_before(offset) - self.chars_before(self.starts[line]);
        (narrow(line + 1), narrow(column + 1))
    }

    /// The line of an offset, from 0.
    pub(crate) fn index(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset) - 1
    }

    /// The bytes of a line, from 0, without its line break.
    pub(crate) fn range(&self, line: usize) -> Range<usize> {
        let end = self
            .starts
            .get(line + 1)
            .map_or(self.text.len(), |next| next - 1);
        self.starts[line]..end
    }

    /// How many lines.
    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    /// How many characters begin before an offset.
    fn chars_before(&self, offset: usize) -> usize {
        let block = offset / BLOCK_BYTES;
        let rest = &self.text.as_bytes()[block * BLOCK_BYTES..offset];
        self.chars_before_block[block] + chars_begun(rest)
    }
}

/// Bytes that begin a character of UTF-8.
fn chars_begun(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b & 0xC0 != 0x80).count()
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).expect("a configuration is shorter than 4 GiB")
}

const BLOCK_BYTES: usize = 256;
