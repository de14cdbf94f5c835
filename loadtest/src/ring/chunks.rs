//! Bodies in chunks (RFC 9112 §7.1).

/// Where in a chunked body a connection is: at the beginning of a chunk's first line, at first and in a
/// quiet stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the line before a chunk: what of it has come.
    Size(Vec<u8>),
    /// So many bytes of the chunk are to come.
    Data(u64),
    /// So many of the two bytes behind it are to come.
    Behind(u8),
}

/// A part of a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'b> {
    Data(&'b [u8]),
    /// All bytes are used.
    Missing,
    /// The last chunk.
    End,
}

impl Default for Chunks {
    fn default() -> Chunks {
        Chunks::Size(Vec::new())
    }
}

impl Chunks {
    /// What stands first in `bytes`, which is taken off.
    ///
    /// # Errors
    /// Why it cannot be a chunked body.
    pub(super) fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<Piece<'b>, String> {
        loop {
            if bytes.is_empty() {
                return Ok(Piece::Missing);
            }
            match self {
                Chunks::Size(line) => {
                    let end = bytes.iter().position(|&byte| byte == b'\n');
                    let len = end.map_or(bytes.len(), |end| end + 1);
                    line.extend_from_slice(take(bytes, len));
                    if line.len() > LINE_BYTES_MAX {
                        return Err("a chunk's first line is too long".to_owned());
                    }
                    if end.is_none() {
                        return Ok(Piece::Missing);
                    }
                    match size_of_chunk(line)? {
                        0 => return Ok(Piece::End),
                        size => *self = Chunks::Data(size),
                    }
                }
                Chunks::Data(left) => {
                    let len = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    *left -= len as u64;
                    if *left == 0 {
                        *self = Chunks::Behind(2);
                    }
                    return Ok(Piece::Data(take(bytes, len)));
                }
                Chunks::Behind(left) => {
                    if take(bytes, 1) != [b"\n\r"[usize::from(*left - 1)]] {
                        return Err("a chunk does not end with CRLF".to_owned());
                    }
                    *left -= 1;
                    if *left == 0 {
                        *self = Chunks::default();
                    }
                }
            }
        }
    }
}

/// RFC 9112 §7.1: hexadecimal digits, and extensions, which mean nothing here.
fn size_of_chunk(line: &[u8]) -> Result<u64, String> {
    let digits = line
        .split(|byte| matches!(byte, b';' | b'\r' | b'\n' | b' ' | b'\t'))
        .next();
    let digits = str::from_utf8(digits.unwrap_or_default()).unwrap_or_default();
    let size = u64::from_str_radix(digits, 16).ok();
    size.filter(|_| !digits.starts_with('+')) // which Rust would read
        .ok_or_else(|| {
            format!(
                "a chunk without a size: {:?}",
                String::from_utf8_lossy(line)
            )
        })
}

fn take<'b>(bytes: &mut &'b [u8], len: usize) -> &'b [u8] {
    let (taken, rest) = bytes.split_at(len);
    *bytes = rest;
    taken
}

const LINE_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of all pieces, and what stopped it.
    fn read(chunks: &mut Chunks, mut bytes: &[u8], data: &mut Vec<u8>) -> Result<bool, String> {
        loop {
            match chunks.next(&mut bytes)? {
                Piece::Data(piece) => data.extend_from_slice(piece),
                Piece::Missing => return Ok(false),
                Piece::End => return Ok(true),
            }
        }
    }

    #[test]
    fn chunks_cut_anywhere_are_one_body() {
        let body = b"3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n";
        for cut in 0..=body.len() {
            let (mut chunks, mut data) = (Chunks::default(), Vec::new());
            let first = read(&mut chunks, &body[..cut], &mut data);
            let is_over = match first {
                Ok(false) => read(&mut chunks, &body[cut..], &mut data),
                first => first,
            };
            assert_eq!(
                (is_over, &data[..]),
                (Ok(true), &b"abc0123456789"[..]),
                "{cut}"
            );
        }
    }

    #[test]
    fn between_chunks_nothing_is_kept() {
        let (mut chunks, mut data) = (Chunks::default(), Vec::new());
        assert_eq!(read(&mut chunks, b"1\r\na\r\n", &mut data), Ok(false));
        assert_eq!(chunks, Chunks::default());
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for body in [
            &b"x\r\n"[..],
            b"+1\r\na",
            b"\r\n",
            b"1\r\nab\n",
            b"1\r\na\n",
            &[b'1'; 2_000],
        ] {
            assert!(
                read(&mut Chunks::default(), body, &mut Vec::new()).is_err(),
                "{body:?}"
            );
        }
    }
}
