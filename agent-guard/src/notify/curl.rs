//! What curl is told, and what is made of its answer. Pure: text in, text out.
//!
//! TLS and replies are so read by a program without rights, and never by the daemon. All that curl is told goes through
//! its input, which no other process can read, and nothing stands in its arguments but how to read that.

/// The program.
pub(super) const PROGRAM: &str = "/usr/bin/curl";
/// Its arguments: no configuration of anybody's but the one that comes as its input.
pub(super) const ARGUMENTS: [&str; 3] = ["--disable", "--config", "-"];

/// A delivery to be posted.
#[derive(Debug)]
pub(super) struct Post<'a> {
    /// Where to.
    pub(super) url: &'a str,
    /// The delivery's id, the same at every attempt.
    pub(super) delivery: &'a str,
    /// When it is sent, in seconds.
    pub(super) timestamp: i64,
    /// The signature of time and body.
    pub(super) signature: &'a str,
    /// The message.
    pub(super) body: &'a str,
}

impl Post<'_> {
    /// The configuration that has curl send it.
    pub(super) fn configuration(&self) -> String {
        let headers = [
            "Content-Type: application/json".to_owned(),
            format!("User-Agent: agent-guard/{}", env!("CARGO_PKG_VERSION")),
            format!("X-Agent-Guard-Delivery: {}", self.delivery),
            format!("X-Agent-Guard-Timestamp: {}", self.timestamp),
            format!("X-Agent-Guard-Signature: {}", self.signature),
            // Without a value curl sends none: it is not to wait for leave before it sends a large body.
            "Expect:".to_owned(),
        ];
        let mut lines = vec![
            "silent".to_owned(),
            "globoff".to_owned(),
            "proto = \"=http,https\"".to_owned(),
            "output = \"/dev/null\"".to_owned(),
            "write-out = \"%{http_code} %{errormsg}\"".to_owned(),
            setting("url", self.url),
        ];
        lines.extend(headers.iter().map(|header| setting("header", header)));
        lines.push(setting("data-raw", self.body));
        lines.join("\n") + "\n"
    }
}

/// A line of the configuration. Only these two characters mean something inside of quotes.
fn setting(name: &str, value: &str) -> String {
    format!("{name} = \"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Whether the receiver has taken it; otherwise why not. A reply that sends elsewhere is no yes: the body was signed for nobody
/// else.
pub(super) fn outcome(has_succeeded: bool, said: &str) -> Result<(), String> {
    let (code, error) = said.split_once(' ').unwrap_or((said, ""));
    match code.parse::<u16>() {
        Ok(200..=299) if has_succeeded => Ok(()),
        Ok(code @ 100..) if error.is_empty() => Err(format!("the receiver answered {code}")),
        _ if error.is_empty() => Err("curl has failed and does not say why".to_owned()),
        _ => Err(error.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Post, outcome};

    #[test]
    fn what_is_sent_stands_in_quotes_of_which_nothing_escapes() {
        let body = r#"{"object":"a\"\nurl = \\x"}"#;
        let post = Post { url: "https://h/?a=%20", delivery: "01J", timestamp: 7, signature: "sha256=00", body };
        let configuration = post.configuration();
        let last = configuration.lines().last().expect("there is one");
        assert_eq!(last, r#"data-raw = "{\"object\":\"a\\\"\\nurl = \\\\x\"}""#);
        assert!(configuration.contains("\nurl = \"https://h/?a=%20\"\n"));
        assert!(configuration.contains("\nheader = \"X-Agent-Guard-Timestamp: 7\"\n"));
    }

    #[test]
    fn only_success_is_success() {
        assert_eq!(outcome(true, "204 "), Ok(()));
        assert_eq!(outcome(false, "200 transfer closed"), Err("transfer closed".to_owned()));
        for code in ["302", "404", "503"] {
            assert_eq!(outcome(true, &format!("{code} ")), Err(format!("the receiver answered {code}")));
        }
        assert_eq!(outcome(false, "000 Could not resolve host: h"), Err("Could not resolve host: h".to_owned()));
        assert_eq!(outcome(false, ""), Err("curl has failed and does not say why".to_owned()));
    }
}
