//! Avis' and Fukuda's reverse search with the least-index criss-cross rule (*A pivoting algorithm for
//! convex hulls and vertex enumeration of arrangements and polyhedra*, Discrete & Computational
//! Geometry 8, 1992), the predecessor that arXiv 2401.16675 compares the Zero rule with.
//!
//! **The rule.** The dictionaries here are those of a linear program: maximise f subject to
//! slack_i ≥ 0. At cobasis N, an index is *infeasible* if it is an i ∉ N with a negative constant, or a
//! j ∈ N with a positive cost. Let k be the least infeasible index. If k ∉ N, exchange it for the least
//! j ∈ N with D\[k\]\[j\] > 0. If k ∈ N, exchange it for the least i ∉ N with D\[i\]\[k\] < 0. From any
//! dictionary, feasible or not, the rule ends at an optimal dictionary. So its reverse reaches all
//! cobases.
//!
//! **The program.** The cobases of an arrangement depend on the normals alone, so costs and constants are
//! free to choose. At the first cobasis all costs are set to −1 and all constants to 1. Then this
//! dictionary is optimal, and its solution is the only one. All other slacks are positive at the
//! solution, so it is the only optimal dictionary. Hence the search has one root, for degenerate
//! arrangements too. (With the right-hand side of the arrangement, a degenerate arrangement has many
//! optimal dictionaries, and all would have to be found first.) A further column keeps the constants of
//! the arrangement. They give the coordinates, and decide at which of its cobases a vertex is reported.
//!
//! **The reverse.** Let the rule lead to N′ by an exchange that takes j into the cobasis and i out of it.
//! Then one of these holds at N′:
//! * D\[i\]\[j\] > 0, the constant of i is positive, and D\[i\]\[l\] ≥ 0 for all l < i in N′ − j;
//! * D\[i\]\[j\] < 0, the cost of j is negative, and D\[l\]\[j\] ≤ 0 for all l < j outside N′ + i.
//!
//! These conditions are necessary and not sufficient: a trial pivot has to show that no smaller index is
//! infeasible at N.
//!
//! **Signs.** An entry times the determinant of the cobasis is a minor, and the sign of its residue is
//! that of the minor. The minors are those of the matrix of the arrangement with a column of constants and
//! a row of costs added ([`rows`]). So the bound has to cover these minors.

use num_bigint::BigInt;
use num_traits::Signed;

use super::result::BaselineResult;
use crate::arrangement::arithmetic::{SignedField, push_integer};
use crate::arrangement::input::Arrangement;
use crate::{Control, Result};

/// The integer rows that a bound on minors has to cover: every hyperplane with a constant of 1 added, and
/// a row for the costs. The costs are the sum of d of the normals. Each is bounded by d times the largest
/// entry of its column.
pub fn rows(arrangement: &Arrangement) -> Vec<Vec<BigInt>> {
    let dimension = arrangement.dimension();
    let mut costs = vec![BigInt::default(); dimension];
    let mut rows = Vec::with_capacity(arrangement.rows().len() + 1);
    for row in arrangement.rows() {
        for (cost, entry) in costs.iter_mut().zip(row) {
            *cost = entry.abs().max(cost.clone());
        }
        rows.push(row.iter().cloned().chain([BigInt::from(1)]).collect());
    }
    let costs = costs.into_iter().map(|x| x * dimension);
    rows.push(costs.chain([BigInt::from(1)]).collect());
    rows
}

/// Stands for a coordinate of the space, until the first cobasis is reached.
const COORDINATE: u32 = u32::MAX;

/// The dictionary of the linear program. Its rows are the slacks of the hyperplanes outside the cobasis,
/// the costs, and the coordinates. Its columns are the slacks of the cobasis, the constants of the program,
/// and the constants of the arrangement.
struct Program<F> {
    cobasis: Vec<u32>,
    others: Vec<u32>,
    entries: Vec<F>,
    determinant: F,
    determinant_is_negative: bool,
}

