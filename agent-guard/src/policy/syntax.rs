//! The policy language, declared: its records, their keys, and its JSON schema.
//!
//! Owns what may stand where. What the names refer to is `check`'s to know.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};

use agent_guard_common::credential::{Environment, Whose};
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::{Tier, Verdict};

use super::read::{At, Given, Several, Table, record};
use super::terms::{Demand, Scope};
use super::value::command::Command;
use super::value::device::Device;
use super::value::endpoint::{Cidr, Ports, Protocol};
use super::value::host::{Heard, HostName};
use super::value::name::{FileName, Variable};
use super::value::path::AbsolutePath;
use super::value::socket::Socket;
use super::value::text::{Approvers, GroupName, LabelName, Message, Name, Questions, RuleName, Timeout, Version};
use super::value::word::{DefaultVerdict, Leads, NoAnswer};
use super::variables::Stripping;

record! {
    /// A policy of agent-guard: who may do what, and when a person is asked first.
    Policy = "the policy" {
        /// Version of the policy language: 1.
        #[expect(dead_code, reason = "there is one version: reading it is checking it")]
        version: Given<At<Version>>,
        /// How long a held call waits for an answer before it is refused: a number with a unit (s, m, h). Five minutes unless given.
        timeout: Option<At<Timeout>>,
        /// What objects are: each label names paths, devices, endpoints, sockets or commands.
        labels: Option<Table<Name, Label>>,
        /// The roles that sessions run under.
        profiles: Given<Table<Name, Profile>>,
        /// The rules; the first that matches decides.
        rules: Option<Vec<Rule>>,
    }
}

record! {
    /// What one label names: exactly one kind of thing.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 2))]
    Label = "a label", at {
        /// That these are credentials, or hand some out, and where they lead; `none`: that they are none, whatever their names.
        credential: Option<At<Leads>>,
        /// Absolute paths: each names an object and everything below it.
        paths: Option<Given<Vec<At<AbsolutePath>>>>,
        /// Files by their names, in whatever directory: a whole name, or `*.SUFFIX`, or `BEGINNING.*`.
        names: Option<Given<Vec<At<FileName>>>>,
        /// Devices, whatever their nodes are called: `block` (all of them), or by number, as `block 8:0` or `char 1:1`.
        devices: Option<Given<Vec<At<Device>>>>,
        /// Network endpoints.
        endpoints: Option<Given<Vec<Endpoint>>>,
        /// Unix sockets: the path that they are bound to or lie below, or `@` and their abstract name.
        sockets: Option<Given<Vec<At<Socket>>>>,
        /// Variables of programs' environments that are credentials: a whole name, or `*_WORD`, or `WORD_*`.
        variables: Option<Given<Vec<At<Variable>>>>,
        /// Commands: a program and its words, where `*` is any one word and `**` any number of words.
        commands: Option<Given<Vec<At<Command>>>>,
    }
}

record! {
    /// Addresses, by range or by host name, and ports.
    Endpoint = "an endpoint", at {
        /// An address or a range of addresses, as 203.0.113.0/24 or 2001:db8::/32.
        cidr: Option<Given<At<Cidr>>>,
        /// A host name; its addresses are looked up whenever the policy is loaded.
        host: Option<Given<At<HostName>>>,
        /// A name that sessions look up, `*.` and a domain for all below it, or `unnamed` for addresses that they have no name for.
        name: Option<Given<At<Heard>>>,
        /// Ports and ranges of ports, as 443 or 5000-5010; any unless given.
        ports: Option<Vec<At<Ports>>>,
        /// The protocol; any unless given.
        protocol: Option<At<Protocol>>,
    }
}

