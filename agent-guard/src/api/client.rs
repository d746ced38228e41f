//! The client of the API: typed calls over the unix sockets, with errors that name the remedy.
//!
//! It must not know what the daemon does with a call.

use super::call::{Choice, Steer};
use super::server::{AGENT_SOCKET, CONTROL_SOCKET, GROUP};
use super::types::{
    Adopt, AnswerBody, ApprovalScope, ErrorBody, ErrorDetail, Grant, Intent, IntentBody, Notice, PolicyStatus, Reach,
    Request, RequestFilter, Session, StartSession, Status, Variable, Variables,
};
use http_body_util::{BodyExt as _, Full};
use hyper::Method;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::RETRY_AFTER;
use hyper::http::response::Parts;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::net::UnixStream;

/// Time for a whole call that is not a stream; the daemon gives its loop ten seconds of it.
const CALL_TIME: Duration = Duration::from_secs(15);
/// The same for adopting a tree, for which the daemon takes a minute if need be.
const ADOPTION_TIME: Duration = Duration::from_secs(65);

/// Wait before a call is made again that found no seat: the first, doubled each time, and the last, after six seconds.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(3200));

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error(
        "the daemon is not running (no {socket}): start it with `systemctl start agent-guard` or `agent-guard daemon`"
    )]
    DaemonAbsent {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket's mode keeps the caller out.
    #[error(
        "permission denied at {socket}: add yourself to group {GROUP} (`sudo usermod -aG {GROUP} USER`, then log in again)"
    )]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection was not made for another reason.
    #[error("cannot connect to {socket}: {source}")]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("the connection to the daemon broke: {0}")]
    Broken(#[from] hyper::Error),
    /// The daemon has ended a stream.
    #[error("the daemon has ended the stream: it is going, or this client was too slow; begin again")]
    StreamEnded,
    /// The daemon is too slow.
    #[error("the daemon did not answer within {} seconds: see `journalctl -u agent-guard`", .0.as_secs())]
    Timeout(Duration),
    /// The daemon speaks of something that this client does not know.
    #[error("the daemon's answer is not understood ({source}): are daemon and client of the same version?")]
    Unreadable {
        /// What is odd.
        source: serde_json::Error,
    },
    /// The daemon says no.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The word for it.
        code: String,
        /// What the daemon says.
        message: String,
        /// Whether nothing of the call was read, so that it may be made again.
        unread: bool,
    },
}

impl Error {
    /// Whether nothing of the call was read, so that it may be made again.
    fn is_unread(&self) -> bool {
        match self {
            // The door's refusal may come before the call is written, which then never is.
            Self::Broken(error) => error.is_canceled(),
            Self::Refused { unread, .. } => *unread,
            _ => false,
        }
    }
}

/// Which socket a call goes to.
#[derive(Clone, Copy, Debug)]
enum By {
    /// The control socket.
    Control,
    /// The agent socket.
    Agent,
    /// The control socket, or, for who may not use it, the agent socket: reading what is one's own.
    Either,
}

/// A client of the daemon that listens in one run directory.
#[derive(Clone, Debug)]
pub struct Client {
    run_dir: PathBuf,
}

impl Client {
    /// A client of the daemon that listens in this directory.
    #[must_use]
    pub fn new(run_dir: &Path) -> Self {
        Self { run_dir: run_dir.to_owned() }
    }

    /// When the daemon that listens, or the last one that did, has made its socket; none where there is none to see.
    #[must_use]
    pub fn daemon_born(&self) -> Option<SystemTime> {
        std::fs::symlink_metadata(self.run_dir.join(AGENT_SOCKET)).and_then(|socket| socket.modified()).ok()
    }

    /// The daemon's own state.
    pub async fn status(&self) -> Result<Status, Error> {
        self.get(By::Control, "/v1/status").await
    }

