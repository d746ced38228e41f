//! From shape to meaning: resolves names, and notes whatever contradicts itself or could never take effect.
//!
//! Owns `Checked`, which only this file can build: whoever holds one holds a policy without faults.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use agent_guard_common::credential::Environment;
use agent_guard_common::limits::{LABELS, PORT_RANGES, POSITIONS, PROFILES, RULES};
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::{Tier, Verdict};

use super::fault::{Faults, Position, one_of};
use super::kind::Kind;
use super::read::At;
use super::rules;
use super::syntax;
use super::value::command::Command;
use super::value::device::Device;
use super::value::endpoint::{Cidr, Ports, Protocol};
use super::value::path::AbsolutePath;
use super::value::socket::Socket;
use super::value::text::Name;

/// What a held call waits when the policy does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// A policy without faults, its names resolved.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(super) timeout: Duration,
    /// In the order of the text; label number 1 is the first.
    pub(super) labels: Vec<Label>,
    /// In the order of the text.
    pub(super) profiles: Vec<Profile>,
    /// In the order of the text; rule number 1 is the first.
    pub(super) rules: Vec<Rule>,
}

/// A label and what it names.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) name: String,
    /// Where these credentials lead, if they are some.
    pub(super) credential: Option<Environment>,
    pub(super) objects: Objects,
}

/// What a label names.
#[derive(Clone, Debug)]
pub(super) enum Objects {
    Paths(Vec<String>),
    Devices(Vec<Device>),
    Endpoints(Vec<Endpoint>),
    /// Those that are bound to a path or below it, and those with an abstract name.
    Sockets {
        paths: Vec<String>,
        names: Vec<String>,
    },
    Commands(Vec<Command>),
}

/// Addresses and ports.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) addresses: Addresses,
    pub(super) ports: Vec<Ports>,
    /// IP protocol, 0 for any.
    pub(super) protocol: u16,
}

/// Which addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Addresses {
    Range(Cidr),
    Host(String),
}

/// A profile.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) default: Verdict,
}

/// A rule with its names resolved to numbers.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    /// Indices of `Checked::profiles`.
    pub(super) profiles: BTreeSet<usize>,
    /// Operations, each with the label numbers that it is judged on.
    pub(super) acts: BTreeMap<Operation, BTreeSet<u16>>,
    /// Bits of the environments of which the session must have touched a credential; 0: it decides in any case.
    pub(super) credentialed: u16,
    pub(super) verdict: Verdict,
    pub(super) tier: Tier,
    pub(super) timeout: Duration,
    pub(super) message: Option<String>,
}

impl Rule {
    /// Whether it decides for sessions that have touched credentials of a set of environments, which has their bits.
    pub(super) const fn decides(&self, set: u16) -> bool {
        self.credentialed == 0 || self.credentialed & set != 0
    }
}

impl Checked {
    /// The paths that labels name, in order, each once; see [`super::places`] for where they are.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let paths: BTreeSet<&str> = self.objects().filter_map(Objects::paths).flatten().map(String::as_str).collect();
        paths.into_iter()
    }

    /// The host names that labels name, in order, each once.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let hosts: BTreeSet<&str> = self
            .objects()
            .filter_map(Objects::endpoints)
            .flatten()
            .filter_map(|endpoint| endpoint.addresses.host())
            .collect();
        hosts.into_iter()
    }

    /// The operations that are not simply allowed everywhere: what the kernel must be able to enforce.
    #[must_use]
    pub fn operations(&self) -> BTreeSet<Operation> {
        let by_default = self.profiles.iter().any(|profile| profile.default != Verdict::Allow);
        let left_out = Operation::ALL.iter().copied().filter(|operation| by_default && !operation.must_be_named());
        let rules = self.rules.iter().filter(|rule| rule.verdict != Verdict::Allow);
        rules.flat_map(|rule| rule.acts.keys().copied()).chain(left_out).collect()
    }

    /// Those of them that are judged only because a rule names them.
    pub(super) fn demands(&self) -> BTreeSet<Operation> {
        self.operations().into_iter().filter(|operation| operation.must_be_named()).collect()
    }

    /// The names of the profiles, in the order of the text.
    pub fn profile_names(&self) -> impl Iterator<Item = &str> {
        self.profiles.iter().map(|profile| profile.name.as_str())
    }

    /// How long a held call waits where its rule does not say.
    #[must_use]
    pub const fn default_timeout(&self) -> Duration {
        self.timeout
    }

    fn objects(&self) -> impl Iterator<Item = &Objects> {
        self.labels.iter().map(|label| &label.objects)
    }
}

