//! Secret random numbers, of the library that makes keys.

/// Sixteen bytes that cannot be guessed; `None` if the system has none to give.
pub fn secret() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(bytes)
}
