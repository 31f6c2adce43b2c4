//! Whether a flat meets a polyhedron: a linear program in exact integers, from flat to flat.
//!
//! The *slack* of the inequality c·x ≤ e is e − c·x. A dictionary writes slacks and coordinates as affine
//! functions of others of them, which are its columns. All entries have the same denominator q > 0, and a
//! pivot divides without a remainder (J. Edmonds, 1967; see
//! [`IntegerDictionary`](crate::arrangement::cobases::IntegerDictionary)).
//!
//! **Feasible.** Columns that are slacks are 0 at the dictionary's point. If no slack is negative there, the
//! point is in the polyhedron. Otherwise take the first negative slack s. If s depends on its columns by no
//! positive coefficient, s is negative wherever these slacks are not: a proof that no point is feasible. If
//! it does, exchange s for the first such column. This is the dual simplex method with R. G. Bland's rule
//! (1977) for the objective 0, and so it ends.
//!
//! **Coordinates.** A coordinate may have any value, so a column that is one would have no sign. Coordinates
//! are exchanged for slacks first. The slacks do not depend on those for which there is no slack.
//!
//! **From flat to flat.** On the next flat one more hyperplane has slack 0. Its slack is exchanged for a
//! column, and the column is dropped. The point of the flat above is nearly feasible, so few steps follow.

use num_bigint::BigInt;

use crate::arrangement::arithmetic::exact::Exact;
use crate::{Control, Result};

/// What became of an exchange of columns.
enum Step {
    Done,
    /// A number does not fit.
    Overflow,
}

/// The inequalities on a flat, with slacks that are not negative at its point.
#[derive(Clone, Debug)]
pub(super) struct Dictionary<N> {
    /// The variable of each row and of each column. Variable i < m is the slack of inequality i, and m + k is
    /// coordinate k.
    rows: Vec<u32>,
    columns: Vec<u32>,
    inequalities: u32,
    /// An entry for each column and a constant, row by row.
    entries: Vec<N>,
    /// q.
    denominator: N,
}

/// The result of a test.
pub(super) enum Found<N> {
    /// The polyhedron meets the flat.
    Meets(Dictionary<N>),
    /// It does not.
    Misses,
    /// A number does not fit.
    Overflow,
}

impl<N: Exact> Dictionary<N> {
    /// The whole space, for inequalities [c|e].
    pub(super) fn whole(
        rows: &[Vec<BigInt>],
        dimension: usize,
        control: &Control,
    ) -> Result<Found<N>> {
        let inequalities = rows.len() as u32;
        let mut entries = Vec::with_capacity(rows.len() * (dimension + 1));
        for row in rows {
            control.check()?;
            for (at, x) in row.iter().enumerate() {
                let x = if at < dimension { N::of(&-x) } else { N::of(x) };
                let Some(x) = x else {
                    return Ok(Found::Overflow);
                };
                entries.push(x);
            }
        }
        let mut dictionary = Self {
            rows: (0..inequalities).collect(),
            columns: (0..dimension as u32).map(|k| inequalities + k).collect(),
            inequalities,
            entries,
            denominator: N::one(),
        };
        for column in 0..dimension {
            let depends = (0..rows.len()).find(|row| {
                dictionary.is_slack(dictionary.rows[*row])
                    && dictionary.entry(*row, column).sign() != 0
            });
            if let Some(row) = depends
                && matches!(dictionary.pivot(row, column, control)?, Step::Overflow)
            {
                return Ok(Found::Overflow);
            }
        }
        dictionary.made_feasible(control)
    }

    /// The flat in which a hyperplane a·x = b cuts this one properly, given as [a|b].
    pub(super) fn cut(&self, hyperplane: &[BigInt], control: &Control) -> Result<Found<N>> {
        let mut child = self.clone();
        let Some(row) = child.append(hyperplane) else {
            return Ok(Found::Overflow);
        };
        let chosen = (0..child.columns.len()).filter(|c| child.entry(row, *c).sign() != 0);
        // A coordinate first: no slack depends on it. Then a slack that stays positive.
        let constant = child.entry(row, child.columns.len()).sign();
        let Some(column) = chosen.min_by_key(|c| {
            let falls = child.entry(row, *c).sign() * constant > 0;
            (child.is_slack(child.columns[*c]), falls)
        }) else {
            // The hyperplane contains the flat or misses it.
            return Ok(if constant == 0 {
                Found::Meets(self.clone())
            } else {
                Found::Misses
            });
        };
        if matches!(child.pivot(row, column, control)?, Step::Overflow) {
            return Ok(Found::Overflow);
        }
        child.drop_column(column);
        child.made_feasible(control)
    }

