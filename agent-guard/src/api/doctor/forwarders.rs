//! Local forwarders: who listens on this machine and passes on to elsewhere, and what in a policy would label it.

use std::collections::BTreeMap;
use std::io;

use super::program;
use crate::api::types::Forwarder;
use crate::policy;
use crate::system::listeners::{self, Place};
use crate::system::proc;
use crate::text;

/// Bytes of a process' arguments that are looked at.
const ARGUMENTS: u64 = 16 << 10;

/// What `ssh` puts behind the path of a shared connection's socket while it makes it, and leaves in the socket's name: a
/// dot and so many letters and digits (OpenSSH's mux.c, `muxserver_listen`).
const MUX_SUFFIX: usize = 16;

/// The forwarders, and how many that may be some could not be looked at.
pub(super) fn find() -> io::Result<(Vec<Forwarder>, u64)> {
    let listening = listeners::listening()?;
    let mut found = BTreeMap::new();
    let mut unseen = 0;
    let mut pids = proc::pids()?;
    pids.sort_unstable();
    for pid in pids {
        // Who is gone forwards nothing.
        let (Ok(stat), Ok(argv)) = (proc::stat(pid), proc::cmdline(pid, ARGUMENTS)) else { continue };
        let argv: Vec<String> = argv.iter().map(|word| text::from_bytes(word)).collect();
        let Some(program) = program::forwarder(&text::from_bytes(&stat.comm), &argv) else { continue };
        match listeners::held_by(pid) {
            Ok(sockets) => {
                let places = sockets.iter().filter_map(|inode| listening.get(inode)).filter(|place| is_local(place));
                for place in places {
                    // Of several processes that share a socket, the first stands for all.
                    found.entry((visible(program, place), program)).or_insert(pid);
                }
            }
            Err(error) if proc::is_gone(&error) => {}
            Err(_) => unseen += 1,
        }
    }
    let forwarder = |((place, program), pid): ((Place, &'static str), u32)| Forwarder {
        program: program.to_owned(),
        pid,
        listens: shown(&place),
        label: label(&place),
    };
    Ok((found.into_iter().map(forwarder).collect(), unseen))
}

/// Whether it listens for this machine's own processes, alone or among others.
fn is_local(place: &Place) -> bool {
    match place {
        Place::Tcp(address) => address.ip().is_loopback() || address.ip().is_unspecified(),
        Place::Path(_) | Place::Abstract(_) => true,
    }
}

/// Where a socket is to be found.
fn visible(program: &str, place: &Place) -> Place {
    let Place::Path(path) = place else { return place.clone() };
    let suffix = path.len().checked_sub(MUX_SUFFIX + 1).map(|at| path.split_at(at));
    match suffix {
        Some((before, [b'.', rest @ ..])) if program == "ssh" && rest.iter().all(u8::is_ascii_alphanumeric) => {
            Place::Path(before.to_vec())
        }
        _ => place.clone(),
    }
}

fn shown(place: &Place) -> String {
    match place {
        Place::Tcp(address) => address.to_string(),
        Place::Path(path) => text::from_bytes(path),
        Place::Abstract(name) => format!("@{}", text::from_bytes(name)),
    }
}

/// What a label names it by; none where the policy language has no way to.
fn label(place: &Place) -> Option<String> {
    let line = match place {
        Place::Tcp(address) => {
            let port = address.port();
            let endpoint = |cidr: &str| format!("{{ cidr: {cidr}, ports: [{port}] }}");
            // IPv6's "any" is IPv4's as well, unless the program has asked for less.
            let endpoints = match (address.ip(), address.ip().is_unspecified()) {
                (ip, false) if ip.is_ipv4() => vec![endpoint(&format!("{ip}/32"))],
                (ip, false) => vec![endpoint(&format!("\"{ip}/128\""))],
                (ip, true) if ip.is_ipv4() => vec![endpoint("127.0.0.0/8")],
                (_, true) => vec![endpoint("127.0.0.0/8"), endpoint("\"::1/128\"")],
            };
            format!("endpoints: [{}]", endpoints.join(", "))
        }
        Place::Path(path) => format!("sockets: [{}]", quoted(std::str::from_utf8(path).ok()?)?),
        Place::Abstract(name) => format!("sockets: [{}]", quoted(&format!("@{}", std::str::from_utf8(name).ok()?))?),
    };
    let policy =
        format!("version: 1\nlabels: {{ forwarder: {{ {line} }} }}\nprofiles: {{ any: {{ default: allow }} }}\n");
    policy::load(&policy).is_ok().then_some(line)
}

/// Text as YAML takes it in a list.
fn quoted(text: &str) -> Option<String> {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "/._-".contains(one);
    if text.chars().all(is_plain) { Some(text.to_owned()) } else { serde_json::to_string(text).ok() }
}

#[cfg(test)]
mod tests {
    use super::{is_local, label, shown, visible};
    use crate::system::listeners::Place;

    fn tcp(address: &str) -> Place {
        Place::Tcp(address.parse().unwrap())
    }

    fn path(path: &[u8]) -> Place {
        Place::Path(path.to_vec())
    }

    #[test]
    fn each_place_is_shown_with_what_labels_it() {
        let expected = [
            (tcp("127.0.0.1:8080"), "127.0.0.1:8080", "endpoints: [{ cidr: 127.0.0.1/32, ports: [8080] }]"),
            (tcp("[::1]:8080"), "[::1]:8080", "endpoints: [{ cidr: \"::1/128\", ports: [8080] }]"),
            (tcp("0.0.0.0:80"), "0.0.0.0:80", "endpoints: [{ cidr: 127.0.0.0/8, ports: [80] }]"),
            (
                tcp("[::]:80"),
                "[::]:80",
                "endpoints: [{ cidr: 127.0.0.0/8, ports: [80] }, { cidr: \"::1/128\", ports: [80] }]",
            ),
            (path(b"/run/proxy.sock"), "/run/proxy.sock", "sockets: [/run/proxy.sock]"),
            (path(b"/tmp/a, b: 'c' \"d\""), "/tmp/a, b: 'c' \"d\"", "sockets: [\"/tmp/a, b: 'c' \\\"d\\\"\"]"),
            (path("/tmp/é".as_bytes()), "/tmp/é", "sockets: [\"/tmp/é\"]"),
            (Place::Abstract(b"tunnel".to_vec()), "@tunnel", "sockets: [\"@tunnel\"]"),
        ];
        for (place, listens, line) in expected {
            assert_eq!((shown(&place).as_str(), label(&place).as_deref()), (listens, Some(line)));
        }
    }

    #[test]
    fn what_no_policy_can_name_has_no_label() {
        for place in
            [path(b"relative.sock"), path(b"/tmp/\xff"), path(b"/tmp/a\nb"), path(b"/tmp/[x]"), path(b"/a/../b")]
        {
            assert_eq!(label(&place), None, "{place:?}");
        }
        assert_eq!(shown(&path(b"/tmp/\xff")), "/tmp/\\xff");
    }

    #[test]
    fn only_what_listens_for_this_machine_counts() {
        for place in ["127.0.0.1:1", "127.8.8.8:1", "0.0.0.0:1", "[::1]:1", "[::]:1"] {
            assert!(is_local(&tcp(place)), "{place}");
        }
        assert!(!is_local(&tcp("192.0.2.1:1")) && !is_local(&tcp("[2001:db8::1]:1")));
    }

    #[test]
    fn a_shared_connection_of_ssh_is_found_where_its_clients_look() {
        let made = path(b"/home/ann/.ssh/cm-bastion.a1B2c3D4e5F6g7H8");
        assert_eq!(visible("ssh", &made), path(b"/home/ann/.ssh/cm-bastion"));
        assert_eq!(visible("socat", &made), made);
        for other in ["/tmp/a.sock", "/x", "/home/ann/.ssh/cm.example.a1B2c3D4", "/tmp/cm.a1B2c3D4e5F6g7-8"] {
            assert_eq!(visible("ssh", &path(other.as_bytes())), path(other.as_bytes()), "{other}");
        }
    }
}
