//! Deflate (RFC 1951), decoded bit by bit. zlib looks back as far as it can; this looks back as far
//! as was agreed and calls the rest a mistake.

use super::Failure;

/// Appends what `input`, whole blocks, means to `out`, whose bytes may be referred to as far back
/// as `reach`.
pub(super) fn inflate(input: &[u8], out: &mut Vec<u8>, reach: usize) -> Result<(), Failure> {
    let mut bits = Bits { input, at: 0 };
    while bits.at < 8 * input.len() {
        let last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => stored(&mut bits, out)?,
            1 => {
                // §3.2.6: the fixed codes.
                let lengths: Vec<u8> = (0..288)
                    .map(|symbol| match symbol {
                        0..144 => 8,
                        144..256 => 9,
                        256..280 => 7,
                        _ => 8,
                    })
                    .collect();
                block(
                    &mut bits,
                    &Code::new(&lengths),
                    &Code::new(&[5; 30]),
                    out,
                    reach,
                )?;
            }
            2 => {
                let (literals, distances) = tables(&mut bits)?;
                block(&mut bits, &literals, &distances, out, reach)?;
            }
            _ => return broken("a block of the reserved type"),
        }
        if last {
            bits.align(); // RFC 7692 §7.2.3.4: another stream may follow
        }
    }
    Ok(())
}

/// §3.2.4: a block without compression.
fn stored(bits: &mut Bits<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
    bits.align();
    let (len, check) = (bits.take(16)?, bits.take(16)?);
    if len ^ check != 0xffff {
        return broken("a stored block with lengths that do not match");
    }
    let start = bits.at / 8;
    let Some(bytes) = bits.input.get(start..start + len as usize) else {
        return broken("a stored block that is cut short");
    };
    out.extend_from_slice(bytes);
    bits.at += 8 * len as usize;
    Ok(())
}

/// §3.2.7: the codes of a block that brings its own.
fn tables(bits: &mut Bits<'_>) -> Result<(Code, Code), Failure> {
    let literals = bits.take(5)? as usize + 257;
    let distances = bits.take(5)? as usize + 1;
    let count = bits.take(4)? as usize + 4;
    let mut lengths = [0; 19];
    for &place in &ORDER[..count] {
        lengths[place] = bits.take(3)? as u8;
    }
    let code = Code::new(&lengths);
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match code.symbol(bits)? {
            16 => match lengths.last() {
                Some(&length) => (length, 3 + bits.take(2)?),
                None => return broken("a repeated length before the first"),
            },
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length as u8, 1),
        };
        lengths.extend((0..times).map(|_| length));
    }
    if lengths.len() > literals + distances {
        return broken("more lengths than it says");
    }
    let (literals, distances) = lengths.split_at(literals);
    Ok((Code::new(literals), Code::new(distances)))
}

/// §3.2.3: literals and references, to the end of the block.
fn block(
    bits: &mut Bits<'_>,
    literals: &Code,
    distances: &Code,
    out: &mut Vec<u8>,
    reach: usize,
) -> Result<(), Failure> {
    loop {
        let symbol = match literals.symbol(bits)? {
            literal @ 0..256 => {
                out.push(literal as u8);
                continue;
            }
            256 => return Ok(()),
            symbol => usize::from(symbol - 257),
        };
        // §3.2.5: lengths of 3 to 258 and distances of 1 to 32768, with bits beside the symbol.
        let length = match symbol {
            0..8 => 3 + symbol,
            8..28 => {
                let extra = (symbol - 4) / 4;
                3 + ((4 + symbol % 4) << extra) + bits.take(extra)? as usize
            }
            28 => 258,
            _ => return broken("a length that does not exist"),
        };
        let distance = match usize::from(distances.symbol(bits)?) {
            symbol @ 0..4 => 1 + symbol,
            symbol @ 4..30 => {
                let extra = (symbol - 2) / 2;
                1 + ((2 + symbol % 2) << extra) + bits.take(extra)? as usize
            }
            _ => return broken("a distance that does not exist"),
        };
        if distance > reach {
            return broken("a reference beyond the window agreed to");
        }
        let Some(from) = out.len().checked_sub(distance) else {
            return broken("a reference to what was never sent");
        };
        for at in from..from + length {
            out.push(out[at]);
        }
    }
}

/// A canonical Huffman code (§3.2.2).
struct Code {
    /// How many symbols have this length.
    counts: [u16; 16],
    /// The symbols, shorter codes first.
    symbols: Vec<u16>,
}

impl Code {
    fn new(lengths: &[u8]) -> Code {
        let mut counts = [0; 16];
        let mut symbols: Vec<u16> = Vec::new();
        for length in 1..16 {
            let with = (0..).zip(lengths).filter(|&(_, &other)| other == length);
            let before = symbols.len();
            symbols.extend(with.map(|(symbol, _)| symbol));
            counts[usize::from(length)] = (symbols.len() - before) as u16;
        }
        Code { counts, symbols }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Result<u16, Failure> {
        // The first code of a length, and the place of its symbol.
        let (mut code, mut first, mut place) = (0_usize, 0, 0);
        for &count in &self.counts[1..] {
            let count = usize::from(count);
            code = code << 1 | bits.take(1)? as usize;
            if code < first + count {
                return Ok(self.symbols[place + code - first]);
            }
            place += count;
            first = (first + count) << 1;
        }
        broken("a code that stands for nothing")
    }
}

struct Bits<'i> {
    input: &'i [u8],
    /// The next bit.
    at: usize,
}

impl Bits<'_> {
    /// §3.1.1: the lowest bit comes first.
    fn take(&mut self, count: usize) -> Result<u32, Failure> {
        let mut value = 0;
        for place in 0..count {
            let Some(byte) = self.input.get(self.at / 8) else {
                return broken("an end inside a block");
            };
            value |= u32::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Ok(value)
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

fn broken<T>(what: &str) -> Result<T, Failure> {
    Err(Failure::new(format!("the server's deflate has {what}")))
}

/// In which order the lengths of the lengths' codes stand.
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];
