//! The matrix of verdicts, and the labels that are composed of others.

use std::collections::{BTreeMap, BTreeSet};

use agent_guard_common::credential::{EXEMPT, Environment};
use agent_guard_common::limits::LABELS;
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{Cell, Row, UNLABELLED, row_index};
use agent_guard_common::verdict::Verdict;

use super::decision::{Conditions, Decision};
use super::{CompileError, LabelInfo, LabelKind, too_many};
use crate::policy::check::{Checked, Label};
use crate::policy::rules::usual_tier;

/// The decisions of all profiles and operations, by label.
pub(super) struct Matrix {
    /// For each profile in the policy's order, and each operation, a decision a label.
    cells: Vec<Vec<Decision>>,
    /// For each label the bits of the environments that it is a credential of.
    credentials: Vec<u16>,
    labels: Vec<LabelInfo>,
    composed: BTreeMap<BTreeSet<u16>, u16>,
}

impl Matrix {
    /// Decides every act on every label that the policy defines.
    pub(super) fn new(policy: &Checked) -> Self {
        let unlabelled = LabelInfo { name: "unlabelled".to_owned(), kind: LabelKind::Unlabelled };
        let named = policy
            .labels
            .iter()
            .map(|label| LabelInfo { name: label.name.clone(), kind: LabelKind::Named(label.objects.kind()) });
        let labels: Vec<LabelInfo> = std::iter::once(unlabelled).chain(named).collect();
        let bits = |label: &Label| {
            let leads = label.credential.map_or(0, Environment::bit);
            if label.is_public { EXEMPT } else { leads }
        };
        let named = policy.labels.iter().map(bits);
        let credentials = std::iter::once(0).chain(named).collect();
        let mut cells: Vec<Vec<Decision>> = Vec::new();
        for profile in &policy.profiles {
            let default = |operation: &Operation| {
                let verdict = if operation.must_be_named() { Verdict::Allow } else { profile.default };
                vec![Decision::Always(cell(verdict, usual_tier(verdict) as u8, 0)); labels.len()]
            };
            cells.extend(Operation::ALL.iter().map(default));
        }
        // Backwards, so that the first rule is written last and wins.
        let numbered: Vec<_> = (1_u16..).zip(&policy.rules).collect();
        for (number, rule) in numbered.into_iter().rev() {
            for profile in &rule.profiles {
                for (operation, labels) in &rule.acts {
                    let row = &mut cells[*profile * Operation::ALL.len() + *operation as usize];
                    let decided = cell(rule.verdict, rule.tier as u8, number);
                    for label in labels {
                        row[usize::from(*label)].write(decided, |set| rule.decides(set));
                    }
                }
            }
        }
        Self { cells, credentials, labels, composed: BTreeMap::new() }
    }

    /// The label that stands for all of some labels: in every cell the strictest of theirs decides.
    pub(super) fn compose(&mut self, mut members: BTreeSet<u16>) -> Result<u16, CompileError> {
        if members.len() > 1 && self.adds_nothing(UNLABELLED, &members) {
            members.remove(&UNLABELLED);
        }
        let Some(first) = members.first().copied() else { return Ok(UNLABELLED) };
        if members.len() == 1 {
            return Ok(first);
        }
        if let Some(number) = self.composed.get(&members) {
            return Ok(*number);
        }
        let limit = LABELS as usize;
        let number = u16::try_from(self.labels.len()).ok().filter(|number| usize::from(*number) < limit);
        let number = number
            .ok_or_else(|| too_many("labels, those composed of others included,", self.labels.len() + 1, limit))?;
        for row in &mut self.cells {
            let strictest = Decision::strictest(members.iter().map(|label| &row[usize::from(*label)]));
            row.extend(strictest);
        }
        self.credentials.push(members.iter().fold(0, |bits, label| bits | self.credentials[usize::from(*label)]));
        let names: Vec<&str> = members.iter().map(|label| self.labels[usize::from(*label)].name.as_str()).collect();
        self.labels
            .push(LabelInfo { name: names.join(" + "), kind: LabelKind::Composed(members.iter().copied().collect()) });
        self.composed.insert(members, number);
        Ok(number)
    }

    /// Whether a member is nowhere stricter than the others together.
    fn adds_nothing(&self, member: u16, members: &BTreeSet<u16>) -> bool {
        self.cells.iter().all(|row| {
            let others = members.iter().filter(|label| **label != member).map(|label| &row[usize::from(*label)]);
            let Some(others) = Decision::strictest(others) else { return false };
            let both = others.cells().into_iter().zip(row[usize::from(member)].cells());
            both.map(|(others, member)| (others.verdict, member.verdict)).all(|(others, member)| others >= member)
        })
    }

    /// The rows as the kernel's map holds them, by index. Numbers that no label has stay zero: undecided, so refused.
    pub(super) fn rows(
        &self,
        policy: &Checked,
        profiles: &BTreeMap<String, u32>,
        slot: u32,
        conditions: &mut Conditions,
    ) -> Result<Vec<(u32, Box<Row>)>, CompileError> {
        let mut rows = Vec::with_capacity(self.cells.len());
        for (profile, cells) in policy.profiles.iter().zip(self.cells.chunks(Operation::ALL.len())) {
            let profile_in_use = || CompileError::ProfileInUse { name: profile.name.clone() };
            let index = *profiles.get(&profile.name).ok_or_else(profile_in_use)?;
            for (operation, cells) in Operation::ALL.iter().zip(cells) {
                let row_index = row_index(slot, index, *operation as u32);
                let row_index =
                    row_index.ok_or_else(|| CompileError::ProfileIndex { name: profile.name.clone(), index })?;
                let mut row = Box::new([Cell::ZERO; LABELS as usize]);
                for (to, decision) in row.iter_mut().zip(cells) {
                    *to = Cell { whose: profile.credentialed as u16, ..conditions.cell(decision)? };
                }
                rows.push((row_index, row));
            }
        }
        rows.sort_by_key(|(index, _)| *index);
        Ok(rows)
    }

    /// All labels by number, and what each is a credential of.
    pub(super) fn into_labels(self) -> (Vec<LabelInfo>, Vec<u16>) {
        (self.labels, self.credentials)
    }
}

const fn cell(verdict: Verdict, tier: u8, rule: u16) -> Cell {
    Cell { verdict: verdict as u8, tier, rule, condition: 0, whose: 0 }
}
