//! Records as a table: one row a record, and of each what tables are asked for. It must not know files.

use std::io::{self, Write};

use serde_json::Value;

use crate::text;

/// Each column, and where in a record it stands; of several places the first that has something counts.
const COLUMNS: &[(&str, &[&str])] = &[
    ("sequence", &["/sequence"]),
    ("time", &["/time"]),
    ("what", &["/what"]),
    ("session", &["/act/session/name", "/session/name"]),
    ("session_id", &["/act/session/id", "/session/id"]),
    ("profile", &["/act/session/profile", "/session/profile"]),
    ("operation", &["/act/operation"]),
    ("object", &["/act/object"]),
    ("other", &["/act/other"]),
    ("label", &["/act/label"]),
    ("rule", &["/act/rule/name"]),
    ("tier", &["/act/tier"]),
    ("request", &["/request"]),
    ("question", &["/question"]),
    ("decision", &["/decision"]),
    ("approver_uid", &["/approver/uid"]),
    ("approver", &["/approver/user"]),
    ("reason", &["/reason"]),
    ("scope", &["/scope"]),
    ("until", &["/until"]),
    ("grant", &["/grant"]),
    ("intent", &["/act/intent/why", "/intent/why"]),
    ("times", &["/times"]),
    ("uid", &["/act/process/uid", "/session/uid"]),
    ("pid", &["/act/process/pid"]),
    ("comm", &["/act/process/comm"]),
    ("exe", &["/act/process/exe"]),
    ("command", &["/act/process/argv"]),
    ("directory", &["/act/process/cwd"]),
    ("boot", &["/boot"]),
];

/// What spreadsheets take for the beginning of a formula.
const FORMULA: [char; 4] = ['=', '+', '-', '@'];

/// A table with its head.
pub(super) fn begin<W: Write>(out: W) -> Result<csv::Writer<W>, io::Error> {
    let mut table = csv::Writer::from_writer(out);
    write(&mut table, COLUMNS.iter().map(|(name, _)| name))?;
    Ok(table)
}

/// Writes the row of a record.
pub(super) fn put<W: Write>(table: &mut csv::Writer<W>, record: &Value) -> Result<(), io::Error> {
    let cells = COLUMNS.iter().map(|(_, places)| {
        let found = places.iter().find_map(|place| record.pointer(place));
        found.map(cell).unwrap_or_default()
    });
    write(table, cells)
}

/// Writes cells. The library's own conversion would lose that whoever read has seen enough.
fn write<W: Write>(table: &mut csv::Writer<W>, cells: impl Iterator<Item = impl AsRef<[u8]>>) -> Result<(), io::Error> {
    table.write_record(cells).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    })
}

/// A value as a cell, on one line. Most of them quote what a guarded process has chosen, and whoever opens the table in a
/// spreadsheet is not to run it.
fn cell(value: &Value) -> String {
    let cell = match value {
        Value::Null => String::new(),
        Value::String(text) => text::escape_all(text),
        Value::Array(words) => {
            let words: Vec<_> = words.iter().filter_map(Value::as_str).map(text::escape_all).collect();
            text::command_line(&words)
        }
        other => text::escape_all(&other.to_string()),
    };
    if cell.starts_with(FORMULA) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{COLUMNS, begin, put};

    #[test]
    fn a_row_has_a_cell_for_each_column_and_nothing_that_deceives_or_runs() {
        let record = json!({
            "sequence": 7, "session": { "name": "demo", "uid": 1000 },
            "act": {
                "object": "=cmd|' /C calc'!A0",
                "process": { "argv": ["rm", "a b\n", "\u{1b}[2J"], "exe": null, "cwd": { "a": "\u{202e}" } },
            },
        });
        let mut table = begin(Vec::new()).unwrap();
        put(&mut table, &record).unwrap();
        let text = String::from_utf8(table.into_inner().unwrap()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        let mut read = csv::Reader::from_reader(text.as_bytes());
        let head = read.headers().unwrap().clone();
        let cells = read.records().next().unwrap().unwrap();
        assert_eq!((head.len(), cells.len()), (COLUMNS.len(), COLUMNS.len()));
        let of = |name: &str| &cells[head.iter().position(|column| column == name).unwrap()];
        assert_eq!((of("sequence"), of("session"), of("uid"), of("exe")), ("7", "demo", "1000", ""));
        assert_eq!((of("object"), of("command")), ("'=cmd|' /C calc'!A0", r"rm 'a b\n' '\x1b[2J'"));
        assert_eq!(of("directory"), r#"{"a":"\u{202e}"}"#);
    }
}
