//! How things are shown: tables that fit the terminal, colour where it is welcome, nothing that deceives the eye.
//!
//! Every cell goes through `text::escape`: most of them quote what a guarded process has chosen.

use crate::system::terminal;
use crate::text::escape;
use serde::Serialize;
use std::io::{self, Write as _};

/// Columns where there is no terminal to ask.
const COLUMNS: usize = 80;
/// Narrowest that a column is cut to.
const NARROWEST: usize = 12;
/// Stands where a cell was cut.
const CUT: &str = "...";

/// Writes text to standard output.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Asks a person at the terminal; the line that comes back, without blanks around it.
pub(super) fn ask(question: &str) -> io::Result<String> {
    print(question)?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Writes a value as JSON for people and programs.
pub(super) fn print_json(value: &impl Serialize) -> io::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Writes a value as one line of JSON.
pub(super) fn print_json_line(value: &impl Serialize) -> io::Result<()> {
    print(&(serde_json::to_string(value)? + "\n"))
}

/// What a word means to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Wants attention.
    Urgent,
    /// Is bad.
    Bad,
    /// Nothing in particular.
    Plain,
}

/// How wide and how colourful the output may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    columns: usize,
    colour: bool,
}

impl Style {
    /// What suits standard output.
    pub(super) fn of_stdout() -> Self {
        let columns = terminal::columns();
        let colour = columns.is_some() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { columns: columns.filter(|columns| *columns >= COLUMNS).unwrap_or(COLUMNS), colour }
    }

    /// A word in its tone.
    pub(super) fn tone(self, tone: Tone, word: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Urgent => "33",
            Tone::Bad => "31",
            Tone::Plain => return word.to_owned(),
        };
        if self.colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
    }

    /// A table. The last column is cut so that each line fits, then the widest of the others.
    pub(super) fn table<const N: usize>(self, head: [&str; N], rows: &[[String; N]]) -> String {
        let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| escape(cell))).collect();
        let mut widths = head.map(width);
        for row in &rows {
            for (column, cell) in widths.iter_mut().zip(row) {
                *column = width(cell).max(*column);
            }
        }
        self.fit(&mut widths);
        let mut text = line(&head.map(str::to_owned), &widths);
        for row in &rows {
            text.push_str(&line(row, &widths));
        }
        text
    }

    /// Narrows columns until a line fits: the last one first.
    fn fit(self, widths: &mut [usize]) {
        let gaps = 2 * widths.len().saturating_sub(1);
        for column in (0..widths.len()).rev() {
            let total = widths.iter().sum::<usize>() + gaps;
            let excess = total.saturating_sub(self.columns);
            if let Some(width) = widths.get_mut(column) {
                *width = width.saturating_sub(excess).max(NARROWEST.min(*width));
            }
        }
    }
}

fn line<const N: usize>(cells: &[String; N], widths: &[usize; N]) -> String {
    let mut text = String::new();
    for (cell, column) in cells.iter().zip(widths) {
        let cell = cut(cell, *column);
        text.push_str(&cell);
        text.push_str(&" ".repeat(column.saturating_sub(width(&cell)) + 2));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A cell of at most `most` characters: beginning and end stay, since both ends of a path matter.
pub(super) fn cut(text: &str, most: usize) -> String {
    let length = width(text);
    if length <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(CUT.len());
    let head: String = text.chars().take(kept / 2).collect();
    let tail: String = text.chars().skip(length - (kept - kept / 2)).collect();
    format!("{head}{CUT}{tail}")
}

/// A list of names and texts, one a line; lines of a text that has several stand below each other.
pub(super) fn fields(fields: &[(&str, String)]) -> String {
    let widest = fields.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in fields {
        for (index, line) in value.lines().enumerate() {
            let name = if index == 0 { name } else { "" };
            text.push_str(format!("{name:widest$}  {line}").trim_end());
            text.push('\n');
        }
    }
    text
}

/// A stretch of time in its two largest units.
pub(super) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

/// An amount of bytes in the unit that suits it.
pub(super) fn bytes(amount: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = "bytes";
    let (mut whole, mut tenths) = (amount, 0);
    for larger in units {
        if whole < 1024 {
            break;
        }
        (whole, tenths, unit) = (whole / 1024, whole % 1024 * 10 / 1024, larger);
    }
    if unit == "bytes" { format!("{whole} bytes") } else { format!("{whole}.{tenths} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::{Style, Tone, bytes, cut, duration, fields};

    const PLAIN: Style = Style { columns: 80, colour: false };

    #[test]
    fn a_table_fits_its_columns_and_keeps_both_ends_of_what_it_cuts() {
        let path = format!("/srv/{}/db", "x".repeat(200));
        let table = PLAIN.table(["ID", "SESSION", "OBJECT"], &[["7K2M".into(), "s".repeat(90), path]]);
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        assert!(table.contains("/srv") && table.contains("/db"), "{table}");
        assert_eq!(PLAIN.table(["A", "B"], &[["1".into(), String::new()]]), "A  B\n1\n");
    }

    #[test]
    fn what_would_move_a_cursor_is_shown_as_what_it_is() {
        let table = PLAIN.table(["OBJECT"], &[["/srv/\x1b[2J\r\u{202e}x\n".into()]]);
        assert_eq!(table.lines().count(), 2, "{table}");
        assert!(!table.contains(['\x1b', '\r', '\u{202e}']), "{table}");
    }

    #[test]
    fn colour_needs_a_welcome() {
        assert_eq!(PLAIN.tone(Tone::Bad, "no"), "no");
        assert_eq!(Style { colour: true, ..PLAIN }.tone(Tone::Bad, "no"), "\x1b[31mno\x1b[0m");
    }

    #[test]
    fn figures_carry_their_units() {
        assert_eq!([0, 61_000, 3_720_000].map(duration), ["0s", "1m 01s", "1h 02m"]);
        assert_eq!([0, 1023, 1536, 5 << 30].map(bytes), ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 GiB"]);
        assert!(bytes(u64::MAX).starts_with("15.9 EiB"));
    }

    #[test]
    fn short_texts_are_not_cut_and_long_names_stand_below_each_other() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcdefghij", 7), "ab...ij");
        assert_eq!(fields(&[("a", "1\n2".into()), ("bcd", "3".into())]), "a    1\n     2\nbcd  3\n");
    }
}