impl Objects {
    /// The kind of object.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Paths(_) => Kind::Paths,
            Self::Devices(_) => Kind::Devices,
            Self::Endpoints(_) => Kind::Endpoints,
            Self::Sockets { .. } => Kind::Sockets,
            Self::Commands(_) => Kind::Commands,
        }
    }

    /// The places that it names.
    pub(super) const fn paths(&self) -> Option<&Vec<String>> {
        if let Self::Paths(paths) | Self::Sockets { paths, .. } = self { Some(paths) } else { None }
    }

    const fn endpoints(&self) -> Option<&Vec<Endpoint>> {
        if let Self::Endpoints(endpoints) = self { Some(endpoints) } else { None }
    }
}

impl Addresses {
    fn host(&self) -> Option<&str> {
        if let Self::Host(host) = self { Some(host) } else { None }
    }
}

/// Gives a policy its meaning. What comes back is a policy only if no fault was noted.
pub(super) fn check(policy: syntax::Policy, faults: &mut Faults) -> Checked {
    let timeout = policy.timeout.as_ref().map_or(DEFAULT_TIMEOUT, |timeout| timeout.value.0);
    let mut seen = Seen::default();
    let entries = policy.labels.map_or_else(Vec::new, |table| table.0);
    // 0 is "unlabelled".
    limit(&entries, LABELS as usize - 1, "labels", faults);
    let labels: Vec<(Name, Option<Label>)> = entries
        .into_iter()
        .map(|(name, label)| {
            let credential = label.as_ref().and_then(|label| label.credential.clone());
            let objects = label.and_then(|label| objects(&name.value, label, &mut seen, faults));
            let objects = objects.inspect(|objects| note_unreadable(credential.as_ref(), objects.kind(), faults));
            let credential = credential.map(|credential| credential.value);
            (name.value.clone(), objects.map(|objects| Label { name: name.value.0, credential, objects }))
        })
        .collect();
    let entries = policy.profiles.0.map_or_else(Vec::new, |table| table.0);
    limit(&entries, PROFILES as usize, "profiles", faults);
    let profiles: Vec<Profile> = entries.into_iter().map(profile).collect();
    let kind = |label: &Option<Label>| label.as_ref().map(|label| label.objects.kind());
    let names = rules::Names {
        labels: (1_u16..)
            .zip(&labels)
            .map(|(number, (name, label))| (name.0.as_str(), (number, kind(label))))
            .collect(),
        profiles: profiles.iter().enumerate().map(|(index, profile)| (profile.name.as_str(), index)).collect(),
        timeout,
    };
    let mut written = policy.rules.unwrap_or_default();
    // 0 is the built-in default.
    let most = RULES as usize - 1;
    if let Some(rule) = written.get(most) {
        faults.add(rule.at, format!("the policy has {} rules; at most {most} fit", written.len()));
        written.truncate(most);
    }
    let rules = rules::resolve(written, &names, faults);
    Checked { timeout, labels: labels.into_iter().filter_map(|(_, label)| label).collect(), profiles, rules }
}

fn limit<T>(entries: &[(At<Name>, Option<T>)], most: usize, what: &str, faults: &mut Faults) {
    if let Some((name, _)) = entries.get(most) {
        faults.add(name.at, format!("the policy has {} {what}; at most {most} fit", entries.len()));
    }
}

fn profile((name, profile): (At<Name>, Option<syntax::Profile>)) -> Profile {
    // What could not be read is a fault already; the name alone keeps the rules from being faulted too.
    let default = profile.and_then(|profile| profile.default.0).map_or(Verdict::Deny, |default| default.value.0);
    Profile { name: name.value.0, default }
}