    /// What the daemon counts, as text for Prometheus.
    pub async fn metrics(&self) -> Result<String, Error> {
        let text = self.whole(By::Control, Method::GET, "/v1/metrics", Bytes::new()).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The requests that the caller may see and the filter wants.
    pub async fn requests(&self, filter: &RequestFilter) -> Result<Vec<Request>, Error> {
        self.get(By::Either, &format!("/v1/requests{}", query(filter, false))).await
    }

    /// The same, and every change afterwards.
    pub async fn watch_requests(&self, filter: &RequestFilter) -> Result<Lines<Request>, Error> {
        self.stream(By::Either, &format!("/v1/requests{}", query(filter, true))).await
    }

    /// One request.
    pub async fn request(&self, id: &str) -> Result<Request, Error> {
        self.get(By::Either, &format!("/v1/requests/{}", escaped(id))).await
    }

    /// Answers a request.
    pub async fn answer(&self, id: &str, choice: Choice, said: &AnswerBody) -> Result<Request, Error> {
        let path = format!("/v1/requests/{}/{}", escaped(id), choice.word());
        self.post(By::Control, &path, said).await
    }

    /// What an approval would take in.
    pub async fn reach(&self, id: &str, scope: ApprovalScope) -> Result<Reach, Error> {
        self.get(By::Either, &format!("/v1/requests/{}/reach?scope={}", escaped(id), scope.word())).await
    }

    /// The grants that the caller may see.
    pub async fn grants(&self) -> Result<Vec<Grant>, Error> {
        self.get(By::Either, "/v1/grants").await
    }

    /// One grant.
    pub async fn grant(&self, id: &str) -> Result<Grant, Error> {
        self.get(By::Either, &format!("/v1/grants/{}", escaped(id))).await
    }

    /// Takes a grant back.
    pub async fn revoke(&self, id: &str) -> Result<Grant, Error> {
        self.post(By::Control, &format!("/v1/grants/{}/revoke", escaped(id)), &serde_json::json!({})).await
    }

    /// Says what the caller's session is going to do.
    pub async fn declare(&self, body: &IntentBody) -> Result<Intent, Error> {
        self.post(By::Agent, "/v1/intents", body).await
    }

    /// The sessions that the caller may see and that have not ended.
    pub async fn sessions(&self) -> Result<Vec<Session>, Error> {
        self.get(By::Either, "/v1/sessions").await
    }

    /// Starts a session around the caller's own child.
    pub async fn start_session(&self, start: &StartSession) -> Result<Session, Error> {
        self.post(By::Agent, "/v1/sessions", start).await
    }

    /// Those of a command's variables that are credentials.
    pub async fn variables(&self, asked: &Variables) -> Result<Vec<Variable>, Error> {
        self.post(By::Agent, "/v1/variables", asked).await
    }

    /// Takes a process that runs already into a session.
    pub async fn adopt(&self, adopt: &Adopt) -> Result<Session, Error> {
        self.post_within(ADOPTION_TIME, By::Control, "/v1/sessions/adopt", adopt).await
    }

    /// Gives up a session whose command could not be executed.
    pub async fn release_session(&self, id: &str) -> Result<(), Error> {
        let path = format!("/v1/sessions/{}/release", escaped(id));
        self.whole(By::Agent, Method::POST, &path, Bytes::new()).await.map(drop)
    }

    /// Follows what happens in a session that one has started.
    pub async fn notices(&self, id: &str) -> Result<Lines<Notice>, Error> {
        self.stream(By::Agent, &format!("/v1/sessions/{}/notices", escaped(id))).await
    }

    /// Halts, resumes or kills a session.
    pub async fn steer(&self, id: &str, steer: Steer) -> Result<Session, Error> {
        self.post(By::Control, &format!("/v1/sessions/{}/{}", escaped(id), steer.word()), &()).await
    }

    /// Has the daemon read its policy file again.
    pub async fn reload_policy(&self) -> Result<PolicyStatus, Error> {
        self.post(By::Control, "/v1/policy/reload", &()).await
    }

    async fn get<T: DeserializeOwned>(&self, by: By, path: &str) -> Result<T, Error> {
        read(&self.whole(by, Method::GET, path, Bytes::new()).await?)
    }

    async fn post<T: DeserializeOwned>(&self, by: By, path: &str, body: &impl Serialize) -> Result<T, Error> {
        self.post_within(CALL_TIME, by, path, body).await
    }

    async fn post_within<T: DeserializeOwned>(
        &self,
        time: Duration,
        by: By,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|source| Error::Unreadable { source })?;
        read(&self.whole_within(time, by, Method::POST, path, body.into()).await?)
    }

    async fn whole(&self, by: By, method: Method, path: &str, body: Bytes) -> Result<Bytes, Error> {
        self.whole_within(CALL_TIME, by, method, path, body).await
    }