impl<F: SignedField> Program<F> {
    /// The dictionary of the lexicographically largest cobasis, with costs and constants that make it
    /// optimal. `None` if the normals do not span the space.
    fn optimal(arrangement: &Arrangement, control: &Control) -> Result<Option<Self>> {
        let dimension = arrangement.dimension();
        let mut entries = Vec::new();
        for row in arrangement.rows() {
            entries.extend(row[..dimension].iter().map(F::from_integer));
            entries.extend([F::zero(), F::from_integer(&-&row[dimension])]);
        }
        for coordinate in 0..dimension {
            let unit = |c| if c == coordinate { F::one() } else { F::zero() };
            entries.extend((0..dimension + 2).map(unit));
        }
        let mut program = Self {
            cobasis: vec![COORDINATE; dimension],
            others: (0..arrangement.rows().len() as u32).collect(),
            entries,
            determinant: F::one(),
            determinant_is_negative: false,
        };
        for row in (0..program.others.len()).rev() {
            control.check()?;
            let column = (0..dimension)
                .find(|&c| program.cobasis[c] == COORDINATE && !program.entry(row, c).is_zero());
            if let Some(column) = column {
                program.pivot(row, column);
            }
        }
        if program.cobasis.contains(&COORDINATE) {
            return Ok(None);
        }
        program.set_objective();
        Ok(Some(program))
    }

    /// Set costs of −1 and constants of 1. They replace rows that are not needed after the first cobasis.
    fn set_objective(&mut self) {
        let stride = self.stride();
        let constant = self.cobasis.len();
        let coordinates = self.entries.split_off(self.others.len() * stride);
        let mut entries = Vec::with_capacity(self.entries.len());
        for (row, chunk) in self.entries.chunks_exact_mut(stride).enumerate() {
            if self.others[row] != COORDINATE {
                chunk[constant] = F::one();
                entries.extend_from_slice(chunk);
            }
        }
        self.others.retain(|&i| i != COORDINATE);
        let minus_one = F::one().negated();
        entries.extend((0..stride).map(|c| {
            if c < constant {
                minus_one.clone()
            } else {
                F::zero()
            }
        }));
        entries.extend(coordinates);
        self.entries = entries;
    }

    fn stride(&self) -> usize {
        self.cobasis.len() + 2
    }

    fn entry(&self, row: usize, column: usize) -> &F {
        &self.entries[row * self.stride() + column]
    }

    fn is_negative(&self, row: usize, column: usize) -> bool {
        let minor = self.entry(row, column).times(&self.determinant);
        minor.is_negative_minor() != self.determinant_is_negative && !minor.is_zero()
    }

    fn is_positive(&self, row: usize, column: usize) -> bool {
        !self.entry(row, column).is_zero() && !self.is_negative(row, column)
    }

    /// Exchange others\[row\] for cobasis\[column\].
    fn pivot(&mut self, row: usize, column: usize) {
        let stride = self.stride();
        let pivot = self.entry(row, column).clone();
        self.determinant = self.determinant.times(&pivot);
        self.determinant_is_negative = self.determinant.is_negative_minor();
        let inverse = pivot.inverse();
        let minus = inverse.negated();
        let mut solved: Vec<F> = self.entries[row * stride..(row + 1) * stride]
            .iter()
            .map(|x| x.times(&minus))
            .collect();
        solved[column] = inverse;
        for (other, entries) in self.entries.chunks_exact_mut(stride).enumerate() {
            if other == row {
                entries.clone_from_slice(&solved);
                continue;
            }
            let factor = std::mem::replace(&mut entries[column], F::zero());
            if !factor.is_zero() {
                for (value, by) in entries.iter_mut().zip(&solved) {
                    *value = value.plus(&factor.times(by));
                }
            }
        }
        std::mem::swap(&mut self.others[row], &mut self.cobasis[column]);
    }

    /// The exchange (row, column) of the criss-cross rule. `None` at the optimal dictionary.
    fn forward(&self) -> Option<(usize, usize)> {
        let (costs, constant) = (self.others.len(), self.cobasis.len());
        let row = (0..self.others.len())
            .filter(|&row| self.is_negative(row, constant))
            .min_by_key(|&row| self.others[row]);
        let column = (0..self.cobasis.len())
            .filter(|&column| self.is_positive(costs, column))
            .min_by_key(|&column| self.cobasis[column]);
        let by_row = match (row, column) {
            (Some(row), Some(column)) => self.others[row] < self.cobasis[column],
            (row, _) => row.is_some(),
        };
        if by_row {
            let row = row?;
            let columns = (0..self.cobasis.len()).filter(|&c| self.is_positive(row, c));
            Some((row, columns.min_by_key(|&c| self.cobasis[c])?))
        } else {
            let column = column?;
            let rows = (0..self.others.len()).filter(|&r| self.is_negative(r, column));
            Some((rows.min_by_key(|&r| self.others[r])?, column))
        }
    }

