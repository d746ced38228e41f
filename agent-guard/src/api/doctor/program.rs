//! Which programs pass connections on to elsewhere. It must not know whether one listens, or where.
//!
//! A program is known by what it is called, which it can choose: this helps an operator to label what there is, and guards
//! against nobody.

/// Characters of a program's name that the kernel keeps (include/linux/sched.h, `TASK_COMM_LEN`, less the NUL).
const COMM: usize = 15;

/// Programs that are forwarders, whatever they are told, or when one of these words is among their arguments.
const FORWARDERS: &[(&str, &[&str])] = &[
    ("chisel", &[]),
    ("cloud-sql-proxy", &[]),
    ("cloud_sql_proxy", &[]),
    ("cloudflared", &[]),
    ("gcloud", &["start-iap-tunnel"]),
    ("gcloud.py", &["start-iap-tunnel"]),
    ("haproxy", &[]),
    ("kubectl", &["port-forward", "proxy"]),
    ("mitmdump", &[]),
    ("mitmproxy", &[]),
    ("mitmweb", &[]),
    ("nginx", &[]),
    ("oc", &["port-forward", "proxy"]),
    ("session-manager-plugin", &[]),
    ("socat", &[]),
    ("squid", &[]),
    // It listens for nothing but what it forwards (-L, -D, in its configuration too) and those that share its connection.
    ("ssh", &[]),
    ("stunnel", &[]),
    ("stunnel4", &[]),
    ("systemd-socket-proxyd", &[]),
    ("tinyproxy", &[]),
];

/// Programs that run others, which are then their first argument that is no option.
const INTERPRETERS: [&str; 3] = ["python", "sh", "bash"];

/// What sessions of the SSH server call themselves: what *they* listen for goes to the other end (`ssh -R`). The server
/// itself is none.
const SSH_SESSIONS: [&str; 2] = ["sshd: ", "sshd-session: "];
const SSH_SERVER: &str = "[listener]";

/// What a forwarder is called, if a process with this name and these arguments is one.
#[must_use]
pub(super) fn forwarder(comm: &str, argv: &[String]) -> Option<&'static str> {
    let first = argv.first().map_or("", String::as_str);
    if SSH_SESSIONS.iter().any(|title| first.starts_with(title)) && !first.contains(SSH_SERVER) {
        return Some("sshd");
    }
    let is_called = |name: &str| {
        comm == name.get(..COMM).unwrap_or(name)
            || file_name(first) == name
            || script(argv).is_some_and(|it| it == name)
    };
    let is_told = |words: &[&str]| words.is_empty() || argv.iter().any(|word| words.contains(&word.as_str()));
    FORWARDERS.iter().find(|(name, words)| is_called(name) && is_told(words)).map(|(name, _)| *name)
}

/// The program that an interpreter runs.
fn script(argv: &[String]) -> Option<&str> {
    let (interpreter, arguments) = argv.split_first()?;
    // With or without a version behind it.
    let interpreter = file_name(interpreter).trim_end_matches(|one: char| one.is_ascii_digit() || one == '.');
    let script = arguments.iter().find(|argument| !argument.starts_with('-'))?;
    INTERPRETERS.contains(&interpreter).then(|| file_name(script))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::forwarder;

    fn known(comm: &str, line: &str) -> Option<&'static str> {
        forwarder(comm, &line.split('|').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_passes_connections_on_is_known_by_its_name_and_its_words() {
        let expected = [
            ("ssh", "ssh|-N|-L|5432:db.prod:5432|bastion", "ssh"),
            ("ssh", "/usr/bin/ssh|-D|1080|bastion", "ssh"),
            ("ssh", "ssh: /home/ann/.ssh/cm-bastion [mux]", "ssh"),
            ("sshd", "sshd: ann@pts/0", "sshd"),
            ("sshd-session", "sshd-session: ann@notty", "sshd"),
            ("kubectl", "kubectl|-n|prod|port-forward|svc/db|5432", "kubectl"),
            ("kubectl", "kubectl|proxy|--port=8001", "kubectl"),
            ("oc", "oc|port-forward|pod/db|5432", "oc"),
            ("cloudflared", "cloudflared|access|tcp|--hostname|db.example.com", "cloudflared"),
            ("socat", "socat|TCP-LISTEN:8080,fork|TCP:db.prod:80", "socat"),
            ("tinyproxy", "/usr/bin/tinyproxy|-d", "tinyproxy"),
            ("squid", "(squid-1)|--kid|squid-1", "squid"),
            ("haproxy", "/usr/sbin/haproxy|-Ws", "haproxy"),
            ("nginx", "nginx: worker process", "nginx"),
            ("mitmdump", "/usr/bin/python3|/usr/bin/mitmdump", "mitmdump"),
            ("python3.12", "/opt/venv/bin/python3.12|-m|x|mitmweb", ""),
            ("python3.12", "/opt/venv/bin/python3.12|/opt/venv/bin/mitmweb", "mitmweb"),
            ("cloud-sql-proxy", "./cloud-sql-proxy|p:r:i", "cloud-sql-proxy"),
            ("cloud_sql_proxy", "cloud_sql_proxy|-instances=p:r:i=tcp:5432", "cloud_sql_proxy"),
            // The kernel keeps fifteen characters of a name.
            ("session-manager", "", "session-manager-plugin"),
            ("x", "/usr/local/bin/session-manager-plugin|{}|eu-west-1", "session-manager-plugin"),
            (
                "python3",
                "python3|-S|/usr/lib/google-cloud-sdk/lib/gcloud.py|compute|start-iap-tunnel|vm|22",
                "gcloud.py",
            ),
            ("gcloud", "bash|/usr/bin/gcloud|compute|start-iap-tunnel|vm|22", "gcloud"),
        ];
        for (comm, line, name) in expected {
            assert_eq!(known(comm, line).unwrap_or_default(), name, "{comm}: {line}");
        }
    }

    #[test]
    fn what_only_serves_or_is_only_called_alike_is_none() {
        let expected = [
            ("ssh-agent", "ssh-agent|-s"),
            ("gpg-agent", "gpg-agent|--supervised"),
            ("sshd", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"),
            ("sshd", "/usr/sbin/sshd|-D"),
            ("kubectl", "kubectl|get|pods|-w"),
            ("gcloud", "python3|/usr/lib/google-cloud-sdk/lib/gcloud.py|auth|login"),
            ("python3", "python3|-m|http.server"),
            ("postgres", "postgres: checkpointer"),
            ("cat", "cat|/usr/bin/socat"),
            ("socat-of-mine", "./socat-of-mine"),
            ("", ""),
        ];
        for (comm, line) in expected {
            assert_eq!(known(comm, line), None, "{comm}: {line}");
        }
        assert_eq!(forwarder("kthreadd", &[]), None);
    }
}