    async fn whole_within(
        &self,
        time: Duration,
        by: By,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let call = async {
            let body = self.send(by, method, path, body).await?;
            Ok(body.collect().await?.to_bytes())
        };
        in_time(time, call).await
    }

    async fn stream<T>(&self, by: By, path: &str) -> Result<Lines<T>, Error> {
        let body = in_time(CALL_TIME, self.send(by, Method::GET, path, Bytes::new())).await?;
        Ok(Lines { body, buffer: Vec::new(), item: PhantomData })
    }

    /// Sends a call, again while it finds no seat: many agents may be started at one instant.
    async fn send(&self, by: By, method: Method, path: &str, body: Bytes) -> Result<Incoming, Error> {
        let (mut pause, last) = PAUSES;
        loop {
            match self.send_once(by, method.clone(), path, body.clone()).await {
                Err(error) if error.is_unread() && pause <= last => tokio::time::sleep(pause).await,
                other => return other,
            }
            pause *= 2;
        }
    }

    /// Sends a call and returns the body of its answer, or the error that the answer is.
    async fn send_once(&self, by: By, method: Method, path: &str, body: Bytes) -> Result<Incoming, Error> {
        let stream = match by {
            By::Control => self.connect(CONTROL_SOCKET).await?,
            By::Agent => self.connect(AGENT_SOCKET).await?,
            By::Either => match self.connect(CONTROL_SOCKET).await {
                Err(Error::NotPermitted { .. }) => self.connect(AGENT_SOCKET).await?,
                other => other?,
            },
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer's body; what breaks it shows up there.
        drop(tokio::spawn(connection));
        let request = hyper::Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.header("content-type", "application/json").body(Full::new(body));
        let request = request.map_err(|_invalid| unknown_path(path))?;
        let response = sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let (head, body) = response.into_parts();
        Err(refused(&head, &body.collect().await?.to_bytes()))
    }

    async fn connect(&self, name: &str) -> Result<UnixStream, Error> {
        let socket = self.run_dir.join(name);
        UnixStream::connect(&socket).await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::DaemonAbsent { socket },
            io::ErrorKind::PermissionDenied => Error::NotPermitted { socket },
            _ => Error::Connect { socket, source },
        })
    }
}

/// A stream of JSON lines.
#[derive(Debug)]
pub struct Lines<T> {
    body: Incoming,
    buffer: Vec<u8>,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next item; none when the daemon has ended the stream. Nothing is lost when it is not waited for.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return read(&line).map(Some);
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|source| Error::Unreadable { source })
}

/// The result of a call, if it comes in time.
async fn in_time<T>(time: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(time, call).await.unwrap_or(Err(Error::Timeout(time)))
}

fn refused(head: &Parts, text: &[u8]) -> Error {
    match serde_json::from_slice(text) {
        Ok(ErrorBody { error: ErrorDetail { code, message } }) => {
            let unread = head.headers.contains_key(RETRY_AFTER);
            Error::Refused { status: head.status.as_u16(), code, message, unread }
        }
        Err(source) => Error::Unreadable { source },
    }
}

fn unknown_path(path: &str) -> Error {
    let message = format!("no such call: {path}");
    Error::Refused { status: 404, code: "unknown-call".to_owned(), message, unread: false }
}

/// A piece of a path or query with everything that is not plainly itself written as `%XX`.
fn escaped(text: &str) -> String {
    let mut path = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

fn query(filter: &RequestFilter, watch: bool) -> String {
    let state = filter.state.map(|state| format!("state={}", state.word()));
    let session = filter.session.as_ref().map(|session| format!("session={}", escaped(session)));
    let watch = watch.then(|| "watch=true".to_owned());
    let parts: Vec<String> = [state, session, watch].into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::{escaped, query};
    use crate::api::types::{RequestFilter, RequestState};

    #[test]
    fn nothing_that_is_typed_leaves_its_place_in_the_path() {
        assert_eq!(escaped("7K2M"), "7K2M");
        assert_eq!(escaped("../a b?c#d%\r\n"), "%2E%2E%2Fa%20b%3Fc%23d%25%0D%0A");
    }

    #[test]
    fn a_filter_is_a_query() {
        let filter =
            RequestFilter { state: Some(RequestState::Pending), session: Some("a b".to_owned()), watch: false };
        assert_eq!(query(&filter, true), "?state=pending&session=a%20b&watch=true");
        assert_eq!(query(&RequestFilter::default(), false), "");
    }
}
