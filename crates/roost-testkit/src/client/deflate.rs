//! permessage-deflate as a client does it (RFC 7692), by its own reading.

use flate2::{Compress, Compression, FlushCompress};

use super::{Failure, inflate};

/// Both directions of one connection, as a server agreed to them.
pub struct Deflate {
    /// What was agreed to, as the server wrote it.
    answer: String,
    compress: Compress,
    /// What the server may refer to, and what came last.
    received: Vec<u8>,
    client_takes_over: bool,
    server_takes_over: bool,
    server_window_bits: u8,
}

impl Deflate {
    /// As the server's Sec-WebSocket-Extensions says.
    ///
    /// # Errors
    /// When it says something that it may not to any of the list that `offer` is.
    pub fn agreed(offer: &str, answer: &str) -> Result<Deflate, Failure> {
        let terms = Terms::parse(answer)
            .filter(|terms| {
                let offers = offer.split(',').filter_map(Terms::parse);
                offers.into_iter().any(|offer| offer.allows(terms))
            })
            .ok_or_else(|| Failure::new(format!("{answer:?} is no answer to {offer:?}")))?;
        // Of 9 bits zlib looks no more than 250 bytes back, which is within 8.
        let window_bits = terms.client_window_bits.flatten().unwrap_or(15).max(9);
        Ok(Deflate {
            answer: answer.to_owned(),
            compress: Compress::new_with_window_bits(Compression::best(), false, window_bits),
            received: Vec::new(),
            client_takes_over: !terms.client_no_context_takeover,
            server_takes_over: !terms.server_no_context_takeover,
            server_window_bits: terms.server_window_bits.unwrap_or(15),
        })
    }

    /// What was agreed to, as the server wrote it.
    pub fn answer(&self) -> &str {
        &self.answer
    }

    /// A message's payload, compressed (RFC 7692 §7.2.1).
    pub fn compress(&mut self, payload: &[u8]) -> Vec<u8> {
        if payload.is_empty() {
            return vec![0x00];
        }
        // Room for the worst: one call does it all.
        let mut out = Vec::with_capacity(payload.len() * 2 + 64);
        let flush = FlushCompress::Sync;
        let done = self.compress.compress_vec(payload, &mut out, flush);
        done.expect("zlib compresses anything");
        out.truncate(out.len() - TAIL.len());
        if !self.client_takes_over {
            self.compress.reset();
        }
        out
    }

    /// A message's payload from what came (RFC 7692 §7.2.2), with no larger window than agreed.
    ///
    /// # Errors
    /// When it is not deflate, or refers to what the client need not have any more.
    pub fn inflate(&mut self, compressed: &[u8]) -> Result<Vec<u8>, Failure> {
        let reach = 1 << self.server_window_bits;
        match self.server_takes_over {
            true => drop(
                self.received
                    .drain(..self.received.len().saturating_sub(reach)),
            ),
            false => self.received.clear(),
        }
        let before = self.received.len();
        inflate::inflate(&[compressed, &TAIL].concat(), &mut self.received, reach)?;
        Ok(self.received[before..].to_vec())
    }
}

/// What an offer asks for, or an answer promises (RFC 7692 §7.1).
#[derive(Debug, Default)]
struct Terms {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_window_bits: Option<u8>,
    /// With a value or without.
    client_window_bits: Option<Option<u8>>,
}

impl Terms {
    /// `None` when it is not permessage-deflate, or has a parameter that is not one, or has one
    /// twice, or with a value that it cannot have.
    fn parse(element: &str) -> Option<Terms> {
        let mut terms = Terms::default();
        let mut parts = element.split(';').map(str::trim);
        if parts.next() != Some("permessage-deflate") {
            return None;
        }
        let mut seen = Vec::new();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name, Some(value.trim_matches('"'))),
                None => (part, None),
            };
            // §7.1.2: a decimal number from 8 to 15 without leading zeros.
            let bits = value.map(|value| (8..=15_u8).find(|bits| bits.to_string() == value));
            match (name, bits) {
                ("server_no_context_takeover", None) => terms.server_no_context_takeover = true,
                ("client_no_context_takeover", None) => terms.client_no_context_takeover = true,
                ("server_max_window_bits", Some(Some(bits))) => {
                    terms.server_window_bits = Some(bits);
                }
                ("client_max_window_bits", None) => terms.client_window_bits = Some(None),
                ("client_max_window_bits", Some(Some(bits))) => {
                    terms.client_window_bits = Some(Some(bits));
                }
                _ => return None,
            }
            if seen.contains(&name) {
                return None;
            }
            seen.push(name);
        }
        Some(terms)
    }

    /// Whether this offer may be answered so.
    fn allows(&self, answer: &Terms) -> bool {
        // §7.1.1.1: what a client asks of the server has to be granted with the rest.
        let takeover = answer.server_no_context_takeover || !self.server_no_context_takeover;
        // §7.1.2.1: with the same value or a smaller one.
        let server_window = match (self.server_window_bits, answer.server_window_bits) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(asked), Some(granted)) => granted <= asked,
        };
        // §7.1.2.2: the same, but only in answer to an offer that has it, and always with a value.
        let client_window = match (self.client_window_bits, answer.client_window_bits) {
            (_, None) => true,
            (Some(offered), Some(Some(wanted))) => wanted <= offered.unwrap_or(15),
            _ => false,
        };
        takeover && server_window && client_window
    }
}

