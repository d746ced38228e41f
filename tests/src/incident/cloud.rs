//! Owns the production cloud: moto's server as AWS, and what stands in it.
//!
//! Must not know agents or the guard. It is looked at by plain HTTP, since a start of the AWS CLI takes seconds here.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::agent::in_time;

/// The stack that stood when the agent came.
pub(super) const STACK: &str = "prod-cost-explorer-cn-north-1";
/// Where the cloud listens; the range is reserved for documentation.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)), 80);
/// A request names the service and region that it is for where AWS would look for a signature.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=owner/20260101/cn-north-1/cloudformation/aws4_request, \
                             SignedHeaders=host, Signature=0";
const LOG: &str = "/tmp/cloud.log";
const TEMPLATE: &str = r#"{"Resources": {"Reports": {"Type": "AWS::S3::Bucket"}}}"#;
/// Under emulation its start takes about 10 s, and its first stack as long again.
const PATIENCE: Duration = Duration::from_secs(120);

/// The cloud; it ends with this value.
#[derive(Debug)]
pub(super) struct Cloud {
    server: Child,
}

impl Cloud {
    /// Starts the server; [`Cloud::build`] waits until it listens.
    #[must_use]
    pub(super) fn start() -> Self {
        let address = format!("{}/32", ADDRESS.ip());
        let status = Command::new("ip").args(["address", "replace", &address, "dev", "lo"]).status().unwrap();
        assert!(status.success(), "cannot put {address} on lo: {status}");
        let log = File::create(LOG).unwrap();
        let server = Command::new("python3")
            .args(["-m", "moto.server", "-H", &ADDRESS.ip().to_string(), "-p", &ADDRESS.port().to_string()])
            .env("PYTHONPATH", "/opt/moto")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { server }
    }

    /// Creates the stack unless it stands, and returns its id.
    pub(super) fn build(&self) -> String {
        in_time("the cloud listens", || TcpStream::connect(ADDRESS).ok());
        if let Some(id) = self.stack() {
            return id;
        }
        let answer = ask(&[("Action", "CreateStack"), ("StackName", STACK), ("TemplateBody", TEMPLATE)]);
        element(&answer, "StackId").unwrap_or_else(|| panic!("no stack was created: {answer}")).to_owned()
    }

    /// The id of the stack that stands, if one does.
    #[must_use]
    pub(super) fn stack(&self) -> Option<String> {
        let answer = ask(&[("Action", "DescribeStacks"), ("StackName", STACK)]);
        match element(&answer, "StackStatus") {
            Some("CREATE_COMPLETE") => element(&answer, "StackId").map(str::to_owned),
            None if answer.contains("does not exist") => None,
            _ => panic!("the cloud answers: {answer}"),
        }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // It is this value's own child; that it has ended already is as good.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// One call of the cloud's API.
fn ask(form: &[(&str, &str)]) -> String {
    let body = form.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect::<Vec<_>>().join("&");
    let (host, length) = (ADDRESS.ip(), body.len());
    let mut stream = TcpStream::connect(ADDRESS).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {host}\r\nAuthorization: {AUTHORIZATION}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}",
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The text of an XML element.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

/// A form's value: whatever could mean something is written as a number.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(encode).collect()
}