record! {
    /// A role that sessions run under.
    Profile = "a profile" {
        /// The verdict on what no rule names.
        default: Given<At<DefaultVerdict>>,
        /// Which variables of its environment that labels call credentials `agent-guard run` does not pass to the command: keep
        /// (it passes on all), strip-production (those of production are left out), strip (all are). strip-production unless given.
        variables: Option<At<Stripping>>,
        /// Who is credentialed once a credential was touched: session (all its processes), process-tree (the process that
        /// touched it, and those that it starts from then on). session unless given.
        credentialed: Option<At<Whose>>,
        /// How many questions its session may have people asked within a minute; one that asks more is halted, and a person
        /// lets it go on, or not. 100 unless given.
        questions: Option<At<Questions>>,
    }
}

record! {
    /// A rule.
    Rule = "a rule", at {
        /// Its name, as approvers and the audit log show it.
        name: Given<At<RuleName>>,
        /// The profiles that it speaks of.
        profiles: Given<Several<Name>>,
        /// The operations that it speaks of.
        operations: Given<Several<Operation>>,
        /// The labels that it speaks of; `unlabelled` is what no label names.
        labels: Given<Several<LabelName>>,
        /// When it decides; always unless given.
        when: Option<When>,
        /// What happens: allow, audit (allow and log), hold (ask a person first) or deny.
        verdict: Given<At<Verdict>>,
        /// How closely it is watched; by the verdict unless given: autonomous for allow, supervised for audit, gated for hold and deny.
        tier: Option<At<Tier>>,
        /// How a lookup that this rule denies is answered; refused unless given.
        answer: Option<At<NoAnswer>>,
        /// How long a call that this rule holds waits, when not as long as the policy says.
        timeout: Option<At<Timeout>>,
        /// What it takes to approve a call that this rule holds; one answer of anybody who may answer unless given.
        approval: Option<Approval>,
        /// One line for the approver and for the one who is held.
        message: Option<At<Message>>,
    }
}

record! {
    /// What an approval takes.
    #[schemars(extend("minProperties" = 1))]
    Approval = "an approval", at {
        /// How many users must approve, each once: 1 unless given.
        approvers: Option<At<Approvers>>,
        /// The group of this machine that each of them must be in.
        group: Option<At<GroupName>>,
        /// What else each of them owes: another-user (that is not the session's own), reason (`--reason`), confirmation
        /// (`--confirm`, and the object as it is shown).
        demands: Option<Given<Vec<At<Demand>>>>,
        /// How far an approval may reach: once, process, session, or rule (what the rule holds of whatever session);
        /// session unless given.
        widest: Option<At<Scope>>,
    }
}

record! {
    /// When a rule decides.
    When = "a condition" {
        /// That the session has touched a credential which leads to one of these environments; `all`: any credential.
        credentialed: Given<Several<Environment>>,
    }
}

/// The JSON schema of the policy language, pretty-printed, with a final newline.
#[must_use]
pub fn schema() -> String {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Policy>();
    RecursiveTransform(tighten).transform(&mut schema);
    let mut text = format!("{:#}", schema.as_value());
    text.push('\n');
    text
}

/// Says what the readers insist on and no type says: a key that may be left out may not be left empty.
fn tighten(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(serde_json::Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if object.get("type").is_some_and(|name| name == "array") {
        object.insert("minItems".to_owned(), 1.into());
    }
    if object.get("additionalProperties").is_some_and(serde_json::Value::is_object) {
        object.insert("minProperties".to_owned(), 1.into());
    }
    if let Some(serde_json::Value::Array(choices)) = object.get_mut("enum") {
        choices.retain(|choice| !choice.is_null());
    }
    if let Some(serde_json::Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if let [serde_json::Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            object.extend(only);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::schema;

    /// `UPDATE_SCHEMA=1 cargo test --lib policy::syntax` writes the file anew.
    #[test]
    fn the_schema_that_is_checked_in_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy.schema.json");
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, schema()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), schema());
    }

    #[test]
    fn a_key_that_may_be_left_out_may_not_be_left_empty() {
        assert!(!schema().contains("null"));
    }
}