/// What labels have named so far, and where.
#[derive(Default)]
struct Seen {
    paths: BTreeMap<String, Position>,
    devices: BTreeMap<Device, Position>,
    sockets: BTreeMap<Socket, Position>,
    commands: BTreeMap<Command, Position>,
    /// Positions taken in each program's table.
    programs: BTreeMap<String, usize>,
    endpoints: BTreeMap<Addresses, Vec<(Ports, u16, Position)>>,
}

fn objects(name: &Name, label: syntax::Label, seen: &mut Seen, faults: &mut Faults) -> Option<Objects> {
    match (label.paths, label.devices, label.endpoints, label.sockets, label.commands) {
        (Some(paths), None, None, None, None) => Some(Objects::Paths(seen.paths(paths.0?, faults))),
        (None, Some(devices), None, None, None) => Some(Objects::Devices(seen.devices(devices.0?, faults))),
        (None, None, Some(endpoints), None, None) => Some(Objects::Endpoints(seen.endpoints(endpoints.0?, faults))),
        (None, None, None, Some(sockets), None) => Some(seen.sockets(sockets.0?, faults)),
        (None, None, None, None, Some(commands)) => Some(Objects::Commands(seen.commands(commands.0?, faults))),
        (None, None, None, None, None) => {
            let kinds = one_of(Kind::ALL.iter().map(|kind| kind.name()));
            faults.add(label.at, format!("the label `{}` names nothing; expected {kinds}", name.0));
            None
        }
        _ => {
            let text = format!(
                "the label `{}` names several kinds of things; expected one kind, and another label for each other",
                name.0
            );
            faults.add(label.at, text);
            None
        }
    }
}

/// Credentials are known to be touched by an act that the kernel sees.
fn note_unreadable(credential: Option<&At<Environment>>, kind: Kind, faults: &mut Faults) {
    let is_touched = |operation: &&Operation| operation.touches() && kind.meets(**operation);
    if let (Some(credential), None) = (credential, Operation::ALL.iter().find(is_touched)) {
        let text = format!("{} are read by no act that is seen; expected `credential` on paths", kind.name());
        faults.add(credential.at, text);
    }
}

fn once<K: Ord>(seen: &mut BTreeMap<K, Position>, key: K, at: Position, what: &str, faults: &mut Faults) {
    if let Some(before) = seen.get(&key) {
        faults.add(at, format!("this {what} stands at {before} already; expected each {what} once"));
    } else {
        seen.insert(key, at);
    }
}

impl Seen {
    fn paths(&mut self, paths: Vec<At<AbsolutePath>>, faults: &mut Faults) -> Vec<String> {
        let path = |path: At<AbsolutePath>| {
            once(&mut self.paths, path.value.0.clone(), path.at, "path", faults);
            path.value.0
        };
        paths.into_iter().map(path).collect()
    }

    fn devices(&mut self, devices: Vec<At<Device>>, faults: &mut Faults) -> Vec<Device> {
        let device = |device: At<Device>| {
            once(&mut self.devices, device.value, device.at, "device", faults);
            device.value
        };
        devices.into_iter().map(device).collect()
    }

    fn sockets(&mut self, sockets: Vec<At<Socket>>, faults: &mut Faults) -> Objects {
        let (mut paths, mut names) = (Vec::new(), Vec::new());
        for socket in sockets {
            once(&mut self.sockets, socket.value.clone(), socket.at, "socket", faults);
            match socket.value {
                Socket::Path(path) => paths.push(path.0),
                Socket::Abstract(name) => names.push(name),
            }
        }
        Objects::Sockets { paths, names }
    }

    fn endpoints(&mut self, endpoints: Vec<syntax::Endpoint>, faults: &mut Faults) -> Vec<Endpoint> {
        endpoints.into_iter().filter_map(|endpoint| self.endpoint(endpoint, faults)).collect()
    }

    fn commands(&mut self, commands: Vec<At<Command>>, faults: &mut Faults) -> Vec<Command> {
        let command = |command: At<Command>| {
            once(&mut self.commands, command.value.clone(), command.at, "pattern", faults);
            self.positions(&command.value, command.at, faults);
            command.value
        };
        commands.into_iter().map(command).collect()
    }

