//! "Did you mean": the known word nearest to a mistyped one.

/// The candidate with the fewest edits, if few enough to be a slip: one in three characters, at
/// most three.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let chars: Vec<char> = word.chars().take(WORD_CHARS_MAX + 1).collect();
    if chars.len() > WORD_CHARS_MAX {
        return None;
    }
    let slips_max = (chars.len() / 3).clamp(1, 3);
    let length_fits =
        |candidate: &&str| candidate.chars().count().abs_diff(chars.len()) <= slips_max;
    candidates
        .into_iter()
        .filter(length_fits)
        .map(|candidate| {
            (
                edits(&chars, &candidate.chars().collect::<Vec<_>>()),
                candidate,
            )
        })
        .filter(|(edits, _)| *edits <= slips_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// The candidate of which the word is one of the parts between underscores: `latest` of
/// `keep_latest`.
pub(crate) fn containing<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let mut candidates = candidates.into_iter();
    candidates.find(|candidate| candidate.split('_').any(|part| part == word))
}

/// Insertions, deletions, replacements and swaps of neighbours from `a` to `b`.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for j in 0..b.len() {
            let replace = above[j] + usize::from(a[i] != b[j]);
            let mut best = replace.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// Longer words are not compared.
const WORD_CHARS_MAX: usize = 64;
