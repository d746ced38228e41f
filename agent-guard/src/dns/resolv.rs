//! The machine's own name servers, from the text of `/etc/resolv.conf`. It opens no file and asks for no interface.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Where name servers listen.
const PORT: u16 = 53;
/// Servers that are used; further ones are not looked at, as by glibc (MAXNS, resolv.h).
const SERVERS: usize = 3;

/// A line that names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} of resolv.conf: {text:?} is no name server; expected an address, such as 192.0.2.53 or fe80::1%eth0"
)]
pub struct BadLine {
    /// Which one, from 1.
    pub line: usize,
    /// What stands in the place of the address.
    pub text: String,
}

/// Reads the servers, in their order. `interface` tells an interface's number by its name, for link-local addresses.
///
/// Without any it is the machine itself, as for glibc.
///
/// # Errors
/// The first line that names no server: queries must not go elsewhere than where the machine sends its own.
pub fn upstreams(text: &str, interface: impl Fn(&str) -> Option<u32>) -> Result<Vec<SocketAddr>, BadLine> {
    let servers = text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, server(line)?)));
    let servers = servers
        .take(SERVERS)
        .map(|(line, text)| address(text, &interface).ok_or_else(|| BadLine { line, text: text.to_owned() }));
    let mut servers: Vec<SocketAddr> = servers.collect::<Result<_, _>>()?;
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    Ok(servers)
}

/// What a line says is a server's address, if it is about one. The keyword stands at the very beginning.
fn server(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("nameserver")?;
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start();
    rest.split([' ', '\t', '\r', '#', ';']).next()
}

fn address(text: &str, interface: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, PORT).into());
    }
    let (address, scope) = text.split_once('%')?;
    let scope = interface(scope).or_else(|| scope.parse().ok())?;
    Some(SocketAddrV6::new(address.parse::<Ipv6Addr>().ok()?, PORT, 0, scope).into())
}

#[cfg(test)]
mod tests {
    use super::{BadLine, upstreams};
    use core::net::SocketAddr;

    fn read(text: &str) -> Result<Vec<SocketAddr>, BadLine> {
        upstreams(text, |name| (name == "eth0").then_some(2))
    }

    fn servers(text: &str) -> Vec<String> {
        read(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn servers_are_read_in_their_order_and_all_else_is_passed_over() {
        let text = "# made by hand\n; really\nsearch example.com\nnameserver 127.0.0.53\nnameserver\t2001:db8::53 # second\n\
            options edns0\n nameserver 192.0.2.9\n#nameserver 192.0.2.8\nnameservers 192.0.2.7\nnameserver 192.0.2.1;x\r\n";
        assert_eq!(servers(text), ["127.0.0.53:53", "[2001:db8::53]:53", "192.0.2.1:53"]);
    }

    #[test]
    fn a_link_has_its_interface_by_name_or_number() {
        assert_eq!(servers("nameserver fe80::1%eth0\nnameserver fe80::1%7\n"), ["[fe80::1%2]:53", "[fe80::1%7]:53"]);
        assert!(read("nameserver fe80::1%gone\n").is_err());
    }

    #[test]
    fn there_are_three_at_most_and_without_any_it_is_this_machine() {
        let many: String = (1..9).map(|number| format!("nameserver 192.0.2.{number}\n")).collect();
        assert_eq!(servers(&many).len(), 3);
        assert_eq!(servers(&format!("{many}nameserver nonsense\n")).len(), 3, "nobody looks at it");
        assert_eq!(servers(""), ["127.0.0.1:53"]);
    }

    #[test]
    fn a_bad_line_is_named_with_what_was_expected() {
        let expected = [
            ("nameserver 192.0.2.1\n\nnameserver example.com\n", 3, "example.com"),
            ("nameserver", 1, ""),
            ("nameserver 192.0.2.256", 1, "192.0.2.256"),
            ("nameserver 192.0.2.1:53", 1, "192.0.2.1:53"),
            ("nameserver %eth0", 1, "%eth0"),
        ];
        for (text, line, named) in expected {
            assert_eq!(read(text), Err(BadLine { line, text: named.to_owned() }));
        }
        let message = read("nameserver x\x1b[2J").unwrap_err().to_string();
        assert_eq!(
            message,
            "line 1 of resolv.conf: \"x\\u{1b}[2J\" is no name server; expected an address, such as 192.0.2.53 or fe80::1%eth0"
        );
    }
}
