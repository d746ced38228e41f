//! The real resolver on loopback: what a guarded session gets from servers that answer, lie, break off or are silent,
//! and from a loop that permits, forbids, hesitates or is gone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod resolver;

use agent_guard::dns::{Ask, Heard, Resolver, Ruling};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use resolver::{
    Act, Guarded, SOON, Server, a, answer, ask, both_sockets, bytes, client, cname, code, connect, framed, one_address,
    permissive, query, read_framed, receive, with_payload,
};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{env, thread};

/// A server, and a session whose loop lets everything pass.
fn permitted(
    script: impl Fn(&Message, bool) -> Vec<Act> + Send + Sync + 'static,
) -> (Server, Guarded, Arc<Mutex<Vec<Heard>>>) {
    let (server, heard) = (Server::start(script), Arc::default());
    let guarded = Guarded::start(vec![server.address], permissive(&heard));
    (server, guarded, heard)
}

/// Whether a client gets what it would get from the server itself.
fn is_same(guarded: &Guarded, server: &Server, query: &Message) -> bool {
    ask(guarded.address, query).unwrap() == ask(server.address, query).unwrap()
}

#[test]
fn an_answer_is_the_servers_own_and_its_chain_is_heard() {
    let chain = [
        cname("www.example.", "a.cdn.example."),
        cname("a.cdn.example.", "b.cdn.example."),
        a("b.cdn.example.", 1),
        a("b.cdn.example.", 2),
    ];
    let (server, guarded, heard) = permitted(move |query, _| vec![Act::Say(bytes(&answer(query, &chain)))]);
    assert!(is_same(&guarded, &server, &query(9, "WWW.example.", RecordType::A)));
    let heard = heard.lock().unwrap();
    assert_eq!(heard[0].names, ["www.example", "a.cdn.example", "b.cdn.example"]);
    let addresses: Vec<_> = heard[0].addresses.iter().map(|(address, ttl)| (address.to_string(), *ttl)).collect();
    assert_eq!(addresses, [("192.0.2.1".to_owned(), 60), ("192.0.2.2".to_owned(), 60)]);
}

#[test]
fn no_answer_reaches_the_client_before_the_loop_has_learnt_it() {
    let server = Server::start(one_address);
    let (learns, learn) = mpsc::channel();
    let guarded = Guarded::start(vec![server.address], move |ask| match ask {
        Ask::May { reply, .. } => reply.send(Ruling::Forward).unwrap_or_default(),
        Ask::Learn { heard, reply, .. } => learns.send((heard, reply)).unwrap(),
    });
    for _ in 0..5 {
        let socket = client(guarded.address, Duration::from_millis(200));
        socket.send(&bytes(&query(1, "x.example.", RecordType::A))).unwrap();
        let mut stream = connect(guarded.address);
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream.write_all(&framed(&bytes(&query(2, "x.example.", RecordType::A)))).unwrap();
        let held: Vec<_> = (0..2).map(|_| learn.recv_timeout(SOON).unwrap()).collect();
        assert_eq!(receive(&socket), None);
        assert_eq!(read_framed(&mut stream), None);
        for (heard, reply) in held {
            assert_eq!(heard.names, ["x.example"]);
            reply.send(true).unwrap();
        }
        socket.set_read_timeout(Some(SOON)).unwrap();
        assert_eq!(code(receive(&socket)), ResponseCode::NoError);
        stream.set_read_timeout(Some(SOON)).unwrap();
        assert_eq!(code(read_framed(&mut stream)), ResponseCode::NoError);
    }
}

#[test]
fn a_name_that_is_not_permitted_goes_nowhere() {
    let server = Server::start(one_address);
    let guarded = Guarded::start(vec![server.address], |ask| match ask {
        Ask::May { name, kind, reply, .. } => {
            assert_eq!(kind.to_string(), "AAAA");
            let ruling = if name == "no.example" { Ruling::Refused } else { Ruling::NoSuchName };
            reply.send(ruling).unwrap_or_default();
        }
        Ask::Learn { .. } => panic!("there is nothing to learn"),
    });
    let asked = |name| code(ask(guarded.address, &query(1, name, RecordType::AAAA)));
    assert_eq!(asked("NO.example."), ResponseCode::Refused);
    assert_eq!(asked("none.example."), ResponseCode::NXDomain);
    assert_eq!((server.asked(), guarded.counts().queries, guarded.counts().failed), (0, 2, 0));
}

