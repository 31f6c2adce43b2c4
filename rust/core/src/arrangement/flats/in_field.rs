//! Flats in a field: for numbers of any size.
//!
//! The walk is that of [`walk`](mod@super::walk). The hyperplanes of the greedy basis of a flat are
//! eliminated from the rows. Each row is scaled so that its first coefficient ≠ 0 is 1. Then a pivot needs
//! no division. The factor of each scaling is kept, because the determinant of the basis is the product of
//! the pivots before scaling. On a line, each row cuts out one point.

use super::walk;
use crate::Control;
use crate::arrangement::arithmetic::{Field, invert_all, inverted_together, push_integer};
use crate::arrangement::input::Arrangement;
use crate::arrangement::jobs::Walk;

/// A flat, and the restriction of the arrangement to it.
#[derive(Clone, Debug)]
pub struct FieldFlat<F> {
    /// Dimension r of the flat.
    dimension: usize,
    /// The smallest member of the greedy basis.
    smallest: u32,
    /// Number of each row, rising.
    numbers: Vec<u32>,
    /// For each row r coefficients and the right-hand side. The first coefficient ≠ 0 is 1.
    rows: Vec<F>,
    /// What each row was divided by.
    factors: Vec<F>,
    /// Each coordinate of the space as a function on the flat: r coefficients and a constant.
    place: Vec<F>,
    /// The determinant of the greedy basis, up to its sign.
    determinant: F,
}

/// Memory for the computation of restrictions.
#[derive(Debug)]
pub struct FieldScratch<F> {
    leads: Vec<F>,
    products: Vec<F>,
    order: Vec<u32>,
    /// Checked every few products, because one flat in a wide field can take minutes.
    control: Control,
    /// Whether a step was stopped before its end.
    interrupted: bool,
}

impl<F> FieldScratch<F> {
    /// Empty memory.
    pub fn new(control: Control) -> Self {
        Self {
            leads: Vec::new(),
            products: Vec::new(),
            order: Vec::new(),
            control,
            interrupted: false,
        }
    }

    /// Whether to go on. False once the caller has cancelled.
    fn goes_on(&mut self) -> bool {
        self.interrupted |= self.control.check().is_err();
        !self.interrupted
    }
}

impl<F: Field> FieldFlat<F> {
    /// The whole space.
    pub fn whole(arrangement: &Arrangement, control: &Control) -> Self {
        let dimension = arrangement.dimension();
        let mut flat = <Self as walk::Flat>::empty();
        flat.dimension = dimension;
        flat.smallest = u32::MAX;
        for (number, row) in arrangement.rows().iter().enumerate() {
            if control.check().is_err() {
                return flat;
            }
            flat.numbers.push(number as u32);
            flat.rows.extend(row.iter().map(F::from_integer));
        }
        flat.factors = vec![F::one(); flat.numbers.len()];
        for coordinate in 0..dimension {
            flat.place.extend(
                (0..=dimension).map(|c| if c == coordinate { F::one() } else { F::zero() }),
            );
        }
        flat.normalise(&mut FieldScratch::new(control.clone()));
        flat
    }

    fn row(&self, at: usize) -> &[F] {
        let stride = self.dimension + 1;
        &self.rows[at * stride..(at + 1) * stride]
    }

    /// Scale every row so that its first coefficient ≠ 0 is 1, and merge rows that cut the flat in the same
    /// place.
    fn normalise(&mut self, scratch: &mut FieldScratch<F>) {
        let stride = self.dimension + 1;
        let together = inverted_together::<F>();
        let rows = self.rows.chunks_mut(stride * together);
        for (rows, factors) in rows.zip(self.factors.chunks_mut(together)) {
            if !scratch.goes_on() {
                return;
            }
            scratch.leads.clear();
            for (row, factor) in rows.chunks_exact(stride).zip(factors) {
                let lead = row[leading(row)].clone();
                *factor = factor.times(&lead);
                scratch.leads.push(lead);
            }
            invert_all(&mut scratch.leads, &mut scratch.products);
            for (row, inverse) in rows.chunks_exact_mut(stride).zip(&scratch.leads) {
                // With numbers of hundreds of words, this many rows can take a second.
                if scratch.control.check().is_err() {
                    scratch.interrupted = true;
                    return;
                }
                let lead = leading(row);
                row[lead] = F::one();
                for value in &mut row[lead + 1..] {
                    *value = value.times(inverse);
                }
            }
        }
        self.merge(&mut scratch.order);
    }

