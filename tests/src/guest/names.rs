//! A name server for guests without one: it knows a few names, and answers at an address that the machine asks.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

const SERVER: &str = "127.0.0.53:53";
const A: u16 = 1;
const CNAME: u16 = 5;

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Record {
    /// An address.
    Address(Ipv4Addr),
    /// Another name.
    Alias(String),
}

type Table = Arc<Mutex<BTreeMap<String, Record>>>;

/// The server.
#[derive(Clone, Debug)]
pub struct NameServer {
    table: Table,
    asked: Arc<AtomicU64>,
}

impl NameServer {
    /// Starts it, and makes the machine ask it.
    #[must_use]
    pub fn start() -> Self {
        let server = Self { table: Table::default(), asked: Arc::default() };
        let (udp, tcp) = (UdpSocket::bind(SERVER).unwrap(), TcpListener::bind(SERVER).unwrap());
        let (of_udp, of_tcp) = (server.clone(), server.clone());
        thread::spawn(move || {
            let mut packet = [0; 512];
            loop {
                let (length, client) = udp.recv_from(&mut packet).unwrap();
                udp.send_to(&of_udp.answer(&packet[..length]), client).unwrap();
            }
        });
        thread::spawn(move || {
            for stream in tcp.incoming() {
                let (mut stream, mut length) = (stream.unwrap(), [0; 2]);
                while stream.read_exact(&mut length).is_ok() {
                    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                    stream.read_exact(&mut query).unwrap();
                    let answer = of_tcp.answer(&query);
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length[..], &answer].concat()).unwrap();
                }
            }
        });
        fs::write("/etc/resolv.conf", "nameserver 127.0.0.53\n").unwrap();
        server
    }

    /// Says what a name stands for.
    pub fn set(&self, name: &str, record: Record) {
        self.table.lock().unwrap().insert(name.to_owned(), record);
    }

    /// How many queries it has had.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn answer(&self, query: &[u8]) -> Vec<u8> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (name, end) = read_name(query, 12);
        let question = &query[12..end + 4];
        let kind = u16::from_be_bytes([query[end], query[end + 1]]);
        let table = self.table.lock().unwrap();
        let (mut records, mut at) = (Vec::new(), name);
        while let Some(record) = table.get(&at) {
            match record {
                Record::Alias(other) => {
                    records.push((at.clone(), CNAME, name_bytes(other)));
                    at.clone_from(other);
                }
                Record::Address(address) if kind == A => {
                    records.push((at, A, address.octets().to_vec()));
                    break;
                }
                Record::Address(_) => break,
            }
        }
        let known = !records.is_empty() || kind != A;
        let count = u16::try_from(records.len()).unwrap().to_be_bytes();
        // A response that recursion was available for; without records there is no such name.
        let flags = if known { [0x81, 0x80] } else { [0x81, 0x83] };
        let mut answer = [&query[..2], &flags, &[0, 1], &count, &[0; 4], question].concat();
        for (owner, kind, data) in records {
            answer.extend(name_bytes(&owner));
            answer.extend(kind.to_be_bytes());
            // The internet's class, a minute.
            answer.extend([0, 1, 0, 0, 0, 60]);
            answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend(data);
        }
        answer
    }
}

/// A name as it stands in a message, without pointers, and where it ends.
fn read_name(message: &[u8], mut at: usize) -> (String, usize) {
    let mut labels = Vec::new();
    while message[at] != 0 {
        let length = usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..=at + length]).to_lowercase());
        at += length + 1;
    }
    (labels.join("."), at + 1)
}

fn name_bytes(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
    name.split('.').flat_map(label).chain([0]).collect()
}