const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(answer: &str) -> Deflate {
        Deflate::agreed("permessage-deflate", answer).expect("a good answer")
    }

    #[test]
    fn a_server_that_refers_too_far_back_is_found_out() {
        let mut rng = roost_net::sim::SimRng::new(1);
        let next = || rng.next_u64() as u8;
        let noise: Vec<u8> = std::iter::repeat_with(next).take(10_000).collect();
        let (near, far) = (&noise[..200], &noise[200..]);
        let texts = [near, near, far, near, b"", &[7; 300_000]];
        let mut server = agreed("permessage-deflate");
        let sent = texts.map(|message| server.compress(message));
        assert!(sent[1].len() < 20 && sent[3].len() < 20, "they refer");
        let mut client = agreed("permessage-deflate");
        for (compressed, message) in sent.iter().zip(texts) {
            assert_eq!(client.inflate(compressed).as_deref(), Ok(message));
        }
        let mut client = agreed("permessage-deflate; server_no_context_takeover");
        assert!(client.inflate(&sent[0]).is_ok());
        assert!(client.inflate(&sent[1]).is_err(), "it takes over");
        let mut client = agreed("permessage-deflate; server_max_window_bits=9");
        for (compressed, message) in sent.iter().zip(texts).take(3) {
            assert_eq!(client.inflate(compressed).as_deref(), Ok(message));
        }
        assert!(client.inflate(&sent[3]).is_err(), "10,000 bytes back");
    }

    #[test]
    fn all_that_zlib_makes_is_understood() {
        let text = "to be or not to be, that is the question. ".repeat(3000);
        let mixed: Vec<u8> = text
            .bytes()
            .zip(0_u32..)
            .map(|(c, n)| c ^ (n / 999) as u8)
            .collect();
        for level in 0..=9 {
            let mut client = agreed("permessage-deflate");
            client.compress = Compress::new(Compression::new(level), false);
            for message in [&b"Hello"[..], text.as_bytes(), b"a", &mixed, b"Hello"] {
                let compressed = client.compress(message);
                assert_eq!(
                    client.inflate(&compressed).as_deref(),
                    Ok(message),
                    "{level}"
                );
                let cut = &compressed[..compressed.len() / 2];
                assert!(agreed("permessage-deflate").inflate(cut).as_deref() != Ok(message));
            }
        }
    }

    #[test]
    fn a_wrong_answer_is_found_out() {
        for (offer, answer) in [
            ("permessage-deflate", "x"),
            ("permessage-deflate", "permessage-deflate; x"),
            (
                "permessage-deflate",
                "permessage-deflate; server_max_window_bits=16",
            ),
            (
                "permessage-deflate; server_no_context_takeover",
                "permessage-deflate",
            ),
            (
                "permessage-deflate; server_max_window_bits=10",
                "permessage-deflate",
            ),
            (
                "permessage-deflate; server_max_window_bits=10",
                "permessage-deflate; server_max_window_bits=11",
            ),
            (
                "permessage-deflate",
                "permessage-deflate; client_max_window_bits=15",
            ),
            (
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate; client_max_window_bits",
            ),
            (
                "permessage-deflate; client_max_window_bits=10",
                "permessage-deflate; client_max_window_bits=11",
            ),
            (
                "permessage-deflate",
                "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            ),
            (
                "permessage-deflate; server_max_window_bits=7",
                "permessage-deflate; server_max_window_bits=8",
            ),
            ("x-webkit-deflate-frame", "permessage-deflate"),
        ] {
            assert!(Deflate::agreed(offer, answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn a_right_answer_is_taken() {
        for (offer, answer) in [
            (
                "permessage-deflate",
                "permessage-deflate; server_max_window_bits=8; server_no_context_takeover; \
                 client_no_context_takeover",
            ),
            (
                "permessage-deflate; server_max_window_bits=\"10\"",
                "permessage-deflate; server_max_window_bits=9",
            ),
            (
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate; client_max_window_bits=8",
            ),
            (
                "permessage-deflate; server_max_window_bits=7, permessage-deflate",
                "permessage-deflate",
            ),
        ] {
            assert!(Deflate::agreed(offer, answer).is_ok(), "{answer}");
        }
    }
}