#[test]
fn what_the_loop_does_not_say_is_a_no() {
    let server = Server::start(one_address);
    let x = query(1, "x.example.", RecordType::A);
    let gone = Guarded::with_loop(vec![server.address], tokio::sync::mpsc::channel(1).0);
    assert_eq!(code(ask(gone.address, &x)), ResponseCode::ServFail);
    let mut held = Vec::new();
    let silent = Guarded::start(vec![server.address], move |ask| held.push(ask));
    let begun = Instant::now();
    assert_eq!(code(ask(silent.address, &x)), ResponseCode::ServFail);
    assert!((2000..4000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert_eq!(server.asked(), 0, "nothing left without a ruling");
    for learn in [Some(false), None] {
        let guarded = Guarded::start(vec![server.address], move |ask| match (ask, learn) {
            (Ask::May { reply, .. }, _) => reply.send(Ruling::Forward).unwrap_or_default(),
            (Ask::Learn { reply, .. }, Some(learn)) => reply.send(learn).unwrap_or_default(),
            // Dropped, as by a loop that ends.
            (Ask::Learn { .. }, None) => {}
        });
        assert_eq!(code(ask(guarded.address, &x)), ResponseCode::ServFail);
        assert_eq!((guarded.counts().queries, guarded.counts().failed), (1, 1));
    }
}

#[test]
fn an_answer_without_addresses_needs_no_learning() {
    let (server, guarded, heard) = permitted(|query, _| vec![Act::Say(bytes(&answer(query, &[])))]);
    assert!(is_same(&guarded, &server, &query(1, "x.example.", RecordType::TXT)));
    assert!(heard.lock().unwrap().is_empty());
}

#[test]
fn lies_are_waited_past() {
    let (_server, guarded, heard) = permitted(|query, _| {
        let truth = answer(query, &[a("x.example.", 1)]);
        let lie = answer(query, &[a("x.example.", 66)]);
        let mut other_id = lie.clone();
        other_id.metadata.id ^= 1;
        let other_question = answer(&resolver::query(query.metadata.id, "y.example.", RecordType::A), &[]);
        let cut = bytes(&truth)[..30].to_vec();
        let mut acts = vec![Act::Say(bytes(&other_id)), Act::Say(bytes(&other_question)), Act::Say(bytes(query))];
        acts.extend([Act::Say(b"garbage".to_vec()), Act::Say(Vec::new()), Act::Say(cut)]);
        acts.extend([Act::SayFromElsewhere(bytes(&lie)), Act::Wait(Duration::from_millis(100))]);
        acts.push(Act::Say(bytes(&truth)));
        acts
    });
    let x = query(1, "x.example.", RecordType::A);
    let expected = bytes(&answer(&x, &[a("x.example.", 1)]));
    assert_eq!(ask(guarded.address, &x).unwrap(), expected);
    let mut stream = connect(guarded.address);
    stream.write_all(&framed(&bytes(&x))).unwrap();
    assert_eq!(read_framed(&mut stream).unwrap(), expected);
    assert!(heard.lock().unwrap().iter().all(|heard| heard.addresses[0].0.to_string() == "192.0.2.1"));
}

#[test]
fn servers_that_only_lie_or_are_silent_are_given_up() {
    let (server, guarded, _) = permitted(|_, _| vec![Act::Say(b"garbage".to_vec())]);
    let begun = Instant::now();
    assert_eq!(code(ask(guarded.address, &query(1, "x.example.", RecordType::A))), ResponseCode::ServFail);
    assert!((3900..6000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert_eq!(server.asked(), 2, "a datagram may have been lost");
}

#[test]
fn a_port_where_nobody_listens_costs_no_time_and_who_answered_is_asked_first() {
    // No other test listens at this address.
    let nobody = SocketAddr::from(([127, 77, 0, 1], 9));
    let (silent, server) = (Server::start(|_, _| Vec::new()), Server::start(one_address));
    let heard = Arc::default();
    let guarded = Guarded::start(vec![nobody, silent.address, server.address], permissive(&heard));
    let x = query(1, "x.example.", RecordType::A);
    let timed = |query| {
        let begun = Instant::now();
        assert_eq!(code(ask(guarded.address, query)), ResponseCode::NoError);
        begun.elapsed()
    };
    let first = timed(&x);
    assert!((1900..3900).contains(&first.as_millis()), "only the silent one was waited for: {first:?}");
    let second = timed(&query(1, "y.example.", RecordType::A));
    assert!(second < Duration::from_secs(1), "{second:?}");
    assert_eq!((silent.asked(), server.asked()), (1, 2));
    let alone = Guarded::start(vec![nobody], permissive(&heard));
    let begun = Instant::now();
    assert_eq!(code(ask(alone.address, &x)), ResponseCode::ServFail);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn another_server_is_asked_when_one_will_not_say() {
    let unwilling = |query: &Message, _| {
        let mut message = answer(query, &[]);
        message.metadata.response_code = ResponseCode::Refused;
        vec![Act::Say(bytes(&message))]
    };
    let (first, second) = (Server::start(unwilling), Server::start(one_address));
    let heard = Arc::default();
    let guarded = Guarded::start(vec![first.address, second.address], permissive(&heard));
    let x = query(1, "x.example.", RecordType::A);
    assert_eq!(code(ask(guarded.address, &x)), ResponseCode::NoError);
    let alone = Guarded::start(vec![first.address], permissive(&heard));
    assert_eq!(code(ask(alone.address, &x)), ResponseCode::Refused, "its own word, when there is no better one");
}

#[test]
fn what_is_too_large_for_a_datagram_comes_over_tcp() {
    let many: Vec<_> = (0..100).map(|last| a("x.example.", last)).collect();
    let (server, guarded, _) = permitted(move |query, is_stream| {
        let is_cut = !is_stream && query.queries[0].name().to_ascii() == "cut.example.";
        let mut message = answer(query, if is_cut { &[] } else { &many });
        message.metadata.truncation = is_cut;
        vec![Act::Say(bytes(&message))]
    });
    // The server's own cut goes on as it is.
    assert!(is_same(&guarded, &server, &query(1, "cut.example.", RecordType::A)));
    let x = query(1, "x.example.", RecordType::A);
    for (query, is_cut) in
        [(x.clone(), true), (with_payload(x.clone(), 1232), true), (with_payload(x.clone(), 4096), false)]
    {
        let reply = Message::from_vec(&ask(guarded.address, &query).unwrap()).unwrap();
        assert_eq!((reply.metadata.truncation, reply.answers.is_empty()), (is_cut, is_cut));
        assert_eq!(reply.edns.is_some(), is_cut && query.edns.is_some(), "cut by the resolver");
    }
    let mut stream = connect(guarded.address);
    stream.write_all(&framed(&bytes(&x))).unwrap();
    assert_eq!(Message::from_vec(&read_framed(&mut stream).unwrap()).unwrap().answers.len(), 100);
}

#[test]
fn a_connection_takes_queries_in_pieces_and_many_at_a_time() {
    let (_server, guarded, _) = permitted(|query, is_stream| {
        let slow = query.queries[0].name().to_ascii().starts_with("slow");
        let mut acts = one_address(query, is_stream);
        acts.insert(0, Act::Wait(Duration::from_millis(if slow { 500 } else { 0 })));
        acts
    });
    let mut stream = connect(guarded.address);
    stream.set_nodelay(true).unwrap();
    for byte in framed(&bytes(&query(1, "x.example.", RecordType::A))) {
        stream.write_all(&[byte]).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(code(read_framed(&mut stream)), ResponseCode::NoError);
    let mut pipeline = framed(&bytes(&query(0, "slow.example.", RecordType::A)));
    for id in 1..40 {
        pipeline.extend(framed(&bytes(&query(id, "x.example.", RecordType::A))));
    }
    stream.write_all(&pipeline).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let answers = std::iter::from_fn(|| read_framed(&mut stream));
    let ids: Vec<_> = answers.map(|answer| Message::from_vec(&answer).unwrap().metadata.id).collect();
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), (0..40).collect());
    assert_ne!(ids[0], 0, "nobody waits for the slow one");
}

#[test]
fn what_is_no_query_gets_what_it_deserves() {
    let (server, guarded, _) = permitted(one_address);
    let good = bytes(&query(1, "x.example.", RecordType::A));
    let mut two = good.clone();
    two[5] = 2;
    assert_eq!(code(ask_bytes(&guarded, &two)), ResponseCode::FormErr);
    let mut update = good.clone();
    update[2] |= 5 << 3;
    assert_eq!(code(ask_bytes(&guarded, &update)), ResponseCode::NotImp);
    let silent = client(guarded.address, Duration::from_millis(200));
    let mut answer = good.clone();
    answer[2] |= 0x80;
    for packet in [&b""[..], b"\0", &good[..11], &answer] {
        silent.send(packet).unwrap();
    }
    assert_eq!(receive(&silent), None);
    assert_eq!(server.asked(), 0);
    let mut stream = connect(guarded.address);
    stream.write_all(&[framed(&answer), framed(&two), vec![0xff; 2]].concat()).unwrap();
    assert_eq!(code(read_framed(&mut stream)), ResponseCode::FormErr);
    assert_eq!(read_framed(&mut stream), None, "nobody waits for a query of 65,535 bytes");
}

fn ask_bytes(guarded: &Guarded, packet: &[u8]) -> Option<Vec<u8>> {
    let socket = client(guarded.address, SOON);
    socket.send(packet).unwrap();
    receive(&socket)
}

#[test]
fn a_session_has_its_bounds_and_hears_when_it_meets_them() {
    let (held, ask_held) = mpsc::channel();
    let guarded = Guarded::start(Vec::new(), move |ask| held.send(ask).unwrap());
    let socket = client(guarded.address, Duration::from_secs(1));
    for id in 0..300_u16 {
        socket.send(&bytes(&query(id, "x.example.", RecordType::A))).unwrap();
        // A burst must not be lost in the socket.
        thread::sleep(Duration::from_micros(200));
    }
    let failed: Vec<_> = std::iter::from_fn(|| receive(&socket)).take(44).map(|answer| code(Some(answer))).collect();
    assert_eq!(failed, [ResponseCode::ServFail; 44]);
    assert_eq!((guarded.counts().crowded, guarded.counts().queries), (44, 256));
    drop(ask_held);
    let mut streams: Vec<_> = (0..40).map(|_| connect(guarded.address)).collect();
    thread::sleep(Duration::from_millis(500));
    let closed = |stream: &mut std::net::TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        matches!(std::io::Read::read(stream, &mut [0]), Ok(0))
    };
    assert_eq!(streams.iter_mut().map(closed).filter(|closed| *closed).count(), 8);
    assert_eq!(guarded.counts().closed, 8);
}

#[test]
fn a_flood_leaves_the_rest_of_the_thread_its_turns() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (udp, tcp) = both_sockets();
    let address = udp.local_addr().unwrap();
    // Nobody takes what it is asked, so that nearly all is turned away at once.
    let (asks, _asked) = tokio::sync::mpsc::channel(1);
    let longest = runtime.block_on(async {
        let serving = Resolver::new(asks, Vec::new()).serve(1, udp, tcp).unwrap();
        let until = Instant::now() + Duration::from_secs(1);
        for _ in 0..2 {
            thread::spawn(move || {
                let (socket, packet) = (client(address, SOON), bytes(&query(1, "x.example.", RecordType::A)));
                while Instant::now() < until {
                    socket.send(&packet).unwrap_or_default();
                }
            });
        }
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        println!("longest wait {longest:?}, {} turned away", serving.counts().crowded);
        longest
    });
    assert!(longest < Duration::from_millis(400), "{longest:?}");
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_else() {
    let many: Vec<_> = (0..250).map(|last| a("x.example.", last)).collect();
    let (_server, guarded, _) = permitted(move |query, _| vec![Act::Say(bytes(&answer(query, &many)))]);
    let mut lazy = connect(guarded.address);
    lazy.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let x = framed(&bytes(&query(1, "x.example.", RecordType::A)));
    while lazy.write_all(&x.repeat(1000)).is_ok() {}
    for _ in 0..20 {
        let mut stream = connect(guarded.address);
        stream.write_all(&x).unwrap();
        assert_eq!(code(read_framed(&mut stream)), ResponseCode::NoError);
        assert_eq!(code(ask(guarded.address, &query(1, "x.example.", RecordType::A))), ResponseCode::NoError);
    }
}

#[test]
fn a_connection_without_a_whole_query_ends_after_ten_seconds() {
    let (_server, guarded, _) = permitted(one_address);
    let (mut idle, mut slow) = (connect(guarded.address), connect(guarded.address));
    let begun = Instant::now();
    thread::spawn(move || {
        while slow.write_all(&[1]).is_ok() {
            thread::sleep(Duration::from_millis(500));
        }
    });
    assert_eq!(read_framed(&mut idle), None);
    assert!((9_000..15_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[test]
fn dropping_the_handle_ends_the_service_and_frees_the_address() {
    let (_server, mut guarded, _) = permitted(one_address);
    let mut stream = connect(guarded.address);
    assert!(ask(guarded.address, &query(1, "x.example.", RecordType::A)).is_some());
    drop(guarded.serving.take());
    assert_eq!(read_framed(&mut stream), None);
    let until = Instant::now() + SOON;
    while UdpSocket::bind(guarded.address).is_err() {
        assert!(Instant::now() < until, "the address is still taken");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a message says, whatever the time that is left.
fn timeless(packet: &[u8]) -> Message {
    let mut message = Message::from_vec(packet).unwrap();
    message.metadata.id = 0;
    message.answers.iter_mut().for_each(|record| record.ttl = 0);
    message
}

/// Asks 1,000 times a second; each answer is what the server itself says. Half of the answers hold for no time, and so come
/// from the server each time.
#[test]
fn a_thousand_queries_a_second_get_the_servers_own_answers() {
    const NAMES: u16 = 100;
    /// So many may be on their way: less than a session's bound, on a machine that is busy.
    const AHEAD: u64 = 128;
    let seconds: u64 = env::var("AGENT_GUARD_DNS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let (server, guarded, heard) = permitted(|query, _| {
        let owner = query.queries[0].name().to_ascii();
        let target = format!("cdn-{owner}");
        let last = u8::try_from(owner.len()).unwrap();
        let mut records = [cname(&owner, &target), a(&target, last), a(&target, last + 1)];
        if last % 2 == 0 {
            records.iter_mut().for_each(|record| record.ttl = 0);
        }
        vec![Act::Say(bytes(&answer(query, &records)))]
    });
    let name = |number: u16| format!("{}.example.", "n".repeat(usize::from(number % 50) + 1));
    let expected: Vec<_> = (0..NAMES)
        .map(|number| timeless(&ask(server.address, &query(0, &name(number), RecordType::A)).unwrap()))
        .collect();
    let asked = server.asked();
    let socket = client(guarded.address, SOON);
    let (answered, answers) = mpsc::channel();
    let receiver = socket.try_clone().unwrap();
    let total = 1000 * seconds;
    thread::spawn(move || {
        for _ in 0..total {
            let Some(packet) = receive(&receiver) else { return };
            if answered.send((packet, Instant::now())).is_err() {
                return;
            }
        }
    });
    let begun = Instant::now();
    let (mut sent, mut got, mut waits) = (Vec::new(), 0, Vec::new());
    while got < total {
        let count = sent.len() as u64;
        let is_due = begun.elapsed() >= Duration::from_millis(count) && count < total && count - got < AHEAD;
        if is_due {
            let id = u16::try_from(count % 65_536).unwrap();
            sent.push(Instant::now());
            socket.send(&bytes(&query(id, &name(id % NAMES), RecordType::A))).unwrap();
        }
        let patience = if is_due { Duration::ZERO } else { Duration::from_micros(200) };
        match answers.recv_timeout(patience) {
            Ok((packet, at)) => {
                got += 1;
                let id = u16::from_be_bytes([packet[0], packet[1]]);
                assert_eq!(timeless(&packet), expected[usize::from(id % NAMES)]);
                // The last query with this number.
                let index = (0..sent.len()).rev().find(|index| index % 65_536 == usize::from(id)).unwrap();
                waits.push(at.duration_since(sent[index]));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                assert!(sent.last().is_none_or(|last| last.elapsed() < SOON), "{got} of {} came back", sent.len());
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => panic!("{got} of {} came back", sent.len()),
        }
    }
    let time = begun.elapsed();
    waits.sort();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    println!("{total} queries in {time:?}: median {:?}, 99 % {:?}, longest {:?}", at(50), at(99), at(100));
    assert_eq!(heard.lock().unwrap().len() as u64, total);
    let forwarded = (server.asked() - asked) as u64;
    assert!((total / 2..=total / 2 + 100 * (1 + seconds / 30)).contains(&forwarded), "{forwarded} were asked upstream");
    assert_eq!((guarded.counts().failed, guarded.counts().crowded), (0, 0));
}
