//! A name from the wire as text that is plain, lower-case and never cut. It must not know whose name it is.
//!
//! Its bytes are somebody else's choice. Each label stays what it is: a dot or a backslash inside of one, and every byte
//! that is not printable ASCII, becomes `\DDD` (RFC 1035, section 5.1), so that two names never have the same text.

use std::fmt::Write as _;

use hickory_proto::rr::Name;

/// Bytes of a name's text. No name that people use comes near it, and one that was cut could be taken for another.
pub(super) const LONGEST: usize = 255;

/// Bytes that `\DDD` has more than what it stands for.
const ESCAPE: usize = 3;

/// A name's text, without the dot at its end; none where it would be too long. The root is `.`.
pub(super) fn text(name: &Name) -> Option<String> {
    if name.is_root() {
        return Some(".".to_owned());
    }
    let mut text = String::with_capacity(LONGEST);
    for (index, label) in name.iter().enumerate() {
        if index > 0 {
            text.push('.');
        }
        for byte in label {
            if byte.is_ascii_graphic() && !matches!(byte, b'.' | b'\\') {
                text.push(char::from(byte.to_ascii_lowercase()));
            } else {
                write!(text, "\\{byte:03}").ok()?;
            }
        }
    }
    (text.len() <= LONGEST).then_some(text)
}

/// Bytes that a name has on the wire when it is not compressed.
pub(super) fn wire_length(name: &Name) -> usize {
    name.iter().map(|label| label.len() + 1).sum::<usize>() + 1
}

/// Bytes that a label had before its text was made.
pub(super) fn label_length(label: &str) -> usize {
    label.len() - ESCAPE * label.matches('\\').count()
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Name;

    use super::{LONGEST, label_length, text, wire_length};

    fn name(labels: &[&[u8]]) -> Name {
        let mut name = Name::from_labels(labels.iter().copied()).unwrap();
        name.set_fqdn(true);
        name
    }

    #[test]
    fn names_are_lower_case_and_end_without_a_dot() {
        assert_eq!(text(&name(&[b"WWW", b"Example", b"com"])).unwrap(), "www.example.com");
        assert_eq!(text(&Name::root()).unwrap(), ".");
        assert_eq!(text(&name(&[b"_https", b"*", b"a-b"])).unwrap(), "_https.*.a-b");
    }

    #[test]
    fn bytes_that_deceive_are_escaped_and_labels_stay_apart() {
        assert_eq!(text(&name(&[b"a.b", b"com"])).unwrap(), "a\\046b.com");
        assert_eq!(text(&name(&[b"a\\046b", b"com"])).unwrap(), "a\\092046b.com");
        assert_eq!(text(&name(&[b"\x1b[2J\0 \xff"])).unwrap(), "\\027[2j\\000\\032\\255");
    }

    #[test]
    fn a_name_that_would_be_too_long_is_none_and_not_a_shorter_one() {
        let long = [b'a'; 61];
        assert_eq!(text(&name(&[&long, &long, &long, &long])).unwrap().len(), 247);
        let binary = [1; 40];
        assert_eq!(text(&name(&[&binary, &binary])), None);
        let just = [[1; 63].as_slice(), &[b'a'; 2]];
        assert_eq!(text(&name(&just)).unwrap().len(), LONGEST);
        assert_eq!(text(&name(&[&[1; 63], &[b'a'; 3]])), None);
    }

    #[test]
    fn lengths_are_those_of_the_wire() {
        assert_eq!(wire_length(&Name::root()), 1);
        assert_eq!(wire_length(&name(&[b"abc", b"de"])), 8);
        assert_eq!(label_length("a\\046b"), 3);
        assert_eq!(label_length("\\000\\001\\255"), 3);
    }
}
