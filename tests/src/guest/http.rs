//! Raw HTTP over the daemon's sockets: one connection, one request, and whatever comes back.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

/// Where answers are given.
pub const CONTROL_SOCKET: &str = "/run/agent-guard/control.sock";
/// What everybody may use.
pub const AGENT_SOCKET: &str = "/run/agent-guard/agent.sock";

/// An answer of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status; 0 when none came.
    pub status: u16,
    /// The body, without its chunks' frames.
    pub body: String,
}

impl Response {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Self { status, body: if is_chunked { unchunked(body) } else { body.to_owned() } }
    }
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let Some(chunk) = after.get(..size) else { break };
        if size == 0 {
            break;
        }
        body.push_str(chunk);
        rest = after[size..].trim_start_matches("\r\n");
    }
    body
}

/// Writes bytes as they are, and reads until the daemon closes or a limit passes.
///
/// # Errors
/// What the socket says.
pub fn exchange(socket: &str, bytes: &[u8], limit: Duration) -> std::io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    // A daemon that refuses early closes while the rest is still being written: what it said counts.
    let written = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(written.err().unwrap_or(error)),
        }
    }
    Ok(Response::read(&answer))
}

/// One call of the API.
///
/// # Errors
/// What the socket says.
pub fn http(socket: &str, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<Response> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: agent-guard\r\nConnection: close\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
    );
    exchange(socket, text.as_bytes(), super::PATIENCE)
}
