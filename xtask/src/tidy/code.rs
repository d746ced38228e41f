//! Owns a view of Rust source in which only code is left: comments and the insides of literals become blanks.
//!
//! Must not know any rule. Lines and columns stay where they are, so that a rule can name the place.

/// Blanks comments, strings and characters.
pub(super) fn strip(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + length_of_other(&bytes[at..], at > 0 && is_word(bytes[at - 1]));
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    // Only whole comments and literals were blanked, so what is left is still UTF-8.
    String::from_utf8_lossy(&code).into_owned()
}

/// Cuts off the unit tests, which stand at the foot of a file.
pub(super) fn without_tests(code: &str) -> &str {
    code.split_once("#[cfg(test)]").map_or(code, |(code, _)| code)
}

/// Tells whether a byte can be part of a name.
pub(super) fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Finds a whole word in a line of code.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].bytes().next_back();
        let after = line[at + word.len()..].bytes().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Returns how long the comment or literal is that begins here; 0 where code goes on.
fn length_of_other(bytes: &[u8], is_inside_word: bool) -> usize {
    match bytes {
        [b'/', b'/', ..] => bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()),
        [b'/', b'*', ..] => find(bytes, 2, b"*/"),
        [b'"', ..] => quoted(bytes),
        [b'r', b'"' | b'#', ..] if !is_inside_word => raw(bytes),
        // A character, but not a lifetime.
        [b'\'', b'\\', rest @ ..] => rest.iter().skip(1).position(|byte| *byte == b'\'').map_or(0, |at| at + 4),
        [b'\'', _, b'\'', ..] => 3,
        _ => 0,
    }
}

fn quoted(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw(bytes: &[u8]) -> usize {
    let hashes = bytes[1..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(1 + hashes) != Some(&b'"') {
        return 0; // a raw name, such as `r#type`
    }
    let end = ["\"".as_bytes(), &vec![b'#'; hashes]].concat();
    find(bytes, hashes + 2, &end)
}

fn find(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let found = bytes[from..].windows(end.len()).position(|window| window == end);
    found.map_or(bytes.len(), |at| from + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::{has_word, strip, without_tests};

    #[test]
    fn only_code_is_left_in_its_place() {
        let text = "let a = \"unsafe \\\" x\"; // unsafe\nlet b = 'u'; /* unsafe\n */ fn c<'a>(r#in: &'a str) {}\n";
        let code = strip(text);
        assert!(!code.contains("unsafe"));
        assert_eq!(code.len(), text.len());
        assert!(code.contains("fn c<'a>(r#in: &'a str) {}"));
        assert_eq!(code.lines().count(), 3);
    }

    #[test]
    fn raw_strings_end_at_their_own_mark() {
        let code = strip("let a = r#\"x \" unsafe\"#; let b = '\\''; call()");
        assert!(!code.contains("unsafe"));
        assert!(code.contains("call()"));
    }

    #[test]
    fn a_word_is_not_part_of_another() {
        assert!(has_word("unsafe { x }", "unsafe"));
        assert!(!has_word("#![forbid(unsafe_code)]", "unsafe"));
    }

    #[test]
    fn tests_stand_at_the_foot() {
        assert_eq!(without_tests("fn a() {}\n#[cfg(test)]\nmod tests {}"), "fn a() {}\n");
    }
}