    /// Of equal rows, keep the one with the largest number.
    fn merge(&mut self, order: &mut Vec<u32>) {
        order.clear();
        order.extend(0..self.numbers.len() as u32);
        order.sort_unstable_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            self.row(a).cmp(self.row(b)).then(b.cmp(&a))
        });
        order.dedup_by(|later, kept| self.row(*later as usize) == self.row(*kept as usize));
        if order.len() == self.numbers.len() {
            return;
        }
        order.sort_unstable();
        let stride = self.dimension + 1;
        for (to, &from) in order.iter().enumerate() {
            let from = from as usize;
            self.numbers[to] = self.numbers[from];
            self.factors.swap(to, from);
            for c in 0..stride {
                self.rows.swap(to * stride + c, from * stride + c);
            }
        }
        self.numbers.truncate(order.len());
        self.factors.truncate(order.len());
        self.rows.truncate(order.len() * stride);
    }
}

impl<F: Field> walk::Flat for FieldFlat<F> {
    type Scratch = FieldScratch<F>;
    const LAST: usize = 1;

    fn empty() -> Self {
        Self {
            dimension: 0,
            smallest: 0,
            numbers: Vec::new(),
            rows: Vec::new(),
            factors: Vec::new(),
            place: Vec::new(),
            determinant: F::one(),
        }
    }

    fn set_control(scratch: &mut FieldScratch<F>, control: &Control) {
        scratch.control = control.clone();
        scratch.interrupted = false;
    }
    fn interrupted(scratch: &FieldScratch<F>) -> bool {
        scratch.interrupted
    }
    fn dimension(&self) -> usize {
        self.dimension
    }
    fn smallest(&self) -> u32 {
        self.smallest
    }
    fn numbers(&self) -> &[u32] {
        &self.numbers
    }
    fn restrict(&self, at: usize, child: &mut Self, scratch: &mut FieldScratch<F>) -> bool {
        let chosen = self.row(at);
        let pivot = leading(chosen);
        let stride = self.dimension + 1;
        child.dimension = self.dimension - 1;
        child.smallest = self.numbers[at];
        child.determinant = self.determinant.times(&self.factors[at]);
        child.numbers.clear();
        child.rows.clear();
        child.factors.clear();
        child.place.clear();
        for (other, row) in self.rows.chunks_exact(stride).enumerate() {
            if !scratch.goes_on() {
                return false;
            }
            let start = child.rows.len();
            eliminate(row, chosen, pivot, &mut child.rows);
            if child.rows[start..start + child.dimension]
                .iter()
                .all(F::is_zero)
            {
                child.rows.truncate(start);
                continue;
            }
            child.numbers.push(self.numbers[other]);
            child.factors.push(self.factors[other].clone());
        }
        for coordinate in self.place.chunks_exact(stride) {
            if !scratch.goes_on() {
                return false;
            }
            // x = v·y + u with y_p = β − …: the right-hand side is added to the constant.
            let factor = &coordinate[pivot];
            for (c, value) in coordinate.iter().enumerate().filter(|(c, _)| *c != pivot) {
                child.place.push(if c == self.dimension {
                    value.plus(&factor.times(&chosen[c]))
                } else {
                    value.minus_product(factor, &chosen[c])
                });
            }
        }
        child.normalise(scratch);
        true
    }
    fn reaches_a_vertex(&self, scratch: &mut FieldScratch<F>) -> bool {
        let candidates = walk::Flat::children(self, 0, u32::MAX).len();
        candidates >= self.dimension && self.spanning_rows(candidates, scratch) <= candidates
    }
    /// A child has a vertex below it if and only if its row and those before it span the flat.
    fn first_child(&self, scratch: &mut FieldScratch<F>) -> usize {
        self.spanning_rows(self.numbers.len(), scratch)
            .saturating_sub(1)
    }
    fn finish(
        &self,
        _: Option<u32>,
        from: u32,
        to: u32,
        scratch: &mut FieldScratch<F>,
        walk: &mut Walk<'_>,
    ) {
        let rows = self.children(from, to);
        // To count vertices takes no time for each. Coordinates in wide numbers take long, so the flag is
        // checked for each vertex.
        let together = if walk.wanted.coordinates {
            1
        } else {
            rows.len().max(1)
        };
        let (mut point, mut vertex) = (Vec::new(), Vec::new());
        for first in rows.clone().step_by(together) {
            if !scratch.goes_on() {
                walk.leave(self.numbers[first], to);
                return;
            }
            let granted = walk.reserve(together);
            walk.result.vertices += granted as u64;
            walk.result.flats[0] += granted as u64;
            if granted < together {
                walk.leave(self.numbers[first + granted], to);
                return;
            }
            if walk.wanted.coordinates {
                point.clear();
                vertex.clear();
                self.push_point(first, &mut point, &mut vertex);
                for x in vertex.drain(..) {
                    push_integer(&x.into(), walk.limbs, &mut walk.result.numbers);
                }
            }
        }
    }
}

