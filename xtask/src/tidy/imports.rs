//! Owns the rules about who may know whom: the invariants of absence, as far as paths in the source show them.

use super::code::{is_word, without_tests};
use super::{Fault, Source};

/// In files below `place`, no path may begin with one of `forbidden`, but for `except`.
struct Rule {
    place: &'static str,
    outside: &'static str,
    forbidden: &'static [&'static str],
    except: &'static str,
    why: &'static str,
}

/// Work on values only: no kernel, no clock, no files, no runtime.
const PURE: &[&str] = &[
    "aya",
    "tokio",
    "std::fs",
    "std::net",
    "std::time::Instant",
    "std::time::SystemTime",
    "crate::kernel",
    "crate::api",
];
/// Work on values of the API: as above, and nothing of this machine.
const VALUES: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "crate::system",
];
const NOWHERE: &str = "\0";

const RULES: &[Rule] = &[
    Rule {
        place: "agent-guard/src/policy/",
        outside: NOWHERE,
        forbidden: PURE,
        except: NOWHERE,
        why: "policy is a pure function of its text",
    },
    Rule {
        place: "agent-guard/src/decision/",
        outside: NOWHERE,
        forbidden: PURE,
        except: NOWHERE,
        why: "a decision is a pure function of state, event and time",
    },
    Rule {
        place: "agent-guard/src/cli/",
        outside: NOWHERE,
        forbidden: &["crate::kernel"],
        except: "crate::kernel::support",
        why: "the client knows the API, not the kernel",
    },
    Rule {
        place: "agent-guard/src/",
        outside: "agent-guard/src/kernel/",
        forbidden: &["aya"],
        except: NOWHERE,
        why: "only `kernel` speaks to the kernel's programs and maps",
    },
    Rule {
        place: "agent-guard/src/",
        outside: "agent-guard/src/dns/",
        forbidden: &["hickory_proto"],
        except: NOWHERE,
        why: "only `dns` speaks DNS",
    },
    Rule {
        place: "agent-guard/src/",
        outside: "agent-guard/src/system/",
        forbidden: &["crossterm"],
        except: NOWHERE,
        why: "only `system` takes a terminal over",
    },
    Rule {
        place: "agent-guard/src/cli/watch/dialog/",
        outside: NOWHERE,
        forbidden: &[
            "tokio",
            "std::io",
            "std::fs",
            "std::net",
            "std::time::Instant",
            "std::time::SystemTime",
            "crate::system::clock",
            "crate::api::client",
        ],
        except: NOWHERE,
        why: "what a key does is a function of what was shown, typed and heard, and when",
    },
    Rule {
        place: "agent-guard/src/notify/",
        outside: "agent-guard/src/notify/queue.rs",
        forbidden: &["rusqlite"],
        except: NOWHERE,
        why: "only the queue of notifications is a database",
    },
    Rule {
        place: "agent-guard/src/notify/",
        outside: NOWHERE,
        forbidden: &["crate::kernel", "crate::policy", "crate::decision", "crate::daemon", "tokio"],
        except: NOWHERE,
        why: "a hook hears what the API shows, and has threads of its own",
    },
    Rule {
        place: "agent-guard/src/notify/message.rs",
        outside: NOWHERE,
        forbidden: VALUES,
        except: NOWHERE,
        why: "a message is a function of a request, a time and a host",
    },
    Rule {
        place: "agent-guard/src/notify/schedule.rs",
        outside: NOWHERE,
        forbidden: VALUES,
        except: NOWHERE,
        why: "when it is tried again is a function of what failed and when",
    },
    Rule {
        place: "agent-guard/src/notify/settings.rs",
        outside: NOWHERE,
        forbidden: VALUES,
        except: NOWHERE,
        why: "what a configuration says is a function of its text",
    },
    Rule {
        place: "agent-guard/src/dns/",
        outside: NOWHERE,
        forbidden: &["crate::kernel", "crate::policy", "crate::api", "crate::daemon"],
        except: NOWHERE,
        why: "the resolver asks the loop, and knows neither policy nor kernel",
    },
    Rule {
        place: "agent-guard/src/dns/known.rs",
        outside: NOWHERE,
        forbidden: PURE,
        except: NOWHERE,
        why: "what is known is a function of what was heard and when",
    },
    Rule {
        place: "agent-guard/src/dns/tunnel.rs",
        outside: NOWHERE,
        forbidden: PURE,
        except: NOWHERE,
        why: "a hint is a function of what was asked and when",
    },
];

