//! What the tests of the resolver share: the real resolver between a scripted loop and scripted servers, on loopback.

#![allow(unreachable_pub, reason = "part of a test program")]

use agent_guard::dns::{Ask, Heard, Resolver, Ruling, Serving};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The session that is served.
pub const SESSION: u32 = 7;
/// Time for an answer that must come.
pub const SOON: Duration = Duration::from_secs(8);

/// What a scripted server does.
pub enum Act {
    /// Answers.
    Say(Vec<u8>),
    /// Answers from another port.
    SayFromElsewhere(Vec<u8>),
    /// Takes its time.
    Wait(Duration),
}

/// A server; what it does with a query is a function of it and of whether it came over TCP.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// How many queries have come.
    pub asked: Arc<AtomicUsize>,
}

impl Server {
    /// Listens on both transports until the tests end.
    pub fn start(script: impl Fn(&Message, bool) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = both_sockets();
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let script = Arc::new(move |packet: &[u8], is_stream| {
            count.fetch_add(1, Ordering::SeqCst);
            script(&Message::from_vec(packet).unwrap(), is_stream)
        });
        let for_datagrams = Arc::clone(&script);
        thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok((length, client)) = udp.recv_from(&mut packet) {
                for act in for_datagrams(&packet[..length], false) {
                    // A client that has gone away is no fault.
                    match act {
                        Act::Say(bytes) => drop(udp.send_to(&bytes, client)),
                        Act::SayFromElsewhere(bytes) => {
                            drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().send_to(&bytes, client));
                        }
                        Act::Wait(time) => thread::sleep(time),
                    }
                }
            }
        });
        thread::spawn(move || {
            for stream in tcp.incoming() {
                let (mut stream, script) = (stream.unwrap(), Arc::clone(&script));
                thread::spawn(move || {
                    while let Some(packet) = read_framed(&mut stream) {
                        for act in script(&packet, true) {
                            match act {
                                Act::Say(bytes) => drop(stream.write_all(&framed(&bytes))),
                                Act::SayFromElsewhere(_) => {}
                                Act::Wait(time) => thread::sleep(time),
                            }
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// How many queries have come.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// UDP and TCP on one free port of loopback.
pub fn both_sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

/// The resolver of one session, with its loop.
pub struct Guarded {
    /// Where its session asks.
    pub address: SocketAddr,
    /// What can be counted of it.
    pub serving: Option<Serving>,
    _stop: oneshot::Sender<()>,
}

impl Guarded {
    /// Serves a session whose loop does this with each question.
    pub fn start(upstreams: Vec<SocketAddr>, mut act: impl FnMut(Ask) + Send + 'static) -> Self {
        let (asks, mut asked) = mpsc::channel(64);
        let guarded = Self::with_loop(upstreams, asks);
        thread::spawn(move || {
            while let Some(ask) = asked.blocking_recv() {
                act(ask);
            }
        });
        guarded
    }

    /// Serves a session whose loop is at the other end of a channel.
    pub fn with_loop(upstreams: Vec<SocketAddr>, asks: mpsc::Sender<Ask>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (udp, tcp) = both_sockets();
        let address = udp.local_addr().unwrap();
        let serving = {
            let _entered = runtime.enter();
            Resolver::new(asks, upstreams).serve(SESSION, udp, tcp).unwrap()
        };
        thread::spawn(move || {
            runtime.block_on(async { drop(stopped.await) });
        });
        Self { address, serving: Some(serving), _stop: stop }
    }

    /// What was counted.
    pub fn counts(&self) -> agent_guard::dns::Counts {
        self.serving.as_ref().unwrap().counts()
    }
}

/// A loop that lets everything pass, and writes down what it has heard.
pub fn permissive(heard: &Arc<Mutex<Vec<Heard>>>) -> impl FnMut(Ask) + Send + 'static {
    let heard = Arc::clone(heard);
    move |ask| match ask {
        Ask::May { session, reply, .. } => {
            assert_eq!(session, SESSION);
            reply.send(Ruling::Forward).unwrap_or_default();
        }
        Ask::Learn { session, heard: news, reply } => {
            assert_eq!(session, SESSION);
            heard.lock().unwrap().push(news);
            reply.send(true).unwrap_or_default();
        }
    }
}

/// A query as clients make it.
pub fn query(id: u16, name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// The same with EDNS and this payload.
pub fn with_payload(mut message: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.set_edns(edns);
    message
}

/// An answer to a query with these records.
pub fn answer(query: &Message, records: &[Record]) -> Message {
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_available = true;
    message.add_query(query.queries[0].clone());
    message.add_answers(records.iter().cloned());
    message
}

/// An address record.
pub fn a(owner: &str, last: u8) -> Record {
    Record::from_rdata(Name::from_ascii(owner).unwrap(), 60, RData::A(A::new(192, 0, 2, last)))
}

/// An alias record.
pub fn cname(owner: &str, target: &str) -> Record {
    let target = RData::CNAME(CNAME(Name::from_ascii(target).unwrap()));
    Record::from_rdata(Name::from_ascii(owner).unwrap(), 60, target)
}

/// Bytes of a message.
pub fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

/// A server's script: this one address for whatever name.
pub fn one_address(query: &Message, _is_stream: bool) -> Vec<Act> {
    let owner = query.queries[0].name().to_ascii();
    vec![Act::Say(bytes(&answer(query, &[a(&owner, 1)])))]
}

/// A client's socket that waits so long for an answer.
pub fn client(server: SocketAddr, patience: Duration) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket
}

/// The next datagram, if it comes in time.
pub fn receive(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut packet = vec![0; 65_535];
    let length = socket.recv(&mut packet).ok()?;
    packet.truncate(length);
    Some(packet)
}

/// Asks over UDP.
pub fn ask(server: SocketAddr, query: &Message) -> Option<Vec<u8>> {
    let socket = client(server, SOON);
    socket.send(&bytes(query)).unwrap();
    receive(&socket)
}

/// What an answer says of how it went.
pub fn code(answer: Option<Vec<u8>>) -> ResponseCode {
    Message::from_vec(&answer.unwrap()).unwrap().metadata.response_code
}

/// A connection that waits long for an answer.
pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(2 * SOON)).unwrap();
    stream
}

/// A message with its length.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// The next message of a connection; none at its end.
pub fn read_framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}
