//! Finding the end of a request head without looking at a byte twice.

/// Looks for the empty line that ends a request or response head. Keeps its place between calls,
/// so a head that comes one byte at a time costs no more than one that comes whole.
///
/// A line ends with CRLF or with a bare LF (RFC 9112 §2.2 allows a recipient to take a single LF
/// for a line's end), and empty lines before the first line are skipped (same section): exactly
/// what httparse accepts, so that what this finds whole never parses as partial.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadScanner {
    scanned: u32,
    at: At,
    steps: u64,
}

/// What the bytes scanned so far end with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// Nothing but empty lines.
    #[default]
    Start,
    /// A line that has begun.
    Line,
    /// A line's end.
    LineEnd,
    /// A line's end and the CR of what may be an empty line.
    LineEndCr,
}

impl HeadScanner {
    /// Looks at what is new. `bytes` is all that has come of this head so far, at most 4 GiB.
    /// Returns the head's length, the empty line included; do not call again after that.
    pub fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let new = bytes.get(self.scanned as usize..)?;
        for (index, &byte) in new.iter().enumerate() {
            if cfg!(debug_assertions) {
                self.steps += 1;
            }
            self.at = match (self.at, byte) {
                (At::LineEnd | At::LineEndCr, b'\n') => {
                    return Some(self.scanned as usize + index + 1);
                }
                (At::Start, b'\r' | b'\n') => At::Start,
                (At::Line, b'\n') => At::LineEnd,
                (At::LineEnd, b'\r') => At::LineEndCr,
                _ => At::Line,
            };
        }
        self.scanned = u32::try_from(bytes.len()).expect("a head is shorter than 4 GiB");
        None
    }

    /// Bytes looked at since it was made, for tests of linearity. Counted in debug builds; 0 in
    /// others.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Option<usize> {
        HeadScanner::default().scan(bytes)
    }

    #[test]
    fn finds_the_empty_line_and_nothing_else() {
        assert_eq!(whole(b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest"), Some(24));
        assert_eq!(whole(b"GET / HTTP/1.1\n\nrest"), Some(16));
        assert_eq!(whole(b"GET / HTTP/1.1\n\r\nrest"), Some(17));
        assert_eq!(whole(b"\r\n\nGET / HTTP/1.1\r\n\r\n"), Some(21));
        assert_eq!(whole(b"\r\n\r\n\r\n"), None);
        assert_eq!(whole(b"GET / HTTP/1.1\r\nA: b\r\n\r"), None);
        assert_eq!(whole(b"GET / HTTP/1.1\r\n\rX\r\n"), None);
        assert_eq!(whole(b""), None);
    }

    #[test]
    fn any_two_pieces_are_like_one() {
        let head = b"\r\nGET / HTTP/1.1\nHost: x\r\n\r\n\r\n";
        for split in 0..head.len() {
            let mut scanner = HeadScanner::default();
            let found = scanner.scan(&head[..split]).or_else(|| scanner.scan(head));
            assert_eq!(found, Some(head.len() - 2), "split at {split}");
        }
    }
}
