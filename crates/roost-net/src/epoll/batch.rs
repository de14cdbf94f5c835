//! Batches: writing chunks to a socket, and keeping the rest when it takes less.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::OwnedFd;

use socket2::SockRef;

use crate::{Chunk, DriverStats, sys};

/// Most chunks given to the kernel in one call: 1 KiB of stack. The kernel's own limit is 1,024.
const SLICES_MAX: usize = 64;

/// Chunks on their way out.
#[derive(Debug)]
pub(super) struct Batch {
    chunks: Vec<Chunk>,
    cursor: Cursor,
}

/// How far a batch has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    /// The first chunk with bytes left.
    chunk: usize,
    /// Bytes of that chunk already taken by the kernel.
    offset: usize,
    /// Bytes left in all chunks.
    left: usize,
}

/// How a write ended.
#[derive(Debug)]
pub(super) enum Written {
    /// The kernel took all.
    All,
    /// The socket buffer is full: an edge will tell when it is not.
    Full,
    /// The connection is broken.
    Failed(io::Error),
}

impl Batch {
    /// What is left of `chunks` at `cursor`, kept by reference.
    pub(super) fn rest(chunks: &[Chunk], cursor: Cursor) -> Batch {
        Batch {
            chunks: chunks[cursor.chunk..].to_vec(),
            cursor: Cursor { chunk: 0, ..cursor },
        }
    }

    /// A copy of `bytes`.
    pub(super) fn copy(bytes: &[u8]) -> Batch {
        // A `Chunk` is shorter than 4 GiB.
        let chunks: Vec<Chunk> = bytes
            .chunks(1 << 30)
            .map(|part| Chunk::new(part.into()))
            .collect();
        let cursor = Cursor::start(&chunks);
        Batch { chunks, cursor }
    }

    /// Goes on writing where the last call stopped.
    pub(super) fn write(&mut self, fd: &OwnedFd, stats: &mut DriverStats) -> Written {
        write(fd, &self.chunks, &mut self.cursor, stats)
    }

    /// Bytes the kernel has not taken yet.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.cursor.left
    }

    /// What it holds until the kernel has taken the last byte.
    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Bytes held until the kernel has taken the last.
    pub(super) fn pinned_bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len() as u64).sum()
    }
}

impl Cursor {
    /// Before the first byte of `chunks`.
    pub(super) fn start(chunks: &[Chunk]) -> Cursor {
        Cursor {
            chunk: 0,
            offset: 0,
            left: chunks.iter().map(Chunk::len).sum(),
        }
    }

    /// Fills `slices` with what comes next. Returns how many, and the bytes in them.
    fn gather<'a>(&self, chunks: &'a [Chunk], slices: &mut [IoSlice<'a>]) -> (usize, usize) {
        let mut count = 0;
        let mut bytes = 0;
        let mut skip = self.offset;
        for chunk in &chunks[self.chunk..] {
            let rest = &chunk.as_slice()[skip..];
            skip = 0;
            if rest.is_empty() {
                continue;
            }
            slices[count] = IoSlice::new(rest);
            count += 1;
            bytes += rest.len();
            if count == slices.len() {
                break;
            }
        }
        (count, bytes)
    }

    fn advance(&mut self, chunks: &[Chunk], mut taken: usize) {
        self.left -= taken;
        while taken > 0 {
            let here = chunks[self.chunk].len() - self.offset;
            if taken < here {
                self.offset += taken;
                return;
            }
            taken -= here;
            self.chunk += 1;
            self.offset = 0;
        }
    }
}

/// Writes `chunks` from `cursor` on until all is out or the socket buffer is full.
pub(super) fn write(
    fd: &OwnedFd,
    chunks: &[Chunk],
    cursor: &mut Cursor,
    stats: &mut DriverStats,
) -> Written {
    while cursor.left > 0 {
        let (asked, result) = match &chunks[cursor.chunk..] {
            // The case of a fan-out: it spares the list of slices, a kibibyte to clear.
            [last] => {
                let rest = &last.as_slice()[cursor.offset..];
                (rest.len(), send(fd, &[IoSlice::new(rest)], stats))
            }
            _ => {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let (count, bytes) = cursor.gather(chunks, &mut slices);
                (bytes, send(fd, &slices[..count], stats))
            }
        };
        match result {
            Ok(taken) => {
                cursor.advance(chunks, taken);
                // tcp_sendmsg asks for the write edge before it returns a short count, so no
                // second call is needed to hear EAGAIN.
                if taken < asked {
                    return Written::Full;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Written::Full,
            Err(error) => return Written::Failed(error),
        }
    }
    Written::All
}

/// Writes plain bytes once; the count may be short. `WouldBlock` is a count of 0.
pub(super) fn write_once(fd: &OwnedFd, bytes: &[u8], stats: &mut DriverStats) -> io::Result<usize> {
    match send(fd, &[IoSlice::new(bytes)], stats) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// One system call, repeated only when a signal interrupts it.
fn send(fd: &OwnedFd, slices: &[IoSlice<'_>], stats: &mut DriverStats) -> io::Result<usize> {
    loop {
        stats.sends += 1;
        let result = match slices {
            [one] => sys::send(fd, one),
            many => SockRef::from(fd).send_vectored_with_flags(many, libc::MSG_NOSIGNAL),
        };
        match result {
            Ok(taken) => {
                stats.sent_bytes += taken as u64;
                return Ok(taken);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_skips_whole_and_empty_chunks() {
        let chunk = |n: usize| Chunk::new(vec![0u8; n].into());
        let chunks = [chunk(3), chunk(0), chunk(5)];
        let mut cursor = Cursor::start(&chunks);
        assert_eq!(cursor.left, 8);
        cursor.advance(&chunks, 2);
        assert_eq!((cursor.chunk, cursor.offset, cursor.left), (0, 2, 6));
        cursor.advance(&chunks, 2);
        assert_eq!((cursor.chunk, cursor.offset, cursor.left), (2, 1, 4));
        cursor.advance(&chunks, 4);
        assert_eq!(cursor.left, 0);
    }
}
