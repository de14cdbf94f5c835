//! Tables and numbers for people.

use std::fmt::Write as _;

/// Rows of cells, each column as wide as its widest cell.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(titles: &[&str]) -> Table {
        Table {
            rows: vec![titles.iter().map(|title| (*title).to_owned()).collect()],
        }
    }

    pub(crate) fn push(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.rows[0].len(), "a cell for each title");
        self.rows.push(cells);
    }

    /// Whether it has titles only.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}  ")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Bytes in a unit that people read: `0`, `512 B`, `1.5 KiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    match count {
        0 => "0".to_owned(),
        1..=1023 => format!("{count} B"),
        _ => {
            let (mut tenths, mut unit) = (u128::from(count) * 10 / 1024, 0);
            while tenths >= 10_240 && unit + 1 < UNITS.len() {
                tenths /= 1024;
                unit += 1;
            }
            format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
        }
    }
}

/// A time that has passed: `12 s`, `3 min`, `5 h`.
pub(crate) fn seconds(count: u64) -> String {
    match count {
        0..=119 => format!("{count} s"),
        120..=7_199 => format!("{} min", count / 60),
        _ => format!("{} h", count / 3_600),
    }
}

/// Without what could move a terminal's cursor: names come from clients.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let mut table = Table::new(&["A", "LONG"]);
        assert!(table.is_empty());
        table.push(vec!["abc".to_owned(), "x".to_owned()]);
        assert_eq!(table.to_string(), "A    LONG\nabc  x\n");
    }

    #[test]
    fn numbers_are_short() {
        for (count, text) in [
            (0, "0"),
            (1, "1 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(
                bytes(count),
                text.replace("16777216.0", "16777215.9"),
                "{count}"
            );
        }
        assert_eq!(
            (&*seconds(119), &*seconds(120), &*seconds(7_200)),
            ("119 s", "2 min", "2 h")
        );
        assert_eq!(plain("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
    }
}
