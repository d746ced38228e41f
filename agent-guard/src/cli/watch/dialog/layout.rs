//! Named texts in a fixed layout: names stand in a column of their own, which no text reaches, and what is cut is
//! marked. It must not know what the texts are about.

use unicode_width::UnicodeWidthChar as _;

/// Columns of names and the gap behind them.
const NAMES: usize = 12;
/// Stands in the gap where a text goes on from the row above.
const GOES_ON: &str = "> ";
/// Stands where a text was cut.
const CUT: &str = " [...] ";
/// Fewest columns that a text is shown in.
const NARROWEST: usize = 28;

/// What stands beside a name.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// One text, over several rows if need be.
    Text(String),
    /// Several, each on a row of its own.
    List(Vec<String>),
}

/// The rows of named values, each text on as many as there is room for; none where there is not one for each.
pub(super) fn fit(fields: &[(&str, Value)], columns: usize, rows: usize) -> Option<Vec<String>> {
    let width = columns.checked_sub(NAMES).filter(|width| *width >= NARROWEST)?;
    let laid_out = |most| fields.iter().flat_map(move |(name, value)| field(name, value, width, most)).collect();
    (1..=rows).rev().map(laid_out).find(|all: &Vec<String>| all.len() <= rows)
}

fn field(name: &str, value: &Value, width: usize, most: usize) -> Vec<String> {
    let is_text = matches!(value, Value::Text(_));
    let lines = match value {
        Value::Text(text) => wrap(text, width, most),
        Value::List(texts) => list(texts, width, most),
    };
    let begin = |index| match index {
        0 => format!("{name:NAMES$}"),
        _ if is_text => format!("{GOES_ON:>NAMES$}"),
        _ => " ".repeat(NAMES),
    };
    lines.iter().enumerate().map(|(index, line)| begin(index) + line).collect()
}

fn list(texts: &[String], width: usize, most: usize) -> Vec<String> {
    let left = texts.len().saturating_sub(most);
    let shown = texts.iter().take(most).enumerate();
    let row = |(index, text): (usize, &String)| {
        let more = if left > 0 && index + 1 == most { format!(" [... {left} more]") } else { String::new() };
        cut(text, width.saturating_sub(more.len())) + &more
    };
    shown.map(row).collect()
}

/// A text in rows of so many columns, at most so many of them: beginning and end stay, as both ends of a path matter.
pub(super) fn wrap(text: &str, width: usize, most: usize) -> Vec<String> {
    let rows = broken(text, width);
    if rows.len() <= most {
        return rows;
    }
    // Each row may lose a column to a character that is two wide.
    broken(&cut(text, most * (width - 1)), width)
}

fn broken(text: &str, width: usize) -> Vec<String> {
    let (mut rows, mut row, mut used) = (Vec::new(), String::new(), 0);
    for character in text.chars() {
        let columns = character.width().unwrap_or(0);
        if used + columns > width {
            rows.push(std::mem::take(&mut row));
            used = 0;
        }
        row.push(character);
        used += columns;
    }
    rows.push(row);
    rows
}

/// Columns that a text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().filter_map(char::width).sum()
}

/// A text of at most so many columns, with a mark where its middle was.
pub(super) fn cut(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let Some(kept) = most.checked_sub(CUT.len()) else { return first(text.chars(), most) };
    let half = kept / 2;
    let tail: String = first(text.chars().rev(), half).chars().rev().collect();
    format!("{}{CUT}{tail}", first(text.chars(), half))
}

/// The last of a text, with a mark before it where there is more.
pub(super) fn end(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let tail: String = first(text.chars().rev(), most.saturating_sub(CUT.len())).chars().rev().collect();
    format!("{CUT}{tail}")
}

fn first(characters: impl Iterator<Item = char>, most: usize) -> String {
    let mut used = 0;
    let fits = |character: &char| {
        used += character.width().unwrap_or(0);
        used <= most
    };
    characters.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::{Value, columns, cut, end, fit, wrap};

    #[test]
    fn a_text_that_goes_on_never_reaches_the_names() {
        let forged = format!("/srv{}approval    none is needed", " ".repeat(28));
        let rows = fit(&[("what", Value::Text(forged)), ("rule", Value::Text("prod".into()))], 44, 9).unwrap();
        assert_eq!(
            rows,
            [
                format!("what        /srv{}", " ".repeat(28)),
                "          > approval    none is needed".into(),
                "rule        prod".into()
            ]
        );
    }

    #[test]
    fn there_is_room_for_each_name_or_for_none() {
        let fields = [("what", Value::Text("x".repeat(10_000))), ("by", Value::List(vec!["y".repeat(99); 5]))];
        let rows = fit(&fields, 80, 6).unwrap();
        assert_eq!((rows.len(), rows.iter().filter(|row| row.contains("[...")).count()), (6, 4), "{rows:#?}");
        assert!(rows[5].ends_with(" [... 2 more]") && rows.iter().all(|row| columns(row) <= 80), "{rows:#?}");
        assert_eq!(fit(&fields, 80, 2).unwrap().len(), 2);
        assert!(fit(&fields, 80, 1).is_none() && fit(&fields, 39, 20).is_none());
    }

    #[test]
    fn wide_characters_take_the_room_that_they_take() {
        let wide = "デ".repeat(100);
        assert!(wrap(&wide, 31, 3).iter().all(|row| columns(row) <= 31));
        assert_eq!(wrap(&wide, 31, 3).len(), 3);
        assert!(columns(&cut(&wide, 30)) <= 30 && columns(&end(&wide, 30)) <= 30);
        assert_eq!(columns("e\u{301}"), 1);
    }

    #[test]
    fn both_ends_stay_of_what_is_cut_and_the_last_of_what_is_typed() {
        let text = format!("/begin/{}/end", "x".repeat(90));
        let shown = cut(&text, 30);
        assert!(shown.starts_with("/begin/") && shown.ends_with("/end") && shown.contains("[...]"), "{shown}");
        assert!(end(&text, 30).ends_with("/end") && end(&text, 30).starts_with(" [...] "));
        assert_eq!((cut("short", 5), end("short", 5)), ("short".into(), "short".into()));
    }
}
