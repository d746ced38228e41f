//! Text from guarded processes, made safe to show: the one place that knows which characters deceive a reader.
//!
//! A file's name may hold escape sequences that rewrite a terminal, or marks that reverse what follows. It must
//! not know where the text comes from or goes to.

use std::fmt::Write as _;

/// Characters of one shown string; a longer one is cut in the middle.
pub const SHOWN: usize = 512;

/// Stands where a string was cut.
const CUT: &str = "[...]";

/// Bytes as text: what is UTF-8 stays as it is, every other byte becomes `\xNN`.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            push(&mut text, format_args!("\\x{byte:02x}"));
        }
    }
    text
}

/// Text for a person's eyes, on one line: nothing in it moves a cursor, hides or reorders what stands beside it.
/// Beginning and end of what is longer than [`SHOWN`] are kept, as both ends of a path matter.
#[must_use]
pub fn escape(text: &str) -> String {
    let length = text.chars().count();
    if length <= SHOWN {
        return escape_all(text);
    }
    let mut shown = String::with_capacity(text.len());
    let half = (SHOWN - CUT.len()) / 2;
    text.chars().take(half).for_each(|character| escape_into(&mut shown, character));
    shown.push_str(CUT);
    text.chars().skip(length - half).for_each(|character| escape_into(&mut shown, character));
    shown
}

/// Text as [`escape`] has it, and all of it.
#[must_use]
pub fn escape_all(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|character| escape_into(&mut shown, character));
    shown
}

/// An argument vector as one line that reads like a command: what is not plainly a word stands in quotes.
#[must_use]
pub fn command_line(argv: &[String]) -> String {
    let words: Vec<String> = argv.iter().map(|word| quote(word)).collect();
    words.join(" ")
}

fn quote(word: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "-_=+./:,@%^*?[]{}~#".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn escape_into(shown: &mut String, character: char) {
    match character {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        _ if character.is_ascii_control() => push(shown, format_args!("\\x{:02x}", u32::from(character))),
        _ if deceives(character) => push(shown, format_args!("\\u{{{:x}}}", u32::from(character))),
        _ => shown.push(character),
    }
}

/// Whether a character beyond ASCII controls what is shown, or is not shown at all.
const fn deceives(character: char) -> bool {
    matches!(character,
        '\u{80}'..='\u{9f}'                         // C1 controls: a terminal may take 9b for ESC [
        | '\u{ad}' | '\u{34f}' | '\u{61c}'          // soft hyphen, grapheme joiner, Arabic letter mark
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers: blank
        | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' // Khmer and Mongolian: invisible
        | '\u{200b}'..='\u{200f}'                   // zero width, left-to-right and right-to-left marks
        | '\u{2028}'..='\u{202e}'                   // line and paragraph separators, embeddings, overrides
        | '\u{2060}'..='\u{206f}'                   // word joiner, invisible operators, isolates
        | '\u{2800}'                                // blank Braille pattern
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' // variants, byte order mark, annotations
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' // musical controls, tags
    )
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a `String` does not fail.
    if text.write_fmt(arguments).is_err() {
        text.push('?');
    }
}

#[cfg(test)]
mod tests {
    use super::{SHOWN, command_line, escape, from_bytes};

    #[test]
    fn plain_text_of_any_script_stays_as_it_is() {
        for text in ["/srv/prod/db", "Müller & Söhne", "データ", "a\\b 'c'"] {
            assert_eq!(escape(text), text);
        }
    }

    #[test]
    fn what_deceives_is_shown_as_an_escape() {
        let expected = [
            ("\x1b[2J", "\\x1b[2J"),
            ("a\nb\rc\td", "a\\nb\\rc\\td"),
            ("\0\x7f", "\\x00\\x7f"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("txt.\u{202e}exe", "txt.\\u{202e}exe"),
            ("\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}", "\\u{2066}\\u{2069}\\u{200e}\\u{200f}\\u{61c}"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
        ];
        for (text, shown) in expected {
            assert_eq!(escape(text), shown);
        }
    }

    #[test]
    fn bytes_that_are_no_text_become_visible() {
        assert_eq!(from_bytes(b"a\xffb\xc3\xa9\xc3"), "a\\xffbé\\xc3");
    }

    #[test]
    fn a_long_text_keeps_its_ends_and_says_that_it_was_cut() {
        let shown = escape(&format!("/begin/{}/end", "x".repeat(10_000)));
        assert!(shown.len() <= SHOWN && shown.contains("[...]"), "{}", shown.len());
        assert!(shown.starts_with("/begin/") && shown.ends_with("/end"));
    }

    #[test]
    fn a_command_line_shows_where_its_words_end() {
        let argv = ["rm", "-rf", "a b", "it's", ""].map(str::to_owned);
        assert_eq!(command_line(&argv), "rm -rf 'a b' 'it'\\''s' ''");
    }
}