    /// Whether the rule may lead back from the dictionary to which this exchange leads. The condition is
    /// necessary and not sufficient.
    fn may_reverse(&self, row: usize, column: usize) -> bool {
        let (costs, constant) = (self.others.len(), self.cobasis.len());
        let (i, j) = (self.others[row], self.cobasis[column]);
        if self.is_positive(row, column) {
            let mut smaller =
                (0..self.cobasis.len()).filter(|&l| l != column && self.cobasis[l] < i);
            self.is_positive(row, constant) && smaller.all(|l| !self.is_negative(row, l))
        } else if self.is_negative(row, column) {
            let mut smaller = (0..self.others.len()).filter(|&l| l != row && self.others[l] < j);
            self.is_negative(costs, column) && smaller.all(|l| !self.is_positive(l, column))
        } else {
            false
        }
    }

    /// Whether this is the largest cobasis of its vertex (statement 5 of `zero_rule`).
    fn reports(&self) -> bool {
        let own = self.cobasis.len() + 1;
        !(0..self.others.len())
            .filter(|&row| self.entry(row, own).is_zero())
            .any(|row| {
                let i = self.others[row];
                let mut columns = self.cobasis.iter().enumerate();
                columns.any(|(c, &j)| i > j && !self.entry(row, c).is_zero())
            })
    }

    fn push_vertex(&self, limbs: usize, out: &mut Vec<u64>) {
        let stride = self.stride();
        let coordinates = &self.entries[(self.others.len() + 1) * stride..];
        let point: Vec<F> = coordinates
            .chunks_exact(stride)
            .map(|c| c[stride - 1].clone())
            .collect();
        let mut vertex = Vec::with_capacity(point.len() + 1);
        F::push_vertex(&point, &self.determinant, &mut vertex);
        for x in vertex {
            push_integer(&x.into(), limbs, out);
        }
    }
}

/// Every vertex once, in the order of the search, with `limbs` words for each coordinate.
///
/// A pivot takes time O(n·d), and there are up to O(n·d) pivots for each cobasis. Memory O(n·d).
pub fn search<F: SignedField>(
    arrangement: &Arrangement,
    limbs: usize,
    control: &Control,
) -> Result<BaselineResult<Vec<u64>>> {
    let mut found = BaselineResult {
        vertices: Vec::new(),
        cobases: 0,
        pivots: 0,
    };
    let Some(mut program) = Program::<F>::optimal(arrangement, control)? else {
        return Ok(found);
    };
    let columns = program.cobasis.len();
    let exchanges = program.others.len() * columns;
    visit(&program, limbs, &mut found);
    let (mut next, mut depth) = (0, 0u64);
    loop {
        control.check()?;
        let trial = (next..exchanges).find(|at| program.may_reverse(at / columns, at % columns));
        if let Some(at) = trial {
            let (row, column) = (at / columns, at % columns);
            program.pivot(row, column);
            found.pivots += 1;
            if program.forward() == Some((row, column)) {
                visit(&program, limbs, &mut found);
                control.advance(1);
                (next, depth) = (0, depth + 1);
            } else {
                program.pivot(row, column);
                found.pivots += 1;
                next = at + 1;
            }
        } else if let Some((row, column)) = program.forward().filter(|_| depth > 0) {
            program.pivot(row, column);
            found.pivots += 1;
            (next, depth) = (row * columns + column + 1, depth - 1);
        } else {
            return Ok(found);
        }
    }
}

fn visit<F: SignedField>(program: &Program<F>, limbs: usize, found: &mut BaselineResult<Vec<u64>>) {
    found.cobases += 1;
    if program.reports() {
        program.push_vertex(limbs, &mut found.vertices);
    }
}