    /// The same numbers in another type.
    pub(super) fn widened(&self) -> Dictionary<BigInt> {
        Dictionary {
            rows: self.rows.clone(),
            columns: self.columns.clone(),
            inequalities: self.inequalities,
            entries: self.entries.iter().map(Exact::to_big).collect(),
            denominator: self.denominator.to_big(),
        }
    }

    fn is_slack(&self, variable: u32) -> bool {
        variable < self.inequalities
    }

    fn entry(&self, row: usize, column: usize) -> &N {
        &self.entries[row * (self.columns.len() + 1) + column]
    }

    /// Append the row of a·x − b, and return its place. Its variable is added by [`pivot`](Self::pivot). `None`
    /// if a number does not fit.
    fn append(&mut self, hyperplane: &[BigInt]) -> Option<usize> {
        let stride = self.columns.len() + 1;
        let (side, normal) = hyperplane.split_last()?;
        let mut values = vec![N::zero(); stride];
        values[stride - 1] = N::zero().minus(&N::of(side)?.times(&self.denominator)?)?;
        let coordinate =
            |variable: u32| normal.get(variable.checked_sub(self.inequalities)? as usize);
        for (column, variable) in self.columns.iter().enumerate() {
            if let Some(a) = coordinate(*variable) {
                values[column] = N::of(a)?.times(&self.denominator)?;
            }
        }
        for (row, variable) in self.rows.iter().enumerate() {
            let Some(a) = coordinate(*variable) else {
                continue;
            };
            let a = N::of(a)?;
            if a.sign() == 0 {
                continue;
            }
            for (value, x) in values.iter_mut().zip(&self.entries[row * stride..]) {
                *value = value.plus(&a.times(x)?)?;
            }
        }
        self.entries.append(&mut values);
        self.rows.push(u32::MAX);
        Some(self.rows.len() - 1)
    }

    /// Exchange the variable of a row for that of a column. Their entry is not 0.
    fn pivot(&mut self, row: usize, column: usize, control: &Control) -> Result<Step> {
        let stride = self.columns.len() + 1;
        let solved = self.entries[row * stride..][..stride].to_vec();
        let pivot = &solved[column];
        let negative = pivot.sign() < 0;
        for (other, entries) in self.entries.chunks_exact_mut(stride).enumerate() {
            control.check()?;
            if other == row {
                continue;
            }
            let factor = entries[column].clone();
            let exchanged =
                entries
                    .iter_mut()
                    .zip(&solved)
                    .enumerate()
                    .try_for_each(|(c, (x, y))| {
                        if c != column {
                            *x = x
                                .times(pivot)?
                                .minus(&factor.times(y)?)?
                                .divided(&self.denominator)?;
                        }
                        if negative {
                            *x = N::zero().minus(x)?;
                        }
                        Some(())
                    });
            if exchanged.is_none() {
                return Ok(Step::Overflow);
            }
        }
        // The row is solved for the variable of the column.
        for (c, x) in self.entries[row * stride..][..stride]
            .iter_mut()
            .enumerate()
        {
            let value = match (c == column, negative) {
                (true, false) => Some(self.denominator.clone()),
                (true, true) => N::zero().minus(&self.denominator),
                (false, false) => N::zero().minus(&solved[c]),
                (false, true) => Some(solved[c].clone()),
            };
            let Some(value) = value else {
                return Ok(Step::Overflow);
            };
            *x = value;
        }
        let Some(denominator) = pivot.absolute() else {
            return Ok(Step::Overflow);
        };
        self.denominator = denominator;
        std::mem::swap(&mut self.rows[row], &mut self.columns[column]);
        Ok(Step::Done)
    }

    fn drop_column(&mut self, column: usize) {
        let stride = self.columns.len() + 1;
        let mut at = 0;
        self.entries.retain(|_| {
            at += 1;
            (at - 1) % stride != column
        });
        self.columns.remove(column);
    }

    /// Exchange slacks until none is negative.
    fn made_feasible(mut self, control: &Control) -> Result<Found<N>> {
        let last = self.columns.len();
        loop {
            let slacks = (0..self.rows.len()).filter(|row| self.is_slack(self.rows[*row]));
            let negative = slacks.filter(|row| self.entry(*row, last).sign() < 0);
            let Some(row) = negative.min_by_key(|row| self.rows[*row]) else {
                return Ok(Found::Meets(self));
            };
            let helpful = (0..last)
                .filter(|c| self.is_slack(self.columns[*c]) && self.entry(row, *c).sign() > 0);
            let Some(column) = helpful.min_by_key(|c| self.columns[*c]) else {
                return Ok(Found::Misses);
            };
            if matches!(self.pivot(row, column, control)?, Step::Overflow) {
                return Ok(Found::Overflow);
            }
        }
    }
}
