//! What is left out, what stays, and what holds for any text.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::Redactor;
use crate::text::command_line;

fn redactor() -> &'static Redactor {
    static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new().unwrap());
    &REDACTOR
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

#[test]
fn each_kind_is_named_and_the_rest_stays() {
    let redactor = redactor();
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N";
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----";
    let cases = [
        ("aws AKIAIOSFODNN7EXAMPLE s3", "aws [redacted: aws-access-key] s3"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "[redacted: github-token]"),
        ("github_pat_11ABCDEFG0123456789_abcdefghij", "[redacted: github-token]"),
        ("x=glpat-0123456789abcdefghij;", "x=[redacted: gitlab-token];"),
        ("xoxb-123456789012-abcdefABCDEF", "[redacted: slack-token]"),
        ("sk_live_0123456789abcdef", "[redacted: stripe-key]"),
        ("sk-ant-api03-0123456789abcdef_-xyz", "[redacted: anthropic-key]"),
        ("sk-proj-0123456789abcdef_-xyz", "[redacted: openai-key]"),
        (&format!("a {jwt} b"), "a [redacted: jwt] b"),
        (&format!("a {pem} b"), "a [redacted: private-key] b"),
        (&pem[..40], "[redacted: private-key]"),
        ("-H 'Authorization: Bearer abc' x", "-H 'Authorization: Bearer [redacted: authorization]' x"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [redacted: authorization]"),
        ("authorization=abc", "authorization=[redacted: authorization]"),
        ("with bearer 0123456789abcdef", "with bearer [redacted: bearer-token]"),
        ("Cookie: a=b; c=d' x", "Cookie: [redacted: cookie]' x"),
        ("postgres://me:hunter2@db/x", "postgres://me:[redacted: url-password]@db/x"),
        ("redis://:p@ss@db:6379", "redis://:[redacted: url-password]@db:6379"),
        ("--password=hunter2 -v", "--password=[redacted: secret] -v"),
        ("tool --api-token hunter2 -v", "tool --api-token [redacted: secret] -v"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=[redacted: secret] psql"),
        ("PGPASSWORD='two words' psql", "PGPASSWORD=[redacted: secret] psql"),
        ("X_PWD=a;rm -rf /", "X_PWD=[redacted: secret];rm -rf /"),
        (r#"{"client_secret": "a \"b\" c", "d": 1}"#, r#"{"client_secret": [redacted: secret], "d": 1}"#),
        (r#""{\"password\":\"two words\"}""#, r#""{\"password\":[redacted: secret]}""#),
        (r"sh -c 'PASSWORD='\''two words'\'' x'", "sh -c 'PASSWORD=[redacted: secret] x'"),
        ("GITHUB_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345", "GITHUB_TOKEN=[redacted: github-token]"),
        ("at 8kQ2vX9mB4nR7tY1wZ6pL3sD.", "at [redacted: high-entropy]."),
        ("SALT=8kQ2vX9mB4nR7tY1wZ6pL3sD==", "SALT=[redacted: high-entropy]=="),
    ];
    for (text, expected) in cases {
        assert_eq!(redactor.text(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_secret_stays_as_it_is() {
    let redactor = redactor();
    for text in [
        "git checkout da39a3ee5e6b4b0d3255bfef95601890afd80709 -- src/secrets/token.rs",
        "PWD=/root OLDPWD=/ HOME=/root LANG=C GOOGLE_APPLICATION_CREDENTIALS=/run/gcp.json",
        "/run/secrets/db-password",
        "--max-tokens=4096 --password-file /etc/x --token-file=/run/token",
        "https://example.com:8443/a@b?tokens=1",
        "docker run -u 1000:1000 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "the token was revoked; every password has been changed",
        "disk-usage-of-the-production-cluster task-0123456789abcdef0123456789abcdef-runner",
        "123e4567-e89b-12d3-a456-426614174000",
        "tcp 203.0.113.10:443 (cloudformation.eu-central-1.amazonaws.com)",
        "[redacted: secret]",
    ] {
        assert_eq!(redactor.text(text), text);
    }
}

#[test]
fn of_a_command_each_word_is_known() {
    let redactor = redactor();
    let of = |list: &[String]| redactor.argv(list).join("|");
    assert_eq!(of(&words(["x", "--password", "two words", "-v"])), "x|--password|[redacted: secret]|-v");
    assert_eq!(of(&words(["env", "DB_PASSWORD=a b&c", "x"])), "env|DB_PASSWORD=[redacted: secret]|x");
    assert_eq!(of(&words(["sh", "-c", "DB_PASSWORD=a rm -rf /"])), "sh|-c|DB_PASSWORD=[redacted: secret] rm -rf /");
    assert_eq!(of(&words(["curl", "-u", "me:a b", "x"])), "curl|-u|me:[redacted: secret]|x");
    assert_eq!(of(&words(["docker", "-u", "1000:1000", "x"])), "docker|-u|1000:1000|x");
    assert_eq!(of(&words(["tool", "-u", "AKIAA000A000A00AA0AA:"])), "tool|-u|[redacted: aws-access-key]:");
    assert_eq!(of(&words(["x", "--token", "AKIAIOSFODNN7EXAMPLE"])), "x|--token|[redacted: aws-access-key]");
    assert_eq!(of(&words(["x", "--token", "", "y"])), "x|--token||y");
}

#[test]
fn a_record_keeps_what_the_guard_says_and_a_command_reads_as_its_words() {
    let redactor = redactor();
    let argv = words(["terraform", "destroy", "-var", "db_password=two words"]);
    let mut record = json!({
        "previous": "0".repeat(64), "request": "J1RZ", "what": "decided", "sequence": 7,
        "reason": "use AKIAIOSFODNN7EXAMPLE",
        "act": {
            "object": command_line(&words(["/usr/bin/terraform", "destroy", "-var", "db_password=two words"])),
            "session": { "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "name": "xoxb-123456789012-abcdefABCDEF" },
            "process": { "argv": argv, "ancestry": [{ "argv": ["sh", "--token", "x"] }] },
        },
    });
    redactor.record(&mut record);
    let expected = json!({
        "previous": "0".repeat(64), "request": "J1RZ", "what": "decided", "sequence": 7,
        "reason": "use [redacted: aws-access-key]",
        "act": {
            "object": "/usr/bin/terraform destroy -var 'db_password=[redacted: secret]'",
            "session": { "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "name": "[redacted: slack-token]" },
            "process": {
                "argv": ["terraform", "destroy", "-var", "db_password=[redacted: secret]"],
                "ancestry": [{ "argv": ["sh", "--token", "[redacted: secret]"] }],
            },
        },
    });
    assert_eq!(record, expected);
}

/// What texts of secrets are made of, and what else may stand beside it.
fn fragment() -> impl Strategy<Value = String> {
    let known = select(vec![
        "AKIAIOSFODNN7EXAMPLE",
        "password",
        "_pwd",
        "token",
        "--",
        "=",
        ":",
        "://",
        "@",
        "'",
        "\"",
        "\\",
        "'\\''",
        " ",
        "\n",
        ";",
        "[redacted: secret]",
        "[redacted: ",
        "]",
        "Authorization",
        "Bearer ",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "ghp_0123456789abcdefghij",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0",
        "8kQ2vX9mB4nR7tY1wZ6pL3sD",
        "sha256:",
        "-c",
        "-u",
        "ä",
        "x",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => any::<String>(), 1 => "[ -~]{0,9}"]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..12).prop_map(|parts| parts.concat())
}

/// A secret, and a word or two of a command that pass it on.
fn planted() -> impl Strategy<Value = (String, Vec<String>)> {
    let forms = prop_oneof![
        "AKIA[0-9A-Z]{16}",
        "ghp_[0-9A-Za-z]{36}",
        "github_pat_[0-9A-Za-z_]{40}",
        "glpat-[0-9A-Za-z_-]{20}",
        "xoxb-[0-9]{12}-[0-9A-Za-z]{24}",
        "sk_live_[0-9A-Za-z]{24}",
        "sk-ant-api03-[0-9A-Za-z_-]{40}",
        "sk-proj-[0-9A-Za-z_-]{40}",
        "eyJ[0-9A-Za-z]{20}\\.eyJ[0-9A-Za-z]{20}\\.[0-9A-Za-z_-]{20}",
        "-----BEGIN PRIVATE KEY-----\n[0-9A-Za-z+/]{64}\n-----END PRIVATE KEY-----",
    ];
    let glue = || select(vec!["", " ", "'", "\"", "=", ":", ",", ";", "(", "/", "\n", "@", "{"]);
    let shown = (glue(), forms, glue()).prop_map(|(before, secret, behind)| {
        let word = format!("{before}{secret}{behind}");
        (secret, vec![word])
    });
    let value = "[0-9A-Za-z+/_.~-]{12,40}";
    let named = (value, 0..8_usize).prop_map(|(secret, way)| {
        let words = match way {
            0 => vec![format!("--password={secret}")],
            1 => vec!["--db-token".to_owned(), secret.clone()],
            2 => vec![format!("PGPASSWORD={secret}")],
            3 => vec![format!("API_KEY={secret} and more")],
            4 => vec!["-c".to_owned(), format!("MYSQL_PWD='{secret}' mysql; ls")],
            5 => vec![format!("https://me:{}@host/path", secret.replace('/', "."))],
            6 => vec![format!("Authorization: Bearer {secret}")],
            _ => vec![format!("{{\"client_secret\": \"{secret}\"}}")],
        };
        (if way == 5 { secret.replace('/', ".") } else { secret }, words)
    });
    prop_oneof![shown, named]
}

proptest! {
    #[test]
    fn what_was_redacted_stays_as_it_is(text in text(), words in prop::collection::vec(text(), 0..5)) {
        let redactor = redactor();
        let once = redactor.text(&text);
        prop_assert_eq!(&redactor.text(&once), &once);
        let once = redactor.argv(&words);
        prop_assert_eq!(once.len(), words.len());
        prop_assert_eq!(&redactor.argv(&once), &once);
    }

    #[test]
    fn a_secret_never_survives_wherever_it_stands(
        (secret, planted) in planted(),
        before in prop::collection::vec(text(), 0..4),
        behind in prop::collection::vec(text(), 0..3),
    ) {
        let argv = [vec!["tool".to_owned()], before, planted, behind].concat();
        let object = command_line(&argv);
        let act = json!({ "object": object, "process": { "argv": argv, "ancestry": [{ "argv": argv }] } });
        let mut record: Value = json!({ "act": act });
        redactor().record(&mut record);
        let text = record.to_string();
        // As JSON has it.
        let secret = Value::from(secret).to_string();
        prop_assert!(!text.contains(secret.trim_matches('"')), "{} in {}", secret, text);
    }
}
