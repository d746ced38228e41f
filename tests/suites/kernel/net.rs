//! The network: every way to reach an endpoint under every verdict, and the same for a process without a tag.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use agent_guard_tests::guest::{
    Agent, approve, await_request, await_request_in, deny, eventually, judged, never_within, unused_answers,
};
use serde_json::json;

use crate::{EPERM, agent, asked, daemon, id, passes_untagged};

/// What listens at an address, and counts who came.
enum Listener {
    Stream(TcpListener),
    Datagram(UdpSocket),
}

impl Listener {
    fn open(case: &Case, address: SocketAddr) -> Self {
        let listener = if case.is_stream {
            let listener = TcpListener::bind(address).unwrap();
            listener.set_nonblocking(true).unwrap();
            Self::Stream(listener)
        } else {
            let socket = UdpSocket::bind(address).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self::Datagram(socket)
        };
        daemon();
        listener
    }

    /// How many have come since the last call.
    fn count(&self) -> usize {
        let next = || match self {
            Self::Stream(listener) => listener.accept().map(drop),
            Self::Datagram(socket) => socket.recv(&mut [0; 64]).map(drop),
        };
        let mut count = 0;
        loop {
            match next() {
                Ok(()) => count += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return count,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// One way to reach an endpoint; `@` is the endpoint.
struct Case {
    act: &'static str,
    is_stream: bool,
    is_v6: bool,
    /// Connections or datagrams that come of it.
    arrivals: usize,
}

const fn case(act: &'static str, is_stream: bool, is_v6: bool, arrivals: usize) -> Case {
    Case { act, is_stream, is_v6, arrivals }
}

const CASES: &[Case] = &[
    case("connect tcp @", true, false, 1),
    case("connect tcp-nonblock @", true, false, 1),
    case("connect tcp @", true, true, 1),
    case("mapped tcp @", true, false, 1),
    case("fast-open @", true, false, 1),
    case("compat connect @", true, false, 1),
    // What `sendfile` sends over a socket goes where the socket is connected to, or nowhere.
    case("sendfile tcp @", true, false, 1),
    case("sendfile udp @", false, false, 1),
    // A connected datagram socket has sent nothing yet.
    case("connect udp @", false, false, 0),
    case("connect udp @", false, true, 0),
    case("mapped udp @", false, false, 0),
    case("sendto @", false, false, 1),
    case("sendto @", false, true, 1),
    case("sendto-unspec @", false, false, 1),
    // Two messages to one destination are one act.
    case("sendmmsg @ @", false, false, 2),
];

const EINPROGRESS: i64 = 115;

impl Case {
    fn at(&self, v4: &str, v6: &str) -> SocketAddr {
        (if self.is_v6 { v6 } else { v4 }).parse().unwrap()
    }

    fn act(&self, address: SocketAddr) -> String {
        self.act.replace('@', &address.to_string())
    }

    fn succeeded(&self, errno: i64) -> bool {
        errno == 0 || errno == EINPROGRESS && self.act.contains("nonblock")
    }

    /// Checks that it reaches its endpoint at once.
    fn passes(&self, agent: &mut Agent, v4: &str, v6: &str) {
        let address = self.at(v4, v6);
        let listener = Listener::open(self, address);
        let errno = agent.errno(&self.act(address));
        assert!(self.succeeded(errno), "{}: {errno}", self.act(address));
        self.arrives(&listener);
    }

    fn arrives(&self, listener: &Listener) {
        let mut count = 0;
        eventually(&format!("{} arrivals by {}", self.arrivals, self.act), || {
            count += listener.count();
            (count >= self.arrivals).then_some(())
        });
        assert_eq!(count, self.arrivals, "{}", self.act);
    }
}

#[test]
fn egress_of_an_untagged_process_is_never_seen() {
    daemon();
    let mut agent = Agent::unguarded();
    let before = judged();
    for case in CASES {
        case.passes(&mut agent, "127.0.0.2:7000", "[fd00::2]:7000");
        case.passes(&mut agent, "127.0.0.3:7000", "[fd00:3::1]:7000");
        for v4 in ["127.0.0.4:7000", "127.0.0.5:7000", "127.0.0.6:7000"] {
            case.passes(&mut agent, v4, "[fd00::2]:7000");
        }
    }
    assert_eq!(judged(), before);
}

#[test]
fn egress_to_what_no_label_covers_passes_unasked() {
    let mut agent = agent("net-allow");
    for case in CASES {
        case.passes(&mut agent, "127.0.0.1:7000", "[::1]:7000");
    }
    assert_eq!(asked("net-allow").len(), 0);
}

#[test]
fn egress_is_judged_by_ports_and_protocol() {
    let mut agent = agent("net-ports");
    for case in CASES {
        for port in [6999, 7010, 7019, 7021] {
            case.passes(&mut agent, &format!("127.0.0.2:{port}"), &format!("[fd00::2]:{port}"));
        }
        if case.is_stream {
            case.passes(&mut agent, "127.0.0.4:7000", "[::1]:7000");
        } else if !case.is_v6 {
            let act = case.act("127.0.0.4:7000".parse().unwrap());
            assert_eq!(agent.errno(&act), EPERM, "{act}");
        }
    }
    assert_eq!(asked("net-ports").len(), 0);
    for (count, port) in [7000, 7009, 7020].into_iter().enumerate() {
        agent.begin(&format!("connect udp 127.0.0.2:{port}"));
        deny(&id(&await_request_in("net-ports")));
        assert_eq!(agent.finish().errno, EPERM);
        assert_eq!(asked("net-ports").len(), count + 1);
    }
}

#[test]
fn audit_egress_passes_and_is_recorded() {
    let mut agent = agent("net-audit");
    for case in CASES.iter().filter(|case| !case.is_v6) {
        case.passes(&mut agent, "127.0.0.5:7000", "");
    }
    let expected = CASES.iter().filter(|case| !case.is_v6).count();
    eventually("a record of each", || {
        let is_it = |record: &&serde_json::Value| {
            record["what"] == "audited" && record["act"]["session"]["name"] == "net-audit"
        };
        (daemon().audit().iter().filter(is_it).count() >= expected).then_some(())
    });
    assert_eq!(asked("net-audit").len(), 0);
}

#[test]
fn egress_that_is_denied_reaches_nobody() {
    let mut agent = agent("net-deny");
    for case in CASES {
        let address = case.at("127.0.0.3:7000", "[fd00:3::1]:7000");
        let listener = Listener::open(case, address);
        assert_eq!(agent.errno(&case.act(address)), EPERM, "{}", case.act(address));
        never_within(Duration::from_millis(50), case.act, || listener.count() != 0);
    }
    assert_eq!(asked("net-deny").len(), 0);
}

#[test]
fn hold_egress_reaches_its_endpoint_after_approval_and_not_before_with_one_question() {
    let mut agent = agent("net-hold");
    for case in CASES {
        let address = case.at("127.0.0.2:7000", "[fd00::2]:7000");
        let listener = Listener::open(case, address);
        agent.begin(&case.act(address));
        let request = await_request_in("net-hold");
        assert_eq!(request["operation"], "connect", "{request}");
        assert!(request["object"].as_str().unwrap().contains(&address.to_string()), "{request}");
        never_within(Duration::from_millis(50), case.act, || listener.count() != 0);
        approve(&id(&request));
        let errno = agent.finish().errno;
        assert!(case.succeeded(errno), "{}: {errno}", case.act(address));
        case.arrives(&listener);
    }
    assert_eq!(asked("net-hold").len(), CASES.len(), "one question an operation");
}

#[test]
fn hold_egress_reaches_nobody_after_a_denial() {
    let mut agent = agent("net-refuse");
    for case in CASES {
        let address = case.at("127.0.0.2:7000", "[fd00::2]:7000");
        let listener = Listener::open(case, address);
        agent.begin(&case.act(address));
        deny(&id(&await_request_in("net-refuse")));
        assert_eq!(agent.finish().errno, EPERM, "{}", case.act(address));
        assert_eq!(listener.count(), 0);
    }
}

#[test]
fn hold_egress_that_nobody_answers_is_refused() {
    let mut agent = agent("net-expire");
    agent.begin("connect tcp 127.0.0.6:7000");
    let request = id(&await_request_in("net-expire"));
    assert_eq!(agent.finish().errno, EPERM);
    assert_eq!(agent_guard_tests::guest::request(&request)["state"], "expired");
}

#[test]
fn egress_by_a_connected_socket_is_judged_by_each_messages_own_destination() {
    let mut agent = agent("net-connected");
    assert_eq!(agent.errno("connected-sendto 127.0.0.1:7000 127.0.0.3:7000"), EPERM);
    assert_eq!(agent.errno("sendmmsg 127.0.0.3:7000 127.0.0.1:7000"), EPERM);
    // The first message has gone when the second is refused: the call tells how many went.
    let sent = agent.act("sendmmsg 127.0.0.1:7000 127.0.0.3:7000");
    assert_eq!((sent.errno, sent.value), (0, json!(1)));
    for act in ["connected-sendto 127.0.0.1:7000 127.0.0.3:7000", "sendmmsg 127.0.0.3:7000 127.0.0.1:7000"] {
        passes_untagged(act);
    }
}

#[test]
fn hold_each_destination_of_one_call_is_asked_about_once_and_nothing_is_lost_or_doubled() {
    let mut agent = agent("net-many");
    let addresses = ["127.0.0.2:7001", "127.0.0.2:7002"];
    let sockets = addresses.map(|address| UdpSocket::bind(address).unwrap());
    let listeners = sockets.map(|socket| {
        socket.set_nonblocking(true).unwrap();
        Listener::Datagram(socket)
    });
    let question_about = |address: &str| {
        await_request(|request| {
            request["session"]["name"] == "net-many" && request["object"].as_str().unwrap().contains(address)
        })
    };
    let act = format!("sendmmsg-all {} {}", addresses[0], addresses[1]);
    agent.begin(&act);
    for (number, address) in addresses.into_iter().enumerate() {
        let request = question_about(address);
        assert_eq!(asked("net-many").len(), number + 1);
        never_within(Duration::from_millis(50), address, || listeners[number].count() != 0);
        approve(&id(&request));
    }
    // The first call told how far it came, and the second found the approval of what it went on with.
    let done = agent.finish();
    assert_eq!((done.errno, done.value), (0, json!([1, 1])));
    assert_eq!(listeners.each_ref().map(Listener::count), [1, 1]);
    assert_eq!(asked("net-many").len(), 2);
    eventually("no answer in the kernel", || (unused_answers() == 0).then_some(()));
    // What is denied leaves what went before it.
    agent.begin(&act);
    approve(&id(&await_request_in("net-many")));
    deny(&id(&question_about(addresses[1])));
    let done = agent.finish();
    assert_eq!((done.errno, done.value), (EPERM, json!([1])));
    assert_eq!(listeners.each_ref().map(Listener::count), [1, 0]);
    assert_eq!(asked("net-many").len(), 4);
    passes_untagged(&act);
}