impl<F: Field> FieldFlat<F> {
    /// The number of rows, from the first on, whose coefficients span the flat; more than `count` if the first
    /// `count` do not. If the caller has cancelled, a smaller number.
    fn spanning_rows(&self, count: usize, scratch: &mut FieldScratch<F>) -> usize {
        let stride = self.dimension + 1;
        let mut echelon: Vec<(usize, Vec<F>)> = Vec::with_capacity(self.dimension);
        for (at, row) in self.rows.chunks_exact(stride).take(count).enumerate() {
            if echelon.len() == self.dimension {
                return at;
            }
            let mut row = row[..self.dimension].to_vec();
            for (pivot, other) in &echelon {
                if !scratch.goes_on() {
                    return at;
                }
                // Multiply both rows, so that the difference needs no division.
                let (ours, theirs) = (row[*pivot].clone(), &other[*pivot]);
                if !ours.is_zero() {
                    for (value, by) in row.iter_mut().zip(other) {
                        *value = value.times(theirs).minus_product(&ours, by);
                    }
                }
            }
            if let Some(pivot) = row.iter().position(|x| !x.is_zero()) {
                echelon.push((pivot, row));
            }
        }
        if echelon.len() == self.dimension {
            count
        } else {
            count + 1
        }
    }

    /// The vertex that row `at` of this line cuts out.
    fn push_point(&self, at: usize, point: &mut Vec<F>, vertex: &mut Vec<F::Coordinate>) {
        let parameter = &self.row(at)[1];
        let coordinates = self.place.chunks_exact(2);
        point.extend(coordinates.map(|c| c[1].plus(&c[0].times(parameter))));
        let determinant = self.determinant.times(&self.factors[at]);
        F::push_vertex(point, &determinant, vertex);
    }
}

/// The place of the first coefficient that is not 0. Every restricted row has one.
fn leading<F: Field>(row: &[F]) -> usize {
    row.iter().position(|x| !x.is_zero()).unwrap_or_default()
}

/// Append `row` − row\[pivot\]·`chosen`, without the entry at `pivot`.
fn eliminate<F: Field>(row: &[F], chosen: &[F], pivot: usize, out: &mut Vec<F>) {
    let factor = &row[pivot];
    out.extend((0..row.len()).filter(|c| *c != pivot).map(|c| {
        if factor.is_zero() {
            row[c].clone()
        } else {
            row[c].minus_product(factor, &chosen[c])
        }
    }));
}
