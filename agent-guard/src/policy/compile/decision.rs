//! What is decided about an act: one cell, or one for each set of environments that a session has touched credentials of.
//!
//! Must not know rules: `matrix` writes what they say.

use core::cmp::Reverse;
use std::collections::BTreeMap;

use agent_guard_common::bytes_of;
use agent_guard_common::credential::condition_index;
use agent_guard_common::limits::CONDITIONS;
use agent_guard_common::rule::{Alternatives, Cell};
use agent_guard_common::verdict::Verdict;

use super::{CompileError, too_many};

/// A decision.
#[derive(Clone)]
pub(super) enum Decision {
    /// Whatever was touched.
    Always(Cell),
    /// By what was touched.
    By(Box<Alternatives>),
}

/// Orders cells by strictness; of equals, the earlier rule's is the greater, and the default's the least.
pub(super) const fn strictness(cell: &Cell) -> (u8, u8, Reverse<u16>) {
    (Verdict::strictness(cell.verdict), cell.tier, Reverse(cell.rule.wrapping_sub(1)))
}

impl Decision {
    fn of(cells: Alternatives) -> Self {
        let [first, ..] = cells;
        if cells.iter().all(|cell| *cell == first) { Self::Always(first) } else { Self::By(Box::new(cells)) }
    }

    /// The cells of all sets.
    pub(super) fn cells(&self) -> Alternatives {
        match self {
            Self::Always(cell) => [*cell; _],
            Self::By(cells) => **cells,
        }
    }

    /// Writes a cell for some sets.
    pub(super) fn write(&mut self, decided: Cell, is_for: impl Fn(u16) -> bool) {
        let mut cells = self.cells();
        for (_, cell) in (0_u16..).zip(&mut cells).filter(|(set, _)| is_for(*set)) {
            *cell = decided;
        }
        *self = Self::of(cells);
    }

    /// For each set the strictest of several.
    pub(super) fn strictest<'a>(mut decisions: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let mut cells = decisions.next()?.cells();
        for other in decisions {
            for (cell, other) in cells.iter_mut().zip(other.cells()) {
                if strictness(&other) > strictness(cell) {
                    *cell = other;
                }
            }
        }
        Some(Self::of(cells))
    }
}

/// The conditions of one generation, each once.
pub(super) struct Conditions {
    slot: u32,
    numbers: BTreeMap<Vec<u8>, u16>,
    /// As the kernel's map holds them, by index.
    pub(super) rows: Vec<(u32, Alternatives)>,
}

impl Conditions {
    /// None yet.
    pub(super) const fn of(slot: u32) -> Self {
        Self { slot, numbers: BTreeMap::new(), rows: Vec::new() }
    }

    /// The cell that stands in the matrix for a decision. One with a condition says besides what holds for a session that
    /// has touched nothing.
    pub(super) fn cell(&mut self, decision: &Decision) -> Result<Cell, CompileError> {
        let cells = match decision {
            Decision::Always(cell) => return Ok(*cell),
            Decision::By(cells) => cells,
        };
        let bytes: Vec<u8> = cells.iter().flat_map(bytes_of).copied().collect();
        let condition = if let Some(number) = self.numbers.get(&bytes) { *number } else { self.add(bytes, **cells)? };
        Ok(Cell { condition, ..cells[0] })
    }

    fn add(&mut self, bytes: Vec<u8>, cells: Alternatives) -> Result<u16, CompileError> {
        let count = self.rows.len() + 1;
        let full = || too_many("kinds of acts whose verdict depends on credentials", count, CONDITIONS as usize);
        let number = u16::try_from(count).map_err(|_too_large| full())?;
        let index = condition_index(self.slot, u32::from(number)).ok_or_else(full)?;
        self.rows.push((index, cells));
        self.numbers.insert(bytes, number);
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::limits::CONDITIONS;
    use agent_guard_common::rule::Cell;

    use super::{Conditions, Decision};

    fn cell(verdict: u8, rule: u16) -> Cell {
        Cell { verdict, tier: 1, rule, condition: 0, whose: 0 }
    }

    #[test]
    fn alike_decisions_are_one_condition_and_what_never_differs_is_none() {
        let mut conditions = Conditions::of(1);
        let mut decision = Decision::Always(cell(1, 1));
        assert_eq!(conditions.cell(&decision).unwrap().condition, 0);
        decision.write(cell(3, 2), |set| set & 1 != 0);
        let first = conditions.cell(&decision).unwrap();
        assert_eq!((first.condition, first.verdict), (1, 1));
        assert_eq!(conditions.cell(&decision.clone()).unwrap(), first);
        decision.write(cell(4, 3), |set| set & 2 != 0);
        assert_eq!(conditions.cell(&decision).unwrap().condition, 2);
        let verdicts = conditions.rows[1].1.map(|cell| cell.verdict);
        assert_eq!(verdicts[..4], [1, 3, 4, 4]);
        assert_eq!(conditions.rows.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [CONDITIONS, CONDITIONS + 1]);
        decision.write(cell(2, 4), |_| true);
        assert_eq!(conditions.cell(&decision).unwrap().condition, 0);
    }

    #[test]
    fn of_several_the_strictest_decides_for_each_set() {
        let (mut one, mut other) = (Decision::Always(cell(1, 1)), Decision::Always(cell(2, 2)));
        one.write(cell(4, 3), |set| set == 1);
        other.write(cell(3, 4), |set| set == 1 || set == 2);
        let both = Decision::strictest([&one, &other].into_iter()).unwrap().cells();
        assert_eq!(both.map(|cell| cell.rule)[..4], [2, 3, 4, 2]);
    }

    #[test]
    fn more_conditions_than_fit_are_refused() {
        let mut conditions = Conditions::of(0);
        let with = |rule: u16| {
            let mut decision = Decision::Always(cell(1, 0));
            decision.write(cell(3, rule), |set| set == 1);
            decision
        };
        let most = u16::try_from(CONDITIONS).unwrap();
        assert!((1..=most).all(|rule| conditions.cell(&with(rule)).is_ok()));
        let error = conditions.cell(&with(most + 1)).unwrap_err().to_string();
        assert!(error.contains("513") && error.contains("512"), "{error}");
    }
}