/// Checks one Rust file; its unit tests may know more.
pub(super) fn check(source: &Source, code: &str) -> Vec<Fault> {
    let rules: Vec<_> = RULES
        .iter()
        .filter(|rule| source.path.starts_with(rule.place) && !source.path.starts_with(rule.outside))
        .collect();
    let mut faults = Vec::new();
    for (line, path) in paths(without_tests(code)) {
        let broken = rules.iter().find(|rule| {
            rule.forbidden.iter().any(|forbidden| is_below(&path, forbidden)) && !is_below(&path, rule.except)
        });
        faults.extend(broken.map(|rule| source.fault(line, format!("`{path}`: {}", rule.why))));
    }
    faults
}

fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Returns every path in the code with its line; `a::{b, c::d}` stands for `a::b` and `a::c::d`.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // The prefixes that open braces have set; an empty one belongs to a block.
    let mut prefixes: Vec<String> = Vec::new();
    let mut path = String::new();
    let mut line = 1;
    let mut rest = code.as_bytes();
    while let [byte, after @ ..] = rest {
        let step = match byte {
            b':' if after.first() == Some(&b':') => {
                path.push_str("::");
                2
            }
            byte if is_word(*byte) => {
                let length = rest.iter().take_while(|byte| is_word(**byte)).count();
                let word = String::from_utf8_lossy(&rest[..length]);
                // Two words in a row are not one path: `use aya`.
                if !path.is_empty() && !path.ends_with("::") {
                    finish(&mut path, &prefixes, line, &mut found);
                }
                path.push_str(&word);
                length
            }
            b'{' => {
                let prefix = if path.ends_with("::") {
                    prefixes.last().cloned().unwrap_or_default() + &std::mem::take(&mut path)
                } else {
                    finish(&mut path, &prefixes, line, &mut found);
                    String::new()
                };
                prefixes.push(prefix);
                1
            }
            b'}' => {
                finish(&mut path, &prefixes, line, &mut found);
                prefixes.pop();
                1
            }
            // A path may be broken after its colons.
            byte if byte.is_ascii_whitespace() && path.ends_with("::") => 1,
            _ => {
                finish(&mut path, &prefixes, line, &mut found);
                1
            }
        };
        line += usize::from(*byte == b'\n');
        rest = &rest[step..];
    }
    found
}

fn finish(path: &mut String, prefixes: &[String], line: usize, found: &mut Vec<(usize, String)>) {
    if !path.is_empty() {
        let whole = prefixes.last().cloned().unwrap_or_default() + path;
        found.push((line, whole.trim_start_matches("::").to_owned()));
        path.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::code::strip;
    use super::{Source, check};

    fn faults(path: &str, text: &str) -> Vec<usize> {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        check(&source, &strip(text)).iter().map(|fault| fault.line).collect()
    }

    #[test]
    fn policy_may_not_do_input_or_output() {
        let text = "use std::{\n    collections::BTreeMap,\n    fs::File,\n};\nfn a() { std::net::x(); }\n// std::fs\n";
        assert_eq!(faults("agent-guard/src/policy/check.rs", text), [3, 5]);
        assert!(faults("agent-guard/src/daemon/mod.rs", text).is_empty());
    }

    #[test]
    fn a_decision_has_no_clock_but_may_have_durations() {
        let text = "use std::time::{Duration, Instant};\n";
        assert_eq!(faults("agent-guard/src/decision/mod.rs", text), [1]);
        assert!(faults("agent-guard/src/decision/mod.rs", "use std::time::Duration;\n").is_empty());
    }

    #[test]
    fn the_client_knows_of_the_kernel_only_what_doctor_asks() {
        let text = "use crate::kernel::support;\nuse crate::kernel::maps;\n";
        assert_eq!(faults("agent-guard/src/cli/doctor.rs", text), [2]);
    }

    #[test]
    fn aya_stays_in_one_place() {
        assert_eq!(faults("agent-guard/src/daemon/mod.rs", "use aya::Ebpf;\n"), [1]);
        assert!(faults("agent-guard/src/kernel/load.rs", "use aya::Ebpf;\n").is_empty());
        assert!(faults("agent-guard/src/daemon/mod.rs", "let ayah = 1;\n").is_empty());
    }

    #[test]
    fn dns_stays_in_one_place_and_what_it_remembers_has_no_clock() {
        assert_eq!(faults("agent-guard/src/daemon/mod.rs", "use hickory_proto::op::Message;\n"), [1]);
        assert_eq!(faults("agent-guard/src/dns/turn.rs", "use crate::policy::Checked;\nuse tokio::net;\n"), [1]);
        assert_eq!(faults("agent-guard/src/dns/known.rs", "use tokio::net;\nuse core::net::IpAddr;\n"), [1]);
    }

    #[test]
    fn tests_of_pure_code_may_read_files() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert!(faults("agent-guard/src/policy/check.rs", text).is_empty());
    }
}