    fn positions(&mut self, command: &Command, at: Position, faults: &mut Faults) {
        let taken = self.programs.entry(command.program.clone()).or_default();
        let before = *taken;
        // A pattern without words still takes one position.
        *taken += command.words.len().max(1);
        if before <= POSITIONS && *taken > POSITIONS {
            faults.add(
                at,
                format!(
                    "the patterns of `{}` have {taken} words up to here; at most {POSITIONS} fit for one program",
                    command.program
                ),
            );
        }
    }

    fn endpoint(&mut self, endpoint: syntax::Endpoint, faults: &mut Faults) -> Option<Endpoint> {
        let addresses = match (endpoint.cidr, endpoint.host) {
            (Some(cidr), None) => Addresses::Range(cidr.0?.value),
            (None, Some(host)) => Addresses::Host(host.0?.value.0),
            (None, None) => {
                faults.add(endpoint.at, "this endpoint names no addresses; expected `cidr` or `host`");
                return None;
            }
            (Some(_), Some(_)) => {
                faults.add(
                    endpoint.at,
                    "this endpoint has a `cidr` and a `host`; expected one of them, and an endpoint for each",
                );
                return None;
            }
        };
        let Protocol(protocol) = endpoint.protocol.map_or(Protocol(0), |protocol| protocol.value);
        let ports: Vec<(Ports, Position)> = endpoint.ports.map_or_else(
            || vec![(Ports::ANY, endpoint.at)],
            |ports| ports.into_iter().map(|ports| (ports.value, ports.at)).collect(),
        );
        let taken = self.endpoints.entry(addresses.clone()).or_default();
        for (range, at) in &ports {
            if taken.len() == PORT_RANGES {
                faults.add(
                    *at,
                    format!("at most {PORT_RANGES} port ranges fit for the same addresses; expected them merged"),
                );
                break;
            }
            // Of two labels on one port, one would silently win.
            let met = taken.iter().find(|(other, spoken, _)| {
                other.meets(*range) && (*spoken == 0 || protocol == 0 || *spoken == protocol)
            });
            if let Some((_, _, before)) = met {
                faults.add(
                    *at,
                    format!("these addresses and ports meet those at {before}; expected each port of an address once"),
                );
            }
            taken.push((*range, protocol, *at));
        }
        Some(Endpoint { addresses, ports: ports.into_iter().map(|(ports, _)| ports).collect(), protocol })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use agent_guard_common::operation::Operation;

    use crate::policy::load;

    const POLICY: &str = "version: 1
labels:
  data: { paths: [/srv/prod, /etc/prod.conf, ~/prod] }
  config: { paths: [/etc/app] }
  cloud: { endpoints: [{ host: db.example, ports: [5432] }, { host: db.example, ports: [80] }, { cidr: 10.0.0.0/8 }] }
profiles: { agent: { default: allow }, human: { default: allow } }
rules:
  - { name: r, profiles: agent, operations: [delete], labels: data, verdict: hold }
  - { name: s, profiles: all, operations: [write], labels: data, verdict: allow }
";

    #[test]
    fn a_policy_says_what_must_be_looked_up() {
        let policy = load(POLICY).unwrap();
        assert_eq!(policy.paths().collect::<Vec<_>>(), ["/etc/app", "/etc/prod.conf", "/srv/prod", "~/prod"]);
        assert_eq!(policy.hosts().collect::<Vec<_>>(), ["db.example"]);
        assert_eq!(policy.profile_names().collect::<Vec<_>>(), ["agent", "human"]);
        assert_eq!(policy.default_timeout().as_secs(), 300);
    }

    #[test]
    fn only_what_is_not_simply_allowed_must_be_enforced() {
        assert_eq!(load(POLICY).unwrap().operations(), BTreeSet::from([Operation::Delete]));
        let strict = load(&POLICY.replace("human: { default: allow }", "human: { default: audit }")).unwrap();
        let unless_named = Operation::ALL.iter().copied().filter(|operation| !operation.must_be_named());
        assert_eq!(strict.operations(), unless_named.collect());
        assert_eq!(strict.demands(), BTreeSet::new());
        let demanding = load(&POLICY.replace("[delete]", "[delete, modify]").replace("hold", "deny")).unwrap();
        assert_eq!(demanding.demands(), BTreeSet::from([Operation::Modify]));
    }
}
