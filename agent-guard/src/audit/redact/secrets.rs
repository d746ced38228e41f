//! What a secret looks like: the forms that its issuers have given it, the names that it is passed by, and chance. It must not
//! know where a text stands, nor what becomes of what is found.
//!
//! A false alarm hides from a reader what they came for, so digests, paths, ids and plain names are none.

/// What is found by its name alone.
pub(super) const NAMED: &str = "secret";
/// What looks as if it had been drawn at random.
pub(super) const RANDOM: &str = "high-entropy";

/// Words that names of secrets end with. `tokens` are counted, and `PWD` is a directory.
macro_rules! name {
    () => {
        concat!(
            r"(?i:passwords?|passwd|passphrase|[_-](?:pass|pwd)|secrets?|token|",
            r"(?:access|account|api|auth|encryption|master|private|secret|signing)[_-]?key)",
            r"(?i:[_-]?(?:base|value|v?[0-9]+))?",
        )
    };
}

/// What was redacted before.
macro_rules! mark {
    () => {
        r"\[redacted: [a-z-]+\]"
    };
}

/// A character of a value, or what was redacted before.
macro_rules! plain {
    () => {
        concat!("(?:", mark!(), r#"|[^\s'";&|<>()])"#)
    };
}

/// The value behind a name, as shells and JSON have it: a quoted text, or a word. A quote may itself stand in quotes, and its
/// end may have been cut off. A mark is one as it is, so that what stands behind it stays.
macro_rules! value {
    () => {
        concat!(
            "(",
            mark!(),
            r#"|'\\''(?s:.*?)(?:'\\''|\z)|\\"(?s:.*?)(?:\\"|\z)|'[^']*'?|"(?:[^"\\]|\\(?s:.))*"?|"#,
            plain!(),
            r#"+(?:['"]+"#,
            plain!(),
            "+)*)",
        )
    };
}

/// The name of an option that takes a secret as its next word.
pub(super) const OPTION: &str = concat!(r"\A--?(?:[0-9A-Za-z_.-]*[_.-])?", name!(), r"\z");
/// An option or a variable that has a secret behind its equals sign.
pub(super) const ASSIGNED: &str = concat!(r"\A-{0,2}[0-9A-Za-z_.-]*?", name!(), "=");

/// A user's name in front of a password, as [`USER`] has them; a number is a user's or group's id.
pub(super) const USER_OF: &str = concat!(r"\A(?:", mark!(), r"|[^:\[0-9])(?:", mark!(), r"|[^:\[])*:");
/// Options of many programs that are followed by a user's name, a colon and a password.
pub(super) const USER: [&str; 4] = ["-u", "--user", "-U", "--proxy-user"];

/// Kinds of secrets, and what they look like; where there is a group, that is the secret. Of two that overlap the first counts.
pub(super) const FORMS: &[(&str, &str)] = &[
    (
        "private-key",
        r"-----BEGIN[0-9A-Z ]*PRIVATE KEY[A-Z ]*-----(?s:.*?)(?:-----END[0-9A-Z ]*PRIVATE KEY[A-Z ]*-----|\z)",
    ),
    ("aws-access-key", r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}"),
    ("github-token", r"gh[oprsu]_[0-9A-Za-z]{20,}|github_pat_[0-9A-Za-z_]{20,}"),
    ("gitlab-token", r"gl(?:agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|soat)-[0-9A-Za-z_-]{20,}"),
    ("slack-token", r"xox[abeoprs](?:\.xox[bp])?-[0-9A-Za-z-]{10,}|xapp-[0-9A-Za-z-]{10,}"),
    ("slack-webhook", r"hooks\.slack\.com/(?:services|triggers|workflows)/([0-9A-Za-z+/]{20,})"),
    ("stripe-key", r"(?:sk|rk)_(?:live|test)_[0-9A-Za-z]{10,}|whsec_[0-9A-Za-z+/=]{20,}"),
    ("anthropic-key", r"\bsk-ant-[0-9A-Za-z_-]{20,}"),
    ("openai-key", r"\bsk-(?:proj|svcacct|admin)-[0-9A-Za-z_-]{20,}|\bsk-[0-9A-Za-z]{32,}"),
    ("google-key", r"AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[0-9A-Za-z_-]{20,}"),
    ("huggingface-token", r"\bhf_[0-9A-Za-z]{30,}"),
    ("npm-token", r"\bnpm_[0-9A-Za-z]{36}"),
    ("pypi-token", r"pypi-[0-9A-Za-z_-]{50,}"),
    ("vault-token", r"\bhv[bsr]\.[0-9A-Za-z_-]{20,}"),
    ("jwt", r"eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}(?:\.[0-9A-Za-z_-]+)*"),
    ("url-password", r#"[A-Za-z][0-9A-Za-z+.-]*://[^\s/:@'"]*:([^\s/'"]+)@"#),
    ("bearer-token", r"(?i:\bbearer)\s+([0-9A-Za-z._~+/=-]{16,})"),
    ("authorization", concat!(r#"(?i:authorization)\\?["']?\s*[:=]\s*(?:[A-Za-z][0-9A-Za-z-]*[ \t]+)?"#, value!())),
    ("cookie", r#"(?i:\bcookie):\s*([^\s'"][^'"\r\n]*)"#),
    (NAMED, concat!(name!(), r#"\\?["']?\s*(?::=|=>|[:=])\s*"#, value!())),
    (NAMED, concat!(r#"(?:\A|[\s'"])--(?:[0-9A-Za-z_.-]*[_.-])?"#, name!(), r"\s+", value!())),
];

/// Fewest characters that chance is told from intent by.
const SHORTEST: usize = 24;
/// Names of digests in front of one in Base64, as package managers and `ssh` write them.
const DIGESTS: [&str; 5] = ["md5", "sha1", "sha256", "sha384", "sha512"];

/// Every run of characters that a drawn secret could be of, where it looks drawn: with the place where it begins.
pub(super) fn drawn(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "+/_-".contains(character);
    let mut at = 0;
    let runs = text.split(move |character| !is_part(character)).map(move |run| {
        let begin = at;
        // What ends a run has as many bytes as it has.
        at += run.len() + text[begin + run.len()..].chars().next().map_or(0, char::len_utf8);
        (begin, run)
    });
    runs.filter(move |(begin, run)| is_drawn(run) && !is_digest(&text[..*begin], run))
}

/// Whether a run is a digest in Base64, by what stands in front of it.
fn is_digest(before: &str, run: &str) -> bool {
    let named = |text: &str, mark: char| {
        let text = text.strip_suffix(mark).unwrap_or_default().to_ascii_lowercase();
        DIGESTS.iter().any(|name| text.ends_with(name))
    };
    named(before, ':') || run.split_once('-').is_some_and(|(name, _)| named(&format!("{name}-"), '-'))
}

/// Whether a run looks drawn: of digits, small and capital letters that change more often than in any name, few of them
/// often. Digests, UUIDs and ULIDs have letters of one case.
fn is_drawn(run: &str) -> bool {
    let class = |byte: u8| match byte {
        b'0'..=b'9' => 1,
        b'A'..=b'Z' => 2,
        b'a'..=b'z' => 3,
        _ => 0,
    };
    let bytes = run.as_bytes();
    if bytes.len() < SHORTEST || bytes.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-') {
        return false;
    }
    let all = (1..=3).all(|kind| bytes.iter().any(|byte| class(*byte) == kind));
    let changes = bytes.windows(2).map(|pair| (class(pair[0]), class(pair[1])));
    let changes = changes.filter(|(one, other)| one != other && *one != 0 && *other != 0).count();
    all && changes * 5 >= bytes.len() * 2 && entropy(bytes) >= 3.6
}

/// Shannon's entropy, in bits a byte.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let share = |count: &u32| f64::from(*count) / bytes.len() as f64;
    counts.iter().filter(|count| **count > 0).map(share).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::drawn;

    fn found(text: &str) -> Vec<&str> {
        drawn(text).map(|(at, run)| &text[at..at + run.len()]).collect()
    }

    #[test]
    fn what_was_drawn_is_found_wherever_it_stands() {
        for secret in [
            "q7Rz/Xk2LpT9vB+c4Nw8sYd1Hm6Jf3Ga5eQ0uZ/x",
            "8kQ2vX9mB4nR7tY1wZ6pL3sD",
            "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MEFCQ0RFRg",
            "3qT7_xK9-bN2vM5wR8yL4pZ1",
        ] {
            assert_eq!(found(secret), [secret]);
            assert_eq!(found(&format!("ä {secret}, {secret}.é")), [secret, secret]);
        }
    }

    #[test]
    fn of_what_is_drawn_from_an_alphabet_nearly_all_is_found() {
        // A plain generator: what it draws is the same in every run.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
            char::from(alphabet[(state % 62) as usize])
        };
        let missed = (0..2000).filter(|_| found(&(0..40).map(|_| draw()).collect::<String>()).is_empty()).count();
        assert!(missed < 20, "{missed}");
    }

    #[test]
    fn digests_paths_ids_and_names_are_no_secrets() {
        for plain in [
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
            "123e4567-e89b-12d3-a456-426614174000",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "sha512-GXvDWoWVl2ONfmC2Mq4bTqB4zC7iiMzjDGfQiYxvnkfWsbUm4hQkwzP4tUVbnZfhqTnmQhGdQAtLg8d6dYBs8Q==",
            "SHA256:uNiVztksCsDhcc0u9e8BrGqI6Vn3rLrVfaMq8zrbOq4",
            "/usr/lib/x86_64-linux-gnu/libLLVM-17.so.1",
            "/home/ann/Projects/MyApp2/src/main/java/org/example/HttpServletRequestFactoryBean2Test",
            "/nix/store/5rnfzla9kcx4mj5zdc7nlnv8na1najvg-firefox-128.0",
            "_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE",
            "target/debug/deps/agent_guard-5f0c1d2e3a4b5c6d",
            "AbstractSingletonProxyFactoryBean2024Implementation",
            "PROD_EU_CENTRAL_1_Database_Cluster_Backup_2024-11-21T05-04-01Z",
            "arn:aws:cloudformation:eu-central-1:123456789012:stack/ProdApiStack",
            "aA1aA1aA1aA1aA1aA1aA1aA1aA1aA1",
            "ssh-ed25519",
        ] {
            assert!(found(plain).is_empty(), "{plain}");
        }
    }
}
