//! What labels name: the objects of each kind, and what stands where it cannot.
//!
//! Must not know rules.

use std::collections::BTreeMap;

use agent_guard_common::limits::{PORT_RANGES, POSITIONS};
use agent_guard_common::operation::Operation;

use super::fault::{Faults, Position, one_of};
use super::kind::Kind;
use super::read::{At, Given};
use super::syntax;
use super::value::command::Command;
use super::value::device::Device;
use super::value::endpoint::{Cidr, Ports, Protocol};
use super::value::host::Heard;
use super::value::name::{FileName, Pattern, Variable};
use super::value::path::AbsolutePath;
use super::value::socket::Socket;
use super::value::text::Name;
use super::value::word::Leads;

/// What a label names.
#[derive(Clone, Debug)]
pub(super) enum Objects {
    Paths(Vec<String>),
    /// Files with such a name, wherever they lie.
    Names(Vec<Pattern>),
    Devices(Vec<Device>),
    Endpoints(Vec<Endpoint>),
    /// Those that are bound to a path or below it, those whose file has such a name, and those with an abstract name.
    Sockets {
        paths: Vec<String>,
        files: Vec<Pattern>,
        names: Vec<String>,
    },
    /// Variables of programs' environments.
    Variables(Vec<Pattern>),
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
    /// Those that a session knows by such a name.
    Heard(Heard),
}

impl Objects {
    /// The kind of object.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Paths(_) => Kind::Paths,
            Self::Names(_) => Kind::Names,
            Self::Devices(_) => Kind::Devices,
            Self::Endpoints(_) => Kind::Endpoints,
            Self::Sockets { .. } => Kind::Sockets,
            Self::Variables(_) => Kind::Variables,
            Self::Commands(_) => Kind::Commands,
        }
    }

    /// The places that it names.
    pub(super) const fn paths(&self) -> Option<&Vec<String>> {
        if let Self::Paths(paths) | Self::Sockets { paths, .. } = self { Some(paths) } else { None }
    }

    pub(super) const fn endpoints(&self) -> Option<&Vec<Endpoint>> {
        if let Self::Endpoints(endpoints) = self { Some(endpoints) } else { None }
    }
}

impl Addresses {
    /// Whether a name means them.
    pub(super) fn are_meant_by(&self, name: &str) -> bool {
        match self {
            Self::Range(_) => false,
            Self::Host(host) => host == name,
            Self::Heard(heard) => heard.means(name),
        }
    }

    pub(super) fn host(&self) -> Option<&str> {
        if let Self::Host(host) = self { Some(host) } else { None }
    }
}

/// What labels have named so far, and where.
#[derive(Default)]
pub(super) struct Seen {
    paths: BTreeMap<String, Position>,
    names: BTreeMap<Pattern, Position>,
    variables: BTreeMap<Pattern, Position>,
    devices: BTreeMap<Device, Position>,
    sockets: BTreeMap<Socket, Position>,
    commands: BTreeMap<Command, Position>,
    /// Positions taken in each program's table.
    programs: BTreeMap<String, usize>,
    endpoints: BTreeMap<Addresses, Vec<(Ports, u16, Position)>>,
}

/// Reads what a label names; `None` when it names nothing that could be read.
pub(super) fn objects(name: &Name, label: syntax::Label, seen: &mut Seen, faults: &mut Faults) -> Option<Objects> {
    let syntax::Label { at, credential, paths, names, devices, endpoints, sockets, variables, commands } = label;
    let mut named: Vec<Option<Objects>> = Vec::new();
    named.extend(paths.map(|Given(these)| these.map(|these| Objects::Paths(seen.paths(these, faults)))));
    named.extend(names.map(|Given(these)| these.map(|these| Objects::Names(seen.names(these, faults)))));
    named.extend(devices.map(|Given(these)| these.map(|these| Objects::Devices(seen.devices(these, faults)))));
    named.extend(endpoints.map(|Given(these)| these.map(|these| Objects::Endpoints(seen.endpoints(these, faults)))));
    named.extend(sockets.map(|Given(these)| these.map(|these| seen.sockets(these, faults))));
    named.extend(variables.map(|Given(these)| these.map(|these| Objects::Variables(seen.variables(these, faults)))));
    named.extend(commands.map(|Given(these)| these.map(|these| Objects::Commands(seen.commands(these, faults)))));
    let Some(objects) = named.pop() else {
        let kinds = one_of(Kind::ALL.iter().map(|kind| kind.name()));
        faults.add(at, format!("the label `{}` names nothing; expected {kinds}", name.0));
        return None;
    };
    if !named.is_empty() {
        let text = format!(
            "the label `{}` names several kinds of things; expected one kind, and another label for each other",
            name.0
        );
        faults.add(at, text);
        return None;
    }
    objects.inspect(|objects| note_untouchable(credential.as_ref(), objects.kind(), faults))
}

/// Credentials are known to be touched by an act that the kernel sees, or by being told of.
fn note_untouchable(credential: Option<&At<Leads>>, kind: Kind, faults: &mut Faults) {
    let is_touched = |kind: &&Kind| {
        **kind == Kind::Variables
            || Operation::ALL.iter().any(|operation| operation.touches() && kind.meets(*operation))
    };
    if let (Some(credential), false) = (credential, is_touched(&&kind)) {
        let kinds = one_of(Kind::ALL.iter().filter(is_touched).map(|kind| kind.name()));
        let text = format!("{} are touched by no act that is seen; expected `credential` beside {kinds}", kind.name());
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

    fn names(&mut self, names: Vec<At<FileName>>, faults: &mut Faults) -> Vec<Pattern> {
        let name = |name: At<FileName>| {
            once(&mut self.names, name.value.0.clone(), name.at, "name", faults);
            name.value.0
        };
        names.into_iter().map(name).collect()
    }

    fn variables(&mut self, variables: Vec<At<Variable>>, faults: &mut Faults) -> Vec<Pattern> {
        let variable = |variable: At<Variable>| {
            once(&mut self.variables, variable.value.0.clone(), variable.at, "variable", faults);
            variable.value.0
        };
        variables.into_iter().map(variable).collect()
    }

    fn devices(&mut self, devices: Vec<At<Device>>, faults: &mut Faults) -> Vec<Device> {
        let device = |device: At<Device>| {
            once(&mut self.devices, device.value, device.at, "device", faults);
            device.value
        };
        devices.into_iter().map(device).collect()
    }

    fn sockets(&mut self, sockets: Vec<At<Socket>>, faults: &mut Faults) -> Objects {
        let (mut paths, mut files, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for socket in sockets {
            once(&mut self.sockets, socket.value.clone(), socket.at, "socket", faults);
            match socket.value {
                Socket::Path(path) => paths.push(path.0),
                Socket::Anywhere(name) => files.push(name),
                Socket::Abstract(name) => names.push(name),
            }
        }
        Objects::Sockets { paths, files, names }
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
        let addresses = match (endpoint.cidr, endpoint.host, endpoint.name) {
            (Some(cidr), None, None) => Addresses::Range(cidr.0?.value),
            (None, Some(host), None) => Addresses::Host(host.0?.value.0),
            (None, None, Some(name)) => Addresses::Heard(name.0?.value),
            (None, None, None) => {
                faults.add(endpoint.at, "this endpoint names no addresses; expected `cidr`, `host` or `name`");
                return None;
            }
            _ => {
                let text = "this endpoint names addresses in two ways; expected one of `cidr`, `host` and `name`, and an endpoint for each";
                faults.add(endpoint.at, text);
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
