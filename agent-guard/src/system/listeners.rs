//! Sockets that wait for connections, and who holds them, as `/proc` tells it. It must not know who ought to listen.
//!
//! Every answer may be stale when it arrives, so nothing here is a safeguard. It is about one network namespace: this
//! process' own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{fs, io};

/// State of a TCP socket that listens (include/net/tcp_states.h, `TCP_LISTEN`).
const LISTENS: &str = "0A";
/// Flag of a unix socket that listens (include/linux/net.h, `__SO_ACCEPTCON`).
const ACCEPTS: u32 = 1 << 16;

/// Where a socket waits for connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// At an address and a port. One that is mapped from IPv4 is IPv4.
    Tcp(SocketAddr),
    /// At a path, as it was bound.
    Path(Vec<u8>),
    /// At an abstract name, the leading NUL left out.
    Abstract(Vec<u8>),
}

/// The listening sockets, by inode.
pub fn listening() -> io::Result<BTreeMap<u64, Place>> {
    let mut found = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        found.extend(read(table)?.split(|byte| *byte == b'\n').filter_map(tcp));
    }
    found.extend(read("/proc/net/unix")?.split(|byte| *byte == b'\n').filter_map(unix));
    Ok(found)
}

/// A table; an empty one where the kernel does not speak the protocol.
fn read(table: &str) -> io::Result<Vec<u8>> {
    match fs::read(table) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// The sockets that a process holds.
pub fn held_by(pid: u32) -> io::Result<Vec<u64>> {
    let inode = |entry: io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.filter_map(inode).collect())
}

/// Reads a line of `/proc/net/tcp` or `/proc/net/tcp6` (net/ipv4/tcp_ipv4.c, `get_tcp4_sock`).
fn tcp(line: &[u8]) -> Option<(u64, Place)> {
    let fields: Vec<&str> = std::str::from_utf8(line).ok()?.split_ascii_whitespace().collect();
    if fields.get(3) != Some(&LISTENS) {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let address = SocketAddr::new(ip(address)?, u16::from_str_radix(port, 16).ok()?);
    Some((fields.get(9)?.parse().ok()?, Place::Tcp(address)))
}

/// An address as the kernel prints it: each four bytes of it, in the order of the network, as one number of the machine's own.
fn ip(text: &str) -> Option<IpAddr> {
    let words = text.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let four = || <[u8; 4]>::try_from(bytes.as_slice()).ok().map(|four| IpAddr::V4(Ipv4Addr::from(four)));
    let sixteen = || <[u8; 16]>::try_from(bytes.as_slice()).ok().map(|sixteen| IpAddr::V6(Ipv6Addr::from(sixteen)));
    four().or_else(sixteen).map(|address| address.to_canonical())
}

/// Reads a line of `/proc/net/unix` (net/unix/af_unix.c, `unix_seq_show`). A name may hold anything, blanks included.
fn unix(line: &[u8]) -> Option<(u64, Place)> {
    const FIELDS: usize = 7;
    let (mut fields, mut rest) = (Vec::new(), line);
    while fields.len() < FIELDS {
        let begin = rest.iter().position(|byte| *byte != b' ')?;
        let end = rest.get(begin..)?.iter().position(|byte| *byte == b' ')? + begin;
        fields.push(std::str::from_utf8(rest.get(begin..end)?).ok()?);
        rest = rest.get(end..)?;
    }
    let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
    let inode = fields.get(6)?.parse().ok()?;
    // One blank parts the name from the number; a socket without a name is no line of this form.
    let name = rest.strip_prefix(b" ").filter(|name| !name.is_empty() && flags & ACCEPTS != 0)?;
    let place = name.strip_prefix(b"@").map_or_else(|| Place::Path(name.into()), |name| Place::Abstract(name.into()));
    Some((inode, place))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::UnixListener;

    use super::{Place, held_by, listening, tcp, unix};

    fn at(address: &str) -> Place {
        Place::Tcp(address.parse().unwrap())
    }

    #[test]
    fn a_line_of_tcp_is_an_address_a_port_and_an_inode() {
        let line = |local: &str, state: &str| {
            let line = format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0"
            );
            tcp(line.as_bytes())
        };
        assert_eq!(line("0100007F:1F90", "0A"), Some((4711, at("127.0.0.1:8080"))));
        assert_eq!(line("00000000:0016", "0A"), Some((4711, at("0.0.0.0:22"))));
        assert_eq!(line("00000000000000000000000001000000:1F90", "0A"), Some((4711, at("[::1]:8080"))));
        assert_eq!(line("0000000000000000FFFF00000100007F:1F90", "0A"), Some((4711, at("127.0.0.1:8080"))));
        assert_eq!(line("0100007F:1F90", "01"), None, "one that is connected");
    }

    #[test]
    fn a_line_of_unix_is_whatever_name_and_an_inode() {
        let line = |flags: &str, name: &[u8]| {
            unix(&[format!("000000007701b38a: 00000002 00000000 {flags} 0001 01 4711").as_bytes(), name].concat())
        };
        let path = |path: &[u8]| Some((4711, Place::Path(path.to_vec())));
        assert_eq!(line("00010000", b" /run/a b  c"), path(b"/run/a b  c"));
        assert_eq!(line("00010000", b" /run/\xff"), path(b"/run/\xff"));
        assert_eq!(line("00010000", b" @/tmp/x"), Some((4711, Place::Abstract(b"/tmp/x".to_vec()))));
        assert_eq!(line("00000000", b" /run/a"), None, "one that is connected");
        assert_eq!(line("00010000", b""), None);
    }

    #[test]
    fn what_is_no_such_line_is_none_and_no_panic() {
        let heads =
            ["", " ", "Num       RefCount Protocol Flags    Type St Inode Path", "a: b c d e f g h", "0: x:y z 0A"];
        for line in heads.iter().map(|line| line.as_bytes()).chain([&b"\xff\xfe"[..]]) {
            assert_eq!((tcp(line), unix(line)), (None, None), "{}", line.escape_ascii());
        }
        for address in ["0100007F", "0100007F:", "0100007F:1F90F", "é000007F:1F90", "0100007F01:1F90"] {
            assert_eq!(tcp(format!("0: {address} 0:0 0A 0 0 0 0 0 1").as_bytes()), None, "{address}");
        }
    }

    #[test]
    fn ones_own_sockets_are_found_by_what_they_listen_at() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a socket");
        let (tcp, _unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
        let address: SocketAddr = tcp.local_addr().unwrap();
        let connected = TcpStream::connect(address).unwrap();
        let listening = listening().unwrap();
        let held: Vec<Place> =
            held_by(std::process::id()).unwrap().iter().filter_map(|inode| listening.get(inode).cloned()).collect();
        assert!(held.contains(&Place::Tcp(address)), "{held:?}");
        assert!(held.contains(&Place::Path(path.as_os_str().as_bytes().to_vec())), "{held:?}");
        assert!(!held.contains(&Place::Tcp(connected.local_addr().unwrap())));
        assert!(held_by(u32::MAX).is_err());
    }
}
